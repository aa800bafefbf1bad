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

"""Measured fluxes of debris against the true ones."""

from __future__ import annotations

__all__ = ("LEVEL", "FluxScore", "fit_flux_error", "fit_flux_scale", "score_flux")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import optimize

type Floats = npt.NDArray[np.floating]

LEVEL = 0.6827
"""Probability of the interval of one standard deviation on either side."""


@dataclasses.dataclass(frozen=True)
class FluxScore:
    """How well fluxes were measured."""

    count: int
    """Number of features."""

    error: float
    """Median of the absolute relative error."""

    bias: float
    """Median of the relative error."""

    coverage: float
    """Share of the truths within the stated error."""


def score_flux(flux: Floats, sigma: Floats, truth: Floats) -> FluxScore:
    """Compare measured fluxes with the true ones.

    Parameters
    ----------
    flux, sigma
        Measured fluxes and their errors (nJy), ``[n]``.
    truth
        True fluxes (nJy), positive, ``[n]``.

    Returns
    -------
    score
        Of the features whose flux is finite; NaN without any.
    """
    good = np.isfinite(flux) & np.isfinite(sigma)
    if not good.any():
        return FluxScore(0, *[float("nan")] * 3)
    off = np.asarray(flux[good] / truth[good] - 1.0, dtype=np.float64)
    within = np.abs(flux[good] - truth[good]) <= sigma[good]
    return FluxScore(
        int(good.sum()), float(np.median(np.abs(off))), float(np.median(off)), float(within.mean())
    )


def fit_flux_scale(flux: Floats, truth: Floats) -> float:
    """Return the factor that takes the bias off measured fluxes.

    Parameters
    ----------
    flux
        Measured fluxes (nJy), ``[n]``.
    truth
        True fluxes (nJy), positive, ``[n]``.

    Returns
    -------
    scale
        One over the median of measured over true fluxes; 1 if there is
        none, or it is not positive.
    """
    good = np.isfinite(flux)
    middle = float(np.median(flux[good] / truth[good])) if good.any() else 1.0
    return 1.0 / middle if middle > 0.0 else 1.0


def fit_flux_error(flux: Floats, sigma: Floats, truth: Floats, *, level: float = LEVEL) -> float:
    """Return the relative error that makes stated intervals true.

    Parameters
    ----------
    flux, sigma
        Measured fluxes, scaled, and their errors (nJy), ``[n]``.
    truth
        True fluxes (nJy), positive, ``[n]``.
    level
        Share of the truths that the intervals are to hold.

    Returns
    -------
    error
        Part of the measured flux that, added to the errors in quadrature,
        makes the intervals hold that share; 0 if they hold it as they are,
        or if there is no flux.
    """
    good = np.isfinite(flux) & np.isfinite(sigma) & (flux != 0.0)
    flux, sigma, truth = flux[good], sigma[good], truth[good]

    def missing(error: float) -> float:
        return level - float((np.abs(flux - truth) <= np.hypot(sigma, error * flux)).mean())

    most = 10.0
    if not len(flux) or missing(0.0) <= 0.0:
        return 0.0
    if missing(most) > 0.0:
        return most
    return float(optimize.bisect(missing, 0.0, most, xtol=1e-4))
