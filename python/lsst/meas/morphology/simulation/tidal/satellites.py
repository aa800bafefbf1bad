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

"""Streams and shells: satellites that their host pulls apart.

A satellite on a round orbit leaves a stream. One that falls through the
middle leaves shells, where its stars turn back (Quinn 1984).
"""

from __future__ import annotations

__all__ = ("make_shells", "make_streams")

import math

import numpy as np
import numpy.typing as npt

from .orbits import HOST, Field, Galaxy, Plummer, Vectors, integrate
from .snapshots import Encounter, even_points, spin

type Floats = npt.NDArray[np.float64]

_STREAM_STEP = 0.05
_SHELL_STEP = 0.04


def make_streams(seed: int, *, particles: int, times: int) -> tuple[Encounter, ...]:
    """Return the stream of one satellite at several times.

    Parameters
    ----------
    seed
        Seed of the satellite.
    particles
        Particles of the satellite.
    times
        Number of times.

    Returns
    -------
    encounters
        One per time, ascending.
    """
    rng = np.random.default_rng(seed)
    last = float(rng.uniform(35.0, 90.0))
    when = last * (0.5 + 0.5 * (np.arange(times) + rng.random(times)) / times)
    keep = [round(time / _STREAM_STEP) for time in when]
    host = Galaxy(flattening=float(rng.uniform(0.85, 1.0)))
    mass = 0.006 * 13.0 ** float(rng.random())
    satellite = Plummer(mass, 0.12 * (mass / 0.05) ** (1.0 / 3.0))
    distance = float(rng.uniform(4.0, 9.0))
    slowness = float(rng.uniform(0.45, 0.92))
    turn = _random_plane(rng)
    x = turn @ np.array([[distance], [0.0], [0.0]])
    v = turn @ np.array([[0.0], [slowness * float(host.circular_speed(distance))], [0.0]])
    steps = keep[-1] + 1
    path = integrate(x, v, [Field(host)], time_step=_STREAM_STEP, keep=range(steps + 1))[:, :, 0]
    gone = float(rng.uniform(0.3, 1.2)) * last / _STREAM_STEP
    remaining = np.clip(1.0 - np.arange(steps + 1) / gone, 0.0, 1.0)
    within, swing = _plummer_stars(rng, particles, satellite)
    fields = [Field(host), Field(satellite, path, remaining)]
    x, v = (x + within).astype(np.float32), (v + swing).astype(np.float32)
    moved = integrate(x, v, fields, time_step=_STREAM_STEP, keep=keep)
    light = 0.003 * (0.08 / 0.003) ** float(rng.random())
    found = []
    for step, place in zip(keep, moved, strict=True):
        bound = np.sqrt(((place - path[step][:, None]) ** 2).sum(axis=0)) < 3.0 * satellite.scale
        alive = remaining[step] > 0.03 and 0.05 < bound.mean() < 0.95
        debris = ~bound if alive else np.ones_like(bound)
        ratio = min(light * float(bound.mean() / (1.0 - bound.mean())), 0.3) if alive else 0.0
        companion = path[step] if alive else np.full(3, np.nan)
        found.append(
            _debris(
                "stream", seed, place[:, debris], companion, ratio, light, turn[:, 2], step * _STREAM_STEP
            )
        )
    return tuple(found)


