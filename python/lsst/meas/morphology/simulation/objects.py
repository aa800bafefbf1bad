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

"""Simulated objects and their votes, before anyone takes pictures."""

from __future__ import annotations

__all__ = ("CHUNK", "SimulatedObjects", "draw_objects", "select_by_winner")

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from ..confident import confident
from ..errors import MorphologyError
from ..questions.tree import QuestionTree
from .galaxies import GalaxyParameters, Mix, draw_parameters
from .observing import Conditions, draw_conditions
from .votes import draw_votes, true_probabilities

CHUNK = 4096
"""Objects drawn from one stream of random numbers."""


@dataclasses.dataclass(frozen=True)
class SimulatedObjects:
    """``n`` objects, under which conditions they are seen, and their votes."""

    parameters: GalaxyParameters
    """What they are."""

    conditions: Conditions
    """Seeing and depth."""

    probabilities: npt.NDArray[np.float32]
    """Probability of each answer, ``[n, answer]``."""

    votes: npt.NDArray[np.int32]
    """Votes, ``[n, answer]``."""

    def __len__(self) -> int:
        return len(self.votes)

    def __getitem__(self, index: slice | npt.NDArray[np.intp]) -> Self:
        """Return the objects that a slice or index array selects."""
        seen = self.conditions
        return type(self)(
            self.parameters[index],
            Conditions(seen.bands, seen.fwhm[index], seen.visits[index], seen.sigma[index]),
            self.probabilities[index],
            self.votes[index],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join several sets of objects, at least one."""
        seen = [part.conditions for part in parts]
        return cls(
            GalaxyParameters.concatenate([part.parameters for part in parts]),
            Conditions(
                seen[0].bands,
                np.concatenate([s.fwhm for s in seen]),
                np.concatenate([s.visits for s in seen]),
                np.concatenate([s.sigma for s in seen]),
            ),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.votes for part in parts]),
        )


def draw_objects(
    seed: int,
    tree: QuestionTree,
    *,
    bands: tuple[str, ...],
    mix: Mix,
    magnitude_limit: float,
    volunteers: tuple[int, int],
) -> Iterator[SimulatedObjects]:
    """Draw objects without end, in chunks.

    Parameters
    ----------
    seed
        Seed of the stream; each chunk has a stream of its own.
    tree
        The tree whose questions are asked.
    bands
        Names of the bands.
    mix
        ``training`` or ``natural``.
    magnitude_limit
        Faintest magnitude in the i band.
    volunteers
        Smallest and largest number of volunteers per object.

    Yields
    ------
    objects
        The next `CHUNK` objects.
    """
    for chunk in itertools.count():
        rng = np.random.default_rng([seed, 0, chunk])
        parameters = draw_parameters(rng, CHUNK, mix=mix, magnitude_limit=magnitude_limit)
        conditions = draw_conditions(rng, CHUNK, bands)
        probabilities = true_probabilities(parameters, conditions, tree)
        votes = draw_votes(rng, probabilities, tree, volunteers=volunteers)
        yield SimulatedObjects(parameters, conditions, probabilities, votes)


def select_by_winner(
    chunks: Iterable[SimulatedObjects],
    tree: QuestionTree,
    *,
    per_answer: int,
    without: Collection[str] = (),
    most: int = 8_000_000,
    complete: bool = True,
) -> SimulatedObjects:
    """Take objects until every answer is the winner of enough of them.

    Parameters
    ----------
    chunks
        Objects to choose from; they are taken in their order, if a class
        that they belong to is still short.
    tree
        The questions.
    per_answer
        Objects wanted for each answer that are confident in it.
    without
        Answers, ``question_answer``, that need none.
    most
        Objects to look at before giving up.
    complete
        Whether it is an error if some answers are still short then.

    Returns
    -------
    objects
        Those taken.

    Raises
    ------
    MorphologyError
        Raised if some answers are short and must not be.
    """
    wanted = np.array([0 if column in without else per_answer for column in tree.answer_columns])
    taken = []
    seen = 0
    for chunk in chunks:
        wins = _wins(chunk.votes, tree)
        rows = []
        for row in np.flatnonzero((wins & (wanted > 0)).any(axis=1)):
            if (wins[row] & (wanted > 0)).any():
                rows.append(row)
                wanted -= wins[row]
        taken.append(chunk[np.asarray(rows, dtype=np.intp)])
        seen += len(chunk)
        if (wanted <= 0).all() or seen >= most:
            break
    if not complete or (wanted <= 0).all():
        return SimulatedObjects.concatenate(taken)
    short = [column for column, number in zip(tree.answer_columns, wanted, strict=True) if number > 0]
    raise MorphologyError(
        f"After {seen} objects there are fewer than {per_answer} confident ones of {', '.join(short)}."
    )


def _wins(votes: npt.NDArray[np.int32], tree: QuestionTree) -> npt.NDArray[np.bool_]:
    """Return which answers each object is confident in, ``[n, answer]``."""
    wins = np.zeros(votes.shape, dtype=np.bool_)
    for part in tree.slices.values():
        rows = np.flatnonzero(confident(votes[:, part]))
        wins[rows, part.start + votes[rows, part].argmax(axis=1)] = True
    return wins
