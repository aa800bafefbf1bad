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

"""The gather: exactly once, and never silently incomplete."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import healpy
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack

from lsst.daf.butler import Butler, DatasetType
from lsst.meas.morphology.errors import IncompleteInputError
from lsst.meas.morphology.tasks.partition_morphology import PartitionMorphologyTask
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

SKYMAP = "toy"
GRID = 3
SIDE = 0.5
"""Side of a patch (deg): patches spread over several pixels of order 5."""


@dataclasses.dataclass(frozen=True)
class Sky:
    """Objects of two tracts, each with a grid of patches."""

    objects: dict[int, Table]

    @property
    def table(self) -> Table:
        return vstack(list(self.objects.values()), metadata_conflicts="silent")


def make_sky(ra: float, dec: float, n: int = 400) -> Sky:
    """Scatter objects over two neighbouring tracts around a position."""
    rng = np.random.default_rng(5)
    centre = SkyCoord(ra * u.deg, dec * u.deg)
    objects = {}
    for tract, shift in enumerate((-0.5, 0.5)):
        east = (rng.uniform(-0.5, 0.5, n) + shift) * GRID * SIDE
        north = rng.uniform(-0.5, 0.5, n) * GRID * SIDE
        sky = centre.spherical_offsets_by(east * u.deg, north * u.deg)
        column = np.floor((east / SIDE) + GRID * (0.5 - shift)).astype(int).clip(0, GRID - 1)
        row = np.floor(north / SIDE + GRID / 2).astype(int).clip(0, GRID - 1)
        objects[tract] = Table(
            {
                "objectId": np.arange(n) + 10_000 * tract,
                "coord_ra": sky.ra.deg,
                "coord_dec": sky.dec.deg,
                "patch": row * GRID + column,
            }
        )
    return Sky(objects)


def polygon(centre: SkyCoord, east: tuple[float, float], north: tuple[float, float]) -> ConvexPolygon:
    corners = [(east[0], north[0]), (east[1], north[0]), (east[1], north[1]), (east[0], north[1])]
    points = [centre.spherical_offsets_by(e * u.deg, n * u.deg) for e, n in corners]
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(p.ra.deg, p.dec.deg)) for p in points])


def rows(table: Table, model: str = "m1") -> pa.Table:
    """Return the patch table of some objects."""
    result = pa.table(
        {
            "objectId": np.asarray(table["objectId"], np.int64),
            "coord_ra": np.asarray(table["coord_ra"], np.float64),
            "coord_dec": np.asarray(table["coord_dec"], np.float64),
            "modelId": pa.array([model] * len(table), pa.string()).dictionary_encode(),
        }
    )
    return result.replace_schema_metadata({"written_by": "test"})


@pytest.fixture(params=[(0.0, 0.0), (359.99, -45.0), (120.0, 88.9)], ids=["ra0", "wrap", "pole"])
def sky(request: pytest.FixtureRequest) -> Sky:
    return make_sky(*request.param)


@pytest.fixture
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Butler]:
    """Make a repository with the dimensions of the sky, and its objects."""
    sky: Sky = request.getfixturevalue("sky") if "sky" in request.fixturenames else make_sky(0.0, 0.0)
    yield from repository(tmp_path / "repo with spaces", sky)


def repository(root: Path, sky: Sky) -> Iterator[Butler]:
    Butler.makeRepo(str(root))
    with Butler.from_config(str(root), writeable=True, run="inputs") as butler:
        table = sky.table
        middle = SkyCoord(table["coord_ra"] * u.deg, table["coord_dec"] * u.deg).cartesian.mean()
        centre = SkyCoord(middle).icrs
        centre = SkyCoord(centre.ra, centre.dec)
        registry = butler.registry
        registry.insertDimensionData(
            "skymap",
            {"name": SKYMAP, "hash": b"0" * 20, "tract_max": 2, "patch_nx_max": 3, "patch_ny_max": 3},
        )
        half = GRID * SIDE * 1.3
        for tract in sky.objects:
            region = polygon(centre, (-half, half), (-half, half))
            registry.insertDimensionData("tract", {"skymap": SKYMAP, "id": tract, "region": region})
            for patch in range(GRID**2):
                registry.insertDimensionData(
                    "patch",
                    {
                        "skymap": SKYMAP,
                        "tract": tract,
                        "id": patch,
                        "cell_x": patch % GRID,
                        "cell_y": patch // GRID,
                        "region": region,
                    },
                )
        for name, storage, dimensions in (
            ("object", "ArrowAstropy", ("skymap", "tract")),
            ("object_morphology_patch", "ArrowTable", ("skymap", "tract", "patch")),
        ):
            registry.registerDatasetType(DatasetType(name, dimensions, storage, universe=butler.dimensions))
        for tract, objects in sky.objects.items():
            butler.put(objects, "object", skymap=SKYMAP, tract=tract)
        yield butler


def put_patches(
    butler: Butler, sky: Sky, *, skip: tuple[tuple[int, int], ...] = (), run: str = "patches"
) -> None:
    butler.collections.register(run)
    for tract, objects in sky.objects.items():
        for patch in range(GRID**2):
            if (tract, patch) not in skip:
                table = rows(objects[objects["patch"] == patch])
                butler.put(table, "object_morphology_patch", skymap=SKYMAP, tract=tract, patch=patch, run=run)


def partition(butler: Butler, output: str, *, where: str = "", **config: object) -> list[pa.Table]:
    """Run the task as pipetask would, and return its tables."""
    pipeline = Pipeline("partition")
    pipeline.addTask(PartitionMorphologyTask, "partitionMorphologyHpx5")
    for name, value in {"doEmbeddings": False, **config}.items():
        pipeline.addConfigOverride("partitionMorphologyHpx5", name, value)
    root = str(butler.get_datastore_roots()[butler.get_datastore_names()[0]])
    with SimplePipelineExecutor.prep_butler(root, inputs=["patches", "inputs"], output=output) as working:
        executor = SimplePipelineExecutor.from_pipeline(
            pipeline, where=where or f"skymap='{SKYMAP}'", butler=working
        )
        executor.run(register_dataset_types=True, save_versions=False)
    order = config.get("healpixOrder", 5)
    result = Butler.from_config(butler=butler, collections=output)
    refs = result.query_datasets(f"object_morphology_hpx{order}", explain=False)
    tables = []
    for ref in refs:
        table = result.get(ref)
        pixels = healpy.ang2pix(
            2**order, table["coord_ra"].to_numpy(), table["coord_dec"].to_numpy(), nest=True, lonlat=True
        )
        assert np.all(pixels == ref.dataId[f"healpix{order}"])
        tables.append(table)
    return tables


def ids(tables: list[pa.Table]) -> list[int]:
    return sorted(np.concatenate([table["objectId"].to_numpy() for table in tables]).tolist())


def test_each_object_exactly_once(repo: Butler, sky: Sky) -> None:
    put_patches(repo, sky)
    tables = partition(repo, "out")
    assert len(tables) > 1
    assert ids(tables) == sorted(sky.table["objectId"].tolist())


def test_other_order(repo: Butler, sky: Sky) -> None:
    put_patches(repo, sky)
    assert ids(partition(repo, "out", healpixOrder=3)) == sorted(sky.table["objectId"].tolist())


def missing_patch(sky: Sky) -> tuple[int, int]:
    return 1, int(sky.objects[1]["patch"][0])


def test_missing_patch_is_refused_by_name(repo: Butler, sky: Sky) -> None:
    tract, patch = missing_patch(sky)
    put_patches(repo, sky, skip=((tract, patch),))
    with pytest.raises(Exception, match=f"{tract}:{patch}") as info:
        partition(repo, "out")
    assert root_cause(info.value, IncompleteInputError)


def test_missing_patch_is_seen_under_any_constraint(repo: Butler, sky: Sky) -> None:
    """A query for one patch must not pass for the whole sky."""
    put_patches(repo, sky)
    with pytest.raises(Exception, match="object_morphology_patch") as info:
        partition(repo, "out", where=f"skymap='{SKYMAP}' AND tract=0 AND patch=4")
    assert root_cause(info.value, IncompleteInputError)


def test_known_missing_goes_on_and_mending_gathers_all(repo: Butler, sky: Sky) -> None:
    tract, patch = missing_patch(sky)
    put_patches(repo, sky, skip=((tract, patch),))
    absent = sky.objects[tract]["patch"] == patch
    rest = sorted(set(sky.table["objectId"]) - set(sky.objects[tract]["objectId"][absent]))
    assert ids(partition(repo, "known", knownMissing=[f"{tract}:{patch}"])) == rest
    assert ids(partition(repo, "allowed", allowIncomplete=True)) == rest
    butler = Butler.from_config(butler=repo, collections="allowed")
    recorded = [
        butler.get(ref)["partitionMorphologyHpx5"].get("missing_tables", None)
        for ref in butler.query_datasets("partitionMorphologyHpx5_metadata")
    ]
    assert f"{tract}:{patch}" in [entry for entry in recorded if entry]

    put_patches(repo, sky, skip=tuple((t, p) for t in (0, 1) for p in range(9) if (t, p) != (tract, patch)))
    assert ids(partition(repo, "mended")) == sorted(sky.table["objectId"])


def test_repeated_object_is_refused(repo: Butler, sky: Sky) -> None:
    twin = sky.objects[0][:1].copy()
    twin["patch"] = (int(twin["patch"][0]) + 1) % GRID**2
    sky.objects[0] = Table(np.concatenate([sky.objects[0].as_array(), twin.as_array()]))
    put_patches(repo, sky)
    with pytest.raises(Exception, match="objectId"):
        partition(repo, "out")


def test_mixed_models_are_refused(repo: Butler, sky: Sky) -> None:
    put_patches(repo, sky, skip=((0, 4),))
    table = rows(sky.objects[0][sky.objects[0]["patch"] == 4], model="m2")
    repo.put(table, "object_morphology_patch", skymap=SKYMAP, tract=0, patch=4, run="patches")
    with pytest.raises(Exception, match="several models"):
        partition(repo, "out")


def test_known_missing_is_checked() -> None:
    config = PartitionMorphologyTask.ConfigClass()
    config.knownMissing = ["9813/42"]
    with pytest.raises((FieldValidationError, ValueError), match="tract:patch"):
        config.validate()


def root_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind) or kind.__name__ in repr(error):
            return True
        error = error.__cause__ or error.__context__
    return False
