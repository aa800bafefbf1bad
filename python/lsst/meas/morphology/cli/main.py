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

"""The ``morphology`` command: for files and models."""

from __future__ import annotations

__all__ = ("LazyGroup", "main")

import importlib
import logging
from collections.abc import Mapping
from typing import Any

import click

from ..errors import MorphologyError


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are needed.

    Parameters
    ----------
    modules
        For each subcommand's name the module that holds it, under the
        attribute ``command``.
    **kwargs
        Passed on to `click.Group`.
    """

    def __init__(self, *, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        # Docstring inherited.
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Docstring inherited.
        if cmd_name not in self._modules:
            return None
        command = importlib.import_module(self._modules[cmd_name], __package__).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        # Docstring inherited.
        try:
            return super().invoke(ctx)
        except MorphologyError as error:
            raise click.ClickException(str(error)) from error


@click.command(
    cls=LazyGroup,
    modules={
        "calibrate": ".calibrate",
        "calibrate-tides": ".calibrate_tides",
        "check-model": ".check_model",
        "compare": ".compare",
        "demo": ".demo",
        "evaluate": ".evaluate",
        "evaluate-novelty": ".evaluate_novelty",
        "evaluate-tides": ".evaluate_tides",
        "draw-sights": ".draw_sights",
        "draw-tides": ".draw_tidal_stamps",
        "export-galaxy-zoo": ".export_galaxy_zoo",
        "fine-tune": ".fine_tune",
        "import-zoobot": ".import_zoobot",
        "predict": ".predict",
        "simulate-repo": ".simulate_repo",
        "train": ".train",
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("-v", "--verbose", is_flag=True, help="Log more of what is done.")
def main(verbose: bool) -> None:
    """Measure what galaxies look like: models, training and simulation.

    Whatever acts on a Butler repository is a subcommand of butler, and the
    measurements themselves run by pipetask.
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
    )
