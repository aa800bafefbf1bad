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

"""The protocol of whatever runs a network, and the choice of one."""

from __future__ import annotations

__all__ = ("Backend", "choose", "installed_backends", "make_backend")

import dataclasses
import importlib.util
import logging
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..errors import DeviceError, MissingExtraError
from ..model.package import ModelPackage
from .options import EngineOptions

_LOG = logging.getLogger(__name__)


class Backend(Protocol):
    """Something that runs a network on batches of stamps."""

    @property
    def name(self) -> str:
        """The library and its version."""

    @property
    def device(self) -> str:
        """Where it runs: ``cpu``, or the name of a GPU."""

    def run(
        self, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Run the network on one batch.

        Parameters
        ----------
        flux
            Pixels in the model's unit, of shape ``[n, band, size, size]``.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        outputs
            What the manifest's ``outputs`` names: ``alpha`` of shape
            ``[n, sample, answer]``, ``embedding`` of shape
            ``[n, feature]``, ``classes``, ``scalar``, ``mask`` of shape
            ``[n, plane, size, size]``, ``presence`` and ``share``.

        Raises
        ------
        MemoryError
            Raised if there is not enough memory for a batch of this size,
            in whatever way the library says so.
        """


def choose(options: EngineOptions) -> tuple[str, str]:
    """Decide what ``auto`` means here.

    Parameters
    ----------
    options
        What the operator wants.

    Returns
    -------
    backend
        ``onnx`` or ``torch``.
    device
        ``cpu`` or ``cuda``.

    Raises
    ------
    DeviceError
        Raised if a GPU is asked for and the backend finds none.
    MissingExtraError
        Raised if a backend is asked for and is not installed.
    """
    if options.backend == "onnx" and not _installed("onnxruntime"):
        extra = "cpu" if options.device == "cpu" else "gpu"
        raise MissingExtraError("onnxruntime", extra, "run models with ONNX Runtime")
    if options.backend == "torch" and not _installed("torch"):
        raise MissingExtraError("torch", "cpu", "run models with torch")
    device = options.device
    if device != "cpu":
        reason = _onnx_lacks_gpu() if options.backend == "onnx" else _torch_lacks_gpu()
        if reason and device == "cuda":
            raise DeviceError(
                f"device='cuda' was asked for, but {reason}. Use device='cpu', or 'auto' for what there is."
            )
        device = "cpu" if reason else "cuda"
    if options.backend != "auto":
        return options.backend, device
    return ("onnx" if device == "cpu" and _installed("onnxruntime") else "torch"), device


def installed_backends() -> tuple[str, ...]:
    """Return the backends whose library is installed."""
    libraries = {"onnx": "onnxruntime", "torch": "torch"}
    return tuple(backend for backend, library in libraries.items() if _installed(library))


def make_backend(package: ModelPackage, options: EngineOptions) -> Backend:
    """Return a backend that runs a package's network.

    Parameters
    ----------
    package
        The model.
    options
        What the operator wants.

    Raises
    ------
    DeviceError
        Raised if the device or precision is not to be had.
    ModelPackageError
        Raised if the network does not fit its manifest.
    """
    backend, device = choose(options)
    settled = dataclasses.replace(options, backend=backend, device=device)
    if backend == "torch":
        from .torch_backend import TorchBackend

        return TorchBackend(package, settled)
    from .onnx_backend import OnnxBackend

    try:
        return OnnxBackend(package, settled)
    except DeviceError as error:
        if device == options.device:
            raise
        _LOG.warning("Using the CPU: %s", error)
        return OnnxBackend(package, dataclasses.replace(settled, device="cpu"))


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _torch_lacks_gpu() -> str:
    """Return why torch can't use a GPU, or nothing."""
    if not _installed("torch"):
        return "torch is not installed"
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no usable NVIDIA GPU"
    return ""


def _onnx_lacks_gpu() -> str:
    """Return why ONNX Runtime can't use a GPU, or nothing.

    That its CUDA provider exists does not say that it starts; whether it
    did is known only once a session is there.
    """
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} has no CUDA provider (the package onnxruntime-gpu has)"
    return ""
