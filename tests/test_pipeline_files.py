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

"""The pipeline and BPS files, read as the framework reads them."""

from __future__ import annotations

import os
import unittest
from pathlib import Path

import pytest
import yaml

from lsst.daf.butler import Butler
from lsst.meas.morphology.tasks.measure_morphology import (
    MeasureMorphologyConfig,
    MeasureMorphologyConnections,
)
from lsst.meas.morphology.tasks.options import EngineConfig, SelectionConfig
from lsst.meas.morphology.tasks.partition_morphology import (
    PartitionMorphologyConfig,
    PartitionMorphologyConnections,
)
from lsst.meas.morphology.tasks.segment_tidal_features import (
    SegmentTidalFeaturesConfig,
    SegmentTidalFeaturesConnections,
)
from lsst.pipe.base import Pipeline
from lsst.pipe.base.tests.pipelineStepTester import PipelineStepTester
from lsst.pipe.base.testUtils import lintConnections

ROOT = Path(__file__).parents[1]
RESOURCE = "resource://lsst.meas.morphology/pipelines/Morphology.yaml"


def test_one_pipeline_under_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEAS_MORPHOLOGY_DIR", str(ROOT))
    by_variable = Pipeline.from_uri("$MEAS_MORPHOLOGY_DIR/pipelines/Morphology.yaml")
    by_resource = Pipeline.from_uri(RESOURCE)
    assert str(by_variable) == str(by_resource)
    assert set(by_resource.subsets) == {"step1-measure", "step2-partition", "step1-tides", "step2-tides"}


def test_pipeline_needs_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEAS_MORPHOLOGY_DIR", raising=False)
    graph = Pipeline.from_uri(RESOURCE).to_graph()
    votes = {"measureMorphology", "partitionMorphologyHpx5"}
    assert set(graph.tasks) == votes | {"segmentTidalFeatures", "partitionTidalHpx5"}
    alone = Pipeline.from_uri(f"{RESOURCE}#step1-measure,step2-partition").to_graph()
    assert set(alone.tasks) == votes
    assert "morphology_model_tides" not in alone.dataset_types


def test_steps(tmp_path: Path) -> None:
    """Each step needs and makes just what it says."""
    Butler.makeRepo(str(tmp_path))
    needed = {
        "deep_coadd": ({"skymap", "tract", "patch", "band"}, "CellCoadd"),
        "object": ({"skymap", "tract"}, "ArrowAstropy"),
        "morphology_model_rubin": (set(), "MorphologyModelPackage"),
        "morphology_model_tides": (set(), "MorphologyModelPackage"),
    }
    made = {f"object_morphology{kind}_{unit}" for kind in ("", "_embedding") for unit in ("patch", "hpx5")}
    made |= {"object_tidal_patch", "object_tidal_mask", "object_tidal_hpx5"}
    tester = PipelineStepTester(
        RESOURCE,
        ["#step1-measure", "#step1-tides", "#step2-partition", "#step2-tides"],
        initial_dataset_types=[(name, *definition, False) for name, definition in needed.items()],
        expected_inputs=set(needed),
        expected_outputs=made,
    )
    with Butler.from_config(str(tmp_path), writeable=True) as butler:
        tester.run(butler, unittest.TestCase())


def test_connections_are_well_formed() -> None:
    lintConnections(MeasureMorphologyConnections)
    lintConnections(PartitionMorphologyConnections)
    lintConnections(SegmentTidalFeaturesConnections)


def test_two_models_in_one_pipeline() -> None:
    pipeline = Pipeline.from_uri(RESOURCE)
    task = "lsst.meas.morphology.tasks.measure_morphology.MeasureMorphologyTask"
    pipeline.addTask(task, "measureMorphologyEuclid")
    pipeline.addConfigOverride("measureMorphologyEuclid", "connections.modelName", "euclid")
    pipeline.addConfigOverride("measureMorphologyEuclid", "connections.tableName", "object_morphology_euclid")
    graph = pipeline.to_graph()
    assert "morphology_model_euclid" in graph.dataset_types
    assert "object_morphology_euclid_patch" in graph.dataset_types


