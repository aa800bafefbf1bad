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

"""From measurements to Arrow tables."""

from __future__ import annotations

__all__ = ("arrow_table", "embedding_table", "for_all", "morphology_table")

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..flags import Flag, flag_columns
from ..posteriors import Posteriors
from ..questions.tree import QuestionTree
from .column import Column
from .columns import NOVELTY_COLUMN, arrow_schema, embedding_columns, morphology_columns

_ANSWER_SUFFIXES = {
    "fraction": "fraction",
    "fractionLow": "fraction_low",
    "fractionHigh": "fraction_high",
    "concentration": "concentration",
}
_QUESTION_SUFFIXES = {"asked": "asked", "entropy": "entropy", "mutualInfo": "mutual_info"}


def morphology_table(
    *,
    tree: QuestionTree,
    object_id: npt.ArrayLike,
    tract: npt.ArrayLike,
    patch: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    radius: npt.ArrayLike,
    arcsec_per_px: npt.ArrayLike,
    flags: npt.NDArray[np.uint32],
    posteriors: Posteriors | None,
    model_id: str,
    novelty: npt.NDArray[np.floating] | None = None,
) -> pa.Table:
    """Return a table of vote posteriors, one row per object.

    Parameters
    ----------
    tree
        The questions that the model answers.
    object_id
        Ids of the objects, ``[n]``.
    tract, patch
        Ids of their tract and patch, ``[n]`` or one for all.
    ra, dec
        Their ICRS positions (degrees), ``[n]``; NaN where unknown.
    radius
        Their radii (arcsec), ``[n]``.
    arcsec_per_px
        Pixel scales of their stamps, ``[n]``.
    flags
        Bits of `~lsst.meas.morphology.flags.Flag`, ``[n]``.
    posteriors
        What was measured, ``n`` rows; None if nothing was.
    model_id
        Id of the model.
    novelty
        How far each object is from the training objects, ``[n]``; None if
        the model can't tell.

    Returns
    -------
    table
        The columns of `~.columns.morphology_columns`, also where ``n`` is 0.
        All that `posteriors` and `novelty` hold is NaN where the flag
        ``GENERAL`` is set.

    Raises
    ------
    ValueError
        Raised if the lengths differ or the posteriors do not fit the tree.
    """
    object_id = np.asarray(object_id, dtype=np.int64)
    flags = np.asarray(flags, dtype=np.uint32)
    failed = (flags & np.uint32(Flag.GENERAL)) != 0
    values: dict[str, npt.NDArray[Any]] = {
        "objectId": object_id,
        "tract": for_all(tract, np.int64, object_id),
        "patch": for_all(patch, np.int64, object_id),
        "coord_ra": np.asarray(ra, dtype=np.float64),
        "coord_dec": np.asarray(dec, dtype=np.float64),
        "radius": np.asarray(radius, dtype=np.float32),
        "arcsecPerPixel": np.asarray(arcsec_per_px, dtype=np.float32),
        **flag_columns(flags),
        NOVELTY_COLUMN.name: _novelty(novelty, failed),
        **dict(_measured(tree, posteriors, failed)),
    }
    metadata = {"lsst.meas.morphology.tree": tree.name, "lsst.meas.morphology.modelId": model_id}
    return arrow_table(morphology_columns(tree), values, len(object_id), model_id, metadata)


