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

"""A question of a decision tree, and the projects that asked it."""

from __future__ import annotations

__all__ = ("Campaign", "Question")

import dataclasses

from ..errors import QuestionTreeError


@dataclasses.dataclass(frozen=True)
class Question:
    """A question, its answers, and the answers after which it is asked."""

    name: str
    """Name in column names, camelCase, e.g. ``smoothOrFeatured``."""

    answers: tuple[str, ...]
    """Names of the answers in column names, e.g. ``featuredOrDisk``."""

    parents: tuple[tuple[str, str], ...] = ()
    """Questions and answers after any of which this one is asked; empty if
    it is always asked."""

    label: str = ""
    """Galaxy Zoo's own name, e.g. ``smooth-or-featured``; by default
    `name`."""

    answer_labels: tuple[str, ...] = ()
    """Galaxy Zoo's own names of the answers; by default `answers`."""

    text: str = ""
    """The question as shown to people, one line; by default `label`."""

    def __post_init__(self) -> None:
        for field, default in (("label", self.name), ("answer_labels", self.answers)):
            if not getattr(self, field):
                object.__setattr__(self, field, default)
        if not self.text:
            object.__setattr__(self, "text", self.label)
        if len(self.answer_labels) != len(self.answers):
            raise QuestionTreeError(
                f"Question {self.name!r} has {len(self.answers)} answers, {len(self.answer_labels)} labels."
            )


@dataclasses.dataclass(frozen=True)
class Campaign:
    """A project that asked a tree's questions under its own suffix."""

    name: str
    title: str
    suffix: str
