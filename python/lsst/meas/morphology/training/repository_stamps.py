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

"""Stamps of labelled objects out of a Butler repository."""

from __future__ import annotations

__all__ = ("RepositoryOptions", "cut_labelled", "labelled_patches")

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsst.daf.butler import Butler, DatasetRef
from lsst.sphgeom import ConvexPolygon

from ..errors import LabelError
from ..flags import Flag
from ..model.manifest import Manifest
from ..pixels.cover import choose_cover
from ..pixels.geometry import read_geometry
from ..pixels.planes import read_planes
from ..pixels.source import CoaddSource
from ..pixels.stamps import Stamps, cut_stamps, stamp_boxes
from ..pixels.targets import Targets, TargetSelection, required_columns, select_targets
from .label_table import DEC_COLUMNS, ID_COLUMNS, RA_COLUMNS, LabelTable
from .labelled_patch import LabelledPatch
from .stamp_set import StampSet, match_ids, match_positions

_LOG = logging.getLogger(__name__)

_NO_CUTS = TargetSelection(
    min_extendedness=None, max_magnitude=None, min_signal_to_noise=None, min_radius_over_psf=None
)

_BATCH = 256
"""Stamps that are cut at a time."""

Columns = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class RepositoryOptions:
    """Where in a repository pixels and objects are."""

    skymap: str | None = None
    """Name of the skymap; needed if there are several."""

    coadd: str = "deep_coadd"
    """Dataset type of the coadds."""

    object: str = "object"
    """Dataset type of the object tables."""

    threads: int = 3
    """Threads that read coadds."""


