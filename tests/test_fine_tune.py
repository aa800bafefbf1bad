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

"""Fine-tuning: labels and stamps in, a model package out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from astropy.table import Table
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.meas.morphology.butler import ingest
from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import LabelError, MissingColumnError, ModelMismatchError, MorphologyError
from lsst.meas.morphology.inference.engine import Engine, EngineOptions
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.model.manifest import Manifest, TimmArchitecture
from lsst.meas.morphology.model.network import MorphologyNetwork, build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.posteriors import summarize
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.training.fine_tune import fine_tune
from lsst.meas.morphology.training.held_out import roc_area
from lsst.meas.morphology.training.label_table import LabelTable
from lsst.meas.morphology.training.repository_stamps import cut_labelled
from lsst.meas.morphology.training.stamp_set import StampSet, match_labels
from lsst.meas.morphology.training.target import ClassesTarget, ScalarTarget, make_target
from lsst.meas.morphology.training.tuned_part import TunedPart
from lsst.meas.morphology.training.tuner import TuneOptions
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

SIZE = 16
COUNT = 120
QUICK = TuneOptions(depth="head", epochs=40, views=2, learning_rate=2e-2)


@pytest.fixture(scope="module")
def blobs() -> tuple[StampSet, npt.NDArray[np.bool_]]:
    """Return stamps of round blobs, half of them with a ring around."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    radius = np.hypot(x, y)
    ring = np.arange(COUNT) % 2 == 0
    flux = rng.normal(0.0, 5.0, (COUNT, 3, SIZE, SIZE))
    flux += 400.0 * np.exp(-0.5 * (radius / 1.5) ** 2)
    flux[ring] += 200.0 * np.exp(-0.5 * ((radius - 5.0) / 1.0) ** 2)
    ids = rng.permutation(COUNT) + 2**60
    stamps = StampSet(flux.astype(np.float32), np.ones(flux.shape, np.bool_), object_id=ids)
    return stamps, ring


def _table(stamps: StampSet, **columns: Any) -> LabelTable:
    return LabelTable.of({"objectId": stamps.object_id, **columns}, source="labels")


def _fractions(package: ModelPackage, stamps: StampSet) -> npt.NDArray[np.float32]:
    predictions = Engine.from_package(package, EngineOptions(device="cpu")).predict(stamps.flux, stamps.valid)
    assert predictions.alpha is not None
    return summarize(predictions.alpha, package.manifest.tree).fraction


def test_rings_from_a_csv(
    tmp_path: Path, tiny_package: Path, blobs: tuple[StampSet, npt.NDArray[np.bool_]]
) -> None:
    """The quickstart, by the command."""
    stamps, ring = blobs
    stamps.write(tmp_path / "stamps.npz")
    order = np.random.default_rng(1).permutation(COUNT)
    table = pa.table({"objectId": stamps.object_id[order], "ring": ring[order].astype(int)})
    pyarrow.csv.write_csv(table, tmp_path / "rings.csv")
    out = tmp_path / "ring.morph"
    command = ["fine-tune", str(tiny_package), str(tmp_path / "rings.csv"), str(out), "--target", "ring"]
    command += ["--stamps", str(tmp_path / "stamps.npz"), "--epochs", "40", "--depth", "last"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "heldOut.balancedAccuracy" in result.output
    package = ModelPackage.open(out)
    assert (package.manifest.name, package.manifest.votes is not None) == ("ring", True)
    assert package.manifest.tree.answer_columns == ("ring_yes", "ring_no")
    for backend in ("onnx", "torch"):
        assert check_golden(package, EngineOptions(backend=backend, device="cpu")).passed
    said = _fractions(package, stamps)[:, 0] > 0.5
    assert np.mean(said == ring) > 0.95
    assert package.manifest.training.figures["heldOut.balancedAccuracy"] > 0.9
    assert "`ring`" in package.card()


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, npt.NDArray[Any]]]:
    """Collect weights instead of writing packages, which takes seconds."""
    weights: list[dict[str, npt.NDArray[Any]]] = []

    def keep(path: Path, manifest: Manifest, network: MorphologyNetwork, *golden: Any) -> None:
        weights.append({name: tensor.numpy().copy() for name, tensor in network.state_dict().items()})

    monkeypatch.setattr("lsst.meas.morphology.training.fine_tune.export_package", keep)
    return weights


