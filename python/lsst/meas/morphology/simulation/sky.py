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

"""What is where on a simulated sky, nasty cases among it."""

from __future__ import annotations

__all__ = ("Nasty", "SkyObjects", "draw_sky", "missing_cells")

import dataclasses
import enum

import numpy as np
import numpy.typing as npt

from .galaxies import GalaxyParameters, Kind, Mix, draw_parameters
from .layout import SkyLayout, TractLayout

type Floats = npt.NDArray[np.float64]
type Integers = npt.NDArray[np.int64]

FAINTEST_GALAXY = 24.5
"""Magnitude in i of the faintest neighbours."""


class Nasty(enum.IntEnum):
    """What is wrong with an object on purpose."""

    NONE = 0
    NO_DATA = 1
    EDGE = 2
    NO_SHAPE = 3
    NO_SIZE = 4
    NO_FLUX = 5
    NO_POSITION = 6
    OFF_IMAGE = 7
    BESIDE_STAR = 8
    SATURATED = 9


@dataclasses.dataclass(frozen=True)
class SkyObjects:
    """Objects on the sky, one array of length ``n`` each.

    Directions in the parameters are measured from north through east.
    """

    object_id: Integers
    """Identifiers."""

    tract: Integers
    """Tract that owns the object."""

    patch: Integers
    """Patch that owns the object."""

    ra: Floats
    """Right ascension in degrees."""

    dec: Floats
    """Declination in degrees."""

    extended: npt.NDArray[np.bool_]
    """Whether the object is taken for a galaxy."""

    main: npt.NDArray[np.bool_]
    """Whether it is one of the galaxies to measure, and not a neighbour."""

    nasty: Integers
    """What is wrong with it (`Nasty`)."""

    parameters: GalaxyParameters
    """What they look like."""

    def __len__(self) -> int:
        return len(self.object_id)

    def __getitem__(self, key: npt.NDArray[np.generic] | slice) -> SkyObjects:
        """Return the objects that a mask, slice or index array selects."""
        return SkyObjects(**{f.name: getattr(self, f.name)[key] for f in dataclasses.fields(self)})


def missing_cells(layout: TractLayout, band: str) -> frozenset[tuple[int, int]]:
    """Return the cells of a tract that have no data in a band.

    The last inner cell of the first patch lacks all bands, and so does a
    corner of the border; the first inner cell of the last patch lacks g.

    Parameters
    ----------
    layout
        The tract.
    band
        Name of the band.

    Returns
    -------
    cells
        Pairs of row and column in the tract's grid of cells.
    """
    border, inner = layout.border_cells, layout.inner_cells
    cells = {(border, border + inner - 1)}
    if border:
        cells.add((0, 0))
    if band == "g":
        cells.add((border + (layout.rows - 1) * inner, border + (layout.columns - 1) * inner))
    return frozenset(cells)


def draw_sky(
    layout: SkyLayout,
    seed: int,
    *,
    n_galaxies: int = 40,
    n_neighbours: int = 60,
    n_stars: int = 12,
    mix: Mix | None = None,
    nasty: bool = True,
) -> SkyObjects:
    """Fill the inner boxes of all patches with objects.

    Parameters
    ----------
    layout
        The tracts.
    seed
        Seed of the sky.
    n_galaxies
        Galaxies brighter than i = 21 per patch.
    n_neighbours
        Fainter galaxies per patch.
    n_stars
        Stars per patch.
    mix
        The galaxies' mix; `None` is half of each.
    nasty
        Whether to add objects that are hard to measure, one of each kind in
        the first tract.

    Returns
    -------
    objects
        Objects, each owned by the tract and patch it was drawn for. Patches
        that share the sky with another tract get the fewer for it.
    """
    parts: list[SkyObjects] = []
    for tract in layout.tracts:
        for patch in tract.patches:
            rng = np.random.default_rng([seed, 1, tract.tract, patch.patch])
            parameters, main, extended = _draw_kinds(rng, n_galaxies, n_neighbours, n_stars, mix)
            x0, y0, x1, y1 = patch.inner
            where = _spread(rng, main, (x1 - x0, y1 - y0)) + [x0 - 0.5, y0 - 0.5]
            what = np.full(len(main), Nasty.NONE, dtype=np.int64)
            if nasty and tract is layout.tracts[0] and patch.patch == 0:
                more, spots, kinds = _nasty(rng, tract)
                parameters = GalaxyParameters.concatenate([parameters, more])
                where = np.concatenate([where, spots])
                what = np.concatenate([what, kinds])
                main = np.concatenate([main, np.ones(len(kinds), np.bool_)])
                extended = np.concatenate([extended, np.ones(len(kinds), np.bool_)])
            ra, dec = tract.pixel_to_sky(where[:, 0], where[:, 1])
            owner_tract, owner_patch = layout.owner(ra, dec)
            owned = (owner_tract == tract.tract) & (owner_patch == patch.patch)
            owned |= what == Nasty.OFF_IMAGE
            n = len(ra)
            identifiers = (np.int64(tract.tract) << 44) + (np.int64(patch.patch) << 34) + np.arange(1, n + 1)
            objects = SkyObjects(
                identifiers,
                np.full(n, tract.tract, dtype=np.int64),
                np.full(n, patch.patch, dtype=np.int64),
                ra,
                dec,
                extended,
                main,
                what,
                parameters,
            )
            parts.append(objects[owned])
    return _concatenate(parts)


