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

"""From a checkpoint of Zoobot's to a model package."""

from __future__ import annotations

__all__ = ("ImportOptions", "describe_checkpoint", "import_checkpoint", "load_source")

import dataclasses
import logging
import os
import pathlib
import re
from typing import Any

import torch

from ..errors import CheckpointError
from ..model.architecture_spec import TimmArchitecture
from ..model.heads import ClassesHead, EmbeddingHead, ScalarHead, VotesHead
from ..model.manifest import Manifest, Origin, TrainingRecord
from ..model.network import MorphologyNetwork, build_network
from ..model.package import ModelPackage
from ..training.export import export_package
from .architecture import EncoderSpec, find_encoder
from .bare import read_folder, read_hub
from .card import write_card
from .checkpoint import Checkpoint, read_checkpoint
from .examples import example_stamps
from .questions import to_question_tree
from .sights import Sight, make_sight

_LOG = logging.getLogger(__name__)

_DROPOUT_NAMES = ("head_dropout_prob", "dropout_rate", "dropout_prob")
"""What the head's dropout was called, in various versions of Zoobot."""


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """What the user wants, and what no checkpoint says."""

    name: str | None = None
    """Name of the model; by default ``zoobot_`` and its encoder's."""

    version: str = "1.0.0"
    """Version of the model."""

    title: str | None = None
    """One line for people."""

    licence: str = "NOASSERTION"
    """SPDX identifier of the licence of the weights."""

    sight: str = "images"
    """How the model is shown galaxies, one of `SIGHTS`."""

    bands: tuple[str, ...] | None = None
    """Bands of coadds; by default those of the sight."""

    size: int = 224
    """Side of the images in pixels."""

    samples: int = 1
    """Posterior samples; with 1 dropout is off, as Zoobot 2.9 has it."""

    classes: tuple[str, ...] | None = None
    """Names of a classifier's classes, which no checkpoint holds."""

    architecture: str | None = None
    """Name of the encoder, where the checkpoint does not tell."""


def import_checkpoint(
    source: str | os.PathLike[str], out: str | os.PathLike[str], options: ImportOptions | None = None
) -> ModelPackage:
    """Turn a checkpoint into a model package that predicts the same.

    Parameters
    ----------
    source
        A checkpoint of Zoobot's, a bare encoder's file or folder, or
        ``hf_hub:`` and the name of an encoder's repository.
    out
        The package to write.
    options
        What the checkpoint does not say.

    Returns
    -------
    package
        The package, tried with both backends.

    Raises
    ------
    FileNotFoundError
        Raised if there is no such file.
    CheckpointError
        Raised if the checkpoint is damaged, would run code, or is none that
        can be imported.
    MissingExtraError
        Raised if timm, or what writes ONNX programs, is missing.
    ModelPackageError
        Raised if the package does not reproduce the checkpoint's outputs.
    """
    options = options or ImportOptions()
    checkpoint, encoder = load_source(source, options)
    sight = make_sight(options.sight, channels=encoder.channels, bands=options.bands)
    manifest = describe_checkpoint(checkpoint, encoder, sight, options)
    if checkpoint.is_old and options.sight == "images":
        _LOG.warning(
            "%s was made by Zoobot 2.0, which drew crops at random; the model is shown the central ones of"
            " 2.9. The sight 'images-2.0' draws as it did.",
            checkpoint.source,
        )
    network = build_network(manifest)
    _load(network, checkpoint, encoder)
    flux, valid = example_stamps(len(sight.bands), options.size, sight.pixels)
    card = write_card(manifest, checkpoint, encoder)
    return export_package(out, manifest, network, flux, valid, card)


def load_source(source: str | os.PathLike[str], options: ImportOptions) -> tuple[Checkpoint, EncoderSpec]:
    """Read a checkpoint and find its encoder.

    Parameters
    ----------
    source
        A file, a folder, or ``hf_hub:`` and a name.
    options
        What the checkpoint does not say.

    Raises
    ------
    FileNotFoundError
        Raised if there is no such file.
    CheckpointError
        Raised if the checkpoint can't be imported.
    MissingExtraError
        Raised if timm is missing.
    """
    text = os.fspath(source)
    stated: list[str] = []
    arguments: dict[str, Any] = {}
    if text.startswith(("hf_hub:", "hf-hub:")):
        checkpoint, stated, arguments = read_hub(text)
    elif pathlib.Path(text).is_dir():
        checkpoint, stated, arguments = read_folder(pathlib.Path(text))
    else:
        checkpoint = read_checkpoint(text)
        given = checkpoint.hyperparameters
        stated = [str(given[key]) for key in ("architecture_name", "name") if given.get(key)]
        if isinstance(given.get("timm_kwargs"), dict):
            arguments = given["timm_kwargs"]
    encoder = find_encoder(
        checkpoint.encoder,
        source=text,
        size=options.size,
        name=options.architecture,
        stated=stated,
        options=arguments,
    )
    _LOG.info(
        "%s: %s with the encoder %s, %s.", text, checkpoint.kind, encoder.architecture.name, encoder.how
    )
    if checkpoint.weight is not None and checkpoint.weight.shape[1] != encoder.width:
        raise CheckpointError(
            f"{text}: the head takes {checkpoint.weight.shape[1]} features; the encoder"
            f" {encoder.architecture.name} gives {encoder.width}."
        )
    return checkpoint, encoder


