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

"""Model packages: one immutable, checksummed file of data for each model."""

from __future__ import annotations

__all__ = ("DROPOUT_MASKS", "MEMBERS", "ModelPackage", "write_package")

import dataclasses
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lsst.resources import ResourcePath, ResourcePathExpression

from ..errors import ModelPackageError
from .arrays import pack_arrays, unpack_arrays
from .container import MAX_BYTES, pack_members, unpack_members
from .manifest import Manifest, Member
from .program import verify_program
from .weights import load_weights, serialize_weights, tensor_spans

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
PROGRAM = "program.onnx"
GOLDEN = "golden.npz"
CARD = "card.md"

DROPOUT_MASKS = "head.dropout_masks"
"""Name of the weights that hold the dropout masks, ``[sample, feature]``."""

MEMBERS = (MANIFEST, WEIGHTS, PROGRAM, GOLDEN, CARD)
"""Names of the members of a package, in their order in the file."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ModelPackage:
    """A model package that has been read and verified.

    Make one by `open` or `from_bytes`. Everything was read at once, so what
    was verified is what is used, whatever becomes of the file.
    """

    path: str
    """Where the package was read from."""

    manifest: Manifest
    """What the model is."""

    _members: Mapping[str, bytes]

    @classmethod
    def open(cls, path: ResourcePathExpression) -> ModelPackage:
        """Read and verify a package.

        Parameters
        ----------
        path
            Where it is, locally or anywhere that `lsst.resources` reads.

        Raises
        ------
        FileNotFoundError
            Raised if there is no such file.
        ModelPackageError
            Raised if the package is not exactly what it should be.
        """
        uri = ResourcePath(path, forceDirectory=False)
        name = uri.ospath if uri.isLocal else str(uri)
        _check_size(uri.size(), name)
        return cls.from_bytes(uri.read(), path=name)

    @classmethod
    def from_bytes(cls, data: bytes, *, path: str = "model package") -> ModelPackage:
        """Verify a package that has been read.

        Parameters
        ----------
        data
            The whole file.
        path
            Where it comes from, for error messages.

        Raises
        ------
        ModelPackageError
            Raised if the package is not exactly what it should be.
        """
        _check_size(len(data), path)
        members = unpack_members(data, source=path)
        if unknown := [name for name in members if name not in MEMBERS]:
            raise ModelPackageError(f"{path} has the unknown member {unknown[0]!r}.")
        if missing := [name for name in MEMBERS if name not in members]:
            raise ModelPackageError(f"{path} lacks the member {missing[0]!r}.")
        manifest = Manifest.from_json(members[MANIFEST], source=f"{path}: {MANIFEST}")
        _check_members(manifest, members, path)
        _check_content(manifest, members, path)
        return cls(path, manifest, members)

    def weights_bytes(self) -> bytes:
        """Return the weights as the bytes of a safetensors file."""
        return self._members[WEIGHTS]

    def read_weights(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights by name, as new arrays."""
        return load_weights(self._members[WEIGHTS], source=f"{self.path}: {WEIGHTS}")

    def program(self) -> bytes:
        """Return the ONNX program, whose weights lie outside it."""
        return self._members[PROGRAM]

    def golden(self) -> dict[str, npt.NDArray[Any]]:
        """Return the inputs and outputs that any engine must reproduce."""
        return unpack_arrays(self._members[GOLDEN], source=f"{self.path}: {GOLDEN}")

    def card(self) -> str:
        """Return the description of the model for people, in Markdown."""
        return self._members[CARD].decode("utf-8")

    def to_bytes(self) -> bytes:
        """Return the whole file, byte for byte as it was read."""
        return pack_members(self._members)

    def __repr__(self) -> str:
        return f"ModelPackage({self.path!r}, {self.manifest.name} {self.manifest.version})"


