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

"""Everything that is measured of a model on one sample of galaxies."""

from __future__ import annotations

__all__ = ("GROUPED", "ORDERED", "LabelledPredictions", "SampleEvaluation", "evaluate")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..confident import Confusion, confusion, group_answers
from ..coverage import Coverage, votes_coverage
from ..posteriors import expected_fractions, log_probability
from ..questions.tree import QuestionTree
from .calibration import Reliability, reliability
from .deviations import Deviations, excess_deviations, quantile_groups, truth_deviations
from .likelihood import Likelihoods, oracle_log_probability, votes_likelihoods

type Floats = npt.NDArray[np.float64]

ORDERED: Mapping[str, tuple[str, ...]] = {
    "bulgeSize": ("dominant", "large", "moderate", "small", "none"),
    "spiralWinding": ("tight", "medium", "loose"),
    "spiralArmCount": ("1", "2", "3", "4", "moreThan4"),
}
"""Questions with an order of answers, where neighbours are nearly right."""

GROUPED: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "bar, no or any": ("bar", {"no": ("no",), "any": ("strong", "weak")}),
}
"""Questions made of others by adding up answers."""

VOTE_EDGES = (1, 5, 10, 20, 30)
"""Lower edges of the groups by number of votes on a question."""


@dataclasses.dataclass(frozen=True)
class LabelledPredictions:
    """Predictions for ``n`` galaxies, and what is known of these."""

    name: str
    """Name of the sample."""

    tree: QuestionTree
    """The questions."""

    alpha: npt.NDArray[np.float32]
    """Predicted concentrations, ``[n, sample, answer]``."""

    votes: npt.NDArray[np.int32]
    """Votes, ``[n, answer]``."""

    probabilities: npt.NDArray[np.floating] | None = None
    """True probabilities of the answers, ``[n, answer]``, if known."""

    concentration: float = np.inf
    """How votes scatter around these: the sum of a Dirichlet's parameters."""

    covariates: Mapping[str, npt.NDArray[np.floating]] = dataclasses.field(default_factory=dict)
    """By name, what the difficulty may depend on, ``[n]`` each."""

    fair_votes: npt.NDArray[np.int32] | None = None
    """Votes of other volunteers, ``[n, answer]``, if `votes` decided which
    galaxies are here and so are no fair draw. Coverage, reliability and
    likelihood are then measured by these."""

    def __post_init__(self) -> None:
        shape = (len(self.votes), self.tree.n_answers)
        fits = self.votes.shape == shape == (self.alpha.shape[0], self.alpha.shape[2])
        for values in (self.probabilities, self.fair_votes):
            fits = fits and (values is None or values.shape == shape)
        if not fits or any(values.shape != shape[:1] for values in self.covariates.values()):
            raise ValueError(f"Predictions, votes and what else is known of sample {self.name!r} do not fit.")
        if not (np.isfinite(self.alpha).all() and (self.alpha > 0.0).all()):
            raise ValueError(
                f"Concentrations predicted for sample {self.name!r} are not positive and finite."
            )


@dataclasses.dataclass(frozen=True)
class SampleEvaluation:
    """The measures of one sample."""

    name: str
    """Name of the sample."""

    number: int
    """Number of galaxies."""

    tree: QuestionTree
    """The questions."""

    confusion: Mapping[str, Confusion]
    """On confident galaxies, by question, and by the names of `GROUPED`."""

    oracle: Mapping[str, Confusion] | None
    """The same for guesses from the true probabilities."""

    truth: Deviations | None
    """Deviations from the true probabilities."""

    excess: Deviations
    """Deviations from the observed fractions, above their floor."""

    by: Mapping[str, tuple[Floats, Deviations]]
    """Edges of groups and deviations in them, by what the groups are of:
    deviations from the truth if that is known, or else the excess."""

    coverage: Coverage
    """Coverage of votes."""

    reliability: Mapping[str, Reliability]
    """Reliability by question."""

    likelihoods: Likelihoods
    """Where the model is between constant and oracle."""

    log_model: Floats
    """Log-probability of each galaxy's votes, ``[n, question]``."""

    asked: npt.NDArray[np.int64]
    """Votes on each question, as `log_model` counts them,
    ``[n, question]``."""

    selected: bool
    """Whether votes decided which galaxies are in the sample."""


