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

"""Particles as a smooth picture.

Each particle is spread over a bell whose width grows where particles are
few, so that neither a dense ridge is blurred nor a thin one grainy. The
bells are quadratic B-splines that come from halving coarse grids: painting
costs little more than one pass over the finest.
"""

from __future__ import annotations

__all__ = ("paint_debris", "project")

import numpy as np
import numpy.typing as npt

type Floats = npt.NDArray[np.floating]
type Image = npt.NDArray[np.float32]

_MARGIN = 16
"""Pixels around the picture in which particles still count."""


def project(x: Floats, rotation: Floats) -> Image:
    """Return positions on the sky.

    Parameters
    ----------
    x
        Positions, ``[m, 3]``.
    rotation
        Rotation matrix, ``[3, 3]``; the observer looks along its last row.

    Returns
    -------
    xy
        ``[m, 2]``.
    """
    return np.asarray(x, dtype=np.float32) @ np.asarray(rotation, dtype=np.float32)[:2].T


def paint_debris(
    xy: Floats,
    weight: Floats,
    *,
    size: int,
    pixel_scale: float,
    neighbours: float = 100.0,
    levels: int = 6,
) -> Image:
    """Return the share of the debris's light in each pixel.

    Parameters
    ----------
    xy
        Positions from the picture's middle in host radii, ``[m, 2]``.
    weight
        Shares of the light, ``[m]``.
    size
        Pixels on a side.
    pixel_scale
        Host radii per pixel.
    neighbours
        Particles that each bell should hold. The grain of randomly placed
        ones is then about ``1.2 * neighbours ** -0.5`` of the light,
        wherever bells are not at their widest.
    levels
        Widths of bells; each is twice the one before. The narrowest has a
        standard deviation of 0.7 pixels.

    Returns
    -------
    share
        ``[size, size]``, y first; what lies outside is not counted.
    """
    unit = 2 ** (levels - 1)
    side = -(-(size + 2 * _MARGIN) // unit) * unit
    start = (side - size) // 2
    place = np.asarray(xy, dtype=np.float32) / np.float32(pixel_scale) + np.float32(start + size / 2.0)
    inside = ((place >= 0.0) & (place < side)).all(axis=1)
    column, row = place[inside].astype(np.int64).T
    pixel = row * side + column
    counts = np.bincount(pixel, minlength=side * side).reshape(side, side).astype(np.float32)
    light = np.bincount(pixel, weight[inside], minlength=side * side).reshape(side, side).astype(np.float32)
    level = _levels(counts, neighbours, levels)
    picture = np.zeros((1, 1), dtype=np.float32)
    for step in range(levels - 1, -1, -1):
        own = _sum_blocks(light * np.maximum(1.0 - np.abs(level - step), 0.0), 2**step)
        picture = own if step == levels - 1 else _halve(picture) + own
    return np.ascontiguousarray(_blur(picture)[start : start + size, start : start + size])


def _levels(counts: Image, neighbours: float, levels: int) -> Image:
    """Return how wide bells are in each pixel, as powers of two.

    A bell's width is interpolated between the last level at which it holds
    too few particles and the first at which it holds enough.
    """
    held: list[Image] = []
    for step in range(levels):
        counts = _blur(counts if step == 0 else _sum_blocks(counts, 2))
        # One over the sum of a bell's squared values: a quadratic spline
        # covers 3.3 cells; the last blur, of one pixel, adds to the narrow.
        covered = np.float32(3.3 + 3.8 / 4.0**step)
        held.append(np.log(np.maximum(covered * counts, np.float32(0.1))))
    wanted = np.float32(np.log(neighbours))
    level: Image = np.full_like(held[-1], levels - 1.0)
    for step in range(levels - 1, 0, -1):
        few, many = held[step - 1], _repeat(held[step])
        between = (wanted - few) / np.maximum(many - few, np.float32(0.1))
        narrow = np.float32(step - 1) + between.clip(0.0, 1.0)
        level = np.where(many >= wanted, narrow, _repeat(level))
    return level


def _repeat(picture: Image) -> Image:
    """Repeat each pixel twice along each axis."""
    return picture.repeat(2, axis=0).repeat(2, axis=1)


def _sum_blocks(picture: Image, factor: int) -> Image:
    """Sum square blocks of pixels."""
    side = picture.shape[0] // factor
    return picture.reshape(side, factor, side, factor).sum(axis=(1, 3))


def _halve(picture: Image) -> Image:
    """Return the same light on pixels of half the size, and smoother."""
    return _halve_rows(_halve_rows(picture).T).T


def _halve_rows(picture: Image) -> Image:
    """Split each row in two by quadratic B-splines; edges keep the light."""
    below = np.concatenate([picture[:1], picture[:-1]])
    above = np.concatenate([picture[1:], picture[-1:]])
    rows = np.empty((2 * picture.shape[0], picture.shape[1]), dtype=np.float32)
    rows[0::2] = 0.375 * picture + 0.125 * below
    rows[1::2] = 0.375 * picture + 0.125 * above
    return rows


def _blur(picture: Image) -> Image:
    """Blur with weights 1/4, 1/2, 1/4 each way; edges keep the light."""
    for _ in range(2):
        below = np.concatenate([picture[:1], picture[:-1]])
        above = np.concatenate([picture[1:], picture[-1:]])
        picture = (0.5 * picture + 0.25 * (below + above)).T
    return picture
