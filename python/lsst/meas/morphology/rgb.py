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

"""Colour pictures of calibrated pixels."""

from __future__ import annotations

__all__ = ("lupton_rgb",)

import numpy as np
import numpy.typing as npt


def lupton_rgb(
    flux: npt.NDArray[np.float32], *, softening: float = 8.0, strength: float = 8.0
) -> npt.NDArray[np.float32]:
    """Stretch three bands into a colour picture that keeps their ratios.

    Parameters
    ----------
    flux
        Surface brightness in three bands, bluest first, ``[3, y, x]`` (nJy
        per 0.04 arcsec2, a native pixel of LSST).
    softening
        Flux at which the stretch becomes logarithmic (nJy).
    strength
        How strongly bright pixels are compressed.

    Returns
    -------
    rgb
        Picture in 0 to 1, ``[y, x, 3]``, red first.

    Notes
    -----
    Lupton et al. (2004, PASP 116, 133), equations 1 and 2, with a linear
    rescaling of pixels that would saturate so that they keep their hue.
    """
    colours = np.maximum(np.nan_to_num(flux[::-1]), 0.0)
    intensity = colours.mean(axis=0)
    stretched = np.arcsinh(strength * intensity / softening) / strength
    factor = np.divide(stretched, intensity, out=np.zeros_like(intensity), where=intensity > 0.0)
    rgb = colours * factor
    rgb /= np.maximum(rgb.max(axis=0), 1.0)
    return np.moveaxis(rgb, 0, -1).astype(np.float32)
