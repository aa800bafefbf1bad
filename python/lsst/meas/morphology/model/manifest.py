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

"""What a model is: the typed, versioned manifest of a model package."""

from __future__ import annotations

__all__ = (
    "SCHEMA_VERSION",
    "Architecture",
    "AsinhRendering",
    "Calibration",
    "ConvNetArchitecture",
    "EmbeddingHead",
    "FieldOfView",
    "Manifest",
    "Member",
    "Rendering",
    "ResNetArchitecture",
    "TimmArchitecture",
    "TrainingRecord",
    "VotesHead",
)

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ..errors import ModelPackageError
from ..questions.tree import QuestionTree

SCHEMA_VERSION = 1
"""Version of the manifest that this code writes and the newest it reads."""

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""A longer manifest is refused unread."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Version = Annotated[
    str, StringConstraints(pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*)){1,2}(-[0-9A-Za-z.]+)?$", max_length=64)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Record(BaseModel):
    """Base of all parts: immutable, without unknown or infinite values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")


class FieldOfView(_Record):
    """How much of the sky a stamp shows.

    With the rule ``fixed`` every stamp has the same pixel scale. With the
    rule ``radius`` a stamp's side is a multiple of the object's radius,
    within bounds.
    """

    rule: Literal["fixed", "radius"]
    """Which of the two rules holds."""

    pixel_arcsec: PositiveFloat | None = None
    """Scale of a stamp's pixel under the rule ``fixed`` (arcsec)."""

    multiple: PositiveFloat | None = None
    """Side of the stamp over the object's radius (rule ``radius``)."""

    min_arcsec: PositiveFloat | None = None
    """Smallest side of a stamp (arcsec; rule ``radius``)."""

    max_arcsec: PositiveFloat | None = None
    """Largest side of a stamp (arcsec; rule ``radius``)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        bounds = (self.multiple, self.min_arcsec, self.max_arcsec)
        if self.rule == "fixed":
            if self.pixel_arcsec is None or any(value is not None for value in bounds):
                raise ValueError("the rule 'fixed' takes pixel_arcsec and nothing else")
        elif self.pixel_arcsec is not None or None in bounds:
            raise ValueError("the rule 'radius' takes multiple, min_arcsec and max_arcsec and nothing else")
        elif self.min_arcsec > self.max_arcsec:  # type: ignore[operator]
            raise ValueError(f"min_arcsec {self.min_arcsec} is above max_arcsec {self.max_arcsec}")
        return self

    def arcsec_per_px(
        self, radius: npt.NDArray[Any], stamp_size: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return the pixel scale of each object's stamp.

        Parameters
        ----------
        radius
            Radii of the objects (arcsec), of shape ``[n]``. One that is not
            finite counts as zero and gets the smallest field of view.
        stamp_size
            Side of the stamps in their own pixels.

        Returns
        -------
        scale
            Pixel scales (arcsec per stamp pixel), ``[n]``.
        limited
            Whether the largest field of view was too small for the object,
            ``[n]``.
        """
        radius = np.asarray(radius, dtype=np.float64)
        if self.rule == "fixed":
            assert self.pixel_arcsec is not None
            return np.full(radius.shape, self.pixel_arcsec, np.float32), np.zeros(radius.shape, np.bool_)
        assert self.multiple is not None
        assert self.max_arcsec is not None
        side = self.multiple * np.where(np.isfinite(radius), radius, 0.0)
        scale = np.clip(side, self.min_arcsec, self.max_arcsec) / stamp_size
        return scale.astype(np.float32), np.asarray(side > self.max_arcsec)


class AsinhRendering(_Record):
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


class ConvNetArchitecture(_Record):
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


class ResNetArchitecture(_Record):
    """A residual encoder of this package's own, in plain torch."""

    kind: Literal["resnet"] = "resnet"

    depths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Number of blocks in each stage."""

    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """Number of channels in each stage."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths for {len(self.widths)} widths")
        return self


class TimmArchitecture(_Record):
    """An encoder that the package timm builds by name, without weights."""

    kind: Literal["timm"] = "timm"

    name: Text
    """The name given to ``timm.create_model``."""


Rendering = AsinhRendering
"""Any rendering; a union discriminated by ``kind`` once there are more."""

Architecture = Annotated[
    ConvNetArchitecture | ResNetArchitecture | TimmArchitecture, Field(discriminator="kind")
]
"""Any encoder, discriminated by ``kind``."""


class VotesHead(_Record):
    """The head that answers a decision tree with Dirichlet posteriors."""

    kind: Literal["votes"] = "votes"

    tree: dict[str, JsonValue]
    """The question tree, as `QuestionTree.to_dict` writes it."""

    samples: PositiveInt
    """Number of dropout masks, and so of posterior samples."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Share of the features that a mask sets to zero."""

    activation: Literal["softplus", "sigmoid"] = "softplus"
    """Last function: ``0.1 + softplus(x)``, without an upper bound, or
    ``1 + 100 sigmoid(x)``, as Zoobot's heads have it."""


class EmbeddingHead(_Record):
    """The head that returns the encoder's features."""

    kind: Literal["embedding"] = "embedding"

    features: PositiveInt
    """Length of the vector."""

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


class Calibration(_Record):
    """How the posteriors were calibrated; already part of the program."""

    method: Text
    """What was done, in words."""

    data: Text
    """The galaxies that it was done with."""

    coverage: dict[str, float] = {}
    """Measured coverage of the 90 % intervals of votes, by question."""


