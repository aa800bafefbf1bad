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

"""The rendering of faint light, as a manifest describes it."""

from __future__ import annotations

__all__ = ("SurfaceBrightnessRendering",)

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from .record import Pixels, Record


class SurfaceBrightnessRendering(Record):
    """Stretch of faint light, which is far below the noise of a pixel.

    Level ``l`` shows each band as ``scale[l] * asinh(mean / softening[l])``,
    where the mean goes over the measured pixels of a block that is
    ``block[l]`` pixels wide; all of a block's pixels are shown alike. Wide
    blocks with a small softening show what lies under the noise, and single
    pixels with large ones what outshines it.
    """

    kind: Literal["surface_brightness"] = "surface_brightness"

    softening: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Surface brightness at which the stretch turns from linear to
    logarithmic, for each level (nJy per arcsec2)."""

    block: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Side of the blocks, for each level (stamp pixels)."""

    scale: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Factor after the stretch, for each level."""

    def check(self, bands: Sequence[str], pixels: Pixels) -> None:
        """Refuse bands and pixels that this can't render.

        Parameters
        ----------
        bands
            The model's bands.
        pixels
            What its pixels are.

        Raises
        ------
        ValueError
            Raised if they don't fit.
        """
        if not len(self.softening) == len(self.block) == len(self.scale):
            raise ValueError("rendering.softening, block and scale have different lengths")
        if pixels != "nJy/arcsec2":
            raise ValueError(f"this rendering takes pixels 'nJy/arcsec2', not {pixels!r}")

    def check_size(self, stamp_size: int) -> None:
        """Refuse stamps that the blocks do not fill.

        Parameters
        ----------
        stamp_size
            Side of the stamps in their own pixels.

        Raises
        ------
        ValueError
            Raised if they don't.
        """
        if uneven := [block for block in self.block if stamp_size % block]:
            raise ValueError(f"stamp_size {stamp_size} is no multiple of the block {uneven[0]}")
