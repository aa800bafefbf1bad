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

"""What is known of features that were put into coadds."""

from __future__ import annotations

__all__ = ("Depth", "Placed", "truth_table")

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import astropy.table
import astropy.units as u
import numpy as np
import numpy.typing as npt
from scipy.ndimage import zoom

from .injection import Feature, Hosts

type Depth = tuple[float, float]
"""Surface brightness (mag/arcsec2) and contrast, of `feature_depth`."""

_OVERSAMPLE = 5


@dataclasses.dataclass(frozen=True)
class Placed:
    """A feature, its host, and how it is seen there."""

    feature: Feature
    """The feature."""

    host: Hosts
    """One host."""

    kernels: Mapping[str, npt.NDArray[np.floating]]
    """Point spread function at the host by band, in pixels of the coadd."""


def truth_table(
    placed: Sequence[Placed],
    depth: Mapping[int, Depth],
    *,
    tract: int,
    bands: tuple[str, ...],
    pixel_scale: float,
) -> astropy.table.Table:
    """Return the truth of a patch's features.

    Parameters
    ----------
    placed
        The features.
    depth
        How deep they go, by the hosts' identifiers; NaN for others.
    tract
        The tract.
    bands
        Bands of the columns.
    pixel_scale
        Size of a pixel (arcsec).

    Returns
    -------
    table
        A row for each feature.
    """

    def column(values: list[Any], dtype: str) -> npt.NDArray[Any]:
        return np.array(values, dtype=dtype)

    hosts, features = [one.host for one in placed], [one.feature for one in placed]
    seen = [depth.get(int(host.object_id[0]), (np.nan, np.nan)) for host in hosts]
    table = astropy.table.Table()
    table["objectId"] = column([host.object_id[0] for host in hosts], "i8")
    table["tract"] = np.full(len(placed), tract, np.int32)
    table["patch"] = column([host.patch[0] for host in hosts], "i4")
    table["coord_ra"] = column([host.ra[0] for host in hosts], "f8") * u.deg
    table["coord_dec"] = column([host.dec[0] for host in hosts], "f8") * u.deg
    table["hostRadius"] = column([host.half_light[0] for host in hosts], "f8") * u.arcsec
    table["kind"] = column([feature.kind for feature in features], "U8")
    table["encounter"] = column([feature.encounter for feature in features], "i4")
    table["time"] = column([feature.time for feature in features], "i4")
    table["reach"] = column([feature.reach for feature in features], "f8") * u.arcsec
    table["surfaceBrightness"] = column([value for value, _ in seen], "f8") * u.mag
    table["contrast"] = column([value for _, value in seen], "f8")
    for band in bands:
        fluxes = [feature.flux.get(band, np.nan) for feature in features]
        table[f"{band}_flux"] = column(fluxes, "f8") * u.nJy
        table[f"{band}_hostFlux"] = column([host.flux[band][0] for host in hosts], "f8") * u.nJy
        widths = [_fwhm(one.kernels.get(band)) * pixel_scale for one in placed]
        table[f"{band}_fwhm"] = column(widths, "f8") * u.arcsec
    return table


def _fwhm(kernel: npt.NDArray[np.floating] | None) -> float:
    """Return the diameter of the disk as large as a kernel's bright part.

    In pixels, to about a tenth of one; NaN without a kernel.
    """
    if kernel is None:
        return float("nan")
    fine = zoom(kernel, _OVERSAMPLE, order=3)
    return 2.0 * float(np.sqrt((fine > 0.5 * fine.max()).sum() / np.pi)) / _OVERSAMPLE