def test_embeddings_can_be_left_out() -> None:
    pipeline = Pipeline.from_uri(RESOURCE)
    for label in ("measureMorphology", "partitionMorphologyHpx5"):
        pipeline.addConfigOverride(label, "doEmbeddings", False)
    assert "object_tidal_hpx5" in pipeline.to_graph().dataset_types
    assert not [name for name in pipeline.to_graph().dataset_types if "embedding" in name]


def test_order_is_in_the_name() -> None:
    config = PartitionMorphologyConfig()
    config.healpixOrder = 6
    connections = PartitionMorphologyConnections(config=config)
    assert connections.table.name == "object_morphology_hpx6"
    assert set(connections.dimensions) == {"skymap", "healpix6"}
    assert set(connections.table.dimensions) == {"skymap", "healpix6"}


def test_storage_class_of_coadds_is_configuration() -> None:
    config = MeasureMorphologyConfig()
    config.coaddStorageClass = "ExposureF"
    assert MeasureMorphologyConnections(config=config).coadds.storageClass == "ExposureF"
    tidal = SegmentTidalFeaturesConfig()
    assert SegmentTidalFeaturesConnections(config=tidal).coadds.storageClass == "CellCoadd"
    tidal.coaddStorageClass = "ExposureF"
    assert SegmentTidalFeaturesConnections(config=tidal).coadds.storageClass == "ExposureF"


def test_tidal_defaults() -> None:
    """Large hosts, with the light that the background took."""
    config = SegmentTidalFeaturesConfig()
    selection = config.selection.to_selection()
    assert (selection.max_magnitude, selection.min_radius) == (20.0, 5.0)
    assert config.pixels.restoreBackground
    assert not MeasureMorphologyConfig().pixels.restoreBackground
    assert MeasureMorphologyConfig().selection.to_selection().min_radius is None


def test_tidal_tables_take_a_name_of_their_own() -> None:
    pipeline = Pipeline.from_uri(RESOURCE)
    for label in ("segmentTidalFeatures", "partitionTidalHpx5"):
        pipeline.addConfigOverride(label, "connections.tableName", "object_tidal_test")
    names = set(pipeline.to_graph().dataset_types)
    assert {"object_tidal_test_patch", "object_tidal_test_mask", "object_tidal_test_hpx5"} <= names


def test_configuration_reaches_the_values() -> None:
    selection = SelectionConfig()
    selection.maxMagnitude = None
    selection.minRadiusOverPsf = 1.25
    assert selection.to_selection().max_magnitude is None
    assert selection.to_selection().min_radius_over_psf == 1.25
    engine = EngineConfig()
    engine.device, engine.batchSize, engine.threads = "cuda", 17, 3
    options = engine.to_options()
    assert (options.device, options.batch_size, options.threads) == ("cuda", 17, 3)


@pytest.mark.parametrize("name", ["parsl_local", "htcondor_gpu"])
def test_bps_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BPS reads them, and every cluster names a task of the pipeline."""
    bps = pytest.importorskip("lsst.ctrl.bps")
    for variable in ("REPO", "INPUT", "OUTPUT", "QUERY", "SUBMIT"):
        monkeypatch.setenv(f"MORPHOLOGY_{variable}", str(tmp_path / variable.lower()))
    path = ROOT / "config" / "bps" / f"{name}.yaml"
    config = bps.BpsConfig(str(path))
    assert config.search("butlerConfig", opt={"curvals": {}, "searchobj": config["payload"]})[0]
    labels = set(Pipeline.from_uri(config["pipelineYaml"]).to_graph().tasks)
    assert labels == {"measureMorphology", "partitionMorphologyHpx5"}
    clusters = yaml.safe_load(path.read_text())["cluster"]
    assert {cluster["pipetasks"] for cluster in clusters.values()} == labels
    assert os.environ["MORPHOLOGY_OUTPUT"] in config.search("output", opt={"searchobj": config["payload"]})[1]
