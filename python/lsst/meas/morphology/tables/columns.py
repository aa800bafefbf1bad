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

"""The columns of this package's tables, all made by one generator."""

from __future__ import annotations

__all__ = (
    "HEALPIX_COLUMN",
    "MODEL_ID_COLUMN",
    "NOVELTY_COLUMN",
    "STAMP_COLUMNS",
    "Column",
    "arrow_schema",
    "embedding_columns",
    "felis",
    "morphology_columns",
    "partition_columns",
)

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from ..flags import FLAGS
from ..questions.tree import Question, QuestionTree
from ..sky import SPATIAL_INDEX_ORDER
from .column import Column

HEALPIX_COLUMN = Column(
    f"_healpix_{SPATIAL_INDEX_ORDER}",
    "int64",
    f"HEALPix pixel of order {SPATIAL_INDEX_ORDER}, NESTED, by which the table is sorted.",
    ucd="pos.healpix",
    nullable=False,
)
"""The spatial index of HATS catalogues."""

_OBJECT_ID = Column(
    "objectId",
    "int64",
    "Unique id of the object, as in the object table.",
    ucd="meta.id;src;meta.main",
    nullable=False,
    principal=True,
)
_POSITION = (
    Column(
        "coord_ra", "float64", "Right ascension, ICRS.", unit="deg", ucd="pos.eq.ra;meta.main", principal=True
    ),
    Column(
        "coord_dec", "float64", "Declination, ICRS.", unit="deg", ucd="pos.eq.dec;meta.main", principal=True
    ),
)
NOVELTY_COLUMN = Column(
    "morphology_outOfDistribution",
    "float32",
    "How far the object is from those that the model was trained on, about 1 for those; NaN if the model "
    "can't tell.",
    ucd="stat.value;src.morph",
)
"""How unlike the training objects an object is."""

MODEL_ID_COLUMN = Column(
    "modelId",
    "string",
    "Id of the model that was used: the sha256 of its manifest.",
    ucd="meta.version;meta.software",
    nullable=False,
)
"""What measured a row."""

STAMP_COLUMNS = (
    _OBJECT_ID,
    Column("tract", "int64", "Id of the tract that the object belongs to.", ucd="meta.id", nullable=False),
    Column("patch", "int64", "Id of the patch that the object belongs to.", ucd="meta.id", nullable=False),
    *_POSITION,
    Column(
        "radius",
        "float32",
        "Radius of the object that sets the field of view of its stamp.",
        unit="arcsec",
        ucd="phys.angSize;src",
    ),
    Column(
        "arcsecPerPixel",
        "float32",
        "Pixel scale of the stamp shown to the model.",
        unit="arcsec/pixel",
        ucd="instr.scale;instr.pixel",
    ),
)
"""What every row of a measured object begins with."""


def morphology_columns(tree: QuestionTree) -> tuple[Column, ...]:
    """Return the columns of a table of vote posteriors.

    Parameters
    ----------
    tree
        The questions that the model answers.

    Returns
    -------
    columns
        Ids, position, stamp, flags and novelty; then by question how likely
        it is asked, entropy and mutual information, and by answer the vote
        fraction, its interval and its concentration; the model's id.
    """
    columns = [
        *STAMP_COLUMNS,
    ]
    for definition in FLAGS:
        columns.append(
            Column(definition.column, "bool", definition.description, ucd="meta.code.error", nullable=False)
        )
    columns.append(NOVELTY_COLUMN)
    for question in tree.questions:
        columns.extend(_question_columns(question, principal=not question.parents))
    return (*columns, MODEL_ID_COLUMN)


def _question_columns(question: Question, *, principal: bool) -> list[Column]:
    """Return the columns of one question."""
    name, label = question.name, question.label
    columns = [
        Column(
            f"{name}_asked",
            "float32",
            f"Probability that a volunteer is asked the question {label}.",
            ucd="stat.probability;src.morph",
        ),
        Column(
            f"{name}_entropy",
            "float32",
            f"Entropy (nats) of the expected vote fractions of {label}.",
            ucd="stat.value;src.morph",
        ),
        Column(
            f"{name}_mutualInfo",
            "float32",
            f"Mutual information (nats) between the votes of five volunteers on {label} and the model's "
            "weights.",
            ucd="stat.value;src.morph",
        ),
    ]
    for answer, answer_label in zip(question.answers, question.answer_labels, strict=True):
        what = f"{answer_label} to the question {label}"
        for suffix, text, ucd in (
            ("fraction", f"Expected fraction of volunteers answering {what}.", "src.morph;stat.mean"),
            (
                "fractionLow",
                f"Lower edge of the central 90% interval of the fraction answering {what}.",
                "src.morph;stat.min",
            ),
            (
                "fractionHigh",
                f"Upper edge of the central 90% interval of the fraction answering {what}.",
                "src.morph;stat.max",
            ),
            ("concentration", f"Dirichlet concentration of the answer {what}.", "stat.param;src.morph"),
        ):
            columns.append(
                Column(
                    f"{name}_{answer}_{suffix}",
                    "float32",
                    text,
                    ucd=ucd,
                    principal=principal and suffix == "fraction",
                )
            )
    return columns


def embedding_columns(features: int) -> tuple[Column, ...]:
    """Return the columns of a table of embeddings.

    Parameters
    ----------
    features
        Length of the vectors.

    Returns
    -------
    columns
        Id, position, the vector, the model's id.
    """
    return (
        _OBJECT_ID,
        *_POSITION,
        Column(
            "embedding",
            f"float16[{features}]",
            "Vector by which the model describes the object; similar objects have similar vectors.",
            ucd="src.morph.param",
            principal=True,
        ),
        MODEL_ID_COLUMN,
    )


def partition_columns(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns of the partitioned form of a table.

    Parameters
    ----------
    columns
        Columns of the patch tables.

    Returns
    -------
    columns
        The same after the spatial index.
    """
    return (HEALPIX_COLUMN, *columns)


def arrow_schema(columns: Iterable[Column], metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Return the Arrow schema of columns.

    Parameters
    ----------
    columns
        The columns.
    metadata
        Keys and values for the table as a whole.

    Returns
    -------
    schema
        The schema. It always has some metadata, because the Butler cannot
        count the rows of Parquet files without.
    """
    return pa.schema(
        [column.arrow_field() for column in columns],
        metadata={"lsst.meas.morphology": "table", **(metadata or {})},
    )


def felis(
    columns: Iterable[Column],
    *,
    table: str = "ObjectMorphology",
    description: str = "What volunteers would say of each resolved galaxy, as predicted by a neural network.",
    schema: str = "meas_morphology",
    version: str = "1.0.0",
    table_index: int = 1,
) -> dict[str, Any]:
    """Return a Felis schema with one table.

    Parameters
    ----------
    columns
        The columns; one must be ``objectId``.
    table, description
        Name and description of the table.
    schema, version
        Name and version of the schema.
    table_index
        The table's place in a list of tables.

    Returns
    -------
    data
        Plain data, fit for YAML, that ``felis validate`` accepts with its
        checks of descriptions, principal columns and table indices.
    """
    described = []
    for index, column in enumerate(columns, start=1):
        described.append({**column.felis(table), "tap:column_index": index})
    return {
        "name": schema,
        "@id": f"#{schema}",
        "description": "Morphology of resolved galaxies.",
        "version": {"current": version},
        "tables": [
            {
                "name": table,
                "@id": f"#{table}",
                "description": description,
                "tap:table_index": table_index,
                "primaryKey": f"#{table}.objectId",
                "columns": described,
            }
        ],
    }
