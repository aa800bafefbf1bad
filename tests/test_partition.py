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

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import healpy
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lsst.meas.morphology.errors import MissingColumnError, ModelMismatchError, PartitionError
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.tables.assemble import embedding_table, morphology_table
from lsst.meas.morphology.tables.columns import arrow_schema, morphology_columns, partition_columns
from lsst.meas.morphology.tables.partition import gather

TREE = QuestionTree.load("gz2")
ORDER = 5


def table(
    object_id: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    model_id: str = "m1",
    tree: QuestionTree = TREE,
) -> pa.Table:
    n = len(np.asarray(object_id))
    return morphology_table(
        tree=tree,
        object_id=object_id,
        tract=1,
        patch=2,
        ra=ra,
        dec=dec,
        radius=np.arange(n),
        arcsec_per_px=np.full(n, 0.2),
        flags=np.zeros(n, dtype=np.uint32),
        posteriors=None,
        model_id=model_id,
    )


def sky(n: int, seed: int = 1) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.0, 360.0, n), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))


def test_every_row_is_in_exactly_one_pixel() -> None:
    ra, dec = sky(2000)
    tables = [table(np.arange(i, 2000, 4), ra[i::4], dec[i::4]) for i in range(4)]
    found = []
    for pixel in range(12 * 4**1):
        part = gather_all(tables, pixel, 1)
        assert (healpy.ang2pix(2, *positions(part), nest=True, lonlat=True) == pixel).all()
        found.extend(part["objectId"].to_pylist())
    assert sorted(found) == list(range(2000))


def gather_all(tables: list[pa.Table], pixel: int, order: int) -> pa.Table:
    return gather(iter(tables), pixel=pixel, order=order)


def positions(part: pa.Table) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return part["coord_ra"].to_numpy(), part["coord_dec"].to_numpy()


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.0, 0.0), (359.999, 10.0), (-0.001, 10.0), (45.0, 90.0), (45.0, -89.99), (180.0, 41.81)]
)
def test_pixels_at_seams_and_poles(ra: float, dec: float) -> None:
    rng = np.random.default_rng(2)
    ras = ra + rng.uniform(-2.0, 2.0, 300)
    decs = np.clip(dec + rng.uniform(-2.0, 2.0, 300), -90.0, 90.0)
    tables = [table(np.arange(300), ras, decs)]
    expected = healpy.ang2pix(2**ORDER, ras, decs, nest=True, lonlat=True)
    total = 0
    for pixel in np.unique(expected):
        part = gather_all(tables, int(pixel), ORDER)
        assert sorted(part["objectId"].to_pylist()) == np.flatnonzero(expected == pixel).tolist()
        total += part.num_rows
    assert total == 300


def test_rows_are_sorted_and_whole() -> None:
    ra, dec = sky(3000)
    source = table(np.arange(3000)[::-1], ra, dec)
    part = gather_all([source.slice(0, 1000), source.slice(1000)], 3, 0)
    index = part["_healpix_29"].to_numpy()
    assert part.column_names == ["_healpix_29", *source.column_names]
    assert (np.diff(index) >= 0).all()
    assert (index >> 58 == 3).all()
    np.testing.assert_array_equal(index, healpy.ang2pix(2**29, *positions(part), nest=True, lonlat=True))
    rows = part["objectId"].to_numpy()
    given = ["tract", "patch", "coord_ra", "coord_dec", "radius", "morphology_flag", "modelId"]
    assert part.select(given).equals(source.take(pa.array(2999 - rows)).select(given))
    assert all(part[name].num_chunks == 1 for name in part.column_names)


def test_schema_is_the_generator_s() -> None:
    ra, dec = sky(50)
    expected = arrow_schema(partition_columns(morphology_columns(TREE)))
    source = table(np.arange(50), ra, dec)
    for part in (gather_all([source], 3, 0), gather_all([source.slice(0, 0)], 3, 0)):
        assert part.schema.equals(expected, check_metadata=False)
        assert part.schema.metadata == source.schema.metadata
        assert part.schema.field("coord_ra").metadata == expected.field("coord_ra").metadata


def test_ties_are_broken_by_object() -> None:
    part = gather_all([table([5, 3, 9, 1], [10.0] * 4, [10.0] * 4)], pixel_of(10.0, 10.0), ORDER)
    assert part["objectId"].to_pylist() == [1, 3, 5, 9]
    other = gather_all([table([9, 1], [10.0] * 2, [10.0] * 2), table([5, 3], [10.0] * 2, [10.0] * 2)],
                       pixel_of(10.0, 10.0), ORDER)  # fmt: skip
    assert other["objectId"].to_pylist() == [1, 3, 5, 9]


def pixel_of(ra: float, dec: float) -> int:
    return int(healpy.ang2pix(2**ORDER, ra, dec, nest=True, lonlat=True))


