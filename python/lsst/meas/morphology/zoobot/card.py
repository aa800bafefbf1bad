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

"""The model card of an imported model."""

from __future__ import annotations

__all__ = ("write_card",)

import json

from ..model.manifest import Manifest
from .architecture import EncoderSpec
from .checkpoint import Checkpoint


def write_card(manifest: Manifest, checkpoint: Checkpoint, encoder: EncoderSpec) -> str:
    """Return the card of an imported model, in Markdown.

    Parameters
    ----------
    manifest
        The model.
    checkpoint
        What it was made from.
    encoder
        How its encoder was found.
    """
    origin = manifest.origin
    assert origin is not None
    import timm

    file = f"`{origin.file}`" + (f" (SHA-256 {origin.sha256})" if origin.sha256 else "")
    parts = [
        f"# {manifest.title}",
        f"Model `{manifest.name}`, version {manifest.version}, licence {manifest.licence}.",
        "## Where it comes from",
        (
            f"Converted, without change to its weights, from {file}, a {origin.kind} ({origin.software})."
            f" Its encoder is timm's `{encoder.architecture.name}` (version {timm.__version__}) with"
            f" {encoder.channels} channel(s), {encoder.how}."
        ),
        "## What it answers",
        _answers(manifest),
        "## What it sees",
        _sight(manifest),
    ]
    plain = {
        key: value
        for key, value in checkpoint.hyperparameters.items()
        if isinstance(value, bool | int | float | str) or value is None
    }
    if plain:
        listed = json.dumps(plain, indent=1, sort_keys=True).splitlines()
        parts += ["## Arguments that it was made with", "\n".join(f"    {line}" for line in listed)]
    return "\n\n".join(parts) + "\n"


def _answers(manifest: Manifest) -> str:
    """Say what the outputs are."""
    if manifest.votes is not None:
        tree = manifest.tree
        return (
            f"Dirichlet concentrations of the votes on {tree.n_questions} questions with {tree.n_answers}"
            f" answers, in the checkpoint's order: {', '.join(tree.label_columns)}."
        )
    if manifest.classes is not None:
        return f"The probabilities of the classes {', '.join(manifest.classes.names)}."
    if manifest.scalar is not None:
        return f"One quantity, `{manifest.scalar.name}`."
    return "No questions: it describes galaxies by the vectors of its encoder."


def _sight(manifest: Manifest) -> str:
    """Say what it is shown."""
    size = f"{manifest.stamp_size} x {manifest.stamp_size} pixels"
    rendering = manifest.rendering
    if rendering.kind == "rgb8":
        return (
            f"Images of 8 bits, {size}, as Zoobot {rendering.era} shows them to its models; grey: "
            f"{rendering.greyscale}."
        )
    return (
        f"Coadds in the bands {', '.join(manifest.bands)}, drawn as pictures of {size} in the manner of"
        f" `{rendering.kind}`. It was trained on another survey's pictures; how well it does on these has not"
        " been measured."
    )
