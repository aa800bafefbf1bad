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

"""Object tables and tables of the truth."""

from __future__ import annotations

__all__ = ("object_table", "truth_table")

from collections.abc import Collection, Mapping

import astropy.table
import astropy.units as u
import numpy as np
import numpy.typing as npt

from ..questions.tree import QuestionTree
from .drawing import SATURATION
from .galaxies import Kind
from .grid import uniform_details
from .measuring import Measurement
from .observing import NATIVE_SCALE, Conditions
from .painting import band_flux
from .sky import Nasty, SkyObjects

type Floats = npt.NDArray[np.float64]


def object_table(
    objects: SkyObjects,
    measurement: Measurement,
    conditions: Conditions,
    *,
    missing_bands: Mapping[int, Collection[str]],
) -> astropy.table.Table:
    """Make the object table of a tract, with names and units of DP2.

    Parameters
    ----------
    objects
        The tract's objects.
    measurement
        What is measured of them, in the tract's pixels.
    conditions
        Seeing and depth at their places.
    missing_bands
        For each patch, the bands it has no coadd in.

    Returns
    -------
    table
        One row per object.
    """
    n = len(objects)
    nasty = objects.nasty
    shapeless = (nasty == Nasty.NO_SHAPE) | (nasty == Nasty.NO_SIZE)
    nowhere = nasty == Nasty.NO_POSITION
    table = astropy.table.Table()
    table["objectId"] = objects.object_id
    table["parentObjectId"] = np.zeros(n, dtype=np.int64)
    table["tract"] = objects.tract
    table["patch"] = objects.patch
    table["coord_ra"] = np.where(nowhere, np.nan, objects.ra) * u.deg
    table["coord_dec"] = np.where(nowhere, np.nan, objects.dec) * u.deg
    error = np.full(n, 0.02 / 3600.0, dtype=np.float32)
    table["coord_raErr"] = error * u.deg
    table["coord_decErr"] = error * u.deg
    lacks_i = np.array(["i" in missing_bands.get(int(p), ()) for p in objects.patch], dtype=np.bool_)
    other = next((b for b in ("r", *conditions.bands) if b != "i" and b in conditions.bands), "i")
    has_i = "i" in conditions.bands
    table["refBand"] = np.where(lacks_i | (not has_i), other, "i").astype("U1")
    table["refExtendedness"] = objects.extended.astype(np.float32)
    table["refSizeExtendedness"] = objects.extended.astype(np.float32)
    for name, values in (
        ("shape_xx", measurement.shape_xx),
        ("shape_yy", measurement.shape_yy),
        ("shape_xy", measurement.shape_xy),
    ):
        table[name] = np.where(shapeless, np.nan, values).astype(np.float32) * u.pix**2
    table["shape_flag"] = shapeless
    area = np.where(nasty == Nasty.NO_SIZE, 0.0, measurement.footprint_area)
    table["footprintArea"] = area.astype(np.int32) * u.pix
    details = uniform_details(objects.parameters.seed + np.uint64(13), 2)
    table["detect_fromBlend"] = details[:, 0] < 0.3
    table["detect_isIsolated"] = details[:, 0] >= 0.3
    table["ebv"] = np.full(n, 0.02, dtype=np.float32) * u.mag
    flux = band_flux(objects.parameters, conditions.bands)
    # What is wrong with the i band's magnitude is wrong with all fluxes.
    flux *= 10.0 ** (0.4 * (objects.parameters.magnitude - measurement.magnitude))[:, None]
    flux[nasty == Nasty.NO_FLUX] = np.nan
    for j, band in enumerate(conditions.bands):
        lacks = np.array([band in missing_bands.get(int(p), ()) for p in objects.patch], dtype=np.bool_)
        _add_band(
            table, band, objects, measurement, conditions, j, np.where(lacks, np.nan, flux[:, j]), lacks
        )
    return table


