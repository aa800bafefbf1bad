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

"""Stamps and what people said of them, as arrays."""

from __future__ import annotations

__all__ = ("Labelled", "LabelledStamps", "MarkedStamps", "StampArrays")

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

_FLUX_UNIT = 64.0
"""Flux (nJy) of a stored 1: half precision then spans 0.004 to 4e6 nJy."""


@dataclasses.dataclass(frozen=True)
class StampArrays:
    """Stamps; what else is known of them is in the fields of a subclass.

    The first axis of every field counts the stamps.
    """

    flux: npt.NDArray[np.float32]
    """Pixels in the model's unit, of shape ``[n, b, s, s]``."""

    valid: npt.NDArray[np.bool_]
    """Which pixels were measured, of the same shape."""

    @classmethod
    def of(cls, stamps: Any) -> Self:
        """Return the arrays of whatever has attributes of these names."""
        return cls(**{name: getattr(stamps, name) for name in cls._names()})

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the stamps of several parts, in order."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in cls._names()})

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, index: npt.NDArray[np.intp]) -> Self:
        """Return the stamps that an index array selects."""
        return type(self)(**{name: getattr(self, name)[index] for name in self._names()})

    def pack(self) -> dict[str, npt.NDArray[Any]]:
        """Return small arrays for a file: fluxes in half precision (relative
        error 5e-4, far below the noise), booleans as bits.
        """
        return {
            "flux": _to_half(self.flux),
            "valid": _to_bits(self.valid),
        }

    @classmethod
    def unpack(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the stamps that `pack` packed."""
        return cls(**cls._unpacked(arrays))

    @classmethod
    def _unpacked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        flux = arrays["flux"]
        return {
            "flux": _from_half(flux),
            "valid": _from_bits(arrays["valid"], flux.shape),
        }

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in dataclasses.fields(cls))


@dataclasses.dataclass(frozen=True)
class LabelledStamps(StampArrays):
    """Stamps and what volunteers said of them."""

    votes: npt.NDArray[np.int32]
    """Vote counts, of shape ``[n, a]``."""

    def pack(self) -> dict[str, npt.NDArray[Any]]:
        # Docstring inherited.
        return {**super().pack(), "votes": self.votes.astype(np.int16)}

    @classmethod
    def _unpacked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {**super()._unpacked(arrays), "votes": arrays["votes"].astype(np.int32)}


@dataclasses.dataclass(frozen=True)
class MarkedStamps(StampArrays):
    """Stamps and the pixels that annotators marked."""

    marks: npt.NDArray[np.uint8]
    """Number of annotators who marked a pixel, ``[n, plane, s, s]``."""

    annotators: npt.NDArray[np.uint8]
    """Number of annotators of each stamp, ``[n]``; may be 0."""

    scored: npt.NDArray[np.bool_]
    """Which marks and missing marks count, ``[n, plane, s, s]``."""

    presence: npt.NDArray[np.float32]
    """Whether a feature is there, or how probably, ``[n, feature]``."""

    presence_scored: npt.NDArray[np.bool_]
    """Where that is known, ``[n, feature]``."""

    light: npt.NDArray[np.float32]
    """All light without noise (nJy per arcsec2), ``[n, s, s]``; 0 where it
    is not known."""

    shares: npt.NDArray[np.uint8]
    """The part of it that is a feature's, where that can be seen, in 255ths,
    ``[n, feature, s, s]``."""

    def pack(self) -> dict[str, npt.NDArray[Any]]:
        # Docstring inherited.
        return {
            **super().pack(),
            "light": _to_half(self.light),
            "shares": self.shares,
            "marks": self.marks,
            "annotators": self.annotators,
            "scored": _to_bits(self.scored),
            "presence": self.presence,
            "presence_scored": self.presence_scored,
        }

    @classmethod
    def _unpacked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {
            **super()._unpacked(arrays),
            **{
                name: arrays[name]
                for name in ("marks", "annotators", "presence", "presence_scored", "shares")
            },
            "light": _from_half(arrays["light"]),
            "scored": _from_bits(arrays["scored"], arrays["marks"].shape),
        }


class Labelled(Protocol):
    """Whatever has the arrays of `LabelledStamps`."""

    @property
    def flux(self) -> npt.NDArray[np.float32]: ...

    @property
    def valid(self) -> npt.NDArray[np.bool_]: ...

    @property
    def votes(self) -> npt.NDArray[np.int32]: ...


def _to_half(flux: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    largest = float(np.finfo(np.float16).max)
    return np.asarray(np.clip(flux / _FLUX_UNIT, -largest, largest), np.float16)


def _from_half(stored: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    return stored.astype(np.float32) * np.float32(_FLUX_UNIT)


def _to_bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.packbits(flags.reshape(len(flags), -1), axis=1)


def _from_bits(bits: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    width = int(np.prod(shape[1:]))
    return np.unpackbits(bits, axis=1, count=width).astype(np.bool_).reshape(shape)
