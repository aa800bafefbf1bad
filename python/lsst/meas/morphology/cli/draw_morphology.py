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

"""``butler draw-morphology``: pictures of what was measured."""

from __future__ import annotations

__all__ = ("command",)

import click

from lsst.daf.butler import Butler

from ..explore.portraits import draw_repository
from ..questions.tree import QuestionTree


@click.command(name="draw-morphology")
@click.argument("repo")
@click.argument("collection")
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--table", default="object_morphology", show_default=True, help="The tables' name.")
@click.option("--order", default=5, show_default=True, help="HEALPix order of the partitions.")
@click.option("--tree", default="rubin", show_default=True, help="The model's decision tree.")
@click.option("--count", default=24, show_default=True, help="Number of galaxies.")
def command(
    repo: str, collection: str, directory: str, table: str, order: int, tree: str, count: int
) -> None:
    """Draw galaxies with their posteriors, and a map of counts.

    The pictures galaxies.png and counts.png are put into DIRECTORY.
    """
    with Butler.from_config(repo, collections=collection) as butler:
        pictures = draw_repository(
            butler, directory, tree=QuestionTree.load(tree), table_name=table, order=order, count=count
        )
    for picture in pictures:
        click.echo(picture)
