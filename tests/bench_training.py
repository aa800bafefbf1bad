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
"""What a step of training costs in float32 and in bfloat16.

Run ``python tests/bench_training.py``; it prints stamps a second on one CPU
thread for both recipes, on noise, the median of ten steps each.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from lsst.meas.morphology.model.manifest import Manifest, TrainingRecord
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.training.batches import Batch, MarkedBatch, StampBatch
from lsst.meas.morphology.training.loop import BatchObjective
from lsst.meas.morphology.training.marking import MarkingObjective
from lsst.meas.morphology.training.optimizer import KernelOptimizer
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.voting import VotingObjective

_STEPS = 10
_SIZES = {"rubin": 128, "tides": 32}


def main() -> None:
    torch.set_num_threads(1)
    for name in _SIZES:
        manifest = recipe(name, "0.0.1", title="Benchmark", record=TrainingRecord(data="Noise.", seed=1))
        rates = {mixed: _rate(manifest, mixed) for mixed in (False, True)}
        print(
            f"{name}: {rates[False]:.0f} stamps/s in float32, {rates[True]:.0f} in bfloat16,"
            f" ratio {rates[True] / rates[False]:.2f}"
        )


def _rate(manifest: Manifest, mixed: bool) -> float:
    """Return stamps a second."""
    torch.manual_seed(1)
    cpu = torch.device("cpu")
    network = build_network(manifest).to(memory_format=torch.channels_last).train()
    optimizer = KernelOptimizer(network.parameters(), weight_decay=0.02)
    objective: BatchObjective
    if manifest.tides is None:
        objective = VotingObjective(manifest.tree, cpu, mixed=mixed)
    else:
        objective = MarkingObjective(manifest.tides, cpu, mixed=mixed)
    batch, seconds = _noise(manifest), []
    generator = torch.Generator().manual_seed(1)
    for _ in range(_STEPS + 2):
        began = time.perf_counter()
        optimizer.zero_grad()
        objective.loss(network, batch, generator).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    # The first steps reserve memory and choose kernels.
    return len(batch.flux) / float(np.median(seconds[2:]))


def _noise(manifest: Manifest) -> StampBatch:
    rng = np.random.default_rng(1)
    n, size, bands = _SIZES[manifest.name], manifest.stamp_size, len(manifest.bands)
    flux = torch.from_numpy(rng.normal(0.0, 100.0, (n, bands, size, size)).astype(np.float32))
    valid = torch.ones(flux.shape, dtype=torch.bool)
    if manifest.tides is None:
        votes = torch.from_numpy(rng.integers(0, 9, (n, manifest.tree.n_answers)).astype(np.int32))
        return Batch(flux, valid, votes)
    planes, features = len(manifest.tides.planes), len(manifest.tides.features)
    shape = (n, planes, size, size)
    return MarkedBatch(
        flux,
        valid,
        marks=torch.from_numpy(rng.integers(0, 2, shape).astype(np.uint8)),
        annotators=torch.full((n,), 3, dtype=torch.uint8),
        scored=torch.ones(shape, dtype=torch.bool),
        presence=torch.ones(n, features),
        presence_scored=torch.ones(n, features, dtype=torch.bool),
        light=flux[:, 0].abs(),
        shares=torch.full((n, features, size, size), 40, dtype=torch.uint8),
    )


if __name__ == "__main__":
    main()
