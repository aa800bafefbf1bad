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

"""The subcommands that this package adds to ``butler``."""

from __future__ import annotations

__all__ = ("get_cli_subcommands",)

import click


def get_cli_subcommands() -> list[click.Command]:
    """Return the subcommands, for the ``butler.cli`` entry point.

    Returns
    -------
    commands
        One command for each subcommand.
    """
    from . import check_morphology, draw_morphology, draw_tides, ingest_model, inject_tides, recover_tides

    return [
        check_morphology.command,
        draw_morphology.command,
        draw_tides.command,
        ingest_model.command,
        inject_tides.command,
        recover_tides.command,
    ]
