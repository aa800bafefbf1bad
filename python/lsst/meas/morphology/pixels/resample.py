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

"""Resampling of many windows at once, each at its own scale."""

from __future__ import annotations

__all__ = ("AxisWeights", "axis_weights", "footprint", "resample")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class AxisWeights:
    """Weights along one axis: what each stamp pixel takes of each pixel."""

    index: npt.NDArray[np.int32]
    """Pixels of the window that contribute, ``[n, size, tap]``."""

    weight: npt.NDArray[np.float32]
    """Their weights, ``[n, size, tap]``."""

    length: int
    """Length of the windows along this axis."""


def footprint(centre: Floats, scale: Floats, size: int) -> tuple[Integers, Integers]:
    """Return the range of pixels that contribute to stamps along one axis.

    Parameters
    ----------
    centre
        Position of the stamps' centres; integers are pixel centres, ``[n]``.
    scale
        Pixels per stamp pixel, ``[n]``.
    size
        Number of stamp pixels.

    Returns
    -------
    start, stop
        First pixel, and last plus one, ``[n]``.
    """
    half = 0.5 * size * scale
    return np.floor(centre - half).astype(np.int64), np.ceil(centre + half).astype(np.int64) + 1


def axis_weights(centre: Floats, scale: Floats, size: int, length: int) -> AxisWeights:
    r"""Return the weights that resample windows along one axis.

    A stamp pixel is the integral, over its extent, of the linear
    interpolation between the pixels' centres.  The weight of pixel ``i`` in
    a stamp pixel from ``a`` to ``b`` is therefore

    .. math:: C(b - i) - C(a - i), \quad C(u) = 1/2 + u - u |u| / 2,

    with ``u`` limited to [-1, 1].  Over all stamp pixels the weights of a
    pixel add up to 1, at any scale, so that the total flux and (for what
    varies slowly over a stamp pixel) the centroid are kept; weights are
    never negative; and at large scales the integral is the average that
    keeps noise and detail from being aliased.

    Parameters
    ----------
    centre
        Position of the stamps' centres in their windows; integers are pixel
        centres, ``[n]``.
    scale
        Pixels per stamp pixel, ``[n]``.
    size
        Number of stamp pixels.
    length
        Length of the windows; what lies outside them has no weight.
    """
    edges = centre[:, None] + (np.arange(size + 1) - 0.5 * size) * scale[:, None]
    first = np.floor(edges[:, :-1]).astype(np.int64)
    n_taps = int(np.max(np.ceil(edges[:, 1:]).astype(np.int64) - first)) + 1 if len(centre) else 1
    index = first[:, :, None] + np.arange(n_taps)
    weight = _integral(edges[:, 1:, None] - index) - _integral(edges[:, :-1, None] - index)
    weight[(index < 0) | (index >= length)] = 0.0
    return AxisWeights(
        index=np.clip(index, 0, length - 1).astype(np.int32),
        weight=weight.astype(np.float32),
        length=length,
    )


def _integral(u: Floats) -> Floats:
    """Integrate the unit triangle from minus infinity."""
    u = np.clip(u, -1.0, 1.0)
    return 0.5 + u - 0.5 * u * np.abs(u)


def resample(
    windows: npt.NDArray[np.float32], rows: AxisWeights, columns: AxisWeights
) -> npt.NDArray[np.float32]:
    """Resample windows along both axes.

    Parameters
    ----------
    windows
        Pixels, ``[n, y, channel, x]``.
    rows, columns
        Weights along y and along x.

    Returns
    -------
    stamps
        Sums over the windows with both weights, ``[n, channel, size, size]``,
        in the order y, x.  Each stamp depends on its own window alone, bit
        for bit.
    """
    n, _, n_channels, _ = windows.shape
    size = rows.weight.shape[1]
    half = _matrix(rows) @ windows.reshape(n * rows.length, n_channels * columns.length)
    half = half.reshape(n, size, n_channels, columns.length).transpose(0, 3, 2, 1)
    full = _matrix(columns) @ half.reshape(n * columns.length, n_channels * size)
    stamps = full.reshape(n, size, n_channels, size).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(stamps, dtype=np.float32)


def _matrix(axis: AxisWeights) -> csr_array:
    """Return the weights of all windows as one block-diagonal matrix."""
    n, size, n_taps = axis.weight.shape
    offset = np.arange(n, dtype=np.int32)[:, None, None] * np.int32(axis.length)
    pointers = np.arange(n * size + 1, dtype=np.int32) * np.int32(n_taps)
    matrix = (axis.weight.ravel(), (axis.index + offset).ravel(), pointers)
    return csr_array(matrix, shape=(n * size, n * axis.length))
