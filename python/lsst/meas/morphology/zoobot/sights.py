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

"""The ways in which an imported model can be shown galaxies."""

from __future__ import annotations

__all__ = ("IMAGE_SIGHTS", "SIGHTS", "Sight", "make_sight")

import dataclasses
from collections.abc import Sequence

from ..errors import CheckpointError
from ..model.field_of_view import FieldOfView
from ..model.rendering_spec import (
    EuclidRendering,
    Greyscale,
    HscRendering,
    LegacySurveyRendering,
    Pixels,
    Rendering,
    Rgb8Rendering,
)

IMAGE_SIGHTS = ("images", "images-2.0")
"""Sights of image files, which show exactly what Zoobot shows."""

_COADD_SIGHTS: dict[
    str, tuple[type[LegacySurveyRendering | HscRendering | EuclidRendering], tuple[str, ...]]
] = {
    "legacy-survey": (LegacySurveyRendering, ("g", "r", "i")),
    "hsc": (HscRendering, ("g", "r", "i")),
    "euclid": (EuclidRendering, ("r", "i", "z")),
}
"""Sights of coadds, each with its rendering and its usual bands."""

SIGHTS = (*IMAGE_SIGHTS, *_COADD_SIGHTS)
"""Names that `make_sight` knows."""

FIELD_OF_VIEW = FieldOfView(rule="radius", multiple=4.7, min_arcsec=8.0, max_arcsec=240.0)
"""Galaxy Zoo's field of view.

Its 424 pixels have 0.04 half-light radii each, and of them Zoobot shows the
inner 1 / 1.2: 14.1 half-light radii. The radius of an object, which holds
nearly all of its light, is 3.0 half-light radii for an exponential disk.
"""


@dataclasses.dataclass(frozen=True)
class Sight:
    """What a model is shown."""

    pixels: Pixels
    """What the program's pixels are."""

    bands: tuple[str, ...]
    """Bands of the pixels."""

    rendering: Rendering
    """How they become the encoder's channels."""

    field_of_view: FieldOfView = FIELD_OF_VIEW
    """How much of the sky a stamp shows."""


def make_sight(name: str, *, channels: int, bands: Sequence[str] | None = None) -> Sight:
    """Return a way of showing galaxies to a model.

    Parameters
    ----------
    name
        One of `SIGHTS`: ``images`` or ``images-2.0`` for image files as
        Zoobot 2.9 or 2.0 shows them, or the rendering of coadds.
    channels
        What the model's encoder takes: 3, or 1 for grey images.
    bands
        Bands of the coadds; by default those that fit the rendering.

    Raises
    ------
    CheckpointError
        Raised if there is no such sight, or it can't show the bands, or the
        encoder takes neither 3 channels nor 1.
    """
    if name not in SIGHTS:
        raise CheckpointError(f"There is no sight {name!r}; there are {', '.join(SIGHTS)}.")
    if channels not in (1, 3):
        raise CheckpointError(f"The encoder takes {channels} channels; colour has 3 and grey has 1.")
    if name in IMAGE_SIGHTS:
        if bands is not None:
            raise CheckpointError(f"The sight {name!r} shows images: it takes no bands.")
        recent = name == "images"
        grey: Greyscale = "none" if channels == 3 else "itu" if recent else "mean"
        rendering = Rgb8Rendering(greyscale=grey, era="2.9" if recent else "2.0")
        return Sight("rgb8", ("red", "green", "blue"), rendering)
    kind, usual = _COADD_SIGHTS[name]
    bands = tuple(usual if bands is None else bands)
    try:
        shown = kind.for_bands(bands, greyscale="none" if channels == 3 else "itu")
    except ValueError as error:
        raise CheckpointError(
            f"The sight {name!r} can't show the bands {', '.join(bands)}: {error}"
        ) from error
    return Sight("nJy/arcsec2", bands, shown)
