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

"""Surface-brightness limits, and masks of what is visible."""

from __future__ import annotations

import numpy as np
import pytest

from lsst.meas.morphology.simulation.observing import sky_sigma
from lsst.meas.morphology.surface_brightness import (
    host_masks,
    limit,
    mask_limit,
    to_magnitude,
    to_njy,
    truth_masks,
)


def test_magnitudes_there_and_back() -> None:
    # One nJy per square arcsec is 31.4, a hundred times as much five less.
    np.testing.assert_allclose(to_magnitude([1.0, 100.0]), [31.4, 26.4])
    np.testing.assert_allclose(to_njy(to_magnitude([0.3, 7.0])), [0.3, 7.0])
    assert to_magnitude(0.0) == np.inf
    assert np.isnan(to_magnitude(-1.0))


def test_limit_is_the_scatter_of_means_over_the_area() -> None:
    rng = np.random.default_rng(3)
    sigma, side = 4.0, 50
    # 50 by 50 native pixels of 0.2 arcsec are 10 by 10 arcsec.
    means = rng.normal(0.0, sigma, (3000, side, side)).sum(axis=(1, 2)) / 100.0
    assert float(limit(sigma)) == pytest.approx(31.4 - 2.5 * np.log10(3.0 * means.std()), abs=0.03)
    assert float(limit(sigma, n_sigma=1.0) - limit(sigma)) == pytest.approx(2.5 * np.log10(3.0))


def test_masks_stop_where_the_sky_rules() -> None:
    shallow, deep, deeper = mask_limit(sky_sigma("r", np.array([40.0, 200.0, 2000.0])))
    assert shallow == pytest.approx(float(limit(sky_sigma("r", 40.0))) - 1.0)
    assert shallow < deep == deeper == 29.0


def test_pixels_are_in_ignored_or_out() -> None:
    faintest = float(to_njy(28.0))
    # Above the limit; in the band below it; below that; and the same at
    # contrasts of 0.11, 0.06 and 0.04.
    values = faintest * np.array([1.01, 0.99, 0.51, 0.49])
    debris = np.zeros((2, 3, 2, 4), dtype=np.float32)
    debris[0, 1, 0] = values
    debris[0, 2, 0, 1] = 2.0 * faintest
    debris[1, 0, :, :3] = 10.0 * faintest
    light = np.zeros((2, 2, 4), dtype=np.float32)
    light[1, :, :3] = 10.0 * faintest / np.array([0.11, 0.06, 0.04])
    seen = truth_masks(debris, light, [28.0, 28.0], [10.0, 5.0])
    np.testing.assert_array_equal(seen.mask[0, 1, 0], [True, False, False, False])
    np.testing.assert_array_equal(seen.ignore[0, 1, 0], [False, True, True, False])
    np.testing.assert_array_equal(seen.mask[1, 0, 0], [True, False, False, False])
    np.testing.assert_array_equal(seen.ignore[1, 0, 0], [False, True, False, False])
    # One pixel of 100 square arcsec is enough, two of 25 are not.
    np.testing.assert_array_equal(seen.visible, [[False, True, True], [False, False, False]])
    # What is surely one kind is no longer argued about.
    np.testing.assert_array_equal(seen.any_mask[0, 0], [True, True, False, False])
    np.testing.assert_array_equal(seen.any_ignore[0, 0], [False, False, True, False])


def test_deeper_pictures_show_more() -> None:
    rng = np.random.default_rng(1)
    debris = 10.0 ** rng.uniform(-1.0, 2.0, (4, 3, 8, 8))
    light = 10.0 ** rng.uniform(-1.0, 2.0, (4, 8, 8))
    shallow, deep = (truth_masks(debris, light, t, 1.0) for t in (27.0, 29.0))
    assert (shallow.mask <= deep.mask).all()
    assert shallow.mask.sum() < deep.mask.sum()
    assert not (deep.mask & deep.ignore).any()
    assert not (deep.any_mask & deep.any_ignore).any()
    patient = truth_masks(debris, light, 29.0, 1.0, contrast=np.array([0.1, 0.1, 1.0, 1.0]))
    np.testing.assert_array_equal(patient.mask[:2], deep.mask[:2])
    assert patient.mask[2:].sum() < deep.mask[2:].sum()


def test_a_host_ends_where_another_outshines_it() -> None:
    host = np.array([[[100.0, 100.0, 100.0, 1.0]]])
    others = np.array([[[0.0, 150.0, 250.0, 0.0]]])
    mask, ignore = host_masks(host, others, 28.0)
    np.testing.assert_array_equal(mask[0, 0], [True, False, False, False])
    np.testing.assert_array_equal(ignore[0, 0], [False, True, False, False])


def test_no_stamps_and_wrong_shapes() -> None:
    none = truth_masks(np.zeros((0, 3, 4, 4)), np.zeros((0, 4, 4)), np.zeros(0), np.zeros(0))
    assert none.mask.shape == (0, 3, 4, 4)
    assert none.visible.shape == (0, 3)
    with pytest.raises(ValueError, match="shape"):
        truth_masks(np.zeros((1, 3, 4, 4)), np.zeros((1, 3, 4, 4)), 28.0, 1.0)
