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

"""Images a second: ``morphology predict`` and Zoobot, by turns, in one run.

Run as ``python tests/bench_zoobot.py [IMAGES [ROUNDS]]``, with an interpreter
that has Zoobot 2.9 named by ``MORPHOLOGY_ZOOBOT_PYTHON``. Both read the same
JPEG files of 424 px, with the same weights of a ConvNeXt-nano and all cores.
Loading is not counted: Zoobot has predicted a few images before, and the time
of ``morphology predict`` starts when the command does its first image. Zoobot
is given the best of several settings, each in every round.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARCHITECTURE = "convnext_nano"
SETTINGS = {
    "as it comes": {},
    "batch 32, 0 workers": {"batch_size": 32, "num_workers": 0},
    "batch 32, 2 workers": {"batch_size": 32, "num_workers": 2},
    "batch 16, 2 workers": {"batch_size": 16, "num_workers": 2},
}
WARM_UP = 32


def zoobot_side(folder: Path, *, save: bool) -> None:
    """Predict with every setting and print the images a second as JSON."""
    import lightning
    import pandas
    import timm
    import torch
    from galaxy_datasets.transforms import get_galaxy_transform, minimal_view_config
    from zoobot.pytorch.predictions import predict_on_catalog
    from zoobot.pytorch.training import finetune
    from zoobot.shared import schemas

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet["accelerator"] = "cpu"
    torch.manual_seed(0)
    encoder = timm.create_model(ARCHITECTURE, num_classes=0)
    schema = schemas.desi_schema
    model = finetune.FinetuneableZoobotTree(encoder=encoder, schema=schema).eval()
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter.data, std=0.3)
    if save:
        trainer = lightning.Trainer(max_epochs=1, **quiet)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(folder / "model.ckpt", weights_only=True)
        return
    catalog = pandas.read_csv(folder / "catalog.csv", dtype=str)
    transform = get_galaxy_transform(minimal_view_config())
    rates = {}
    for name, setting in SETTINGS.items():
        for part in (catalog[:WARM_UP], catalog):
            start = time.perf_counter()
            predict_on_catalog.predict(
                part,
                model,
                str(folder / "theirs.csv"),
                schema.label_cols,
                transform,
                datamodule_kwargs=setting,
                trainer_kwargs=quiet,
            )
            rates[name] = len(part) / (time.perf_counter() - start)
    print("RATES " + json.dumps(rates))


def write_images(folder: Path, count: int) -> None:
    """Write pictures of galaxies with noise, and the catalogue."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:424, :424] - 211.5
    lines = ["id_str,file_loc"]
    for index in range(count):
        radius = np.hypot(x, y / rng.uniform(0.4, 1.0)) / rng.uniform(15.0, 50.0)
        light = 220.0 * np.exp(-radius)[..., None] * rng.uniform(0.6, 1.0, 3)
        pixels = np.clip(light + rng.normal(20.0, 8.0, (424, 424, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{index}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        lines.append(f"{index:05d},{path}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")


def run(command: list[str], folder: Path) -> str:
    """Run a command with the environment of a plain user."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
    for name in ("PYTHONPATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def difference(folder: Path) -> float:
    """Return the largest difference of a concentration."""
    import numpy as np
    import pyarrow.csv
    import pyarrow.parquet

    from lsst.meas.morphology.questions.tree import QuestionTree
    from lsst.meas.morphology.tables.galaxy_zoo import answer_names

    ours = pyarrow.parquet.read_table(folder / "ours.parquet")
    theirs = pyarrow.csv.read_csv(folder / "theirs.csv")
    assert [int(one) for one in ours["id_str"].to_pylist()] == theirs["id_str"].to_pylist()
    names = answer_names(QuestionTree.load("desi"))
    columns = [
        (ours[f"{name}_concentration"].to_numpy(), theirs[their].to_numpy()) for name, their in names.items()
    ]
    return max(float(np.abs(a - b).max()) for a, b in columns)


def main(count: int = 512, rounds: int = 3) -> None:
    interpreter = os.environ.get("MORPHOLOGY_ZOOBOT_PYTHON")
    if not interpreter:
        raise SystemExit("Name an interpreter with Zoobot 2.9 in MORPHOLOGY_ZOOBOT_PYTHON.")
    morphology = str(Path(sys.executable).with_name("morphology"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, count)
        side = [interpreter, str(Path(__file__).resolve()), "--zoobot", str(folder)]
        run([*side, "--save"], folder)
        run([morphology, "import-zoobot", "model.ckpt", "model.morph"], folder)
        predict = [morphology, "predict", "model.morph", "catalog.csv", "--out", "ours.parquet"]
        ours: list[float] = []
        theirs: dict[str, list[float]] = {name: [] for name in SETTINGS}
        for number in range(rounds):
            output = run(predict, folder)
            match = re.search(r"([\d.]+) a second with (.*)\.$", output, re.MULTILINE)
            assert match is not None, output
            ours.append(float(match[1]))
            rates = json.loads(run(side, folder).rpartition("RATES ")[2])
            for setting, rate in rates.items():
                theirs[setting].append(rate)
            print(f"round {number + 1}: morphology {ours[-1]:.1f}, zoobot {rates}", flush=True)
        print(f"\n{ARCHITECTURE}, {count} JPEG of 424 px, {os.cpu_count()} cores, {match[2]}")
        print(f"medians of {rounds} rounds:")
        rate = statistics.median(ours)
        print(f"morphology predict           {rate:6.1f} images/s")
        for setting, values in theirs.items():
            median = statistics.median(values)
            print(f"zoobot, {setting:20} {median:6.1f} images/s    ratio {rate / median:.2f}")
        best = max(statistics.median(values) for values in theirs.values())
        print(f"ratio to Zoobot's best       {rate / best:6.2f}")
        print(f"largest difference of a concentration {difference(folder):.1e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--zoobot"]:
        zoobot_side(Path(sys.argv[2]), save="--save" in sys.argv)
    else:
        main(*map(int, sys.argv[1:3]))
