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

"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsst.daf.butler import Butler

# One thread each: tests run side by side on few cores.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

PACKAGE_BANDS = ("g", "r", "i")
PACKAGE_SIZE = 16


@pytest.fixture(scope="session")
def make_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a small, untrained model package.

    Its arguments are fields of the manifest, and ``seed``, on which the
    weights depend. Packages with equal arguments are written once.
    """
    folder = tmp_path_factory.mktemp("packages")
    made: dict[str, Path] = {}

    def make(*, seed: int = 1, **changes: Any) -> Path:
        key = repr((seed, sorted(changes.items())))
        if key not in made:
            made[key] = _write(folder / str(len(made)), seed, changes)
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_package(make_package: Callable[..., Path]) -> Path:
    """Return the file of a small, untrained model of the rubin tree."""
    return make_package()


def _write(folder: Path, seed: int, changes: dict[str, Any]) -> Path:
    import torch

    from lsst.meas.morphology.model.manifest import Manifest
    from lsst.meas.morphology.model.network import build_network
    from lsst.meas.morphology.questions.tree import QuestionTree
    from lsst.meas.morphology.training.export import export_package

    manifest = Manifest.model_validate(
        {
            "name": "tiny",
            "version": "1.0.0",
            "title": "A small model that has learnt nothing",
            "licence": "GPL-3.0-or-later",
            "purpose": "commissioning",
            "bands": PACKAGE_BANDS,
            "optional_bands": ("i",),
            "stamp_size": PACKAGE_SIZE,
            "field_of_view": {"rule": "radius", "multiple": 6.0, "min_arcsec": 6.4, "max_arcsec": 40.0},
            "rendering": {"softening": (30.0, 50.0, 80.0), "scale": (0.5, 0.5, 0.5)},
            "architecture": {"kind": "convnext", "depths": (1, 1), "widths": (8, 12), "kernel": 3},
            "votes": {"tree": QuestionTree.load("rubin").to_dict(), "samples": 5, "dropout": 0.2},
            "embedding": {"features": 10},
            "training": {"data": "nothing", "seed": seed},
            **changes,
        }
    )
    torch.manual_seed(seed)
    network = build_network(manifest)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)
    rng = np.random.default_rng(seed)
    shape = (4, len(manifest.bands), manifest.stamp_size, manifest.stamp_size)
    flux = rng.normal(scale=100.0, size=shape).astype(np.float32)
    valid = rng.random(shape) > 0.1
    folder.mkdir()
    path = folder / f"{manifest.name}-{manifest.version}.morph"
    export_package(path, manifest, network, flux, valid, f"# {manifest.title}\n")
    return path


SKYMAP = "morph_sim"


@pytest.fixture(scope="session")
def model_file() -> Path:
    """Return the default model."""
    from lsst.meas.morphology.model.shipped import find_model

    return find_model("rubin")


@pytest.fixture(scope="session")
def model_run(model_file: Path) -> str:
    """Return the collection that the default model is ingested into."""
    from lsst.meas.morphology.model.package import ModelPackage

    manifest = ModelPackage.open(model_file).manifest
    return f"models/morphology/{manifest.name}/{manifest.version}"


@pytest.fixture(scope="session")
def simulated_repo(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Path:
    """Make a small repository with the default model; not to be written to.

    Its tracts overlap, its last patch has no i band, and some of its
    objects are hard to measure.
    """
    from lsst.meas.morphology.butler import ingest
    from lsst.meas.morphology.simulation.repo import simulate_repository

    root = tmp_path_factory.mktemp("simulated") / "repo"
    simulate_repository(root, patch_cells=4, n_galaxies=8, n_neighbours=6, n_stars=2, skymap=SKYMAP)
    with Butler.from_config(str(root), writeable=True) as butler:
        ingest(butler, model_file)
    return root
