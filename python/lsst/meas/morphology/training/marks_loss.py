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

"""The likelihood of annotators' marks, and how well masks overlap."""

from __future__ import annotations

__all__ = ("beta_binomial", "overlap_loss")

import torch

_FEWEST, _MOST = -4.0, 6.0
"""Range of the logarithm of a concentration."""


def beta_binomial(
    marks: torch.Tensor, annotators: torch.Tensor, logit: torch.Tensor, log_concentration: torch.Tensor
) -> torch.Tensor:
    r"""Return the negative log-likelihood of marks under beta-binomials.

    Annotators disagree with each other more than independent draws would,
    so the share of them who mark a pixel is itself drawn, from a beta
    distribution with mean :math:`m` and concentration :math:`c` (Walmsley &
    Spindler 2023, arXiv:2312.02908). With :math:`\alpha = m c`,
    :math:`\beta = (1 - m) c`, and :math:`k` marks of :math:`N` annotators,

    .. math::

       -\ln p = \sum_{i<N} \ln(c + i) - \sum_{i<k} \ln(\alpha + i)
       - \sum_{i<N-k} \ln(\beta + i) ,

    but for the number of ways to choose :math:`k` of :math:`N`, which no
    parameter changes.

    Parameters
    ----------
    marks
        Number of annotators who marked a pixel, integers, of any shape.
    annotators
        Number of all annotators, of a shape that fits. Without any, the loss
        and its gradient are exactly zero.
    logit
        Logit of the mean, of the shape of ``marks``.
    log_concentration
        Logarithm of the concentration, of the same shape; cut off at -4
        and 6.

    Returns
    -------
    loss
        Nats, float32, of the shape of ``marks``.

    Notes
    -----
    Annotators are few, so that sums of logarithms are faster than the gamma
    function, and lose no digits.
    """
    logit = logit.float()
    log_c = log_concentration.float().clamp(_FEWEST, _MOST)
    concentration = log_c.exp()
    mean = torch.sigmoid(logit)
    alpha, beta = mean * concentration, (1.0 - mean) * concentration
    blank = annotators - marks
    loss = torch.zeros_like(logit)
    for i in range(int(annotators.max()) if annotators.numel() else 0):
        if i == 0:
            log_alpha = torch.nn.functional.logsigmoid(logit) + log_c
            log_beta = torch.nn.functional.logsigmoid(-logit) + log_c
        else:
            log_alpha, log_beta = torch.log(alpha + i), torch.log(beta + i)
        loss = loss + (i < annotators) * torch.log(concentration + i)
        loss = loss - (i < marks) * log_alpha - (i < blank) * log_beta
    return loss


def overlap_loss(share: torch.Tensor, target: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return how far masks are from overlapping, plane by plane.

    It is one less the intersection over the union of soft masks, pooled over
    a batch (Rahman & Wang 2016), to which the rare pixels of features matter
    and the many of empty sky do not.

    Parameters
    ----------
    share
        Shares of annotators as predicted, ``[n, plane, ...]``.
    target
        Shares of annotators as they were, of the same shape.
    counted
        Weights of the pixels, 0 or 1, of the same shape.

    Returns
    -------
    loss
        Between 0 and 1, of shape ``[plane]``.
    """
    other = tuple(axis for axis in range(share.ndim) if axis != 1)
    both = (share * target * counted).sum(dim=other)
    either = ((share + target - share * target) * counted).sum(dim=other)
    return 1.0 - (both + 1.0) / (either + 1.0)
