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

"""The card of a model that was fine-tuned."""

from __future__ import annotations

__all__ = ("write_tuned_card",)

from ..model.manifest import Manifest
from .target import ClassesTarget, ScalarTarget, Target
from .tuner import TuneOptions

_DEPTHS = {
    "head": "a new head alone; the embedding is that of the model it comes from",
    "last": "the head, the embedding and the encoder's last blocks",
    "all": "all of it, earlier layers more slowly",
}


def write_tuned_card(
    manifest: Manifest, base: Manifest, target: Target, *, source: str, options: TuneOptions
) -> str:
    """Return the card of a fine-tuned model, in Markdown.

    Parameters
    ----------
    manifest
        The model, with its training record complete.
    base
        The model that it comes from.
    target
        What it has learnt.
    source
        Where the labels come from.
    options
        How it was trained.
    """
    record = manifest.training
    trained = "all of it, from new weights" if options.from_scratch else _DEPTHS[options.depth]
    if options.depth == "last" and not options.from_scratch:
        trained += f" ({options.blocks})"
    lines = ["| figure | value |", "|---|---:|"]
    lines += [f"| {name} | {value:.4g} |" for name, value in record.figures.items()]
    parts = [
        f"# {manifest.title}",
        f"Model `{manifest.name}`, version {manifest.version}, licence {manifest.licence}.",
        "## What it is for",
        f"For {manifest.purpose}. {_meaning(target)} {record.data}",
        f"What it says is no better than its labels ({source}), nor of galaxies unlike them. The card of"
        f" `{base.name}` {base.version} says what that model had seen.",
        "## How it was trained",
        f"Trained was {trained}. Seed {options.seed}, {record.presentations} presentations.",
        "## How well it does",
        "On labels that were held out. The epoch was chosen on them too, so the figures flatter it a little.",
        "\n".join(lines),
    ]
    return "\n\n".join(parts) + "\n"


def _meaning(target: Target) -> str:
    if isinstance(target, ScalarTarget):
        unit = f" ({target.unit})" if target.unit else ""
        return f"It estimates the quantity `{target.name}`{unit}."
    if isinstance(target, ClassesTarget):
        question = target.tree.questions[0]
        return (
            f"It tells the classes {', '.join(question.answer_labels)} of `{question.label}`, as a question"
            f" `{question.name}` with one vote per label: fractions are probabilities of the classes, and"
            " their intervals do not say how volunteers would disagree."
        )
    return f"It answers the questions of the tree `{target.tree.name}` with the votes that people would give."
