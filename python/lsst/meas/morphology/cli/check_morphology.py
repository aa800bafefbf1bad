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

"""``butler check-morphology``: is anything lost on the way?"""

from __future__ import annotations

__all__ = ("command",)

import click

from lsst.daf.butler import Butler

from ..validation.audit import audit


@click.command(name="check-morphology")
@click.argument("repo")
@click.argument("collection")
@click.option("--table", default="object_morphology", show_default=True, help="The tables' name.")
@click.option("--order", default=5, show_default=True, help="HEALPix order of the partitions.")
@click.option("--label", default="measureMorphology", show_default=True, help="Label of the measuring task.")
@click.option("--object", "object_", default="object", show_default=True, help="The object tables' name.")
def command(repo: str, collection: str, table: str, order: int, label: str, object_: str) -> None:
    """Compare objects, patch rows and HEALPix rows in COLLECTION of REPO.

    The exit status is 0 where nothing is lost or twice, 1 otherwise.
    """
    with (
        Butler.from_config(repo, collections=collection) as butler,
        click.progressbar(length=1, label="Reading", show_pos=True) as bar,
    ):

        def advance(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        report = audit(
            butler, table_name=table, order=order, label=label, object_name=object_, progress=advance
        )
    click.echo(report.describe())
    if not report.complete:
        raise SystemExit(1)
