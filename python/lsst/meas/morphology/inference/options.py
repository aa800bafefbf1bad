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

"""What the operator chooses about running a network."""

from __future__ import annotations

__all__ = ("EngineOptions",)

import dataclasses

_CHOICES = {
    "backend": ("auto", "onnx", "torch"),
    "device": ("auto", "cpu", "cuda"),
    "precision": ("float32", "autocast"),
}


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """How a network is run; none of it is the model's business.

    Raises
    ------
    ValueError
        Raised if a value is not among those allowed.
    """

    backend: str = "auto"
    """``onnx`` (ONNX Runtime), ``torch``, or ``auto``: on a CPU ONNX
    Runtime if it is installed and else torch; on a GPU torch."""

    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``: a GPU if there is one."""

    batch_size: int = 64
    """Stamps in one batch, until memory runs out."""

    threads: int = 1
    """CPU threads of the network."""

    precision: str = "float32"
    """``float32``, or ``autocast`` for mixed precision: torch's, or with
    ONNX Runtime TensorRT's, which needs `compile`."""

    compile: bool = False
    """Compile the network first: by ``torch.compile``, or with ONNX Runtime
    by TensorRT. Takes minutes, and batches then have one size."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(allowed)}.")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
