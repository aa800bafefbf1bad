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

"""What a model loses where bands are missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.frozen_definition import EVALUATION_V2
from lsst.meas.morphology.simulation.frozen_set import CONCENTRATION, draw_sample
from lsst.meas.morphology.validation.bars import CORE
from lsst.meas.morphology.validation.evaluation import LabelledPredictions, SampleEvaluation, evaluate
from lsst.meas.morphology.validation.missing_bands import band_losses, missing_bands_table, missing_bands_text

RUBIN = QuestionTree.load("rubin")


@pytest.fixture(scope="module")
def knows() -> LabelledPredictions:
    """Return the predictions of who knows the truth."""
    sample = draw_sample(EVALUATION_V2.samples[0], quick=1500)
    truth = sample.objects.probabilities
    return LabelledPredictions(
        name="natural",
        tree=RUBIN,
        alpha=np.repeat(CONCENTRATION * truth[:, np.newaxis], 2, axis=1),
        votes=sample.objects.votes,
        probabilities=truth,
        concentration=CONCENTRATION,
    )


def blind(knows: LabelledPredictions, question: str, share: float) -> SampleEvaluation:
    """Evaluate who has some galaxies' answers to a question reversed."""
    alpha = knows.alpha.copy()
    part = RUBIN.slices[question]
    alpha[: round(share * len(alpha)), :, part] = alpha[: round(share * len(alpha)), :, part][..., ::-1]
    return evaluate(dataclasses.replace(knows, alpha=alpha))


def test_losses(knows: LabelledPredictions) -> None:
    """Accuracy by galaxies counted one by one; bars by what is missing."""
    evaluations = {
        (): evaluate(knows),
        ("g",): blind(knows, "diskEdgeOn", 0.2),
        ("i",): evaluate(knows),
        ("g", "i"): blind(knows, "diskEdgeOn", 1.0),
    }
    losses = band_losses(evaluations)
    assert [loss.missing for loss in losses] == list(evaluations)
    assert [loss.name for loss in losses] == ["all bands", "without g", "without i", "without g, i"]
    part = RUBIN.slices["diskEdgeOn"]
    votes, truth = knows.votes[:, part], knows.probabilities[:, part]
    total = votes.sum(axis=1)
    sure = (total >= 20) & (votes.max(axis=1) >= 0.8 * total)
    right = truth.argmax(axis=1) == votes.argmax(axis=1)
    first = np.arange(len(votes)) < 300
    expected = np.mean((right ^ first)[sure])
    assert losses[1].accuracy["diskEdgeOn"] == pytest.approx(expected, abs=0.003)
    assert losses[1].worst[0] == "diskEdgeOn"
    assert losses[1].worst[1] == pytest.approx(np.mean(right[sure]) - expected, abs=0.003)
    assert losses[1].gained < losses[0].gained
    assert set(losses[0].lost.values()) == {0.0}
    assert losses[2].lost == losses[0].lost
    # One band is judged by accuracy and coverage, none and two by coverage.
    met = [[bar.met for bar in loss.bars if "accuracy" in bar.what] for loss in losses]
    assert met == [[], [False], [True], []]
    assert all(any("coverage" in bar.what for bar in loss.bars) for loss in losses)
    assert all(bar.met for bar in losses[0].coverage)
    assert not all(bar.met for bar in losses[3].coverage)


def test_text_and_table(knows: LabelledPredictions) -> None:
    losses = band_losses({(): evaluate(knows), ("g",): blind(knows, "merging", 0.5)})
    text = missing_bands_text(losses)
    assert "without g" in text
    assert "MISSED; merging" in text
    assert max(map(len, text.splitlines())) <= 150
    table = missing_bands_table(losses, {"model": "x"})
    assert table.schema.metadata[b"kind"] == b"missingBands"
    rows = {(row["missing"], row["measure"]): row["value"] for row in table.to_pylist()}
    assert len(rows) == len(table)
    for name in CORE:
        whole, without = rows["", f"accuracy {name}"], rows["g", f"accuracy {name}"]
        assert rows["g", f"lost {name}"] == pytest.approx(whole - without)
    assert rows["", "likelihood_gained"] == pytest.approx(1.0)


def test_something_to_compare_with() -> None:
    with pytest.raises(ValueError, match="all bands"):
        band_losses({})
