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

"""What looks faint and extended but is no debris: halos, ghosts, cirrus."""

from __future__ import annotations

__all__ = ("Faint", "draw_cirrus", "draw_ghost", "draw_halos")

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.fft

from ...surface_brightness import to_njy
from ..galaxies import colour_offset
from ..grid import soft_edge
from .neighbours import Field

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

_HALO_FAINTEST = 18.5
_HALO_SHARE = 0.0012
_HALO_RADIUS = 2.0
_BRIGHT_STARS = 0.25
_BRIGHT_MAGNITUDES = (9.5, 15.0)
_SPIKE_BRIGHTEST = 14.5


@dataclasses.dataclass(frozen=True)
class Faint:
    """Faint light across a stamp."""

    image: Image
    """Surface brightness in nJy per arcsec**2, ``[band, size, size]``."""

    present: bool
    """Whether there is any worth naming."""


def _coordinates(size: int, pixel_scale: float) -> tuple[Image, Image]:
    """Return positions from the centre in arcsec, as row and column."""
    axis = ((np.arange(size) - (size - 1) / 2.0) * pixel_scale).astype(np.float32)
    return axis[None, :], axis[:, None]


def draw_halos(
    rng: np.random.Generator, bands: tuple[str, ...], field: Field, *, size: int, pixel_scale: float
) -> Faint:
    """Draw the halos of a field's stars, and of a bright star near it.

    Four per cent of a star's light lie in a halo that falls with a power of
    2.5 to 3 of the distance. One stamp in four has a star of 9.5th to 15th
    magnitude in it or just outside, which also has a reflection, a disk of
    20 to 60 arcsec, and spikes.

    Parameters
    ----------
    rng
        Source of random numbers.
    bands
        Names of the bands.
    field
        The stars of the field.
    size
        Side of the stamp in pixels.
    pixel_scale
        Arcsec per pixel.

    Returns
    -------
    halos
        The halos; present if there is a bright star.
    """
    x, y = _coordinates(size, pixel_scale)
    image = np.zeros((len(bands), size, size), dtype=np.float32)
    offsets = np.array([colour_offset(band) for band in bands])

    def weights(flux: float, colour: float) -> Image:
        return (flux * 10.0 ** (-0.4 * offsets * colour)).astype(np.float32)[:, None, None]

    steepness = rng.uniform(1.25, 1.5)
    for k in np.flatnonzero(field.star_flux > 10.0 ** (0.4 * (31.4 - _HALO_FAINTEST))).tolist():
        distance2 = (x - np.float32(field.star_x[k])) ** 2 + (y - np.float32(field.star_y[k])) ** 2
        image += weights(field.star_flux[k], field.star_colour[k]) * _halo(distance2, steepness)
    present = bool(rng.random() < _BRIGHT_STARS)
    if present:
        magnitude, colour, angle = (
            rng.uniform(*_BRIGHT_MAGNITUDES),
            rng.uniform(0.2, 1.3),
            rng.uniform(0, np.pi),
        )
        # The brighter, the farther away: hosts beneath stars aren't targets.
        side = size * pixel_scale
        nearest = max(8.0, 45.0 - 6.0 * (magnitude - 9.5))
        distance = rng.uniform(nearest, max(0.9 * side, nearest + 20.0))
        azimuth = rng.uniform(0.0, 2.0 * np.pi)
        dx = x - np.float32(distance * np.cos(azimuth))
        dy = y - np.float32(distance * np.sin(azimuth))
        distance2 = dx * dx + dy * dy
        star = _halo(distance2, steepness) + _core(distance2, pixel_scale)
        radius = np.float32(rng.uniform(20.0, 60.0))
        share = 10.0 ** rng.uniform(-3.2, -2.5)
        star += np.float32(share / (np.pi * radius**2)) * soft_edge((np.sqrt(distance2) - radius) / 3.0)
        if magnitude < _SPIKE_BRIGHTEST:
            c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            star += _spikes(c * dx + s * dy, c * dy - s * dx, pixel_scale)
        image += weights(10.0 ** (0.4 * (31.4 - magnitude)), colour) * star
    return Faint(image, present)


def _halo(distance2: Image, steepness: float) -> Image:
    """Return the halo of a star of unit flux (per arcsec**2)."""
    return np.asarray(
        np.float32(_HALO_SHARE) * (1.0 + distance2 / np.float32(_HALO_RADIUS**2)) ** np.float32(-steepness),
        dtype=np.float32,
    )


def _core(distance2: Image, pixel_scale: float) -> Image:
    """Return the core of a star of unit flux (per arcsec**2)."""
    sigma2 = np.float32(max(0.45, 0.6 * pixel_scale) ** 2)
    return np.asarray(np.exp(distance2 / (-2.0 * sigma2)) / (2.0 * np.pi * sigma2), dtype=np.float32)


