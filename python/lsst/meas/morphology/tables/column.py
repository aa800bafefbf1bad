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

"""What is to be known of one column of a table."""

from __future__ import annotations

__all__ = ("Column",)

import dataclasses
import re
from typing import Any

import pyarrow as pa

_MODEL_ID_LENGTH = 64
"""Characters of a model's sha256 in hexadecimal digits."""

_ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    # One value per table, repeated: a dictionary stores it once.
    "string": pa.dictionary(pa.int32(), pa.string()),
}
_FELIS_TYPES = {"bool": "boolean", "int64": "long", "float32": "float", "float64": "double", "string": "char"}
_VECTOR = re.compile(r"float16\[(\d+)\]")


@dataclasses.dataclass(frozen=True)
class Column:
    """What is to be known of a column, whatever the format."""

    name: str
    """Name, an identifier in SQL and ADQL."""

    dtype: str
    """``bool``, ``int64``, ``float32``, ``float64``, ``string``, or for a
    vector of n values ``float16[n]``."""

    description: str
    """One sentence."""

    unit: str = ""
    """Unit as astropy and the IVOA write it; empty if dimensionless."""

    ucd: str = ""
    """IVOA unified content descriptor."""

    nullable: bool = True
    """Whether values may be missing. A missing number is NaN."""

    principal: bool = False
    """Whether the column is among the few that a service shows first."""

    @property
    def length(self) -> int | None:
        """Number of values of a vector, None for other columns."""
        match = _VECTOR.fullmatch(self.dtype)
        return int(match[1]) if match else None

    @property
    def arrow_type(self) -> pa.DataType:
        """Type in Arrow and Parquet."""
        if self.length is not None:
            # Parquet's name for the values, so that files read back the same.
            return pa.list_(pa.field("element", pa.float16()), self.length)
        return _ARROW_TYPES[self.dtype]

    def arrow_field(self) -> pa.Field:
        """Return the column as a field of an Arrow schema.

        Returns
        -------
        field
            The field; its metadata have ``description``, and ``unit`` and
            ``ucd`` where the column has them.
        """
        metadata = {"description": self.description, "unit": self.unit, "ucd": self.ucd}
        return pa.field(
            self.name,
            self.arrow_type,
            nullable=self.nullable,
            metadata={key: value for key, value in metadata.items() if value},
        )

    def felis(self, table: str) -> dict[str, Any]:
        """Return the column as Felis describes it.

        Parameters
        ----------
        table
            Name of the table.

        Returns
        -------
        description
            Plain data.
        """
        data: dict[str, Any] = {"name": self.name, "@id": f"#{table}.{self.name}"}
        data["datatype"] = "float" if self.length is not None else _FELIS_TYPES[self.dtype]
        if self.dtype == "string":
            data["length"] = _MODEL_ID_LENGTH
        if self.length is not None:
            data["votable:arraysize"] = str(self.length)
        data["description"] = self.description
        if self.unit:
            data["ivoa:unit"] = self.unit
        if self.ucd:
            data["ivoa:ucd"] = self.ucd
        if not self.nullable:
            data["nullable"] = False
        if self.principal:
            data["tap:principal"] = 1
        return data
