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

"""The one rule for an object's radius, which sets its field of view."""

from __future__ import annotations

__all__ = ("KRON_FACTOR", "TRACE_FACTOR", "guarded_radius")

import math

import numpy as np
import numpy.typing as npt

KRON_FACTOR = 2.5
"""Kron radii within which Kron's aperture holds nearly all of the light."""

TRACE_FACTOR = KRON_FACTOR * math.sqrt(math.pi / 2.0)
"""Widths (sigma) within the same radius, for a round Gaussian: its Kron
radius, the light's first moment, is sqrt(pi / 2) sigma.
"""


def guarded_radius(
    trace_px2: npt.ArrayLike | None,
    kron_px: npt.ArrayLike | None,
    footprint_px2: npt.ArrayLike | None,
    pixel_scale: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    r"""Radius that holds nearly all of an object's light.

    The largest of those of three estimates that are finite and positive,

    .. math::

       2.5 \sqrt{\pi / 2} \sqrt{T / 2}, \quad 2.5 R_K, \quad \sqrt{A / \pi},

    so that one failed measurement, or one made too small by a neighbour,
    does not cut the object.  For a round Gaussian the first two are equal.

    Parameters
    ----------
    trace_px2
        :math:`T`, the sum of the second moments in x and y, in pixel**2,
        ``[n]``; `None` where there are none.
    kron_px
        :math:`R_K`, the Kron radius in pixels, ``[n]``, or `None`.
    footprint_px2
        :math:`A`, the area of the detection footprint in pixels, ``[n]``,
        or `None`.
    pixel_scale
        Size of a pixel in arcsec.

    Returns
    -------
    radius_arcsec
        The radius in arcsec, ``[n]``; NaN where no estimate is usable.
    ok
        Whether there was a usable estimate, ``[n]``.

    Raises
    ------
    ValueError
        Raised if no estimate at all is given.
    """
    estimates = []
    with np.errstate(invalid="ignore", over="ignore"):
        if trace_px2 is not None:
            estimates.append(TRACE_FACTOR * np.sqrt(np.asarray(trace_px2, dtype=np.float64) / 2.0))
        if kron_px is not None:
            estimates.append(KRON_FACTOR * np.asarray(kron_px, dtype=np.float64))
        if footprint_px2 is not None:
            estimates.append(np.sqrt(np.asarray(footprint_px2, dtype=np.float64) / math.pi))
        if not estimates:
            raise ValueError("A radius needs at least one of moments, Kron radius and footprint area.")
        radius = np.zeros(np.broadcast_shapes(*(e.shape for e in estimates)))
        for estimate in estimates:
            usable = np.isfinite(estimate) & (estimate > 0.0)
            radius = np.maximum(radius, np.where(usable, estimate, 0.0))
        ok = radius > 0.0
        return np.where(ok, radius * pixel_scale, np.nan).astype(np.float32), ok
