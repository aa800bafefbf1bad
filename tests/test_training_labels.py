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
"""Training on real labels: any number of them, out of files or coadds."""

from __future__ import annotations

import functools
import itertools
import tracemalloc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import LabelError, MorphologyError
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.manifest import TrainingRecord
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.training.batches import BatchStream
from lsst.meas.morphology.training.label_store import KINDS, LabelStore, Split
from lsst.meas.morphology.training.label_table import LabelTable
from lsst.meas.morphology.training.labelled_patch import LabelledPatch, stamp_file_patches
from lsst.meas.morphology.training.loop import Trainer, TrainingOptions
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.repository_stamps import RepositoryOptions, cut_labelled
from lsst.meas.morphology.training.stamp_set import StampSet
from lsst.meas.morphology.training.training_data import DataOptions, TabulatedData

TREE = QuestionTree.load("rubin")
MANIFEST = recipe("smoke", "0.0.1", title="Labels", record=TrainingRecord(data="Labels.", seed=5)).model_copy(
    update={"stamp_size": 16}
)
PER_PATCH = 40


def stamps_of(rows: npt.NDArray[np.intp]) -> StampSet:
    """Return stamps whose pixels say which label is theirs."""
    flux = np.broadcast_to(rows[:, None, None, None].astype(np.float32), (len(rows), 3, 16, 16)).copy()
    return StampSet(flux, np.ones(flux.shape, np.bool_), object_id=rows.astype(np.int64))


def patches(count: int, *, cut: list[str] | None = None) -> Iterator[LabelledPatch]:
    """Yield patches of 40 labels; no object is found of the last five, and
    every tenth of the others has no pixels.
    """

    def batches(name: str, rows: npt.NDArray[np.intp]) -> Iterator[tuple[StampSet, npt.NDArray[np.intp]]]:
        if cut is not None:
            cut.append(name)
        good = rows[rows % 10 != 0]
        for part in (good[:25], good[25:]):
            yield stamps_of(part), part

    found = np.arange(count - 5)
    for start in range(0, len(found), PER_PATCH):
        rows = found[start : start + PER_PATCH]
        yield LabelledPatch(f"1-{start}", rows, functools.partial(batches, f"1-{start}", rows))


def make_store(path: Path, count: int, *, seed: int = 1, **options: Any) -> LabelStore:
    votes = np.zeros((count, TREE.n_answers), np.int32)
    votes[:, 0] = np.arange(count) % 1000
    table = LabelTable.of({"objectId": np.arange(count)})
    options = {"shard_size": 50, "window": 2, **options}
    return LabelStore(path, table, votes, MANIFEST, source="test", split=Split(0.4, seed=seed), **options)


def rows_in(parts: list[Any]) -> list[int]:
    return [int(value) for part in parts for value in np.round(part.flux[:, 0, 0, 0])]


def test_every_label_has_one_place(tmp_path: Path) -> None:
    store = make_store(tmp_path, 600)
    done: list[int] = []
    store.cut(patches(600), done.append)
    counts = store.counts
    assert done == [*range(40, 595, 40), 595]
    assert (counts.labels, counts.found) == (600, 595)
    assert counts.measured == 535 == counts.taught + counts.trust + counts.judge
    assert counts.trust == pytest.approx(107, abs=20)
    taught = [store.load(index) for index in range(store.count)]
    assert {len(part) for part in taught} == {store.shard_size}
    assert store.count % 2 == 0
    held = {kind: list(store.held_out(kind)) for kind in KINDS[1:]}
    everything = rows_in(taught) + rows_in(held["trust"]) + rows_in(held["judge"])
    assert len(set(everything)) == len(everything) > counts.measured - store.count
    assert len(rows_in(held["judge"])) == counts.judge
    for part in itertools.chain(taught, held["trust"], held["judge"]):
        np.testing.assert_array_equal(part.votes[:, 0], np.round(part.flux[:, 0, 0, 0]))
    # Spread over the patches, though nearby labels were cut together.
    assert np.std(rows_in(taught[:1])) > 60
    assert not (tmp_path / "parts").exists()


