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

"""Fitting what tells the presence of features when all else is trained."""

from __future__ import annotations

__all__ = ("fit_presence",)

from collections.abc import Iterable

import torch

from ..model.network import MorphologyNetwork
from ..model.views import mean_over_views
from .labelled import MarkedStamps

_PENALTY = 3e-3
"""Weight of the squares of the coefficients of standardised signs."""

_LEAST_SPREAD = 0.05
"""Standard deviation that a sign is held to have at least; a smaller one would
make much of its rounding."""

_LEAST = 20
"""Stamps with and without a feature that are needed to fit its presence."""

_BATCH = 32


def fit_presence(network: MorphologyNetwork, parts: Iterable[MarkedStamps]) -> None:
    """Fit the presence of each feature anew, by logistic regression.

    While a network is trained the masks that presence is told from change
    all the time, and a stamp is seen in one view. Here they are those of
    the finished model.

    Parameters
    ----------
    network
        On the CPU, in evaluation mode; its presence is changed.
    parts
        Stamps that were not trained on. A feature that too few of them have,
        or lack, stays as it is.
    """
    tides = network.tides
    assert tides is not None
    rows, labels, known = [], [], []
    for stamps in parts:
        rows.append(_signs(network, stamps))
        labels.append(torch.from_numpy(stamps.presence))
        known.append(torch.from_numpy(stamps.presence_scored))
    signs, label, counts = torch.cat(rows).double(), torch.cat(labels).double(), torch.cat(known)
    mean, scale = signs.mean(dim=0), signs.std(dim=0).clamp(min=_LEAST_SPREAD)
    signs = (signs - mean) / scale
    for k in range(label.shape[1]):
        chosen = counts[:, k]
        there = int((label[chosen, k] > 0.5).sum())
        if min(there, int(chosen.sum()) - there) >= _LEAST:
            slope, offset = _regression(signs[chosen], label[chosen, k])
            slope = slope / scale
            _set(network, k, slope.float(), float(offset - slope @ mean))


@torch.inference_mode()
def _signs(network: MorphologyNetwork, stamps: MarkedStamps) -> torch.Tensor:
    """Return what presence is told from, on average over the views."""
    assert network.tides is not None
    parts = []
    for start in range(0, len(stamps), _BATCH):
        flux, valid = (
            torch.from_numpy(array[start : start + _BATCH]) for array in (stamps.flux, stamps.valid)
        )
        known, summary = network.segmented(flux, valid, network.views)
        signs = network.tides.signs(network.tides(known, summary).mask, summary)
        whole = torch.cat([sign for sign in signs if sign is not None], dim=1)
        parts.append(mean_over_views(whole, network.views))
    return torch.cat(parts)


def _regression(signs: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return slopes and offset of a penalised logistic regression."""
    slope = torch.zeros(signs.shape[1], dtype=signs.dtype, requires_grad=True)
    offset = torch.zeros((), dtype=signs.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([slope, offset], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(signs @ slope + offset, label)
        value = value + _PENALTY * slope.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return slope.detach(), offset.detach()


@torch.no_grad()
def _set(network: MorphologyNetwork, feature: int, slope: torch.Tensor, offset: float) -> None:
    tides = network.tides
    assert tides is not None
    width = tides.presence.in_features
    tides.presence.weight[feature] = slope[:width]
    tides.presence.bias[feature] = offset
    if tides.ranks:
        tides.ranked.weight[feature] = slope[width:]
