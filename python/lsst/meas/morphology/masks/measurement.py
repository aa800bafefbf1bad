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

"""What masks of tidal features measure."""

from __future__ import annotations

__all__ = ("FeatureMeasurements", "feature_masks", "measure_features")

import dataclasses

import numpy as np
import numpy.typing as npt

from ..surface_brightness import NATIVE_SCALE, limit, to_magnitude
from .edges import covered, truncated
from .flux import (
    confidence,
    fill_covered,
    fill_missing,
    flux_under_masks,
    scaled,
    unevenness,
    weighed_pixels,
)
from .host import HostModel, Rings, find_rings, fit_host
from .neighbours import Neighbours, find_neighbours
from .noise import measure_fluctuations
from .settings import FeatureSettings
from .shape import MaskShape, measure_shapes

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float32]
type Doubles = npt.NDArray[np.float64]

DOUBTFUL = 0.5
"""Share of the mask's threshold from which a pixel is kept out of the host's
model and of the sky."""

CENTRE_RADIUS = 0.07
"""Distance from the host's centre, over the stamp's side, within which
neighbours can't be told from the host."""

BELIEVED_NOISE = 0.3
"""Share of the stated noise below which a measured noise is not believed."""


@dataclasses.dataclass(frozen=True)
class FeatureMeasurements:
    """What was measured of each object and feature; NaN where nothing was.

    The features are the model's planes but the host's, in its order.
    """

    features: tuple[str, ...]
    """Names of the features."""

    presence: Doubles
    """Probability that the feature is there, ``[n, feature]``."""

    mask: Bools
    """The feature's pixels, ``[n, feature, s, s]``."""

    area: Doubles
    """Area of the mask (arcsec**2), ``[n, feature]``."""

    flux: Doubles
    """Flux (nJy), ``[n, feature, band]``."""

    flux_error: Doubles
    """Its standard error (nJy), ``[n, feature, band]``."""

    confidence: Doubles
    """Mean of the expected share of annotators over the feature's light in
    the reference band, ``[n, feature]``; NaN without a mask.
    """

    mean_brightness: Doubles
    """Mean surface brightness (AB mag per arcsec**2), of the same shape."""

    faintest_brightness: Doubles
    """That of the tenth of the mask where the model is least sure of it."""

    share: Doubles
    """Part of the mask's light that is the object's own, ``[n, feature]``."""

    host_fraction: Doubles
    """Flux over the host's, in the reference band, ``[n, feature]``."""

    extent: Doubles
    """Distance from the host's centre within which 99 % of the mask lies
    (arcsec), ``[n, feature]``.
    """

    extent_radii: Doubles
    """The same over the host's half-light radius."""

    position_angle: Doubles
    """Direction of the mask's major axis about the host's centre (degrees
    from north through east, 0 to 180), ``[n, feature]``.
    """

    host_flux: Doubles
    """Flux of the host (nJy), ``[n, band]``."""

    host_radius: Doubles
    """Semi-major axis of the isophote with half the host's flux in the
    reference band (arcsec), ``[n]``.
    """

    limit: Doubles
    """Surface brightness of three sigma on 10 by 10 arcsec, from the stated
    variance (AB mag per arcsec**2), ``[n, band]``.
    """

    half_found: Doubles
    """Surface brightness at which half of such features would have been
    found there (AB mag per arcsec**2), ``[n, feature]``.
    """

    masked: Doubles
    """Part of the stamp without data in the reference band, ``[n]``."""

    blended: Doubles
    """Part of the union's mask that neighbours cover, ``[n]``; 0 where
    there is none.
    """

    truncated: Bools
    """Whether the union's mask reaches the edge of the data, ``[n]``."""


def feature_masks(probabilities: npt.NDArray[np.floating], valid: Bools, settings: FeatureSettings) -> Bools:
    """Return the pixels of features.

    Parameters
    ----------
    probabilities
        Expected share of annotators who mark each pixel,
        ``[n, plane, s, s]``, in the model's planes.
    valid
        Whether a pixel was measured, ``[n, band, s, s]``: one that was not,
        in any band, belongs to nothing.
    settings
        The model's thresholds.

    Returns
    -------
    mask
        The features' pixels, ``[n, feature, s, s]``.
    """
    thresholds = np.array(settings.mask_threshold, np.float32)[:, None, None]
    above = np.asarray(probabilities)[:, settings.index] > thresholds
    return np.asarray(above & valid.any(axis=1)[:, None])


