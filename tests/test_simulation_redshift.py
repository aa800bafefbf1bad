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

"""Simulated galaxies at other redshifts and depths."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.cosmology import Planck18

from lsst.meas.morphology.simulation.galaxies import EDGE_ON, GalaxyParameters, Kind, draw_parameters
from lsst.meas.morphology.simulation.observing import Conditions, draw_conditions, sky_sigma
from lsst.meas.morphology.simulation.painting import band_flux, paint
from lsst.meas.morphology.simulation.redshift import (
    angular_diameter_distance,
    at_depth,
    at_redshift,
    luminosity_distance,
)

BANDS = ("u", "g", "r", "i", "z", "y")
# Effective wavelengths of the bands in nm, from their inverses.
WAVELENGTH = np.array([366.97, 481.93, 621.89, 754.15, 868.81, 970.87])


def galaxies(n: int = 300) -> GalaxyParameters:
    p = draw_parameters(np.random.default_rng(11), 2 * n)
    face = (p.kind == Kind.ELLIPTICAL) | (p.axis_ratio >= EDGE_ON)
    return p[np.flatnonzero(face)[:n]]


def ellipticals(n: int, redshift: float) -> GalaxyParameters:
    p = draw_parameters(np.random.default_rng(12), n)
    zero = np.zeros(n)
    return dataclasses.replace(
        p,
        kind=np.full(n, Kind.ELLIPTICAL, dtype=np.int64),
        redshift=np.full(n, redshift),
        bulge_fraction=zero,
        disturbance=zero,
        companion_ratio=zero,
    )


def test_distances_are_plancks() -> None:
    z = np.array([0.01, 0.1, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(luminosity_distance(z), Planck18.luminosity_distance(z).value, rtol=2e-3)
    np.testing.assert_allclose(
        angular_diameter_distance(z), Planck18.angular_diameter_distance(z).value, rtol=2e-3
    )
    assert luminosity_distance(0.0) == 0.0


def test_median_redshift_is_that_of_its_distribution() -> None:
    n = 200000
    p = draw_parameters(np.random.default_rng(3), n, magnitude_limit=21.0)
    near = np.abs(p.magnitude - 19.0) < 0.1
    z = np.linspace(0.0, 2.0, 20001)
    density = z**2 * np.exp(-((z / (0.1 * 10.0**0.31 / 1.4121)) ** 1.5))
    below = np.cumsum(density) / density.sum()
    expected = np.interp([0.1, 0.5, 0.9], below, z)
    np.testing.assert_allclose(np.quantile(p.redshift[near], [0.1, 0.5, 0.9]), expected, rtol=0.03)
    assert expected[1] == pytest.approx(0.204, abs=0.001)


def test_surface_brightness_falls_with_the_fourth_power() -> None:
    p = ellipticals(5, 0.1)
    totals = []
    for z in (0.1, 0.3, 0.8):
        moved = at_redshift(p, z)
        # f_nu is F exp(-k nu), whose integral is F / k.
        flux = band_flux(moved, BANDS)
        frequency = 299792.458 / WAVELENGTH
        slope, intercept = np.polyfit(frequency, np.log(flux).T, 1)
        totals.append(np.exp(intercept) / -slope / moved.half_light**2)
    np.testing.assert_allclose(totals[1] / totals[0], (1.1 / 1.3) ** 4, rtol=2e-3)
    np.testing.assert_allclose(totals[2] / totals[0], (1.1 / 1.8) ** 4, rtol=2e-3)


def test_fluxes_are_those_of_the_shifted_spectrum() -> None:
    old, new = 0.15, 0.6
    p = ellipticals(4, old)
    here, there = band_flux(p, BANDS), band_flux(at_redshift(p, new), BANDS)
    # The spectrum, seen at the old redshift, says what is emitted.
    frequency = 299792.458 / WAVELENGTH
    for k in range(4):
        slope, intercept = np.polyfit(frequency, np.log(here[k]), 1)
        emitted = np.exp(intercept + slope * frequency * (1.0 + new) / (1.0 + old))
        distance = Planck18.luminosity_distance([old, new]).value
        expected = emitted * (1.0 + new) / (1.0 + old) * (distance[0] / distance[1]) ** 2
        np.testing.assert_allclose(there[k], expected, rtol=4e-3)


def test_sizes_are_the_same_in_kiloparsecs() -> None:
    p = galaxies()
    moved = at_redshift(p, 0.7)
    arcsec = Planck18.arcsec_per_kpc_proper(p.redshift).value
    there = Planck18.arcsec_per_kpc_proper(0.7).value
    np.testing.assert_allclose(moved.half_light / there, p.half_light / arcsec, rtol=4e-3)
    np.testing.assert_allclose(
        moved.bulge_half_light / moved.half_light, p.bulge_half_light / p.half_light, rtol=1e-12
    )


def test_there_and_back_is_the_same_galaxy() -> None:
    p = galaxies()
    merging = (p.companion_ratio > 0.0) | (p.disturbance > 0.0)
    moved = at_redshift(p, 0.9)
    assert (moved.redshift == 0.9).all()
    back = at_redshift(moved, p.redshift)
    for name, values in p[~merging].columns().items():
        there = back.columns()[name][~merging]
        np.testing.assert_allclose(there, values, rtol=1e-9, atol=1e-12, err_msg=name)
    # Tails and companions keep their mix of stars.
    assert np.abs(back.magnitude - p.magnitude)[merging].max() < 0.2
    same = at_redshift(p, p.redshift)
    np.testing.assert_allclose(same.magnitude, p.magnitude, rtol=1e-12)


def test_young_stars_stand_out_in_a_far_galaxy() -> None:
    p = galaxies()
    spirals = p[(p.arm_strength > 0.0) & (p.bulge_fraction > 0.1) & (p.red_colour > p.blue_colour + 0.2)]
    far = at_redshift(spirals, spirals.redshift + 0.5)
    assert (far.arm_strength > spirals.arm_strength).all()
    assert (far.bulge_fraction < spirals.bulge_fraction).all()


def test_each_population_of_a_painted_galaxy_is_shifted() -> None:
    """The painted light in each band is the sum of both shifted spectra."""
    p = galaxies(60)
    p = dataclasses.replace(
        p,
        dust=np.zeros(60),
        companion_ratio=np.zeros(60),
        disturbance=np.zeros(60),
        lopsidedness=np.zeros(60),
        half_light=np.minimum(p.half_light, 2.0),
        redshift=np.full(60, 0.1),
    )
    new = 0.4
    moved = at_redshift(p, new)
    frames = [
        paint(q, ("i",), size=192, pixel_scale=q.half_light / 16.0).sum(axis=(1, 2, 3), dtype=float)
        for q in (p, moved)
    ]
    young = p.arm_strength * 0.5 + p.clumpiness * 0.25 + p.ring_strength * 0.35
    young = np.where(p.kind == Kind.DISK, young * (1.0 - p.bulge_fraction), 0.0)
    distance = Planck18.luminosity_distance([0.1, new]).value
    total = np.zeros(60)
    for share, colour in ((1.0 - young, p.red_colour), (young, p.blue_colour)):
        # The slope in magnitudes per inverse micron, at rest.
        slope = colour / (2.075 - 1.608) / 1.1
        fainter = slope * 1.326 * (new - 0.1) - 2.5 * np.log10((1.0 + new) / 1.1)
        total += share * 10.0 ** (-0.4 * fainter) * (distance[0] / distance[1]) ** 2
    np.testing.assert_allclose(frames[1] / frames[0], total, rtol=5e-3)


def test_what_is_no_galaxy_stays() -> None:
    p = draw_parameters(np.random.default_rng(2), 400, mix="training")
    odd = p.kind >= Kind.STAR
    moved = at_redshift(p, 1.0)
    for name, values in p.columns().items():
        np.testing.assert_array_equal(moved.columns()[name][odd], values[odd])
    assert moved.kind.dtype == p.kind.dtype
    assert moved.seed.dtype == p.seed.dtype
    assert len(at_redshift(p[:0], 0.5)) == 0


@pytest.mark.parametrize("redshift", [0.0, -0.1, np.nan])
def test_no_galaxy_is_here(redshift: float) -> None:
    with pytest.raises(ValueError, match="positive redshift"):
        at_redshift(galaxies(2), redshift)
    with pytest.raises(ValueError, match="positive redshift"):
        at_redshift(dataclasses.replace(galaxies(2), redshift=np.full(2, redshift)), 0.1)


def test_depth_goes_with_the_root_of_the_visits() -> None:
    seen = draw_conditions(np.random.default_rng(0), 7, ("g", "r", "i"))
    deep = at_depth(seen, 4.0 * seen.visits)
    assert isinstance(deep, Conditions)
    np.testing.assert_allclose(deep.sigma, seen.sigma / 2.0, rtol=1e-12)
    np.testing.assert_array_equal(deep.fwhm, seen.fwhm)
    np.testing.assert_allclose(at_depth(seen, 100.0).sigma[:, 1], sky_sigma("r", 100.0))
    np.testing.assert_allclose(at_depth(seen, [10.0, 20.0, 40.0]).visits[3], [10.0, 20.0, 40.0])
    with pytest.raises(ValueError, match="visits"):
        at_depth(seen, 0.0)
