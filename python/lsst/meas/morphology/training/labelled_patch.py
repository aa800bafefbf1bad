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
"""Labelled objects whose stamps are cut together."""

from __future__ import annotations

__all__ = ("LabelledPatch", "stamp_file_patches")

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import LabelError
from .label_table import LabelTable
from .stamp_set import StampSet, matching_rows

type Batch = tuple[StampSet, npt.NDArray[np.intp]]

_BATCH = 256


@dataclasses.dataclass(frozen=True)
class LabelledPatch:
    """Labels whose stamps come out of one place."""

    name: str
    """Name of the place, the same whenever it is asked for."""

    rows: npt.NDArray[np.intp]
    """Rows of the labels in their table, ``[m]``."""

    cut: Callable[[], Iterator[Batch]]
    """Yields batches of stamps with the rows of their labels: of those that
    can be measured."""


def stamp_file_patches(paths: Sequence[str | Path], table: LabelTable) -> Iterator[LabelledPatch]:
    """Find the labels whose stamps are in files, one after the other.

    Parameters
    ----------
    paths
        Files of stamps; see `StampSet.read`. Only one at a time is in
        memory.
    table
        The labels.

    Yields
    ------
    patch
        A file with labelled stamps. No label is in two of them.

    Raises
    ------
    LabelError
        Raised if a file can't be read, or several lack ids and positions.
    """
    pending = np.ones(len(table), np.bool_)
    for index, path in enumerate(paths):
        stamps = StampSet.read(path)
        if len(paths) > 1 and stamps.object_id is None and stamps.ra is None:
            raise LabelError(f"{path} has neither object ids nor positions, which several files need.")
        stamp_rows, label_rows = matching_rows(stamps, table)
        fresh = pending[label_rows]
        stamp_rows, label_rows = stamp_rows[fresh], label_rows[fresh]
        pending[label_rows] = False
        cut = functools.partial(_batches, stamps, stamp_rows, label_rows)
        yield LabelledPatch(f"file-{index:04d}", label_rows, cut)


def _batches(
    stamps: StampSet, stamp_rows: npt.NDArray[np.intp], label_rows: npt.NDArray[np.intp]
) -> Iterator[Batch]:
    for start in range(0, len(stamp_rows), _BATCH):
        some = slice(start, start + _BATCH)
        yield stamps[stamp_rows[some]], label_rows[some]
