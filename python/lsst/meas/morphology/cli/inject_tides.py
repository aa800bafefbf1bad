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

"""``butler inject-tides``: features with known truth in existing coadds."""

from __future__ import annotations

__all__ = ("command",)

import tempfile
from pathlib import Path

import click

from lsst.daf.butler import Butler

from ..errors import MorphologyError


@click.command(name="inject-tides", short_help="Put tidal features with known truth into copies of coadds.")
@click.argument("repo")
@click.option(
    "-i", "--input", "inputs", required=True, help="Collections of coadds and object tables, by commas."
)
@click.option("-o", "--output", required=True, help="RUN collection for the changed coadds and the truth.")
@click.option(
    "--library",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of encounters; made if need be.  [default: a new one, thrown away]",
)
@click.option(
    "--encounters",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Encounters of each kind, if they are made.",
)
@click.option("--where", default="", help='Which of the coadds, such as "tract = 9813".')
@click.option(
    "--count", type=click.IntRange(1), default=4, show_default=True, help="Most features for each patch."
)
@click.option("--max-magnitude", default=20.0, show_default=True, help="Faintest host in i.")
@click.option("--min-radius", default=1.5, show_default=True, help="Smallest half-light radius (arcsec).")
@click.option("--max-radius", default=10.0, show_default=True, help="Largest half-light radius (arcsec).")
@click.option("--kinds", default="tail,stream,shell", show_default=True, help="Kinds of features, by commas.")
@click.option(
    "--fainter",
    nargs=2,
    type=float,
    default=(-1.0, 3.0),
    show_default=True,
    help="Range of magnitudes by which features are fainter than their encounters have them.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the choice.")
@click.option("--coadds", default="deep_coadd", show_default=True, help="Dataset type of the coadds.")
@click.option("--objects", default="object", show_default=True, help="Dataset type of the object tables.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    repo: str,
    inputs: str,
    output: str,
    library: Path | None,
    encounters: int,
    where: str,
    count: int,
    max_magnitude: float,
    min_radius: float,
    max_radius: float,
    kinds: str,
    fainter: tuple[float, float],
    seed: int,
    coadds: str,
    objects: str,
    quiet: bool,
) -> None:
    """Put tidal features around objects of the table.

    The coadds that change are copied into OUTPUT, and so is what was put
    in, as tidal_injection_truth. Measure it by pipetask with OUTPUT before
    the other input collections, and compare by recover-tides.
    """
    from ..simulation.tidal.inject_repository import inject_repository
    from ..simulation.tidal.injection_hosts import HostSelection
    from ..simulation.tidal.library import make_library
    from ..simulation.tidal.snapshots import KINDS

    chosen = tuple(kind.strip() for kind in kinds.split(","))
    if unknown := set(chosen) - set(KINDS):
        raise click.UsageError(
            f"There is no kind {', '.join(sorted(unknown))}: kinds are {', '.join(KINDS)}."
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = library or Path(temporary)
        with click.progressbar(
            length=len(KINDS) * encounters, label="Encounters", show_pos=True, hidden=quiet
        ) as bar:
            made = make_library(
                folder, count=encounters, seed=seed + 1000, progress=lambda done: bar.update(done - bar.pos)
            )
        with (
            Butler.from_config(repo, writeable=True) as butler,
            click.progressbar(length=1000, label="Patches", hidden=quiet) as bar,
        ):
            try:
                report = inject_repository(
                    butler,
                    input_collections=tuple(name.strip() for name in inputs.split(",")),
                    output=output,
                    library=made,
                    where=where,
                    selection=HostSelection(count, max_magnitude, min_radius, max_radius),
                    kinds=chosen,
                    fainter=fainter,
                    coadd_name=coadds,
                    object_name=objects,
                    seed=seed,
                    progress=lambda done, total: bar.update(1000 * done // total - bar.pos),
                )
            except MorphologyError as error:
                raise click.ClickException(str(error)) from error
    click.echo(
        f"Put {report.features} features into {report.patches} patches; wrote {report.coadds} coadds and the "
        f"truth into {output}."
    )
