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

"""``morphology evaluate-tides``: masks against debris that is known."""

from __future__ import annotations

__all__ = ("command",)

import logging
import os
from pathlib import Path

import click

QUICK = 192
"""Hosts with ``--quick``."""

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("evaluate-tides", short_help="Say how well a model marks, finds and weighs tidal debris.")
@click.argument("model")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the tables, the text and the plots.",
)
@click.option(
    "--library",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the exam's encounters; made if need be.  [default: a new one, thrown away]",
)
@click.option("--quick", is_flag=True, help=f"Only {QUICK} hosts, to see that it works.")
@click.option("--plots/--no-plots", default=True, help="Whether to draw; needs the extra 'explore'.")
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), default=_CORES, help="CPU threads.  [default: all cores]"
)
def command(
    model: str,
    out: Path,
    library: Path | None,
    quick: bool,
    plots: bool,
    backend: str,
    device: str,
    threads: int,
) -> None:
    """Evaluate MODEL, a package or the name of one that ships with the code.

    It is tried on the frozen set evaluation-tides-v1 of simulated hosts,
    whose debris is known to the pixel, and whose encounters no model was
    trained on.
    """
    import pyarrow.parquet

    from ..inference.engine import Engine
    from ..inference.options import EngineOptions
    from ..model.package import ModelPackage
    from ..model.shipped import find_model
    from ..simulation.tidal.frozen import EVALUATION_TIDES_V1
    from ..validation.tidal_evaluation import evaluate_tides
    from ..validation.tidal_outcomes import TidalThresholds
    from ..validation.tidal_plots import draw_tidal_evaluation
    from ..validation.tidal_report import tidal_text
    from ..validation.tidal_tables import hosts_table, tidal_table
    from .tidal_exam import check_tides, frozen_exam, grade_all

    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    package = ModelPackage.open(os.fspath(find_model(model)))
    manifest = package.manifest
    head = check_tides(manifest)
    engine = Engine.from_package(package, EngineOptions(backend=backend, device=device, threads=threads))
    with (
        frozen_exam(EVALUATION_TIDES_V1, library, quick=QUICK if quick else None) as exam,
        click.progressbar(length=len(exam), label="Hosts", show_pos=True, width=30) as bar,
    ):
        stamps = exam.stamps(manifest)
        outcomes = grade_all(engine, head, stamps, groups=exam.groups, progress=bar.update)
    source = EVALUATION_TIDES_V1.name + (" (a few)" if quick else "")
    evaluation = evaluate_tides(outcomes, TidalThresholds.of(head))
    heading = f"{manifest.name} {manifest.version} on {source}"
    metadata = {
        "model": f"{manifest.name} {manifest.version}",
        "modelId": manifest.model_id,
        "source": source,
    }
    text = tidal_text(evaluation, heading)
    out.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(tidal_table(evaluation, metadata), out / "tides.parquet")
    pyarrow.parquet.write_table(hosts_table(outcomes, evaluation, metadata), out / "tides-hosts.parquet")
    (out / "tides.txt").write_text(text)
    if plots:
        draw_tidal_evaluation(out / "tides.png", outcomes, evaluation, title=heading)
    click.echo(text)
    click.echo(f"Wrote {', '.join(sorted(path.name for path in out.glob('tides*')))} in {out}")
