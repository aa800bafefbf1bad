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

"""A model's weights as bytes in the safetensors format."""

from __future__ import annotations

__all__ = ("TensorSpan", "load_weights", "serialize_weights", "tensor_spans")

import dataclasses
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelPackageError

MAX_HEADER_BYTES = 16 * 1024 * 1024

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


@dataclasses.dataclass(frozen=True)
class TensorSpan:
    """Where a tensor lies in the bytes of a safetensors file."""

    dtype: np.dtype[Any]
    """Type of the values."""

    shape: tuple[int, ...]
    """Shape of the tensor."""

    offset: int
    """Position of the first byte, counted from the start of the file."""

    size: int
    """Number of bytes."""


def serialize_weights(weights: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return tensors as the bytes of a safetensors file.

    Parameters
    ----------
    weights
        Tensors by name. The same tensors always give the same bytes.
    """
    from safetensors.numpy import save

    return bytes(save({name: np.asarray(weights[name], order="C") for name in sorted(weights)}))


def load_weights(data: bytes, *, source: str = "weights") -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a safetensors file as writable arrays.

    Parameters
    ----------
    data
        The whole file.
    source
        Name of the file, for error messages.

    Raises
    ------
    ModelPackageError
        Raised if the bytes are no valid safetensors file.
    """
    return {
        name: np.frombuffer(data, span.dtype, math.prod(span.shape), span.offset).reshape(span.shape).copy()
        for name, span in tensor_spans(data, source=source).items()
    }


def tensor_spans(data: bytes, *, source: str = "weights") -> dict[str, TensorSpan]:
    """Return where each tensor of a safetensors file lies.

    Parameters
    ----------
    data
        The whole file.
    source
        Name of the file, for error messages.

    Raises
    ------
    ModelPackageError
        Raised if the header is malformed, or if its tensors overlap or
        leave any byte uncovered.
    """
    try:
        return _spans(data)
    except (ValueError, TypeError, KeyError, RecursionError, struct.error) as error:
        raise ModelPackageError(f"{source} is not a valid safetensors file: {error}.") from error


def _spans(data: bytes) -> dict[str, TensorSpan]:
    (length,) = struct.unpack_from("<Q", data)
    start = 8 + length
    if length > MAX_HEADER_BYTES or start > len(data):
        raise ValueError(f"its header declares {length} bytes")
    header = json.loads(data[8:start])
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    spans = {name: _span(name, entry, start) for name, entry in header.items()}
    position = start
    for name, span in sorted(spans.items(), key=lambda item: (item[1].offset, item[1].size)):
        if span.offset != position:
            raise ValueError(f"tensor {name!r} starts at byte {span.offset}, not at {position}")
        position += span.size
    if position != len(data):
        raise ValueError(f"its tensors end at byte {position} of {len(data)}")
    return spans


def _span(name: str, entry: Any, start: int) -> TensorSpan:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"entry {name!r} must have dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise ValueError(f"tensor {name!r} has the unsupported type {entry['dtype']!r}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not all(type(value) is int and 0 <= value < 2**63 for value in [*shape, *offsets]):
        raise ValueError(f"tensor {name!r} has a shape or offsets that are no counts")
    begin, end = offsets
    dtype = _DTYPES[entry["dtype"]]
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor {name!r} has {end - begin} bytes for shape {shape} of {entry['dtype']}")
    return TensorSpan(dtype, tuple(shape), start + begin, end - begin)
