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

"""The galaxies around which debris is looked for, and their companions."""

from __future__ import annotations

__all__ = ("draw_companions", "draw_hosts")

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from ..galaxies import GalaxyParameters, Kind

type Floats = npt.NDArray[np.float64]

_BRIGHTEST, _FAINTEST = 14.0, 20.0
_SMALLEST, _LARGEST = 2.0, 10.0
_SURFACE = 21.6
"""Mean surface brightness within the half-light radius (i, mag per
arcsec**2)."""

_DISKS = 0.6


def draw_hosts(rng: np.random.Generator, spin: Floats) -> GalaxyParameters:
    """Draw bright, resolved galaxies without companions or tails.

    Half-light radii of 2 to 10 arcsec, i between 14 and 20 and mostly 14.5
    to 19, disks and ellipticals, whatever will be drawn around them.

    Parameters
    ----------
    rng
        Source of random numbers.
    spin
        Unit vectors along which the disks spin, with the third component
        towards the observer, ``[n, 3]``.

    Returns
    -------
    parameters
        The galaxies.
    """
    n = len(spin)
    half_light = np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST), n))
    # Within it, hosts of all sizes are about equally bright.
    mean_surface = rng.normal(_SURFACE, 0.7, n)
    magnitude = mean_surface - 2.5 * np.log10(2.0 * np.pi * half_light**2)
    magnitude = np.clip(magnitude, _BRIGHTEST, _FAINTEST)
    p = _draw_galaxies(rng, magnitude, half_light)
    disk = p.kind == Kind.DISK
    # A disk's major axis lies across its spin.
    across = (np.arctan2(spin[:, 1], spin[:, 0]) + 0.5 * np.pi) % np.pi
    return dataclasses.replace(
        p,
        axis_ratio=np.where(disk, np.abs(spin[:, 2]), p.axis_ratio),
        angle=np.where(disk, across, p.angle),
    )


def draw_companions(rng: np.random.Generator, hosts: GalaxyParameters, ratio: Floats) -> GalaxyParameters:
    """Draw galaxies beside hosts.

    Parameters
    ----------
    rng
        Source of random numbers.
    hosts
        The ``n`` hosts.
    ratio
        Flux of each companion over its host's, ``[n]``, positive.

    Returns
    -------
    parameters
        The companions.
    """
    n = len(hosts)
    half_light = hosts.half_light * ratio**0.4 * np.exp(rng.normal(-0.1, 0.2, n))
    magnitude = hosts.magnitude - 2.5 * np.log10(ratio)
    p = _draw_galaxies(rng, magnitude, np.clip(half_light, 0.3, _LARGEST))
    return dataclasses.replace(p, red_colour=hosts.red_colour + rng.normal(-0.05, 0.1, n))


def _draw_galaxies(rng: np.random.Generator, magnitude: Floats, half_light: Floats) -> GalaxyParameters:
    """Draw all else about galaxies of given magnitude and size.

    The votes' simulator has distributions of its own, `draw_parameters`;
    hosts don't follow them, so that neither can change the other's sets.
    """
    n = len(magnitude)
    disk = rng.random(n) < _DISKS
    armed = disk & (rng.random(n) < 0.7)
    barred = disk & (rng.random(n) < 0.4)
    bulge = np.where(rng.random(n) < 0.18, 0.0, rng.beta(0.9, 2.6, n))
    elliptical = np.where(rng.random(n) < 0.15, rng.uniform(0.35, 0.5, n), rng.uniform(0.5, 1.0, n))
    nothing: dict[str, npt.NDArray[np.generic]] = {
        field.name: np.zeros(n) for field in dataclasses.fields(GalaxyParameters)
    }
    drawn: dict[str, npt.NDArray[Any]] = {
        "kind": np.where(disk, Kind.DISK, Kind.ELLIPTICAL).astype(np.int64),
        "artifact": np.zeros(n, dtype=np.int64),
        "seed": rng.integers(0, 2**63, n, dtype=np.uint64),
        "magnitude": magnitude,
        "size_error": np.ones(n),
        "half_light": half_light,
        "sersic": np.where(disk, rng.uniform(1.0, 3.0, n), rng.uniform(2.0, 4.5, n)),
        "axis_ratio": np.where(disk, rng.uniform(0.0, 1.0, n), elliptical),
        "angle": rng.uniform(0.0, np.pi, n),
        "thickness": rng.uniform(0.07, 0.15, n),
        "bulge_fraction": np.where(disk, bulge, 0.0),
        "bulge_half_light": half_light * rng.uniform(0.12, 0.3, n) * (0.6 + bulge),
        "bulge_axis_ratio": rng.uniform(0.65, 1.0, n),
        "boxiness": np.where(rng.random(n) < 0.25, rng.uniform(3.5, 5.0, n), 2.0),
        "bar_strength": np.where(barred, rng.uniform(0.2, 1.0, n), 0.0),
        "bar_length": rng.uniform(0.9, 1.9, n),
        "bar_axis_ratio": rng.uniform(0.2, 0.34, n),
        "bar_angle": rng.uniform(0.0, np.pi, n),
        "arm_strength": np.where(armed, rng.uniform(0.3, 1.0, n), 0.0),
        "arm_count": rng.choice([1, 2, 3, 4, 5, 6], n, p=[0.05, 0.52, 0.18, 0.13, 0.07, 0.05]),
        "pitch": np.radians(rng.uniform(8.0, 34.0, n)),
        "arm_phase": rng.uniform(0.0, 2.0 * np.pi, n),
        "ring_radius": np.ones(n),
        "ring_width": np.full(n, 0.1),
        "flocculence": rng.beta(1.0, 2.5, n),
        "clumpiness": np.where(disk & (rng.random(n) < 0.25), rng.uniform(0.3, 1.0, n), 0.0),
        "dust": np.where(rng.random(n) < 0.5, rng.uniform(0.5, 2.5, n), 0.0),
        "red_colour": np.clip(rng.normal(0.95, 0.18, n) + 0.08 * (magnitude - 18.0).clip(0.0), 0.6, 1.7),
        "blue_colour": rng.normal(0.32, 0.1, n),
        "companion_distance": np.ones(n),
    }
    return GalaxyParameters(**{**nothing, **drawn})
