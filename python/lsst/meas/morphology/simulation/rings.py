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

"""Rings of disks."""

from __future__ import annotations

__all__ = ("RING_SHARE", "add_rings", "open_gaps", "ring_share")

import numpy as np
import numpy.typing as npt

from .galaxies import GalaxyParameters
from .grid import Grid, uniform_details, wide

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

RING_SHARE = 0.35
"""Part of a disk's light in its ring at full strength."""


def ring_share(p: GalaxyParameters) -> Floats:
    """Return the part of each disk's light that is in its ring, ``[n]``."""
    return np.asarray(RING_SHARE * p.ring_strength)


def open_gaps(p: GalaxyParameters, image: Image, radius: Image) -> None:
    """Darken disks in place within their rings.

    Parameters
    ----------
    p
        The disks.
    image
        Images of the old stars, ``[n, size, size]``.
    radius
        Distance from the centre in the disk's plane in arcsec, of the same
        shape.
    """
    which = np.flatnonzero(p.ring_strength > 0.0)
    if len(which):
        centre = wide((p.ring_radius * p.half_light / 1.678)[which])
        gap = np.exp(-0.5 * ((radius[which] - 0.7 * centre) / (0.16 * centre)) ** 2)
        image[which] *= 1.0 - wide(0.6 * p.ring_strength[which]) * gap


def add_rings(p: GalaxyParameters, image: Image, light: Floats, u: Image, v: Image, grid: Grid) -> None:
    """Add rings of young stars in place.

    A ring is Gaussian across, up to an eighth longer than wide along the
    bar, and its brightness varies by up to half around it.

    Parameters
    ----------
    p
        The disks.
    image
        Images of the young stars, ``[n, size, size]``.
    light
        Part of the galaxy's light in its ring, ``[n]``.
    u, v
        Coordinates in the disk's plane, in arcsec, of the shape of the
        images.
    grid
        The grids.
    """
    which = np.flatnonzero(light > 0.0)
    if not len(which):
        return
    q, part = p[which], grid.take(which)
    details = uniform_details(q.seed + np.uint64(409), 3)
    c, s = wide(np.cos(q.bar_angle)), wide(np.sin(q.bar_angle))
    along = (c * u[which] + s * v[which]) * wide(1.0 - 0.12 * details[:, 0])
    across = c * v[which] - s * u[which]
    centre = q.ring_radius * q.half_light / 1.678
    width = np.maximum(q.ring_width * centre, 0.5 * part.scale)
    radius = np.hypot(along, across)
    ring = np.exp(-0.5 * ((radius - wide(centre)) / wide(width)) ** 2)
    ring *= 1.0 + wide(0.5 * details[:, 1]) * np.sin(
        2.0 * np.arctan2(across, along) + wide(6.3 * details[:, 2])
    )
    # The ring's light in the whole plane, of which the grid may hold less.
    apparent = np.hypot(q.axis_ratio, q.thickness * np.sqrt(1.0 - q.axis_ratio**2))
    total = (2.0 * np.pi) ** 1.5 * centre * width * apparent / (1.0 - 0.12 * details[:, 0])
    image[which] += ring * wide(light[which] * part.scale**2 / total)
