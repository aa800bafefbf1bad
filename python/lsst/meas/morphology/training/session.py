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

"""A whole training: stamps, network, evaluation, package."""

from __future__ import annotations

__all__ = ("DataOptions", "TrainedModel", "train_on", "train_package")

import dataclasses
import json
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ..model.manifest import Manifest
from ..model.network import MorphologyNetwork
from ..model.package import ModelPackage
from .agreement import QuestionFigures, question_figures
from .batches import Batch, BatchStream, augment
from .calibration import CalibrationFit
from .card import write_card
from .export import export_package
from .labelled import LabelledStamps
from .loop import Trainer, TrainingOptions
from .loss import VotesLoss
from .report import Examples
from .shards import StampSource
from .training_data import DataOptions, SimulatedData, TrainingData, purpose_seed
from .trust import trust_page, trusted
from .voting import expected_fractions

_LOG = logging.getLogger(__name__)

_EXAMPLES = 12
"""Stamps of each sample that are kept to be looked at."""


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """What a training ends in."""

    package: ModelPackage
    """The model."""

    figures: Mapping[str, Mapping[str, QuestionFigures]]
    """Agreement with confident votes, by sample and question."""

    calibration: CalibrationFit | None
    """What the calibration gains."""

    history: Sequence[Mapping[str, float]]
    """Figures at each checkpoint."""

    examples: Mapping[str, Examples]
    """Some unseen stamps of each sample."""


def train_package(
    path: pathlib.Path,
    manifest: Manifest,
    work: pathlib.Path,
    *,
    options: TrainingOptions,
    data: DataOptions,
    source: StampSource,
    samples: Mapping[str, StampSource],
    command: str,
    prepare: Callable[[MorphologyNetwork], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrainedModel:
    """Train a model and write it as a package.

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
        Makes, by name, those to evaluate on.
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
    made = SimulatedData(work / "stamps", source, samples, data, options.seed)
    return train_on(
        path, manifest, work, made, options=options, command=command, prepare=prepare, progress=progress
    )


def train_on(
    path: pathlib.Path,
    manifest: Manifest,
    work: pathlib.Path,
    data: TrainingData,
    *,
    options: TrainingOptions,
    command: str,
    prepare: Callable[[MorphologyNetwork], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> TrainedModel:
    """Train a model on stamps wherever they come from.

    Parameters
    ----------
    path, manifest, work, options, command, progress
        As in `train_package`.
    data
        The stamps.
    prepare
        Changes the weights of the new network before anything is learnt.

    Returns
    -------
    model
        The package and how well it does.
    """
    validation = data.validation()
    trainer = Trainer(manifest, options, work, validation, prepare=prepare)
    stream = BatchStream(data.shards, batch_size=data.batch_size, window=data.window, seed=options.seed)
    data.start()
    try:
        trainer.run(stream, progress)
    finally:
        data.stop()
    (work / "history.json").write_text(json.dumps(trainer.history, indent=1))
    _LOG.info("Trained; calibrating on %s, then judging.", data.trusted_by)
    manifest = _described(manifest, trainer.network.cpu(), validation)
    held_out = _as_trained_on(data.trust(), manifest, options)
    manifest, network, calibration = trusted(
        manifest,
        trainer.network,
        held_out.flux,
        held_out.valid,
        held_out.votes,
        data=data.trusted_by,
        seed=options.seed,
        needs_novelty=False,
    )
    figures, nats, examples = _evaluate(network, manifest, data)
    golden = _golden(data.golden(), manifest)
    manifest = _recorded(manifest, trainer, data, figures, nats)
    card = write_card(manifest, figures, command=command) + trust_page(manifest, calibration)
    package = export_package(path, manifest, network, golden.flux, golden.valid, card)
    return TrainedModel(package, figures, calibration, tuple(trainer.history), examples)


def _evaluate(
    network: MorphologyNetwork, manifest: Manifest, data: TrainingData
) -> tuple[dict[str, dict[str, QuestionFigures]], dict[str, float], dict[str, Examples]]:
    """Measure stamps that training has not seen, some at a time."""
    loss = VotesLoss(manifest.tree)
    figures, nats, examples = {}, {}, {}
    for name, parts in data.samples():
        votes, fractions, total = [], [], 0.0
        for stamps in parts:
            fraction, mean = expected_fractions(network, stamps, loss, torch.device("cpu"))
            votes.append(stamps.votes)
            fractions.append(fraction)
            total += mean * len(stamps)
            if name not in examples:
                few = slice(0, _EXAMPLES)
                examples[name] = Examples(stamps.flux[few].copy(), stamps.votes[few], fraction[few])
        said = np.concatenate(votes)
        figures[name] = question_figures(said, np.concatenate(fractions), manifest.tree)
        nats[name] = total / len(said)
    return figures, nats, examples


def _golden(stamps: LabelledStamps, manifest: Manifest) -> LabelledStamps:
    """Return golden stamps, one of them without the optional bands."""
    valid = stamps.valid.copy()
    valid[-1, [manifest.bands.index(band) for band in manifest.optional_bands]] = False
    return LabelledStamps(np.where(valid, stamps.flux, np.float32(0.0)), valid, stamps.votes)


def _as_trained_on(stamps: LabelledStamps, manifest: Manifest, options: TrainingOptions) -> LabelledStamps:
    """Return stamps varied as those of the training are.

    An object without one of the optional bands is nothing new to a network
    that was shown such.
    """
    optional = tuple(manifest.bands.index(band) for band in manifest.optional_bands)
    generator = torch.Generator().manual_seed(purpose_seed(options.seed, 97))
    varied = augment(Batch.of(stamps), optional, options.augment, generator)
    return LabelledStamps(varied.flux.numpy(), varied.valid.numpy(), varied.votes.numpy())


@torch.inference_mode()
def _described(manifest: Manifest, network: MorphologyNetwork, validation: LabelledStamps) -> Manifest:
    """Return the manifest with what the embedding looks like."""
    if manifest.embedding is None:
        return manifest
    features = torch.cat(
        [
            network.features(torch.from_numpy(part.flux), torch.from_numpy(part.valid))
            for part in (validation[rows] for rows in np.array_split(np.arange(len(validation)), 20))
            if len(part)
        ]
    )
    embedding = manifest.embedding.model_copy(
        update={
            "centre": tuple(float(np.float32(value)) for value in features.mean(dim=0)),
            "scale": tuple(float(np.float32(value)) for value in features.std(dim=0) + 1e-6),
        }
    )
    return Manifest.model_validate(manifest.model_copy(update={"embedding": embedding}).model_dump())


def _recorded(
    manifest: Manifest,
    trainer: Trainer,
    data: TrainingData,
    figures: Mapping[str, Mapping[str, QuestionFigures]],
    nats: Mapping[str, float],
) -> Manifest:
    """Return the manifest with the record of its training."""
    values = {
        "steps": float(trainer.step),
        "seconds": round(trainer.seconds, 1),
        **data.facts(),
    }
    for sample, questions in figures.items():
        values[f"{sample}.negativeLogLikelihood"] = round(nats[sample], 4)
        for question, entry in questions.items():
            values |= {
                f"{sample}.{question}.{key}": round(float(value), 4)
                for key, value in dataclasses.asdict(entry).items()
                if np.isfinite(value)
            }
    record = manifest.training.model_copy(
        update={"presentations": trainer.step * data.batch_size, "figures": values}
    )
    return Manifest.model_validate(manifest.model_copy(update={"training": record}).model_dump())
