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

"""What there is to see in each stamp: host, debris, companions, conditions.

Nothing but the debris differs between kinds. Each scene takes one encounter
of every kind: the debris of one of them, or of none, and the companions of
all (shells have none), so that companions are as many, as bright and as near
beside undisturbed hosts as beside those with tails, streams or shells.
"""

from __future__ import annotations

__all__ = ("Scenes", "draw_scenes")

import dataclasses

import numpy as np
import numpy.typing as npt

from ..galaxies import GalaxyParameters, colour_offset
from ..observing import Conditions, draw_conditions, sky_sigma
from ..painting import band_flux
from .debris import project
from .hosts import draw_companions, draw_hosts
from .library import EncounterLibrary
from .snapshots import KINDS, Encounter

type Floats = npt.NDArray[np.float64]

_WITH_COMPANIONS = ("tail", "stream")
_COMPANION_SHOWN = 0.6
_FAINTEST_RATIO = 0.003
_SHELL_TILT = 0.5
"""Largest sine of the angle between the axis of shells and the sky."""

_LIGHT = {"stream": (0.003, 0.08), "shell": (0.01, 0.13)}
"""Least and most light of satellites over their host's."""

_VISITS = (10.0, 250.0)


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Parameters of ``n`` scenes; lengths in arcsec, angles in radians."""

    hosts: GalaxyParameters
    """The hosts."""

    conditions: Conditions
    """Seeing and depth."""

    kind: npt.NDArray[np.int64]
    """0 without debris, else one more than its place in `KINDS`, ``[n]``."""

    encounter: npt.NDArray[np.int64]
    """Number of the encounter in the library; -1 without debris, ``[n]``."""

    place: tuple[npt.NDArray[np.float32], ...]
    """Debris particles on the sky, in half-light radii of the host,
    ``[m, 2]`` each; none without debris."""

    weight: tuple[npt.NDArray[np.float32], ...]
    """Their shares of the debris's light, ``[m]`` each."""

    debris_flux: Floats
    """Flux of all debris in each band (nJy), ``[n, band]``."""

    companions: GalaxyParameters
    """The companions of all scenes, ``[c]``."""

    companion_scene: npt.NDArray[np.int64]
    """To which scene each belongs, ``[c]``."""

    companion_x: Floats
    """Where it is from the host's centre, ``[c]``."""

    companion_y: Floats
    """As `companion_x`."""

    companion_ratio: Floats
    """Its flux over the host's, ``[c]``."""

    def __len__(self) -> int:
        return len(self.kind)


def draw_scenes(
    rng: np.random.Generator,
    n: int,
    *,
    library: EncounterLibrary,
    bands: tuple[str, ...],
    visits: float | None = None,
    share_undisturbed: float = 0.35,
) -> Scenes:
    """Draw scenes.

    Parameters
    ----------
    rng
        Source of random numbers.
    n
        Number of scenes.
    library
        Where encounters come from.
    bands
        Names of the bands.
    visits
        Visits in r; `None` draws 10 to 250, uniform in the logarithm.
    share_undisturbed
        Share of scenes without debris; the others are shared evenly among
        tails, streams and shells.

    Returns
    -------
    scenes
        The scenes.
    """
    conditions = _draw_conditions(rng, n, bands, visits)
    disturbed = (1.0 - share_undisturbed) / len(KINDS)
    kind = rng.choice(len(KINDS) + 1, n, p=[share_undisturbed, *[disturbed] * len(KINDS)])
    chosen = rng.integers(0, library.count, (n, len(KINDS)))
    times = rng.integers(0, library.times, (n, len(KINDS)))
    # A satellite that has just begun to dissolve looks like a companion.
    stream = KINDS.index("stream")
    times[:, stream] = np.maximum(times[:, stream], rng.integers(0, library.times, n))
    encounters = [
        [
            # What leaves no companion need not be read in vain.
            library.encounter(name, int(chosen[k, j]), int(times[k, j]))
            if name in _WITH_COMPANIONS or kind[k] == j + 1
            else None
            for j, name in enumerate(KINDS)
        ]
        for k in range(n)
    ]
    rotations = np.array([[_rotation(rng, encounter) for encounter in row] for row in encounters])
    own = [row[k - 1] if k else None for k, row in zip(kind.tolist(), encounters, strict=True)]
    hosts = draw_hosts(
        rng, np.array([_spin(row, turns) for row, turns in zip(encounters, rotations, strict=True)])
    )
    place, weight = [], []
    for k, encounter in enumerate(own):
        if encounter is None:
            place.append(np.empty((0, 2), np.float32))
            weight.append(np.empty(0, np.float32))
        else:
            place.append(project(encounter.x, rotations[k, kind[k] - 1]))
            weight.append(encounter.weight)
    light = _light(rng, kind, np.array([0.0 if encounter is None else encounter.light for encounter in own]))
    return Scenes(
        hosts,
        conditions,
        kind,
        np.where(kind > 0, chosen[np.arange(n), np.maximum(kind - 1, 0)], -1),
        tuple(place),
        tuple(weight),
        _debris_flux(rng, hosts, light, bands),
        *_draw_companions(rng, hosts, encounters, rotations),
    )


