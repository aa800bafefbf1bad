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

"""YAML files as plain data that remembers where each value stands."""

from __future__ import annotations

__all__ = ("parse_yaml",)

from typing import Any

import yaml

from ..errors import QuestionTreeError
from .checks import Locator, Path

_MAX_CHARACTERS = 1_000_000


def parse_yaml(text: str, source: str) -> tuple[Any, Locator]:
    """Read a YAML document of mappings, lists and text.

    All scalars are text, whatever they look like, so that an answer may
    be called ``no`` or ``1`` without quotes.

    Parameters
    ----------
    text
        The document.
    source
        The file's name, for error messages.

    Returns
    -------
    data
        Dictionaries, lists and strings.
    locate
        Knows the line of each value.

    Raises
    ------
    QuestionTreeError
        Raised if the document is no YAML, has a key twice in a mapping, or
        uses an alias.
    """
    if len(text) > _MAX_CHARACTERS:
        raise QuestionTreeError(f"{source}: longer than {_MAX_CHARACTERS} characters, so no decision tree")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise QuestionTreeError(
            f"{source}{line}: not valid YAML: {error.problem or error.context}"
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise QuestionTreeError(f"{source}: not valid YAML: {error}") from error
    if root is None:
        raise QuestionTreeError(f"{source}: the file is empty")
    lines: dict[Path, int] = {}
    locate = Locator(source, lines)
    return _plain(root, (), lines, set(), locate), locate


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int], seen: set[int], locate: Locator) -> Any:
    """Turn a node into plain data, noting the line of each path."""
    lines[path] = node.start_mark.line + 1
    if id(node) in seen:
        locate.fail(path, "aliases are not allowed")
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines, seen, locate) for i, item in enumerate(node.value)]
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            lines[(*path, "?")] = key_node.start_mark.line + 1
            locate.fail((*path, "?"), "a key must be text")
        key = key_node.value
        if key in data:
            lines[(*path, key)] = key_node.start_mark.line + 1
            locate.fail((*path, key), f"the key {key!r} occurs twice")
        data[key] = _plain(value_node, (*path, key), lines, seen, locate)
        lines[(*path, key)] = key_node.start_mark.line + 1
    return data
