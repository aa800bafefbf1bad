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

"""What a network answers, as a manifest describes it."""

from __future__ import annotations

__all__ = ("HOST_PLANE", "ClassesHead", "EmbeddingHead", "ScalarHead", "TidesHead", "VotesHead")

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from .record import Name, Record, Text

HOST_PLANE = "host"
"""Plane of the target itself, which is no feature and always there."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]

NonNegative = Annotated[float, Field(ge=0.0)]


class VotesHead(Record):
    """The head that answers a decision tree with Dirichlet posteriors."""

    kind: Literal["votes"] = "votes"

    tree: dict[str, JsonValue]
    """The question tree, as `QuestionTree.to_dict` writes it."""

    samples: PositiveInt
    """Number of dropout masks, and so of posterior samples."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Share of the features that a mask sets to zero."""

    activation: Literal["exponential", "softplus", "sigmoid"] = "softplus"
    """Last function: ``0.1 + exp(min(x, 7))``, which learns large
    concentrations soonest; ``0.1 + softplus(x)``, without an upper bound;
    or ``1 + 100 sigmoid(x)``, as Zoobot's heads have it."""

    hidden: Literal["gelu", "identity"] | None = None
    """Function of the features before the masks: GELU, also if not given,
    or none, as in Zoobot's heads."""


class EmbeddingHead(Record):
    """The head that returns the encoder's features."""

    kind: Literal["embedding"] = "embedding"

    features: PositiveInt
    """Length of the vector."""

    projection: Literal["linear", "identity"] | None = None
    """How the encoder's vector becomes this one: by a linear layer, also if
    not given, or not at all, which needs equal lengths. The other heads
    work from the same vector."""

    centre: tuple[float, ...] | None = None
    """What is subtracted from each feature."""

    scale: tuple[PositiveFloat, ...] | None = None
    """What each centred feature is divided by."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, values in (("centre", self.centre), ("scale", self.scale)):
            if values is not None and len(values) != self.features:
                raise ValueError(f"{len(values)} values of {name} for {self.features} features")
        return self


class ClassesHead(Record):
    """The head that gives the probabilities of classes that exclude each
    other.
    """

    kind: Literal["classes"] = "classes"

    names: Annotated[tuple[Text, ...], Field(min_length=2)]
    """Names of the classes, in the order of the output."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"a class is named twice in {self.names}")
        return self


class ScalarHead(Record):
    """The head that estimates a quantity."""

    kind: Literal["scalar"] = "scalar"

    name: Text
    """Name of the quantity."""

    unit: str = ""
    """Its unit, as astropy writes it; empty if it has none."""

    activation: Literal["identity", "sigmoid"] = "identity"
    """Last function: none, or a sigmoid for quantities in 0 to 1."""


_BY_PLANE = (
    "threshold",
    "mask_threshold",
    "flux_scale",
    "flux_error",
    "flux_power",
    "error_power",
    "half_found",
)
"""What a head with tides may say of each plane."""


class TidesHead(Record):
    """The head that marks the pixels of tidal features.

    It gives for each plane and pixel the logit of the share of annotators
    who would mark it, and for each plane but the host's the logit that a
    visible feature is in the stamp.
    """

    kind: Literal["tides"] = "tides"

    planes: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of the planes, in the order of the output. They are independent:
    a pixel may belong to several."""

    shares: bool | None = None
    """Whether it gives as well, for each plane but the host's and each
    pixel, which part of the pixel's light is the feature's."""

    ranks: tuple[PositiveInt, ...] | None = None
    """Ranks, from the largest, of each mask's logits that presence is told
    from as well: how sure the mask is of areas of several sizes. That part
    is fitted when the rest is trained."""

    threshold: dict[Name, Probability] | None = None
    """Probability of presence from which a feature is held to be there, by
    plane."""

    mask_threshold: dict[Name, Probability] | None = None
    """Share of annotators from which a pixel belongs to a plane's mask."""

    flux_scale: dict[Name, PositiveFloat] | None = None
    """Factor of the flux under a plane's mask that makes up for the light
    beyond its edge, and for light of others inside."""

    flux_error: dict[Name, NonNegative] | None = None
    """Error of a plane's flux over the flux, from where the mask's edge
    lies; to be added in quadrature to those of noise and sky."""

    flux_power: dict[Name, float] | None = None
    """Power of a mask's confidence, the mean of the expected share of
    annotators over the feature's light, that a plane's flux is multiplied
    with as well: of masks that are in doubt another part of the feature is
    missing, or of others in them, than of sure ones."""

    error_power: dict[Name, NonNegative] | None = None
    """Power of its doubt, one less that confidence, that ``flux_error`` is
    multiplied with."""

    half_found: dict[Name, tuple[float, float]] | None = None
    """By plane, how much fainter (mag) features are than a limit of 30
    mag/arcsec2 if half of them are found at the threshold, and how that
    changes with the limit. Features are as faint as the surface brightness
    that 100 arcsec2 of them exceed; limits are three sigma on 10 x 10
    arcsec."""

    @property
    def features(self) -> tuple[str, ...]:
        """The planes whose presence is estimated: all but the host's."""
        return tuple(plane for plane in self.planes if plane != HOST_PLANE)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.planes)) != len(self.planes):
            raise ValueError(f"a plane is named twice in {self.planes}")
        if not self.features:
            raise ValueError(f"{self.planes} has no plane but the host's")
        if self.ranks is not None and list(self.ranks) != sorted(set(self.ranks)):
            raise ValueError(f"the ranks {self.ranks} do not rise")
        for name in _BY_PLANE:
            if unknown := set(getattr(self, name) or ()) - set(self.planes):
                raise ValueError(
                    f"{name} names the planes {sorted(unknown)}, which are none of {self.planes}"
                )
        return self
