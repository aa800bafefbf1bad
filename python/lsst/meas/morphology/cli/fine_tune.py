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

"""``morphology fine-tune``: teach a model something new by a few labels."""

from __future__ import annotations

__all__ = ("command",)

import pathlib
from typing import Any

import click

_PATH = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)


@click.command(short_help="Fine-tune a model on a table of labels.")
@click.argument("model")
@click.argument("labels", type=_PATH)
@click.argument("out", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.option(
    "--target",
    metavar="COLUMN",
    help="Column of classes or of a quantity. Not given: LABELS has vote counts.",
)
@click.option(
    "--kind",
    type=click.Choice(["auto", "classes", "scalar", "votes"]),
    default="auto",
    show_default=True,
    help="What the target is.",
)
@click.option("--tree", help="Tree of the vote counts: a shipped one or a file.  [default: the model's]")
@click.option("--unit", default="", help="Unit of a quantity.")
@click.option("--stamps", type=_PATH, help="Stamps of the labelled objects, an .npz file.")
@click.option("--repo", help="Butler repository to cut the stamps from.")
@click.option("--collections", help="Collections of coadds and object tables there, separated by commas.")
@click.option("--skymap", help="Skymap, if the repository has several.")
@click.option("--coadd", default="deep_coadd", show_default=True, help="Dataset type of the coadds.")
@click.option("--object", "objects", default="object", show_default=True, help="Dataset type of the objects.")
@click.option("--save-stamps", type=click.Path(dir_okay=False), help="Also write the stamps that were cut.")
@click.option("--name", help="Name of the new model.  [default: the target's]")
@click.option("--version", default="0.1.0", show_default=True, help="Version of the new model.")
@click.option(
    "--depth",
    type=click.Choice(["head", "last", "all"]),
    default="last",
    show_default=True,
    help="Train a new head alone, also the last blocks, or all, earlier layers more slowly.",
)
@click.option("--blocks", type=click.IntRange(0), default=2, show_default=True, help="With --depth last.")
@click.option("--from-scratch", is_flag=True, help="Forget what MODEL knows; keep only how it is built.")
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True, help="Most passes.")
@click.option(
    "--patience", type=click.IntRange(1), default=25, show_default=True, help="Passes without gain."
)
@click.option(
    "--held-out",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the labels that judges.",
)
@click.option(
    "--learning-rate", type=float, help="Of the head.  [default: 0.004; of everything 0.0004 from scratch]"
)
@click.option(
    "--layer-decay", type=float, default=0.8, show_default=True, help="Of the rate, towards the input."
)
@click.option("--balanced", is_flag=True, help="Let each class weigh the same, however rare.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Of everything."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def command(
    model: str,
    labels: pathlib.Path,
    out: pathlib.Path,
    target: str | None,
    kind: Any,
    tree: str | None,
    unit: str,
    stamps: pathlib.Path | None,
    name: str | None,
    version: str,
    threads: int,
    repo: str | None,
    collections: str | None,
    skymap: str | None,
    coadd: str,
    objects: str,
    save_stamps: str | None,
    **tuning: Any,
) -> None:
    """Teach MODEL what LABELS say and write the new model to OUT.

    MODEL is a package's file or the name of a model that ships with the
    code; LABELS a CSV, ECSV or Parquet file with objectId, or coord_ra and
    coord_dec, and a column of classes (--target ring), of a quantity, or
    vote counts under Galaxy Zoo's names. The stamps come from --stamps or
    from --repo and --collections.

    Classes become a question of one vote per label, so pipetask runs the
    new model as any other; a model of a quantity runs on files only.
    """
    import torch

    from ..model.package import ModelPackage
    from ..model.shipped import find_model
    from ..questions.tree import QuestionTree, available_trees
    from ..training.fine_tune import fine_tune
    from ..training.label_table import LabelTable
    from ..training.stamp_set import StampSet
    from ..training.tuner import TuneOptions

    if (stamps is None) == (repo is None):
        raise click.UsageError("Give the stamps either by --stamps or by --repo.")
    if repo is not None and not collections:
        raise click.UsageError("--repo needs --collections.")
    torch.set_num_threads(threads)
    options = TuneOptions(**tuning)
    package = ModelPackage.open(find_model(model))
    table = LabelTable.read(labels)
    if stamps is not None:
        cut = StampSet.read(stamps)
    else:
        names = {"skymap": skymap, "coadd": coadd, "object": objects}
        cut = _cut(repo, collections, table, package.manifest, names)
    if save_stamps is not None:
        cut.write(save_stamps)
    questions = None
    if tree is not None:
        questions = QuestionTree.load(tree) if tree in available_trees() else QuestionTree.read(tree)
    with click.progressbar(length=options.epochs, label="Training", show_pos=True) as bar:
        result = fine_tune(
            package.path,
            table,
            out,
            stamps=cut,
            target=target,
            kind=kind,
            tree=questions,
            unit=unit,
            name=name,
            version=version,
            options=options,
            progress=lambda epoch: bar.update(epoch - bar.pos),
        )
        bar.update(options.epochs - bar.pos)
    width = max(map(len, result.figures))
    for key, value in result.figures.items():
        click.echo(f"{key:{width}}  {value:.4g}")
    click.echo(f"Wrote {out}, model {result.package.manifest.name} {version}")


def _cut(repo: Any, collections: Any, table: Any, manifest: Any, names: dict[str, Any]) -> Any:
    """Cut stamps out of a repository, with a progress bar."""
    from lsst.daf.butler import Butler

    from ..training.repository_stamps import RepositoryOptions, cut_labelled

    with (
        Butler.from_config(repo) as butler,
        click.progressbar(length=len(table), label="Cutting ", show_pos=True) as bar,
    ):
        return cut_labelled(
            butler,
            collections.split(","),
            table,
            manifest,
            options=RepositoryOptions(**names),
            progress=lambda done: bar.update(done - bar.pos),
        )
