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

"""The likelihood of volunteers' votes under predicted concentrations."""

from __future__ import annotations

__all__ = ("VotesLoss",)

import torch
from torch import nn

from ..questions.tree import QuestionTree


class VotesLoss(nn.Module):
    """Negative log-likelihood of vote counts under Dirichlet-multinomials.

    Parameters
    ----------
    tree
        The questions; their answers' order is that of the vote counts.

    Notes
    -----
    A question without votes contributes exactly nothing, neither to the
    value nor to the gradient. So questions that were not asked, and those
    of other campaigns, need no mask.
    """

    membership: torch.Tensor

    def __init__(self, tree: QuestionTree) -> None:
        super().__init__()
        membership = torch.zeros(tree.n_answers, tree.n_questions)
        for index, answers in enumerate(tree.slices.values()):
            membership[answers, index] = 1.0
        self.register_buffer("membership", membership, persistent=False)

    def per_question(self, votes: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        r"""Return the negative log-likelihood of each question's votes.

        With votes :math:`k_a`, their sum :math:`N` and concentrations
        :math:`\alpha_a` with sum :math:`S`,

        .. math::

           -\ln p = \sum_a \ln\frac{k_a!\,\Gamma(\alpha_a)}
           {\Gamma(k_a + \alpha_a)}
           - \ln\frac{N!\,\Gamma(S)}{\Gamma(N + S)} .

        Parameters
        ----------
        votes
            Counts, of shape ``[n, a]``.
        alpha
            Concentrations, of shape ``[n, a]``.

        Returns
        -------
        loss
            Nats, float32, of shape ``[n, q]``.
        """
        alpha = alpha.float()
        votes = votes.to(alpha)
        per_answer = _log_beta(votes, alpha) @ self.membership
        return per_answer - _log_beta(votes @ self.membership, alpha @ self.membership)

    def forward(self, votes: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Return the sum over questions, averaged over the batch."""
        return self.per_question(votes, alpha).sum(dim=1).mean()


def _log_beta(count: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """Return ln[n! G(c) / G(n + c)], exactly zero where n is zero."""
    return torch.lgamma(1.0 + count) + torch.lgamma(concentration) - torch.lgamma(count + concentration)
