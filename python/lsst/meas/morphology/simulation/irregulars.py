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

"""Irregular galaxies: disks without order."""

from __future__ import annotations

__all__ = ("PATCH_SHARE", "add_patches", "off_centre", "patch_share")

import numpy as np
import numpy.typing as npt

from .galaxies import GalaxyParameters
from .grid import Grid, normalise, uniform_details, wide

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

PATCH_SHARE = 0.6
"""Part of a wholly irregular disk's light in patches of young stars."""

_WAVES = 5


def patch_share(p: GalaxyParameters) -> Floats:
    """Return the part of each disk's light that is in patches, ``[n]``."""
    return np.asarray(PATCH_SHARE * p.lopsidedness)


def off_centre(p: GalaxyParameters) -> tuple[Floats, Floats]:
    """Return where the old stars' centre is, in the disk's plane.

    Returns
    -------
    along, across
        In scale lengths, ``[n]`` each; 0 for regular disks.
    """
    azimuth = 2.0 * np.pi * uniform_details(p.seed + np.uint64(611), 1)[:, 0]
    distance = 0.7 * p.lopsidedness
    return distance * np.cos(azimuth), distance * np.sin(azimuth)


def add_patches(p: GalaxyParameters, image: Image, light: Floats, u: Image, v: Image, grid: Grid) -> None:
    """Add the young stars of irregular disks in place.

    An exponential disk, brighter on the side away from the old stars, is
    broken up by the sum of a few waves, 1.5 to 5 scale lengths long.

    Parameters
    ----------
    p
        The disks.
    image
        Images of the young stars, ``[n, size, size]``.
    light
        Part of the galaxy's light in patches, ``[n]``.
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
    scale = q.half_light / 1.678
    details = uniform_details(q.seed + np.uint64(613), 3 * _WAVES).reshape(len(which), 3, _WAVES)
    x, y = u[which] / wide(scale), v[which] / wide(scale)
    # Bent coordinates, since a few straight waves make a lattice.
    bend = uniform_details(q.seed + np.uint64(617), 4)
    x, y = (
        x + 0.6 * np.sin(wide(0.9 + 0.9 * bend[:, 0]) * y + wide(6.3 * bend[:, 1])),
        y + 0.6 * np.sin(wide(0.9 + 0.9 * bend[:, 2]) * x + wide(6.3 * bend[:, 3])),
    )
    sum_of_waves = np.zeros_like(x)
    for k in range(_WAVES):
        number = 2.0 * np.pi / (1.5 + 3.5 * details[:, 0, k])
        azimuth, phase = 2.0 * np.pi * details[:, 1, k], 2.0 * np.pi * details[:, 2, k]
        sum_of_waves += np.sin(
            wide(number * np.cos(azimuth)) * x + wide(number * np.sin(azimuth)) * y + wide(phase)
        )
    along, across = off_centre(q)
    patches = np.exp(wide(q.lopsidedness) * sum_of_waves - np.hypot(x + wide(along), y + wide(across)))
    image[which] += normalise(patches, light[which], q.half_light, np.ones(len(q)), part)
