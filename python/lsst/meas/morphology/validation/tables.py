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

"""An evaluation as one table, a row for each number."""

from __future__ import annotations

__all__ = ("EVALUATION_SCHEMA", "evaluation_table", "galaxies_table")

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .deviations import Deviations
from .evaluation import ORDERED, SampleEvaluation

EVALUATION_SCHEMA = pa.schema(
    [
        pa.field("sample", pa.string(), nullable=False),
        pa.field("measure", pa.string(), nullable=False),
        pa.field("question", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("by", pa.string()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("oracle", pa.float64()),
        pa.field("baseline", pa.float64()),
    ]
)
"""Columns of the table. ``question`` and ``answer`` are null where a number
is of all of them; ``low`` and ``high`` bound the group of galaxies by the
quantity ``by``. ``oracle`` is what the true probabilities reach, ``baseline``
what a constant does; numbers that do not exist are null."""


def evaluation_table(
    evaluations: Sequence[SampleEvaluation], metadata: Mapping[str, str] | None = None
) -> pa.Table:
    """Return all measures of all samples.

    Parameters
    ----------
    evaluations
        The samples.
    metadata
        What the schema's metadata say, such as the model's id.

    Returns
    -------
    table
        Of the columns `EVALUATION_SCHEMA`.
    """
    rows = [{"sample": evaluation.name, **row} for evaluation in evaluations for row in _rows(evaluation)]
    for row in rows:
        for name in ("low", "high", "value", "oracle", "baseline"):
            number = row.get(name)
            row[name] = float(number) if number is not None and np.isfinite(number) else None
    table = pa.Table.from_pylist(rows, schema=EVALUATION_SCHEMA)
    return table.replace_schema_metadata({"kind": "evaluation", **(metadata or {})})


def galaxies_table(evaluation: SampleEvaluation, metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Return what a later comparison needs, a row for each galaxy.

    Parameters
    ----------
    evaluation
        The sample.
    metadata
        What the schema's metadata say.

    Returns
    -------
    table
        For each question ``<question>_votes`` and
        ``<question>_logLikelihood``.
    """
    columns = {}
    for index, name in enumerate(evaluation.tree.slices):
        columns[f"{name}_votes"] = pa.array(evaluation.asked[:, index].astype(np.int32))
        columns[f"{name}_logLikelihood"] = pa.array(evaluation.log_model[:, index])
    return pa.table(columns).replace_schema_metadata({"kind": "galaxies", **(metadata or {})})


def _rows(evaluation: SampleEvaluation) -> Iterator[dict[str, Any]]:
    yield from _confident_rows(evaluation)
    for measure, deviations in (
        ("truth_deviation", evaluation.truth),
        ("excess_deviation", evaluation.excess),
    ):
        if deviations is not None:
            yield from _deviation_rows(evaluation, measure, deviations)
    measure = "excess_deviation" if evaluation.truth is None else "truth_deviation"
    for by, (edges, deviations) in evaluation.by.items():
        yield from _deviation_rows(evaluation, measure, deviations, by, edges.tolist())
    yield from _coverage_rows(evaluation)
    for question, reliability in evaluation.reliability.items():
        yield {
            "measure": "calibration_error",
            "question": question,
            "count": int(reliability.weight.sum()),
            "value": reliability.error,
        }
    yield from _likelihood_rows(evaluation)


def _confident_rows(evaluation: SampleEvaluation) -> Iterator[dict[str, Any]]:
    for question, confusion in evaluation.confusion.items():
        oracle = evaluation.oracle[question] if evaluation.oracle else None
        base = {"question": question, "count": confusion.count}
        yield {
            **base,
            "measure": "accuracy",
            "value": confusion.accuracy,
            "oracle": oracle and oracle.accuracy,
            "baseline": confusion.majority,
        }
        winners = int((confusion.winners > 0).sum())
        yield {
            **base,
            "measure": "balanced_accuracy",
            "value": confusion.balanced_accuracy,
            "oracle": oracle and oracle.balanced_accuracy,
            "baseline": 1.0 / winners if winners else None,
        }
        order = ORDERED.get(question, ())
        if order and set(order) <= set(confusion.answers):
            yield {
                **base,
                "measure": "balanced_accuracy_within_one",
                "value": confusion.within_one(order),
                "oracle": oracle and oracle.within_one(order),
            }
        for measure in ("precision", "recall", "f1"):
            values = getattr(confusion, measure)
            best = getattr(oracle, measure) if oracle else np.full(len(values), np.nan)
            for k, answer in enumerate(confusion.answers):
                yield {
                    "question": question,
                    "answer": answer,
                    "measure": measure,
                    "count": int(confusion.winners[k]),
                    "value": values[k],
                    "oracle": best[k],
                }


def _deviation_rows(
    evaluation: SampleEvaluation,
    measure: str,
    deviations: Deviations,
    by: str | None = None,
    edges: Sequence[float] = (),
) -> Iterator[dict[str, Any]]:
    whole = deviations.over_answers()
    parts = {name: deviations.over_answers(part) for name, part in evaluation.tree.slices.items()}
    for group in range(len(deviations.mean)):
        base: dict[str, Any] = {"measure": measure, "by": by}
        if by is not None:
            base |= {"low": edges[group], "high": edges[group + 1]}
        yield {**base, "count": int(deviations.count[group].max()), "value": whole[group]}
        for question in evaluation.tree.questions:
            part = evaluation.tree.slices[question.name]
            asked = {**base, "question": question.name, "count": int(deviations.count[group, part.start])}
            yield {**asked, "value": parts[question.name][group]}
            for k, answer in enumerate(question.answers):
                yield {**asked, "answer": answer, "value": deviations.mean[group, part.start + k]}


def _coverage_rows(evaluation: SampleEvaluation) -> Iterator[dict[str, Any]]:
    coverage = evaluation.coverage
    for index, level in enumerate(coverage.levels):
        measure = f"coverage_{level * 100:.0f}"
        yield {"measure": measure, "count": int(coverage.count.sum()), "value": coverage.pooled[index]}
        for question in evaluation.tree.questions:
            part = evaluation.tree.slices[question.name]
            for k, answer in enumerate(question.answers):
                yield {
                    "measure": measure,
                    "question": question.name,
                    "answer": answer,
                    "count": int(coverage.count[part.start + k]),
                    "value": coverage.by_answer[index, part.start + k],
                }


def _likelihood_rows(evaluation: SampleEvaluation) -> Iterator[dict[str, Any]]:
    found = evaluation.likelihoods
    constant, model, oracle = found.total
    whole: dict[str, Any] = {"count": evaluation.number}
    yield {**whole, "measure": "log_likelihood", "value": model, "oracle": oracle, "baseline": constant}
    yield {**whole, "measure": "likelihood_gained", "value": found.total_gained}
    for k, question in enumerate(found.questions):
        base = {"question": question, "count": int(found.count[k])}
        yield {
            **base,
            "measure": "log_likelihood",
            "value": found.model[k],
            "oracle": None if found.oracle is None else found.oracle[k],
            "baseline": found.constant[k],
        }
        yield {**base, "measure": "likelihood_gained", "value": found.gained[k]}
