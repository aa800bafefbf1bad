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

"""What the default model is held to."""

from __future__ import annotations

__all__ = ("CORE", "Bar", "check_bars")

import dataclasses
from collections.abc import Iterator

import numpy as np

from ..coverage import Coverage
from .deviations import Deviations
from .evaluation import ORDERED, SampleEvaluation

CORE = ("smoothOrFeatured", "diskEdgeOn", "howRounded", "merging", "hasSpiralArms")
"""The questions that matter most."""

_ACCURACY = dict.fromkeys(CORE[:4], 0.98) | {"hasSpiralArms": 0.97}
_BALANCED = {"bar, no or any": 0.90, "edgeOnBulge": 0.85}
_WITHIN_ONE = {"bulgeSize": 0.80, "spiralWinding": 0.80, "spiralArmCount": 0.80}
_MANY = 1000
"""Galaxies from which an answer's coverage is judged by itself."""

_SOME = 100
"""Galaxies from which an answer may be named the worst."""


@dataclasses.dataclass(frozen=True)
class Bar:
    """One number and the bar that it ought to reach."""

    sample: str
    """Name of the sample."""

    what: str
    """What is measured."""

    value: float
    """How it came out."""

    bar: float
    """The least, or largest, value wanted."""

    at_least: bool = True
    """Whether larger is better."""

    oracle: float = float("nan")
    """What the true probabilities reach."""

    majority: float = float("nan")
    """What guessing the commonest answer would reach."""

    remark: str = ""
    """What else is to be said."""

    @property
    def met(self) -> bool:
        """Whether the bar is reached; not so if there is no number."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def check_bars(evaluation: SampleEvaluation) -> tuple[Bar, ...]:
    """Compare a sample's figures with the bars of the default model.

    Parameters
    ----------
    evaluation
        The sample. If its galaxies were selected on their votes, the bars
        are those of rare answers; else those of a sample as on the sky.

    Returns
    -------
    bars
        Those for which the tree has the questions.
    """
    if evaluation.selected:
        return tuple(_rare(evaluation))
    return (*_common(evaluation), *_honest(evaluation))


def _rare(evaluation: SampleEvaluation) -> Iterator[Bar]:
    for names, within in ((_BALANCED, False), (_WITHIN_ONE, True)):
        for name, bar in names.items():
            if name not in evaluation.confusion:
                continue
            confusions = [evaluation.confusion[name]]
            confusions += [evaluation.oracle[name]] if evaluation.oracle else []
            if within:
                values = [found.within_one(ORDERED[name]) for found in confusions]
            else:
                values = [found.balanced_accuracy for found in confusions]
            yield Bar(
                evaluation.name,
                f"{name}: balanced accuracy{' within one class' if within else ''}",
                values[0],
                bar,
                oracle=values[1] if len(values) > 1 else float("nan"),
                majority=confusions[0].majority,
                remark=f"{confusions[0].count} galaxies",
            )


def _common(evaluation: SampleEvaluation) -> Iterator[Bar]:
    for name, bar in _ACCURACY.items():
        if name not in evaluation.confusion:
            continue
        found = evaluation.confusion[name]
        oracle = evaluation.oracle[name] if evaluation.oracle else None
        remark = f"{found.count} galaxies"
        yield Bar(
            evaluation.name,
            f"{name}: accuracy",
            found.accuracy,
            bar,
            oracle=oracle.accuracy if oracle else float("nan"),
            majority=found.majority,
            remark=remark,
        )
        if name == "hasSpiralArms":
            yield Bar(
                evaluation.name,
                f"{name}: balanced accuracy",
                found.balanced_accuracy,
                0.93,
                oracle=oracle.balanced_accuracy if oracle else float("nan"),
                majority=found.majority,
                remark=remark,
            )


def _honest(evaluation: SampleEvaluation) -> Iterator[Bar]:
    if evaluation.truth is not None:
        yield from _deviations(evaluation, evaluation.truth)
    yield from _coverage(evaluation, evaluation.coverage)
    if evaluation.likelihoods.oracle is not None:
        gained = evaluation.likelihoods.total_gained
        yield Bar(evaluation.name, "log-likelihood: part of the way to the oracle", gained, 0.70, oracle=1.0)


def _deviations(evaluation: SampleEvaluation, truth: Deviations) -> Iterator[Bar]:
    tree = evaluation.tree
    core = np.zeros(tree.n_answers, dtype=np.bool_)
    for name in CORE:
        if name in tree.slices:
            core[tree.slices[name]] = True
    least = min(_SOME, int(truth.count[0].max()))
    mean = np.where(truth.count[0] >= max(least, 1), truth.mean[0], -np.inf)
    worst = int(mean.argmax())
    named = f"worst {tree.answer_columns[worst]}, {mean[worst]:.3f}"
    what = "mean |p_hat - p_true|"
    yield Bar(
        evaluation.name, f"{what}, {len(CORE)} questions", float(truth.over_answers(core)[0]), 0.05, False
    )
    yield Bar(evaluation.name, f"{what}, all", float(truth.over_answers()[0]), 0.08, False, remark=named)


def _coverage(evaluation: SampleEvaluation, coverage: Coverage) -> Iterator[Bar]:
    columns = evaluation.tree.answer_columns
    many = np.flatnonzero(coverage.count >= _MANY)
    for index, level in enumerate(coverage.levels):
        share = f"{level:.0%} coverage"
        off = abs(float(coverage.pooled[index]) - level)
        yield Bar(evaluation.name, f"{share}, pooled: off by", off, 0.02, False)
        if len(many):
            away = np.abs(coverage.by_answer[index, many] - level)
            worst = int(away.argmax())
            yield Bar(
                evaluation.name,
                f"{share}, worst answer: off by",
                float(away[worst]),
                0.03 if level > 0.7 else 0.05,
                False,
                remark=columns[many[worst]],
            )
