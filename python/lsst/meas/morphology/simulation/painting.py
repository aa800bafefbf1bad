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

__all__ = ("band_flux", "paint", "uniform_details")

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

from .galaxies import Artifact, GalaxyParameters, Kind, colour_offset

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

ARM_SHARE = 0.5
"""Part of a disk's light in its arms at full strength."""

BAR_SHARE = 0.32
"""Part of a disk's old light in its bar at full strength."""

CLUMP_SHARE = 0.25
"""Part of a disk's light in its clumps at full strength."""

TAIL_SHARE = 0.22
"""Part of a galaxy's light in its tails at full strength."""

EDGE_ON = 0.2
"""Cosine of the inclination below which a disk is drawn edge-on."""


def uniform_details(seed: npt.NDArray[np.uint64], count: int) -> Floats:
    """Return numbers between 0 and 1 that depend on the seeds alone.

    They are splitmix64's, so an object's details do not depend on its
    neighbours in an array.

    Parameters
    ----------
    seed
        One seed per object, ``[n]``.
    count
        Numbers per object.

    Returns
    -------
    numbers
        Of shape ``[n, count]``.
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = seed[:, None] + step * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


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
    for select, painter in (
        (parameters.kind == Kind.ELLIPTICAL, _paint_ellipticals),
        ((parameters.kind == Kind.DISK) & (parameters.axis_ratio >= EDGE_ON), _paint_disks),
        ((parameters.kind == Kind.DISK) & (parameters.axis_ratio < EDGE_ON), _paint_edge_on_disks),
        (parameters.kind >= Kind.STAR, _paint_problems),
    ):
        which = np.flatnonzero(select)
        if len(which):
            grid = _Grid(size, scale[which], dx[which], dy[which])
            image[which] = painter(parameters[which], bands, grid)
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
    own = _own_share(p)
    tails = TAIL_SHARE * p.disturbance
    young = ARM_SHARE * p.arm_strength + CLUMP_SHARE * p.clumpiness
    young = np.where(p.axis_ratio < EDGE_ON, 0.3, young) * (p.kind == Kind.DISK)
    blue = own * (1.0 - p.bulge_fraction) * young + 0.5 * tails + 0.3 * (1.0 - own - tails)
    colours = np.array([colour_offset(band) for band in bands])
    faint = (1.0 - blue)[:, None] * 10.0 ** (-0.4 * colours * p.red_colour[:, None])
    faint += blue[:, None] * 10.0 ** (-0.4 * colours * p.blue_colour[:, None])
    return np.asarray(p.flux()[:, None] * faint)


class _Grid:
    """Coordinates in arcsec from the objects' centres."""

    def __init__(self, size: int, scale: Floats, dx: Floats, dy: Floats) -> None:
        axis = np.arange(size) - (size - 1) / 2.0
        self.size = size
        self.scale = scale
        self.axis_x = (axis * scale[:, None] - dx[:, None]).astype(np.float32)
        self.axis_y = (axis * scale[:, None] - dy[:, None]).astype(np.float32)
        self.half_width = scale * size / 2.0

    def take(self, which: npt.NDArray[np.int64]) -> _Grid:
        """Return the grids of some of the objects."""
        part = object.__new__(_Grid)
        part.size = self.size
        part.scale, part.half_width = self.scale[which], self.half_width[which]
        part.axis_x, part.axis_y = self.axis_x[which], self.axis_y[which]
        return part

    def rotated(
        self, angle: Floats, x0: Floats | float = 0.0, y0: Floats | float = 0.0
    ) -> tuple[Image, Image]:
        """Return coordinates along and across a direction."""
        c, s = _wide(np.cos(angle)), _wide(np.sin(angle))
        x = self.axis_x[:, None, :] - _wide(np.broadcast_to(x0, angle.shape))
        y = self.axis_y[:, :, None] - _wide(np.broadcast_to(y0, angle.shape))
        return c * x + s * y, c * y - s * x

    def blobs(self, x: Floats, y: Floats, sigma: Floats, flux: Floats) -> Image:
        """Return the sum of round Gaussians, ``[n, size, size]``.

        The arguments have the shape ``[n, blob]``.
        """
        width = np.maximum(sigma, 0.45 * self.scale[:, None])[:, :, None].astype(np.float32)
        along = np.exp(-0.5 * ((self.axis_x[:, None, :] - x[:, :, None].astype(np.float32)) / width) ** 2)
        across = np.exp(-0.5 * ((self.axis_y[:, None, :] - y[:, :, None].astype(np.float32)) / width) ** 2)
        peak = flux * (self.scale[:, None]) ** 2 / (2.0 * np.pi * width[:, :, 0] ** 2)
        return np.asarray(
            np.matmul((across * peak[:, :, None].astype(np.float32)).transpose(0, 2, 1), along),
            dtype=np.float32,
        )


