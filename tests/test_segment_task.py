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

"""The tidal task, through the framework, on simulated skies."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lsst.daf.butler import Butler
from lsst.images import Box, Interval
from lsst.meas.morphology.butler import ingest
from lsst.meas.morphology.flags import TIDAL_FLAGS
from lsst.meas.morphology.inference.engine import Predictions
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.tables.tidal_columns import tidal_columns
from lsst.meas.morphology.tasks import patch_task, segment_tidal_features
from lsst.meas.morphology.validation.audit import audit
from lsst.pipe.base import InvalidQuantumError, Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

RESOURCE = "resource://lsst.meas.morphology/pipelines/Morphology.yaml"
SKYMAP = "morph_sim"
WHERE = f"skymap='{SKYMAP}'"
ONE_PATCH = "tract=1 AND patch=0"
PLANES = ("tail", "stream", "shell", "debris", "host")
FEATURES = PLANES[:4]
BANDS = ("g", "r", "i")
SIZE = 32


@pytest.fixture(scope="module")
def tides_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small, untrained model that marks a part of all pixels."""
    import torch

    from lsst.meas.morphology.model.network import build_network
    from lsst.meas.morphology.training.export import export_package

    manifest = Manifest.model_validate(
        {
            "name": "tides",
            "version": "1.0.0",
            "title": "Tides that have learnt nothing",
            "licence": "CC0-1.0",
            "purpose": "commissioning",
            "bands": BANDS,
            "optional_bands": ("g", "i"),
            "pixels": "nJy/arcsec2",
            "stamp_size": SIZE,
            "field_of_view": {"rule": "radius", "multiple": 4.5, "min_arcsec": 12.8, "max_arcsec": 51.2},
            "rendering": {
                "kind": "surface_brightness",
                "softening": (5.0, 40.0),
                "block": (4, 1),
                "scale": (0.3, 0.5),
            },
            "architecture": {"kind": "unet", "depths": (1, 1, 2), "widths": (4, 8, 12)},
            "tides": {
                "planes": PLANES,
                "threshold": dict.fromkeys(FEATURES, 0.0),
                # What a new network says of a pixel.
                "mask_threshold": dict.fromkeys(FEATURES, 1.0 / (1.0 + np.exp(4.0))),
                "half_found": {"debris": (-0.5, 0.1)},
            },
            "training": {"data": "nothing", "seed": 1},
        }
    )
    torch.manual_seed(3)
    network = build_network(manifest).eval()
    rng = np.random.default_rng(1)
    flux = rng.normal(scale=100.0, size=(4, 3, SIZE, SIZE)).astype(np.float32)
    path = tmp_path_factory.mktemp("tides") / "tides-1.0.0.morph"
    export_package(path, manifest, network, flux, rng.random(flux.shape) > 0.1, "# Tides\n")
    return path


def segment(
    repo: Path, output: str, *, where: str = "", first: tuple[str, ...] = (), **config: Any
) -> Butler:
    """Run step 1 in this process and return a Butler on its output."""
    pipeline = Pipeline.from_uri(f"{RESOURCE}#step1-tides")
    defaults = {"selection__maxMagnitude": 21.0, "selection__minRadius": None}
    for name, value in {**defaults, **config}.items():
        pipeline.addConfigOverride("segmentTidalFeatures", name.replace("__", "."), value)
    inputs = [*first, "sim", "models/morphology/tides/1.0.0"]
    with SimplePipelineExecutor.prep_butler(str(repo), inputs=inputs, output=output) as butler:
        where = WHERE + (f" AND {where}" if where else "")
        executor = SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=butler)
        executor.run(register_dataset_types=True, save_versions=False)
    return Butler.from_config(str(repo), collections=[output, *inputs])


def tables(butler: Butler) -> dict[tuple[int, int], pa.Table]:
    refs = butler.query_datasets("object_tidal_patch", explain=False)
    return {(ref.dataId["tract"], ref.dataId["patch"]): butler.get(ref) for ref in refs}


