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

"""How many labels it takes to find rings, with a model and without.

Usage: python tests/bench_ring_labels.py TABLE.csv [--model rubin]
       [--labels 30 100 ...] [--repeats N]

Half of the labelled galaxies have a ring that can be seen, half have none;
doubtful ones are left out. Each number of labels teaches the default model
(the head alone; the last two blocks as well) and the same network with
weights drawn at random, with as many presentations at most. Balanced accuracy
is that on a thousand other galaxies. The table grows by a row for each
training, and what it holds is not done again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.shipped import find_model
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.galaxies import Kind
from lsst.meas.morphology.simulation.objects import SimulatedObjects, draw_objects
from lsst.meas.morphology.simulation.stamps import observe
from lsst.meas.morphology.simulation.visibility import visibility
from lsst.meas.morphology.training import fine_tune as tuning
from lsst.meas.morphology.training.held_out import choose_held_out
from lsst.meas.morphology.training.label_table import LabelTable
from lsst.meas.morphology.training.objective import VotesObjective
from lsst.meas.morphology.training.stamp_set import StampSet
from lsst.meas.morphology.training.target import ClassesTarget, make_target
from lsst.meas.morphology.training.tuner import TuneOptions, Tuner

SEEN = 0.25
"""Strength from which a ring can be seen; see `Visibility.ring`."""

UNSEEN = 0.03
"""Strength up to which there is none."""

METHODS = {
    "head": TuneOptions(depth="head"),
    "last": TuneOptions(depth="last", blocks=2),
    "scratch": TuneOptions(from_scratch=True),
}

BLOCK = 32


def draw_rings(
    seed: int, count: int, bands: tuple[str, ...]
) -> tuple[SimulatedObjects, npt.NDArray[np.bool_]]:
    """Draw as many galaxies with a ring as without, in random order."""
    found: dict[bool, list[SimulatedObjects]] = {True: [], False: []}
    number = {True: 0, False: 0}
    tree = QuestionTree.load("rubin")
    chunks = draw_objects(seed, tree, bands=bands, mix="training", magnitude_limit=21.0, volunteers=(5, 40))
    while min(number.values()) < count // 2:
        objects = next(chunks)
        strength = visibility(objects.parameters, objects.conditions).ring
        galaxy = objects.parameters.kind < Kind.STAR
        for ring, chosen in ((True, strength >= SEEN), (False, strength <= UNSEEN)):
            rows = np.flatnonzero(chosen & galaxy)[: count // 2 - number[ring]]
            found[ring].append(objects[rows])
            number[ring] += len(rows)
    order = np.random.default_rng([seed, 1]).permutation(2 * (count // 2))
    drawn = SimulatedObjects.concatenate([*found[True], *found[False]])[order]
    return drawn, order < count // 2


def take_pictures(seed: int, objects: SimulatedObjects, manifest: Manifest) -> StampSet:
    """Return stamps of galaxies as a model wants them."""
    parts = []
    for block, start in enumerate(range(0, len(objects), BLOCK)):
        part = objects[start : start + BLOCK]
        rng = np.random.default_rng([seed, 2, block])
        view = {"stamp_size": manifest.stamp_size, "field_of_view": manifest.field_of_view}
        parts.append(observe(rng, part.parameters, part.conditions, **view)[:2])
    flux, valid = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return StampSet(flux, valid, object_id=np.arange(len(flux)))


def ring_target(ring: npt.NDArray[np.bool_]) -> ClassesTarget:
    """Return labels as a table with a column ``ring`` gives them."""
    columns = {"objectId": np.arange(len(ring)), "ring": ring.astype(np.int64)}
    target = make_target(LabelTable.of(columns), "ring")
    assert isinstance(target, ClassesTarget)
    return target


@torch.inference_mode()
def balanced_accuracy(network: torch.nn.Module, stamps: StampSet, ring: npt.NDArray[np.bool_]) -> float:
    """Return the mean of the two recalls."""
    said = []
    for start in range(0, len(stamps), 128):
        rows = slice(start, start + 128)
        outputs = network(
            torch.from_numpy(stamps.flux[rows]),
            torch.from_numpy(stamps.valid[rows]),
            network.head.dropout_masks,
        )
        alpha = outputs["alpha"]
        said.append((alpha / alpha.sum(dim=-1, keepdim=True)).mean(dim=1).argmax(dim=1).numpy())
    yes = np.concatenate(said) == 0
    return float(0.5 * (np.mean(yes[ring]) + np.mean(~yes[~ring])))


def tuned(
    package: ModelPackage, stamps: StampSet, ring: npt.NDArray[np.bool_], options: TuneOptions
) -> tuple[torch.nn.Module, int]:
    """Fine-tune as `tune_package` does, without writing a package.

    Returns
    -------
    network
        The network.
    epochs
        Number of passes over the labels.
    """
    target = ring_target(ring)
    held_out = choose_held_out(target, options.held_out, options.seed)
    manifest = tuning._manifest(package.manifest, target, None, "0.1.0", options)
    torch.manual_seed(options.seed)
    network = build_network(manifest)
    if not options.from_scratch:
        tuning.inherit(network, package, target)
    tuner = Tuner(
        network,
        VotesObjective(target.tree, torch.device("cpu")),
        stamps,
        target.votes,
        np.ones(len(ring), np.float32),
        held_out,
        optional=tuple(manifest.bands.index(band) for band in manifest.optional_bands),
        options=options,
    )
    tuner.run()
    return network.eval(), len(tuner.history)


def missing_rows(arguments: argparse.Namespace) -> Iterator[tuple[int, str, int]]:
    """Yield what the table lacks: labels, method, repeat."""
    done = set()
    if arguments.table.exists():
        done = {
            (int(r["labels"]), r["method"], int(r["repeat"])) for r in csv.DictReader(arguments.table.open())
        }
    for repeat, labels, method in itertools.product(range(arguments.repeats), arguments.labels, METHODS):
        # More than a few hundred labels hardly differ from draw to draw.
        if (labels, method, repeat) not in done and (repeat == 0 or labels <= 300):
            yield labels, method, repeat


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", default="rubin")
    parser.add_argument("--labels", type=int, nargs="+", default=[30, 100, 300, 1000, 3000])
    parser.add_argument("--repeats", type=int, default=3, help="draws of up to 300 labels")
    parser.add_argument("--presentations", type=int, default=20000, help="most stamps shown in a training")
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(arguments.threads)
    package = ModelPackage.open(find_model(arguments.model))
    manifest = package.manifest
    objects, ring = draw_rings(31, arguments.test, manifest.bands)
    test = take_pictures(31, objects, manifest)
    pools: dict[int, tuple[StampSet, npt.NDArray[np.bool_]]] = {}
    for labels, method, repeat in missing_rows(arguments):
        if repeat not in pools:
            most = max(n for n in arguments.labels if repeat == 0 or n <= 300)
            drawn, truth = draw_rings(41 + repeat, most, manifest.bands)
            pools[repeat] = take_pictures(41 + repeat, drawn, manifest), truth
        stamps, truth = pools[repeat]
        epochs = int(np.clip(arguments.presentations // labels, 5, 200))
        options = dataclasses.replace(METHODS[method], epochs=epochs, seed=1 + repeat)
        began = time.process_time()
        network, used = tuned(package, stamps[np.arange(labels)], truth[:labels], options)
        row = {
            "model": f"{manifest.name} {manifest.version}",
            "labels": labels,
            "method": method,
            "repeat": repeat,
            "epochs": used,
            "cpu_seconds": round(time.process_time() - began, 1),
            "balanced_accuracy": round(balanced_accuracy(network, test, ring), 4),
        }
        new = not arguments.table.exists()
        with arguments.table.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
