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

"""Pixel grids to paint on, and profiles that many objects share."""

from __future__ import annotations

__all__ = (
    "Grid",
    "normalise",
    "sersic",
    "soft_edge",
    "uniform_details",
    "wide",
)

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]


def uniform_details(seed: npt.NDArray[np.uint64], count: int) -> Floats:
    """Return numbers between 0 and 1 that depend on the seeds alone.

    They are splitmix64's, so an object's details do not depend on its
    neighbours in an array.

    Parameters
    ----------
    seed
        One seed per object, ``[n]``.
    count
        Numbers per object.

    Returns
    -------
    numbers
        Of shape ``[n, count]``.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = seed[:, None] + step * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


class Grid:
    """Coordinates in arcsec from the objects' centres."""

    def __init__(self, size: int, scale: Floats, dx: Floats, dy: Floats) -> None:
        axis = np.arange(size) - (size - 1) / 2.0
        self.size = size
        self.scale = scale
        self.axis_x = (axis * scale[:, None] - dx[:, None]).astype(np.float32)
        self.axis_y = (axis * scale[:, None] - dy[:, None]).astype(np.float32)
        self.half_width = scale * size / 2.0

    def take(self, which: npt.NDArray[np.int64]) -> Grid:
        """Return the grids of some of the objects."""
        part = object.__new__(Grid)
        part.size = self.size
        part.scale, part.half_width = self.scale[which], self.half_width[which]
        part.axis_x, part.axis_y = self.axis_x[which], self.axis_y[which]
        return part

    def rotated(
        self, angle: Floats, x0: Floats | float = 0.0, y0: Floats | float = 0.0
    ) -> tuple[Image, Image]:
        """Return coordinates along and across a direction."""
        c, s = wide(np.cos(angle)), wide(np.sin(angle))
        x = self.axis_x[:, None, :] - wide(np.broadcast_to(x0, angle.shape))
        y = self.axis_y[:, :, None] - wide(np.broadcast_to(y0, angle.shape))
        return c * x + s * y, c * y - s * x

    def blobs(self, x: Floats, y: Floats, sigma: Floats, flux: Floats) -> Image:
        """Return the sum of round Gaussians, ``[n, size, size]``.

        The arguments have the shape ``[n, blob]``.
        """
        width = np.maximum(sigma, 0.45 * self.scale[:, None])[:, :, None].astype(np.float32)
        along = np.exp(-0.5 * ((self.axis_x[:, None, :] - x[:, :, None].astype(np.float32)) / width) ** 2)
        across = np.exp(-0.5 * ((self.axis_y[:, None, :] - y[:, :, None].astype(np.float32)) / width) ** 2)
        peak = flux * (self.scale[:, None]) ** 2 / (2.0 * np.pi * width[:, :, 0] ** 2)
        return np.asarray(
            np.matmul((across * peak[:, :, None].astype(np.float32)).transpose(0, 2, 1), along),
            dtype=np.float32,
        )


def wide(values: npt.ArrayLike) -> Image:
    """Give per-object numbers two axes of length one."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


def normalise(profile: Image, share: Floats, radius: Floats, n: Floats, grid: Grid) -> Image:
    """Scale a profile to its share of light within the grid.

    What lies beyond the grid is taken from a Sersic profile's curve of
    growth.
    """
    b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n)
    inside = gammainc(2.0 * n, b * (1.1 * grid.half_width / radius) ** (1.0 / n))
    total = np.maximum(profile.sum(axis=(1, 2), dtype=np.float64), 1e-30)
    profile *= wide(share * inside / total)
    return profile


def sersic(radius2: Image, half_light: Floats, n: Floats, grid: Grid) -> Image:
    """Return a Sersic profile of the squared radius, not normalised."""
    soft = (0.3 * grid.scale) ** 2
    b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n)
    return np.asarray(
        np.exp(-wide(b) * ((radius2 + wide(soft)) / wide(half_light**2)) ** wide(0.5 / n)),
        dtype=np.float32,
    )


def soft_edge(x: npt.NDArray[np.floating]) -> Image:
    """Return one inside and zero outside, with a soft edge at zero."""
    return np.asarray(0.5 - 0.5 * np.tanh(1.5 * x), dtype=np.float32)
