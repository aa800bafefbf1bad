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

"""The subcommand ``morphology draw-sights``."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path

import click


@click.command("draw-sights")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("examples", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(1, 20), default=5, show_default=True, help="Simulated galaxies.")
@click.option("--seed", type=click.IntRange(min=0), default=3, show_default=True, help="Their seed.")
def command(out: Path, examples: tuple[Path, ...], count: int, seed: int) -> None:
    """Draw what each rendering of coadds shows a network.

    The picture OUT has a row of simulated galaxies for each rendering and,
    above them, EXAMPLES: images of Galaxy Zoo as a Zoobot model sees them.
    """
    from ..explore.sights import SIGHT_BANDS, SIGHT_FIELD, draw_sights
    from ..simulation.stamps import sample_stamps

    stamps = sample_stamps(seed, count, bands=SIGHT_BANDS, stamp_size=224, field_of_view=SIGHT_FIELD)
    draw_sights(out, stamps.flux, stamps.valid, stamps.arcsec_per_px, examples)
    click.echo(out)