def write_package(
    path: str | os.PathLike[str],
    *,
    manifest: Manifest,
    weights: Mapping[str, npt.NDArray[Any]],
    program: bytes,
    golden: Mapping[str, npt.NDArray[Any]],
    card: str,
) -> ModelPackage:
    """Write a package, unless it would be refused when it is read.

    Parameters
    ----------
    path
        The file. One that exists is replaced, in one step.
    manifest
        What the model is; its members are filled in.
    weights
        Tensors by name, as `build_network` of the manifest wants them.
    program
        The ONNX program. Its external tensors are at the places that
        `tensor_spans` of `serialize_weights` of the weights states, in the
        file ``weights.safetensors``.
    golden
        ``flux`` and ``valid`` and, for each head, the outputs that belong
        to them.
    card
        Description of the model for people, in Markdown.

    Returns
    -------
    package
        The package as it was written.

    Raises
    ------
    ModelPackageError
        Raised if the package would be refused.
    """
    members = {
        WEIGHTS: serialize_weights(weights),
        PROGRAM: program,
        GOLDEN: pack_arrays(golden),
        CARD: card.encode("utf-8"),
    }
    manifest = manifest.with_members({name: _member(content) for name, content in members.items()})
    data = pack_members({MANIFEST: manifest.to_json(), **members})
    package = ModelPackage.from_bytes(data, path=os.fspath(path))
    destination = Path(path)
    partial = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
    try:
        partial.write_bytes(data)
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
    return package


def _member(content: bytes) -> Member:
    return Member(size=len(content), sha256=hashlib.sha256(content).hexdigest())


def _check_size(size: int, path: str) -> None:
    if size > MAX_BYTES:
        raise ModelPackageError(f"{path} has {size} bytes; at most {MAX_BYTES} are read.")


def _check_members(manifest: Manifest, members: Mapping[str, bytes], path: str) -> None:
    """Compare sizes and checksums with what the manifest says."""
    for name in (WEIGHTS, PROGRAM, GOLDEN, CARD):
        stated = manifest.members.get(name)
        if stated is None:
            raise ModelPackageError(f"{path}: the manifest does not state a checksum of member {name!r}.")
        found = _member(members[name])
        if found.size != stated.size:
            raise ModelPackageError(
                f"{path}: member {name!r} has {found.size} bytes; the manifest states {stated.size}."
            )
        if found.sha256 != stated.sha256:
            raise ModelPackageError(
                f"{path}: member {name!r} is corrupt: its SHA-256 is {found.sha256}; the manifest states"
                f" {stated.sha256}."
            )
    if extra := sorted(set(manifest.members) - {WEIGHTS, PROGRAM, GOLDEN, CARD}):
        raise ModelPackageError(f"{path}: the manifest states a checksum of {extra[0]!r}, which has none.")


def _check_content(manifest: Manifest, members: Mapping[str, bytes], path: str) -> None:
    """Refuse members that are intact, but not what they should be."""
    spans = tensor_spans(members[WEIGHTS], source=f"{path}: {WEIGHTS}")
    verify_program(members[PROGRAM], weights_name=WEIGHTS, spans=spans, source=f"{path}: {PROGRAM}")
    _check_golden(manifest, unpack_arrays(members[GOLDEN], source=f"{path}: {GOLDEN}"), path)
    if manifest.votes is not None:
        masks = spans.get(DROPOUT_MASKS)
        if masks is None or len(masks.shape) != 2 or masks.shape[0] != manifest.votes.samples:
            raise ModelPackageError(
                f"{path}: {WEIGHTS} must hold {manifest.votes.samples} dropout masks as {DROPOUT_MASKS!r}."
            )
    try:
        members[CARD].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelPackageError(f"{path}: {CARD} is not UTF-8: {error}.") from error


def _check_golden(manifest: Manifest, golden: Mapping[str, npt.NDArray[Any]], path: str) -> None:
    """Compare the golden arrays' names, types and shapes with the model."""
    pixels = (len(manifest.bands), manifest.stamp_size, manifest.stamp_size)
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "flux": ("float32", pixels),
        "valid": ("bool", pixels),
    }
    for output, sizes in manifest.outputs.items():
        expected[output] = ("float32", sizes)
    if set(golden) != set(expected):
        raise ModelPackageError(f"{path}: {GOLDEN} holds {sorted(golden)}, not {sorted(expected)}.")
    count = len(golden["flux"]) if golden["flux"].ndim else 0
    for name, (dtype, shape) in expected.items():
        array = golden[name]
        if count == 0 or array.dtype.name != dtype or array.shape != (count, *shape):
            raise ModelPackageError(
                f"{path}: {GOLDEN} holds {name!r} as {array.dtype} of shape {array.shape}, not {dtype} of"
                f" shape (n, {', '.join(map(str, shape))}) with n > 0."
            )
