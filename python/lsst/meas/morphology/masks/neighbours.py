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

"""Light of neighbours, found by its being compact or simply there."""

from __future__ import annotations

__all__ = ("Neighbours", "find_neighbours")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float32]

COMPACT_WIDTH = 2.0
"""Width (sigma, in stamp pixels) below which light is compact."""

COMPACT_SHARE = 0.45
"""Share of its light that a compact source loses when it is smoothed."""

COMPACT_SIGMA = 5.0
"""Least significance of a compact source's brightest pixel."""

SMOOTH_WIDTH = 1.5
"""Width (sigma, in stamp pixels) of the smoothing for extended light."""

SMOOTH_SIGMA = 3.0
"""Least significance of extended light."""

GROWTH = ((5.0, 2), (40.0, 4), (300.0, 8))
"""How far compact sources are grown (pixels), from which significance."""


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Pixels with the light of neighbours, ``[n, s, s]`` each."""

    compact: Bools
    """Compact sources with their surroundings, on features or not."""

    any: Bools
    """Those, and all other light that is neither host nor feature."""


def find_neighbours(
    residual: Floats, valid: Bools, features: Bools, centre: Bools, sigma: npt.NDArray[np.floating]
) -> Neighbours:
    """Find the light of neighbours in images without their hosts.

    A feature is extended and survives being smoothed; a star or a small
    galaxy on it does not.

    Parameters
    ----------
    residual
        Image without the host and the sky, in any unit, ``[n, s, s]``.
    valid
        Whether it was measured.
    features
        Pixels that may belong to features.
    centre
        Pixels too near the host's centre to tell, ``[n, s, s]`` or the same
        for all, ``[1, s, s]``.
    sigma
        Least noise of a pixel that is believed, ``[n]``.

    Returns
    -------
    neighbours
        The pixels.
    """
    image = np.where(valid, residual, 0.0).astype(np.float32)
    least = np.asarray(sigma, np.float32)[:, None, None]
    noise = np.maximum(_noise(image, valid & ~features), least)
    fine = image - _smooth(image, COMPACT_WIDTH)
    compact = np.zeros(image.shape, np.bool_)
    peak = (fine > COMPACT_SHARE * image) & ~centre
    for level, reach in GROWTH:
        bright = (peak & (fine > level * noise)).view(np.uint8)
        compact |= maximum_filter(bright, size=(1, 2 * reach + 1, 2 * reach + 1)).view(np.bool_)
    compact &= ~centre
    smooth = _smooth(image, SMOOTH_WIDTH)
    seen = smooth > SMOOTH_SIGMA * _noise(smooth, valid & ~features)
    return Neighbours(compact, compact | (seen & ~features & ~centre))


def _smooth(image: Floats, width: float) -> Floats:
    return np.asarray(gaussian_filter(image, (0.0, width, width), mode="nearest", truncate=3.0))


def _noise(image: Floats, chosen: Bools) -> Floats:
    """Return the width of each stamp's values about zero, ``[n, 1, 1]``.

    Every third pixel of every third row is enough.
    """
    part = np.where(chosen, np.abs(image), np.nan)[:, ::3, ::3].reshape(len(image), -1)
    part = np.where(np.isfinite(part).any(axis=1, keepdims=True), part, np.float32(np.inf))
    return (1.4826 * np.nanmedian(part, axis=1))[:, None, None].astype(np.float32)
