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

"""How much the sums over many pixels fluctuate, measured on the stamps."""

from __future__ import annotations

__all__ = ("Fluctuations", "measure_fluctuations")

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

type Bools = npt.NDArray[np.bool_]
type Doubles = npt.NDArray[np.float64]

SMALL, LARGE = 4, 16
"""Sides of the blocks whose means are compared, in stamp pixels."""

LEAST_CLEAR = 0.6
"""Share of a block's pixels that must be clear."""

LEAST_BLOCKS = 8
"""Blocks of either size that are needed to measure how they differ."""


@dataclasses.dataclass(frozen=True)
class Fluctuations:
    """Variance of sums, as a law in their number of pixels."""

    noise: Doubles
    """Variance of a sum per pixel, for sums of a few dozen: noise with its
    correlation from pixel to pixel, ``[n, band]``.
    """

    sky: Doubles
    """Variance of the level from one large block to the next: sky, halos
    and sources too faint to be seen, ``[n, band]``.
    """

    blocks: Doubles
    """Number of large blocks that were clear, ``[n, band]``."""

    def variance(self, pixels: npt.NDArray[np.floating]) -> Doubles:
        r"""Return the variance of the sum of some pixels.

        .. math:: a N + c N \min(N, L^2) + c N^2 / B

        is noise, the sky's unevenness, which goes on evenly for a block's
        :math:`L^2` pixels, and the error of the sky's level, known from
        :math:`B` blocks.

        Parameters
        ----------
        pixels
            Numbers of pixels :math:`N`, ``[n, ...]``.

        Returns
        -------
        variance
            In the squared unit of the pixels, ``[n, ..., band]``.
        """
        number = np.asarray(pixels, np.float64)[..., None]
        axes = (slice(None), *(None,) * (number.ndim - 2), slice(None))
        noise, sky, blocks = self.noise[axes], self.sky[axes], np.maximum(self.blocks, 1.0)[axes]
        result = noise * number + sky * number * np.minimum(number, LARGE**2) + sky * number**2 / blocks
        return np.asarray(result)


def measure_fluctuations(residual: npt.NDArray[np.floating], clear: Bools, white: Doubles) -> Fluctuations:
    """Measure the fluctuations of pixels without features or sources.

    Means over small and over large blocks differ by noise, which averages
    out with the area, and by the sky's unevenness, which does not.

    Parameters
    ----------
    residual
        Surface brightness without host and sky, ``[n, band, s, s]``.
    clear
        Pixels that show nothing, of the same shape.
    white
        Variance of a pixel as the coadd states it, ``[n, band]``: what is
        taken, with some unevenness, where there are too few clear blocks.

    Returns
    -------
    fluctuations
        The law.
    """
    small, _ = _spread(residual, clear, SMALL)
    large, blocks = _spread(residual, clear, LARGE)
    noise = np.maximum(small - large, 0.0) / (1.0 / SMALL**2 - 1.0 / LARGE**2)
    sky = np.maximum(large - noise / LARGE**2, 0.0)
    known = (blocks >= LEAST_BLOCKS) & (noise > 0.0)
    return Fluctuations(
        noise=np.where(known, noise, white),
        sky=np.where(known, sky, white / SMALL**2),
        blocks=blocks.astype(np.float64),
    )


def _spread(
    residual: npt.NDArray[np.floating], clear: Bools, side: int
) -> tuple[Doubles, npt.NDArray[np.int64]]:
    """Return the variance of blocks' means, and the number of blocks."""
    n, n_bands, size, _ = residual.shape
    whole = size // side
    if whole == 0:
        return np.zeros((n, n_bands)), np.zeros((n, n_bands), np.int64)
    start = (size - whole * side) // 2
    part = slice(start, start + whole * side)

    def total(values: npt.NDArray[Any]) -> Doubles:
        blocks = values[:, :, part, part].reshape(n, n_bands, whole, side, whole, side)
        return np.asarray(blocks.sum(axis=(3, 5), dtype=np.float64)).reshape(n, n_bands, -1)

    count = total(clear)
    good = count >= LEAST_CLEAR * side**2
    mean = np.divide(
        total(np.where(clear, residual, 0.0)), count, out=np.full(count.shape, np.nan), where=good
    )
    empty = ~good.any(axis=2)
    mean[empty] = 0.0
    middle = np.nanmedian(mean, axis=2, keepdims=True)
    spread = 1.4826 * np.nanmedian(np.abs(mean - middle), axis=2)
    return np.asarray(spread**2), np.asarray(good.sum(axis=2))
