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

"""Catalogues of image files: ids and places, read piece by piece."""

from __future__ import annotations

__all__ = ("CatalogRows", "ImageCatalog")

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import ImageReadError, MissingColumnError

_CSV, _PARQUET, _ECSV = (".csv",), (".parquet", ".pq", ".parq"), (".ecsv",)
_PIECE_BYTES = 1 << 20
_PIECE_ROWS = 1 << 14


@dataclasses.dataclass(frozen=True)
class CatalogRows:
    """Some rows of a catalogue, in its order."""

    ids: tuple[str, ...]
    """Ids of the images, as they are written in the catalogue."""

    files: tuple[str, ...]
    """Places of the images, as they are written in the catalogue; empty
    where there is none."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class ImageCatalog:
    """A CSV, ECSV or Parquet file that lists images, such as Zoobot's."""

    path: Path
    """The file; its ending says the format."""

    id_column: str = "id_str"
    """Name of the column of ids. They are text: ``007`` stays ``007``."""

    file_column: str = "file_loc"
    """Name of the column of image files."""

    folder: Path | None = None
    """Where relative places of images start; by default the catalogue's
    own folder."""

    def count(self) -> int | None:
        """Return the number of images, `None` if that takes reading all.

        Returns
        -------
        count
            The number. Lines are counted in CSV, so it can be too large
            if a field holds a line break.

        Raises
        ------
        ImageReadError
            Raised if the catalogue can't be read.
        """
        if self._format() in _PARQUET:
            import pyarrow.parquet

            with self._reading():
                return int(pyarrow.parquet.read_metadata(self.path).num_rows)
        if self._format() in _CSV:
            with self._reading(), self.path.open("rb") as file:
                pieces = iter(lambda: file.read(_PIECE_BYTES), b"")
                lines, last = 0, b"\n"
                for piece in pieces:
                    lines, last = lines + piece.count(b"\n"), piece[-1:]
            return max(lines - (last == b"\n"), 0)
        return None

    def rows(self) -> Iterator[CatalogRows]:
        """Yield the rows, some at a time.

        Yields
        ------
        rows
            At least one piece, which may be empty.

        Raises
        ------
        ImageReadError
            Raised if the catalogue can't be read, or a row has no id.
        MissingColumnError
            Raised if it lacks a column that is needed.
        """
        start = 0
        for piece in self._pieces():
            ids = piece.column(0).to_pylist()
            missing = [start + n for n, one in enumerate(ids) if one is None or one == ""]
            if missing:
                raise ImageReadError(
                    f"{self.path}: row {missing[0] + 1} has no {self.id_column}; each image needs an id."
                )
            files = [one or "" for one in piece.column(1).to_pylist()]
            start += len(ids)
            yield CatalogRows(tuple(ids), tuple(files))

    def locate(self, file: str) -> Path:
        """Return the path of an image from its place in the catalogue.

        Parameters
        ----------
        file
            Absolute, or relative to `folder`.
        """
        return (self.path.parent if self.folder is None else self.folder) / (file or "(no file given)")

    def _format(self) -> str:
        suffix = self.path.suffix.lower()
        if suffix not in (*_CSV, *_PARQUET, *_ECSV):
            raise ImageReadError(f"{self.path}: a catalogue ends in .csv, .ecsv or .parquet, not {suffix!r}.")
        return suffix

    def _pieces(self) -> Iterator[pa.Table]:
        """Yield tables of two columns of text: ids and files."""
        readers = {_CSV: self._read_csv, _PARQUET: self._read_parquet, _ECSV: self._read_ecsv}
        reader = next(reader for suffixes, reader in readers.items() if self._format() in suffixes)
        with self._reading():
            yield from reader()

    def _read_csv(self) -> Iterator[pa.Table]:
        from pyarrow import csv

        with self.path.open("rb") as file:
            self._check(_header(file.readline()))
        names = [self.id_column, self.file_column]
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=names, strings_can_be_null=False
        )
        blocks = csv.ReadOptions(block_size=_PIECE_BYTES)
        parsing = csv.ParseOptions(newlines_in_values=True)
        with csv.open_csv(
            self.path, read_options=blocks, parse_options=parsing, convert_options=options
        ) as r:
            yield pa.table({name: pa.array([], pa.string()) for name in names})
            for batch in r:
                yield pa.Table.from_batches([batch])

    def _read_parquet(self) -> Iterator[pa.Table]:
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(self.path) as file:
            self._check(file.schema_arrow.names)
            names = [self.id_column, self.file_column]
            yield pa.table({name: pa.array([], pa.string()) for name in names})
            for batch in file.iter_batches(_PIECE_ROWS, columns=names):
                yield pa.table({name: _as_text(batch.column(name)) for name in names})

    def _read_ecsv(self) -> Iterator[pa.Table]:
        from astropy.table import Table

        table = Table.read(self.path, format="ascii.ecsv")
        self._check(table.colnames)
        yield pa.table(
            {name: [str(value) for value in table[name]] for name in (self.id_column, self.file_column)}
        )

    def _check(self, names: Sequence[str]) -> None:
        for name in (self.id_column, self.file_column):
            if name not in names:
                raise MissingColumnError(
                    f"The catalogue {self.path} has no column {name!r}; it has {', '.join(names)}."
                )

    def _reading(self) -> _Reading:
        return _Reading(self.path)


class _Reading:
    """Turns whatever a reader of tables raises into one kind of error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        if not self.path.is_file():
            raise ImageReadError(f"{self.path}: there is no such catalogue.")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (pa.ArrowException, OSError, ValueError)) and not isinstance(
            error, (ImageReadError, MissingColumnError)
        ):
            raise ImageReadError(f"{self.path} is no readable catalogue: {error}.") from error


def _header(line: bytes) -> list[str]:
    """Return the names in a CSV file's first line."""
    import csv

    return next(csv.reader([line.decode("utf-8-sig")]), [])


def _as_text(array: pa.Array) -> pa.Array:
    """Return numbers or text as text."""
    return array.cast(pa.string())
