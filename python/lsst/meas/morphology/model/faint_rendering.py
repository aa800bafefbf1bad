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

"""Surface brightness, turned into channels that show faint light."""

from __future__ import annotations

__all__ = ("SurfaceBrightnessRenderer",)

import torch
from torch import nn

from .faint_rendering_spec import SurfaceBrightnessRendering

_LARGEST = 1e30
"""Surface brightness (nJy per arcsec2) from which a pixel is infinite."""

_TINY = 1e-6


class SurfaceBrightnessRenderer(nn.Module):
    """The stretch of `SurfaceBrightnessRendering` as a torch module.

    Parameters
    ----------
    rendering
        The stretch.
    bands
        Number of bands of the input.
    """

    def __init__(self, rendering: SurfaceBrightnessRendering, bands: int) -> None:
        super().__init__()
        self.levels = tuple(zip(rendering.block, rendering.softening, rendering.scale, strict=True))
        self.channels = bands * (len(self.levels) + 1)

    def forward(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the channels of a batch of stamps.

        Parameters
        ----------
        flux
            Surface brightness (nJy per arcsec2), ``[n, b, s, s]``. Only
            finite pixels under ``valid`` are used; where a block has none it
            is shown as empty sky.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        channels
            The stretched bands of the first level, then of the next, and
            last the validity of each band (1 or 0), of shape
            ``[n, channels, s, s]``.
        """
        measured = valid & (flux.abs() < _LARGEST)
        clean = torch.where(measured, flux, torch.zeros_like(flux))
        weight = measured.to(flux.dtype)
        channels = [
            _enlarged(torch.asinh(_mean(clean, weight, block) / softening) * scale, block)
            for block, softening, scale in self.levels
        ]
        return torch.cat([*channels, weight], dim=1)


def _mean(clean: torch.Tensor, weight: torch.Tensor, block: int) -> torch.Tensor:
    """Return the mean of the measured pixels of each block."""
    if block == 1:
        return clean
    share = nn.functional.avg_pool2d(weight, block)
    return nn.functional.avg_pool2d(clean, block) / torch.clamp(share, min=_TINY)


def _enlarged(blocks: torch.Tensor, block: int) -> torch.Tensor:
    """Return an image in which a block's pixels have its value."""
    if block == 1:
        return blocks
    return nn.functional.interpolate(blocks, scale_factor=float(block), mode="nearest")