def measure_features(
    probabilities: npt.NDArray[np.floating],
    presence: npt.NDArray[np.floating],
    brightness: npt.NDArray[np.floating],
    valid: Bools,
    arcsec_per_px: npt.NDArray[np.floating],
    sigma: npt.NDArray[np.floating],
    *,
    settings: FeatureSettings,
    shares: npt.NDArray[np.floating] | None = None,
    reference: int = 0,
    native_scale: float = NATIVE_SCALE,
    weights: npt.NDArray[np.floating] | None = None,
    north: npt.NDArray[np.floating] | None = None,
) -> FeatureMeasurements:
    """Measure the features of a batch of stamps.

    Parameters
    ----------
    probabilities
        Expected share of annotators who mark each pixel,
        ``[n, plane, s, s]``, in the model's planes.
    presence
        Probability that each feature is there, ``[n, feature]``.
    brightness
        Surface brightness (nJy per arcsec**2), ``[n, band, s, s]``.
    valid
        Whether it was measured, of the same shape.
    arcsec_per_px
        Scales of the stamps (arcsec), ``[n]``.
    sigma
        Noise that the coadd states, in nJy per native pixel, ``[n, band]``.
    settings
        The model's thresholds.
    shares
        Part of each pixel's light that is a feature's, if the model says,
        ``[n, feature, s, s]``.
    reference
        The band of what is measured once only.
    native_scale
        Native pixel scale (arcsec).
    weights
        The object's own part of each pixel's light, ``[n, s, s]``; all of
        it, if not given.
    north
        Direction of north from the x axis, through y (radians), ``[n]``;
        along y, if not given.

    Returns
    -------
    measurements
        The measurements.

    Notes
    -----
    The flux is the sum of the feature's part of the light, under the mask
    and where that part is above a twentieth, times the model's factors, one
    of which may depend on how sure the model is of the mask. If the model
    gives no such parts it is what is left under the mask when the host's
    smooth model, with the sky, is taken off; where a neighbour or a bad
    pixel covers the feature the mean of the feature around it stands in.
    The error has the noise with its correlation and the sky's unevenness,
    both measured on the stamp; half of what was filled in; without parts,
    the host's unevenness along its isophotes; and the relative error that
    the model's authors found for the rest.
    """
    scale = np.asarray(arcsec_per_px, np.float64)
    image = np.where(valid, brightness, 0.0).astype(np.float32)
    white = (np.asarray(sigma, np.float64) / (native_scale * scale[:, None])) ** 2
    chosen = np.asarray(probabilities)[:, settings.index]
    thresholds = np.array(settings.mask_threshold, np.float32)[:, None, None]
    mask = feature_masks(probabilities, valid, settings)
    doubtful = (chosen > DOUBTFUL * thresholds).any(axis=1)
    host, residual, rings, neighbours = _subtract(image, valid, doubtful, white, scale)
    own = np.ones(image[:, 0].shape, np.float32) if weights is None else np.asarray(weights, np.float32)
    part = mask * own[:, None]
    clear = valid & ~(doubtful | neighbours.any)[:, None]
    fluctuations = measure_fluctuations(residual, clear, white)
    with np.errstate(invalid="ignore", divide="ignore"):
        if shares is None:
            value, filled = fill_covered(residual, valid, mask.any(axis=1), neighbours.compact, white)
            under, variance = flux_under_masks(part, value, filled, fluctuations, scale**2)
            variance += unevenness(part, host, rings, scale**2)
            flux, sure = under, confidence(mask.astype(np.float32), value[:, reference], chosen)
        else:
            weighed = weighed_pixels(mask, shares)
            value, filled = fill_missing(image, valid, (weighed * shares).max(axis=1))
            under, _ = flux_under_masks(part * shares, value, filled, fluctuations, scale**2)
            own_shares = weighed * own[:, None] * shares
            flux, variance = flux_under_masks(own_shares, value, filled, fluctuations, scale**2)
            sure = confidence(weighed * shares, value[:, reference], chosen)
        flux, error = scaled(flux, variance, sure, settings)
    seen = valid.any(axis=(2, 3))[:, None] & mask.any(axis=(2, 3))[:, :, None]
    flux, error = (np.where(seen, array, np.nan) for array in (flux, error))
    host_flux = np.where(valid.any(axis=(2, 3)), host.flux, np.nan)
    host_radius = np.where(np.isfinite(host_flux), host.half_light, np.nan)[:, reference]
    shapes = measure_shapes(mask, chosen, value, shares)
    depth = limit(np.asarray(sigma, np.float64), native_scale=native_scale)
    return _assemble(
        features=settings.features,
        presence=np.asarray(presence, np.float64),
        mask=mask,
        part=part,
        flux=flux,
        flux_error=error,
        confidence=np.where(mask.any(axis=(2, 3)), sure, np.nan),
        under=under,
        shapes=shapes,
        scale=scale,
        host_flux=host_flux,
        host_radius=host_radius,
        limit=depth,
        half_found=settings.half_found_at(depth[:, reference]),
        masked=1.0 - valid[:, reference].mean(axis=(1, 2)),
        blended=covered(mask[:, settings.union], neighbours.compact),
        truncated=truncated(mask[:, settings.union], valid.any(axis=1)),
        north=np.full(len(scale), np.pi / 2) if north is None else np.asarray(north, np.float64),
        reference=reference,
        seen=seen,
    )


