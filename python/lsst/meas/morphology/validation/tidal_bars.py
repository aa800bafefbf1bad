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

"""What the shipped tidal model is held to."""

from __future__ import annotations

__all__ = ("check_tidal_bars",)

from collections.abc import Iterator

import numpy as np

from .bars import Bar
from .tidal_evaluation import ALL, TidalEvaluation
from .tidal_pixels import REGIONS

_IOU = {"debris": 0.68, "linear": 0.68, "tail": 0.65, "stream": 0.50, "shell": 0.58}
_FLUX_ERROR = {"tail": 0.15, "stream": 0.25, "shell": 0.25}
_FLUX_BIAS = 0.05
_COVERAGE = (0.63, 0.73)
_FALSE = 0.03


def check_tidal_bars(evaluation: TidalEvaluation) -> tuple[Bar, ...]:
    """Compare an exam's figures with the bars of the shipped model.

    Parameters
    ----------
    evaluation
        The exam.

    Returns
    -------
    bars
        Pixels, presence, false flags and fluxes.
    """
    return (*_pixels(evaluation), *_presence(evaluation), *_flux(evaluation))


def _pixels(evaluation: TidalEvaluation) -> Iterator[Bar]:
    score = evaluation.pixels[ALL]
    for name, bar in _IOU.items():
        k = REGIONS.index(name)
        remark = f"median of {score.hosts[k]} hosts {score.median[k]:.3f}"
        yield Bar(ALL, f"{name}: pooled IoU", float(score.pooled[k]), bar, remark=remark)


def _presence(evaluation: TidalEvaluation) -> Iterator[Bar]:
    yield Bar(ALL, "debris or not: ROC area", evaluation.roc[ALL], 0.96)
    if "against cirrus" in evaluation.roc:
        yield Bar(ALL, "debris or cirrus: ROC area", evaluation.roc["against cirrus"], 0.95)
    flags = evaluation.flags
    chosen = "threshold from other data" if evaluation.thresholds.chosen else "no threshold was chosen"
    remark = f"{chosen}; it finds {flags.recall:.3f} here"
    yield Bar(ALL, "undisturbed hosts flagged", flags.share[ALL], _FALSE, False, remark=remark)
    at_recall = evaluation.flags_at_recall
    remark = f"threshold {at_recall.threshold:.3f} of this exam"
    yield Bar(ALL, "the same at exactly 90 % recall", at_recall.share[ALL], _FALSE, False, remark=remark)


def _flux(evaluation: TidalEvaluation) -> Iterator[Bar]:
    middle, half = float(np.mean(_COVERAGE)), float(np.ptp(_COVERAGE)) / 2.0
    for name, bar in _FLUX_ERROR.items():
        score = evaluation.flux[name][ALL]
        remark = f"{score.count} found, of {evaluation.makeup[f'visible {name}']} visible"
        yield Bar(ALL, f"{name}: flux, median |error|", score.error, bar, False, remark=remark)
        yield Bar(ALL, f"{name}: flux, |bias|", abs(score.bias), _FLUX_BIAS, False)
        off = abs(score.coverage - middle)
        remark = f"holds {score.coverage:.3f}"
        yield Bar(ALL, f"{name}: 68 % interval, off {middle:.2f} by", off, half, False, remark=remark)
