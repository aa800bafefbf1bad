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

"""From Dirichlet concentrations to what volunteers would say."""

from __future__ import annotations

__all__ = ("Posteriors", "expected_fractions", "log_probability", "summarize")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import special

from .beta_mixture import mixture_interval
from .dirichlet_multinomial import log_pmf, outcomes, votes_information
from .questions.tree import QuestionTree

type Floats = npt.NDArray[np.float64]

_BLOCK_VALUES = 500_000
"""Values of the largest temporary array of a block of objects."""

_GRID_VALUES = 160
"""Values per object, sample and answer that intervals need."""


@dataclasses.dataclass(frozen=True)
class Posteriors:
    """What volunteers would say of each object, and how sure that is.

    Rows of objects whose concentrations are not all positive and finite
    are NaN throughout.
    """

    fraction: npt.NDArray[np.float32]
    """Expected vote fraction of each answer among those who are asked the
    question, ``[object, answer]``."""

    fraction_low: npt.NDArray[np.float32]
    """Lower edge of the central interval of the vote fraction,
    ``[object, answer]``."""

    fraction_high: npt.NDArray[np.float32]
    """Upper edge of that interval, ``[object, answer]``."""

    concentration: npt.NDArray[np.float32]
    """Concentrations of the Dirichlet distribution that has the mixture's
    means and the sum of its variances, ``[object, answer]``."""

    asked: npt.NDArray[np.float32]
    """Probability that a volunteer is asked the question,
    ``[object, question]``."""

    entropy: npt.NDArray[np.float32]
    """Entropy of the expected fractions in nats, ``[object, question]``."""

    mutual_info: npt.NDArray[np.float32]
    """Mutual information between the votes of a few volunteers and the
    model's weights, in nats, ``[object, question]``."""

    def __len__(self) -> int:
        return len(self.fraction)


