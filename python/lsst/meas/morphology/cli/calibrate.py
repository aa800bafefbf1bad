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

"""``morphology calibrate``: posteriors, and what a model has never seen."""

from __future__ import annotations

__all__ = ("command",)

import pathlib

import click

_PATH = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)


@click.command(short_help="Calibrate a model on votes, and teach it what it has never seen.")
@click.argument("model")
@click.argument("out", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.option("--stamps", type=_PATH, help="Stamps, an .npz file.")
@click.option("--labels", type=_PATH, help="Vote counts on them; not given: votes stay as they are.")
@click.option(
    "--simulated", type=click.IntRange(1), metavar="N", help="Instead of stamps, simulate N, with votes."
)
@click.option("--mix", type=click.Choice(["training", "natural"]), default="training", show_default=True)
@click.option("--version", help="Version of the new model.  [default: MODEL's]")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=7, show_default=True, help="Of everything."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads.")
def command(
    model: str,
    out: pathlib.Path,
    stamps: pathlib.Path | None,
    labels: pathlib.Path | None,
    simulated: int | None,
    mix: str,
    version: str | None,
    seed: int,
    threads: int,
) -> None:
    """Calibrate MODEL on stamps that it was not trained on; write OUT.

    Votes set one factor of the concentrations for each question, which the
    new program applies. The stamps also set what counts as unlike those of
    the training: they must be drawn as those were.
    """
    import torch

    from ..errors import LabelError
    from ..model.package import ModelPackage
    from ..model.shipped import find_model
    from ..simulation.source import SimulatedSource
    from ..training.label_table import LabelTable
    from ..training.stamp_set import StampSet, match_labels
    from ..training.target import VotesTarget, make_target
    from ..training.trust import trusted_package

    if (stamps is None) == (simulated is None):
        raise click.UsageError("Give the stamps either by --stamps or by --simulated.")
    torch.set_num_threads(threads)
    package = ModelPackage.open(find_model(model))
    votes = None
    if stamps is not None:
        shown = StampSet.read(stamps)
        data = stamps.name
        if labels is not None:
            table = LabelTable.read(labels)
            target = make_target(table, tree=package.manifest.tree)
            if not isinstance(target, VotesTarget):
                raise LabelError(f"{labels} holds no vote counts.")
            stamp_rows, label_rows = match_labels(shown, table)
            shown, votes = shown[stamp_rows], target.votes[label_rows]
            data = f"{labels.name}, {len(votes)} objects"
    else:
        assert simulated is not None
        source = SimulatedSource(package.manifest, "natural" if mix == "natural" else "training")
        sample = source(seed, simulated)
        shown = StampSet(sample.flux, sample.valid, sample.arcsec_per_px)
        votes = sample.votes
        data = f"{simulated} simulated objects ({mix} mix, seed {seed})"
    shown = shown.for_model(package.manifest)
    new, fit = trusted_package(
        package, out, shown.flux, shown.valid, votes, data=data, version=version, seed=seed
    )
    for question, factor in (fit.factors if fit is not None else {}).items():
        assert fit is not None
        click.echo(f"{question:24} factor {factor:6.3f}  gain {fit.gain[question]:.4f} nats per galaxy asked")
    novelty = new.manifest.novelty
    assert novelty is not None
    click.echo(f"Out of distribution above {novelty.threshold:.3f}")
    click.echo(f"Wrote {out}, model {new.manifest.name} {new.manifest.version}")
