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

"""Stamps of hosts with and without debris, and a source of them."""

from __future__ import annotations

__all__ = (
    "BANDS",
    "FIELD_OF_VIEW",
    "TidalLabelled",
    "TidalSource",
    "TidalStamps",
    "sample_scenes",
    "sample_tides",
)

import dataclasses
import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...model.field_of_view import FieldOfView
from ...model.manifest import Manifest
from ...surface_brightness import truth_masks
from ..painting import band_flux
from .annotators import annotate
from .drawing import Drawn, draw
from .library import EncounterLibrary
from .scenes import Scenes, draw_scenes
from .stamps import TidalStamps

type Image = npt.NDArray[np.float32]

BANDS = ("g", "r", "i")
"""Bands of the stamps unless others are asked for."""

FIELD_OF_VIEW = FieldOfView(rule="radius", multiple=4.5, min_arcsec=51.2, max_arcsec=204.8)
"""Thirteen half-light radii of most hosts."""

_BLOCK = 32
"""Scenes drawn from one stream of random numbers."""

_FROZEN = frozenset({"angle", "axis_ratio", "half_light", "magnitude", "red_colour", "seed", "sersic"})
"""Parameters of hosts that checksums look at: galaxies may get more."""

_ANNOTATING = 7


def sample_tides(
    seed: int,
    n: int,
    *,
    library: EncounterLibrary,
    bands: tuple[str, ...] = BANDS,
    stamp_size: int = 128,
    field_of_view: FieldOfView = FIELD_OF_VIEW,
    visits: float | None = None,
    share_undisturbed: float = 0.35,
    start: int = 0,
) -> TidalStamps:
    """Simulate stamps of hosts, some of them with debris.

    Object ``start + k`` of a seed is the same whatever ``n`` and ``start``
    are, so a stream may be cut into batches and resumed at will.

    Parameters
    ----------
    seed
        Seed of the stream.
    n
        Number of stamps.
    library
        Where encounters come from.
    bands
        Names of the bands, r among them.
    stamp_size
        Side of the stamps in pixels.
    field_of_view
        Rule for the stamps' scale.
    visits
        Visits in r; `None` draws 10 to 250.
    share_undisturbed
        Share of hosts without debris.
    start
        Number of stamps of the stream to skip.

    Returns
    -------
    stamps
        Stamps and truth.

    Raises
    ------
    ValueError
        Raised if r is not among the bands.
    """
    if "r" not in bands:
        raise ValueError(f"The truth of debris is its light in r; bands {', '.join(bands)} lack it.")
    first, last = start // _BLOCK, max(-(-(start + n) // _BLOCK), start // _BLOCK + 1)
    blocks = []
    for block in range(first, last):
        rng = np.random.default_rng([seed, block])
        scenes = draw_scenes(
            rng, _BLOCK, library=library, bands=bands, visits=visits, share_undisturbed=share_undisturbed
        )
        drawn = draw(rng, scenes, stamp_size=stamp_size, field_of_view=field_of_view)
        blocks.append(_stamps(scenes, drawn))
    return TidalStamps.concatenate(blocks)[start - first * _BLOCK : start - first * _BLOCK + n]


