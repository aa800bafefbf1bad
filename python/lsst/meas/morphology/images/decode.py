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

"""Image files, decoded to 8 bits."""

from __future__ import annotations

__all__ = ("FORMATS", "decode_image")

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ImageReadError, MissingExtraError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM")
"""Formats that are read; none of them runs another program."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_STEPS = 257
"""Values of 16 bits to one of 8: 65535 / 255."""


def decode_image(path: Path, *, luma: bool = False) -> Image.Image:
    """Read an image as red, green and blue of 8 bits, or as grey.

    Parameters
    ----------
    path
        The file. Of several frames the first is read.
    luma
        Return one channel, ITU-R BT.601's luma as Pillow rounds it.

    Returns
    -------
    image
        A picture of the mode ``RGB``, or ``L`` if `luma`.

    Raises
    ------
    ImageReadError
        Raised if the file is missing, broken, of another format, or can't
        be turned into 8 bits.
    MissingExtraError
        Raised if Pillow is not installed.

    Notes
    -----
    Palettes become their colours. Transparency is dropped and the colours
    below it are kept, as they are stored. Sixteen bits become eight by
    division by 257 and rounding. Grey becomes three equal channels. An
    orientation in the file's metadata is not applied, as Zoobot ignores it.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("PIL", "images", "read image files") from error
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            eight = _eight_bits(image)
    except FileNotFoundError as error:
        raise ImageReadError(f"{path}: there is no such file.") from error
    except MemoryError:
        raise
    except Exception as error:
        # The readers of formats raise whatever a broken file makes them.
        raise ImageReadError(f"{path}: {error or type(error).__name__}.") from error
    return eight.convert("L") if luma else eight


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as ``RGB``."""
    from PIL import Image

    if image.mode == "RGB":
        return image.copy()
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise ValueError("its values do not fit into 16 bits")
        return Image.fromarray(((values + _STEPS // 2) // _STEPS).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("it holds floating point numbers, which have no scale of 8 bits")
    if image.mode in ("P", "PA", "La", "RGBa"):
        # By way of RGBA, so that transparency is dropped, not applied.
        return image.convert("RGBA" if image.mode != "La" else "LA").convert("RGB")
    return image.convert("RGB")
