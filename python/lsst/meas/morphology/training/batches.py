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

"""Batches in an order that depends on seed and step alone."""

from __future__ import annotations

__all__ = ("AugmentOptions", "Batch", "BatchStream", "MarkedBatch", "StampBatch", "augment")

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np
import torch

from .labelled import MarkedStamps, StampArrays
from .shards import Shards


@dataclasses.dataclass(frozen=True)
class StampBatch:
    """Tensors of one step; see `StampArrays`."""

    flux: torch.Tensor
    valid: torch.Tensor

    IMAGES: ClassVar[tuple[str, ...]] = ()
    """Fields that are images and turn with the stamps."""

    @classmethod
    def of(cls, stamps: StampArrays) -> Self:
        """Return stamps as tensors, without copying them."""
        return cls(**{name: torch.from_numpy(getattr(stamps, name)) for name in cls._names()})

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device."""
        return type(self)(**{name: getattr(self, name).to(device) for name in self._names()})

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(cls))


@dataclasses.dataclass(frozen=True)
class Batch(StampBatch):
    """Tensors of one step; see `LabelledStamps`."""

    votes: torch.Tensor


@dataclasses.dataclass(frozen=True)
class MarkedBatch(StampBatch):
    """Tensors of one step; see `MarkedStamps`."""

    marks: torch.Tensor
    annotators: torch.Tensor
    scored: torch.Tensor
    presence: torch.Tensor
    presence_scored: torch.Tensor
    light: torch.Tensor
    shares: torch.Tensor

    IMAGES: ClassVar[tuple[str, ...]] = ("marks", "scored", "light", "shares")


class BatchStream:
    """An endless stream of batches that can be entered at any step.

    Parameters
    ----------
    store
        Shards to draw from. The first epoch takes them in order, as they
        are made; later ones in an order of their own.
    batch_size
        Stamps in a batch.
    window
        Number of shards whose stamps are mixed, and held in memory.
    seed
        Seed of the order.

    Raises
    ------
    ValueError
        Raised if a window does not fill a single batch.
    """

    def __init__(self, store: Shards, *, batch_size: int, window: int, seed: int) -> None:
        self._store = store
        self._batch_size = batch_size
        self._window = min(window, store.count)
        self._seed = seed
        self._per_window = self._window * store.shard_size // batch_size
        self._windows = store.count // self._window
        if self._per_window == 0:
            raise ValueError(
                f"{self._window} shards of {store.shard_size} stamps do not fill a batch of {batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in which every window is seen once."""
        return self._windows * self._per_window

    def batches(self, first_step: int = 0) -> Iterator[StampBatch]:
        """Yield the batches from a step on, without end."""
        window, skip = divmod(first_step, self._per_window)
        while True:
            epoch, position = divmod(window, self._windows)
            stamps = self._load(epoch, position)
            order = np.random.default_rng([self._seed, 1, epoch, position]).permutation(len(stamps))
            for batch in range(skip, self._per_window):
                # Sorted, since the order inside a batch does not matter and
                # memory is read in one direction then.
                index = np.sort(order[batch * self._batch_size : (batch + 1) * self._batch_size])
                yield _to_batch(stamps[index])
            window, skip = window + 1, 0

    def _load(self, epoch: int, position: int) -> StampArrays:
        count = self._windows * self._window
        order = np.arange(count)
        if epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(count)
        chosen = order[position * self._window : (position + 1) * self._window]
        parts: list[StampArrays] = [self._store.load(int(index)) for index in chosen]
        return type(parts[0]).concatenate(parts)


def _to_batch(stamps: StampArrays) -> StampBatch:
    return (MarkedBatch if isinstance(stamps, MarkedStamps) else Batch).of(stamps)


@dataclasses.dataclass(frozen=True)
class AugmentOptions:
    """How stamps are varied while training."""

    missing_band: float = 0.15
    """Share of the stamps from which one optional band is taken."""

    missing_bands: float = 0.05
    """Share of the stamps from which all optional bands are taken."""

    edge: float = 0.05
    """Share of the stamps cut off by the edge of the data."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.missing_band + self.missing_bands <= 1.0 or not 0.0 <= self.edge <= 1.0:
            raise ValueError(f"the shares of {self} do not lie between 0 and 1")


def augment[AnyBatch: StampBatch](
    batch: AnyBatch, optional: tuple[int, ...], options: AugmentOptions, generator: torch.Generator
) -> AnyBatch:
    """Vary a batch: turned, mirrored, without some bands, or cut off.

    None of this changes what people would say, but for what is cut off.

    Parameters
    ----------
    batch
        On the CPU; it is left as it is.
    optional
        Indices of the bands that may be missing.
    options
        How often.
    generator
        Source of random numbers.
    """
    cut = batch.valid & _inside(len(batch.flux), batch.flux.shape[-1], options.edge, generator)
    images = {name: getattr(batch, name) for name in ("flux", *batch.IMAGES)} | {"valid": cut}
    views = {name: torch.empty_like(image) for name, image in images.items()}
    which = torch.randint(8, (len(cut),), generator=generator)
    for turn in range(8):
        chosen = torch.nonzero(which == turn).flatten()
        if len(chosen):
            for name, image in images.items():
                views[name][chosen] = _turned(image[chosen], turn)
    valid = views["valid"]
    valid &= ~_missing_bands(len(valid), valid.shape[1], optional, options, generator)
    views["flux"].masked_fill_(~valid, 0.0)
    return dataclasses.replace(batch, **views)


def _turned(images: torch.Tensor, turn: int) -> torch.Tensor:
    """Return one of the eight views of a square."""
    turned = torch.rot90(images, turn % 4, (-2, -1))
    return turned.flip(-1) if turn >= 4 else turned


def _missing_bands(
    n: int, bands: int, optional: tuple[int, ...], options: AugmentOptions, generator: torch.Generator
) -> torch.Tensor:
    missing = torch.zeros(n, bands, dtype=torch.bool)
    if not optional:
        return missing[:, :, None, None]
    draw = torch.rand(n, generator=generator)
    one = torch.tensor(optional)[torch.randint(len(optional), (n,), generator=generator)]
    missing[torch.arange(n), one] = draw < options.missing_band
    every = (draw >= options.missing_band) & (draw < options.missing_band + options.missing_bands)
    for band in optional:
        missing[:, band] |= every
    return missing[:, :, None, None]


def _inside(n: int, size: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Return which columns are inside the data; the centre always is."""
    kept = torch.rand(n, generator=generator) >= share
    edge = size * (0.6 + 0.4 * torch.rand(n, generator=generator))
    inside = kept[:, None] | (torch.arange(size)[None, :] < edge[:, None])
    return inside[:, None, None, :]
