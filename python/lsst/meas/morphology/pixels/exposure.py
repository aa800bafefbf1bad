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

"""Coadds in the form of `lsst.afw.image.ExposureF`, as in DP1.

Nothing here imports afw: an exposure that has been read brings its methods.
"""

from __future__ import annotations

__all__ = ("bounding_box", "pixel_scale", "read_exposure", "sky_to_pixel")

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from .reasons import RawPixels

Floats = npt.NDArray[np.float64]


def bounding_box(exposure: Any) -> tuple[int, int, int, int]:
    """Return an exposure's box ``(x0, y0, x1, y1)``, ends exclusive.

    Parameters
    ----------
    exposure
        Object with the interface of `lsst.afw.image.ExposureF`.
    """
    box = exposure.getBBox()
    return int(box.getMinX()), int(box.getMinY()), int(box.getMaxX()) + 1, int(box.getMaxY()) + 1


def pixel_scale(exposure: Any) -> float:
    """Return the size of an exposure's pixels in arcsec.

    Parameters
    ----------
    exposure
        Object with the interface of `lsst.afw.image.ExposureF`.
    """
    return float(exposure.getWcs().getPixelScale().asArcseconds())


def sky_to_pixel(exposure: Any) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """Return the function from sky to an exposure's pixels.

    Parameters
    ----------
    exposure
        Object with the interface of `lsst.afw.image.ExposureF`.

    Returns
    -------
    transform
        Function from right ascension and declination (degrees, ``[n]``) to
        x and y.
    """
    wcs = exposure.getWcs()

    def transform(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        x, y = wcs.skyToPixelArray(ra, dec, degrees=True)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)

    return transform


def read_exposure(exposure: Any, box: tuple[int, int, int, int], *, check_variance: bool) -> RawPixels:
    """Take the pixels in a box from an exposure.

    Parameters
    ----------
    exposure
        Object with the interface of `lsst.afw.image.ExposureF`.
    box
        Box ``(x0, y0, x1, y1)`` inside the exposure's, ends exclusive.
    check_variance
        Whether the variance is wanted.

    Raises
    ------
    ValueError
        Raised if the exposure has no photometric calibration.
    """
    calibration = exposure.getPhotoCalib()
    if calibration is None:
        raise ValueError("the exposure has no photometric calibration")
    x0, y0, _, _ = bounding_box(exposure)
    part = slice(box[1] - y0, box[3] - y0), slice(box[0] - x0, box[2] - x0)
    mask = exposure.mask.array[part]
    planes = exposure.mask.getMaskPlaneDict()

    def flagged(names: Collection[str]) -> npt.NDArray[np.bool_]:
        bits = sum(1 << planes[name] for name in set(names) if name in planes)
        return np.asarray((mask & np.array(bits, np.int64).astype(mask.dtype)) != 0)

    return RawPixels(
        image=exposure.image.array[part],
        to_nanojansky=float(calibration.getCalibrationMean()),
        flagged=flagged,
        variance=exposure.variance.array[part] if check_variance else None,
    )