def test_same_seed_same_model(
    tiny_package: Path,
    blobs: tuple[StampSet, npt.NDArray[np.bool_]],
    untold: list[dict[str, npt.NDArray[Any]]],
) -> None:
    stamps, ring = blobs
    table = _table(stamps, ring=ring)
    for seed in (1, 1, 2):
        options = TuneOptions(epochs=2, views=2, seed=seed)
        fine_tune(tiny_package, table, "none", stamps=stamps, target="ring", options=options)
    same, other = (
        all(np.array_equal(untold[0][name], weights[name]) for name in weights) for weights in untold[1:]
    )
    assert same
    assert not other


@pytest.mark.parametrize("what", ["last", "all", "scratch"])
def test_depths(
    what: str,
    tiny_package: Path,
    blobs: tuple[StampSet, npt.NDArray[np.bool_]],
    untold: list[dict[str, npt.NDArray[Any]]],
) -> None:
    stamps, ring = blobs
    depth: Any = what if what != "scratch" else "head"
    tuning = TuneOptions(depth=depth, blocks=1, from_scratch=what == "scratch", epochs=3, views=2)
    result = fine_tune(
        tiny_package, _table(stamps, ring=ring), "none", stamps=stamps, target="ring", options=tuning
    )
    before, after = ModelPackage.open(tiny_package).read_weights(), untold[0]
    changed = {name for name in after if name in before and not np.array_equal(before[name], after[name])}
    blocks = {name.split(".")[1] for name in changed if name.startswith("encoder.")}
    assert ("0" in blocks) == (what != "last")
    assert len(blocks) > (what != "last")
    assert any(name.startswith("projection.") for name in changed)
    assert np.isfinite(result.figures["heldOut.loss"])
    assert len(result.history) <= 3


def test_new_networks_learn_at_a_tenth_of_the_rate(
    tiny_package: Path,
    blobs: tuple[StampSet, npt.NDArray[np.bool_]],
    untold: list[dict[str, npt.NDArray[Any]]],
) -> None:
    stamps, ring = blobs
    table = _table(stamps, ring=ring)

    def losses(rate: float | None) -> list[Any]:
        options = TuneOptions(from_scratch=True, epochs=2, views=2, learning_rate=rate)
        result = fine_tune(tiny_package, table, "none", stamps=stamps, target="ring", options=options)
        return list(result.history)

    assert losses(None) == losses(4e-4)
    assert losses(None) != losses(4e-3)


def test_head_alone_keeps_the_embedding(
    tmp_path: Path, tiny_package: Path, blobs: tuple[StampSet, npt.NDArray[np.bool_]]
) -> None:
    stamps, ring = blobs
    names = np.where(ring, "has ring", "round")
    names[:5] = "lens"
    result = fine_tune(
        tiny_package,
        _table(stamps, visual_class=names),
        tmp_path / "x.morph",
        stamps=stamps,
        target="visual_class",
        name="rings_and_lenses",
        options=TuneOptions(depth="head", epochs=3, balanced=True),
    )
    tree = result.package.manifest.tree
    assert tree.answer_columns == ("visualClass_hasRing", "visualClass_lens", "visualClass_round")
    assert tree.questions[0].answer_labels == ("has-ring", "lens", "round")
    embeddings = [
        Engine.from_package(p, EngineOptions(device="cpu")).predict(stamps.flux, stamps.valid).embedding
        for p in (ModelPackage.open(tiny_package), result.package)
    ]
    np.testing.assert_allclose(embeddings[0], embeddings[1], atol=1e-5)


def test_quantity(tmp_path: Path, tiny_package: Path, blobs: tuple[StampSet, npt.NDArray[np.bool_]]) -> None:
    """A quantity far from zero, in its own unit."""
    stamps, ring = blobs
    mass = 1e4 + 500.0 * ring + np.random.default_rng(3).normal(0.0, 20.0, COUNT)
    result = fine_tune(
        tiny_package,
        _table(stamps, mass=mass),
        tmp_path / "m.morph",
        stamps=stamps,
        target="mass",
        unit="Msun",
        options=QUICK,
    )
    assert result.package.manifest.scalar is not None
    assert result.package.manifest.scalar.unit == "Msun"
    engine = Engine.from_package(result.package, EngineOptions(device="cpu"))
    value = engine.predict(stamps.flux, stamps.valid).scalar
    assert value is not None
    assert np.sqrt(np.mean((value[:, 0] - mass) ** 2)) < 120.0
    assert result.figures["heldOut.explained"] > 0.8


