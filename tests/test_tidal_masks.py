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

"""Masks of many objects on the pixels of one patch."""

from __future__ import annotations

import numpy as np
import pytest

from lsst.images import Box, Interval
from lsst.meas.morphology.masks.patch import PatchMask, stamp_index
from lsst.meas.morphology.masks.planes import make_mask
from lsst.meas.morphology.masks.settings import FeatureSettings
from lsst.meas.morphology.model.manifest import TidesHead

FEATURES = ("tail", "stream", "shell", "debris")
BBOX = (100, 200, 220, 290)
SIZE = 16


def inside(x: float, y: float, scale: float, row: int, column: int) -> np.ndarray:
    """Return the patch's pixels whose centres lie in a stamp pixel.

    Worked out pixel by pixel, with no arithmetic of indices.
    """
    x0, y0, x1, y1 = BBOX
    result = np.zeros((y1 - y0, x1 - x0), np.bool_)
    left = x + (column - SIZE / 2) * scale
    bottom = y + (row - SIZE / 2) * scale
    for j in range(y0, y1):
        for i in range(x0, x1):
            result[j - y0, i - x0] = left <= i < left + scale and bottom <= j < bottom + scale
    return result


@pytest.mark.parametrize("scale", [2.0, 3.37, 8.0])
@pytest.mark.parametrize(("x", "y"), [(160.3, 244.9), (101.2, 288.4), (90.0, 300.0)])
def test_pixels_are_those_whose_centres_lie_in_the_stamps(scale: float, x: float, y: float) -> None:
    rng = np.random.default_rng(2)
    mask = rng.random((4, SIZE, SIZE)) < 0.1
    patch = PatchMask(BBOX, FEATURES)
    patch.paint(mask, x, y, scale)
    for k, feature in enumerate(FEATURES[:3]):
        expected = np.zeros(patch.bits.shape, np.bool_)
        for row, column in np.argwhere(mask[k]):
            expected |= inside(x, y, scale, row, column)
        found = (patch.bits & (1 << FEATURES.index(feature))) != 0
        np.testing.assert_array_equal(found, expected)


def test_stamps_off_the_patch_leave_nothing() -> None:
    patch = PatchMask(BBOX, FEATURES)
    patch.paint(np.ones((4, SIZE, SIZE), np.bool_), 1000.0, 1000.0, 2.0)
    part = patch.claim(np.ones((SIZE, SIZE), np.float32), 1000.0, 1000.0, 2.0)
    assert not patch.bits.any()
    assert not patch.contested(part)
    empty = patch.claim(np.zeros((SIZE, SIZE), np.float32), 150.0, 250.0, 2.0)
    assert not patch.contested(empty)
    assert not patch.claimants.any()


def test_index_and_corners() -> None:
    # A stamp of two pixels of three, about 10: from 7 to 13.
    index = stamp_index(np.array([6, 7, 9, 10, 12, 13]), 10.0, 3.0, 2)
    assert index.tolist() == [-1, 0, 0, 1, 1, 2]


def random_claims(seed: int, n: int) -> list[tuple[np.ndarray, float, float, float]]:
    rng = np.random.default_rng(seed)
    claims = []
    for _ in range(n):
        claim = np.where(rng.random((SIZE, SIZE)) < 0.6, rng.random((SIZE, SIZE)), 0.0).astype(np.float32)
        claims.append((claim, rng.uniform(130, 190), rng.uniform(220, 270), rng.uniform(2.0, 5.0)))
    return claims


