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

"""The noise that a coadd states where objects are."""

from __future__ import annotations

__all__ = ("stated_noise",)

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .planes import Planes

SAMPLES = 64
"""Pixels along the side of a box whose variance is looked at."""


def stated_noise(
    planes: Planes, boxes: npt.NDArray[np.int64], bands: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return the median noise of the good pixels of boxes.

    The median is that of the sky where objects cover less than half.

    Parameters
    ----------
    planes
        The patch's pixels.
    boxes
        Boxes ``(x0, y0, x1, y1)`` in the tract's pixels, inside the patch,
        ends exclusive, ``[n, 4]``; an empty one has no noise.
    bands
        The bands that are wanted.

    Returns
    -------
    sigma
        Noise in nJy per pixel, ``[n, band]``; NaN where there is no good
        pixel, and throughout if the planes don't hold the variance.
    """
    sigma = np.full((len(boxes), len(bands)), np.nan, np.float32)
    if planes.variance is None:
        return sigma
    rows = [planes.bands.index(band) for band in bands]
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        step = max(1, int(max(x1 - x0, y1 - y0)) // SAMPLES)
        part = (slice(y0 - planes.y0, y1 - planes.y0, step), slice(x0 - planes.x0, x1 - planes.x0, step))
        for j, row in enumerate(rows):
            values = planes.variance[row][part] if x1 > x0 and y1 > y0 else np.empty(0, np.float32)
            values = values[values > 0.0]
            if values.size:
                sigma[i, j] = np.sqrt(np.median(values))
    return sigma