@dataclasses.dataclass(frozen=True)
class Segmented:
    repo: Path
    butler: Butler


@pytest.fixture(scope="module")
def segmented(simulated_repo: Path, tides_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Segmented:
    """All patches, searched with the small model."""
    repo = tmp_path_factory.mktemp("segmented") / "repo"
    shutil.copytree(simulated_repo, repo)
    with Butler.from_config(str(repo), writeable=True) as butler:
        ingest(butler, tides_file)
    return Segmented(repo, segment(repo, "u/all"))


def measured_columns(table: pa.Table) -> list[str]:
    left = {"objectId", "tract", "patch", "coord_ra", "coord_dec", "radius", "arcsecPerPixel", "modelId"}
    return [name for name in table.column_names if name not in left and "_flag" not in name]


def test_columns_are_those_of_the_generator(segmented: Segmented) -> None:
    for table in tables(segmented.butler).values():
        assert table.column_names == [column.name for column in tidal_columns(FEATURES, BANDS)]
        assert all(field.metadata[b"description"] for field in table.schema)


def test_rows_belong_to_their_patch(segmented: Segmented) -> None:
    found = tables(segmented.butler)
    assert len(found) == 8
    assert sum(table.num_rows for table in found.values()) > 40
    for (tract, patch), table in found.items():
        own = segmented.butler.get("object", skymap=SKYMAP, tract=tract)
        own = own[own["patch"] == patch]
        assert set(table["objectId"].to_pylist()) <= set(own["objectId"].tolist())
        assert len(set(table["objectId"].to_pylist())) == table.num_rows


def test_failed_objects_have_nothing_and_others_a_probability(segmented: Segmented) -> None:
    table = pa.concat_tables(tables(segmented.butler).values()).unify_dictionaries()
    failed = table["tidal_flag"].to_numpy()
    assert 0 < failed.sum() < len(failed) / 2
    for name in measured_columns(table):
        assert np.isnan(table[name].to_numpy()[failed]).all(), name
    for feature in FEATURES:
        for suffix in ("probability", "area"):
            assert np.isfinite(table[f"{feature}_{suffix}"].to_numpy()[~failed]).all()
    for flag in ("noData", "missingBand"):
        assert table[f"tidal_flag_{flag}"].to_numpy().any(), flag


def test_limits_come_from_the_variance(segmented: Segmented) -> None:
    table = tables(segmented.butler)[1, 0]
    coadd = segmented.butler.get("deep_coadd", skymap=SKYMAP, tract=1, patch=0, band="r")
    good = ~table["tidal_flag"].to_numpy()
    sigma = np.sqrt(np.median(coadd.variance.array[np.isfinite(coadd.variance.array)]))
    # 31.4 - 2.5 log10(3 sigma / (0.2 * sqrt(100)))
    typical = 31.4 - 2.5 * np.log10(3.0 * sigma / 2.0)
    limits = table["r_surfaceBrightnessLimit"].to_numpy()[good]
    np.testing.assert_allclose(np.median(limits), typical, atol=0.1)
    half = table["debris_surfaceBrightness50"].to_numpy()[good]
    np.testing.assert_allclose(half, limits - 0.5 + 0.1 * (limits - 30.0), atol=1e-4)
    assert np.isnan(table["tail_surfaceBrightness50"].to_numpy()).all()


def test_mask_has_the_coadds_pixels_and_three_planes(segmented: Segmented) -> None:
    refs = segmented.butler.query_datasets("object_tidal_mask")
    assert len(refs) == 8
    for ref in refs:
        mask = segmented.butler.get(ref)
        where = {"skymap": SKYMAP, "tract": ref.dataId["tract"], "patch": ref.dataId["patch"]}
        assert mask.bbox == segmented.butler.get("deep_coadd.bbox", where, band="r")
        assert list(mask.schema.names) == ["TIDAL_TAIL", "STREAM", "SHELL"]
        area = sum(mask.get(name).sum() for name in mask.schema.names)
        table = tables(segmented.butler)[where["tract"], where["patch"]]
        marked = sum(np.nansum(table[f"{feature}_area"].to_numpy()) for feature in FEATURES[:3])
        # Stamps overlap, and reach beyond the patch.
        assert (area > 0) == (marked > 0.0)
        assert area * 0.04 <= marked * 1.1


def test_metadata_counts(segmented: Segmented) -> None:
    (ref,) = segmented.butler.query_datasets(
        "segmentTidalFeatures_metadata", where=f"{WHERE} AND {ONE_PATCH}"
    )
    metadata = segmented.butler.get(ref)["segmentTidalFeatures"]
    table = tables(segmented.butler)[1, 0]
    assert metadata["targets"] == table.num_rows
    assert metadata["measured"] == np.sum(~table["tidal_flag"].to_numpy())
    assert metadata["found"]["debris"] == metadata["measured"]
    assert metadata["light"]["left"] == 0.0
    for stage in ("objects", "select", "read", "stamps", "inference", "measure", "paint", "write"):
        assert metadata["seconds"][stage] >= 0.0
    for flag in TIDAL_FLAGS:
        assert metadata["flags"][flag.column] == np.sum(table[flag.column].to_numpy())


def test_independent_of_batch_size_and_backend(segmented: Segmented) -> None:
    reference = tables(segmented.butler)[1, 0]
    for i, config in enumerate(({"engine__batchSize": 3}, {"engine__backend": "torch"})):
        butler = segment(segmented.repo, f"u/variant{i}", where=ONE_PATCH, **config)
        table = tables(butler)[1, 0]
        # Rounding may move a pixel or two across the threshold.
        close = {"probability": 1e-3, "area": 0.02, "extent": 0.02}
        for feature in FEATURES:
            for suffix, tolerance in close.items():
                name = f"{feature}_{suffix}"
                np.testing.assert_allclose(
                    table[name].to_numpy(), reference[name].to_numpy(), rtol=tolerance, err_msg=name
                )
        for name in ("host_radius", "host_r_flux", "r_surfaceBrightnessLimit"):
            np.testing.assert_allclose(
                table[name].to_numpy(), reference[name].to_numpy(), rtol=0.02, err_msg=name
            )


def test_default_cuts(segmented: Segmented) -> None:
    """Worked out here from the columns."""
    default = {"selection__maxMagnitude": 20.0, "selection__minRadius": 5.0}
    table = tables(segment(segmented.repo, "u/default", where=ONE_PATCH, **default))[1, 0]
    everything = tables(segmented.butler)[1, 0]
    objects = segmented.butler.get("object", skymap=SKYMAP, tract=1)
    flux = dict(zip(objects["objectId"].tolist(), np.ma.filled(objects["i_cModelFlux"], np.nan), strict=True))
    radius = everything["radius"].to_numpy()
    faint = np.array([flux[i] for i in everything["objectId"].to_pylist()]) <= 10 ** (0.4 * 11.4)
    wanted = ~faint & ~(radius <= 5.0)
    assert 0 < wanted.sum() < len(wanted)
    assert table["objectId"].to_pylist() == everything["objectId"].filter(pa.array(wanted)).to_pylist()


def test_nothing_passes_the_cuts(segmented: Segmented) -> None:
    butler = segment(segmented.repo, "u/none", where=ONE_PATCH, selection__minExtendedness=2.0)
    table = tables(butler)[1, 0]
    assert table.num_rows == 0
    assert table.schema.equals(tables(segmented.butler)[1, 0].schema)
    mask = butler.get("object_tidal_mask", skymap=SKYMAP, tract=1, patch=0)
    assert mask.bbox == butler.get("deep_coadd.bbox", skymap=SKYMAP, tract=1, patch=0, band="r")
    assert not mask.array.any()


def test_model_without_tides_is_refused(segmented: Segmented, model_file: Path) -> None:
    task = segment_tidal_features.SegmentTidalFeaturesTask()
    with pytest.raises(InvalidQuantumError, match="marks no tidal features"):
        task.check_model(ModelPackage.open(model_file).manifest, origin="model")
    manifest = ModelPackage.open(model_file).manifest
    task.config.bands = ["r"]
    with pytest.raises(InvalidQuantumError, match="bands"):
        task.check_model(manifest, origin="model")


def test_gather(segmented: Segmented) -> None:
    """Each object that has a position exactly once, and the audit agrees."""
    pipeline = Pipeline.from_uri(f"{RESOURCE}#step2-tides")
    with SimplePipelineExecutor.prep_butler(str(segmented.repo), ["u/all"], "u/gathered") as butler:
        executor = SimplePipelineExecutor.from_pipeline(pipeline, where=WHERE, butler=butler)
        executor.run(register_dataset_types=True, save_versions=False)
    with Butler.from_config(str(segmented.repo), collections="u/gathered") as butler:
        pixels = [butler.get(ref) for ref in butler.query_datasets("object_tidal_hpx5")]
        report = audit(butler, table_name="object_tidal", label="segmentTidalFeatures")
    rows = pa.concat_tables(tables(segmented.butler).values()).unify_dictionaries()
    placed = np.isfinite(rows["coord_ra"].to_numpy())
    gathered = np.concatenate([table["objectId"].to_numpy() for table in pixels])
    assert sorted(gathered.tolist()) == sorted(rows["objectId"].to_numpy()[placed].tolist())
    assert pixels[0].column_names == ["_healpix_29", *rows.column_names]
    assert report.complete, report.describe()
    assert report.flags["tidal_flag_noData"] == rows["tidal_flag_noData"].to_numpy().sum()


class Marker:
    """An engine that marks as a stream whatever is extremely bright."""

    description = "a marker"
    level = 1e7

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def predict(self, flux: np.ndarray, valid: np.ndarray) -> Predictions:
        r = self.manifest.bands.index("r")
        mask = np.full((len(flux), len(PLANES), SIZE, SIZE), -20.0, np.float32)
        for plane in ("stream", "debris"):
            mask[:, PLANES.index(plane)][flux[:, r] > 0.5 * self.level] = 20.0
        presence = np.full((len(flux), len(FEATURES)), 20.0, np.float32)
        return Predictions(mask=mask, presence=presence)


@pytest.fixture
def marker(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(key: str, package: Callable[[], ModelPackage], options: object) -> Marker:
        return Marker(package().manifest)

    monkeypatch.setattr(patch_task, "get_engine", get)


def marked_repo(
    segmented: Segmented, run: str, offsets: list[tuple[int, int]], shape: np.ndarray
) -> tuple[dict[str, Any], Any]:
    """Put objects, and bright pixels, into an off-centre patch.

    The tract is the rotated one. Stamp pixels are two of the coadd's, and
    objects lie on corners of pixels, so that the bright pixels, of even
    sides, are whole stamp pixels.
    """
    where = {"skymap": SKYMAP, "tract": 2, "patch": 2}
    with Butler.from_config(str(segmented.repo), writeable=True, collections="sim") as butler:
        butler.collections.register(run)
        objects = butler.get("object", skymap=SKYMAP, tract=2)
        good = np.flatnonzero((objects["refExtendedness"] > 0.5) & np.isfinite(objects["coord_ra"]))
        rows = objects[good[: len(offsets)]]
        for band in BANDS:
            coadd = butler.get("deep_coadd", where, band=band)
            # 0.04 arcsec2 a pixel.
            coadd.image.array += np.float32(Marker.level * 0.04) * shape
            butler.put(coadd, "deep_coadd", where, band=band, run=run)
        box = coadd.bbox
        centre = (box.x.start + 300, box.y.start + 280)
        x = np.array([centre[0] + dx + 0.5 for dx, _ in offsets])
        y = np.array([centre[1] + dy + 0.5 for _, dy in offsets])
        sky = coadd.sky_projection.pixel_to_sky(x=x, y=y)
        rows["coord_ra"], rows["coord_dec"], rows["patch"] = sky.ra.deg, sky.dec.deg, 2
        rows["objectId"] = np.arange(len(rows)) + 1
        for name in ("shape_xx", "shape_yy"):
            rows[name] = 12.0
        for name in rows.colnames:
            if name.endswith("kronRad") or name == "footprintArea":
                rows[name] = 5.0
        rows["i_cModelFlux"], rows["i_cModelFluxErr"] = 1e6, 1.0
        butler.put(rows, "object", skymap=SKYMAP, tract=2, run=run)
    return where, box


@pytest.mark.usefixtures("marker")
def test_mask_lines_up_with_the_coadd(segmented: Segmented) -> None:
    """To the pixel, read in part, in an off-centre patch of a turned tract."""
    shape = np.zeros((600, 600), np.float32)
    # An F of stamp pixels, whose edges are at even distances from 281, 301.
    shape[281:305, 307:311] = shape[299:303, 307:323] = shape[289:293, 307:317] = 1.0
    where, box = marked_repo(segmented, "u/mark", [(0, 0)], shape)
    butler = segment(segmented.repo, "u/marked", where="tract=2 AND patch=2", first=("u/mark",))
    part = Box(
        x=Interval(box.x.start + 290, box.x.start + 350), y=Interval(box.y.start + 270, box.y.start + 313)
    )
    mask = butler.get("object_tidal_mask", where, parameters={"bbox": part})
    coadd = butler.get("deep_coadd", where, band="r", parameters={"bbox": part}, collections="u/mark")
    bright = coadd.image.array > 0.5 * Marker.level * 0.04
    assert bright.sum() == shape.sum()
    assert mask.bbox == coadd.bbox
    np.testing.assert_array_equal(mask.get("STREAM"), bright)
    assert not mask.get("TIDAL_TAIL").any()
    whole = butler.get("object_tidal_mask", where)
    assert whole.get("STREAM").sum() == shape.sum()
    assert whole.sky_projection is not None
    table = tables(butler)[2, 2]
    np.testing.assert_allclose(table["stream_area"].to_numpy(), [shape.sum() * 0.04], rtol=1e-3)
    assert not np.any(table["tidal_flag_truncated"].to_numpy())


@pytest.mark.usefixtures("marker")
def test_light_is_never_counted_twice(segmented: Segmented) -> None:
    shape = np.zeros((600, 600), np.float32)
    shape[273:289, 311:323] = 1.0
    total = shape.sum() * Marker.level * 0.04
    where, _ = marked_repo(segmented, "u/one", [(0, 0)], shape)
    alone = tables(segment(segmented.repo, "u/alone", where="tract=2 AND patch=2", first=("u/one",)))[2, 2]
    marked_repo(segmented, "u/three", [(0, 0), (16, 10), (30, -8)], shape)
    shared = segment(segmented.repo, "u/shared", where="tract=2 AND patch=2", first=("u/three",))
    table = tables(shared)[2, 2]
    assert table.num_rows == 3
    # Interpolation puts some of the block's light beyond its edges.
    np.testing.assert_allclose(alone["stream_r_flux"].to_numpy(), [total], rtol=0.08)
    np.testing.assert_allclose(
        table["stream_r_flux"].to_numpy().sum(), alone["stream_r_flux"].to_numpy().sum(), rtol=0.02
    )
    np.testing.assert_allclose(table["stream_share"].to_numpy().sum(), 1.0, atol=0.02)
    assert np.all(table["tidal_flag_blended"].to_numpy())
    (ref,) = shared.query_datasets("segmentTidalFeatures_metadata", collections="u/shared")
    assert shared.get(ref)["segmentTidalFeatures"]["contested"] == 3
