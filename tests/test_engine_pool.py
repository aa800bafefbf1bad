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

"""Engines side by side."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from lsst.meas.morphology.inference.engine import Engine
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.inference.pool import EnginePool
from lsst.meas.morphology.model.package import ModelPackage


@pytest.fixture(scope="module")
def package(tiny_package):
    return ModelPackage.open(tiny_package)


def pool_of(package, backend="onnx", threads=3):
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    return EnginePool.from_package(package, EngineOptions(backend=backend, device="cpu", threads=threads))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_results_are_those_of_one_engine_in_order(package, backend):
    rng = np.random.default_rng(0)
    manifest = package.manifest
    shape = (len(manifest.bands), manifest.stamp_size, manifest.stamp_size)
    batches = [rng.normal(scale=100.0, size=(n, *shape)).astype(np.float32) for n in (3, 1, 5, 0, 2, 4, 7)]
    pool = pool_of(package, backend)
    assert pool.manifest == manifest
    assert backend.split("-")[0] in pool.description
    results = list(pool.map(lambda engine, flux: engine.predict(flux, np.ones(flux.shape, bool)), batches))
    single = Engine.from_package(package, EngineOptions(backend=backend, device="cpu"))
    for flux, result in zip(batches, results, strict=True):
        expected = single.predict(flux, np.ones(flux.shape, bool))
        np.testing.assert_allclose(result.alpha, expected.alpha, rtol=1e-5)
        np.testing.assert_allclose(result.embedding, expected.embedding, rtol=1e-3, atol=1e-5)


def test_no_engine_is_used_twice_at_once_and_all_are(package):
    pool = pool_of(package)
    busy: set[int] = set()
    seen: set[int] = set()
    lock = threading.Lock()

    def work(engine, item):
        with lock:
            assert id(engine) not in busy
            busy.add(id(engine))
            seen.add(id(engine))
        time.sleep(0.01)
        with lock:
            busy.remove(id(engine))
        return item * item

    assert list(pool.map(work, range(30))) == [n * n for n in range(30)]
    assert len(seen) == 3


def test_items_are_asked_for_as_needed(package):
    asked = 0

    def items():
        nonlocal asked
        while True:
            asked += 1
            yield asked

    results = pool_of(package, threads=2).map(lambda _, item: item, items())
    assert [next(results) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert asked <= 5 + 4
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("engines")]


def test_errors_come_through(package):
    def work(engine, item):
        if item == 3:
            raise ValueError("three")
        return item

    results = pool_of(package).map(work, range(10))
    with pytest.raises(ValueError, match="three"):
        list(results)


def test_torch_has_one_engine(package):
    threads = []
    pool = pool_of(package, "torch")
    list(pool.map(lambda engine, item: threads.append(id(engine)), range(5)))
    assert len(set(threads)) == 1
