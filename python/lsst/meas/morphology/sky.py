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

"""HEALPix arithmetic, NESTED everywhere."""

from __future__ import annotations

__all__ = ("SPATIAL_INDEX_ORDER", "healpix_pixel", "spatial_index")

import numpy as np
import numpy.typing as npt

SPATIAL_INDEX_ORDER = 29
"""HEALPix order of the spatial index column ``_healpix_29`` of HATS."""


def healpix_pixel(
    order: int, ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return the NESTED HEALPix pixel that contains each position.

    Parameters
    ----------
    order
        HEALPix order, 0 to 29.
    ra, dec
        ICRS position in degrees, ``[n]``. Right ascension may lie outside
        0 to 360.

    Returns
    -------
    pixel
        Pixel numbers, ``[n]``; -1 where a coordinate is not finite or the
        declination is beyond a pole.
    """
    # Imported late because it imports matplotlib.
    import healpy

    ra = np.asarray(ra, dtype=np.float64)
    dec = np.asarray(dec, dtype=np.float64)
    pixel = np.full(ra.shape, -1, dtype=np.int64)
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    if good.any():
        pixel[good] = healpy.ang2pix(2**order, ra[good], dec[good], nest=True, lonlat=True)
    return pixel


def spatial_index(ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the HATS spatial index: the pixel at order 29.

    Parameters
    ----------
    ra, dec
        ICRS position in degrees, ``[n]``.

    Returns
    -------
    index
        NESTED pixel at order 29, ``[n]``; -1 without a finite position.
    """
    return healpix_pixel(SPATIAL_INDEX_ORDER, ra, dec)
