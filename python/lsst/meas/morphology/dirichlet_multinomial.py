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

"""The Dirichlet-multinomial distribution of votes on one question."""

from __future__ import annotations

__all__ = ("log_pmf", "outcomes", "votes_information")

import functools
import itertools

import numpy as np
import numpy.typing as npt
from scipy import special

type Floats = npt.NDArray[np.float64]

_MAX_OUTCOMES = 1_000_000


def log_pmf(votes: npt.NDArray[np.integer], alpha: Floats) -> Floats:
    """Return the log-probability of votes given concentrations.

    Parameters
    ----------
    votes
        Votes by answer, not negative, ``[..., answer]``.
    alpha
        Concentrations, positive, ``[..., answer]``; broadcast against
        ``votes``.

    Returns
    -------
    log_probability
        Natural logarithm, ``[...]``; exactly 0 where there are no votes.

    Notes
    -----
    With N votes in all and S the sum of the concentrations,
    ``ln N! - sum ln k! + sum [ln G(alpha + k) - ln G(alpha)]
    - [ln G(S + N) - ln G(S)]``, with G the gamma function.
    """
    counts = np.asarray(votes, dtype=np.float64)
    total, concentration = counts.sum(axis=-1), alpha.sum(axis=-1)
    arrangements = special.gammaln(total + 1.0) - special.gammaln(counts + 1.0).sum(axis=-1)
    parts = _log_rising(alpha, counts).sum(axis=-1)
    return np.asarray(arrangements + parts - _log_rising(concentration, total))


def _log_rising(start: Floats, count: Floats) -> Floats:
    """Return ln [G(start + count) / G(start)], good for large ``start`` too.

    The difference of the two gamma functions would cancel there.
    """
    positive = np.maximum(count, 1.0)
    return np.asarray(np.where(count > 0.0, special.gammaln(positive) - special.betaln(start, positive), 0.0))


@functools.lru_cache(maxsize=64)
def outcomes(answers: int, votes: int) -> npt.NDArray[np.int64]:
    """Return every way in which votes can fall on the answers.

    Parameters
    ----------
    answers
        Number of answers.
    votes
        Number of votes, each for one answer.

    Returns
    -------
    counts
        Votes by answer, ``[outcome, answer]``; each row sums to ``votes``.

    Raises
    ------
    ValueError
        Raised if there are more than a million outcomes.
    """
    number = int(special.comb(votes + answers - 1, answers - 1, exact=True))
    if number > _MAX_OUTCOMES:
        raise ValueError(f"{votes} votes on {answers} answers have {number} outcomes, too many to enumerate.")
    # Stars and bars: where the bars stand says how many stars lie between.
    bars = np.array(list(itertools.combinations(range(votes + answers - 1), answers - 1)), dtype=np.int64)
    bars = bars.reshape(number, answers - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=-1)
    edges[:, -1] = votes + answers - 1
    counts = np.diff(edges, axis=1) - 1
    counts.setflags(write=False)
    return counts


@functools.lru_cache(maxsize=64)
def _design(answers: int, votes: int) -> tuple[Floats, Floats]:
    """Return a matrix that picks the log rising factorials of outcomes.

    ``design`` is ``[answer * votes, outcome]`` and has a one where the
    outcome has that answer at least so many times; ``arrangements``
    ``[outcome]`` is the log of the multinomial coefficient.
    """
    counts = outcomes(answers, votes)
    reached = counts[:, :, np.newaxis] >= np.arange(1, votes + 1)
    design = reached.reshape(len(counts), answers * votes).T.astype(np.float64)
    arrangements = special.gammaln(votes + 1.0) - special.gammaln(counts + 1.0).sum(axis=-1)
    return design, arrangements


def votes_information(alpha: Floats, votes: int) -> Floats:
    """Return the mutual information of votes and weights, in nats.

    Parameters
    ----------
    alpha
        Concentrations of each object for each sample of the weights,
        positive, ``[object, sample, answer]``.
    votes
        Number of volunteers who would answer.

    Returns
    -------
    information
        Entropy of the mean over samples of the distribution of joint
        outcomes, less the mean of its entropies, ``[object]``.

    Notes
    -----
    This is the acquisition function of Walmsley et al. 2020 (BALD on
    votes), summed over the joint outcomes of all answers: sums over the
    answers' marginals would count the same information several times.
    """
    objects, samples, answers = alpha.shape
    design, arrangements = _design(answers, votes)
    ranks = np.arange(votes, dtype=np.float64)
    factors = np.log(alpha[..., np.newaxis] + ranks).reshape(objects, samples, answers * votes)
    whole = np.log(alpha.sum(axis=-1)[..., np.newaxis] + ranks).sum(axis=-1)
    log_p = factors @ design
    log_p += arrangements
    log_p -= whole[..., np.newaxis]
    p = np.exp(log_p)
    log_p *= p
    expected = -log_p.sum(axis=-1).mean(axis=-1)
    total = special.entr(p.mean(axis=1)).sum(axis=-1)
    return np.asarray(np.maximum(total - expected, 0.0))
