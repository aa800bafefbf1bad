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

"""What an encounter has left at one time."""

from __future__ import annotations

__all__ = ("KINDS", "REPEATS", "Encounter", "even_points", "spin")

import dataclasses

import numpy as np
import numpy.typing as npt

REPEATS = 4
"""How often `spin` repeats a particle, itself included."""

_WIDEST = np.radians(28.0)
"""Largest angle by which it turns one."""

KINDS = ("tail", "stream", "shell")
"""Kinds of debris."""


@dataclasses.dataclass(frozen=True)
class Encounter:
    """Debris around a host whose half-light radius is one."""

    kind: str
    """One of `KINDS`."""

    seed: int
    """Seed of the encounter, whatever the time."""

    x: npt.NDArray[np.float32]
    """Positions of debris particles from the host's centre, ``[m, 3]``."""

    weight: npt.NDArray[np.float32]
    """Their shares of the debris's light, ``[m]``; the sum is one."""

    companion: npt.NDArray[np.float32]
    """Position of the companion, ``[3]``; NaN if it is dissolved."""

    companion_ratio: float
    """Light of the companion over the host's; 0 if it is dissolved."""

    light: float
    """Light of the debris over the host's."""

    axis: npt.NDArray[np.float32]
    """Unit vector, ``[3]``: of tails along the spin of the host's disk, of
    streams across the satellite's orbit, of shells along it.
    """

    time: float
    """Time since the closest approach, or since the satellite came."""


def even_points(rng: np.random.Generator, n: int, dimensions: int) -> npt.NDArray[np.float64]:
    """Return points that fill a unit cube more evenly than random ones.

    They are a Kronecker sequence whose steps are the powers of the inverse
    of the generalised golden ratio, from a random start, so that debris of
    few particles is smooth.

    Parameters
    ----------
    rng
        Source of the start.
    n
        Number of points.
    dimensions
        Number of coordinates.

    Returns
    -------
    points
        ``[dimensions, n]``, between 0 and 1.
    """
    ratio = 2.0
    for _ in range(40):
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    steps = (1.0 / ratio) ** np.arange(1, dimensions + 1)
    start = rng.random(dimensions)
    return np.asarray((start[:, None] + steps[:, None] * np.arange(n)) % 1.0)


def spin(x: npt.NDArray[np.floating], axis: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Repeat particles, turned about an axis by up to half a radian.

    A satellite that falls straight in leaves debris that is symmetric about
    its way, so that each orbit stands for its neighbours. This takes the
    grain out of shells and leaves their edges sharp.

    Parameters
    ----------
    x
        Positions, ``[m, 3]``.
    axis
        Unit vector, ``[3]``.

    Returns
    -------
    repeated
        ``[4 m, 3]``; the first ``m`` are the particles themselves.
    """
    x, axis = x.astype(np.float32), axis.astype(np.float32)
    along = (x @ axis)[:, None] * axis
    across = x - along
    beside = np.cross(axis, across)
    # Multiples of the golden ratio: uneven, and the same every time.
    number = np.arange((REPEATS - 1) * len(x)).reshape(REPEATS - 1, len(x), 1)
    angle = (_WIDEST * (2.0 * (number * 0.6180339887498949 % 1.0) - 1.0)).astype(np.float32)
    turned = along + np.cos(angle) * across + np.sin(angle) * beside
    return np.concatenate([x[None], turned]).reshape(-1, 3)
