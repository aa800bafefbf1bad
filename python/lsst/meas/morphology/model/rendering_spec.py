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

"""Renderings of pixels, as a manifest describes them."""

from __future__ import annotations

__all__ = ("AsinhRendering", "Rendering")

from typing import Literal

from pydantic import PositiveFloat

from .record import Record


class AsinhRendering(Record):
    """Stretch of the pixels before the encoder.

    Channel ``c`` shows band ``c % n_bands`` as
    ``scale[c] * asinh(flux / softening[c])``, the stretch of Lupton et al.
    (2004, PASP 116, 133) band by band. Twice as many channels as bands show
    each band with two softenings, and so on.
    """

    kind: Literal["asinh"] = "asinh"

    softening: tuple[PositiveFloat, ...]
    """Flux at which the stretch turns from linear to logarithmic, for each
    channel (nJy per stamp pixel)."""

    scale: tuple[PositiveFloat, ...]
    """Factor after the stretch, for each channel."""

    validity_channel: bool = True
    """Whether the pixels' validity is given to the encoder as well."""


Rendering = AsinhRendering
"""Any rendering; a union discriminated by ``kind`` once there are more."""
