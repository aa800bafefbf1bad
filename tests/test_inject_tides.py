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

"""Features put into existing coadds: pixels, truth, and what is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from lsst.daf.butler import Butler, DatasetType
from lsst.meas.morphology.cli.inject_tides import command
from lsst.meas.morphology.cli.recover_tides import command as recover
from lsst.meas.morphology.errors import IncompleteInputError, MorphologyError
from lsst.meas.morphology.pixels.geometry import read_geometry
from lsst.meas.morphology.pixels.source import CoaddSource
from lsst.meas.morphology.simulation.tidal.inject_repository import TRUTH, inject_repository
from lsst.meas.morphology.simulation.tidal.injection import Feature, Hosts, draw_features, paint_feature
from lsst.meas.morphology.simulation.tidal.injection_hosts import HostSelection, choose_hosts
from lsst.meas.morphology.simulation.tidal.library import EncounterLibrary, make_library
from lsst.meas.morphology.surface_brightness import limit
from lsst.meas.morphology.validation.tidal_recovery import recover as compare
from lsst.meas.morphology.validation.tidal_recovery import recovery_text

repo_module = pytest.importorskip("lsst.meas.morphology.simulation.repo")

SKYMAP = "lsst_cells_sim"
ANY = HostSelection(count=2, max_magnitude=21.0, min_half_light=0.3, max_half_light=12.0)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> EncounterLibrary:
    return make_library(tmp_path_factory.mktemp("library"), count=2, seed=77, times=2)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small repository, whose second patch of tract 2 lacks i."""
    return repo_module.simulate_repository(
        tmp_path_factory.mktemp("sim") / "repo",
        columns=2,
        rows=1,
        patch_cells=5,
        cell_size=60,
        n_galaxies=6,
        n_neighbours=2,
        n_stars=1,
        center_ra=359.99,
        seed=3,
    ).path


@pytest.fixture(scope="module")
def injected(repo: Path, library: EncounterLibrary) -> str:
    with Butler.from_config(str(repo), writeable=True) as butler:
        steps: list[tuple[int, int]] = []
        report = inject_repository(
            butler,
            input_collections=["sim"],
            output="u/test/injected",
            library=library,
            selection=ANY,
            fainter=(-3.0, -3.0),
            progress=lambda done, total: steps.append((done, total)),
        )
    assert report.patches == 4
    assert 4 <= report.features <= 8
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    return "u/test/injected"


def hosts(n: int) -> Hosts:
    return Hosts(
        object_id=np.arange(n),
        patch=np.zeros(n, np.int64),
        ra=np.zeros(n),
        dec=np.zeros(n),
        x=np.full(n, 100.3),
        y=np.full(n, 80.6),
        half_light=np.full(n, 2.0),
        flux={"g": np.full(n, 1e4), "r": np.full(n, 2e4), "i": np.full(n, np.nan)},
    )


def test_features_keep_light_and_place(library: EncounterLibrary) -> None:
    rng = np.random.default_rng(1)
    features = draw_features(rng, hosts(12), library, fainter=(1.0, 1.0))
    assert {feature.kind for feature in features} == {"tail", "stream", "shell"}
    kernel = np.zeros((9, 9))
    kernel[4, 4] = 7.0
    for feature in features:
        expected = library.encounter(feature.kind, feature.encounter, feature.time).light * 10**-0.4
        assert feature.flux["r"] == pytest.approx(2e4 * expected, rel=0.2)
        # A band without a flux takes another's.
        assert feature.flux["i"] > 0.0
        box, images = paint_feature(feature, 100.3, 80.6, pixel_scale=0.2, kernels={"r": kernel})
        image = images["r"]
        assert image.shape == (box[3] - box[1], box[2] - box[0])
        assert image.sum() == pytest.approx(feature.flux["r"] * feature.weight.sum(), rel=0.02)
        x = (image.sum(axis=0) * np.arange(box[0], box[2])).sum() / image.sum()
        mean = (feature.xy[:, 0] * feature.weight).sum() / feature.weight.sum()
        assert x == pytest.approx(100.3 + mean / 0.2, abs=0.05 * feature.reach / 0.2)


