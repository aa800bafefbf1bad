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

"""Features put into copies of a repository's coadds."""

from __future__ import annotations

__all__ = ("TRUTH", "InjectionReport", "inject_repository")

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import astropy.units as u
import numpy as np
from scipy.ndimage import uniform_filter

from lsst.daf.butler import Butler, CollectionType, DatasetRef, DatasetType, MissingDatasetTypeError

from ...errors import CoaddReadError, IncompleteInputError, MorphologyError
from ...pixels.geometry import Geometry, read_geometry
from ...pixels.source import CoaddSource, open_coadd
from ...surface_brightness import feature_depth
from .injection import REACH, Bounds, Hosts, Image, draw_features, paint_feature
from .injection_hosts import HostSelection, choose_hosts, kernels_at
from .injection_truth import Depth, Placed, truth_table
from .library import EncounterLibrary
from .snapshots import KINDS

TRUTH = "tidal_injection_truth"
"""Dataset type of the truth: patch, a row for each feature."""

_SMOOTHING = 1.0
"""Side of the squares over which the light beneath is averaged (arcsec)."""

type Patches = dict[int, dict[str, DatasetRef]]
type Painted = tuple[Bounds, dict[str, Image]]
type Part = tuple[slice, slice]


@dataclasses.dataclass(frozen=True)
class InjectionReport:
    """What was put in."""

    features: int
    """Number of features."""

    patches: int
    """Number of patches looked at."""

    coadds: int
    """Number of coadds written."""


@dataclasses.dataclass(frozen=True)
class _Choice:
    """From what hosts and features are chosen."""

    selection: HostSelection
    library: EncounterLibrary
    kinds: tuple[str, ...]
    fainter: tuple[float, float]
    seed: int


