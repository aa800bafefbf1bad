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

"""The measuring task, through the framework, on simulated skies."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from lsst.daf.butler import Butler, DatasetRef
from lsst.meas.morphology.butler import ingest
from lsst.meas.morphology.flags import FLAGS
from lsst.meas.morphology.pixels import planes
from lsst.meas.morphology.simulation.repo import simulate_repository
from lsst.meas.morphology.validation.audit import audit
from lsst.pipe.base import InvalidQuantumError, Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

RESOURCE = "resource://lsst.meas.morphology/pipelines/Morphology.yaml"
SKYMAP = "morph_sim"


def measure(
    repo: Path, output: str, model_run: str, *, where: str = "", first: tuple[str, ...] = (), **config: Any
) -> Butler:
    """Run step 1 in this process and return a Butler on its output."""
    pipeline = Pipeline.from_uri(f"{RESOURCE}#step1-measure")
    for name, value in config.items():
        pipeline.addConfigOverride("measureMorphology", name.replace("__", "."), value)
    inputs = [*first, "sim", model_run]
    with SimplePipelineExecutor.prep_butler(str(repo), inputs=inputs, output=output) as butler:
        where = f"skymap='{SKYMAP}'" + (f" AND {where}" if where else "")
        executor = SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=butler)
        executor.run(register_dataset_types=True, save_versions=False)
    return Butler.from_config(str(repo), collections=output)


def tables(butler: Butler, name: str = "object_morphology_patch") -> dict[tuple[int, int], pa.Table]:
    refs = butler.query_datasets(name, explain=False)
    return {(ref.dataId["tract"], ref.dataId["patch"]): butler.get(ref) for ref in refs}


def everything(butler: Butler, name: str = "object_morphology_patch") -> pa.Table:
    found = [butler.get(ref) for ref in butler.query_datasets(name, explain=False)]
    return pa.concat_tables(found).unify_dictionaries().sort_by("objectId")


def objects(butler: Butler, tract: int) -> Table:
    return butler.get("object", skymap=SKYMAP, tract=tract)


@dataclasses.dataclass(frozen=True)
class Measured:
    repo: Path
    butler: Butler


@pytest.fixture(scope="module")
def measured(simulated_repo: Path, model_run: str, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """All patches, measured with the defaults."""
    repo = tmp_path_factory.mktemp("measured") / "repo"
    shutil.copytree(simulated_repo, repo)
    return Measured(repo, measure(repo, "u/all", model_run))


def test_rows_belong_to_their_patch(measured: Measured) -> None:
    found = tables(measured.butler)
    assert len(found) == 8
    assert sum(table.num_rows for table in found.values()) > 40
    for (tract, patch), table in found.items():
        own = objects(measured.butler, tract)
        own = own[own["patch"] == patch]
        assert set(table["objectId"].to_pylist()) <= set(own["objectId"].tolist())
        assert set(table["tract"].to_pylist()) <= {tract}
        assert set(table["patch"].to_pylist()) <= {patch}


def test_selection_by_hand(measured: Measured) -> None:
    """The default cuts, worked out here from the columns."""
    for (tract, patch), table in tables(measured.butler).items():
        own = objects(measured.butler, tract)
        own = own[own["patch"] == patch]
        size = np.sqrt(np.asarray(own["shape_xx"] + own["shape_yy"]) / (own["i_ixxPSF"] + own["i_iyyPSF"]))
        # Half-light radius of the Gaussian over the FWHM: 1/2 for the PSF.
        bad = [
            own["refExtendedness"] <= 0.5,
            own["i_cModelFlux"] <= 10 ** (0.4 * (31.4 - 21.0)),
            own["i_cModelFlux"] / own["i_cModelFluxErr"] <= 20.0,
            size <= 1.4,
        ]
        wanted = ~np.logical_or.reduce([np.ma.filled(cut, False) for cut in bad])
        assert set(table["objectId"].to_pylist()) == set(own["objectId"][wanted].tolist())


def test_general_failure_means_nan_and_only_it(measured: Measured) -> None:
    table = everything(measured.butler)
    failed = table["morphology_flag"].to_numpy()
    assert 0 < failed.sum() < len(failed) / 2
    for name in table.column_names:
        if name.endswith(
            ("_fraction", "_fractionLow", "_fractionHigh", "_concentration", "_asked", "_entropy")
        ):
            assert np.array_equal(np.isnan(table[name].to_numpy()), failed), name


def test_fractions_are_fractions(measured: Measured) -> None:
    table = everything(measured.butler)
    good = ~table["morphology_flag"].to_numpy()
    fractions = [
        name
        for name in table.column_names
        if name.startswith("smoothOrFeatured_") and name.endswith("_fraction")
    ]
    total = np.sum([table[name].to_numpy()[good] for name in fractions], axis=0)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    for name in fractions:
        low, high = (table[name + end].to_numpy()[good] for end in ("Low", "High"))
        assert np.all(low <= high)


def test_columns_are_described(measured: Measured) -> None:
    schema = next(iter(tables(measured.butler).values())).schema
    for field in schema:
        assert field.metadata[b"description"], field.name
    units = {field.name: field.metadata.get(b"unit") for field in schema}
    assert {units["coord_ra"], units["coord_dec"]} == {b"deg"}
    assert units["radius"] == b"arcsec"
    assert [flag.column for flag in FLAGS if flag.column not in schema.names] == []


def test_components_are_readable(measured: Measured) -> None:
    """Row counts and columns come without the data, as the Butler offers."""
    ref: DatasetRef = measured.butler.query_datasets("object_morphology_patch")[0]
    n = measured.butler.get(ref.makeComponentRef("rowcount"))
    assert n == measured.butler.get(ref).num_rows
    assert "objectId" in measured.butler.get(ref.makeComponentRef("columns"))


def test_hard_objects_are_flagged_rows(measured: Measured) -> None:
    table = everything(measured.butler)
    for column in (
        "position",
        "offImage",
        "noData",
        "saturated",
        "nonFinite",
        "missingBand",
        "shape",
        "selection",
    ):
        assert table[f"morphology_flag_{column}"].to_numpy().any(), column
    lost = table["morphology_flag_position"].to_numpy()
    assert np.all(np.isnan(table["coord_ra"].to_numpy()[lost]))
    assert np.all(table["morphology_flag"].to_numpy()[lost])


def test_missing_band_follows_the_model(measured: Measured, model_file: Path) -> None:
    from lsst.meas.morphology.model.package import ModelPackage

    optional = "i" in ModelPackage.open(model_file).manifest.optional_bands
    found = tables(measured.butler)
    (lacking,) = (pair for pair in found if len(bands(measured.butler, pair)) == 2)
    assert np.all(found[lacking]["morphology_flag_missingBand"].to_numpy())
    assert np.all(found[lacking]["morphology_flag"].to_numpy()) == (not optional)


def bands(butler: Butler, pair: tuple[int, int]) -> set[str]:
    tract, patch = pair
    where = f"skymap='{SKYMAP}' AND tract={tract} AND patch={patch}"
    return {ref.dataId["band"] for ref in butler.query_datasets("deep_coadd", where=where)}


def test_embeddings_match_rows(measured: Measured) -> None:
    rows, embeddings = tables(measured.butler), tables(measured.butler, "object_morphology_embedding_patch")
    assert rows.keys() == embeddings.keys()
    for pair, table in rows.items():
        assert table["objectId"].to_pylist() == embeddings[pair]["objectId"].to_pylist()


def test_metadata_counts(measured: Measured) -> None:
    (ref,) = measured.butler.query_datasets(
        "measureMorphology_metadata", where=f"{WHERE} AND tract=1 AND patch=0"
    )
    metadata = measured.butler.get(ref)["measureMorphology"]
    table = tables(measured.butler)[1, 0]
    assert metadata["targets"] == table.num_rows
    assert metadata["measured"] == np.sum(~table["morphology_flag"].to_numpy())
    assert metadata["modelId"] == table["modelId"][0].as_py()
    for stage in ("objects", "select", "read", "stamps", "inference", "posteriors", "assemble", "write"):
        assert metadata["seconds"][stage] >= 0.0
    for flag in FLAGS:
        assert metadata["flags"][flag.column] == np.sum(table[flag.column].to_numpy())


WHERE = f"skymap='{SKYMAP}'"
ONE_PATCH = "tract=1 AND patch=0"


def test_independent_of_batch_size_and_backend(measured: Measured, model_run: str) -> None:
    reference = tables(measured.butler)[1, 0]
    names = [name for name in reference.column_names if name.endswith("_concentration")]
    for i, config in enumerate(
        ({"engine__batchSize": 3}, {"engine__backend": "torch"}, {"pixels__readThreads": 1})
    ):
        butler = measure(measured.repo, f"u/variant{i}", model_run, where=ONE_PATCH, **config)
        table = tables(butler)[1, 0]
        assert table["objectId"].equals(reference["objectId"])
        for name in names:
            np.testing.assert_allclose(
                table[name].to_numpy(), reference[name].to_numpy(), rtol=1e-4, atol=5e-4
            )


def test_nothing_passes_the_cuts(measured: Measured, model_run: str) -> None:
    butler = measure(measured.repo, "u/none", model_run, where=ONE_PATCH, selection__minExtendedness=2.0)
    table = tables(butler)[1, 0]
    assert table.num_rows == 0
    assert table.schema.equals(tables(measured.butler)[1, 0].schema)
    ref = butler.query_datasets("object_morphology_patch")[0]
    assert butler.get(ref.makeComponentRef("rowcount")) == 0


def test_patch_without_any_band_of_the_model(measured: Measured, model_run: str, tmp_path: Path) -> None:
    """Rows all the same, flagged: no hole for the gather to fall into."""
    repo = tmp_path / "repo"
    shutil.copytree(measured.repo, repo)
    with Butler.from_config(str(repo), writeable=True) as butler:
        butler.registry.insertDimensionData(
            "physical_filter", {"instrument": "MorphologySim", "name": "z_sim", "band": "z"}
        )
        coadd = butler.get("deep_coadd", skymap=SKYMAP, tract=1, patch=0, band="r", collections="sim")
        refs = butler.query_datasets("deep_coadd", collections="sim/raw", where=f"{WHERE} AND {ONE_PATCH}")
        butler.pruneDatasets(refs, unstore=True, purge=True, disassociate=True)
        butler.put(coadd, "deep_coadd", skymap=SKYMAP, tract=1, patch=0, band="z", run="sim/raw")
    table = tables(measure(repo, "u/z", model_run, where=ONE_PATCH))[1, 0]
    assert table.num_rows == tables(measured.butler)[1, 0].num_rows
    assert np.all(table["morphology_flag"].to_numpy())
    assert np.all(table["morphology_flag_missingBand"].to_numpy())


def test_model_with_other_bands(measured: Measured, model_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("a pixel was read")

    monkeypatch.setattr(planes, "_read_band", refuse)
    with pytest.raises(BaseException) as info:  # noqa: PT011
        measure(measured.repo, "u/bands", model_run, where=ONE_PATCH, bands=["g", "r"])
    (error,) = {str(found) for found in chain(info.value) if isinstance(found, InvalidQuantumError)}
    assert "['g', 'r', 'i']" in error
    assert "['g', 'r']" in error


def test_missing_column_is_named(measured: Measured, model_run: str) -> None:
    with Butler.from_config(str(measured.repo), writeable=True) as butler:
        table = butler.get("object", skymap=SKYMAP, tract=1, collections="sim")
        table.remove_column("i_cModelFluxErr")
        butler.collections.register("u/column")
        butler.put(table, "object", skymap=SKYMAP, tract=1, run="u/column")
    with pytest.raises(Exception, match="i_cModelFluxErr"):
        measure(measured.repo, "u/nocolumn", model_run, where=ONE_PATCH, first=("u/column",))


def test_corrupt_coadd_is_named(measured: Measured, model_run: str, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    shutil.copytree(measured.repo, repo)
    butler = Butler.from_config(str(repo), collections="sim")
    path = Path(butler.getURI("deep_coadd", skymap=SKYMAP, tract=1, patch=0, band="r").ospath)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(Exception, match="deep_coadd.*band: 'r'"):
        measure(repo, "u/corrupt", model_run, where=ONE_PATCH)


def test_absent_gpu_is_an_error(measured: Measured, model_run: str) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(Exception, match=r"(?i)cuda"):
        measure(measured.repo, "u/gpu", model_run, where=ONE_PATCH, engine__device="cuda")


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an error with all that it wraps."""
    if error is None:
        return []
    inner = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    inner += [cause for cause in (error.__cause__, error.__context__) if cause is not None]
    return [error, *(found for cause in inner for found in chain(cause))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ra", "dec"), [(0.0, 0.0), (359.999, -30.0), (45.0, 89.99)], ids=["ra0", "wrap", "pole"]
)
def test_both_steps_anywhere_on_the_sky(
    ra: float, dec: float, model_file: Path, model_run: str, tmp_path: Path
) -> None:
    """Objects in, rows out: none lost, none twice; the audit agrees."""
    repo = tmp_path / "repo"
    layout = {"columns": 2, "rows": 2, "patch_cells": 3, "cell_size": 100}
    simulate_repository(
        repo, center_ra=ra, center_dec=dec, n_galaxies=5, n_neighbours=2, n_stars=1, skymap=SKYMAP, **layout
    )
    with Butler.from_config(str(repo), writeable=True) as butler:
        ingest(butler, model_file)
    measured = measure(repo, "u/one", model_run)
    with SimplePipelineExecutor.prep_butler(str(repo), inputs=["u/one"], output="u/two") as butler:
        pipeline = Pipeline.from_uri(f"{RESOURCE}#step2-partition")
        executor = SimplePipelineExecutor.from_pipeline(pipeline, where=WHERE, butler=butler)
        executor.run(register_dataset_types=True, save_versions=False)
    rows = everything(measured)
    placed = np.isfinite(rows["coord_ra"].to_numpy())
    with Butler.from_config(str(repo), collections="u/two") as butler:
        pixels = everything(butler, "object_morphology_hpx5")
        report = audit(butler)
    assert rows.num_rows > 20
    assert pixels["objectId"].to_pylist() == rows["objectId"].filter(pa.array(placed)).to_pylist()
    assert report.complete, report.describe()
    assert (report.lost, report.twice, report.stale, report.missing_patches) == (0, 0, 0, ())


