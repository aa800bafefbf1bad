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

"""Where masks lie about their hosts, and how faint they get."""

from __future__ import annotations

__all__ = ("MaskShape", "measure_shapes")

import dataclasses

import numpy as np
import numpy.typing as npt

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float32]
type Doubles = npt.NDArray[np.float64]

EXTENT_SHARE = 0.99
"""Share of a mask's pixels within its extent."""

FAINTEST_SHARE = 0.1
"""Share of a mask's pixels that count as its faintest."""


@dataclasses.dataclass(frozen=True)
class MaskShape:
    """Shapes of masks, NaN for those without a pixel."""

    extent: Doubles
    """Distance from the centre that holds `EXTENT_SHARE` of the pixels (in
    pixels), ``[n, feature]``.
    """

    angle: Doubles
    """Direction of the major axis from the x axis, through y (radians),
    ``[n, feature]``.
    """

    faintest: Doubles
    """Mean of the light in the faintest pixels, ``[n, feature, band]``."""


def measure_shapes(
    mask: Bools,
    probabilities: npt.NDArray[np.floating],
    light: Floats,
    shares: npt.NDArray[np.floating] | None = None,
) -> MaskShape:
    """Measure masks about the stamps' centres.

    The faintest pixels are those of least probability, not those of least
    light, which would be those with the lowest noise.

    Parameters
    ----------
    mask
        Pixels of features, ``[n, feature, s, s]``.
    probabilities
        Probabilities of pixels, of the same shape.
    light
        The features' light, or all light, ``[n, band, s, s]``.
    shares
        Each feature's part of it, ``[n, feature, s, s]``; all of it, if not
        given.

    Returns
    -------
    shapes
        The shapes.
    """
    n, n_features, size, _ = mask.shape
    extent = np.full((n, n_features), np.nan)
    angle = extent.copy()
    faintest = np.full((n, n_features, light.shape[1]), np.nan)
    axis = np.arange(size) - (size - 1) / 2.0
    for i, j in np.argwhere(mask.any(axis=(2, 3))):
        y, x = np.nonzero(mask[i, j])
        dx, dy = axis[x], axis[y]
        extent[i, j] = np.quantile(np.hypot(dx, dy), EXTENT_SHARE)
        angle[i, j] = 0.5 * np.arctan2(2.0 * np.sum(dx * dy), np.sum(dx**2) - np.sum(dy**2))
        sure = probabilities[i, j, y, x]
        few = sure <= np.quantile(sure, FAINTEST_SHARE)
        seen = light[i][:, y[few], x[few]]
        faintest[i, j] = (seen if shares is None else seen * shares[i, j, y[few], x[few]]).mean(axis=1)
    return MaskShape(extent, angle, faintest)
