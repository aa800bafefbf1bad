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

import collections
import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize, stats

from lsst.meas.morphology.posteriors import Posteriors, log_probability, summarize
from lsst.meas.morphology.questions.tree import Question, QuestionTree

RUBIN = QuestionTree.load("rubin")
PAIR = QuestionTree("pair", "One question", (Question("a", ("yes", "no")),))
FIELDS = ("fraction", "fraction_low", "fraction_high", "concentration", "asked", "entropy", "mutual_info")


def draw(
    seed: int, low: float, high: float, objects: int, samples: int, answers: int
) -> npt.NDArray[np.float32]:
    """Draw concentrations uniformly in their logarithm."""
    rng = np.random.default_rng(seed)
    return np.exp(rng.uniform(np.log(low), np.log(high), (objects, samples, answers))).astype(np.float32)


def mixture_quantile(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], probability: float) -> float:
    """Solve the exact mixture distribution, on a scale fit for both ends."""

    def excess(logit: float) -> float:
        x = 1.0 / (1.0 + math.exp(-logit))
        return float(np.mean(stats.beta.cdf(x, a, b))) - probability

    if excess(-25.0) > 0.0:
        return 0.0
    if excess(25.0) < 0.0:
        return 1.0
    return 1.0 / (1.0 + math.exp(-optimize.brentq(excess, -25.0, 25.0, xtol=1e-9)))


def information(alpha: npt.NDArray[np.float64], votes: int) -> float:
    """Enumerate ordered votes, with Polya's urn, and group them by counts."""
    joint = []
    for sample in alpha:
        probability: dict[tuple[int, ...], float] = collections.defaultdict(float)
        for sequence in itertools.product(range(len(sample)), repeat=votes):
            counts = [0] * len(sample)
            product = 1.0
            for given, answer in enumerate(sequence):
                product *= (sample[answer] + counts[answer]) / (sample.sum() + given)
                counts[answer] += 1
            probability[tuple(counts)] += product
        joint.append(probability)

    def entropy(values: list[float]) -> float:
        return -sum(value * math.log(value) for value in values if value > 0.0)

    mixture = [sum(p[counts] for p in joint) / len(joint) for counts in joint[0]]
    return entropy(mixture) - sum(entropy(list(p.values())) for p in joint) / len(joint)


def test_fractions_and_entropy() -> None:
    alpha = draw(1, 0.1, 100.0, 20, 16, RUBIN.n_answers)
    result = summarize(alpha, RUBIN)
    for i, part in itertools.product(range(20), RUBIN.slices.values()):
        exact = np.array([stats.dirichlet.mean(sample) for sample in alpha[i, :, part].astype(float)])
        fraction = exact.mean(axis=0)
        np.testing.assert_allclose(result.fraction[i, part], fraction, rtol=0, atol=1e-6)
        index = list(RUBIN.slices.values()).index(part)
        np.testing.assert_allclose(result.entropy[i, index], stats.entropy(fraction), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1.0, 101.0),
        (0.05, 1.0),
        (0.05, 1500.0),
        (600.0, 800.0),
        (1.0, 1.001),
        (1e4, 1e6),
        (0.01, 1e6),
        (0.4, 0.6),
    ],
)
@pytest.mark.parametrize("samples", [1, 2, 16])
def test_intervals(low: float, high: float, samples: int) -> None:
    alpha = draw(2, low, high, 60, samples, 2)
    result = summarize(alpha, PAIR)
    a, b = alpha[..., 0].astype(float), alpha[..., 1].astype(float)
    exact_low = [mixture_quantile(*pair, 0.05) for pair in zip(a, b, strict=True)]
    exact_high = [mixture_quantile(*pair, 0.95) for pair in zip(a, b, strict=True)]
    np.testing.assert_allclose(result.fraction_low[:, 0], exact_low, rtol=0, atol=1e-3)
    np.testing.assert_allclose(result.fraction_high[:, 0], exact_high, rtol=0, atol=1e-3)
    np.testing.assert_allclose(result.fraction_low[:, 1], 1.0 - np.array(exact_high), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("a_range", "b_range"), [((0.05, 0.5), (100.0, 1500.0)), ((1.0, 3.0), (500.0, 1400.0))]
)
def test_intervals_of_lopsided_mixtures(a_range: tuple[float, float], b_range: tuple[float, float]) -> None:
    a, b = draw(3, *a_range, 60, 16, 1), draw(4, *b_range, 60, 16, 1)
    result = summarize(np.concatenate([a, b], axis=-1), PAIR)
    for i in range(60):
        pair = a[i, :, 0].astype(float), b[i, :, 0].astype(float)
        assert result.fraction_low[i, 0] == pytest.approx(mixture_quantile(*pair, 0.05), abs=1e-3)
        assert result.fraction_high[i, 0] == pytest.approx(mixture_quantile(*pair, 0.95), abs=1e-3)


