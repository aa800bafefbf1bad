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

"""One page that tells how a training on marks went."""

from __future__ import annotations

__all__ = ("write_marks_report",)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..html_page import HtmlPage
from ..model.manifest import Manifest
from .marking import MaskFigures
from .report import History, draw_losses, summary_rows, training_figure


def write_marks_report(
    path: str | Path,
    manifest: Manifest,
    *,
    command: str,
    history: History,
    figures: Mapping[str, MaskFigures],
    sheet: Any,
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
        How well it marks stamps that it has not seen, by sample.
    sheet
        Figure of matplotlib with some of these stamps and their masks.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    page = HtmlPage(f"Training of {manifest.name} {manifest.version}")
    page.paragraph(manifest.training.data)
    page.preformatted(command)
    page.table(("", ""), summary_rows(manifest))
    page.heading("Curves")
    page.figure(
        draw_losses(history, "per mark (training), nats per pixel (held back)"),
        "Loss and learning rate by step. What is held back has another measure than what is made small.",
    )
    page.figure(
        _draw_planes(history),
        "Overlap of masks (intersection over union) and area under the receiver's characteristic of presence,"
        " on stamps that are held back, each looked at once, by step.",
    )
    for sample, entry in figures.items():
        page.heading(f"Figures: {sample}")
        planes = dict.fromkeys((*entry.overlap, *entry.separation))
        rows = [(name, entry.overlap.get(name), entry.separation.get(name)) for name in planes]
        page.table(("plane", "overlap", "ROC area of presence"), rows)
        page.paragraph(f"Negative log-likelihood of the marks: {entry.loss:.4f} nats per pixel and plane.")
    page.heading("Stamps that it has not seen")
    page.figure(sheet, "Dotted: what half of the annotators marked. Solid: what the model marks.")
    page.write(path)


def _draw_planes(history: History) -> Any:
    figure = training_figure(12.0, 3.4)
    steps = [entry["step"] for entry in history]
    for ax, kind, title in zip(
        figure.subplots(1, 2), ("overlap", "separation"), ("overlap", "ROC area"), strict=True
    ):
        names = sorted({key for entry in history for key in entry if key.endswith(f"_{kind}")})
        for name in names:
            values = [entry.get(name, np.nan) for entry in history]
            ax.plot(steps, values, marker=".", label=name.removesuffix(f"_{kind}"))
        ax.set(xlabel="step", title=title)
        ax.legend(fontsize=7)
    return figure