def embedding_table(
    *,
    object_id: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    embedding: npt.NDArray[np.floating],
    model_id: str,
) -> pa.Table:
    """Return a table of embeddings, one row per object.

    Parameters
    ----------
    object_id
        Ids of the objects, ``[n]``.
    ra, dec
        Their ICRS positions (degrees), ``[n]``; NaN where unknown.
    embedding
        The vectors, ``[n, feature]``; NaN where nothing was measured.
    model_id
        Id of the model.

    Returns
    -------
    table
        The columns of `~.columns.embedding_columns`, also where ``n`` is 0.
        Vectors are rounded to half precision; values beyond its range
        become its largest.

    Raises
    ------
    ValueError
        Raised if the lengths differ, or the vectors have no components.
    """
    object_id = np.asarray(object_id, dtype=np.int64)
    embedding = np.asarray(embedding)
    if embedding.ndim != 2 or embedding.shape[1] == 0:
        raise ValueError(f"Embeddings must have the shape [object, feature], not {embedding.shape}.")
    limit = float(np.finfo(np.float16).max)
    values: dict[str, npt.NDArray[Any]] = {
        "objectId": object_id,
        "coord_ra": np.asarray(ra, dtype=np.float64),
        "coord_dec": np.asarray(dec, dtype=np.float64),
        "embedding": np.clip(embedding, -limit, limit).astype(np.float16),
    }
    metadata = {"lsst.meas.morphology.modelId": model_id}
    return arrow_table(embedding_columns(embedding.shape[1]), values, len(object_id), model_id, metadata)


def for_all(value: npt.ArrayLike, dtype: type, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array for a value that may be one for all objects.

    Parameters
    ----------
    value
        One value, or one for each object.
    dtype
        Type of the array.
    like
        Array with a value for each object.
    """
    array: npt.NDArray[Any] = np.asarray(value, dtype=dtype)
    return np.full(like.shape, array) if array.ndim == 0 else array


def _novelty(
    given: npt.NDArray[np.floating] | None, failed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Return the column of novelty, NaN where objects have failed."""
    if given is None:
        return np.full(len(failed), np.nan, np.float32)
    if given.shape != failed.shape:
        raise ValueError(f"The novelty has the shape {given.shape} for {len(failed)} objects.")
    return np.where(failed, np.float32(np.nan), given.astype(np.float32))


def _measured(
    tree: QuestionTree, posteriors: Posteriors | None, failed: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield name and values of each measured column."""
    questions = [question.name for question in tree.questions]
    for names, suffixes in ((tree.answer_columns, _ANSWER_SUFFIXES), (questions, _QUESTION_SUFFIXES)):
        for suffix, attribute in suffixes.items():
            given = None if posteriors is None else getattr(posteriors, attribute)
            yield from _split(names, suffix, given, failed)


def _split(
    names: Sequence[str], suffix: str, given: npt.NDArray[np.float32] | None, failed: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield the columns of one matrix, NaN where objects have failed."""
    shape = (len(failed), len(names))
    if given is not None and given.shape != shape:
        raise ValueError(f"The posteriors' {suffix} has the shape {given.shape}, expected {shape}.")
    columns = np.full(shape[::-1], np.nan, dtype=np.float32)
    if given is not None:
        columns[:, ~failed] = given[~failed].T
    for name, column in zip(names, columns, strict=True):
        yield f"{name}_{suffix}", column


def arrow_table(
    columns: Sequence[Column],
    values: Mapping[str, npt.NDArray[Any]],
    rows: int,
    model_id: str,
    metadata: Mapping[str, str],
) -> pa.Table:
    """Put values into the order and the types of the columns.

    Parameters
    ----------
    columns
        The columns.
    values
        Values by name; the model's id is not needed.
    rows
        Number of rows.
    model_id
        Id of the model.
    metadata
        Keys and values for the table as a whole.

    Returns
    -------
    table
        The table.

    Raises
    ------
    ValueError
        Raised if a column has not as many values as there are rows.
    """
    arrays = []
    for column in columns:
        if column.name == "modelId":
            indices = pa.array(np.zeros(rows, dtype=np.int32))
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array([model_id], pa.string())))
            continue
        array: npt.NDArray[Any] = values[column.name]
        if len(array) != rows:
            raise ValueError(f"{column.name} has {len(array)} values for {rows} objects.")
        if column.length is not None:
            flat = pa.array(np.ascontiguousarray(array).reshape(-1))
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=column.arrow_type))
        else:
            arrays.append(pa.array(array, column.arrow_type))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(columns, metadata))
