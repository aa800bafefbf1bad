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

"""Encoders, as a manifest describes them."""

from __future__ import annotations

__all__ = (
    "Architecture",
    "ConvNetArchitecture",
    "ResNetArchitecture",
    "TimmArchitecture",
    "UNetArchitecture",
)

import re
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from .record import Name, Record

_LOADERS = re.compile("pretrained|checkpoint|cache|path|dir|num_classes|in_chans|script|export|features_only")
"""What timm's arguments are called that read files, or that are ours."""


class ConvNetArchitecture(Record):
    """An encoder of this package's own, in plain torch."""

    kind: Literal["convnext"] = "convnext"

    depths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Number of blocks in each stage."""

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Number of channels in each stage."""

    patch: PositiveInt = 4
    """Side and stride of the first convolution (stamp pixels)."""

    kernel: PositiveInt = 7
    """Side of the depthwise convolutions; odd."""

    expansion: PositiveInt = 4
    """Channels inside a block over those between blocks."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths for {len(self.widths)} widths")
        if self.kernel % 2 == 0:
            raise ValueError(f"the kernel's side {self.kernel} is even")
        return self


class ResNetArchitecture(Record):
    """A residual encoder of this package's own, in plain torch."""

    kind: Literal["resnet"] = "resnet"

    depths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Number of blocks in each stage."""

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Number of channels in each stage."""

    contrast: PositiveInt | None = None
    """Number of rendered channels, the first ones, that are also shown less
    their surroundings; `None` for none."""

    distance: bool | None = None
    """Whether each pixel's distance from the object is shown as well."""

    pooling: Literal["mean", "zones"] | None = None
    """How the last maps become a vector: by their mean, also if not given,
    or by their means inside and outside the central half of the stamp and
    their largest value, three times as many features."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths for {len(self.widths)} widths")
        return self


class TimmArchitecture(Record):
    """An encoder that the package timm builds by name, without weights."""

    kind: Literal["timm"] = "timm"

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$", max_length=128)]
    """The name given to ``timm.create_model``; never one of a file or of a
    repository, which would be read."""

    options: dict[Name, bool | int | float | str] | None = None
    """Further arguments, such as ``img_size``."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if refused := [name for name in self.options or () if _LOADERS.search(name)]:
            raise ValueError(f"the option {refused[0]!r} is not allowed")
        return self


class UNetArchitecture(Record):
    """An encoder whose maps a decoder leads back to the stamp's pixels.

    The finest maps have half of the stamp's resolution; each of their pixels
    tells of the stamp's two by two pixels.
    """

    kind: Literal["unet"] = "unet"

    depths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    """Number of blocks of the encoder at each resolution; each halves the
    one before, and the first halves the stamp's."""

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    """Number of channels at each resolution."""

    @property
    def shrinkage(self) -> int:
        """Side of a stamp over that of the coarsest map."""
        return int(2 ** len(self.widths))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths for {len(self.widths)} widths")
        return self


Architecture = Annotated[
    ConvNetArchitecture | ResNetArchitecture | TimmArchitecture | UNetArchitecture,
    Field(discriminator="kind"),
]
"""Any encoder, discriminated by ``kind``."""
