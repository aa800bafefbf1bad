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

"""Checks of a decision tree given as plain data."""

from __future__ import annotations

__all__ = ("Locator", "check_tree", "topological_order")

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from ..errors import QuestionTreeError

type Path = tuple[str | int, ...]
type Parent = tuple[str, str]

_TREE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_QUESTION_NAME = re.compile(r"[a-z][A-Za-z0-9]*")
_ANSWER_NAME = re.compile(r"[A-Za-z0-9]+")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SUFFIX = re.compile(r"[A-Za-z0-9-]*")

_MAX_NAME = 24
"""Longest question or answer name: ``<q>_<a>_concentration`` then has at
most 63 characters, PostgreSQL's limit on identifiers."""

_TREE_KEYS = {"name": True, "title": True, "suffix": False, "campaigns": False, "questions": True}
_CAMPAIGN_KEYS = {"name": True, "title": True, "suffix": True}
_QUESTION_KEYS = {"name": True, "label": False, "text": False, "after": False, "answers": True}
_ANSWER_KEYS = {"name": True, "label": False}


@dataclasses.dataclass(frozen=True)
class Locator:
    """Says where in a source a value stands, for error messages.

    Parameters
    ----------
    source
        Name of the file or object that the tree comes from.
    lines
        Line numbers, from 1, by path within the data; empty if unknown.
    """

    source: str
    lines: Mapping[Path, int] = dataclasses.field(default_factory=dict)

    def fail(self, path: Path, message: str) -> NoReturn:
        """Raise the error for a place.

        Parameters
        ----------
        path
            Keys and indices that lead to the faulty value.
        message
            What is wrong with it.

        Raises
        ------
        QuestionTreeError
            Always.
        """
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = f":{self.lines[known]}" if known in self.lines else ""
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
        raise QuestionTreeError(f"{self.source}{line}: {place + ': ' if place else ''}{message}")


def check_tree(data: object, locate: Locator) -> None:
    """Check everything about a tree given as plain data.

    Parameters
    ----------
    data
        The tree, in the form that `QuestionTree.to_dict` gives.
    locate
        Says where things stand, for error messages.

    Raises
    ------
    QuestionTreeError
        Raised if a key is missing or unknown, a name is no SDM identifier
        or occurs twice, a question has fewer than two answers, a parent is
        unknown, the same volunteer could come to a question by two of its
        parents, or questions follow each other in a circle.
    """
    tree = _keys(data, (), _TREE_KEYS, locate)
    _text(tree["name"], ("name",), locate, _TREE_NAME, "a tree's name")
    _text(tree["title"], ("title",), locate)
    _text(tree.get("suffix", ""), ("suffix",), locate, _SUFFIX, "a suffix")
    for index, item in enumerate(_sequence(tree.get("campaigns", ()), ("campaigns",), locate)):
        campaign = _keys(item, ("campaigns", index), _CAMPAIGN_KEYS, locate)
        _text(campaign["name"], ("campaigns", index, "name"), locate, _TREE_NAME, "a campaign's name")
        _text(campaign["title"], ("campaigns", index, "title"), locate)
        _text(campaign["suffix"], ("campaigns", index, "suffix"), locate, _SUFFIX, "a suffix")
    questions = _sequence(tree["questions"], ("questions",), locate)
    if not questions:
        locate.fail(("questions",), "a tree needs at least one question")
    answers = _check_questions(questions, locate)
    _check_parents(questions, answers, locate)


def _check_questions(questions: Sequence[Any], locate: Locator) -> dict[str, list[str]]:
    """Check names, labels and answers; return the answers by question."""
    answers: dict[str, list[str]] = {}
    names: list[str] = []
    labels: list[str] = []
    for index, item in enumerate(questions):
        place: Path = ("questions", index)
        question = _keys(item, place, _QUESTION_KEYS, locate)
        name = _text(question["name"], (*place, "name"), locate, _QUESTION_NAME, "a question's name")
        _once(name, names, (*place, "name"), "question", locate)
        label = _text(question.get("label", name), (*place, "label"), locate, _LABEL, "a label")
        _once(label, labels, (*place, "label"), "label", locate)
        _text(question.get("text", "-"), (*place, "text"), locate)
        given = _sequence(question["answers"], (*place, "answers"), locate)
        if len(given) < 2:
            locate.fail((*place, "answers"), f"question {name!r} needs at least two answers")
        answers[name] = []
        answer_labels: list[str] = []
        for number, answer in enumerate(given):
            _check_answer(answer, (*place, "answers", number), name, answers[name], answer_labels, locate)
    return answers


def _check_answer(
    answer: object, place: Path, question: str, names: list[str], labels: list[str], locate: Locator
) -> None:
    """Check one answer and add its name and label to those seen."""
    if isinstance(answer, str):
        answer = {"name": answer}
    fields = _keys(answer, place, _ANSWER_KEYS, locate)
    name = _text(fields["name"], place, locate, _ANSWER_NAME, "an answer's name")
    _once(name, names, place, f"answer of question {question!r}", locate)
    label = _text(fields.get("label", name), place, locate, _LABEL, "a label")
    _once(label, labels, place, f"answer label of question {question!r}", locate)


