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

"""The subcommand ``butler ingest-morphology-model``."""

from __future__ import annotations

__all__ = ("command",)

import click

from lsst.daf.butler import Butler

from ..errors import MorphologyError
from ..model.shipped import find_model


@click.command("ingest-morphology-model", short_help="Ingest a galaxy-morphology model.")
@click.argument("repo")
@click.argument("file")
@click.option(
    "--transfer",
    type=click.Choice(["copy", "direct", "hardlink", "link", "move", "relsymlink", "symlink"]),
    default="copy",
    show_default=True,
    help="How the file gets into the repository.",
)
def command(repo: str, file: str, transfer: str) -> None:
    """Ingest the galaxy-morphology model package FILE.

    FILE may also be the name of a model that ships with the code.
    REPO is the URI or path of the repository. The package is verified and
    its golden outputs are reproduced first. It becomes a dataset of its own
    type in a RUN collection of its own, both of which are printed; one
    version of a model can be ingested only once.
    """
    from ..butler import ingest

    try:
        with Butler.from_config(repo, writeable=True) as butler:
            ref = ingest(butler, str(find_model(file)), transfer=transfer)
    except MorphologyError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Ingested {ref.datasetType.name} into the collection {ref.run}.")
