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
"""What a training on votes learns from and is judged by."""

from __future__ import annotations

__all__ = ("DataOptions", "SimulatedData", "TabulatedData", "TrainingData", "purpose_seed")

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from .label_store import LabelStore
from .labelled import LabelledStamps
from .shards import Shards, ShardStore, StampSource

GOLDEN_STAMPS = 6
"""Stamps with which a package is tried."""


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """How many stamps are made, and how they are drawn."""

    stamps: int
    """Different stamps to train on, rounded up to whole windows."""

    batch_size: int = 128
    """Stamps in a step."""

    shard_size: int = 1000
    """Stamps in a file."""

    window: int = 8
    """Files whose stamps are mixed."""

    validation: int = 2000
    """Stamps measured at each checkpoint."""

    evaluation: int = 10000
    """Stamps of each sample measured at the end."""

    trust: int = 12000
    """Stamps, drawn as those of the training, that calibrate the posteriors
    and set what counts as unlike them."""

    @property
    def shards(self) -> int:
        """Number of files, a multiple of the window."""
        return -(-self.stamps // (self.shard_size * self.window)) * self.window


class TrainingData(Protocol):
    """Stamps with votes, for each of the purposes of a training."""

    @property
    def shards(self) -> Shards:
        """What is learnt from."""
        ...

    @property
    def window(self) -> int:
        """Number of shards whose stamps are mixed."""
        ...

    @property
    def batch_size(self) -> int:
        """Stamps in a step."""
        ...

    @property
    def trusted_by(self) -> str:
        """What `trust` gives, in words."""
        ...

    def start(self) -> None:
        """Begin to make shards."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def validation(self) -> LabelledStamps:
        """Return stamps to be measured at each checkpoint."""
        ...

    def trust(self) -> LabelledStamps:
        """Return stamps to calibrate with."""
        ...

    def samples(self) -> Iterator[tuple[str, Iterator[LabelledStamps]]]:
        """Yield names of samples to judge by, each with its stamps."""
        ...

    def golden(self) -> LabelledStamps:
        """Return a few stamps to try the package with."""
        ...

    def facts(self) -> dict[str, float]:
        """Return numbers for the record of the training."""
        ...


class SimulatedData:
    """Stamps that are made as they are needed, from seeds of their own.

    Parameters
    ----------
    directory
        Where the stamps to train on are kept.
    source
        Makes them.
    samples
        Makes, by name, those to judge by.
    options
        How many.
    seed
        Seed of everything.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        source: StampSource,
        samples: Mapping[str, StampSource],
        options: DataOptions,
        seed: int,
    ) -> None:
        self._source = source
        self._samples = samples
        self._options = options
        self._seed = seed
        self.shards = ShardStore(
            directory,
            source,
            seed=purpose_seed(seed, 0),
            shard_size=options.shard_size,
            count=options.shards,
        )
        self.window = options.window
        self.batch_size = options.batch_size
        self.trusted_by = f"{options.trust} stamps drawn as those of the training, with seeds of their own"

    def start(self) -> None:
        # Docstring inherited.
        self.shards.start()

    def stop(self) -> None:
        # Docstring inherited.
        self.shards.stop()

    def validation(self) -> LabelledStamps:
        # Docstring inherited.
        return self._draw(self._source, 1, self._options.validation)

    def trust(self) -> LabelledStamps:
        # Docstring inherited.
        return self._draw(self._source, 98, self._options.trust)

    def samples(self) -> Iterator[tuple[str, Iterator[LabelledStamps]]]:
        # Docstring inherited.
        for index, (name, source) in enumerate(self._samples.items()):
            yield name, iter([self._draw(source, 2 + index, self._options.evaluation)])

    def golden(self) -> LabelledStamps:
        # Docstring inherited.
        return self._draw(next(iter(self._samples.values())), 99, GOLDEN_STAMPS)

    def facts(self) -> dict[str, float]:
        # Docstring inherited.
        return {"distinctStamps": float(self._options.shards * self._options.shard_size)}

    def _draw(self, source: StampSource, purpose: int, number: int) -> LabelledStamps:
        return LabelledStamps.of(source(purpose_seed(self._seed, purpose), number))


class TabulatedData:
    """Stamps of real labels, which are on disk.

    Parameters
    ----------
    store
        The stamps, cut.
    options
        How they are shown; there are as many as there are.
    """

    def __init__(self, store: LabelStore, options: DataOptions) -> None:
        self._store = store
        self._options = options
        self.shards = store
        self.window = store.window
        self.batch_size = min(options.batch_size, store.counts.taught)
        self.trusted_by = f"{store.counts.trust} labels that were held out"

    def start(self) -> None:
        # Docstring inherited.
        return

    def stop(self) -> None:
        # Docstring inherited.
        return

    def validation(self) -> LabelledStamps:
        # Docstring inherited.
        first = next(self._store.held_out("judge"))
        return first[np.arange(min(len(first), self._options.validation))]

    def trust(self) -> LabelledStamps:
        # Docstring inherited.
        return LabelledStamps.concatenate(list(self._store.held_out("trust")))

    def samples(self) -> Iterator[tuple[str, Iterator[LabelledStamps]]]:
        # Docstring inherited.
        yield "heldOut", self._store.held_out("judge")

    def golden(self) -> LabelledStamps:
        # Docstring inherited.
        first = next(self._store.held_out("judge"))
        return first[np.arange(min(len(first), GOLDEN_STAMPS))]

    def facts(self) -> dict[str, float]:
        # Docstring inherited.
        counts = self._store.counts
        return {
            "distinctStamps": float(counts.taught),
            "labels": float(counts.labels),
            "labels.notFound": float(counts.labels - counts.found),
            "labels.notMeasured": float(counts.found - counts.measured),
        }


def purpose_seed(seed: int, purpose: int) -> int:
    """Return the seed of the stamps for one purpose."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))
