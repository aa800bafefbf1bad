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

"""The frozen sets of hosts with debris."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lsst.meas.morphology.errors import ModelMismatchError, MorphologyError
from lsst.meas.morphology.simulation.tidal.frozen import (
    EVALUATION_TIDES_V1,
    TIDES_THRESHOLD_V3,
    FrozenTides,
    freeze,
    library_fingerprint,
    prepare_library,
)
from lsst.meas.morphology.simulation.tidal.frozen_definition import (
    TRAINING_LIBRARY_SEED,
    TidalSample,
    TidalSet,
)
from lsst.meas.morphology.simulation.tidal.library import encounter_seed
from lsst.meas.morphology.simulation.tidal.snapshots import KINDS
from lsst.meas.morphology.simulation.tidal.source import TidalStamps, sample_scenes
from lsst.meas.morphology.surface_brightness import mask_limit

SAMPLES = (TidalSample("shallow", 5, 40.0, 40), TidalSample("deep", 6, 200.0, 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encounters")


@pytest.fixture(scope="module")
def small(folder: Path) -> TidalSet:
    """Return a small set, frozen now."""
    bare = TidalSet("small", library_seed=55, encounters=2, samples=SAMPLES)
    library = prepare_library(bare, folder, check=False)
    return dataclasses.replace(
        bare,
        samples=tuple(freeze(sample, library) for sample in SAMPLES),
        library_fingerprint=library_fingerprint(library),
    )


def test_sets_share_nothing_with_training_or_each_other() -> None:
    sets = (EVALUATION_TIDES_V1, TIDES_THRESHOLD_V3)
    seeds = [TRAINING_LIBRARY_SEED, *(s.library_seed for s in sets)]
    assert len(set(seeds)) == len(seeds)
    encounters = [
        encounter_seed(seed, kind, index)
        for seed, count in zip(seeds, (1000, *(s.encounters for s in sets)), strict=True)
        for kind in KINDS
        for index in range(count)
    ]
    assert len(set(encounters)) == len(encounters)
    samples = [sample for s in sets for sample in s.samples]
    assert len({sample.seed for sample in samples}) == len(samples)
    assert all(sample.checksum and len(sample.fingerprint) == 6 for sample in samples)
    assert sum(sample.number for sample in EVALUATION_TIDES_V1.samples) == 3000
    assert [sample.visits for sample in EVALUATION_TIDES_V1.samples] == [40.0, 200.0]


def test_a_frozen_set_is_what_it_was(small: TidalSet, folder: Path) -> None:
    frozen = FrozenTides.prepare(small, folder)
    assert len(frozen) == 80
    assert frozen.groups == ("shallow", "deep")
    names, parts = zip(*frozen.batches(stamp_size=32), strict=True)
    assert names == ("shallow", "shallow", "deep", "deep")
    assert [len(part) for part in parts] == [32, 8, 32, 8]
    shallow, deep = (TidalStamps.concatenate(list(parts[i : i + 2])) for i in (0, 2))
    assert (shallow.visits[:, 1] == 40.0).all()
    assert (deep.visits[:, 1] == 200.0).all()
    assert (shallow.mask_limit() == mask_limit(shallow.sigma[:, 1])).all()
    assert shallow.mask_limit()[0] < deep.mask_limit()[0] == 29.0
    scenes = sample_scenes(5, 40, library=frozen.library, visits=40.0, share_undisturbed=0.36)
    np.testing.assert_array_equal(scenes["kind"], shallow.properties["kind"])


def test_a_model_of_fewer_bands_sees_the_same_pictures(small: TidalSet, folder: Path) -> None:
    frozen = FrozenTides.prepare(small, folder, quick=20)
    assert len(frozen) == 20
    whole = [part for _, part in frozen.batches(stamp_size=24)]
    some = [part for _, part in frozen.batches(bands=("r", "g"), stamp_size=24)]
    assert [len(part) for part in whole] == [10, 10]
    for one, other in zip(whole, some, strict=True):
        np.testing.assert_array_equal(one.flux[:, [1, 0]], other.flux)
        np.testing.assert_array_equal(one.debris, other.debris)
        assert other.bands == ("r", "g")
    for bands in (("g", "i"), ("r", "z")):
        with pytest.raises(ModelMismatchError, match=bands[1]):
            next(frozen.batches(bands=bands))


def test_a_changed_simulator_is_refused(small: TidalSet, folder: Path) -> None:
    first, second = small.samples

    def attempt(**changes: object) -> None:
        FrozenTides.prepare(
            dataclasses.replace(small, samples=(dataclasses.replace(first, **changes), second)), folder
        )

    with pytest.raises(MorphologyError, match="scenes of shallow in small have the checksum"):
        attempt(checksum="0")
    with pytest.raises(MorphologyError, match="scenes"):
        attempt(visits=41.0)
    with pytest.raises(MorphologyError, match="pictures of shallow in small have the fingerprint"):
        attempt(fingerprint=(first.fingerprint[0] + 1.0, *first.fingerprint[1:]))
    with pytest.raises(MorphologyError, match="encounters in small"):
        FrozenTides.prepare(dataclasses.replace(small, library_fingerprint=(0.0, 0.0, 0.0)), folder)
    with pytest.raises(ValueError, match="another"):
        FrozenTides.prepare(dataclasses.replace(small, library_seed=56), folder)


@pytest.mark.slow
def test_the_simulator_still_makes_what_was_frozen(tmp_path: Path) -> None:
    FrozenTides.prepare(TIDES_THRESHOLD_V3, tmp_path / "threshold", processes=2)


@pytest.mark.slow
def test_the_exam_has_hosts_of_all_sorts(tmp_path: Path) -> None:
    frozen = FrozenTides.prepare(EVALUATION_TIDES_V1, tmp_path / "exam")
    kind, cirrus, halo, companion = [], [], [], []
    for _, part in frozen.batches():
        kind.append(part.properties["kind"])
        cirrus.append(part.properties["has_cirrus"])
        halo.append(part.properties["has_halo"])
        companion.append(part.properties["has_companion"])
    undisturbed = np.concatenate(kind) == 0
    assert undisturbed.sum() >= 1000
    for traits in (cirrus, halo, companion):
        assert (np.concatenate(traits) & undisturbed).sum() >= 200
    assert np.bincount(np.concatenate(kind)).min() >= 550
