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

"""Surface brightness: units, limits, and what of a faint feature is visible.

The truth of a feature is its surface brightness without noise, seen through
the atmosphere. From it follow, at any depth, the pixels that someone who
looks at the picture could mark, those about which one may argue, and whether
there is enough of it to speak of.
"""

from __future__ import annotations

__all__ = (
    "AB_ZERO_POINT",
    "CONTRAST",
    "HOST_CONTRAST",
    "NATIVE_SCALE",
    "VISIBLE_AREA",
    "TruthMasks",
    "feature_depth",
    "host_masks",
    "limit",
    "mask_limit",
    "stands_out",
    "to_magnitude",
    "to_njy",
    "truth_masks",
)

import dataclasses

import numpy as np
import numpy.typing as npt

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float64]

AB_ZERO_POINT = 31.4
"""AB magnitude of a flux of one nJy."""

NATIVE_SCALE = 0.2
"""Pixel scale of LSST's coadds (arcsec)."""

CONTRAST = 0.1
"""Least ratio of a feature to the light of galaxies and stars beneath it."""

VISIBLE_AREA = 100.0
"""Least area of a feature that counts as visible (arcsec**2)."""

HOST_CONTRAST = 1.0
"""Least ratio of a host to other light where it counts as the host."""

_IGNORED_MAGNITUDES = 0.75
_IGNORED_CONTRAST = 0.5
_BELOW_LIMIT = 1.0
_SYSTEMATICS = 29.0


