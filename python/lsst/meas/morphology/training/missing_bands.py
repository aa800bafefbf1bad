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
"""Stamps as they are seen where bands are missing."""

from __future__ import annotations

__all__ = ("missing_sets", "rows_without")

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..model.manifest import Manifest

_MANY = 3
"""Optional bands of which not every combination is looked at."""


def missing_sets(optional: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield sets of bands that may be missing together, first of all none.

    All of them; if they are many, none, each by itself, and all at once.

    Parameters
    ----------
    optional
        The bands that may be missing.
    """
    for number in range(len(optional) + 1):
        if len(optional) <= _MANY or number in (0, 1, len(optional)):
            yield from itertools.combinations(optional, number)


def rows_without(
    manifest: Manifest, valid: npt.NDArray[np.bool_], missing: tuple[str, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return which stamps can show what is seen without some bands.

    Parameters
    ----------
    manifest
        The model.
    valid
        Which pixels were measured, ``[n, b, s, s]``.
    missing
        The bands.

    Returns
    -------
    rows
        Indices of the stamps that lack no other band.
    kept
        Whether each band is still there, ``[b]``.
    """
    kept = np.array([band not in missing for band in manifest.bands])
    return np.flatnonzero(valid.any(axis=(2, 3))[:, kept].all(axis=1)), kept
