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

"""Simulated pixels as cell coadds in the format of DP2."""

from __future__ import annotations

__all__ = ("BACKGROUND", "make_coadd")

import astropy.units as u
import numpy as np

from lsst.images import (
    YX,
    BackgroundMap,
    Box,
    Image,
    Interval,
    Mask,
    MaskSchema,
    SkyProjection,
    TractFrame,
)
from lsst.images import get_legacy_deep_coadd_mask_planes as deep_coadd_mask_planes
from lsst.images.cells import (
    CellCoadd,
    CellGrid,
    CellGridBounds,
    CellIJ,
    CellPointSpreadFunction,
    PatchDefinition,
)
from lsst.images.fields import SplineField

from .background import fit_background
from .drawing import TractPlanes, psf_kernels
from .layout import Bounds, PatchLayout, TractLayout

BACKGROUND = "sky"
"""Name of the background that is subtracted from simulated coadds."""

_EDGE = 10
"""Width, in pixels, of the frame that detection does not reach."""


def make_coadd(
    planes: TractPlanes,
    layout: TractLayout,
    patch: PatchLayout,
    band: str,
    *,
    skymap: str,
    background_bin: int | None = None,
) -> CellCoadd:
    """Cut a patch's coadd out of a tract's pixels.

    Parameters
    ----------
    planes
        Pixels of the tract.
    layout
        The tract.
    patch
        The patch.
    band
        Name of the band.
    skymap
        Name of the skymap.
    background_bin
        Side of the bins (pixels) of a background that is subtracted and kept
        with the coadd, as a data release does; `None` for none.

    Returns
    -------
    coadd
        The coadd, with mask, variance, projection and PSF.
    """
    bbox = _box(patch.outer)
    part = (slice(bbox.y.start, bbox.y.stop), slice(bbox.x.start, bbox.x.stop))
    projection = SkyProjection.from_fits_wcs(
        layout.wcs,
        TractFrame(skymap=skymap, tract=layout.tract, bbox=_box(layout.bounds)),
        pixel_bounds=_box(layout.bounds),
    )
    mask = Mask(0, schema=MaskSchema(list(deep_coadd_mask_planes().values())), bbox=bbox)
    edge = np.ones((bbox.y.size, bbox.x.size), dtype=np.bool_)
    edge[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    touched = planes.cosmic_ray[part] | planes.saturated[part]
    for name, where in {
        "NO_DATA": planes.no_data[part],
        "INTERPOLATED": touched,
        "COSMIC_RAY": planes.cosmic_ray[part],
        "SATURATED": planes.saturated[part],
        "DETECTION_EDGE": edge,
        "REJECTED": touched,
        "DETECTED": planes.detected[part],
        "INEXACT_PSF": touched,
    }.items():
        mask.set(name, where)
    grid = CellGrid(bbox=bbox, cell_shape=YX(y=layout.cell_size, x=layout.cell_size))
    first = (bbox.y.start // layout.cell_size, bbox.x.start // layout.cell_size)
    size = grid.grid_size
    fwhm = planes.fwhm[first[0] : first[0] + size.i, first[1] : first[1] + size.j]
    kernels = psf_kernels(fwhm)
    missing = set()
    for row, column in planes.missing:
        cell = (row - first[0], column - first[1])
        if 0 <= cell[0] < size.i and 0 <= cell[1] < size.j:
            missing.add(CellIJ(i=cell[0], j=cell[1]))
            kernels[cell] = np.nan
    coadd = CellCoadd(
        Image(planes.image[part].copy(), bbox=bbox, unit=u.nJy, sky_projection=projection),
        mask=mask,
        variance=Image(planes.variance[part].copy(), bbox=bbox, unit=u.nJy**2),
        band=band,
        psf=CellPointSpreadFunction(
            kernels, CellGridBounds(grid=grid, bbox=bbox, missing=frozenset(missing))
        ),
        patch=PatchDefinition(
            id=patch.patch,
            index=YX(y=patch.row, x=patch.column),
            inner_bbox=_box(patch.inner),
            cells=grid,
        ),
        backgrounds=BackgroundMap(),
    )
    if background_bin is not None:
        unused = planes.detected[part] | planes.no_data[part] | planes.saturated[part]
        level, y, x = fit_background(planes.image[part], ~unused, bin_size=background_bin)
        field = SplineField(bbox, level, y=y + bbox.y.start, x=x + bbox.x.start, unit=u.nJy)
        coadd.backgrounds.add(BACKGROUND, field, f"Level of the sky in bins of {background_bin} pixels.")
        coadd.apply_background(BACKGROUND)
    return coadd


def _box(bounds: Bounds) -> Box:
    x0, y0, x1, y1 = bounds
    return Box(y=Interval(y0, y1), x=Interval(x0, x1))
