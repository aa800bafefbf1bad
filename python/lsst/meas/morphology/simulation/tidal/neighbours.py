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

"""Stars and galaxies that happen to lie in the field."""

from __future__ import annotations

__all__ = ("Field", "paint_field")

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from ..galaxies import colour_offset

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

_SLOPE = 0.78
"""Natural logarithm by which galaxy counts rise per magnitude."""

_AT_25 = 30.0
"""Galaxies brighter than 25th magnitude in i per square arcmin."""

_BRIGHTEST, _RESOLVED, _EXTENDED, _FAINTEST = 16.0, 22.0, 24.5, 26.5
_STARS = 2.5
"""Stars between the 15th and the 23rd magnitude per square arcmin."""

_STAR_MAGNITUDES = (15.0, 23.0)
_FAINTEST_SURFACE = 31.0
_CLEAR = 1.0
"""Bright neighbours are at least so many half-light radii away: others are
blended with the host, and no two objects to the pipeline."""


@dataclasses.dataclass(frozen=True)
class Field:
    """What lies around the host of one stamp."""

    image: Image
    """Flux per pixel before the atmosphere (nJy), ``[band, size, size]``."""

    star_flux: Floats
    """Fluxes of the stars in i (nJy), ``[star]``."""

    star_x: Floats
    """Their positions from the stamp's centre (arcsec), ``[star]``."""

    star_y: Floats
    """As `star_x`."""

    star_colour: Floats
    """Their g - r, ``[star]``."""


def paint_field(
    rng: np.random.Generator, bands: tuple[str, ...], *, size: int, pixel_scale: float, half_light: float
) -> Field:
    """Draw and paint the stars and galaxies around a host.

    Galaxies brighter than i = 22 have Sersic profiles down to 31 mag per
    square arcsec, fainter ones are Gaussians, and those beyond 24.5, which
    make the sky uneven, are points. Of stars only the core is painted.

    Parameters
    ----------
    rng
        Source of random numbers.
    bands
        Names of the bands.
    size
        Side of the grid in pixels.
    pixel_scale
        Arcsec per pixel.
    half_light
        Half-light radius of the host in arcsec.

    Returns
    -------
    field
        The field.
    """
    side = size * pixel_scale
    area = (side / 60.0) ** 2
    image = np.zeros((len(bands), size, size), dtype=np.float32)
    offsets = np.array([colour_offset(band) for band in bands])

    def draw(brightest: float, faintest: float) -> tuple[Floats, ...]:
        counts = _AT_25 * np.exp(_SLOPE * (np.array([brightest, faintest]) - 25.0))
        number = int(rng.poisson(area * (counts[1] - counts[0])))
        end = np.exp(_SLOPE * (brightest - faintest))
        magnitude = faintest + np.log(rng.uniform(end, 1.0, number)) / _SLOPE
        x, y = rng.uniform(-0.5, 0.5, (2, number)) * side
        flux = 10.0 ** (0.4 * (31.4 - magnitude[:, None] - offsets * rng.normal(0.8, 0.3, (number, 1))))
        return magnitude, x, y, flux

    magnitude, x, y, flux = draw(_BRIGHTEST, _RESOLVED)
    for k in np.flatnonzero(np.hypot(x, y) > _CLEAR * half_light).tolist():
        _add_galaxy(image, rng, float(magnitude[k]), float(x[k]), float(y[k]), flux[k], pixel_scale)
    magnitude, x, y, flux = draw(_RESOLVED, _EXTENDED)
    width = 10.0 ** (-0.45 - 0.07 * (magnitude - 22.0) + rng.normal(0.0, 0.15, len(x)))
    _add_gaussians(image, x, y, width, flux, pixel_scale)
    _, x, y, flux = draw(_EXTENDED, _FAINTEST)
    _add_points(image, x, y, flux, pixel_scale)
    number = int(rng.poisson(area * _STARS))
    star_magnitude = rng.uniform(*_STAR_MAGNITUDES, number)
    star_x, star_y = rng.uniform(-0.5, 0.5, (2, number)) * side
    star_magnitude = star_magnitude[apart := np.hypot(star_x, star_y) > _CLEAR * half_light]
    star_x, star_y, colour = star_x[apart], star_y[apart], rng.uniform(0.3, 1.4, number)[apart]
    star_flux = 10.0 ** (0.4 * (31.4 - star_magnitude))
    seen = star_flux[:, None] * 10.0 ** (-0.4 * offsets * colour[:, None])
    _add_points(image, star_x, star_y, seen, pixel_scale)
    return Field(image, star_flux, star_x, star_y, colour)


