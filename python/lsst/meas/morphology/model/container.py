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

"""Uncompressed zip files with one possible form for given members."""

from __future__ import annotations

__all__ = ("pack_members", "unpack_members")

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from ..errors import ModelPackageError

MAX_BYTES = 2 * 1024**3
"""Largest file that is written or read."""

MAX_MEMBERS = 64
"""Largest number of members of a file that is read."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_VERSION = 20
_DATE = (1 << 5) | 1
"""1 January 1980, the zero of the format's calendar."""


def pack_members(members: Mapping[str, bytes]) -> bytes:
    """Return a zip file of members, stored uncompressed.

    Parameters
    ----------
    members
        Contents by name, in the order in which they are to be stored.

    Returns
    -------
    data
        The file. It depends on nothing but the members.

    Raises
    ------
    ModelPackageError
        Raised if the file would be too large.
    """
    size = sum(map(len, members.values()))
    if size > MAX_BYTES or len(members) > MAX_MEMBERS:
        raise ModelPackageError(f"{len(members)} members of together {size} bytes are too much for a file.")
    return b"".join(_pieces(members))


def unpack_members(data: bytes, *, source: str) -> dict[str, bytes]:
    """Return the members of a zip file that `pack_members` wrote.

    Parameters
    ----------
    data
        The whole file.
    source
        Name of the file, for error messages.

    Returns
    -------
    members
        Contents by name, in the order in which they are stored.

    Raises
    ------
    ModelPackageError
        Raised if the file is no zip file, truncated or corrupt; if a
        member is compressed, encrypted, repeated, larger than the file,
        or has a name with a folder; or if there is any byte besides what
        `pack_members` writes for these members.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, len(data), source)
            members = {entry.filename: _read(archive, entry, source) for entry in entries}
    except zipfile.BadZipFile as error:
        raise ModelPackageError(f"{source} is truncated, corrupt or no zip file: {error}.") from error
    except (NotImplementedError, ValueError, OverflowError, struct.error) as error:
        if isinstance(error, ModelPackageError):
            raise
        raise ModelPackageError(f"{source} has a corrupt directory: {error}.") from error
    position = 0
    for piece in _pieces(members):
        if data[position : position + len(piece)] != piece:
            break
        position += len(piece)
    else:
        if position == len(data):
            return members
    raise ModelPackageError(
        f"{source} differs from the only form that its members can have, at or after byte {position}:"
        " it is corrupt, or another program wrote it."
    )


def _check_entries(entries: list[zipfile.ZipInfo], size: int, source: str) -> None:
    """Refuse entries that must not be read."""
    if len(entries) > MAX_MEMBERS:
        raise ModelPackageError(f"{source} has {len(entries)} members; at most {MAX_MEMBERS} are read.")
    seen = set()
    for entry in entries:
        name = entry.filename
        if name in seen:
            raise ModelPackageError(f"{source}: member {name!r} occurs twice.")
        seen.add(name)
        if not _NAME.fullmatch(name) or ".." in name:
            raise ModelPackageError(f"{source}: member {name!r} has a name that is a path or no plain name.")
        if entry.flag_bits & 1:
            raise ModelPackageError(f"{source}: member {name!r} is encrypted.")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ModelPackageError(
                f"{source}: member {name!r} is compressed ({entry.compress_size} bytes declared to be"
                f" {entry.file_size}); only stored members are read."
            )
    total = sum(entry.file_size for entry in entries)
    if total > size:
        raise ModelPackageError(f"{source} has {size} bytes and declares members of together {total}.")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, source: str) -> bytes:
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ModelPackageError(f"{source}: member {entry.filename!r} is corrupt: {error}.") from error


def _pieces(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield a zip file piece by piece (APPNOTE 6.3, sections 4.3.7, 4.3.12
    and 4.3.16).
    """
    directory = b""
    position = 0
    for name, content in members.items():
        encoded = name.encode("ascii")
        crc, size = zlib.crc32(content), len(content)
        common = struct.pack("<4H3L2H", 0, 0, 0, _DATE, crc, size, size, len(encoded), 0)
        header = struct.pack("<4sH", b"PK\x03\x04", _VERSION) + common + encoded
        directory += struct.pack("<4s2H", b"PK\x01\x02", _VERSION, _VERSION) + common
        directory += struct.pack("<3H2L", 0, 0, 0, 0, position) + encoded
        position += len(header) + size
        yield header
        yield content
    yield directory
    count = len(members)
    yield struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), position, 0)
