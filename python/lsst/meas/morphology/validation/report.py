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

"""An evaluation as text for people."""

from __future__ import annotations

__all__ = ("evaluation_text",)

from collections.abc import Iterator, Sequence

import numpy as np

from .bars import Bar, check_bars
from .deviations import Deviations
from .evaluation import ORDERED, SampleEvaluation


def evaluation_text(evaluations: Sequence[SampleEvaluation], heading: str, *, bars: bool = True) -> str:
    """Return the evaluation as text, some two pages for each sample.

    Parameters
    ----------
    evaluations
        The samples.
    heading
        First line.
    bars
        Whether to say what the default model is held to.

    Returns
    -------
    text
        Lines of at most 150 characters.
    """
    lines = [heading, "=" * len(heading), ""]
    if bars:
        lines += _bar_lines([bar for evaluation in evaluations for bar in check_bars(evaluation)])
    for evaluation in evaluations:
        title = f"Sample {evaluation.name}: {evaluation.number} galaxies"
        lines += [title, "-" * len(title), ""]
        lines += [*_confident_lines(evaluation), "", *_answer_lines(evaluation), ""]
        lines += [*_group_lines(evaluation), "", *_likelihood_lines(evaluation), ""]
    return "\n".join(lines)


def _bar_lines(bars: Sequence[Bar]) -> Iterator[str]:
    if not bars:
        return
    yield "What the default model is held to"
    yield f"{'sample':<11}{'':<56}{'value':>7}{'bar':>8}{'oracle':>8}{'majority':>9}"
    for bar in bars:
        sign = ">=" if bar.at_least else "<="
        yield (
            f"{bar.sample:<11}{bar.what:<56}{_number(bar.value):>7}{sign}{bar.bar:>6.3f}"
            f"{_number(bar.oracle):>8}{_number(bar.majority):>9}  {'met' if bar.met else 'MISSED'}"
            f"{'; ' + bar.remark if bar.remark else ''}"
        )
    yield ""


def _confident_lines(evaluation: SampleEvaluation) -> Iterator[str]:
    yield "Confident galaxies: at least 20 votes on the question, at least 80 % of them for one answer"
    yield (
        f"{'question':<18}{'galaxies':>9}{'accuracy':>9}{'oracle':>8}{'majority':>9}{'balanced':>9}{'oracle':>8}"
        f"{'within 1':>9}{'oracle':>8}"
    )
    for name, found in evaluation.confusion.items():
        oracle = evaluation.oracle[name] if evaluation.oracle else None
        order = ORDERED.get(name, ())
        near = found.within_one(order) if order else np.nan
        best = oracle.within_one(order) if oracle and order else np.nan
        yield (
            f"{name:<18}{found.count:>9}{_number(found.accuracy):>9}"
            f"{_number(oracle.accuracy if oracle else np.nan):>8}{_number(found.majority):>9}"
            f"{_number(found.balanced_accuracy):>9}"
            f"{_number(oracle.balanced_accuracy if oracle else np.nan):>8}"
            f"{_number(near):>9}{_number(best):>8}"
        )


def _answer_lines(evaluation: SampleEvaluation) -> Iterator[str]:
    deviations = evaluation.truth if evaluation.truth is not None else evaluation.excess
    what = "|p - p_true|" if evaluation.truth is not None else "excess"
    yield "Answers: on confident galaxies; deviations with 10 votes or more; coverage of the votes"
    yield (
        f"{'answer':<35}{'won':>6}{'precis.':>8}{'recall':>8}{'F1':>8}{what:>14}{'galaxies':>9}"
        f"{'50 %':>8}{'90 %':>8}"
    )
    coverage = evaluation.coverage
    for question in evaluation.tree.questions:
        found = evaluation.confusion[question.name]
        for k, answer in enumerate(question.answers):
            column = evaluation.tree.slices[question.name].start + k
            shares = coverage.by_answer[:2, column]
            yield (
                f"{question.name + '_' + answer:<35}{found.winners[k]:>6}{_number(found.precision[k]):>8}"
                f"{_number(found.recall[k]):>8}{_number(found.f1[k]):>8}"
                f"{_number(deviations.mean[0, column]):>14}{deviations.count[0, column]:>9}"
                f"{_number(shares[0]):>8}{_number(shares[1]):>8}"
            )
    yield (
        f"{'all':<65}{_number(deviations.over_answers()[0]):>14}{'':>9}"
        + "".join(f"{_number(share):>8}" for share in coverage.pooled[:2])
    ).rstrip()


def _group_lines(evaluation: SampleEvaluation) -> Iterator[str]:
    kind = "from the truth" if evaluation.truth is not None else "in excess of the floor"
    yield f"Deviations {kind}, averaged over answers, in groups of galaxies"
    for by, (edges, deviations) in evaluation.by.items():
        yield f"{by:<11}" + "".join(
            _group(edges[k], edges[k + 1], deviations, k) for k in range(len(edges) - 1)
        )


def _group(low: float, high: float, deviations: Deviations, k: int) -> str:
    value = deviations.over_answers()[k] if k < len(deviations.mean) else np.nan
    return f"  {low:.4g}-{high:.4g}: {_number(value):<6}"


def _likelihood_lines(evaluation: SampleEvaluation) -> Iterator[str]:
    found = evaluation.likelihoods
    if evaluation.selected:
        yield "Votes chose these galaxies; coverage, and what follows, is of other volunteers' votes"
    yield "Log-likelihood, nats for each galaxy that was asked; expected calibration error of the votes"
    yield (
        f"{'question':<18}{'galaxies':>9}{'constant':>10}{'model':>10}{'oracle':>10}{'way':>8}{'calibration':>13}"
    )
    for k, name in enumerate(found.questions):
        oracle = np.nan if found.oracle is None else found.oracle[k]
        yield (
            f"{name:<18}{found.count[k]:>9}{_number(found.constant[k]):>10}{_number(found.model[k]):>10}"
            f"{_number(oracle):>10}{_number(found.gained[k]):>8}{_number(evaluation.reliability[name].error):>13}"
        )
    constant, model, oracle = found.total
    yield (
        f"{'all':<18}{evaluation.number:>9}{_number(constant):>10}{_number(model):>10}{_number(oracle):>10}"
        f"{_number(found.total_gained):>8}"
    )


def _number(value: float) -> str:
    """Return a number to three places, a dash if there is none."""
    return f"{value:.3f}" if np.isfinite(value) else "-"
