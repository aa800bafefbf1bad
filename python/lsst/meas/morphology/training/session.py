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
from collections.abc import Callable, Mapping

import numpy as np
import torch

from ..model.manifest import EmbeddingHead, Manifest, TrainingRecord
from ..model.network import MorphologyNetwork, build_network
from ..model.package import ModelPackage
from .agreement import QuestionFigures, question_figures
from .batches import BatchStream
from .card import write_card
from .export import export_package
from .loop import Trainer, TrainingOptions, expected_fractions
from .loss import VotesLoss
from .shards import LabelledStamps, ShardStore, StampSource

_LOG = logging.getLogger(__name__)

_GOLDEN_STAMPS = 6


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
    figures, nats = _evaluate(trainer.network.cpu(), manifest, samples, options.seed, data.evaluation)
    golden = _golden(samples, options.seed, manifest)
    manifest = _complete(manifest, trainer, data, validation, figures, nats)
    network = build_network(manifest)
    network.load_state_dict(trainer.network.state_dict())
    card = write_card(manifest, figures, command=command)
    package = export_package(path, manifest, network, golden.flux, golden.valid, card)
    return TrainedModel(package, figures)


def _seed(seed: int, purpose: int) -> int:
    """Return the seed of the stamps for one purpose."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _evaluate(
    network: MorphologyNetwork,
    manifest: Manifest,
    samples: Mapping[str, StampSource],
    seed: int,
    count: int,
) -> tuple[dict[str, dict[str, QuestionFigures]], dict[str, float]]:
    """Measure stamps that training has not seen."""
    loss = VotesLoss(manifest.tree)
    figures, nats = {}, {}
    for index, (name, source) in enumerate(samples.items()):
        stamps = LabelledStamps.of(source(_seed(seed, 2 + index), count))
        fraction, nats[name] = expected_fractions(network, stamps, loss, torch.device("cpu"))
        figures[name] = question_figures(stamps.votes, fraction, manifest.tree)
    return figures, nats


def _golden(samples: Mapping[str, StampSource], seed: int, manifest: Manifest) -> LabelledStamps:
    """Draw golden stamps, one of them without the optional bands."""
    stamps = LabelledStamps.of(next(iter(samples.values()))(_seed(seed, 99), _GOLDEN_STAMPS))
    valid = stamps.valid.copy()
    valid[-1, [manifest.bands.index(band) for band in manifest.optional_bands]] = False
    return LabelledStamps(np.where(valid, stamps.flux, np.float32(0.0)), valid, stamps.votes)


@torch.inference_mode()
def _complete(
    manifest: Manifest,
    trainer: Trainer,
    data: DataOptions,
    validation: LabelledStamps,
    figures: Mapping[str, Mapping[str, QuestionFigures]],
    nats: Mapping[str, float],
) -> Manifest:
    """Return the manifest with what training has found out."""
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
    changes: dict[str, TrainingRecord | EmbeddingHead] = {"training": record}
    if manifest.embedding is not None:
        features = torch.cat(
            [
                trainer.network.features(torch.from_numpy(part.flux), torch.from_numpy(part.valid))
                for part in (validation[rows] for rows in np.array_split(np.arange(len(validation)), 20))
                if len(part)
            ]
        )
        changes["embedding"] = manifest.embedding.model_copy(
            update={
                "centre": tuple(float(np.float32(value)) for value in features.mean(dim=0)),
                "scale": tuple(float(np.float32(value)) for value in features.std(dim=0) + 1e-6),
            }
        )
    return Manifest.model_validate(manifest.model_copy(update=changes).model_dump())