def _concatenate(parts: list[SkyObjects]) -> SkyObjects:
    """Join the patches' objects."""
    joined = {
        f.name: np.concatenate([getattr(p, f.name) for p in parts])
        for f in dataclasses.fields(SkyObjects)
        if f.name != "parameters"
    }
    return SkyObjects(**joined, parameters=GalaxyParameters.concatenate([p.parameters for p in parts]))


def _draw_kinds(
    rng: np.random.Generator, n_galaxies: int, n_neighbours: int, n_stars: int, mix: Mix | None
) -> tuple[GalaxyParameters, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Draw the objects of one patch, without positions."""
    if mix is None:
        half = n_galaxies // 2
        galaxies = [
            draw_parameters(rng, half, mix="training"),
            draw_parameters(rng, n_galaxies - half, mix="natural"),
        ]
    else:
        galaxies = [draw_parameters(rng, n_galaxies, mix=mix)]
    # Brighter stars would light up half a small patch.
    galaxies = [
        dataclasses.replace(p, magnitude=np.where(p.magnitude < 13.5, p.magnitude + 2.5, p.magnitude))
        for p in galaxies
    ]
    faint = draw_parameters(rng, n_neighbours, magnitude_limit=FAINTEST_GALAXY)
    slope = 0.35 * np.log(10.0)
    bright_end = np.exp(slope * (21.2 - FAINTEST_GALAXY))
    magnitude = FAINTEST_GALAXY + np.log(rng.uniform(bright_end, 1.0, n_neighbours)) / slope
    size = 10.0 ** (0.36 - 0.125 * (magnitude - 18.0) + rng.normal(0.0, 0.17, n_neighbours))
    nothing = np.zeros(n_neighbours)
    faint = dataclasses.replace(
        faint,
        magnitude=magnitude,
        half_light=np.maximum(size, 0.15),
        companion_ratio=nothing,
        disturbance=nothing,
    )
    stars = draw_parameters(rng, n_stars)
    stars = dataclasses.replace(
        stars,
        kind=np.full(n_stars, Kind.STAR, dtype=np.int64),
        redshift=np.zeros(n_stars),
        magnitude=rng.uniform(15.5, 23.0, n_stars),
        companion_ratio=np.zeros(n_stars),
        disturbance=np.zeros(n_stars),
    )
    n_all = n_galaxies + n_neighbours + n_stars
    main = np.arange(n_all) < n_galaxies
    return GalaxyParameters.concatenate([*galaxies, faint, stars]), main, np.arange(n_all) < n_all - n_stars


def _spread(rng: np.random.Generator, main: npt.NDArray[np.bool_], size: tuple[int, int]) -> Floats:
    """Draw positions, keeping the galaxies to measure apart.

    Each takes the best of a few candidates: the one that is farthest from
    those that are there.
    """
    placed = np.empty((len(main), 2))
    n_main = 0
    for k, keep_apart in enumerate(main):
        candidates = rng.uniform(0.0, 1.0, (12, 2)) * size
        best = 0
        if keep_apart and n_main:
            gaps = np.hypot(*(candidates[:, None] - placed[None, :n_main]).transpose(2, 0, 1)).min(axis=1)
            best = int(gaps.argmax())
        placed[k] = candidates[best]
        n_main += bool(keep_apart)
    return placed


def _nasty(rng: np.random.Generator, tract: TractLayout) -> tuple[GalaxyParameters, Floats, Integers]:
    """Return objects that are hard to measure, in the tract's first patch."""
    patch = tract.patches[0]
    x0, y0, x1, y1 = patch.inner
    cell = tract.cell_size
    row, column = min(missing_cells(tract, "r") - {(0, 0)})
    spots = {
        Nasty.NO_DATA: ((column + 0.5) * cell, (row + 0.5) * cell),
        Nasty.EDGE: (x0 + 8.0, y0 + 0.3 * (y1 - y0)),
        Nasty.NO_SHAPE: (x0 + 0.35 * (x1 - x0), y0 + 0.62 * (y1 - y0)),
        Nasty.NO_SIZE: (x0 + 0.62 * (x1 - x0), y0 + 0.35 * (y1 - y0)),
        Nasty.NO_FLUX: (x0 + 0.12 * (x1 - x0), y0 + 0.88 * (y1 - y0)),
        Nasty.NO_POSITION: (x0 + 0.3 * (x1 - x0), y0 + 0.3 * (y1 - y0)),
        Nasty.OFF_IMAGE: (patch.outer[0] - 40.0, y0 + 0.5 * (y1 - y0)),
        Nasty.BESIDE_STAR: (x0 + 0.8 * (x1 - x0) - 32.0, y0 + 0.8 * (y1 - y0)),
        Nasty.SATURATED: (x0 + 0.8 * (x1 - x0), y0 + 0.8 * (y1 - y0)),
    }
    n = len(spots)
    parameters = draw_parameters(rng, n)
    kinds = np.array(list(spots), dtype=np.int64)
    star = kinds == Nasty.SATURATED
    edge = kinds == Nasty.EDGE
    parameters = dataclasses.replace(
        parameters,
        kind=np.where(star, Kind.STAR, Kind.DISK).astype(np.int64),
        magnitude=np.where(star, 12.5, np.where(edge, 15.5, rng.uniform(17.5, 19.5, n))),
        half_light=np.where(edge, 9.0, np.maximum(parameters.half_light, 1.5)),
        axis_ratio=rng.uniform(0.5, 1.0, n),
        arm_strength=np.full(n, 0.8),
        companion_ratio=np.zeros(n),
        disturbance=np.zeros(n),
    )
    return parameters, np.array(list(spots.values()), dtype=np.float64), kinds
