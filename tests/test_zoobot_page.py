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

"""The page "Run your Zoobot model on Rubin data": its commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

timm = pytest.importorskip("timm")
Image = pytest.importorskip("PIL.Image")
for needed in ("onnxscript", "galsim", "matplotlib"):
    pytest.importorskip(needed)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

PAGE = Path(__file__).parents[1] / "doc" / "lsst.meas.morphology" / "zoobot.rst"
QUESTIONS = {
    "smooth-or-featured-dr5": ["_smooth", "_featured-or-disk", "_artifact"],
    "disk-edge-on-dr5": ["_yes", "_no"],
    "has-spiral-arms-dr5": ["_yes", "_no"],
}
AFTER = {
    "smooth-or-featured-dr5": None,
    "disk-edge-on-dr5": "smooth-or-featured-dr5_featured-or-disk",
    "has-spiral-arms-dr5": "disk-edge-on-dr5_no",
}


def commands(page: str) -> list[list[str]]:
    """Return the lines of each block of commands of a page."""
    blocks = re.findall(r"^\.\. code-block:: sh\n\n((?:   .+\n)+)", page, re.MULTILINE)
    return [[line.strip() for line in block.replace("\\\n", " ").splitlines()] for block in blocks]


def write_checkpoint(path: Path) -> None:
    """Save a seeded model in the format of Zoobot's trees."""
    import torch

    torch.manual_seed(1)
    encoder = timm.create_model("convnext_atto", num_classes=0)
    answers = sum(map(len, QUESTIONS.values()))
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    state["head.1.0.weight"] = torch.randn(answers, encoder.num_features)
    state["head.1.0.bias"] = torch.randn(answers)
    hyperparameters = {
        "output_dim": answers,
        "question_answer_pairs": QUESTIONS,
        "dependencies": AFTER,
        "architecture_name": "convnext_atto",
        "channels": 3,
        "test_time_dropout": False,
        "timm_kwargs": {},
        "dropout_rate": 0.2,
    }
    content = {"state_dict": state, "hyper_parameters": hyperparameters, "pytorch-lightning_version": "2.4.0"}
    torch.save(content, path)


def write_catalogue(folder: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:424, :424] - 211.5
    lines = ["id_str,file_loc"]
    for n in range(6):
        glow = 200 * np.exp(-np.hypot(x, y * (1 + 0.3 * n)) / 30.0)
        pixels = glow[..., None] * (1.0, 0.9, 0.8) + rng.normal(20, 8, (424, 424, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"galaxy{n}.jpg")
        lines.append(f"00{n},galaxy{n}.jpg")
    (folder / "galaxies.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which all commands of the page were run."""
    folder = tmp_path_factory.mktemp("page")
    write_checkpoint(folder / "my_zoobot.ckpt")
    write_catalogue(folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "CUDA_VISIBLE_DEVICES": ""}
    for block in commands(PAGE.read_text()):
        for line in block:
            options = {"shell": True, "cwd": folder, "env": environment}
            run = subprocess.run(line, capture_output=True, text=True, check=False, **options)
            assert run.returncode == 0, f"{line}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}"
    return folder


def test_the_page_has_commands() -> None:
    blocks = commands(PAGE.read_text())
    assert len(blocks) == 3
    lines = [line for block in blocks for line in block]
    for name in ("import-zoobot", "predict", "export-galaxy-zoo", "draw-sights"):
        assert any(line.startswith(f"morphology {name} ") for line in lines)


def test_tables_of_images(folder: Path) -> None:
    table = pa.csv.read_csv(
        folder / "zoobot.csv", convert_options=pa.csv.ConvertOptions(column_types={"id_str": pa.string()})
    )
    assert table["id_str"].to_pylist() == [f"00{n}" for n in range(6)]
    smooth = table["smooth-or-featured-dr5_smooth"].to_numpy()
    total = sum(
        table[f"smooth-or-featured-dr5{answer}"].to_numpy() for answer in QUESTIONS["smooth-or-featured-dr5"]
    )
    assert (smooth > 1.0).all()
    assert (smooth < 101.0).all()
    fraction = table["smooth-or-featured-dr5_smooth_fraction"].to_numpy()
    np.testing.assert_allclose(fraction, smooth / total, rtol=1e-4)


def test_tables_of_coadds(folder: Path) -> None:
    table = pa.parquet.read_table(folder / "friendly.parquet")
    fractions = [name for name in table.column_names if name.endswith("_fraction")]
    assert fractions == [f"{q}{answer}_fraction" for q, answers in QUESTIONS.items() for answer in answers]
    smooth = table["smooth-or-featured-dr5_smooth_fraction"].to_numpy()
    # One patch of the simulated sky lacks a band, so its rows are flagged.
    assert np.isfinite(smooth).sum() >= 10
    assert np.nanstd(smooth) > 0.0


def test_picture(folder: Path) -> None:
    with Image.open(folder / "sights.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
