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

"""The score of what is unlike the training objects, as a torch module."""

from __future__ import annotations

__all__ = ("NoveltyScore",)

import torch
from torch import nn


class NoveltyScore(nn.Module):
    """Distance from prototypes of the training objects.

    It is taken before the projection, which keeps what the questions need,
    and forgets much of what tells the unknown.
    """

    centre: torch.Tensor
    whitening: torch.Tensor
    prototypes: torch.Tensor

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("whitening", torch.eye(width))
        self.register_buffer("prototypes", torch.zeros(prototypes, width))

    def forward(self, encoded: torch.Tensor) -> torch.Tensor:
        white = nn.functional.linear(encoded - self.centre, self.whitening)
        # Not by the squares' expansion, which loses digits.
        square = (white.unsqueeze(1) - self.prototypes.unsqueeze(0)).square().mean(dim=-1)
        return square.amin(dim=1, keepdim=True).sqrt()
