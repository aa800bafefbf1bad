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

"""A map of how many objects were measured where."""

from __future__ import annotations

__all__ = ("draw_counts",)

from pathlib import Path
from typing import Any

import healpy
import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError, MorphologyError
from ..sky import healpix_pixel

_CELLS_ACROSS = 24
"""Largest number of map pixels across the field that is aimed at."""

_OBJECTS_PER_CELL = 4
"""Mean number of objects in a map pixel that is aimed at."""


def draw_counts(
    path: str | Path, ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], *, partition_order: int
) -> None:
    """Draw counts by HEALPix pixel, with the partitions' borders.

    The map is a gnomonic projection about the field's centre, so that it
    is right at the poles and across RA 0 too.

    Parameters
    ----------
    path
        Picture to write.
    ra, dec
        Positions (deg), ``[n]``; those that are not finite are left out.
    partition_order
        HEALPix order of the partitions whose borders are drawn.

    Raises
    ------
    MorphologyError
        Raised if no position is finite.
    """
    try:
        from matplotlib.collections import PolyCollection
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "draw pictures") from error

    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.any():
        raise MorphologyError("There is no object with a position to draw a map of.")
    vectors = np.asarray(healpy.ang2vec(ra[good], dec[good], lonlat=True))
    centre = vectors.mean(axis=0)
    centre /= np.linalg.norm(centre)
    extent = float(np.degrees(np.arccos(np.clip((vectors @ centre).min(), -1.0, 1.0))))
    across = min(_CELLS_ACROSS, np.sqrt(good.sum() / _OBJECTS_PER_CELL))
    order = int(np.clip(np.round(np.log2(across * 58.6 / max(2.0 * extent, 1e-3))), 0, 20))
    pixels, counts = np.unique(healpix_pixel(order, ra[good], dec[good]), return_counts=True)

    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    cells = PolyCollection(_outlines(pixels, order, centre, step=1), array=counts, cmap="viridis")
    axes.add_collection(cells)
    partitions = np.unique(healpix_pixel(partition_order, ra[good], dec[good]))
    borders = _outlines(partitions, partition_order, centre, step=32)
    axes.add_collection(PolyCollection(borders, facecolors="none", edgecolors="tab:red"))
    limit = 1.15 * np.degrees(np.tan(np.radians(extent))) + 1.5 * 58.6 / 2**order
    axes.set(xlim=(limit, -limit), ylim=(-limit, limit), aspect="equal")
    ra0, dec0 = healpy.vec2ang(centre, lonlat=True)
    axes.set_xlabel(f"degrees east of RA {ra0.item():.4f}")
    axes.set_ylabel(f"degrees north of Dec {dec0.item():+.4f}")
    axes.set_title(f"{good.sum()} measured objects; in red the partitions (order {partition_order})")
    figure.colorbar(cells, label=f"objects per pixel of order {order}")
    figure.savefig(path, dpi=120)


def _outlines(
    pixels: npt.NDArray[np.int64], order: int, centre: npt.NDArray[np.float64], *, step: int
) -> list[npt.NDArray[Any]]:
    """Return the pixels' outlines in the tangent plane (deg east, north)."""
    north = np.array([0.0, 0.0, 1.0]) - centre[2] * centre
    if np.linalg.norm(north) < 1e-6:
        north = np.array([0.0, 1.0, 0.0])
    north /= np.linalg.norm(north)
    east = np.cross(north, centre)
    outlines = []
    for pixel in pixels:
        corners = healpy.boundaries(2**order, int(pixel), step=step, nest=True)
        depth = np.maximum(centre @ corners, 0.05)
        outlines.append(np.degrees(np.stack([east @ corners / depth, north @ corners / depth], axis=-1)))
    return outlines
