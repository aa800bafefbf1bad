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

"""``morphology calibrate-tides``: where a model's answers become yes or no."""

from __future__ import annotations

__all__ = ("command",)

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .evaluate_tides import QUICK

if TYPE_CHECKING:
    from ..model.heads import TidesHead
    from ..model.package import ModelPackage
    from ..validation.tidal_completeness import HalfFound

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("calibrate-tides", short_help="Choose a tidal model's thresholds and flux errors.")
@click.argument("model")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--library",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the set's encounters; made if need be.  [default: a new one, thrown away]",
)
@click.option("--quick", is_flag=True, help=f"Only {QUICK} hosts, to see that it works.")
@click.option("--version", help="Version of the new model.  [default: MODEL's]")
@click.option(
    "--threads", type=click.IntRange(min=1), default=_CORES, help="CPU threads.  [default: all cores]"
)
def command(
    model: str, out: Path, library: Path | None, quick: bool, version: str | None, threads: int
) -> None:
    """Calibrate MODEL on the set tides-threshold-v3; write OUT.

    Chosen are the thresholds of masks and of presence, the factors and
    errors of fluxes, and where half of all features are found. Weights and
    program stay as they are. The set shares neither encounters nor seeds
    with evaluation-tides-v1.
    """
    from ..inference.engine import Engine
    from ..inference.options import EngineOptions
    from ..model.package import ModelPackage
    from ..model.shipped import find_model
    from ..simulation.tidal.frozen import TIDES_THRESHOLD_V3
    from ..validation.tidal_calibration import calibrated_head, with_masks
    from .tidal_exam import check_tides, frozen_exam, grade_all

    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    package = ModelPackage.open(os.fspath(find_model(model)))
    head = check_tides(package.manifest)
    engine = Engine.from_package(package, EngineOptions(threads=threads))
    with frozen_exam(TIDES_THRESHOLD_V3, library, quick=QUICK if quick else None) as exam:
        for weigh in (False, True):
            label = "Presence and fluxes" if weigh else "Masks"
            with click.progressbar(length=len(exam), label=f"{label:<20}", show_pos=True, width=30) as bar:
                stamps = exam.stamps(package.manifest)
                outcomes = grade_all(
                    engine, head, stamps, groups=exam.groups, weigh=weigh, progress=bar.update
                )
            if not weigh:
                head = with_masks(head, outcomes.counts)
    source = TIDES_THRESHOLD_V3.name + (" (a few)" if quick else "")
    head, half = calibrated_head(head, outcomes)
    page = _page(head, half, source)
    new = _restated(package, out, head, page, version)
    click.echo(page)
    click.echo(f"Wrote {out}, model {new.manifest.name} {new.manifest.version}")


def _page(head: TidesHead, half: HalfFound | None, source: str) -> str:
    """Return what the card says of it."""
    from ..simulation.observing import sky_sigma
    from ..surface_brightness import limit

    lines = [
        "## Thresholds and fluxes",
        "",
        f"Chosen on {source}.",
        "",
        "| plane | presence | mask | flux factor | power | flux error | power | half found at limit 30 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in head.features:
        fluxes = (head.flux_scale, head.flux_power, head.flux_error, head.error_power)
        numbers = " | ".join(
            f"{values[name]:.3f}" if values and name in values else "-"
            for values in (head.threshold, head.mask_threshold, *fluxes)
        )
        found = head.half_found.get(name) if head.half_found else None
        depth = f"{30.0 + found[0]:.2f}" if found else "-"
        lines.append(f"| {name} | {numbers} | {depth} |")
    lines += ["", "The powers are of the mask's confidence, and of its doubt."]
    if half is not None:
        shallow, deep = (float(limit(sky_sigma("r", visits))) for visits in (40.0, 200.0))
        lines += ["", f"Half of all debris is found at {half.at(shallow):.2f} at a limit of {shallow:.1f},"]
        lines += [
            f"and at {half.at(deep):.2f} at one of {deep:.1f} mag/arcsec2 (3 sigma on 10 x 10 arcsec in r,"
        ]
        lines += ["40 and 200 visits)."]
    return "\n".join(lines) + "\n"


def _restated(
    package: ModelPackage, out: Path, head: TidesHead, page: str, version: str | None
) -> ModelPackage:
    """Write a model that says other things of the same masks."""
    from ..errors import ModelPackageError
    from ..inference.golden import check_golden
    from ..inference.options import EngineOptions
    from ..model.manifest import Manifest
    from ..model.package import ModelPackage, write_package

    old = package.manifest
    manifest = Manifest.model_validate(
        {**old.model_dump(), "tides": head.model_dump(), "version": version or old.version, "members": {}}
    )
    card = package.card().partition("## Thresholds and fluxes")[0].rstrip()
    write_package(
        out,
        manifest=manifest,
        weights=package.read_weights(),
        program=package.program(),
        golden=package.golden(),
        card=f"{card}\n\n{page}",
    )
    new = ModelPackage.open(os.fspath(out))
    report = check_golden(new, EngineOptions(device="cpu"))
    if not report.passed:
        raise ModelPackageError(f"{out} is not usable: golden outputs {report}.")
    return new