def _spikes(along: Image, across: Image, pixel_scale: float) -> Image:
    """Return the diffraction spikes of a star of unit flux (per arcsec**2)."""
    width = np.float32(max(0.4, 0.6 * pixel_scale))
    total = np.zeros(np.broadcast_shapes(along.shape, across.shape), dtype=np.float32)
    for a, b in ((along, across), (across, along)):
        total += np.exp(-0.5 * (b / width) ** 2) / (1.0 + np.abs(a) / 1.5) ** 1.8
    return np.asarray(total * np.float32(0.001 * 0.25 / width), dtype=np.float32)


def draw_ghost(rng: np.random.Generator, bands: tuple[str, ...], *, size: int, pixel_scale: float) -> Image:
    """Draw a ghost: the pupil out of focus, a disk with a hole.

    Radii of 12 to 130 arcsec, 25.3 to 28.3 mag per square arcsec, so that
    of large ones only an arc crosses the stamp.

    Parameters
    ----------
    rng
        Source of random numbers.
    bands
        Names of the bands.
    size
        Side of the stamp in pixels.
    pixel_scale
        Arcsec per pixel.

    Returns
    -------
    image
        Surface brightness in nJy per arcsec**2, ``[band, size, size]``.
    """
    x, y = _coordinates(size, pixel_scale)
    radius = 10.0 ** rng.uniform(1.08, 2.1)
    # Its edge passes the host at less than half the side.
    edge = rng.uniform(-0.4, 0.4) * size * pixel_scale
    azimuth = rng.uniform(0.0, 2.0 * np.pi)
    centre = radius + edge
    distance = np.sqrt(
        (x - np.float32(centre * np.cos(azimuth))) ** 2 + (y - np.float32(centre * np.sin(azimuth))) ** 2
    )
    hole, softness = rng.uniform(0.35, 0.65) * radius, rng.uniform(0.6, 3.0)
    shape = soft_edge((distance - np.float32(radius)) / np.float32(softness))
    shape *= 1.0 - soft_edge((distance - np.float32(hole)) / np.float32(softness))
    # Brighter towards one side, as vignetting leaves them.
    tilt = rng.uniform(-0.3, 0.3) / radius
    shape *= np.clip(1.0 + np.float32(tilt) * (x + y), 0.2, 2.0)
    surface = float(to_njy(rng.uniform(25.3, 28.3)))
    spectrum = np.array([10.0 ** (-0.4 * colour_offset(band) * 0.6) for band in bands])
    spectrum *= np.exp(rng.normal(0.0, 0.4, len(bands))) * surface
    return np.asarray(spectrum.astype(np.float32)[:, None, None] * shape, dtype=np.float32)


def draw_cirrus(rng: np.random.Generator, bands: tuple[str, ...], *, size: int) -> Image:
    """Draw dust of the Milky Way that reflects starlight.

    A lognormal field over noise with a power spectrum of slope -2.7 to -3.3
    (Miville-Deschenes et al. 2016 find -2.9), of 25.6 to 28 mag per square
    arcsec at one sigma, bluer in r - i than galaxies of its g - r (Roman et
    al. 2020). The sky's subtraction has taken its lowest level.

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
    image
        Surface brightness in nJy per arcsec**2, ``[band, size, size]``.
    """
    # Part of a larger field: noise of its own size would be periodic.
    large = 2 * size
    noise = rng.standard_normal((large, large), dtype=np.float32)
    fy, fx = np.fft.fftfreq(large)[:, None], np.fft.rfftfreq(large)[None, :]
    # Filaments: stretched along one direction.
    angle, stretch = rng.uniform(0.0, np.pi), rng.uniform(1.0, 2.2)
    u = (np.cos(angle) * fx + np.sin(angle) * fy) * stretch
    v = np.cos(angle) * fy - np.sin(angle) * fx
    frequency = np.hypot(u, v)
    frequency[0, 0] = 1.0
    power = -0.5 * rng.uniform(2.7, 3.3)
    spectrum = scipy.fft.rfft2(noise) * (frequency**power).astype(np.float32)
    spectrum[0, 0] = 0.0
    field = scipy.fft.irfft2(spectrum, s=(large, large))[:size, :size]
    field -= field.mean()
    field /= max(float(field.std()), 1e-12)
    field = np.exp(np.float32(rng.uniform(0.4, 0.9)) * field)
    field -= np.quantile(field, 0.05)
    field *= np.float32(float(to_njy(rng.uniform(25.6, 28.0))) / max(float(field.std()), 1e-12))
    colours = {"g": rng.uniform(0.35, 0.7), "r": 0.0, "i": -rng.uniform(0.0, 0.3)}
    steps = [colours.get(band, colour_offset(band) * 0.3) for band in bands]
    weights = 10.0 ** (-0.4 * np.array(steps))
    return np.asarray(weights.astype(np.float32)[:, None, None] * field, dtype=np.float32)
