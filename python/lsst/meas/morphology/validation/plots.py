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

"""An evaluation as one page of plots for each sample."""

from __future__ import annotations

__all__ = ("draw_evaluation",)

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..confident import Confusion
from ..errors import MissingExtraError
from .evaluation import SampleEvaluation

_COLUMNS = 5
_WIDTH, _HEIGHT = 3.4, 3.2
_LABELS = {
    "votes": "votes on the question",
    "magnitude": "i magnitude",
    "size": "half-light radius (arcsec)",
    "seeing": "FWHM in r (arcsec)",
    "depth": "5 sigma depth in r (mag)",
}


def draw_evaluation(path: str | Path, evaluation: SampleEvaluation, *, title: str) -> None:
    """Draw one sample: likelihood, coverage, reliability, deviations.

    Parameters
    ----------
    path
        Picture to write.
    evaluation
        The sample.
    title
        Heading of the page.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    try:
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "draw an evaluation") from error

    sections: list[list[Callable[[Any], None]]] = [[], [], []]
    sections[0] += [partial(draw, evaluation) for draw in (_draw_likelihood, _draw_coverage, _draw_transform)]
    sections[0] += [partial(_draw_deviations, evaluation, by) for by in evaluation.by]
    sections[1] += [partial(_draw_reliability, evaluation, question) for question in evaluation.reliability]
    sections[2] += [partial(_draw_confusion, *item) for item in evaluation.confusion.items()]
    rows = sum(-(-len(section) // _COLUMNS) for section in sections)
    figure = Figure(figsize=(_WIDTH * _COLUMNS, _HEIGHT * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    axes = iter(figure.subplots(rows, _COLUMNS, squeeze=False).ravel())
    for section in sections:
        # Each section begins a row.
        for draw in [*section, *[Axes.set_axis_off] * (-len(section) % _COLUMNS)]:
            draw(next(axes))
    figure.savefig(path, dpi=90)


def _draw_likelihood(evaluation: SampleEvaluation, ax: Any) -> None:
    found = evaluation.likelihoods
    if found.oracle is None:
        values, label = found.model - found.constant, "nats above the best constant"
    else:
        values, label = found.gained, "way from constant (0) to oracle (1)"
        ax.axvline(1.0, color="0.6", lw=0.8)
    place = np.arange(len(values))[::-1]
    ax.barh(place, np.nan_to_num(values))
    ax.set_yticks(place, found.questions, fontsize=6)
    ax.set_title("log-likelihood", fontsize=8)
    ax.set_xlabel(label, fontsize=7)
    ax.tick_params(labelsize=6)


def _draw_coverage(evaluation: SampleEvaluation, ax: Any) -> None:
    coverage = evaluation.coverage
    judged = coverage.count >= 100
    for index, level in enumerate(coverage.levels):
        points = ax.plot(coverage.count[judged], coverage.by_answer[index, judged], ".", label=f"{level:.0%}")
        ax.axhline(level, color=points[0].get_color(), lw=0.8)
    ax.set_xscale("log")
    ax.set_xlim(80.0, 2.0 * max(int(coverage.count.max(initial=0)), 1000))
    ax.set_ylim(0.3, 1.0)
    ax.set_title("coverage of the votes, by answer", fontsize=8)
    ax.set_xlabel("galaxies asked (100 or more)", fontsize=7)
    ax.legend(fontsize=6)
    ax.tick_params(labelsize=6)


def _draw_transform(evaluation: SampleEvaluation, ax: Any) -> None:
    coverage = evaluation.coverage
    bins = coverage.histogram.shape[1]
    weights = np.where(coverage.count > 0, coverage.count, 0)
    density = np.nansum(coverage.histogram * weights[:, np.newaxis], axis=0) / max(int(weights.sum()), 1)
    ax.stairs(density, np.linspace(0.0, 1.0, bins + 1), fill=True, alpha=0.6)
    ax.axhline(1.0, color="0.4", lw=0.8)
    ax.set_ylim(0.0, max(2.0, 1.05 * float(density.max(initial=0.0))))
    ax.set_title("where votes fall in their predictions", fontsize=8)
    ax.set_xlabel("probability integral transform", fontsize=7)
    ax.tick_params(labelsize=6)


def _draw_deviations(evaluation: SampleEvaluation, by: str, ax: Any) -> None:
    edges, deviations = evaluation.by[by]
    number = len(deviations.mean)
    middle = 0.5 * (edges[:number] + edges[1 : number + 1])
    for name, part in evaluation.tree.slices.items():
        values = deviations.over_answers(part)
        few = deviations.count[:, part].max(axis=1) < 30
        ax.plot(middle, np.where(few, np.nan, values), lw=0.8, marker=".", ms=3, label=name)
    ax.plot(middle, deviations.over_answers(), "k", lw=2.0)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    kind = "|p - p_true|" if evaluation.truth is not None else "excess over the floor"
    ax.set_title(f"{kind} by {by}", fontsize=8)
    ax.set_xlabel(_LABELS.get(by, by), fontsize=7)
    ax.tick_params(labelsize=6)
    if by == next(iter(evaluation.by)):
        ax.legend(fontsize=4.5, ncols=2)


def _draw_reliability(evaluation: SampleEvaluation, question: str, ax: Any) -> None:
    found = evaluation.reliability[question]
    filled = found.weight >= 50
    ax.plot([0.0, 1.0], [0.0, 1.0], color="0.6", lw=0.8)
    ax.plot(found.expected[filled], found.observed[filled], marker=".")
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    error = f", off by {found.error:.3f}" if np.isfinite(found.error) else ""
    ax.set_title(f"{question}: reliability{error}", fontsize=8)
    ax.set_xlabel("expected fraction", fontsize=7)
    ax.set_ylabel("observed", fontsize=7)
    ax.tick_params(labelsize=6)


def _draw_confusion(question: str, confusion: Confusion, ax: Any) -> None:
    totals = np.maximum(confusion.winners[:, np.newaxis], 1)
    ax.imshow(confusion.counts / totals, vmin=0.0, vmax=1.0, cmap="Blues")
    for (y, x), count in np.ndenumerate(confusion.counts):
        dark = count > 0.6 * totals[y, 0]
        ax.text(x, y, str(count), ha="center", va="center", fontsize=6, color="w" if dark else "k")
    places = np.arange(len(confusion.answers))
    ax.set_xticks(places, confusion.answers, fontsize=5.5, rotation=30)
    ax.set_yticks(places, confusion.answers, fontsize=5.5)
    shown = (
        f": {confusion.accuracy:.3f}, balanced {confusion.balanced_accuracy:.3f}" if confusion.count else ""
    )
    ax.set_title(f"{question}{shown}", fontsize=7)
    ax.set_xlabel("guess", fontsize=7)
    ax.set_ylabel("votes", fontsize=7)
