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

"""Whether votes fall into the intervals predicted for them as often as said.

Votes are whole numbers, so an interval of whole numbers always holds too
much: even the true distribution's 90 % interval would hold 98 % of them. The
randomised probability integral transform has no such trouble: it is spread
evenly over the probability that the vote takes up, ``[F(v - 1), F(v)]``. Its
expectation needs no random numbers: it is the part of that stretch which
lies in the central interval.
"""

from __future__ import annotations

__all__ = ("LEVELS", "Coverage", "cumulative_stretch", "overlap", "votes_coverage")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import special

from .questions.tree import QuestionTree

type Floats = npt.NDArray[np.float64]

LEVELS = (0.5, 0.9)
"""Probabilities of the central intervals."""

BINS = 20
"""Bins of the histogram of the transform."""

_BLOCK_VALUES = 500_000
"""Values of the largest temporary array."""


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Share of votes in the central intervals of their predictions."""

    levels: tuple[float, ...]
    """What the shares ought to be, ``[level]``."""

    by_answer: Floats
    """Shares, ``[level, answer]``; NaN for answers never asked for."""

    pooled: Floats
    """Shares over all answers and galaxies together, ``[level]``."""

    count: npt.NDArray[np.int64]
    """Galaxies that were asked each answer's question, ``[answer]``."""

    histogram: Floats
    """Density of the transform in equal bins from 0 to 1,
    ``[answer, bin]``; all ones if predictions are true."""


def votes_coverage(
    votes: npt.NDArray[np.integer],
    alpha: npt.NDArray[np.floating],
    tree: QuestionTree,
    *,
    levels: tuple[float, ...] = LEVELS,
    bins: int = BINS,
) -> Coverage:
    """Measure coverage, for each answer and pooled.

    Parameters
    ----------
    votes
        Votes, ``[galaxy, answer]``.
    alpha
        Concentrations, positive, ``[galaxy, sample, answer]``.
    tree
        The questions.
    levels
        Probabilities of the central intervals.
    bins
        Bins of the histogram.

    Returns
    -------
    coverage
        Over the galaxies that were asked. An answer's votes follow a
        mixture, over samples, of beta-binomial distributions.
    """
    inside = np.zeros((len(levels), tree.n_answers))
    histogram = np.zeros((tree.n_answers, bins))
    count = np.zeros(tree.n_answers, dtype=np.int64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    for part in tree.slices.values():
        rows = np.flatnonzero(votes[:, part].sum(axis=1) > 0)
        count[part] = len(rows)
        total = votes[rows, part].sum(axis=1)
        own = np.asarray(alpha[rows, :, part], dtype=np.float64)
        whole = own.sum(axis=2)
        for k, answer in enumerate(range(part.start, part.stop)):
            below, upto = cumulative_stretch(votes[rows, answer], total, own[:, :, k], whole - own[:, :, k])
            for index, level in enumerate(levels):
                inside[index, answer] = overlap(below, upto, level).sum()
            low, high = edges[:-1], edges[1:]
            shares = _shares(below[:, np.newaxis], upto[:, np.newaxis], low, high)
            histogram[answer] = shares.sum(axis=0) * bins
    asked = count > 0
    return Coverage(
        levels=levels,
        by_answer=np.divide(inside, count, out=np.full(inside.shape, np.nan), where=asked),
        pooled=inside.sum(axis=1) / count.sum() if count.any() else np.full(len(levels), np.nan),
        count=count,
        histogram=np.divide(
            histogram, count[:, np.newaxis], out=np.full(histogram.shape, np.nan), where=asked[:, np.newaxis]
        ),
    )


def overlap(below: Floats, upto: Floats, level: float) -> Floats:
    """Return the part of each stretch that lies in the central interval.

    Parameters
    ----------
    below, upto
        The stretches, from `cumulative_stretch`.
    level
        Probability of the central interval.

    Returns
    -------
    overlap
        Between 0 and 1.
    """
    return _shares(below, upto, 0.5 * (1.0 - level), 0.5 * (1.0 + level))


def cumulative_stretch(
    votes: npt.NDArray[np.integer], total: npt.NDArray[np.integer], a: Floats, b: Floats
) -> tuple[Floats, Floats]:
    """Return the probabilities of fewer votes, and of as many or fewer.

    Parameters
    ----------
    votes
        Votes for an answer, ``[galaxy]``.
    total
        Votes on its question, ``[galaxy]``.
    a, b
        Concentrations of the answer and of all others, positive,
        ``[galaxy, sample]``.

    Returns
    -------
    below, upto
        ``F(v - 1)`` and ``F(v)`` of the mixture of the samples'
        beta-binomial distributions, ``[galaxy]``.
    """
    below, upto = np.empty(len(votes)), np.empty(len(votes))
    block = max(1, _BLOCK_VALUES // max(a.shape[1], 1))
    for start in range(0, len(votes), block):
        rows = slice(start, start + block)
        below[rows], upto[rows] = _stretch(
            np.asarray(votes[rows], np.float64)[:, np.newaxis],
            np.asarray(total[rows], np.float64)[:, np.newaxis],
            a[rows],
            b[rows],
        )
    return below, upto


def _stretch(v: Floats, n: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Sum each component's tail away from its mean, where terms fall.

    So nothing is lost if a probability is too small for a float; the upper
    tail is the lower one of the votes for the other answers.
    """
    upper = v > n * a / (a + b)
    k = np.where(upper, n - v, v)
    first, other = np.where(upper, b, a), np.where(upper, a, b)
    log_pmf = special.betaln(first + k, other + n - k) - special.betaln(first, other)
    log_pmf += -np.log1p(n) - special.betaln(k + 1.0, n - k + 1.0)
    pmf = np.exp(log_pmf)
    tail, term = pmf.copy(), pmf.copy()
    for _ in range(int(k.max(initial=0.0))):
        # The ratio of one term to the next lower one; 0 at the end.
        term *= k * (other + n - k) / ((n - k + 1.0) * (first + np.maximum(k - 1.0, 0.0)))
        tail += term
        k = np.maximum(k - 1.0, 0.0)
    below = np.where(upper, 1.0 - tail, tail - pmf).mean(axis=1)
    upto = np.where(upper, 1.0 - tail + pmf, tail).mean(axis=1)
    return np.clip(below, 0.0, 1.0), np.clip(upto, 0.0, 1.0)


def _shares(below: Floats, upto: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """Return the part of stretches that lies between two probabilities.

    A stretch that is too short for floats lies there wholly or not at all.
    """
    width = upto - below
    common = np.clip(np.minimum(upto, high) - np.maximum(below, low), 0.0, None)
    within = (below >= low) & ((below < high) | (np.asarray(high) >= 1.0))
    point = width <= 0.0
    return np.asarray(np.where(point, within, common / np.where(point, 1.0, width)), dtype=np.float64)
