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

"""The model that ships with the code, on galaxies it has not seen."""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

from lsst.meas.morphology.inference.engine import Engine
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.shipped import find_model
from lsst.meas.morphology.posteriors import summarize
from lsst.meas.morphology.simulation.source import SimulatedSource
from lsst.meas.morphology.training.agreement import question_figures

BARS = {
    "training": {"smoothOrFeatured": 0.98, "diskEdgeOn": 0.98, "hasSpiralArms": 0.95},
    # The model reaches 0.972 in spirals on the frozen set, of which 505
    # galaxies are confident; the fewer here scatter about it by 0.02.
    "natural": {"smoothOrFeatured": 0.98, "diskEdgeOn": 0.96, "hasSpiralArms": 0.94},
}
SEED = 20270101
COUNTS = {"natural": 3000, "training": 1200}


@pytest.fixture(scope="module")
def package():
    return ModelPackage.open(find_model("rubin"))


@pytest.fixture(scope="module")
def engine(package):
    return Engine.from_package(package, EngineOptions(backend="onnx", device="cpu"))


@functools.cache
def sample(mix):
    """Return galaxies whose seed no training uses."""
    manifest = ModelPackage.open(find_model("rubin")).manifest
    return SimulatedSource(manifest, mix)(SEED, COUNTS[mix])


def measure(engine, mix, missing=()):
    """Return simulated galaxies and what the model says of them."""
    manifest = engine.manifest
    stamps = sample(mix)
    flux, valid = stamps.flux.copy(), stamps.valid.copy()
    for band in missing:
        flux[:, manifest.bands.index(band)] = 0.0
        valid[:, manifest.bands.index(band)] = False
    return stamps, summarize(engine.predict(flux, valid).alpha, manifest.tree)


@pytest.mark.parametrize("mix", ["natural", "training"])
def test_it_agrees_with_confident_votes(engine, mix):
    stamps, posteriors = measure(engine, mix)
    figures = question_figures(stamps.votes, posteriors.fraction, engine.manifest.tree)
    for name, bar in BARS[mix].items():
        assert figures[name].count >= 40
        assert figures[name].accuracy >= bar, (name, figures[name])
        assert figures[name].balanced_accuracy > 0.8, (name, figures[name])
        assert figures[name].accuracy > figures[name].majority, (name, figures[name])


@pytest.mark.parametrize("missing", [("i",), ("g",), ("g", "i")])
def test_it_does_without_optional_bands(engine, missing):
    stamps, posteriors = measure(engine, "training", missing)
    figures = question_figures(stamps.votes, posteriors.fraction, engine.manifest.tree)
    for name in BARS["training"]:
        assert figures[name].accuracy >= 0.85, (name, figures[name])


def test_its_fractions_are_near_the_true_probabilities(engine):
    stamps, posteriors = measure(engine, "natural")
    tree = engine.manifest.tree
    for name, bar in {"smoothOrFeatured": 0.05, "diskEdgeOn": 0.08, "hasSpiralArms": 0.15}.items():
        answers = tree.slices[name]
        asked = stamps.votes[:, answers].sum(axis=1) >= 10
        difference = np.abs(posteriors.fraction[:, answers] - stamps.probabilities[:, answers])[asked]
        assert difference.mean() < bar, name


def test_its_intervals_hold_most_of_the_truth(engine):
    stamps, posteriors = measure(engine, "natural")
    inside = (posteriors.fraction_low - 0.01 <= stamps.probabilities) & (
        stamps.probabilities <= posteriors.fraction_high + 0.01
    )
    first = engine.manifest.tree.slices["smoothOrFeatured"]
    assert inside[:, first].mean() > 0.8


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_golden_outputs_are_reproduced(package, backend):
    report = check_golden(package, EngineOptions(backend=backend, device="cpu"))
    assert report.passed, str(report)


def test_it_says_what_it_is(package):
    manifest = package.manifest
    assert (manifest.name, manifest.purpose) == ("rubin", "commissioning")
    assert manifest.tree.name == "rubin"
    assert manifest.bands == ("g", "r", "i")
    assert manifest.training.untaught == ()
    assert manifest.calibration is not None
    assert manifest.novelty is not None
    assert manifest.training.presentations > 0
    card = package.card()
    assert "not for science" in card
    assert "simulated" in card
    assert "morphology train" in card
    for question in manifest.training.untaught:
        assert question in card


def test_it_is_small(package):
    assert os.path.getsize(package.path) <= 12 * 1024 * 1024
