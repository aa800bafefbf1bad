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

"""What Zoobot's models are shown of an image, in both eras."""

from __future__ import annotations

__all__ = ("View", "central_view", "random_view")

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from .decode import decode_image

if TYPE_CHECKING:
    from PIL import Image

ZOOM = float(np.float32(1.2))
"""Zoom of the central view. Zoobot draws it from a range of no length, in
single precision, and 1.2 itself would change single pixels."""

_CROP_AREA = (0.7, 0.8)
_CROP_RATIO = (0.9, 1.1)
_CROP_TRIALS = 10


@dataclasses.dataclass(frozen=True)
class View:
    """How image files are turned into a model's pixels.

    Raises
    ------
    ValueError
        Raised if several draws of the one central view are asked for, or
        none at all.
    """

    era: Literal["2.0", "2.9"]
    """Whose views: random ones (2.0) or the central one (2.9)."""

    size: int = 224
    """Side of the view in pixels."""

    luma: bool = False
    """Make the image grey before anything else."""

    draws: int = 1
    """Number of random views of each image."""

    seed: int = 0
    """Seed of the random views."""

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"At least one view of an image is needed, not {self.draws}.")
        if self.era == "2.9" and self.draws != 1:
            raise ValueError(f"Zoobot 2.9 has one view of an image; {self.draws} would be the same.")

    def read(self, path: Path, row: int) -> npt.NDArray[np.uint8]:
        """Return the views of one file.

        Parameters
        ----------
        path
            The file.
        row
            The image's row in its catalogue. Random views depend on it and
            on the seed alone.

        Returns
        -------
        pixels
            Red, green and blue, ``[draw, 3, size, size]``.

        Raises
        ------
        ImageReadError
            Raised if the file can't be read.
        """
        image = decode_image(path, luma=self.luma)
        if self.era == "2.9":
            return _channels(central_view(image, self.size))[np.newaxis]
        views = [
            random_view(image, self.size, np.random.default_rng((self.seed, row, draw)))
            for draw in range(self.draws)
        ]
        return np.stack([_channels(view) for view in views])


def central_view(image: Image.Image, size: int) -> Image.Image:
    """Return an image as Zoobot 2.9 shows it to a model.

    Parameters
    ----------
    image
        A picture of the mode ``RGB`` or ``L``.
    size
        Side of the view in pixels.

    Returns
    -------
    view
        The image enlarged by 1.2 about its centre, then reduced until its
        short side has the size, then cut to a square.

    Notes
    -----
    Equal, bit for bit, to galaxy-datasets 0.0.25's ``minimal_view_config``:
    torchvision's ``RandomAffine(0, scale=(1.2, 1.2))``, ``Resize`` and
    ``CenterCrop``, with bilinear interpolation and rounding to 8 bits after
    each of the first two.
    """
    from PIL import Image

    width, height = image.size
    step = 1.0 / ZOOM
    matrix = (step, 0.0, 0.5 * width - step * (0.5 * width), 0.0, step, 0.5 * height - step * (0.5 * height))
    image = image.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    longer = int(size * max(width, height) / min(width, height))
    width, height = (size, longer) if width <= height else (longer, size)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def random_view(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Return one of the views of an image that Zoobot 2.0 draws at random.

    Parameters
    ----------
    image
        A picture of the mode ``RGB`` or ``L``.
    size
        Side of the view in pixels.
    rng
        What draws.

    Returns
    -------
    view
        The image rotated by any angle about its centre, with black
        corners; of it a rectangle anywhere, with 0.7 to 0.8 of the area
        and sides in a ratio of 0.9 to 1.1, made a square of the size; and
        half of the times turned upside down.

    Notes
    -----
    The law is that of galaxy-datasets' ``default_transforms`` (albumentations'
    ``Rotate``, ``RandomResizedCrop`` and ``VerticalFlip``), which Zoobot 2.0
    applies to predictions too. Pixels are interpolated between the nearest
    four, also where the image shrinks, as OpenCV's linear mode does.
    """
    from PIL import Image

    angle = rng.uniform(-math.pi, math.pi)
    left, top, width, height = _draw_crop(*image.size, rng)
    upside_down = rng.random() < 0.5
    cosine, sine = math.cos(angle), math.sin(angle)
    x, y = 0.5 * image.width, 0.5 * image.height
    rotation = (
        *(cosine, sine, x + cosine * (left - x) + sine * (top - y)),
        *(-sine, cosine, y - sine * (left - x) + cosine * (top - y)),
    )
    bilinear = Image.Resampling.BILINEAR
    planes = []
    # Of single bytes Pillow cuts the fractions off; of floats it does not.
    for plane in image.split():
        turned = plane.convert("F").transform((width, height), Image.Transform.AFFINE, rotation, bilinear)
        square = turned.transform((size, size), Image.Transform.EXTENT, (0, 0, width, height), bilinear)
        planes.append(Image.fromarray(np.rint(np.asarray(square)).astype(np.uint8)))
    view = planes[0] if len(planes) == 1 else Image.merge(image.mode, planes)
    return view.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if upside_down else view


def _draw_crop(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw the left, top, width and height of a crop.

    Of an image so long that no drawn rectangle fits, the central one of
    the extreme ratio is taken.
    """
    for _ in range(_CROP_TRIALS):
        area = rng.uniform(*_CROP_AREA) * width * height
        ratio = math.exp(rng.uniform(math.log(_CROP_RATIO[0]), math.log(_CROP_RATIO[1])))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = rng.integers(width - across + 1), rng.integers(height - down + 1)
            return int(left), int(top), across, down
    ratio = min(max(width / height, _CROP_RATIO[0]), _CROP_RATIO[1])
    across, down = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (width - across) // 2, (height - down) // 2, across, down


def _channels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a picture as ``[3, y, x]``, grey as three equal channels."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        return np.broadcast_to(pixels, (3, *pixels.shape))
    return np.moveaxis(pixels, -1, 0)
