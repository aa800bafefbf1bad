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

"""Pixels that coadds lack: edges, holes, saturated cores, single bands."""

from __future__ import annotations

__all__ = ("lose_pixels",)

import numpy as np
import numpy.typing as npt

_EDGES, _HOLES, _ONE_BAND = 0.06, 0.05, 0.03
_SATURATED = 5e5
"""Surface brightness at which a visit saturates (nJy per arcsec**2)."""


def lose_pixels(
    rng: np.random.Generator, surface_brightness: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Draw which pixels were measured.

    Of six stamps in a hundred a stripe is lost at an edge, of five a
    rectangle, of three a stripe or rectangle in one band alone.

    Parameters
    ----------
    rng
        Source of random numbers.
    surface_brightness
        What is there to see (nJy per arcsec**2), ``[n, band, size, size]``.

    Returns
    -------
    valid
        Of the same shape.
    """
    n, bands, size, _ = surface_brightness.shape
    valid = surface_brightness < _SATURATED
    fate = rng.random((n,))
    # Sides are left, bottom, right and top.
    width = rng.integers(1, size // 2 - 4, (n,)).tolist()
    side = rng.integers(0, 4, (n,)).tolist()
    y, x = rng.integers(0, size, (n,)).tolist(), rng.integers(0, size, (n,)).tolist()
    height, across = rng.integers(2, size // 5, (n,)).tolist(), rng.integers(2, size // 5, (n,)).tolist()
    one = rng.integers(0, bands, (n,)).tolist()
    for k in np.flatnonzero(fate < _EDGES + _HOLES + _ONE_BAND).tolist():
        single = fate[k] >= _EDGES + _HOLES
        stamp = valid[k, one[k] : one[k] + 1] if single else valid[k]
        if fate[k] < _EDGES or (single and y[k] % 2):
            stripe = slice(0, width[k]) if side[k] < 2 else slice(size - width[k], size)
            if side[k] % 2:
                stamp[:, stripe] = False
            else:
                stamp[:, :, stripe] = False
        else:
            stamp[:, y[k] : y[k] + height[k], x[k] : x[k] + across[k]] = False
    return np.asarray(valid)