def describe_checkpoint(
    checkpoint: Checkpoint, encoder: EncoderSpec, sight: Sight, options: ImportOptions
) -> Manifest:
    """Return the manifest of the model in a checkpoint.

    Parameters
    ----------
    checkpoint
        The checkpoint.
    encoder
        Its encoder.
    sight
        What the model is shown.
    options
        What the checkpoint does not say.

    Raises
    ------
    CheckpointError
        Raised if the options don't fit the checkpoint.
    """
    plain = encoder.architecture.name
    name = options.name or re.sub(r"[^a-z0-9_]", "_", f"zoobot_{plain}".lower())
    heads = _heads(checkpoint, name, options)
    seed = checkpoint.hyperparameters.get("seed")
    try:
        return Manifest(
            name=name,
            version=options.version,
            title=options.title or f"{checkpoint.kind} with {plain}, imported from Zoobot",
            licence=options.licence,
            purpose="commissioning",
            bands=sight.bands,
            pixels=sight.pixels,
            stamp_size=options.size,
            field_of_view=sight.field_of_view,
            rendering=sight.rendering,
            architecture=TimmArchitecture(name=plain, options=encoder.architecture.options),
            embedding=EmbeddingHead(features=encoder.width, projection="identity"),
            training=TrainingRecord(
                data="It was trained by Zoobot, on galaxies that its checkpoint does not name.",
                seed=seed if isinstance(seed, int) else 0,
            ),
            origin=Origin(
                software=("Zoobot 2.0" if checkpoint.is_old else "Zoobot")
                + (
                    f", saved by Lightning {checkpoint.lightning_version}"
                    if checkpoint.lightning_version
                    else ""
                ),
                kind=checkpoint.kind,
                file=checkpoint.source.rstrip("/").rpartition("/")[2],
                sha256=checkpoint.sha256,
            ),
            **heads,
        )
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.source} can't be described as asked: {error}") from error


def _heads(checkpoint: Checkpoint, name: str, options: ImportOptions) -> dict[str, Any]:
    """Return the head that a checkpoint has, by its manifest field."""
    outputs = 0 if checkpoint.weight is None else len(checkpoint.weight)
    if options.classes is not None and checkpoint.kind != "FinetuneableZoobotClassifier":
        raise CheckpointError(f"{checkpoint.source} is a {checkpoint.kind}: it has no classes to name.")
    if options.samples > 1 and not checkpoint.questions:
        raise CheckpointError(f"{checkpoint.source} is a {checkpoint.kind}: it has no posterior samples.")
    if checkpoint.questions:
        tree = to_question_tree(
            checkpoint.questions, checkpoint.dependencies, name=name, source=checkpoint.source
        )
        dropout = _dropout(checkpoint) if options.samples > 1 else 0.0
        return {
            "votes": VotesHead(
                tree=tree.to_dict(),
                samples=options.samples,
                dropout=dropout,
                activation="sigmoid",
                hidden="identity",
            )
        }
    if checkpoint.kind == "FinetuneableZoobotClassifier":
        names = options.classes or tuple(f"class{index}" for index in range(outputs))
        if len(names) != outputs:
            raise CheckpointError(
                f"{checkpoint.source} tells {outputs} classes apart; {len(names)} names were given."
            )
        return {"classes": ClassesHead(names=names)}
    if checkpoint.kind == "FinetuneableZoobotRegressor":
        if outputs != 1:
            raise CheckpointError(f"{checkpoint.source} is a regressor with {outputs} outputs, not 1.")
        label = checkpoint.hyperparameters.get("label_col")
        bounded = bool(checkpoint.hyperparameters.get("unit_interval"))
        return {
            "scalar": ScalarHead(
                name=label if isinstance(label, str) and label else "value",
                activation="sigmoid" if bounded else "identity",
            )
        }
    return {}


def _dropout(checkpoint: Checkpoint) -> float:
    """Return the share of features that the head drops in training."""
    for key in _DROPOUT_NAMES:
        value = checkpoint.hyperparameters.get(key)
        if isinstance(value, float) and 0.0 < value < 1.0:
            return value
    raise CheckpointError(
        f"{checkpoint.source} states no dropout of its head ({', '.join(_DROPOUT_NAMES)}): it can only have"
        " one posterior sample."
    )


def _load(network: MorphologyNetwork, checkpoint: Checkpoint, encoder: EncoderSpec) -> None:
    """Give a network the weights of a checkpoint, each exactly once."""
    weights = {f"encoder.{name}": value for name, value in encoder.weights.items()}
    if checkpoint.weight is not None and checkpoint.bias is not None:
        head = "head" if network.head is not None else "classes" if network.classes is not None else "scalar"
        weights[f"{head}.linear.weight"] = checkpoint.weight
        weights[f"{head}.linear.bias"] = checkpoint.bias
    missing, unexpected = network.load_state_dict(weights, strict=False)
    # The masks are none of the checkpoint's.
    if unexpected or set(missing) - {"head.dropout_masks"}:
        raise CheckpointError(
            f"{checkpoint.source}: weights are left over or missing: {[*unexpected, *missing][:3]}."
        )
    if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
        raise CheckpointError(f"{checkpoint.source} has weights that are not finite.")
