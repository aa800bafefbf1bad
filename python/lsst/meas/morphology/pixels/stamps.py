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

"""Stamps of objects, cut from planes in batches."""

from __future__ import annotations

__all__ = ("Stamps", "cut_stamps", "stamp_boxes")

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from ..flags import Flag
from .depth import stated_noise
from .geometry import Geometry
from .planes import Planes
from .reasons import Reason
from .resample import axis_weights, footprint, resample
from .targets import Targets

WINDOW_STEP = 16
"""Windows' sides are multiples of this, so that many share a side."""

CHUNK_BYTES = 1 << 25
"""Most bytes of windows that are resampled at a time."""

VALID_FRACTION = 0.5
"""A stamp pixel is valid if more than this fraction of it is good."""

CENTRE_FRACTION = 0.25
"""Side of the central part of a stamp, over the stamp's side."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class FieldOfView(Protocol):
    """How much of the sky stamps show, as the model's manifest says."""

    def arcsec_per_px(
        self, radius: npt.NDArray[np.float32], stamp_size: int
    ) -> tuple[npt.NDArray[np.float32], Bools]:
        """Return each stamp's pixel scale and whether it was limited."""
        ...


@dataclasses.dataclass(frozen=True)
class Stamps:
    """Stamps of a batch of targets, in the targets' order.

    Rows run along the coadd's y and columns along its x, and the object lies
    at the centre, ``((size - 1) / 2, (size - 1) / 2)``.
    """

    flux: npt.NDArray[np.float32]
    """Flux in nJy per stamp pixel, 0 where invalid, ``[n, band, y, x]``."""

    valid: Bools
    """Whether the flux was measured, ``[n, band, y, x]``."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Pixel scale of each stamp in arcsec, ``[n]``."""

    flags: npt.NDArray[np.uint32]
    """Bits of `~lsst.meas.morphology.flags.Flag`, those of the targets
    among them, ``[n]``.
    """

    sigma: npt.NDArray[np.float32]
    """Noise that the coadd states, as the median over the stamp (nJy per
    coadd pixel), ``[n, band]``; NaN where there is none, and throughout if
    the planes don't hold the variance.
    """

    def __len__(self) -> int:
        return len(self.flags)


def stamp_boxes(
    targets: Targets, geometry: Geometry, *, field_of_view: FieldOfView, stamp_size: int
) -> Integers:
    """Return the pixels that the targets' stamps need.

    Parameters
    ----------
    targets
        The objects.
    geometry
        Where the patch's pixels lie.
    field_of_view
        The model's field of view.
    stamp_size
        Side of the stamps in their own pixels.

    Returns
    -------
    boxes
        Boxes ``(x0, y0, x1, y1)`` in the tract's pixels, ends exclusive and
        cut off at the patch's edges, ``[m, 4]``, one for each target that
        can have a stamp.
    """
    scale, _ = field_of_view.arcsec_per_px(targets.radius, stamp_size)
    boxes = _boxes(targets, scale.astype(np.float64) / geometry.pixel_scale, stamp_size)
    return _clip(boxes[targets.measurable], geometry.bbox)


def cut_stamps(
    planes: Planes,
    targets: Targets,
    geometry: Geometry,
    *,
    field_of_view: FieldOfView,
    stamp_size: int,
    bands: Sequence[str],
    optional_bands: Sequence[str] = (),
    batch_size: int = 64,
) -> Iterator[Stamps]:
    """Cut and resample the stamps of targets, batch by batch.

    Parameters
    ----------
    planes
        The patch's pixels, read with a cover of `stamp_boxes`.
    targets
        The objects.
    geometry
        Where the patch's pixels lie.
    field_of_view
        The model's field of view.
    stamp_size
        Side of the stamps in their own pixels.
    bands
        The model's bands, in the order of the stamps.
    optional_bands
        Those that may be missing.
    batch_size
        Number of targets in a batch; the last may be smaller.  The stamps do
        not depend on it.

    Returns
    -------
    batches
        Iterator over batches, in the order of the targets, one stamp for
        each.  A target that can't be measured has flux 0, no valid pixel and
        the flag `~lsst.meas.morphology.flags.Flag.GENERAL`: it has no place
        on the image, or a band that is not optional is missing or has no
        valid pixel in the stamp's central part.

    Raises
    ------
    ValueError
        Raised if the planes lack a band or pixels that the stamps need: they
        were read for others.
    """
    absent = [band for band in bands if band not in planes.bands]
    if absent:
        raise ValueError(f"The planes hold bands {planes.bands}, not {', '.join(absent)}.")
    boxes = stamp_boxes(targets, geometry, field_of_view=field_of_view, stamp_size=stamp_size)
    if not planes.cover.covers(boxes).all():
        raise ValueError("The planes were read with a cover that does not hold all of these stamps.")
    cutter = _Cutter(planes, geometry, field_of_view, stamp_size, tuple(bands), frozenset(optional_bands))
    return (cutter.cut(targets[i : i + batch_size]) for i in range(0, len(targets), batch_size))


