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

"""What fine-tuning makes small: the loss of one kind of target."""

from __future__ import annotations

__all__ = ("Objective", "ScalarObjective", "VotesObjective")

import math
from typing import Protocol

import torch

from ..model.network import MorphologyNetwork
from ..questions.tree import QuestionTree
from .loss import VotesLoss


class Objective(Protocol):
    """The loss of one kind of target."""

    def loss(
        self,
        network: MorphologyNetwork,
        features: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the loss of each stamp of a batch, ``[n]``."""
        ...

    def evaluate(
        self, network: MorphologyNetwork, features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return predictions ``[n, ...]`` and losses ``[n]``, as in use."""
        ...


class VotesObjective:
    """Negative log-likelihood of votes under Dirichlet-multinomials.

    Parameters
    ----------
    tree
        The questions.
    device
        Where it is computed.
    """

    def __init__(self, tree: QuestionTree, device: torch.device) -> None:
        self._likelihood = VotesLoss(tree).to(device)

    def loss(
        self,
        network: MorphologyNetwork,
        features: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        # Docstring inherited.
        head = network.head
        assert head is not None
        kept = torch.rand(features.shape, generator=generator) >= head.dropout
        hidden = head.hidden(features) * (kept / (1.0 - head.dropout)).to(features.device)
        return self._likelihood.per_question(labels, head.concentrations(hidden)).sum(dim=1)

    def evaluate(
        self, network: MorphologyNetwork, features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Docstring inherited.
        head = network.head
        assert head is not None
        alpha = head(features, head.dropout_masks)
        membership = self._likelihood.membership
        fraction = (alpha / (alpha @ membership @ membership.T)).mean(dim=1)
        votes = labels[:, None].expand(-1, alpha.shape[1], -1)
        each = self._likelihood.per_question(votes.flatten(0, 1), alpha.flatten(0, 1))
        each = each.view(*alpha.shape[:2], -1)
        nats = (math.log(alpha.shape[1]) - torch.logsumexp(-each, dim=1)).sum(dim=1)
        return fraction, nats


class ScalarObjective:
    """Squared error of a quantity, in units of its spread.

    Parameters
    ----------
    mean, spread
        Mean and standard deviation of the quantity. The head learns the
        quantity in these units until `fold` is called.
    """

    def __init__(self, mean: float, spread: float) -> None:
        self._mean = mean
        self._spread = spread if spread > 0.0 else 1.0

    def loss(
        self,
        network: MorphologyNetwork,
        features: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        # Docstring inherited.
        return self.evaluate(network, features, labels)[1]

    def evaluate(
        self, network: MorphologyNetwork, features: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Docstring inherited.
        assert network.scalar is not None
        value = network.scalar(features).squeeze(1)
        difference = value - (labels - self._mean) / self._spread
        return value * self._spread + self._mean, difference.square()

    @torch.no_grad()
    def fold(self, network: MorphologyNetwork) -> None:
        """Make the head return the quantity in its own unit."""
        assert network.scalar is not None
        linear = network.scalar.linear
        linear.weight.mul_(self._spread)
        linear.bias.mul_(self._spread).add_(self._mean)
