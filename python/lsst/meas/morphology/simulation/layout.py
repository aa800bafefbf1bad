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

"""Tracts and patches of simulated skies."""

from __future__ import annotations

__all__ = ("PatchLayout", "SkyLayout", "TractLayout", "make_layout")

import dataclasses
import functools

import astropy.wcs
import numpy as np
import numpy.typing as npt

from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

from .observing import NATIVE_SCALE

type Floats = npt.NDArray[np.float64]
type Bounds = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class PatchLayout:
    """A patch; boxes are ``(x0, y0, x1, y1)``, ends exclusive."""

    patch: int
    """Number of the patch in its tract."""

    column: int
    """Column in the tract's grid of patches."""

    row: int
    """Row in the tract's grid of patches."""

    inner: Bounds
    """Pixels that only this patch owns in its tract."""

    outer: Bounds
    """Pixels of the patch's coadds."""


@dataclasses.dataclass(frozen=True)
class TractLayout:
    """A tract: a tangent plane cut into patches, those into cells."""

    tract: int
    """Number of the tract."""

    ra: float
    """Right ascension of the tangent point (degrees)."""

    dec: float
    """Declination of the tangent point (degrees)."""

    rotation: float
    """Angle from the y axis to north at the tangent point (degrees)."""

    columns: int
    """Number of patches along x."""

    rows: int
    """Number of patches along y."""

    inner_cells: int
    """Cells along the side of a patch's inner box."""

    border_cells: int
    """Cells that a patch has beyond its inner box, on each side."""

    cell_size: int
    """Side of a cell in pixels."""

    @property
    def bounds(self) -> Bounds:
        """Box of the whole tract."""
        border = 2 * self.border_cells
        return (
            0,
            0,
            (self.columns * self.inner_cells + border) * self.cell_size,
            (self.rows * self.inner_cells + border) * self.cell_size,
        )

    @functools.cached_property
    def wcs(self) -> astropy.wcs.WCS:
        """Tangent-plane projection; the first pixel is at 0, 0."""
        _, _, width, height = self.bounds
        angle = np.radians(self.rotation)
        wcs = astropy.wcs.WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [(width + 1) / 2.0, (height + 1) / 2.0]
        wcs.wcs.cdelt = [-NATIVE_SCALE / 3600.0, NATIVE_SCALE / 3600.0]
        wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        wcs.wcs.set()
        return wcs

    @functools.cached_property
    def patches(self) -> tuple[PatchLayout, ...]:
        """The patches, in the order of their numbers."""
        border = self.border_cells * self.cell_size
        side = self.inner_cells * self.cell_size
        patches = []
        for row in range(self.rows):
            for column in range(self.columns):
                x0, y0 = border + column * side, border + row * side
                inner = (x0, y0, x0 + side, y0 + side)
                outer = (x0 - border, y0 - border, x0 + side + border, y0 + side + border)
                patches.append(PatchLayout(row * self.columns + column, column, row, inner, outer))
        return tuple(patches)

    def sky_to_pixel(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return pixel positions; not finite beyond the horizon."""
        x, y = self.wcs.wcs_world2pix(np.asarray(ra, float), np.asarray(dec, float), 0)
        return np.asarray(x), np.asarray(y)

    def pixel_to_sky(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return sky positions in degrees, right ascension in 0 to 360."""
        ra, dec = self.wcs.wcs_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
        return np.asarray(ra) % 360.0, np.asarray(dec)

    def north(self, ra: Floats, dec: Floats) -> Floats:
        """Return the direction of north from the x axis, in radians."""
        step = 1e-4
        x0, y0 = self.sky_to_pixel(ra, dec - step)
        x1, y1 = self.sky_to_pixel(ra, dec)
        return np.asarray(np.arctan2(y1 - y0, x1 - x0))

    def patch_of(self, x: Floats, y: Floats) -> npt.NDArray[np.int64]:
        """Return the patch whose inner box holds each position, or -1."""
        border = self.border_cells * self.cell_size
        side = self.inner_cells * self.cell_size
        good = np.isfinite(x) & np.isfinite(y)
        column = np.floor((np.where(good, x, -1e9) + 0.5 - border) / side).astype(np.int64)
        row = np.floor((np.where(good, y, -1e9) + 0.5 - border) / side).astype(np.int64)
        inside = (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        return np.where(inside, row * self.columns + column, -1)

    def region(self, box: Bounds) -> ConvexPolygon:
        """Return the region on the sky that a box of pixels covers."""
        x0, y0, x1, y1 = box
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float) - 0.5
        ra, dec = self.pixel_to_sky(corners[:, 0], corners[:, 1])
        return ConvexPolygon(
            [UnitVector3d(LonLat.fromDegrees(float(a), float(d))) for a, d in zip(ra, dec, strict=True)]
        )


@dataclasses.dataclass(frozen=True)
class SkyLayout:
    """The tracts of a simulated sky."""

    tracts: tuple[TractLayout, ...]
    """The tracts."""

    def owner(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], ...]:
        """Return the one tract and patch that own each position.

        Of the tracts that hold it in a patch's inner box, it is the one
        with the nearest tangent point.

        Parameters
        ----------
        ra, dec
            Positions in degrees, ``[n]``.

        Returns
        -------
        tract, patch
            Their numbers, -1 where there is none, ``[n]``.
        """
        ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
        tract = np.full(ra.shape, -1, dtype=np.int64)
        patch = np.full(ra.shape, -1, dtype=np.int64)
        nearest = np.full(ra.shape, -np.inf)
        for layout in self.tracts:
            inside = layout.patch_of(*layout.sky_to_pixel(ra, dec))
            closeness = np.sum(_unit(ra, dec) * _unit(layout.ra, layout.dec), axis=-1)
            better = (inside >= 0) & (closeness > nearest)
            tract[better], patch[better] = layout.tract, inside[better]
            nearest[better] = closeness[better]
        return tract, patch


