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

"""What the tasks that measure a patch read, and how."""

from __future__ import annotations

__all__ = ("coadd_source", "keep_bands", "read_objects")

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from ..pixels.source import CoaddSource
from ..pixels.targets import TargetSelection, required_columns


def keep_bands(connection: Any, refs: Collection[Any], bands: Collection[str]) -> tuple[Any, Collection[Any]]:
    """Drop the coadds in bands that the model does not use.

    Where a patch has none of the model's bands its first coadd stays, for
    its geometry, so that its objects get (flagged) rows.

    Parameters
    ----------
    connection
        The connection of the coadds.
    refs
        All that there are of the patch.
    bands
        The model's bands.

    Returns
    -------
    connection, refs
        What `lsst.pipe.base.PipelineTaskConnections.adjustQuantum` wants.
    """
    wanted = [ref for ref in refs if ref.dataId["band"] in bands]
    return connection, wanted or sorted(refs)[:1]


def read_objects(handle: Any, selection: TargetSelection) -> dict[str, npt.NDArray[Any]]:
    """Read the columns of an object table that selecting targets needs.

    Parameters
    ----------
    handle
        Deferred handle of the object table.
    selection
        The cuts.
    """
    names = required_columns(set(handle.get(component="columns")), selection, table=str(handle.ref))
    table = handle.get(parameters={"columns": list(names)})
    return {name: np.ma.asarray(table[name]) for name in names}


def coadd_source(handle: Any, storage_class: str) -> CoaddSource:
    """Say where a coadd's pixels come from.

    Files are only located here, on the quantum's own thread: a handle can't
    be read by another thread under ``run-qbb``.

    Parameters
    ----------
    handle
        Deferred handle of the coadd.
    storage_class
        Its storage class.
    """
    band, label = str(handle.dataId["band"]), str(handle.ref)
    if storage_class == "CellCoadd":
        return CoaddSource(band=band, label=label, uri=handle.butler.getURI(handle.ref))
    return CoaddSource(band=band, label=label, exposure=handle.get())
