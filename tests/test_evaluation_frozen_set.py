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

"""The frozen set of simulated galaxies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsst.meas.morphology.confident import confident
from lsst.meas.morphology.errors import ModelMismatchError, MorphologyError
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.checksums import truth_checksum
from lsst.meas.morphology.simulation.frozen_definition import EVALUATION_V2
from lsst.meas.morphology.simulation.frozen_set import (
    check_model,
    draw_sample,
    freeze,
    picture_fingerprint,
)
from lsst.meas.morphology.simulation.objects import draw_objects, select_by_winner
from lsst.meas.morphology.simulation.votes import UNTAUGHT

RUBIN = QuestionTree.load("rubin")
NATURAL, STRATIFIED = EVALUATION_V2.samples


@pytest.fixture(scope="module")
def manifest(make_package: Callable[..., Path]) -> Manifest:
    return ModelPackage.open(make_package(stamp_size=24)).manifest


def test_the_simulator_still_makes_what_was_frozen() -> None:
    sample = draw_sample(NATURAL)
    assert freeze(NATURAL).checksum == NATURAL.checksum
    assert len(sample) == 20000
    assert sample.objects.votes[:, RUBIN.slices["smoothOrFeatured"]].sum(axis=1).max() == 40
    covariates = sample.covariates()
    assert set(covariates) == {"magnitude", "size", "seeing", "depth"}
    # A visit reaches 23.9 in r at 0.9 arcsec; ten to two hundred of them.
    assert 24.5 < np.median(covariates["depth"]) < 27.0


@pytest.mark.slow
def test_every_answer_has_its_galaxies() -> None:
    sample = draw_sample(STRATIFIED)
    for question in RUBIN.questions:
        votes = sample.objects.votes[:, RUBIN.slices[question.name]]
        winners = votes[confident(votes)].argmax(axis=1)
        for k, answer in enumerate(question.answers):
            if f"{question.name}_{answer}" not in UNTAUGHT:
                assert (winners == k).sum() >= 300, f"{question.name}_{answer}"
    assert len(sample) < 12000


def test_a_changed_simulator_is_refused() -> None:
    for change in ({"first_checksum": "0"}, {"seed": 7}, {"magnitude_limit": 20.9}):
        with pytest.raises(MorphologyError, match="simulator has changed"):
            draw_sample(dataclasses.replace(NATURAL, **change), quick=10)
    changed = dataclasses.replace(NATURAL, fingerprint=(0.0, 0.0, 0.0))
    with pytest.raises(MorphologyError, match="pictures"):
        draw_sample(changed)


def test_quick_samples_are_small_and_of_a_kind() -> None:
    few = draw_sample(NATURAL, quick=50)
    assert len(few) == 50
    assert truth_checksum(few.objects) == truth_checksum(draw_sample(NATURAL).objects[:50])
    rich = draw_sample(STRATIFIED, quick=100)
    assert 0 < len(rich) <= 100
    wins = [
        len(np.unique(votes[confident(votes)].argmax(axis=1)))
        for part in RUBIN.slices.values()
        for votes in [rich.objects.votes[:, part]]
    ]
    assert min(wins) >= 2
    assert few.fair_votes() is None
    fair = rich.fair_votes()
    assert fair is not None
    assert (fair[:, :3].sum(axis=1) == 40).all()
    assert not np.array_equal(fair, rich.objects.votes)


def test_checksum_sees_changes_and_no_rounding() -> None:
    objects = draw_sample(NATURAL, quick=20).objects
    first = truth_checksum(objects)
    rounded = dataclasses.replace(
        objects, probabilities=(objects.probabilities * (1.0 + 1e-9)).astype(np.float64)
    )
    assert truth_checksum(rounded) == first
    votes = objects.votes.copy()
    votes[3, 0] += 1
    assert truth_checksum(dataclasses.replace(objects, votes=votes)) != first
    other = dataclasses.replace(objects, probabilities=objects.probabilities * np.float32(1.001))
    assert truth_checksum(other) != first
    assert truth_checksum(objects[:19]) != first


def test_pictures_depend_on_the_seed_alone(manifest: Manifest) -> None:
    sample = draw_sample(NATURAL, quick=70)
    parts = list(sample.stamps(manifest))
    flux = np.concatenate([flux for flux, _ in parts])
    assert flux.shape == (70, 3, manifest.stamp_size, manifest.stamp_size)
    again = list(draw_sample(NATURAL, quick=40).stamps(manifest))
    # Within whole blocks of 32.
    np.testing.assert_array_equal(again[0][0], parts[0][0])
    assert (flux[~np.concatenate([valid for _, valid in parts])] == 0.0).all()
    assert picture_fingerprint(sample) == picture_fingerprint(draw_sample(NATURAL, quick=64))


def test_a_model_of_fewer_bands_sees_the_same_pictures(manifest: Manifest) -> None:
    sample = draw_sample(NATURAL, quick=8)
    everything, _ = next(sample.stamps(manifest))
    some = manifest.model_copy(update={"bands": ("i", "g")})
    np.testing.assert_array_equal(next(sample.stamps(some))[0], everything[:, [2, 0]])


def test_models_that_cannot_be_tried(manifest: Manifest) -> None:
    check_model(manifest, RUBIN)
    for change, words in (
        ({"bands": ("r", "z")}, "r, z"),
        ({"pixels": "rgb8"}, "rgb8"),
        ({"votes": None}, "no votes"),
    ):
        with pytest.raises(ModelMismatchError, match=words):
            check_model(manifest.model_copy(update=change), RUBIN)
    with pytest.raises(ModelMismatchError, match="questions"):
        check_model(manifest, QuestionTree.load("gz2"))


def test_selection_gives_up_and_says_on_what() -> None:
    def chunks() -> list:
        stream = draw_objects(
            1, RUBIN, bands=("r",), mix="natural", magnitude_limit=21.0, volunteers=(40, 40)
        )
        return [next(stream)]

    with pytest.raises(MorphologyError, match="artifact_ghost"):
        select_by_winner(chunks(), RUBIN, per_answer=1)
    taken = select_by_winner(chunks(), RUBIN, per_answer=5, complete=False)
    assert 0 < len(taken) < 5 * RUBIN.n_answers
    assert len(select_by_winner(chunks(), RUBIN, per_answer=0)) == 0