def _boxes(targets: Targets, scale: Floats, size: int) -> Integers:
    """Return the box of each target's stamp, zero if it has no position."""
    x, y = np.nan_to_num(targets.x), np.nan_to_num(targets.y)
    (x0, x1), (y0, y1) = footprint(x, scale, size), footprint(y, scale, size)
    return np.column_stack([x0, y0, x1, y1])


def _clip(boxes: Integers, bbox: tuple[int, int, int, int]) -> Integers:
    """Cut boxes off at the edges of the patch."""
    return np.column_stack([np.clip(boxes[:, axis], bbox[axis % 2], bbox[axis % 2 + 2]) for axis in range(4)])


def _central(size: int) -> slice:
    """Return the central part of a stamp, along either axis."""
    half = max(1, round(0.5 * CENTRE_FRACTION * size))
    return slice(size // 2 - half, size - (size // 2 - half))


@dataclasses.dataclass(frozen=True)
class _Group:
    """Targets whose windows have one shape, and those windows."""

    members: Integers
    """Positions in the batch, ``[k]``."""

    x: Floats
    """Column of each target in its window, ``[k]``."""

    y: Floats
    """Row of each target in its window, ``[k]``."""

    scale: Floats
    """Pixels per stamp pixel, ``[k]``."""

    starts: Integers
    """First row and column of each window, in the planes, ``[k, 2]``."""

    shape: tuple[int, int]
    """Rows and columns of the windows."""

    def __getitem__(self, key: slice | Bools) -> _Group:
        return _Group(
            self.members[key], self.x[key], self.y[key], self.scale[key], self.starts[key], self.shape
        )


@dataclasses.dataclass(frozen=True)
class _Cutter:
    """Cuts batches of stamps from the planes of one patch."""

    planes: Planes
    geometry: Geometry
    field_of_view: FieldOfView
    size: int
    bands: tuple[str, ...]
    optional_bands: frozenset[str]

    def cut(self, targets: Targets) -> Stamps:
        """Cut the stamps of one batch."""
        shape = (len(targets), len(self.bands), self.size, self.size)
        arcsec_per_px, limited = self.field_of_view.arcsec_per_px(targets.radius, self.size)
        scale = arcsec_per_px.astype(np.float64) / self.geometry.pixel_scale
        boxes = _clip(_boxes(targets, scale, self.size), self.geometry.bbox)
        boxes[~targets.measurable] = 0
        stamps = Stamps(
            np.zeros(shape, np.float32),
            np.zeros(shape, np.bool_),
            arcsec_per_px,
            targets.flags.copy(),
            stated_noise(self.planes, boxes, self.bands),
        )
        stamps.flags[limited] |= np.uint32(Flag.FIELD_LIMIT)
        missing = [band for band in self.bands if band in self.planes.missing_bands]
        if missing:
            stamps.flags[:] |= np.uint32(Flag.MISSING_BAND)
        if set(missing) - self.optional_bands:
            stamps.flags[:] |= np.uint32(Flag.GENERAL)
            return stamps
        for group in self._groups(targets, scale, stamps):
            self._fill(group, stamps)
        self._refuse_empty_centres(stamps)
        return stamps

    def _groups(self, targets: Targets, scale: Floats, stamps: Stamps) -> Iterator[_Group]:
        """Sort the measurable targets by the shape of their windows."""
        members = np.flatnonzero(targets.measurable)
        boxes = _boxes(targets, scale, self.size)[members]
        x0, y0, x1, y1 = self.geometry.bbox
        clipped = _clip(boxes, self.geometry.bbox)
        stamps.flags[members[(clipped != boxes).any(axis=1)]] |= np.uint32(Flag.EDGE)
        limits = np.array([y1 - y0, x1 - x0])
        sides = np.column_stack([boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]]).max(axis=1)
        sides = -(-sides // WINDOW_STEP) * WINDOW_STEP
        for side in np.unique(sides):
            chosen = sides == side
            shape = np.minimum(side, limits)
            starts = np.clip(boxes[chosen][:, [1, 0]] - [y0, x0], 0, limits - shape)
            group = _Group(
                members=members[chosen],
                x=targets.x[members[chosen]] - x0 - starts[:, 1],
                y=targets.y[members[chosen]] - y0 - starts[:, 0],
                scale=scale[members[chosen]],
                starts=starts,
                shape=(int(shape[0]), int(shape[1])),
            )
            step = max(1, CHUNK_BYTES // (8 * len(self.bands) * int(shape.prod())))
            for i in range(0, len(group.members), step):
                yield group[i : i + step]

    def _windows[T: np.generic](self, array: npt.NDArray[T], group: _Group) -> npt.NDArray[T]:
        """Copy a group's windows of planes, as ``[k, y, band, x]``."""
        n_rows, n_columns = group.shape
        windows = np.empty((len(group.members), n_rows, len(self.bands), n_columns), array.dtype)
        for i, band in enumerate(self.bands):
            view = sliding_window_view(array[self.planes.bands.index(band)], group.shape)
            windows[:, :, i] = view[group.starts[:, 0], group.starts[:, 1]]
        return windows

    def _fill(self, group: _Group, stamps: Stamps) -> None:
        """Resample a group of targets into their stamps."""
        present = [band not in self.planes.missing_bands for band in self.bands]
        reasons = self._windows(self.planes.reasons, group)
        reasons[:, :, np.logical_not(present)] = 0
        edge = (stamps.flags[group.members] & np.uint32(Flag.EDGE)) != 0
        spoilt = edge | reasons.any(axis=(1, 2, 3))
        for chosen, whole in ((~spoilt, True), (spoilt, False)):
            if not chosen.any():
                continue
            part = group[chosen]
            flux = self._windows(self.planes.image, part)
            rows = axis_weights(part.y, part.scale, self.size, part.shape[0])
            columns = axis_weights(part.x, part.scale, self.size, part.shape[1])
            if whole:
                stamps.flux[part.members] = resample(flux, rows, columns)
                stamps.valid[part.members] = np.array(present)[:, None, None]
                continue
            self._flag(part, reasons[chosen], stamps)
            good = (reasons[chosen] == 0).astype(np.float32)
            both = resample(np.concatenate([flux, good], axis=2), rows, columns)
            total, fraction = np.split(both, 2, axis=1)
            fraction /= np.square(part.scale).astype(np.float32)[:, None, None, None]
            valid = (fraction > VALID_FRACTION) & np.array(present)[:, None, None]
            stamps.valid[part.members] = valid
            stamps.flux[part.members] = np.divide(total, fraction, out=np.zeros_like(total), where=valid)

    def _flag(self, group: _Group, reasons: npt.NDArray[np.uint8], stamps: Stamps) -> None:
        """Flag targets by what is wrong with the pixels of their stamps."""
        within = [
            self._within(group, reasons, 0.5 * self.size),
            self._within(group, reasons, 0.5 * self.size * CENTRE_FRACTION),
        ]
        for bits, reason, flag in (
            (within[0], Reason.NO_DATA, Flag.NO_DATA),
            (within[0], Reason.NONFINITE, Flag.NONFINITE),
            (within[1], Reason.SATURATED, Flag.SATURATED),
        ):
            stamps.flags[group.members[(bits & np.uint8(reason)) != 0]] |= np.uint32(flag)

    @staticmethod
    def _within(group: _Group, reasons: npt.NDArray[np.uint8], half: float) -> npt.NDArray[np.uint8]:
        """Return the reasons within some stamp pixels of each centre."""
        reach = (half * group.scale + 0.5)[:, None]
        rows = np.abs(np.arange(group.shape[0]) - group.y[:, None]) < reach
        columns = np.abs(np.arange(group.shape[1]) - group.x[:, None]) < reach
        inside = reasons * rows[:, :, None, None].view(np.uint8) * columns[:, None, None, :].view(np.uint8)
        return np.asarray(np.bitwise_or.reduce(inside, axis=(1, 2, 3)))

    def _refuse_empty_centres(self, stamps: Stamps) -> None:
        """Refuse targets without a valid pixel near the centre."""
        required = [i for i, band in enumerate(self.bands) if band not in self.optional_bands]
        centre = _central(self.size)
        seen = stamps.valid[:, required, centre, centre].any(axis=(2, 3)).all(axis=1)
        stamps.flags[~seen] |= np.uint32(Flag.GENERAL)
        unmeasured = (stamps.flags & np.uint32(Flag.GENERAL)) != 0
        stamps.flux[unmeasured] = 0.0
        stamps.valid[unmeasured] = False
