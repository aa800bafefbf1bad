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

"""How well expected fractions agree with the votes of confident galaxies."""

from __future__ import annotations

__all__ = ("MIN_VOTES", "TOP_FRACTION", "QuestionFigures", "figures_table", "question_figures")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..questions.tree import QuestionTree

MIN_VOTES = 20
"""Votes on a question from which a galaxy can be confident."""

TOP_FRACTION = 0.8
"""Share of the votes that the winner needs for a galaxy to be confident."""


@dataclasses.dataclass(frozen=True)
class QuestionFigures:
    """Agreement on one question, over its confident galaxies."""

    count: int
    """Number of confident galaxies."""

    accuracy: float
    """Share where the largest expected fraction is the votes' winner; NaN
    without galaxies."""

    balanced_accuracy: float
    """The same averaged over the winners, each counting equally."""

    majority: float
    """Share of the commonest winner: what guessing alone would reach."""


def question_figures(
    votes: npt.NDArray[np.integer], fraction: npt.NDArray[np.floating], tree: QuestionTree
) -> dict[str, QuestionFigures]:
    """Compare expected vote fractions with votes.

    Parameters
    ----------
    votes
        Counts, of shape ``[n, a]``.
    fraction
        Expected fractions, of shape ``[n, a]``.
    tree
        The questions.

    Returns
    -------
    figures
        One entry for each question.
    """
    result = {}
    for name, answers in tree.slices.items():
        counts = votes[:, answers]
        total = counts.sum(axis=1)
        top = counts.max(axis=1)
        # A product, since a ratio would have to mind the galaxies unasked.
        confident = (total >= MIN_VOTES) & (top >= TOP_FRACTION * total)
        result[name] = _figures(counts[confident].argmax(axis=1), fraction[confident, answers].argmax(axis=1))
    return result


def _figures(truth: npt.NDArray[np.intp], guess: npt.NDArray[np.intp]) -> QuestionFigures:
    if len(truth) == 0:
        return QuestionFigures(0, float("nan"), float("nan"), float("nan"))
    right = truth == guess
    recalls = [right[truth == winner].mean() for winner in np.unique(truth)]
    return QuestionFigures(
        count=len(truth),
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean(recalls)),
        majority=float(np.bincount(truth).max() / len(truth)),
    )


def figures_table(figures: Mapping[str, QuestionFigures]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        "| question | confident galaxies | accuracy | balanced accuracy | majority |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {f.count} | {f.accuracy:.3f} | {f.balanced_accuracy:.3f} | {f.majority:.3f} |"
        if f.count
        else f"| {name} | 0 | | | |"
        for name, f in figures.items()
    ]
    return "\n".join(lines)
