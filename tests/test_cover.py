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

from __future__ import annotations

import numpy as np
import pytest

from lsst.meas.morphology.pixels.cover import Cover, choose_cover

BBOX = (3000, 6000, 6300, 9300)


def squares(n: int, seed: int, side: int = 130) -> np.ndarray:
    """Return boxes about random places, cut off at the patch's edges."""
    rng = np.random.default_rng(seed)
    corner = np.column_stack([rng.integers(3000, 6300, n), rng.integers(6000, 9300, n)])
    low = np.maximum(corner - side // 2, [3000, 6000])
    high = np.minimum(corner + side // 2, [6300, 9300])
    return np.hstack([low, high])


def drawn(cover: Cover) -> np.ndarray:
    """Count how often each pixel is read."""
    x0, y0, x1, y1 = cover.bbox
    count = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for left, bottom, right, top in cover.boxes:
        assert x0 <= left < right <= x1
        assert y0 <= bottom < top <= y1
        count[bottom - y0 : top - y0, left - x0 : right - x0] += 1
    return count


@pytest.mark.parametrize(("n", "seed"), [(1, 0), (2, 1), (10, 2), (40, 3), (100, 4)])
def test_sparse_cover_is_exactly_the_tiles_touched(n: int, seed: int) -> None:
    boxes = squares(n, seed)
    cover = choose_cover(boxes, BBOX)
    assert not cover.full
    expected = np.zeros((3300, 3300), np.uint8)
    for x0, y0, x1, y1 in boxes - [3000, 6000, 3000, 6000]:
        expected[y0 // 150 * 150 : -(-y1 // 150) * 150, x0 // 150 * 150 : -(-x1 // 150) * 150] = 1
    np.testing.assert_array_equal(drawn(cover), expected)
    assert cover.covers(boxes).all()


def test_dense_targets_are_read_at_once() -> None:
    boxes = squares(1000, 5)
    cover = choose_cover(boxes, BBOX)
    assert cover == Cover(bbox=BBOX, full=True, boxes=(BBOX,))
    assert cover.covers(boxes).all()


def test_one_stamp_as_large_as_the_patch() -> None:
    assert choose_cover(np.array([BBOX]), BBOX).full


def test_ten_targets_read_little() -> None:
    cover = choose_cover(squares(10, 6), BBOX)
    assert drawn(cover).mean() < 0.1


def test_no_targets_read_nothing() -> None:
    cover = choose_cover(np.empty((0, 4), np.int64), BBOX)
    assert cover == Cover(bbox=BBOX, full=False, boxes=())
    assert not cover.covers(squares(3, 7)).any()
    # Nor does a box beside the patch.
    assert choose_cover(np.array([[0, 6000, 100, 6100]]), BBOX).boxes == ()


def test_patch_that_is_no_multiple_of_tiles() -> None:
    bbox = (0, 0, 200, 170)
    cover = choose_cover(np.array([[160, 155, 190, 165]]), bbox)
    assert cover.boxes == ((150, 150, 200, 170),)
    assert cover.covers(np.array([[160, 155, 190, 165], [140, 155, 190, 165]])).tolist() == [True, False]
