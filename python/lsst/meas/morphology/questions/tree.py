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

"""Decision trees: what volunteers are asked, and after which answers."""

from __future__ import annotations

__all__ = ("Campaign", "Question", "QuestionTree", "available_trees")

import dataclasses
import functools
import importlib.resources
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Self

from ..errors import QuestionTreeError
from .checks import Locator, check_tree, topological_order
from .question import Campaign, Question
from .yaml_source import parse_yaml

_SHIPPED = importlib.resources.files(__package__)


@dataclasses.dataclass(frozen=True)
class QuestionTree:
    """The questions of a project, in the order of a model's output.

    Despite the name this is a directed graph without circles: a question
    may follow several answers that exclude each other.

    Raises
    ------
    QuestionTreeError
        Raised if the tree is malformed in any way.
    """

    name: str
    """Name of the tree, e.g. ``rubin``."""

    title: str
    """Name of the project as shown to people."""

    questions: tuple[Question, ...]
    """All questions, in the order of a model's output."""

    suffix: str = ""
    """What the project appends to `Question.label`, e.g. ``-cd``."""

    campaigns: tuple[Campaign, ...] = ()
    """Other projects that share this tree."""

    def __post_init__(self) -> None:
        check_tree(self.to_dict(), Locator(f"question tree {self.name!r}"))

    @functools.cached_property
    def answer_columns(self) -> tuple[str, ...]:
        """One name ``<question>_<answer>`` per output."""
        return tuple(f"{q.name}_{answer}" for q in self.questions for answer in q.answers)

    @functools.cached_property
    def label_columns(self) -> tuple[str, ...]:
        """Galaxy Zoo's name ``<label><suffix>_<label>`` of each output."""
        return tuple(f"{q.label}{self.suffix}_{answer}" for q in self.questions for answer in q.answer_labels)

    @property
    def n_answers(self) -> int:
        """Number of outputs."""
        return len(self.answer_columns)

    @property
    def n_questions(self) -> int:
        """Number of questions."""
        return len(self.questions)

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        """Where the answers of each question stand in the output."""
        slices: dict[str, slice] = {}
        start = 0
        for question in self.questions:
            slices[question.name] = slice(start, start + len(question.answers))
            start += len(question.answers)
        return slices

    @functools.cached_property
    def ancestry_order(self) -> tuple[int, ...]:
        """Indices of the questions such that parents come first."""
        index = {question.name: i for i, question in enumerate(self.questions)}
        above = {question.name: [parent for parent, _ in question.parents] for question in self.questions}
        return tuple(index[name] for name in topological_order(above))

    def question(self, name: str) -> Question:
        """Return the question of a name.

        Parameters
        ----------
        name
            Name of the question.

        Returns
        -------
        question
            The question.

        Raises
        ------
        KeyError
            Raised if the tree has no such question.
        """
        for question in self.questions:
            if question.name == name:
                return question
        raise KeyError(
            f"The tree {self.name!r} has no question {name!r}; it has "
            f"{', '.join(question.name for question in self.questions)}."
        )

    def column_index(self, question: str, answer: str) -> int:
        """Return where an answer stands in the output.

        Parameters
        ----------
        question, answer
            Names of the question and of its answer.

        Returns
        -------
        index
            Index into `answer_columns`.

        Raises
        ------
        KeyError
            Raised if there is no such question or answer.
        """
        answers = self.question(question).answers
        if answer not in answers:
            raise KeyError(
                f"The question {question!r} has no answer {answer!r}; it has {', '.join(answers)}."
            )
        return self.answer_columns.index(f"{question}_{answer}")

    def for_campaign(self, name: str) -> Self:
        """Return this tree under the name and suffix of a campaign.

        Parameters
        ----------
        name
            Name of one of `campaigns`.

        Returns
        -------
        tree
            The same questions; it has no `campaigns` of its own.

        Raises
        ------
        KeyError
            Raised if there is no such campaign.
        """
        for campaign in self.campaigns:
            if campaign.name == name:
                return type(self)(name, campaign.title, self.questions, campaign.suffix)
        raise KeyError(f"The tree {self.name!r} has no campaign {name!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain data, as in its YAML file.

        Returns
        -------
        data
            Dictionaries, lists and strings, fit for JSON.
        """
        return {
            "name": self.name,
            "title": self.title,
            "suffix": self.suffix,
            "campaigns": [dataclasses.asdict(campaign) for campaign in self.campaigns],
            "questions": [
                {
                    "name": question.name,
                    "label": question.label,
                    "text": question.text,
                    "after": ["_".join(parent) for parent in question.parents],
                    "answers": [
                        {"name": name, "label": label}
                        for name, label in zip(question.answers, question.answer_labels, strict=True)
                    ],
                }
                for question in self.questions
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "question tree") -> Self:
        """Make a tree from plain data.

        Parameters
        ----------
        data
            The tree, in the form of `to_dict`.
        source
            Where the data come from, for error messages.

        Returns
        -------
        tree
            The tree.

        Raises
        ------
        QuestionTreeError
            Raised if anything is wrong, saying where.
        """
        return cls._from_data(data, Locator(source))

    @classmethod
    def _from_data(cls, data: Any, locate: Locator) -> Self:
        check_tree(data, locate)
        return cls(
            name=data["name"],
            title=data["title"],
            suffix=data.get("suffix", ""),
            campaigns=tuple(Campaign(**campaign) for campaign in data.get("campaigns", ())),
            questions=tuple(_question(question) for question in data["questions"]),
        )

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a tree from a YAML file.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
        tree
            The tree.

        Raises
        ------
        QuestionTreeError
            Raised if the file is no valid tree, with file and line.
        OSError
            Raised if the file cannot be read.
        """
        return cls._from_bytes(pathlib.Path(path).read_bytes(), os.fspath(path))

    @classmethod
    def load(cls, name: str) -> Self:
        """Return a tree that ships with this package.

        Parameters
        ----------
        name
            Name of a tree or of a campaign; see `available_trees`.

        Returns
        -------
        tree
            The tree.

        Raises
        ------
        QuestionTreeError
            Raised if there is no such tree.
        """
        if name in _shipped_names():
            return cls._from_bytes((_SHIPPED / f"{name}.yaml").read_bytes(), f"{name}.yaml")
        if name in available_trees():
            for file_name in _shipped_names():
                tree = cls.load(file_name)
                if any(campaign.name == name for campaign in tree.campaigns):
                    return tree.for_campaign(name)
        raise QuestionTreeError(
            f"There is no question tree {name!r}; available are {', '.join(available_trees())}. "
            "A tree of your own is read from its file."
        )

    @classmethod
    def _from_bytes(cls, content: bytes, source: str) -> Self:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise QuestionTreeError(f"{source}: not UTF-8 text: {error}") from error
        return cls._from_data(*parse_yaml(text, source))


def _question(data: Mapping[str, Any]) -> Question:
    """Make a question from data that have been checked."""
    answers = [{"name": answer} if isinstance(answer, str) else answer for answer in data["answers"]]
    return Question(
        name=data["name"],
        answers=tuple(answer["name"] for answer in answers),
        parents=tuple(_parent(text) for text in data.get("after", ())),
        label=data.get("label", ""),
        answer_labels=tuple(answer.get("label", answer["name"]) for answer in answers),
        text=data.get("text", ""),
    )


def _parent(text: str) -> tuple[str, str]:
    question, _, answer = text.partition("_")
    return question, answer


def _shipped_names() -> tuple[str, ...]:
    names = (item.name for item in _SHIPPED.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@functools.cache
def available_trees() -> tuple[str, ...]:
    """Return the names that `QuestionTree.load` knows.

    Returns
    -------
    names
        Trees and the campaigns that share them, sorted.
    """
    names = list(_shipped_names())
    for name in _shipped_names():
        names.extend(campaign.name for campaign in QuestionTree.load(name).campaigns)
    return tuple(sorted(names))
