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

import dataclasses
import pathlib
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from felis.datamodel import Schema

from lsst.daf.butler import Butler, DatasetType
from lsst.meas.morphology.flags import FLAGS, Flag
from lsst.meas.morphology.posteriors import Posteriors, summarize
from lsst.meas.morphology.questions.tree import QuestionTree, available_trees
from lsst.meas.morphology.tables.assemble import embedding_table, morphology_table
from lsst.meas.morphology.tables.columns import (
    Column,
    arrow_schema,
    embedding_columns,
    felis,
    morphology_columns,
    partition_columns,
)

TREE = QuestionTree.load("rubin")
MODEL_ID = "0123456789abcdef" * 4
CHECKS = {
    "check_description": True,
    "check_redundant_datatypes": True,
    "check_tap_principal": True,
    "check_tap_table_indexes": True,
}


def posteriors(n: int) -> Posteriors:
    alpha = np.random.default_rng(n).uniform(1.0, 101.0, (n, 4, TREE.n_answers))
    return summarize(alpha, TREE)


def table(n: int, flags: npt.NDArray[np.uint32] | None = None, values: Posteriors | None = None) -> pa.Table:
    return morphology_table(
        tree=TREE,
        object_id=np.arange(n) + 10**17,
        tract=9813,
        patch=np.arange(n) % 4,
        ra=np.linspace(10.0, 11.0, n),
        dec=np.linspace(-1.0, 1.0, n),
        radius=np.full(n, 2.5),
        arcsec_per_px=np.full(n, 0.2),
        flags=np.zeros(n, dtype=np.uint32) if flags is None else flags,
        posteriors=values,
        model_id=MODEL_ID,
        novelty=None if values is None else np.linspace(0.5, 2.0, n),
    )


def test_column_names() -> None:
    names = [column.name for column in morphology_columns(TREE)]
    assert names[:7] == ["objectId", "tract", "patch", "coord_ra", "coord_dec", "radius", "arcsecPerPixel"]
    assert names[7 : 7 + len(FLAGS)] == [definition.column for definition in FLAGS]
    assert names[-1] == "modelId"
    for name in (
        "smoothOrFeatured_featuredOrDisk_fraction",
        "smoothOrFeatured_featuredOrDisk_fractionLow",
        "smoothOrFeatured_featuredOrDisk_fractionHigh",
        "artifact_ghost_concentration",
        "spiralArmCount_1_fraction",
        "merging_asked",
        "merging_entropy",
        "merging_mutualInfo",
    ):
        assert name in names
    assert names[7 + len(FLAGS)] == "morphology_outOfDistribution"
    assert len(names) == 8 + len(FLAGS) + 3 * TREE.n_questions + 4 * TREE.n_answers + 1


@pytest.mark.parametrize("name", available_trees())
def test_names_are_identifiers(name: str) -> None:
    names = [column.name for column in morphology_columns(QuestionTree.load(name))]
    assert len({column.lower() for column in names}) == len(names)
    for column in names:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", column)


def test_every_column_is_described() -> None:
    for column in (*partition_columns(morphology_columns(TREE)), *embedding_columns(64)):
        assert column.description.endswith(".")
        assert column.ucd
    units = {column.name: column.unit for column in morphology_columns(TREE) if column.unit}
    assert units == {
        "coord_ra": "deg",
        "coord_dec": "deg",
        "radius": "arcsec",
        "arcsecPerPixel": "arcsec/pixel",
    }


@pytest.mark.parametrize("name", available_trees())
def test_felis_accepts_the_schema(name: str) -> None:
    columns = morphology_columns(QuestionTree.load(name))
    schema = Schema.model_validate(felis(columns, table="Shapes"), context=CHECKS)
    assert schema.tables[0].name == "Shapes"
    assert schema.tables[0].primary_key == "#Shapes.objectId"
    assert [column.name for column in schema.tables[0].columns] == [column.name for column in columns]
    assert schema.tables[0].columns[3].ivoa_unit == "deg"
    assert not schema.tables[0].columns[0].nullable