def _subtract(
    image: Floats, valid: Bools, doubtful: Bools, white: Doubles, scale: Doubles
) -> tuple[HostModel, Floats, Rings, Neighbours]:
    """Take hosts and sky off, knowing where the neighbours are.

    Neighbours are found with a first model of all bands together. Then the
    isophotes are found again, with that model where features and neighbours
    are, and the host is modelled in each band.
    """
    weight = np.where(np.isfinite(white) & (white > 0.0), 1.0 / np.maximum(white, 1e-30), 0.0)
    weight[(weight == 0.0).all(axis=1)] = 1.0
    together = valid * weight[:, :, None, None].astype(np.float32)
    total = together.sum(axis=1)
    found = total > 0.0
    detection = np.divide((image * together).sum(axis=1), total, out=np.zeros_like(image[:, 0]), where=found)
    rings = find_rings(detection, found & ~doubtful)
    first = fit_host(detection[:, None], (found & ~doubtful)[:, None], rings, scale)
    axis = np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2.0
    centre = np.hypot(axis[:, None], axis) < CENTRE_RADIUS * image.shape[-1]
    least = BELIEVED_NOISE * np.sqrt(1.0 / weight.sum(axis=1))
    neighbours = find_neighbours(detection - first.light[:, 0], found, doubtful, centre[None], least)
    covered = doubtful | neighbours.any
    whole = np.where(found & ~covered, detection, first.light[:, 0])
    rings = find_rings(whole, np.ones(whole.shape, np.bool_))
    clear = valid & ~covered[:, None]
    host = fit_host(image, clear, rings, scale)
    host = dataclasses.replace(host, light=_mirrored(host.light, image, clear, doubtful))
    return host, image - host.light, rings, neighbours


def _mirrored(light: Floats, image: Floats, clear: Bools, doubtful: Bools) -> Floats:
    """Let what is opposite of features stand for the host beneath them.

    Galaxies look the same turned by half a turn, arms and bars included,
    whatever their isophotes; where the opposite side is not clear the model
    of the rings stands.
    """
    opposite = (slice(None), slice(None), slice(None, None, -1), slice(None, None, -1))
    return np.where(clear[opposite] & doubtful[:, None], image[opposite], light)


def _assemble(
    *,
    features: tuple[str, ...],
    presence: Doubles,
    mask: Bools,
    part: Floats,
    flux: Doubles,
    flux_error: Doubles,
    confidence: Doubles,
    under: Doubles,
    shapes: MaskShape,
    scale: Doubles,
    host_flux: Doubles,
    host_radius: Doubles,
    limit: Doubles,
    half_found: Doubles,
    masked: Doubles,
    blended: Doubles,
    truncated: Bools,
    north: Doubles,
    reference: int,
    seen: Bools,
) -> FeatureMeasurements:
    """Turn sums in pixels into quantities in the sky's units."""
    pixels = mask.sum(axis=(2, 3)).astype(np.float64)
    own = part.sum(axis=(2, 3), dtype=np.float64)
    area = pixels * (scale**2)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(pixels > 0, own / pixels, np.nan)
        mean = to_magnitude(np.where(under > 0.0, under, np.nan) / (own * (scale**2)[:, None])[:, :, None])
        faintest = to_magnitude(np.where(seen & (shapes.faintest > 0.0), shapes.faintest, np.nan))
        fraction = flux[:, :, reference] / np.where(host_flux > 0.0, host_flux, np.nan)[:, None, reference]
        extent = shapes.extent * scale[:, None]
        angle = np.degrees(shapes.angle - north[:, None]) % 180.0
        return FeatureMeasurements(
            features=features,
            presence=presence,
            mask=mask,
            area=area,
            flux=flux,
            flux_error=flux_error,
            confidence=confidence,
            mean_brightness=mean,
            faintest_brightness=faintest,
            share=share,
            host_fraction=fraction,
            extent=extent,
            extent_radii=extent / host_radius[:, None],
            position_angle=angle,
            host_flux=host_flux,
            host_radius=host_radius,
            limit=limit,
            half_found=half_found,
            masked=masked,
            blended=blended,
            truncated=truncated,
        )
