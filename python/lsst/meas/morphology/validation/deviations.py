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

"""How far expected vote fractions are from the truth, or from votes."""

from __future__ import annotations

__all__ = ("Deviations", "binomial_floor", "excess_deviations", "quantile_groups", "truth_deviations")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import special

from ..questions.tree import QuestionTree

type Floats = npt.NDArray[np.float64]
type Groups = npt.NDArray[np.integer]

MIN_VOTES = 10
"""Votes on a question from which a galaxy counts, unless said otherwise."""


@dataclasses.dataclass(frozen=True)
class Deviations:
    """Mean absolute deviations by group of galaxies and by answer."""

    mean: Floats
    """Mean over galaxies, ``[group, answer]``; NaN without galaxies."""

    count: npt.NDArray[np.int64]
    """Number of galaxies, ``[group, answer]``."""

    def over_answers(self, answers: npt.NDArray[np.bool_] | slice = slice(None)) -> Floats:
        """Return the mean over answers that have galaxies, ``[group]``."""
        mean, there = self.mean[:, answers], self.count[:, answers] > 0
        total = np.where(there, mean, 0.0).sum(axis=1)
        number = there.sum(axis=1)
        return np.asarray(np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0))


def truth_deviations(
    fraction: npt.NDArray[np.floating],
    probabilities: npt.NDArray[np.floating],
    votes: npt.NDArray[np.integer],
    tree: QuestionTree,
    *,
    min_votes: int = MIN_VOTES,
    groups: Groups | None = None,
) -> Deviations:
    """Average ``|p_hat - p_true|`` where the truth is known.

    Parameters
    ----------
    fraction
        Expected vote fractions, ``[galaxy, answer]``.
    probabilities
        True probabilities of each answer, ``[galaxy, answer]``.
    votes
        Votes, ``[galaxy, answer]``; they say who was asked what.
    tree
        The questions.
    min_votes
        Fewest votes on a question for a galaxy to count in its answers.
    groups
        Number of each galaxy's group, ``[galaxy]`` or, if it differs from
        question to question, ``[galaxy, question]``; negative for none.

    Returns
    -------
    deviations
        By group; there is one group without ``groups``.
    """
    return _grouped(np.abs(fraction - probabilities), votes, tree, min_votes, groups)


def excess_deviations(
    fraction: npt.NDArray[np.floating],
    votes: npt.NDArray[np.integer],
    tree: QuestionTree,
    *,
    min_votes: int = MIN_VOTES,
    groups: Groups | None = None,
) -> Deviations:
    """Average ``|p_hat - v / n|`` above its floor, where only votes are known.

    Parameters
    ----------
    fraction, votes, tree, min_votes, groups
        As for `truth_deviations`.

    Returns
    -------
    deviations
        Mean deviation from the observed fractions less the mean of
        `binomial_floor` at the expected fractions.

    Notes
    -----
    It is zero on average if the expected fractions are true and votes are
    binomial. Volunteers who differ more than that raise it, and so do wrong
    fractions; fractions too near a half raise the floor as well.
    """
    deviation = np.zeros(fraction.shape)
    for part in tree.slices.values():
        total = votes[:, part].sum(axis=1, keepdims=True)
        observed = votes[:, part] / np.maximum(total, 1)
        expected = np.asarray(fraction[:, part], dtype=np.float64)
        deviation[:, part] = np.abs(expected - observed) - binomial_floor(expected, total)
    return _grouped(deviation, votes, tree, max(min_votes, 1), groups)


def binomial_floor(probability: npt.ArrayLike, number: npt.ArrayLike) -> Floats:
    """Return the mean of ``|V / n - p|`` for binomial ``V``.

    Parameters
    ----------
    probability
        The probability p.
    number
        The number n; broadcast against ``probability``.

    Returns
    -------
    floor
        What the best possible fraction deviates on average from observed
        ones; 0 where ``number`` is.

    Notes
    -----
    De Moivre's closed form ``2 m P(V = m) (1 - p) / n`` with m the whole
    part of n p, plus one.
    """
    p, n = np.broadcast_arrays(np.asarray(probability, np.float64), np.asarray(number, np.float64))
    m = np.minimum(np.floor(n * p) + 1.0, n)
    log_pmf = special.gammaln(n + 1.0) - special.gammaln(m + 1.0) - special.gammaln(n - m + 1.0)
    log_pmf += special.xlogy(m, p) + special.xlog1py(n - m, -p)
    floor = 2.0 * m * np.exp(log_pmf) * (1.0 - p)
    return np.asarray(np.divide(floor, n, out=np.zeros(n.shape), where=n > 0))


def quantile_groups(
    values: npt.NDArray[np.floating], number: int = 5
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Sort galaxies into groups of about the same size.

    Parameters
    ----------
    values
        A quantity of each galaxy, ``[galaxy]``.
    number
        Number of groups that is aimed at; equal values stay together.

    Returns
    -------
    groups
        Number of each galaxy's group, -1 where the value is not finite,
        ``[galaxy]``.
    edges
        Edges of the groups, ascending, one more than there are groups;
        empty without finite values.
    """
    finite = np.isfinite(values)
    groups = np.full(len(values), -1, dtype=np.int64)
    if not finite.any():
        return groups, np.empty(0)
    edges = np.unique(np.quantile(np.asarray(values[finite], np.float64), np.linspace(0.0, 1.0, number + 1)))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    groups[finite] = np.clip(np.searchsorted(edges, values[finite], side="right") - 1, 0, len(edges) - 2)
    return groups, edges


def _grouped(
    deviation: Floats,
    votes: npt.NDArray[np.integer],
    tree: QuestionTree,
    min_votes: int,
    groups: Groups | None,
) -> Deviations:
    """Average deviations by group, over the galaxies with enough votes."""
    if groups is None:
        groups = np.zeros(len(votes), dtype=np.int64)
    number = max(int(groups.max(initial=-1)) + 1, 1)
    sums = np.zeros((number, tree.n_answers))
    counts = np.zeros((number, tree.n_answers), dtype=np.int64)
    for index, part in enumerate(tree.slices.values()):
        mine = groups if groups.ndim == 1 else groups[:, index]
        rows = np.flatnonzero((votes[:, part].sum(axis=1) >= min_votes) & (mine >= 0))
        np.add.at(sums[:, part], mine[rows], deviation[rows, part])
        counts[:, part] = np.bincount(mine[rows], minlength=number)[:, np.newaxis]
    mean = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return Deviations(np.asarray(mean), counts)