def _add_band(
    table: astropy.table.Table,
    band: str,
    objects: SkyObjects,
    measurement: Measurement,
    conditions: Conditions,
    j: int,
    flux: Floats,
    lacks: npt.NDArray[np.bool_],
) -> None:
    """Add one band's columns."""
    nasty = objects.nasty
    psf_trace = (conditions.fwhm[:, j] / 2.3548 / NATIVE_SCALE) ** 2
    area = np.pi * (3.0 * measurement.kron_radius) ** 2
    error = conditions.sigma[:, j] * np.sqrt(np.minimum(area, 3000.0))
    error = np.where(np.isfinite(flux), error, np.nan)
    point = np.where(objects.extended, np.minimum(2.0 * psf_trace / measurement.trace, 1.0), 1.0)
    sizeless = (nasty == Nasty.NO_SIZE) | lacks
    flag = ~np.isfinite(flux)
    for name, values, factor in (
        ("cModelFlux", flux, 1.0),
        ("psfFlux", flux * point, 0.4),
        ("kronFlux", flux * 0.97, 1.1),
    ):
        table[f"{band}_{name}"] = values.astype(np.float32) * u.nJy
        table[f"{band}_{name}Err"] = (factor * error).astype(np.float32) * u.nJy
    table[f"{band}_cModel_flag"] = flag
    table[f"{band}_psfFlux_flag"] = flag
    table[f"{band}_kronFlux_flag"] = flag | sizeless
    table[f"{band}_kronRad"] = np.where(sizeless, np.nan, measurement.kron_radius).astype(np.float32) * u.pix
    shapeless = lacks | (nasty == Nasty.NO_SHAPE) | (nasty == Nasty.NO_SIZE)
    for name, values in (
        ("ixx", measurement.shape_xx),
        ("iyy", measurement.shape_yy),
        ("ixy", measurement.shape_xy),
    ):
        table[f"{band}_{name}"] = np.where(shapeless, np.nan, values).astype(np.float32) * u.pix**2
    for name, values in (("ixxPSF", psf_trace), ("iyyPSF", psf_trace), ("ixyPSF", 0.0 * psf_trace)):
        table[f"{band}_{name}"] = np.where(lacks, np.nan, values).astype(np.float32) * u.pix**2
    table[f"{band}_extendedness"] = np.where(lacks, np.nan, objects.extended).astype(np.float32)
    bright = (objects.parameters.kind == Kind.STAR) & (flux * 0.04 > SATURATION)
    table[f"{band}_pixelFlags_saturatedCenter"] = bright
    table[f"{band}_pixelFlags_nodata"] = (nasty == Nasty.NO_DATA) | lacks
    table[f"{band}_pixelFlags_inexact_psfCenter"] = bright
    table[f"{band}_inputCount"] = np.where(lacks, 0, conditions.visits[:, j]).astype(np.int32)
    table[f"{band}_blendedness"] = np.where(lacks, np.nan, 0.05).astype(np.float32)


def truth_table(
    objects: SkyObjects,
    conditions: Conditions,
    probabilities: npt.NDArray[np.floating],
    votes: npt.NDArray[np.integer],
    tree: QuestionTree,
) -> astropy.table.Table:
    """Make the table of what is true of each object.

    Parameters
    ----------
    objects
        The tract's objects.
    conditions
        Seeing and depth at their places.
    probabilities, votes
        Probability and number of votes of each answer, ``[n, answer]``.
    tree
        The tree.

    Returns
    -------
    table
        One row per object, with ids and true positions, ``nasty`` (what is
        wrong with it on purpose), the parameters, and for each answer
        ``<question>_<answer>_probability`` and ``_votes``.
    """
    table = astropy.table.Table()
    table["objectId"] = objects.object_id
    table["tract"] = objects.tract
    table["patch"] = objects.patch
    table["coord_ra"] = objects.ra * u.deg
    table["coord_dec"] = objects.dec * u.deg
    table["isGalaxy"] = objects.main
    table["nasty"] = np.array([Nasty(k).name.lower() for k in objects.nasty], dtype="U16")
    for name, values in objects.parameters.columns().items():
        table[name] = values.astype(np.int64) if values.dtype == np.uint64 else values
    for j, band in enumerate(conditions.bands):
        table[f"{band}_fwhm"] = conditions.fwhm[:, j] * u.arcsec
    for k, column in enumerate(tree.answer_columns):
        table[f"{column}_probability"] = probabilities[:, k].astype(np.float32)
        table[f"{column}_votes"] = votes[:, k].astype(np.int32)
    return table
