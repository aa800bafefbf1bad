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

"""From the pixels of stamps to those that a model takes."""

from __future__ import annotations

__all__ = ("in_model_unit",)

import numpy as np
import numpy.typing as npt

from ..errors import ModelMismatchError
from .rendering_spec import Pixels


def in_model_unit(
    flux: npt.NDArray[np.float32], arcsec_per_px: npt.NDArray[np.float32], pixels: Pixels
) -> npt.NDArray[np.float32]:
    """Return stamps in the unit of a model.

    Parameters
    ----------
    flux
        Flux (nJy per stamp pixel), of shape ``[n, b, s, s]``.
    arcsec_per_px
        Pixel scales of the stamps (arcsec), ``[n]``.
    pixels
        What the model's pixels are.

    Returns
    -------
    pixels
        The same flux, or its surface brightness (nJy per arcsec2).

    Raises
    ------
    ModelMismatchError
        Raised if the model takes images and no measured pixels.
    """
    if pixels == "nJy":
        return flux
    if pixels == "nJy/arcsec2":
        per_area = (1.0 / np.square(arcsec_per_px, dtype=np.float64)).astype(np.float32)
        return flux * per_area[:, np.newaxis, np.newaxis, np.newaxis]
    raise ModelMismatchError(
        f"The model takes pixels as {pixels}, images of 8 bits: it can't see coadds. Import it with a"
        " rendering of coadds, or give it image files by 'morphology predict'."
    )
