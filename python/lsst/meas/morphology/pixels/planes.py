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

"""The pixels of a patch in several bands."""

from __future__ import annotations

__all__ = ("Planes", "read_planes")

import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import astropy.units as u
import numpy as np
import numpy.typing as npt

from lsst.images import Box, Interval

from .cover import Cover
from .exposure import bounding_box, read_exposure
from .reasons import BAD_MASK_PLANES, RawPixels, Reason, fill_pixels
from .source import CoaddSource, open_coadd, reading

_LOG = logging.getLogger(__name__)

PixelReader = Callable[[tuple[int, int, int, int]], RawPixels]


@dataclasses.dataclass(frozen=True)
class Planes:
    """Flux of a patch's pixels, and what is wrong with them, by band.

    Only the pixels of the cover were read; the others are 0 in both arrays.
    """

    bands: tuple[str, ...]
    """Names of the bands, in the order of the arrays."""

    cover: Cover
    """The pixels that were read."""

    image: npt.NDArray[np.float32]
    """Flux in nJy, 0 where it is not to be used, ``[band, y, x]``."""

    reasons: npt.NDArray[np.uint8]
    """Bits of `~lsst.meas.morphology.pixels.reasons.Reason`, 0 for a good
    pixel, ``[band, y, x]``.
    """

    missing_bands: frozenset[str]
    """Bands without a coadd."""

    variance: npt.NDArray[np.float32] | None = None
    """Variance in nJy**2, 0 where a pixel is not to be used,
    ``[band, y, x]``; `None` if it was not kept.
    """

    restored_bands: frozenset[str] = frozenset()
    """Bands whose subtracted background was added again."""

    @property
    def x0(self) -> int:
        """First column, in the tract's pixels."""
        return self.cover.bbox[0]

    @property
    def y0(self) -> int:
        """First row, in the tract's pixels."""
        return self.cover.bbox[1]


def read_planes(
    sources: Sequence[CoaddSource],
    bands: Sequence[str],
    cover: Cover,
    *,
    threads: int = 1,
    bad_mask_planes: Collection[str] = BAD_MASK_PLANES,
    check_variance: bool = True,
    keep_variance: bool = False,
    restore_background: bool = False,
) -> Planes:
    """Read the pixels of a patch.

    Each coadd is opened once, and only its image, mask and variance are
    read.

    Parameters
    ----------
    sources
        The coadds, at most one for each band; those of other bands are
        passed over.
    bands
        The bands that are wanted.
    cover
        The pixels that are wanted.
    threads
        Number of threads, each reading one band at a time.
    bad_mask_planes
        Mask planes whose pixels are invalid, by their names in DP2 or in
        afw; a coadd need not have them.
    check_variance
        Whether to read the variance and take pixels without a finite,
        positive one as invalid.
    keep_variance
        Whether the planes hold the variance too.
    restore_background
        Whether to add the background that was subtracted from a coadd, as
        its file says, to the image. A coadd without one stays as it is, and
        so does an exposure.

    Returns
    -------
    planes
        The pixels; a band without a coadd is invalid throughout.

    Raises
    ------
    lsst.meas.morphology.errors.CoaddReadError
        Raised if a coadd can't be read or covers another box; the message
        names it.
    ValueError
        Raised if a band has two coadds.
    """
    by_band: dict[str, CoaddSource] = {}
    for source in sources:
        if source.band in by_band:
            raise ValueError(f"Band {source.band!r} has two coadds: {by_band[source.band]} and {source}.")
        by_band[source.band] = source
    x0, y0, x1, y1 = cover.bbox
    shape = (len(bands), y1 - y0, x1 - x0)
    # Zeros that are never touched take no memory.
    planes = Planes(
        bands=tuple(bands),
        cover=cover,
        image=np.zeros(shape, np.float32),
        reasons=np.zeros(shape, np.uint8),
        missing_bands=frozenset(bands) - by_band.keys(),
        variance=np.zeros(shape, np.float32) if keep_variance else None,
    )
    reading_options = _Options(tuple(bad_mask_planes), check_variance or keep_variance, restore_background)
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="coadd") as pool:
        futures = {}
        for i, band in enumerate(bands):
            if band in planes.missing_bands:
                planes.reasons[i] = Reason.NO_DATA
                continue
            futures[band] = pool.submit(
                _read_band,
                by_band[band],
                cover,
                reading_options,
                planes.image[i],
                planes.reasons[i],
                None if planes.variance is None else planes.variance[i],
            )
        try:
            restored = frozenset(band for band, future in futures.items() if future.result())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return dataclasses.replace(planes, restored_bands=restored)


