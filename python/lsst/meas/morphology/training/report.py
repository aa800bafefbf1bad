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
"""A training as one page: curves, figures, calibration, examples."""

from __future__ import annotations

__all__ = ("Examples", "check_drawing", "draw_losses", "summary_rows", "training_figure", "write_report")

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError
from ..html_page import HtmlPage
from ..model.manifest import Manifest
from ..questions.tree import QuestionTree
from ..rgb import lupton_rgb
from .agreement import QuestionFigures
from .calibration import LEVELS, CalibrationFit

type History = Sequence[Mapping[str, float]]

_COLUMNS = 6
_EXAMPLE_COLUMNS = 4
_LINES = 4
"""Questions told of each example."""


@dataclasses.dataclass(frozen=True)
class Examples:
    """Stamps of a sample, votes on them, and what the model expected."""

    flux: npt.NDArray[np.float32]
    """Pixels (nJy per stamp pixel), ``[n, b, s, s]``."""

    votes: npt.NDArray[np.integer]
    """Vote counts, ``[n, a]``."""

    fraction: npt.NDArray[np.floating]
    """Expected vote fractions, ``[n, a]``."""


def write_report(
    path: str | Path,
    manifest: Manifest,
    *,
    command: str,
    history: History,
    figures: Mapping[str, Mapping[str, QuestionFigures]],
    calibration: CalibrationFit | None,
    examples: Mapping[str, Examples],
) -> None:
    """Write the page: one HTML file that needs no other.

    Parameters
    ----------
    path
        The file.
    manifest
        The model, with its training record complete.
    command
        What to type to train it again.
    history
        Figures at each checkpoint, as `~.loop.Trainer` notes them.
    figures
        Agreement with confident votes at the end, by sample and question.
    calibration
        What the calibration changes.
    examples
        Some stamps by sample.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    page = HtmlPage(f"Training of {manifest.name} {manifest.version}")
    _summary(page, manifest, command)
    page.heading("Curves")
    page.figure(
        draw_losses(history, "nats per galaxy"),
        "Loss, held-back loss (nats per galaxy) and learning rate by step.",
    )
    page.figure(
        _draw_agreement(history),
        "Accuracy (thick) and balanced accuracy (thin) on confident galaxies that are held back, by step.",
    )
    for sample, questions in figures.items():
        _agreement(page, sample, questions, manifest.training.figures[f"{sample}.negativeLogLikelihood"])
    if calibration is not None:
        _calibration(page, calibration)
    if manifest.novelty is not None:
        page.heading("What it has never seen")
        page.paragraph(
            f"An object whose novelty exceeds {manifest.novelty.threshold:.3f} counts as unlike those of the"
            f" training, of which {manifest.novelty.share:.1%} exceed it ({manifest.novelty.data})."
        )
    for sample, shown in examples.items():
        page.heading(f"Galaxies it has not seen: {sample}")
        page.figure(
            _draw_examples(shown, manifest.tree),
            "What most votes said, with their share, and the expected fraction of that answer; where the"
            " model expected another to win, that one with its fraction.",
        )
    page.write(path)


def _summary(page: HtmlPage, manifest: Manifest, command: str) -> None:
    record = manifest.training
    page.paragraph(record.data)
    page.preformatted(command)
    page.table(("", ""), [("questions", manifest.tree.name), *summary_rows(manifest)])


def summary_rows(manifest: Manifest) -> list[tuple[str, str | int]]:
    """Return names and values of what is known of a training."""
    record = manifest.training
    return [
        ("model id", manifest.model_id),
        ("bands", ", ".join(manifest.bands)),
        ("stamp size (pixels)", manifest.stamp_size),
        ("different stamps", int(record.figures["distinctStamps"])),
        ("presentations", record.presentations),
        ("steps", int(record.figures["steps"])),
        ("minutes", f"{record.figures['seconds'] / 60.0:.1f}"),
        ("seed", record.seed),
    ]


def _agreement(page: HtmlPage, sample: str, questions: Mapping[str, QuestionFigures], nats: float) -> None:
    page.heading(f"Figures: {sample}")
    page.table(
        ("question", "confident galaxies", "accuracy", "balanced accuracy", "majority"),
        [(name, f.count, f.accuracy, f.balanced_accuracy, f.majority) for name, f in questions.items()],
    )
    page.paragraph(f"Negative log-likelihood of the votes: {nats:.3f} nats per galaxy.")


def _calibration(page: HtmlPage, fit: CalibrationFit) -> None:
    page.heading("Calibration")
    page.table(
        (
            "question",
            "factor of concentrations",
            "gain (nats per galaxy asked)",
            *(f"in {level:.0%} before" for level in LEVELS),
            *(f"in {level:.0%} after" for level in LEVELS),
        ),
        [
            (name, fit.factors.get(name), fit.gain.get(name), *fit.before[name], *fit.after[name])
            for name in fit.before
        ],
    )
    page.figure(
        _draw_coverage(fit),
        "Share of the votes in their central intervals, before (open) and after (filled).",
    )


def check_drawing() -> None:
    """Make sure, before a long training, that the page can be drawn.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    training_figure(1.0, 1.0)


