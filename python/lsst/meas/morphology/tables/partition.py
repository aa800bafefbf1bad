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

"""From patch tables to one table per HEALPix pixel."""

from __future__ import annotations

__all__ = ("gather",)

import collections
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import MissingColumnError, ModelMismatchError, PartitionError
from ..sky import healpix_pixel, spatial_index
from .columns import HEALPIX_COLUMN, arrow_schema, embedding_columns

_REQUIRED = ("objectId", "coord_ra", "coord_dec", "modelId")
_SHOWN = 5


def gather(tables: Iterable[pa.Table], *, pixel: int, order: int) -> pa.Table:
    """Return the rows of all tables that lie in one HEALPix pixel.

    Parameters
    ----------
    tables
        Patch tables, each asked for when the one before has been reduced to
        its rows in the pixel. They need the columns ``objectId``,
        ``coord_ra``, ``coord_dec`` and ``modelId``.
    pixel, order
        The NESTED HEALPix pixel.

    Returns
    -------
    table
        The columns of the tables after the spatial index ``_healpix_29``,
        by which rows are sorted, and by ``objectId`` within its pixels.
        Each column is one chunk. Without any row in the pixel it has no
        rows; without any table, only the columns that are needed.

    Raises
    ------
    MissingColumnError
        Raised if a table lacks a column that is needed.
    ModelMismatchError
        Raised if rows come from several models, in or out of the pixel.
    PartitionError
        Raised if an object appears twice, or tables have different columns.
    ValueError
        Raised if there is no such pixel.

    Notes
    -----
    A row's pixel is what its position says, never whether a region
    overlaps. Rows without a finite position are in no pixel.
    """
    if not 0 <= order <= 29 or not 0 <= pixel < 12 * 4**order:
        raise ValueError(f"There is no HEALPix pixel {pixel} of order {order}.")
    parts: list[pa.Table] = []
    models: collections.Counter[str] = collections.Counter()
    for number, table in enumerate(tables):
        for name in _REQUIRED:
            if name not in table.column_names:
                raise MissingColumnError(f"Table {number} of those to be gathered has no column {name!r}.")
        if parts:
            _check_same_columns(table.schema, parts[0].schema, number)
        models.update(_models(table["modelId"]))
        ra, dec = _positions(table)
        inside = np.flatnonzero(healpix_pixel(order, ra, dec) == pixel)
        parts.append(table.take(pa.array(inside)))
    if len(models) > 1:
        listed = "; ".join(f"{model!r} ({rows} rows)" for model, rows in sorted(models.items()))
        raise ModelMismatchError(
            f"The tables to be gathered into HEALPix pixel {pixel} of order {order} come from several "
            f"models; modelId {listed}. Gather one run at a time, or measure all patches with one model."
        )
    if not parts:
        needed = [column for column in embedding_columns(1) if column.name in _REQUIRED]
        parts.append(arrow_schema(needed).empty_table())
    return _ordered(pa.concat_tables(parts), pixel=pixel, order=order)


def _ordered(table: pa.Table, *, pixel: int, order: int) -> pa.Table:
    """Add the spatial index, sort by it, and refuse repeated objects."""
    if HEALPIX_COLUMN.name in table.column_names:
        table = table.drop_columns([HEALPIX_COLUMN.name])
    object_id = table["objectId"].to_numpy()
    unique, counts = np.unique(object_id, return_counts=True)
    repeated = unique[counts > 1]
    if repeated.size:
        more = f" and {repeated.size - _SHOWN} more" if repeated.size > _SHOWN else ""
        raise PartitionError(
            f"{repeated.size} objects have several rows in HEALPix pixel {pixel} of order {order}: "
            f"objectId {', '.join(map(str, repeated[:_SHOWN]))}{more}. Each must be in one patch table only."
        )
    index = spatial_index(*_positions(table))
    table = table.add_column(0, HEALPIX_COLUMN.arrow_field(), pa.array(index))
    sorted_rows = np.lexsort((object_id, index))
    return table.unify_dictionaries().combine_chunks().take(pa.array(sorted_rows)).combine_chunks()


def _positions(table: pa.Table) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return right ascension and declination, NaN where null."""
    ra, dec = (
        np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
        for name in ("coord_ra", "coord_dec")
    )
    return ra, dec


def _models(column: pa.ChunkedArray) -> dict[str, int]:
    """Count rows by model."""
    return {
        str(item["values"]): int(item["counts"])
        for item in column.cast(pa.string()).value_counts().to_pylist()
    }


def _check_same_columns(schema: pa.Schema, first: pa.Schema, number: int) -> None:
    """Refuse tables that differ in names, types or order of columns."""
    if schema.equals(first, check_metadata=False):
        return
    ours, theirs = ({field.name: field for field in one} for one in (schema, first))
    different = [
        name
        for name in dict.fromkeys([*ours, *theirs])
        if name not in ours or name not in theirs or ours[name] != theirs[name]
    ]
    what = ", ".join(different[:_SHOWN]) if different else "the order of its columns"
    raise PartitionError(
        f"Table {number} of those to be gathered differs from the first in {what}. "
        "All must come from one version of this package and one question tree."
    )