def test_interval_of_disagreeing_samples_spans_both() -> None:
    alpha = np.array([[[90.0, 10.0], [10.0, 90.0]]])
    result = summarize(alpha, PAIR)
    np.testing.assert_allclose(result.fraction_low[0], 0.0637570, atol=1e-5)
    np.testing.assert_allclose(result.fraction_high[0], 0.9362430, atol=1e-5)
    np.testing.assert_allclose(result.fraction[0], 0.5, atol=1e-7)


def test_other_levels() -> None:
    alpha = draw(5, 1.0, 100.0, 20, 8, 2)
    for level in (0.5, 0.68, 0.99):
        result = summarize(alpha, PAIR, level=level)
        for i in range(20):
            pair = alpha[i, :, 0].astype(float), alpha[i, :, 1].astype(float)
            assert result.fraction_low[i, 0] == pytest.approx(
                mixture_quantile(*pair, (1 - level) / 2), abs=1e-3
            )


def test_asked_by_enumeration() -> None:
    """Every combination of answers to a tree with a rejoining branch."""
    tree = QuestionTree(
        "t",
        "T",
        (
            Question("d", ("yes", "no"), (("b", "yes"), ("c", "yes"))),
            Question("a", ("p", "q", "r")),
            Question("b", ("yes", "no"), (("a", "p"),)),
            Question("c", ("yes", "no"), (("a", "q"),)),
            Question("e", ("yes", "no"), (("d", "no"), ("a", "r"))),
        ),
    )
    alpha = draw(6, 0.2, 20.0, 3, 4, tree.n_answers).astype(float)
    expected = np.zeros((3, tree.n_questions))
    for i, sample in itertools.product(range(3), range(4)):
        means = {q: alpha[i, sample, p] / alpha[i, sample, p].sum() for q, p in tree.slices.items()}
        for given in itertools.product(*(question.answers for question in tree.questions)):
            answers = dict(zip(tree.slices, given, strict=True))
            weight = math.prod(
                means[question.name][question.answers.index(answers[question.name])]
                for question in tree.questions
            )
            was_asked: dict[str, bool] = {}
            for name in ("a", "b", "c", "d", "e"):
                parents = tree.question(name).parents
                was_asked[name] = not parents or any(was_asked[p] and answers[p] == v for p, v in parents)
            expected[i] += [weight / 4 * was_asked[question.name] for question in tree.questions]
    np.testing.assert_allclose(summarize(alpha, tree).asked, expected, rtol=0, atol=1e-6)


def test_asked_takes_the_mean_of_products() -> None:
    """Samples that disagree: the product of means would be 0.25."""
    tree = QuestionTree(
        "t", "T", (Question("a", ("yes", "no")), Question("b", ("yes", "no"), (("a", "yes"),)),
                   Question("c", ("yes", "no"), (("b", "yes"),)))
    )  # fmt: skip
    sure, never = [999.0, 1.0], [1.0, 999.0]
    alpha = np.array([[sure + sure + sure, never + never + never]])
    np.testing.assert_allclose(summarize(alpha, tree).asked[0], [1.0, 0.5, 0.499001], atol=1e-6)


