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

"""How well guesses agree with the votes on confident galaxies.

A galaxy is confident in a question if many volunteers answered it and most
of them agreed; only there do votes have a winner worth guessing.
"""

from __future__ import annotations

__all__ = ("MIN_VOTES", "TOP_FRACTION", "Confusion", "confident", "confusion", "group_answers")

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

type Floats = npt.NDArray[np.float64]

MIN_VOTES = 20
"""Votes on a question from which a galaxy can be confident."""

TOP_FRACTION = 0.8
"""Share of the votes that the winner needs for a galaxy to be confident."""


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Winners of the votes on one question against guesses."""

    answers: tuple[str, ...]
    """Names of the answers."""

    counts: npt.NDArray[np.int64]
    """Number of confident galaxies, ``[winner, guess]``."""

    @property
    def count(self) -> int:
        """Number of confident galaxies."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of right guesses; NaN without galaxies."""
        return _ratio(float(np.trace(self.counts)), self.count)

    @property
    def balanced_accuracy(self) -> float:
        """Recall averaged over the answers that ever win."""
        return _mean(self.recall)

    @property
    def majority(self) -> float:
        """Share of the commonest winner: what guessing alone would reach."""
        return _ratio(float(self.counts.sum(axis=1).max(initial=0)), self.count)

    @property
    def winners(self) -> npt.NDArray[np.int64]:
        """Number of galaxies that each answer wins, ``[answer]``."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def recall(self) -> Floats:
        """Share of each answer's wins that was guessed; NaN if none."""
        return _ratios(np.diagonal(self.counts), self.counts.sum(axis=1))

    @property
    def precision(self) -> Floats:
        """Share of each answer's guesses that was right; NaN if none."""
        return _ratios(np.diagonal(self.counts), self.counts.sum(axis=0))

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall of each answer.

        As twice the hits over wins and guesses, so that it is 0, not NaN,
        for an answer that wins and is never guessed.
        """
        return _ratios(2 * np.diagonal(self.counts), self.counts.sum(axis=0) + self.counts.sum(axis=1))

    def within_one(self, order: Sequence[str]) -> float:
        """Return the balanced accuracy if neighbours count as right too.

        Parameters
        ----------
        order
            The answers that have an order, in it. Galaxies that another
            answer wins are left out; guesses of other answers are wrong.
        """
        index = [self.answers.index(answer) for answer in order]
        ordered = self.counts[np.ix_(index, index)]
        near = np.abs(np.subtract.outer(np.arange(len(index)), np.arange(len(index)))) <= 1
        return _mean(_ratios((ordered * near).sum(axis=1), self.counts[index].sum(axis=1)))


def confident(
    votes: npt.NDArray[np.integer], *, min_votes: int = MIN_VOTES, top_fraction: float = TOP_FRACTION
) -> npt.NDArray[np.bool_]:
    """Return which galaxies are confident in a question.

    Parameters
    ----------
    votes
        Votes on the question by answer, ``[galaxy, answer]``.
    min_votes
        Fewest votes on the question.
    top_fraction
        Smallest share of the winner.

    Returns
    -------
    confident
        Of shape ``[galaxy]``.
    """
    total = votes.sum(axis=1)
    # A product, since a ratio would have to mind the galaxies unasked.
    return np.asarray((total >= min_votes) & (votes.max(axis=1, initial=0) >= top_fraction * total))


def confusion(
    votes: npt.NDArray[np.integer],
    fraction: npt.NDArray[np.floating],
    answers: Sequence[str],
    *,
    min_votes: int = MIN_VOTES,
    top_fraction: float = TOP_FRACTION,
) -> Confusion:
    """Compare the largest fractions with the winners of confident galaxies.

    Parameters
    ----------
    votes
        Votes on one question, ``[galaxy, answer]``.
    fraction
        Expected fractions, or true probabilities, ``[galaxy, answer]``.
    answers
        Names of the question's answers.
    min_votes, top_fraction
        What makes a galaxy confident.

    Returns
    -------
    confusion
        The counts.

    Raises
    ------
    ValueError
        Raised if the shapes differ, or a confident galaxy's fractions are
        not finite: to leave it out would flatter the guesses.
    """
    if votes.shape != fraction.shape or votes.shape[1] != len(answers):
        raise ValueError(
            f"Votes of shape {votes.shape} and fractions of shape {fraction.shape} do not fit"
            f" {len(answers)} answers."
        )
    rows = confident(votes, min_votes=min_votes, top_fraction=top_fraction)
    if not np.isfinite(fraction[rows]).all():
        raise ValueError("Fractions of confident galaxies are not finite.")
    counts = np.zeros((len(answers), len(answers)), dtype=np.int64)
    np.add.at(counts, (votes[rows].argmax(axis=1), fraction[rows].argmax(axis=1)), 1)
    return Confusion(tuple(answers), counts)


def group_answers[T: npt.NDArray[np.integer] | npt.NDArray[np.floating]](
    values: T, answers: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> T:
    """Add up the votes, or fractions, of answers that mean the same.

    Parameters
    ----------
    values
        Votes or fractions, ``[galaxy, answer]``.
    answers
        Names of the answers.
    groups
        By the name of each group, the answers in it.

    Returns
    -------
    sums
        Of the same kind, ``[galaxy, group]``.
    """
    parts = [values[:, [answers.index(a) for a in group]].sum(axis=1) for group in groups.values()]
    return np.stack(parts, axis=1)  # type: ignore[return-value]


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")


def _ratios(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
