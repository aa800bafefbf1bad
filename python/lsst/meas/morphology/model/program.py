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

"""What an ONNX program may contain, checked on its bytes.

The check reads the protocol-buffer encoding itself and needs neither onnx
nor ONNX Runtime, so that a package is verified the same way everywhere.
Field numbers are those of ``onnx.proto3``. A field that is not in the
tables below is refused, whatever it means.
"""

from __future__ import annotations

__all__ = ("verify_program",)

import dataclasses
from collections.abc import Iterator, Mapping

from ..errors import ModelPackageError
from .weights import TensorSpan

MAX_PROGRAM_BYTES = 256 * 1024 * 1024
"""A longer program is refused unread."""

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
"""Domains of the operators that a program may use."""

_MAX_DEPTH = 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_MODEL = {
    1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version",
    6: "doc_string", 7: "graph", 8: "opset_import", 14: "metadata_props",
}  # fmt: skip
_GRAPH = {
    1: "node", 2: "name", 5: "initializer", 10: "doc_string", 11: "input", 12: "output", 13: "value_info",
    16: "metadata_props",
}  # fmt: skip
_NODE = {
    1: "input", 2: "output", 3: "name", 4: "op_type", 5: "attribute", 6: "doc_string", 7: "domain",
    9: "metadata_props",
}  # fmt: skip
_ATTRIBUTE = {
    1: "name", 2: "f", 3: "i", 4: "s", 5: "t", 6: "g", 7: "floats", 8: "ints", 9: "strings", 10: "tensors",
    11: "graphs", 13: "doc_string", 20: "type",
}  # fmt: skip
_TENSOR = {
    1: "dims", 2: "data_type", 4: "float_data", 5: "int32_data", 7: "int64_data", 8: "name", 9: "raw_data",
    10: "double_data", 11: "uint64_data", 12: "doc_string", 13: "external_data", 14: "data_location",
    16: "metadata_props",
}  # fmt: skip
_OPSET = {1: "domain", 2: "version"}
_ENTRY = {1: "key", 2: "value"}


def verify_program(
    program: bytes, *, weights_name: str, spans: Mapping[str, TensorSpan], source: str = "program"
) -> None:
    """Check that a program has only standard operators and no way out.

    Parameters
    ----------
    program
        A serialized ONNX model.
    weights_name
        The only file that its external tensors may lie in.
    spans
        Where the tensors lie in that file.
    source
        Name of the program's file, for error messages.

    Raises
    ------
    ModelPackageError
        Raised if the bytes are no ONNX model; if there is an operator from
        a domain other than ONNX's own, in whatever subgraph; a function; a
        reference to another file, or to bytes that are not exactly one
        tensor's; or any part that is not known to be harmless.
    """
    if len(program) > MAX_PROGRAM_BYTES:
        raise ModelPackageError(f"{source} has {len(program)} bytes; at most {MAX_PROGRAM_BYTES} are read.")
    places = frozenset((span.offset, span.size) for span in spans.values())
    try:
        _Checker(weights_name, places).check_model(memoryview(program))
    except (ValueError, IndexError) as error:
        raise ModelPackageError(f"{source} is refused: {error}.") from error


@dataclasses.dataclass(frozen=True)
class _Checker:
    weights_name: str
    places: frozenset[tuple[int, int]]

    def check_model(self, model: memoryview) -> None:
        graphs = 0
        for field, value in _fields(model, "ModelProto", _MODEL):
            if field == "graph":
                graphs += 1
                self.check_graph(_message(value, field), 0)
            elif field == "opset_import":
                for name, part in _fields(_message(value, field), "OperatorSetIdProto", _OPSET):
                    if name == "domain":
                        _check_domain(_text(part, name), "it imports operators")
        if graphs != 1:
            raise ValueError(f"it is an ONNX model with {graphs} graphs")

    def check_graph(self, graph: memoryview, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError(f"its subgraphs are nested more than {_MAX_DEPTH} deep")
        for field, value in _fields(graph, "GraphProto", _GRAPH):
            if field == "node":
                self.check_node(_message(value, field), depth)
            elif field == "initializer":
                self.check_tensor(_message(value, field))

    def check_node(self, node: memoryview, depth: int) -> None:
        operator = "?"
        domains = []
        for field, value in _fields(node, "NodeProto", _NODE):
            if field == "op_type":
                operator = _text(value, field)
            elif field == "domain":
                domains.append(_text(value, field))
            elif field == "attribute":
                self.check_attribute(_message(value, field), depth)
        for domain in domains:
            _check_domain(domain, f"it uses the operator {operator!r}")

    def check_attribute(self, attribute: memoryview, depth: int) -> None:
        for field, value in _fields(attribute, "AttributeProto", _ATTRIBUTE):
            if field in ("g", "graphs"):
                self.check_graph(_message(value, field), depth + 1)
            elif field in ("t", "tensors"):
                self.check_tensor(_message(value, field))

    def check_tensor(self, tensor: memoryview) -> None:
        name = "?"
        external = False
        reference: dict[str, str] = {}
        for field, value in _fields(tensor, "TensorProto", _TENSOR):
            if field == "name":
                name = _text(value, field)
            elif field == "data_location":
                external = external or value != 0
            elif field == "external_data":
                external = True
                entry = {
                    key: _text(part, key) for key, part in _fields(_message(value, field), "entry", _ENTRY)
                }
                key = entry.get("key", "")
                if key in reference:
                    raise ValueError(f"tensor {name!r} states {key!r} of its external data twice")
                reference[key] = entry.get("value", "")
        if external:
            self.check_reference(name, reference)

    def check_reference(self, name: str, reference: dict[str, str]) -> None:
        if set(reference) != {"location", "offset", "length"}:
            raise ValueError(f"the external data of tensor {name!r} must state location, offset and length")
        if reference["location"] != self.weights_name:
            raise ValueError(
                f"tensor {name!r} lies in the file {reference['location']!r}; only {self.weights_name!r} may"
                " be referred to"
            )
        numbers = reference["offset"], reference["length"]
        if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
            raise ValueError(f"tensor {name!r} has the offset and length {numbers}")
        if (int(numbers[0]), int(numbers[1])) not in self.places:
            raise ValueError(
                f"tensor {name!r} refers to {numbers[1]} bytes at {numbers[0]} of {self.weights_name!r},"
                " which are not those of a tensor there"
            )


def _check_domain(domain: str, what: str) -> None:
    if domain not in STANDARD_DOMAINS:
        raise ValueError(f"{what} of the foreign domain {domain!r}")


def _message(value: int | memoryview, field: str) -> memoryview:
    if isinstance(value, int):
        raise ValueError(f"its field {field!r} has the wrong type")
    return value


def _text(value: int | memoryview, field: str) -> str:
    return str(_message(value, field), "utf-8")


def _fields(
    message: memoryview, kind: str, known: Mapping[int, str]
) -> Iterator[tuple[str, int | memoryview]]:
    """Yield the name and value of each field of an encoded message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if number not in known:
            raise ValueError(f"field {number} of its {kind} is not allowed, or it is no ONNX model")
        value: int | memoryview
        if wire_type == _VARINT:
            value, position = _varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
            value, position = int.from_bytes(message[position : position + size]), position + size
        elif wire_type == _BYTES:
            size, position = _varint(message, position)
            value, position = message[position : position + size], position + size
        else:
            raise ValueError(f"field {number} of its {kind} has the unknown encoding {wire_type}")
        if position > len(message):
            raise ValueError(f"its {kind} is truncated")
        yield known[number], value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("it holds a number of more than ten bytes")