def _check_parents(questions: Sequence[Any], answers: Mapping[str, list[str]], locate: Locator) -> None:
    """Check that parents exist, exclude each other, and form no circle."""
    parents: dict[str, list[Parent]] = {}
    places: dict[str, Path] = {}
    for index, question in enumerate(questions):
        name = question["name"]
        places[name] = ("questions", index, "after")
        parents[name] = []
        for number, item in enumerate(_sequence(question.get("after", ()), places[name], locate)):
            place: Path = (*places[name], number)
            text = _text(item, place, locate)
            asked, _, answer = text.partition("_")
            if asked not in answers:
                locate.fail(place, f"question {name!r} follows {text!r}, but there is no question {asked!r}")
            if answer not in answers[asked]:
                locate.fail(
                    place,
                    f"question {name!r} follows {text!r}, but {asked!r} has no answer {answer!r}; "
                    f"it has {', '.join(answers[asked])}",
                )
            if (asked, answer) in parents[name]:
                locate.fail(place, f"question {name!r} follows {text!r} twice")
            parents[name].append((asked, answer))
    order = topological_order({name: [asked for asked, _ in above] for name, above in parents.items()})
    for name in parents:
        if name not in order:
            circle = ", ".join(sorted(set(parents) - set(order)))
            locate.fail(places[name], f"question {name!r} can never be asked: a circle holds up {circle}")
    for name, above in parents.items():
        for number, second in enumerate(above):
            for first in above[:number]:
                if not _exclusive(first, second, parents):
                    locate.fail(
                        (*places[name], number),
                        f"question {name!r} follows both {'_'.join(first)!r} and {'_'.join(second)!r}, "
                        "which one volunteer can give; parents must exclude each other",
                    )


def _exclusive(first: Parent, second: Parent, parents: Mapping[str, Sequence[Parent]]) -> bool:
    """Whether no volunteer can give both answers."""
    if first[0] == second[0]:
        return first[1] != second[1]
    above_first, above_second = parents[first[0]], parents[second[0]]
    return (bool(above_first) and all(_exclusive(above, second, parents) for above in above_first)) or (
        bool(above_second) and all(_exclusive(first, above, parents) for above in above_second)
    )


def topological_order(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Order names so that each stands after all those it depends on.

    Parameters
    ----------
    parents
        For each name, the names that it depends on.

    Returns
    -------
    order
        The names, otherwise in their given order; those that depend on a
        circle are left out.
    """
    waiting = {name: set(above) for name, above in parents.items()}
    order: list[str] = []
    while ready := [name for name, above in waiting.items() if above <= set(order)]:
        order.extend(ready)
        for name in ready:
            del waiting[name]
    return order


def _keys(data: object, path: Path, known: Mapping[str, bool], locate: Locator) -> Mapping[str, Any]:
    """Check the keys of a mapping: known ones only, required ones there."""
    if not isinstance(data, Mapping):
        locate.fail(path, f"expected a mapping with the keys {', '.join(known)}, got {_kind(data)}")
    for key in data:
        if key not in known:
            locate.fail((*path, key), f"unknown key {key!r}; known are {', '.join(known)}")
    for key, required in known.items():
        if required and key not in data:
            locate.fail(path, f"the key {key!r} is missing")
    return data


def _sequence(data: object, path: Path, locate: Locator) -> Sequence[Any]:
    if isinstance(data, str) or not isinstance(data, Sequence):
        locate.fail(path, f"expected a list, got {_kind(data)}")
    return data


def _text(
    data: object, path: Path, locate: Locator, pattern: re.Pattern[str] | None = None, what: str = ""
) -> str:
    """Check that a value is one line of text, and if given its pattern."""
    if not isinstance(data, str):
        locate.fail(path, f"expected text, got {_kind(data)}")
    if pattern is None:
        if not data.strip() or "\n" in data:
            locate.fail(path, "expected one line of text")
    elif not pattern.fullmatch(data):
        locate.fail(path, f"{data!r} cannot be {what}: it must match {pattern.pattern}")
    elif pattern in (_QUESTION_NAME, _ANSWER_NAME) and len(data) > _MAX_NAME:
        locate.fail(path, f"{data!r} cannot be {what}: it is longer than {_MAX_NAME} characters")
    return data


def _once(name: str, seen: list[str], path: Path, what: str, locate: Locator) -> None:
    """Check that a name is new; SDM identifiers ignore case."""
    for other in seen:
        if name.casefold() == other.casefold():
            same = "occurs twice" if name == other else f"differs from {other!r} in case only"
            locate.fail(path, f"the {what} {name!r} {same}")
    seen.append(name)


def _kind(data: object) -> str:
    return "nothing" if data is None or data == "" else type(data).__name__
