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

"""Bare encoders of timm's, from a folder or from the hub."""

from __future__ import annotations

__all__ = ("read_folder", "read_hub")

import json
import pathlib
from typing import Any

from ..errors import CheckpointError, MissingExtraError
from .checkpoint import Checkpoint, parse_checkpoint, read_checkpoint

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
"""Files of weights in a repository of timm's, the safe one first."""

type Described = tuple[Checkpoint, list[str], dict[str, Any]]


def read_folder(folder: pathlib.Path) -> Described:
    """Read an encoder that timm saved in a folder.

    Parameters
    ----------
    folder
        It holds ``config.json`` and ``model.safetensors`` or
        ``pytorch_model.bin``, as a repository on the hub does.

    Returns
    -------
    checkpoint
        The encoder's weights.
    stated
        Name of the encoder, where the folder says it.
    arguments
        Further arguments of timm's.

    Raises
    ------
    CheckpointError
        Raised if a file is missing or damaged.
    """
    path = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(f"{folder} holds none of {', '.join(_WEIGHTS)}.")
    config: dict[str, Any] = {}
    if (folder / "config.json").is_file():
        try:
            config = json.loads((folder / "config.json").read_bytes())
        except ValueError as error:
            raise CheckpointError(f"{folder / 'config.json'} is not valid JSON: {error}.") from error
        if not isinstance(config, dict):
            raise CheckpointError(f"{folder / 'config.json'} holds no JSON object.")
    return (read_checkpoint(path), *_describe(config))


def read_hub(name: str) -> Described:
    """Fetch an encoder from the hub, as timm does.

    Parameters
    ----------
    name
        ``hf_hub:`` and the name of the repository, such as
        ``hf_hub:mwalmsley/zoobot-encoder-convnext_nano``.

    Returns
    -------
    checkpoint
        The encoder's weights; torch loads them as weights only.
    stated
        Name of the encoder.
    arguments
        Further arguments of timm's.

    Raises
    ------
    CheckpointError
        Raised if it can't be fetched.
    MissingExtraError
        Raised if timm is missing.
    """
    try:
        from timm.models import load_model_config_from_hf, load_state_dict_from_hf
    except ImportError as error:
        raise MissingExtraError("timm", "train", f"fetch {name}") from error
    repository = name.partition(":")[2]
    try:
        config, architecture, arguments = load_model_config_from_hf(repository)
        weights = load_state_dict_from_hf(repository, weights_only=True)
    # The hub's client has errors of its own, of many kinds.
    except Exception as error:
        raise CheckpointError(f"{name} could not be fetched: {type(error).__name__}: {error}") from error
    described = {"architecture": architecture, "model_args": arguments, "pretrained_cfg": config}
    return (parse_checkpoint(weights, name), *_describe(described))


def _describe(config: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return name and arguments of the encoder in timm's configuration."""
    arguments = config.get("model_args")
    inner = config.get("pretrained_cfg")
    stated = config.get("architecture") or (inner.get("architecture") if isinstance(inner, dict) else None)
    return [str(stated)] if stated else [], arguments if isinstance(arguments, dict) else {}
