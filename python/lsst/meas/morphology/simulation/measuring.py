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

"""What a pipeline would measure of a simulated object."""

from __future__ import annotations

__all__ = ("Measurement", "measure")

import dataclasses

import numpy as np
import numpy.typing as npt

from .galaxies import GalaxyParameters, Kind
from .grid import uniform_details
from .observing import NATIVE_SCALE

type Floats = npt.NDArray[np.float64]

_SIGMA_PER_FWHM = 1.0 / 2.3548


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Columns of an object table, in pixels of the coadd."""

    shape_xx: Floats
    """Second moment along x, in pixel**2."""

    shape_yy: Floats
    """Second moment along y, in pixel**2."""

    shape_xy: Floats
    """Mixed second moment, in pixel**2."""

    kron_radius: Floats
    """Kron radius, in pixels."""

    footprint_area: Floats
    """Area of the detection footprint, in pixels."""

    magnitude: Floats
    """cModel magnitude in the i band."""

    @property
    def trace(self) -> Floats:
        """Sum of the second moments in x and y, in pixel**2."""
        return self.shape_xx + self.shape_yy


def measure(
    parameters: GalaxyParameters,
    fwhm: npt.NDArray[np.floating],
    sigma: npt.NDArray[np.floating],
    *,
    scatter: float = 0.1,
) -> Measurement:
    """Imitate the measurements of shape, size, footprint and flux.

    Adaptive moments and first moments of Sersic profiles, with the point
    spread function added in quadrature; a footprint that ends at five sigma
    of the smoothed sky; and a scatter that depends on the object's seed
    alone, so that everyone who asks gets the same answer. All sizes share
    the object's error.

    Parameters
    ----------
    parameters
        The ``n`` objects.
    fwhm
        FWHM of the reference band in arcsec, ``[n]``.
    sigma
        Noise of the reference band in nJy per native pixel, ``[n]``.
    scatter
        Relative scatter of the sizes (one sigma).

    Returns
    -------
    measurement
        The columns.
    """
    p = parameters
    details = uniform_details(p.seed + np.uint64(31), 8)
    noise = np.clip(_normal(details[:, 0::2], details[:, 1::2]), -2.5, 2.5)
    disk = p.kind == Kind.DISK
    index = np.where(disk, 1.0 + 2.0 * p.bulge_fraction, p.sersic)
    q = np.where(disk, np.sqrt(p.axis_ratio**2 + p.thickness**2), p.axis_ratio).clip(0.08, 1.0)
    swollen = 1.0 + 0.35 * p.disturbance
    psf = fwhm * _SIGMA_PER_FWHM
    width = np.interp(index, [1.0, 2.0, 3.0, 4.5], [0.69, 0.5, 0.38, 0.28]) * p.half_light * swollen
    major = (width**2 + psf**2) / NATIVE_SCALE**2
    minor = ((q * width) ** 2 + psf**2) / NATIVE_SCALE**2
    first = np.interp(index, [1.0, 2.5, 4.5], [1.19, 1.4, 1.55]) * p.half_light * swollen * np.sqrt(q)
    kron = np.hypot(first, 1.25 * psf) / NATIVE_SCALE
    # The isophote at five sigma of a sky smoothed with the PSF.
    threshold = 5.0 * sigma / np.sqrt(4.0 * np.pi) / (psf / NATIVE_SCALE)
    b = 2.0 * index - 1.0 / 3.0
    central = p.flux() * NATIVE_SCALE**2 * b ** (2.0 * index) / (2.0 * np.pi * q * p.half_light**2)
    central /= index * np.exp(_log_gamma(2.0 * index))
    depth = np.maximum(np.log(np.maximum(central / threshold, 1.0)) / b, 0.01)
    isophote = np.minimum(p.half_light * depth**index, 4.0 * p.half_light) + fwhm
    area = np.pi * isophote * np.maximum(q * isophote, fwhm) / NATIVE_SCALE**2
    problem = p.kind >= Kind.STAR
    odd = 3.0 + 7.0 * details[:, 0]
    area = np.where(problem, np.pi * (odd / NATIVE_SCALE) ** 2, area)
    kron = np.where(problem, 0.3 * odd / NATIVE_SCALE, kron)
    stretch = p.size_error**2 * np.exp(2.0 * scatter * noise[:, 0])
    major, minor = major * stretch, minor * stretch
    c, s = np.cos(p.angle), np.sin(p.angle)
    return Measurement(
        shape_xx=c * c * major + s * s * minor,
        shape_yy=s * s * major + c * c * minor,
        shape_xy=c * s * (major - minor),
        kron_radius=p.size_error * kron * np.exp(scatter * noise[:, 1]),
        footprint_area=np.round(p.size_error**2 * area * np.exp(2.0 * scatter * noise[:, 2])),
        magnitude=p.magnitude + 0.05 * noise[:, 3],
    )


def _normal(first: Floats, second: Floats) -> Floats:
    """Turn uniform numbers into normal ones (Box and Muller 1958)."""
    return np.asarray(np.sqrt(-2.0 * np.log(np.maximum(first, 1e-12))) * np.cos(2.0 * np.pi * second))


def _log_gamma(x: Floats) -> Floats:
    from scipy.special import gammaln

    return np.asarray(gammaln(x), dtype=np.float64)
