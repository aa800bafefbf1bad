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

"""The objects to measure: rows of the object table and where they lie."""

from __future__ import annotations

__all__ = ("TargetSelection", "Targets", "required_columns", "select_targets")

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingColumnError
from ..flags import Flag
from .geometry import Geometry
from .radius import guarded_radius

AB_ZERO_POINT = 31.4
"""AB magnitude of a flux of one nJy."""

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian over its sigma."""

HALF_LIGHT_PER_SIGMA = math.sqrt(2.0 * math.log(2.0))
"""Half-light radius of a round Gaussian over its sigma."""

RADIUS_BANDS = "ugrizy"
"""Bands whose Kron radii are looked for."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Columns = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class TargetSelection:
    """Cuts on the object table; `None` switches a cut off.

    All are strict inequalities.  An object whose value is not finite passes
    that cut and is flagged `~lsst.meas.morphology.flags.Flag.SELECTION`.
    """

    min_extendedness: float | None = 0.5
    """Least ``refExtendedness`` (0 point-like, 1 extended)."""

    max_magnitude: float | None = 21.0
    """Faintest cModel magnitude (AB) in the magnitude band."""

    magnitude_band: str = "i"
    """Band of the cuts on magnitude, signal-to-noise and PSF width."""

    min_signal_to_noise: float | None = 20.0
    """Least cModel flux over its error in the magnitude band."""

    min_radius_over_psf: float | None = 0.7
    """Least half-light radius over the FWHM of the PSF.

    The radius is that of the round Gaussian with the object's second
    moments, PSF included, so that a star has 0.5.
    """

    min_radius: float | None = None
    """Least radius that holds nearly all light, in arcsec; an object without
    one passes.
    """


@dataclasses.dataclass(frozen=True)
class Targets:
    """Objects to measure, as parallel arrays of shape ``[n]``."""

    object_id: npt.NDArray[np.int64]
    """Identifiers of the objects."""

    tract: npt.NDArray[np.int32]
    """Tract that each object belongs to."""

    patch: npt.NDArray[np.int32]
    """Patch that each object belongs to."""

    ra: Floats
    """Right ascension (ICRS, degrees)."""

    dec: Floats
    """Declination (ICRS, degrees)."""

    x: Floats
    """Column in the tract's pixel grid; integers are pixel centres."""

    y: Floats
    """Row in the tract's pixel grid; integers are pixel centres."""

    radius: npt.NDArray[np.float32]
    """Radius that holds nearly all light (arcsec), NaN if unknown; see
    `~lsst.meas.morphology.pixels.radius.guarded_radius`.
    """

    flags: npt.NDArray[np.uint32]
    """Bits of `~lsst.meas.morphology.flags.Flag`."""

    def __len__(self) -> int:
        return len(self.object_id)

    def __getitem__(self, key: slice | int | npt.NDArray[Any]) -> Targets:
        """Return some of the targets, by slice, position, index or mask."""
        if isinstance(key, int | np.integer):
            key = np.array([key])
        return Targets(*(getattr(self, field.name)[key] for field in dataclasses.fields(self)))

    @property
    def measurable(self) -> Bools:
        """Whether each target can have a stamp at all, ``[n]``."""
        return np.asarray((self.flags & np.uint32(Flag.GENERAL)) == 0)


