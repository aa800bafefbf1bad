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

"""The subcommand ``morphology predict``."""

from __future__ import annotations

__all__ = ("command",)

import logging
import os
from pathlib import Path

import click

from ..image_catalog import predict_catalog
from ..images.catalog import ImageCatalog
from ..inference.backend import choose
from ..inference.options import EngineOptions
from ..inference.pool import BATCH_SIZES
from ..model.package import ModelPackage
from ..model.shipped import find_model

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("predict")
@click.argument("model")
@click.argument("catalog", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The table to write, a Parquet file.",
)
@click.option("--id-column", default="id_str", show_default=True, help="Column of the images' ids.")
@click.option("--file-column", default="file_loc", show_default=True, help="Column of the image files.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that relative image files start from.  [default: the catalogue's]",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Random views of each image, for models of Zoobot 2.0; those of 2.9 have one view.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the views.")
@click.option("--embeddings", is_flag=True, help="Write the model's feature vectors too.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "onnx", "torch"]),
    default="auto",
    show_default=True,
    help="What runs the network.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where it runs.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Views in one batch.  [default: 8 on a CPU, 64 on a GPU]",
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=_CORES, help="CPU threads.  [default: all cores]"
)
def command(
    model: str,
    catalog: Path,
    out: Path,
    id_column: str,
    file_column: str,
    images: Path | None,
    draws: int,
    seed: int,
    embeddings: bool,
    backend: str,
    device: str,
    batch_size: int | None,
    threads: int,
) -> None:
    """Say what MODEL sees in the image files that CATALOG lists.

    MODEL is a model package, or the name of one that ships with the code.
    CATALOG is a CSV, ECSV or Parquet file with an id and an image file in
    each row. The table has the same rows in the same order; an image that
    can't be read costs its row a flag. Exits non-zero if none can.
    """
    if batch_size is None:
        batch_size = BATCH_SIZES[choose(EngineOptions(backend=backend, device=device))[1]]
    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    listed = ImageCatalog(catalog, id_column, file_column, images)
    if not out.absolute().parent.is_dir():
        raise click.ClickException(f"{out.parent}: there is no such folder.")
    with click.progressbar(length=listed.count() or 0, label="Images", show_pos=True, width=30) as bar:
        summary = predict_catalog(
            ModelPackage.open(os.fspath(find_model(model))),
            listed,
            out,
            options=EngineOptions(backend=backend, device=device, batch_size=batch_size, threads=threads),
            readers=threads,
            draws=draws,
            seed=seed,
            embeddings=embeddings,
            progress=bar.update,
        )
    flagged = f", {summary.flagged} of them flagged as unreadable" if summary.flagged else ""
    click.echo(
        f"{out}: {summary.images} images{flagged}; {summary.images / max(summary.seconds, 1e-9):.1f} a second"
        f" with {summary.description}."
    )
    if summary.flagged and summary.flagged == summary.images:
        raise click.ClickException(
            f"None of the images of {catalog} could be read: is --images the folder that their places start"
            " from?"
        )