def sample_scenes(
    seed: int,
    n: int,
    *,
    library: EncounterLibrary,
    bands: tuple[str, ...] = BANDS,
    visits: float | None = None,
    share_undisturbed: float = 0.35,
) -> dict[str, npt.NDArray[np.generic]]:
    """Return what `sample_tides` would draw, without drawing it.

    Parameters
    ----------
    seed, n, library, bands, visits, share_undisturbed
        As those of `sample_tides`.

    Returns
    -------
    columns
        Parameters of the hosts, kinds and encounters, seeing and depth, by
        name, ``[n, ...]``. They don't depend on size and field of view.
    """
    parts = []
    for block in range(max(-(-n // _BLOCK), 1)):
        scenes = draw_scenes(
            np.random.default_rng([seed, block]),
            _BLOCK,
            library=library,
            bands=bands,
            visits=visits,
            share_undisturbed=share_undisturbed,
        )
        seen = scenes.conditions
        conditions = {"fwhm": seen.fwhm, "visits": seen.visits, "sigma": seen.sigma}
        own = {"host_kind": scenes.hosts.kind, "kind": scenes.kind, "encounter": scenes.encounter}
        hosts = {name: values for name, values in scenes.hosts.columns().items() if name in _FROZEN}
        parts.append({**hosts, **conditions, **own})
    return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}


def _stamps(scenes: Scenes, drawn: Drawn) -> TidalStamps:
    """Put together what one block has made."""
    seen, hosts = scenes.conditions, scenes.hosts
    area = drawn.arcsec_per_px.astype(np.float64)[:, None] ** 2
    shown = drawn.companion_shown
    ratio = np.bincount(scenes.companion_scene[shown], scenes.companion_ratio[shown], minlength=len(scenes))
    properties: dict[str, npt.NDArray[np.generic]] = {
        "kind": scenes.kind,
        "encounter": scenes.encounter,
        "host_magnitude": hosts.magnitude,
        "host_radius": hosts.half_light,
        "host_flux": band_flux(hosts, seen.bands),
        "debris_flux": drawn.debris.sum(axis=(2, 3), dtype=np.float64) * area,
        "companion_ratio": ratio,
        "has_companion": ratio > 0.0,
        "has_halo": drawn.has_halo,
        "has_ghost": drawn.has_ghost,
        "has_cirrus": drawn.has_cirrus,
        "oversubtracted": drawn.oversubtracted,
    }
    return TidalStamps(
        seen.bands,
        drawn.flux,
        drawn.valid,
        drawn.arcsec_per_px,
        drawn.debris,
        drawn.host,
        drawn.others,
        drawn.cirrus,
        seen.sigma.astype(np.float32),
        seen.fwhm.astype(np.float32),
        seen.visits.astype(np.float32),
        properties,
    )


@dataclasses.dataclass(frozen=True)
class TidalLabelled:
    """Stamps and what annotators marked in them.

    Planes are tail, stream, shell, any debris and host.
    """

    flux: Image
    """Flux per stamp pixel in nJy, ``[n, band, size, size]``."""

    valid: npt.NDArray[np.bool_]
    """Whether a pixel was measured, of the same shape."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Scale of each stamp, ``[n]``."""

    marks: npt.NDArray[np.uint8]
    """How many annotators marked a pixel, ``[n, 5, size, size]``."""

    annotators: npt.NDArray[np.uint8]
    """How many there were, ``[n]``."""

    scored: npt.NDArray[np.bool_]
    """Whether a pixel counts, of the shape of `marks`: those that were
    measured in r do.
    """

    light: Image
    """Surface brightness of everything in r (nJy per arcsec**2), without
    noise, 0 where nothing was measured, ``[n, size, size]``."""

    shares: npt.NDArray[np.uint8]
    """The part of it, in 255ths, that is visible debris of each kind, and of
    any, ``[n, 4, size, size]``."""

    def __len__(self) -> int:
        return len(self.flux)


@dataclasses.dataclass(frozen=True)
class TidalSource:
    """Hosts with and without debris as a model wants to see them."""

    manifest: Manifest
    """The model: bands, size and field of view."""

    library_directory: str
    """Where the library of encounters is."""

    share_undisturbed: float = 0.35
    """Share of hosts without debris."""

    def __call__(self, seed: int, n: int) -> TidalLabelled:
        """Draw ``n`` labelled stamps that depend on ``seed`` alone."""
        made = sample_tides(
            seed,
            n,
            library=_open(str(self.library_directory)),
            bands=self.manifest.bands,
            stamp_size=self.manifest.stamp_size,
            field_of_view=self.manifest.field_of_view,
            share_undisturbed=self.share_undisturbed,
        )
        rng = np.random.default_rng([seed, 0, _ANNOTATING])
        marks, annotators = annotate(rng, made.debris, made.host, made.others, made.mask_limit())
        in_r = made.valid[:, made.bands.index("r"), None]
        scored = np.broadcast_to(in_r, marks.shape).copy()
        light, shares = _shares(made, in_r)
        return TidalLabelled(
            made.flux, made.valid, made.arcsec_per_px, marks, annotators, scored, light, shares
        )

    def describe(self) -> str:
        """Return a text that is the same for sources of the same stamps."""
        view = self.manifest.field_of_view.model_dump_json(exclude_none=True)
        library = _open(str(self.library_directory))
        return (
            f"simulated hosts, {self.share_undisturbed:g} undisturbed, encounters of seed {library.seed}"
            f" ({library.count} of each kind, {library.times} times), bands {''.join(self.manifest.bands)},"
            f" {self.manifest.stamp_size} px, field of view {view}"
        )


def _shares(made: TidalStamps, measured: npt.NDArray[np.bool_]) -> tuple[Image, npt.NDArray[np.uint8]]:
    """Return all light, and the visible debris's parts of it."""
    beneath = made.host + made.others
    seen = truth_masks(made.debris, beneath, made.mask_limit(), made.arcsec_per_px)
    shown = np.where(seen.mask, made.debris, np.float32(0.0))
    union = np.where(seen.any_mask, made.debris.sum(axis=1), np.float32(0.0))
    light = np.maximum(made.debris.sum(axis=1) + beneath + made.cirrus, np.float32(0.0))
    light = np.where(measured[:, 0], light, np.float32(0.0))
    parts = np.concatenate([shown, union[:, None]], axis=1)
    shares = np.divide(parts, light[:, None], out=np.zeros_like(parts), where=light[:, None] > 0.0)
    return light, np.rint(255.0 * np.clip(shares, 0.0, 1.0)).astype(np.uint8)


@functools.cache
def _open(directory: str) -> EncounterLibrary:
    """Open a library once in each process."""
    return EncounterLibrary.open(Path(directory))
