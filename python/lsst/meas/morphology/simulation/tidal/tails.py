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

"""Tails: disks that a companion of similar mass has passed.

The recipe is that of Toomre & Toomre (1972): massless particles on circular
orbits in a disk that a second galaxy passes in the sense of its rotation.
"""

from __future__ import annotations

__all__ = ("make_tails",)

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from .orbits import HOST, Field, Galaxy, Vectors, integrate
from .snapshots import Encounter, even_points

type Floats = npt.NDArray[np.float64]

_TIME_STEP = 0.06
_DISK_SCALE = 0.596
"""Scale length of an exponential disk whose half-light radius is one."""

_INNER, _OUTER = 0.9, 3.6
"""Radii between which particles start: tails come from nowhere else."""


@dataclasses.dataclass(frozen=True)
class _Passage:
    """The companion and its way, in the host's rest frame."""

    companion: Galaxy
    mass: float
    length: float
    path: Floats
    """``[step, 3]``."""

    speed: Floats
    """The companion's velocity at step 0, ``[3]``."""

    before: int
    """Step of the closest approach."""


def make_tails(seed: int, *, particles: int, times: int) -> tuple[Encounter, ...]:
    """Return the tails of one passage at several times.

    Parameters
    ----------
    seed
        Seed of the passage.
    particles
        Particles to move; a third of them becomes debris.
    times
        Number of times.

    Returns
    -------
    encounters
        One per time, ascending.
    """
    rng = np.random.default_rng(seed)
    while True:
        encounters = _one_passage(rng, seed, particles, times)
        if encounters is not None:
            return encounters


def _one_passage(
    rng: np.random.Generator, seed: int, particles: int, times: int
) -> tuple[Encounter, ...] | None:
    """Return what one passage leaves, or None if that is too little."""
    after = 6.0 + 16.0 * (np.arange(times) + rng.random(times)) / times
    passage = _draw_passage(rng, before=12.0, after=float(after[-1]))
    both = rng.random() < 0.5
    own = particles if not both else particles * 2 // 3
    x, v, weight, radius = _disk(rng, own, 1.0, 1.0, _turn(0.0, 0.0))
    of_host = np.ones(particles, dtype=np.bool_)
    if both:
        of_host[own:] = False
        orientation = _turn(float(rng.uniform(0.0, 1.0)), float(rng.uniform(0.0, 2.0 * np.pi)))
        other = _disk(rng, particles - own, passage.mass, passage.length, orientation)
        x = np.concatenate([x, other[0] + passage.path[0][:, None]], axis=1)
        v = np.concatenate([v, other[1] + passage.speed[:, None]], axis=1)
        weight = np.concatenate([weight, passage.mass * other[2]])
        radius = np.concatenate([radius, other[3]])
    fields = [Field(HOST), Field(passage.companion, passage.path, pulls_origin=True)]
    keep = [passage.before + round(time / _TIME_STEP) for time in after]
    moved = integrate(x.astype(np.float32), v.astype(np.float32), fields, time_step=_TIME_STEP, keep=keep)
    dimming = float(rng.uniform(0.35, 1.0))
    found = []
    for step, time, place in zip(keep, after, moved, strict=True):
        debris = _is_tail(place, passage.path[step], passage.length, radius, of_host)
        light = float(weight[debris].sum())
        if debris.sum() < 0.08 * particles or light < 0.01:
            return None
        found.append(
            Encounter(
                kind="tail",
                seed=seed,
                x=np.ascontiguousarray(place[:, debris].T, dtype=np.float32),
                weight=(weight[debris] / light).astype(np.float32),
                companion=passage.path[step].astype(np.float32),
                companion_ratio=passage.mass,
                light=dimming * light,
                axis=np.array([0.0, 0.0, 1.0], dtype=np.float32),
                time=float(time),
            )
        )
    return tuple(found)


