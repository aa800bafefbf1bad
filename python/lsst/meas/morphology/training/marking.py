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

"""Training on annotators' marks: the loss of a batch, what is measured."""

from __future__ import annotations

__all__ = ("MarkingObjective", "MaskFigures", "mask_figures")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from ..model.heads import TidesHead
from ..model.network import MorphologyNetwork
from ..model.views import mean_of_views, mean_over_views
from .batches import MarkedBatch, StampBatch
from .labelled import MarkedStamps, StampArrays
from .marks_loss import beta_binomial, overlap_loss
from .share_loss import share_loss

_FLOOR = 0.01
"""Share of the pixels that a plane's marks count for at least, so that a
batch with few of them does not outweigh the others."""

_PRESENCE_WEIGHT = 0.5
"""Weight of the presence, which has one label where masks have thousands."""

_SHARE_WEIGHT = 1.5
"""Weight of what makes fluxes right against what makes masks so; with it, the
two pull about as hard."""

_BATCH = 64


@dataclasses.dataclass(frozen=True)
class MaskFigures:
    """How well masks and presence agree with what annotators said."""

    loss: float
    """Nats per pixel and plane, but for a constant."""

    overlap: Mapping[str, float]
    """Intersection over union of each plane, pooled over all stamps; a pixel
    belongs to the mask if half of the annotators mark it."""

    separation: Mapping[str, float]
    """Area under the receiver's characteristic of each presence."""


class MarkingObjective:
    """Likelihood of marks, overlap of masks, entropy of presence, and parts
    of the light.

    A plane's negative log-likelihood is divided by the number of its marked
    pixels, since features are rare and planes are not equally so.

    Parameters
    ----------
    head
        The planes.
    device
        Where it is computed.
    mixed
        Whether the network runs in bfloat16.
    """

    def __init__(self, head: TidesHead, device: torch.device, *, mixed: bool = False) -> None:
        self._head = head
        self._device = device
        self._mixed = mixed

    def loss(self, network: MorphologyNetwork, batch: StampBatch, generator: torch.Generator) -> torch.Tensor:
        # Docstring inherited.
        assert isinstance(batch, MarkedBatch)
        assert network.tides is not None
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
            known, encoded = network.segmented(
                batch.flux.contiguous(memory_format=torch.channels_last),
                batch.valid.contiguous(memory_format=torch.channels_last),
            )
            mask, presence, share = network.tides(known, encoded)
            agreement = network.tides.concentration(known)
        # Neighbouring pixels say much the same; one of four is enough.
        row, column = torch.randint(2, (2,), generator=generator).tolist()
        part = (..., slice(row, None, 2), slice(column, None, 2))
        masks = self._masks(
            mask[part].float(),
            agreement[part].float(),
            batch.marks[part],
            batch.annotators,
            batch.scored[part],
        )
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            presence.float(), batch.presence, weight=batch.presence_scored.float(), reduction="sum"
        )
        loss = masks + _PRESENCE_WEIGHT * entropy / batch.presence_scored.sum().clamp(min=1)
        if share is not None:
            parts = batch.shares[part].float() / 255.0
            visible = batch.presence_scored & (batch.presence > 0.5)
            loss = loss + _SHARE_WEIGHT * share_loss(share[part].float(), batch.light[part], parts, visible)
        return loss

    def _masks(
        self,
        logit: torch.Tensor,
        agreement: torch.Tensor,
        marks: torch.Tensor,
        annotators: torch.Tensor,
        scored: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of the masks, the mean over the planes."""
        marks = marks.int()
        asked = annotators.int()[:, None, None, None]
        counted = (scored & (asked > 0)).float()
        share = marks / asked.clamp(min=1)
        nats = beta_binomial(marks, asked, logit, agreement) * counted
        marked = (share * counted).sum(dim=(0, 2, 3))
        least = _FLOOR * counted.sum(dim=(0, 2, 3)) + 1.0
        per_mark = nats.sum(dim=(0, 2, 3)) / torch.maximum(marked, least)
        return (per_mark + overlap_loss(torch.sigmoid(logit), share, counted)).mean()

    def measure(self, network: MorphologyNetwork, stamps: StampArrays) -> dict[str, float]:
        # Docstring inherited.
        assert isinstance(stamps, MarkedStamps)
        figures = mask_figures(network, self._head, stamps, self._device)
        return (
            {"validation_loss": figures.loss}
            | {f"{plane}_overlap": value for plane, value in figures.overlap.items()}
            | {f"{plane}_separation": value for plane, value in figures.separation.items()}
        )

    def shown(self, figures: Mapping[str, float]) -> str:
        # Docstring inherited.
        names = [f"{plane}_overlap" for plane in self._head.planes]
        names += [f"{plane}_separation" for plane in self._head.features]
        return ", ".join(f"{name.replace('_', ' ')} {figures[name]:.3f}" for name in names if name in figures)


@torch.inference_mode()
def mask_figures(
    network: MorphologyNetwork,
    head: TidesHead,
    stamps: MarkedStamps,
    device: torch.device,
    *,
    views: int = 1,
) -> MaskFigures:
    """Measure how well a network marks stamps.

    Parameters
    ----------
    network
        In evaluation mode.
    head
        Its planes.
    stamps
        What is measured.
    device
        Where the network is.
    views
        Number of views of each stamp whose answers are averaged.
    """
    tides = network.tides
    assert tides is not None
    both, either = torch.zeros(len(head.planes)), torch.zeros(len(head.planes))
    nats, count = 0.0, 0.0
    presence = []
    for start in range(0, len(stamps), _BATCH):
        part = MarkedBatch.of(stamps[np.arange(start, min(start + _BATCH, len(stamps)))]).to(device)
        known, encoded = network.segmented(part.flux, part.valid, views)
        logits = tides(known, encoded)
        mask, agreement = (mean_of_views(maps, views) for maps in (logits.mask, tides.concentration(known)))
        marks, asked = part.marks.int(), part.annotators.int()[:, None, None, None]
        counted = part.scored & (asked > 0)
        each = beta_binomial(marks, asked, mask, agreement)
        nats += float((each * counted).sum())
        count += float(counted.sum())
        predicted, true = (mask >= 0.0) & counted, (2 * marks >= asked) & counted
        both += (predicted & true).sum(dim=(0, 2, 3)).cpu()
        either += (predicted | true).sum(dim=(0, 2, 3)).cpu()
        presence.append(mean_over_views(logits.presence, views).cpu().numpy())
    values = np.concatenate(presence) if presence else np.zeros((0, len(head.features)), np.float32)
    separation = {
        plane: area
        for index, plane in enumerate(head.features)
        if np.isfinite(
            area := _area(values[:, index], stamps.presence[:, index] > 0.5, stamps.presence_scored[:, index])
        )
    }
    overlap = {
        plane: float(both[i] / either[i]) for i, plane in enumerate(head.planes) if float(either[i]) > 0.0
    }
    return MaskFigures(nats / max(count, 1.0), overlap, separation)


def _area(
    value: npt.NDArray[np.float32], positive: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]
) -> float:
    """Return the share of pairs in which the positive one has more."""
    there, not_there = value[known & positive], value[known & ~positive]
    if not len(there) or not len(not_there):
        return float("nan")
    ordered = np.sort(not_there)
    below = np.searchsorted(ordered, there, "left") + np.searchsorted(ordered, there, "right")
    return float(np.mean(below) / (2 * len(ordered)))
