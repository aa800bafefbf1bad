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

__all__ = ("AugmentOptions", "Batch", "BatchStream", "augment")

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from .shards import LabelledStamps, ShardStore


@dataclasses.dataclass(frozen=True)
class Batch:
    """Tensors of one step; see `LabelledStamps`."""

    flux: torch.Tensor
    valid: torch.Tensor
    votes: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(self.flux.to(device), self.valid.to(device), self.votes.to(device))


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

    def __init__(self, store: ShardStore, *, batch_size: int, window: int, seed: int) -> None:
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

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
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

    def _load(self, epoch: int, position: int) -> LabelledStamps:
        count = self._windows * self._window
        order = np.arange(count)
        if epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(count)
        chosen = order[position * self._window : (position + 1) * self._window]
        parts = [self._store.load(int(index)) for index in chosen]
        return LabelledStamps(
            flux=np.concatenate([part.flux for part in parts]),
            valid=np.concatenate([part.valid for part in parts]),
            votes=np.concatenate([part.votes for part in parts]),
        )


def _to_batch(stamps: LabelledStamps) -> Batch:
    return Batch(
        torch.from_numpy(stamps.flux), torch.from_numpy(stamps.valid), torch.from_numpy(stamps.votes)
    )


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


def augment(
    batch: Batch, optional: tuple[int, ...], options: AugmentOptions, generator: torch.Generator
) -> Batch:
    """Vary a batch: turned, mirrored, without some bands, or cut off.

    None of this changes what volunteers would say.

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
    flux, valid = torch.empty_like(batch.flux), torch.empty_like(cut)
    which = torch.randint(8, (len(flux),), generator=generator)
    for turn in range(8):
        chosen = torch.nonzero(which == turn).flatten()
        if len(chosen):
            flux[chosen] = _turned(batch.flux[chosen], turn)
            valid[chosen] = _turned(cut[chosen], turn)
    valid &= ~_missing_bands(len(flux), flux.shape[1], optional, options, generator)
    return Batch(flux.masked_fill_(~valid, 0.0), valid, batch.votes)


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