def _add_galaxy(
    image: Image,
    rng: np.random.Generator,
    magnitude: float,
    x: float,
    y: float,
    flux: Floats,
    pixel_scale: float,
) -> None:
    """Add a galaxy with a Sersic profile that has no visible edge."""
    half_light = 10.0 ** (0.36 - 0.125 * (magnitude - 18.0) + rng.normal(0.0, 0.17))
    n = rng.choice([0.8, 1.0, 1.0, 1.5, 2.5, 4.0])
    q, angle = rng.uniform(0.25, 1.0), rng.uniform(0.0, np.pi)
    b = 2.0 * n - 1.0 / 3.0
    # Central surface brightness, by the mean within the half-light radius.
    centre = magnitude + 2.5 * np.log10(2.0 * np.pi * q * half_light**2) + 1.0 - 1.0857 * b
    faintest = max(_FAINTEST_SURFACE - centre, 1.0) / 1.0857
    radius = half_light * (faintest / b) ** n
    size = image.shape[-1]
    columns, rows = (_window(position, radius, pixel_scale, size) for position in (x, y))
    if columns[0] >= columns[1] or rows[0] >= rows[1]:
        return
    dx = (np.arange(*columns) - (size - 1) / 2.0) * pixel_scale - x
    dy = ((np.arange(*rows) - (size - 1) / 2.0) * pixel_scale - y)[:, None]
    c, s = np.cos(angle), np.sin(angle)
    u, v = c * dx + s * dy, (c * dy - s * dx) / q
    distance = np.sqrt(u * u + v * v + (0.3 * pixel_scale) ** 2) / half_light
    profile = np.exp(-b * distance ** (1.0 / n)).astype(np.float32)
    # Of unit sum over the plane, after Ciotti & Bertin (1999).
    total = 2.0 * np.pi * q * half_light**2 * n * b ** (-2.0 * n) * math.gamma(2.0 * n)
    profile *= pixel_scale**2 / total
    image[:, rows[0] : rows[1], columns[0] : columns[1]] += flux.astype(np.float32)[:, None, None] * profile


def _window(centre: float, radius: float, pixel_scale: float, size: int) -> tuple[int, int]:
    """Return the range of pixels within a radius along one axis."""
    middle = centre / pixel_scale + (size - 1) / 2.0
    reach = radius / pixel_scale
    return max(int(np.floor(middle - reach)), 0), min(int(np.ceil(middle + reach)) + 1, size)


def _add_gaussians(
    image: Image, x: Floats, y: Floats, sigma: Floats, flux: Floats, pixel_scale: float
) -> None:
    """Add round Gaussians; fluxes are ``[object, band]``."""
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2.0) * pixel_scale
    width = np.maximum(sigma, 0.45 * pixel_scale)[:, None]
    along = np.exp(-0.5 * ((axis - x[:, None]) / width) ** 2).astype(np.float32)
    across = np.exp(-0.5 * ((axis - y[:, None]) / width) ** 2).astype(np.float32)
    peak = (flux * pixel_scale**2 / (2.0 * np.pi * width**2)).astype(np.float32)
    image += np.matmul((across[:, None] * peak[:, :, None]).transpose(1, 2, 0), along)


def _add_points(image: Image, x: Floats, y: Floats, flux: Floats, pixel_scale: float) -> None:
    """Share points among the four pixels around them."""
    size = image.shape[-1]
    column, row = x / pixel_scale + (size - 1) / 2.0, y / pixel_scale + (size - 1) / 2.0
    left, below = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    column, row = column - left, row - below
    flat = image.reshape(len(image), -1)
    for i, wx in ((0, 1.0 - column), (1, column)):
        for j, wy in ((0, 1.0 - row), (1, row)):
            inside = (left + i >= 0) & (left + i < size) & (below + j >= 0) & (below + j < size)
            where = ((below + j) * size + left + i)[inside]
            for band in range(len(flat)):
                np.add.at(flat[band], where, (flux[:, band] * wx * wy)[inside].astype(np.float32))
