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

"""The measures of an evaluation, against independent computations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, stats

from lsst.meas.morphology.confident import confident, confusion, group_answers
from lsst.meas.morphology.coverage import cumulative_stretch, overlap, votes_coverage
from lsst.meas.morphology.posteriors import expected_fractions, log_probability, summarize
from lsst.meas.morphology.questions.tree import Question, QuestionTree
from lsst.meas.morphology.validation.calibration import reliability
from lsst.meas.morphology.validation.deviations import (
    binomial_floor,
    excess_deviations,
    quantile_groups,
    truth_deviations,
)
from lsst.meas.morphology.validation.likelihood import (
    constant_concentrations,
    oracle_log_probability,
    votes_likelihoods,
)

RUBIN = QuestionTree.load("rubin")
PAIR = QuestionTree("pair", "Two questions", (Question("a", ("yes", "no")), Question("b", ("p", "q", "r"))))
ABC = ("a", "b", "c")


def draw(
    seed: int, number: int, tree: QuestionTree = PAIR, most: int = 41
) -> tuple[npt.NDArray, npt.NDArray]:
    """Draw one-sample concentrations and votes that follow them."""
    rng = np.random.default_rng(seed)
    alpha = np.exp(rng.uniform(-1.5, 3.0, (number, 1, tree.n_answers)))
    votes = np.zeros((number, tree.n_answers), dtype=np.int32)
    for part in tree.slices.values():
        p = rng.gamma(alpha[:, 0, part]) + 1e-300
        votes[:, part] = rng.multinomial(rng.integers(0, most, number), p / p.sum(axis=1, keepdims=True))
    return alpha, votes


# Agreement on confident galaxies


def test_confusion_by_hand() -> None:
    rng = np.random.default_rng(1)
    votes = rng.multinomial(rng.integers(0, 60, 3000), [0.05, 0.85, 0.1])
    votes = votes[np.arange(3000)[:, None], rng.permuted(np.tile(np.arange(3), (3000, 1)), axis=1)]
    fraction = rng.dirichlet([1, 1, 1], 3000)
    counts = np.zeros((3, 3), int)
    for v, f in zip(votes.tolist(), fraction.tolist(), strict=True):
        if sum(v) >= 20 and max(v) / sum(v) >= 0.8:
            counts[v.index(max(v)), f.index(max(f))] += 1
    got = confusion(votes, fraction, ABC)
    assert (got.counts == counts).all()
    assert got.count == counts.sum()
    assert got.accuracy == pytest.approx(np.trace(counts) / counts.sum())
    assert got.majority == pytest.approx(max(map(sum, counts.tolist())) / counts.sum())
    recalls = [counts[k, k] / counts[k].sum() for k in range(3)]
    precisions = [counts[k, k] / counts[:, k].sum() for k in range(3)]
    assert got.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert got.precision == pytest.approx(precisions)
    harmonic = [2 * p * r / (p + r) for p, r in zip(precisions, recalls, strict=True)]
    assert got.f1 == pytest.approx(harmonic)
    near = [
        (counts[0, 0] + counts[0, 1]) / counts[0].sum(),
        1.0,
        (counts[2, 1] + counts[2, 2]) / counts[2].sum(),
    ]
    assert got.within_one(ABC) == pytest.approx(np.mean(near))


def test_within_one_leaves_out_what_has_no_order() -> None:
    votes = np.array([[30, 0, 0], [0, 30, 0], [0, 0, 30]])
    guess = np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 0, 1.0]])
    # The first is guessed to be without order, which is wrong.
    assert confusion(votes, guess, ABC).within_one(("a", "b")) == pytest.approx(0.5)


@pytest.mark.parametrize("number", [0, 1])
def test_confusion_of_hardly_anything(number: int) -> None:
    got = confusion(np.full((number, 3), [25, 0, 0]), np.full((number, 3), [0.2, 0.5, 0.3]), ABC)
    assert got.count == number
    assert got.accuracy == (pytest.approx(0.0) if number else pytest.approx(math.nan, nan_ok=True))
    assert np.isnan(got.recall[1:]).all()
    assert np.isnan(got.majority) == (number == 0)
    assert np.isnan(got.within_one(ABC)) == (number == 0)


def test_confidence_needs_votes_and_agreement() -> None:
    votes = np.array([[16, 4, 0], [15, 5, 0], [19, 0, 0], [0, 0, 0], [20, 0, 0]])
    assert confident(votes).tolist() == [True, False, False, False, True]


def test_confusion_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        confusion(np.array([[30, 0, 0]]), np.full((1, 3), np.nan), ABC)
    with pytest.raises(ValueError, match="shape"):
        confusion(np.array([[30, 0]]), np.full((1, 3), 0.3), ABC)


def test_grouping_adds_up() -> None:
    votes = np.array([[3, 4, 10]])
    assert group_answers(votes, ABC, {"any": ("a", "b"), "no": ("c",)}).tolist() == [[7, 10]]


def test_expected_fractions_are_those_of_the_posterior() -> None:
    alpha = np.random.default_rng(2).gamma(2.0, 3.0, (5, 4, RUBIN.n_answers)).astype(np.float32)
    alpha[3, 0, 0] = np.nan
    np.testing.assert_allclose(expected_fractions(alpha, RUBIN), summarize(alpha, RUBIN).fraction, atol=1e-6)


# Deviations


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_binomial_floor_by_enumeration(n: int) -> None:
    p = np.array([0.0, 1e-4, 0.1, 0.25, 0.5, 0.77, 1.0])
    v = np.arange(n + 1)
    expected = [(stats.binom.pmf(v, n, q) * np.abs(v / n - q)).sum() for q in p]
    np.testing.assert_allclose(binomial_floor(p, n), expected, atol=1e-12)
    assert binomial_floor(0.3, 0) == 0.0


def test_true_deviations_by_group_by_hand() -> None:
    rng = np.random.default_rng(3)
    votes = rng.integers(0, 9, (200, 5))
    p, q = rng.random((2, 200, 5))
    groups = rng.integers(-1, 3, 200)
    got = truth_deviations(p, q, votes, PAIR, groups=groups)
    for g, k in itertools.product(range(3), range(5)):
        part = PAIR.slices["a" if k < 2 else "b"]
        rows = [i for i in range(200) if groups[i] == g and votes[i, part].sum() >= 10]
        assert got.count[g, k] == len(rows)
        assert got.mean[g, k] == pytest.approx(np.mean([abs(p[i, k] - q[i, k]) for i in rows]))
    assert got.over_answers() == pytest.approx(got.mean.mean(axis=1))


def test_groups_may_differ_from_question_to_question() -> None:
    votes = np.tile([10, 10, 5, 5, 5], (2, 1))
    got = truth_deviations(np.ones((2, 5)), np.zeros((2, 5)), votes, PAIR, groups=np.array([[0, 1], [0, -1]]))
    assert got.count.tolist() == [[2, 2, 0, 0, 0], [0, 0, 1, 1, 1]]
    assert got.over_answers(np.array([True, False, False, False, False])).tolist()[0] == 1.0


def test_excess_is_nothing_for_the_truth_and_something_for_errors() -> None:
    rng = np.random.default_rng(4)
    p = np.concatenate([rng.dirichlet([1, 1], 20000), rng.dirichlet([1, 1, 1], 20000)], axis=1)
    votes = np.zeros(p.shape, int)
    for part in PAIR.slices.values():
        votes[:, part] = rng.multinomial(rng.integers(1, 40, 20000), p[:, part])
    assert np.abs(excess_deviations(p, votes, PAIR, min_votes=1).mean).max() < 3e-3
    wrong = np.full(p.shape, 0.5)
    assert excess_deviations(wrong, votes, PAIR).mean.min() > 0.05


@pytest.mark.parametrize("number", [0, 1])
def test_deviations_of_hardly_anything(number: int) -> None:
    votes, p = np.zeros((number, 5), int), np.zeros((number, 5))
    for got in (truth_deviations(p, p, votes, PAIR), excess_deviations(p, votes, PAIR, min_votes=0)):
        assert got.count.sum() == 0
        assert np.isnan(got.mean).all()
        assert np.isnan(got.over_answers()).all()


def test_groups_of_equal_size() -> None:
    values = np.append(np.random.default_rng(5).normal(size=1000), np.nan)
    groups, edges = quantile_groups(values)
    assert np.bincount(groups[:-1]).tolist() == [200] * 5
    assert groups[-1] == -1
    assert (np.diff(edges) > 0).all()
    assert quantile_groups(np.full(3, 2.0))[0].tolist() == [0, 0, 0]
    assert len(quantile_groups(np.array([np.nan]))[1]) == 0
    assert len(quantile_groups(np.empty(0))[0]) == 0


# Coverage


@pytest.mark.parametrize(("low", "high"), [(0.02, 1.0), (0.5, 30.0), (50.0, 5000.0)])
def test_stretches_of_mixtures(low: float, high: float) -> None:
    rng = np.random.default_rng(6)
    a, b = np.exp(rng.uniform(np.log(low), np.log(high), (2, 300, 4)))
    total = rng.integers(1, 60, 300)
    votes = rng.integers(0, total + 1)
    below, upto = cumulative_stretch(votes, total, a, b)
    law = stats.betabinom(total[:, None], a, b)
    np.testing.assert_allclose(below, law.cdf(votes[:, None] - 1).mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(upto, law.cdf(votes[:, None]).mean(axis=1), atol=1e-9)


def test_stretches_far_in_the_tails() -> None:
    below, upto = cumulative_stretch(
        np.array([500, 1000, 0]),
        np.array([1000] * 3),
        np.array([[1.0], [9e5], [9e5]]),
        np.array([[1e6], [1e5], [1e5]]),
    )
    assert below.tolist() == [1.0, pytest.approx(1.0, abs=1e-9), 0.0]
    assert upto.tolist() == [1.0, 1.0, 0.0]


def test_overlap_by_hand() -> None:
    below, upto = np.array([0.0, 0.2, 0.5, 0.99, 0.5, 1.0]), np.array([1.0, 0.3, 0.6, 1.0, 0.5, 1.0])
    assert overlap(below, upto, 0.5) == pytest.approx([0.5, 0.5, 1.0, 0.0, 1.0, 0.0])


def test_coverage_of_the_truth_is_the_level_and_of_others_is_not() -> None:
    alpha, votes = draw(7, 20000)
    got = votes_coverage(votes, alpha, PAIR)
    assert got.by_answer == pytest.approx(np.repeat([[0.5], [0.9]], 5, axis=1), abs=0.012)
    assert got.pooled == pytest.approx([0.5, 0.9], abs=0.006)
    assert got.histogram == pytest.approx(np.ones((5, 20)), abs=0.12)
    assert got.histogram.mean(axis=1) == pytest.approx(np.ones(5))
    narrow = votes_coverage(votes, 20.0 * alpha, PAIR)
    assert (narrow.pooled < got.pooled - 0.03).all()


def test_coverage_agrees_with_random_draws() -> None:
    alpha, votes = draw(8, 4000)
    got = votes_coverage(votes, 0.3 * alpha, PAIR)
    rng = np.random.default_rng(9)
    rows = votes[:, :2].sum(axis=1) > 0
    n, v, a = votes[rows, :2].sum(axis=1), votes[rows, 0], 0.3 * alpha[rows, 0]
    law = stats.betabinom(n, a[:, 0], a[:, 1])
    place = law.cdf(v - 1) + rng.random((200, len(v))) * law.pmf(v)
    assert got.by_answer[0, 0] == pytest.approx(np.mean(np.abs(place - 0.5) < 0.25), abs=2e-3)
    assert got.by_answer[1, 0] == pytest.approx(np.mean(np.abs(place - 0.5) < 0.45), abs=2e-3)


def test_coverage_of_hardly_anything() -> None:
    none = votes_coverage(np.zeros((0, 5), int), np.ones((0, 3, 5)), PAIR)
    unasked = votes_coverage(np.zeros((1, 5), int), np.ones((1, 3, 5)), PAIR)
    for got in (none, unasked):
        assert np.isnan(got.pooled).all()
        assert got.count.sum() == 0
    one = votes_coverage(np.array([[1, 0, 0, 0, 0]]), np.ones((1, 1, 5)), PAIR)
    assert one.count.tolist() == [1, 1, 0, 0, 0]
    # One vote between two equal answers: the stretches are halves.
    assert one.by_answer[:, 0] == pytest.approx([0.5, 0.9])


# Calibration


def test_reliability_by_hand() -> None:
    votes = np.array([[3, 1], [0, 0], [5, 5]])
    fraction = np.array([[0.7, 0.3], [0.9, 0.1], [0.72, 0.28]])
    got = reliability(votes, fraction, bins=10)
    assert got.weight.tolist() == [0, 0, 10, 4, 0, 0, 0, 14, 0, 0]
    assert got.expected[7] == pytest.approx((4 * 0.7 + 10 * 0.72) / 14)
    assert got.observed[7] == pytest.approx(8 / 14)
    gap = 10 * abs(0.5 - 0.28) + 4 * abs(0.25 - 0.3) + 14 * abs(8 / 14 - (2.8 + 7.2) / 14)
    assert got.error == pytest.approx(gap / 28)
    assert np.isnan(reliability(votes[:0], fraction[:0]).error)


def test_reliability_of_the_truth() -> None:
    rng = np.random.default_rng(10)
    p = rng.dirichlet([0.5, 1, 2], 50000)
    votes = rng.multinomial(20, p)
    assert reliability(votes, p).error < 3e-3
    assert reliability(votes, 0.5 * p + 1 / 6).error > 0.1


# Likelihood


def test_constant_against_a_general_minimizer() -> None:
    alpha = np.array([0.4, 1.5, 6.0])
    rng = np.random.default_rng(11)
    votes = rng.multinomial(rng.integers(1, 40, 4000), rng.dirichlet(alpha, 4000))

    def negative(log_alpha: npt.NDArray) -> float:
        law = stats.dirichlet_multinomial(np.exp(log_alpha), votes.sum(axis=1))
        return -float(law.logpmf(votes).mean())

    brute = optimize.minimize(
        negative, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-10}
    )
    fitted = constant_concentrations(votes)
    assert negative(np.log(fitted)) == pytest.approx(brute.fun, abs=1e-8)
    assert fitted == pytest.approx(alpha, rel=0.1)


def test_constant_of_extremes() -> None:
    assert constant_concentrations(np.zeros((0, 2), int)).tolist() == [1.0, 1.0]
    assert constant_concentrations(np.zeros((3, 2), int)).tolist() == [1.0, 1.0]
    one = constant_concentrations(np.array([[7, 0]]))
    assert np.isfinite(one).all()
    assert one[0] / one.sum() > 0.999
    binomial = constant_concentrations(np.tile([10, 10], (50, 1)))
    assert binomial[0] / binomial.sum() == pytest.approx(0.5, abs=1e-3)
    assert binomial.sum() > 1e4


def test_oracle_is_the_law_of_the_votes() -> None:
    rng = np.random.default_rng(12)
    p = np.concatenate([rng.dirichlet([2, 2], 30), rng.dirichlet([2, 2, 2], 30)], axis=1)
    votes = rng.integers(0, 9, (30, 5))
    got = oracle_log_probability(votes, p, PAIR, concentration=60.0)
    law = stats.dirichlet_multinomial(60.0 * p[:, :2], votes[:, :2].sum(axis=1))
    np.testing.assert_allclose(got[:, 0], law.logpmf(votes[:, :2]), atol=1e-9)
    free = oracle_log_probability(votes, p, PAIR)
    expected = [stats.multinomial.logpmf(v, v.sum(), q) for v, q in zip(votes[:, 2:], p[:, 2:], strict=True)]
    np.testing.assert_allclose(free[:, 1], expected, atol=1e-6)


def test_oracle_gains_everything_and_constant_nothing() -> None:
    rng = np.random.default_rng(13)
    p = np.concatenate([rng.dirichlet([1, 1], 3000), rng.dirichlet([1, 1, 1], 3000)], axis=1)
    alpha, votes = 60.0 * p[:, None], np.zeros((3000, 5), int)
    for part in PAIR.slices.values():
        drawn = rng.gamma(alpha[:, 0, part])
        votes[:, part] = rng.multinomial(rng.integers(0, 30, 3000), drawn / drawn.sum(axis=1, keepdims=True))
    oracle = oracle_log_probability(votes, p, PAIR, concentration=60.0)
    got = votes_likelihoods(votes, log_probability(votes, alpha, PAIR), PAIR, oracle)
    assert got.gained == pytest.approx([1.0, 1.0])
    assert got.total_gained == pytest.approx(1.0)
    assert got.count.tolist() == [(votes[:, s].sum(axis=1) > 0).sum() for s in PAIR.slices.values()]
    constant = np.concatenate([constant_concentrations(votes[:, s]) for s in PAIR.slices.values()])
    dull = log_probability(votes, np.tile(constant, (3000, 1, 1)), PAIR)
    dull_likelihoods = votes_likelihoods(votes, dull, PAIR, oracle)
    assert dull_likelihoods.total_gained == pytest.approx(0.0, abs=1e-9)
    assert dull_likelihoods.total[0] == pytest.approx(dull.sum(axis=1).mean())
    assert np.isnan(votes_likelihoods(votes, dull, PAIR).gained).all()


@pytest.mark.parametrize("number", [0, 1])
def test_likelihoods_of_hardly_anything(number: int) -> None:
    votes = np.zeros((number, 5), int)
    got = votes_likelihoods(votes, np.zeros((number, 2)), PAIR, np.zeros((number, 2)))
    assert got.count.tolist() == [0, 0]
    assert np.isnan(got.model).all()
    assert np.isnan(got.gained).all()
    assert np.isnan(got.total_gained)
