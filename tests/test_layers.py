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

"""The house's rule of imports: to lower layers, or within the folder."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "lsst.meas.morphology"
ROOT = Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0])  # type: ignore[union-attr, index]

LAYERS = {
    "errors": -1,
    "flags": -1,
    "sky": -1,
    "questions": 0,
    "beta_mixture": 0,
    "dirichlet_multinomial": 0,
    "confident": 0,
    "coverage": 1,
    "html_page": 0,
    "rgb": 0,
    "model": 1,
    "posteriors": 1,
    "surface_brightness": 1,
    "pixels": 2,
    "inference": 2,
    "images": 2,
    "masks": 2,
    "tables": 2,
    "butler": 3,
    "image_catalog": 3,
    "simulation": 3,
    "training": 3,
    "validation": 3,
    "discovery": 3,
    "explore": 3,
    "zoobot": 4,
    "tasks": 4,
    "cli": 5,
    "__main__": 6,
}
STRANGERS = tuple(
    {a, b} for a, b in itertools.combinations(("pixels", "images", "inference", "masks", "tables"), 2)
)
HEAVY = ("torch", "onnxruntime", "onnx", "matplotlib", "timm", "galsim")


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name (below the package) and path of each module."""
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name not in ("version", "__init__"):
            yield name.removesuffix(".__init__"), path


def imports(name: str, path: Path) -> set[str]:
    """Return the package's modules that a module imports, anywhere in it."""
    base = f"{PACKAGE}.{name}".split(".")
    parents = base if path.name == "__init__.py" else base[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*stem, *([node.module] if node.module else [])])
            found.add(origin)
            found.update(f"{origin}.{alias.name}" for alias in node.names)
    known = {module for module, _ in modules()}
    below = {item.removeprefix(f"{PACKAGE}.") for item in found if item.startswith(f"{PACKAGE}.")}
    return (below & known) - {name}


GRAPH = {name: imports(name, path) for name, path in modules()}


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in GRAPH} - {"resources"} <= set(LAYERS)


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_imports_go_down(name: str) -> None:
    room = name.split(".")[0]
    for other in GRAPH[name]:
        other_room = other.split(".")[0]
        if other_room == room or room == "resources" or other_room == "resources":
            continue
        assert LAYERS[other_room] < LAYERS[room], f"{name} must not import {other}"
        assert {room, other_room} not in STRANGERS, f"{name} must not know {other}"


def test_no_circles() -> None:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in GRAPH[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in GRAPH:
        visit(name, ())


@pytest.mark.parametrize(
    "module",
    [
        "tasks.measure_morphology",
        "tasks.partition_morphology",
        "tasks.segment_tidal_features",
        "butler",
        "cli.main",
        "cli.butler",
    ],
)
def test_light_imports(module: str) -> None:
    """Building a graph or asking for help must not load a network library."""
    code = f"import sys, {PACKAGE}.{module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_licence_preamble() -> None:
    for path in [*ROOT.rglob("*.py"), *Path(__file__).parent.glob("*.py")]:
        if path.name != "version.py":
            assert path.read_text().startswith("# This file is part of meas_morphology.\n"), path


def test_modules_are_short() -> None:
    long = {name: n for name, path in modules() if (n := len(path.read_text().splitlines())) > 400}
    assert not long
