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

"""The one registry of per-object flags."""

from __future__ import annotations

__all__ = ("FLAGS", "TIDAL_FLAGS", "Flag", "FlagDefinition", "flag_columns")

import dataclasses
import enum

import numpy as np
import numpy.typing as npt


class Flag(enum.IntFlag):
    """Bits that say what is special about an object's measurement."""

    GENERAL = 1 << 0
    POSITION = 1 << 1
    OFF_IMAGE = 1 << 2
    EDGE = 1 << 3
    NO_DATA = 1 << 4
    SATURATED = 1 << 5
    NONFINITE = 1 << 6
    MISSING_BAND = 1 << 7
    SHAPE = 1 << 8
    SELECTION = 1 << 9
    FIELD_LIMIT = 1 << 10
    OUT_OF_DISTRIBUTION = 1 << 11
    MASKED = 1 << 12
    BLENDED = 1 << 13
    TRUNCATED = 1 << 14


@dataclasses.dataclass(frozen=True)
class FlagDefinition:
    """A flag's bit, its column's name, and what it means."""

    flag: Flag
    column: str
    description: str


FLAGS: tuple[FlagDefinition, ...] = (
    FlagDefinition(
        Flag.GENERAL,
        "morphology_flag",
        "General failure flag: nothing could be measured and every measured column is null.",
    ),
    FlagDefinition(
        Flag.POSITION,
        "morphology_flag_position",
        "The object has no finite sky position.",
    ),
    FlagDefinition(
        Flag.OFF_IMAGE,
        "morphology_flag_offImage",
        "The object's centroid lies outside its patch's coadd.",
    ),
    FlagDefinition(
        Flag.EDGE,
        "morphology_flag_edge",
        "The stamp reaches beyond the edge of the patch's coadd.",
    ),
    FlagDefinition(
        Flag.NO_DATA,
        "morphology_flag_noData",
        "The stamp contains pixels without data in some band.",
    ),
    FlagDefinition(
        Flag.SATURATED,
        "morphology_flag_saturated",
        "The central part of the stamp contains saturated pixels in some band.",
    ),
    FlagDefinition(
        Flag.NONFINITE,
        "morphology_flag_nonFinite",
        "The stamp contains pixels whose value or variance is not finite in some band.",
    ),
    FlagDefinition(
        Flag.MISSING_BAND,
        "morphology_flag_missingBand",
        "A band that the model uses has no coadd here.",
    ),
    FlagDefinition(
        Flag.SHAPE,
        "morphology_flag_shape",
        "No finite size was measured; the stamp has the smallest field of view.",
    ),
    FlagDefinition(
        Flag.SELECTION,
        "morphology_flag_selection",
        "A quantity used for selection was not finite; the object passed the other cuts.",
    ),
    FlagDefinition(
        Flag.FIELD_LIMIT,
        "morphology_flag_fieldLimit",
        "The field of view was limited by the model's largest value.",
    ),
    FlagDefinition(
        Flag.OUT_OF_DISTRIBUTION,
        "morphology_flag_outOfDistribution",
        "The object is unlike those that the model was trained on.",
    ),
)
"""Every flag of what galaxies look like, in the order of the tables'
columns.
"""

_NOT_TIDAL = Flag.OUT_OF_DISTRIBUTION

TIDAL_FLAGS: tuple[FlagDefinition, ...] = (
    *(
        FlagDefinition(d.flag, d.column.replace("morphology_", "tidal_"), d.description)
        for d in FLAGS
        if d.flag not in _NOT_TIDAL
    ),
    FlagDefinition(
        Flag.MASKED,
        "tidal_flag_masked",
        "More than a tenth of the stamp has no data in the reference band.",
    ),
    FlagDefinition(
        Flag.BLENDED,
        "tidal_flag_blended",
        "Neighbours cover more than a fifth of the debris, or another object shares its light.",
    ),
    FlagDefinition(
        Flag.TRUNCATED,
        "tidal_flag_truncated",
        "The debris reaches the edge of the stamp or of the coadd: extent, area and flux are lower limits.",
    ),
)
"""Every flag of tidal features, in the order of the tables' columns."""


def flag_columns(
    flags: npt.NDArray[np.uint32], definitions: tuple[FlagDefinition, ...] = FLAGS
) -> dict[str, npt.NDArray[np.bool_]]:
    """Unpack flag bits into one boolean array per column.

    Parameters
    ----------
    flags
        Bits of `Flag`, of any shape.
    definitions
        The flags that the table has.

    Returns
    -------
    columns
        For each flag's column name, in the order of the definitions,
        whether the bit is set.
    """
    return {definition.column: (flags & np.uint32(definition.flag)) != 0 for definition in definitions}