def to_magnitude(surface_brightness: npt.ArrayLike) -> Floats:
    """Return surface brightness in magnitudes.

    Parameters
    ----------
    surface_brightness
        In nJy per arcsec**2, of any shape.

    Returns
    -------
    magnitude
        AB magnitude per arcsec**2; infinite for zero, NaN below zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.asarray(surface_brightness, dtype=np.float64)
        return np.asarray(AB_ZERO_POINT - 2.5 * np.log10(values))


def to_njy(magnitude: npt.ArrayLike) -> Floats:
    """Return surface brightness in nJy per arcsec**2.

    Parameters
    ----------
    magnitude
        AB magnitude per arcsec**2, of any shape.
    """
    return np.asarray(10.0 ** (0.4 * (AB_ZERO_POINT - np.asarray(magnitude, dtype=np.float64))))


def limit(
    sigma_native: npt.ArrayLike,
    *,
    n_sigma: float = 3.0,
    area: float = 100.0,
    native_scale: float = NATIVE_SCALE,
) -> Floats:
    r"""Return the surface brightness that noise hides.

    .. math:: \mu(n, A) = 31.4 - 2.5 \log_{10} \frac{n \sigma}{p \sqrt{A}}

    (Roman, Trujillo & Montes 2020, appendix A), for white noise.

    Parameters
    ----------
    sigma_native
        Noise of the sky in nJy per native pixel, of any shape.
    n_sigma
        How many sigma the surface brightness is.
    area
        Area over which it is averaged (arcsec**2).
    native_scale
        Native pixel scale (arcsec).

    Returns
    -------
    magnitude
        AB magnitude per arcsec**2.
    """
    sigma = np.asarray(sigma_native, dtype=np.float64)
    return to_magnitude(n_sigma * sigma / (native_scale * np.sqrt(area)))


def mask_limit(sigma_native: npt.ArrayLike) -> Floats:
    """Return the faintest surface brightness that belongs into a mask.

    A magnitude brighter than three sigma on 10 by 10 arcsec, and never
    fainter than 29.0, where systematic errors of the sky rule.

    Parameters
    ----------
    sigma_native
        Noise of the sky in nJy per native pixel, of any shape.

    Returns
    -------
    magnitude
        AB magnitude per arcsec**2.
    """
    return np.minimum(limit(sigma_native) - _BELOW_LIMIT, _SYSTEMATICS)


@dataclasses.dataclass(frozen=True)
class TruthMasks:
    """Which pixels of ``n`` stamps belong to features of several kinds."""

    mask: Bools
    """Pixels of each kind, ``[n, kind, size, size]``."""

    ignore: Bools
    """Pixels about which one may argue, and that don't count in scoring, of
    the same shape; none of them is in `mask`.
    """

    visible: Bools
    """Whether there is enough of each kind to speak of, ``[n, kind]``."""

    any_mask: Bools
    """Pixels of any kind, ``[n, size, size]``."""

    any_ignore: Bools
    """Pixels that may be of some kind, of the same shape; none of them is
    in `any_mask`.
    """


def truth_masks(
    debris: npt.NDArray[np.floating],
    light: npt.NDArray[np.floating],
    limit: npt.ArrayLike,
    pixel_scale: npt.ArrayLike,
    *,
    contrast: npt.ArrayLike = CONTRAST,
) -> TruthMasks:
    """Return masks of features that are bright enough and stand out.

    A pixel belongs to a kind if its surface brightness is above the limit,
    and above the contrast times the light beneath. It is ignored if it would
    belong to it 0.75 mag deeper and at half the contrast.

    Parameters
    ----------
    debris
        Surface brightness of each kind (nJy per arcsec**2), seen through the
        atmosphere and without noise, ``[n, kind, size, size]``.
    light
        That of galaxies and stars, ``[n, size, size]``.
    limit
        Faintest surface brightness that counts (AB magnitude per
        arcsec**2), a number or ``[n]``.
    pixel_scale
        Scale of the stamps in arcsec, a number or ``[n]``.
    contrast
        Least ratio of feature to light, a number or ``[n]``.

    Returns
    -------
    masks
        The masks.

    Raises
    ------
    ValueError
        Raised if the shapes do not fit.
    """
    if debris.ndim != 4 or light.shape != (debris.shape[0], *debris.shape[2:]):
        raise ValueError(
            f"Light of shape {light.shape} is not that under features of shape {debris.shape};"
            " [n, size, size] and [n, kind, size, size] are wanted."
        )
    n = len(debris)
    mask, ignore = _seen(debris, light[:, None], limit, contrast)
    scale = np.broadcast_to(np.asarray(pixel_scale, dtype=np.float64), (n,))
    area = mask.sum(axis=(2, 3)) * (scale**2)[:, None]
    any_mask = mask.any(axis=1)
    return TruthMasks(mask, ignore, area >= VISIBLE_AREA, any_mask, ignore.any(axis=1) & ~any_mask)


def host_masks(
    host: npt.NDArray[np.floating], others: npt.NDArray[np.floating], limit: npt.ArrayLike
) -> tuple[Bools, Bools]:
    """Return the pixels where the host is above the limit and outshines all.

    Parameters
    ----------
    host
        Surface brightness of the host (nJy per arcsec**2), seen through the
        atmosphere and without noise, ``[n, size, size]``.
    others
        That of other galaxies and stars, of the same shape.
    limit
        Faintest surface brightness that counts (AB magnitude per
        arcsec**2), a number or ``[n]``.

    Returns
    -------
    mask, ignore
        As in `TruthMasks`, ``[n, size, size]``.
    """
    return _seen(host, others, limit, HOST_CONTRAST)


def feature_depth(
    debris: npt.NDArray[np.floating],
    light: npt.NDArray[np.floating],
    pixel_scale: npt.ArrayLike,
) -> tuple[Floats, Floats]:
    """Return how bright features are, and how much they stand out.

    Parameters
    ----------
    debris
        Surface brightness of features (nJy per arcsec**2), seen through the
        atmosphere and without noise, ``[n, size, size]``.
    light
        That of galaxies and stars, of the same shape.
    pixel_scale
        Scale of the stamps in arcsec, a number or ``[n]``.

    Returns
    -------
    brightness
        Faintest surface brightness (AB magnitude per arcsec**2) of the
        brightest `VISIBLE_AREA` of each feature that is above `CONTRAST`,
        ``[n]``: at any fainter limit the feature is visible. NaN if less
        than that area is.
    contrast
        Light of the feature over that beneath, in those pixels, ``[n]``;
        NaN likewise.
    """
    n = len(debris)
    area = np.broadcast_to(np.asarray(pixel_scale, dtype=np.float64), (n,)) ** 2
    flat = (n, debris.shape[1] * debris.shape[2])
    clear = np.where(debris > np.asarray(CONTRAST, light.dtype) * light, debris, 0.0).reshape(flat)
    order = np.argsort(-clear, axis=1, kind="stable")
    beneath = np.take_along_axis(light.reshape(flat), order, axis=1)
    clear = np.take_along_axis(clear, order, axis=1)
    brightness, contrast = np.full(n, np.nan), np.full(n, np.nan)
    for k, pixels in enumerate(np.ceil(VISIBLE_AREA / area).astype(np.int64).tolist()):
        if pixels <= clear.shape[1] and clear[k, pixels - 1] > 0.0:
            brightness[k] = to_magnitude(clear[k, pixels - 1])
            total = beneath[k, :pixels].sum(dtype=np.float64)
            contrast[k] = clear[k, :pixels].sum(dtype=np.float64) / max(total, 1e-30)
    return brightness, contrast


def stands_out(
    feature: npt.NDArray[np.floating],
    light: npt.NDArray[np.floating],
    limit: npt.ArrayLike,
    contrast: npt.ArrayLike = CONTRAST,
) -> Bools:
    """Return where a feature is above a limit and a contrast.

    Parameters
    ----------
    feature
        Surface brightness of the feature (nJy per arcsec**2).
    light
        That of what lies beneath; any shape that goes with the feature's.
    limit
        Faintest surface brightness that counts (AB magnitude per
        arcsec**2), a number or ``[n]``.
    contrast
        Least ratio of feature to light, a number or ``[n]``.

    Returns
    -------
    mask
        Of the feature's shape, whose first axis is ``n``.
    """
    faintest = _each(to_njy(limit), feature)
    return np.asarray((feature > faintest) & (feature > _each(contrast, feature) * light))


def _seen(
    feature: npt.NDArray[np.floating],
    light: npt.NDArray[np.floating],
    limit: npt.ArrayLike,
    contrast: npt.ArrayLike,
) -> tuple[Bools, Bools]:
    """Return masks, and pixels to ignore."""
    mask = stands_out(feature, light, limit, contrast)
    deeper = np.asarray(limit) + _IGNORED_MAGNITUDES
    return mask, stands_out(feature, light, deeper, _IGNORED_CONTRAST * np.asarray(contrast)) & ~mask


def _each(values: npt.ArrayLike, like: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Give a number per stamp as many axes as an array has, and its type."""
    each = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(like),)).astype(like.dtype)
    return each.reshape(-1, *[1] * (like.ndim - 1))
