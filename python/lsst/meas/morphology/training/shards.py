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

"""Labelled stamps: where they come from and how they are kept on disk."""

from __future__ import annotations

__all__ = (
    "AnySource",
    "MixedSource",
    "ShardStore",
    "Shards",
    "StampSource",
    "StampStore",
    "write_atomically",
)

import dataclasses
import json
import multiprocessing
import os
import pathlib
import time
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy

from ..errors import MorphologyError
from .labelled import Labelled, LabelledStamps, StampArrays

_POLL_SECONDS = 0.2

_NICENESS = 5
"""Of the process that makes stamps: it must not slow the one that trains."""


class AnySource(Protocol):
    """Whatever makes stamps with labels, the same ones for the same seed.

    It is sent to another process, so it must be possible to pickle it.
    """

    def __call__(self, seed: int, n: int) -> Any:
        """Return ``n`` stamps that depend on ``seed`` alone."""
        ...

    def describe(self) -> str:
        """Return a text that is the same for sources of the same stamps."""
        ...


class StampSource(AnySource, Protocol):
    """A source of stamps with votes."""

    def __call__(self, seed: int, n: int) -> Labelled:
        """Return ``n`` stamps that depend on ``seed`` alone."""
        ...


@dataclasses.dataclass(frozen=True)
class MixedSource:
    """Stamps of two sources together."""

    first: StampSource
    """The source of most stamps."""

    second: StampSource
    """The source of the others."""

    share: float
    """The second source's share."""

    def __call__(self, seed: int, n: int) -> LabelledStamps:
        """Return stamps of the first source, then of the second."""
        others = round(self.share * n)
        parts = [
            LabelledStamps.of(self.first(seed, n - others)),
            LabelledStamps.of(self.second(seed, others)),
        ]
        return LabelledStamps.concatenate(parts)

    def describe(self) -> str:
        """Return a text that is the same for the same two sources."""
        return f"{self.share:g} of ({self.second.describe()}), the rest of ({self.first.describe()})"


class Shards(Protocol):
    """Stamps in numbered shards of equal size."""

    @property
    def count(self) -> int:
        """Number of shards."""
        ...

    @property
    def shard_size(self) -> int:
        """Stamps in each."""
        ...

    def load(self, index: int) -> StampArrays:
        """Return a shard."""
        ...


class StampStore[Stamps: StampArrays]:
    """Stamps on disk, made in numbered shards by another process.

    Parameters
    ----------
    directory
        Where the shards lie.
    source
        What makes the stamps; it is sent to the other process.
    kind
        What is known of a stamp: a subclass of `StampArrays`.
    seed
        Seed of the whole store; shard ``i`` depends on it and on ``i``.
    shard_size
        Number of stamps in a shard.
    count
        Number of shards.

    Raises
    ------
    MorphologyError
        Raised if the directory holds shards of other stamps.

    Notes
    -----
    A shard appears under its name only when it is complete, so a store
    survives the death of any process.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        source: AnySource,
        kind: type[Stamps],
        *,
        seed: int,
        shard_size: int,
        count: int,
    ) -> None:
        self.directory = directory
        self.kind = kind
        self.source = source
        self.seed = seed
        self.shard_size = shard_size
        self.count = count
        self._producer: multiprocessing.process.BaseProcess | None = None
        directory.mkdir(parents=True, exist_ok=True)
        description = json.dumps({"source": source.describe(), "seed": seed, "shard_size": shard_size})
        label = directory / "store.json"
        if not label.exists():
            write_atomically(label, description.encode())
        elif label.read_text() != description:
            raise MorphologyError(
                f"{directory} holds stamps of another source, seed or shard size: {label.read_text()};"
                f" wanted {description}. Remove it or name another directory."
            )

    def start(self) -> None:
        """Begin to make the shards that are missing, in the background."""
        missing = [index for index in range(self.count) if not self._path(index).exists()]
        if missing:
            context = multiprocessing.get_context("spawn")
            self._producer = context.Process(target=_produce, args=(self, missing, os.getpid()), daemon=True)
            self._producer.start()

    def stop(self) -> None:
        """End the making of shards."""
        if self._producer is not None:
            self._producer.terminate()
            self._producer.join()
            self._producer = None

    def load(self, index: int) -> Stamps:
        """Return a shard, waiting for it, or making it if nobody does.

        Raises
        ------
        MorphologyError
            Raised if the process that makes the shards failed.
        """
        path = self._path(index)
        while not path.exists():
            if self._producer is None:
                self.make(index)
            elif self._producer.is_alive():
                time.sleep(_POLL_SECONDS)
            elif not path.exists():
                raise MorphologyError(
                    f"The process that makes training stamps ended with code {self._producer.exitcode}"
                    f" before {path} was made; its error is in the log above."
                )
        return self.kind.unpack(safetensors.numpy.load_file(path))

    def make(self, index: int) -> None:
        """Make one shard."""
        stamps = self.kind.of(self.source(_shard_seed(self.seed, index), self.shard_size))
        # The format knows no other order of the axes, and does not say so.
        arrays = {name: np.ascontiguousarray(array) for name, array in stamps.pack().items()}
        write_atomically(self._path(index), safetensors.numpy.save(arrays))

    def _path(self, index: int) -> pathlib.Path:
        return self.directory / f"shard-{index:05d}.safetensors"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_producer": None}


class ShardStore(StampStore[LabelledStamps]):
    """A store of stamps with votes.

    Parameters
    ----------
    directory
        Where the shards lie.
    source
        What makes the stamps; it is sent to the other process.
    seed
        Seed of the whole store.
    shard_size
        Number of stamps in a shard.
    count
        Number of shards.
    """

    def __init__(
        self, directory: pathlib.Path, source: StampSource, *, seed: int, shard_size: int, count: int
    ) -> None:
        super().__init__(directory, source, LabelledStamps, seed=seed, shard_size=shard_size, count=count)


def _shard_seed(seed: int, index: int) -> int:
    """Return the seed of one shard of a store."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def _produce(store: StampStore[Any], indices: list[int], parent: int) -> None:
    """Make shards until all are there or the parent has gone."""
    os.nice(_NICENESS)
    for index in indices:
        if os.getppid() != parent:
            return
        store.make(index)


def write_atomically(path: pathlib.Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is complete."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