def test_felis_accepts_embeddings_and_partitions() -> None:
    for columns in (embedding_columns(48), partition_columns(morphology_columns(TREE))):
        assert Schema.model_validate(felis(columns), context=CHECKS)


def test_arrow_schema_always_has_metadata() -> None:
    assert arrow_schema(()).metadata
    schema = arrow_schema([Column("x", "float32", "A number.", unit="deg")], {"key": "value"})
    assert schema.metadata[b"key"] == b"value"
    assert schema.field("x").metadata == {b"description": b"A number.", b"unit": b"deg"}


def test_values_stand_in_their_columns() -> None:
    values = posteriors(7)
    flags = np.zeros(7, dtype=np.uint32)
    flags[2] = Flag.EDGE | Flag.SHAPE
    result = table(7, flags, values)
    assert result.schema.equals(arrow_schema(morphology_columns(TREE)), check_metadata=False)
    assert result["objectId"].to_pylist() == list(range(10**17, 10**17 + 7))
    assert result["tract"].to_pylist() == [9813] * 7
    assert result["patch"].to_pylist() == [0, 1, 2, 3, 0, 1, 2]
    assert result["morphology_flag_edge"].to_pylist() == [False, False, True, False, False, False, False]
    assert result["morphology_flag_shape"].to_pylist()[2]
    assert result["modelId"].to_pylist() == [MODEL_ID] * 7
    for index, name in enumerate(TREE.answer_columns):
        for suffix, matrix in (
            ("fraction", values.fraction),
            ("fractionLow", values.fraction_low),
            ("fractionHigh", values.fraction_high),
            ("concentration", values.concentration),
        ):
            np.testing.assert_array_equal(result[f"{name}_{suffix}"].to_numpy(), matrix[:, index])
    for index, question in enumerate(TREE.questions):
        for suffix, matrix in (
            ("asked", values.asked),
            ("entropy", values.entropy),
            ("mutualInfo", values.mutual_info),
        ):
            np.testing.assert_array_equal(result[f"{question.name}_{suffix}"].to_numpy(), matrix[:, index])


def test_failed_objects_are_nan() -> None:
    flags = np.array([0, Flag.GENERAL | Flag.OFF_IMAGE, Flag.EDGE], dtype=np.uint32)
    result = table(3, flags, posteriors(3))
    for field in result.schema:
        missing = np.isnan(result[field.name].to_numpy()) if pa.types.is_floating(field.type) else np.zeros(3)
        measured = field.name.rsplit("_", 1)[-1] in (
            "fraction", "fractionLow", "fractionHigh", "concentration", "asked", "entropy", "mutualInfo"
        ) or field.name == "morphology_outOfDistribution"  # fmt: skip
        assert missing.tolist() == [False, measured, False], field.name
    assert sum(result[name].null_count for name in result.column_names) == 0


def test_without_posteriors_all_is_nan() -> None:
    result = table(2, np.full(2, Flag.GENERAL, dtype=np.uint32), None)
    assert np.isnan(result["bar_no_fraction"].to_numpy()).all()
    assert np.isnan(result["bar_asked"].to_numpy()).all()
    assert np.isnan(result["morphology_outOfDistribution"].to_numpy()).all()
    assert result["radius"].to_pylist() == [2.5, 2.5]


def test_no_objects() -> None:
    for values in (None, posteriors(0)):
        result = table(0, None, values)
        assert result.num_rows == 0
        assert result.schema.equals(table(2, None, posteriors(2)).schema, check_metadata=True)


