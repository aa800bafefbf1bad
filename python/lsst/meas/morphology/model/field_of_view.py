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

"""How much of the sky a stamp shows."""

from __future__ import annotations

__all__ = ("FieldOfView",)

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat, model_validator

from .record import Record


class FieldOfView(Record):
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
