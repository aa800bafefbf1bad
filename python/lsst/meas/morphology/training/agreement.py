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

__all__ = ("QuestionFigures", "figures_table", "question_figures")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..confident import confusion
from ..questions.tree import QuestionTree


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

    Raises
    ------
    ValueError
        Raised if fractions of confident galaxies are not finite.
    """
    result = {}
    for question in tree.questions:
        part = tree.slices[question.name]
        found = confusion(votes[:, part], fraction[:, part], question.answers)
        result[question.name] = QuestionFigures(
            found.count, found.accuracy, found.balanced_accuracy, found.majority
        )
    return result


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
