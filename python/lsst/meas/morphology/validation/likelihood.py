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

"""The likelihood of votes, between ignorance and knowing everything."""

from __future__ import annotations

__all__ = ("Likelihoods", "constant_concentrations", "oracle_log_probability", "votes_likelihoods")

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import optimize

from ..dirichlet_multinomial import log_pmf
from ..posteriors import log_probability
from ..questions.tree import QuestionTree

type Floats = npt.NDArray[np.float64]

_LARGEST = 1e6
"""Sum of concentrations beyond which votes are as good as multinomial."""

_SMALLEST = 1e-4
"""Least concentration of an answer, for those that got no vote."""


@dataclasses.dataclass(frozen=True)
class Likelihoods:
    """Mean log-probability of the votes, in nats for each galaxy.

    Means are over the galaxies that were asked the question; `total` sums
    the questions' logarithms over all galaxies.
    """

    questions: tuple[str, ...]
    """Names of the questions."""

    count: npt.NDArray[np.int64]
    """Galaxies that were asked, ``[question]``."""

    constant: Floats
    """Of the best constant Dirichlet-multinomial, ``[question]``."""

    model: Floats
    """Of the model, ``[question]``."""

    oracle: Floats | None
    """Of the distribution that the votes were drawn from, ``[question]``,
    where it is known."""

    total: tuple[float, float, float]
    """Constant, model and oracle, all questions together, for each galaxy;
    the oracle's is NaN if unknown."""

    @property
    def gained(self) -> Floats:
        """Part of the way from constant to oracle, ``[question]``."""
        if self.oracle is None:
            return np.full(len(self.questions), np.nan)
        return _gained(self.constant, self.model, self.oracle)

    @property
    def total_gained(self) -> float:
        """Part of the way, all questions together."""
        return float(_gained(*(np.asarray(value) for value in self.total)))


def votes_likelihoods(
    votes: npt.NDArray[np.integer],
    log_model: Floats,
    tree: QuestionTree,
    log_oracle: Floats | None = None,
) -> Likelihoods:
    """Place a model between the best constant and the oracle.

    Parameters
    ----------
    votes
        Votes, ``[galaxy, answer]``.
    log_model
        The model's log-probabilities of the votes, ``[galaxy, question]``,
        as by `~lsst.meas.morphology.posteriors.log_probability`.
    tree
        The questions.
    log_oracle
        The oracle's, if there is one.

    Returns
    -------
    likelihoods
        The means. The constant is fitted to the very votes it is judged by,
        which favours it.
    """
    log_constant = np.zeros((len(votes), tree.n_questions))
    asked = np.zeros((len(votes), tree.n_questions), dtype=np.bool_)
    for index, part in enumerate(tree.slices.values()):
        own = votes[:, part]
        asked[:, index] = own.sum(axis=1) > 0
        log_constant[:, index] = log_pmf(own, constant_concentrations(own))
    parts = [log_constant, log_model, *([] if log_oracle is None else [log_oracle])]
    means = [_mean_where(values, asked) for values in parts]
    totals = [float(v.sum(axis=1).mean()) if len(v) else float("nan") for v in parts]
    return Likelihoods(
        questions=tuple(tree.slices),
        count=asked.sum(axis=0),
        constant=means[0],
        model=means[1],
        oracle=None if log_oracle is None else means[2],
        total=(totals[0], totals[1], float("nan") if log_oracle is None else totals[2]),
    )


def oracle_log_probability(
    votes: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
    tree: QuestionTree,
    *,
    concentration: float = np.inf,
) -> Floats:
    """Return how probable votes are under what they were drawn from.

    Parameters
    ----------
    votes
        Votes, ``[galaxy, answer]``.
    probabilities
        True probability of each answer, ``[galaxy, answer]``.
    tree
        The questions.
    concentration
        Sum of each question's concentrations with which volunteers scatter
        around the probabilities; infinite for multinomial votes.

    Returns
    -------
    log_probability
        Natural logarithm, ``[galaxy, question]``.
    """
    strength = concentration if np.isfinite(concentration) else 1e12
    alpha = np.maximum(np.asarray(probabilities, dtype=np.float64), 1e-12) * strength
    return log_probability(votes, alpha[:, np.newaxis], tree)


def constant_concentrations(votes: npt.NDArray[np.integer]) -> Floats:
    """Fit one Dirichlet-multinomial to all galaxies, by likelihood.

    Parameters
    ----------
    votes
        Votes on one question, ``[galaxy, answer]``.

    Returns
    -------
    concentrations
        The most likely ones, ``[answer]``; ones if there are no votes.

    Notes
    -----
    The log-likelihood ``sum_k sum_j N_kj ln(alpha_k + j)
    - sum_j N_j ln(S + j)`` needs only how many galaxies have more than j
    votes, for each answer (``N_kj``) and in all (``N_j``), so that its cost
    does not depend on the number of galaxies (Minka 2000).
    """
    if not votes.any():
        return np.ones(votes.shape[1])
    own = [_exceeding(column) for column in votes.T]
    whole = _exceeding(votes.sum(axis=1))
    ranks = np.arange(len(whole), dtype=np.float64)
    number = float(whole[0])

    def negative(log_alpha: Floats) -> tuple[float, Floats]:
        alpha = np.exp(log_alpha)
        value = -float(whole @ np.log(alpha.sum() + ranks))
        common = float(whole @ (1.0 / (alpha.sum() + ranks)))
        slope = np.full(len(alpha), -common)
        for k, exceeding in enumerate(own):
            shifted = alpha[k] + ranks[: len(exceeding)]
            value += float(exceeding @ np.log(shifted))
            slope[k] += float(exceeding @ (1.0 / shifted))
        return -value / number, -slope * alpha / number

    share = np.maximum(votes.sum(axis=0) / votes.sum(), 1e-3)
    bounds = [(np.log(_SMALLEST), np.log(_LARGEST))] * len(share)
    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9}
    best = optimize.minimize(
        negative, np.log(2.0 * share), jac=True, bounds=bounds, method="L-BFGS-B", options=options
    )
    return np.asarray(np.exp(best.x))


def _exceeding(counts: npt.NDArray[np.integer]) -> Floats:
    """Return how many counts are above 0, 1, ... up to the largest."""
    histogram = np.bincount(counts, minlength=1)
    return np.asarray(histogram[::-1].cumsum()[::-1][1:], dtype=np.float64)


def _mean_where(values: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """Average over the galaxies where something is there, ``[question]``."""
    number = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0))


def _gained(constant: Floats, model: Floats, oracle: Floats) -> Floats:
    """Return the part of the way; NaN where there is no way to go."""
    way = np.asarray(oracle - constant, dtype=np.float64)
    there = way > 0.0
    return np.asarray(
        np.divide(model - constant, way, out=np.full(way.shape, np.nan), where=there), dtype=np.float64
    )