def test_rows_without_position_are_in_no_pixel() -> None:
    bad = table([1, 2, 3, 4, 5], [np.nan, 10.0, np.inf, 10.0, 10.0], [10.0, np.nan, 10.0, 91.0, 10.0])
    found = [gather_all([bad], pixel, 1)["objectId"].to_pylist() for pixel in range(48)]
    assert sum(found, []) == [5]


def test_repeated_objects_are_refused() -> None:
    ids = np.arange(20)
    one = table(ids, np.full(20, 10.0), np.full(20, 10.0))
    with pytest.raises(PartitionError, match=r"objectId 7\. Each must"):
        gather_all([one, one.slice(7, 1)], pixel_of(10.0, 10.0), ORDER)
    with pytest.raises(PartitionError, match=r"20 objects .* objectId 0, 1, 2, 3, 4 and 15 more"):
        gather_all([one, one], pixel_of(10.0, 10.0), ORDER)
    assert gather_all([one, one], pixel_of(200.0, 10.0), ORDER).num_rows == 0


def test_mixed_models_are_refused() -> None:
    one = table([1], [10.0], [10.0], "first")
    two = table([2, 3], [10.0, 10.0], [10.0, 10.0], "second")
    with pytest.raises(ModelMismatchError, match=r"'first' \(1 rows\); 'second' \(2 rows\)"):
        gather_all([one, two], pixel_of(10.0, 10.0), ORDER)
    with pytest.raises(ModelMismatchError, match="second"):
        gather_all([one, two], pixel_of(200.0, 10.0), ORDER)
    assert gather_all([one, two.slice(0, 0)], pixel_of(10.0, 10.0), ORDER).num_rows == 1


def test_different_dictionaries_are_unified(tmp_path: pathlib.Path) -> None:
    one, two = table([1], [10.0], [10.0]), table([2], [10.0], [10.0])
    spare = pa.DictionaryArray.from_arrays(pa.array([1], pa.int32()), pa.array(["other", "m1"]))
    position = two.column_names.index("modelId")
    two = two.set_column(position, two.schema.field("modelId"), spare)
    part = gather_all([one, two], pixel_of(10.0, 10.0), ORDER)
    assert part["modelId"].to_pylist() == ["m1", "m1"]
    assert part["modelId"].num_chunks == 1
    pq.write_table(part, tmp_path / "leaf.parquet")
    assert pq.read_table(tmp_path / "leaf.parquet").schema.equals(part.schema, check_metadata=True)


def test_different_columns_are_refused() -> None:
    one = table([1], [10.0], [10.0])
    with pytest.raises(
        PartitionError, match="Table 1 .* differs from the first in smoothOrFeatured_problem_fraction"
    ):
        gather_all([one, table([2], [10.0], [10.0], tree=QuestionTree.load("cosmic_dawn"))], 0, ORDER)
    with pytest.raises(PartitionError, match="order of its columns"):
        gather_all([one, one.select(one.column_names[::-1])], 0, ORDER)
    for name in ("objectId", "coord_ra", "coord_dec", "modelId"):
        with pytest.raises(MissingColumnError, match=f"Table 1 .* no column '{name}'"):
            gather_all([one, one.drop_columns([name])], 0, ORDER)


def test_no_tables() -> None:
    part = gather_all([], 0, ORDER)
    assert part.num_rows == 0
    assert part.column_names[0] == "_healpix_29"
    assert part.schema.metadata


@pytest.mark.parametrize(("pixel", "order"), [(-1, 5), (12, 0), (0, -1), (0, 30)])
def test_wrong_pixels_are_refused(pixel: int, order: int) -> None:
    with pytest.raises(ValueError, match="There is no HEALPix pixel"):
        gather_all([], pixel, order)


def test_embeddings_are_gathered_too() -> None:
    vectors = np.arange(12.0).reshape(6, 2)
    source = embedding_table(
        object_id=np.arange(6), ra=np.full(6, 10.0), dec=np.linspace(10.0, 10.1, 6)[::-1],
        embedding=vectors, model_id="m1",
    )  # fmt: skip
    part = gather_all([source.slice(0, 3), source.slice(3)], pixel_of(10.0, 10.0), ORDER)
    stored = np.array(part["embedding"].to_pylist())
    np.testing.assert_array_equal(stored, vectors[part["objectId"].to_numpy()])
    assert part.schema.field("embedding").type == source.schema.field("embedding").type


def test_tables_are_read_one_at_a_time() -> None:
    read = []

    def produce() -> Iterator[pa.Table]:
        for i in range(3):
            read.append(i)
            yield table([i], [10.0], [10.0])

    assert gather(produce(), pixel=pixel_of(10.0, 10.0), order=ORDER).num_rows == 3
    assert read == [0, 1, 2]
