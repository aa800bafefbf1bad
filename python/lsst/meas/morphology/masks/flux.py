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

"""The light under masks of features, and its error."""

from __future__ import annotations

__all__ = (
    "LEAST_CONFIDENCE",
    "LEAST_DOUBT",
    "confidence",
    "doubt",
    "fill_covered",
    "fill_missing",
    "flux_under_masks",
    "scaled",
    "unevenness",
    "weighed_pixels",
)

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from .host import HostModel, Rings
from .noise import Fluctuations
from .settings import FeatureSettings

_CLIP_STEPS = 3

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float32]
type Doubles = npt.NDArray[np.float64]

HOST_COHERENCE = 64.0
"""Pixels over which a host's unevenness (arms, knots) goes on."""

FILL_WIDTH = 3.0
"""Width (sigma, in stamp pixels) of the mean that stands for the light of a
feature where a neighbour or a bad pixel covers it."""

LEAST_FILL = 1e-3
"""Weight of that mean from which it is one; a feature that is covered
altogether keeps the light that is there."""

CLIP_SIGMA, CLIP_SHARE = 2.0, 0.1
"""How far a pixel may be from that mean, in the noise and in the mean, and
be a part of the feature."""

FILL_ERROR = 0.5
"""Relative error of such light."""


LEAST_CONFIDENCE = 0.2
"""Confidence below which factors are not carried on to."""

LEAST_DOUBT = 0.01
"""Doubt about a mask that no model is believed to be below."""

LEAST_SHARE = 0.05
"""Part of a pixel's light from which it is added to a feature's flux, though
the pixel is not in its mask."""


def weighed_pixels(mask: Bools, shares: npt.NDArray[np.floating] | None) -> Bools:
    """Return the pixels whose light counts, ``[n, feature, s, s]``.

    Parameters
    ----------
    mask
        Pixels of features, of the same shape.
    shares
        Parts of the light that are features', of the same shape, or `None`:
        the mask's pixels count then, and no others. A feature without a
        mask has no light.
    """
    if shares is None:
        return mask
    return np.asarray((mask | (shares > LEAST_SHARE)) & mask.any(axis=(2, 3), keepdims=True))


def fill_covered(
    residual: Floats, valid: Bools, mask: Bools, compact: Bools, white: Doubles
) -> tuple[Floats, Bools]:
    """Return the light of features, filled in where something covers it.

    Neighbours that are faint, or the skirts of those that are not, are
    pixels that stand out from the feature around them.

    Parameters
    ----------
    residual
        Surface brightness without host and sky, ``[n, band, s, s]``.
    valid
        Whether it was measured, of the same shape.
    mask
        Pixels of features, ``[n, s, s]``.
    compact
        Pixels that neighbours cover, of the same shape.
    white
        Variance of a pixel as the coadd states it, ``[n, band]``.

    Returns
    -------
    value
        The features' surface brightness, 0 beyond the mask,
        ``[n, band, s, s]``. Where a neighbour or a bad pixel covers them it
        is the mean of the feature around.
    filled
        Where that is so.
    """
    good = valid & (mask & ~compact)[:, None]
    value = np.where(good, residual, 0.0).astype(np.float32)
    noise = np.sqrt(np.where(np.isfinite(white), white, np.inf)).astype(np.float32)[:, :, None, None]
    for i in np.flatnonzero(mask.any(axis=(1, 2))):
        clean = good[i]
        for _ in range(_CLIP_STEPS):
            near, known = _mean_around(residual[i], clean)
            off = np.abs(residual[i] - near)
            clean = good[i] & (~known | (off < CLIP_SIGMA * noise[i] + CLIP_SHARE * np.abs(near)))
        near, known = _mean_around(residual[i], clean)
        there = np.where(valid[i], residual[i], np.float32(0.0))
        value[i] = np.where(clean, residual[i], np.where(known, near, there)) * mask[i]
        good[i] = clean
    return value, mask[:, None] & ~good


def _mean_around(image: Floats, weight: Bools | Floats) -> tuple[Floats, Bools]:
    """Return weighted means of the pixels around, and where there are some."""
    width = (0.0, FILL_WIDTH, FILL_WIDTH)
    total = gaussian_filter(np.where(weight > 0, image * weight, np.float32(0.0)), width, truncate=4.0)
    near = gaussian_filter(weight.astype(np.float32), width, truncate=4.0)
    known = near > LEAST_FILL
    return np.divide(total, near, out=np.zeros_like(total), where=known), known


