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

"""The subcommand ``morphology check-model``."""

from __future__ import annotations

__all__ = ("command",)

import logging
from collections.abc import Iterator

import click

from ..inference.backend import installed_backends
from ..inference.golden import check_golden
from ..inference.options import EngineOptions
from ..model.manifest import FieldOfView, Manifest
from ..model.package import ModelPackage
from ..model.shipped import find_model


@click.command("check-model")
@click.argument("file")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the golden outputs are reproduced.",
)
@click.option(
    "--backend",
    type=click.Choice(["all", "auto", "onnx", "torch"]),
    default="all",
    show_default=True,
    help="What reproduces them; 'all' is each backend that is installed.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "autocast"]),
    default="float32",
    show_default=True,
    help="In which precision.",
)
@click.option("--compile/--no-compile", "compile_", default=False, help="Compile the network first.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads.")
@click.option("--card", is_flag=True, help="Show the model's card too.")
def command(
    file: str, device: str, backend: str, precision: str, compile_: bool, threads: int, card: bool
) -> None:
    """Check the model package FILE and say what it holds.

    FILE may also be the name of a model that ships with the code.
    Verifies checksums and contents, shows the manifest, and reproduces the
    golden outputs. Exits non-zero if anything is not as it should be.
    """
    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    file = str(find_model(file))
    package = ModelPackage.open(file)
    click.echo(f"{file}: intact, with all checksums right.")
    for key, value in _summary(package.manifest):
        click.echo(f"  {key:<14} {value}")
    if card:
        click.echo()
        click.echo(package.card())
    failed = False
    for name in installed_backends() if backend == "all" else (backend,):
        options = EngineOptions(
            backend=name, device=device, precision=precision, compile=compile_, threads=threads
        )
        report = check_golden(package, options)
        click.echo(f"Golden outputs {report}.")
        failed = failed or not report.passed
    if failed:
        raise click.ClickException(f"{file}: golden outputs were not reproduced.")


def _summary(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what there is to say about a model, item by item."""
    yield "model", f"{manifest.name} {manifest.version}: {manifest.title}"
    yield "model id", manifest.model_id
    yield "purpose", manifest.purpose
    yield "licence", manifest.licence
    optional = f" (may be missing: {', '.join(manifest.optional_bands)})" if manifest.optional_bands else ""
    yield "bands", f"{', '.join(manifest.bands)}{optional}"
    yield "stamps", f"{manifest.stamp_size} px, {manifest.pixels}, {_field_of_view(manifest.field_of_view)}"
    yield "architecture", str(manifest.architecture)
    if manifest.votes is not None:
        tree = manifest.tree
        yield (
            "votes",
            f"tree {tree.name}: {tree.n_questions} questions, {tree.n_answers} answers; "
            f"{manifest.votes.samples} samples",
        )
    if manifest.embedding is not None:
        yield "embedding", f"{manifest.embedding.features} features"
    if manifest.classes is not None:
        yield "classes", ", ".join(manifest.classes.names)
    if manifest.scalar is not None:
        yield "quantity", f"{manifest.scalar.name} [{manifest.scalar.unit or 'no unit'}]"
    if manifest.tides is not None:
        yield "tides", f"planes {', '.join(manifest.tides.planes)}"
        for name in ("threshold", "mask_threshold", "flux_scale", "flux_error", "flux_power", "error_power"):
            numbers = getattr(manifest.tides, name) or {}
            if numbers:
                shown = ", ".join(f"{plane} {value:g}" for plane, value in numbers.items())
                yield name.replace("_", " "), shown
    if manifest.origin is not None:
        yield "origin", f"{manifest.origin.file}: {manifest.origin.kind} of {manifest.origin.software}"
    yield "training", manifest.training.data
    if manifest.training.untaught:
        yield "not taught", ", ".join(manifest.training.untaught)
    for name, value in sorted(manifest.training.figures.items()):
        yield "figure", f"{name} = {value:.4g}"
    for name, member in manifest.members.items():
        yield "member", f"{name}: {member.size} bytes, sha256 {member.sha256}"


def _field_of_view(rule: FieldOfView) -> str:
    if rule.rule == "fixed":
        return f"{rule.pixel_arcsec:g} arcsec/px"
    return f"{rule.multiple:g} radii, from {rule.min_arcsec:g} to {rule.max_arcsec:g} arcsec"
