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

__all__ = ("fill_covered", "flux_under_masks")

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from .host import HostModel, Rings
from .noise import measure_fluctuations
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


def _mean_around(image: Floats, good: Bools) -> tuple[Floats, Bools]:
    """Return means of the good pixels around, and where there are some."""
    width = (0.0, FILL_WIDTH, FILL_WIDTH)
    total = gaussian_filter(np.where(good, image, np.float32(0.0)), width, truncate=4.0)
    weight = gaussian_filter(good.astype(np.float32), width, truncate=4.0)
    known = weight > LEAST_FILL
    return np.divide(total, weight, out=np.zeros_like(total), where=known), known


def flux_under_masks(
    part: Floats,
    value: Floats,
    filled: Bools,
    residual: Floats,
    clear: Bools,
    host: HostModel,
    rings: Rings,
    white: Doubles,
    scale: Doubles,
    settings: FeatureSettings,
) -> tuple[Doubles, Doubles]:
    """Add up the light under masks.

    Parameters
    ----------
    part
        The object's own part of each pixel of each feature's mask, 0 beyond
        it, ``[n, feature, s, s]``.
    value, filled
        As `fill_covered` returns them.
    residual
        Surface brightness without host and sky, ``[n, band, s, s]``.
    clear
        Pixels that show neither feature nor neighbour, of the same shape.
    host, rings
        The model of the host and its isophotes.
    white
        Variance of a pixel as the coadd states it, ``[n, band]``.
    scale
        Scales of the stamps in arcsec, ``[n]``.
    settings
        The model's factors and errors.

    Returns
    -------
    flux, error
        Fluxes and their standard errors (nJy), ``[n, feature, band]``.
    """
    area = (scale**2)[:, None, None]
    n, n_features, size, _ = part.shape
    weights = part.reshape(n, n_features, -1)
    flat = value.reshape(n, value.shape[1], -1).transpose(0, 2, 1)
    total = (weights @ flat).astype(np.float64)
    replaced = weights @ np.where(filled, value, 0.0).reshape(n, value.shape[1], -1).transpose(0, 2, 1)
    fluctuations = measure_fluctuations(residual, clear, white)
    along = np.asarray(rings.gather(part), np.float32).sum(axis=3, dtype=np.float64)
    uneven = (along * np.minimum(along, HOST_COHERENCE)) @ (host.scatter**2).transpose(0, 2, 1)
    variance = fluctuations.variance(along.sum(axis=2)) + uneven + (FILL_ERROR * replaced) ** 2
    factor = area * np.array(settings.flux_scale)[:, None]
    flux = factor * total
    relative = np.array(settings.flux_error)[:, None]
    return flux, np.sqrt(factor**2 * variance + (relative * flux) ** 2)
