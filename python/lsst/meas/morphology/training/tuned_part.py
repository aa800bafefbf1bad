# This file is part of meas_morphology.
#
# Developed for the LSST Data Management System.
# This product includes software developed by the LSST Project
# (https://www.lsst.org).
# See the COPYRIGHT file at the top-level directory of this distribution
# for details of code ownership.
#
# This program is free software: you can redistribute it and/or modify
# it under the terms of the GNU General Public License as published by
# the Free Software Foundation, either version 3 of the License, or
# (at your option) any later version.
#
# This program is distributed in the hope that it will be useful,
# but WITHOUT ANY WARRANTY; without even the implied warranty of
# MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
# GNU General Public License for more details.
#
# You should have received a copy of the GNU General Public License
# along with this program.  If not, see <https://www.gnu.org/licenses/>.

"""Which part of a network is trained, and at which rate."""

from __future__ import annotations

__all__ = ("Depth", "TunedPart")

from typing import Any, Literal

import torch
from torch import nn

from ..errors import MorphologyError
from ..model.network import MorphologyNetwork

type Depth = Literal["head", "last", "all"]

ENCODER_RATE = 0.1
"""Learning rate of the encoder's last layer, over that of a new head."""


class TunedPart:
    """A network cut in two: what stays, and what is trained.

    Parameters
    ----------
    network
        The network; whether its parameters get gradients is changed. It
        stays in evaluation mode, so that batch statistics, of which few
        stamps give poor ones, are not learnt anew.
    depth
        ``head``: the new head alone; ``last``: also the embedding's
        projection and the encoder's last blocks; ``all``: everything.
    blocks
        Number of those blocks; 0 trains the projection and the head.

    Raises
    ------
    MorphologyError
        Raised if the encoder has fewer blocks.
    """

    def __init__(self, network: MorphologyNetwork, depth: Depth, blocks: int = 1) -> None:
        self._network = network.requires_grad_(False)
        self._units = _units(network.encoder)
        heads = [module for module in (network.head, network.classes, network.scalar) if module is not None]
        self._rates: list[tuple[nn.Module, int]] = [(module, -1) for module in heads]
        self._first = len(self._units)
        if depth != "head":
            self._rates.append((network.projection, 0))
            self._first = 0 if depth == "all" else self._first_of(blocks)
        for index, unit in enumerate(self._units[self._first :], start=self._first):
            self._rates.append((unit, len(self._units) - index))
        for module, _ in self._rates:
            module.requires_grad_(True)
        self._depth = depth

    @property
    def caches(self) -> bool:
        """Whether `frozen` does anything that is worth being kept."""
        return self._depth == "head" or self._first == len(self._units) or self._cuts

    @property
    def _cuts(self) -> bool:
        """Whether the encoder can be cut between two of its units."""
        return self._first > 0 and isinstance(self._network.encoder, nn.Sequential)

    def frozen(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return what the trained part starts from, for stamps."""
        if self._depth == "head":
            return self._network.features(flux, valid)
        image: torch.Tensor = self._network.rendering(flux, valid)
        if self._cuts:
            assert isinstance(self._network.encoder, nn.Sequential)
            before = self._network.encoder[: self._start()]
            return torch.as_tensor(before(image))
        return image

    def features(self, kept: torch.Tensor) -> torch.Tensor:
        """Return what the head works from, for what `frozen` gave."""
        if self._depth == "head":
            return kept
        encoder = self._network.encoder
        if self._cuts:
            assert isinstance(encoder, nn.Sequential)
            encoder = encoder[self._start() :]
        return torch.as_tensor(self._network.projection(encoder(kept)))

    def groups(
        self,
        rate: float,
        weight_decay: float,
        *,
        layer_decay: float = 1.0,
        encoder_rate: float = ENCODER_RATE,
    ) -> list[dict[str, Any]]:
        """Return the parameters for an optimizer, each with its rate.

        Parameters
        ----------
        rate
            Learning rate of the head.
        weight_decay
            Decay of matrices and kernels; biases and norms have none.
        layer_decay
            Rate of each of the encoder's units over that of the next.
        encoder_rate
            Rate of the projection over that of the head.
        """
        groups: list[dict[str, Any]] = []
        for module, distance in self._rates:
            chosen = rate if distance < 0 else rate * encoder_rate * layer_decay**distance
            for matrices in (True, False):
                parameters = [p for p in module.parameters() if (p.ndim > 1) == matrices]
                if parameters:
                    decay = weight_decay if matrices else 0.0
                    groups.append({"params": parameters, "lr": chosen, "weight_decay": decay})
        return groups

    def _first_of(self, blocks: int) -> int:
        """Return the index of the first of the last ``blocks`` blocks."""
        where = [index for index, unit in enumerate(self._units) if _is_block(unit)]
        if blocks > len(where):
            raise MorphologyError(
                f"The encoder has {len(where)} blocks; the last {blocks} can't be trained. Train all instead."
            )
        return where[-blocks] if blocks else len(self._units)

    def _start(self) -> int:
        """Return where the first trained unit stands in the encoder."""
        children = list(self._network.encoder.children())
        if self._first == len(self._units):
            return len(children)
        return next(i for i, child in enumerate(children) if child is self._units[self._first])


def _units(encoder: nn.Module) -> list[nn.Module]:
    """Return the parts of an encoder that have weights, first to last.

    Stages of timm's encoders are opened up into their blocks.
    """
    units: list[nn.Module] = []
    for child in encoder.children():
        if isinstance(encoder, nn.Sequential):
            units.append(child)
        else:
            units.extend(_opened(child))
    return [unit for unit in units if next(unit.parameters(), None) is not None]


def _opened(module: nn.Module) -> list[nn.Module]:
    """Open containers, and modules that only wrap containers of blocks."""
    children = list(module.children())
    containers = [child for child in children if isinstance(child, nn.Sequential | nn.ModuleList)]
    wraps = any(len(child) > 1 and all(map(_is_block, child)) for child in containers)
    bare = next(module.parameters(recurse=False), None) is None
    if isinstance(module, nn.Sequential | nn.ModuleList) or (wraps and bare):
        return [unit for child in children for unit in _opened(child)]
    return [module]


def _is_block(unit: nn.Module) -> bool:
    """Return whether a unit is more than a single layer."""
    weighted = [m for m in unit.modules() if next(m.parameters(recurse=False), None) is not None]
    return len(weighted) > 1
