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

"""Named arrays as bytes of an ``.npz`` file, without any pickle."""

from __future__ import annotations

__all__ = ("pack_arrays", "unpack_arrays")

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelPackageError
from .container import pack_members, unpack_members

_SUFFIX = ".npy"


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an uncompressed ``.npz`` file.

    Parameters
    ----------
    arrays
        Arrays by name; of booleans or numbers. The same arrays always
        give the same bytes.
    """
    members = {}
    for name in sorted(arrays):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(arrays[name], order="C"), (1, 0), allow_pickle=False)
        members[name + _SUFFIX] = buffer.getvalue()
    return pack_members(members)


def unpack_arrays(data: bytes, *, source: str = "arrays") -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an ``.npz`` file that `pack_arrays` wrote.

    Parameters
    ----------
    data
        The whole file.
    source
        Name of the file, for error messages.

    Raises
    ------
    ModelPackageError
        Raised if the file holds anything but plain arrays of booleans or
        numbers. Nothing is unpickled, and no memory is reserved on the
        word of a header.
    """
    arrays = {}
    for name, content in unpack_members(data, source=source).items():
        if not name.endswith(_SUFFIX):
            raise ModelPackageError(f"{source}: member {name!r} is not an array.")
        arrays[name.removesuffix(_SUFFIX)] = _array(content, f"{source}: member {name!r}")
    return arrays


def _array(content: bytes, source: str) -> npt.NDArray[Any]:
    buffer = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise ValueError(f"version {version} of the format")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(buffer)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ModelPackageError(f"{source} is not a plain array: {error}.") from error
    if dtype.hasobject or dtype.kind not in "biuf" or fortran_order:
        raise ModelPackageError(
            f"{source} holds {'pickled objects' if dtype.hasobject else dtype}; only plain C-ordered arrays"
            " of booleans or numbers are read."
        )
    size = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or size != len(content) - buffer.tell():
        raise ModelPackageError(
            f"{source} has {len(content) - buffer.tell()} bytes for shape {shape} of {dtype}, not {size}."
        )
    return np.frombuffer(content, dtype, math.prod(shape), buffer.tell()).reshape(shape).copy()