@dataclasses.dataclass(frozen=True)
class _Options:
    """How the pixels of a coadd are read."""

    bad_mask_planes: tuple[str, ...]
    read_variance: bool
    restore_background: bool


def _read_band(
    source: CoaddSource,
    cover: Cover,
    options: _Options,
    image: npt.NDArray[np.float32],
    reasons: npt.NDArray[np.uint8],
    variance: npt.NDArray[np.float32] | None,
) -> bool:
    """Read one band's pixels into arrays ``[y, x]`` of the cover's box.

    Return whether a background was added.
    """

    def fill(bbox: tuple[int, int, int, int], read: PixelReader) -> None:
        if bbox != cover.bbox:
            raise ValueError(f"its box {bbox} differs from that of the patch's other coadds, {cover.bbox}")
        for box in cover.boxes:
            x0, y0, _, _ = cover.bbox
            part = slice(box[1] - y0, box[3] - y0), slice(box[0] - x0, box[2] - x0)
            fill_pixels(
                read(box),
                options.bad_mask_planes,
                image[part],
                reasons[part],
                None if variance is None else variance[part],
            )

    if not cover.boxes:
        return False
    if source.exposure is not None:
        with reading(source):
            fill(
                bounding_box(source.exposure),
                lambda box: read_exposure(source.exposure, box, check_variance=options.read_variance),
            )
        return False
    with open_coadd(source) as reader:
        box = reader.get_component("bbox")
        unit = reader.get_component("unit")
        background = _subtracted(reader) if options.restore_background else None
        fill(
            (int(box.x.start), int(box.y.start), int(box.x.stop), int(box.y.stop)),
            lambda box: _read_cells(reader, box, unit, options.read_variance, background),
        )
    _LOG.debug("Read %s", source)
    return background is not None


def _subtracted(reader: Any) -> Any:
    """Return the model of the background that was subtracted, if any."""
    background = reader.get_component("backgrounds").subtracted
    return None if background is None else background.field


def _read_cells(
    reader: Any, box: tuple[int, int, int, int], unit: u.UnitBase, read_variance: bool, background: Any
) -> RawPixels:
    """Read the pixels of one box of a cell coadd."""
    part = Box(y=Interval(box[1], box[3]), x=Interval(box[0], box[2]))
    mask = reader.get_component("mask", bbox=part)

    def flagged(names: Collection[str]) -> npt.NDArray[np.bool_]:
        bits = mask.schema.bitmask(*(name for name in dict.fromkeys(names) if name in mask.schema.names))
        result = np.zeros(mask.array.shape[:2], np.bool_)
        for i in np.flatnonzero(bits):
            result |= (mask.array[:, :, i] & bits[i]) != 0
        return result

    return RawPixels(
        image=reader.get_component("image", bbox=part).array,
        to_nanojansky=float(unit.to(u.nJy)),
        flagged=flagged,
        variance=reader.get_component("variance", bbox=part).array if read_variance else None,
        background=None if background is None else _render(background, part, unit),
    )


def _render(background: Any, part: Box, unit: u.UnitBase) -> npt.NDArray[np.float32]:
    """Return a background's values in a box, in the unit of the image."""
    values = background.render(part, dtype=np.float32)
    factor = 1.0 if values.unit is None else float(values.unit.to(unit))
    return np.asarray(values.array * np.float32(factor))
