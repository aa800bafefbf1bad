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
"""Where masks end for other reasons than that the feature does."""

from __future__ import annotations

__all__ = ("covered", "truncated")

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

type Bools = npt.NDArray[np.bool_]
type Doubles = npt.NDArray[np.float64]


def covered(mask: Bools, compact: Bools) -> Doubles:
    """Return the part of masks that neighbours cover, ``[n]``.

    Parameters
    ----------
    mask
        Pixels of features, ``[n, s, s]``.
    compact
        Pixels of compact neighbours, of the same shape.
    """
    total = mask.sum(axis=(1, 2))
    return np.asarray((mask & compact).sum(axis=(1, 2)) / np.maximum(total, 1))


def truncated(mask: Bools, found: Bools) -> Bools:
    """Return whether masks reach the outermost pixels with data, ``[n]``.

    Holes in the data are no edge: rows and columns are, beyond which there
    is nothing.

    Parameters
    ----------
    mask
        Pixels of features, ``[n, s, s]``.
    found
        Pixels with data, of the same shape.
    """
    result = np.zeros(len(mask), np.bool_)
    for axis in (1, 2):
        some = found.any(axis=axis)
        seen = maximum_filter(mask.any(axis=axis).view(np.uint8), size=(1, 3)).view(np.bool_)
        first = np.argmax(some, axis=1)
        last = some.shape[1] - 1 - np.argmax(some[:, ::-1], axis=1)
        rows = np.arange(len(mask))
        result |= seen[rows, first] | seen[rows, last]
    return result & found.any(axis=(1, 2))
