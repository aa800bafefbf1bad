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

"""Imported models against Zoobot itself, on the same image files.

Zoobot is not installed with this package. Name an interpreter that has it,
version 2.9, in the environment variable ``MORPHOLOGY_ZOOBOT_PYTHON``.
``MORPHOLOGY_ZOOBOT_CASES`` and ``MORPHOLOGY_ZOOBOT_KINDS`` pick some of the
encoders and of the heads, such as ``resnet-grey`` and ``tree``.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsst.meas.morphology.image_catalog import predict_catalog
from lsst.meas.morphology.images.catalog import ImageCatalog
from lsst.meas.morphology.images.views import View
from lsst.meas.morphology.inference.engine import Engine
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.zoobot.importer import ImportOptions, import_checkpoint

pytest.importorskip("timm")
Image = pytest.importorskip("PIL.Image")

INTERPRETER = os.environ.get("MORPHOLOGY_ZOOBOT_PYTHON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not INTERPRETER, reason="MORPHOLOGY_ZOOBOT_PYTHON names no interpreter with Zoobot"),
]

TOLERANCE = 1e-3
COUNT = 64

ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "convnext": ("convnext_nano", {}),
    "efficientnet": ("efficientnet_b0", {}),
    "resnet": ("resnet50", {}),
    "maxvit": ("maxvit_rmlp_tiny_rw_256", {"img_size": 224}),
}
HEADS = ("tree", "classes", "scalar")


def all_cases() -> list[dict[str, Any]]:
    """Return each encoder in colour and grey, each with every head."""
    cases = []
    for number, (name, (architecture, options)) in enumerate(ENCODERS.items()):
        for grey in (False, True):
            kinds = [*HEADS]
            if name == "convnext" or (name == "efficientnet" and grey):
                kinds.append("zoobot_tree")
            if name == "convnext" and not grey:
                kinds.append("encoder")
            chosen = os.environ.get("MORPHOLOGY_ZOOBOT_KINDS", "").split() or kinds
            kinds = [kind for kind in kinds if kind in chosen]
            cases.append(
                {
                    "name": f"{name}-{'grey' if grey else 'colour'}",
                    "architecture": architecture,
                    "options": options,
                    "grey": grey,
                    "kinds": kinds,
                    "schema": "euclid_ortho_schema" if grey else "desi_schema",
                    "seed": number,
                }
            )
    wanted = os.environ.get("MORPHOLOGY_ZOOBOT_CASES", "").split()
    return [case for case in cases if not wanted or case["name"] in wanted]


CASES = all_cases()
PAIRS = [(case["name"], kind) for case in CASES for kind in case["kinds"]]

SIZES = ((424, 424), (300, 300), (256, 320), (512, 424), (224, 224), (424, 300), (160, 160), (431, 433))
MODES = (("RGB", "jpg"), ("RGB", "jpeg"), ("RGB", "png"), ("RGBA", "png"), ("L", "jpg"), ("P", "png"))


def paint(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return a picture ``[y, x, 3]`` of a galaxy with arms and noise."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    x, y = x - width * rng.uniform(0.45, 0.55), y - height * rng.uniform(0.45, 0.55)
    radius = np.hypot(x, y / rng.uniform(0.3, 1.0)) / (0.1 * min(size))
    arms = 1.0 + 0.5 * np.cos(2.0 * np.arctan2(y, x) - rng.uniform(1.0, 4.0) * np.log1p(radius))
    light = 255.0 * np.exp(-radius)[..., None] * arms[..., None] * rng.uniform(0.3, 1.2, 3)
    return np.clip(light + rng.normal(12.0, 8.0, (height, width, 3)), 0, 255).astype(np.uint8)


def write_images(folder: Path) -> None:
    """Write images of several sizes and modes, and two catalogues.

    Ours lists the files as they are. Zoobot takes the transparency of a
    file as a fourth channel, and grey or palettes as the only one; so that
    it can see these at all, its catalogue lists copies in plain colour.
    """
    rng = np.random.default_rng(64)
    ours, theirs = [], []
    for index in range(COUNT):
        mode, suffix = MODES[index % len(MODES)]
        image = Image.fromarray(paint(rng, SIZES[index % len(SIZES)]))
        if mode == "RGBA":
            image.putalpha(Image.fromarray(rng.integers(0, 256, image.size[::-1], dtype=np.uint8)))
        else:
            image = image.convert(mode)
        path = folder / f"image{index}.{suffix}"
        image.save(path)
        copy = path
        if mode != "RGB":
            copy = folder / f"copy{index}.png"
            with Image.open(path) as stored:
                stored.convert("RGB").save(copy)
        ours.append((f"{index:04d}", path))
        theirs.append((f"{index:04d}", copy))
    for name, rows in (("ours.csv", ours), ("catalog.csv", theirs)):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows([("id_str", "file_loc"), *rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what Zoobot saved and predicted."""
    folder = tmp_path_factory.mktemp("zoobot")
    write_images(folder)
    (folder / "cases.json").write_text(json.dumps(CASES))
    script = Path(__file__).with_name("zoobot_side.py")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
    environment.pop("PYTHONPATH", None)
    run = subprocess.run(
        [INTERPRETER, script, folder],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=folder,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return folder


def read_csv(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return the columns, ids and values of a table of Zoobot's."""
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    columns = rows[0][:-1]
    assert rows[0][-1] == "id_str"
    return columns, [row[-1] for row in rows[1:]], np.array([row[:-1] for row in rows[1:]], dtype=np.float64)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_same_predictions(
    name: str, kind: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, ids, theirs = read_csv(folder / f"{name}-{kind}.csv")
    source = folder / (f"{name}-{kind}" if kind == "encoder" else f"{name}-{kind}.ckpt")
    options = ImportOptions(classes=("zero", "one", "two") if kind == "classes" else None)
    package = import_checkpoint(source, tmp_path / "model.morph", options)
    manifest = package.manifest
    catalog = ImageCatalog(folder / "ours.csv")
    grey = manifest.rendering.greyscale == "itu"
    assert grey == name.endswith("grey")
    view = View(era="2.9", size=224, luma=grey)
    rows = next(rows for rows in catalog.rows() if len(rows))
    flux = np.concatenate(
        [view.read(catalog.locate(file), row) for row, file in enumerate(rows.files)]
    ).astype(np.float32)
    assert list(rows.ids) == ids
    figures = {}
    # The golden outputs have compared the backends already.
    for backend, count in (("onnx", COUNT), ("torch", 8)):
        engine = Engine.from_package(package, EngineOptions(backend=backend, device="cpu", batch_size=16))
        outputs = engine.predict(flux[:count], np.ones(flux[:count].shape, np.bool_))
        match kind:
            case "tree" | "zoobot_tree":
                ours = outputs.alpha[:, 0]
                assert list(manifest.tree.label_columns) == columns
            case "classes":
                ours = outputs.classes
                assert list(manifest.classes.names) == columns
            case "scalar":
                ours = outputs.scalar
                assert [manifest.scalar.name] == columns
            case _:
                ours = outputs.embedding
        assert ours.shape == (count, theirs.shape[1])
        figures[backend] = float(np.abs(ours - theirs[:count]).max())
    with capsys.disabled():
        print(
            f"\n{name} {kind}: {COUNT} images, {theirs.shape[1]} outputs spanning {theirs.min():.3f} to"
            f" {theirs.max():.3f}, spread over images {theirs.std(axis=0).max():.3f}; largest difference"
            f" {figures['onnx']:.1e} (ONNX Runtime), {figures['torch']:.1e} (torch)"
        )
    assert theirs.std(axis=0).max() > 5 * TOLERANCE
    assert max(figures.values()) <= TOLERANCE


def test_predict_keeps_ids_and_order(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    name, kind = next((pair for pair in PAIRS if pair[1] == "tree"), (None, None))
    if kind is None:
        pytest.skip("no tree was chosen")
    columns, ids, theirs = read_csv(folder / f"{name}-{kind}.csv")
    package = import_checkpoint(folder / f"{name}-{kind}.ckpt", tmp_path / "model.morph")
    options = EngineOptions(device="cpu", batch_size=16)
    predict_catalog(package, ImageCatalog(folder / "ours.csv"), tmp_path / "out.parquet", options=options)
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column("id_str").to_pylist() == ids
    tree = package.manifest.tree
    for question, part in tree.slices.items():
        fractions = theirs[:, part] / theirs[:, part].sum(axis=1, keepdims=True)
        for index, answer in enumerate(tree.question(question).answers):
            found = table.column(f"{question}_{answer}_fraction").to_numpy()
            np.testing.assert_allclose(found, fractions[:, index], atol=1e-5)
