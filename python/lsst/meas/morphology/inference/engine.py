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

"""A model that is ready to run, and the process's cache of them."""

from __future__ import annotations

__all__ = ("Engine", "EngineOptions", "Predictions", "clear_engines", "get_engine")

import collections
import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelMismatchError
from ..model.manifest import Manifest
from ..model.package import ModelPackage
from .backend import Backend, make_backend
from .options import EngineOptions

_LOG = logging.getLogger(__name__)

MAX_ENGINES = 4
"""Engines kept by one process; the longest unused one goes first."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a network says of some stamps."""

    alpha: npt.NDArray[np.float32] | None = None
    """Dirichlet concentrations, ``[n, sample, answer]``, or `None` if the
    model answers no questions."""

    embedding: npt.NDArray[np.float32] | None = None
    """Feature vectors, ``[n, feature]``, or `None` if the model has none."""

    classes: npt.NDArray[np.float32] | None = None
    """Probabilities of classes, ``[n, class]``, or `None`."""

    scalar: npt.NDArray[np.float32] | None = None
    """Estimates of a quantity, ``[n, 1]``, or `None`."""

    novelty: npt.NDArray[np.float32] | None = None
    """How far from the training objects each is, ``[n, 1]``, or `None`."""

    mask: npt.NDArray[np.float32] | None = None
    """Logits of mask planes, ``[n, plane, size, size]``, or `None`."""

    presence: npt.NDArray[np.float32] | None = None
    """Logits that a feature of each plane but the host's is there,
    ``[n, feature]``, or `None`."""

    share: npt.NDArray[np.float32] | None = None
    """Part of each pixel's light that is a feature's,
    ``[n, feature, size, size]``, or `None`."""


class Engine:
    """A model that is loaded and ready to run.

    Its results do not depend on the batch size, on the order of the
    stamps, or on what else is in a batch, up to rounding.

    Parameters
    ----------
    manifest
        What the model is.
    backend
        What runs it.
    batch_size
        Stamps in one batch, until memory runs out.
    fixed_batch
        Whether the last batch is filled up with empty stamps.
    """

    def __init__(
        self, manifest: Manifest, backend: Backend, *, batch_size: int, fixed_batch: bool = False
    ) -> None:
        self.manifest = manifest
        self._backend = backend
        self._batch_size = batch_size
        self._fixed_batch = fixed_batch
        self._lock = threading.Lock()

    @classmethod
    def from_package(cls, package: ModelPackage, options: EngineOptions) -> Engine:
        """Load a model.

        Parameters
        ----------
        package
            The model.
        options
            How it is run.

        Raises
        ------
        DeviceError
            Raised if the device or precision is not to be had.
        ModelPackageError
            Raised if the network does not fit its manifest.
        """
        manifest = package.manifest
        backend = make_backend(package, options)
        engine = cls(manifest, backend, batch_size=options.batch_size, fixed_batch=options.compile)
        _LOG.info(
            "Model %s %s runs on %s with %d CPU thread(s), %s%s, batches of %d",
            manifest.name,
            manifest.version,
            engine.description,
            options.threads,
            options.precision,
            ", compiled" if options.compile else "",
            options.batch_size,
        )
        return engine

    @property
    def description(self) -> str:
        """What runs the model, and where."""
        return f"{self._backend.name} on {self._backend.device}"

    @property
    def batch_size(self) -> int:
        """Stamps in one batch now; smaller once memory has run out."""
        return self._batch_size

    def predict(self, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> Predictions:
        """Run the network.

        Parameters
        ----------
        flux
            Pixels in the model's unit, of shape ``[n, band, size, size]``,
            with the bands in the model's order. May be empty.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        predictions
            The outputs of the model's heads, in the order of the stamps.

        Raises
        ------
        ModelMismatchError
            Raised if the stamps are not of the model's shape.
        MemoryError
            Raised if memory does not suffice for a single stamp.
        """
        self._check(flux, valid)
        outputs = self._allocate(len(flux))
        with self._lock:
            start = 0
            while start < len(flux):
                chunk = slice(start, min(start + self._batch_size, len(flux)))
                try:
                    values = self._run(flux[chunk], valid[chunk])
                except MemoryError as error:
                    self._shrink(error)
                    continue
                for name, output in outputs.items():
                    output[chunk] = values[name][: chunk.stop - chunk.start]
                start = chunk.stop
        return Predictions(**outputs)

    def _run(
        self, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        missing = self._batch_size - len(flux)
        if self._fixed_batch and missing:
            padding = ((0, missing), (0, 0), (0, 0), (0, 0))
            flux, valid = np.pad(flux, padding), np.pad(valid, padding)
        return self._backend.run(
            np.ascontiguousarray(flux, dtype=np.float32), np.ascontiguousarray(valid, dtype=np.bool_)
        )

    def _shrink(self, error: MemoryError) -> None:
        """Halve the batch size, or give up."""
        if self._batch_size == 1:
            raise MemoryError(
                f"{self.description} has too little memory for a single stamp: {error}"
            ) from error
        self._batch_size //= 2
        _LOG.warning(
            "%s ran out of memory; continuing with batches of %d stamps (%s)",
            self.description,
            self._batch_size,
            str(error).partition("\n")[0],
        )

    def _check(self, flux: npt.NDArray[Any], valid: npt.NDArray[Any]) -> None:
        size = self.manifest.stamp_size
        shape = (len(self.manifest.bands), size, size)
        if flux.ndim != 4 or flux.shape[1:] != shape or valid.shape != flux.shape:
            raise ModelMismatchError(
                f"Model {self.manifest.name} {self.manifest.version} takes stamps of shape"
                f" (n, {', '.join(map(str, shape))}); these are {flux.shape}, with validity {valid.shape}."
            )

    def _allocate(self, count: int) -> dict[str, npt.NDArray[np.float32]]:
        return {name: np.empty((count, *shape), np.float32) for name, shape in self.manifest.outputs.items()}


_engines: collections.OrderedDict[tuple[str, EngineOptions], Engine] = collections.OrderedDict()
_engines_lock = threading.Lock()


def get_engine(key: str, package: Callable[[], ModelPackage], options: EngineOptions) -> Engine:
    """Return this process's engine for a model, loading it once.

    Parameters
    ----------
    key
        Identity of the model, such as its dataset's id.
    package
        Opens the model's package; called only if there is no engine yet.
    options
        How the model is run. Other options make another engine.
    """
    with _engines_lock:
        engine = _engines.get((key, options))
        if engine is None:
            engine = _engines[key, options] = Engine.from_package(package(), options)
            while len(_engines) > MAX_ENGINES:
                _engines.popitem(last=False)
        _engines.move_to_end((key, options))
    return engine


def clear_engines() -> None:
    """Forget all engines of this process, and free what they hold."""
    with _engines_lock:
        _engines.clear()
