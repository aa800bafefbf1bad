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

"""Tables of labels: CSV, ECSV or Parquet files that people bring."""

from __future__ import annotations

__all__ = ("DEC_COLUMNS", "ID_COLUMNS", "RA_COLUMNS", "LabelTable")

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import LabelError, MissingColumnError

ID_COLUMNS = ("objectId", "object_id")
"""Names under which a table's object ids are looked for."""

RA_COLUMNS = ("coord_ra", "ra")
"""Names under which right ascensions (degrees) are looked for."""

DEC_COLUMNS = ("coord_dec", "dec")
"""Names under which declinations (degrees) are looked for."""


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """A table with one labelled object in each row."""

    source: str
    """Where the table comes from, for messages."""

    columns: Mapping[str, np.ma.MaskedArray[Any, Any]]
    """Columns by name, each of shape ``[n]``, masked where there is no
    value: numbers, booleans, or text as objects."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file.

        Parameters
        ----------
        path
            A file that ends in ``.csv``, ``.ecsv``, ``.parquet`` or
            ``.parq``.

        Raises
        ------
        LabelError
            Raised if the file can't be read or holds no rows.
        """
        path = Path(path)
        try:
            table = _read(path)
        except FileNotFoundError:
            raise
        except LabelError:
            raise
        except Exception as error:
            # Readers tell of bad files by any of a dozen exceptions.
            raise LabelError(f"{path} can't be read as a table of labels: {error}") from error
        return cls.of(table, source=str(path))

    @classmethod
    def of(cls, table: Any, *, source: str = "table of labels") -> Self:
        """Take labels from a table in memory.

        Parameters
        ----------
        table
            An Arrow or astropy table, or a mapping from names to arrays.
        source
            What messages call it.

        Raises
        ------
        LabelError
            Raised if it holds no rows, or columns of different lengths.
        """
        if isinstance(table, pa.Table):
            columns = {name: _from_arrow(table.column(name)) for name in table.column_names}
        else:
            names = getattr(table, "colnames", None) or list(table)
            columns = {name: _masked(np.ma.asarray(table[name])) for name in names}
        lengths = {len(column) for column in columns.values()}
        if lengths in (set(), {0}):
            raise LabelError(f"{source} holds no rows.")
        if len(lengths) > 1:
            raise LabelError(f"{source} has columns of different lengths: {sorted(lengths)}.")
        return cls(source, columns)

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows that an index array or a mask selects."""
        return dataclasses.replace(self, columns={name: c[rows] for name, c in self.columns.items()})

    def column(self, name: str) -> np.ma.MaskedArray[Any, Any]:
        """Return a column.

        Raises
        ------
        MissingColumnError
            Raised if there is none of this name.
        """
        if name not in self.columns:
            raise MissingColumnError(
                f"{self.source} has no column {name!r}; it has {', '.join(self.columns)}."
            )
        return self.columns[name]

    def find(self, names: tuple[str, ...]) -> np.ma.MaskedArray[Any, Any] | None:
        """Return the first column that has one of some names."""
        return next((self.columns[name] for name in names if name in self.columns), None)


def _read(path: Path) -> Any:
    """Read a file in the format that its ending says."""
    match path.suffix.lower():
        case ".csv":
            import pyarrow.csv

            return pyarrow.csv.read_csv(path)
        case ".parquet" | ".parq" | ".pq":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path)
        case ".ecsv":
            from astropy.table import Table

            return Table.read(path, format="ascii.ecsv")
    raise LabelError(f"{path} has none of the endings .csv, .ecsv, .parquet and .parq.")


def _from_arrow(column: pa.ChunkedArray) -> np.ma.MaskedArray[Any, Any]:
    """Return a column without making numbers of ids inexact."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    mask = column.is_null().to_numpy()
    if column.null_count and pa.types.is_integer(column.type):
        column = column.fill_null(0)
    elif column.null_count and pa.types.is_boolean(column.type):
        column = column.fill_null(False)
    return _masked(np.ma.MaskedArray(column.to_numpy(), mask=mask))


def _masked(column: np.ma.MaskedArray[Any, Any]) -> np.ma.MaskedArray[Any, Any]:
    """Mask what means that there is no value: NaN and empty text."""
    if column.dtype.kind == "f":
        return np.ma.masked_invalid(column)
    if column.dtype.kind in "OUS":
        mask = np.ma.getmaskarray(column).copy()
        values = np.array([_text(value) for value in np.ma.getdata(column)], dtype=object)
        mask |= np.array([not value for value in values], dtype=np.bool_)
        return np.ma.MaskedArray(values, mask=mask)
    return column


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return "" if value is None or value != value else str(value).strip()