def _wide(values: npt.ArrayLike) -> Image:
    """Give per-object numbers two axes of length one."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


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


def _normalise(profile: Image, share: Floats, radius: Floats, n: Floats, grid: _Grid) -> Image:
    """Scale a profile to its share of light within the grid.

    What lies beyond the grid is taken from a Sersic profile's curve of
    growth.
    """
    b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n)
    inside = gammainc(2.0 * n, b * (1.1 * grid.half_width / radius) ** (1.0 / n))
    total = np.maximum(profile.sum(axis=(1, 2), dtype=np.float64), 1e-30)
    profile *= _wide(share * inside / total)
    return profile


def _sersic(radius2: Image, half_light: Floats, n: Floats, grid: _Grid) -> Image:
    """Return a Sersic profile of the squared radius, not normalised."""
    soft = (0.3 * grid.scale) ** 2
    b = 2.0 * n - 1.0 / 3.0 + 4.0 / (405.0 * n)
    return np.asarray(
        np.exp(-_wide(b) * ((radius2 + _wide(soft)) / _wide(half_light**2)) ** _wide(0.5 / n)),
        dtype=np.float32,
    )


def _paint_ellipticals(p: GalaxyParameters, bands: tuple[str, ...], grid: _Grid) -> Image:
    u, v = grid.rotated(p.angle)
    red = _sersic(u * u + (v / _wide(p.axis_ratio)) ** 2, p.half_light, p.sersic, grid)
    red = _normalise(red, _own_share(p), p.half_light, p.sersic, grid)
    blue = np.zeros_like(red)
    _add_merging(p, red, blue, grid)
    return _combine(p, bands, red, blue)


def _own_share(p: GalaxyParameters) -> Floats:
    """Part of the light that is neither in tails nor in the companion."""
    return np.asarray((1.0 - TAIL_SHARE * p.disturbance) / (1.0 + p.companion_ratio))


def _paint_disks(p: GalaxyParameters, bands: tuple[str, ...], grid: _Grid) -> Image:
    scale = p.half_light / 1.678
    q = np.sqrt(p.axis_ratio**2 + p.thickness**2 * (1.0 - p.axis_ratio**2))
    u, v = grid.rotated(p.angle)
    v = v / _wide(q)
    radius2 = u * u + v * v
    radius = np.sqrt(radius2 + _wide((0.3 * grid.scale) ** 2))
    own = _own_share(p)
    arms = ARM_SHARE * p.arm_strength
    clumps = CLUMP_SHARE * p.clumpiness
    bar = BAR_SHARE * p.bar_strength
    disk_share = own * (1.0 - p.bulge_fraction)
    one = np.ones(len(p))
    profile = np.exp(radius / _wide(-scale))
    young = profile * _arm_pattern(p, u, v, radius, scale, grid.scale)
    young = _normalise(young, disk_share * arms, p.half_light, one, grid)
    hole = 1.0 - _wide(0.5 * p.bar_strength) * np.exp(
        radius2 / _wide(-2.0 * (0.6 * p.bar_length * scale) ** 2)
    )
    old = _normalise(
        profile * hole, disk_share * (1.0 - arms - clumps) * (1.0 - bar), p.half_light, one, grid
    )
    barred = np.flatnonzero(bar > 0.0)
    if len(barred):
        old[barred] += _paint_bars(p[barred], u[barred], v[barred], scale[barred]) * _wide(
            (disk_share * (1.0 - arms - clumps) * bar)[barred]
        )
    _add_bulges(p, old, own, grid)
    _add_clumps(p, young, disk_share * clumps, scale, q, grid)
    _add_merging(p, old, young, grid)
    return _combine(p, bands, old, young)


def _arm_pattern(
    p: GalaxyParameters, u: Image, v: Image, radius: Image, scale: Floats, pixel: Floats
) -> Image:
    """Return the arms' brightness over the mean disk, at least zero.

    Logarithmic arms, ``m (azimuth - ln(radius) / tan(pitch)) = phase``, with
    a sharp crest, broken up by a product of waves.  They end where a bar
    begins, and where they lie too close for any grid.
    """
    details = uniform_details(p.seed, 4)
    azimuth = np.arctan2(v, u)
    turn = np.log(radius / _wide(scale))
    m = _wide(p.arm_count)
    psi = m * (azimuth - turn * _wide(1.0 / np.tan(p.pitch)) - _wide(p.arm_phase))
    floc = _wide(p.flocculence)
    psi += 1.5 * floc * np.sin(3.0 * azimuth + 5.0 * turn + _wide(6.3 * details[:, 0]))
    crest = np.exp(_wide(2.0 + 2.0 * details[:, 1]) * (np.cos(psi) - 1.0))
    crest *= 1.0 + 0.8 * floc * np.sin(7.0 * azimuth - 9.0 * turn + _wide(6.3 * details[:, 2]))
    finest = np.maximum(1.2, 3.0 * pixel) * p.arm_count / (2.0 * np.pi * np.tan(p.pitch))
    inner = np.maximum((0.45 + 0.6 * p.bar_strength * p.bar_length) * scale, finest)
    return np.asarray(crest * (1.0 - np.exp(-((radius / _wide(inner)) ** 4))), dtype=np.float32)


def _paint_bars(p: GalaxyParameters, u: Image, v: Image, scale: Floats) -> Image:
    """Return bars of unit flux: flat along, steep at the end."""
    c, s = _wide(np.cos(p.bar_angle)), _wide(np.sin(p.bar_angle))
    length = _wide(p.bar_length * scale)
    along = ((c * u + s * v) / length) ** 2
    across = ((c * v - s * u) / (length * _wide(p.bar_axis_ratio))) ** 2
    bar = np.exp(-1.2 * (along * along + across))
    return np.asarray(bar / np.maximum(bar.sum(axis=(1, 2), keepdims=True), 1e-30), dtype=np.float32)


def _add_bulges(p: GalaxyParameters, image: Image, own: Floats, grid: _Grid) -> None:
    which = np.flatnonzero(p.bulge_fraction > 0.0)
    if len(which):
        q = p[which]
        part = grid.take(which)
        u, v = part.rotated(q.angle)
        bulge = _sersic(u * u + (v / _wide(q.bulge_axis_ratio)) ** 2, q.bulge_half_light, q.sersic, part)
        image[which] += _normalise(bulge, (own * p.bulge_fraction)[which], q.bulge_half_light, q.sersic, part)


def _add_clumps(
    p: GalaxyParameters, image: Image, share: Floats, scale: Floats, q: Floats, grid: _Grid
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


def _paint_edge_on_disks(p: GalaxyParameters, bands: tuple[str, ...], grid: _Grid) -> Image:
    scale = p.half_light / 1.678
    u, v = grid.rotated(p.angle)
    own = _own_share(p)
    height = scale * (p.thickness + 0.55 * p.axis_ratio)
    vertical = np.maximum(np.abs(v) / _wide(height), 1e-3)
    along = np.abs(u) / _wide(scale) + 1e-3
    # R K_1(R): an exponential disk seen from the side, to 5 per cent.
    disk = np.sqrt(1.0 + 1.5708 * along) * np.exp(-along) / np.cosh(np.minimum(vertical, 40.0)) ** 2
    one = np.ones(len(p))
    disk = _normalise(disk, own * (1.0 - p.bulge_fraction), 1.3 * p.half_light, one, grid)
    which = np.flatnonzero(p.bulge_fraction > 0.0)
    if len(which):
        c = _wide(p.boxiness[which])
        part = grid.take(which)
        box = np.abs(u[which]) ** c + np.abs(v[which] / _wide(p.bulge_axis_ratio[which])) ** c
        radius2 = box ** (2.0 / c)
        n = np.where(p.boxiness > 2.0, 1.0, p.sersic)[which]
        bulge = _sersic(radius2, p.bulge_half_light[which], n, part)
        disk[which] += _normalise(bulge, (own * p.bulge_fraction)[which], p.bulge_half_light[which], n, part)
    lane = np.exp(-0.5 * (v / _wide(0.35 * height)) ** 2) * np.exp(-0.5 * (along / 2.5) ** 2)
    disk *= np.exp(-_wide(p.dust) * lane)
    blue = disk * _wide(0.3 * (1.0 - p.bulge_fraction))
    red = disk - blue
    _add_merging(p, red, blue, grid)
    return _combine(p, bands, red, blue)


def _add_merging(p: GalaxyParameters, red: Image, blue: Image, grid: _Grid) -> None:
    """Add companions and tidal tails in place."""
    which = np.flatnonzero((p.companion_ratio > 0.0) | (p.disturbance > 0.0))
    if not len(which):
        return
    q = p[which]
    part = grid.take(which)
    details = uniform_details(q.seed + np.uint64(991), 8)
    ratio = np.maximum(q.companion_ratio, 1e-3)
    distance = q.companion_distance * q.half_light
    x0, y0 = distance * np.cos(q.companion_angle), distance * np.sin(q.companion_angle)
    u, v = part.rotated(q.angle + np.pi * details[:, 0], x0, y0)
    size = q.half_light * np.sqrt(ratio) * (0.6 + 0.4 * details[:, 1])
    n = 1.0 + 1.5 * details[:, 2]
    second = _sersic(u * u + (v / _wide(0.35 + 0.6 * details[:, 3])) ** 2, size, n, part)
    share = (1.0 - TAIL_SHARE * q.disturbance) * q.companion_ratio / (1.0 + q.companion_ratio)
    # The curve of growth is the companion's own, off centre; good enough.
    second = _normalise(second, share, size, n, part)
    tails = _tails(q, details, part)
    red[which] += second * 0.7 + tails * 0.5
    blue[which] += second * 0.3 + tails * 0.5


def _tails(q: GalaxyParameters, details: Floats, grid: _Grid) -> Image:
    """Return two tidal arms that wind out of the disk, as beads."""
    count = 14
    t = np.linspace(0.0, 1.0, count)
    length = q.half_light * (2.0 + 1.8 * details[:, 4])
    start = q.companion_angle[:, None]
    winding = (1.2 + 1.4 * details[:, 5]) * np.where(details[:, 6] < 0.5, 1.0, -1.0)
    radius = 1.0 * q.half_light[:, None] + t * length[:, None]
    azimuth = start + winding[:, None] * t
    second = start + np.pi + 0.8 * winding[:, None] * t
    x = np.concatenate([radius * np.cos(azimuth), 0.85 * radius * np.cos(second)], axis=1)
    y = np.concatenate([radius * np.sin(azimuth), 0.85 * radius * np.sin(second)], axis=1)
    sigma = np.tile(q.half_light[:, None] * (0.22 + 0.12 * t), (1, 2))
    flux = np.concatenate([np.tile(1.4 - t, (len(q), 1)), (0.3 + 0.5 * details[:, 7:8]) * (1.4 - t)], axis=1)
    flux *= (TAIL_SHARE * q.disturbance)[:, None] / flux.sum(axis=1, keepdims=True)
    return grid.blobs(x, y, sigma, flux)


def _paint_problems(p: GalaxyParameters, bands: tuple[str, ...], grid: _Grid) -> Image:
    """Paint stars with spikes, trails, ghosts, glows and bleeding."""
    n = len(p)
    details = uniform_details(p.seed + np.uint64(5), 8)
    u, v = grid.rotated(p.angle)
    x, y = grid.rotated(np.zeros(n))
    pixel = _wide(grid.scale**2)
    flux = p.flux()
    out = np.zeros((n, len(bands), grid.size, grid.size), dtype=np.float32)
    star = grid.blobs(np.zeros((n, 1)), np.zeros((n, 1)), np.full((n, 1), 0.05), flux[:, None])
    spike = sum(np.exp(-0.5 * (b / 0.25) ** 2) / (1.0 + np.abs(a) / 1.5) ** 1.8 for a, b in ((u, v), (v, u)))
    halo = 1.0 / (1.0 + (u * u + v * v) / 4.0) ** 1.4
    starry = star * 0.93 + _wide(flux) * pixel * (0.004 * spike + 0.0012 * halo)
    bleed = np.exp(-0.5 * (x / 0.5) ** 2) * _fall(np.abs(y) - _wide(5.0 + 7.0 * details[:, 0]))
    offset = _wide(1.0 * (details[:, 1] - 0.5))
    trail = np.exp(-0.5 * ((v - offset) / _wide(0.3 + 0.5 * details[:, 2])) ** 2)
    ring_radius = _wide(5.0 + 5.0 * details[:, 3])
    radius = np.sqrt((u - 1.0) ** 2 + v * v)
    ghost = _fall(radius - ring_radius)
    ghost *= 1.0 - 0.8 * _fall(radius - 0.35 * ring_radius)
    glow = np.exp(-np.sqrt((u + 4.0) ** 2 + 0.15 * v * v + 1.0) / 5.0)
    glow = glow * _fall((radius - 22.0) / 4.0)
    # Surface brightness in nJy per square arcsec of the extended kinds.
    bright = _wide(10.0 ** (2.4 + 1.2 * details[:, 4])) * pixel
    for b, band in enumerate(bands):
        colour = _wide(10.0 ** (-0.4 * colour_offset(band) * (0.3 + 0.7 * details[:, 5])))
        only = _wide(np.where(np.abs(details[:, 6] * len(bands) - b - 0.5) < 0.5, 1.0, 0.08))
        kinds = {
            Artifact.NONE: starry * colour,
            Artifact.SATELLITE: 2.0 * bright * trail * only,
            Artifact.SCATTERED: 4.0 * bright * glow * colour,
            Artifact.SATURATION: (starry + 3e4 * pixel * bleed) * colour,
            Artifact.GHOST: bright * ghost * colour,
        }
        for artifact, picture in kinds.items():
            which = p.artifact == artifact
            out[which, b] = picture[which]
    return out


def _fall(x: npt.NDArray[np.floating]) -> Image:
    """Return one inside and zero outside, with a soft edge at zero."""
    return np.asarray(0.5 - 0.5 * np.tanh(1.5 * x), dtype=np.float32)
