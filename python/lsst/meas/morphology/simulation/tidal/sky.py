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

"""What the subtraction of the sky leaves, and takes away."""

from __future__ import annotations

__all__ = ("oversubtraction", "sky_residual")

import numpy as np
import numpy.typing as npt
import scipy.fft

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

_BRIGHTNESS = {"u": 0.4, "g": 0.7, "r": 1.0, "i": 1.5, "z": 2.4, "y": 4.0}
"""Brightness of the night sky over that in r."""

_PEDESTAL = 1.5
"""Median of the error of the sky's level in r (nJy per arcsec**2)."""

_BIN = 25.6
"""Side of the bins of the coadds' background (arcsec)."""


def sky_residual(rng: np.random.Generator, bands: tuple[str, ...], size: int) -> Image:
    """Draw the error of the sky: a level, a gradient and a bend.

    The level in r scatters by 1.5 nJy per square arcsec (31 mag), from a
    half to twice that, and as the sky's brightness from band to band.

    Parameters
    ----------
    rng
        Source of random numbers.
    bands
        Names of the bands.
    size
        Side of the stamp in pixels.

    Returns
    -------
    sky
        Surface brightness in nJy per arcsec**2, ``[band, size, size]``.
    """
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    shapes = (np.ones((size, size), np.float32), x + 0 * y, y + 0 * x, x * y, x * x - y * y)
    amplitude = _PEDESTAL * np.exp(rng.normal(0.0, 0.7))
    # Half of the error is common to the bands: same telescope, same stars.
    drawn = 0.7 * rng.normal(size=(1, 5)) + 0.7 * rng.normal(size=(len(bands), 5))
    drawn *= amplitude * np.array([1.0, 0.6, 0.6, 0.3, 0.3])
    drawn *= np.array([_BRIGHTNESS[band] for band in bands])[:, None]
    return np.asarray(np.tensordot(drawn.astype(np.float32), np.stack(shapes), axes=1), dtype=np.float32)


def oversubtraction(light: Image, detected: Image, pixel_scale: float) -> Image:
    """Return what a background in small bins takes of faint light.

    The mean of what was not detected, in bins of 128 native pixels, made
    smooth.

    Parameters
    ----------
    light
        Surface brightness in nJy per arcsec**2, ``[band, size, size]``.
    detected
        One where a pixel was detected and hence left out, else zero,
        ``[size, size]``.
    pixel_scale
        Arcsec per pixel.

    Returns
    -------
    background
        To be subtracted, of the shape of `light`.
    """
    size = light.shape[-1]
    width = 0.5 * _BIN / pixel_scale
    padded = 2 * size
    f = np.fft.fftfreq(padded)
    transfer = np.exp(-2.0 * (np.pi * width) ** 2 * (f[:, None] ** 2 + f[None, : padded // 2 + 1] ** 2))
    kept = (1.0 - detected).astype(np.float32)
    stack = np.concatenate([light * kept, kept[None]])
    smooth = scipy.fft.irfft2(
        scipy.fft.rfft2(stack, s=(padded, padded)) * transfer.astype(np.float32), s=(padded, padded)
    )[:, :size, :size]
    return np.asarray(smooth[:-1] / np.maximum(smooth[-1], 0.02), dtype=np.float32)
