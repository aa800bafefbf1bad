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

"""The subcommand ``morphology import-zoobot``."""

from __future__ import annotations

__all__ = ("command",)

from pathlib import Path

import click

_SIGHTS = ("images", "images-2.0", "legacy-survey", "hsc", "euclid")


@click.command("import-zoobot")
@click.argument("ckpt")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--sight",
    type=click.Choice(_SIGHTS),
    default="images",
    show_default=True,
    help="What the model is shown: image files as Zoobot 2.9 or 2.0 reads them, or coadds, drawn as the"
    " survey's pictures.",
)
@click.option("--bands", help="Bands of the coadds, such as g,r,z.  [default: those of the sight]")
@click.option("--name", help="Name of the model.  [default: zoobot_ and its encoder's name]")
@click.option("--version", default="1.0.0", show_default=True, help="Version of the model.")
@click.option("--title", help="One line about it.")
@click.option(
    "--licence", default="NOASSERTION", show_default=True, help="SPDX identifier of the weights' licence."
)
@click.option("--classes", help="Names of a classifier's classes, separated by commas.")
@click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Posterior samples; with 1 the head's dropout is off, as in Zoobot's own predictions.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 1024),
    default=224,
    show_default=True,
    help="Side of the images in pixels.",
)
@click.option("--architecture", help="timm's name of the encoder, if the checkpoint does not tell.")
def command(
    ckpt: str,
    out: Path,
    sight: str,
    bands: str | None,
    name: str | None,
    version: str,
    title: str | None,
    licence: str,
    classes: str | None,
    samples: int,
    size: int,
    architecture: str | None,
) -> None:
    """Turn a Zoobot checkpoint into the model package OUT.

    CKPT is a checkpoint of a ZoobotTree or of a FinetuneableZoobotTree,
    -Classifier or -Regressor; or a bare encoder: its file, its folder, or
    hf_hub: and the name of its repository. Nothing in it is run.
    """
    from ..zoobot.importer import ImportOptions, import_checkpoint

    options = ImportOptions(
        name=name,
        version=version,
        title=title,
        licence=licence,
        sight=sight,
        bands=_split(bands),
        size=size,
        samples=samples,
        classes=_split(classes),
        architecture=architecture,
    )
    try:
        manifest = import_checkpoint(ckpt, out, options).manifest
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from error
    assert manifest.origin is not None
    for output, shape in manifest.outputs.items():
        click.echo(f"{output}: {' x '.join(map(str, shape))} values for each galaxy")
    click.echo(f"Wrote {out}: {manifest.origin.kind} as {manifest.name} {manifest.version}.")
    click.echo(f"Model id {manifest.model_id}")


def _split(text: str | None) -> tuple[str, ...] | None:
    """Return the words of a list with commas."""
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())
