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

"""A tidal evaluation as one page of plots."""

from __future__ import annotations

__all__ = ("draw_tidal_evaluation",)

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingExtraError
from .tidal_evaluation import ALL, TidalEvaluation
from .tidal_outcomes import CLASSES, TidalOutcomes
from .tidal_pixels import LEVELS, REGIONS
from .tidal_presence import NAMES

_LABELS = {
    "surface_brightness": "mag/arcsec2 that 100 arcsec2 exceed",
    "depth": "the same less the 3 sigma limit (mag)",
    "contrast": "contrast with host and neighbours",
    "host_magnitude": "host's magnitude",
    "host_radius": "host's half-light radius (arcsec)",
    "fwhm": "FWHM in r (arcsec)",
}
_COLUMNS = 4


def draw_tidal_evaluation(
    path: str | Path, outcomes: TidalOutcomes, evaluation: TidalEvaluation, *, title: str
) -> None:
    """Draw pixels, confusion, presence, completeness and fluxes.

    Parameters
    ----------
    path
        Picture to write.
    outcomes
        The hosts.
    evaluation
        Their evaluation.
    title
        Heading of the page.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "draw an evaluation") from error

    draws: list[Callable[[Any], None]] = [
        partial(_draw_pixels, outcomes, evaluation),
        partial(_draw_confusion, evaluation),
        partial(_draw_receiver, outcomes, evaluation),
        partial(_draw_scores, outcomes, evaluation),
    ]
    draws += [partial(_draw_completeness, evaluation, quantity) for quantity in evaluation.curves]
    draws += [partial(_draw_flux, outcomes, evaluation, k) for k in range(len(CLASSES))]
    rows = -(-len(draws) // _COLUMNS)
    figure = Figure(figsize=(3.8 * _COLUMNS, 3.3 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for ax in axes[len(draws) :]:
        ax.set_axis_off()
    for ax, draw in zip(axes, draws, strict=False):
        draw(ax)
        ax.tick_params(labelsize=6)
    figure.savefig(path, dpi=90)


def _draw_pixels(outcomes: TidalOutcomes, evaluation: TidalEvaluation, ax: Any) -> None:
    pooled = outcomes.counts.pooled()
    for k, name in enumerate(REGIONS):
        line = ax.plot(np.arange(LEVELS) / LEVELS, pooled[k], label=name)
        level = evaluation.thresholds.levels(REGIONS)[k]
        ax.plot(level / LEVELS, pooled[k, level], "o", color=line[0].get_color(), ms=4)
    ax.set_ylim(0.0, 1.0)
    ax.legend(fontsize=6)
    ax.set_title("pooled IoU; dots: the model's masks", fontsize=8)
    ax.set_xlabel("threshold", fontsize=7)


def _draw_confusion(evaluation: TidalEvaluation, ax: Any) -> None:
    found = evaluation.confusion[ALL].counts
    shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues")
    for (y, x), share in np.ndenumerate(shares):
        ax.text(x, y, f"{share:.2f}", ha="center", va="center", fontsize=7, color="w" if share > 0.6 else "k")
    ax.set_xticks(range(len(NAMES)), NAMES)
    ax.set_yticks(range(len(NAMES)), NAMES)
    ax.set_title("confusion of what can be seen", fontsize=8)
    ax.set_xlabel("guess", fontsize=7)
    ax.set_ylabel("truth", fontsize=7)


def _draw_receiver(outcomes: TidalOutcomes, evaluation: TidalEvaluation, ax: Any) -> None:
    score, seen = outcomes.presence[:, 3], outcomes.seen
    clean = {ALL: outcomes.undisturbed}
    clean |= {name: outcomes.undisturbed & has for name, has in outcomes.traits.items()}
    thresholds = np.quantile(score[seen], np.linspace(0.0, 1.0, 201)) if seen.any() else np.empty(0)
    recall = [(score[seen] >= t).mean() for t in thresholds]
    for name, rows in clean.items():
        if rows.any():
            false = [(score[rows] >= t).mean() for t in thresholds]
            ax.plot(np.maximum(false, 1e-3), recall, lw=2.0 if name == ALL else 0.8, label=name)
    flags = evaluation.flags
    ax.plot(max(flags.share[ALL], 1e-3), flags.recall, "ko", ms=4)
    ax.set_xscale("log")
    ax.set_ylim(0.5, 1.0)
    if outcomes.undisturbed.any():
        ax.legend(fontsize=6, title="undisturbed", title_fontsize=6)
    ax.set_title(f"ROC area {evaluation.roc[ALL]:.3f}; dot: the model's threshold", fontsize=8)
    ax.set_xlabel("share of undisturbed hosts flagged", fontsize=7)
    ax.set_ylabel("recall of visible debris", fontsize=7)


def _draw_scores(outcomes: TidalOutcomes, evaluation: TidalEvaluation, ax: Any) -> None:
    edges = np.linspace(0.0, 1.0, 41)
    for name, rows in {
        "undisturbed": outcomes.undisturbed,
        "faint": outcomes.faint,
        "visible": outcomes.seen,
    }.items():
        ax.hist(outcomes.presence[rows, 3], edges, histtype="step", label=name)
    ax.axvline(evaluation.flags.threshold, color="0.5", lw=0.8)
    ax.set_yscale("symlog", linthresh=1.0)
    ax.legend(fontsize=6)
    ax.set_title("probability of debris", fontsize=8)


def _draw_completeness(evaluation: TidalEvaluation, quantity: str, ax: Any) -> None:
    for name, curve in evaluation.curves[quantity].items():
        filled = curve.count >= 5
        edges = np.minimum(curve.edges, 2.0 * curve.edges[-2])
        middle = 0.5 * (edges[:-1] + edges[1:])
        style = {"lw": 2.0, "color": "k"} if name == ALL else {"lw": 0.9}
        ax.errorbar(middle[filled], curve.found[filled], curve.error[filled], marker=".", label=name, **style)
    if quantity == "contrast":
        ax.set_xscale("log")
    ax.set_ylim(0.0, 1.03)
    if quantity == next(iter(evaluation.curves)):
        ax.legend(fontsize=6)
    ax.set_title("completeness at 90 % purity", fontsize=8)
    ax.set_xlabel(_LABELS.get(quantity, quantity), fontsize=7)


def _draw_flux(outcomes: TidalOutcomes, evaluation: TidalEvaluation, k: int, ax: Any) -> None:
    name = CLASSES[k]
    rows = outcomes.visible[:, k] & (outcomes.presence[:, k] >= evaluation.thresholds.presence[name])
    rows &= np.isfinite(outcomes.flux[:, k]) & (outcomes.true_flux[:, k] > 0.0)
    truth, flux = outcomes.true_flux[rows, k], outcomes.flux[rows, k]
    sigma = outcomes.flux_error[rows, k]
    ratio, bar = np.clip(flux / truth, 0.0, 2.5), sigma / truth
    ax.errorbar(truth, ratio, np.minimum(bar, 2.0), fmt=".", ms=2, lw=0.3, alpha=0.5)
    ax.axhline(1.0, color="0.5", lw=0.8)
    if len(truth):
        ax.set_xscale("log")
    ax.set_ylim(0.0, 2.5)
    score = evaluation.flux[name][ALL]
    ax.set_title(f"{name}: error {score.error:.3f}, bias {score.bias:+.3f}, {score.coverage:.2f}", fontsize=8)
    ax.set_xlabel("true flux in r (nJy)", fontsize=7)
    ax.set_ylabel("measured over true", fontsize=7)
