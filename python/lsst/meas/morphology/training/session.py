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

__all__ = ("DataOptions", "TrainedModel", "train_package")

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
from .labelled import Labelled, LabelledStamps
from .loop import Trainer, TrainingOptions
from .loss import VotesLoss
from .report import Examples
from .shards import ShardStore, StampSource
from .trust import trust_page, trusted
from .voting import expected_fractions

_LOG = logging.getLogger(__name__)

_GOLDEN_STAMPS = 6

_EXAMPLES = 12
"""Stamps of each sample that are kept to be looked at."""


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """How many stamps are made, and how they are drawn."""

    stamps: int
    """Different stamps to train on, rounded up to whole windows."""

    batch_size: int = 128
    """Stamps in a step."""

    shard_size: int = 1000
    """Stamps in a file."""

    window: int = 8
    """Files whose stamps are mixed."""

    validation: int = 2000
    """Stamps measured at each checkpoint."""

    evaluation: int = 10000
    """Stamps of each sample measured at the end."""

    trust: int = 6000
    """Stamps, drawn as those of the training, that calibrate the posteriors
    and set what counts as unlike them."""

    @property
    def shards(self) -> int:
        """Number of files, a multiple of the window."""
        return -(-self.stamps // (self.shard_size * self.window)) * self.window


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
    progress
        Called with the number of steps done.

    Returns
    -------
    model
        The package and how well it does.
    """
    store = ShardStore(
        work / "stamps",
        source,
        seed=_seed(options.seed, 0),
        shard_size=data.shard_size,
        count=data.shards,
    )
    validation = LabelledStamps.of(source(_seed(options.seed, 1), data.validation))
    trainer = Trainer(manifest, options, work, validation)
    stream = BatchStream(store, batch_size=data.batch_size, window=data.window, seed=options.seed)
    store.start()
    try:
        trainer.run(stream, progress)
    finally:
        store.stop()
    (work / "history.json").write_text(json.dumps(trainer.history, indent=1))
    _LOG.info(
        "Trained; calibrating on %d stamps, then measuring %d of each sample.", data.trust, data.evaluation
    )
    manifest = _described(manifest, trainer.network.cpu(), validation)
    held_out = _as_trained_on(source(_seed(options.seed, 98), data.trust), manifest, options)
    manifest, network, calibration = trusted(
        manifest,
        trainer.network,
        held_out.flux,
        held_out.valid,
        held_out.votes,
        data=f"{data.trust} stamps drawn as those of the training, with seeds of their own",
        seed=options.seed,
    )
    figures, nats, examples = _evaluate(network, manifest, samples, options.seed, data.evaluation)
    golden = _golden(samples, options.seed, manifest)
    manifest = _recorded(manifest, trainer, data, figures, nats)
    card = write_card(manifest, figures, command=command) + trust_page(manifest, calibration)
    package = export_package(path, manifest, network, golden.flux, golden.valid, card)
    return TrainedModel(package, figures, calibration, tuple(trainer.history), examples)


def _seed(seed: int, purpose: int) -> int:
    """Return the seed of the stamps for one purpose."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _evaluate(
    network: MorphologyNetwork,
    manifest: Manifest,
    samples: Mapping[str, StampSource],
    seed: int,
    count: int,
) -> tuple[dict[str, dict[str, QuestionFigures]], dict[str, float], dict[str, Examples]]:
    """Measure stamps that training has not seen."""
    loss = VotesLoss(manifest.tree)
    figures, nats, examples = {}, {}, {}
    for index, (name, source) in enumerate(samples.items()):
        stamps = LabelledStamps.of(source(_seed(seed, 2 + index), count))
        fraction, nats[name] = expected_fractions(network, stamps, loss, torch.device("cpu"))
        figures[name] = question_figures(stamps.votes, fraction, manifest.tree)
        few = slice(0, _EXAMPLES)
        examples[name] = Examples(stamps.flux[few].copy(), stamps.votes[few], fraction[few])
    return figures, nats, examples


def _golden(samples: Mapping[str, StampSource], seed: int, manifest: Manifest) -> LabelledStamps:
    """Draw golden stamps, one of them without the optional bands."""
    stamps = LabelledStamps.of(next(iter(samples.values()))(_seed(seed, 99), _GOLDEN_STAMPS))
    valid = stamps.valid.copy()
    valid[-1, [manifest.bands.index(band) for band in manifest.optional_bands]] = False
    return LabelledStamps(np.where(valid, stamps.flux, np.float32(0.0)), valid, stamps.votes)


def _as_trained_on(stamps: Labelled, manifest: Manifest, options: TrainingOptions) -> LabelledStamps:
    """Return stamps varied as those of the training are.

    An object without one of the optional bands is nothing new to a network
    that was shown such.
    """
    batch = Batch(
        torch.from_numpy(stamps.flux), torch.from_numpy(stamps.valid), torch.from_numpy(stamps.votes)
    )
    optional = tuple(manifest.bands.index(band) for band in manifest.optional_bands)
    generator = torch.Generator().manual_seed(_seed(options.seed, 97))
    varied = augment(batch, optional, options.augment, generator)
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
    data: DataOptions,
    figures: Mapping[str, Mapping[str, QuestionFigures]],
    nats: Mapping[str, float],
) -> Manifest:
    """Return the manifest with the record of its training."""
    values = {
        "steps": float(trainer.step),
        "seconds": round(trainer.seconds, 1),
        "distinctStamps": float(data.shards * data.shard_size),
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
