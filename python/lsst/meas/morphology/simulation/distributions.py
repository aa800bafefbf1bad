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

"""How parameters of galaxies are distributed."""

from __future__ import annotations

__all__ = (
    "Rings",
    "draw_axis_ratios",
    "draw_magnitudes",
    "draw_merging",
    "draw_redshifts",
    "draw_rings",
)

import dataclasses

import numpy as np
import numpy.typing as npt

type Floats = npt.NDArray[np.float64]


def draw_magnitudes(rng: np.random.Generator, n: int, limit: float, *, flat: bool) -> Floats:
    """Draw magnitudes from number counts with a slope of 0.45 or 0.1."""
    slope = (0.1 if flat else 0.45) * np.log(10.0)
    brightest = np.exp(slope * (15.5 - limit))
    return np.asarray(limit + np.log(rng.uniform(brightest, 1.0, n)) / slope)


def draw_redshifts(rng: np.random.Generator, magnitude: Floats) -> Floats:
    """Draw redshifts of galaxies of given magnitudes in the i band.

    The distribution is ``z**2 exp(-(z / z0)**1.5)``; its median is 0.1 at
    i = 17, 0.2 at 19 and 0.42 at 21.
    """
    median = 0.1 * 10.0 ** (0.155 * (magnitude - 17.0))
    # The power 1.5 of the redshift has a gamma distribution of shape 2.
    return np.asarray(median * (rng.standard_gamma(2.0, len(magnitude)) / 1.67835) ** (2.0 / 3.0))


def draw_axis_ratios(rng: np.random.Generator, disk: npt.NDArray[np.bool_], training: bool) -> Floats:
    """Draw axis ratios of ellipticals and inclinations of disks."""
    n = len(disk)
    elliptical = np.where(rng.random(n) < 0.2, rng.uniform(0.25, 0.5, n), rng.uniform(0.45, 1.0, n))
    inclination = rng.uniform(0.0, 1.0, n)
    if training:
        which = rng.random(n)
        inclination = np.where(which < 0.55, rng.uniform(0.45, 1.0, n), inclination)
        inclination = np.where(which > 0.78, rng.uniform(0.0, 0.12, n), inclination)
    return np.where(disk, inclination, elliptical)


def draw_merging(rng: np.random.Generator, stage: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Draw tails and companions of galaxies at four stages of merging."""
    n = len(stage)
    nothing = np.zeros(n)
    disturbance = np.choose(
        stage, [nothing, rng.uniform(0.2, 0.4, n), rng.uniform(0.65, 1.0, n), rng.uniform(0.2, 0.7, n)]
    )
    ratio = np.choose(
        stage,
        [
            nothing,
            np.where(rng.random(n) < 0.5, rng.uniform(0.02, 0.08, n), 0.0),
            nothing,
            rng.uniform(0.3, 1.0, n),
        ],
    )
    return disturbance, ratio


@dataclasses.dataclass(frozen=True)
class Rings:
    """Rings of disks, ``[n]`` each; see `GalaxyParameters`."""

    strength: Floats
    """Strength, none being 0."""

    radius: Floats
    """Radius in scale lengths."""

    width: Floats
    """Width over radius."""


def draw_rings(
    rng: np.random.Generator, possible: npt.NDArray[np.bool_], bar_length: Floats, share: float
) -> Rings:
    """Draw rings: at the ends of a bar, in the midst of a disk, outside.

    Four in ten are inner rings, as many outer ones, and the rest resonance
    rings in between.

    Parameters
    ----------
    rng
        Source of random numbers.
    possible
        Whether a galaxy may have a ring, ``[n]``.
    bar_length
        Half length of its bar in scale lengths, ``[n]``.
    share
        Part of the galaxies that have one, of those that may.
    """
    n = len(possible)
    ringed = possible & (rng.random(n) < share)
    where = rng.choice(3, n, p=[0.4, 0.2, 0.4])
    radius = np.choose(
        where, [bar_length * rng.uniform(0.95, 1.15, n), rng.uniform(1.7, 2.4, n), rng.uniform(2.4, 3.3, n)]
    )
    strength = np.where(ringed, rng.uniform(0.4, 1.0, n), 0.0)
    return Rings(strength, np.asarray(radius), rng.uniform(0.07, 0.16, n))
