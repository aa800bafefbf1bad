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

"""Models compared by paired bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lsst.meas.morphology.validation.comparison import Comparison, Verdict, compare_likelihoods

QUESTIONS = ("one", "two", "rare")


def compare(shift: npt.ArrayLike, *, scatter: float = 0.3, number: int = 4000, seed: int = 1) -> Comparison:
    """Compare models whose likelihoods differ by so much on average."""
    rng = np.random.default_rng(seed)
    asked = rng.random((number, 3)) < [1.0, 0.5, 0.01]
    old = rng.normal(-3.0, 1.0, (number, 3))
    new = old + np.asarray(shift) + scatter * rng.normal(size=(number, 3))
    return compare_likelihoods(old, new, asked, QUESTIONS)


def test_verdicts() -> None:
    got = compare([0.1, -0.1, 0.0])
    assert got.names == (*QUESTIONS, "all")
    assert got.verdicts[:3] == (Verdict.BETTER, Verdict.WORSE, Verdict.TOO_FEW)
    assert got.worse == ("two",)
    assert "two" in got.describe()
    assert compare(0.0, scatter=0.05).verdicts[:2] == (Verdict.AS_GOOD, Verdict.AS_GOOD)
    assert compare(-0.01, scatter=0.5).verdicts[1] is Verdict.UNDECIDED
    # A loss within the margin that is certain does not matter.
    assert compare(-0.005, scatter=0.01).verdicts[:2] == (Verdict.AS_GOOD, Verdict.AS_GOOD)


def test_the_same_model_is_as_good() -> None:
    values = np.random.default_rng(2).normal(size=(500, 3))
    got = compare_likelihoods(values, values, np.ones((500, 3), bool), QUESTIONS)
    assert set(got.verdicts) == {Verdict.AS_GOOD}
    assert (got.gain == 0.0).all()


def test_intervals_hold_at_once() -> None:
    missed = 0
    for seed in range(60):
        got = compare(0.02, number=600, seed=seed)
        judged = np.isfinite(got.low)
        truth = np.array([0.02, 0.02, 0.02, np.nan])
        missed += bool(((got.low > truth) | (got.high < truth))[judged][:2].any())
    # 5 % for all questions with "all" together, so a little less for two.
    assert missed <= 8


def test_spread_is_that_of_the_mean() -> None:
    got = compare([0.0, 0.0, 0.0], scatter=0.3)
    half = 0.5 * (got.high - got.low)
    # Two and a bit standard errors of the mean.
    assert 1.9 < half[0] / (0.3 / np.sqrt(4000)) < 2.8
    assert half[1] / half[0] == pytest.approx(np.sqrt(2.0), rel=0.1)


def test_a_seed_gives_the_same_intervals() -> None:
    assert np.array_equal(compare(0.0).low, compare(0.0).low, equal_nan=True)


@pytest.mark.parametrize("number", [0, 1])
def test_hardly_anything(number: int) -> None:
    values = np.zeros((number, 3))
    got = compare_likelihoods(values, values, np.ones((number, 3), bool), QUESTIONS)
    assert set(got.verdicts) == {Verdict.TOO_FEW}
    assert got.worse == ()


def test_unasked_likelihoods_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    asked = rng.random((300, 3)) < 0.5
    old = np.where(asked, rng.normal(size=(300, 3)), np.nan)
    assert np.isfinite(compare_likelihoods(old, old, asked, QUESTIONS).gain).all()
    with pytest.raises(ValueError, match="finite"):
        compare_likelihoods(old, old, ~asked, QUESTIONS)
    with pytest.raises(ValueError, match="fit"):
        compare_likelihoods(old, old[:, :2], asked, QUESTIONS)
