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

"""What came of a tidal exam, host by host, and how deep its features go."""

from __future__ import annotations

__all__ = ("CLASSES", "WEIGHED", "TidalOutcomes", "TidalThresholds")

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..model.heads import TidesHead
from .tidal_pixels import LEVELS, PixelCounts

type Floats = npt.NDArray[np.floating]
type Bools = npt.NDArray[np.bool_]

CLASSES = ("tail", "stream", "shell")
"""Classes of debris."""

WEIGHED = (*CLASSES, "debris")
"""What has a flux."""


@dataclasses.dataclass(frozen=True)
class TidalThresholds:
    """Where a model's answers become yes or no."""

    presence: Mapping[str, float]
    """Least probability that a feature is there, by class and ``debris``."""

    mask: Mapping[str, float]
    """Least expected share of annotators that mark a pixel, likewise."""

    chosen: bool
    """Whether the model's makers chose them; else all are one half."""

    @classmethod
    def of(cls, head: TidesHead) -> Self:
        """Return those of a model."""
        half = dict.fromkeys((*CLASSES, "debris"), 0.5)
        return cls(
            presence={**half, **(head.threshold or {})},
            mask={**half, **(head.mask_threshold or {})},
            chosen=bool(head.threshold and head.mask_threshold),
        )

    def levels(self, regions: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Return the levels of `PixelCounts` nearest to the masks'."""
        nearest = [0.5 if region == "linear" else self.mask[region] for region in regions]
        return np.clip(np.rint(np.asarray(nearest) * LEVELS), 0, LEVELS - 1).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class TidalOutcomes:
    """Truth and answers for ``n`` hosts; none stands for their pixels."""

    groups: tuple[str, ...]
    """Names of the groups by depth."""

    group: npt.NDArray[np.int64]
    """Group of each host, ``[n]``."""

    kind: npt.NDArray[np.int64]
    """0 for undisturbed, 1 tail, 2 stream, 3 shell, ``[n]``."""

    visible: Bools
    """Whether a tail, stream, shell can be seen, ``[n, 3]``."""

    presence: Floats
    """Probabilities of tail, stream, shell and debris, ``[n, 4]``."""

    counts: PixelCounts
    """Pixels marked and true."""

    surface_brightness: Floats
    """What the debris reaches over 100 arcsec2, r (mag/arcsec2), NaN
    without so much, ``[n]``."""

    contrast: Floats
    """Its light there over that of host and neighbours, ``[n]``."""

    limit: Floats
    """Three-sigma limit on 10 x 10 arcsec, r (mag/arcsec2), ``[n]``."""

    true_flux: Floats
    """Light of each of `WEIGHED` in its true mask, r (nJy), ``[n, 4]``."""

    total_flux: Floats
    """All of its light in the stamp, r (nJy), ``[n, 4]``."""

    flux: Floats
    """Measured flux, r (nJy), NaN where nothing was, ``[n, 4]``."""

    flux_error: Floats
    """Its stated error (nJy), ``[n, 4]``."""

    confidence: Floats
    """How sure the mask is of its light, ``[n, 4]``."""

    traits: Mapping[str, Bools]
    """By name, what else is in the picture, ``[n]`` each."""

    covariates: Mapping[str, Floats]
    """By name, what the difficulty may depend on, ``[n]`` each."""

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, key: slice | npt.NDArray[np.generic]) -> Self:
        """Return the hosts that a mask, slice or index array selects."""
        changes = {
            f.name: getattr(self, f.name)[key]
            for f in dataclasses.fields(self)
            if f.name not in ("groups", "traits", "covariates")
        }
        traits = {name: values[key] for name, values in self.traits.items()}
        covariates = {name: values[key] for name, values in self.covariates.items()}
        return dataclasses.replace(self, **changes, traits=traits, covariates=covariates)

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """Put batches together; there must be one."""
        first = parts[0]
        joined: dict[str, Any] = {
            f.name: np.concatenate([getattr(p, f.name) for p in parts])
            for f in dataclasses.fields(cls)
            if f.name not in ("groups", "counts", "traits", "covariates")
        }
        for field in ("traits", "covariates"):
            joined[field] = {
                name: np.concatenate([getattr(p, field)[name] for p in parts])
                for name in getattr(first, field)
            }
        counts = PixelCounts.concatenate([p.counts for p in parts])
        return dataclasses.replace(first, **joined, counts=counts)

    @property
    def undisturbed(self) -> Bools:
        """Hosts without debris, ``[n]``."""
        return np.asarray(self.kind == 0)

    @property
    def seen(self) -> Bools:
        """Hosts with debris that can be seen, ``[n]``."""
        return np.asarray(self.visible.any(axis=1))

    @property
    def weighable(self) -> Bools:
        """Whether each of `WEIGHED` can be seen, ``[n, 4]``."""
        return np.concatenate([self.visible, self.seen[:, np.newaxis]], axis=1)

    @property
    def faint(self) -> Bools:
        """Hosts with debris that can't be seen, ``[n]``."""
        return np.asarray(~self.undisturbed & ~self.seen)
