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

"""Stamps of kinds that no model was trained on."""

from __future__ import annotations

__all__ = ("STRANGERS", "AddNoise", "Stranger")

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

type Flux = npt.NDArray[np.float32]

type AddNoise = Callable[[Flux, float, np.random.Generator], Flux]
"""Returns stamps ``[n, b, s, s]`` with more noise of their own sky: so many
times what each band has already, and independent of it."""

type Spoil = Callable[[Flux, AddNoise, np.random.Generator], Flux]


@dataclasses.dataclass(frozen=True)
class Stranger:
    """A way of spoiling stamps."""

    name: str
    """What it is called."""

    meaning: str
    """What happens to a stamp."""

    spoil: Spoil
    """Spoils stamps ``[n, b, s, s]`` and leaves their noise as it was."""

    bar: float | None = None
    """Least area under the ROC curve wanted, if any."""

    bands: int = 1
    """Least number of bands that it needs."""


def _bad_columns(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    out = flux.copy()
    noise = np.median(np.abs(add_noise(np.zeros_like(flux), 1.0, rng)), axis=(2, 3)) / 0.6745
    for k, stamp in enumerate(out):
        band = rng.integers(len(stamp))
        for column in rng.integers(0, stamp.shape[-1], rng.integers(2, 6)):
            stamp[band, :, column] += noise[k, band] * rng.uniform(5.0, 50.0) * rng.choice([-1.0, 1.0])
    return out


def _shift(rng: np.random.Generator) -> tuple[int, int]:
    """Return a shift of four to eight pixels in any direction."""
    angle, length = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(4.0, 8.0)
    return round(length * np.sin(angle)), round(length * np.cos(angle))


def _cell(rng: np.random.Generator, size: int) -> tuple[slice, slice]:
    """Return the part of a stamp that lies in the cell of its centre."""
    edge = int(rng.integers(size // 4, size // 2))
    inside = slice(edge, None) if rng.random() < 0.5 else slice(0, size - edge)
    return (inside, slice(None)) if rng.random() < 0.5 else (slice(None), inside)


def _shifted_cell(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    out = flux.copy()
    for stamp in out:
        image = stamp[rng.integers(len(stamp))]
        cell = _cell(rng, image.shape[-1])
        image[cell] = np.roll(image, _shift(rng), axis=(0, 1))[cell]
    return out


def _shifted_in_all_bands(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    out = flux.copy()
    for stamp in out:
        cell = (slice(None), *_cell(rng, stamp.shape[-1]))
        stamp[cell] = np.roll(stamp, _shift(rng), axis=(1, 2))[cell]
    return out


def _doughnut(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    size = flux.shape[-1]
    radius = np.hypot(*(np.mgrid[:size, :size] - size // 2))
    outer = rng.uniform(5.0, 8.0, len(flux))[:, None, None]
    # The primary's hole is 0.61 of its diameter.
    kernel = ((radius < outer) & (radius > 0.61 * outer)).astype(np.float64)
    kernel /= kernel.sum(axis=(1, 2), keepdims=True)
    transfer = np.fft.rfft2(np.fft.ifftshift(kernel, axes=(1, 2)))[:, None]
    blurred = np.fft.irfft2(np.fft.rfft2(flux) * transfer, s=(size, size)).astype(np.float32)
    # Of the noise a hundredth is left.
    return add_noise(blurred, 1.0, rng)


def _swapped_bands(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    bands = np.arange(flux.shape[1])
    orders: list[npt.NDArray[np.intp]] = []
    while len(orders) < len(flux):
        order = rng.permutation(bands)
        if (order != bands).any():
            orders.append(order)
    return np.take_along_axis(flux, np.array(orders)[:, :, None, None], axis=1)


def _trailed(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    trail = sum((np.roll(flux, step, axis=-1) for step in range(-4, 5)), np.zeros_like(flux)) / np.float32(
        9.0
    )
    return add_noise(trail, float(np.sqrt(8.0 / 9.0)), rng)


def _negative(flux: Flux, add_noise: AddNoise, rng: np.random.Generator) -> Flux:
    return -flux


STRANGERS: tuple[Stranger, ...] = (
    Stranger(
        "bad columns",
        "two to five columns of one band are off by 5 to 50 sigma of the sky",
        _bad_columns,
        0.9,
    ),
    Stranger(
        "mis-registered cell",
        "in one band the cell that holds the object is shifted by 4 to 8 px",
        _shifted_cell,
        0.9,
        bands=2,
    ),
    Stranger("defocus doughnut", "blurred by a ring with an outer radius of 5 to 8 px", _doughnut, 0.9),
    Stranger("swapped bands", "the bands are in any other order", _swapped_bands, 0.9, bands=2),
    Stranger(
        "cell shifted in all bands",
        "the cell that holds the object is shifted by 4 to 8 px in all bands alike",
        _shifted_in_all_bands,
    ),
    Stranger("trailed", "smeared over 9 px along the rows", _trailed),
    Stranger("negative", "the sign of the flux is wrong", _negative),
)
"""The kinds, those without a bar last."""
