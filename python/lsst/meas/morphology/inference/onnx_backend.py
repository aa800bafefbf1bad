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

"""Networks run by ONNX Runtime."""

from __future__ import annotations

__all__ = ("OnnxBackend",)

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DeviceError, ModelPackageError
from ..model.package import DROPOUT_MASKS, WEIGHTS, ModelPackage
from .options import EngineOptions

_MEMORY_TEXTS = ("failed to allocate memory", "out of memory", "alloc_failed", "bad allocation", "bad_alloc")


class OnnxBackend:
    """ONNX Runtime, on a CPU, with CUDA or with TensorRT.

    Parameters
    ----------
    package
        The model. Program and weights are handed over in memory, so no file
        is written.
    options
        What the operator wants; its device is ``cpu`` or ``cuda``.

    Raises
    ------
    DeviceError
        Raised if the GPU's execution provider does not start, or if the
        precision is not to be had.
    ModelPackageError
        Raised if the program does not fit its manifest.
    """

    def __init__(self, package: ModelPackage, options: EngineOptions) -> None:
        import onnxruntime

        providers = _providers(options)
        if options.device == "cuda":
            onnxruntime.preload_dlls()
        self._session = _session(package, options, providers)
        used = self._session.get_providers()[0]
        if used != providers[0][0]:
            raise DeviceError(
                f"onnxruntime {onnxruntime.__version__} could not start its {providers[0][0]} and would use"
                f" {used}. Its log says why; a common cause is a missing CUDA, cuDNN or TensorRT library."
            )
        self.name = f"onnxruntime {onnxruntime.__version__} ({used})"
        self.device = options.device
        self._fixed: dict[str, npt.NDArray[Any]] = {}
        self._outputs = [name for name in package.golden() if name not in ("flux", "valid")]
        if package.manifest.votes is not None:
            self._fixed["dropout"] = package.read_weights()[DROPOUT_MASKS]
        self._check_interface(package)

    def _check_interface(self, package: ModelPackage) -> None:
        """Refuse a program with other inputs or outputs."""
        inputs = {item.name for item in self._session.get_inputs()}
        outputs = {item.name for item in self._session.get_outputs()}
        wanted = {"flux", "valid", *self._fixed}
        if inputs != wanted or outputs != set(self._outputs):
            raise ModelPackageError(
                f"{package.path}: the program takes {sorted(inputs)} and gives {sorted(outputs)}; by the"
                f" manifest it should take {sorted(wanted)} and give {self._outputs}."
            )

    def run(
        self, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        # Docstring inherited.
        feed = {"flux": flux, "valid": valid, **self._fixed}
        try:
            values = self._session.run(self._outputs, feed)
        except Exception as error:
            # The library's errors have no common base, and none that is
            # for want of memory alone.
            if any(text in str(error).lower() for text in _MEMORY_TEXTS):
                raise MemoryError(str(error)) from error
            raise
        return dict(zip(self._outputs, values, strict=True))


def _providers(options: EngineOptions) -> list[tuple[str, dict[str, str]]]:
    """Return the execution providers to use, the preferred one first."""
    cpu: tuple[str, dict[str, str]] = ("CPUExecutionProvider", {})
    if not options.compile and options.precision != "float32":
        raise DeviceError(
            f"ONNX Runtime has precision={options.precision!r} only through TensorRT: set compile too, or use"
            " backend='torch'."
        )
    if options.device == "cpu":
        if options.compile:
            raise DeviceError("With ONNX Runtime compile means TensorRT, which needs device='cuda'.")
        return [cpu]
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0"})
    if not options.compile:
        return [cuda, cpu]
    half = "1" if options.precision == "autocast" else "0"
    return [("TensorrtExecutionProvider", {"trt_fp16_enable": half}), cuda, cpu]


def _session(
    package: ModelPackage, options: EngineOptions, providers: list[tuple[str, dict[str, str]]]
) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Threads that wait must not take cores from other processes.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    weights = package.weights_bytes()
    if not hasattr(settings, "add_external_initializers_from_files_in_memory"):
        raise DeviceError(f"onnxruntime {onnxruntime.__version__} is too old: 1.24 or newer is needed.")
    settings.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
    try:
        return onnxruntime.InferenceSession(package.program(), settings, providers=providers)
    except Exception as error:
        raise ModelPackageError(
            f"{package.path}: onnxruntime {onnxruntime.__version__} can't load the program: {error}."
        ) from error
