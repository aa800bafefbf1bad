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

"""The loop of fine-tuning: few labels, early stopping, cached features."""

from __future__ import annotations

__all__ = ("TuneOptions", "Tuner")

import copy
import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from ..errors import DeviceError
from ..model.network import MorphologyNetwork
from .batches import AugmentOptions, Batch, augment
from .objective import Objective
from .stamp_set import StampSet
from .tuned_part import Depth, TunedPart

_LOG = logging.getLogger(__name__)

CACHE_BYTES = 1 << 30
"""Most memory for what the frozen part of a network gives."""

_CHUNK = 128


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """How a model is fine-tuned; equal options give equal weights."""

    depth: Depth = "last"
    """What is trained: the ``head``, also the ``last`` blocks, or ``all``."""

    blocks: int = 2
    """Number of the last blocks."""

    from_scratch: bool = False
    """Whether to forget what the model knows, and train all of it."""

    epochs: int = 200
    """Most passes over the labels."""

    patience: int = 25
    """Passes without improvement on the held-out part that end training."""

    held_out: float = 0.2
    """Share of the labels that is held out."""

    batch_size: int = 32
    """Stamps in a step."""

    learning_rate: float | None = None
    """Learning rate of the head, of which a tenth is the encoder's last; from
    scratch, of everything. By default 0.004, and 0.0004 from scratch: at more
    a new network stays where it is."""

    layer_decay: float = 0.8
    """Learning rate of each layer over that of the layer after it."""

    weight_decay: float = 0.05
    """Decay of the matrices and kernels."""

    views: int = 4
    """Variations of each stamp whose features are kept, where the encoder
    does not change: turned, mirrored, some without a band."""

    balanced: bool = False
    """Whether each class weighs the same, however rare it is. Probabilities
    are then those of a sample with equally many of each."""

    seed: int = 1
    """Seed of weights, order, held-out part and variations."""

    device: str = "cpu"
    """Where to train: ``cpu`` or ``cuda``."""

    augment: AugmentOptions = dataclasses.field(default_factory=AugmentOptions)
    """How stamps are varied."""

    @property
    def keeps_encoder(self) -> bool:
        """Whether the encoder stays as it is."""
        return not self.from_scratch and (self.depth == "head" or (self.depth == "last" and self.blocks == 0))

    @property
    def rate(self) -> float:
        """The learning rate, chosen or by default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 4e-4 if self.from_scratch else 4e-3

    def __post_init__(self) -> None:
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"a share of {self.held_out} can't be held out")
        if min(self.epochs, self.patience, self.batch_size, self.views) < 1 or self.blocks < 0:
            raise ValueError(f"one of the numbers of {self} is too small")


class Tuner:
    """Trains part of a network on few labels.

    Parameters
    ----------
    network
        The network; it is changed.
    objective
        What is made small.
    stamps
        Stamps in the model's unit, ``n`` of them.
    labels
        What the objective wants to know of each, ``[n, ...]``.
    weights
        Weight of each in the loss, ``[n]``.
    held_out
        Which of them are held out, ``[n]``.
    optional
        Indices of the bands that may be missing.
    options
        How to train.

    Raises
    ------
    DeviceError
        Raised if the device is not there.
    MorphologyError
        Raised if the network has fewer blocks than are to be trained.
    """

    def __init__(
        self,
        network: MorphologyNetwork,
        objective: Objective,
        stamps: StampSet,
        labels: npt.NDArray[np.int32] | npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32],
        held_out: npt.NDArray[np.bool_],
        *,
        optional: tuple[int, ...],
        options: TuneOptions,
    ) -> None:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise DeviceError(f"Device {options.device!r} was asked for, but torch sees no CUDA device.")
        self._device = torch.device(options.device)
        self._network = network.to(self._device).eval()
        self._objective = objective
        self._options = options
        self._optional = optional
        depth = "all" if options.from_scratch else options.depth
        self._part = TunedPart(network, depth, options.blocks)
        self._generator = torch.Generator().manual_seed(options.seed)
        taught = np.flatnonzero(~held_out)
        self._stamps = stamps[taught]
        self._labels = torch.from_numpy(labels[taught]).to(self._device)
        self._weights = torch.from_numpy(weights[taught]).to(self._device)
        self._held_labels = torch.from_numpy(labels[held_out]).to(self._device)
        self._held_kept = self._keep(stamps[np.flatnonzero(held_out)])
        self._views = self._keep_views() if self._part.caches else None
        rates = {"encoder_rate": 1.0} if options.from_scratch else {"layer_decay": options.layer_decay}
        self._optimizer = torch.optim.AdamW(self._part.groups(options.rate, options.weight_decay, **rates))
        self.history: list[dict[str, float]] = []
        """Loss by epoch on both parts of the labels."""

    def run(self, progress: Callable[[int], None] | None = None) -> float:
        """Train until the held-out loss no longer falls.

        The network ends with the weights of the best epoch.

        Parameters
        ----------
        progress
            Called with the number of epochs done.

        Returns
        -------
        loss
            Of the held-out part, its mean.
        """
        best, best_epoch = self._held_loss(), 0
        kept = copy.deepcopy(self._network.state_dict())
        for epoch in range(1, self._options.epochs + 1):
            loss = self._epoch()
            held = self._held_loss()
            self.history.append({"epoch": epoch, "loss": loss, "held_out": held})
            if progress is not None:
                progress(epoch)
            if held < best:
                best, best_epoch, kept = held, epoch, copy.deepcopy(self._network.state_dict())
            elif epoch - best_epoch >= self._options.patience:
                break
        self._network.load_state_dict(kept)
        _LOG.info("Best of %d epochs is the %dth: held-out loss %.4f", len(self.history), best_epoch, best)
        return best

    @torch.no_grad()
    def held_out_predictions(self) -> npt.NDArray[np.float32]:
        """Return what the network predicts for the held-out stamps."""
        parts = [self._objective.evaluate(self._network, f, y)[0] for f, y in self._held()]
        return np.asarray(torch.cat(parts).cpu().numpy(), np.float32)

    def _epoch(self) -> float:
        """Show each stamp once, in one of its variations."""
        losses: list[float] = []
        order = torch.randperm(len(self._stamps), generator=self._generator)
        # Only a network that learns from nothing learns batch statistics.
        self._network.train(self._options.from_scratch)
        for rows in torch.split(order, self._options.batch_size):
            if len(rows) < 2 and len(losses):
                continue
            features = self._part.features(self._start(rows))
            each = self._objective.loss(self._network, features, self._labels[rows], self._generator)
            loss = (each * self._weights[rows]).mean()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
            self._optimizer.step()
            losses.append(loss.item())
        self._network.eval()
        return float(np.mean(losses))

    def _start(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the trained part starts from, for some stamps."""
        if self._views is not None:
            view = torch.randint(len(self._views), (len(rows),), generator=self._generator)
            return self._views[view, rows].to(self._device)
        batch = self._varied(rows.numpy())
        return self._part.frozen(batch.flux, batch.valid)

    def _varied(self, rows: npt.NDArray[np.intp]) -> Batch:
        chosen = self._stamps[rows]
        flux, valid = torch.from_numpy(chosen.flux), torch.from_numpy(chosen.valid)
        batch = Batch(flux, valid, torch.empty(len(rows), 0))
        return augment(batch, self._optional, self._options.augment, self._generator).to(self._device)

    @torch.no_grad()
    def _keep(self, stamps: StampSet) -> torch.Tensor:
        """Run the frozen part on stamps as they are."""
        parts = []
        for start in range(0, len(stamps), _CHUNK):
            flux = torch.from_numpy(stamps.flux[start : start + _CHUNK]).to(self._device)
            valid = torch.from_numpy(stamps.valid[start : start + _CHUNK]).to(self._device)
            parts.append(self._part.frozen(flux, valid).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def _keep_views(self) -> torch.Tensor:
        """Run the frozen part on variations, the first as they are."""
        first = self._keep(self._stamps)
        room = CACHE_BYTES // max(first.numel() * first.element_size(), 1)
        count = max(1, min(self._options.views, room))
        views = [first]
        for _ in range(count - 1):
            parts = []
            for rows in np.array_split(np.arange(len(first)), -(-len(first) // _CHUNK)):
                batch = self._varied(rows)
                parts.append(self._part.frozen(batch.flux, batch.valid).cpu())
            views.append(torch.cat(parts))
        return torch.stack(views)

    def _held(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield features and labels of the held-out part."""
        for kept, labels in zip(
            torch.split(self._held_kept, _CHUNK), torch.split(self._held_labels, _CHUNK), strict=True
        ):
            yield self._part.features(kept.to(self._device)), labels

    @torch.no_grad()
    def _held_loss(self) -> float:
        losses = [self._objective.evaluate(self._network, f, y)[1] for f, y in self._held()]
        return float(torch.cat(losses).mean())
