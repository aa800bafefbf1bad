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

"""Tables of what a model says of image files."""

from __future__ import annotations

__all__ = ("TREE_KEY", "image_table")

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..flags import Flag
from ..posteriors import Posteriors
from ..questions.tree import QuestionTree
from .assemble import embedding_table, morphology_table

TREE_KEY = "lsst.meas.morphology.questions"
"""Key of a table's metadata that holds its question tree, as JSON."""

FLAG_COLUMN = "morphology_flag"
PROBLEM_COLUMN = "morphology_problem"

_OF_THE_SKY = ("objectId", "tract", "patch", "coord_ra", "coord_dec", "radius", "arcsecPerPixel", "modelId")


def image_table(
    *,
    names: Mapping[str, Sequence[str]],
    problems: Sequence[str | None],
    model_id: str,
    tree: QuestionTree | None = None,
    posteriors: Posteriors | None = None,
    values: Mapping[str, npt.NDArray[np.float32]] | None = None,
    embedding: npt.NDArray[np.float32] | None = None,
) -> pa.Table:
    """Return a table with one row per image.

    Parameters
    ----------
    names
        Columns of text that come first, such as ids and files, each ``[n]``.
    problems
        Why an image could not be read, ``[n]``; `None` where it could.
    model_id
        Id of the model.
    tree
        The questions that the model answers, if any.
    posteriors
        Its answers, ``n`` rows, which must be NaN for images that could not
        be read.
    values
        Other outputs, a column ``[n]`` each.
    embedding
        Feature vectors, ``[n, feature]``.

    Returns
    -------
    table
        The names; ``morphology_flag`` and ``morphology_problem``; the
        columns of questions and answers as in
        `~.columns.morphology_columns`; the other outputs; the embedding in
        half precision; and the model's id. The metadata hold the tree.

    Raises
    ------
    ValueError
        Raised if lengths differ.
    """
    rows = len(problems)
    columns: dict[str, Any] = {name: pa.array(column, pa.string()) for name, column in names.items()}
    columns[FLAG_COLUMN] = pa.array([problem is not None for problem in problems], pa.bool_())
    columns[PROBLEM_COLUMN] = pa.array(problems, pa.string())
    metadata = {"lsst.meas.morphology": "table", "lsst.meas.morphology.modelId": model_id}
    position = {"object_id": np.zeros(rows), "ra": np.full(rows, np.nan), "dec": np.full(rows, np.nan)}
    if tree is not None:
        flags = np.array([0 if problem is None else Flag.GENERAL for problem in problems], np.uint32)
        scale = {"radius": np.full(rows, np.nan), "arcsec_per_px": np.full(rows, np.nan)}
        votes = morphology_table(
            **position,
            **scale,
            tree=tree,
            tract=0,
            patch=0,
            flags=flags,
            posteriors=posteriors,
            model_id=model_id,
        )
        for name in votes.column_names:
            if name not in _OF_THE_SKY and not name.startswith("morphology_"):
                columns[name] = votes[name]
        metadata[TREE_KEY] = json.dumps(tree.to_dict())
    for name, value in (values or {}).items():
        columns[name] = pa.array(value, pa.float32())
    if embedding is not None:
        columns["embedding"] = embedding_table(**position, embedding=embedding, model_id=model_id)[
            "embedding"
        ]
    model = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([model_id]))
    return pa.table({**columns, "modelId": model}).replace_schema_metadata(metadata)
