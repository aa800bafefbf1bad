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

"""Where a patch's pixels lie on the sky."""

from __future__ import annotations

__all__ = ("Geometry", "read_geometry")

import dataclasses
from collections.abc import Callable
from typing import Any

import astropy.units as u
import numpy as np
import numpy.typing as npt
from astropy.coordinates import SkyCoord

from . import exposure
from .source import CoaddSource, open_coadd, reading

Floats = npt.NDArray[np.float64]

_NORTH_STEP = 1e-4
"""Step in declination (degrees) that tells where north is."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Bounding box and sky projection that a patch's coadds share."""

    bbox: tuple[int, int, int, int]
    """Box ``(x0, y0, x1, y1)`` in the tract's pixels, ends exclusive."""

    pixel_scale: float
    """Size of a pixel in arcsec, at the centre of the box."""

    sky_to_pixel: Callable[[Floats, Floats], tuple[Floats, Floats]]
    """Function from right ascension and declination (ICRS, degrees, ``[n]``)
    to x and y in the tract's pixels, where integers are pixel centres.
    """

    sky_projection: Any = None
    """The `lsst.images.SkyProjection` of a cell coadd."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        x0, y0, x1, y1 = self.bbox
        return y1 - y0, x1 - x0

    def contains(self, x: Floats, y: Floats) -> npt.NDArray[np.bool_]:
        """Return whether positions lie on the pixels of the box.

        Parameters
        ----------
        x, y
            Positions in the tract's pixels, ``[n]``; NaN is outside.
        """
        x0, y0, x1, y1 = self.bbox
        return np.asarray((x >= x0 - 0.5) & (x < x1 - 0.5) & (y >= y0 - 0.5) & (y < y1 - 0.5))

    def north(self, ra: Floats, dec: Floats) -> Floats:
        """Return the direction of north in the tract's pixels.

        Parameters
        ----------
        ra, dec
            Positions (ICRS, degrees), ``[n]``.

        Returns
        -------
        angle
            Angles from the x axis, through y (radians), ``[n]``; NaN where
            the position is.
        """
        angle = np.full(len(ra), np.nan)
        good = np.isfinite(ra) & np.isfinite(dec)
        if good.any():
            # The step goes south, so that it never goes beyond the pole.
            x0, y0 = self.sky_to_pixel(ra[good], dec[good] - _NORTH_STEP)
            x1, y1 = self.sky_to_pixel(ra[good], dec[good])
            angle[good] = np.arctan2(y1 - y0, x1 - x0)
        return angle


def read_geometry(source: CoaddSource) -> Geometry:
    """Read where a coadd's pixels lie, without reading any pixel.

    Parameters
    ----------
    source
        The coadd of any of the patch's bands.

    Raises
    ------
    lsst.meas.morphology.errors.CoaddReadError
        Raised if the coadd can't be read.
    """
    if source.exposure is not None:
        with reading(source):
            return Geometry(
                bbox=exposure.bounding_box(source.exposure),
                pixel_scale=exposure.pixel_scale(source.exposure),
                sky_to_pixel=exposure.sky_to_pixel(source.exposure),
            )
    with open_coadd(source) as reader:
        box = reader.get_component("bbox")
        projection = reader.get_component("sky_projection")
        bbox = (int(box.x.start), int(box.y.start), int(box.x.stop), int(box.y.stop))
        return Geometry(
            bbox=bbox,
            pixel_scale=_pixel_scale(projection, bbox),
            sky_to_pixel=_sky_to_pixel(projection),
            sky_projection=projection,
        )


def _sky_to_pixel(projection: Any) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """Return the inverse of a projection as a function of plain arrays."""

    def transform(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        xy = projection.sky_to_pixel(SkyCoord(ra=ra, dec=dec, unit=u.deg))
        return np.asarray(xy.x, np.float64), np.asarray(xy.y, np.float64)

    return transform


def _pixel_scale(projection: Any, bbox: tuple[int, int, int, int]) -> float:
    """Return the square root of a pixel's area, in arcsec."""
    x, y = (bbox[0] + bbox[2]) / 2.0, (bbox[1] + bbox[3]) / 2.0
    step = 10.0
    corners = projection.pixel_to_sky(
        x=np.array([x - step, x + step, x - step]), y=np.array([y - step, y - step, y + step])
    )
    xyz = corners.cartesian.xyz.value.T
    area = np.linalg.norm(np.cross(xyz[1] - xyz[0], xyz[2] - xyz[0])) / (2.0 * step) ** 2
    return float(np.sqrt(area) * u.rad.to(u.arcsec))
