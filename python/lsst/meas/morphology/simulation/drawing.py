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

"""Coadds of a tract, drawn with GalSim."""

from __future__ import annotations

__all__ = (
    "PSF_SIZE",
    "SATURATION",
    "Survey",
    "TractPlanes",
    "draw_object",
    "draw_tract",
    "object_conditions",
    "psf_kernels",
    "rotated",
)

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import galsim
import numpy as np
import numpy.typing as npt

from .galaxies import GalaxyParameters, Kind
from .layout import TractLayout
from .observing import NATIVE_SCALE, Conditions, band_fwhm, electrons_per_njy, sky_sigma
from .painting import band_flux, paint
from .sky import SkyObjects, missing_cells

type Floats = npt.NDArray[np.float64]
type Image = npt.NDArray[np.float32]

PSF_SIZE = 41
"""Side of a cell's kernel image in pixels."""

SATURATION = 20000.0
"""Flux of a pixel, in nJy, above which it is saturated."""

PAINTED = 21.3
"""Magnitude in i down to which galaxies are painted with all details."""

_OVERSAMPLED = 121
"""Side, in pixels, up to which objects are painted at half a pixel."""


@dataclasses.dataclass(frozen=True)
class Survey:
    """Seeing and depth of a simulated survey."""

    bands: tuple[str, ...] = ("g", "r", "i")
    """Names of the bands."""

    fwhm: float = 0.85
    """Mean FWHM of the point spread function in r (arcsec)."""

    visits: float = 60.0
    """Number of visits in each band."""

    def cell_fwhm(self, band: str, layout: TractLayout) -> Floats:
        """Return the FWHM in each cell of a tract, ``[row, column]``.

        It varies by a few per cent, smoothly, and jumps a little from cell
        to cell, as the set of visits does.
        """
        _, _, width, height = layout.bounds
        rows, columns = np.mgrid[0 : height // layout.cell_size, 0 : width // layout.cell_size]
        phase = layout.tract + ord(band)
        wave = 0.04 * np.sin(0.5 * rows + 0.3 * columns + phase)
        jump = 0.015 * np.sin(12.9898 * rows + 78.233 * columns + 3.0 * phase)
        return np.asarray(band_fwhm(band, self.fwhm) * (1.0 + wave + jump))


@dataclasses.dataclass(frozen=True)
class TractPlanes:
    """Pixels of a tract in one band, ``[y, x]``."""

    image: Image
    """Flux in nJy."""

    variance: Image
    """Variance in nJy**2, infinite without data."""

    no_data: npt.NDArray[np.bool_]
    """Pixels without data."""

    saturated: npt.NDArray[np.bool_]
    """Saturated pixels."""

    detected: npt.NDArray[np.bool_]
    """Pixels of detected objects."""

    cosmic_ray: npt.NDArray[np.bool_]
    """Pixels that a cosmic ray hit in some visit."""

    fwhm: Floats
    """FWHM in each cell (arcsec), ``[row, column]``."""

    missing: frozenset[tuple[int, int]]
    """Cells without data, as row and column."""


def rotated(objects: SkyObjects, layout: TractLayout) -> GalaxyParameters:
    """Turn directions on the sky into directions in a tract's pixels."""
    north = layout.north(objects.ra, objects.dec)
    p = objects.parameters
    return dataclasses.replace(p, angle=p.angle + north, companion_angle=p.companion_angle + north)


def object_conditions(objects: SkyObjects, layout: TractLayout, survey: Survey) -> Conditions:
    """Return seeing and depth at the place of each object in a tract."""
    x, y = layout.sky_to_pixel(objects.ra, objects.dec)
    row, column = _cells(x, y, layout)
    fwhm = np.stack([survey.cell_fwhm(b, layout)[row, column] for b in survey.bands], axis=1)
    visits = np.full(fwhm.shape, survey.visits)
    sigma = np.stack([sky_sigma(b, visits[:, j]) for j, b in enumerate(survey.bands)], axis=1)
    return Conditions(survey.bands, fwhm, visits, sigma)


def _cells(x: Floats, y: Floats, layout: TractLayout) -> tuple[npt.NDArray[np.int64], ...]:
    """Return row and column of the nearest cell of the tract."""
    _, _, width, height = layout.bounds
    size = layout.cell_size
    column = np.clip(np.floor((x + 0.5) / size), 0, width // size - 1).astype(np.int64)
    row = np.clip(np.floor((y + 0.5) / size), 0, height // size - 1).astype(np.int64)
    return row, column


@functools.lru_cache(maxsize=4096)
def _kernel(fwhm_milliarcsec: int) -> Floats:
    image = _psf(fwhm_milliarcsec).drawImage(nx=PSF_SIZE, ny=PSF_SIZE, scale=NATIVE_SCALE)
    kernel = np.asarray(image.array, dtype=np.float64)
    return np.asarray(kernel / kernel.sum())


@functools.lru_cache(maxsize=4096)
def _psf(fwhm_milliarcsec: int) -> Any:
    return galsim.Kolmogorov(fwhm=fwhm_milliarcsec / 1000.0)


def psf_kernels(fwhm: Floats) -> Floats:
    """Draw the kernel image of each cell.

    Parameters
    ----------
    fwhm
        FWHM of the cells in arcsec, ``[row, column]``.

    Returns
    -------
    kernels
        Images of unit sum, ``[row, column, PSF_SIZE, PSF_SIZE]``.
    """
    return np.stack([np.stack([_kernel(round(1000.0 * value)) for value in row]) for row in fwhm])


def draw_object(
    parameters: GalaxyParameters,
    bands: tuple[str, ...],
    fwhm: Floats,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Image:
    """Draw one object as a coadd shows it, without noise.

    A bright object is painted and, as a `galsim.InterpolatedImage`, convolved
    with Kolmogorov seeing and the pixel; a faint galaxy is an exponential
    disk and a faint star a point.

    Parameters
    ----------
    parameters
        One object.
    bands
        Names of the bands.
    fwhm
        FWHM of each band in arcsec, ``[band]``.
    offset
        Where the object's centre is from the image's, in pixels, x and y.

    Returns
    -------
    image
        Flux in nJy per native pixel, ``[band, size, size]``, of odd size.
    """
    p = parameters
    star = int(p.kind[0]) == Kind.STAR
    magnitude, half_light = float(p.magnitude[0]), float(p.half_light[0])
    if star and magnitude > 17.0:
        profiles = [galsim.DeltaFunction(flux=f) for f in band_flux(p, bands)[0]]
        size = 41
    elif not star and magnitude > PAINTED and int(p.kind[0]) < Kind.STAR:
        q = float(np.hypot(p.axis_ratio[0], 0.15).clip(0.1, 1.0))
        disk = galsim.Exponential(half_light_radius=half_light).shear(
            q=q, beta=float(p.angle[0]) * galsim.radians
        )
        profiles = [disk.withFlux(f) for f in band_flux(p, bands)[0]]
        size = 2 * int(np.clip((5.0 * half_light + 3.0) / NATIVE_SCALE, 20, 100)) + 1
    else:
        size = _painted_size(p)
        finer = 2 if size <= _OVERSAMPLED else 1
        scale = NATIVE_SCALE / finer
        fine = paint(p, bands, size=size * finer, pixel_scale=scale)[0]
        profiles = [
            galsim.InterpolatedImage(
                galsim.Image(np.ascontiguousarray(plane), scale=scale),
                calculate_stepk=False,
                calculate_maxk=False,
            )
            for plane in fine
        ]
    return np.stack(
        [_draw(profile, width, size, offset) for profile, width in zip(profiles, fwhm, strict=True)]
    )


def _painted_size(p: GalaxyParameters) -> int:
    """Return a side that holds a bright object, in native pixels."""
    if int(p.kind[0]) >= Kind.STAR:
        return 161 if float(p.magnitude[0]) > 15.5 and int(p.kind[0]) == Kind.STAR else 321
    reach = float(p.half_light[0]) * (
        6.0 + 1.5 * float(p.disturbance[0] > 0.0) + 2.0 * float(p.companion_ratio[0] > 0)
    )
    return 2 * int(np.clip(reach / NATIVE_SCALE, 24, 240)) + 1


def _draw(profile: Any, fwhm: float, size: int, offset: tuple[float, float]) -> Image:
    observed = galsim.Convolve(profile, _psf(round(1000.0 * fwhm)))
    image = observed.drawImage(nx=size, ny=size, scale=NATIVE_SCALE, offset=offset, dtype=np.float32)
    return np.asarray(image.array, dtype=np.float32)


def draw_tract(
    layout: TractLayout,
    objects: SkyObjects,
    survey: Survey,
    seed: int,
    *,
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, TractPlanes]:
    """Draw the coadds of a tract.

    Parameters
    ----------
    layout
        The tract.
    objects
        All objects of the sky, whoever owns them.
    survey
        Seeing and depth.
    seed
        Seed of the noise.
    progress
        Called with a number of objects whenever so many more are drawn.

    Returns
    -------
    planes
        Pixels of each band.
    """
    _, _, width, height = layout.bounds
    images = np.zeros((len(survey.bands), height, width), dtype=np.float32)
    x, y = layout.sky_to_pixel(objects.ra, objects.dec)
    conditions = object_conditions(objects, layout, survey)
    parameters = rotated(objects, layout)
    for k in range(len(objects)):
        if np.isfinite(x[k]) and -200.0 < x[k] < width + 200.0 and -200.0 < y[k] < height + 200.0:
            column, row = round(float(x[k])), round(float(y[k]))
            stamp = draw_object(
                parameters[k : k + 1],
                survey.bands,
                conditions.fwhm[k],
                (float(x[k]) - column, float(y[k]) - row),
            )
            _add(images, stamp, row, column)
        progress(1)
    return {
        band: _observe(
            images[j], band, layout, survey, np.random.default_rng([seed, 2, layout.tract, ord(band)])
        )
        for j, band in enumerate(survey.bands)
    }


def _add(images: Image, stamp: Image, row: int, column: int) -> None:
    """Add a stamp where it overlaps the images."""
    half = stamp.shape[-1] // 2
    y0, x0 = row - half, column - half
    y1, x1 = y0 + stamp.shape[-2], x0 + stamp.shape[-1]
    a, b = max(y0, 0), min(y1, images.shape[-2])
    c, d = max(x0, 0), min(x1, images.shape[-1])
    if a < b and c < d:
        images[:, a:b, c:d] += stamp[:, a - y0 : b - y0, c - x0 : d - x0]


def _observe(
    image: Image, band: str, layout: TractLayout, survey: Survey, rng: np.random.Generator
) -> TractPlanes:
    """Add noise, saturation, cosmic rays and missing cells, in place."""
    sigma = float(sky_sigma(band, survey.visits))
    saturated = image > SATURATION
    np.minimum(image, np.float32(SATURATION), out=image)
    variance = np.maximum(image, 0.0) * np.float32(1.0 / (electrons_per_njy(band) * survey.visits))
    variance += np.float32(sigma**2)
    detected = image > 1.5 * sigma
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.sqrt(variance)
    cosmic_ray = np.zeros(image.shape, dtype=np.bool_)
    hits = image.size // 40000
    for row, column, length in zip(
        rng.integers(0, image.shape[0], hits).tolist(),
        rng.integers(0, image.shape[1], hits).tolist(),
        rng.integers(2, 9, hits).tolist(),
        strict=True,
    ):
        cosmic_ray[row, column : column + length] = True
    no_data = np.zeros(image.shape, dtype=np.bool_)
    missing = missing_cells(layout, band)
    size = layout.cell_size
    for row, column in missing:
        no_data[row * size : (row + 1) * size, column * size : (column + 1) * size] = True
    image[no_data] = 0.0
    variance[no_data] = np.inf
    for plane in (saturated, detected, cosmic_ray):
        plane[no_data] = False
    return TractPlanes(
        image, variance, no_data, saturated, detected, cosmic_ray, survey.cell_fwhm(band, layout), missing
    )
