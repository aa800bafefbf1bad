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

"""Where a band's coadd comes from, and how its file is opened."""

from __future__ import annotations

__all__ = ("CoaddSource", "open_coadd", "reading")

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from lsst.images.cells import CellCoadd
from lsst.images.serialization import open_archive
from lsst.resources import ResourcePath

from ..errors import CoaddReadError


@dataclasses.dataclass(frozen=True)
class CoaddSource:
    """One band's coadd of a patch: a file or an object in memory."""

    band: str
    """Name of the band."""

    uri: ResourcePath | str | None = None
    """File of a `lsst.images.cells.CellCoadd`; `None` if ``exposure`` is
    given.
    """

    label: str = ""
    """What messages call the coadd, such as its dataset reference."""

    exposure: Any = None
    """A `lsst.afw.image.ExposureF`, or an object with its interface."""

    def __str__(self) -> str:
        return self.label or f"{self.band}-band coadd {self.uri if self.uri is not None else ''}".rstrip()


@contextlib.contextmanager
def reading(source: CoaddSource) -> Iterator[None]:
    """Turn whatever goes wrong inside the context into a `CoaddReadError`.

    Files are damaged in ways that surface as any of a dozen exceptions of
    several libraries; what matters is which coadd it was.

    Parameters
    ----------
    source
        The coadd that is being read.

    Raises
    ------
    lsst.meas.morphology.errors.CoaddReadError
        Raised if anything is raised inside the context.
    """
    try:
        yield
    except CoaddReadError:
        raise
    except Exception as error:
        where = f" (file {source.uri})" if source.uri is not None else ""
        raise CoaddReadError(
            f"Could not read {source}{where}: {type(error).__name__}: {error}. If the file is damaged, "
            "restore or remake it and run this patch again."
        ) from error


@contextlib.contextmanager
def open_coadd(source: CoaddSource) -> Iterator[Any]:
    """Open a coadd's file for reading one component after another.

    Parameters
    ----------
    source
        The coadd.

    Yields
    ------
    reader
        A `lsst.images.serialization.Reader`.

    Raises
    ------
    lsst.meas.morphology.errors.CoaddReadError
        Raised if the file can't be read as a `lsst.images.cells.CellCoadd`,
        or if reading fails inside the context.
    """
    with reading(source):
        if source.uri is None:
            raise CoaddReadError(f"{source} has neither a file nor an exposure.")
        with open_archive(source.uri, cls=CellCoadd, partial=True) as reader:
            yield reader
