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

"""Surface brightness, turned into pictures like those that Galaxy Zoo shows.

The operators are those of ONNX, so that a program can hold them.
"""

from __future__ import annotations

__all__ = ("EuclidRenderer", "GreyscaleRenderer", "HscRenderer", "LegacySurveyRenderer")

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from .rendering_spec import EuclidRendering, Greyscale, HscRendering, LegacySurveyRendering

_LARGEST = 1e30
"""Surface brightness (nJy per arcsec2) from which a pixel is infinite."""

_LUMA = (0.299, 0.587, 0.114)
_TINY = 1e-12


class GreyscaleRenderer(nn.Module):
    """Colours ``[n, 3, s, s]``, or the one channel that a model sees.

    Parameters
    ----------
    greyscale
        Which channel, or none for colours.
    """

    weights: torch.Tensor

    def __init__(self, greyscale: Greyscale) -> None:
        super().__init__()
        self.channels = 3 if greyscale == "none" else 1
        weights = _LUMA if greyscale == "itu" else (1.0 / 3.0,) * 3
        # The manifest holds these numbers, so the weights need not.
        self.register_buffer("weights", torch.tensor(weights).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        """Return the channels of pictures ``[n, 3, s, s]``."""
        return rgb if self.channels == 3 else (rgb * self.weights).sum(dim=1, keepdim=True)


class _PlaneMixer(nn.Module):
    """Means of bands, each times its factor and where it is valid.

    Parameters
    ----------
    planes
        For each plane the factors of its bands.
    bands
        The model's bands.
    unit
        What the pixels are divided by.
    offset
        What is added to each band after its factor.
    clip
        Whether negative values of a band count as 0.
    """

    factors: torch.Tensor
    members: torch.Tensor

    def __init__(
        self,
        planes: Sequence[Mapping[str, float]],
        bands: Sequence[str],
        unit: float,
        *,
        offset: float = 0.0,
        clip: bool = True,
    ) -> None:
        super().__init__()
        self.offset = offset
        self.clip = clip
        factors = torch.zeros(len(planes), len(bands))
        for row, weights in enumerate(planes):
            for band, factor in weights.items():
                factors[row, bands.index(band)] = factor / unit
        shape = (1, len(planes), len(bands), 1, 1)
        self.register_buffer("factors", factors.view(shape), persistent=False)
        self.register_buffer("members", (factors > 0).float().view(shape), persistent=False)

    def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the planes, 0 where no band is valid."""
        measured = (valid & (pixels.abs() < _LARGEST)).unsqueeze(1)
        clean = torch.where(measured, pixels.unsqueeze(1), torch.zeros_like(pixels).unsqueeze(1))
        weights = self.members * measured.to(pixels.dtype)
        values = clean * self.factors + self.offset
        if self.clip:
            values = torch.clamp(values, min=0.0)
        return (values * weights).sum(dim=2) / torch.clamp(weights.sum(dim=2), min=1.0)


class LegacySurveyRenderer(nn.Module):
    """The stretch of `LegacySurveyRendering` as a torch module.

    Parameters
    ----------
    rendering
        The stretch.
    bands
        The model's bands.
    """

    def __init__(self, rendering: LegacySurveyRendering, bands: Sequence[str]) -> None:
        super().__init__()
        planes = (rendering.red, rendering.green, rendering.blue)
        self.planes = _PlaneMixer(planes, bands, rendering.unit, offset=rendering.offset)
        self.strength = rendering.strength
        self.grey = GreyscaleRenderer(rendering.greyscale)
        self.channels = self.grey.channels

    def forward(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the channels of a batch of stamps.

        Parameters
        ----------
        flux
            Surface brightness (nJy per arcsec2), ``[n, b, s, s]``. Invalid
            pixels are black.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        channels
            Pictures in 0 to 1, red first, or grey, ``[n, channels, s, s]``.
        """
        planes = self.planes(flux, valid)
        intensity = planes.mean(dim=1, keepdim=True)
        stretched = torch.asinh(self.strength * intensity) / math.sqrt(self.strength)
        rgb = torch.clamp(planes * (stretched / torch.clamp(intensity, min=_TINY)), max=1.0)
        channels: torch.Tensor = self.grey(rgb)
        return channels


class HscRenderer(nn.Module):
    """The stretch of `HscRendering` as a torch module.

    Parameters
    ----------
    rendering
        The stretch.
    bands
        The model's bands.
    """

    def __init__(self, rendering: HscRendering, bands: Sequence[str]) -> None:
        super().__init__()
        planes = (rendering.red, rendering.green, rendering.blue)
        self.planes = _PlaneMixer(planes, bands, rendering.stretch, clip=False)
        self.strength = rendering.strength
        self.gain = 0.1 / math.asinh(0.1 * rendering.strength)
        self.grey = GreyscaleRenderer(rendering.greyscale)
        self.channels = self.grey.channels

    def forward(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the channels of a batch of stamps.

        Parameters
        ----------
        flux
            Surface brightness (nJy per arcsec2), ``[n, b, s, s]``. Invalid
            pixels are black.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        channels
            Pictures in 0 to 1, red first, or grey, ``[n, channels, s, s]``.
        """
        planes = self.planes(flux, valid)
        intensity = torch.clamp(planes.mean(dim=1, keepdim=True), min=0.0)
        stretched = self.gain * torch.asinh(self.strength * intensity)
        rgb = torch.clamp(planes, min=0.0) * (stretched / torch.clamp(intensity, min=_TINY))
        channels: torch.Tensor = self.grey(rgb / torch.clamp(rgb.amax(dim=1, keepdim=True), min=1.0))
        return channels


class EuclidRenderer(nn.Module):
    """The stretch of `EuclidRendering` as a torch module.

    Parameters
    ----------
    rendering
        The stretch.
    bands
        The model's bands.
    stamp_size
        Side of the stamps, which says how many pixels are the brightest.
    """

    def __init__(self, rendering: EuclidRendering, bands: Sequence[str], stamp_size: int) -> None:
        super().__init__()
        self.visible = _PlaneMixer((rendering.visible,), bands, rendering.visible_softening)
        self.infrared = (
            _PlaneMixer((rendering.infrared,), bands, rendering.infrared_softening)
            if rendering.infrared
            else None
        )
        # A quantile between two order statistics, as usual.
        place = rendering.brightest * (stamp_size**2 - 1)
        self.above = math.floor(place)
        self.share = place - self.above
        self.grey = GreyscaleRenderer(rendering.greyscale)
        self.channels = self.grey.channels

    def forward(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the channels of a batch of stamps.

        Parameters
        ----------
        flux
            Surface brightness (nJy per arcsec2), ``[n, b, s, s]``. Invalid
            pixels are black.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        channels
            Pictures in 0 to 1, red first, or grey, ``[n, channels, s, s]``.
        """
        visible = self._stretch(self.visible(flux, valid))
        infrared = visible if self.infrared is None else self._stretch(self.infrared(flux, valid))
        rgb = torch.cat([infrared, 0.5 * (infrared + visible), visible], dim=1)
        channels: torch.Tensor = self.grey(rgb)
        return channels

    def _stretch(self, plane: torch.Tensor) -> torch.Tensor:
        stretched = torch.asinh(plane)
        largest = torch.topk(stretched.flatten(1), self.above + 2, dim=1).values
        white = largest[:, self.above] * (1.0 - self.share) + largest[:, self.above + 1] * self.share
        return torch.clamp(stretched / torch.clamp(white.view(-1, 1, 1, 1), min=_TINY), max=1.0)
