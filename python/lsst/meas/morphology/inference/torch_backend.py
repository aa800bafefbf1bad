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

"""Networks run by torch."""

from __future__ import annotations

__all__ = ("TorchBackend",)

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ModelPackageError
from ..model.network import build_network
from ..model.package import DROPOUT_MASKS, ModelPackage
from .options import EngineOptions

_SETTINGS_LOCK = threading.Lock()
"""Held while torch's process-wide settings are other than they were."""

_MEMORY_TEXTS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")


class TorchBackend:
    """torch, on a CPU or a GPU.

    Parameters
    ----------
    package
        The model. Its network is built from the manifest, and its weights
        are loaded by name, each exactly once.
    options
        What the operator wants; its device is ``cpu`` or ``cuda``.

    Raises
    ------
    ModelPackageError
        Raised if the weights do not fit the network.
    """

    def __init__(self, package: ModelPackage, options: EngineOptions) -> None:
        self._options = options
        device = torch.device(options.device)
        weights = {name: torch.from_numpy(array) for name, array in package.read_weights().items()}
        network = build_network(package.manifest)
        try:
            network.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise ModelPackageError(f"{package.path}: the weights don't fit the network: {error}") from error
        network = network.eval().requires_grad_(False).to(device)
        masks = weights.get(DROPOUT_MASKS)
        self._dropout = torch.ones(1, 1, device=device) if masks is None else masks.to(device)
        self._network: Any = torch.compile(network) if options.compile else network
        self._device = device
        self.name = f"torch {torch.__version__}"
        self.device = "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)

    def run(
        self, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        # Docstring inherited.
        try:
            with _settings(self._options), torch.inference_mode():
                outputs = self._network(self._tensor(flux), self._tensor(valid), self._dropout)
                return {name: value.float().cpu().numpy() for name, value in outputs.items()}
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            message = str(error)
        # Only out here are the error's frames gone, and their tensors.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        raise MemoryError(message)

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self._device)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        text in str(error).lower() for text in _MEMORY_TEXTS
    )


@contextlib.contextmanager
def _settings(options: EngineOptions) -> Iterator[None]:
    """Set torch's process-wide settings for a while.

    With ``float32`` no GPU may round products to TF32, which would cost
    three digits.
    """
    with _SETTINGS_LOCK, contextlib.ExitStack() as stack:
        threads = torch.get_num_threads()
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(options.threads)
        if options.precision == "autocast":
            stack.enter_context(torch.autocast(options.device, dtype=torch.bfloat16))
        elif options.device == "cuda":
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        yield
