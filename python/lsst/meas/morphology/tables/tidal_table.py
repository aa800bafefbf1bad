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

"""From measurements of tidal features to an Arrow table."""

from __future__ import annotations

__all__ = ("tidal_table",)

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..flags import TIDAL_FLAGS, Flag, flag_columns
from .assemble import arrow_table, for_all
from .tidal_columns import tidal_columns

type Doubles = npt.NDArray[np.floating]

_BY_FEATURE = {
    "probability": "presence",
    "area": "area",
    "share": "share",
    "hostFraction": "host_fraction",
    "extent": "extent",
    "extentRadii": "extent_radii",
    "positionAngle": "position_angle",
    "surfaceBrightness50": "half_found",
}
_BY_BAND = {
    "flux": "flux",
    "fluxErr": "flux_error",
    "surfaceBrightness": "mean_brightness",
    "surfaceBrightnessFaintest": "faintest_brightness",
}


def tidal_table(
    *,
    features: Sequence[str],
    bands: Sequence[str],
    object_id: npt.ArrayLike,
    tract: npt.ArrayLike,
    patch: npt.ArrayLike,
    ra: npt.ArrayLike,
    dec: npt.ArrayLike,
    radius: npt.ArrayLike,
    arcsec_per_px: npt.ArrayLike,
    flags: npt.NDArray[np.uint32],
    measurements: Mapping[str, Doubles],
    model_id: str,
    metadata: Mapping[str, str] | None = None,
) -> pa.Table:
    """Return a table of tidal features, one row per object.

    Parameters
    ----------
    features
        The model's planes but the host's.
    bands
        The model's bands.
    object_id
        Ids of the objects, ``[n]``.
    tract, patch
        Ids of their tract and patch, ``[n]`` or one for all.
    ra, dec
        Their ICRS positions (degrees), ``[n]``; NaN where unknown.
    radius
        Their radii (arcsec), ``[n]``.
    arcsec_per_px
        Pixel scales of their stamps, ``[n]``.
    flags
        Bits of `~lsst.meas.morphology.flags.Flag`, ``[n]``.
    measurements
        What was measured: ``presence``, ``area``, ``share``,
        ``host_fraction``, ``extent``, ``extent_radii``, ``position_angle``
        and ``half_found``, ``[n, feature]``; ``flux``, ``flux_error``,
        ``mean_brightness`` and ``faintest_brightness``,
        ``[n, feature, band]``; ``host_flux`` and ``limit``, ``[n, band]``;
        and ``host_radius``, ``[n]``.
    model_id
        Id of the model.
    metadata
        More keys and values for the table as a whole.

    Returns
    -------
    table
        The columns of `~.tidal_columns.tidal_columns`, also where ``n`` is
        0. All that `measurements` hold is NaN where the flag ``GENERAL`` is
        set.

    Raises
    ------
    ValueError
        Raised if the lengths differ.
    """
    object_id = np.asarray(object_id, dtype=np.int64)
    flags = np.asarray(flags, dtype=np.uint32)
    failed = (flags & np.uint32(Flag.GENERAL)) != 0
    values: dict[str, npt.NDArray[Any]] = {
        "objectId": object_id,
        "tract": for_all(tract, np.int64, object_id),
        "patch": for_all(patch, np.int64, object_id),
        "coord_ra": np.asarray(ra, dtype=np.float64),
        "coord_dec": np.asarray(dec, dtype=np.float64),
        "radius": np.asarray(radius, dtype=np.float32),
        "arcsecPerPixel": np.asarray(arcsec_per_px, dtype=np.float32),
        **flag_columns(flags, TIDAL_FLAGS),
    }
    for name, column in _columns(features, bands, measurements):
        if column.shape != failed.shape:
            raise ValueError(f"{name} has the shape {column.shape} for {len(failed)} objects.")
        values[name] = np.where(failed, np.nan, column).astype(np.float32)
    everything = {"lsst.meas.morphology.modelId": model_id, **(metadata or {})}
    return arrow_table(tidal_columns(features, bands), values, len(object_id), model_id, everything)


def _columns(
    features: Sequence[str], bands: Sequence[str], measurements: Mapping[str, Doubles]
) -> Iterator[tuple[str, Doubles]]:
    """Yield name and values of each measured column."""
    yield "host_radius", measurements["host_radius"]
    for j, band in enumerate(bands):
        yield f"{band}_surfaceBrightnessLimit", measurements["limit"][:, j]
        yield f"host_{band}_flux", measurements["host_flux"][:, j]
    for k, feature in enumerate(features):
        for suffix, attribute in _BY_FEATURE.items():
            yield f"{feature}_{suffix}", measurements[attribute][:, k]
        for j, band in enumerate(bands):
            for suffix, attribute in _BY_BAND.items():
                yield f"{feature}_{band}_{suffix}", measurements[attribute][:, k, j]