def _draw_passage(rng: np.random.Generator, before: float, after: float) -> _Passage:
    """Draw a companion and its way past the host's disk.

    The disk lies in the plane z = 0 and turns counterclockwise.
    """
    mass = float(rng.uniform(0.3, 1.4))
    length = math.sqrt(mass)
    companion = HOST.scaled(mass, length)
    pericentre = float(rng.uniform(2.0, 6.5))
    depth = HOST.potential(pericentre) + companion.potential(pericentre)
    speed = float(rng.uniform(0.82, 1.03)) * math.sqrt(-2.0 * depth)
    inclination = math.acos(float(rng.uniform(math.cos(math.radians(55.0)), 1.0)))
    turn = _turn(inclination, float(rng.uniform(0.0, 2.0 * np.pi)))
    phase = float(rng.uniform(0.0, 2.0 * np.pi))
    x = turn @ np.array([[math.cos(phase)], [math.sin(phase)], [0.0]]) * pericentre
    v = turn @ np.array([[-math.sin(phase)], [math.cos(phase)], [0.0]]) * speed
    attraction = [Field(HOST), Field(companion)]
    steps_before, steps_after = round(before / _TIME_STEP), round(after / _TIME_STEP) + 1
    past = integrate(x, -v, attraction, time_step=_TIME_STEP, keep=range(steps_before + 2))[:, :, 0]
    future = integrate(x, v, attraction, time_step=_TIME_STEP, keep=range(steps_after + 1))[:, :, 0]
    start = (past[-3] - past[-1]) / (2.0 * _TIME_STEP)
    path = np.concatenate([past[-2:0:-1], future])
    return _Passage(companion, mass, length, path, np.asarray(start), steps_before)


def _disk(
    rng: np.random.Generator, n: int, mass: float, length: float, orientation: Floats
) -> tuple[Vectors, Vectors, Floats, Floats]:
    """Return positions, velocities, light and radii of a cold disk."""
    u = even_points(rng, n, 5)
    grid = np.linspace(_INNER, _OUTER, 400)
    light = grid * np.exp(-grid / _DISK_SCALE)
    density = np.sqrt(light)
    steps = 0.5 * (density[1:] + density[:-1])
    cumulated = np.concatenate([[0.0], np.cumsum(steps)])
    radius = np.interp(u[0], cumulated / cumulated[-1], grid)
    share = radius * np.exp(-radius / _DISK_SCALE) / np.interp(radius, grid, density)
    inner, outer = ((1.0 + r / _DISK_SCALE) * math.exp(-r / _DISK_SCALE) for r in (_INNER, _OUTER))
    share *= (inner - outer) / share.sum()
    angle = 2.0 * np.pi * u[1]
    c, s = np.cos(angle), np.sin(angle)
    speed = HOST.circular_speed(radius) * math.sqrt(mass / length)
    wobble = 0.06 * speed * (2.0 * u[2:5] - 1.0)
    along = speed + wobble[0]
    x = np.stack([radius * c, radius * s, np.zeros(n)]) * length
    v = np.stack([wobble[1] * c - along * s, wobble[1] * s + along * c, wobble[2]])
    return orientation @ x, orientation @ v, share, radius


def _is_tail(
    place: Vectors,
    companion: Floats,
    length: float,
    radius: Floats,
    of_host: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Tell which particles have left the disks they come from."""
    from_host = np.sqrt((place**2).sum(axis=0))
    from_companion = np.sqrt(((place - companion[:, None]) ** 2).sum(axis=0)) / length
    own = np.where(of_host, from_host, from_companion)
    other = np.where(of_host, from_companion, from_host)
    left = ((own > 1.8) & (own > 1.3 * radius)) | (own > 3.3)
    return np.asarray(left & (other > 1.8))


def _turn(inclination: float, node: float) -> Floats:
    """Return the rotation of the plane z = 0 about a line of nodes."""
    c, s = math.cos(inclination), math.sin(inclination)
    tilt = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    c, s = math.cos(node), math.sin(node)
    return np.asarray(np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ tilt)
