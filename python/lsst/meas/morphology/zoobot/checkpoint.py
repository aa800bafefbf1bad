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

"""What a Zoobot checkpoint holds: encoder, head, questions."""

from __future__ import annotations

__all__ = ("Checkpoint", "Kind", "parse_checkpoint", "read_checkpoint")

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch

from ..errors import CheckpointError
from .reader import Inert, read_torch_file

Kind = Literal[
    "ZoobotTree",
    "FinetuneableZoobotTree",
    "FinetuneableZoobotClassifier",
    "FinetuneableZoobotRegressor",
    "encoder",
]
"""Classes that can be imported; ``encoder`` is one of timm's, bare."""

type Weights = dict[str, torch.Tensor]

_OLD_ARGUMENTS = frozenset(
    (
        "n_blocks",
        "n_layers",
        "lr_decay",
        "dropout_prob",
        "always_train_batchnorm",
        "cosine_schedule",
        "from_scratch",
    )
)
"""Arguments that only Zoobot before 2.9 had."""

_HEAD = re.compile(r"head\.(?:linear|\d+(?:\.\d+)*)\.(weight|bias)")


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that has been read, and in which nothing was run."""

    source: str
    """Where it was read from."""

    kind: Kind
    """Class of the model that was saved."""

    encoder: Weights
    """Weights of the encoder, under timm's names."""

    weight: torch.Tensor | None = None
    """Weights of the head, of shape ``[output, feature]``."""

    bias: torch.Tensor | None = None
    """Biases of the head, of shape ``[output]``."""

    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments that the model was made with, whatever Zoobot's version."""

    questions: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """For each question in the order of the output, its answers as Zoobot
    writes them, such as ``_smooth``."""

    dependencies: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """For each question, the output after which it is asked."""

    sha256: str | None = None
    """Checksum of the file."""

    lightning_version: str = ""
    """Version of Lightning that saved it."""

    @property
    def is_old(self) -> bool:
        """Whether it was made by Zoobot before 2.9, which drew crops."""
        return not _OLD_ARGUMENTS.isdisjoint(self.hyperparameters)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file that Zoobot or timm saved.

    Parameters
    ----------
    path
        A checkpoint of Lightning, or the weights of a bare encoder in
        torch's or the safetensors format.

    Returns
    -------
    checkpoint
        Its content.

    Raises
    ------
    FileNotFoundError
        Raised if there is no such file.
    CheckpointError
        Raised if the file is damaged or unsafe, or holds no model of
        Zoobot's.
    """
    source = os.fspath(path)
    content = _read_safetensors(source) if source.endswith(".safetensors") else read_torch_file(source)
    checkpoint = parse_checkpoint(content, source)
    with open(source, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return dataclasses.replace(checkpoint, sha256=digest)


def parse_checkpoint(content: object, source: str) -> Checkpoint:
    """Find the parts of a model in what a file holds.

    Parameters
    ----------
    content
        The checkpoint as plain data, tensors and `Inert` objects.
    source
        Name of the file, for error messages.

    Raises
    ------
    CheckpointError
        Raised if it is no model of Zoobot's.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{source} holds a {type(content).__name__}, not a checkpoint's dictionary.")
    if "state_dict" not in content:
        encoder = _tensors(content, source)
        return Checkpoint(source=source, kind="encoder", encoder=encoder)
    state = _tensors(content["state_dict"], source)
    given = content.get("hyper_parameters")
    hyperparameters = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
    encoder = _under(state, "encoder.")
    if not encoder:
        raise CheckpointError(
            f"{source} is no checkpoint of Zoobot's: none of its {len(state)} tensors is of an 'encoder'. It"
            f" begins with {', '.join(sorted(state)[:3])}."
        )
    weight, bias = _head(state, source)
    questions, dependencies = _questions(hyperparameters, source)
    kind = _kind(hyperparameters, state, weight, source)
    if questions and weight is not None and len(weight) != sum(map(len, questions.values())):
        raise CheckpointError(
            f"{source}: the head has {len(weight)} outputs, the questions"
            f" {sum(map(len, questions.values()))} answers."
        )
    return Checkpoint(
        source=source,
        kind=kind,
        encoder=encoder,
        weight=weight,
        bias=bias,
        hyperparameters=hyperparameters,
        questions=questions,
        dependencies=dependencies,
        lightning_version=str(content.get("pytorch-lightning_version", "")),
    )


