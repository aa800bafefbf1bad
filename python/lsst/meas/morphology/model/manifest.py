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
    "BandCalibration",
    "Calibration",
    "ClassesHead",
    "ConvNetArchitecture",
    "EmbeddingHead",
    "FieldOfView",
    "Manifest",
    "Member",
    "Novelty",
    "Origin",
    "Rendering",
    "ResNetArchitecture",
    "ScalarHead",
    "SurfaceBrightnessRendering",
    "TidesHead",
    "TimmArchitecture",
    "TrainingRecord",
    "UNetArchitecture",
    "VotesHead",
)

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, model_validator

from ..errors import ModelPackageError
from ..questions.tree import QuestionTree
from .architecture_spec import (
    Architecture,
    ConvNetArchitecture,
    ResNetArchitecture,
    TimmArchitecture,
    UNetArchitecture,
)
from .field_of_view import FieldOfView
from .heads import ClassesHead, EmbeddingHead, ScalarHead, TidesHead, VotesHead
from .novelty import Novelty
from .record import Name, Record, Sha256, Text, Version
from .rendering_spec import AsinhRendering, Pixels, Rendering, SurfaceBrightnessRendering

SCHEMA_VERSION = 1
"""Version of the manifest that this code writes and the newest it reads."""

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""A longer manifest is refused unread."""


class BandCalibration(Record):
    """Calibration of objects that some bands are missing of."""

    missing: Annotated[tuple[Name, ...], Field(min_length=1)]
    """The bands."""

    concentration: dict[str, PositiveFloat]
    """Factors of the concentrations, by question, in place of those for
    objects with all bands."""


class Calibration(Record):
    """How the posteriors were calibrated; already part of the program."""

    method: Text
    """What was done, in words."""

    data: Text
    """The galaxies that it was done with."""

    coverage: dict[str, float] = {}
    """Measured coverage of the 90 % intervals of votes, by question."""

    concentration: dict[str, PositiveFloat] | None = None
    """Factors of the concentrations, by question; the program applies them.
    Expected fractions do not change, the width of the posteriors does."""

    without: tuple[BandCalibration, ...] | None = None
    """The same where bands are missing, which makes posteriors wider, but
    not by themselves as much as they should be; `None` if it is left out of
    account. An object has the factors of the set of bands that comes nearest
    to what it lacks."""

    @property
    def questions(self) -> set[str]:
        """The questions that it has factors for."""
        factors = [self.concentration or {}, *(entry.concentration for entry in self.without or ())]
        return {question for entry in factors for question in entry}


class TrainingRecord(Record):
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


class Origin(Record):
    """The file that a model was converted from."""

    software: Text
    """What made it, with its version where the file tells."""

    kind: Text
    """Name of its class, in that software."""

    file: Text
    """Name of the file."""

    sha256: Sha256 | None = None
    """Checksum of the file, where it is a single one."""


class Member(Record):
    """Size and checksum of one member of a model package."""

    size: NonNegativeInt
    sha256: Sha256


class Manifest(Record):
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

    pixels: Pixels = "nJy"
    """What the program's pixels are: flux (nJy per stamp pixel), surface
    brightness (nJy per arcsec2), or 8-bit images (0 to 255)."""

    stamp_size: Annotated[int, Field(ge=8, le=1024)]
    """Side of the stamps in their own pixels."""

    field_of_view: FieldOfView
    rendering: Rendering
    architecture: Architecture

    views: Literal[2, 4, 8] | None = None
    """Number of turned and mirrored views of a stamp that the network looks
    at; their encodings, and masks, are averaged. One, if not given."""

    votes: VotesHead | None = None
    embedding: EmbeddingHead | None = None
    classes: ClassesHead | None = None
    scalar: ScalarHead | None = None
    tides: TidesHead | None = None
    calibration: Calibration | None = None
    novelty: Novelty | None = None
    training: TrainingRecord
    origin: Origin | None = None

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
        self.rendering.check(self.bands, self.pixels)
        if not (self.votes or self.embedding or self.classes or self.scalar or self.tides):
            raise ValueError("the model has no head")
        if isinstance(self.rendering, SurfaceBrightnessRendering):
            self.rendering.check_size(self.stamp_size)
        if self.tides is not None and self.architecture.kind != "unet":
            raise ValueError(f"tides need the architecture 'unet', not {self.architecture.kind!r}")
        if self.tides is not None and (self.tides.ranks or (0,))[-1] > self.stamp_size**2:
            raise ValueError(f"a stamp of {self.stamp_size} pixels has no rank {self.tides.ranks}")
        if isinstance(self.architecture, UNetArchitecture) and self.stamp_size % self.architecture.shrinkage:
            raise ValueError(f"stamp_size {self.stamp_size} is no multiple of {self.architecture.shrinkage}")
        if self.votes is not None:
            names = {question.name for question in self.tree.questions}
            if unknown := set(self.training.untaught) - names:
                raise ValueError(f"training.untaught names questions that the tree lacks: {sorted(unknown)}")
            if self.calibration is not None and (unknown := self.calibration.questions - names):
                raise ValueError(f"calibration names questions that the tree lacks: {sorted(unknown)}")
        sets = [set(entry.missing) for entry in (self.calibration and self.calibration.without) or ()]
        if any(not gone <= set(self.optional_bands) or sets.count(gone) > 1 for gone in sets):
            raise ValueError(f"calibration.without must name different sets of {self.optional_bands}: {sets}")
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
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Names of the program's outputs, in their order, each with its
        shape for one stamp.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        if self.votes is not None:
            shapes["alpha"] = (self.votes.samples, self.tree.n_answers)
        if self.embedding is not None:
            shapes["embedding"] = (self.embedding.features,)
        if self.classes is not None:
            shapes["classes"] = (len(self.classes.names),)
        if self.scalar is not None:
            shapes["scalar"] = (1,)
        if self.tides is not None:
            shapes["mask"] = (len(self.tides.planes), self.stamp_size, self.stamp_size)
            shapes["presence"] = (len(self.tides.features),)
            if self.tides.shares:
                shapes["share"] = (len(self.tides.features), self.stamp_size, self.stamp_size)
        if self.novelty is not None:
            shapes["novelty"] = (1,)
        return shapes

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
