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

"""The card of a model that marks tidal features."""

from __future__ import annotations

__all__ = ("mask_table", "write_marks_card")

from collections.abc import Mapping

from ..model.manifest import Manifest
from .marked_source import VISIBLE_ARCSEC2
from .marking import MaskFigures


def write_marks_card(manifest: Manifest, figures: Mapping[str, MaskFigures], *, command: str) -> str:
    """Return the card of a trained model, in Markdown.

    Parameters
    ----------
    manifest
        The model, with its training record complete.
    figures
        How well it marks stamps that it has not seen, by sample.
    command
        What to type to train it again.
    """
    assert manifest.tides is not None
    record, view = manifest.training, manifest.field_of_view
    optional = f" ({' and '.join(manifest.optional_bands)} may be missing)" if manifest.optional_bands else ""
    width = (
        f"{view.multiple:g} radii wide, between {view.min_arcsec:g} and {view.max_arcsec:g} arcsec."
        if view.rule == "radius"
        else f"{view.pixel_arcsec:g} arcsec each."
    )
    parts = [
        f"# {manifest.title}",
        f"Model `{manifest.name}`, version {manifest.version}, licence {manifest.licence}.",
        "## What it is for",
        f"For {manifest.purpose}"
        + (", **not for science**" if manifest.purpose == "commissioning" else "")
        + f". It says for each pixel which share of annotators would mark it as"
        f" {_list(manifest.tides.planes)}, and for the whole stamp how probably each kind of feature is to be"
        f" seen in it. Planes are independent: a pixel may belong to several. {record.data}",
        "## What it sees",
        f"Bands {', '.join(manifest.bands)}{optional}, in {manifest.pixels};"
        f" {manifest.stamp_size} x {manifest.stamp_size} pixels, {width}",
        "## How it was trained",
        f"{record.figures['distinctStamps']:.0f} stamps, shown {record.presentations} times in all, in"
        f" {record.figures['steps']:.0f} steps and {record.figures['seconds'] / 60.0:.1f} minutes; seed"
        f" {record.seed}. Marks are beta-binomial, pixel by pixel. By",
        f"    {command}",
        "## How well it does",
        "On stamps that it has not seen. The overlap is the intersection over the union of the masks, pooled"
        " over all stamps, where half of the annotators mark a pixel. The ROC area is that of the presence"
        f" of a feature of at least {VISIBLE_ARCSEC2:g} arcsec2 against stamps without any mark.",
    ]
    for sample, entry in figures.items():
        parts += [f"### Sample: {sample}", mask_table(entry)]
    return "\n\n".join(parts) + "\n"


def mask_table(figures: MaskFigures) -> str:
    """Return the figures of each plane as a table in Markdown."""
    lines = ["| plane | overlap | ROC area |", "|---|---:|---:|"]
    for plane in dict.fromkeys((*figures.overlap, *figures.separation)):
        overlap, area = figures.overlap.get(plane), figures.separation.get(plane)
        lines.append(f"| {plane} | {_number(overlap)} | {_number(area)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + (" or " if len(names) > 1 else "") + names[-1]
