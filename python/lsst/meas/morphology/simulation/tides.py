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

"""Companions and tidal tails."""

from __future__ import annotations

__all__ = (
    "TAIL_SHARE",
    "add_merging",
    "own_share",
)

import numpy as np
import numpy.typing as npt

from .galaxies import GalaxyParameters
from .grid import Grid, normalise, sersic, uniform_details, wide

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

TAIL_SHARE = 0.22
"""Part of a galaxy's light in its tails at full strength."""


def own_share(p: GalaxyParameters) -> Floats:
    """Part of the light that is neither in tails nor in the companion."""
    return np.asarray((1.0 - TAIL_SHARE * p.disturbance) / (1.0 + p.companion_ratio))


def add_merging(p: GalaxyParameters, red: Image, blue: Image, grid: Grid) -> None:
    """Add companions and tidal tails in place."""
    which = np.flatnonzero((p.companion_ratio > 0.0) | (p.disturbance > 0.0))
    if not len(which):
        return
    q = p[which]
    part = grid.take(which)
    details = uniform_details(q.seed + np.uint64(991), 8)
    ratio = np.maximum(q.companion_ratio, 1e-3)
    distance = q.companion_distance * q.half_light
    x0, y0 = distance * np.cos(q.companion_angle), distance * np.sin(q.companion_angle)
    u, v = part.rotated(q.angle + np.pi * details[:, 0], x0, y0)
    size = q.half_light * np.sqrt(ratio) * (0.6 + 0.4 * details[:, 1])
    n = 1.0 + 1.5 * details[:, 2]
    second = sersic(u * u + (v / wide(0.35 + 0.6 * details[:, 3])) ** 2, size, n, part)
    share = (1.0 - TAIL_SHARE * q.disturbance) * q.companion_ratio / (1.0 + q.companion_ratio)
    # The curve of growth is the companion's own, off centre; good enough.
    second = normalise(second, share, size, n, part)
    tails = _tails(q, details, part)
    red[which] += second * 0.7 + tails * 0.5
    blue[which] += second * 0.3 + tails * 0.5


def _tails(q: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Return two tidal arms that wind out of the disk, as beads."""
    count = 14
    t = np.linspace(0.0, 1.0, count)
    length = q.half_light * (2.0 + 1.8 * details[:, 4])
    winding = (1.2 + 1.4 * details[:, 5]) * np.where(details[:, 6] < 0.5, 1.0, -1.0)
    radius = q.half_light[:, None] + t * length[:, None]
    azimuth = q.companion_angle[:, None] + winding[:, None] * t
    second = q.companion_angle[:, None] + np.pi + 0.8 * winding[:, None] * t
    x = np.concatenate([radius * np.cos(azimuth), 0.85 * radius * np.cos(second)], axis=1)
    y = np.concatenate([radius * np.sin(azimuth), 0.85 * radius * np.sin(second)], axis=1)
    sigma = np.tile(q.half_light[:, None] * (0.22 + 0.12 * t), (1, 2))
    flux = np.concatenate([np.tile(1.4 - t, (len(q), 1)), (0.3 + 0.5 * details[:, 7:8]) * (1.4 - t)], axis=1)
    flux *= (TAIL_SHARE * q.disturbance)[:, None] / flux.sum(axis=1, keepdims=True)
    return grid.blobs(x, y, sigma, flux)
