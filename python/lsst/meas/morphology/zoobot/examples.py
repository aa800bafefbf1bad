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

"""Example stamps, on which an imported model's outputs are recorded."""

from __future__ import annotations

__all__ = ("example_stamps",)

import numpy as np
import numpy.typing as npt

from ..model.rendering_spec import Pixels

_COUNT = 3
_SEED = 20240508

_PEAKS: dict[str, float] = {"nJy": 300.0, "nJy/arcsec2": 10000.0, "rgb8": 250.0}
"""Brightness at the centre of an example, in each unit of pixels."""


def example_stamps(
    bands: int, size: int, pixels: Pixels
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return exponential disks with noise, one partly without data.

    Parameters
    ----------
    bands
        Number of bands.
    size
        Side of the stamps.
    pixels
        What their pixels are; those of images are whole numbers.

    Returns
    -------
    flux
        The stamps, of shape ``[n, bands, size, size]``.
    valid
        Which pixels were measured, of the same shape.
    """
    rng = np.random.default_rng(_SEED)
    y, x = np.mgrid[:size, :size] - 0.5 * (size - 1)
    peak = _PEAKS[pixels]
    flux = np.empty((_COUNT, bands, size, size), np.float32)
    for index in range(_COUNT):
        angle, axis, scale = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0), size * rng.uniform(0.05, 0.12)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        disk = np.exp(-np.hypot(along, across / axis) / scale)
        colours = rng.uniform(0.5, 1.0, (bands, 1, 1))
        flux[index] = peak * colours * disk + rng.normal(0.0, 0.01 * peak, (bands, size, size))
    if pixels == "rgb8":
        return np.clip(np.rint(flux), 0.0, 255.0), np.ones(flux.shape, np.bool_)
    valid = np.ones(flux.shape, np.bool_)
    valid[-1, :, : size // 8] = False
    return np.where(valid, flux, np.float32(0.0)), valid
