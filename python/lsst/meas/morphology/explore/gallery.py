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

"""A sheet of galaxies beside what the model says of them."""

from __future__ import annotations

__all__ = ("Portrait", "choose_rows", "describe_row", "draw_gallery")

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError
from ..questions.tree import QuestionTree

_ASKED = 0.5
"""Least probability of being asked for a question to be shown."""


@dataclasses.dataclass(frozen=True)
class Portrait:
    """One galaxy of the sheet."""

    title: str
    """Its name."""

    rgb: npt.NDArray[np.float32]
    """Colour picture ``[y, x, 3]``."""

    lines: tuple[str, ...]
    """What the model says, a line for each question."""


def choose_rows(
    table: Mapping[str, npt.NDArray[Any]], tree: QuestionTree, *, count: int, seed: int = 1
) -> npt.NDArray[np.int64]:
    """Choose varied rows: for each first answer in turn one that is sure.

    Parameters
    ----------
    table
        Columns of a morphology table.
    tree
        The tree that the table was made with.
    count
        Number of rows wanted.
    seed
        Of the random order among rows of one kind.

    Returns
    -------
    rows
        Indices of at most ``count`` rows, without repetition.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~table["morphology_flag"]))
    kinds: dict[tuple[str, ...], list[int]] = {}
    for row in order:
        kind = tuple(answer for _, answer, *_ in _answers(table, tree, int(row)))
        kinds.setdefault(kind, []).append(int(row))
    queues = sorted(kinds.values(), key=len, reverse=True)
    chosen: list[int] = []
    while queues and len(chosen) < count:
        for queue in queues:
            chosen.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return np.asarray(chosen[:count], np.int64)


def describe_row(table: Mapping[str, npt.NDArray[Any]], tree: QuestionTree, row: int) -> tuple[str, ...]:
    """Say in a few lines what the model says of an object.

    Parameters
    ----------
    table
        Columns of a morphology table.
    tree
        The tree that the table was made with.
    row
        The object's row.

    Returns
    -------
    lines
        For each question that is asked of it the likeliest answer, its
        expected fraction of the votes and the 90 % interval.
    """
    return tuple(
        f"{question}: {answer} {fraction:.2f} [{low:.2f}, {high:.2f}]"
        for question, answer, fraction, low, high in _answers(table, tree, row)
    )


def draw_gallery(path: str | Path, portraits: Sequence[Portrait], *, title: str, columns: int = 4) -> None:
    """Draw the sheet.

    Parameters
    ----------
    path
        Picture to write.
    portraits
        The galaxies.
    title
        Heading of the sheet.
    columns
        Galaxies in a row.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "draw pictures") from error

    rows = max(1, -(-len(portraits) // columns))
    figure = Figure(figsize=(3.4 * columns, 4.6 * rows), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, portrait in zip(axes, portraits, strict=False):
        ax.imshow(portrait.rgb, origin="lower", interpolation="nearest")
        ax.set_title(portrait.title, fontsize=8)
        ax.text(
            0.0,
            -0.03,
            "\n".join(portrait.lines),
            transform=ax.transAxes,
            fontsize=6.5,
            va="top",
            family="monospace",
        )
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _answers(
    table: Mapping[str, npt.NDArray[Any]], tree: QuestionTree, row: int
) -> list[tuple[str, str, float, float, float]]:
    """Return the likeliest answer to each question that is asked."""
    found = []
    for question in tree.questions:
        if table[f"{question.name}_asked"][row] < _ASKED:
            continue
        stems = [f"{question.name}_{answer}" for answer in question.answers]
        best = int(np.argmax([table[f"{stem}_fraction"][row] for stem in stems]))
        fraction, low, high = (
            float(table[stems[best] + end][row]) for end in ("_fraction", "_fractionLow", "_fractionHigh")
        )
        found.append((question.name, question.answers[best], fraction, low, high))
    return found
