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

"""Fine-tuning: from a model and a few hundred labels to a new model."""

from __future__ import annotations

__all__ = ("FineTuned", "fine_tune", "inherit", "tune_package")

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import LabelError
from ..model.manifest import Manifest, ScalarHead, TrainingRecord, VotesHead
from ..model.network import MorphologyNetwork, build_network
from ..model.package import ModelPackage
from ..model.shipped import find_model
from ..questions.tree import QuestionTree
from .export import export_package
from .held_out import choose_held_out, held_out_figures
from .label_table import LabelTable
from .objective import Objective, ScalarObjective, VotesObjective
from .stamp_set import StampSet, match_labels
from .target import ClassesTarget, Kind, ScalarTarget, Target, VotesTarget, make_target, snake_name
from .tuned_card import write_tuned_card
from .tuner import TuneOptions, Tuner

_LOG = logging.getLogger(__name__)

_GOLDEN_STAMPS = 6


@dataclasses.dataclass(frozen=True)
class FineTuned:
    """What fine-tuning ends in."""

    package: ModelPackage
    """The model."""

    figures: Mapping[str, float]
    """How well it does on the labels that were held out."""

    history: tuple[Mapping[str, float], ...]
    """Loss by epoch."""


def fine_tune(
    model: str | Path,
    labels: str | Path | LabelTable,
    out: str | Path,
    *,
    stamps: str | Path | StampSet,
    target: str | None = None,
    kind: Kind = "auto",
    tree: QuestionTree | None = None,
    unit: str = "",
    name: str | None = None,
    version: str = "0.1.0",
    options: TuneOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> FineTuned:
    """Fine-tune a model on labelled stamps and write it as a package.

    Parameters
    ----------
    model
        Name of a model that ships with the code, or a package's file.
    labels
        Table of labels, or its file.
    out
        The package to write.
    stamps
        Stamps of the labelled objects, or their file; see `StampSet`.
        `~lsst.meas.morphology.training.repository_stamps.cut_labelled`
        cuts them out of a Butler repository.
    target
        Column of classes or of a quantity; None for vote counts.
    kind
        What the column holds; see `make_target`.
    tree
        Questions of the vote counts; by default the model's own.
    unit
        Unit of a quantity.
    name
        Name of the new model; by default made of the target's.
    version
        Its version.
    options
        How to train.
    progress
        Called with the number of epochs done.

    Returns
    -------
    result
        The new model and how well it does.

    Raises
    ------
    LabelError
        Raised if the labels can't be used.
    MissingColumnError
        Raised if the table lacks a column.
    ModelMismatchError
        Raised if the stamps are not of the model's shape.
    ModelPackageError
        Raised if the model can't be read, or the new one is not reproduced
        by both backends.
    """
    package = ModelPackage.open(find_model(str(model)))
    table = labels if isinstance(labels, LabelTable) else LabelTable.read(labels)
    stamps = stamps if isinstance(stamps, StampSet) else StampSet.read(stamps)
    if tree is None and package.manifest.votes is not None:
        tree = package.manifest.tree
    learnt = make_target(table, target, kind=kind, tree=tree, unit=unit)
    stamp_rows, label_rows = match_labels(stamps, table)
    kept = learnt.labelled[label_rows]
    return tune_package(
        package,
        learnt[label_rows[kept]],
        stamps[stamp_rows[kept]],
        out,
        source=Path(table.source).name,
        name=name,
        version=version,
        options=options or TuneOptions(),
        progress=progress,
    )


def tune_package(
    package: ModelPackage,
    target: Target,
    stamps: StampSet,
    out: str | Path,
    *,
    source: str,
    name: str | None = None,
    version: str = "0.1.0",
    options: TuneOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> FineTuned:
    """Fine-tune a model on stamps whose labels are known.

    Parameters
    ----------
    package
        The model to start from.
    target
        What is to be learnt.
    stamps
        The stamps that belong to it, in its order.
    out
        The package to write.
    source
        Where the labels come from, for people.
    name, version
        Of the new model.
    options
        How to train.
    progress
        Called with the number of epochs done.
    """
    options = options or TuneOptions()
    stamps = stamps.for_model(package.manifest)
    held_out = choose_held_out(target, options.held_out, options.seed)
    manifest = _manifest(package.manifest, target, name, version, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        network = build_network(manifest)
    if not options.from_scratch:
        inherit(network, package, target)
    objective = _objective(target, ~held_out, torch.device(options.device))
    _LOG.info(
        "Training on %d labels of %s, %d held out, from %s %s",
        np.sum(~held_out),
        target.name,
        np.sum(held_out),
        package.manifest.name,
        package.manifest.version,
    )
    tuner = Tuner(
        network,
        objective,
        stamps,
        _labels(target),
        _weights(target, ~held_out, balanced=options.balanced),
        held_out,
        optional=tuple(manifest.bands.index(band) for band in manifest.optional_bands),
        options=options,
    )
    loss = tuner.run(progress)
    figures = held_out_figures(target, tuner.held_out_predictions(), held_out)
    figures |= {"heldOut.loss": loss, "labels": float(len(stamps)), "epochs": float(len(tuner.history))}
    if isinstance(objective, ScalarObjective):
        objective.fold(network)
    network = network.cpu().eval()
    manifest = _complete(manifest, package.manifest, network, stamps, source, figures, options)
    finished = build_network(manifest)
    finished.load_state_dict(network.state_dict())
    golden = _golden(stamps, held_out, manifest)
    card = write_tuned_card(manifest, package.manifest, target, source=source, options=options)
    written = export_package(out, manifest, finished, golden.flux, golden.valid, card)
    return FineTuned(written, figures, tuple(tuner.history))


def _manifest(
    base: Manifest, target: Target, name: str | None, version: str, options: TuneOptions
) -> Manifest:
    """Return the manifest of the new model before it is trained."""
    votes, scalar = None, None
    if isinstance(target, ScalarTarget):
        scalar = ScalarHead(name=target.name, unit=target.unit)
    elif base.votes is not None:
        votes = base.votes.model_copy(update={"tree": target.tree.to_dict()})
        if isinstance(target, ClassesTarget):
            # A new head: the function that learns soonest.
            votes = votes.model_copy(update={"activation": "exponential"})
    else:
        votes = VotesHead(tree=target.tree.to_dict(), samples=16, dropout=0.25, activation="exponential")
    title = f"Votes of {target.name}" if type(target) is VotesTarget else target.name
    changes: dict[str, Any] = {
        "name": name or snake_name(target.name),
        "version": version,
        "title": f"{title}, learnt from labels by {base.name} {base.version}",
        "votes": votes,
        "classes": None,
        "scalar": scalar,
        "calibration": None,
        "novelty": base.novelty if options.keeps_encoder else None,
        "origin": None,
        "training": TrainingRecord(data="not yet trained", seed=0),
        "members": {},
    }
    return Manifest.model_validate(base.model_copy(update=changes).model_dump())


def inherit(network: MorphologyNetwork, package: ModelPackage, target: Target) -> None:
    """Load a model's encoder, and of its head the answers that are the same.

    Parameters
    ----------
    network
        The new network; it is changed.
    package
        The model.
    target
        What is to be learnt.
    """
    old = {name: torch.from_numpy(array) for name, array in package.read_weights().items()}
    new = network.state_dict()
    shared = {
        name: old[name]
        for name in new
        if name.startswith(("rendering.", "encoder.", "projection.", "novelty."))
        or name == "head.dropout_masks"
        if name in old and old[name].shape == new[name].shape
    }
    network.load_state_dict({**new, **shared})
    if isinstance(target, VotesTarget) and network.head is not None and package.manifest.votes is not None:
        known = {column: i for i, column in enumerate(package.manifest.tree.answer_columns)}
        for index, column in enumerate(target.tree.answer_columns):
            if column in known and not isinstance(target, ClassesTarget):
                with torch.no_grad():
                    network.head.linear.weight[index] = old["head.linear.weight"][known[column]]
                    network.head.linear.bias[index] = old["head.linear.bias"][known[column]]


def _objective(target: Target, taught: npt.NDArray[np.bool_], device: torch.device) -> Objective:
    if isinstance(target, ScalarTarget):
        values = target.values[taught]
        return ScalarObjective(float(values.mean()), float(values.std()))
    return VotesObjective(target.tree, device)


def _labels(target: Target) -> npt.NDArray[np.int32] | npt.NDArray[np.float32]:
    return target.values if isinstance(target, ScalarTarget) else target.votes


def _weights(target: Target, taught: npt.NDArray[np.bool_], *, balanced: bool) -> npt.NDArray[np.float32]:
    """Return the weight of each label, on average one."""
    if not balanced:
        return np.ones(len(taught), np.float32)
    if not isinstance(target, ClassesTarget):
        raise LabelError(f"Only classes can be balanced; {target.name} has none.")
    counts = np.bincount(target.classes[taught], minlength=target.tree.n_answers)
    weights = taught.sum() / (np.sum(counts > 0) * np.maximum(counts, 1))
    return np.asarray(weights[target.classes], np.float32)


def _golden(stamps: StampSet, held_out: npt.NDArray[np.bool_], manifest: Manifest) -> StampSet:
    """Choose golden stamps, one of them without the optional bands."""
    rows = np.concatenate([np.flatnonzero(held_out), np.flatnonzero(~held_out)])[:_GOLDEN_STAMPS]
    golden = stamps[rows]
    valid = golden.valid.copy()
    valid[-1, [manifest.bands.index(band) for band in manifest.optional_bands]] = False
    return dataclasses.replace(golden, valid=valid, flux=np.where(valid, golden.flux, np.float32(0.0)))


@torch.inference_mode()
def _complete(
    manifest: Manifest,
    base: Manifest,
    network: MorphologyNetwork,
    stamps: StampSet,
    source: str,
    figures: Mapping[str, float],
    options: TuneOptions,
) -> Manifest:
    """Return the manifest with what fine-tuning has found out."""
    begun = "from scratch, with the encoder of" if options.from_scratch else "from"
    record = TrainingRecord(
        data=f"It was fine-tuned {begun} {base.name} {base.version} (model id {base.model_id}) on"
        f" {len(stamps)} labels of {source}.",
        seed=options.seed,
        presentations=int(figures["epochs"] * (len(stamps) - figures["heldOut.count"])),
        figures={key: round(float(value), 4) for key, value in figures.items() if np.isfinite(value)},
    )
    changes: dict[str, Any] = {"training": record}
    changed = options.depth != "head" or options.from_scratch
    if manifest.embedding is not None and changed:
        parts = np.array_split(np.arange(len(stamps)), -(-len(stamps) // 128))
        chosen = [stamps[rows] for rows in parts]
        features = torch.cat(
            [network.features(torch.from_numpy(p.flux), torch.from_numpy(p.valid)) for p in chosen]
        )
        centre, scale = features.mean(dim=0), features.std(dim=0) + 1e-3
        changes["embedding"] = manifest.embedding.model_copy(
            update={"centre": tuple(centre.tolist()), "scale": tuple(scale.tolist())}
        )
    return Manifest.model_validate(manifest.model_copy(update=changes).model_dump())