def required_columns(
    available: Collection[str], selection: TargetSelection, *, table: str = "object"
) -> tuple[str, ...]:
    """Return the columns that `select_targets` needs of an object table.

    Parameters
    ----------
    available
        Names of the columns that the table has.
    selection
        The cuts that are going to be made.
    table
        Name of the table, for the error message.

    Returns
    -------
    columns
        Names of the columns to read, without repetition.

    Raises
    ------
    lsst.meas.morphology.errors.MissingColumnError
        Raised if a column is missing for which there is no substitute.

    Notes
    -----
    ``tract``, ``detect_isPrimary``, ``shape_flag``, ``refBand``, the Kron
    radii and ``footprintArea`` are read where they exist.
    """
    available = frozenset(available)
    band = selection.magnitude_band
    required = ["objectId", "patch", "coord_ra", "coord_dec"]
    if selection.min_extendedness is not None:
        required.append(_extendedness_column(available))
    if selection.max_magnitude is not None or selection.min_signal_to_noise is not None:
        required.append(f"{band}_cModelFlux")
    if selection.min_signal_to_noise is not None:
        required.append(f"{band}_cModelFluxErr")
    if selection.min_radius_over_psf is not None:
        required += [f"{band}_ixxPSF", f"{band}_iyyPSF", "shape_xx", "shape_yy"]
    kron_bands = RADIUS_BANDS if "refBand" in available else band
    kron = [f"{b}_{suffix}" for b in kron_bands for suffix in ("kronRad", "kronFlux_flag")]
    optional = ["tract", "detect_isPrimary", "refBand", "shape_flag", "footprintArea", *kron]
    if {"shape_xx", "shape_yy"} <= available:
        optional += ["shape_xx", "shape_yy"]
    elif "footprintArea" not in available and not any(f"{b}_kronRad" in available for b in kron_bands):
        required += ["shape_xx", "shape_yy"]
    missing = [name for name in dict.fromkeys(required) if name not in available]
    if missing:
        raise MissingColumnError(
            f"Table {table!r} has no column {', '.join(map(repr, missing))}, which the selection of targets "
            "needs. Switch the cut off, change its band, or give a table that has the column."
        )
    return tuple(dict.fromkeys([*required, *(name for name in optional if name in available)]))


def select_targets(
    columns: Columns,
    *,
    tract: int,
    patch: int,
    selection: TargetSelection,
    geometry: Geometry,
    table: str = "object",
) -> Targets:
    """Choose the objects of one patch that are to be measured.

    Parameters
    ----------
    columns
        Columns of the object table, each ``[row]``: at least those that
        `required_columns` names.  Masked values count as not finite.
    tract, patch
        The patch; other rows are left out, and so are those that
        ``detect_isPrimary`` excludes, where there is such a column.
    selection
        The cuts.
    geometry
        Where the patch's coadds lie.
    table
        Name of the table, for the error message.

    Returns
    -------
    targets
        The objects, in the order of the table.  Those without a finite
        position, or outside the box, are kept and flagged.

    Raises
    ------
    lsst.meas.morphology.errors.MissingColumnError
        Raised if a column is missing for which there is no substitute.
    """
    names = required_columns(columns.keys(), selection, table=table)
    mine = np.ma.filled(columns["patch"], -1) == patch
    if "tract" in names:
        mine &= np.ma.filled(columns["tract"], -1) == tract
    if "detect_isPrimary" in names:
        mine &= np.ma.filled(columns["detect_isPrimary"], False).astype(np.bool_)
    rows: dict[str, npt.NDArray[Any]] = {name: columns[name][mine] for name in names}
    passed, undecided = _apply_cuts(rows, selection)
    rows = {name: column[passed] for name, column in rows.items()}
    radius, radius_ok = guarded_radius(
        _trace(rows), _kron(rows, selection), _area(rows), geometry.pixel_scale
    )

    undecided = undecided[passed]
    if selection.min_radius is not None:
        large = ~radius_ok | (radius > selection.min_radius)
        rows = {name: column[large] for name, column in rows.items()}
        radius, radius_ok, undecided = radius[large], radius_ok[large], undecided[large]

    flags = np.zeros(len(radius), np.uint32)
    flags[undecided | (~radius_ok & (selection.min_radius is not None))] |= np.uint32(Flag.SELECTION)
    flags[~radius_ok] |= np.uint32(Flag.SHAPE)
    ra, dec = _floats(rows["coord_ra"]), _floats(rows["coord_dec"])
    located = np.isfinite(ra) & np.isfinite(dec)
    flags[~located] |= np.uint32(Flag.POSITION | Flag.GENERAL)
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    if located.any():
        x[located], y[located] = geometry.sky_to_pixel(ra[located], dec[located])
    flags[located & ~geometry.contains(x, y)] |= np.uint32(Flag.OFF_IMAGE | Flag.GENERAL)
    return Targets(
        object_id=np.asarray(rows["objectId"], np.int64),
        tract=np.full(len(ra), tract, np.int32),
        patch=np.full(len(ra), patch, np.int32),
        ra=ra,
        dec=dec,
        x=x,
        y=y,
        radius=radius,
        flags=flags,
    )