def summarize(
    alpha: npt.NDArray[np.floating], tree: QuestionTree, *, level: float = 0.9, votes: int = 5
) -> Posteriors:
    """Summarize mixtures of Dirichlet distributions, one per question.

    Parameters
    ----------
    alpha
        Concentrations, ``[object, sample, answer]``. The samples are equally
        likely draws of the model's weights.
    tree
        The questions; says which answers belong together.
    level
        Probability within the intervals of the fractions.
    votes
        Number of volunteers whose votes `Posteriors.mutual_info` is about.

    Returns
    -------
    posteriors
        The summary.

    Raises
    ------
    ValueError
        Raised if the shape does not fit the tree, or ``level`` or ``votes``
        is out of range.

    Notes
    -----
    The work goes in blocks of objects, so that memory stays bounded, and in
    double precision.
    """
    alpha = _checked(alpha, tree)
    if not 0.0 < level < 1.0:
        raise ValueError(f"The level of an interval must lie between 0 and 1, not {level}.")
    if votes < 1:
        raise ValueError(f"At least one vote is needed for mutual information, not {votes}.")
    number, samples, answers = alpha.shape
    per_answer = [np.full((number, answers), np.nan, dtype=np.float32) for _ in range(4)]
    per_question = [np.full((number, tree.n_questions), np.nan, dtype=np.float32) for _ in range(3)]
    good = np.flatnonzero(np.all(np.isfinite(alpha) & (alpha > 0.0), axis=(1, 2)))
    joint = max(len(outcomes(len(question.answers), votes)) for question in tree.questions)
    block = max(1, _BLOCK_VALUES // (samples * max(answers * _GRID_VALUES, joint)))
    for start in range(0, len(good), block):
        rows = good[start : start + block]
        part = alpha[rows].astype(np.float64)
        for out, values in zip(per_answer, _answer_values(part, tree, level), strict=True):
            out[rows] = values
        for out, values in zip(per_question, _question_values(part, tree, votes), strict=True):
            out[rows] = values
    return Posteriors(*per_answer, *per_question)


def expected_fractions(alpha: npt.NDArray[np.floating], tree: QuestionTree) -> npt.NDArray[np.float64]:
    """Return the expected vote fraction of each answer, and nothing else.

    Parameters
    ----------
    alpha
        Concentrations, ``[object, sample, answer]``.
    tree
        The questions.

    Returns
    -------
    fraction
        The same as `Posteriors.fraction`, ``[object, answer]``.

    Raises
    ------
    ValueError
        Raised if the shape does not fit the tree.
    """
    alpha = _checked(alpha, tree)
    fraction = np.full((alpha.shape[0], alpha.shape[2]), np.nan)
    good = np.all(np.isfinite(alpha) & (alpha > 0.0), axis=(1, 2))
    part = alpha[good].astype(np.float64)
    fraction[good] = (part / _totals(part, tree)).mean(axis=1)
    return fraction


def log_probability(
    votes: npt.NDArray[np.integer], alpha: npt.NDArray[np.floating], tree: QuestionTree
) -> npt.NDArray[np.float64]:
    """Return how probable votes are, question by question.

    Parameters
    ----------
    votes
        Votes by answer, not negative, ``[object, answer]``.
    alpha
        Concentrations, ``[object, sample, answer]``.
    tree
        The questions.

    Returns
    -------
    log_probability
        Natural logarithm of the mean over samples of the
        Dirichlet-multinomial probability, ``[object, question]``. It is 0
        for a question without votes, and NaN where a concentration of the
        object is not positive and finite.

    Raises
    ------
    ValueError
        Raised if the shapes do not fit, or a vote is negative.
    """
    alpha = _checked(alpha, tree)
    votes = np.asarray(votes)
    if votes.shape != (alpha.shape[0], alpha.shape[2]):
        raise ValueError(f"Votes of shape {votes.shape} do not fit concentrations of shape {alpha.shape}.")
    if not np.issubdtype(votes.dtype, np.integer) or (votes < 0).any():
        raise ValueError("Votes must be whole numbers, not negative.")
    good = np.all(np.isfinite(alpha) & (alpha > 0.0), axis=(1, 2))
    safe = np.where(good[:, np.newaxis, np.newaxis], alpha, 1.0).astype(np.float64)
    result = np.full((len(alpha), tree.n_questions), np.nan)
    for index, question in enumerate(tree.questions):
        part = tree.slices[question.name]
        by_sample = log_pmf(votes[:, np.newaxis, part], safe[..., part])
        largest = by_sample.max(axis=1, keepdims=True)
        mean = np.log(np.exp(by_sample - largest).mean(axis=1)) + largest[:, 0]
        result[good, index] = mean[good]
    return result


def _checked(alpha: npt.NDArray[np.floating], tree: QuestionTree) -> npt.NDArray[np.floating]:
    """Check the shape of concentrations."""
    alpha = np.asarray(alpha)
    if alpha.ndim != 3 or alpha.shape[2] != tree.n_answers or alpha.shape[1] < 1:
        raise ValueError(
            f"Concentrations of shape {alpha.shape} do not fit the tree {tree.name!r}: expected "
            f"[object, sample, answer] with at least one sample and {tree.n_answers} answers."
        )
    return alpha


def _answer_values(alpha: Floats, tree: QuestionTree, level: float) -> tuple[Floats, ...]:
    """Return fractions, both edges of their intervals, concentrations."""
    total = _totals(alpha, tree)
    means = alpha / total
    fraction = means.mean(axis=1)
    shape = fraction.shape
    a = np.moveaxis(alpha, 1, 2).reshape(-1, alpha.shape[1])
    b = np.moveaxis(total - alpha, 1, 2).reshape(-1, alpha.shape[1])
    low, high = mixture_interval(a, b, level)
    concentration = _matched(alpha, total, means, fraction, tree)
    return fraction, low.reshape(shape), high.reshape(shape), concentration


def _question_values(alpha: Floats, tree: QuestionTree, votes: int) -> tuple[Floats, ...]:
    """Return the chance to be asked, entropy and mutual information."""
    means = alpha / _totals(alpha, tree)
    fraction = means.mean(axis=1)
    entropy = np.empty((len(alpha), tree.n_questions))
    information = np.empty_like(entropy)
    for index, question in enumerate(tree.questions):
        part = tree.slices[question.name]
        entropy[:, index] = special.entr(fraction[:, part]).sum(axis=-1)
        information[:, index] = votes_information(alpha[..., part], votes)
    return _asked(means, tree).mean(axis=1), entropy, information


def _totals(alpha: Floats, tree: QuestionTree) -> Floats:
    """Return the sum of each question's concentrations, for each answer."""
    starts = [part.start for part in tree.slices.values()]
    counts = [len(question.answers) for question in tree.questions]
    return np.repeat(np.add.reduceat(alpha, starts, axis=-1), counts, axis=-1)


def _asked(means: Floats, tree: QuestionTree) -> Floats:
    """Return each sample's chance that each question is asked.

    A volunteer is asked a question after giving any of the answers that it
    follows, which exclude each other, so their chances add.
    """
    positions = {question.name: index for index, question in enumerate(tree.questions)}
    asked = np.ones((*means.shape[:2], tree.n_questions))
    for index in tree.ancestry_order:
        parents = tree.questions[index].parents
        if parents:
            asked[..., index] = sum(
                asked[..., positions[name]] * means[..., tree.column_index(name, answer)]
                for name, answer in parents
            )
    return asked


def _matched(alpha: Floats, total: Floats, means: Floats, fraction: Floats, tree: QuestionTree) -> Floats:
    """Return the concentrations of the moment-matched Dirichlet.

    A Dirichlet of means m and total concentration S has the variances
    ``m (1 - m) / (S + 1)``. Matching their sum over the answers to that of
    the mixture, v, gives ``S = sum m (1 - m) / v - 1``.
    """
    starts = [part.start for part in tree.slices.values()]
    counts = [len(question.answers) for question in tree.questions]
    within = (means * (1.0 - means) / (total + 1.0)).mean(axis=1)
    between = ((means - fraction[:, np.newaxis]) ** 2).mean(axis=1)
    variance = np.add.reduceat(within + between, starts, axis=-1)
    spread = np.add.reduceat(fraction * (1.0 - fraction), starts, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        matched = spread / variance - 1.0
    # At a vertex both sums can underflow; any concentration fits there.
    fallback = np.add.reduceat(alpha.mean(axis=1), starts, axis=-1)
    matched = np.where(np.isfinite(matched) & (matched > 0.0), matched, fallback)
    return fraction * np.repeat(matched, counts, axis=-1)
