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

"""The background that is subtracted from a coadd, in small bins."""

from __future__ import annotations

__all__ = ("BACKGROUND_BIN", "fit_background")

import numpy as np
import numpy.typing as npt

BACKGROUND_BIN = 128
"""Side of the bins of a coadd's background (pixels)."""

_CLIP = 3.0
_STEPS = 3
_LEAST = 0.1

type Floats = npt.NDArray[np.float64]


def fit_background(
    image: npt.NDArray[np.floating], used: npt.NDArray[np.bool_], *, bin_size: int = BACKGROUND_BIN
) -> tuple[Floats, Floats, Floats]:
    """Measure the level of an image in bins.

    Parameters
    ----------
    image
        The image, ``[y, x]``.
    used
        Pixels that count: those with data in which nothing was detected.
    bin_size
        Side of the bins, about: they divide the image evenly (pixels).

    Returns
    -------
    level
        Mean of each bin without what is far from it, NaN where less than a
        tenth of its pixels count, ``[row, column]``.
    y, x
        Middles of the bins' rows and columns, in pixels of the image.
    """
    edges = [
        np.round(np.linspace(0, length, max(1, round(length / bin_size)) + 1)).astype(int)
        for length in image.shape
    ]
    level = np.full([len(edge) - 1 for edge in edges], np.nan)
    for i, j in np.ndindex(*level.shape):
        part = (slice(*edges[0][i : i + 2]), slice(*edges[1][j : j + 2]))
        values = np.asarray(image[part][used[part]], np.float64)
        if values.size >= _LEAST * used[part].size:
            level[i, j] = _clipped_mean(values)
    y, x = (0.5 * (edge[1:] + edge[:-1] - 1.0) for edge in edges)
    return level, y, x


def _clipped_mean(values: Floats) -> float:
    """Return the mean without values far from the median."""
    for _ in range(_STEPS):
        middle = np.median(values)
        width = 1.4826 * np.median(np.abs(values - middle))
        values = values[np.abs(values - middle) <= _CLIP * width] if width > 0.0 else values
    return float(values.mean())
