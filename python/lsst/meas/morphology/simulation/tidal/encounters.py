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

"""Encounters of galaxies, drawn from a seed."""

from __future__ import annotations

__all__ = ("KINDS", "TIMES", "Encounter", "make_encounter", "make_encounters")

from collections.abc import Callable

from .satellites import make_shells, make_streams
from .snapshots import KINDS, Encounter
from .tails import make_tails

TIMES = 4
"""Times at which one encounter is seen."""

_MAKERS: dict[str, tuple[Callable[..., tuple[Encounter, ...]], int]] = {
    "tail": (make_tails, 24_000),
    "stream": (make_streams, 14_000),
    "shell": (make_shells, 32_000),
}
"""For each kind, what makes it and of how many particles."""


def make_encounters(
    kind: str, seed: int, *, particles: int | None = None, times: int = TIMES
) -> tuple[Encounter, ...]:
    """Return one encounter at several times.

    Parameters
    ----------
    kind
        One of `KINDS`.
    seed
        Seed of the encounter.
    particles
        Number of particles to move; None: what makes smooth debris.
    times
        Number of times.

    Returns
    -------
    encounters
        One per time, ascending.

    Raises
    ------
    ValueError
        Raised if the kind is none of `KINDS`.
    """
    if kind not in _MAKERS:
        raise ValueError(f"There is no debris of kind {kind!r}; kinds are {', '.join(KINDS)}.")
    make, usual = _MAKERS[kind]
    return make(seed, particles=usual if particles is None else particles, times=times)


def make_encounter(kind: str, seed: int, *, particles: int | None = None) -> Encounter:
    """Return one encounter at one time.

    Parameters
    ----------
    kind
        One of `KINDS`.
    seed
        Seed of the encounter.
    particles
        Number of particles to move; None: what makes smooth debris.

    Returns
    -------
    encounter
        The encounter at the first of the times that a library would hold.

    Raises
    ------
    ValueError
        Raised if the kind is none of `KINDS`.
    """
    return make_encounters(kind, seed, particles=particles)[0]
