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

"""What the shipped models are made of, before they are trained."""

from __future__ import annotations

__all__ = ("RECIPES", "recipe")

from ..errors import MorphologyError
from ..model.manifest import (
    Architecture,
    AsinhRendering,
    EmbeddingHead,
    FieldOfView,
    Manifest,
    ResNetArchitecture,
    SurfaceBrightnessRendering,
    TidesHead,
    TrainingRecord,
    UNetArchitecture,
    VotesHead,
)
from ..questions.tree import QuestionTree

RECIPES = ("rubin", "smoke", "tides", "tides_smoke")
"""Names of the recipes: the default models of votes and of tidal features,
each with a tiny one for tests."""

_BANDS = ("g", "r", "i")

_ENCODERS: dict[str, Architecture] = {
    "rubin": ResNetArchitecture(
        depths=(1, 2, 2, 2), widths=(24, 40, 80, 160), contrast=3, distance=True, pooling="zones"
    ),
    "smoke": ResNetArchitecture(depths=(1, 1), widths=(8, 16), contrast=3, distance=True),
}

_SEGMENTERS = {
    "tides": (UNetArchitecture(depths=(1, 1, 2, 2, 2), widths=(16, 32, 64, 96, 128)), 128, 4),
    "tides_smoke": (UNetArchitecture(depths=(1, 1, 1), widths=(4, 8, 16)), 32, 2),
}
"""Architecture, size of the stamps, and number of views."""

_RANKS = (1, 20, 40, 80, 160, 320, 640)
"""From one pixel to the 100 arcsec2 of a visible feature, which are 39 to 625
pixels."""

_PLANES = ("tail", "stream", "shell", "debris", "host")


def recipe(name: str, version: str, *, title: str, record: TrainingRecord) -> Manifest:
    """Return the manifest of a model that is to be trained.

    Parameters
    ----------
    name
        One of `RECIPES`; also the model's name.
    version
        Version of the model.
    title
        One line for people.
    record
        What is known of the training before it begins.

    Raises
    ------
    MorphologyError
        Raised if there is no such recipe.

    Notes
    -----
    For votes each band is shown with two softenings. With 50 nJy per pixel,
    about ten times the noise of the sky, disks and arms have most contrast;
    with 500 nJy bars and bulges do, where the first is nearly logarithmic.
    """
    if name in _SEGMENTERS:
        return _tides(name, version, title, record)
    if name not in _ENCODERS:
        raise MorphologyError(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return Manifest(
        name=name,
        version=version,
        title=title,
        licence="GPL-3.0-or-later",
        purpose="commissioning",
        bands=_BANDS,
        optional_bands=("g", "i"),
        pixels="nJy",
        stamp_size=64,
        field_of_view=FieldOfView(rule="radius", multiple=2.4, min_arcsec=9.6, max_arcsec=64.0),
        rendering=AsinhRendering(softening=(50.0,) * 3 + (500.0,) * 3, scale=(0.4,) * 3 + (0.6,) * 3),
        architecture=_ENCODERS[name],
        views=2,
        votes=VotesHead(
            tree=QuestionTree.load("rubin").to_dict(), samples=16, dropout=0.25, activation="exponential"
        ),
        embedding=EmbeddingHead(features=64),
        training=record,
    )


def _tides(name: str, version: str, title: str, record: TrainingRecord) -> Manifest:
    """Return the manifest of a model that marks tidal features.

    The mean of 4 by 4 pixels with a softening of 5 nJy per arcsec2, which is
    29.7 mag per arcsec2, shows features under the noise of a pixel; the next
    levels show the features' edges and the galaxies.
    """
    architecture, size, views = _SEGMENTERS[name]
    return Manifest(
        name=name,
        version=version,
        title=title,
        licence="GPL-3.0-or-later",
        purpose="commissioning",
        bands=_BANDS,
        optional_bands=("g", "i"),
        pixels="nJy/arcsec2",
        stamp_size=size,
        field_of_view=FieldOfView(rule="radius", multiple=4.5, min_arcsec=51.2, max_arcsec=204.8),
        rendering=SurfaceBrightnessRendering(
            softening=(5.0, 40.0, 1000.0), block=(4, 1, 2), scale=(0.3, 0.5, 0.6)
        ),
        architecture=architecture,
        views=views,
        tides=TidesHead(planes=_PLANES, shares=True, ranks=_RANKS),
        training=record,
    )
