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

"""Massless particles in the potentials of moving galaxies.

Units: the host's half-light radius is one, and so is the constant of
gravity. The host's circular speed is then about one.
"""

from __future__ import annotations

__all__ = ("HOST", "Field", "Galaxy", "Plummer", "Vectors", "integrate")

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

type Vectors = npt.NDArray[np.floating]
"""Positions, velocities or accelerations, ``[3, m]``."""

_BLOCK = 4096
"""Particles that are moved together: what they need fits the cache."""

_DIGITS = np.float32(2.0**14)


@dataclasses.dataclass(frozen=True)
class Galaxy:
    """A halo and stars, both with the profile of Hernquist (1990)."""

    halo_mass: float = 27.0
    halo_scale: float = 6.0
    stars_mass: float = 1.5
    stars_scale: float = 0.55
    flattening: float = 1.0
    """Axis ratio of the surfaces of equal potential, along z."""

    def scaled(self, mass: float, length: float) -> Galaxy:
        """Return a galaxy of the same form with other mass and size."""
        return Galaxy(
            self.halo_mass * mass,
            self.halo_scale * length,
            self.stars_mass * mass,
            self.stars_scale * length,
            self.flattening,
        )

    def strength(self, radius2: Vectors, out: Vectors, work: Vectors) -> None:
        """Write acceleration over distance, from squared distances.

        Parameters
        ----------
        radius2
            Squared distances; overwritten with distances.
        out
            Array to write to.
        work
            Scratch array of the same shape.
        """
        np.sqrt(radius2, out=radius2)
        np.add(radius2, self.halo_scale, out=out)
        np.multiply(out, out, out=out)
        np.divide(self.halo_mass, out, out=out)
        np.add(radius2, self.stars_scale, out=work)
        np.multiply(work, work, out=work)
        np.divide(self.stars_mass, work, out=work)
        np.add(out, work, out=out)
        np.divide(out, radius2, out=out)

    def potential(self, radius: float) -> float:
        """Return the potential at a distance in the plane z = 0."""
        return -self.halo_mass / (radius + self.halo_scale) - self.stars_mass / (radius + self.stars_scale)

    def circular_speed(self, radius: Vectors | float) -> npt.NDArray[np.float64]:
        """Return the speed of circular orbits in the plane z = 0."""
        r = np.asarray(radius, dtype=np.float64)
        halo = self.halo_mass * r / (r + self.halo_scale) ** 2
        return np.sqrt(halo + self.stars_mass * r / (r + self.stars_scale) ** 2)


HOST = Galaxy()
"""The galaxy in the middle: its stars' half-light radius is one."""


@dataclasses.dataclass(frozen=True)
class Plummer:
    """A satellite with the profile of Plummer (1911)."""

    mass: float
    scale: float

    def strength(self, radius2: Vectors, out: Vectors, work: Vectors) -> None:
        """Write acceleration over distance, from squared distances."""
        np.add(radius2, self.scale * self.scale, out=radius2)
        np.sqrt(radius2, out=work)
        np.multiply(radius2, work, out=out)
        np.divide(self.mass, out, out=out)


@dataclasses.dataclass(frozen=True)
class Field:
    """A potential that may move and fade."""

    potential: Galaxy | Plummer
    path: Vectors | None = None
    """Where its centre is at each step, ``[step, 3]``; None: at the
    origin.
    """

    remaining: npt.NDArray[np.float64] | None = None
    """Part of its mass that is left at each step, ``[step]``; None: all."""

    pulls_origin: bool = False
    """Whether it pulls at the galaxy at the origin as well, so that
    particles feel the difference.
    """


def integrate(
    x: Vectors, v: Vectors, fields: Sequence[Field], *, time_step: float, keep: Sequence[int]
) -> npt.NDArray[np.floating]:
    """Move particles by leapfrog, and return where they are at some steps.

    Parameters
    ----------
    x, v
        Positions and velocities at step 0, ``[3, m]``, in the precision to
        compute with. They are rounded to 14 binary digits after the point.
    fields
        What attracts them.
    time_step
        Time between steps.
    keep
        Steps whose positions to return, ascending.

    Returns
    -------
    positions
        ``[len(keep), 3, m]``.

    Notes
    -----
    Functions such as the cosine, by which positions are drawn, differ in
    their last digit from processor to processor. Steps are sums, products,
    quotients and roots alone, which do not. Rounding between the two makes
    the same orbits everywhere.
    """
    x, v = np.rint(x * _DIGITS) / _DIGITS, np.rint(v * _DIGITS) / _DIGITS
    kept = np.empty((len(keep), *x.shape), dtype=x.dtype)
    for start in range(0, x.shape[1], _BLOCK):
        part = slice(start, start + _BLOCK)
        _integrate_block(x[:, part], v[:, part], fields, time_step, keep, kept[:, :, part])
    return kept


def _integrate_block(
    x: Vectors,
    v: Vectors,
    fields: Sequence[Field],
    time_step: float,
    keep: Sequence[int],
    kept: npt.NDArray[np.floating],
) -> None:
    """Move one block; velocities are kept as lengths per step."""
    x = x.copy()
    move = v * x.dtype.type(time_step)
    kicker = _Kicker(x, move, fields, time_step)
    kicker.kick(0, 0.5)
    wanted = {step: row for row, step in enumerate(keep)}
    for step in range(keep[-1] + 1):
        if step in wanted:
            kept[wanted[step]] = x
        x += move
        if step < keep[-1]:
            kicker.kick(step + 1, 1.0)


class _Kicker:
    """Adds the fields' pulls to a block's moves."""

    def __init__(self, x: Vectors, move: Vectors, fields: Sequence[Field], time_step: float) -> None:
        self._x, self._move = x, move
        self._from_centre, self._squares = np.empty_like(x), np.empty_like(x)
        self._strength, self._work = np.empty_like(x[0]), np.empty_like(x[0])
        self._time_step2 = time_step * time_step
        self._fields = [(field, self._uniform_pull(field)) for field in fields]

    def kick(self, step: int, share: float) -> None:
        """Add the pulls at a step, times a share of the time step."""
        offset, squares, strength = self._from_centre, self._squares, self._strength
        for field, uniform in self._fields:
            factor = share * self._time_step2
            if field.remaining is not None:
                factor *= float(field.remaining[step])
                if factor == 0.0:
                    continue
            if field.path is None:
                offset[...] = self._x
            else:
                np.subtract(self._x, field.path[step][:, None].astype(offset.dtype), out=offset)
            np.multiply(offset, offset, out=squares)
            if isinstance(field.potential, Galaxy) and field.potential.flattening != 1.0:
                squares[2] /= field.potential.flattening**2
                offset[2] /= field.potential.flattening**2
            squares[0] += squares[1]
            squares[0] += squares[2]
            squares[0] += 1e-12
            field.potential.strength(squares[0], strength, self._work)
            strength *= factor
            offset *= strength
            self._move -= offset
            if uniform is not None:
                self._move -= (factor * uniform[:, step, None]).astype(offset.dtype)

    @staticmethod
    def _uniform_pull(field: Field) -> npt.NDArray[np.float64] | None:
        """Return the pull at the origin, ``[3, step]``, towards the field."""
        if not field.pulls_origin or field.path is None:
            return None
        x, y, z = field.path.T
        radius2 = x * x + y * y + z * z
        strength, work = np.empty_like(radius2), np.empty_like(radius2)
        field.potential.strength(radius2, strength, work)
        return np.asarray(field.path.T * strength)