def test_votes_go_on_from_the_model(
    tmp_path: Path, tiny_package: Path, blobs: tuple[StampSet, npt.NDArray[np.bool_]]
) -> None:
    """Galaxy Zoo's names; answers that the model knows keep their weights."""
    stamps, ring = blobs
    tree = QuestionTree.load("rubin")
    featured = np.where(ring, 18, 2)
    labels = dict(zip(tree.label_columns, tree.answer_columns, strict=True))
    names = {ours: theirs for theirs, ours in labels.items()}
    columns = {
        names["smoothOrFeatured_smooth"]: 20 - featured,
        names["smoothOrFeatured_featuredOrDisk"]: featured.astype(float),
        names["smoothOrFeatured_problem"]: np.zeros(COUNT, int),
    }
    options = TuneOptions(depth="head", epochs=100, views=2, learning_rate=5e-2)
    result = fine_tune(
        tiny_package, _table(stamps, **columns), tmp_path / "v.morph", stamps=stamps, options=options
    )
    fraction = _fractions(result.package, stamps)[:, tree.column_index("smoothOrFeatured", "featuredOrDisk")]
    assert np.abs(fraction - featured / 20.0).mean() < 0.15
    assert result.figures["heldOut.smoothOrFeatured.deviation"] < 0.15
    before, after = ModelPackage.open(tiny_package).read_weights(), result.package.read_weights()
    untouched = tree.slices["spiralWinding"]
    # Without votes there is no gradient, only the decay of the weights.
    assert np.corrcoef(
        before["head.linear.weight"][untouched].ravel(), after["head.linear.weight"][untouched].ravel()
    )[0, 1] == pytest.approx(1.0, abs=1e-4)


def test_label_files_agree(tmp_path: Path) -> None:
    ids = [2**60 + 1, 2**60 + 3, 2**60 + 5]
    table = pa.table({"objectId": ids, "ring": ["yes", None, "no"], "mass": [1.5, None, 2.5]})
    pyarrow.csv.write_csv(table, tmp_path / "a.csv")
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    astropy_table = Table({"objectId": ids, "mass": np.ma.masked_invalid([1.5, np.nan, 2.5])})
    astropy_table["ring"] = ["yes", "", "no"]
    astropy_table.write(tmp_path / "a.ecsv")
    for ending in ("csv", "parquet", "ecsv"):
        read = LabelTable.read(tmp_path / f"a.{ending}")
        assert read.column("objectId").tolist() == ids
        target = make_target(read, "ring")
        assert isinstance(target, ClassesTarget)
        assert target.votes.tolist() == [[1, 0], [0, 0], [0, 1]]
        scalar = make_target(read, "mass")
        assert isinstance(scalar, ScalarTarget)
        assert scalar.labelled.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [
        ({"n": [1, 2, 3]}, "n", "whole numbers"),
        ({"n": ["a", "a", "a"]}, "n", "1 different classes"),
        ({"n": [1, 2, 3]}, "ring", "no column 'ring'"),
        ({"n": [1, 2, 3]}, None, "no vote counts"),
        ({"smoothOrFeatured_smooth": [1, 2, 3]}, None, "but not on its answer"),
        ({"diskEdgeOn_yes": [1, 2, 3], "diskEdgeOn_no": [0.5, 0, 0]}, None, "no vote count"),
        ({"n": [np.nan, np.nan]}, "n", "No row"),
        ({"n": []}, "n", "no rows"),
    ],
)
def test_bad_labels(columns: dict[str, Any], target: str | None, message: str) -> None:
    kind: Any = "scalar" if message == "No row" else "auto"
    with pytest.raises((LabelError, MissingColumnError), match=message):
        make_target(LabelTable.of(columns), target, kind=kind, tree=QuestionTree.load("rubin"))


