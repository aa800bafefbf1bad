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

"""The smooth light of hosts: medians along elliptical isophotes."""

from __future__ import annotations

__all__ = ("HostModel", "Rings", "find_rings", "fit_host")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float32]
type Doubles = npt.NDArray[np.float64]

LEAST_AXIS_RATIO = 0.25
"""Flatter isophotes are taken as this flat."""

SHAPE_WIDTH = 1.0 / 16.0
"""Width (sigma) of the weight of the second moments, over the stamp's side:
about a half-light radius, where features are faint beside the host."""

LEAST_CLEAR = 0.12
"""Share of a ring's pixels that must be clear for a median of its own."""

INNER_RINGS = 12
"""Rings whose profile is not smoothed: it is steep there."""

OUTER_SHARE = 0.2
"""Share of the rings, the outermost, whose median is taken for the sky."""

_LEAST_SHARE = 1e-3
"""Part of a profile's peak below which it is not told from its level."""

_SHAPE_STEPS = 8
_STEPS_PER_PIXEL = 64.0


@dataclasses.dataclass(frozen=True)
class Rings:
    """Pixels of stamps in order of their distance along the isophotes.

    A stamp of ``s * s`` pixels has ``s`` rings of ``s`` pixels each.
    """

    order: npt.NDArray[np.int64]
    """Flat indices of pixels, from the centre outwards, ``[n, s * s]``."""

    axis_ratio: Doubles
    """Axis ratio of the isophotes, ``[n]``."""

    @property
    def size(self) -> int:
        """Side of the stamps, number of rings, and pixels of each."""
        return int(round(self.order.shape[1] ** 0.5))

    def gather(self, stamps: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Sort stamps into rings.

        Parameters
        ----------
        stamps
            Any values, ``[n, band, s, s]``.

        Returns
        -------
        rings
            The same values, ``[n, band, ring, pixel]``.
        """
        flat = stamps.reshape(*stamps.shape[:2], -1)
        return np.take_along_axis(flat, self.order[:, None], axis=2).reshape(stamps.shape)

    def scatter(self, rings: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Put values in rings back into stamps, the inverse of `gather`.

        Parameters
        ----------
        rings
            Any values, ``[n, band, ring, pixel]``.
        """
        flat = np.empty((*rings.shape[:2], rings.shape[2] * rings.shape[3]), rings.dtype)
        np.put_along_axis(flat, self.order[:, None], rings.reshape(flat.shape), axis=2)
        return flat.reshape(rings.shape)


@dataclasses.dataclass(frozen=True)
class HostModel:
    """The smooth light of hosts, and the sky beneath it."""

    light: Floats
    """Surface brightness of host and sky (nJy per arcsec**2),
    ``[n, band, s, s]``.
    """

    sky: Doubles
    """That of the sky alone, ``[n, band]``."""

    scatter: Doubles
    """How far the host is from even along each ring, beyond the noise, in
    the same unit, ``[n, band, ring]``.
    """

    flux: Doubles
    """Flux of the host (nJy), ``[n, band]``."""

    half_light: Doubles
    """Semi-major axis of the isophote that holds half the flux in each band
    (arcsec), ``[n, band]``; NaN where there is no flux.
    """


def find_rings(image: Floats, valid: Bools) -> Rings:
    """Find the isophotes of the objects at the centres of stamps.

    Their shape is that of the second moments with an elliptical Gaussian
    weight of the same shape. A pixel counts with the fainter of itself and
    its mirror image, so that what lies on one side only does not count.

    Parameters
    ----------
    image
        Surface brightness, ``[n, s, s]``.
    valid
        Whether it was measured, of the same shape.
    """
    n, size, _ = image.shape
    values = np.where(valid, image, np.inf).astype(np.float32)
    values = np.minimum(values, values[:, ::-1, ::-1])
    values[~np.isfinite(values)] = 0.0
    shape = _shapes(values, max(1.0, SHAPE_WIDTH * size))
    axis = np.arange(size) - (size - 1) / 2.0
    distance = _distance(shape, axis)
    keys = np.minimum(np.sqrt(distance) * _STEPS_PER_PIXEL, 65535).astype(np.uint16)
    order = np.argsort(keys.reshape(n, -1), axis=1, kind="stable")
    return Rings(order, _axis_ratio(shape))


def _shapes(values: Floats, width: float) -> Doubles:
    """Return the isophotes' shapes: matrices of determinant one."""
    n, size, _ = values.shape
    half = min(size // 2, max(4, round(3.0 * width)))
    centre = slice(size // 2 - half, size - (size // 2 - half))
    part = values[:, centre, centre]
    corner = np.median(np.concatenate([values[:, 0], values[:, -1]], axis=1), axis=1)
    part = np.maximum(part - corner[:, None, None], 0.0)
    axis = np.arange(part.shape[1]) - (part.shape[1] - 1) / 2.0
    shape = np.broadcast_to(np.eye(2), (n, 2, 2)).copy()
    for _ in range(_SHAPE_STEPS):
        weight = part * np.exp(-0.5 / width**2 * _distance(shape, axis))
        rows, columns = weight.sum(axis=2), weight.sum(axis=1)
        moments = np.empty((n, 2, 2))
        moments[:, 0, 0] = columns @ axis**2
        moments[:, 1, 1] = rows @ axis**2
        moments[:, 0, 1] = moments[:, 1, 0] = np.einsum("nyx,y,x->n", weight, axis, axis, optimize=True)
        determinant = np.linalg.det(moments)
        good = determinant > 0.0
        shape[good] = moments[good] / np.sqrt(determinant[good])[:, None, None]
        shape = _rounded(shape)
    return shape


def _rounded(shape: Doubles) -> Doubles:
    """Limit how flat shapes are."""
    values, vectors = np.linalg.eigh(shape)
    small = np.maximum(values[:, 0], LEAST_AXIS_RATIO)
    limited = np.stack([small, 1.0 / small], axis=1)
    return np.asarray(np.einsum("nij,nj,nkj->nik", vectors, limited, vectors))


def _axis_ratio(shape: Doubles) -> Doubles:
    """Return the axis ratios of shapes of determinant one."""
    return np.asarray(np.linalg.eigvalsh(shape)[:, 0])


def _distance(shape: Doubles, axis: Doubles) -> Floats:
    """Return the squared distance along isophotes, ``[n, y, x]``."""
    inverse = np.linalg.inv(shape).astype(np.float32)
    axis = axis.astype(np.float32)
    square = axis**2
    result = inverse[:, 1, 1, None, None] * square[:, None] + inverse[:, 0, 0, None, None] * square
    return np.asarray(result + 2.0 * inverse[:, 0, 1, None, None] * axis[:, None] * axis)


def fit_host(image: Floats, clear: Bools, rings: Rings, pixel_scale: Doubles) -> HostModel:
    """Model hosts by the medians of the clear pixels along their isophotes.

    Parameters
    ----------
    image
        Surface brightness (nJy per arcsec**2), ``[n, band, s, s]``.
    clear
        Pixels that show host and sky alone, of the same shape.
    rings
        The isophotes.
    pixel_scale
        Scales of the stamps in arcsec, ``[n]``.

    Returns
    -------
    host
        The hosts. A ring with too few clear pixels takes its value from
        those around it. The median of the outermost rings is the sky: light
        of the host that reaches there is lost to it.
    """
    values = np.where(clear, image, np.inf)
    values = rings.gather(values)
    seen = np.isfinite(values)
    middle, scatter = _medians(np.sort(values, axis=3), seen.sum(axis=3))
    outer = max(1, round(OUTER_SHARE * rings.size))
    sky = np.median(middle[:, :, -outer:], axis=2)
    noise = np.median(scatter[:, :, -outer:], axis=2)
    excess = np.sqrt(np.maximum(scatter**2 - noise[:, :, None] ** 2, 0.0))
    profile = _smoothed(middle, sky, noise)
    light = _between(profile)
    flux, half_light = _growth(np.where(seen, values, light), light, sky, rings, pixel_scale)
    return HostModel(
        light=np.asarray(rings.scatter(light.astype(np.float32)), np.float32),
        sky=sky,
        scatter=excess,
        flux=flux,
        half_light=half_light,
    )


def _medians(values: npt.NDArray[np.floating], count: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Return median and half-width of sorted values of each ring."""
    size = values.shape[3]

    def quantile(q: float) -> Doubles:
        place = q * np.maximum(count - 1, 0)
        low = np.floor(place).astype(np.int64)[..., None]
        high = np.ceil(place).astype(np.int64)[..., None]
        both = [np.take_along_axis(values, index, axis=3)[..., 0] for index in (low, high)]
        return np.asarray(np.where(poor, 0.0, 0.5 * (both[0] + both[1])), np.float64)

    poor = count < LEAST_CLEAR * size
    middle = np.where(poor, np.nan, quantile(0.5))
    scatter = np.where(poor, np.nan, 0.5 * (quantile(0.84) - quantile(0.16)))
    _fill_falling(middle)
    _fill(scatter)
    return middle, scatter


def _smoothed(profile: Doubles, sky: Doubles, noise: Doubles) -> Doubles:
    """Smooth the outer part of profiles.

    As inverse hyperbolic sines: steep profiles are convex, and would come
    out too bright.
    """
    size = profile.shape[2]
    softening = np.maximum(3.0 * noise / np.sqrt(size), 1e-6)[:, :, None]
    stretched = np.arcsinh((profile - sky[:, :, None]) / softening)
    smooth = np.sinh(gaussian_filter1d(stretched, 2.0, axis=2, mode="nearest")) * softening
    return np.where(np.arange(size) < INNER_RINGS, profile, smooth + sky[:, :, None])


def _fill(profiles: Doubles) -> None:
    """Interpolate over the NaNs of profiles ``[n, band, ring]``, in place."""
    places = np.arange(profiles.shape[2])
    for i, j in np.argwhere(np.isnan(profiles).any(axis=2)):
        profile = profiles[i, j]
        good = np.isfinite(profile)
        profiles[i, j] = np.interp(places, places[good], profile[good]) if good.any() else 0.0


def _fill_falling(profiles: Doubles) -> None:
    """Interpolate over the NaNs of profiles that fall outwards, in place.

    As logarithms above the outermost rings' level, over the distance: a
    straight line across a gap in a steep profile is much too bright.
    """
    distance = np.sqrt(np.arange(profiles.shape[2]) + 0.5)
    for i, j in np.argwhere(np.isnan(profiles).any(axis=2)):
        profile = profiles[i, j]
        good = np.isfinite(profile)
        if not good.any():
            profile[:] = 0.0
            continue
        known = profile[good]
        level = np.median(known[-max(1, len(known) // 5) :])
        least = max(_LEAST_SHARE * float(known.max() - level), 1e-9)
        logs = np.log(np.maximum(known - level, 0.0) + least)
        profile[~good] = level + np.exp(np.interp(distance[~good], distance[good], logs)) - least


def _between(profile: Doubles) -> Doubles:
    """Interpolate profiles from rings to pixels, ``[n, band, ring, pixel]``.

    The pixels of a ring are in order, and rings have equal areas, so that a
    pixel's place in the order is its place between the rings' middles.
    """
    size = profile.shape[2]
    place = np.clip((np.arange(size * size) + 0.5) / size - 0.5, 0.0, size - 1.0)
    low = np.minimum(place.astype(np.int64), size - 2)
    share = place - low
    flat = profile[:, :, low] * (1.0 - share) + profile[:, :, low + 1] * share
    return np.asarray(flat.reshape(*profile.shape[:2], size, size))


def _growth(
    values: npt.NDArray[np.floating], light: Doubles, sky: Doubles, rings: Rings, pixel_scale: Doubles
) -> tuple[Doubles, Doubles]:
    """Return flux and half-light semi-major axis from a curve of growth.

    The two inner rings count as they are, the others as modelled.
    """
    n, n_bands, size, _ = light.shape
    host = light.copy()
    host[:, :, :2] = values[:, :, :2]
    host -= sky[:, :, None, None]
    area = np.asarray(pixel_scale, np.float64) ** 2
    growth = np.cumsum(host.reshape(n, n_bands, -1), axis=2) * area[:, None, None]
    flux = growth[:, :, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = np.argmax(growth >= 0.5 * flux[:, :, None], axis=2) + 0.5
        radius = np.sqrt(pixels * area[:, None] / np.pi / rings.axis_ratio[:, None])
    return flux, np.where(flux > 0.0, radius, np.nan)
