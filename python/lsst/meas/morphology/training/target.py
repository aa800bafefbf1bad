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

"""What is to be learnt from a table of labels."""

from __future__ import annotations

__all__ = ("ClassesTarget", "ScalarTarget", "Target", "VotesTarget", "make_target", "snake_name")

import dataclasses
import re
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from ..errors import LabelError, MissingColumnError
from ..questions.tree import Question, QuestionTree
from .label_table import LabelTable

type Kind = Literal["auto", "classes", "scalar", "votes"]

MAX_CLASSES = 32
"""More different values of a column are taken for a mistake."""

_YES = frozenset({"1", "true", "t", "yes", "y"})
_NO = frozenset({"0", "false", "f", "no", "n"})


@dataclasses.dataclass(frozen=True)
class VotesTarget:
    """Vote counts on the questions of a tree."""

    tree: QuestionTree
    """The questions."""

    votes: npt.NDArray[np.int32]
    """Counts, of shape ``[n, a]``; 0 where a question was not asked."""

    labelled: npt.NDArray[np.bool_]
    """Rows with at least one vote, ``[n]``."""

    @property
    def name(self) -> str:
        """Name of the tree."""
        return self.tree.name

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return some of the rows."""
        return type(self)(self.tree, self.votes[rows], self.labelled[rows])


@dataclasses.dataclass(frozen=True)
class ClassesTarget(VotesTarget):
    """Classes that exclude each other, as a question of one vote each."""

    @property
    def classes(self) -> npt.NDArray[np.intp]:
        """Index of the class of each row; 0 also where there is none."""
        return np.asarray(self.votes.argmax(axis=1))


@dataclasses.dataclass(frozen=True)
class ScalarTarget:
    """A quantity."""

    name: str
    """Its name."""

    values: npt.NDArray[np.float32]
    """Its values, ``[n]``; NaN where there is none."""

    labelled: npt.NDArray[np.bool_]
    """Rows with a value, ``[n]``."""

    unit: str = ""
    """Its unit; empty if it has none."""

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return some of the rows."""
        return type(self)(self.name, self.values[rows], self.labelled[rows], self.unit)


Target = VotesTarget | ClassesTarget | ScalarTarget
"""Whatever can be learnt."""


def make_target(
    table: LabelTable,
    column: str | None = None,
    *,
    kind: Kind = "auto",
    tree: QuestionTree | None = None,
    unit: str = "",
) -> Target:
    """Find out what a table teaches.

    Parameters
    ----------
    table
        The labels.
    column
        Name of the column of classes or of values; None for vote counts.
    kind
        What the column holds. ``auto`` takes text, booleans, and numbers
        that are all 0 or 1 for classes, other fractional numbers for a
        quantity, and refuses to guess on whole numbers.
    tree
        The questions that were voted on.
    unit
        Unit of a quantity.

    Raises
    ------
    LabelError
        Raised if the labels make no sense, or no row has one.
    MissingColumnError
        Raised if the table lacks what is needed.
    """
    target: Target
    if column is None:
        if kind not in ("auto", "votes"):
            raise LabelError(f"Name the column of {table.source} that holds the {kind}.")
        if tree is None:
            raise LabelError("Vote counts need a question tree.")
        target = _votes(table, tree)
    else:
        values = table.column(column)
        if kind == "auto":
            kind = _guess(values, column, table.source)
        if kind == "votes":
            raise LabelError("Vote counts are found by their names: don't name a column.")
        if kind == "scalar":
            target = _scalar(values, column, table.source, unit)
        else:
            target = _classes(values, column, table.source)
    if not target.labelled.any():
        raise LabelError(f"No row of {table.source} has a label.")
    return target


def _guess(values: np.ma.MaskedArray[Any, Any], column: str, source: str) -> Literal["classes", "scalar"]:
    present = values.compressed()
    if present.dtype.kind in "bOUS" or np.isin(present, (0, 1)).all():
        return "classes"
    if present.dtype.kind == "f" and np.any(present != np.round(present)):
        return "scalar"
    raise LabelError(
        f"Column {column!r} of {source} holds whole numbers: say whether they are classes or a quantity (kind"
        " 'classes' or 'scalar')."
    )


