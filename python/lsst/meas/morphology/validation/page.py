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
"""An evaluation as one HTML page of tables and plots."""

from __future__ import annotations

__all__ = ("write_page",)

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..html_page import Cell, HtmlPage
from .bars import check_bars
from .evaluation import ORDERED, SampleEvaluation


def write_page(
    path: str | Path,
    evaluations: Sequence[SampleEvaluation],
    heading: str,
    *,
    plots: Mapping[str, bytes] | None = None,
    bars: bool = True,
) -> None:
    """Write the page: one file that needs no other.

    Parameters
    ----------
    path
        The file.
    evaluations
        The samples.
    heading
        Heading of the page.
    plots
        By the samples' names, their plots: bytes of PNG files.
    bars
        Whether to say what the default model is held to.
    """
    page = HtmlPage(heading)
    if bars:
        _bars(page, evaluations)
    for evaluation in evaluations:
        page.heading(f"Sample {evaluation.name}: {evaluation.number} galaxies")
        _questions(page, evaluation)
        _groups(page, evaluation)
        _answers(page, evaluation)
        if plots and evaluation.name in plots:
            page.png(plots[evaluation.name], f"Plots of the sample {evaluation.name}.")
    page.write(path)


def _bars(page: HtmlPage, evaluations: Sequence[SampleEvaluation]) -> None:
    page.heading("What the default model is held to")
    page.table(
        ("sample", "measure", "value", "", "bar", "oracle", "majority", "", ""),
        [
            (
                bar.sample,
                bar.what,
                float(bar.value),
                "≥" if bar.at_least else "≤",
                float(bar.bar),
                float(bar.oracle),
                float(bar.majority),
                "met" if bar.met else "MISSED",
                bar.remark,
            )
            for evaluation in evaluations
            for bar in check_bars(evaluation)
        ],
    )


def _questions(page: HtmlPage, evaluation: SampleEvaluation) -> None:
    """Add agreement on confident galaxies, and the likelihood of all."""
    page.heading("Questions", level=3)
    page.paragraph(
        "Confident galaxies have at least 20 votes on the question, at least 80 % of them for one answer. The"
        " oracle knows the true probabilities."
    )
    rows = []
    for name, agreed in evaluation.confusion.items():
        oracle = evaluation.oracle[name] if evaluation.oracle else None
        order = ORDERED.get(name, ())
        rows.append(
            (
                name,
                agreed.count,
                agreed.accuracy,
                oracle.accuracy if oracle else None,
                agreed.majority,
                agreed.balanced_accuracy,
                oracle.balanced_accuracy if oracle else None,
                agreed.within_one(order) if order else None,
            )
        )
    agreement = ("accuracy", "oracle's", "majority", "balanced accuracy", "oracle's", "within one class")
    page.table(("question", "confident galaxies", *agreement), rows)
    page.paragraph(
        "Log-likelihood of the votes, nats for each galaxy that was asked: of the best constant distribution,"
        " of the model, of the oracle, and the model's part of the way between these."
    )
    if evaluation.selected:
        page.paragraph("Votes chose these galaxies; likelihood and coverage are of other volunteers' votes.")
    found = evaluation.likelihoods
    oracles = found.oracle if found.oracle is not None else np.full(len(found.model), np.nan)
    values = np.stack([found.constant, found.model, oracles, found.gained], axis=1).tolist()
    likelihoods: list[tuple[Cell, ...]] = [
        (name, int(count), *row, float(evaluation.reliability[name].error))
        for name, count, row in zip(found.questions, found.count, values, strict=True)
    ]
    likelihoods.append(("all", evaluation.number, *map(float, found.total), found.total_gained, None))
    page.table(
        ("question", "galaxies", "constant", "model", "oracle", "way", "calibration error"), likelihoods
    )


def _answers(page: HtmlPage, evaluation: SampleEvaluation) -> None:
    """Add what is known of each answer."""
    known = evaluation.truth is not None
    deviations = evaluation.truth if evaluation.truth is not None else evaluation.excess
    page.heading("Answers", level=3)
    page.paragraph(
        "Precision and recall on confident galaxies; mean deviation of the expected fraction"
        + (" from the true probability" if known else " from the observed one, in excess of its floor")
        + ", with 10 votes or more; coverage of the votes by central intervals."
    )
    rows = []
    coverage = evaluation.coverage
    for question in evaluation.tree.questions:
        found = evaluation.confusion[question.name]
        for k, answer in enumerate(question.answers):
            column = evaluation.tree.slices[question.name].start + k
            rows.append(
                (
                    f"{question.name}_{answer}",
                    int(found.winners[k]),
                    *(float(values[k]) for values in (found.precision, found.recall, found.f1)),
                    float(deviations.mean[0, column]),
                    int(deviations.count[0, column]),
                    *coverage.by_answer[:, column].tolist(),
                )
            )
    pooled = coverage.pooled.tolist()
    rows.append(("all", None, None, None, None, float(deviations.over_answers()[0]), None, *pooled))
    levels = [f"in {level:.0%}" for level in coverage.levels]
    page.table(("answer", "won", "precision", "recall", "F1", "deviation", "galaxies", *levels), rows)


def _groups(page: HtmlPage, evaluation: SampleEvaluation) -> None:
    """Add mean deviations in groups of galaxies."""
    page.heading("Deviations in groups of galaxies", level=3)
    for by, (edges, deviations) in evaluation.by.items():
        groups = [f"{low:.4g} to {high:.4g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
        values = deviations.over_answers().tolist()
        page.table((by, *groups[: len(values)]), [("deviation", *values)])
