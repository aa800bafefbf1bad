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

"""Disks with arms, bars, bulges, rings and clumps, face-on and edge-on."""

from __future__ import annotations

__all__ = (
    "ARM_SHARE",
    "BAR_SHARE",
    "CLUMP_SHARE",
    "boxed_half_light",
    "paint_disks",
    "paint_edge_on_disks",
    "young_share",
)

import numpy as np
import numpy.typing as npt
from scipy.special import i0e

from .galaxies import GalaxyParameters
from .grid import Grid, normalise, sersic, uniform_details, wide
from .irregulars import add_patches, off_centre, patch_share
from .rings import add_rings, open_gaps, ring_share
from .tides import add_merging, own_share

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

ARM_SHARE = 0.5
"""Part of a disk's light in its arms at full strength."""


BAR_SHARE = 0.32
"""Part of a disk's old light in its bar at full strength."""


CLUMP_SHARE = 0.25
"""Part of a disk's light in its clumps at full strength."""


def young_share(p: GalaxyParameters) -> Floats:
    """Return the young stars' part of the light of face-on disks, ``[n]``."""
    return np.asarray(
        ARM_SHARE * p.arm_strength + CLUMP_SHARE * p.clumpiness + ring_share(p) + patch_share(p)
    )


def paint_disks(p: GalaxyParameters, grid: Grid) -> tuple[Image, Image]:
    """Paint disks that are not edge-on.

    Parameters
    ----------
    p
        The objects.
    grid
        Their grids.

    Returns
    -------
    old, young
        Parts of the total light in the i band, ``[n, size, size]``.
    """
    scale = p.half_light / 1.678
    q = np.sqrt(p.axis_ratio**2 + p.thickness**2 * (1.0 - p.axis_ratio**2))
    u, v = grid.rotated(p.angle)
    height = v
    v = v / wide(q)
    along, across = off_centre(p)
    radius2 = (u - wide(along * scale)) ** 2 + (v - wide(across * scale)) ** 2
    radius = np.sqrt(radius2 + wide((0.3 * grid.scale) ** 2))
    own = own_share(p)
    bar = BAR_SHARE * p.bar_strength
    disk_share = own * (1.0 - p.bulge_fraction)
    old_share = disk_share * np.maximum(1.0 - young_share(p), 0.0)
    one = np.ones(len(p))
    profile = np.exp(radius / wide(-scale))
    young = profile * _arm_pattern(p, u, v, radius, scale, grid.scale)
    young = normalise(young, disk_share * ARM_SHARE * p.arm_strength, p.half_light, one, grid)
    hole = 1.0 - wide(0.5 * p.bar_strength) * np.exp(radius2 / wide(-2.0 * (0.6 * p.bar_length * scale) ** 2))
    open_gaps(p, hole, radius)
    old = normalise(profile * hole, old_share * (1.0 - bar), p.half_light, one, grid)
    barred = np.flatnonzero(bar > 0.0)
    if len(barred):
        bars = _paint_bars(p[barred], u[barred], v[barred], scale[barred])
        old[barred] += bars * wide((old_share * bar)[barred])
    _add_bulges(p, old, own, grid)
    add_rings(p, young, disk_share * ring_share(p), u, v, grid)
    add_patches(p, young, disk_share * patch_share(p), u, v, grid)
    _add_clumps(p, young, disk_share * CLUMP_SHARE * p.clumpiness, scale, q, grid)
    _dim(p, old, young, u, height, scale)
    add_merging(p, old, young, grid)
    return old, young


def _dim(p: GalaxyParameters, old: Image, young: Image, u: Image, height: Image, scale: Floats) -> None:
    """Dim inclined disks in place by dust in their plane.

    Dust hides what lies behind it, so the lane crosses the near side. It
    fades as the disk turns to us, and is gone at an axis ratio of 0.55.
    """
    depth = p.dust * np.clip((0.55 - p.axis_ratio) / 0.35, 0.0, 1.0)
    which = np.flatnonzero(depth > 0.0)
    if not len(which):
        return
    near = np.where(uniform_details(p.seed[which] + np.uint64(307), 1)[:, 0] < 0.5, 1.0, -1.0)
    minor = scale[which] * (0.1 + 0.6 * p.axis_ratio[which])
    lane = np.exp(-0.5 * ((height[which] - wide(0.9 * near * minor)) / wide(0.5 * minor)) ** 2)
    lane *= np.exp(-0.5 * (u[which] / wide(2.5 * scale[which])) ** 2)
    left = np.exp(-wide(depth[which]) * lane)
    old[which] *= left
    young[which] *= left