def test_cutting_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    whole = make_store(tmp_path / "whole", 400)
    whole.cut(patches(400))
    store, names = make_store(tmp_path / "killed", 400), []
    with pytest.raises(KeyboardInterrupt):
        store.cut(patches(400, cut=names), lambda done: _stop(done >= 160))
    assert names == ["1-0", "1-40", "1-80", "1-120"]
    with pytest.raises(MorphologyError, match="not been cut"):
        _ = store.counts
    again = make_store(tmp_path / "killed", 400)
    again.cut(patches(400, cut=names))
    assert len(names) == len(set(names)) == 10
    # And not once more.
    make_store(tmp_path / "killed", 400).cut(patches(400, cut=names))
    assert len(names) == 10
    files = sorted(path.relative_to(whole.directory) for path in whole.directory.rglob("*.safetensors"))
    assert len(files) > 5
    for file in files:
        assert (whole.directory / file).read_bytes() == (again.directory / file).read_bytes()


def _stop(now: bool) -> None:
    if now:
        raise KeyboardInterrupt


def peak_memory(path: Path, count: int) -> int:
    """Return the most bytes that cutting and an epoch of batches need."""
    store = make_store(path, count)
    tracemalloc.start()
    store.cut(patches(count))
    stream = BatchStream(store, batch_size=20, window=2, seed=1)
    for _ in itertools.islice(stream.batches(), stream.steps_per_epoch):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_labels(tmp_path: Path) -> None:
    few, many = (peak_memory(tmp_path / str(count), count) for count in (600, 6000))
    one_shard = 50 * 3 * 16 * 16 * 5
    print(f"peak memory: {few / 1e6:.2f} MB for 600 labels, {many / 1e6:.2f} MB for 6000")
    assert few > one_shard
    # Ten times the labels: their rows are kept, not their stamps.
    assert many < 1.3 * few
    assert many < 0.2 * 6000 * 3 * 16 * 16 * 5


