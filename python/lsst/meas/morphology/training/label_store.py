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
"""Labelled stamps on disk, as many as there are labels."""

from __future__ import annotations

__all__ = ("LabelCounts", "LabelStore", "Split")

import dataclasses
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from ..errors import LabelError, MorphologyError
from ..model.manifest import Manifest
from .label_table import DEC_COLUMNS, ID_COLUMNS, RA_COLUMNS, LabelTable
from .labelled import LabelledStamps
from .labelled_patch import LabelledPatch
from .shards import write_atomically

_LOG = logging.getLogger(__name__)

type Arrays = dict[str, npt.NDArray[Any]]

KINDS = ("taught", "trust", "judge")
"""What labels are for: to be learnt, to calibrate with, and to judge."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Which labels are for what."""

    held_out: float = 0.2
    """Share that is not learnt: half of it calibrates, half judges."""

    trust: int = 6000
    """Most labels that calibrate."""

    judge: int = 10000
    """Most labels that judge."""

    seed: int = 1
    """Seed of the choice."""

    def kinds(self, count: int) -> npt.NDArray[np.int8]:
        """Return the index in `KINDS` of each of some labels, ``[n]``."""
        trust = min(0.5 * self.held_out * count, self.trust)
        judge = min(0.5 * self.held_out * count, self.judge)
        order = np.random.default_rng([self.seed, 3]).permutation(count)
        kinds = np.zeros(count, np.int8)
        kinds[order < round(trust)] = 1
        kinds[(order >= round(trust)) & (order < round(trust) + round(judge))] = 2
        return kinds


@dataclasses.dataclass(frozen=True)
class LabelCounts:
    """What became of the labels."""

    labels: int
    """Rows with votes."""

    found: int
    """Those whose object is in a table, or that have a stamp in a file."""

    measured: int
    """Those with a stamp on which something can be seen."""

    taught: int
    """Those that are learnt."""

    trust: int
    """Those that calibrate."""

    judge: int
    """Those that judge."""


