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

"""Masks of many objects on the pixels of one patch."""

from __future__ import annotations

__all__ = ("PatchMask", "stamp_index")

import numpy as np
import numpy.typing as npt

type Bools = npt.NDArray[np.bool_]
type Floats = npt.NDArray[np.float32]
type Indices = npt.NDArray[np.int64]


def stamp_index(pixels: npt.ArrayLike, centre: float, scale: float, size: int) -> Indices:
    """Return the stamp pixels, along one axis, in which positions lie.

    Parameters
    ----------
    pixels
        Positions in the tract's pixels; integers are pixel centres.
    centre
        Position of the stamp's centre.
    scale
        Tract pixels per stamp pixel.
    size
        Number of stamp pixels.

    Returns
    -------
    index
        Stamp pixels; below 0 or not below ``size`` for positions outside.
    """
    return np.floor((np.asarray(pixels, np.float64) - centre) / scale + 0.5 * size).astype(np.int64)


class PatchMask:
    """Which pixels of a patch belong to features, and who claims them.

    A tract pixel belongs to the stamp pixel in which its centre lies.
    Features only cost memory where there are any.

    Parameters
    ----------
    bbox
        The patch's box ``(x0, y0, x1, y1)`` in the tract's pixels, ends
        exclusive.
    features
        Names of the features, at most eight.
    """

    def __init__(self, bbox: tuple[int, int, int, int], features: tuple[str, ...]) -> None:
        x0, y0, x1, y1 = bbox
        self.bbox = bbox
        self.features = features
        # Zeros that are never touched take no memory.
        self.bits = np.zeros((y1 - y0, x1 - x0), np.uint8)
        """Bit ``k`` is set where some object has feature ``k``."""
        self.claims = np.zeros(self.bits.shape, np.float32)
        """Sum of the claims of all objects."""
        self.claimants = np.zeros(self.bits.shape, np.uint8)
        """Number of objects with a claim, up to 255."""

    def paint(self, mask: Bools, x: float, y: float, scale: float) -> None:
        """Add the features of an object to the patch's.

        Parameters
        ----------
        mask
            The features' pixels in the object's stamp, ``[feature, s, s]``.
        x, y
            Position of the object in the tract's pixels.
        scale
            Tract pixels per stamp pixel.
        """
        bits = np.zeros(mask.shape[1:], np.uint8)
        for k in range(len(self.features)):
            bits |= mask[k].view(np.uint8) << k
        part, rows, columns = self._window(bits != 0, x, y, scale)
        self.bits[part] |= bits[rows[:, None], columns]

    def claim(self, claim: Floats, x: float, y: float, scale: float) -> tuple[slice, slice]:
        """Register an object's claim on the light of pixels.

        Parameters
        ----------
        claim
            How strongly the object claims each pixel of its stamp, 0 for
            not at all, ``[s, s]``.
        x, y
            Position of the object in the tract's pixels.
        scale
            Tract pixels per stamp pixel.

        Returns
        -------
        part
            Rows and columns of the patch that hold all pixels it claims.
        """
        part, rows, columns = self._window(claim > 0.0, x, y, scale)
        painted = claim[rows[:, None], columns]
        self.claims[part] += painted
        claimants = self.claimants[part]
        claimants += ((painted > 0.0) & (claimants < 255)).view(np.uint8)
        return part

    def contested(self, part: tuple[slice, slice]) -> bool:
        """Return whether two objects claim a pixel of a part of the patch.

        Parameters
        ----------
        part
            What `claim` returned.
        """
        return bool((self.claimants[part] > 1).any())

    def weights(self, claim: Floats, x: float, y: float, scale: float) -> Floats:
        """Return an object's own part of the light in its stamp's pixels.

        That is its claim over the sum of all claims, as a mean over the
        patch's pixels in the stamp pixel. At each of the patch's pixels the
        parts of all objects that claim it add up to one; nobody has a part
        elsewhere.

        Parameters
        ----------
        claim, x, y, scale
            As they were given to `claim`.

        Returns
        -------
        weights
            Parts in 0 to 1, ``[s, s]``; 0 where the object claims nothing,
            and 1 where it does beyond the patch.
        """
        size = len(claim)
        part, rows, columns = self._window(claim > 0.0, x, y, scale)
        mine = claim[rows[:, None], columns]
        share = np.divide(mine, self.claims[part], out=np.zeros_like(mine), where=mine > 0.0)
        index = (rows[:, None] * size + columns).ravel()
        total = np.bincount(index, np.minimum(share, 1.0).ravel(), minlength=size**2)
        count = np.bincount(index, minlength=size**2)
        mean = np.divide(total, count, out=np.ones(size**2), where=count > 0).reshape(claim.shape)
        return np.where(claim > 0.0, mean, 0.0).astype(np.float32)

    def _window(
        self, used: Bools, x: float, y: float, scale: float
    ) -> tuple[tuple[slice, slice], Indices, Indices]:
        """Return the part of the patch under a stamp's used pixels.

        Also return the stamp's rows and columns that lie on its rows and
        columns.
        """
        size = len(used)
        slices, indices = [], []
        for axis, centre, low, high in (
            (1, y, self.bbox[1], self.bbox[3]),
            (0, x, self.bbox[0], self.bbox[2]),
        ):
            places = np.flatnonzero(used.any(axis=axis))
            if not len(places):
                slices.append(slice(0, 0))
                indices.append(np.empty(0, np.int64))
                continue
            first = int(np.floor(centre + (places[0] - 0.5 * size) * scale))
            last = int(np.ceil(centre + (places[-1] + 1 - 0.5 * size) * scale))
            pixels = np.arange(max(first, low), min(last + 1, high))
            index = stamp_index(pixels, centre, scale, size)
            good = (index >= 0) & (index < size)
            pixels, index = pixels[good], index[good]
            start = int(pixels[0]) - low if len(pixels) else 0
            slices.append(slice(start, start + len(pixels)))
            indices.append(index)
        return (slices[0], slices[1]), indices[0], indices[1]
