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

"""A tidal evaluation as text for people."""

from __future__ import annotations

__all__ = ("tidal_text",)

from collections.abc import Iterator, Sequence

import numpy as np

from .bars import Bar
from .tidal_bars import check_tidal_bars
from .tidal_evaluation import NATURAL_SHARE, PURITY, FalseFlags, TidalEvaluation
from .tidal_pixels import REGIONS
from .tidal_presence import NAMES


def tidal_text(evaluation: TidalEvaluation, heading: str) -> str:
    """Return the evaluation as text.

    Parameters
    ----------
    evaluation
        The exam.
    heading
        First line.

    Returns
    -------
    text
        Lines of at most 150 characters.
    """
    lines = [heading, "=" * len(heading), ""]
    lines += [", ".join(f"{count} {name}" for name, count in list(evaluation.makeup.items())[:6]) + ";"]
    lines += [", ".join(f"{count} {name}" for name, count in list(evaluation.makeup.items())[6:]), ""]
    if not evaluation.thresholds.chosen:
        lines += ["The model states no thresholds ('morphology calibrate-tides'): all are 0.5.", ""]
    lines += _bar_lines(check_tidal_bars(evaluation))
    for part in (_pixel_lines, _confusion_lines, _presence_lines, _curve_lines, _flux_lines):
        lines += [*part(evaluation), ""]
    return "\n".join(lines)


def _bar_lines(bars: Sequence[Bar]) -> Iterator[str]:
    yield "What the shipped model is held to"
    for bar in bars:
        sign, verdict = ">=" if bar.at_least else "<=", "met" if bar.met else "MISSED"
        remark = f"; {bar.remark}" if bar.remark else ""
        yield f"{bar.what:<44}{_number(bar.value):>7}  {sign}{bar.bar:>6.3f}  {verdict}{remark}"
    yield ""


def _pixel_lines(evaluation: TidalEvaluation) -> Iterator[str]:
    yield "Pixels: intersection over union, pooled over all hosts, undisturbed ones among them; best at any"
    yield "threshold; median over the hosts where it can be seen"
    yield f"{'':<24}{'pooled':>8}{'best':>8}{'median':>8}{'hosts':>8}"
    for group, score in evaluation.pixels.items():
        for k, name in enumerate(REGIONS):
            numbers = "".join(
                f"{_number(values[k]):>8}" for values in (score.pooled, score.best, score.median)
            )
            yield f"{group if k == 0 else '':<14}{name:<10}{numbers}{score.hosts[k]:>8}"


def _confusion_lines(evaluation: TidalEvaluation) -> Iterator[str]:
    yield "Confusion of visible features and undisturbed hosts: likeliest class, if debris is flagged"
    for group, found in evaluation.confusion.items():
        yield f"{group:<14}{'hosts':>7}" + "".join(f"{name:>9}" for name in NAMES)
        totals = np.maximum(found.counts.sum(axis=1), 1)
        for k, name in enumerate(NAMES):
            shares = "".join(f"{_number(found.counts[k, j] / totals[k]):>9}" for j in range(len(NAMES)))
            yield f"{name:>14}{found.counts[k].sum():>7}{shares}"


def _presence_lines(evaluation: TidalEvaluation) -> Iterator[str]:
    yield "Present or not: area under the receiver operating characteristic"
    for name, area in evaluation.roc.items():
        yield f"  {name:<28}{_number(area):>7}"
    yield "Undisturbed hosts flagged"
    for what, flags in (("own threshold", evaluation.flags), ("90 % recall", evaluation.flags_at_recall)):
        yield _flag_line(what, flags)
    for name, (found, threshold) in evaluation.pure.items():
        share = f"{NATURAL_SHARE:.0%} of hosts" if name == "natural" else "this exam's share"
        yield (
            f"Completeness at {PURITY:.0%} purity, {share} with debris: {_number(found)}"
            f" (threshold {_number(threshold)})"
        )
    if evaluation.half is not None:
        half = evaluation.half
        middle = f"{half.offset:+.2f} {half.slope:+.2f} (limit - 30)"
        yield f"Half are found at the own threshold: at limit {middle} mag/arcsec2, width {half.width:.2f}"


def _flag_line(what: str, flags: FalseFlags) -> str:
    shares = ", ".join(f"{name} {_number(share)}" for name, share in flags.share.items())
    found = f"finds {_number(flags.recall)}"
    return f"  {what} ({_number(flags.threshold)}): {found}; flags of undisturbed: {shares}"


def _curve_lines(evaluation: TidalEvaluation) -> Iterator[str]:
    yield f"Completeness at {PURITY:.0%} purity, {NATURAL_SHARE:.0%} of hosts with debris: share (features)"
    for quantity, curves in evaluation.curves.items():
        yield quantity
        for name, curve in curves.items():
            filled = np.flatnonzero(curve.count)
            cells = (f" {curve.edges[k]:.4g}: {curve.found[k]:.2f} ({curve.count[k]})" for k in filled)
            yield from _wrapped(f"  {name:<12}", cells)


def _wrapped(first: str, cells: Iterator[str], width: int = 140) -> Iterator[str]:
    line = first
    for cell in cells:
        if len(line) + len(cell) > width:
            yield line
            line = " " * len(first)
        line += cell
    yield line


def _flux_lines(evaluation: TidalEvaluation) -> Iterator[str]:
    yield "Flux in r of visible features found as what they are: number, median |error|, bias, share in 68 %"
    for name, scores in evaluation.flux.items():
        for group, score in scores.items():
            yield (
                f"  {name:<8}{group:<14}{score.count:>6}{_number(score.error):>8}{_number(score.bias):>8}"
                f"{_number(score.coverage):>8}"
            )


def _number(value: float) -> str:
    """Return a number to three places, a dash if there is none."""
    return f"{value:.3f}" if np.isfinite(value) else "-"
