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

"""``morphology evaluate``: predictions against votes and truth."""

from __future__ import annotations

__all__ = ("command",)

import itertools
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import click
import pyarrow.parquet

from ..inference.engine import Engine
from ..inference.options import EngineOptions
from ..model.package import ModelPackage
from ..model.shipped import find_model
from ..simulation.frozen_definition import EVALUATION_V2
from ..validation.evaluation import SampleEvaluation, evaluate
from ..validation.missing_bands import BandLoss, band_losses, missing_bands_table, missing_bands_text
from ..validation.page import write_page
from ..validation.plots import draw_evaluation
from ..validation.report import evaluation_text
from ..validation.tables import evaluation_table, galaxies_table
from .exams import Exam, frozen_exams, own_exam, sit, sit_without

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
QUICK = 256
"""Galaxies of each sample with ``--quick``."""


@click.command("evaluate", short_help="Say how good a model is, on galaxies with known truth or with votes.")
@click.argument("model")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the table, the text, the plots and the page that shows all.",
)
@click.option("--quick", is_flag=True, help=f"Only {QUICK} galaxies of each sample, to see that it works.")
@click.option(
    "--votes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of votes, Parquet or CSV, to evaluate on instead of simulated galaxies.",
)
@click.option(
    "--stamps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="NumPy file of the stamps: arrays flux, and at will valid and id.",
)
@click.option("--id-column", default="id", show_default=True, help="Column of the ids in the table of votes.")
@click.option("--suffix", help="What follows a question's name in Galaxy Zoo's names.  [default: the tree's]")
@click.option("--by", multiple=True, help="Column to group galaxies by; may be repeated.")
@click.option("--without-band", multiple=True, help="Take this band away; may be repeated.")
@click.option(
    "--missing-bands",
    is_flag=True,
    help="Also say, on the first sample, what is lost without each set of optional bands.",
)
@click.option("--plots/--no-plots", default=True, help="Whether to draw; needs the extra 'explore'.")
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), default=_CORES, help="CPU threads.  [default: all cores]"
)
def command(
    model: str,
    out: Path,
    quick: bool,
    votes: Path | None,
    stamps: Path | None,
    id_column: str,
    suffix: str | None,
    by: tuple[str, ...],
    without_band: tuple[str, ...],
    missing_bands: bool,
    plots: bool,
    backend: str,
    device: str,
    threads: int,
) -> None:
    """Evaluate MODEL, a package or the name of one that ships with the code.

    Without --votes and --stamps it is tried on the frozen set evaluation-v2
    of simulated galaxies, whose truth is known: as on the sky, and rich in
    every answer.
    """
    if (votes is None) != (stamps is None):
        raise click.UsageError("--votes and --stamps go together.")
    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    package = ModelPackage.open(os.fspath(find_model(model)))
    manifest = package.manifest
    engine = Engine.from_package(package, EngineOptions(backend=backend, device=device, threads=threads))
    if votes is None or stamps is None:
        exams = list(frozen_exams(EVALUATION_V2, manifest, quick=QUICK if quick else None))
    else:
        exams = [own_exam(votes, stamps, manifest.tree, suffix=suffix, id_column=id_column, by=by)]
    evaluations = [try_models([engine], exam, without_bands=without_band)[0] for exam in exams]
    heading = f"{manifest.name} {manifest.version} on {exams[0].source}"
    if without_band:
        heading += f" without {', '.join(without_band)}"
    metadata = {
        "model": f"{manifest.name} {manifest.version}",
        "modelId": manifest.model_id,
        "source": exams[0].source,
        "withoutBands": ",".join(without_band),
        "checksums": json.dumps({exam.name: exam.checksum for exam in exams}),
    }
    text = evaluation_text(evaluations, heading, bars=votes is None)
    out.mkdir(parents=True, exist_ok=True)
    if missing_bands:
        losses = _losses(engine, exams[0], evaluations[0])
        text += "\n" + missing_bands_text(losses)
        pyarrow.parquet.write_table(missing_bands_table(losses, metadata), out / "missing_bands.parquet")
    pyarrow.parquet.write_table(evaluation_table(evaluations, metadata), out / "evaluation.parquet")
    (out / "evaluation.txt").write_text(text)
    drawn = {}
    for exam, evaluation in zip(exams, evaluations, strict=True):
        marks = {**metadata, "sample": exam.name, "checksum": exam.checksum}
        pyarrow.parquet.write_table(galaxies_table(evaluation, marks), out / f"galaxies-{exam.name}.parquet")
        if plots:
            picture = out / f"evaluation-{exam.name}.png"
            draw_evaluation(picture, evaluation, title=f"{heading}: {exam.name}")
            drawn[exam.name] = picture.read_bytes()
    write_page(out / "evaluation.html", evaluations, heading, plots=drawn, bars=votes is None)
    click.echo(text)
    click.echo(f"Wrote {', '.join(sorted(path.name for path in out.iterdir()))} in {out}")


def _losses(engine: Engine, exam: Exam, whole: SampleEvaluation) -> tuple[BandLoss, ...]:
    """Evaluate a model without each set of optional bands."""
    optional = engine.manifest.optional_bands
    sets = [
        gone for number in range(1, len(optional) + 1) for gone in itertools.combinations(optional, number)
    ]
    with click.progressbar(length=len(exam), label="Without bands", show_pos=True, width=30) as bar:
        predictions = sit_without(engine, exam, sets, progress=bar.update)
    evaluations = {gone: evaluate(found) for gone, found in zip(sets, predictions, strict=True)}
    return band_losses({(): whole, **evaluations})


def try_models(
    engines: Sequence[Engine], exam: Exam, *, without_bands: Sequence[str] = ()
) -> list[SampleEvaluation]:
    """Evaluate models on a sample, with a progress bar.

    Parameters
    ----------
    engines
        The models, which look at the same stamps.
    exam
        The sample.
    without_bands
        Bands to take away.

    Returns
    -------
    evaluations
        One for each model.
    """
    with click.progressbar(length=len(exam), label=f"Galaxies, {exam.name}", show_pos=True, width=30) as bar:
        predictions = sit(engines, exam, without_bands=without_bands, progress=bar.update)
    return [evaluate(one) for one in predictions]
