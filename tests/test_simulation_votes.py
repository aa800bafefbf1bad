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

"""Simulated volunteers: what they see and how they vote."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.galaxies import GalaxyParameters, Kind, draw_parameters
from lsst.meas.morphology.simulation.observing import Conditions
from lsst.meas.morphology.simulation.votes import UNTAUGHT, draw_votes, true_probabilities

TREE = QuestionTree.load("rubin")


def conditions(n: int, fwhm: float = 0.8, sigma: float = 3.0) -> Conditions:
    full = np.ones((n, 1))
    return Conditions(("r",), fwhm * full, 60.0 * full, sigma * full)


def spirals(n: int, **changes: object) -> GalaxyParameters:
    zero = np.zeros(n)
    p = draw_parameters(np.random.default_rng(2), n)
    values = {
        "kind": np.full(n, Kind.DISK, dtype=np.int64),
        "magnitude": np.full(n, 18.0),
        "half_light": np.full(n, 4.0),
        "axis_ratio": np.full(n, 0.9),
        "bulge_fraction": np.full(n, 0.2),
        "bar_strength": np.full(n, 0.9),
        "bar_length": np.full(n, 1.5),
        "arm_strength": np.full(n, 0.8),
        "arm_count": np.full(n, 2),
        "pitch": np.full(n, np.radians(20.0)),
        "flocculence": zero,
        "clumpiness": zero,
        "disturbance": zero,
        "companion_ratio": zero,
        "ring_strength": zero,
        "lopsidedness": zero,
        "size_error": np.ones(n),
    }
    return dataclasses.replace(p, **(values | changes))


def probability(parameters: GalaxyParameters, seen: Conditions, question: str, answer: str) -> np.ndarray:
    table = true_probabilities(parameters, seen, TREE)
    return table[:, TREE.column_index(question, answer)]


def test_probabilities_of_each_question_sum_to_one() -> None:
    p = draw_parameters(np.random.default_rng(1), 4000, mix="training")
    table = true_probabilities(p, conditions(4000), TREE)
    assert table.shape == (4000, TREE.n_answers)
    assert (table > 0.0).all()
    for question in TREE.questions:
        np.testing.assert_allclose(table[:, TREE.slices[question.name]].sum(axis=1), 1.0, rtol=1e-5)


def test_seeing_hides_arms_and_bars() -> None:
    fwhm = np.array([0.6, 1.0, 2.0, 9.0])
    parts = [conditions(1, fwhm=width) for width in fwhm]
    arms = np.concatenate([probability(spirals(1), c, "hasSpiralArms", "yes") for c in parts])
    featured = np.concatenate(
        [probability(spirals(1), c, "smoothOrFeatured", "featuredOrDisk") for c in parts]
    )
    barred = np.concatenate([probability(spirals(1), c, "bar", "strong") for c in parts])
    assert arms[0] > 0.95
    assert arms[-1] < 0.1
    assert featured[0] > 0.9
    assert featured[-1] < 0.5
    assert barred[0] > 0.8
    assert barred[-1] < 0.1
    for values in (arms, featured, barred):
        assert (np.diff(values) <= 1e-6).all()


def test_noise_hides_arms() -> None:
    faint = spirals(1, magnitude=np.full(1, 20.5))
    clear = probability(faint, conditions(1, sigma=1.0), "hasSpiralArms", "yes")
    lost = probability(faint, conditions(1, sigma=300.0), "hasSpiralArms", "yes")
    assert clear > 0.9
    assert lost < 0.1


@pytest.mark.parametrize(
    ("changes", "question", "answer"),
    [
        ({"axis_ratio": np.full(1, 0.02)}, "diskEdgeOn", "yes"),
        ({}, "diskEdgeOn", "no"),
        ({"arm_strength": np.zeros(1)}, "hasSpiralArms", "no"),
        ({"bar_strength": np.zeros(1)}, "bar", "no"),
        ({"bulge_fraction": np.full(1, 0.75)}, "bulgeSize", "dominant"),
        ({"bulge_fraction": np.zeros(1)}, "bulgeSize", "none"),
        ({"pitch": np.full(1, np.radians(8.0)), "arm_count": np.full(1, 1)}, "spiralWinding", "tight"),
        ({"pitch": np.full(1, np.radians(32.0))}, "spiralWinding", "loose"),
        ({"arm_count": np.full(1, 2)}, "spiralArmCount", "2"),
        ({"companion_ratio": np.full(1, 0.6)}, "merging", "merger"),
        ({"disturbance": np.full(1, 0.9)}, "merging", "majorDisturbance"),
        ({"disturbance": np.full(1, 0.3)}, "merging", "minorDisturbance"),
        ({}, "merging", "none"),
        ({"clumpiness": np.ones(1)}, "clumps", "yes"),
        ({"kind": np.full(1, Kind.STAR, dtype=np.int64)}, "smoothOrFeatured", "problem"),
        ({"kind": np.full(1, Kind.STAR, dtype=np.int64)}, "problem", "star"),
        (
            {"kind": np.full(1, Kind.ARTIFACT, dtype=np.int64), "artifact": np.full(1, 4, dtype=np.int64)},
            "artifact",
            "ghost",
        ),
        (
            {"kind": np.zeros(1, dtype=np.int64), "sersic": np.full(1, 4.0)},
            "smoothOrFeatured",
            "smooth",
        ),
    ],
)
def test_plain_cases_get_the_plain_answer(changes: dict[str, object], question: str, answer: str) -> None:
    p = spirals(1, **changes)
    table = true_probabilities(p, conditions(1), TREE)[0, TREE.slices[question]]
    assert TREE.question(question).answers[int(table.argmax())] == answer
    assert table.max() > 0.5


def test_votes_follow_the_tree() -> None:
    p = draw_parameters(np.random.default_rng(1), 3000, mix="training")
    table = true_probabilities(p, conditions(3000), TREE)
    votes = draw_votes(np.random.default_rng(5), table, TREE, volunteers=(5, 40))
    for question in TREE.questions:
        given = votes[:, TREE.slices[question.name]].sum(axis=1)
        if question.parents:
            asked = sum(votes[:, TREE.column_index(*parent)] for parent in question.parents)
            np.testing.assert_array_equal(given, asked)
        else:
            assert given.min() >= 5
            assert given.max() <= 40


def test_votes_scatter_as_a_dirichlet_multinomial() -> None:
    n = 40000
    table = np.tile(true_probabilities(spirals(1), conditions(1), TREE), (n, 1))
    root = TREE.slices["smoothOrFeatured"]
    table[:, root] = [0.3, 0.6, 0.1]
    votes = draw_votes(np.random.default_rng(0), table, TREE, volunteers=(30, 30), concentration=20.0)
    fraction = votes[:, root] / 30.0
    np.testing.assert_allclose(fraction.mean(axis=0), [0.3, 0.6, 0.1], atol=0.005)
    expected = 0.3 * 0.7 / 30.0 * (30.0 + 20.0) / (1.0 + 20.0)
    assert fraction[:, 0].var() == pytest.approx(expected, rel=0.05)
    pure = draw_votes(np.random.default_rng(0), table, TREE, volunteers=(30, 30), concentration=np.inf)
    assert (pure[:, root] / 30.0)[:, 0].var() == pytest.approx(0.3 * 0.7 / 30.0, rel=0.05)


def test_nobody_is_asked_about_no_galaxy() -> None:
    p = draw_parameters(np.random.default_rng(1), 0)
    table = true_probabilities(p, conditions(0), TREE)
    assert draw_votes(np.random.default_rng(0), table, TREE).shape == (0, TREE.n_answers)


def test_untaught_answers_exist_and_are_rare() -> None:
    assert set(UNTAUGHT) <= set(TREE.answer_columns)
    p = draw_parameters(np.random.default_rng(1), 3000, mix="training")
    table = true_probabilities(p, conditions(3000), TREE)
    for name in UNTAUGHT:
        assert table[:, TREE.answer_columns.index(name)].max() < 0.2


def test_foreign_question_is_an_error() -> None:
    p = draw_parameters(np.random.default_rng(1), 2)
    with pytest.raises(ValueError, match="cannot answer"):
        true_probabilities(p, conditions(2), QuestionTree.load("gz2"))
