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

"""What seeing and noise leave of a galaxy's features."""

from __future__ import annotations

__all__ = ("Visibility", "logistic", "step", "visibility")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.special import gamma

from .disks import ARM_SHARE, BAR_SHARE, CLUMP_SHARE, young_share
from .galaxies import GalaxyParameters, Kind
from .observing import NATIVE_SCALE, Conditions

type Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Visibility:
    """What is left of each feature in the image, ``[n]`` each."""

    resolution: Floats
    """Half-light radius over FWHM."""

    axis_ratio: Floats
    """Axis ratio of the convolved image."""

    arms: Floats
    """Contrast of the spiral arms."""

    bar: Floats
    """Light of the bar over that of disk and bulge."""

    clumps: Floats
    """Strength of the clumps, 0 to 1."""

    edge_on: Floats
    """How edge-on a disk looks, 0 to 1."""

    disturbance: Floats
    """Strength of the tidal tails, 0 to 1."""

    ring: Floats
    """Strength of the ring, 0 to 1."""

    irregular: Floats
    """Lopsidedness, as far as it is resolved, 0 to 1."""

    companion: Floats
    """Flux ratio of the companion, as far as it stands apart."""


def visibility(parameters: GalaxyParameters, conditions: Conditions) -> Visibility:
    """Reckon what seeing and noise leave of each feature.

    A wave of length L keeps exp(-2 pi**2 sigma**2 / L**2) of its contrast
    after a Gaussian of width sigma; a feature is seen when its contrast
    times the signal-to-noise ratio of the area it covers is well above six,
    or ten where its shape must be made out.
    Tails are too wide to be added up by eye: theirs is the ratio in the area
    of the point spread function, 2.27 fwhm**2.

    Parameters
    ----------
    parameters
        The ``n`` objects.
    conditions
        The conditions under which they are seen.

    Returns
    -------
    visibility
        Strengths of the features.
    """
    p = parameters
    fwhm, sigma = conditions.reference()
    psf = fwhm / 2.3548
    scale = p.half_light / 1.678
    disk = p.kind == Kind.DISK
    resolution = p.half_light / fwhm
    q = np.where(disk, np.sqrt(p.axis_ratio**2 + 1.5 * p.thickness**2), p.axis_ratio)
    width = 0.69 * p.half_light
    axis_ratio = np.sqrt(((q * width) ** 2 + psf**2) / (width**2 + psf**2))
    light = p.flux() * (1.0 - p.bulge_fraction) / (1.0 + p.companion_ratio)
    # Surface brightness at one scale length, in nJy per native pixel.
    surface = light * NATIVE_SCALE**2 * np.exp(-1.0) / (2.0 * np.pi * scale**2 * np.maximum(q, 0.15))
    arms = _visible_arms(p, scale, q, psf, surface / sigma) * step(scale / fwhm, 0.95, 0.12)
    # A dozen knots of sigma 0.1 scale lengths; peak over disk at one and a
    # half scale lengths.
    area = 1.13 * (fwhm**2 + (0.2355 * scale) ** 2) / scale**2
    knots = CLUMP_SHARE * p.clumpiness / 12.0 * np.maximum(q, 0.15) * 2.0 * np.pi * np.exp(1.5) / area
    clumps = np.minimum(knots, 1.0) * _seen(knots * surface * fwhm / NATIVE_SCALE / sigma)
    bar = _visible_bar(p, scale, q, psf, surface / sigma, clumps)
    looks = disk * step(-axis_ratio, -0.40, 0.035) * step(resolution, 0.9, 0.15)
    tail = 0.22 * p.disturbance * p.flux() * NATIVE_SCALE**2 / (12.0 * p.half_light**2)
    disturbance = p.disturbance * _seen(1.2 * tail * 1.5 * fwhm / NATIVE_SCALE / sigma)
    disturbance *= step(resolution, 1.0, 0.15)
    companion = p.companion_ratio * step(p.companion_distance * resolution, 1.2, 0.2)
    ring = p.ring_strength * step(p.ring_radius * scale * np.sqrt(np.clip(q, 0.05, 1.0)) / fwhm, 1.2, 0.15)
    ring *= _seen(p.ring_strength * surface * np.exp(1.0 - p.ring_radius) * scale / NATIVE_SCALE / sigma)
    irregular = p.lopsidedness * step(resolution, 1.1, 0.15) * _seen(surface * scale / NATIVE_SCALE / sigma)
    return Visibility(
        resolution=resolution,
        axis_ratio=axis_ratio,
        arms=np.where(disk, arms, 0.0),
        bar=np.where(disk, bar, 0.0),
        clumps=np.where(disk, clumps, 0.0),
        edge_on=np.asarray(looks, dtype=np.float64),
        disturbance=disturbance,
        ring=np.where(disk, ring, 0.0),
        irregular=np.where(disk, irregular, 0.0),
        companion=companion,
    )