def make_shells(seed: int, *, particles: int, times: int) -> tuple[Encounter, ...]:
    """Return the shells of one satellite at several times.

    The satellite dissolves where it is nearest to the host's centre.

    Parameters
    ----------
    seed
        Seed of the satellite.
    particles
        Particles of the satellite.
    times
        Number of times.

    Returns
    -------
    encounters
        One per time, ascending.
    """
    rng = np.random.default_rng(seed)
    parts = (np.arange(times) + rng.random(times)) / times
    mass = 0.002 * 7.0 ** float(rng.random())
    satellite = Plummer(mass, float(rng.uniform(0.14, 0.21)) * (mass / 0.012) ** (1.0 / 3.0))
    distance = float(rng.uniform(3.5, 7.0))
    slowness = float(rng.uniform(0.01, 0.08))
    turn = _random_plane(rng)
    x = turn @ np.array([[distance], [0.0], [0.0]])
    v = turn @ np.array([[0.0], [slowness * float(HOST.circular_speed(distance))], [0.0]])
    fall = integrate(x, v, [Field(HOST)], time_step=_SHELL_STEP, keep=range(round(20.0 / _SHELL_STEP)))[
        :, :, 0
    ]
    from_centre = (fall**2).sum(axis=1)
    release = int(np.argmax(from_centre[1:] > from_centre[:-1]))
    when = release * _SHELL_STEP * (2.4 + 4.8 * parts)
    within, swing = _plummer_stars(rng, particles, satellite)
    remaining = np.where(np.arange(release + 1) < release, 1.0, 0.0)
    keep = [release + round(time / _SHELL_STEP) for time in when]
    path = np.concatenate([fall[: release + 1], np.zeros((keep[-1] + 1 - release, 3))])
    remaining = np.concatenate([remaining, np.zeros(keep[-1] + 1 - release)])
    fields = [Field(HOST), Field(satellite, path, remaining)]
    x, v = (x + within).astype(np.float32), (v + swing).astype(np.float32)
    moved = integrate(x, v, fields, time_step=_SHELL_STEP, keep=keep)
    light = 0.01 * 13.0 ** float(rng.random())
    nowhere = np.full(3, np.nan)
    return tuple(
        _debris("shell", seed, spin(place.T, turn[:, 0]).T, nowhere, 0.0, light, turn[:, 0], float(time))
        for place, time in zip(moved, when, strict=True)
    )


def _debris(
    kind: str,
    seed: int,
    place: Vectors,
    companion: Floats,
    ratio: float,
    light: float,
    axis: Floats,
    time: float,
) -> Encounter:
    """Return debris whose particles have equal shares of the light."""
    n = place.shape[1]
    return Encounter(
        kind=kind,
        seed=seed,
        x=np.ascontiguousarray(place.T, dtype=np.float32),
        weight=np.full(n, 1.0 / n, dtype=np.float32),
        companion=companion.astype(np.float32),
        companion_ratio=ratio,
        light=light,
        axis=axis.astype(np.float32),
        time=time,
    )


def _random_plane(rng: np.random.Generator) -> Floats:
    """Return a rotation drawn evenly from all."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 2] *= np.sign(np.linalg.det(q))
    return np.asarray(q)


def _plummer_stars(rng: np.random.Generator, n: int, satellite: Plummer) -> tuple[Floats, Floats]:
    """Return positions and velocities from the satellite's centre.

    They follow the isotropic distribution function (Aarseth, Henon &
    Wielen 1974), without the outer 6 per cent of the mass.
    """
    u = even_points(rng, n, 6)
    radius = satellite.scale / np.sqrt((0.001 + 0.939 * u[0]) ** (-2.0 / 3.0) - 1.0)
    grid = np.linspace(0.0, 1.0, 400)
    cumulated = np.cumsum(grid**2 * (1.0 - grid**2) ** 3.5)
    part = np.interp(u[1], cumulated / cumulated[-1], grid)
    escape = math.sqrt(2.0 * satellite.mass) * (radius**2 + satellite.scale**2) ** -0.25
    return radius * _directions(u[2], u[3]), part * escape * _directions(u[4], u[5])


def _directions(height: Floats, turn: Floats) -> Floats:
    """Return unit vectors, ``[3, n]``, from even numbers."""
    z = 2.0 * height - 1.0
    across = np.sqrt(1.0 - z * z)
    return np.stack([across * np.cos(2.0 * np.pi * turn), across * np.sin(2.0 * np.pi * turn), z])
