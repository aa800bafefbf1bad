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

"""What became of each object: objects, patch rows and HEALPix rows."""

from __future__ import annotations

__all__ = ("Audit", "audit")

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from lsst.daf.butler import Butler, DatasetRef, EmptyQueryResultError, MissingDatasetTypeError

from ..errors import IncompleteInputError
from ..flags import FLAGS, TIDAL_FLAGS

_FLAG_COLUMNS = tuple(definition.column for definition in (*FLAGS, *TIDAL_FLAGS))

_SHOWN = 20
"""Longest list that the report prints in full."""


@dataclasses.dataclass(frozen=True)
class Audit:
    """Counts that say whether anything was lost."""

    table_name: str
    """Stem of the tables' dataset type names."""

    order: int
    """HEALPix order of the partitions."""

    objects: int
    """Objects in the object tables."""

    patch_rows: int
    """Rows in the patch tables."""

    unplaced_rows: int
    """Patch rows without a finite position, which no pixel holds."""

    pixel_rows: int
    """Rows in the HEALPix tables."""

    patches: int
    """Patch tables."""

    pixels: int
    """HEALPix tables."""

    missing_patches: tuple[tuple[int, int], ...]
    """Patches, as (tract, patch), that have objects and no table."""

    unknown_rows: int
    """Patch rows whose object is not in its patch of the object table."""

    lost: int
    """Placed patch rows that are in no HEALPix table."""

    twice: int
    """Rows beyond the first of an object, in patch and HEALPix tables."""

    stale: int
    """HEALPix rows that are in no patch table."""

    flags: Mapping[str, int]
    """Patch rows by flag column."""

    seconds: Mapping[str, float]
    """Seconds by stage of the measuring task, over all quanta."""

    models: tuple[str, ...]
    """Every ``modelId`` that was met."""

    @property
    def complete(self) -> bool:
        """Whether nothing is lost, stale, unknown or twice."""
        return not (self.missing_patches or self.lost or self.twice or self.stale or self.unknown_rows) and (
            self.pixels > 0 or self.patch_rows == self.unplaced_rows
        )

    def describe(self) -> str:
        """Return the report, about one page of text."""
        lines = [
            f"{self.table_name}: {'complete' if self.complete else 'NOT COMPLETE'}",
            "",
            f"  objects                     {self.objects:>12}",
            f"  patch tables                {self.patches:>12}",
            f"    rows                      {self.patch_rows:>12}",
            f"    without a position        {self.unplaced_rows:>12}",
            f"    not in the object table   {self.unknown_rows:>12}",
            f"  HEALPix tables, order {self.order:<2}    {self.pixels:>12}",
            f"    rows                      {self.pixel_rows:>12}",
            f"    lost                      {self.lost:>12}",
            f"    twice                     {self.twice:>12}",
            f"    stale                     {self.stale:>12}",
            f"  patches without a table     {len(self.missing_patches):>12}",
        ]
        shown = [f"{tract}:{patch}" for tract, patch in self.missing_patches[:_SHOWN]]
        if shown:
            more = len(self.missing_patches) - len(shown)
            lines.append(f"    {', '.join(shown)}{f' and {more} more' if more else ''}")
        lines += ["", "  rows by flag"]
        lines += [f"    {name:<30}{count:>8}" for name, count in self.flags.items()]
        lines += ["", "  seconds by stage, over all patches"]
        lines += [f"    {name:<26}{seconds:>12.2f}" for name, seconds in self.seconds.items()]
        lines += ["", *(f"  modelId {model}" for model in self.models)]
        if self.pixels == 0:
            lines += ["", "  There is no HEALPix table: run step 2 (#step2-partition)."]
        return "\n".join(lines)


@dataclasses.dataclass
class _PatchRows:
    """What the patch tables hold, collected table by table."""

    ids: list[npt.NDArray[np.int64]] = dataclasses.field(default_factory=list)
    placed: list[npt.NDArray[np.bool_]] = dataclasses.field(default_factory=list)
    flags: Counter[str] = dataclasses.field(default_factory=Counter)
    models: set[str] = dataclasses.field(default_factory=set)
    unknown: int = 0


