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

"""What a model says about the use of its masks."""

from __future__ import annotations

__all__ = ("REFERENCE_LIMIT", "FeatureSettings")

import dataclasses

import numpy as np
import numpy.typing as npt

from ..model.heads import HOST_PLANE, TidesHead

type Numbers = tuple[float, ...]

REFERENCE_LIMIT = 30.0
"""Limit (AB mag per arcsec**2) at which the offset of ``half_found`` holds."""


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """Thresholds of a model's planes, and the errors of their fluxes.

    Each tuple has one number per feature, in the order of `features`.
    """

    features: tuple[str, ...]
    """Names of the planes of features, in the model's order."""

    index: tuple[int, ...]
    """Their places among the model's planes."""

    host: int | None
    """The place of the host's plane, if the model has one."""

    threshold: Numbers
    """Probability of presence from which a feature is held to be there."""

    mask_threshold: Numbers
    """Share of annotators from which a pixel belongs to the mask."""

    flux_scale: Numbers
    """Factor of the flux under the mask that makes up for its edge."""

    flux_error: Numbers
    """Error of the flux over the flux, beyond those of noise and sky."""

    flux_power: Numbers
    """Power of the mask's confidence that the flux is multiplied with."""

    error_power: Numbers
    """Power of the mask's doubt that that error is multiplied with."""

    half_found: tuple[tuple[float, float] | None, ...] = ()
    """Where half of the features are found: how much fainter than the limit
    that is at a limit of `REFERENCE_LIMIT`, and how that changes with the
    limit; `None` or nothing where the model does not say.
    """

    @classmethod
    def from_head(cls, head: TidesHead) -> FeatureSettings:
        """Return what a model's head says.

        Parameters
        ----------
        head
            The head. What it does not say is 0.5 for thresholds, 1 for the
            scale, and 0 for the error and for powers.
        """
        features = head.features

        def numbers(values: dict[str, float] | None, default: float) -> Numbers:
            return tuple(float((values or {}).get(name, default)) for name in features)

        return cls(
            features=features,
            index=tuple(head.planes.index(name) for name in features),
            host=head.planes.index(HOST_PLANE) if HOST_PLANE in head.planes else None,
            threshold=numbers(head.threshold, 0.5),
            mask_threshold=numbers(head.mask_threshold, 0.5),
            flux_scale=numbers(head.flux_scale, 1.0),
            flux_error=numbers(head.flux_error, 0.0),
            flux_power=numbers(head.flux_power, 0.0),
            error_power=numbers(head.error_power, 0.0),
            half_found=tuple((head.half_found or {}).get(name) for name in features),
        )

    @property
    def union(self) -> int:
        """The place of the plane that claims light: ``debris``, which is
        any of the others, or else the last feature.
        """
        return self.features.index("debris") if "debris" in self.features else len(self.features) - 1

    def half_found_at(self, limit: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the surface brightness at which half would be found.

        Parameters
        ----------
        limit
            Surface brightness of three sigma on 10 by 10 arcsec in the
            reference band (AB mag per arcsec**2), ``[n]``.

        Returns
        -------
        brightness
            In the same unit, ``[n, feature]``; NaN where the model does not
            say.
        """
        depth = np.asarray(limit, np.float64)
        result = np.full((len(depth), len(self.features)), np.nan)
        for k, law in enumerate(self.half_found):
            if law is not None:
                result[:, k] = depth + law[0] + law[1] * (depth - REFERENCE_LIMIT)
        return result
