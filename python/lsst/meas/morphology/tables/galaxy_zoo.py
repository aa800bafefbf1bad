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

"""Galaxy Zoo's names for our columns, and its tables' layouts."""

from __future__ import annotations

__all__ = (
    "ANSWER_NAMES",
    "VOTES",
    "Concentration",
    "Layout",
    "answer_names",
    "from_galaxy_zoo",
    "to_galaxy_zoo",
    "tree_of",
)

import json
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import MissingColumnError, QuestionTreeError
from ..questions.tree import QuestionTree
from .image_rows import TREE_KEY

Layout = Literal["friendly", "advanced"]
"""The two tables in which Galaxy Zoo DESI was published."""

Concentration = Literal["dirichlet", "concentrations", "bare"]
"""What follows an answer's name in the name of its concentration: as Galaxy
Zoo Euclid and Galaxy Zoo DECaLS publish it, or nothing, as in the tables that
Zoobot 2.9 writes."""

VOTES = "votes"
"""What follows an answer's name in our name of the number of its votes."""

ANSWER_NAMES = {
    "fraction": "fraction",
    "fractionLow": "90pc-lower",
    "fractionHigh": "90pc-upper",
}
"""What follows an answer's name, in our columns and in Galaxy Zoo's."""

_ASKED = "proportion-asked"
_FRIENDLY_ASKED = 0.5
_POSITION = {"coord_ra": "ra", "coord_dec": "dec"}


def answer_names(tree: QuestionTree, *, suffix: str | None = None) -> dict[str, str]:
    """Return Galaxy Zoo's name of each answer.

    Parameters
    ----------
    tree
        The questions.
    suffix
        What follows a question's name, such as ``-dr5``; by default the
        tree's own.

    Returns
    -------
    names
        Galaxy Zoo's name, ``<question><suffix>_<answer>``, by ours.
    """
    suffix = tree.suffix if suffix is None else suffix
    theirs = (f"{q.label}{suffix}_{label}" for q in tree.questions for label in q.answer_labels)
    return dict(zip(tree.answer_columns, theirs, strict=True))


def to_galaxy_zoo(
    table: pa.Table,
    tree: QuestionTree,
    *,
    layout: Layout,
    suffix: str | None = None,
    concentration: Concentration | None = None,
) -> pa.Table:
    """Return a table of ours in a layout of Galaxy Zoo DESI.

    Parameters
    ----------
    table
        Columns of `~.columns.morphology_columns`, of which fractions and
        chances to be asked are needed, and for the advanced layout the
        intervals.
    tree
        The questions.
    layout
        ``friendly``: each answer's fraction, NaN where less than half of
        the volunteers would be asked the question. ``advanced``: all
        fractions, their 90 % intervals, and how likely the question is
        asked, repeated for each answer.
    suffix
        What follows a question's name; by default the tree's own.
    concentration
        Add the concentrations, under that name.

    Returns
    -------
    table
        The columns that are neither flags, nor embeddings, nor of the
        questions, positions as ``ra`` and ``dec``, and then the answers.

    Raises
    ------
    MissingColumnError
        Raised if the table lacks a column that is needed.

    Notes
    -----
    Two numbers are defined better than in the original. Intervals are those
    of the mixture of all posterior samples, not medians of the samples' own
    edges, and a question may follow several answers: merging is not asked
    of artifacts.
    """
    columns = dict(_kept(table, tree))
    for question in tree.questions:
        asked = _numbers(table, f"{question.name}_asked")
        for answer in question.answers:
            ours = f"{question.name}_{answer}"
            theirs = answer_names(tree, suffix=suffix)[ours]
            fraction = _numbers(table, f"{ours}_fraction")
            if layout == "friendly":
                fraction = np.where(asked >= _FRIENDLY_ASKED, fraction, np.float32(np.nan))
            columns[f"{theirs}_fraction"] = pa.array(fraction)
            if layout == "advanced":
                for our_end in ("fractionLow", "fractionHigh"):
                    columns[f"{theirs}_{ANSWER_NAMES[our_end]}"] = pa.array(
                        _numbers(table, f"{ours}_{our_end}")
                    )
                columns[f"{theirs}_{_ASKED}"] = pa.array(asked)
            if concentration is not None:
                name = theirs if concentration == "bare" else f"{theirs}_{concentration}"
                columns[name] = pa.array(_numbers(table, f"{ours}_concentration"))
    return pa.table(columns).replace_schema_metadata({TREE_KEY: json.dumps(tree.to_dict())})


