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

"""Pixels that a tidal model marks, against those that are debris."""

from __future__ import annotations

__all__ = ("LEVELS", "REGIONS", "PixelCounts", "RegionTruth", "count_pixels", "region_truth")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

type Floats = npt.NDArray[np.float64]
type Bools = npt.NDArray[np.bool_]

REGIONS = ("tail", "stream", "shell", "debris", "linear")
"""What is scored: the planes of debris, and tail or stream together."""

LEVELS = 50
"""Thresholds on the probability at which pixels are counted: whole numbers
over this one."""

_PLANES = ("tail", "stream", "shell", "debris")


@dataclasses.dataclass(frozen=True)
class RegionTruth:
    """True pixels of each region, ``[n, region, y, x]``."""

    mask: Bools
    """Pixels of the region."""

    scored: Bools
    """Pixels that count: measured, and on neither side of the border."""


@dataclasses.dataclass(frozen=True)
class PixelCounts:
    """Pixels of each host, region and threshold.

    Only scored pixels are counted.
    """

    both: npt.NDArray[np.int64]
    """Marked and true, ``[n, region, level]``."""

    marked: npt.NDArray[np.int64]
    """Marked, ``[n, region, level]``."""

    true: npt.NDArray[np.int64]
    """True, ``[n, region]``."""

    def __len__(self) -> int:
        return len(self.true)

    def __getitem__(self, key: slice | npt.NDArray[np.generic]) -> PixelCounts:
        """Return the hosts that a mask, slice or index array selects."""
        return PixelCounts(self.both[key], self.marked[key], self.true[key])

    @classmethod
    def concatenate(cls, parts: list[PixelCounts]) -> PixelCounts:
        """Put batches together; there must be one."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(cls)))

    def pooled(self) -> Floats:
        """Return intersection over union of all hosts' pixels together.

        Returns
        -------
        iou
            NaN where nothing is true or marked, ``[region, level]``.
        """
        both = self.both.sum(axis=0)
        return _ratio(both, self.marked.sum(axis=0) + self.true.sum(axis=0)[:, np.newaxis] - both)

    def by_host(self) -> Floats:
        """Return intersection over union of each host.

        Returns
        -------
        iou
            NaN where nothing is true or marked, ``[n, region, level]``.
        """
        return _ratio(self.both, self.marked + self.true[:, :, np.newaxis] - self.both)


def region_truth(mask: Bools, ignore: Bools, any_mask: Bools, any_ignore: Bools, valid: Bools) -> RegionTruth:
    """Return the truth of all regions from that of the classes.

    Parameters
    ----------
    mask, ignore
        True pixels of tail, stream and shell, and those that are not
        scored, ``[n, 3, y, x]``.
    any_mask, any_ignore
        The same of all debris together, ``[n, y, x]``.
    valid
        Whether a pixel was measured, ``[n, y, x]``.

    Returns
    -------
    truth
        In the order of `REGIONS`.
    """
    linear = mask[:, 0] | mask[:, 1]
    border = (ignore[:, 0] | ignore[:, 1]) & ~linear
    all_masks = np.concatenate([mask, any_mask[:, np.newaxis], linear[:, np.newaxis]], axis=1)
    all_ignored = np.concatenate([ignore, any_ignore[:, np.newaxis], border[:, np.newaxis]], axis=1)
    return RegionTruth(all_masks, ~all_ignored & valid[:, np.newaxis])


def count_pixels(
    probability: npt.NDArray[np.floating], truth: RegionTruth, *, mask_threshold: Mapping[str, float]
) -> PixelCounts:
    """Count the pixels that are marked at each threshold.

    Parameters
    ----------
    probability
        Probability of tail, stream, shell and debris, in this order,
        ``[n, 4, y, x]``.
    truth
        The true regions.
    mask_threshold
        Thresholds of ``tail`` and ``stream``, which decide what the mask of
        either of them is: it is the union of both masks.

    Returns
    -------
    counts
        By host, region and level. The level ``k`` is the threshold ``k``
        over `LEVELS`; that of ``linear`` is one half, where both planes are
        marked at their own thresholds.
    """
    scores = np.concatenate([probability, _linear(probability, mask_threshold)[:, np.newaxis]], axis=1)
    n, regions = scores.shape[:2]
    level = np.clip((scores * LEVELS).astype(np.int32), 0, LEVELS - 1)
    cell = np.arange(n * regions, dtype=np.int32).reshape(n, regions, 1, 1) * LEVELS + level
    shape = (n, regions, LEVELS)

    def at_least(where: Bools) -> npt.NDArray[np.int64]:
        counts = np.bincount(cell[where], minlength=n * regions * LEVELS).reshape(shape)
        return np.asarray(np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1], dtype=np.int64)

    hits = truth.mask & truth.scored
    return PixelCounts(at_least(hits), at_least(truth.scored), hits.sum(axis=(2, 3), dtype=np.int64))


def _linear(
    probability: npt.NDArray[np.floating], mask_threshold: Mapping[str, float]
) -> npt.NDArray[np.floating]:
    """Return a score that is one half where either mask begins."""
    tail, stream = (
        _at_half(probability[:, _PLANES.index(name)], mask_threshold[name]) for name in ("tail", "stream")
    )
    return np.asarray(np.maximum(tail, stream))


def _at_half(values: npt.NDArray[np.floating], threshold: float) -> npt.NDArray[np.floating]:
    """Stretch values in 0 to 1 so that the threshold becomes one half."""
    below = 0.5 * values / threshold
    above = 0.5 + 0.5 * (values - threshold) / max(1.0 - threshold, 1e-6)
    return np.where(values < threshold, below, above)


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))
