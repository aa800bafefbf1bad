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

"""Stars with spikes, and artefacts."""

from __future__ import annotations

__all__ = ("paint_problems",)

import numpy as np
import numpy.typing as npt

from .galaxies import Artifact, GalaxyParameters, colour_offset
from .grid import Grid, soft_edge, uniform_details, wide

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]


def paint_problems(p: GalaxyParameters, bands: tuple[str, ...], grid: Grid) -> Image:
    """Paint stars with spikes, trails, ghosts, glows and bleeding."""
    n = len(p)
    details = uniform_details(p.seed + np.uint64(5), 8)
    u, v = grid.rotated(p.angle)
    x, y = grid.rotated(np.zeros(n))
    pixel = wide(grid.scale**2)
    flux = p.flux()
    out = np.zeros((n, len(bands), grid.size, grid.size), dtype=np.float32)
    star = grid.blobs(np.zeros((n, 1)), np.zeros((n, 1)), np.full((n, 1), 0.05), flux[:, None])
    spike = sum(np.exp(-0.5 * (b / 0.25) ** 2) / (1.0 + np.abs(a) / 1.5) ** 1.8 for a, b in ((u, v), (v, u)))
    halo = 1.0 / (1.0 + (u * u + v * v) / 4.0) ** 1.4
    starry = star * 0.93 + wide(flux) * pixel * (0.004 * spike + 0.0012 * halo)
    bleed = np.exp(-0.5 * (x / 0.5) ** 2) * soft_edge(np.abs(y) - wide(5.0 + 7.0 * details[:, 0]))
    offset = wide(1.0 * (details[:, 1] - 0.5))
    trail = np.exp(-0.5 * ((v - offset) / wide(0.3 + 0.5 * details[:, 2])) ** 2)
    ring_radius = wide(5.0 + 5.0 * details[:, 3])
    radius = np.sqrt((u - 1.0) ** 2 + v * v)
    ghost = soft_edge(radius - ring_radius)
    ghost *= 1.0 - 0.8 * soft_edge(radius - 0.35 * ring_radius)
    glow = np.exp(-np.sqrt((u + 4.0) ** 2 + 0.15 * v * v + 1.0) / 5.0)
    glow = glow * soft_edge((radius - 22.0) / 4.0)
    # Surface brightness in nJy per square arcsec of the extended kinds.
    bright = wide(10.0 ** (2.4 + 1.2 * details[:, 4])) * pixel
    for b, band in enumerate(bands):
        colour = wide(10.0 ** (-0.4 * colour_offset(band) * (0.3 + 0.7 * details[:, 5])))
        only = wide(np.where(np.abs(details[:, 6] * len(bands) - b - 0.5) < 0.5, 1.0, 0.08))
        kinds = {
            Artifact.NONE: starry * colour,
            Artifact.SATELLITE: 2.0 * bright * trail * only,
            Artifact.SCATTERED: 4.0 * bright * glow * colour,
            Artifact.SATURATION: (starry + 3e4 * pixel * bleed) * colour,
            Artifact.GHOST: bright * ghost * colour,
        }
        for artifact, picture in kinds.items():
            which = p.artifact == artifact
            out[which, b] = picture[which]
    return out
