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

"""Stars with spikes, and artefacts."""

from __future__ import annotations

__all__ = ("paint_problems",)

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .galaxies import Artifact, GalaxyParameters, colour_offset
from .grid import Grid, soft_edge, uniform_details, wide

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]


def paint_problems(p: GalaxyParameters, bands: tuple[str, ...], grid: Grid) -> Image:
    """Paint stars with spikes, and artefacts.

    Parameters
    ----------
    p
        The ``n`` objects, none of them a galaxy.
    bands
        Names of the bands.
    grid
        Their grids.

    Returns
    -------
    image
        Flux per pixel in nJy, ``[n, band, size, size]``.
    """
    details = uniform_details(p.seed + np.uint64(5), 12)
    coloured = np.stack([10.0 ** (-0.4 * colour_offset(b) * (0.3 + 0.7 * details[:, 5])) for b in bands], 1)
    # What only one exposure saw is in one band's coadd, or nearly so.
    chosen = np.minimum(details[:, 6] * len(bands), len(bands) - 1).astype(np.int64)
    single = np.where(chosen[:, None] == np.arange(len(bands)), 1.0, 0.08)
    out = np.zeros((len(p), len(bands), grid.size, grid.size), dtype=np.float32)
    for artifact, painter in _PAINTERS.items():
        which = np.flatnonzero(p.artifact == artifact)
        if len(which):
            picture = painter(p[which], details[which], grid.take(which))
            weight = (single if artifact in _SINGLE else coloured)[which]
            out[which] = picture[:, None] * weight.astype(np.float32)[:, :, None, None]
    return out


def _brightness(details: Floats, grid: Grid) -> Image:
    """Return an extended artefact's light per pixel, in nJy."""
    return wide(10.0 ** (2.4 + 1.2 * details[:, 4]) * grid.scale**2)


def _star(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint a point with two short spikes and a halo."""
    flux = p.flux()
    zero = np.zeros((len(p), 1))
    u, v = grid.rotated(p.angle)
    spikes = _spike(u, v, 0.25, 1.8) + _spike(v, u, 0.25, 1.8)
    halo = 1.0 / (1.0 + (u * u + v * v) / 4.0) ** 1.4
    point = grid.blobs(zero, zero, zero + 0.05, flux[:, None])
    star = 0.93 * point + wide(flux * grid.scale**2) * (0.004 * spikes + 0.0012 * halo)
    return np.asarray(star, dtype=np.float32)


def _spike(along: Image, across: Image, width: float, slope: float) -> Image:
    spike = np.exp(-0.5 * (across / width) ** 2) / (1.0 + np.abs(along) / 1.5) ** slope
    return np.asarray(spike, dtype=np.float32)


def _satellite(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint a straight trail across the frame."""
    _, v = grid.rotated(p.angle)
    trail = np.exp(-0.5 * ((v - wide(details[:, 1] - 0.5)) / wide(0.3 + 0.5 * details[:, 2])) ** 2)
    return 2.0 * _brightness(details, grid) * trail


def _scattered(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint a wide glow that fades to one side."""
    u, v = grid.rotated(p.angle)
    glow = np.exp(-np.sqrt((u + 4.0) ** 2 + 0.15 * v * v + 1.0) / 5.0)
    glow *= soft_edge((np.hypot(u - 1.0, v) - 22.0) / 4.0)
    return 4.0 * _brightness(details, grid) * glow


def _saturation(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint a star that bleeds along the columns."""
    x, y = grid.rotated(np.zeros(len(p)))
    bleed = np.exp(-0.5 * (x / 0.5) ** 2) * soft_edge(np.abs(y) - wide(5.0 + 7.0 * details[:, 0]))
    return np.asarray(_star(p, details, grid) + 3e4 * wide(grid.scale**2) * bleed, dtype=np.float32)


def _ghost(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint the image of the telescope's pupil: a disk with a hole."""
    u, v = grid.rotated(p.angle)
    radius, edge = np.hypot(u - 1.0, v), wide(5.0 + 5.0 * details[:, 3])
    return (
        _brightness(details, grid) * soft_edge(radius - edge) * (1.0 - 0.8 * soft_edge(radius - 0.35 * edge))
    )


def _diffraction(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint the long spikes of a star at the frame's side, or beyond.

    The object is a piece of one of the spikes.
    """
    u, v = grid.rotated(p.angle, *_aside(p.angle, 4.0 + 9.0 * details[:, 1]))
    spikes = _spike(u, v, 0.4, 0.9) + _spike(v, u, 0.4, 0.9)
    radius2 = u * u + v * v
    halo = 1.5 / (1.0 + radius2 / 9.0) ** 1.5 + 40.0 * np.exp(-2.0 * radius2)
    return np.asarray(12.0 * _brightness(details, grid) * (2.5 * spikes + halo), dtype=np.float32)


def _aside(angle: Floats, distance: Floats) -> tuple[Floats, Floats]:
    return distance * np.cos(angle), distance * np.sin(angle)


def _ray(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint the short, bent track of a charged particle."""
    u, v = grid.rotated(p.angle)
    reach = wide(1.2 + 2.5 * details[:, 0])
    bend = wide(0.6 * (details[:, 1] - 0.5)) * np.abs(u) + wide(0.5 * (details[:, 2] - 0.5)) * u
    ends = soft_edge((np.abs(u + wide(details[:, 3] - 0.5)) - reach) / 0.2)
    return 8.0 * _brightness(details, grid) * np.exp(-0.5 * ((v - bend) / 0.15) ** 2) * ends


def _other(p: GalaxyParameters, details: Floats, grid: Grid) -> Image:
    """Paint what the correction of the detector left.

    It is either a step in the background, where two amplifiers meet, or
    fringes: bent stripes.
    """
    x, y = grid.rotated(np.where(details[:, 0] < 0.5, 0.0, 0.5 * np.pi))
    step = soft_edge((y - wide(3.0 * (details[:, 1] - 0.5))) / 0.3)
    step *= wide(np.where(details[:, 2] < 0.5, 1.0, -1.0))
    wave = 2.0 * np.pi / (2.0 + 2.5 * details[:, 3])
    u, v = grid.rotated(p.angle)
    bend = 1.5 * np.sin(0.25 * u + wide(6.3 * details[:, 7])) + np.sin(0.11 * v + wide(6.3 * details[:, 8]))
    fringes = np.sin(wide(wave) * (v + bend))
    stepped = wide(details[:, 9] < 0.4)
    return _brightness(details, grid) * (1.0 + stepped * step + (1.0 - stepped) * fringes)


_PAINTERS: dict[Artifact, Callable[[GalaxyParameters, Floats, Grid], Image]] = {
    Artifact.NONE: _star,
    Artifact.SATELLITE: _satellite,
    Artifact.SCATTERED: _scattered,
    Artifact.SATURATION: _saturation,
    Artifact.GHOST: _ghost,
    Artifact.DIFFRACTION: _diffraction,
    Artifact.RAY: _ray,
    Artifact.OTHER: _other,
}

_SINGLE = frozenset((Artifact.SATELLITE, Artifact.RAY))
