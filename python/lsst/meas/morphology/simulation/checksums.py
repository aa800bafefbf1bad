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

"""Checksums of simulated objects."""

from __future__ import annotations

__all__ = ("arrays_checksum", "truth_checksum")

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .objects import SimulatedObjects


def truth_checksum(objects: SimulatedObjects) -> str:
    """Return a checksum of objects and votes that outlives rounding.

    Parameters
    ----------
    objects
        The objects.

    Returns
    -------
    checksum
        SHA-256, in hexadecimal digits, of whole numbers as they are and of
        others to 16 binary digits: mathematical functions differ in their
        last digit from processor to processor.
    """
    seen = objects.conditions
    arrays = {**objects.parameters.columns(), "fwhm": seen.fwhm, "visits": seen.visits, "sigma": seen.sigma}
    arrays |= {"probabilities": objects.probabilities, "votes": objects.votes}
    return arrays_checksum(arrays)


def arrays_checksum(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return a checksum of named arrays that outlives rounding.

    Parameters
    ----------
    arrays
        The arrays.

    Returns
    -------
    checksum
        As `truth_checksum` has it.
    """
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.shape}".encode())
        if np.issubdtype(values.dtype, np.floating):
            mantissa, exponent = np.frexp(values.astype(np.float64))
            digest.update(np.rint(mantissa * 2.0**16).astype("<i4").tobytes())
            digest.update(exponent.astype("<i4").tobytes())
        else:
            digest.update(values.astype("<u8" if values.dtype.kind == "u" else "<i8").tobytes())
    return digest.hexdigest()
