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

"""What ``morphology train`` does for models of tidal features."""

from __future__ import annotations

__all__ = ("STEPS", "train_tides")

import dataclasses
import math
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..model.package import ModelPackage
    from ..training.loop import TrainingOptions
    from ..training.tides_session import TrainedMasks

_SIZES = {
    "tides": {
        "stamps": 32000,
        "batch_size": 32,
        "shard_size": 250,
        "validation": 384,
        "evaluation": 1000,
        "trust": 4000,
    },
    "tides_smoke": {
        "stamps": 64,
        "batch_size": 8,
        "shard_size": 16,
        "window": 2,
        "validation": 16,
        "evaluation": 32,
        "trust": 64,
    },
}

STEPS = {"tides": 5000, "tides_smoke": 16}
"""Number of batches of each recipe unless another is asked for."""


def train_tides(
    out: pathlib.Path,
    recipe_name: str,
    version: str,
    *,
    work: pathlib.Path,
    library: pathlib.Path,
    unseen: pathlib.Path | None,
    options: TrainingOptions,
    sizes: dict[str, int],
    words: list[str],
    begun: ModelPackage | None,
    page: pathlib.Path | None,
) -> None:
    """Train a model that marks tidal features and tell how well it does.

    Parameters
    ----------
    out
        The package to write.
    recipe_name, version
        What the model is.
    work
        Directory of stamps and checkpoints.
    library
        Directory of the encounters to train on.
    unseen
        Directory of other encounters, to measure the model with; without it
        other views of the same are used.
    options
        How to train. Stamps are not cut off, which the simulation does.
    sizes
        Numbers of stamps that are not the recipe's.
    words
        The command so far, for the card.
    begun
        Model whose weights the training begins with.
    page
        Page of curves, figures and stamps to write, if any.
    """
    from ..model.manifest import TrainingRecord
    from ..simulation.tidal.source import TidalSource
    from ..training.batches import AugmentOptions
    from ..training.marked_source import MarkedSource
    from ..training.marks_card import mask_table
    from ..training.marks_report import write_marks_report
    from ..training.recipe import recipe
    from ..training.start import begun_from, starting_from
    from ..training.tides_session import train_tides_package
    from ..training.training_data import DataOptions

    options = dataclasses.replace(options, augment=AugmentOptions(edge=0.0))
    data = DataOptions(**{**_SIZES[recipe_name], **sizes})
    manifest = recipe(
        recipe_name,
        version,
        title=f"Tidal features for Rubin, trained on simulation ({recipe_name} {version})",
        record=TrainingRecord(
            data="It was trained on simulated encounters of galaxies, marked by simulated annotators, and has"
            f" never seen a real one.{begun_from(begun)}",
            seed=options.seed,
        ),
    )
    words = [*words, "--library", library.name, *(["--unseen", unseen.name] if unseen is not None else [])]
    words += [
        "--steps",
        str(options.steps),
        "--stamps",
        str(data.stamps),
        "--batch-size",
        str(data.batch_size),
    ]
    if math.isfinite(options.minutes):
        words += ["--minutes", f"{options.minutes:g}"]
    name = "encountersNotTrainedOn" if unseen is not None else "encountersTrainedOn"
    samples = {name: MarkedSource(manifest, TidalSource(manifest, str(unseen or library)))}
    typed = shlex.join(words)
    with click.progressbar(length=options.steps, label="Training", show_pos=True) as bar:
        model = train_tides_package(
            out,
            manifest,
            work,
            options=options,
            data=data,
            source=MarkedSource(manifest, TidalSource(manifest, str(library))),
            samples=samples,
            command=typed,
            prepare=starting_from(begun, manifest) if begun is not None else None,
            progress=lambda step: bar.update(step - bar.pos),
        )
    for sample, figures in model.figures.items():
        click.echo(f"\nUnseen stamps, sample: {sample}\n{mask_table(figures)}")
    click.echo(f"\nWrote {out}, model id {model.package.manifest.model_id}")
    if page is not None:
        write_marks_report(
            page,
            model.package.manifest,
            command=typed,
            history=model.history,
            figures=model.figures,
            sheet=_sheet(model),
        )
        click.echo(f"Wrote {page}")


def _sheet(model: TrainedMasks) -> Any:
    """Draw some stamps with what was marked and what the model marks."""
    import numpy as np
    from scipy.special import expit

    from ..explore.tidal_sheet import TidalPortrait, tidal_sheet
    from ..inference.engine import Engine, EngineOptions

    stamps, manifest = model.examples, model.package.manifest
    assert manifest.tides is not None
    engine = Engine.from_package(model.package, EngineOptions(device="cpu"))
    said = engine.predict(stamps.flux, stamps.valid)
    assert said.mask is not None
    assert said.presence is not None
    presence = expit(said.presence)
    half = 2 * stamps.marks.astype(np.int16) >= np.maximum(stamps.annotators, 1)[:, None, None, None]
    middle = len(manifest.bands) // 2
    planes = {name: k for k, name in enumerate(manifest.tides.planes) if name in ("tail", "stream", "shell")}
    portraits = []
    for i in range(len(stamps)):
        seen = np.where(stamps.valid[i, middle], stamps.flux[i, middle], np.nan)
        masks = {name: said.mask[i, k] >= 0.0 for name, k in planes.items()}
        truth = {name: half[i, k] for name, k in planes.items()}
        line = " ".join(f"{name} {presence[i, k]:.2f}" for k, name in enumerate(manifest.tides.features))
        portraits.append(TidalPortrait(str(i), seen, float("nan"), masks, (line,), truth))
    return tidal_sheet(portraits, title=f"{manifest.name} {manifest.version}", columns=3)
