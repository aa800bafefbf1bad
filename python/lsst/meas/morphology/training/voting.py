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

"""Training on votes: the loss of a batch, and what is measured."""

from __future__ import annotations

__all__ = ("VotingObjective", "expected_fractions")

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from ..model.network import MorphologyNetwork
from ..questions.tree import QuestionTree
from .agreement import question_figures
from .batches import Batch, StampBatch
from .labelled import LabelledStamps, StampArrays
from .loss import VotesLoss

_SHOWN = ("smoothOrFeatured", "diskEdgeOn", "hasSpiralArms")
"""Questions that the log tells of."""


class VotingObjective:
    """The likelihood of votes under the network's concentrations.

    Parameters
    ----------
    tree
        The questions.
    device
        Where it is computed.
    mixed
        Whether the encoder runs in bfloat16.
    """

    def __init__(self, tree: QuestionTree, device: torch.device, *, mixed: bool = False) -> None:
        self._tree = tree
        self._device = device
        self._mixed = mixed
        self._likelihood = VotesLoss(tree).to(device)

    def loss(self, network: MorphologyNetwork, batch: StampBatch, generator: torch.Generator) -> torch.Tensor:
        # Docstring inherited.
        assert isinstance(batch, Batch)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
            features = network.features(batch.flux, batch.valid)
        head = network.head
        assert head is not None
        kept = torch.rand(features.shape, generator=generator) >= head.dropout
        hidden = head.hidden(features.float()) * (kept / (1.0 - head.dropout)).to(self._device)
        loss: torch.Tensor = self._likelihood(batch.votes, head.concentrations(hidden))
        return loss

    def measure(self, network: MorphologyNetwork, stamps: StampArrays) -> dict[str, float]:
        # Docstring inherited.
        assert isinstance(stamps, LabelledStamps)
        fraction, likelihood = expected_fractions(network, stamps, self._likelihood, self._device)
        figures = question_figures(stamps.votes, fraction, self._tree)
        return {"validation_loss": likelihood} | {
            f"{name}_{kind}": value
            for name, entry in figures.items()
            if entry.count
            for kind, value in (("accuracy", entry.accuracy), ("balanced", entry.balanced_accuracy))
        }

    def shown(self, figures: Mapping[str, float]) -> str:
        # Docstring inherited.
        return ", ".join(
            f"{name} {figures[f'{name}_accuracy']:.3f}" for name in _SHOWN if f"{name}_accuracy" in figures
        )


@torch.inference_mode()
def expected_fractions(
    network: MorphologyNetwork,
    stamps: LabelledStamps,
    loss: VotesLoss,
    device: torch.device,
    batch_size: int = 250,
) -> tuple[npt.NDArray[np.float32], float]:
    """Measure stamps with a network.

    Parameters
    ----------
    network
        In evaluation mode.
    stamps
        What to measure.
    loss
        The likelihood, on the same device.
    device
        Where the network is.
    batch_size
        Stamps at a time.

    Returns
    -------
    fraction
        Expected vote fractions, of shape ``[n, a]``.
    negative_log_likelihood
        Of the votes, under the mixture of the posterior samples; nats per
        galaxy.
    """
    head = network.head
    assert head is not None
    fractions, nats = [], []
    for start in range(0, len(stamps), batch_size):
        part = stamps[np.arange(start, min(start + batch_size, len(stamps)))]
        flux, valid = torch.from_numpy(part.flux).to(device), torch.from_numpy(part.valid).to(device)
        alpha = network(flux, valid, head.dropout_masks)["alpha"]
        total = alpha @ loss.membership @ loss.membership.T
        fractions.append((alpha / total).mean(dim=1).cpu().numpy())
        votes = torch.from_numpy(part.votes).to(device)[:, None].expand(-1, alpha.shape[1], -1)
        each = loss.per_question(votes.flatten(0, 1), alpha.flatten(0, 1))
        each = each.view(*alpha.shape[:2], -1)
        nats.append((math.log(alpha.shape[1]) - torch.logsumexp(-each, dim=1)).sum(dim=1))
    return np.concatenate(fractions), float(torch.cat(nats).mean())
