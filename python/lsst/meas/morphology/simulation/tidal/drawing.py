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

"""Scenes as pictures, and the light of each part without noise."""

from __future__ import annotations

__all__ = ("Drawn", "draw")

import dataclasses

import numpy as np
import numpy.typing as npt

from ...model.field_of_view import FieldOfView
from ...pixels.radius import guarded_radius
from ..measuring import measure
from ..observing import NATIVE_SCALE, add_noise, convolve
from ..painting import paint
from .confusers import draw_cirrus, draw_ghost, draw_halos
from .debris import paint_debris
from .missing import lose_pixels
from .neighbours import Field, paint_field
from .scenes import Scenes
from .sky import oversubtraction, sky_residual
from .snapshots import KINDS

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]

_OVERSAMPLE = 2
_CHUNK = 8
"""Scenes convolved together: what they need fits the cache."""

_GHOSTS, _CIRRUS, _OVERSUBTRACTED = 0.08, 0.22, 0.08
_NEAR_EDGE = 0.95
_NOISE = (1.0, 1.2)
"""Noise on large scales over what the variance plane says: pixels of
coadds are correlated."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Pictures of ``n`` scenes and the light of their parts in r.

    Surface brightness is in nJy per arcsec**2, seen through the atmosphere
    and without noise.
    """

    flux: Image
    """Flux per stamp pixel in nJy, ``[n, band, size, size]``."""

    valid: npt.NDArray[np.bool_]
    """Whether a pixel was measured, of the same shape."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Scale of each stamp, ``[n]``."""

    debris: Image
    """Surface brightness of each of `KINDS`, ``[n, 3, size, size]``."""

    host: Image
    """Surface brightness of the host, ``[n, size, size]``."""

    others: Image
    """That of neighbours, companions, stars with halos and ghosts."""

    cirrus: Image
    """That of cirrus."""

    has_halo: npt.NDArray[np.bool_]
    """Whether there is a bright star in or near the stamp, ``[n]``."""

    has_ghost: npt.NDArray[np.bool_]
    """Whether a ghost crosses it, ``[n]``."""

    has_cirrus: npt.NDArray[np.bool_]
    """Whether there is cirrus, ``[n]``."""

    oversubtracted: npt.NDArray[np.bool_]
    """Whether the sky was subtracted in small bins, ``[n]``."""

    companion_shown: npt.NDArray[np.bool_]
    """Whether each of the scenes' companions is in its stamp, ``[c]``."""


@dataclasses.dataclass(frozen=True)
class _Galaxies:
    """Galaxies and stars, convolved, in nJy per pixel."""

    total: Image
    """All of them, ``[n, band, size, size]``."""

    host: Image
    """The host in r, ``[n, size, size]``."""

    others: Image
    """All others in r, of the same shape."""

    fields: list[Field]
    """The stars of each scene."""


def draw(rng: np.random.Generator, scenes: Scenes, *, stamp_size: int, field_of_view: FieldOfView) -> Drawn:
    """Take pictures of scenes.

    Parameters
    ----------
    rng
        Source of random numbers.
    scenes
        The ``n`` scenes.
    stamp_size
        Side of the stamps in pixels.
    field_of_view
        Rule for the stamps' scale.

    Returns
    -------
    drawn
        Pictures and truth.
    """
    bands, n = scenes.conditions.bands, len(scenes)
    fwhm, sigma = scenes.conditions.reference()
    measured = measure(scenes.hosts, fwhm, sigma)
    radius, _ = guarded_radius(measured.trace, measured.kron_radius, measured.footprint_area, NATIVE_SCALE)
    arcsec_per_px, _ = field_of_view.arcsec_per_px(radius, stamp_size)
    scale = arcsec_per_px.astype(np.float64)
    area = (scale**2).astype(np.float32)[:, None, None, None]
    # A centroid is good to about a fifth of a native pixel.
    shift = rng.normal(0.0, 0.2 * NATIVE_SCALE, (2, n))
    shown = _inside(scenes, stamp_size * scale)
    galaxies = _draw_galaxies(rng, scenes, shown, scale, shift, stamp_size)
    debris = _draw_debris(scenes, scale, shift, stamp_size)
    r = bands.index("r")
    debris_in_r = np.zeros((n, len(KINDS), stamp_size, stamp_size), dtype=np.float32)
    disturbed = np.flatnonzero(scenes.kind > 0)
    debris_in_r[disturbed, scenes.kind[disturbed] - 1] = debris[disturbed, r]
    host, others = galaxies.host / area[:, 0], galaxies.others / area[:, 0]
    total = galaxies.total / area + debris
    cirrus = np.zeros_like(host)
    has_halo, has_ghost, has_cirrus = _add_confusers(
        rng, galaxies.fields, bands, scale, total, others, cirrus
    )
    oversubtracted = _subtract_sky(rng, scenes, total, host + others, scale)
    flux = np.ascontiguousarray(total * area)
    noise = scenes.conditions.sigma * rng.uniform(*_NOISE, (n, 1))
    add_noise(rng, flux, bands, noise, scenes.conditions.visits, scale / NATIVE_SCALE)
    valid = lose_pixels(rng, total)
    flux[~valid] = 0.0
    return Drawn(
        flux,
        valid,
        arcsec_per_px,
        debris_in_r,
        host,
        others,
        cirrus,
        has_halo,
        has_ghost,
        has_cirrus,
        oversubtracted,
        companion_shown=shown,
    )


