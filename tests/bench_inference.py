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
"""Time a model: opening, loading, and milliseconds per stamp by backend.

Usage: python tests/bench_inference.py [PACKAGE] [--threads N] [--device D]
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import numpy as np

from lsst.meas.morphology.errors import MorphologyError
from lsst.meas.morphology.inference.backend import installed_backends
from lsst.meas.morphology.inference.engine import Engine, EngineOptions
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.shipped import find_model

WANTED = 400
"""Stamps per second, by the clock, on two cores."""


def seconds(action: Callable[[], object], *, on_cpu: bool = True, repeats: int = 5) -> float:
    """Return the median time of an action, after one to warm up.

    On a CPU it is the processor's time, which other processes leave alone.
    """
    clock = time.process_time if on_cpu else time.perf_counter
    action()
    times = []
    for _ in range(repeats):
        start = clock()
        action()
        times.append(clock() - start)
    return statistics.median(times)


def rate(engine: Engine, flux: np.ndarray, valid: np.ndarray, *, repeats: int = 7) -> float:
    """Return the most stamps per second by the clock, on all threads.

    The fastest of several runs is the one that other processes disturbed
    least.
    """
    engine.predict(flux, valid)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        engine.predict(flux, valid)
        times.append(time.perf_counter() - start)
    return len(flux) / min(times)


def compare(package: ModelPackage, options: EngineOptions, count: int) -> None:
    """Print what a backend costs and how far it is from itself."""
    manifest = package.manifest
    rng = np.random.default_rng(1)
    shape = (count, len(manifest.bands), manifest.stamp_size, manifest.stamp_size)
    flux = rng.normal(scale=100.0, size=shape).astype(np.float32)
    valid = rng.random(shape) > 0.05
    start = time.perf_counter()
    engine = Engine.from_package(package, options)
    loaded = time.perf_counter() - start
    print(f"{engine.description}, {options.threads} CPU thread(s): loaded in {loaded:.2f} s")
    reference = None
    for batch_size in (1, 16, 64, count):
        engine = Engine(manifest, engine._backend, batch_size=batch_size)
        taken = seconds(functools.partial(engine.predict, flux, valid), on_cpu=options.device == "cpu")
        alpha = engine.predict(flux, valid).alpha
        reference = alpha if reference is None else reference
        largest = 0.0 if alpha is None or reference is None else float(np.abs(alpha - reference).max())
        print(
            f"  batches of {batch_size:4d}: {taken / count * 1e3:7.3f} ms a stamp,"
            f" {count / taken:7.0f} stamps/s; alpha differs from batches of 1 by {largest:.1e}"
        )
    engine = Engine(manifest, engine._backend, batch_size=64)
    print(
        f"  by the clock, batches of 64: {rate(engine, flux, valid):.0f} stamps/s on {options.threads}"
        f" thread(s); at least {WANTED} are wanted of the default model on 2"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", nargs="?", default=str(find_model("rubin")))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=256)
    arguments = parser.parse_args()
    package = ModelPackage.open(arguments.package)
    manifest = package.manifest
    size = len(package.to_bytes())
    opening = seconds(lambda: ModelPackage.open(arguments.package))
    print(f"{manifest.name} {manifest.version}, stamps of {manifest.stamp_size} px, {size / 1e6:.2f} MB")
    print(f"opened and verified in {opening * 1e3:.1f} ms")
    for backend in installed_backends():
        options = EngineOptions(backend=backend, device=arguments.device, threads=arguments.threads)
        try:
            compare(package, options, arguments.count)
        except MorphologyError as error:
            print(f"{backend}: {error}")


if __name__ == "__main__":
    main()