def test_parts_of_all_objects_add_up_to_one() -> None:
    """At each pixel that somebody claims; nobody has a part elsewhere."""
    patch = PatchMask(BBOX, FEATURES)
    claims = random_claims(4, 5)
    parts = [patch.claim(*claim) for claim in claims]
    assert all(patch.contested(part) for part in parts)
    total = np.zeros(patch.bits.shape)
    x0, y0, x1, y1 = BBOX
    for claim, x, y, scale in claims:
        rows = stamp_index(np.arange(y0, y1), y, scale, SIZE)
        columns = stamp_index(np.arange(x0, x1), x, scale, SIZE)
        good = ((rows >= 0) & (rows < SIZE))[:, None] & ((columns >= 0) & (columns < SIZE))
        mine = claim[rows.clip(0, SIZE - 1)[:, None], columns.clip(0, SIZE - 1)] * good
        total += np.divide(mine, patch.claims, out=np.zeros_like(mine), where=mine > 0)
    np.testing.assert_allclose(total[patch.claimants > 0], 1.0, rtol=1e-5)
    assert not total[patch.claimants == 0].any()


def test_shared_light_is_that_of_the_mask() -> None:
    """Two stamps of different scales: what they get adds up to the light."""
    patch = PatchMask(BBOX, FEATURES)
    claims = []
    for x, y, scale, strength in ((160.5, 240.5, 2.0, 0.9), (168.5, 236.5, 4.0, 0.3)):
        claim = np.zeros((SIZE, SIZE), np.float32)
        # The box of 16 by 16 pixels whose corner is 152.5, 232.5.
        left, bottom = (round((e - c) / scale + SIZE / 2) for e, c in ((152.5, x), (232.5, y)))
        side = round(16 / scale)
        claim[bottom : bottom + side, left : left + side] = strength
        claims.append((claim, x, y, scale))
        patch.claim(*claims[-1])
    area = [float(patch.weights(*claim).sum() * claim[3] ** 2) for claim in claims]
    assert sum(area) == pytest.approx(256.0, rel=1e-6)
    assert area[0] == pytest.approx(3.0 * area[1], rel=1e-5)


def test_alone_everything_is_mine() -> None:
    patch = PatchMask(BBOX, FEATURES)
    ((claim, x, y, scale),) = random_claims(7, 1)
    part = patch.claim(claim, x, y, scale)
    assert not patch.contested(part)
    np.testing.assert_array_equal(patch.weights(claim, x, y, scale), (claim > 0).astype(np.float32))


def test_mask_planes() -> None:
    patch = PatchMask(BBOX, FEATURES)
    mask = np.zeros((4, SIZE, SIZE), np.bool_)
    mask[0, 4, 4] = mask[2, 4, 4] = mask[3, 9, 9] = True
    patch.paint(mask, 160.0, 240.0, 2.0)
    image = make_mask(patch)
    assert image.bbox == Box(y=Interval(200, 290), x=Interval(100, 220))
    assert list(image.schema.names) == ["TIDAL_TAIL", "STREAM", "SHELL"]
    np.testing.assert_array_equal(image.get("TIDAL_TAIL"), inside(160.0, 240.0, 2.0, 4, 4))
    np.testing.assert_array_equal(image.get("SHELL"), image.get("TIDAL_TAIL"))
    assert not image.get("STREAM").any()
    assert all(image.schema.descriptions.values())


def test_settings_of_a_head() -> None:
    head = TidesHead(
        planes=("host", "tail", "debris"),
        threshold={"tail": 0.3},
        flux_scale={"debris": 1.2},
        flux_power={"tail": -0.4},
        half_found={"tail": (-1.0, 0.5)},
    )
    settings = FeatureSettings.from_head(head)
    assert settings.features == ("tail", "debris")
    assert settings.index == (1, 2)
    assert (settings.host, settings.union) == (0, 1)
    assert settings.threshold == (0.3, 0.5)
    assert settings.mask_threshold == (0.5, 0.5)
    assert settings.flux_scale == (1.0, 1.2)
    assert settings.flux_error == settings.error_power == (0.0, 0.0)
    assert settings.flux_power == (-0.4, 0.0)
    half = settings.half_found_at(np.array([30.0, 31.0, np.nan]))
    np.testing.assert_allclose(half[:, 0], [29.0, 30.5, np.nan])
    assert np.isnan(half[:, 1]).all()
