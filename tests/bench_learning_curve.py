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

"""How much better a model gets with more stamps, and with more parameters.

Usage: python tests/bench_learning_curve.py TABLE.csv [--shards K]
       [--passes P] [--channels C] [--only data|parameters]
       [--stamps DIR --seed S] [--work DIR]

Short trainings of the default recipe. Each shows the network K thousand
stamps, P times: for the curve in data, a 27th, a ninth, a third of them so
much the more often, or all of them; for that in parameters, all of them to
networks with a quarter, half, once and one and a half times the channels.
Each is judged on the first galaxies of the frozen natural sample. The table
grows by a row for each training, and what it holds is not done again; a
training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsst.meas.morphology.model.architecture_spec import ResNetArchitecture
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.network import MorphologyNetwork, build_network
from lsst.meas.morphology.simulation.frozen_definition import EVALUATION_V2
from lsst.meas.morphology.simulation.frozen_set import CONCENTRATION, draw_sample
from lsst.meas.morphology.simulation.galaxies import Mix
from lsst.meas.morphology.simulation.source import SimulatedSource
from lsst.meas.morphology.training.batches import BatchStream
from lsst.meas.morphology.training.labelled import LabelledStamps
from lsst.meas.morphology.training.loop import Trainer, TrainingOptions
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.shards import MixedSource, ShardStore
from lsst.meas.morphology.validation.bars import CORE
from lsst.meas.morphology.validation.evaluation import LabelledPredictions, evaluate

SHARD = 1000
"""Stamps in a file."""

BATCH = 64
SHARES = (1, 3, 9, 27)
"""Over 27, the part of the presentations that are different stamps."""

CHANNELS = (0.25, 0.5, 1.0, 1.5)
"""Channels over those of the recipe."""

MIXES: tuple[Mix, ...] = ("training", "natural")
NATURAL_SHARE = 0.3
VOLUNTEERS = (20, 80)
"""Galaxies and volunteers as `morphology train` has them."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One training."""

    shards: int
    """Thousands of different stamps."""

    channels: float
    """Channels over those of the recipe."""


def manifest_of(channels: float) -> Manifest:
    """Return the default recipe with more or fewer channels."""
    record: Any = {"data": "the learning curve", "seed": 1}
    manifest = recipe("rubin", "0.0.1", title="A point of the learning curve", record=record)
    architecture = manifest.architecture
    assert isinstance(architecture, ResNetArchitecture)
    widths = tuple(round(channels * width) for width in architecture.widths)
    changed = architecture.model_copy(update={"widths": widths})
    return Manifest.model_validate(manifest.model_copy(update={"architecture": changed}).model_dump())


@torch.inference_mode()
def judged(network: MorphologyNetwork, manifest: Manifest, galaxies: int) -> dict[str, float]:
    """Return what a network reaches on the frozen natural sample."""
    sample = draw_sample(EVALUATION_V2.samples[0], quick=galaxies)
    assert network.head is not None
    parts = []
    for flux, valid in sample.stamps(manifest):
        features = network.features(torch.from_numpy(flux), torch.from_numpy(valid))
        parts.append(network.head(features, network.head.dropout_masks).numpy())
    evaluation = evaluate(
        LabelledPredictions(
            name="natural",
            tree=sample.tree,
            alpha=np.concatenate(parts),
            votes=sample.objects.votes,
            probabilities=sample.objects.probabilities,
            concentration=CONCENTRATION,
        )
    )
    accuracies = {name: evaluation.confusion[name].accuracy for name in CORE}
    assert evaluation.truth is not None
    return {
        "way": evaluation.likelihoods.total_gained,
        "deviation": float(evaluation.truth.over_answers()[0]),
        "accuracy": float(np.mean(list(accuracies.values()))),
        "spiral_balanced": evaluation.confusion["hasSpiralArms"].balanced_accuracy,
        **accuracies,
    }


def trained(point: Point, arguments: argparse.Namespace) -> dict[str, float]:
    """Train and judge one point; return its row of the table."""
    manifest = manifest_of(point.channels)
    view = manifest_of(1.0)
    samples = [SimulatedSource(view, mix, volunteers=VOLUNTEERS) for mix in MIXES]
    stamps_seed = int(
        np.random.SeedSequence([arguments.seed, 0]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )
    store = ShardStore(
        arguments.stamps or arguments.work / "stamps",
        MixedSource(samples[0], samples[1], NATURAL_SHARE),
        seed=stamps_seed,
        shard_size=SHARD,
        count=point.shards,
    )
    steps = arguments.passes * arguments.shards * SHARD // BATCH
    validation = LabelledStamps.of(samples[1](arguments.seed + 1, 128))
    options = TrainingOptions(steps=steps, seed=arguments.seed, checkpoint_steps=max(steps // 4, 1))
    work = arguments.work / f"{point.shards}-{point.channels:g}-{steps}"
    trainer = Trainer(manifest, options, work, validation)
    began = time.process_time()
    trainer.run(BatchStream(store, batch_size=BATCH, window=min(point.shards, 9), seed=arguments.seed))
    parameters = sum(p.numel() for p in build_network(manifest).parameters())
    return {
        "stamps": point.shards * SHARD,
        "parameters": parameters,
        "presentations": steps * BATCH,
        "cpu_seconds": round(time.process_time() - began, 1),
        **{
            name: round(value, 4)
            for name, value in judged(trainer.network, manifest, arguments.galaxies).items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--shards", type=int, default=27, help="thousands of stamps shown in each training")
    parser.add_argument("--passes", type=int, default=1, help="how often these are shown")
    parser.add_argument(
        "--channels", type=float, default=1.0, help="over the recipe's, for the curve in data"
    )
    parser.add_argument("--only", choices=["data", "parameters"])
    parser.add_argument("--stamps", type=Path, help="stamps that a training with the same seed has left")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("learning-curve.work"))
    parser.add_argument("--galaxies", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    points = []
    if arguments.only != "parameters":
        points += [Point(max(share * arguments.shards // 27, 1), arguments.channels) for share in SHARES]
    if arguments.only != "data":
        points += [Point(arguments.shards, channels) for channels in CHANNELS]
    shown = arguments.passes * arguments.shards * SHARD // BATCH * BATCH
    done = set()
    if arguments.table.exists():
        names = ("stamps", "parameters", "presentations")
        done = {tuple(int(row[n]) for n in names) for row in csv.DictReader(arguments.table.open(newline=""))}
    for point in dict.fromkeys(points):
        size = sum(p.numel() for p in build_network(manifest_of(point.channels)).parameters())
        if (point.shards * SHARD, size, shown) in done:
            continue
        row = trained(point, arguments)
        new = not arguments.table.exists()
        with arguments.table.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