def inject_repository(
    butler: Butler,
    *,
    input_collections: Sequence[str],
    output: str,
    library: EncounterLibrary,
    where: str = "",
    selection: HostSelection | None = None,
    kinds: tuple[str, ...] = KINDS,
    fainter: tuple[float, float] = (-1.0, 3.0),
    coadd_name: str = "deep_coadd",
    object_name: str = "object",
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> InjectionReport:
    """Put features around objects, into copies of existing coadds.

    Each feature is convolved with the point spread function that the coadd
    has at its host, and added to all patches of the tract that it reaches.
    It has no photon noise of its own: beside the sky's it is nothing. The
    object table stays as it is.

    Parameters
    ----------
    butler
        Writeable Butler.
    input_collections
        Collections of coadds and object tables.
    output
        RUN collection for the coadds that change, and for the truth, one
        table `TRUTH` for each patch. Search it before the input.
    library
        Where encounters come from.
    where
        Which of the coadds, as an expression of the Butler's.
    selection
        Which objects.
    kinds
        Kinds of debris to choose from.
    fainter
        Range of magnitudes by which features are fainter than their
        encounters have them.
    coadd_name, object_name
        Dataset type names.
    seed
        Seed of the choice.
    progress
        Called with the numbers of patches done and to do.

    Returns
    -------
    report
        What was put in.

    Raises
    ------
    IncompleteInputError
        Raised if there are no coadds, or a tract has no object table.
    MorphologyError
        Raised if the output collection has coadds already.
    """
    selection = selection or HostSelection()
    tracts = _find_coadds(butler, coadd_name, input_collections, where)
    if output in butler.collections.query("*") and butler.query_datasets(
        coadd_name, collections=output, explain=False
    ):
        raise MorphologyError(f"Collection {output!r} has {coadd_name} datasets: choose another output.")
    first = next(iter(next(iter(tracts.values())).values()))
    dimensions = next(iter(first.values())).datasetType.dimensions
    truth_type = DatasetType(TRUTH, dimensions.universe.conform(["patch"]), "ArrowAstropy")
    butler.registry.registerDatasetType(truth_type)
    butler.collections.register(output, CollectionType.RUN)
    total, done = sum(map(len, tracts.values())), 0
    features = coadds = 0
    for (skymap, tract), patches in tracts.items():
        ref = _find_objects(butler, object_name, input_collections, skymap, tract)
        bands = tuple(sorted({band for refs in patches.values() for band in refs}))
        choice = _Choice(selection, library, kinds, fainter, seed)
        placed, geometries = _place(butler, ref, tract, patches, bands, choice)
        features += len(placed)
        for patch, refs in patches.items():
            geometry = geometries[patch]
            near = [one for one in placed if _reaches(one, geometry)]
            painted = [_paint(one, bands, geometry.pixel_scale) for one in near]
            depth: dict[int, Depth] = {}
            for band, coadd_ref in refs.items() if near else ():
                coadd = butler.get(coadd_ref)
                before = coadd.image.array.copy()
                parts = _add(coadd, band, painted)
                butler.put(coadd, coadd_ref.datasetType, coadd_ref.dataId, run=output)
                coadds += 1
                if band == ("r" if "r" in refs else next(iter(refs))):
                    depth = _depths(near, parts, before, patch, geometry.pixel_scale)
            own = [one for one in placed if int(one.host.patch[0]) == patch]
            truth = truth_table(own, depth, tract=tract, bands=bands, pixel_scale=geometry.pixel_scale)
            data_id = {"skymap": skymap, "tract": tract, "patch": patch}
            butler.put(truth, truth_type, data_id, run=output)
            done += 1
            if progress is not None:
                progress(done, total)
    return InjectionReport(features, total, coadds)


def _find_coadds(
    butler: Butler, name: str, collections: Sequence[str], where: str
) -> dict[tuple[str, int], Patches]:
    """Return the coadds by tract, patch and band."""
    try:
        refs = butler.query_datasets(
            name, collections=collections, where=where, find_first=True, explain=False
        )
    except MissingDatasetTypeError:
        refs = []
    if not refs:
        raise IncompleteInputError(
            f"There are no {name!r} datasets in {list(collections)}{f' where {where}' if where else ''}."
        )
    tracts: dict[tuple[str, int], Patches] = {}
    for ref in sorted(refs, key=lambda ref: ref.dataId):
        key = str(ref.dataId["skymap"]), int(ref.dataId["tract"])
        by_band = tracts.setdefault(key, {}).setdefault(int(ref.dataId["patch"]), {})
        by_band[str(ref.dataId["band"])] = ref
    return tracts


def _find_objects(
    butler: Butler, name: str, collections: Sequence[str], skymap: str, tract: int
) -> DatasetRef:
    """Return a tract's object table."""
    try:
        ref = butler.find_dataset(name, skymap=skymap, tract=tract, collections=collections)
    except MissingDatasetTypeError:
        ref = None
    if ref is None:
        raise IncompleteInputError(f"There is no {name!r} table of tract {tract} of {skymap!r}.")
    return ref


def _place(
    butler: Butler,
    object_ref: DatasetRef,
    tract: int,
    patches: Patches,
    bands: tuple[str, ...],
    choice: _Choice,
) -> tuple[list[Placed], dict[int, Geometry]]:
    """Choose hosts in each patch of a tract, and features for them."""
    placed: list[Placed] = []
    geometries = {}
    for patch, refs in patches.items():
        rng = np.random.default_rng([choice.seed, tract, patch])
        sources = {band: CoaddSource(band, butler.getURI(ref), str(ref)) for band, ref in refs.items()}
        geometries[patch] = read_geometry(next(iter(sources.values())))
        hosts = choose_hosts(
            butler,
            object_ref,
            tract=tract,
            patch=patch,
            bands=bands,
            geometry=geometries[patch],
            selection=choice.selection,
            rng=rng,
        )
        psfs = {}
        for band, source in sources.items():
            with open_coadd(source) as reader:
                psfs[band] = reader.get_component("psf")
        chosen = 0
        for k in range(len(hosts)):
            host = hosts[k : k + 1]
            if chosen == choice.selection.count:
                break
            if any(_close(host, other.host, geometries[patch].pixel_scale) for other in placed):
                continue
            kernels = kernels_at(psfs, host)
            if kernels is not None:
                feature = draw_features(
                    rng, host, choice.library, kinds=choice.kinds, fainter=choice.fainter
                )[0]
                placed.append(Placed(feature, host, kernels))
                chosen += 1
    return placed, geometries


def _close(host: Hosts, other: Hosts, pixel_scale: float) -> bool:
    """Return whether two hosts' features would overlap much."""
    distance = float(np.hypot(host.x[0] - other.x[0], host.y[0] - other.y[0])) * pixel_scale
    return distance < 0.5 * REACH * float(max(host.half_light[0], other.half_light[0]))


def _reaches(one: Placed, geometry: Geometry) -> bool:
    """Return whether any of a feature's light may fall on a patch."""
    x0, y0, x1, y1 = geometry.bbox
    reach = one.feature.reach / geometry.pixel_scale + 30.0
    x, y = float(one.host.x[0]), float(one.host.y[0])
    return x0 - reach <= x < x1 + reach and y0 - reach <= y < y1 + reach


def _paint(one: Placed, bands: tuple[str, ...], pixel_scale: float) -> Painted:
    """Paint a feature, with another band's kernel where there is none."""
    another = next(iter(one.kernels.values()))
    kernels = {band: one.kernels.get(band, another) for band in bands}
    x, y = float(one.host.x[0]), float(one.host.y[0])
    return paint_feature(one.feature, x, y, pixel_scale=pixel_scale, kernels=kernels)


def _add(coadd: Any, band: str, painted: list[Painted]) -> list[tuple[Part, Image]]:
    """Add features to a coadd in place.

    Return the pixels that each of them takes, and what was added there.
    """
    if coadd.unit != u.nJy:
        raise CoaddReadError(f"A {band} coadd is in {coadd.unit}, not in nJy.")
    pixels = coadd.image.array
    x0, y0 = int(coadd.bbox.x.start), int(coadd.bbox.y.start)
    parts = []
    for (left, low, right, high), images in painted:
        rows = slice(max(low - y0, 0), max(min(high - y0, pixels.shape[0]), 0))
        columns = slice(max(left - x0, 0), max(min(right - x0, pixels.shape[1]), 0))
        added = images[band][
            max(rows.start + y0 - low, 0) : max(rows.stop + y0 - low, 0),
            max(columns.start + x0 - left, 0) : max(columns.stop + x0 - left, 0),
        ]
        if added.size:
            pixels[rows, columns] += added
        parts.append(((rows, columns), added))
    return parts


def _depths(
    near: list[Placed], parts: list[tuple[Part, Image]], before: Image, patch: int, pixel_scale: float
) -> dict[int, Depth]:
    """Return surface brightness and contrast of the patch's own features.

    By the hosts' identifiers; of what lies on the patch. The light beneath
    is that of the coadd.
    """
    side = max(1, round(_SMOOTHING / pixel_scale))
    depths = {}
    for one, (part, added) in zip(near, parts, strict=True):
        if int(one.host.patch[0]) == patch and added.size:
            light = uniform_filter(np.nan_to_num(before[part]), side) / pixel_scale**2
            brightness, contrast = feature_depth(added[None] / pixel_scale**2, light[None], pixel_scale)
            depths[int(one.host.object_id[0])] = (float(brightness[0]), float(contrast[0]))
    return depths