def evaluate(predictions: LabelledPredictions) -> SampleEvaluation:
    """Measure a model on one sample.

    Parameters
    ----------
    predictions
        What it predicts for the sample, and what is known of that.

    Returns
    -------
    evaluation
        The measures.
    """
    p = predictions
    fraction = expected_fractions(p.alpha, p.tree)
    fair = p.votes if p.fair_votes is None else p.fair_votes
    log_model = log_probability(fair, p.alpha, p.tree)
    log_oracle = None
    if p.probabilities is not None:
        log_oracle = oracle_log_probability(fair, p.probabilities, p.tree, concentration=p.concentration)
    return SampleEvaluation(
        name=p.name,
        number=len(p.votes),
        tree=p.tree,
        confusion=_confusions(p.votes, fraction, p.tree),
        oracle=None if p.probabilities is None else _confusions(p.votes, p.probabilities, p.tree),
        truth=None
        if p.probabilities is None
        else truth_deviations(fraction, p.probabilities, p.votes, p.tree),
        excess=excess_deviations(fraction, p.votes, p.tree),
        by=_by_covariate(p, fraction),
        coverage=votes_coverage(fair, p.alpha, p.tree),
        reliability={
            name: reliability(fair[:, part], fraction[:, part]) for name, part in p.tree.slices.items()
        },
        likelihoods=votes_likelihoods(fair, log_model, p.tree, log_oracle),
        log_model=log_model,
        asked=_asked(fair, p.tree),
        selected=p.fair_votes is not None,
    )


def _asked(votes: npt.NDArray[np.int32], tree: QuestionTree) -> npt.NDArray[np.int64]:
    """Return the number of votes on each question, ``[n, question]``."""
    return np.stack([votes[:, part].sum(axis=1) for part in tree.slices.values()], axis=1).astype(np.int64)


def _confusions(
    votes: npt.NDArray[np.int32], fraction: npt.NDArray[np.floating], tree: QuestionTree
) -> dict[str, Confusion]:
    """Compare winners with guesses, question by question."""
    result = {
        question.name: confusion(
            votes[:, tree.slices[question.name]], fraction[:, tree.slices[question.name]], question.answers
        )
        for question in tree.questions
    }
    for name, (base, groups) in GROUPED.items():
        if base not in tree.slices or set(tree.question(base).answers) != set().union(*groups.values()):
            continue
        part, answers = tree.slices[base], tree.question(base).answers
        result[name] = confusion(
            group_answers(votes[:, part], answers, groups),
            group_answers(fraction[:, part], answers, groups),
            tuple(groups),
        )
    return result


def _by_covariate(p: LabelledPredictions, fraction: Floats) -> dict[str, tuple[Floats, Deviations]]:
    """Measure deviations in groups of galaxies."""

    def measure(groups: npt.NDArray[np.int64], min_votes: int = 10) -> Deviations:
        if p.probabilities is None:
            return excess_deviations(fraction, p.votes, p.tree, min_votes=min_votes, groups=groups)
        return truth_deviations(
            fraction, p.probabilities, p.votes, p.tree, min_votes=min_votes, groups=groups
        )

    asked = _asked(p.votes, p.tree)
    edges = np.array([*VOTE_EDGES, max(int(asked.max(initial=0)) + 1, VOTE_EDGES[-1] + 1)])
    result = {"votes": (edges.astype(np.float64), measure(np.digitize(asked, edges) - 1, min_votes=1))}
    for name, values in p.covariates.items():
        groups, borders = quantile_groups(values)
        if len(borders):
            result[name] = (borders, measure(groups))
    return result