class LabelStore:
    """Stamps of labelled objects, in numbered shards of equal size.

    Parameters
    ----------
    directory
        Where they lie.
    table
        The labels, all of them with votes.
    votes
        Their votes, ``[n, a]``.
    manifest
        The model that is to see them.
    source
        Where the stamps come from: the same text for the same stamps.
    split
        Which labels are for what.
    shard_size
        Stamps in a shard, or up to twice as many, so that nearly all are in
        shards of the same size.
    window
        Shards that a stream mixes; if there are more, their number is a
        multiple of it.

    Raises
    ------
    MorphologyError
        Raised if the directory holds stamps of other labels.

    Notes
    -----
    Stamps are cut patch by patch into parts, each a batch of stamps, and
    then dealt into shards, part by part in an order of their own. So memory
    holds a patch's pixels, or one shard, never more. A patch that was cut is
    not cut again if the cutting was interrupted.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        table: LabelTable,
        votes: npt.NDArray[np.int32],
        manifest: Manifest,
        *,
        source: str,
        split: Split,
        shard_size: int = 1000,
        window: int = 8,
    ) -> None:
        self.directory = directory
        self.window = window
        self._votes = votes
        self._manifest = manifest
        self._split = split
        self._size = shard_size
        self._parts = directory / "parts"
        directory.mkdir(parents=True, exist_ok=True)
        view = (manifest.bands, manifest.stamp_size, manifest.pixels, manifest.field_of_view.model_dump())
        described = json.dumps(
            [source, _digest(table, votes), view, dataclasses.asdict(split), shard_size, window], default=list
        )
        label = directory / "labels.json"
        if not label.exists():
            write_atomically(label, described.encode())
        elif label.read_text() != described:
            raise MorphologyError(
                f"{directory} holds stamps of other labels, or cut for another model: {label.read_text()};"
                f" wanted {described}. Remove it or name another directory."
            )
        self._counts: LabelCounts | None = None
        if self._finished.exists():
            self._counts = LabelCounts(**json.loads(self._finished.read_text()))

    @property
    def is_cut(self) -> bool:
        """Whether all stamps have been cut."""
        return self._counts is not None

    @property
    def counts(self) -> LabelCounts:
        """What became of the labels; known once they are cut."""
        if self._counts is None:
            raise MorphologyError(f"The stamps of {self.directory} have not been cut yet.")
        return self._counts

    @property
    def count(self) -> int:
        """Number of shards to learn from."""
        shards = max(1, self.counts.taught // self._size)
        return shards if shards <= self.window else shards // self.window * self.window

    @property
    def shard_size(self) -> int:
        """Stamps in each of these; fewer than one for each are left over."""
        return self.counts.taught // self.count

    def load(self, index: int) -> LabelledStamps:
        """Return a shard to learn from."""
        return self._load("taught", index)

    def held_out(self, kind: str) -> Iterator[LabelledStamps]:
        """Yield the shards of one of `KINDS`."""
        for index in range(-(-getattr(self.counts, kind) // self._size)):
            yield self._load(kind, index)

    def cut(self, patches: Iterable[LabelledPatch], progress: Callable[[int], None] | None = None) -> None:
        """Cut what has not been cut before.

        Parameters
        ----------
        patches
            Where the labels' stamps come from.
        progress
            Called with the number of labels whose patch is done.

        Raises
        ------
        LabelError
            Raised if too few labels have a stamp to learn from some and
            judge by others.
        """
        if self._counts is not None:
            return
        self._parts.mkdir(exist_ok=True)
        found = 0
        for patch in patches:
            found += len(patch.rows)
            if not (self._parts / f"{patch.name}.done").exists():
                self._cut_patch(patch)
            if progress is not None:
                progress(found)
        counts = self._deal(found)
        _LOG.info("%s: %s", self.directory, counts)
        write_atomically(self._finished, json.dumps(dataclasses.asdict(counts)).encode())
        self._counts = counts
        shutil.rmtree(self._parts)

    @property
    def _finished(self) -> pathlib.Path:
        return self.directory / "counts.json"

    def _cut_patch(self, patch: LabelledPatch) -> None:
        number = 0
        for stamps, rows in patch.cut():
            if not len(stamps):
                continue
            shown = stamps.for_model(self._manifest)
            arrays = LabelledStamps(shown.flux, shown.valid, self._votes[rows]).pack()
            arrays["row"] = rows.astype(np.int64)
            path = self._parts / f"{patch.name}-{number:04d}.safetensors"
            write_atomically(path, safetensors.numpy.save(arrays))
            number += 1
        write_atomically(self._parts / f"{patch.name}.done", b"")

    def _deal(self, found: int) -> LabelCounts:
        """Deal the parts' stamps into shards and return how many there are."""
        kinds = self._split.kinds(len(self._votes))
        paths = sorted(self._parts.glob("*.safetensors"))
        rows = {path: _rows(path) for path in paths}
        number = np.zeros(len(KINDS), np.int64)
        for part in rows.values():
            number += np.bincount(kinds[part], minlength=len(KINDS))
        if number.min() == 0 or number[0] < 2:
            raise LabelError(
                f"Of {len(self._votes)} labels {found} were found and {number.sum()} have a stamp; that"
                f" leaves {number[0]} to learn from, {number[1]} to calibrate with, {number[2]} to judge by."
            )
        taught, trust, judge = number.tolist()
        self._counts = LabelCounts(len(self._votes), found, taught + trust + judge, taught, trust, judge)
        sizes = (self.shard_size, self._size, self._size)
        dealers = [_Dealer(self.directory / kind, size) for kind, size in zip(KINDS, sizes, strict=True)]
        for index in np.random.default_rng([self._split.seed, 4]).permutation(len(paths)):
            arrays = safetensors.numpy.load_file(paths[index])
            of_part = kinds[arrays.pop("row")]
            for kind, dealer in enumerate(dealers):
                dealer.take({name: array[of_part == kind] for name, array in arrays.items()})
        # What is left over of the stamps to learn from is less than one for
        # each shard.
        for dealer in dealers[1:]:
            dealer.write_rest()
        counts, self._counts = self._counts, None
        return counts

    def _load(self, kind: str, index: int) -> LabelledStamps:
        return LabelledStamps.unpack(safetensors.numpy.load_file(_shard(self.directory / kind, index)))


def _digest(table: LabelTable, votes: npt.NDArray[np.int32]) -> str:
    """Return a checksum of labels and of which objects they mean."""
    digest = hashlib.sha256(votes.tobytes())
    for names in (ID_COLUMNS, RA_COLUMNS, DEC_COLUMNS, ("tract",)):
        column = table.find(names)
        if column is not None:
            digest.update(np.ma.getdata(column).tobytes() + np.ma.getmaskarray(column).tobytes())
    return digest.hexdigest()


class _Dealer:
    """Collects stamps until they fill a shard."""

    def __init__(self, directory: pathlib.Path, size: int) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._size = size
        self._held: list[Arrays] = []
        self._index = 0

    def take(self, arrays: Arrays) -> None:
        self._held.append(arrays)
        while sum(len(part["votes"]) for part in self._held) >= self._size:
            whole = self._whole()
            self._write({name: array[: self._size] for name, array in whole.items()})
            self._held = [{name: array[self._size :].copy() for name, array in whole.items()}]

    def write_rest(self) -> None:
        if sum(len(part["votes"]) for part in self._held):
            self._write(self._whole())

    def _whole(self) -> Arrays:
        return {name: np.concatenate([part[name] for part in self._held]) for name in self._held[0]}

    def _write(self, arrays: Arrays) -> None:
        write_atomically(_shard(self._directory, self._index), safetensors.numpy.save(arrays))
        self._index += 1


def _shard(directory: pathlib.Path, index: int) -> pathlib.Path:
    return directory / f"shard-{index:05d}.safetensors"


def _rows(path: pathlib.Path) -> npt.NDArray[np.int64]:
    """Return the rows of a part's labels, without its pixels."""
    with safetensors.safe_open(path, framework="numpy") as file:
        return np.asarray(file.get_tensor("row"))