def test_mismatches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fraction has the shape \(3, 46\), expected \(4, 46\)"):
        table(4, None, posteriors(3))
    with pytest.raises(ValueError, match="morphology_flag has 3 values for 4 objects"):
        table(4, np.zeros(3, dtype=np.uint32), None)
    values = posteriors(2)
    with pytest.raises(ValueError, match="asked has the shape"):
        table(2, None, dataclasses.replace(values, asked=values.asked[:, :5]))
    with pytest.raises(ValueError, match=r"\[object, feature\]"):
        embeddings(np.zeros(4))
    with pytest.raises(ValueError, match=r"\[object, feature\]"):
        embeddings(np.zeros((4, 0)))


def embeddings(vectors: npt.NDArray[np.floating]) -> pa.Table:
    n = len(vectors)
    return embedding_table(
        object_id=np.arange(n), ra=np.zeros(n), dec=np.zeros(n), embedding=vectors, model_id=MODEL_ID
    )


def test_embeddings() -> None:
    vectors = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    vectors[1] = np.nan
    vectors[2, 3] = 1e9
    result = embeddings(vectors)
    assert result.column_names == ["objectId", "coord_ra", "coord_dec", "embedding", "modelId"]
    assert result.schema.field("embedding").type.list_size == 16
    stored = np.array(result["embedding"].to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(stored[[0, 3, 4]], vectors[[0, 3, 4]], rtol=1e-3, atol=1e-6)
    assert np.isnan(stored[1]).all()
    assert stored[2, 3] == np.float32(65504.0)
    assert embeddings(vectors[:0]).schema.equals(result.schema, check_metadata=True)


def test_parquet_keeps_everything(tmp_path: pathlib.Path) -> None:
    for name, written in (("m", table(5, None, posteriors(5))), ("e", embeddings(np.ones((5, 8))))):
        pq.write_table(written, tmp_path / name)
        read = pq.read_table(tmp_path / name)
        assert read.schema.equals(written.schema, check_metadata=True)
        assert read.equals(written)


def test_butler_reads_units_and_counts(tmp_path: pathlib.Path) -> None:
    Butler.makeRepo(str(tmp_path / "repo"))
    with Butler.from_config(str(tmp_path / "repo"), writeable=True, run="run") as butler:
        for name, written in (
            ("m", table(5, None, posteriors(5))),
            ("none", table(0)),
            ("e", embeddings(np.ones((5, 8)))),
        ):
            butler.registry.registerDatasetType(
                DatasetType(name, (), "ArrowTable", universe=butler.dimensions)
            )
            ref = butler.put(written, name)
            assert butler.get(ref.makeComponentRef("rowcount")) == written.num_rows
            assert list(butler.get(ref.makeComponentRef("columns"))) == written.column_names
            assert butler.get(ref).schema.equals(written.schema, check_metadata=False)
        astropy = butler.get("m", storageClass="ArrowAstropy")
        assert str(astropy["radius"].unit) == "arcsec"
        assert str(astropy["coord_ra"].unit) == "deg"
        assert astropy["merging_entropy"].description.startswith("Entropy (nats)")
        assert list(astropy["modelId"]) == [MODEL_ID] * 5
        part = butler.get("m", parameters={"columns": ["objectId", "merging_*"]})
        assert part.num_columns == 1 + 3 + 16


def test_page_names_every_column() -> None:
    page = pathlib.Path(__file__).parents[1] / "doc" / "lsst.meas.morphology" / "tables.rst"
    text = page.read_text()
    fixed = [
        c.name for c in partition_columns(morphology_columns(TREE)) if c.name.split("_")[0] not in TREE.slices
    ]
    for name in fixed:
        assert f"``{name}``" in text, name
    for suffix in ("asked", "entropy", "mutualInfo"):
        assert f"``<question>_{suffix}``" in text
    for suffix in ("fraction", "fractionLow", "fractionHigh", "concentration"):
        assert f"``..._{suffix}``" in text
    for definition in FLAGS:
        row = next(line for line in text.splitlines() if line.startswith(f"``{definition.column}``  "))
        assert row.split("``")[2].strip()
    assert f"{len(morphology_columns(TREE))} columns" in text
