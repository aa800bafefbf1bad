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

"""Seeing, depth and noise of simulated coadds."""

from __future__ import annotations

__all__ = (
    "NATIVE_SCALE",
    "Conditions",
    "add_noise",
    "band_fwhm",
    "convolve",
    "draw_conditions",
    "electrons_per_njy",
    "resampled_correlation",
    "sky_sigma",
)

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.fft

type Floats = npt.NDArray[np.float64]
type Image = npt.NDArray[np.float32]

NATIVE_SCALE = 0.2
"""Pixel scale of LSST's coadds (arcsec)."""

_VISIT_DEPTH = {"u": 23.5, "g": 24.4, "r": 23.9, "i": 23.5, "z": 22.9, "y": 22.0}
"""Magnitude of a point source at five sigma in one visit, FWHM 0.9 arcsec."""

_GAIN = {"u": 0.5, "g": 2.2, "r": 1.8, "i": 1.3, "z": 0.9, "y": 0.4}
"""Electrons per nJy in one visit of 30 s."""

_SEEING_COLOUR = {"u": 1.12, "g": 1.07, "r": 1.0, "i": 0.96, "z": 0.94, "y": 0.93}
"""FWHM over that in r."""

_KOLMOGOROV_FWHM = 0.9758634299
"""FWHM of Kolmogorov seeing in units of wavelength over Fried length."""


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under what conditions objects are seen, in each band."""

    bands: tuple[str, ...]
    """Names of the bands."""

    fwhm: Floats
    """FWHM of the point spread function in arcsec, ``[n, band]``."""

    visits: Floats
    """Number of visits, ``[n, band]``."""

    sigma: Floats
    """Noise of the sky in nJy per native pixel, ``[n, band]``."""

    def reference(self) -> tuple[Floats, Floats]:
        """Return FWHM and sigma in r, or else in the middle band, ``[n]``."""
        b = self.bands.index("r") if "r" in self.bands else len(self.bands) // 2
        return self.fwhm[:, b], self.sigma[:, b]


def sky_sigma(band: str, visits: npt.ArrayLike) -> Floats:
    """Return the noise of the sky in a coadd.

    A point source of FWHM ``w`` pixels spreads over 2.266 w**2 pixels
    (Ivezic et al. 2019), whose noise is a fifth of its flux at five sigma.

    Parameters
    ----------
    band
        Name of the band.
    visits
        Number of visits.

    Returns
    -------
    sigma
        Noise in nJy per native pixel.
    """
    flux = 10.0 ** (0.4 * (31.4 - _VISIT_DEPTH[band]))
    area = 2.266 * (0.9 / NATIVE_SCALE) ** 2
    return np.asarray(flux / 5.0 / np.sqrt(area) / np.sqrt(np.asarray(visits, dtype=np.float64)))


def band_fwhm(band: str, reference: float) -> float:
    """Return the FWHM in a band where that in r is the reference."""
    return _SEEING_COLOUR[band] * reference


def electrons_per_njy(band: str) -> float:
    """Return the electrons that one visit collects per nJy."""
    return _GAIN[band]


def draw_conditions(rng: np.random.Generator, n: int, bands: tuple[str, ...]) -> Conditions:
    """Draw seeing and depth of coadds, one per object.

    The FWHM in r has a median of 1 arcsec (0.62 to 1.7), the number of
    visits is uniform in its logarithm from 10 to 200.

    Parameters
    ----------
    rng
        Source of random numbers.
    n
        Number of objects.
    bands
        Names of the bands.

    Returns
    -------
    conditions
        The conditions.
    """
    seeing = np.clip(np.exp(rng.normal(0.0, 0.22, n)), 0.62, 1.7)
    visits = 10.0 ** rng.uniform(1.0, 2.3, n)
    scatter = np.exp(rng.normal(0.0, 0.05, (n, len(bands))))
    spread = np.clip(visits[:, None] * np.exp(rng.normal(0.0, 0.25, (n, len(bands)))), 8.0, 250.0)
    fwhm = seeing[:, None] * np.array([_SEEING_COLOUR[b] for b in bands]) * scatter
    sigma = np.stack([sky_sigma(b, spread[:, j]) for j, b in enumerate(bands)], axis=1)
    return Conditions(bands, fwhm, spread, sigma.reshape(n, len(bands)))


def convolve(
    image: Image, fwhm: Floats, pixel_scale: Floats, *, box: float = NATIVE_SCALE, boxes: int = 1
) -> Image:
    """Convolve images with the seeing and with pixels.

    The seeing's transform is Kolmogorov's, ``exp(-3.44 (f w / 0.976)**(5/3))``
    for the FWHM ``w`` and the frequency ``f`` (Fried 1966).

    Parameters
    ----------
    image
        Images, ``[n, band, size, size]``, convolved as if periodic.
    fwhm
        FWHM in arcsec, ``[n, band]``.
    pixel_scale
        Arcsec per pixel of the images, ``[n]``.
    box
        Side of a square to convolve with, in arcsec.
    boxes
        How often to do so: once for the pixel of a coadd, three times if
        its pixels are then interpolated linearly.

    Returns
    -------
    convolved
        Of the same shape.
    """
    size = image.shape[-1]
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    power = (np.hypot(fx, fy) ** (5.0 / 3.0)).astype(np.float32)
    strength = 3.4419 * (fwhm / pixel_scale[:, None] / _KOLMOGOROV_FWHM) ** (5.0 / 3.0)
    ratio = (box / pixel_scale)[:, None]
    box_x = (np.sinc(ratio * fx) ** boxes).astype(np.float32)
    box_y = (np.sinc(ratio * fy[:, 0]) ** boxes).astype(np.float32)
    spectrum = scipy.fft.rfft2(image, axes=(-2, -1))
    transfer = np.exp(-strength.astype(np.float32)[:, :, None, None] * power)
    transfer *= (box_y[:, :, None] * box_x[:, None, :])[:, None]
    spectrum *= transfer
    return np.asarray(scipy.fft.irfft2(spectrum, s=(size, size), axes=(-2, -1)), dtype=np.float32)


def resampled_correlation(scale: npt.ArrayLike, lag: float) -> Floats:
    r"""Return the correlation, along one axis, of resampled white noise.

    Pixels of unit variance are interpolated linearly and integrated over
    stamp pixels of ``s`` pixels, so the correlation at a distance ``d`` is,
    averaged over phases, box \* box \* triangle \* triangle,

    .. math:: \delta_s^2 \delta_1^4 |d|^5 / 240.

    Parameters
    ----------
    scale
        Pixels per stamp pixel, ``s``.
    lag
        Distance in stamp pixels.
    """
    s = np.asarray(scale, dtype=np.float64)
    total = np.zeros_like(s)
    for j, c in ((-1, 1.0), (0, -2.0), (1, 1.0)):
        for k, d in ((-2, 1.0), (-1, -4.0), (0, 6.0), (1, -4.0), (2, 1.0)):
            total = total + c * d * np.abs(lag * s + j * s + k) ** 5
    return np.asarray(total / 240.0)


def _resampled_noise(rng: np.random.Generator, shape: tuple[int, ...], scale: Floats) -> Image:
    """Draw noise as the resampling of unit white noise leaves it.

    Variance and correlation with the next pixel are right, by a filter of
    three taps along each axis.
    """
    noise = rng.standard_normal((*shape[:2], shape[2] + 2, shape[3] + 2), dtype=np.float32)
    variance, next_to = resampled_correlation(scale, 0.0), resampled_correlation(scale, 1.0)
    root = np.sqrt(np.maximum(variance**2 - 2.0 * next_to**2, 0.0))
    side = np.sqrt((variance - root) / 4.0).astype(np.float32)[:, None, None, None]
    middle = np.sqrt((variance + root) / 2.0).astype(np.float32)[:, None, None, None]
    noise = middle * noise[..., 1:-1] + side * (noise[..., :-2] + noise[..., 2:])
    return np.asarray(middle * noise[:, :, 1:-1] + side * (noise[:, :, :-2] + noise[:, :, 2:]))


def add_noise(
    rng: np.random.Generator,
    image: Image,
    bands: tuple[str, ...],
    sigma: Floats,
    visits: Floats,
    pixel_ratio: npt.ArrayLike,
) -> None:
    """Add the noise that stamps have of sky and source, in place.

    Parameters
    ----------
    rng
        Source of random numbers.
    image
        Images, ``[n, band, size, size]``.
    bands
        Names of the bands.
    sigma
        Noise of the sky in nJy per native pixel, ``[n, band]``.
    visits
        Number of visits, ``[n, band]``.
    pixel_ratio
        Side of the images' pixels over the native one, a number or ``[n]``.
    """
    scale = np.broadcast_to(np.asarray(pixel_ratio, dtype=np.float64), (image.shape[0],))
    gain = np.array([_GAIN[b] for b in bands]) * visits
    variance = (
        np.maximum(image, 0.0) * (1.0 / gain / scale[:, None] ** 2).astype(np.float32)[:, :, None, None]
    )
    variance += (sigma**2).astype(np.float32)[:, :, None, None]
    noise = _resampled_noise(rng, image.shape, scale)
    noise *= np.sqrt(variance)
    image += noise