def test_one_particle_is_where_it_was_put() -> None:
    cloud = np.zeros((2000, 2), np.float32) + np.float32([4.0, -3.0])
    feature = Feature("tail", 0, 0, cloud, np.full(2000, 5e-4, np.float32), {"r": 5.0})
    axis = np.arange(21) - 10.0
    kernel = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / 2.0**2)
    box, images = paint_feature(feature, 50.25, 60.0, pixel_scale=0.2, kernels={"r": kernel})
    image = images["r"]
    rows, columns = np.mgrid[box[1] : box[3], box[0] : box[2]]
    assert (columns * image).sum() / image.sum() == pytest.approx(50.25 + 20.0, abs=0.6)
    assert (rows * image).sum() / image.sum() == pytest.approx(60.0 - 15.0, abs=0.6)
    # As wide as the kernel and the bells of the painting together.
    width = (((columns - 70.0) ** 2) * image).sum() / image.sum()
    assert width == pytest.approx(4.0, abs=1.2)


def test_only_light_is_added(repo: Path, injected: str) -> None:
    with Butler.from_config(str(repo)) as butler:
        refs = butler.query_datasets("deep_coadd", collections=injected)
        assert refs
        total: dict[tuple[int, str], float] = {}
        for ref in refs:
            new, old = butler.get(ref), butler.get("deep_coadd", ref.dataId, collections="sim")
            added = new.image.array - old.image.array
            good = np.isfinite(old.image.array)
            assert (np.isfinite(new.image.array) == good).all()
            # Painting never takes light away, but for rounding.
            assert added[good].min() > -1e-2
            assert added[good].max() > 0.0
            assert (new.variance.array == old.variance.array).all()
            assert (new.mask.array == old.mask.array).all()
            assert new.bbox == old.bbox
            assert new.band == old.band
            key = int(ref.dataId["tract"]), str(ref.dataId["band"])
            total[key] = total.get(key, 0.0) + float(added[good].sum())
        assert {band for _, band in total} == {"g", "r", "i"}


def test_patches_agree_where_they_overlap(repo: Path, injected: str) -> None:
    with Butler.from_config(str(repo)) as butler:
        parts = []
        for patch in (0, 1):
            where = {"skymap": SKYMAP, "tract": 1, "patch": patch, "band": "r"}
            new = butler.get("deep_coadd", where, collections=[injected, "sim"])
            old = butler.get("deep_coadd", where, collections="sim")
            parts.append((new.bbox, new.image.array - old.image.array))
        (left, a), (right, b) = parts
        width = left.x.stop - right.x.start
        assert width > 0
        np.testing.assert_allclose(a[:, -width:], b[:, :width], atol=2e-2)


def test_truth_says_what_was_added(repo: Path, injected: str) -> None:
    with Butler.from_config(str(repo)) as butler:
        refs = butler.query_datasets(TRUTH, collections=injected)
        assert len(refs) == 4
        tables = [butler.get(ref) for ref in refs]
        objects = butler.get("object", skymap=SKYMAP, tract=1, collections="sim")
    rows = [dict(zip(table.colnames, row, strict=True)) for table in tables for row in table]
    assert len({row["objectId"] for row in rows}) == len(rows)
    for row in rows:
        assert row["kind"] in ("tail", "stream", "shell")
        assert 0.5 < row["r_fwhm"] < 1.3
        assert row["r_flux"] > 0.0
        if row["tract"] == 1:
            (k,) = np.flatnonzero(objects["objectId"] == row["objectId"])
            assert row["r_hostFlux"] == pytest.approx(float(objects["r_cModelFlux"][k]), rel=1e-5)
            assert row["coord_ra"] == pytest.approx(float(objects["coord_ra"][k]))
    bright = [row["surfaceBrightness"] for row in rows if np.isfinite(row["surfaceBrightness"])]
    assert min(bright) > 17.0, bright
    for row in rows:
        if np.isfinite(row["surfaceBrightness"]):
            # All of the flux on 100 arcsec2 would be brighter.
            assert row["surfaceBrightness"] > 31.4 - 2.5 * np.log10(row["r_flux"] / 100.0)