def test_asked_of_shipped_tree() -> None:
    alpha = draw(7, 1.0, 100.0, 5, 16, RUBIN.n_answers)
    asked = summarize(alpha, RUBIN).asked
    names = list(RUBIN.slices)
    means = alpha[..., :3] / alpha[..., :3].sum(axis=-1, keepdims=True)
    assert (asked[:, names.index("smoothOrFeatured")] == 1.0).all()
    np.testing.assert_allclose(asked[:, names.index("merging")], 1.0 - means[..., 2].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(asked[:, names.index("problem")], means[..., 2].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("answers", [2, 3, 4, 7])
def test_mutual_information_by_enumeration(answers: int) -> None:
    tree = QuestionTree("t", "T", (Question("a", tuple("abcdefg"[:answers])),))
    alpha = draw(8, 0.05, 50.0, 2, 3, answers)
    result = summarize(alpha, tree)
    for i in range(2):
        assert result.mutual_info[i, 0] == pytest.approx(information(alpha[i].astype(float), 5), abs=1e-5)
    two = summarize(alpha, tree, votes=2)
    assert two.mutual_info[0, 0] == pytest.approx(information(alpha[0].astype(float), 2), abs=1e-5)


def test_mutual_information_limits() -> None:
    same = np.repeat(draw(9, 1.0, 100.0, 4, 1, RUBIN.n_answers), 16, axis=1)
    np.testing.assert_allclose(summarize(same, RUBIN).mutual_info, 0.0, atol=1e-6)
    opposed = np.array([[[1e6, 1e-3], [1e-3, 1e6]]])
    assert summarize(opposed, PAIR).mutual_info[0, 0] == pytest.approx(math.log(2.0), abs=1e-5)


def test_log_probability() -> None:
    rng = np.random.default_rng(10)
    alpha = draw(11, 0.1, 100.0, 6, 5, RUBIN.n_answers)
    votes = rng.integers(0, 20, (6, RUBIN.n_answers))
    votes[2] = 0
    result = log_probability(votes, alpha, RUBIN)
    for i, (q, part) in itertools.product(range(6), enumerate(RUBIN.slices.values())):
        exact = np.mean(
            [
                np.exp(stats.dirichlet_multinomial.logpmf(votes[i, part], sample[part].astype(float), n))
                for sample in alpha[i]
                for n in [votes[i, part].sum()]
            ]
        )
        assert result[i, q] == pytest.approx(np.log(exact), abs=1e-8)
    assert (result[2] == 0.0).all()


def test_log_probability_does_not_underflow() -> None:
    alpha = np.full((1, 2, 2), [[1000.0, 1e-3]])
    result = log_probability(np.array([[0, 2000]]), alpha, PAIR)
    assert np.isfinite(result).all()
    assert result[0, 0] < -1000.0


def test_log_probability_of_huge_concentrations() -> None:
    """Concentrations without limit give the multinomial distribution."""
    alpha = np.array([[[3e12, 7e12]]])
    result = log_probability(np.array([[4, 9]]), alpha, PAIR)
    assert result[0, 0] == pytest.approx(stats.multinomial.logpmf([4, 9], 13, [0.3, 0.7]), abs=1e-9)


def test_extreme_concentrations_stay_finite() -> None:
    rng = np.random.default_rng(19)
    alpha = (10.0 ** rng.uniform(-30.0, 30.0, (20, 4, RUBIN.n_answers))).astype(np.float32)
    result = summarize(alpha, RUBIN)
    for name in FIELDS:
        assert np.isfinite(getattr(result, name)).all(), name
    assert (result.fraction_low <= result.fraction_high).all()
    assert ((result.asked >= 0.0) & (result.asked <= 1.0)).all()
    log_p = log_probability(rng.integers(0, 9, (20, RUBIN.n_answers)), alpha, RUBIN)
    assert (log_p <= 1e-9).all()


def test_concentration_matches_moments() -> None:
    alpha = draw(12, 0.2, 60.0, 8, 16, RUBIN.n_answers).astype(float)
    result = summarize(alpha, RUBIN)
    for i, part in itertools.product(range(8), RUBIN.slices.values()):
        moments = [(stats.dirichlet.mean(s[part]), stats.dirichlet.var(s[part])) for s in alpha[i]]
        mean = np.mean([m for m, _ in moments], axis=0)
        variance = np.mean([v + m**2 for m, v in moments], axis=0) - mean**2
        matched = result.concentration[i, part].astype(float)
        np.testing.assert_allclose(stats.dirichlet.mean(matched), mean, atol=1e-6)
        np.testing.assert_allclose(stats.dirichlet.var(matched).sum(), variance.sum(), rtol=1e-5)


def test_concentration_of_one_sample_is_that_sample() -> None:
    alpha = draw(13, 0.05, 1000.0, 10, 1, RUBIN.n_answers)
    np.testing.assert_allclose(summarize(alpha, RUBIN).concentration, alpha[:, 0], rtol=1e-5)


def test_concentration_at_a_vertex_is_finite() -> None:
    result = summarize(np.array([[[1e30, 1e-30], [1e30, 1e-30]]]), PAIR)
    assert np.isfinite(result.concentration).all()
    np.testing.assert_allclose(result.fraction, [[1.0, 0.0]])
    assert result.entropy[0, 0] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_bad_rows_are_nan(bad: float) -> None:
    alpha = draw(14, 1.0, 101.0, 4, 16, RUBIN.n_answers)
    good = summarize(alpha, RUBIN)
    alpha[1, 3, 7] = bad
    result = summarize(alpha, RUBIN)
    for name in FIELDS:
        values = getattr(result, name)
        assert np.isnan(values[1]).all(), name
        np.testing.assert_allclose(values[[0, 2, 3]], getattr(good, name)[[0, 2, 3]], rtol=1e-6)
    votes = np.ones((4, RUBIN.n_answers), dtype=int)
    assert np.isnan(log_probability(votes, alpha, RUBIN)).all(axis=1).tolist() == [False, True, False, False]


def test_all_rows_bad() -> None:
    result = summarize(np.full((3, 2, 2), np.nan, dtype=np.float32), PAIR)
    assert np.isnan(result.fraction_low).all()


def test_no_objects() -> None:
    result = summarize(np.empty((0, 16, RUBIN.n_answers), dtype=np.float32), RUBIN)
    assert len(result) == 0
    assert result.fraction.shape == (0, 46)
    assert result.mutual_info.shape == (0, 13)
    assert log_probability(np.empty((0, 46), dtype=int), np.empty((0, 16, 46)), RUBIN).shape == (0, 13)


def test_types_and_order() -> None:
    result = summarize(draw(15, 1.0, 101.0, 30, 16, RUBIN.n_answers), RUBIN)
    assert isinstance(result, Posteriors)
    assert all(getattr(result, name).dtype == np.float32 for name in FIELDS)
    assert (result.fraction_low < result.fraction).all()
    assert (result.fraction < result.fraction_high).all()


def test_grouping_does_not_matter() -> None:
    alpha = draw(16, 0.05, 2000.0, 40, 16, RUBIN.n_answers)
    whole = summarize(alpha, RUBIN)
    for i in (0, 17, 39):
        alone = summarize(alpha[i : i + 1], RUBIN)
        for name in FIELDS:
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(whole, name)[i], rtol=1e-5, atol=1e-7)


def test_wrong_shapes_are_refused() -> None:
    alpha = draw(17, 1.0, 101.0, 4, 3, 2)
    with pytest.raises(ValueError, match="do not fit the tree 'rubin'"):
        summarize(alpha, RUBIN)
    with pytest.raises(ValueError, match="at least one sample"):
        summarize(alpha[:, :0], PAIR)
    with pytest.raises(ValueError, match="at least one sample"):
        summarize(alpha[0], PAIR)
    with pytest.raises(ValueError, match="between 0 and 1, not 1.0"):
        summarize(alpha, PAIR, level=1.0)
    with pytest.raises(ValueError, match="At least one vote"):
        summarize(alpha, PAIR, votes=0)
    with pytest.raises(ValueError, match="too many to enumerate"):
        summarize(draw(18, 1.0, 2.0, 1, 1, RUBIN.n_answers), RUBIN, votes=100)
    with pytest.raises(ValueError, match="Votes of shape"):
        log_probability(np.zeros((3, 2), dtype=int), alpha, PAIR)
    with pytest.raises(ValueError, match="whole numbers"):
        log_probability(np.full((4, 2), -1), alpha, PAIR)
    with pytest.raises(ValueError, match="whole numbers"):
        log_probability(np.full((4, 2), 0.5), alpha, PAIR)  # type: ignore[arg-type]
