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

"""Whether answers are given as often as expected: reliability."""

from __future__ import annotations

__all__ = ("Reliability", "reliability")

import dataclasses

import numpy as np
import numpy.typing as npt

type Floats = npt.NDArray[np.float64]

BINS = 15
"""Bins of expected fractions."""


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Expected and observed fractions of the votes, in bins of the former."""

    expected: Floats
    """Mean expected fraction, each vote counting once, ``[bin]``; NaN in
    empty bins."""

    observed: Floats
    """Share of those votes that fell on the answer, ``[bin]``."""

    weight: npt.NDArray[np.int64]
    """Number of votes that could have fallen on it, ``[bin]``."""

    @property
    def error(self) -> float:
        """Expected calibration error: mean ``|observed - expected|``.

        Bins count by their votes; NaN without votes.
        """
        if not self.weight.any():
            return float("nan")
        filled = self.weight > 0
        gap = np.abs(self.observed[filled] - self.expected[filled])
        return float(np.average(gap, weights=self.weight[filled]))


def reliability(
    votes: npt.NDArray[np.integer], fraction: npt.NDArray[np.floating], *, bins: int = BINS
) -> Reliability:
    """Sort the votes on one question by the fractions expected.

    Parameters
    ----------
    votes
        Votes on one question, ``[galaxy, answer]``.
    fraction
        Expected fractions, ``[galaxy, answer]``.
    bins
        Number of bins, equal in width from 0 to 1.

    Returns
    -------
    reliability
        Over all answers of the question together.
    """
    total = votes.sum(axis=1, keepdims=True)
    rows = total[:, 0] > 0
    expected = np.asarray(fraction[rows], dtype=np.float64).ravel()
    weight = np.broadcast_to(total, votes.shape)[rows].ravel()
    index = np.clip((expected * bins).astype(np.int64), 0, bins - 1)
    weights = np.bincount(index, weights=weight, minlength=bins)
    empty = np.full(bins, np.nan)
    mean = np.bincount(index, weights=weight * expected, minlength=bins)
    hits = np.bincount(index, weights=votes[rows].ravel(), minlength=bins)
    return Reliability(
        np.divide(mean, weights, out=empty.copy(), where=weights > 0),
        np.divide(hits, weights, out=empty.copy(), where=weights > 0),
        weights.astype(np.int64),
    )