def _votes(table: LabelTable, tree: QuestionTree) -> VotesTarget:
    """Collect vote counts under our names or Galaxy Zoo's."""
    votes = np.zeros((len(table), tree.n_answers), np.int32)
    bare = [f"{q.label}_{answer}" for q in tree.questions for answer in q.answer_labels]
    names = list(zip(tree.answer_columns, tree.label_columns, bare, strict=True))
    found = 0
    for question, answers in tree.slices.items():
        columns = [table.find(names[index]) for index in range(answers.start, answers.stop)]
        missing = [names[answers.start + i][1] for i, column in enumerate(columns) if column is None]
        if len(missing) == len(columns):
            continue
        if missing:
            raise MissingColumnError(
                f"{table.source} has votes on the question {question}, but not on its answer(s)"
                f" {', '.join(missing)}."
            )
        for index, column in enumerate(columns, start=answers.start):
            assert column is not None
            votes[:, index] = _counts(column, names[index][1], table.source)
        found += 1
    if not found:
        raise MissingColumnError(
            f"{table.source} has no vote counts of the tree {tree.name!r}: no columns such as"
            f" {tree.label_columns[0]} or {tree.answer_columns[0]}. It has {', '.join(table.columns)}."
        )
    return VotesTarget(tree, votes, votes.any(axis=1))


def _counts(column: np.ma.MaskedArray[Any, Any], name: str, source: str) -> npt.NDArray[np.int32]:
    if column.dtype.kind not in "iuf":
        raise LabelError(f"Column {name} of {source} holds {column.dtype}, not vote counts.")
    values = column.filled(0)
    wrong = (values < 0) | (values != np.round(values)) | (values > 2**24)
    if wrong.any():
        raise LabelError(
            f"Column {name} of {source} holds {values[wrong][0]}, which is no vote count: counts are whole"
            " and not negative."
        )
    return np.asarray(values, np.int32)


def _classes(values: np.ma.MaskedArray[Any, Any], column: str, source: str) -> ClassesTarget:
    texts = np.array([_class_text(value) for value in np.ma.getdata(values)], dtype=object)
    labelled = ~np.ma.getmaskarray(values)
    names = sorted(set(texts[labelled]))
    folded = {name: name.casefold() for name in names}
    if names and set(folded.values()) <= _YES | _NO:
        texts = np.array(["yes" if text.casefold() in _YES else "no" for text in texts], dtype=object)
        names = ["yes", "no"]
    if not 2 <= len(names) <= MAX_CLASSES:
        raise LabelError(
            f"Column {column!r} of {source} holds {len(names)} different classes; from 2 to {MAX_CLASSES}"
            " can be learnt."
        )
    question = Question(
        name=_camel(column, fallback="target"),
        answers=tuple(_camel(name, fallback="class") for name in names),
        label=_label(column),
        answer_labels=tuple(map(_label, names)),
        text=f"Which class of {column}?" if names != ["yes", "no"] else f"{column}?",
    )
    tree = QuestionTree(name=snake_name(column), title=f"Classes of {column}", questions=(question,))
    votes = np.stack([(texts == name) & labelled for name in names], axis=1).astype(np.int32)
    return ClassesTarget(tree, votes, labelled)


def _class_text(value: Any) -> str:
    """Return a class as text; 1.0 is the same class as 1."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


def _scalar(values: np.ma.MaskedArray[Any, Any], column: str, source: str, unit: str) -> ScalarTarget:
    if values.dtype.kind not in "iufb":
        raise LabelError(f"Column {column!r} of {source} holds {values.dtype}, no numbers.")
    numbers = np.ma.masked_invalid(values.astype(np.float32)).filled(np.nan)
    return ScalarTarget(column, np.asarray(numbers, np.float32), np.isfinite(numbers), unit)


def _camel(text: str, *, fallback: str) -> str:
    """Return text as a name of a question or an answer."""
    words: list[str] = re.findall(r"[A-Za-z0-9]+", text)
    if not words:
        return fallback
    name = words[0][:1].lower() + words[0][1:] + "".join(word[:1].upper() + word[1:] for word in words[1:])
    if fallback == "target" and not name[0].isalpha():
        name = f"{fallback}{name}"
    return name[:24]


def _label(text: str) -> str:
    """Return text as Galaxy Zoo would label an answer."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "class"


def snake_name(text: str) -> str:
    """Return text as a name of a tree or of a model.

    Parameters
    ----------
    text
        Such as the name of a column.
    """
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()).strip("_")
    return (name if name[:1].isalpha() else f"target_{name}")[:48]
