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

"""Light of hosts beneath features that hide much of them."""

from __future__ import annotations

import numpy as np
import pytest

from lsst.meas.morphology.masks.host import find_rings, fit_host
from lsst.meas.morphology.masks.measurement import measure_features
from lsst.meas.morphology.masks.settings import FeatureSettings
from lsst.meas.morphology.model.heads import TidesHead

SIZE = 96
AXIS = np.arange(SIZE) - (SIZE - 1) / 2.0
SETTINGS = FeatureSettings.from_head(TidesHead(planes=("tail", "debris")))


def disk(length: float = 6.0, peak: float = 3000.0, axis_ratio: float = 0.6) -> np.ndarray:
    """Return an inclined exponential disk, ``[y, x]``."""
    c, s = np.cos(0.7), np.sin(0.7)
    x, y = c * AXIS + s * AXIS[:, None], c * AXIS[:, None] - s * AXIS
    return peak * np.exp(-np.hypot(x, y / axis_ratio) / length)


def test_gap_in_a_steep_profile_is_not_too_bright() -> None:
    image = disk(axis_ratio=1.0).astype(np.float32)[None, None]
    radius = np.hypot(AXIS, AXIS[:, None])
    gap = (radius > 12.0) & (radius < 26.0)
    valid = np.ones(image.shape, np.bool_)
    rings = find_rings(image[:, 0], valid[:, 0])
    host = fit_host(image, ~gap[None, None] & valid, rings, np.ones(1))
    within = gap & (radius > 14.0) & (radius < 24.0)
    ratio = host.light[0, 0][within] / image[0, 0][within]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.15)
    assert host.light[0, 0][gap].sum() == pytest.approx(image[0, 0][gap].sum(), rel=0.2)


def test_what_is_opposite_stands_for_an_uneven_host() -> None:
    rng = np.random.default_rng(3)
    angle = np.arctan2(AXIS[:, None], AXIS)
    radius = np.hypot(AXIS, AXIS[:, None])
    # Two arms, the same turned by half a turn.
    host = disk() * (1.0 + 0.15 * np.cos(2.0 * (angle - 0.15 * radius)))
    feature = 60.0 * ((np.abs(angle - 0.7) < 0.35) & (radius > 18.0) & (radius < 36.0))
    image = (host + feature + rng.normal(0.0, 3.0, host.shape)).astype(np.float32)[None, None]
    mask = (feature > 0).astype(np.float32)[None, None]
    found = measure_features(
        np.concatenate([mask, mask], axis=1),
        np.ones((1, 2)),
        image,
        np.ones(image.shape, np.bool_),
        np.ones(1),
        np.full((1, 1), 0.2 * 3.0),
        settings=SETTINGS,
    )
    assert found.flux[0, 0, 0] == pytest.approx(feature.sum(), rel=0.05)
