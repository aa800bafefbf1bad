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

"""The whole path by the commands that operators type."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lsst.daf.butler import Butler

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PIPELINE = "resource://lsst.meas.morphology/pipelines/Morphology.yaml"
VOTES = f"{PIPELINE}#step1-measure,step2-partition"

pytestmark = pytest.mark.slow


def run(*arguments: str | Path, check: bool = True, **kwargs: object) -> subprocess.CompletedProcess[str]:
    """Run a command of this installation and return what it printed."""
    command = [str(BIN / str(arguments[0])), *map(str, arguments[1:])]
    result = subprocess.run(command, capture_output=True, text=True, **kwargs)  # type: ignore[call-overload]
    output = result.stdout + result.stderr
    if check and result.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{output[-6000:]}")
    return subprocess.CompletedProcess(command, result.returncode, output, "")


def measure(
    repo: Path, output: str, inputs: str, *extra: str, **kwargs: object
) -> subprocess.CompletedProcess[str]:
    arguments = ["-b", repo, "-i", inputs, "-o", output, "-p", f"{PIPELINE}#step1-measure", *extra]
    return run("pipetask", "run", "--register-dataset-types", *arguments, **kwargs)


def partition(
    repo: Path, inputs: str, output: str, *extra: str, **kwargs: object
) -> subprocess.CompletedProcess[str]:
    arguments = ["-b", repo, "-i", inputs, "-o", output, "-p", f"{PIPELINE}#step2-partition", *extra]
    return run("pipetask", "run", "--register-dataset-types", *arguments, **kwargs)


def target_ids(repo: Path, collection: str, name: str) -> list[int]:
    butler = Butler.from_config(str(repo), collections=collection)
    tables = [butler.get(ref) for ref in butler.query_datasets(name, explain=False)]
    return sorted(np.concatenate([table["objectId"].to_numpy() for table in tables]).tolist())


@pytest.fixture
def repo(simulated_repo: Path, tmp_path: Path) -> Path:
    """Return a repository of one's own, to write into."""
    copy = tmp_path / "repo"
    shutil.copytree(simulated_repo, copy)
    return copy


@pytest.fixture
def inputs(model_run: str) -> str:
    return f"sim,{model_run}"


def test_two_steps(repo: Path, inputs: str) -> None:
    measure(repo, "u/measured", inputs)
    partition(repo, "u/measured", "u/partitioned")
    report = run("butler", "check-morphology", repo, "u/partitioned").stdout
    assert "complete" in report
    patch_rows = target_ids(repo, "u/measured", "object_morphology_patch")
    pixel_rows = target_ids(repo, "u/partitioned", "object_morphology_hpx5")
    assert len(set(patch_rows)) == len(patch_rows) > 0
    # Only the object without a position is in no pixel.
    assert len(set(patch_rows) - set(pixel_rows)) == 1
    assert len(set(pixel_rows)) == len(pixel_rows) == len(patch_rows) - 1


def test_quantum_backed_butler(repo: Path, inputs: str, tmp_path: Path) -> None:
    """What a batch system does, by hand."""
    graph = tmp_path / "morphology.qg"
    arguments = ["-b", repo, "-i", inputs, "-o", "u/qbb", "-p", VOTES, "--save-qgraph", graph]
    run("pipetask", "qgraph", "--qgraph-datastore-records", *arguments)
    run("pipetask", "pre-exec-init-qbb", repo, graph)
    run("pipetask", "run-qbb", repo, graph)
    run("butler", "aggregate-graph", graph, repo, "--register-dataset-types", "--update-output-chain")
    run("butler", "check-morphology", repo, "u/qbb")
    assert len(target_ids(repo, "u/qbb", "object_morphology_hpx5")) > 0


def test_bps_with_parsl(repo: Path, inputs: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "MORPHOLOGY_REPO": str(repo),
        "MORPHOLOGY_INPUT": inputs,
        "MORPHOLOGY_OUTPUT": "u/bps",
        "MORPHOLOGY_QUERY": "skymap='morph_sim'",
        "MORPHOLOGY_SUBMIT": str(tmp_path / "submit"),
    }
    run("bps", "submit", ROOT / "config" / "bps" / "parsl_local.yaml", env=environment, cwd=tmp_path)
    run("butler", "check-morphology", repo, "u/bps")
    assert len(target_ids(repo, "u/bps", "object_morphology_hpx5")) > 0


def test_killed_and_restarted(repo: Path, inputs: str) -> None:
    """Nothing is half written; the same command goes on where it stopped."""
    arguments = ["-b", repo, "-i", inputs, "-o", "u/killed", "-p", f"{PIPELINE}#step1-measure"]
    command = [str(BIN / "pipetask"), "run", "--register-dataset-types", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tables = lambda: list(repo.glob("u/killed/*/object_morphology_patch/**/*.parq"))  # noqa: E731
    deadline = time.monotonic() + 240
    while len(tables()) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    measure(repo, "u/killed", inputs, "--skip-existing-in", "u/killed")
    partition(repo, "u/killed", "u/killed_hpx")
    run("butler", "check-morphology", repo, "u/killed_hpx")


def test_fail_allow_mend_gather(repo: Path, inputs: str, tmp_path: Path) -> None:
    """A truncated coadd fails its patch by name; step 2 refuses, then not."""
    butler = Butler.from_config(str(repo), collections="sim")
    ref = next(iter(butler.query_datasets("deep_coadd", where="band='r'", order_by="patch")))
    path = Path(butler.getURI(ref).ospath)
    pair = f"{ref.dataId['tract']}:{ref.dataId['patch']}"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    failed = measure(repo, "u/bad", inputs, check=False)
    assert failed.returncode != 0
    assert "CoaddReadError" in failed.stdout
    assert "deep_coadd" in failed.stdout
    n_patches = len(list(repo.glob("u/bad/*/object_morphology_patch/**/*.parq")))
    assert n_patches >= 5

    refused = partition(repo, "u/bad", "u/refused", check=False)
    assert refused.returncode != 0
    assert pair in refused.stdout
    report = run("butler", "check-morphology", repo, "u/bad", check=False)
    assert report.returncode == 1
    assert pair in report.stdout
    partition(repo, "u/bad", "u/allowed", "-c", "partitionMorphologyHpx5:allowIncomplete=True")
    assert run("butler", "check-morphology", repo, "u/allowed", check=False).returncode == 1

    path.write_bytes(whole)
    measure(repo, "u/bad", inputs, "--skip-existing-in", "u/bad")
    partition(repo, "u/bad", "u/mended")
    run("butler", "check-morphology", repo, "u/mended")


def test_no_model(repo: Path) -> None:
    """What the operators' page says that it looks like."""
    result = measure(repo, "u/nomodel", "sim", check=False)
    assert result.returncode != 0
    assert "FileNotFoundError" in result.stdout
    assert "morphology_model_rubin" in result.stdout