def training_figure(width: float, height: float) -> Any:
    """Return a new figure of matplotlib, of a size in inches.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "report a training") from error
    return Figure(figsize=(width, height), layout="constrained")


def draw_losses(history: History, unit: str) -> Any:
    """Return a figure of the losses and the learning rate by step.

    Parameters
    ----------
    history
        Figures at each checkpoint.
    unit
        Unit of the loss.
    """
    figure = training_figure(12.0, 3.4)
    left, right = figure.subplots(1, 2)
    steps = [entry["step"] for entry in history]
    for name, label in (
        ("loss", "training, varied"),
        ("validation_loss", "held back, running mean of weights"),
    ):
        left.plot(steps, [entry[name] for entry in history], marker=".", label=label)
    # What comes before the first checkpoints would flatten the rest.
    shown = np.array([[entry["loss"], entry["validation_loss"]] for entry in history[len(history) // 10 :]])
    if shown.size and shown.max() > shown.min():
        left.set_ylim(shown.min() - 0.05 * np.ptp(shown), shown.max() + 0.05 * np.ptp(shown))
    left.set(xlabel="step", ylabel=unit, title="loss")
    left.legend()
    right.plot(steps, [entry.get("learning_rate", np.nan) for entry in history], marker=".")
    right.set(xlabel="step", title="learning rate", ylim=(0.0, None))
    return figure


def _draw_agreement(history: History) -> Any:
    names = sorted(
        {key.removesuffix("_accuracy") for entry in history for key in entry if "_accuracy" in key}
    )
    rows = max(1, -(-len(names) // _COLUMNS))
    figure = training_figure(12.0, 2.1 * rows)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True).ravel()
    steps = [entry["step"] for entry in history]
    for ax, name in zip(axes, names, strict=False):
        for kind, width in (("accuracy", 1.8), ("balanced", 0.8)):
            ax.plot(steps, [entry.get(f"{name}_{kind}", np.nan) for entry in history], color="C0", lw=width)
        ax.set_title(name, fontsize=8)
        ax.set_ylim(None, 1.02)
        ax.tick_params(labelsize=6)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    return figure


def _draw_coverage(fit: CalibrationFit) -> Any:
    figure = training_figure(12.0, 3.4)
    ax = figure.subplots()
    place = np.arange(len(fit.before))
    for index, level in enumerate(LEVELS):
        ax.axhline(level, color="0.6", lw=0.8)
        for shares, face in ((fit.before, "none"), (fit.after, f"C{index}")):
            values = [found[index] for found in shares.values()]
            ax.plot(place, values, "o", color=f"C{index}", markerfacecolor=face)
    ax.set_xticks(place, list(fit.before), rotation=30, ha="right", fontsize=8)
    ax.set_ylabel("share")
    return figure


def _draw_examples(examples: Examples, tree: QuestionTree) -> Any:
    rows = max(1, -(-len(examples.flux) // _EXAMPLE_COLUMNS))
    figure = training_figure(11.0, 3.4 * rows)
    figure.set_layout_engine(None)
    spacing = {"left": 0.01, "right": 0.99, "top": 0.99, "bottom": 0.7 / (3.4 * rows), "hspace": 0.3}
    axes = figure.subplots(rows, _EXAMPLE_COLUMNS, squeeze=False, gridspec_kw=spacing).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, flux, votes, fraction in zip(
        axes, examples.flux, examples.votes, examples.fraction, strict=False
    ):
        ax.imshow(_picture(flux), origin="lower", interpolation="nearest")
        lines = "\n".join(_said(votes, fraction, tree))
        ax.text(0.0, -0.03, lines, transform=ax.transAxes, fontsize=6.5, va="top")
    return figure


def _picture(flux: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a colour picture, stretched by the stamp's own brightness."""
    bands = flux[[0, len(flux) // 2, -1]]
    return lupton_rgb(bands, softening=max(8.0, 0.03 * float(np.quantile(bands, 0.998))))


def _said(
    votes: npt.NDArray[np.integer], fraction: npt.NDArray[np.floating], tree: QuestionTree
) -> list[str]:
    """Return a line for each of the questions that most people were asked."""
    lines = []
    asked = {name: int(votes[answers].sum()) for name, answers in tree.slices.items()}
    for name in sorted(asked, key=lambda name: -asked[name])[:_LINES]:
        if not asked[name]:
            break
        part, answers = tree.slices[name], tree.question(name).answers
        won, guess = int(votes[part].argmax()), int(fraction[part].argmax())
        share = votes[part][won] / asked[name]
        line = f"{name}: {answers[won]} {share:.2f} ({fraction[part][won]:.2f})"
        lines.append(line if won == guess else f"{line};\n   {answers[guess]} ({fraction[part][guess]:.2f})")
    return lines
