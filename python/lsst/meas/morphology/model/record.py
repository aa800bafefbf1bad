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

"""What the parts of a manifest have in common."""

from __future__ import annotations

__all__ = ("Name", "Pixels", "Record", "Sha256", "Text", "Version")

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""A name that may be part of a dataset type's."""

Version = Annotated[
    str, StringConstraints(pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*)){1,2}(-[0-9A-Za-z.]+)?$", max_length=64)
]
"""A version of two or three numbers, such as ``1.0.0``."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A checksum in hexadecimal digits."""

Text = Annotated[str, StringConstraints(min_length=1)]
"""Text that is not empty."""


Pixels = Literal["nJy", "nJy/arcsec2", "rgb8"]
"""What a program's pixels are: flux in a stamp pixel, surface brightness,
or 8-bit red, green and blue."""


class Record(BaseModel):
    """Base of a manifest's parts: immutable, without unknown or infinite
    values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")
