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

"""Annotators who mark what they see, each by a limit of their own."""

from __future__ import annotations

__all__ = ("PLANES", "annotate")

import numpy as np
import numpy.typing as npt

from ...surface_brightness import CONTRAST, HOST_CONTRAST, stands_out
from .snapshots import KINDS

PLANES = (*KINDS, "debris", "host")
"""What is marked: each kind of debris, any of them, and the host."""

_MOST = 5
_LIMIT_SCATTER = 0.25
_CONTRAST_SCATTER = 0.3


def annotate(
    rng: np.random.Generator,
    debris: npt.NDArray[np.float32],
    host: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    limit: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Let one to five annotators mark each stamp.

    They differ in the faintest surface brightness (0.25 mag, one sigma) and
    in the least contrast (a factor of 1.35) at which they see something.

    Parameters
    ----------
    rng
        Source of random numbers.
    debris
        Surface brightness of each of `KINDS` (nJy per arcsec**2),
        ``[n, 3, size, size]``.
    host, others
        That of the host and of everything else beneath,
        ``[n, size, size]``.
    limit
        Faintest surface brightness in masks (AB magnitude per arcsec**2),
        ``[n]``.

    Returns
    -------
    marks
        How many marked each pixel in each of `PLANES`,
        ``[n, 5, size, size]``.
    annotators
        How many looked at each stamp, ``[n]``.
    """
    n, size = len(host), host.shape[-1]
    annotators = rng.integers(1, _MOST + 1, n).astype(np.uint8)
    limits = limit[:, None] + rng.normal(0.0, _LIMIT_SCATTER, (n, _MOST))
    strictness = np.exp(rng.normal(0.0, _CONTRAST_SCATTER, (n, _MOST)))
    marks = np.zeros((n, len(PLANES), size, size), dtype=np.uint8)
    light = (host + others)[:, None]
    for a in range(_MOST):
        who = np.flatnonzero(annotators > a)
        mine, strict = limits[who, a], strictness[who, a]
        seen = stands_out(debris[who], light[who], mine, CONTRAST * strict)
        marks[who, : len(KINDS)] += seen
        marks[who, -2] += seen.any(axis=1)
        marks[who, -1] += stands_out(host[who], others[who], mine, HOST_CONTRAST * strict)
    return marks, annotators