def _apply_cuts(rows: Columns, selection: TargetSelection) -> tuple[Bools, Bools]:
    """Return which rows pass, and which have a value that isn't finite."""
    band = selection.magnitude_band
    cuts: list[tuple[Floats, float]] = []
    with np.errstate(divide="ignore", invalid="ignore"):
        if selection.min_extendedness is not None:
            cuts.append((_floats(rows[_extendedness_column(rows.keys())]), selection.min_extendedness))
        if selection.max_magnitude is not None:
            # In flux, so that a negative flux is fainter than any limit.
            limit = 10.0 ** (-0.4 * (selection.max_magnitude - AB_ZERO_POINT))
            cuts.append((_floats(rows[f"{band}_cModelFlux"]), limit))
        if selection.min_signal_to_noise is not None:
            ratio = _floats(rows[f"{band}_cModelFlux"]) / _floats(rows[f"{band}_cModelFluxErr"])
            cuts.append((ratio, selection.min_signal_to_noise))
        if selection.min_radius_over_psf is not None:
            trace = _trace(rows)
            assert trace is not None, "required_columns demands the moments for this cut"
            psf_trace = _floats(rows[f"{band}_ixxPSF"]) + _floats(rows[f"{band}_iyyPSF"])
            ratio = np.sqrt(trace / psf_trace) * (HALF_LIGHT_PER_SIGMA / FWHM_PER_SIGMA)
            cuts.append((ratio, selection.min_radius_over_psf))
    passed = np.ones(len(rows["objectId"]), np.bool_)
    undecided = np.zeros(len(passed), np.bool_)
    for value, minimum in cuts:
        finite = np.isfinite(value)
        passed &= ~finite | (value > minimum)
        undecided |= ~finite
    return passed, undecided & passed


def _extendedness_column(available: Collection[str]) -> str:
    """Return the column that separates galaxies from stars."""
    if "refExtendedness" not in available and "refSizeExtendedness" in available:
        return "refSizeExtendedness"
    return "refExtendedness"


def _floats(column: npt.NDArray[Any]) -> Floats:
    """Convert a column to float64, with NaN where masked or infinite."""
    values = np.asarray(np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan))
    return np.where(np.isfinite(values), values, np.nan)


def _unflagged(values: Floats, rows: Columns, flag: str) -> Floats:
    """Return values with NaN where a flag column, if there, is set."""
    if flag not in rows:
        return values
    return np.where(np.ma.filled(rows[flag], True).astype(np.bool_), np.nan, values)


def _trace(rows: Columns) -> Floats | None:
    """Return the trace of the second moments in pixel**2."""
    if not {"shape_xx", "shape_yy"} <= rows.keys():
        return None
    return _unflagged(_floats(rows["shape_xx"]) + _floats(rows["shape_yy"]), rows, "shape_flag")


def _kron(rows: Columns, selection: TargetSelection) -> Floats | None:
    """Return the Kron radius in pixels, in each object's reference band."""
    radii = {
        band: _unflagged(_floats(rows[f"{band}_kronRad"]), rows, f"{band}_kronFlux_flag")
        for band in RADIUS_BANDS
        if f"{band}_kronRad" in rows
    }
    if "refBand" not in rows:
        return radii.get(selection.magnitude_band)
    if not radii:
        return None
    reference = np.ma.filled(np.ma.asarray(rows["refBand"]), "").astype(str)
    result = np.full(len(reference), np.nan)
    for band, radius in radii.items():
        result = np.where(reference == band, radius, result)
    return result


def _area(rows: Columns) -> Floats | None:
    """Return the area of the detection footprint in pixels."""
    return _floats(rows["footprintArea"]) if "footprintArea" in rows else None