class Saturated:
    """A butler whose objects have saturated centres in r, but for one."""

    def __init__(self, butler: Butler, spared: int) -> None:
        self._butler = butler
        self._spared = spared

    def get(self, ref: Any, **kwargs: Any) -> Any:
        table = self._butler.get(ref, **kwargs)
        if "r_pixelFlags_saturatedCenter" in getattr(table, "colnames", ()):
            table["r_pixelFlags_saturatedCenter"] = table["objectId"] != self._spared
        return table


def test_saturated_objects_are_no_hosts(repo: Path) -> None:
    with Butler.from_config(str(repo)) as butler:
        (ref,) = butler.query_datasets("object", collections="sim", skymap=SKYMAP, tract=1)
        coadds = butler.query_datasets("deep_coadd", collections="sim", skymap=SKYMAP, tract=1, band="r")
        patch = min(int(coadd.dataId["patch"]) for coadd in coadds)
        (coadd,) = (c for c in coadds if c.dataId["patch"] == patch)
        geometry = read_geometry(CoaddSource("r", butler.getURI(coadd), str(coadd)))

        def choose(source: Any) -> list[int]:
            found = choose_hosts(
                source,
                ref,
                tract=1,
                patch=patch,
                bands=("g", "r"),
                geometry=geometry,
                selection=ANY,
                rng=np.random.default_rng(1),
            )
            return [int(value) for value in found.object_id]

        everything = choose(butler)
        assert len(everything) > 1
        assert choose(Saturated(butler, everything[1])) == [everything[1]]


def test_what_can_not_be_done_is_refused(repo: Path, injected: str, library: EncounterLibrary) -> None:
    with Butler.from_config(str(repo), writeable=True) as butler:
        options = {"input_collections": ["sim"], "library": library}
        with pytest.raises(MorphologyError, match="choose another output"):
            inject_repository(butler, output=injected, **options)
        with pytest.raises(IncompleteInputError, match="AND tract = 9"):
            inject_repository(
                butler, output="u/test/none", where=f"skymap = '{SKYMAP}' AND tract = 9", **options
            )
        with pytest.raises(IncompleteInputError, match="no 'objects' table"):
            inject_repository(butler, output="u/test/none", object_name="objects", **options)


def test_command(repo: Path, library: EncounterLibrary, tmp_path: Path) -> None:
    folder = tmp_path / "encounters"
    arguments = [
        str(repo),
        "-i",
        "sim",
        "-o",
        "u/test/command",
        "--library",
        str(folder),
        "--encounters",
        "1",
    ]
    arguments += ["--where", f"skymap = '{SKYMAP}' AND tract = 1 AND patch = 0", "--kinds", "stream"]
    result = CliRunner().invoke(command, [*arguments, "--min-radius", "0.3", "--quiet"])
    assert result.exit_code == 0, result.output
    assert "into 1 patches" in result.output
    with Butler.from_config(str(repo)) as butler:
        (ref,) = butler.query_datasets(TRUTH, collections="u/test/command")
        assert set(butler.get(ref)["kind"]) <= {"stream"}
    again = CliRunner().invoke(command, [*arguments, "--quiet"])
    assert again.exit_code == 1
    assert "choose another output" in again.output
    assert "no kind arm" in CliRunner().invoke(command, [*arguments, "--kinds", "arm"]).output