def _visible_arms(p: GalaxyParameters, scale: Floats, q: Floats, psf: Floats, surface: Floats) -> Floats:
    """Return the arms' contrast, a mean over the radii where arms may be.

    The distance between arms grows with the radius as the light fades; on
    the minor axis it is foreshortened. Their crests are sharp, so the wave
    that carries them is 1.5 times as strong as their light; a bulge's light
    weakens it.
    """
    radii = (1.2, 1.8, 2.4)
    mean = np.zeros(len(p))
    for radius in radii:
        spacing = 2.0 * np.pi * radius * scale * np.sin(p.pitch) / np.maximum(p.arm_count, 2)
        short = spacing * np.clip(q, 0.05, 1.0)
        left = 0.5 * np.exp(-2.0 * np.pi**2 * psf**2 / spacing**2)
        left += 0.5 * np.exp(-2.0 * np.pi**2 * psf**2 / short**2)
        contrast = 1.5 * ARM_SHARE * p.arm_strength * left * (1.0 - 0.4 * p.flocculence)
        contrast /= 1.0 + _bulge_over_disk(p, radius, scale, q, psf)
        area = np.sqrt(spacing * 2.0 * scale) / NATIVE_SCALE
        seen = contrast * _seen(contrast * surface * np.exp(1.0 - radius) * area, 9.0)
        mean += seen / len(radii)
    return mean


def _visible_bar(
    p: GalaxyParameters, scale: Floats, q: Floats, psf: Floats, surface: Floats, clumps: Floats
) -> Floats:
    """Return the bar's light over that of disk and bulge, as it is seen.

    At 0.7 of its half length, where the bar of `paint_disks` has 0.75 of its
    peak (an area of 2.8 times the squared half length and its axis ratio
    holds its light) and the disk's own light has a hole.
    """
    share = BAR_SHARE * p.bar_strength
    over_disk = share / (1.0 - share) * 0.75 / (2.8 * p.bar_length**2 * p.bar_axis_ratio)
    over_disk *= 2.0 * np.pi * np.exp(0.7 * p.bar_length) / (1.0 - 0.25 * p.bar_strength)
    own = (1.0 - young_share(p)) * (1.0 - share)
    length = p.bar_length * scale
    projected = length * np.hypot(np.cos(p.bar_angle), np.clip(q, 0.05, 1.0) * np.sin(p.bar_angle))
    breadth = 0.645 * length * p.bar_axis_ratio * np.sqrt(np.clip(q, 0.05, 1.0))
    contrast = over_disk * breadth / np.hypot(breadth, psf)
    contrast /= 1.0 + _bulge_over_disk(p, 0.7 * p.bar_length, scale, q, psf) / np.maximum(own, 0.1)
    at_end = surface * own * np.exp(1.0 - 0.7 * p.bar_length)
    contrast *= _seen(np.minimum(contrast, 1.0) * at_end * projected / NATIVE_SCALE, 10.0)
    # Knots of star formation hide a bar.
    contrast *= 1.0 - 0.7 * clumps
    return np.asarray(contrast * step(projected / (2.3548 * psf), 1.1, 0.12) * step(q, 0.33, 0.04))


def _bulge_over_disk(
    p: GalaxyParameters, radius: Floats | float, scale: Floats, q: Floats, psf: Floats
) -> Floats:
    """Return a bulge's surface brightness over the disk's.

    At a radius in the disk's scale lengths; the bulge's Sersic profile is
    widened by the point spread function.
    """
    n = p.sersic
    b = 2.0 * n - 1.0 / 3.0
    size = np.hypot(p.bulge_half_light, psf)
    bulge = (
        p.bulge_fraction * b ** (2.0 * n) / (2.0 * np.pi * n * gamma(2.0 * n) * p.bulge_axis_ratio * size**2)
    )
    bulge = bulge * np.exp(-b * (radius * scale / size) ** (1.0 / n))
    disk = (1.0 - p.bulge_fraction) * np.exp(-np.asarray(radius)) / (2.0 * np.pi * scale**2)
    return np.asarray(bulge / np.maximum(disk / np.clip(q, 0.15, 1.0), 1e-12))


def logistic(x: npt.ArrayLike) -> Floats:
    """Return the logistic function of an array."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0))), dtype=np.float64)


def step(x: Floats, threshold: float, width: float) -> Floats:
    """Return a smooth step from 0 to 1 at a threshold."""
    return logistic((x - threshold) / width)


def _seen(signal_to_noise: Floats, half: float = 6.0) -> Floats:
    """Return how much of a feature is seen at a signal-to-noise ratio."""
    squared = np.square(signal_to_noise / half)
    return np.asarray(squared / (1.0 + squared), dtype=np.float64)
