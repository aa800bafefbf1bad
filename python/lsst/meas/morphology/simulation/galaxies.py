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

"""What the simulated galaxies are like: parameters and their distributions."""

from __future__ import annotations

__all__ = (
    "EDGE_ON",
    "INVERSE_WAVELENGTH",
    "Artifact",
    "GalaxyParameters",
    "Kind",
    "Mix",
    "colour_offset",
    "draw_parameters",
)

import dataclasses
import enum
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from .distributions import draw_axis_ratios, draw_magnitudes, draw_merging, draw_redshifts, draw_rings

type Floats = npt.NDArray[np.float64]
type Mix = Literal["training", "natural"]

EDGE_ON = 0.2
"""Cosine of the inclination below which a disk is drawn edge-on."""

INVERSE_WAVELENGTH = {"u": 2.725, "g": 2.075, "r": 1.608, "i": 1.326, "z": 1.151, "y": 1.030}
"""Inverse effective wavelengths of LSST's bands in 1/micron."""


class Kind(enum.IntEnum):
    """What an object is."""

    ELLIPTICAL = 0
    DISK = 1
    STAR = 2
    ARTIFACT = 3


class Artifact(enum.IntEnum):
    """What an artefact is."""

    NONE = 0
    SATELLITE = 1
    SCATTERED = 2
    SATURATION = 3
    GHOST = 4
    DIFFRACTION = 5
    RAY = 6
    OTHER = 7


