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

"""The command ``morphology simulate-repo``."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path

import click


@click.command(name="simulate-repo")
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--ra", default=150.0, show_default=True, help="Right ascension of the sky's centre (degrees).")
@click.option("--dec", default=2.2, show_default=True, help="Declination of the sky's centre (degrees).")
@click.option(
    "--patches",
    type=(click.IntRange(1), click.IntRange(1)),
    default=(2, 2),
    show_default=True,
    help="Patches of a tract along x and y.",
)
@click.option(
    "--patch-cells",
    type=click.IntRange(3),
    default=7,
    show_default=True,
    help="Cells along the side of a patch, a border of one cell on each side among them.",
)
@click.option(
    "--cell-size", type=click.IntRange(32), default=150, show_default=True, help="Cell's side (px)."
)
@click.option(
    "--galaxies",
    type=click.IntRange(0),
    default=40,
    show_default=True,
    help="Galaxies brighter than i = 21 per patch.",
)
@click.option(
    "--neighbours", type=click.IntRange(0), default=60, show_default=True, help="Fainter galaxies per patch."
)
@click.option("--stars", type=click.IntRange(0), default=12, show_default=True, help="Stars per patch.")
@click.option("--bands", default="gri", show_default=True, help="Bands, out of ugrizy.")
@click.option("--fwhm", default=0.85, show_default=True, help="Seeing in r (arcsec).")
@click.option("--visits", default=60.0, show_default=True, help="Visits in each band.")
@click.option(
    "--mix",
    type=click.Choice(["both", "natural", "training"]),
    default="both",
    show_default=True,
    help="Galaxies as on the sky, as a model is trained on (more with features), or half and half.",
)
@click.option(
    "--nasty/--no-nasty", default=True, show_default=True, help="Add objects that are hard to measure."
)
@click.option("--seed", default=1, show_default=True, help="Seed of everything.")
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
def command(
    dest: Path,
    ra: float,
    dec: float,
    patches: tuple[int, int],
    patch_cells: int,
    cell_size: int,
    galaxies: int,
    neighbours: int,
    stars: int,
    bands: str,
    fwhm: float,
    visits: float,
    mix: str,
    nasty: bool,
    seed: int,
    quiet: bool,
) -> None:
    """Write a Butler repository with a simulated sky to DEST.

    Coadds, object tables and the truth are in the format of DP2, in the
    collection sim. DEST must not exist, or be empty.
    """
    from ..simulation.repo import simulate_repository

    bar = click.progressbar(length=1000, label="Simulating", hidden=quiet)
    with bar:

        def progress(done: int, total: int) -> None:
            bar.update(1000 * done // total - bar.pos)

        try:
            made = simulate_repository(
                dest,
                center_ra=ra,
                center_dec=dec,
                columns=patches[0],
                rows=patches[1],
                patch_cells=patch_cells,
                cell_size=cell_size,
                n_galaxies=galaxies,
                n_neighbours=neighbours,
                n_stars=stars,
                bands=tuple(bands),
                fwhm=fwhm,
                visits=visits,
                mix=None if mix == "both" else mix,  # type: ignore[arg-type]
                nasty=nasty,
                seed=seed,
                progress=progress,
            )
        except (FileExistsError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    n_patches = sum(len(tract.patches) for tract in made.layout.tracts)
    click.echo(
        f"{made.path}: {len(made.objects)} objects in {n_patches} patches of {len(made.layout.tracts)} "
        f"overlapping tracts; collection {made.collection!r}"
    )
    for tract, patch, band in made.missing:
        click.echo(f"Tract {tract}, patch {patch} has no {band} coadd, on purpose.")