def audit(
    butler: Butler,
    *,
    table_name: str = "object_morphology",
    order: int = 5,
    label: str = "measureMorphology",
    object_name: str = "object",
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Compare the object tables with the tables made of them.

    Parameters
    ----------
    butler
        Butler whose default collections are searched.
    table_name
        Stem of the tables' dataset type names.
    order
        HEALPix order of the partitions.
    label
        Label of the measuring task, whose metadata hold the seconds.
    object_name
        Dataset type name of the object tables.
    progress
        Called with the number of datasets read and their total.

    Returns
    -------
    report
        The comparison.

    Raises
    ------
    IncompleteInputError
        Raised if there are no object tables at all.
    """
    groups = {
        name: _query(butler, name)
        for name in (object_name, f"{table_name}_patch", f"{table_name}_hpx{order}", f"{label}_metadata")
    }
    object_refs, patch_refs, pixel_refs, metadata_refs = groups.values()
    if not object_refs:
        raise IncompleteInputError(
            f"There is no dataset '{object_name}' in the collections {list(butler.collections.defaults)}."
        )
    total = sum(map(len, groups.values()))
    done = 0

    def each(refs: Iterable[DatasetRef]) -> Iterable[DatasetRef]:
        nonlocal done
        for ref in refs:
            yield ref
            done += 1
            if progress is not None:
                progress(done, total)

    rows = _PatchRows()
    patches_of = _by_tract(patch_refs)
    missing: list[tuple[int, int]] = []
    objects = 0
    # One tract at a time, so that no more than its ids stand in memory.
    for ref in each(object_refs):
        tract = int(ref.dataId["tract"])
        owned = _patch_ids(butler, ref)
        objects += sum(map(len, owned.values()))
        tables = patches_of.pop(tract, {})
        missing += [(tract, patch) for patch in sorted(set(owned) - set(tables))]
        for patch_ref in each(tables.values()):
            _add_patch(rows, butler, patch_ref, owned)
    for tables in patches_of.values():
        for patch_ref in each(tables.values()):
            _add_patch(rows, butler, patch_ref, {})
    pixel_ids = [_ids(butler, ref) for ref in each(pixel_refs)]
    seconds: Counter[str] = Counter()
    for ref in each(metadata_refs):
        stages = butler.get(ref)[label].get("seconds", {})
        seconds.update({name: float(stages[name]) for name in stages})
    in_patches, in_pixels = _concatenate(rows.ids), _concatenate(pixel_ids)
    placed = in_patches[np.concatenate(rows.placed)] if rows.placed else in_patches
    return Audit(
        table_name=table_name,
        order=order,
        objects=objects,
        patch_rows=len(in_patches),
        unplaced_rows=len(in_patches) - len(placed),
        pixel_rows=len(in_pixels),
        patches=len(patch_refs),
        pixels=len(pixel_refs),
        missing_patches=tuple(sorted(missing)),
        unknown_rows=rows.unknown,
        lost=len(np.setdiff1d(placed, in_pixels)) if pixel_refs else len(placed),
        twice=_repeats(in_patches) + _repeats(in_pixels),
        stale=len(np.setdiff1d(in_pixels, placed)),
        flags={name: rows.flags[name] for name in _FLAG_COLUMNS if name in rows.flags},
        seconds=dict(seconds),
        models=tuple(sorted(rows.models)),
    )


def _query(butler: Butler, name: str) -> list[DatasetRef]:
    """Return a dataset type's datasets, ordered by data ID."""
    try:
        refs = butler.query_datasets(name, find_first=True, limit=None, explain=False)
    except (EmptyQueryResultError, MissingDatasetTypeError):
        return []
    return sorted(refs, key=lambda ref: tuple(ref.dataId.required_values))


def _by_tract(refs: Iterable[DatasetRef]) -> dict[int, dict[int, DatasetRef]]:
    """Return patch tables by tract and patch."""
    grouped: dict[int, dict[int, DatasetRef]] = {}
    for ref in refs:
        grouped.setdefault(int(ref.dataId["tract"]), {})[int(ref.dataId["patch"])] = ref
    return grouped


def _patch_ids(butler: Butler, ref: DatasetRef) -> dict[int, npt.NDArray[np.int64]]:
    """Return the object ids of a tract, by patch."""
    table = butler.get(ref, parameters={"columns": ["objectId", "patch"]})
    ids, patches = np.asarray(table["objectId"]), np.asarray(table["patch"])
    return {int(patch): ids[patches == patch] for patch in np.unique(patches)}


def _add_patch(
    rows: _PatchRows, butler: Butler, ref: DatasetRef, owned: Mapping[int, npt.NDArray[np.int64]]
) -> None:
    """Collect what the check needs of one patch table."""
    # A table may be older than the newest of the flags.
    known = set(butler.get(ref.makeComponentRef("columns")))
    flags = [name for name in _FLAG_COLUMNS if name in known]
    columns = ["objectId", "coord_ra", "coord_dec", "modelId", *flags]
    table = butler.get(ref, parameters={"columns": columns})
    ids = table["objectId"].to_numpy()
    rows.ids.append(ids)
    rows.placed.append(np.isfinite(table["coord_ra"].to_numpy()) & np.isfinite(table["coord_dec"].to_numpy()))
    rows.flags.update({name: int(np.sum(table[name].to_numpy())) for name in flags})
    rows.models.update(table["modelId"].unique().to_pylist())
    own_ids = owned.get(int(ref.dataId["patch"]), np.empty(0, np.int64))
    rows.unknown += len(np.setdiff1d(ids, own_ids))


def _ids(butler: Butler, ref: DatasetRef) -> npt.NDArray[np.int64]:
    """Return the object ids of a table."""
    ids: npt.NDArray[np.int64] = butler.get(ref, parameters={"columns": ["objectId"]})["objectId"].to_numpy()
    return ids


def _concatenate(arrays: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Return one array of ids, also of none."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def _repeats(ids: npt.NDArray[np.int64]) -> int:
    """Return how many ids come after their first occurrence."""
    return len(ids) - len(np.unique(ids))