class TrainingRecord(_Record):
    """Where a model comes from and how well it did."""

    data: Text
    """Description of the training data."""

    seed: int
    """Seed of the whole training."""

    presentations: NonNegativeInt = 0
    """Number of stamps shown to the network, repetitions counted."""

    untaught: tuple[str, ...] = ()
    """Questions that the training data could not teach."""

    figures: dict[str, float] = {}
    """Measures on galaxies that were held back, by name."""


class Member(_Record):
    """Size and checksum of one member of a model package."""

    size: NonNegativeInt
    sha256: Sha256


class Manifest(_Record):
    """Everything that has to be known about a model to use it.

    Notes
    -----
    A later version may add fields only as optional ones that default to
    `None`, which is not written: neither old files nor their `model_id`
    change when the schema grows.
    """

    schema_version: PositiveInt = SCHEMA_VERSION
    """Version of the schema that the manifest was written with."""

    min_read_version: PositiveInt = 1
    """Oldest version of the schema whose readers understand it."""

    name: Name
    """Name of the model, part of its dataset type's name."""

    version: Version
    """Version of the model, such as ``1.0.0``."""

    title: Text
    """One line for people."""

    licence: Text
    """SPDX identifier of the licence of the weights."""

    purpose: Literal["commissioning", "science"]
    """What the model's authors hold it fit for."""

    bands: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Bands of the pixels, in the order of the program's input."""

    optional_bands: tuple[Name, ...] = ()
    """Bands that may be missing: zeros, all invalid."""

    pixels: Literal["nJy", "rgb8"] = "nJy"
    """Unit of the program's pixels, per stamp pixel."""

    stamp_size: Annotated[int, Field(ge=8, le=1024)]
    """Side of the stamps in their own pixels."""

    field_of_view: FieldOfView
    rendering: Rendering
    architecture: Architecture
    votes: VotesHead | None = None
    embedding: EmbeddingHead | None = None
    calibration: Calibration | None = None
    training: TrainingRecord

    members: dict[str, Member] = {}
    """Size and checksum of the package's other members, by name."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.bands)) != len(self.bands):
            raise ValueError(f"a band is named twice in {self.bands}")
        if not set(self.optional_bands) < set(self.bands):
            raise ValueError(
                f"optional_bands {self.optional_bands} must be some, and not all, of bands {self.bands}"
            )
        for name in ("softening", "scale"):
            values: Sequence[float] = getattr(self.rendering, name)
            if len(values) == 0 or len(values) % len(self.bands):
                raise ValueError(f"{len(values)} values of rendering.{name} for {len(self.bands)} bands")
        if len(self.rendering.softening) != len(self.rendering.scale):
            raise ValueError("rendering.softening and rendering.scale have different lengths")
        if self.votes is None and self.embedding is None:
            raise ValueError("the model has no head")
        if self.votes is not None:
            names = {question.name for question in self.tree.questions}
            if unknown := set(self.training.untaught) - names:
                raise ValueError(f"training.untaught names questions that the tree lacks: {sorted(unknown)}")
        return self

    @property
    def tree(self) -> QuestionTree:
        """The question tree of the votes.

        Raises
        ------
        ModelPackageError
            Raised if the model does not answer questions.
        """
        if self.votes is None:
            raise ModelPackageError(
                f"Model {self.name} {self.version} answers no questions: it has no votes."
            )
        return QuestionTree.from_dict(self.votes.tree, source=f"manifest of {self.name} {self.version}")

    @property
    def model_id(self) -> str:
        """Hexadecimal SHA-256 of the canonical manifest: the identity of
        the model, weights and program included.
        """
        canonical = json.dumps(self._to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def with_members(self, members: Mapping[str, Member]) -> Manifest:
        """Return the same manifest with other members."""
        return Manifest.model_validate({**self.model_dump(), "members": dict(members)})

    def to_json(self) -> bytes:
        """Return the manifest as it is stored in a package."""
        return json.dumps(self._to_dict(), sort_keys=True, indent=1, ensure_ascii=True).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes, *, source: str = "manifest") -> Manifest:
        """Read a manifest.

        Parameters
        ----------
        data
            The bytes that `to_json` wrote.
        source
            Name of the file, for error messages.

        Raises
        ------
        ModelPackageError
            Raised if the bytes are no manifest, or one of a version that
            this code can't read.
        """
        document = _parse(data, source)
        _check_version(document, source)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'manifest'}: {problem['msg']}"
                for problem in error.errors(include_url=False)[:5]
            )
            raise ModelPackageError(f"{source} is not a valid model manifest: {problems}.") from error

    def _to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


def _parse(data: bytes, source: str) -> dict[str, Any]:
    """Parse JSON, refusing what is too long, too deep, or ambiguous."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ModelPackageError(f"{source} has {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are read.")
    try:
        document = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ModelPackageError(f"{source} is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise ModelPackageError(f"{source} holds a JSON {type(document).__name__}, not an object.")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _check_version(document: dict[str, Any], source: str) -> None:
    """Refuse a manifest that needs a newer reader."""
    needed = document.get("min_read_version")
    if type(needed) is not int:
        raise ModelPackageError(f"{source} does not state an integer min_read_version.")
    if needed > SCHEMA_VERSION:
        raise ModelPackageError(
            f"{source} needs a reader of manifest version {needed} or newer; this is version"
            f" {SCHEMA_VERSION}. Upgrade lsst-meas-morphology."
        )