def cut_labelled(
    butler: Butler,
    collections: str | Sequence[str],
    table: LabelTable,
    manifest: Manifest,
    *,
    options: RepositoryOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> StampSet:
    """Cut the stamps of labelled objects, as the measuring task does.

    Parameters
    ----------
    butler
        The repository.
    collections
        Collections with the coadds and the object tables.
    table
        The labels, with object ids, or with positions (ICRS, degrees) that
        are matched with the nearest object within one arcsec. A column
        ``tract`` spares looking into other tracts.
    manifest
        The model that is to see the stamps.
    options
        Names of the datasets.
    progress
        Called with the number of labels whose patch is done.

    Returns
    -------
    stamps
        One stamp for each object that was found and could be measured, with
        its id and position; of positions, those of the labels.

    Raises
    ------
    LabelError
        Raised if the table has neither ids nor positions, or no object of
        it is in the repository.
    CoaddReadError
        Raised if a coadd can't be read.
    MissingColumnError
        Raised if an object table lacks a column that is needed.
    """
    parts = [_empty(manifest)]
    found = 0
    for patch in labelled_patches(butler, collections, table, manifest, options=options):
        parts += [stamps for stamps, _ in patch.cut()]
        found += len(patch.rows)
        if progress is not None:
            progress(found)
    if not sum(map(len, parts)):
        raise LabelError(
            f"No object of {table.source} could be measured in the collections {collections}: {found} were"
            " found in object tables."
        )
    if found < len(table):
        _LOG.warning("%d of %d rows of %s are no object here", len(table) - found, len(table), table.source)
    return _join(parts)


def labelled_patches(
    butler: Butler,
    collections: str | Sequence[str],
    table: LabelTable,
    manifest: Manifest,
    *,
    options: RepositoryOptions | None = None,
) -> Iterator[LabelledPatch]:
    """Find the patches of labelled objects, one after the other.

    Parameters
    ----------
    butler, collections, table, manifest, options
        As in `cut_labelled`.

    Yields
    ------
    patch
        A patch with labelled objects. No label is in two of them.

    Raises
    ------
    LabelError
        Raised if the table has neither ids nor positions.
    MissingColumnError
        Raised if an object table lacks a column that is needed.
    """
    options = options or RepositoryOptions()
    pending = np.ones(len(table), np.bool_)
    for tract, handle, candidates in _tracts(butler, collections, table, options):
        # Where tracts overlap a position may be near an object of each.
        objects, object_rows, label_rows = _match(handle, table, candidates[pending[candidates]])
        here = dataclasses.replace(options, skymap=str(handle.dataId["skymap"]))
        pending[label_rows] = False
        patches = np.asarray(objects["patch"][object_rows])
        for patch in np.unique(patches):
            chosen = patches == patch
            cut = functools.partial(
                _cut_patch,
                butler,
                collections,
                {name: column[object_rows[chosen]] for name, column in objects.items()},
                label_rows[chosen],
                table,
                tract=tract,
                patch=int(patch),
                manifest=manifest,
                options=here,
            )
            yield LabelledPatch(f"{tract}-{patch}", label_rows[chosen], cut)


def _tracts(
    butler: Butler, collections: str | Sequence[str], table: LabelTable, options: RepositoryOptions
) -> Iterator[tuple[int, Any, npt.NDArray[np.intp]]]:
    """Yield each tract, its object table, and labels that may be there."""
    ids, tract = table.find(ID_COLUMNS), table.find(("tract",))
    ra, dec = table.find(RA_COLUMNS), table.find(DEC_COLUMNS)
    if ids is None and (ra is None or dec is None):
        raise LabelError(
            f"{table.source} says neither which objects it means (a column {' or '.join(ID_COLUMNS)}) nor"
            f" where they are ({' or '.join(RA_COLUMNS)}, {' or '.join(DEC_COLUMNS)})."
        )
    data_id = {} if options.skymap is None else {"skymap": options.skymap}
    refs = butler.query_datasets(
        options.object, collections=collections, data_id=data_id, with_dimension_records=True
    )
    names = {str(ref.dataId["skymap"]) for ref in refs}
    if len(names) > 1:
        raise LabelError(f"The collections have object tables of the skymaps {sorted(names)}: choose one.")
    for ref in sorted(refs, key=lambda ref: int(ref.dataId["tract"])):
        rows = np.arange(len(table))
        if tract is not None:
            rows = np.flatnonzero(tract.filled(-1) == int(ref.dataId["tract"]))
        elif ra is not None and dec is not None:
            rows = _inside(ref, ra, dec)
        if len(rows):
            yield int(ref.dataId["tract"]), butler.getDeferred(ref), rows


def _inside(
    ref: DatasetRef, ra: np.ma.MaskedArray[Any, Any], dec: np.ma.MaskedArray[Any, Any]
) -> npt.NDArray[np.intp]:
    """Return which positions are in a tract's region."""
    region = ref.dataId.region
    assert isinstance(region, ConvexPolygon)
    known = ~(np.ma.getmaskarray(ra) | np.ma.getmaskarray(dec))
    longitude = np.deg2rad(np.where(known, np.ma.getdata(ra), 0.0).astype(np.float64))
    latitude = np.deg2rad(np.where(known, np.ma.getdata(dec), 0.0).astype(np.float64))
    return np.flatnonzero(known & np.asarray(region.contains(longitude, latitude), np.bool_))


def _match(
    handle: Any, table: LabelTable, label_rows: npt.NDArray[np.intp]
) -> tuple[Columns, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return a tract's objects, and which of them have which labels."""
    names = required_columns(set(handle.get(component="columns")), _NO_CUTS, table=str(handle.ref))
    read = handle.get(parameters={"columns": list(names)})
    objects: Columns = {name: np.ma.asarray(read[name]) for name in names}
    if "detect_isPrimary" in objects:
        primary = np.ma.filled(objects["detect_isPrimary"], False).astype(np.bool_)
        objects = {name: column[primary] for name, column in objects.items()}
    ids = table.find(ID_COLUMNS)
    if ids is not None:
        object_id = np.asarray(objects["objectId"], np.int64)
        object_rows, rows = match_ids(object_id, ids[label_rows], table.source)
    else:
        ra, dec = table.find(RA_COLUMNS), table.find(DEC_COLUMNS)
        assert ra is not None
        assert dec is not None
        object_rows, rows = match_positions(
            _floats(objects["coord_ra"]), _floats(objects["coord_dec"]), ra[label_rows], dec[label_rows]
        )
        object_rows, first = np.unique(object_rows, return_index=True)
        rows = rows[first]
    return objects, object_rows, label_rows[rows]


def _floats(column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a column with NaN where it is masked."""
    return np.asarray(np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan), np.float64)


def _cut_patch(
    butler: Butler,
    collections: str | Sequence[str],
    objects: Columns,
    label_rows: npt.NDArray[np.intp],
    table: LabelTable,
    *,
    tract: int,
    patch: int,
    manifest: Manifest,
    options: RepositoryOptions,
) -> Iterator[tuple[StampSet, npt.NDArray[np.intp]]]:
    """Cut the stamps of some objects of one patch, batch by batch."""
    refs = butler.query_datasets(
        options.coadd,
        collections=collections,
        data_id={"tract": tract, "patch": patch}
        | ({} if options.skymap is None else {"skymap": options.skymap}),
        explain=False,
    )
    sources = [_source(butler, ref) for ref in refs if ref.dataId["band"] in manifest.bands]
    if not sources:
        _LOG.warning("Patch %d of tract %d has no coadd of the model's bands", patch, tract)
        return
    geometry = read_geometry(sources[0])
    targets = select_targets(objects, tract=tract, patch=patch, selection=_NO_CUTS, geometry=geometry)
    boxes = stamp_boxes(
        targets, geometry, field_of_view=manifest.field_of_view, stamp_size=manifest.stamp_size
    )
    cover = choose_cover(boxes, geometry.bbox)
    planes = read_planes(sources, manifest.bands, cover, threads=options.threads)
    batches = cut_stamps(
        planes,
        targets,
        geometry,
        field_of_view=manifest.field_of_view,
        stamp_size=manifest.stamp_size,
        bands=manifest.bands,
        optional_bands=manifest.optional_bands,
        batch_size=_BATCH,
    )
    of_label = np.asarray(objects["objectId"], np.int64)
    order = np.argsort(of_label)
    for index, stamps in enumerate(batches):
        cut = _measured(stamps, targets[index * _BATCH : (index + 1) * _BATCH])
        assert cut.object_id is not None
        rows = label_rows[order[np.searchsorted(of_label[order], cut.object_id)]]
        yield _with_label_positions(cut, table, rows), rows


def _source(butler: Butler, ref: DatasetRef) -> CoaddSource:
    """Say where a coadd's pixels come from, as its storage class has it."""
    band, label = str(ref.dataId["band"]), str(ref)
    if ref.datasetType.storageClass_name.startswith("Exposure"):
        return CoaddSource(band=band, label=label, exposure=butler.get(ref))
    return CoaddSource(band=band, label=label, uri=butler.getURI(ref))


def _measured(stamps: Stamps, targets: Targets) -> StampSet:
    """Return the stamps on which something can be seen."""
    good = (stamps.flags & np.uint32(Flag.GENERAL)) == 0
    return StampSet(
        stamps.flux[good],
        stamps.valid[good],
        stamps.arcsec_per_px[good],
        targets.object_id[good],
        targets.ra[good],
        targets.dec[good],
    )


def _with_label_positions(stamps: StampSet, table: LabelTable, label_rows: npt.NDArray[np.intp]) -> StampSet:
    """Give stamps the positions of their labels, where those have any."""
    ra, dec = table.find(RA_COLUMNS), table.find(DEC_COLUMNS)
    if ra is None or dec is None:
        return stamps
    return dataclasses.replace(stamps, ra=_floats(ra[label_rows]), dec=_floats(dec[label_rows]))


def _empty(manifest: Manifest) -> StampSet:
    shape = (0, len(manifest.bands), manifest.stamp_size, manifest.stamp_size)
    none = np.empty(0)
    return StampSet(
        np.empty(shape, np.float32),
        np.empty(shape, np.bool_),
        none.astype(np.float32),
        none.astype(np.int64),
        none,
        none,
    )


def _join(parts: list[StampSet]) -> StampSet:
    names = [field.name for field in dataclasses.fields(StampSet)]
    return StampSet(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