def test_recover_command(repo: Path, injected: str) -> None:
    """Who gives the truth as measurements has found all, and no other."""
    with Butler.from_config(str(repo), writeable=True, run="u/test/measured") as butler:
        refs = butler.query_datasets(TRUTH, collections=injected)
        dimensions = refs[0].datasetType.dimensions
        butler.registry.registerDatasetType(DatasetType("object_tidal_patch", dimensions, "ArrowTable"))
        number = 0
        for ref in refs:
            truth = butler.get(ref)
            n = len(truth)
            number += n
            columns: dict[str, np.ndarray] = {
                "objectId": np.append(np.asarray(truth["objectId"]), -1 - int(ref.dataId["patch"])),
                "tidal_flag": np.zeros(n + 1, np.bool_),
                "r_surfaceBrightnessLimit": np.full(n + 1, 29.8),
            }
            for name in ("tail", "stream", "shell", "debris"):
                there = np.ones(n) if name == "debris" else np.asarray(truth["kind"]) == name
                columns[f"{name}_probability"] = np.append(there.astype(float), 0.0)
                columns[f"{name}_r_flux"] = np.append(np.asarray(truth["r_flux"]) * 1.1, 0.0)
                columns[f"{name}_r_fluxErr"] = np.append(np.asarray(truth["r_flux"]) * 0.2, 1.0)
            table = pa.table(columns).replace_schema_metadata({"kind": "test"})
            butler.put(table, "object_tidal_patch", ref.dataId)
    result = CliRunner().invoke(recover, [str(repo), f"u/test/measured,{injected}"])
    assert result.exit_code == 0, result.output
    assert f"{number} features measured; hosts of 0 more were not" in result.output
    assert f"found {number:>5} of {number:>5}" in result.output
    assert "0 of 4 other objects flagged" in result.output
    assert "bias +0.100" in result.output
    without = CliRunner().invoke(recover, [str(repo), injected])
    assert "inject-tides and step1-tides" in without.output


def test_recovery_by_hand() -> None:
    rng = np.random.default_rng(5)
    n = 400
    ids = rng.permutation(n)
    brightness = rng.uniform(24.0, 31.0, n)
    truth = {
        "objectId": np.arange(n)[: n - 5] + 0,
        "kind": np.array(["tail", "shell"])[rng.integers(0, 2, n - 5)],
        "surfaceBrightness": brightness[: n - 5],
        "contrast": rng.uniform(0.1, 2.0, n - 5),
        "r_flux": np.full(n - 5, 100.0),
        "r_hostFlux": np.full(n - 5, 1e4),
    }
    missing = 30
    kept = ids[ids >= missing]
    found = brightness[kept] < 28.0
    measured = {
        "objectId": kept,
        "limit": np.full(len(kept), float(limit(1.0))),
        "debris_found": found,
        **{f"{name}_found": found & (name == "tail") for name in ("tail", "stream", "shell")},
        **{f"{name}_flux": np.full(len(kept), 110.0) for name in ("tail", "stream", "shell")},
        **{f"{name}_fluxErr": np.full(len(kept), 20.0) for name in ("tail", "stream", "shell")},
    }
    got = compare(truth, measured)
    assert got.unmeasured == missing
    assert got.features == n - 5 - missing
    assert got.clean[1] == 5
    tails = (truth["kind"] == "tail") & (truth["objectId"] >= missing)
    bright = truth["surfaceBrightness"] < 28.0
    assert got.found["tail"] == ((tails & bright).sum(), tails.sum())
    assert got.named["tail"] == got.found["tail"]
    assert got.named["shell"][0] == 0
    curve = got.curves["surfaceBrightness"]["all"]
    assert curve.found[curve.edges[:-1] < 24.0][~np.isnan(curve.found[curve.edges[:-1] < 24.0])].size == 0
    assert (curve.found[(curve.edges[:-1] >= 24.0) & (curve.edges[1:] <= 28.0)] == 1.0).all()
    assert got.half is not None
    assert float(got.half.at(float(limit(1.0)))) == pytest.approx(28.0, abs=0.1)
    assert got.flux["tail"].bias == pytest.approx(0.1)
    assert "Half are found" in recovery_text(got)
    nothing = compare({name: values[:0] for name, values in truth.items()}, measured)
    assert nothing.features == 0
    none = compare(truth, {name: values[:0] for name, values in measured.items()})
    assert none.unmeasured == n - 5