def test_a_resumed_training_ends_the_same(tmp_path: Path) -> None:
    weights = []
    for name, stops in (("whole", ()), ("killed", (5, 9))):
        for stop in (*stops, None):
            store = make_store(tmp_path / name / "stamps", 300)
            store.cut(patches(300))
            data = TabulatedData(store, DataOptions(stamps=0, batch_size=16, validation=8))
            options = TrainingOptions(steps=11, seed=7, checkpoint_steps=4)
            trainer = Trainer(MANIFEST, options, tmp_path / name, data.validation())
            stream = BatchStream(data.shards, batch_size=data.batch_size, window=data.window, seed=7)
            try:
                trainer.run(stream, lambda step, stop=stop: _stop(step == stop))
            except KeyboardInterrupt:
                assert stop is not None
        weights.append(trainer.network.state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


def test_other_labels_are_refused(tmp_path: Path) -> None:
    make_store(tmp_path, 100)
    for options in ({"seed": 2}, {"shard_size": 20}):
        with pytest.raises(MorphologyError, match="other labels"):
            make_store(tmp_path, 100, **options)
    with pytest.raises(MorphologyError, match="other labels"):
        make_store(tmp_path, 101)
    few = make_store(tmp_path / "few", 8)
    with pytest.raises(LabelError, match="Of 8 labels 3 were found and 2 have a stamp"):
        few.cut(patches(8))


def test_files_are_read_one_at_a_time(tmp_path: Path) -> None:
    table = LabelTable.of({"objectId": np.arange(10, 50)})
    for index, rows in enumerate((np.arange(30), np.arange(25, 45), np.arange(90, 95))):
        stamps_of(rows).write(tmp_path / f"{index}.npz")
    paths = [tmp_path / f"{index}.npz" for index in range(3)]
    found = {}
    for patch in stamp_file_patches(paths, table):
        for stamps, rows in patch.cut():
            found |= dict(zip(rows.tolist(), stamps.flux[:, 0, 0, 0].tolist(), strict=True))
    # No label is taken twice, nor what has none.
    assert found == {row: float(row + 10) for row in range(35)}
    flux = np.zeros((40, 3, 16, 16), np.float32)
    StampSet(flux, flux == 0).write(tmp_path / "bare.npz")
    assert len(next(stamp_file_patches([tmp_path / "bare.npz"], table)).rows) == 40
    with pytest.raises(LabelError, match=r"bare\.npz has neither"):
        list(stamp_file_patches([tmp_path / "bare.npz", paths[0]], table))


def exposure_of(coadd: Any) -> Any:
    """Return a coadd as an object like `lsst.afw.image.ExposureF`."""
    box, projection = coadd.bbox, coadd.sky_projection

    def sky_to_pixel(ra: Any, dec: Any, degrees: bool = False) -> tuple[Any, Any]:
        from astropy.coordinates import SkyCoord

        xy = projection.sky_to_pixel(SkyCoord(ra, dec, unit="deg" if degrees else "rad"))
        return xy.x, xy.y

    names = list(coadd.mask.schema.names)
    bits = np.zeros(coadd.image.array.shape, np.int32)
    for number, name in enumerate(names):
        bits |= coadd.mask.get(name).astype(np.int32) << number
    corners = {
        "getMinX": box.x.start,
        "getMinY": box.y.start,
        "getMaxX": box.x.stop - 1,
        "getMaxY": box.y.stop - 1,
    }
    planes = {name: number for number, name in enumerate(names)}
    return types.SimpleNamespace(
        image=types.SimpleNamespace(array=coadd.image.array),
        variance=types.SimpleNamespace(array=coadd.variance.array),
        mask=types.SimpleNamespace(array=bits, getMaskPlaneDict=lambda: planes),
        getBBox=lambda: types.SimpleNamespace(**{name: lambda v=value: v for name, value in corners.items()}),
        getWcs=lambda: types.SimpleNamespace(
            skyToPixelArray=sky_to_pixel,
            getPixelScale=lambda: types.SimpleNamespace(asArcseconds=lambda: 0.2),
        ),
        getPhotoCalib=lambda: types.SimpleNamespace(getCalibrationMean=lambda: 1.0),
    )


class OldButler:
    """A repository whose coadds are exposures, as DP1's are."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler
        self.taken: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._butler, name)

    def query_datasets(self, name: str, **options: Any) -> list[Any]:
        refs = self._butler.query_datasets(name, **options)
        if name != "deep_coadd":
            return refs
        kind = types.SimpleNamespace(storageClass_name="ExposureF")
        return [types.SimpleNamespace(ref=ref, dataId=ref.dataId, datasetType=kind) for ref in refs]

    def get(self, ref: Any) -> Any:
        self.taken.append(str(ref.dataId["band"]))
        return exposure_of(self._butler.get(ref.ref))


def test_exposures_give_the_same_stamps(simulated_repo: Path, model_file: Path) -> None:
    manifest = ModelPackage.open(model_file).manifest
    with Butler.from_config(str(simulated_repo)) as butler:
        tables = [butler.get(ref) for ref in butler.query_datasets("object", collections="sim")]
        labels = LabelTable.of({"objectId": np.concatenate([np.asarray(t["objectId"]) for t in tables])[::5]})
        new = cut_labelled(butler, "sim", labels, manifest, options=RepositoryOptions())
        old_butler: Any = OldButler(butler)
        old = cut_labelled(old_butler, "sim", labels, manifest, options=RepositoryOptions())
    assert {"g", "r", "i"} == set(old_butler.taken)
    np.testing.assert_array_equal(new.object_id, old.object_id)
    np.testing.assert_array_equal(new.valid, old.valid)
    np.testing.assert_allclose(new.flux, old.flux, rtol=1e-4, atol=1e-2)


def vote_table(ids: npt.NDArray[np.int64], path: Path) -> None:
    """Write votes under Galaxy Zoo's names, and a row without any."""
    rng = np.random.default_rng(3)
    columns: dict[str, Any] = {"objectId": ids}
    for name in TREE.label_columns[:3]:
        columns[name] = rng.integers(1, 20, len(ids))
        columns[name][0] = 0
    pyarrow.csv.write_csv(pa.table(columns), path)


def test_train_on_files(tmp_path: Path, tiny_package: Path) -> None:
    """From two files and a table to a package, from a model's weights."""
    rng = np.random.default_rng(5)
    for index, ids in enumerate((np.arange(60), np.arange(60, 130))):
        flux = rng.normal(0.0, 100.0, (len(ids), 3, 16, 16)).astype(np.float32)
        StampSet(flux, np.ones(flux.shape, np.bool_), object_id=ids).write(tmp_path / f"{index}.npz")
    vote_table(np.arange(150), tmp_path / "votes.csv")
    out = tmp_path / "own-1.2.3.morph"
    command = ["train", str(out), "--labels", str(tmp_path / "votes.csv"), "--start-from", str(tiny_package)]
    command += ["--stamp-file", str(tmp_path / "0.npz"), "--stamp-file", str(tmp_path / "1.npz")]
    command += ["--name", "own", "--version", "1.2.3", "--steps", "3", "--batch-size", "16"]
    command += ["--learning-rate", "0"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "149 rows have votes: 20 are no object here, 0 have no pixels to look at" in result.output
    package = ModelPackage.open(out)
    manifest = package.manifest
    assert (manifest.name, manifest.version, manifest.stamp_size) == ("own", "1.2.3", 16)
    assert manifest.training.figures["labels.notFound"] == 20
    assert manifest.training.presentations == 48
    assert "votes.csv" in manifest.training.data
    assert "tiny 1.0.0" in manifest.training.data
    for backend in ("onnx", "torch"):
        assert check_golden(package, EngineOptions(backend=backend, device="cpu")).passed
    before, after = ModelPackage.open(tiny_package).read_weights(), package.read_weights()
    learnt = [name for name in before if name.endswith("weight")]
    assert len(learnt) > 5
    for name in learnt:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-6)
    page = (tmp_path / "own-1.2.3.morph.html").read_text()
    assert "heldOut" in page
    assert "--start-from" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repo", "x"], "training on --labels"),
        (["--labels", "v.csv"], "either by --repo or by --stamp-file"),
        (["--labels", "v.csv", "--repo", "x"], "needs --collections"),
        (["--labels", "v.csv", "--stamp-file", "v.csv", "--recipe", "tides"], "give --library"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vote_table(np.arange(4), tmp_path / "v.csv")
    result = CliRunner().invoke(main, ["train", "x.morph", *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_train_on_a_repository(simulated_repo: Path, tmp_path: Path) -> None:
    """Labels whose object is not there are counted, not forgotten."""
    with Butler.from_config(str(simulated_repo)) as butler:
        tables = [butler.get(ref) for ref in butler.query_datasets("object", collections="sim")]
    ids = np.unique(np.concatenate([np.asarray(table["objectId"], np.int64) for table in tables]))
    vote_table(np.append(ids, [1, 2, 3]), tmp_path / "votes.csv")
    out = tmp_path / "own.morph"
    command = ["train", str(out), "--recipe", "smoke", "--labels", str(tmp_path / "votes.csv")]
    command += ["--repo", str(simulated_repo), "--collections", "sim", "--steps", "2", "--batch-size", "8"]
    result = CliRunner().invoke(main, [*command, "--no-report", "--held-out", "0.5"])
    assert result.exit_code == 0, result.output
    figures = ModelPackage.open(out).manifest.training.figures
    assert figures["labels"] == len(ids) + 2
    assert figures["labels.notFound"] >= 3
    lost = figures["labels.notFound"] + figures["labels.notMeasured"]
    assert 0 < figures["distinctStamps"] < figures["labels"] - lost
