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

"""``morphology demo``: the whole path on a small simulated sky."""

from __future__ import annotations

__all__ = ("command",)

import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np

from lsst.daf.butler import Butler

from ..model.package import ModelPackage
from ..model.shipped import find_model

PIPELINE = "resource://lsst.meas.morphology/pipelines/Morphology.yaml"
# A corner of HEALPix pixels of order 5: the small sky lies in four of them.
CENTRE = ("--ra", "150.46875", "--dec", "1.19375")
TABLE = "object_morphology_hpx5"
MEASURED = "demo/morphology"
PARTITIONED = "demo/morphology_hpx"
INJECTED = "demo/injected"
TIDES = "demo/tides"


@click.command(name="demo")
@click.argument("dest", type=click.Path(path_type=Path))
def command(dest: Path) -> None:
    """Simulate a small sky, measure it, check it and draw it, in DEST.

    Each command is printed before it is run.
    """
    if dest.exists() and any(dest.iterdir()):
        raise click.ClickException(f"{dest} is not empty: remove it, or name another folder.")
    dest.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    repo = str(dest / "repo")
    for explanation, arguments in steps(repo, str(dest)):
        click.secho(f"\n# {explanation}", bold=True)
        click.echo(f"$ {shlex.join(arguments)}")
        # The commands of this very installation, whatever PATH says.
        program = Path(sys.executable).with_name(arguments[0])
        if subprocess.run([str(program), *arguments[1:]]).returncode != 0:
            raise click.ClickException(f"This step failed: {shlex.join(arguments)}")
    click.secho("\n# Query the result through the Butler", bold=True)
    query(repo)
    click.secho(f"\nDone in {time.monotonic() - start:.0f} s. Look at", bold=True)
    for picture in ("galaxies.png", "counts.png", "tides.png"):
        click.echo(f"  {dest / picture}")


def steps(repo: str, dest: str) -> list[tuple[str, list[str]]]:
    """Return the commands, each with what it is for.

    Parameters
    ----------
    repo
        The Butler repository to make.
    dest
        Folder for the pictures.

    Returns
    -------
    steps
        Pairs of an explanation and a command.
    """
    model_run, tides_run = _model_run("rubin"), _model_run("tides")
    pipetask = ["pipetask", "run", "-b", repo, "--register-dataset-types"]
    return [
        ("Simulate coadds and object tables of a small sky", ["morphology", "simulate-repo", *CENTRE, repo]),
        ("Ingest the models that ship with the code", ["butler", "ingest-morphology-model", repo, "rubin"]),
        ("The other one marks tidal features", ["butler", "ingest-morphology-model", repo, "tides"]),
        (
            "Step 1: measure the objects, patch by patch",
            [*pipetask, "-i", f"sim,{model_run}", "-o", MEASURED, "-p", f"{PIPELINE}#step1-measure"],
        ),
        (
            "Step 2: gather the rows by HEALPix pixel",
            [*pipetask, "-i", MEASURED, "-o", PARTITIONED, "-p", f"{PIPELINE}#step2-partition"],
        ),
        ("Check that nothing is lost", ["butler", "check-morphology", repo, PARTITIONED]),
        ("Draw galaxies and counts", ["butler", "draw-morphology", repo, PARTITIONED, dest]),
        (
            "Put tidal tails, streams and shells around some galaxies, in copies of the coadds",
            ["butler", "inject-tides", repo, "-i", "sim", "-o", INJECTED, "--encounters", "6", "--quiet"],
        ),
        (
            "Mark and measure them, on the coadds' own pixels",
            [*pipetask, "-i", f"{INJECTED},sim,{tides_run}", "-o", TIDES, "-p", f"{PIPELINE}#step1-tides"],
        ),
        ("Draw them", ["butler", "draw-tides", repo, f"{TIDES},{INJECTED},sim", f"{dest}/tides.png"]),
    ]


def _model_run(name: str) -> str:
    """Return the collection that a model of the code's is ingested into."""
    manifest = ModelPackage.open(find_model(name)).manifest
    return f"models/morphology/{manifest.name}/{manifest.version}"


def query(repo: str) -> None:
    """Read columns of the tables through the Butler and print a few rows.

    Parameters
    ----------
    repo
        The Butler repository.
    """
    butler = Butler.from_config(repo, collections=PARTITIONED)
    columns = [
        "objectId",
        "coord_ra",
        "coord_dec",
        "smoothOrFeatured_featuredOrDisk_*",
        "hasSpiralArms_yes_*",
    ]
    click.echo(f">>> butler = Butler.from_config({repo!r}, collections={PARTITIONED!r})")
    click.echo(f">>> for ref in butler.query_datasets({TABLE!r}):")
    click.echo(f"...     table = butler.get(ref, parameters={{'columns': {columns}}})")
    for ref in butler.query_datasets(TABLE):
        table = butler.get(ref, parameters={"columns": columns})
        spiral = np.nan_to_num(table["hasSpiralArms_yes_fraction"].to_numpy())
        pixel = ref.dataId["healpix5"]
        click.echo(f"HEALPix pixel {pixel}: {table.num_rows} rows; the three surest spirals:")
        for row in np.argsort(-spiral)[:3]:
            values = table.slice(row, 1).to_pylist()[0]
            click.echo(
                f"  {values['objectId']}  RA {values['coord_ra']:9.5f}  Dec {values['coord_dec']:+9.5f}  "
                f"spiral arms "
                f"{values['hasSpiralArms_yes_fraction']:.2f} [{values['hasSpiralArms_yes_fractionLow']:.2f}, "
                f"{values['hasSpiralArms_yes_fractionHigh']:.2f}] of the votes"
            )
