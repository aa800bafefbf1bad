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

"""Calibrating posteriors on votes that training has not seen."""

from __future__ import annotations

__all__ = ("LEVELS", "MIN_GALAXIES", "CalibrationFit", "fit_calibration", "fit_factors", "log_likelihood")

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import optimize

from ..coverage import LEVELS, votes_coverage
from ..dirichlet_multinomial import log_pmf
from ..questions.tree import QuestionTree

MIN_GALAXIES = 30
"""A question that fewer galaxies were asked is left as it is."""

LARGEST_FACTOR = 20.0
"""Factors lie between this and its inverse."""

type Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class CalibrationFit:
    """Factors of the concentrations, and what they gain."""

    factors: Mapping[str, float]
    """Factor by question."""

    gain: Mapping[str, float]
    """Gain in nats per galaxy asked, by question, on galaxies that were not
    used: each half is judged with the factors of the other."""

    before: Mapping[str, tuple[float, ...]]
    """Share of the votes in the central intervals of `LEVELS`, by question,
    before; see `~lsst.meas.morphology.coverage.votes_coverage`."""

    after: Mapping[str, tuple[float, ...]]
    """The same with the factors."""


def fit_calibration(
    votes: npt.NDArray[np.integer], alpha: npt.NDArray[np.floating], tree: QuestionTree, *, seed: int = 1
) -> CalibrationFit:
    r"""Fit a factor of each question's concentrations.

    Parameters
    ----------
    votes
        Vote counts, ``[n, a]``, of galaxies that the model has not seen.
    alpha
        Concentrations that the model gave them, ``[n, t, a]``.
    tree
        The questions.
    seed
        Seed of the halves.

    Returns
    -------
    fit
        The factors, fitted to all galaxies, and what they gain.

    Notes
    -----
    The factor :math:`s_q` makes the likelihood of the votes largest, the
    mean over samples of Dirichlet-multinomials with concentrations
    :math:`s_q\alpha`. Expected fractions do not depend on it, so the order
    of the answers stays. A question is left as it is where there are too few
    galaxies to fit it, or where its factor does not help the other half.
    """
    factors, gain = fit_factors(votes, alpha, tree, seed=seed)
    scale = np.ones(tree.n_answers)
    for question, factor in factors.items():
        scale[tree.slices[question]] = factor
    return CalibrationFit(factors, gain, _coverage(votes, alpha, tree), _coverage(votes, alpha * scale, tree))


def fit_factors(
    votes: npt.NDArray[np.integer], alpha: npt.NDArray[np.floating], tree: QuestionTree, *, seed: int = 1
) -> tuple[dict[str, float], dict[str, float]]:
    """Fit the factors alone, without measuring coverage, which takes longer.

    Parameters
    ----------
    votes, alpha, tree, seed
        As in `fit_calibration`.

    Returns
    -------
    factors, gain
        Those of the questions that gain, by question.
    """
    half = np.random.default_rng(seed).random(len(votes)) < 0.5
    factors, gain = {}, {}
    for question, answers in tree.slices.items():
        asked = votes[:, answers].sum(axis=1) > 0
        if asked.sum() < MIN_GALAXIES:
            continue
        k, a = votes[asked, answers], alpha[asked, :, answers].astype(np.float64)
        first = half[asked]
        gained = 0.0
        for fitted in (first, ~first):
            if not 0 < fitted.sum() < len(fitted):
                continue
            factor = _best_factor(k[fitted], a[fitted])
            other = ~fitted
            gained += float(
                np.sum(_log_mixture(k[other], a[other] * factor) - _log_mixture(k[other], a[other]))
            )
        if gained > 0.0:
            factors[question] = _best_factor(k, a)
            gain[question] = gained / len(k)
    return factors, gain


def _coverage(
    votes: npt.NDArray[np.integer], alpha: npt.NDArray[np.floating], tree: QuestionTree
) -> dict[str, tuple[float, ...]]:
    """Return the coverage of each question that enough were asked."""
    found = votes_coverage(votes, alpha, tree)
    return {
        question: tuple(found.by_answer[:, answers].mean(axis=1).tolist())
        for question, answers in tree.slices.items()
        if found.count[answers.start] >= MIN_GALAXIES
    }


def log_likelihood(
    votes: npt.NDArray[np.integer], alpha: npt.NDArray[np.floating], tree: QuestionTree
) -> float:
    """Return the log-likelihood of votes, nats per galaxy.

    Parameters
    ----------
    votes
        Vote counts, ``[n, a]``.
    alpha
        Concentrations, ``[n, t, a]``.
    tree
        The questions.
    """
    parts = [
        _log_mixture(votes[:, answers], alpha[:, :, answers].astype(np.float64))
        for answers in tree.slices.values()
    ]
    return float(np.sum(parts, axis=0).mean())


def _log_mixture(votes: npt.NDArray[np.integer], alpha: Floats) -> Floats:
    """Return the log-probability ``[n]`` of votes on one question."""
    each = log_pmf(votes[:, np.newaxis], alpha)
    top = each.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(each - top).mean(axis=1)) + top[:, 0])


def _best_factor(votes: npt.NDArray[np.integer], alpha: Floats) -> float:
    """Return the factor under which votes on one question are likeliest."""
    edge = math.log(LARGEST_FACTOR)
    result = optimize.minimize_scalar(
        lambda log: -float(_log_mixture(votes, alpha * math.exp(log)).sum()),
        bounds=(-edge, edge),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(math.exp(result.x))