def _arm_pattern(
    p: GalaxyParameters, u: Image, v: Image, radius: Image, scale: Floats, pixel: Floats
) -> Image:
    """Return the arms' brightness over the mean disk, at least zero.

    Logarithmic arms, ``m (azimuth - ln(radius) / tan(pitch)) = phase``, with
    a sharp crest, broken up by a product of waves.  They end where a bar
    or a bulge begins, and are smooth where they lie too close for any grid.
    """
    details = uniform_details(p.seed, 4)
    azimuth = np.arctan2(v, u)
    turn = np.log(radius / wide(scale))
    m = wide(p.arm_count)
    psi = m * (azimuth - turn * wide(1.0 / np.tan(p.pitch)) - wide(p.arm_phase))
    floc = wide(p.flocculence)
    psi += 1.5 * floc * np.sin(3.0 * azimuth + 5.0 * turn + wide(6.3 * details[:, 0]))
    sharpness = 2.0 + 2.0 * details[:, 1]
    crest = np.exp(wide(sharpness) * (np.cos(psi) - 1.0))
    crest *= 1.0 + 0.8 * floc * np.sin(7.0 * azimuth - 9.0 * turn + wide(6.3 * details[:, 2]))
    finest = np.maximum(1.2, 3.0 * pixel) * p.arm_count / (2.0 * np.pi * np.tan(p.pitch))
    ends = np.maximum(0.75, 0.45 + 0.6 * p.bar_strength * p.bar_length)
    smooth = 1.0 / (1.0 + (radius / wide(finest)) ** 4)
    crest += smooth * (wide(i0e(sharpness)) - crest)
    return np.asarray(crest * (1.0 - np.exp(-((radius / wide(ends * scale)) ** 4))), dtype=np.float32)


def _paint_bars(p: GalaxyParameters, u: Image, v: Image, scale: Floats) -> Image:
    """Return bars of unit flux: flat along, steep at the end."""
    c, s = wide(np.cos(p.bar_angle)), wide(np.sin(p.bar_angle))
    length = wide(p.bar_length * scale)
    along = ((c * u + s * v) / length) ** 2
    across = ((c * v - s * u) / (length * wide(p.bar_axis_ratio))) ** 2
    bar = np.exp(-1.2 * (along * along + across))
    return np.asarray(bar / np.maximum(bar.sum(axis=(1, 2), keepdims=True), 1e-30), dtype=np.float32)


def _add_bulges(p: GalaxyParameters, image: Image, own: Floats, grid: Grid) -> None:
    which = np.flatnonzero(p.bulge_fraction > 0.0)
    if len(which):
        q = p[which]
        part = grid.take(which)
        u, v = part.rotated(q.angle)
        bulge = sersic(u * u + (v / wide(q.bulge_axis_ratio)) ** 2, q.bulge_half_light, q.sersic, part)
        image[which] += normalise(bulge, (own * p.bulge_fraction)[which], q.bulge_half_light, q.sersic, part)


def _add_clumps(
    p: GalaxyParameters, image: Image, share: Floats, scale: Floats, q: Floats, grid: Grid
) -> None:
    """Add star-forming knots: a dozen, on the disk."""
    which = np.flatnonzero(share > 0.0)
    if not len(which):
        return
    part = grid.take(which)
    numbers = uniform_details(p.seed[which] + np.uint64(77), 36).reshape(len(which), 3, 12)
    radius = scale[which, None] * (0.4 + 2.4 * numbers[:, 0])
    azimuth = 2.0 * np.pi * numbers[:, 1]
    u = radius * np.cos(azimuth)
    v = radius * np.sin(azimuth) * q[which, None]
    c, s = np.cos(p.angle[which, None]), np.sin(p.angle[which, None])
    flux = 0.3 + numbers[:, 2] ** 2
    flux *= share[which, None] / flux.sum(axis=1, keepdims=True)
    image[which] += part.blobs(
        c * u - s * v, s * u + c * v, np.broadcast_to(0.1 * scale[which, None], u.shape), flux
    )


def boxed_half_light(p: GalaxyParameters) -> Floats:
    """Return the half-light radius (arcsec) of bulges seen from the side."""
    return np.asarray(np.where(p.boxiness > 2.0, 1.35, 1.0) * p.bulge_half_light)


def paint_edge_on_disks(p: GalaxyParameters, grid: Grid) -> tuple[Image, Image]:
    """Paint disks from the side; see `paint_disks`."""
    scale = p.half_light / 1.678
    u, v = grid.rotated(p.angle)
    own = own_share(p)
    height = scale * (p.thickness + 0.55 * p.axis_ratio)
    vertical = np.maximum(np.abs(v) / wide(height), 1e-3)
    along = np.abs(u) / wide(scale) + 1e-3
    # R K_1(R): an exponential disk seen from the side, to 5 per cent.
    disk = np.sqrt(1.0 + 1.5708 * along) * np.exp(-along) / np.cosh(np.minimum(vertical, 40.0)) ** 2
    one = np.ones(len(p))
    disk = normalise(disk, own * (1.0 - p.bulge_fraction), 1.3 * p.half_light, one, grid)
    which = np.flatnonzero(p.bulge_fraction > 0.0)
    if len(which):
        c = wide(p.boxiness[which])
        part = grid.take(which)
        box = np.abs(u[which]) ** c + np.abs(v[which] / wide(p.bulge_axis_ratio[which])) ** c
        radius2 = box ** (2.0 / c)
        # A boxy bulge is flat inside and steep at its edge.
        n = np.where(p.boxiness > 2.0, 0.6, p.sersic)[which]
        size = boxed_half_light(p)[which]
        bulge = sersic(radius2, size, n, part)
        disk[which] += normalise(bulge, (own * p.bulge_fraction)[which], size, n, part)
    lane = np.exp(-0.5 * (v / wide(0.35 * height)) ** 2) * np.exp(-0.5 * (along / 2.5) ** 2)
    disk *= np.exp(-wide(p.dust) * lane)
    blue = disk * wide(0.3 * (1.0 - p.bulge_fraction))
    red = disk - blue
    add_merging(p, red, blue, grid)
    return red, blue
