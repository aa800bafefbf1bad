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

"""Objects painted on pixel grids, before the atmosphere."""

from __future__ import annotations

__all__ = (
    "band_flux",
    "paint",
)

import numpy as np
import numpy.typing as npt

from .disks import paint_disks, paint_edge_on_disks, young_share
from .galaxies import EDGE_ON, GalaxyParameters, Kind, colour_offset
from .grid import Grid, normalise, sersic, wide
from .problems import paint_problems
from .tides import TAIL_SHARE, add_merging, own_share

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]


def paint(
    parameters: GalaxyParameters,
    bands: tuple[str, ...],
    *,
    size: int,
    pixel_scale: npt.ArrayLike,
    offset_x: npt.ArrayLike = 0.0,
    offset_y: npt.ArrayLike = 0.0,
) -> Image:
    """Paint objects, each on a grid of its own.

    Parameters
    ----------
    parameters
        The ``n`` objects.
    bands
        Names of the bands, out of u, g, r, i, z, y.
    size
        Side of the square grid in pixels.
    pixel_scale
        Arcsec per pixel, a number or ``[n]``.
    offset_x, offset_y
        Where the object's centre is from the grid's (arcsec), a number or
        ``[n]``.

    Returns
    -------
    image
        Flux per pixel in nJy, of shape ``[n, band, size, size]``. Light
        beyond the grid's edge is not in it.
    """
    n = len(parameters)
    scale = np.broadcast_to(np.asarray(pixel_scale, dtype=np.float64), (n,))
    dx = np.broadcast_to(np.asarray(offset_x, dtype=np.float64), (n,))
    dy = np.broadcast_to(np.asarray(offset_y, dtype=np.float64), (n,))
    image = np.zeros((n, len(bands), size, size), dtype=np.float32)
    edge_on = parameters.axis_ratio < EDGE_ON
    for select, painter in (
        (parameters.kind == Kind.ELLIPTICAL, _paint_ellipticals),
        ((parameters.kind == Kind.DISK) & ~edge_on, paint_disks),
        ((parameters.kind == Kind.DISK) & edge_on, paint_edge_on_disks),
    ):
        which = np.flatnonzero(select)
        if len(which):
            grid = Grid(size, scale[which], dx[which], dy[which])
            image[which] = _combine(parameters[which], bands, *painter(parameters[which], grid))
    which = np.flatnonzero(parameters.kind >= Kind.STAR)
    if len(which):
        grid = Grid(size, scale[which], dx[which], dy[which])
        image[which] = paint_problems(parameters[which], bands, grid)
    return image


def band_flux(parameters: GalaxyParameters, bands: tuple[str, ...]) -> Floats:
    """Return the total flux of objects in each band.

    Parameters
    ----------
    parameters
        The ``n`` objects.
    bands
        Names of the bands.

    Returns
    -------
    flux
        In nJy, ``[n, band]``, before any dust.
    """
    p = parameters
    own = own_share(p)
    tails = TAIL_SHARE * p.disturbance
    young = np.where(p.axis_ratio < EDGE_ON, 0.3, young_share(p)) * (p.kind == Kind.DISK)
    blue = own * (1.0 - p.bulge_fraction) * young + 0.5 * tails + 0.3 * (1.0 - own - tails)
    colours = np.array([colour_offset(band) for band in bands])
    faint = (1.0 - blue)[:, None] * 10.0 ** (-0.4 * colours * p.red_colour[:, None])
    faint += blue[:, None] * 10.0 ** (-0.4 * colours * p.blue_colour[:, None])
    return np.asarray(p.flux()[:, None] * faint)


def _combine(parameters: GalaxyParameters, bands: tuple[str, ...], red: Image, blue: Image) -> Image:
    """Weigh the old and the young stars' images by band.

    The images' sums are parts of the total light in the i band.
    """
    flux = parameters.flux()
    weights_red = np.stack(
        [flux * 10.0 ** (-0.4 * colour_offset(b) * parameters.red_colour) for b in bands], axis=1
    )
    weights_blue = np.stack(
        [flux * 10.0 ** (-0.4 * colour_offset(b) * parameters.blue_colour) for b in bands], axis=1
    )
    out = weights_red.astype(np.float32)[:, :, None, None] * red[:, None]
    out += weights_blue.astype(np.float32)[:, :, None, None] * blue[:, None]
    return out


def _paint_ellipticals(p: GalaxyParameters, grid: Grid) -> tuple[Image, Image]:
    u, v = grid.rotated(p.angle)
    red = sersic(u * u + (v / wide(p.axis_ratio)) ** 2, p.half_light, p.sersic, grid)
    red = normalise(red, own_share(p), p.half_light, p.sersic, grid)
    blue = np.zeros_like(red)
    add_merging(p, red, blue, grid)
    return red, blue
