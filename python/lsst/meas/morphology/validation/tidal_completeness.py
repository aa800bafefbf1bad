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

"""How much of what is there is found, and where half of it is."""

from __future__ import annotations

__all__ = ("REFERENCE_LIMIT", "Completeness", "HalfFound", "completeness_by", "fit_half_found")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

type Floats = npt.NDArray[np.float64]
type Bools = npt.NDArray[np.bool_]

REFERENCE_LIMIT = 30.0
"""Limit (mag/arcsec2) at which `HalfFound.offset` holds."""

_LEAST = 20
"""Features that a curve is fitted to at least, of both fates."""


@dataclasses.dataclass(frozen=True)
class Completeness:
    """Share of features found, in bins of a quantity."""

    edges: Floats
    """Edges of the bins, ``[bin + 1]``."""

    found: Floats
    """Share found, NaN in empty bins, ``[bin]``."""

    count: npt.NDArray[np.int64]
    """Number of features, ``[bin]``."""

    @property
    def error(self) -> Floats:
        """Standard deviation of the shares, by Laplace's rule of
        succession, ``[bin]``.
        """
        share = (np.nan_to_num(self.found) * self.count + 1.0) / (self.count + 2.0)
        return np.asarray(np.sqrt(share * (1.0 - share) / (self.count + 3.0)))


@dataclasses.dataclass(frozen=True)
class HalfFound:
    """Surface brightness at which half of all features are found."""

    offset: float
    """How much it is fainter than a limit of `REFERENCE_LIMIT` (mag)."""

    slope: float
    """Change of that difference with the limit."""

    width: float
    """Scale of the logistic function of surface brightness (mag)."""

    def at(self, limit: npt.ArrayLike) -> Floats:
        """Return the surface brightness at limits (mag/arcsec2)."""
        depth = np.asarray(limit, dtype=np.float64)
        return depth + self.offset + self.slope * (depth - REFERENCE_LIMIT)


def completeness_by(found: Bools, values: npt.NDArray[np.floating], edges: npt.ArrayLike) -> Completeness:
    """Return the share found in bins of a quantity.

    Parameters
    ----------
    found
        Whether each feature was found, ``[n]``.
    values
        The quantity; features without a finite one, or outside all bins,
        are left out, ``[n]``.
    edges
        Edges of the bins, increasing; the last belongs to the last bin.

    Returns
    -------
    completeness
        By bin.
    """
    borders = np.asarray(edges, dtype=np.float64)
    inside = np.isfinite(values) & (values >= borders[0]) & (values <= borders[-1])
    index = np.minimum(np.searchsorted(borders, values[inside], side="right") - 1, len(borders) - 2)
    count = np.bincount(index, minlength=len(borders) - 1)
    hits = np.bincount(index, weights=found[inside], minlength=len(borders) - 1)
    share = np.divide(hits, count, out=np.full(len(count), np.nan), where=count > 0)
    return Completeness(borders, share, count.astype(np.int64))


def fit_half_found(
    found: Bools, surface_brightness: npt.NDArray[np.floating], limit: npt.NDArray[np.floating]
) -> HalfFound | None:
    """Fit where half of the features are found, by maximum likelihood.

    The chance of being found is a logistic function of the surface
    brightness, whose middle is a linear function of the limit.

    Parameters
    ----------
    found
        Whether each feature was found, ``[n]``.
    surface_brightness
        Surface brightness of each (mag/arcsec2), ``[n]``.
    limit
        Limit of the image there (mag/arcsec2), ``[n]``.

    Returns
    -------
    half
        The fit; `None` with fewer than 20 features found or lost. With
        hardly any range of limits the slope is 0.
    """
    good = np.isfinite(surface_brightness) & np.isfinite(limit)
    hit, depth = found[good], np.asarray(limit[good], np.float64) - REFERENCE_LIMIT
    relative = np.asarray(surface_brightness[good], np.float64) - REFERENCE_LIMIT - depth
    if min(hit.sum(), (~hit).sum()) < _LEAST:
        return None
    sign = np.where(hit, 1.0, -1.0)
    free = float(np.ptp(depth)) > 0.2

    def loss(x: Floats) -> float:
        middle = x[0] + (x[1] * depth if free else 0.0)
        # A weak pull keeps the slope and the width finite.
        prior = 0.5 * (x[1] ** 2 + (x[2] / 2.0) ** 2)
        return float(-special.log_expit(sign * (middle - relative) * np.exp(-x[2])).sum() + prior)

    start = np.array([np.median(relative[hit]) + 0.5, 0.0, -1.0])
    best = optimize.minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
    return HalfFound(float(best.x[0]), float(best.x[1]) if free else 0.0, float(np.exp(best.x[2])))
