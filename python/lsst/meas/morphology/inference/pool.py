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

"""Engines side by side, for many batches that do not depend on each other."""

from __future__ import annotations

__all__ = ("BATCH_SIZES", "EnginePool")

import collections
import concurrent.futures
import dataclasses
import queue
from collections.abc import Callable, Iterable, Iterator

from ..model.manifest import Manifest
from ..model.package import ModelPackage
from .backend import choose, make_backend
from .engine import Engine
from .options import EngineOptions

BATCH_SIZES = {"cpu": 8, "cuda": 64}
"""Batches that suit a device: on a CPU those whose pixels stay in its cache.
"""

_AHEAD = 2


class EnginePool:
    """One model, run by several threads at once.

    On a CPU, ONNX Runtime gives more by one thread for each of several
    batches than by several threads for one: none waits for another. Torch
    and GPUs have one engine, with the threads that were asked for.

    Parameters
    ----------
    engines
        The engines; they may share a backend that can be run by several
        threads.
    """

    def __init__(self, engines: Iterable[Engine]) -> None:
        self._engines = tuple(engines)
        self._free: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        for engine in self._engines:
            self._free.put(engine)

    @classmethod
    def from_package(cls, package: ModelPackage, options: EngineOptions) -> EnginePool:
        """Load a model.

        Parameters
        ----------
        package
            The model.
        options
            How it is run; ``threads`` is how many cores it may use.

        Raises
        ------
        DeviceError
            Raised if the device or precision is not to be had.
        ModelPackageError
            Raised if the network does not fit its manifest.
        """
        if choose(options) != ("onnx", "cpu"):
            return cls([Engine.from_package(package, options)])
        backend = make_backend(package, dataclasses.replace(options, threads=1))
        return cls(
            Engine(package.manifest, backend, batch_size=options.batch_size) for _ in range(options.threads)
        )

    @property
    def manifest(self) -> Manifest:
        """What the model is."""
        return self._engines[0].manifest

    @property
    def description(self) -> str:
        """What runs the model, and where."""
        return self._engines[0].description

    def map[Item, Result](
        self, function: Callable[[Engine, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Apply a function to items, with an engine for each call.

        Parameters
        ----------
        function
            Called with an engine, which no other call has meanwhile, and an
            item.
        items
            Asked for as they are needed, some ahead of the results.

        Yields
        ------
        result
            The results in the order of the items.
        """

        def call(item: Item) -> Result:
            engine = self._free.get()
            try:
                return function(engine, item)
            finally:
                self._free.put(engine)

        waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        workers = len(self._engines)
        with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="engines") as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(call, item))
                    if len(waiting) >= workers + _AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
