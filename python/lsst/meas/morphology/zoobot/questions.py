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

"""Zoobot's questions and answers as a question tree."""

from __future__ import annotations

__all__ = ("to_question_tree",)

import functools
import re
from collections.abc import Collection, Mapping, Sequence

from ..errors import CheckpointError, QuestionTreeError
from ..questions.tree import Question, QuestionTree, available_trees

_SUFFIXES = (
    "dr12",
    "dr5",
    "dr8",
    "cd",
    "euclid",
    "jwst",
    "gz2",
    "ukidss",
    "hubble",
    "candels",
    "desi",
    "rings",
)
"""What Galaxy Zoo appends to its questions, to tell campaigns apart."""

_MAX_NAME = 24
"""Longest name of a question or answer in a question tree."""


def to_question_tree(
    questions: Mapping[str, Sequence[str]],
    dependencies: Mapping[str, str | None],
    *,
    name: str,
    source: str,
) -> QuestionTree:
    """Return the tree that a checkpoint answers.

    Questions, answers and what follows what are the checkpoint's own, in
    its order. Where Galaxy Zoo's name of a question or answer is one that
    this package knows, so is the name in columns.

    Parameters
    ----------
    questions
        For each question its answers, as Zoobot writes them: the column of
        an answer is both together, such as ``bar-dr5`` and ``_weak``.
    dependencies
        For each question the column after which it is asked, or `None`.
    name
        Name of the tree, if it is none that this package knows.
    source
        Name of the file, for error messages.

    Raises
    ------
    CheckpointError
        Raised if the questions can't be a tree.
    """
    suffix = _common_suffix(questions)
    labels = {key: key.removesuffix(suffix) for key in questions}
    names: dict[str, str] = {}
    answers: dict[str, dict[str, str]] = {}
    for key, label in labels.items():
        names[key] = _unique(_known_question(label) or _camel(label, "question"), names.values())
        answers[key] = {}
        for answer in questions[key]:
            plain = answer.removeprefix("_")
            short = _known_answer(label, plain) or _camel(plain, "")
            answers[key][plain] = _unique(short, answers[key].values())
    columns = {key + answer: (key, answer) for key, given in questions.items() for answer in given}
    parents: dict[str, tuple[tuple[str, str], ...]] = {}
    for key in questions:
        parent = dependencies.get(key)
        if parent is not None and parent not in columns:
            raise CheckpointError(f"{source}: {key!r} is asked after {parent!r}, which is no answer of it.")
        if parent is None:
            parents[key] = ()
        else:
            above, answer = columns[parent]
            parents[key] = ((names[above], answers[above][answer.removeprefix("_")]),)
    tree_name, title = _tree_name(labels.values(), suffix) or (name, f"Questions of {name}")
    try:
        tree = QuestionTree(
            name=tree_name,
            title=title,
            suffix=suffix,
            questions=tuple(
                Question(
                    name=names[key],
                    answers=tuple(answers[key].values()),
                    parents=parents[key],
                    label=labels[key],
                    answer_labels=tuple(answers[key]),
                    text=_known_text(labels[key]),
                )
                for key in questions
            ),
        )
    except QuestionTreeError as error:
        raise CheckpointError(f"{source}: its questions can't be a question tree: {error}") from error
    if tree.label_columns != tuple(columns):
        raise CheckpointError(f"{source}: its outputs are not named as Zoobot's are: {', '.join(columns)}.")
    return tree


def _common_suffix(questions: Collection[str]) -> str:
    """Return the campaign that all questions name, with its hyphen."""
    last = {key.rpartition("-")[2] for key in questions if "-" in key}
    if len(last) == 1 and all("-" in key for key in questions):
        (suffix,) = last
        if suffix in _SUFFIXES or len(questions) > 2:
            return f"-{suffix}"
    return ""


def _camel(label: str, default: str) -> str:
    """Return a label as a name: ``more-than-4`` becomes ``moreThan4``."""
    words: list[str] = re.findall(r"[A-Za-z0-9]+", label) or [default or "answer"]
    name = words[0][:1].lower() + words[0][1:] + "".join(word[:1].upper() + word[1:] for word in words[1:])
    if default and not name[0].isalpha():
        name = default + name
    return name[:_MAX_NAME]


def _unique(name: str, taken: Collection[str]) -> str:
    """Return a name that differs from others in more than its case."""
    folded = {other.casefold() for other in taken}
    candidate, count = name, 1
    while candidate.casefold() in folded:
        count += 1
        candidate = f"{name[: _MAX_NAME - len(str(count))]}{count}"
    return candidate


@functools.cache
def _known() -> dict[str, Question]:
    """Return the questions of the shipped trees by Galaxy Zoo's name."""
    known: dict[str, Question] = {}
    for tree in available_trees():
        for question in QuestionTree.load(tree).questions:
            known.setdefault(question.label, question)
    return known


def _known_question(label: str) -> str | None:
    question = _known().get(label)
    return question.name if question else None


def _known_text(label: str) -> str:
    question = _known().get(label)
    return question.text if question else ""


def _known_answer(label: str, answer: str) -> str | None:
    question = _known().get(label)
    if question is None or answer not in question.answer_labels:
        return None
    return question.answers[question.answer_labels.index(answer)]


def _tree_name(labels: Collection[str], suffix: str) -> tuple[str, str] | None:
    """Return name and title of the shipped tree with the same questions."""
    for name in available_trees():
        tree = QuestionTree.load(name)
        if tree.suffix == suffix and [question.label for question in tree.questions] == list(labels):
            return tree.name, tree.title
    return None