def test_matching() -> None:
    flux = np.zeros((3, 1, 8, 8), np.float32)
    stamps = StampSet(flux, flux == 0, object_id=np.array([7, 5, 6]), ra=np.array([10.0, 20.0, 30.0]))
    rows = match_labels(stamps, LabelTable.of({"objectId": [5, 8, 7]}))
    assert [r.tolist() for r in rows] == [[1, 0], [0, 2]]
    sky = StampSet(flux, flux == 0, ra=np.array([10.0, 20.0, 30.0]), dec=np.zeros(3))
    rows = match_labels(sky, LabelTable.of({"ra": [20.0001, 30.01, 10.0], "dec": [0.0001, 0.0, 0.0]}))
    assert [r.tolist() for r in rows] == [[1, 0], [0, 2]]
    rows = match_labels(stamps, LabelTable.of({"ring": [True, False, True]}))
    assert rows[0].tolist() == [0, 1, 2]
    with pytest.raises(LabelError, match="same order and number"):
        match_labels(stamps, LabelTable.of({"ring": [True, False]}))
    with pytest.raises(LabelError, match="several rows"):
        match_labels(stamps, LabelTable.of({"objectId": [5, 5]}))
    with pytest.raises(LabelError, match="No row"):
        match_labels(stamps, LabelTable.of({"objectId": [1, 2]}))


def test_refusals(tmp_path: Path, tiny_package: Path, blobs: tuple[StampSet, npt.NDArray[np.bool_]]) -> None:
    stamps, ring = blobs
    out = tmp_path / "x.morph"
    few = np.arange(6)
    with pytest.raises(LabelError, match="too few"):
        fine_tune(tiny_package, _table(stamps[few], ring=ring[few]), out, stamps=stamps, target="ring")
    alone = np.arange(COUNT) == 0
    with pytest.raises(LabelError, match="has 1 labels"):
        fine_tune(tiny_package, _table(stamps, ring=alone), out, stamps=stamps, target="ring")
    small = StampSet(stamps.flux[:, :, :8, :8], stamps.valid[:, :, :8, :8])
    with pytest.raises(ModelMismatchError, match="takes stamps of shape"):
        fine_tune(tiny_package, _table(stamps, ring=ring), out, stamps=small, target="ring")
    with pytest.raises(MorphologyError, match="2 blocks"):
        fine_tune(
            tiny_package,
            _table(stamps, ring=ring),
            out,
            stamps=stamps,
            target="ring",
            options=TuneOptions(depth="last", blocks=9),
        )
    assert not out.exists()
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(LabelError, match=r"bad\.npz"):
        StampSet.read(tmp_path / "bad.npz")


def test_layer_decay(tiny_package: Path) -> None:
    """Earlier layers learn more slowly, and nothing twice."""
    network = build_network(ModelPackage.open(tiny_package).manifest)
    groups = TunedPart(network, "all").groups(1.0, 0.1, layer_decay=0.5, encoder_rate=0.1)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups)
    assert len(rates) == len(list(network.parameters()))
    along = [rates[id(p)] for p in network.encoder.parameters()]
    assert along == sorted(along)
    assert len(set(along)) > 3
    assert network.head is not None
    assert rates[id(network.head.linear.weight)] == 1.0


def test_timm_encoders_have_blocks(make_package: Callable[..., Path]) -> None:
    pytest.importorskip("timm")
    manifest = ModelPackage.open(make_package()).manifest
    changed = manifest.model_copy(update={"architecture": TimmArchitecture(name="test_resnet")})
    network = build_network(changed)
    part = TunedPart(network, "last", 1)
    trained = {name for name, p in network.encoder.named_parameters() if p.requires_grad}
    assert 0 < len(trained) < len(list(network.encoder.parameters()))
    stamps = torch.zeros(2, 3, SIZE, SIZE)
    features = part.features(part.frozen(stamps, stamps == 0))
    torch.testing.assert_close(features, network.features(stamps, stamps == 0))


