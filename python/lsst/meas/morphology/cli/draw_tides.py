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

"""``butler draw-tides``: hosts in faint light, with their features."""

from __future__ import annotations

__all__ = ("command",)

import click

from lsst.daf.butler import Butler

from ..errors import MorphologyError


@click.command(name="draw-tides", short_help="Draw hosts with the outlines of their tidal features.")
@click.argument("repo")
@click.argument("collection")
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--table", default="object_tidal", show_default=True, help="The tables' name.")
@click.option("--coadds", default="deep_coadd", show_default=True, help="Dataset type of the coadds.")
@click.option("--bands", default="r,g,i", show_default=True, help="The first of these there is, is drawn.")
@click.option("--count", type=click.IntRange(1), default=12, show_default=True, help="Number of hosts.")
@click.option("--least", type=click.FloatRange(0.0, 1.0), default=0.0, help="Least probability of debris.")
def command(
    repo: str, collection: str, out: str, table: str, coadds: str, bands: str, count: int, least: float
) -> None:
    """Draw the hosts whose debris is the surest into the picture OUT.

    Each is shown twice, in grey, inverted and stretched for faint light:
    as it is, and with the outlines of tails, streams and shells.
    """
    from ..explore.tidal_portraits import draw_tidal_repository

    with Butler.from_config(repo, collections=collection.split(",")) as butler:
        try:
            drawn = draw_tidal_repository(
                butler,
                out,
                table_name=table,
                coadd_name=coadds,
                bands=tuple(band.strip() for band in bands.split(",")),
                count=count,
                least=least,
            )
        except MorphologyError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {drawn} hosts")
