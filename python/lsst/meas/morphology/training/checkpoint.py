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

"""Checkpoints of a training run, safe against a kill at any moment."""

from __future__ import annotations

__all__ = ("Checkpoint", "read_checkpoint", "write_checkpoint")

import dataclasses
import json
import os
import pathlib
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..errors import MorphologyError


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """All that a training run needs to go on."""

    tensors: dict[str, torch.Tensor]
    """Weights, their running mean and the optimiser's moments, by name."""

    state: dict[str, Any]
    """What is not a tensor, as JSON can hold it."""


def write_checkpoint(path: pathlib.Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the former one stays until this is complete.

    Tensors and state are one file, so that they can't be of different
    steps.
    """
    temporary = path.with_name(path.name + ".tmp")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    data = safetensors.torch.save(tensors, metadata={"state": json.dumps(checkpoint.state)})
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def read_checkpoint(path: pathlib.Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    MorphologyError
        Raised if the file is not a checkpoint.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise MorphologyError(
            f"{path} is not a checkpoint of a training run ({error}); delete it to start anew."
        ) from error
    return Checkpoint(tensors, state)
