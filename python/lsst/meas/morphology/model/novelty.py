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

"""How a model tells what is unlike anything that it was trained on."""

from __future__ import annotations

__all__ = ("Novelty",)

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from .record import Name, Record, Text


class Novelty(Record):
    """The score of how far an object is from the training objects.

    What the encoder says, before the projection, is whitened, and the score
    is the distance to the nearest of some prototypes of the training
    objects, over the square root of the number of dimensions. Whitening and
    prototypes are among the weights (``novelty.*``), and the program gives
    the score.

    To what the encoder says a few statistics of the picture may be joined,
    and each set of missing bands may have a whitening and prototypes of its
    own; these are scaled so that the threshold is one. Of an encoder's long
    vector only the directions in which objects differ most are looked at.
    """

    kind: Literal["prototypes"] = "prototypes"

    prototypes: PositiveInt
    """Number of prototypes, for each set of missing bands."""

    picture: Literal[1] | None = None
    """Version of the statistics of the picture (`PictureStatistics`) that are
    joined to what the encoder says; `None` for none."""

    missing: Annotated[tuple[tuple[Name, ...], ...], Field(min_length=1)] | None = None
    """Sets of missing bands that each have prototypes of their own; `None` if
    all objects are compared with the same ones."""

    directions: PositiveInt | None = None
    """Number of directions that the distance is taken in, if not all."""

    threshold: PositiveFloat
    """Score above which an object counts as out of distribution."""

    share: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of objects like those of the training that score above it."""

    data: Text
    """The objects that it was fitted to."""