def fill_missing(image: Floats, valid: Bools, part: Floats) -> tuple[Floats, Bools]:
    """Return images, filled in where nothing was measured of a feature.

    Parameters
    ----------
    image
        Surface brightness, ``[n, band, s, s]``.
    valid
        Whether it was measured, of the same shape.
    part
        Part of each pixel's light that is features', ``[n, s, s]``.

    Returns
    -------
    filled
        The images; where a band was not measured the mean of the pixels
        around, each of which counts as much as it is a feature's; 0 where
        there are none.
    missing
        Where that is so, of the same shape.
    """
    missing = (part > 0.0)[:, None] & ~valid
    filled = np.where(valid, image, np.float32(0.0))
    for i in np.flatnonzero(missing.any(axis=(1, 2, 3))):
        near, known = _mean_around(image[i], valid[i] * part[i])
        filled[i] = np.where(missing[i] & known, near, filled[i])
    return filled, missing


def flux_under_masks(
    part: Floats, value: Floats, filled: Bools, fluctuations: Fluctuations, area: Doubles
) -> tuple[Doubles, Doubles]:
    """Add up the light under masks.

    Parameters
    ----------
    part
        The feature's part of each pixel's value, 0 beyond its mask,
        ``[n, feature, s, s]``.
    value
        Surface brightness, ``[n, band, s, s]``.
    filled
        Where it stands for what was not measured.
    fluctuations
        Those of sums of pixels.
    area
        Area of a pixel (arcsec**2), ``[n]``.

    Returns
    -------
    flux, variance
        Fluxes (nJy), and their variances, ``[n, feature, band]``.
    """
    weights = part.reshape(*part.shape[:2], -1)
    flat = value.reshape(*value.shape[:2], -1).transpose(0, 2, 1)
    total = (weights @ flat).astype(np.float64)
    replaced = weights @ np.where(filled, value, 0.0).reshape(*value.shape[:2], -1).transpose(0, 2, 1)
    variance = fluctuations.variance(weights.sum(axis=2, dtype=np.float64)) + (FILL_ERROR * replaced) ** 2
    scale = area[:, None, None]
    return scale * total, scale**2 * variance


def unevenness(part: Floats, host: HostModel, rings: Rings, area: Doubles) -> Doubles:
    """Return the variance of fluxes (nJy) by hosts that are not as even as
    their model, ``[n, feature, band]``.

    Parameters
    ----------
    part, area
        As in `flux_under_masks`.
    host, rings
        The model of the host and its isophotes.
    """
    along = np.asarray(rings.gather(part), np.float32).sum(axis=3, dtype=np.float64)
    uneven = (along * np.minimum(along, HOST_COHERENCE)) @ (host.scatter**2).transpose(0, 2, 1)
    return np.asarray(area[:, None, None] ** 2 * uneven)


def confidence(part: Floats, value: Floats, probability: npt.NDArray[np.floating]) -> Doubles:
    """Return how sure masks are of their light, ``[n, feature]``.

    The mean of the expected share of annotators over a feature's light, but
    at least `LEAST_CONFIDENCE`; one where there is no light.

    Parameters
    ----------
    part
        The feature's part of each pixel's value, ``[n, feature, s, s]``.
    value
        Surface brightness in one band, ``[n, s, s]``; noise below zero counts
        as nothing.
    probability
        Expected share of annotators who mark each pixel, of the shape of
        ``part``.
    """
    light = part * np.maximum(value, np.float32(0.0))[:, None]
    total = light.sum(axis=(2, 3), dtype=np.float64)
    sure = (light * probability).sum(axis=(2, 3), dtype=np.float64)
    mean = np.divide(sure, total, out=np.ones_like(total), where=total > 0.0)
    return np.asarray(np.maximum(mean, LEAST_CONFIDENCE))


def doubt(confidence: npt.NDArray[np.floating]) -> Doubles:
    """Return one less the confidence, but at least `LEAST_DOUBT`."""
    return np.maximum(1.0 - np.asarray(confidence, np.float64), LEAST_DOUBT)


def scaled(
    flux: Doubles, variance: Doubles, sure: Doubles, settings: FeatureSettings
) -> tuple[Doubles, Doubles]:
    """Return fluxes as the model's authors found them to be true.

    Parameters
    ----------
    flux, variance
        As `flux_under_masks` returns them, ``[n, feature, band]``.
    sure
        What `confidence` returns, ``[n, feature]``.
    settings
        The model's factors, and the relative errors that are added.

    Returns
    -------
    flux, error
        Fluxes times the model's factors, and their standard errors (nJy).
    """
    scale = (np.array(settings.flux_scale) * sure ** np.array(settings.flux_power))[:, :, None]
    relative = (np.array(settings.flux_error) * doubt(sure) ** np.array(settings.error_power))[:, :, None]
    return scale * flux, scale * np.sqrt(variance + (relative * flux) ** 2)
