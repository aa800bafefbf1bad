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

"""A whole training on marks: stamps, network, evaluation, package."""

from __future__ import annotations

__all__ = ("TrainedMasks", "train_tides_package")

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ..model.manifest import Manifest
from ..model.network import MorphologyNetwork, build_network
from ..model.package import ModelPackage
from .batches import BatchStream
from .export import export_package
from .labelled import MarkedStamps
from .loop import Trainer, TrainingOptions
from .marked_source import MarkedSource
from .marking import MarkingObjective, MaskFigures, mask_figures
from .marks_card import write_marks_card
from .presence_fit import fit_presence
from .shards import StampStore
from .training_data import DataOptions, purpose_seed

_EXAMPLES = 12
"""Stamps with marks that are kept to be looked at."""

_GOLDEN_STAMPS = 2
"""They are most of what a package holds beside the weights."""


@dataclasses.dataclass(frozen=True)
class TrainedMasks:
    """What a training ends in."""

    package: ModelPackage
    """The model."""

    figures: Mapping[str, MaskFigures]
    """How well it marks stamps that it has not seen, by sample."""

    history: Sequence[Mapping[str, float]]
    """Figures at each checkpoint."""

    examples: MarkedStamps
    """Some unseen stamps with marks."""


def train_tides_package(
    path: pathlib.Path,
    manifest: Manifest,
    work: pathlib.Path,
    *,
    options: TrainingOptions,
    data: DataOptions,
    source: MarkedSource,
    samples: Mapping[str, MarkedSource],
    command: str,
    prepare: Callable[[MorphologyNetwork], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrainedMasks:
    """Train a model that marks tidal features and write it as a package.

    Parameters
    ----------
    path
        The package to write.
    manifest
        The model; its training record is completed.
    work
        Directory of stamps and checkpoints. A training that was interrupted
        goes on from it.
    options
        How to train.
    data
        On how much.
    source
        Makes the stamps to train on.
    samples
        Makes, by name, those to evaluate on, at least one. The first is
        measured at each checkpoint as well.
    command
        What to type to do the same again, for the card.
    prepare
        Changes the weights of the new network before anything is learnt.
    progress
        Called with the number of steps done.

    Returns
    -------
    model
        The package and how well it does.
    """
    assert manifest.tides is not None
    store = StampStore(
        work / "stamps",
        source,
        MarkedStamps,
        seed=purpose_seed(options.seed, 0),
        shard_size=data.shard_size,
        count=data.shards,
    )
    store.start()
    try:
        first = next(iter(samples.values()))
        validation = first(purpose_seed(options.seed, 1), data.validation)
        objective = MarkingObjective(manifest.tides, torch.device(options.device), mixed=options.mixed)
        trainer = Trainer(manifest, options, work, validation, objective, prepare)
        stream = BatchStream(store, batch_size=data.batch_size, window=data.window, seed=options.seed)
        trainer.run(stream, progress)
    finally:
        store.stop()
    (work / "history.json").write_text(json.dumps(trainer.history, indent=1))
    network = trainer.network.cpu()
    seed = purpose_seed(options.seed, 98)
    fit_presence(
        network,
        (source(purpose_seed(seed, i), data.shard_size) for i in range(data.trust // data.shard_size)),
    )
    figures = {}
    for index, (name, sample) in enumerate(samples.items()):
        unseen = sample(purpose_seed(options.seed, 2 + index), data.evaluation)
        figures[name] = mask_figures(
            network, manifest.tides, unseen, torch.device("cpu"), views=network.views
        )
        if index == 0:
            marked = np.flatnonzero((unseen.presence > 0.0).any(axis=1))
            examples = unseen[marked[:_EXAMPLES]]
    golden = _golden(first, options.seed, manifest)
    manifest = _complete(manifest, trainer, data, figures)
    finished = build_network(manifest)
    finished.load_state_dict(network.state_dict())
    card = write_marks_card(manifest, figures, command=command)
    package = export_package(path, manifest, finished, golden.flux, golden.valid, card)
    return TrainedMasks(package, figures, tuple(trainer.history), examples)


def _golden(source: MarkedSource, seed: int, manifest: Manifest) -> MarkedStamps:
    """Draw golden stamps, the last without the optional bands."""
    stamps = source(purpose_seed(seed, 99), _GOLDEN_STAMPS)
    valid = stamps.valid.copy()
    valid[-1, [manifest.bands.index(band) for band in manifest.optional_bands]] = False
    return dataclasses.replace(stamps, flux=np.where(valid, stamps.flux, np.float32(0.0)), valid=valid)


def _complete(
    manifest: Manifest, trainer: Trainer, data: DataOptions, figures: Mapping[str, MaskFigures]
) -> Manifest:
    """Return the manifest with what training has found out."""
    values = {
        "steps": float(trainer.step),
        "seconds": round(trainer.seconds, 1),
        "distinctStamps": float(data.shards * data.shard_size),
    }
    for sample, entry in figures.items():
        values[f"{sample}.negativeLogLikelihood"] = round(entry.loss, 5)
        values |= {f"{sample}.{plane}.overlap": round(value, 4) for plane, value in entry.overlap.items()}
        values |= {f"{sample}.{plane}.rocArea": round(value, 4) for plane, value in entry.separation.items()}
    record = manifest.training.model_copy(
        update={"presentations": trainer.step * data.batch_size, "figures": values}
    )
    return Manifest.model_validate(manifest.model_copy(update={"training": record}).model_dump())
