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

"""From annotators' marks on measured pixels to what a model trains on."""

from __future__ import annotations

__all__ = ("VISIBLE_ARCSEC2", "Marked", "MarkedSource")

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..model.manifest import Manifest
from ..model.pixel_units import in_model_unit
from .labelled import MarkedStamps

VISIBLE_ARCSEC2 = 100.0
"""Area (arcsec2) that half of the annotators must have marked for a feature
to be held to be there. A smaller one is neither there nor not there."""


class Marked(Protocol):
    """Stamps as measured, with marks; see `MarkedStamps`."""

    @property
    def flux(self) -> npt.NDArray[np.float32]:
        """Pixels (nJy per stamp pixel)."""

    @property
    def valid(self) -> npt.NDArray[np.bool_]: ...

    @property
    def arcsec_per_px(self) -> npt.NDArray[np.float32]:
        """Pixel scale of each stamp (arcsec)."""

    @property
    def marks(self) -> npt.NDArray[np.uint8]: ...

    @property
    def annotators(self) -> npt.NDArray[np.uint8]: ...

    @property
    def scored(self) -> npt.NDArray[np.bool_]: ...

    @property
    def light(self) -> npt.NDArray[np.float32]: ...

    @property
    def shares(self) -> npt.NDArray[np.uint8]: ...


class _Marker(Protocol):
    def __call__(self, seed: int, n: int) -> Marked: ...

    def describe(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class MarkedSource:
    """Marked stamps in a model's unit, with the presence of features."""

    manifest: Manifest
    """The model: pixels and planes."""

    source: _Marker
    """Makes marked stamps in nJy per stamp pixel."""

    def __call__(self, seed: int, n: int) -> MarkedStamps:
        """Return ``n`` stamps that depend on ``seed`` alone."""
        made = self.source(seed, n)
        assert self.manifest.tides is not None
        planes = [self.manifest.tides.planes.index(name) for name in self.manifest.tides.features]
        area = _marked_area(made, planes)
        seen = made.scored[:, planes].any(axis=(2, 3)) & (made.annotators[:, None] > 0)
        return MarkedStamps(
            flux=in_model_unit(made.flux, made.arcsec_per_px, self.manifest.pixels),
            valid=made.valid,
            marks=made.marks,
            annotators=made.annotators,
            scored=made.scored,
            presence=(area >= VISIBLE_ARCSEC2).astype(np.float32),
            presence_scored=seen & ((area >= VISIBLE_ARCSEC2) | (area == 0.0)),
            light=made.light,
            shares=made.shares,
        )

    def describe(self) -> str:
        """Return a text that is the same for sources of the same stamps."""
        return f"{self.source.describe()}, pixels {self.manifest.pixels}"


def _marked_area(made: Marked, planes: list[int]) -> npt.NDArray[np.float64]:
    """Return the area (arcsec2) that half of the annotators marked."""
    majority = (
        2 * made.marks[:, planes].astype(np.int16) >= np.maximum(made.annotators, 1)[:, None, None, None]
    )
    pixels = (majority & made.scored[:, planes]).sum(axis=(2, 3))
    return np.asarray(pixels * np.square(made.arcsec_per_px, dtype=np.float64)[:, None])
