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

"""Pixels as measured, turned into what an encoder sees."""

from __future__ import annotations

__all__ = ("AsinhRenderer", "Rgb8Renderer", "build_renderer")

import torch
from torch import nn

from .colour_rendering import EuclidRenderer, GreyscaleRenderer, HscRenderer, LegacySurveyRenderer
from .faint_rendering import SurfaceBrightnessRenderer
from .manifest import AsinhRendering, Manifest, SurfaceBrightnessRendering
from .rendering_spec import EuclidRendering, HscRendering, LegacySurveyRendering, Rgb8Rendering

_LARGEST = 1e30
"""Flux (nJy per pixel) from which a pixel counts as infinite."""


def build_renderer(
    manifest: Manifest,
) -> (
    AsinhRenderer
    | Rgb8Renderer
    | LegacySurveyRenderer
    | HscRenderer
    | EuclidRenderer
    | SurfaceBrightnessRenderer
):
    """Return the rendering of a model as a torch module.

    Parameters
    ----------
    manifest
        The model's description.

    Returns
    -------
    renderer
        The module; its attribute ``channels`` is the number of channels
        that it gives the encoder.
    """
    match manifest.rendering:
        case AsinhRendering() as rendering:
            return AsinhRenderer(rendering, len(manifest.bands))
        case Rgb8Rendering() as rendering:
            return Rgb8Renderer(rendering)
        case LegacySurveyRendering() as rendering:
            return LegacySurveyRenderer(rendering, manifest.bands)
        case HscRendering() as rendering:
            return HscRenderer(rendering, manifest.bands)
        case EuclidRendering() as rendering:
            return EuclidRenderer(rendering, manifest.bands, manifest.stamp_size)
        case SurfaceBrightnessRendering() as rendering:
            return SurfaceBrightnessRenderer(rendering, len(manifest.bands))


class AsinhRenderer(nn.Module):
    """The stretch of `AsinhRendering` as a torch module.

    Each output pixel depends on the same pixel of its own band alone, so
    neither neighbours nor the batch change how an object looks.

    Parameters
    ----------
    rendering
        The stretch, with one softening and scale for each channel.
    bands
        Number of bands of the input.
    """

    softening: torch.Tensor
    gain: torch.Tensor

    def __init__(self, rendering: AsinhRendering, bands: int) -> None:
        super().__init__()
        self.repeats = len(rendering.softening) // bands
        self.validity = rendering.validity_channel
        self.channels = len(rendering.softening) + (bands if self.validity else 0)
        shape = (1, -1, 1, 1)
        # The manifest holds these numbers, so the weights need not.
        self.register_buffer("softening", torch.tensor(rendering.softening).view(shape), persistent=False)
        self.register_buffer("gain", torch.tensor(rendering.scale).view(shape), persistent=False)

    def forward(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the channels of a batch of stamps.

        Parameters
        ----------
        flux
            Pixels (nJy per stamp pixel), of shape ``[n, b, s, s]``. Only
            finite ones under ``valid`` are used; the others count as empty
            sky.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        channels
            The stretched bands, first with their first softening, then with
            the next, and last the validity of each band (1 or 0), of shape
            ``[n, channels, s, s]``.
        """
        measured = valid & (flux.abs() < _LARGEST)
        clean = torch.where(measured, flux, torch.zeros_like(flux))
        stretched = torch.asinh(torch.cat([clean] * self.repeats, dim=1) / self.softening) * self.gain
        if not self.validity:
            return stretched
        return torch.cat([stretched, measured.to(stretched.dtype)], dim=1)


class Rgb8Renderer(nn.Module):
    """Images of 8 bits in 0 to 1, as `Rgb8Rendering` says.

    Parameters
    ----------
    rendering
        Whether the images are to be grey.
    """

    def __init__(self, rendering: Rgb8Rendering) -> None:
        super().__init__()
        self.grey = GreyscaleRenderer(rendering.greyscale)
        self.channels = self.grey.channels

    def forward(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the channels of a batch of images.

        Parameters
        ----------
        flux
            Images (0 to 255), red first, of shape ``[n, 3, s, s]``.
        valid
            Which pixels there are, of the same shape; the others are black.

        Returns
        -------
        channels
            Pictures in 0 to 1, of shape ``[n, channels, s, s]``.
        """
        channels: torch.Tensor = self.grey(torch.where(valid, flux, torch.zeros_like(flux)) / 255.0)
        return channels
