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

"""A tidal evaluation as tables: of its numbers, and of its hosts."""

from __future__ import annotations

__all__ = ("TIDAL_EVALUATION_SCHEMA", "hosts_table", "tidal_table")

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .tidal_bars import check_tidal_bars
from .tidal_evaluation import TidalEvaluation
from .tidal_outcomes import CLASSES, WEIGHED, TidalOutcomes
from .tidal_pixels import REGIONS

TIDAL_EVALUATION_SCHEMA = pa.schema(
    [
        pa.field("measure", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("class", pa.string()),
        pa.field("guess", pa.string()),
        pa.field("by", pa.string()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("count", pa.int64()),
        pa.field("value", pa.float64()),
        pa.field("bar", pa.float64()),
        pa.field("met", pa.bool_()),
    ]
)
"""Columns of the table. ``group`` is of depth or of what else is in the
picture, ``low`` and ``high`` bound the hosts by the quantity ``by``; ``bar``
and ``met`` are of the measure ``bar``, whose ``class`` says what it is of."""


def tidal_table(evaluation: TidalEvaluation, metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Return all measures of an exam.

    Parameters
    ----------
    evaluation
        The exam.
    metadata
        What the schema's metadata say, such as the model's id.

    Returns
    -------
    table
        Of the columns `TIDAL_EVALUATION_SCHEMA`.
    """
    rows = list(_rows(evaluation))
    for row in rows:
        for name in ("low", "high", "value"):
            number = row.get(name)
            row[name] = float(number) if number is not None and np.isfinite(number) else None
    table = pa.Table.from_pylist(rows, schema=TIDAL_EVALUATION_SCHEMA)
    return table.replace_schema_metadata({"kind": "tidalEvaluation", **(metadata or {})})


def hosts_table(
    outcomes: TidalOutcomes, evaluation: TidalEvaluation, metadata: Mapping[str, str] | None = None
) -> pa.Table:
    """Return what came of each host.

    Parameters
    ----------
    outcomes
        The hosts.
    evaluation
        Their evaluation, for the thresholds.
    metadata
        What the schema's metadata say.

    Returns
    -------
    table
        A row for each host, in the order of the exam.
    """
    kinds = np.asarray(("none", *CLASSES))
    columns: dict[str, Any] = {
        "kind": kinds[outcomes.kind],
        "group": np.asarray(outcomes.groups)[outcomes.group],
        "surfaceBrightness": outcomes.surface_brightness,
        "contrast": outcomes.contrast,
        "limit": outcomes.limit,
    }
    columns |= {f"has_{name}": values for name, values in outcomes.traits.items()}
    columns |= {name: np.asarray(values, np.float64) for name, values in outcomes.covariates.items()}
    iou = outcomes.counts.by_host()[:, np.arange(len(REGIONS)), evaluation.thresholds.levels(REGIONS)]
    columns |= {f"{name}_iou": iou[:, k] for k, name in enumerate(REGIONS)}
    for k, name in enumerate(WEIGHED):
        columns[f"{name}_probability"] = outcomes.presence[:, k]
        columns[f"{name}_visible"] = outcomes.weighable[:, k]
        columns[f"{name}_trueFlux"] = outcomes.true_flux[:, k]
        columns[f"{name}_totalFlux"] = outcomes.total_flux[:, k]
        columns[f"{name}_flux"] = outcomes.flux[:, k]
        columns[f"{name}_fluxErr"] = outcomes.flux_error[:, k]
        columns[f"{name}_confidence"] = outcomes.confidence[:, k]
    return pa.table(columns).replace_schema_metadata({"kind": "tidalHosts", **(metadata or {})})


def _rows(evaluation: TidalEvaluation) -> Iterator[dict[str, Any]]:
    for name, count in evaluation.makeup.items():
        yield {"measure": "hosts", "group": name, "count": count}
    for bar in check_tidal_bars(evaluation):
        yield {
            "measure": "bar",
            "group": bar.sample,
            "class": bar.what,
            "value": bar.value,
            "bar": bar.bar,
            "met": bar.met,
        }
    for group, score in evaluation.pixels.items():
        for k, name in enumerate(REGIONS):
            base = {"group": group, "class": name, "count": int(score.hosts[k])}
            for measure in ("pooled", "best", "median"):
                yield {**base, "measure": f"iou_{measure}", "value": getattr(score, measure)[k]}
    for group, found in evaluation.confusion.items():
        for (true, guess), hosts in np.ndenumerate(found.counts):
            total = int(found.counts[true].sum())
            yield {
                "measure": "confusion",
                "group": group,
                "class": found.answers[true],
                "guess": found.answers[guess],
                "count": int(hosts),
                "value": hosts / total if total else None,
            }
    for name, area in evaluation.roc.items():
        yield {"measure": "roc_area", "group": name, "value": area}
    yield from _flag_rows(evaluation)
    for by, curves in evaluation.curves.items():
        for name, curve in curves.items():
            for index, share in enumerate(curve.found.tolist()):
                yield {
                    "measure": "completeness",
                    "group": name,
                    "by": by,
                    "low": curve.edges[index],
                    "high": curve.edges[index + 1],
                    "count": int(curve.count[index]),
                    "value": share,
                }
    for name, scores in evaluation.flux.items():
        for group, flux in scores.items():
            about: dict[str, Any] = {"group": group, "class": name, "count": flux.count}
            for measure in ("error", "bias", "coverage"):
                yield {**about, "measure": f"flux_{measure}", "value": getattr(flux, measure)}


def _flag_rows(evaluation: TidalEvaluation) -> Iterator[dict[str, Any]]:
    for what, flags in (("own", evaluation.flags), ("recall90", evaluation.flags_at_recall)):
        yield {"measure": f"threshold_{what}", "value": flags.threshold}
        yield {"measure": f"recall_{what}", "value": flags.recall}
        for name, share in flags.share.items():
            yield {"measure": f"false_flags_{what}", "group": name, "value": share}
    for name, (completeness, threshold) in evaluation.pure.items():
        yield {"measure": "completeness_at_purity", "group": name, "value": completeness}
        yield {"measure": "threshold_at_purity", "group": name, "value": threshold}
    if evaluation.half is not None:
        for measure, value in dataclasses.asdict(evaluation.half).items():
            yield {"measure": f"half_found_{measure}", "value": value}