def test_two_models_side_by_side(measured: Measured, model_run: str, tiny_package: Path) -> None:
    """Each under its own label, model and table names, in one pipeline."""
    with Butler.from_config(str(measured.repo), writeable=True) as butler:
        second_run = ingest(butler, tiny_package).run
    pipeline = Pipeline("two models")
    task = "lsst.meas.morphology.tasks.measure_morphology.MeasureMorphologyTask"
    pipeline.addTask(task, "measureMorphology")
    pipeline.addTask(task, "measureMorphologyTiny")
    pipeline.addConfigOverride("measureMorphologyTiny", "connections.modelName", "tiny")
    pipeline.addConfigOverride("measureMorphologyTiny", "connections.tableName", "object_morphology_tiny")
    inputs = ["sim", model_run, second_run]
    with SimplePipelineExecutor.prep_butler(str(measured.repo), inputs=inputs, output="u/two") as butler:
        executor = SimplePipelineExecutor.from_pipeline(
            pipeline, where=f"{WHERE} AND {ONE_PATCH}", butler=butler
        )
        executor.run(register_dataset_types=True, save_versions=False)
        first = everything(butler)
        second = everything(butler, "object_morphology_tiny_patch")
    assert first["objectId"].equals(second["objectId"])
    assert first["modelId"].unique().to_pylist() != second["modelId"].unique().to_pylist()