def _read_safetensors(source: str) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(pathlib.Path(source).read_bytes()))
    except SafetensorError as error:
        raise CheckpointError(f"{source} is truncated or no safetensors file: {error}") from error


def _tensors(content: object, source: str) -> Weights:
    """Return named tensors, without what torch.compile puts into names."""
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{source} holds no weights.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{source} is neither a Lightning checkpoint nor named weights: its entry {name!r} is a"
                f" {type(value).__name__}."
            )
    return {name.replace("_orig_mod.", ""): _plain(value) for name, value in content.items()}


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a dense tensor of its own, in float32 if it is of floats."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _under(state: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _head(state: Weights, source: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return weights and biases of the head's only linear layer."""
    found: dict[str, list[torch.Tensor]] = {"weight": [], "bias": []}
    for name, value in state.items():
        if match := _HEAD.fullmatch(name):
            found[match[1]].append(value)
    others = [name for name in state if name.startswith("head.") and not _HEAD.fullmatch(name)]
    if not found["weight"] and not others:
        return None, None
    weights, biases = found["weight"], found["bias"]
    if others or len(weights) != 1 or len(biases) != 1 or weights[0].ndim != 2:
        raise CheckpointError(
            f"{source}: the head is not Zoobot's one linear layer; it has"
            f" {', '.join(sorted(name for name in state if name.startswith('head.')))}."
        )
    return weights[0], biases[0]


def _questions(
    hyperparameters: Mapping[str, Any], source: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, str | None]]:
    """Return questions and dependencies, however they were saved."""
    schema = hyperparameters.get("schema")
    if schema is not None and not isinstance(schema, Inert):
        raise CheckpointError(f"{source}: the schema is a {type(schema).__name__}, not one of Zoobot's.")
    get = hyperparameters.get if schema is None else schema.get
    pairs, dependencies = get("question_answer_pairs"), get("dependencies")
    if pairs is None:
        if schema is not None:
            raise CheckpointError(f"{source}: the schema holds no question_answer_pairs.")
        return {}, {}
    if not isinstance(pairs, Mapping) or not isinstance(dependencies or {}, Mapping):
        raise CheckpointError(f"{source}: question_answer_pairs or dependencies are no dictionary.")
    questions = {str(name): tuple(map(str, answers)) for name, answers in pairs.items()}
    names = [name + answer for name, answers in questions.items() for answer in answers]
    if (labels := get("label_cols")) is not None and list(labels) != names:
        raise CheckpointError(f"{source}: the schema's label_cols are in another order than its questions.")
    after = {
        str(name): None if parent is None else str(parent) for name, parent in (dependencies or {}).items()
    }
    return questions, after


def _kind(
    hyperparameters: Mapping[str, Any], state: Weights, weight: torch.Tensor | None, source: str
) -> Kind:
    """Tell the class from what was saved; its name was not."""
    if weight is None:
        return "encoder"
    if hyperparameters.get("schema") is not None:
        return "FinetuneableZoobotTree"
    if hyperparameters.get("question_answer_pairs") is not None:
        return "ZoobotTree"
    if "head.linear.weight" in state:
        if "unit_interval" in hyperparameters or ("num_classes" not in hyperparameters and len(weight) == 1):
            return "FinetuneableZoobotRegressor"
        return "FinetuneableZoobotClassifier"
    raise CheckpointError(
        f"{source} is of a class that can't be imported: it has a head, but says neither which questions nor"
        " which classes it answers. Known are ZoobotTree, FinetuneableZoobotTree,"
        " FinetuneableZoobotClassifier, FinetuneableZoobotRegressor and bare encoders."
    )
