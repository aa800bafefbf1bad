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

"""Parts that several networks are made of."""

from __future__ import annotations

__all__ = ("BatchNorm", "Distance", "ResNetBlock")

import torch
from torch import nn


class Distance(nn.Module):
    """Adds to an image each pixel's distance from the centre.

    The object is at the centre always, but a mean over all pixels cannot
    tell its clumps from the neighbours around it.
    """

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size = image.shape[-1]
        axis = (torch.arange(size, device=image.device) - (size - 1) / 2.0) / size
        distance = torch.sqrt(axis[:, None].square() + axis.square())
        return torch.cat([image, torch.zeros_like(image[:, :1]) + distance], dim=1)


class BatchNorm(nn.Module):
    """Batch normalisation that keeps no count of batches as a weight.

    In inference it is a fixed affine map, so that an object's result does
    not depend on its batch.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(
            image, self.running_mean, self.running_var, self.weight, self.bias, training=self.training
        )


class ResNetBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            BatchNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            BatchNorm(width),
        )
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride)] if stride > 1 else []
        if stride > 1 or before != width:
            shortcut += [nn.Conv2d(before, width, 1, bias=False), BatchNorm(width)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.residual(image) + self.shortcut(image))