def _draw_conditions(
    rng: np.random.Generator, n: int, bands: tuple[str, ...], visits: float | None
) -> Conditions:
    """Draw seeing and depth, or seeing at a depth in r."""
    drawn = draw_conditions(rng, n, bands)
    number = (
        np.exp(rng.uniform(np.log(_VISITS[0]), np.log(_VISITS[1]), n))
        if visits is None
        else np.full(n, visits)
    )
    spread = np.exp(rng.normal(0.0, 0.25, (n, len(bands))))
    spread[:, [band == "r" for band in bands]] = 1.0
    each = number[:, None] * spread
    sigma = np.stack([sky_sigma(band, each[:, j]) for j, band in enumerate(bands)], axis=1)
    return Conditions(bands, drawn.fwhm, each, sigma)


def _spin(row: list[Encounter | None], rotations: Floats) -> Floats:
    """Return the spin of the host of a scene's tails, shown or not."""
    tails = row[KINDS.index("tail")]
    assert tails is not None
    return np.asarray(rotations[KINDS.index("tail")] @ tails.axis)


def _rotation(rng: np.random.Generator, encounter: Encounter | None) -> Floats:
    """Draw a side to look from; shells are seen as such from some alone."""
    while True:
        q = rng.normal(size=4)
        w, x, y, z = q / np.linalg.norm(q)
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        if encounter is None or encounter.kind != "shell" or abs(turn[2] @ encounter.axis) < _SHELL_TILT:
            return turn


def _light(rng: np.random.Generator, kind: npt.NDArray[np.int64], natural: Floats) -> Floats:
    """Draw the debris's light over the host's, ``[n]``.

    That of tails is the encounter's. Satellites of any brightness may take
    the same way: streams and shells have new ones at each view, and bright
    ones more often than faint ones that no one would see.
    """
    part = np.sqrt(rng.random(len(kind)))
    light = natural.copy()
    for name, (least, most) in _LIGHT.items():
        of_kind = kind == KINDS.index(name) + 1
        light[of_kind] = (least * (most / least) ** part)[of_kind]
    return light


def _debris_flux(
    rng: np.random.Generator, hosts: GalaxyParameters, light: Floats, bands: tuple[str, ...]
) -> Floats:
    """Return the debris's flux in each band (nJy), ``[n, band]``.

    Debris of all kinds is a little bluer than its host.
    """
    in_r = band_flux(hosts, ("r",))[:, 0] * light
    colour = hosts.red_colour + rng.normal(-0.1, 0.12, len(hosts))
    offsets = np.array([colour_offset(band) - colour_offset("r") for band in bands])
    return np.asarray(in_r[:, None] * 10.0 ** (-0.4 * offsets * colour[:, None]))


def _draw_companions(
    rng: np.random.Generator,
    hosts: GalaxyParameters,
    encounters: list[list[Encounter | None]],
    rotations: Floats,
) -> tuple[GalaxyParameters, npt.NDArray[np.int64], Floats, Floats, Floats]:
    """Place the companions of a scene's encounters, whatever debris it has."""
    shown = rng.random((len(hosts), len(KINDS))) < _COMPANION_SHOWN
    scene, x, y, ratio = [], [], [], []
    for k, row in enumerate(encounters):
        for j, encounter in enumerate(row):
            if encounter is not None and shown[k, j] and encounter.companion_ratio > _FAINTEST_RATIO:
                where = (rotations[k, j] @ encounter.companion.astype(np.float64)) * hosts.half_light[k]
                scene.append(k)
                x.append(where[0])
                y.append(where[1])
                ratio.append(encounter.companion_ratio)
    index = np.array(scene, dtype=np.int64)
    flux = np.array(ratio, dtype=np.float64)
    companions = draw_companions(rng, hosts[index], flux)
    return companions, index, np.array(x, dtype=np.float64), np.array(y, dtype=np.float64), flux
