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

"""Features with known truth, put into coadds that exist."""

from __future__ import annotations

__all__ = ("Feature", "Hosts", "draw_features", "paint_feature")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve
from scipy.spatial.transform import Rotation

from .debris import paint_debris, project
from .library import EncounterLibrary
from .snapshots import KINDS, Encounter

type Image = npt.NDArray[np.float32]
type Floats = npt.NDArray[np.float64]
type Bounds = tuple[int, int, int, int]

REACH = 14.0
"""Half-light radii of the host within which debris is painted."""

_SHELL_TILT = 0.5
"""Largest sine of the angle between the axis of shells and the sky."""

_BELL_PIXELS = 64
"""Sides of the picture over that of the widest bell, at least."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Objects that may get a feature, one array of length ``n`` each."""

    object_id: npt.NDArray[np.int64]
    """Identifiers."""

    patch: npt.NDArray[np.int64]
    """Patch that owns each."""

    ra: Floats
    """Right ascension (degrees)."""

    dec: Floats
    """Declination (degrees)."""

    x: Floats
    """Column in the tract's pixels."""

    y: Floats
    """Row in the tract's pixels."""

    half_light: Floats
    """Half-light radius (arcsec)."""

    flux: Mapping[str, Floats]
    """Flux by band (nJy); not positive where unknown."""

    def __len__(self) -> int:
        return len(self.object_id)

    def __getitem__(self, key: npt.NDArray[np.generic] | slice) -> Hosts:
        """Return the hosts that a mask, slice or index array selects."""
        arrays = {f.name: getattr(self, f.name)[key] for f in dataclasses.fields(self) if f.name != "flux"}
        return Hosts(**arrays, flux={band: values[key] for band, values in self.flux.items()})


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature around a host."""

    kind: str
    """One of `KINDS`."""

    encounter: int
    """Its encounter's number in the library."""

    time: int
    """The number of the time."""

    xy: Image
    """Particles from the host's centre along the tract's axes (arcsec),
    ``[m, 2]``.
    """

    weight: Image
    """Their shares of the light, ``[m]``."""

    flux: Mapping[str, float]
    """Flux of all of them by band (nJy)."""

    @property
    def reach(self) -> float:
        """Distance from the host that holds all but a thousandth (arcsec)."""
        return float(np.quantile(np.abs(self.xy).max(axis=1), 0.999)) if len(self.xy) else 0.0


def draw_features(
    rng: np.random.Generator,
    hosts: Hosts,
    library: EncounterLibrary,
    *,
    kinds: tuple[str, ...] = KINDS,
    fainter: tuple[float, float] = (-1.0, 3.0),
) -> list[Feature]:
    """Draw a feature for each host.

    Parameters
    ----------
    rng
        Source of random numbers.
    hosts
        The hosts.
    library
        Where encounters come from.
    kinds
        Kinds of debris to choose from.
    fainter
        Range of magnitudes by which features are fainter than their
        encounters have them, evenly; so there are some of any brightness.

    Returns
    -------
    features
        In the order of the hosts. Their colour is the host's, a little
        bluer on average, with some scatter.
    """
    features = []
    for k in range(len(hosts)):
        kind = kinds[int(rng.integers(len(kinds)))]
        number, time = int(rng.integers(library.count)), int(rng.integers(library.times))
        encounter = library.encounter(kind, number, time)
        rotation = _rotation(rng, encounter)
        light = encounter.light * 10.0 ** (-0.4 * rng.uniform(*fainter))
        # Magnitudes by which the bands differ, bluest first.
        colour = rng.normal(-0.05, 0.06)
        flux = {}
        known = [values[k] for values in hosts.flux.values() if values[k] > 0.0]
        for step, (band, values) in enumerate(hosts.flux.items()):
            own = values[k] if values[k] > 0.0 else (known[0] if known else 0.0)
            flux[band] = float(light * own * 10.0 ** (0.4 * colour * (step - 0.5 * (len(hosts.flux) - 1))))
        xy = project(encounter.x, rotation) * np.float32(hosts.half_light[k])
        near = np.abs(xy).max(axis=1) < REACH * hosts.half_light[k]
        features.append(Feature(kind, number, time, xy[near], encounter.weight[near], flux))
    return features


def paint_feature(
    feature: Feature,
    x: float,
    y: float,
    *,
    pixel_scale: float,
    kernels: Mapping[str, npt.NDArray[np.floating]],
) -> tuple[Bounds, dict[str, Image]]:
    """Paint a feature on the pixels of a tract.

    Parameters
    ----------
    feature
        The feature.
    x, y
        The host's position in the tract's pixels.
    pixel_scale
        Size of a pixel (arcsec).
    kernels
        By band, the point spread function there as an image, whose middle
        pixel is its centre.

    Returns
    -------
    bounds
        The pixels, ``(x0, y0, x1, y1)``, ends exclusive.
    images
        By band, the flux in each of them (nJy), ``[y, x]``.
    """
    margin = max(max(kernel.shape) for kernel in kernels.values()) // 2 + 4
    half = int(np.ceil(feature.reach / pixel_scale)) + margin
    column, row = int(np.rint(x)), int(np.rint(y))
    size = 2 * half + 1
    # The widest bell must still bridge the gaps between particles.
    levels = max(6, int(np.ceil(np.log2(size / _BELL_PIXELS))) + 4)
    offset = np.array([x - column, y - row]) * pixel_scale
    share = paint_debris(
        feature.xy + offset.astype(np.float32),
        feature.weight,
        size=size,
        pixel_scale=pixel_scale,
        levels=levels,
    )
    images = {}
    for band, kernel in kernels.items():
        seen = fftconvolve(share, kernel / kernel.sum(), mode="same")
        images[band] = (feature.flux[band] * np.maximum(seen, 0.0)).astype(np.float32)
    return (column - half, row - half, column + half + 1, row + half + 1), images


def _rotation(rng: np.random.Generator, encounter: Encounter) -> Floats:
    """Draw a side to look from; shells are seen as such from some alone."""
    while True:
        turn = np.asarray(Rotation.random(random_state=rng).as_matrix(), dtype=np.float64)
        if encounter.kind != "shell" or abs(turn[2] @ encounter.axis) < _SHELL_TILT:
            return turn
