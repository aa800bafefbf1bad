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

"""How far the parts of the light that are features' are from the truth."""

from __future__ import annotations

__all__ = ("share_loss",)

import torch

_ABSENT_LIGHT, _ABSENT_AREA = 0.03, 0.1
"""What stands for light and area of a feature that is not there: parts of all
light and of the stamp."""

_LEAST_LIGHT = 0.003
"""Part of all light that a feature counts as at least, so that a trace of one
does not outweigh the others; 19 in 20 visible ones have more."""

_BRIGHTEST = 20.0
"""Brightness over the feature's mean at which a pixel's weight stops to grow:
beneath so much light nobody sees a feature."""

_UNSEEN_WEIGHT = 0.2
"""Weight of a feature that is not there, as most are, or that is too small
to be told."""

_SOFTENING = 0.1
"""Part of the reference that is added to fluxes for their ratio's sake."""


def share_loss(
    logit: torch.Tensor, light: torch.Tensor, share: torch.Tensor, visible: torch.Tensor
) -> torch.Tensor:
    """Return the loss of predicted parts of the light.

    Each pixel's cross entropy has the weight of its light over the flux of
    the feature, so that what counts is the relative error of fluxes. To it is
    added by how much the whole flux is off: the logarithm of its ratio to the
    true one, in which half and twice are as wrong, so that the median of
    what is learnt is not biased.

    Parameters
    ----------
    logit
        Logits of the parts, ``[n, feature, y, x]``.
    light
        All light without noise, in any unit, ``[n, y, x]``; stamps without
        any, whose light is not known, do not count.
    share
        The true parts, of the shape of ``logit``.
    visible
        Whether each feature is large enough to be told, ``[n, feature]``.

    Returns
    -------
    loss
        A scalar.
    """
    light = light[:, None]
    flux, area = (share * light).sum(dim=(2, 3)), (share > 0.0).sum(dim=(2, 3))
    total = light.sum(dim=(2, 3))
    there = flux > 0.0
    reference = torch.where(there, torch.maximum(flux, _LEAST_LIGHT * total), _ABSENT_LIGHT * total)
    pixels = torch.where(there, area.float(), _ABSENT_AREA * light[0].numel())
    most = _BRIGHTEST * reference / pixels
    known = (total > 0.0).expand_as(reference)
    scale = torch.where(known, reference, torch.ones_like(reference))
    weight = torch.minimum(light, most[:, :, None, None]) / scale[:, :, None, None]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logit, share, weight, reduction="none")
    softening = torch.where(there, _SOFTENING, 1.0)
    predicted, true = ((weight * part).sum(dim=(2, 3)) + softening for part in (torch.sigmoid(logit), share))
    off = torch.log(predicted / true).abs()
    counts = known * torch.where(there & visible, 1.0, _UNSEEN_WEIGHT)
    loss: torch.Tensor = ((entropy.sum(dim=(2, 3)) + off) * counts).sum() / counts.sum().clamp(min=1.0)
    return loss
