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

__all__ = (
    "LEVEL",
    "FluxLaw",
    "FluxScore",
    "fit_flux_error",
    "fit_flux_law",
    "fit_flux_scale",
    "score_flux",
)

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import optimize

from ..masks.flux import doubt

_STEEPEST = 2.0
"""Largest power that is tried."""

_TINY = 1e-12

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


@dataclasses.dataclass(frozen=True)
class FluxLaw:
    """How a true flux follows from a measured one.

    The names are those of `~lsst.meas.morphology.model.heads.TidesHead`.
    """

    flux_scale: float
    """Factor of the flux."""

    flux_power: float
    """Power of the mask's confidence that is a factor as well."""

    flux_error: float
    """Relative error."""

    error_power: float
    """Power of the mask's doubt that is a factor of it."""


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


def fit_flux_error(
    flux: Floats, sigma: Floats, truth: Floats, *, level: float = LEVEL, unsure: Floats | float = 1.0
) -> float:
    """Return the relative error that makes stated intervals true.

    Parameters
    ----------
    flux, sigma
        Measured fluxes, scaled, and their errors (nJy), ``[n]``.
    truth
        True fluxes (nJy), positive, ``[n]``.
    unsure
        What it is multiplied with, flux by flux, ``[n]``.
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
    relative = np.broadcast_to(unsure, flux.shape)[good] * flux[good]
    flux, sigma, truth = flux[good], sigma[good], truth[good]

    def missing(error: float) -> float:
        return level - float((np.abs(flux - truth) <= np.hypot(sigma, error * relative)).mean())

    most = 10.0
    if not len(flux) or missing(0.0) <= 0.0:
        return 0.0
    if missing(most) > 0.0:
        return most
    return float(optimize.bisect(missing, 0.0, most, xtol=1e-4))


def fit_flux_law(flux: Floats, sigma: Floats, confidence: Floats, truth: Floats) -> FluxLaw:
    """Return what makes fluxes and their errors true.

    Parameters
    ----------
    flux, sigma
        Measured fluxes and their errors (nJy), ``[n]``.
    confidence
        How sure their masks are, ``[n]``.
    truth
        True fluxes (nJy), positive, ``[n]``.

    Returns
    -------
    law
        The law. Its powers are fitted first, then the scale and the error.
    """
    good = (flux > 0.0) & np.isfinite(confidence)
    if not good.any():
        return FluxLaw(fit_flux_scale(flux, truth), 0.0, fit_flux_error(flux, sigma, truth), 0.0)
    power = _flux_power(truth[good] / flux[good], confidence[good])
    factor = confidence**power
    scale = fit_flux_scale(factor * flux, truth)
    flux, sigma = scale * factor * flux, scale * factor * sigma
    error_power = _error_power(truth[good] / flux[good], doubt(confidence[good]))
    error = fit_flux_error(flux, sigma, truth, unsure=doubt(confidence) ** error_power)
    return FluxLaw(scale, power, error, error_power)


def _flux_power(ratio: Floats, confidence: Floats) -> float:
    """Return the power with which the logarithms of true over measured
    fluxes scatter least about their median, by the mean absolute difference.
    """
    off, sure = np.log(ratio), np.log(confidence)

    def scatter(power: float) -> float:
        left = off - power * sure
        return float(np.abs(left - np.median(left)).mean())

    return float(optimize.minimize_scalar(scatter, bounds=(-_STEEPEST, _STEEPEST), method="bounded").x)


def _error_power(ratio: Floats, unsure: Floats) -> float:
    """Return the likeliest power of the doubt that relative errors,
    distributed as Laplace's, grow with; not negative.
    """
    off, log = np.abs(ratio - 1.0), np.log(unsure)

    def surprise(power: float) -> float:
        return float(np.log((off * np.exp(-power * log)).mean() + _TINY) + power * log.mean())

    return float(optimize.minimize_scalar(surprise, bounds=(0.0, _STEEPEST), method="bounded").x)