@dataclasses.dataclass(frozen=True)
class GalaxyParameters:
    """Parameters of ``n`` objects, one array of length ``n`` each.

    Lengths are in arcsec, angles in radians, fractions between 0 and 1.
    """

    kind: npt.NDArray[np.int64]
    """What it is (`Kind`)."""

    artifact: npt.NDArray[np.int64]
    """What artefact it is (`Artifact`)."""

    seed: npt.NDArray[np.uint64]
    """Seed of the details: clumps, wiggles and tails."""

    magnitude: Floats
    """Total AB magnitude in the i band."""

    redshift: Floats
    """Redshift of a galaxy; 0 for what is none."""

    size_error: Floats
    """Measured size over the true one; 1 unless the measurement failed."""

    half_light: Floats
    """Half-light radius of the disk, or of the elliptical, along the major
    axis.
    """

    sersic: Floats
    """Sersic index of the elliptical, or of the bulge."""

    axis_ratio: Floats
    """Apparent axis ratio; of a disk the cosine of its inclination."""

    angle: Floats
    """Direction of the major axis from the x axis."""

    thickness: Floats
    """Vertical over radial scale length of a disk."""

    bulge_fraction: Floats
    """Bulge's part of the light in the i band."""

    bulge_half_light: Floats
    """Half-light radius of the bulge."""

    bulge_axis_ratio: Floats
    """Axis ratio of the bulge."""

    boxiness: Floats
    """Exponent of the superellipse of an edge-on bulge; 2 is an ellipse."""

    bar_strength: Floats
    """Bar's part of the disk's old light over the largest in use; 0: none."""

    bar_length: Floats
    """Half length of the bar in units of the disk's scale length."""

    bar_axis_ratio: Floats
    """Width over length of the bar."""

    bar_angle: Floats
    """Direction of the bar in the disk's plane."""

    arm_strength: Floats
    """Arms' part of the disk's light over the largest in use; 0: none."""

    arm_count: npt.NDArray[np.int64]
    """Number of spiral arms."""

    pitch: Floats
    """Pitch angle of the arms."""

    arm_phase: Floats
    """Azimuth of the first arm at one scale length."""

    ring_strength: Floats
    """Ring's part of the disk's light over the largest in use; 0: none.
    From the side none is seen.
    """

    ring_radius: Floats
    """Radius of the ring in units of the disk's scale length."""

    ring_width: Floats
    """Width (one sigma) of the ring over its radius."""

    lopsidedness: Floats
    """How irregular a disk is: off-centre, patchy and without arms, bulge
    or ring; 0: regular.
    """

    flocculence: Floats
    """How broken up the arms are."""

    clumpiness: Floats
    """Clumps' part of the disk's light over the largest in use."""

    dust: Floats
    """Optical depth of the dust lane of an edge-on disk; less of it shows
    in a disk that is merely inclined.
    """

    red_colour: Floats
    """g - r of the old stars."""

    blue_colour: Floats
    """g - r of the arms and clumps."""

    disturbance: Floats
    """Tidal tails' part of the light over the largest in use; 0: none."""

    companion_ratio: Floats
    """Flux of the companion over the main galaxy's; 0: none."""

    companion_distance: Floats
    """Distance of the companion in half-light radii."""

    companion_angle: Floats
    """Direction to the companion."""

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, index: object) -> Self:
        """Return the objects that a slice, mask or index array selects."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join several sets of objects."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(cls)}
        )

    def flux(self) -> Floats:
        """Return the total flux in the i band in nJy, ``[n]``."""
        return np.asarray(10.0 ** (0.4 * (31.4 - self.magnitude)), dtype=np.float64)


def colour_offset(band: str) -> float:
    """Return the magnitude in a band over that in i, for g - r = 1.

    The spectrum's slope is taken as constant in inverse wavelength.

    Raises
    ------
    ValueError
        Raised if the band is none of LSST's.
    """
    try:
        slope = INVERSE_WAVELENGTH["g"] - INVERSE_WAVELENGTH["r"]
        return (INVERSE_WAVELENGTH[band] - INVERSE_WAVELENGTH["i"]) / slope
    except KeyError:
        raise ValueError(f"No colours are known for band {band!r}; bands are u, g, r, i, z, y.") from None


def draw_parameters(
    rng: np.random.Generator,
    n: int,
    *,
    mix: Mix = "natural",
    magnitude_limit: float = 21.0,
) -> GalaxyParameters:
    """Draw objects of a magnitude-limited sample.

    Parameters
    ----------
    rng
        Source of random numbers.
    n
        Number of objects.
    mix
        ``natural`` follows the sky: number counts with a slope of 0.45,
        random inclinations, no problems. ``training`` has more bright,
        resolved, barred, spiral, edge-on and merging galaxies than the sky,
        and stars and artefacts.
    magnitude_limit
        Faintest magnitude in the i band.

    Returns
    -------
    parameters
        The objects.
    """
    training = mix == "training"
    shares = [0.25, 0.65, 0.04, 0.06] if training else [0.40, 0.60, 0.0, 0.0]
    kind = rng.choice(4, n, p=shares)
    galaxy, disk = kind < Kind.STAR, kind == Kind.DISK
    magnitude = draw_magnitudes(rng, n, magnitude_limit, flat=training)
    artifact = np.where(kind == Kind.ARTIFACT, rng.integers(1, len(Artifact), n), 0)
    bright = (kind == Kind.STAR) | (artifact == Artifact.SATURATION)
    magnitude[bright] = rng.uniform(11.0, 15.5, n)[bright]
    redshift = draw_redshifts(rng, magnitude) * galaxy
    half_light = 10.0 ** (0.36 - 0.125 * (magnitude - 18.0) + rng.normal(0.0, 0.17, n))
    half_light *= np.where(disk, 1.4 if training else 1.0, 1.0 if training else 0.8)
    half_light = np.clip(half_light, 0.25, 12.0)
    bulge_fraction = np.where(rng.random(n) < 0.18, 0.0, rng.beta(0.9, 2.6, n))
    barred = rng.choice(3, n, p=[0.30, 0.22, 0.48] if training else [0.55, 0.25, 0.20])
    bar_strength = np.choose(barred, [np.zeros(n), rng.uniform(0.2, 0.45, n), rng.uniform(0.6, 1.0, n)])
    armed = rng.random(n) < np.where(bulge_fraction > 0.5, 0.25, 0.8 if training else 0.7)
    stage = rng.choice(4, n, p=[0.76, 0.08, 0.07, 0.09] if training else [0.91, 0.04, 0.02, 0.03])
    disturbance, ratio = draw_merging(rng, stage)
    nothing = np.zeros(n)
    drawn = GalaxyParameters(
        kind=kind,
        artifact=artifact,
        seed=rng.integers(0, 2**63, n, dtype=np.uint64),
        magnitude=magnitude,
        redshift=redshift,
        size_error=np.ones(n),
        half_light=half_light,
        sersic=np.where(disk, rng.uniform(1.0, 3.0, n), rng.uniform(2.0, 4.5, n)),
        axis_ratio=draw_axis_ratios(rng, disk, training),
        angle=rng.uniform(0.0, np.pi, n),
        thickness=rng.uniform(0.07, 0.15, n),
        bulge_fraction=np.where(disk, bulge_fraction, nothing),
        bulge_half_light=half_light * rng.uniform(0.12, 0.3, n) * (0.6 + bulge_fraction),
        bulge_axis_ratio=rng.uniform(0.65, 1.0, n),
        boxiness=np.where(rng.random(n) < 0.25, rng.uniform(3.5, 5.0, n), 2.0),
        bar_strength=np.where(disk, bar_strength, nothing),
        bar_length=rng.uniform(0.9, 1.9, n),
        bar_axis_ratio=rng.uniform(0.2, 0.34, n),
        bar_angle=rng.uniform(0.0, np.pi, n),
        arm_strength=np.where(disk & armed, rng.uniform(0.3, 1.0, n), nothing),
        arm_count=rng.choice([1, 2, 3, 4, 5, 6], n, p=[0.05, 0.52, 0.18, 0.13, 0.07, 0.05]),
        pitch=np.radians(rng.uniform(8.0, 34.0, n)),
        arm_phase=rng.uniform(0.0, 2.0 * np.pi, n),
        ring_strength=nothing,
        ring_radius=nothing,
        ring_width=nothing,
        lopsidedness=nothing,
        flocculence=rng.beta(1.0, 2.5, n),
        clumpiness=np.where(disk & (rng.random(n) < 0.25), rng.uniform(0.3, 1.0, n), nothing),
        dust=np.where(rng.random(n) < 0.5, rng.uniform(0.5, 2.5, n), nothing),
        # Fainter galaxies are redder because they are farther away.
        red_colour=np.clip(rng.normal(0.85, 0.16, n), 0.55, 1.3) * (1.0 + redshift),
        blue_colour=rng.normal(0.28, 0.09, n) * (1.0 + redshift),
        disturbance=np.where(galaxy, disturbance, nothing),
        companion_ratio=np.where(galaxy, ratio, nothing),
        companion_distance=rng.uniform(1.2, 2.6, n),
        companion_angle=rng.uniform(0.0, 2.0 * np.pi, n),
    )
    drawn = _with_rings(rng, drawn, 0.11 if training else 0.075)
    drawn = _with_irregulars(rng, drawn, 0.08 if training else 0.06)
    return _with_wrong_sizes(rng, drawn, 0.015) if training else drawn


def _with_rings(rng: np.random.Generator, p: GalaxyParameters, share: float) -> GalaxyParameters:
    """Give rings to some of the disks that are not seen from the side.

    Arms beside a ring are weaker, so that there is light for both.
    """
    rings = draw_rings(rng, (p.kind == Kind.DISK) & (p.axis_ratio >= EDGE_ON), p.bar_length, share)
    return dataclasses.replace(
        p,
        ring_strength=rings.strength,
        ring_radius=rings.radius,
        ring_width=rings.width,
        arm_strength=np.where(rings.strength > 0.0, 0.6 * p.arm_strength, p.arm_strength),
    )


def _with_irregulars(rng: np.random.Generator, p: GalaxyParameters, share: float) -> GalaxyParameters:
    """Make some of the disks irregular: small, blue, thick and lopsided."""
    n = len(p)
    irregular = (p.kind == Kind.DISK) & (rng.random(n) < share)
    changes = {
        "lopsidedness": (rng.uniform(0.4, 1.0, n), np.zeros(n)),
        "clumpiness": (rng.uniform(0.0, 1.0, n), p.clumpiness),
        "axis_ratio": (0.35 + 0.6 * p.axis_ratio, p.axis_ratio),
        "thickness": (rng.uniform(0.2, 0.35, n), p.thickness),
        "half_light": (0.85 * p.half_light, p.half_light),
        "red_colour": (0.75 * p.red_colour, p.red_colour),
        "bar_strength": (p.bar_strength * (rng.random(n) < 0.5), p.bar_strength),
    }
    changes |= {
        name: (np.zeros(n), getattr(p, name))
        for name in ("bulge_fraction", "arm_strength", "ring_strength", "dust")
    }
    return dataclasses.replace(
        p, **{name: np.where(irregular, yes, no) for name, (yes, no) in changes.items()}
    )


def _with_wrong_sizes(rng: np.random.Generator, p: GalaxyParameters, share: float) -> GalaxyParameters:
    """Measure the sizes of some galaxies wrongly.

    The frame then holds no more than the middle of a large galaxy, or a
    small one is lost in it.
    """
    n = len(p)
    wrong = (p.kind < Kind.STAR) & (rng.random(n) < share)
    large = wrong & (rng.random(n) < 0.5)
    small = wrong & ~large
    half_light = np.where(small, np.minimum(p.half_light, 1.2), p.half_light)
    half_light = np.where(large, rng.uniform(5.0, 10.0, n), half_light)
    size_error = np.where(large, rng.uniform(0.1, 0.2, n), 1.0)
    size_error = np.where(small, rng.uniform(6.0, 9.0, n) / half_light, size_error)
    return dataclasses.replace(
        p,
        size_error=size_error,
        half_light=half_light,
        bulge_half_light=p.bulge_half_light * half_light / p.half_light,
        magnitude=np.where(large, rng.uniform(14.0, 16.5, n), p.magnitude),
    )
