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

"""Why a pixel is not used."""

from __future__ import annotations

__all__ = ("BAD_MASK_PLANES", "RawPixels", "Reason", "fill_pixels")

import dataclasses
import enum
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

BAD_MASK_PLANES = ("NO_DATA", "SATURATED", "BAD", "UNMASKED_NAN")
"""Mask planes whose pixels are invalid unless told otherwise.

In a DP2 cell coadd ``SATURATED`` says that more than a tenth of the visits
were saturated there, and ``NO_DATA`` that no visit was left.  The planes
``INTERPOLATED``, ``COSMIC_RAY``, ``CLIPPED``, ``REJECTED``,
``INEXACT_PSF`` and ``SENSOR_EDGE`` mark pixels that hold good flux, many of
them in any coadd of many visits.
"""

_LEGACY_NAMES = {
    "COSMIC_RAY": "CR",
    "DETECTION_EDGE": "EDGE",
    "INTERPOLATED": "INTRP",
    "SATURATED": "SAT",
    "UNMASKED_NAN": "UNMASKEDNAN",
}
"""Names of mask planes in DP2 and, where they differ, in afw."""


class Reason(enum.IntFlag):
    """Bits that say why a pixel is not used; 0 is a good pixel."""

    NO_DATA = 1 << 0
    SATURATED = 1 << 1
    BAD = 1 << 2
    NONFINITE = 1 << 3


@dataclasses.dataclass(frozen=True)
class RawPixels:
    """Pixels of one box of a coadd as the file has them, ``[y, x]``."""

    image: npt.NDArray[np.floating]
    """Flux of each pixel."""

    to_nanojansky: float
    """Factor that turns ``image`` into nJy."""

    flagged: Callable[[Collection[str]], npt.NDArray[np.bool_]]
    """Function from names of mask planes to whether any of those that exist
    is set, ``[y, x]``.
    """

    variance: npt.NDArray[np.floating] | None
    """Variance of each pixel, in the squared unit of ``image``, if it is to
    be checked or kept."""

    background: npt.NDArray[np.floating] | None = None
    """What is to be added to ``image``, in its unit, if anything."""


def fill_pixels(
    raw: RawPixels,
    bad_mask_planes: Collection[str],
    image: npt.NDArray[np.float32],
    reasons: npt.NDArray[np.uint8],
    variance: npt.NDArray[np.float32] | None = None,
) -> None:
    """Write a box's flux, and the reasons not to use it, into arrays.

    Parameters
    ----------
    raw
        The pixels as they were read.
    bad_mask_planes
        Mask planes whose pixels are invalid, by their names in DP2 or in
        afw; those that the coadd lacks are passed over.
    image
        Array ``[y, x]`` that gets the flux in nJy, 0 where it is not used.
    reasons
        Array ``[y, x]``, 0 throughout, that gets bits of `Reason`.
    variance
        Array ``[y, x]``, if the variance is kept, that gets it in nJy**2,
        0 where the pixel is not used.
    """
    modern = {legacy: name for name, legacy in _LEGACY_NAMES.items()}
    planes: dict[Reason, list[str]] = {}
    for name in dict.fromkeys(modern.get(name, name) for name in bad_mask_planes):
        reason = Reason[name] if name in ("NO_DATA", "SATURATED") else Reason.BAD
        planes.setdefault(reason, []).extend((name, _LEGACY_NAMES.get(name, name)))
    for reason, names in planes.items():
        reasons |= raw.flagged(names).view(np.uint8) * np.uint8(reason)
    finite = np.isfinite(raw.image)
    if raw.background is not None:
        finite &= np.isfinite(raw.background)
    if raw.variance is not None:
        finite &= np.isfinite(raw.variance) & (raw.variance > 0.0)
    reasons |= (~finite).view(np.uint8) * np.uint8(Reason.NONFINITE)
    np.copyto(image, raw.image, casting="same_kind")
    if raw.background is not None:
        image += raw.background
    if raw.to_nanojansky != 1.0:
        image *= np.float32(raw.to_nanojansky)
    image[reasons != 0] = 0.0
    if variance is not None and raw.variance is not None:
        good = reasons == 0
        np.multiply(raw.variance, raw.to_nanojansky**2, out=variance, where=good, casting="same_kind")
