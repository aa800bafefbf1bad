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

"""``morphology train``: train a model on simulated galaxies."""

from __future__ import annotations

__all__ = ("command",)

import math
import pathlib
import shlex
from typing import TYPE_CHECKING, Any, Literal

import click

from .train_labels import LabelChoices, label_options, train_labels
from .train_tides import STEPS, train_tides

if TYPE_CHECKING:
    from ..model.package import ModelPackage
    from ..training.loop import TrainingOptions
    from ..training.session import TrainedModel

_SMOKE = {
    "steps": 40,
    "stamps": 512,
    "batch_size": 32,
    "shard_size": 64,
    "validation": 64,
    "evaluation": 256,
    "trust": 256,
}

_NATURAL_SHARE = 0.3
"""Part of the training galaxies that is distributed as on the sky."""

_VOLUNTEERS = (20, 80)
"""Volunteers per training galaxy: more than in an exam, since the questions
that follow are then put to enough of them to teach something."""


@click.command(short_help="Train a model on simulated galaxies.")
@click.argument("out", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.option(
    "--recipe",
    "recipe_name",
    type=click.Choice(["rubin", "smoke", "tides", "tides_smoke"]),
    default="rubin",
    show_default=True,
    help="The default model of votes, or that of tidal features; 'smoke' is a tiny one of either, trained"
    " within a minute, on little data.",
)
@click.option("--version", default="0.1.0", show_default=True, help="Version of the model.")
@click.option(
    "--work",
    "--resume",
    "work",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Directory of stamps and checkpoints, by default OUT.work. If a training of the same model was"
    " interrupted there, it goes on.",
)
@click.option(
    "--library",
    type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path),
    help="Directory of simulated encounters to train on; tidal features need it.",
)
@click.option(
    "--unseen",
    type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path),
    help="Directory of other encounters, to measure a model of tidal features with.",
)
@click.option("--steps", type=click.IntRange(1), help="Batches to train on.  [default: 8500; tides: 5000]")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.0, min_open=True),
    default=math.inf,
    help="End after this time if the steps are not done before.",
)
@click.option(
    "--stamps", type=click.IntRange(1), help="Different stamps to make.  [default: 160000; tides: 32000]"
)
@click.option("--batch-size", type=click.IntRange(2), help="Stamps in a batch.  [default: 128; tides: 32]")
@click.option(
    "--restart",
    "restarts",
    type=click.IntRange(1),
    multiple=True,
    help="Step at which the learning rate begins anew, so that the training goes on from where one of so many"
    " steps ended; may be repeated.",
)
@click.option("--learning-rate", type=float, default=3e-3, show_default=True, help="Largest learning rate.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of everything."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of torch.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the network in training: bfloat16 on a GPU, float32 else. CPUs with bfloat16 instructions may be"
    " half as fast again with them.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="Page of curves, figures and galaxies, by default OUT.html.",
)
@click.option("--no-report", is_flag=True, help="Write no page, which needs the extra 'explore'.")
@label_options
def command(
    out: pathlib.Path,
    recipe_name: str,
    version: str,
    work: pathlib.Path | None,
    library: pathlib.Path | None,
    unseen: pathlib.Path | None,
    threads: int,
    seed: int,
    minutes: float,
    learning_rate: float,
    restarts: tuple[int, ...],
    precision: Literal["auto", "float32", "bfloat16"],
    device: str,
    report: pathlib.Path | None,
    no_report: bool,
    **others: Any,
) -> None:
    """Train a model on simulated galaxies, or on --labels; write it to OUT.

    The package is tried with both backends before the command ends. Stamps
    are made by a process of their own, beside the one that trains. Those of
    labels are cut before, patch by patch, out of a repository or of files.

    With the same options and number of threads, the same weights come out
    on the same machine, also if the training was interrupted and started
    again; not with --minutes, which looks at the clock.
    """
    import torch

    from ..model.package import ModelPackage
    from ..model.shipped import find_model
    from ..training.agreement import figures_table
    from ..training.loop import TrainingOptions
    from ..training.report import check_drawing, write_report

    torch.set_num_threads(threads)
    sizes = {name: others.pop(name) for name in ("steps", "stamps", "batch_size")}
    labels = LabelChoices.take(others)
    chosen = _sizes(recipe_name, sizes)
    steps = chosen.pop("steps")
    work = work if work is not None else out.with_name(out.name + ".work")
    begun = ModelPackage.open(find_model(labels.start_from)) if labels.start_from is not None else None
    try:
        options = TrainingOptions(
            steps=steps,
            minutes=minutes,
            seed=seed,
            learning_rate=learning_rate,
            restarts=restarts,
            checkpoint_steps=max(1, min(200, steps // 4)),
            device=device,
            precision=precision,
            start=begun.manifest.model_id if begun is not None else "",
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    words = ["morphology", "train", out.name, "--recipe", recipe_name, "--version", version]
    words += ["--seed", str(seed), "--threads", str(threads), "--learning-rate", str(learning_rate)]
    for step in restarts:
        words += ["--restart", str(step)]
    if precision != "auto":
        words += ["--precision", precision]
    if begun is not None and labels.labels is None:
        words += ["--start-from", str(labels.start_from)]
    page = None
    if not no_report:
        check_drawing()
        page = report if report is not None else out.with_name(out.name + ".html")
    if recipe_name in STEPS:
        if library is None or labels.labels is not None:
            raise click.UsageError("Models of tidal features are trained on encounters: give --library.")
        train_tides(
            out,
            recipe_name,
            version,
            work=work,
            library=library,
            unseen=unseen,
            options=options,
            sizes=chosen,
            words=words,
            begun=begun,
            page=page,
        )
        return
    shown: dict[str, Any] = {"steps": steps, **chosen} if recipe_name == "rubin" else {}
    if labels.labels is not None:
        words += labels.words
        shown = {name: value for name, value in sizes.items() if value is not None}
    for name in ("steps", "stamps", "batch_size"):
        if name in shown:
            words += [f"--{name.replace('_', '-')}", str(shown[name])]
    typed = shlex.join(words)
    if labels.labels is None:
        model = _train_simulated(out, recipe_name, version, work, options, chosen, typed, begun)
    else:
        model = train_labels(
            out,
            labels,
            recipe_name,
            version,
            work=work,
            options=options,
            steps=sizes["steps"],
            batch_size=sizes["batch_size"],
            command=typed,
            start=begun,
        )
    for sample, figures in model.figures.items():
        click.echo(f"\nUnseen galaxies, sample: {sample}\n{figures_table(figures)}")
    click.echo(f"\nWrote {out}, model id {model.package.manifest.model_id}")
    if page is not None:
        write_report(
            page,
            model.package.manifest,
            command=typed,
            history=model.history,
            figures=model.figures,
            calibration=model.calibration,
            examples=model.examples,
        )
        click.echo(f"Wrote {page}")


def _train_simulated(
    out: pathlib.Path,
    recipe_name: str,
    version: str,
    work: pathlib.Path,
    options: TrainingOptions,
    sizes: dict[str, int],
    command: str,
    begun: ModelPackage | None,
) -> TrainedModel:
    """Train a model of votes on simulated galaxies, with a progress bar."""
    from ..model.manifest import TrainingRecord
    from ..simulation.source import SimulatedSource
    from ..simulation.votes import UNTAUGHT
    from ..training.recipe import recipe
    from ..training.session import DataOptions, train_package
    from ..training.shards import MixedSource
    from ..training.start import begun_from, starting_from

    manifest = recipe(
        recipe_name,
        version,
        title=f"Galaxy morphology for Rubin, trained on simulation ({recipe_name} {version})",
        record=TrainingRecord(
            data="It was trained on simulated galaxies with simulated votes, and has never seen a real one."
            " Most of its galaxies were brighter, better resolved and richer in features than the sky's;"
            f" three in ten were as on the sky.{begun_from(begun)}",
            seed=options.seed,
            untaught=tuple(sorted({answer.partition("_")[0] for answer in UNTAUGHT})),
        ),
    )
    samples = {mix: SimulatedSource(manifest, mix) for mix in ("natural", "training")}
    with click.progressbar(length=options.steps, label="Training", show_pos=True) as bar:
        return train_package(
            out,
            manifest,
            work,
            options=options,
            data=DataOptions(**sizes),
            source=MixedSource(
                SimulatedSource(manifest, "training", _VOLUNTEERS),
                SimulatedSource(manifest, "natural", _VOLUNTEERS),
                _NATURAL_SHARE,
            ),
            samples=samples,
            command=command,
            prepare=starting_from(begun, manifest) if begun is not None else None,
            progress=lambda step: bar.update(step - bar.pos),
        )


def _sizes(recipe_name: str, given: dict[str, int | None]) -> dict[str, Any]:
    """Return the numbers of steps and stamps of a recipe, as changed."""
    defaults = {"steps": STEPS[recipe_name]} if recipe_name in STEPS else _SMOKE
    if recipe_name == "rubin":
        defaults = {"steps": 8500, "stamps": 160000, "batch_size": 128}
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}