def from_galaxy_zoo(
    table: pa.Table,
    tree: QuestionTree,
    *,
    suffix: str | None = None,
    bare: Literal["votes", "concentration"] = "votes",
) -> pa.Table:
    """Return a table of Galaxy Zoo's with our names.

    Parameters
    ----------
    table
        A table of votes or of predictions.
    tree
        The questions.
    suffix
        What follows a question's name; by default the tree's own.
    bare
        What a column is that has an answer's name alone: a number of votes,
        as in tables of volunteers' votes, or a concentration, as in those
        that Zoobot 2.9 writes.

    Returns
    -------
    table
        The columns of the answers that were found, by our names, and the
        others as they are. A number of votes is ``<question>_<answer>_votes``.

    Raises
    ------
    MissingColumnError
        Raised if no column belongs to the tree.
    ValueError
        Raised if the answers of one question differ in how likely it is
        asked.
    """
    renamed: dict[str, str] = {}
    endings = {theirs: ours for ours, theirs in ANSWER_NAMES.items()}
    endings |= {"dirichlet": "concentration", "concentrations": "concentration"}
    for ours, theirs in answer_names(tree, suffix=suffix).items():
        renamed[theirs] = f"{ours}_{VOTES if bare == 'votes' else 'concentration'}"
        for their_end, our_end in endings.items():
            renamed[f"{theirs}_{their_end}"] = f"{ours}_{our_end}"
    columns = {renamed.get(name, name): table[name] for name in table.column_names}
    if not set(renamed) & set(table.column_names):
        raise MissingColumnError(
            f"The table has no column of the tree {tree.name!r}, such as {next(iter(renamed))!r}; it has"
            f" {', '.join(table.column_names[:8])}. Is the suffix right?"
        )
    for question, asked, names in _asked(table, tree, suffix):
        for name in names:
            columns.pop(name)
        columns[f"{question}_asked"] = pa.array(asked)
    return pa.table(columns).replace_schema_metadata({TREE_KEY: json.dumps(tree.to_dict())})


def tree_of(schema: pa.Schema, source: str) -> QuestionTree:
    """Return the question tree that a table says it was made with.

    Parameters
    ----------
    schema
        The table's schema.
    source
        Name of the table, for error messages.

    Raises
    ------
    QuestionTreeError
        Raised if the table does not say.
    """
    metadata = schema.metadata or {}
    if definition := metadata.get(TREE_KEY.encode()):
        return QuestionTree.from_dict(json.loads(definition), source=source)
    if name := metadata.get(b"lsst.meas.morphology.tree"):
        return QuestionTree.load(name.decode())
    raise QuestionTreeError(f"{source} does not say which question tree it was made with: name it.")


def _kept(table: pa.Table, tree: QuestionTree) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield the columns that Galaxy Zoo's layouts keep as they are."""
    ours = tuple(f"{question.name}_" for question in tree.questions)
    for name in table.column_names:
        if name != "embedding" and not name.startswith((*ours, "morphology_")):
            yield _POSITION.get(name, name), table[name]


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    """Return a column as numbers, NaN where null."""
    if name not in table.column_names:
        raise MissingColumnError(f"The table has no column {name!r}; is its question tree another?")
    return np.asarray(table[name].cast(pa.float32()).to_numpy(), dtype=np.float32)


def _asked(
    table: pa.Table, tree: QuestionTree, suffix: str | None
) -> Iterator[tuple[str, npt.NDArray[np.float32], list[str]]]:
    """Yield how likely each question is asked, and the columns that say it."""
    answers = answer_names(tree, suffix=suffix)
    end = tree.suffix if suffix is None else suffix
    for question in tree.questions:
        names = [f"{answers[f'{question.name}_{answer}']}_{_ASKED}" for answer in question.answers]
        names.append(f"{question.label}{end}_proportion_volunteers_asked")
        found = [name for name in names if name in table.column_names]
        if not found:
            continue
        columns = [_numbers(table, name) for name in found]
        for name, column in zip(found[1:], columns[1:], strict=True):
            if not np.allclose(column, columns[0], rtol=1e-5, equal_nan=True):
                raise ValueError(f"The columns {found[0]!r} and {name!r} differ; they are one number.")
        yield question.name, columns[0], found
