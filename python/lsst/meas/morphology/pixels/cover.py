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

"""Which parts of a patch to read: a few tiles, or everything."""

from __future__ import annotations

__all__ = ("Cover", "choose_cover")

import dataclasses

import numpy as np
import numpy.typing as npt

TILE = 150
"""Side in pixels of the tiles that coadds are compressed in (DP2's cells)."""

BOX_COST = 1.0
"""Cost of one more box to read, in units of the cost of reading a tile."""

Boxes = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Cover:
    """The boxes of a patch that are read."""

    bbox: tuple[int, int, int, int]
    """The patch's box ``(x0, y0, x1, y1)``, ends exclusive."""

    full: bool
    """Whether the boxes cover all of it."""

    boxes: tuple[tuple[int, int, int, int], ...]
    """Disjoint boxes to read, ends exclusive."""

    def covers(self, boxes: Boxes) -> npt.NDArray[np.bool_]:
        """Return whether every pixel of each of some boxes is read.

        Parameters
        ----------
        boxes
            Boxes ``(x0, y0, x1, y1)`` inside the patch's, ``[n, 4]``.
        """
        if self.full:
            return np.ones(len(boxes), np.bool_)
        covered = np.zeros(len(boxes), np.int64)
        for x0, y0, x1, y1 in self.boxes:
            width = np.minimum(boxes[:, 2], x1) - np.maximum(boxes[:, 0], x0)
            height = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0)
            covered += np.maximum(width, 0) * np.maximum(height, 0)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return np.asarray(covered == area)


def choose_cover(boxes: Boxes, bbox: tuple[int, int, int, int], *, tile: int = TILE) -> Cover:
    """Choose what to read so that all stamps can be cut, at least cost.

    Parameters
    ----------
    boxes
        Boxes ``(x0, y0, x1, y1)`` that the stamps need, ends exclusive,
        ``[n, 4]``.
    bbox
        The patch's box.
    tile
        Side of the tiles that the coadds are compressed in, in pixels.

    Returns
    -------
    cover
        The tiles that some stamp touches, joined into rectangles, or the
        whole patch, whichever is cheaper; no box at all if there is no
        stamp.
    """
    x0, y0, x1, y1 = bbox
    n_rows, n_columns = -(-(y1 - y0) // tile), -(-(x1 - x0) // tile)
    needed = np.zeros((n_rows, n_columns), np.bool_)
    clipped = np.column_stack(
        [np.clip(boxes[:, [0, 2]], x0, x1) - x0, np.clip(boxes[:, [1, 3]], y0, y1) - y0]
    )
    for left, right, bottom, top in clipped[
        (clipped[:, 0] < clipped[:, 1]) & (clipped[:, 2] < clipped[:, 3])
    ]:
        needed[bottom // tile : -(-top // tile), left // tile : -(-right // tile)] = True
    groups = _rectangles(needed)
    tiles = int(needed.sum())
    if tiles and tiles + BOX_COST * len(groups) >= n_rows * n_columns + BOX_COST:
        return Cover(bbox=bbox, full=True, boxes=(bbox,))
    return Cover(
        bbox=bbox,
        full=False,
        boxes=tuple(
            (
                x0 + left * tile,
                y0 + bottom * tile,
                min(x0 + right * tile, x1),
                min(y0 + top * tile, y1),
            )
            for bottom, top, left, right in groups
        ),
    )


def _rectangles(needed: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Cut a pattern of tiles into disjoint rectangles.

    Each is a run of tiles in one row, or equal runs in adjoining rows, as
    rows ``bottom`` to ``top`` and columns ``left`` to ``right``.
    """
    rectangles = []
    growing: dict[tuple[int, int], int] = {}
    for row in range(len(needed) + 1):
        runs: set[tuple[int, int]] = set()
        if row < len(needed):
            steps = np.flatnonzero(np.diff(needed[row].astype(np.int8), prepend=0, append=0))
            runs = {(int(left), int(right)) for left, right in steps.reshape(-1, 2)}
        for run in [run for run in growing if run not in runs]:
            rectangles.append((growing.pop(run), row, *run))
        for run in runs:
            growing.setdefault(run, row)
    return rectangles
