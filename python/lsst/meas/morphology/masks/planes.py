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

"""Mask planes of features, as `lsst.images` has masks."""

from __future__ import annotations

__all__ = ("MASK_PLANES", "make_mask")

from typing import Any

import numpy as np

from lsst.images import Box, Interval, Mask, MaskPlane, MaskSchema

from .patch import PatchMask

MASK_PLANES = {
    "tail": MaskPlane("TIDAL_TAIL", "Tidal tail of a galaxy of this patch."),
    "stream": MaskPlane("STREAM", "Tidal stream about a galaxy of this patch."),
    "shell": MaskPlane("SHELL", "Shell about a galaxy of this patch."),
}
"""The mask planes, by the names of the model's planes."""


def make_mask(patch_mask: PatchMask, sky_projection: Any = None) -> Mask:
    """Return a patch's features as mask planes on the tract's pixels.

    Parameters
    ----------
    patch_mask
        The features.
    sky_projection
        The `lsst.images.SkyProjection` of the patch's coadds, if known.

    Returns
    -------
    mask
        The mask, on the box of the patch, always with all planes.
    """
    x0, y0, x1, y1 = patch_mask.bbox
    schema = MaskSchema(list(MASK_PLANES.values()))
    bbox = Box(y=Interval(y0, y1), x=Interval(x0, x1))
    mask = Mask(0, schema=schema, bbox=bbox, sky_projection=sky_projection)
    for k, feature in enumerate(patch_mask.features):
        if feature in MASK_PLANES:
            mask.set(MASK_PLANES[feature].name, (patch_mask.bits & np.uint8(1 << k)) != 0)
    return mask