def _inside(scenes: Scenes, side: Floats) -> npt.NDArray[np.bool_]:
    """Return which companions have their centres in the stamps, ``[c]``."""
    farthest = np.maximum(np.abs(scenes.companion_x), np.abs(scenes.companion_y))
    return np.asarray(farthest < _NEAR_EDGE * 0.5 * side[scenes.companion_scene])


def _draw_galaxies(
    rng: np.random.Generator,
    scenes: Scenes,
    shown: npt.NDArray[np.bool_],
    scale: Floats,
    shift: Floats,
    size: int,
) -> _Galaxies:
    """Paint hosts, companions, neighbours and stars through the atmosphere."""
    bands, n = scenes.conditions.bands, len(scenes)
    r, fine, large = bands.index("r"), scale / _OVERSAMPLE, size * _OVERSAMPLE
    total = np.empty((n, len(bands), size, size), dtype=np.float32)
    host, others = np.empty((2, n, size, size), dtype=np.float32)
    fields: list[Field] = []
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        main = paint(
            scenes.hosts[part],
            bands,
            size=large,
            pixel_scale=fine[part],
            offset_x=shift[0, part],
            offset_y=shift[1, part],
        )
        rest = np.zeros_like(main)
        which = np.flatnonzero(
            shown & (scenes.companion_scene >= part.start) & (scenes.companion_scene < part.stop)
        )
        at = scenes.companion_scene[which]
        companions = paint(
            scenes.companions[which],
            bands,
            size=large,
            pixel_scale=fine[at],
            offset_x=scenes.companion_x[which] + shift[0, at],
            offset_y=scenes.companion_y[which] + shift[1, at],
        )
        np.add.at(rest, at - part.start, companions)
        for k in range(part.start, part.stop):
            fields.append(
                paint_field(
                    rng,
                    bands,
                    size=large,
                    pixel_scale=float(fine[k]),
                    half_light=float(scenes.hosts.half_light[k]),
                )
            )
            rest[k - part.start] += fields[-1].image
        # In r the host is apart, in other bands all light is one.
        layers = np.concatenate([main + rest, main[:, r : r + 1]], axis=1)
        layers[:, r] = rest[:, r]
        fwhm = scenes.conditions.fwhm[part][:, [*range(len(bands)), r]]
        layers = convolve(layers, fwhm, fine[part], boxes=3)
        layers = layers[:, :, 0::2] + layers[:, :, 1::2]
        layers = layers[..., 0::2] + layers[..., 1::2]
        host[part], others[part] = layers[:, -1], layers[:, r]
        layers[:, r] += layers[:, -1]
        total[part] = layers[:, :-1]
    return _Galaxies(total, host, others, fields)


def _draw_debris(scenes: Scenes, scale: Floats, shift: Floats, size: int) -> Image:
    """Return the debris's surface brightness, ``[n, band, size, size]``."""
    bands = scenes.conditions.bands
    debris = np.zeros((len(scenes), len(bands), size, size), dtype=np.float32)
    for k in np.flatnonzero(scenes.kind > 0).tolist():
        half_light = float(scenes.hosts.half_light[k])
        share = paint_debris(
            scenes.place[k] + (shift[:, k] / half_light).astype(np.float32),
            scenes.weight[k],
            size=size,
            pixel_scale=float(scale[k]) / half_light,
        )
        weight = scenes.debris_flux[k] / scale[k] ** 2
        layers = weight.astype(np.float32)[:, None, None] * share
        debris[k] = convolve(layers[None], scenes.conditions.fwhm[k : k + 1], scale[k : k + 1], boxes=3)[0]
    # The transform leaves some rounding where there is nothing.
    return np.maximum(debris, 0.0, out=debris)


def _add_confusers(
    rng: np.random.Generator,
    fields: list[Field],
    bands: tuple[str, ...],
    scale: Floats,
    total: Image,
    others: Image,
    cirrus: Image,
) -> npt.NDArray[np.bool_]:
    """Add halos, ghosts and cirrus to the light, in place.

    Returns which scenes have a bright star, a ghost and cirrus, ``[3, n]``.
    """
    r, size = bands.index("r"), total.shape[-1]
    has = np.zeros((3, len(fields)), dtype=np.bool_)
    has[1:] = rng.random((2, len(fields))) < np.array([[_GHOSTS], [_CIRRUS]])
    for k, field in enumerate(fields):
        halos = draw_halos(rng, bands, field, size=size, pixel_scale=float(scale[k]))
        has[0, k] = halos.present
        image = halos.image
        if has[1, k]:
            image = image + draw_ghost(rng, bands, size=size, pixel_scale=float(scale[k]))
        total[k] += image
        others[k] += image[r]
        if has[2, k]:
            dust = draw_cirrus(rng, bands, size=size)
            total[k] += dust
            cirrus[k] = dust[r]
    return has


def _subtract_sky(
    rng: np.random.Generator, scenes: Scenes, total: Image, light: Image, scale: Floats
) -> npt.NDArray[np.bool_]:
    """Subtract skies that are a little wrong, some of them in small bins."""
    bands, size = scenes.conditions.bands, total.shape[-1]
    chosen = rng.random(len(scenes)) < _OVERSUBTRACTED
    # Five sigma of the sky smoothed with the PSF, as detection has it.
    fwhm, sigma = scenes.conditions.reference()
    threshold = 5.0 * sigma / np.sqrt(4.0 * np.pi) / (fwhm / 2.3548) / NATIVE_SCALE
    for k in range(len(scenes)):
        if chosen[k]:
            detected = (light[k] > threshold[k]).astype(np.float32)
            total[k] -= oversubtraction(total[k], detected, float(scale[k]))
        total[k] += sky_residual(rng, bands, size)
    return chosen