def test_stamps_from_a_repository(simulated_repo: Path, model_file: Path, tmp_path: Path) -> None:
    """The same stamps by id and by position; labels that are not there."""
    manifest = ModelPackage.open(model_file).manifest
    # As the command opens it: no default collection says which skymap.
    with Butler.from_config(str(simulated_repo)) as butler:
        refs = butler.query_datasets("object", collections="sim")
        chosen = [butler.get(ref) for ref in refs]
        ids = np.concatenate([np.asarray(table["objectId"]) for table in chosen])[::3]
        ra = np.concatenate([np.asarray(table["coord_ra"], float) for table in chosen])[::3]
        dec = np.concatenate([np.asarray(table["coord_dec"], float) for table in chosen])[::3]
        by_id = LabelTable.of({"objectId": np.append(ids, 1), "ring": np.arange(len(ids) + 1) % 2})
        seen: list[int] = []
        stamps = cut_labelled(butler, "sim", by_id, manifest, progress=seen.append)
        good = np.isfinite(ra) & np.isfinite(dec)
        by_sky = LabelTable.of({"ra": ra[good], "dec": dec[good], "ring": np.arange(good.sum()) % 2})
        again = cut_labelled(butler, "sim", by_sky, manifest)
        with pytest.raises(LabelError, match="could be measured"):
            cut_labelled(butler, "sim", LabelTable.of({"objectId": [1]}), manifest)
        with pytest.raises(LabelError, match="neither which objects"):
            cut_labelled(butler, "sim", LabelTable.of({"ring": [1]}), manifest)
    assert seen == sorted(seen)
    assert 5 < len(stamps) <= len(ids)
    assert stamps.object_id is not None
    assert again.object_id is not None
    assert set(stamps.object_id) <= set(ids)
    assert set(again.object_id) == set(stamps.object_id)
    assert len(match_labels(again, by_sky)[0]) == len(again)
    assert np.any(stamps.flux != 0.0, axis=(1, 2, 3)).all()
    assert stamps.flux.shape[1:] == (len(manifest.bands), manifest.stamp_size, manifest.stamp_size)


def test_roc_area() -> None:
    rng = np.random.default_rng(2)
    positive, negative = rng.integers(0, 9, 30).astype(float), rng.integers(0, 7, 20).astype(float)
    wins = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    assert roc_area(positive, negative) == pytest.approx(wins)


@pytest.mark.slow
def test_pipetask_runs_it(simulated_repo: Path, model_file: Path, tmp_path: Path) -> None:
    """From a table of labels to the columns of a patch's table."""
    repo = tmp_path / "repo"
    shutil.copytree(simulated_repo, repo)
    manifest = ModelPackage.open(model_file).manifest
    with Butler.from_config(str(repo), collections="sim", writeable=True) as butler:
        objects = [butler.get(ref) for ref in butler.query_datasets("object", collections="sim")]
        ids = np.concatenate([np.asarray(table["objectId"]) for table in objects])
        labels = LabelTable.of({"objectId": ids, "ring": np.arange(len(ids)) % 2})
        stamps = cut_labelled(butler, "sim", labels, manifest)
        out = tmp_path / "ring.morph"
        options = TuneOptions(epochs=2, views=1)
        fine_tune(model_file, labels, out, stamps=stamps, target="ring", options=options)
        ref = ingest(butler, out)
    pipeline = Pipeline.from_uri("resource://lsst.meas.morphology/pipelines/Morphology.yaml#step1-measure")
    pipeline.addConfigOverride("measureMorphology", "connections.modelName", "ring")
    pipeline.addConfigOverride("measureMorphology", "connections.tableName", "object_ring")
    inputs = ["sim", ref.run]
    with SimplePipelineExecutor.prep_butler(str(repo), inputs=inputs, output="u/ring") as butler:
        executor = SimplePipelineExecutor.from_pipeline(pipeline, where="skymap='morph_sim'", butler=butler)
        executor.run(register_dataset_types=True, save_versions=False)
        refs = butler.query_datasets("object_ring_patch", collections="u/ring")
        tables = [butler.get(ref) for ref in refs]
    table = pa.concat_tables(tables)
    measured = table.filter(pa.compute.invert(table["morphology_flag"]))
    assert measured.num_rows > 5
    total = measured["ring_yes_fraction"].to_numpy() + measured["ring_no_fraction"].to_numpy()
    np.testing.assert_allclose(total, 1.0, atol=1e-4)
