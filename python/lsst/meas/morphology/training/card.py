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

"""The model card: what a model is, for people."""

from __future__ import annotations

__all__ = ("write_card",)

from collections.abc import Mapping

from ..confident import MIN_VOTES, TOP_FRACTION
from ..model.manifest import Manifest
from .agreement import QuestionFigures, figures_table


def write_card(
    manifest: Manifest, figures: Mapping[str, Mapping[str, QuestionFigures]], *, command: str
) -> str:
    """Return the card of a trained model, in Markdown.

    Parameters
    ----------
    manifest
        The model, with its training record complete.
    figures
        Agreement with confident votes, by sample and question.
    command
        What to type to train it again.
    """
    record = manifest.training
    view = manifest.field_of_view
    parts = [
        f"# {manifest.title}",
        f"Model `{manifest.name}`, version {manifest.version}, licence {manifest.licence}.",
        "## What it is for",
        (
            f"For {manifest.purpose}"
            + (", **not for science**" if manifest.purpose == "commissioning" else "")
            + f". It answers the questions of the tree `{manifest.tree.name}` with the votes that volunteers"
            " would give, as Dirichlet posteriors. " + record.data
        ),
        "## What it sees",
        f"Bands {', '.join(manifest.bands)}"
        + (f" ({' and '.join(manifest.optional_bands)} may be missing)" if manifest.optional_bands else "")
        + f", in nJy per stamp pixel; {manifest.stamp_size} x {manifest.stamp_size} pixels, "
        + (
            f"{view.multiple:g} radii wide, between {view.min_arcsec:g} and {view.max_arcsec:g} arcsec."
            if view.rule == "radius"
            else f"{view.pixel_arcsec:g} arcsec each."
        ),
        "## How it was trained",
        (
            f"{record.figures['distinctStamps']:.0f} stamps, shown {record.presentations} times in all, in"
            f" {record.figures['steps']:.0f} steps and {record.figures['seconds'] / 60.0:.1f} minutes; seed"
            f" {record.seed}. By"
        ),
        f"    {command}",
        "## How well it does",
        (
            f"On galaxies that it has not seen. A galaxy is confident in a question if at least {MIN_VOTES}"
            f" volunteers answered it and at least {TOP_FRACTION:.0%} of them agreed. Balanced accuracy"
            " weighs all answers equally; majority is the share of the commonest answer, which guessing"
            " would reach."
        ),
    ]
    for sample, questions in figures.items():
        nats = record.figures[f"{sample}.negativeLogLikelihood"]
        parts += [
            f"### Sample: {sample}",
            figures_table(questions),
            f"Negative log-likelihood of the votes: {nats:.2f} nats per galaxy.",
        ]
    if record.untaught:
        parts += [
            "## What it was not taught",
            "These questions have answers that no object in the training data deserves; do not trust them: "
            + ", ".join(record.untaught)
            + ".",
        ]
    return "\n\n".join(parts) + "\n"