def _unit(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Return unit vectors, ``[..., 3]``."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def make_layout(
    ra: float,
    dec: float,
    *,
    columns: int = 2,
    rows: int = 2,
    patch_cells: int = 7,
    border_cells: int = 1,
    cell_size: int = 150,
) -> SkyLayout:
    """Lay out two tracts that overlap by half a patch.

    The second has another tangent point, is turned by seven degrees and
    shifted by a fraction of a pixel, so that no pixel of one coincides with
    one of the other.

    Parameters
    ----------
    ra, dec
        Tangent point of the first tract in degrees.
    columns, rows
        Number of patches along x and y.
    patch_cells
        Cells along the side of a patch, its border among them.
    border_cells
        Cells of the border on each side.
    cell_size
        Side of a cell in pixels.

    Returns
    -------
    layout
        The tracts, numbered 1 and 2.

    Raises
    ------
    ValueError
        Raised if a patch has no inner cell, or a position is not on the sky.
    """
    inner_cells = patch_cells - 2 * border_cells
    if inner_cells < 1 or columns < 1 or rows < 1 or cell_size < 8 or border_cells < 0:
        raise ValueError(
            f"A tract of {columns} x {rows} patches of {patch_cells} cells of {cell_size} px, of which "
            f"{border_cells} are border on each side, has no inner pixels."
        )
    if not (np.isfinite(ra) and -90.0 <= dec <= 90.0):
        raise ValueError(f"RA {ra}, Dec {dec} is no position on the sky.")
    shape = (columns, rows, inner_cells, border_cells, cell_size)
    first = TractLayout(1, ra % 360.0, dec, 0.0, *shape)
    _, _, width, height = first.bounds
    side = inner_cells * cell_size
    shift = columns * side - 0.5 * side
    other = first.pixel_to_sky((width - 1) / 2.0 + shift + 0.37, (height - 1) / 2.0 + 0.1 * side + 0.21)
    return SkyLayout((first, TractLayout(2, float(other[0]), float(other[1]), 7.0, *shape)))
