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

"""Parameters of simulated galaxies, their pictures and measurements."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lsst.meas.morphology.pixels.radius import guarded_radius
from lsst.meas.morphology.simulation.disks import young_share
from lsst.meas.morphology.simulation.galaxies import (
    EDGE_ON,
    Artifact,
    GalaxyParameters,
    Kind,
    draw_parameters,
)
from lsst.meas.morphology.simulation.grid import uniform_details
from lsst.meas.morphology.simulation.measuring import measure
from lsst.meas.morphology.simulation.observing import NATIVE_SCALE, convolve
from lsst.meas.morphology.simulation.painting import band_flux, paint

BANDS = ("g", "r", "i")


def plain(n: int, **changes: object) -> GalaxyParameters:
    """Return plain round galaxies without any features."""
    zero = np.zeros(n)
    base = draw_parameters(np.random.default_rng(1), n)
    values = {
        "kind": np.full(n, Kind.DISK, dtype=np.int64),
        "magnitude": np.full(n, 19.0),
        "half_light": np.full(n, 2.0),
        "axis_ratio": np.ones(n),
        "bulge_fraction": zero,
        "bar_strength": zero,
        "arm_strength": zero,
        "ring_strength": zero,
        "lopsidedness": zero,
        "clumpiness": zero,
        "dust": zero,
        "disturbance": zero,
        "companion_ratio": zero,
    }
    return dataclasses.replace(base, **(values | changes))


def test_natural_mix_follows_the_counts() -> None:
    p = draw_parameters(np.random.default_rng(0), 20000)
    counts, _ = np.histogram(p.magnitude, [18.0, 19.0, 20.0, 21.0])
    slope = np.diff(np.log10(counts))
    np.testing.assert_allclose(slope, 0.45, atol=0.06)
    assert np.isin(p.kind, (Kind.ELLIPTICAL, Kind.DISK)).all()
    # Random inclinations are uniform in their cosine.
    disks = p.axis_ratio[p.kind == Kind.DISK]
    np.testing.assert_allclose(np.quantile(disks, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.03)
    for name, values in p.columns().items():
        assert values.shape == (20000,), name
        assert np.isfinite(values.astype(float)).all(), name


def test_training_mix_has_more_features() -> None:
    rng = np.random.default_rng(0)
    natural, training = (draw_parameters(rng, 5000, mix=mix) for mix in ("natural", "training"))
    for feature in ("bar_strength", "disturbance", "companion_ratio", "half_light"):
        assert getattr(training, feature).mean() > getattr(natural, feature).mean()
    assert (training.kind >= Kind.STAR).mean() > 0.05


def test_rows_can_be_chosen_and_joined() -> None:
    p = draw_parameters(np.random.default_rng(3), 7)
    joined = GalaxyParameters.concatenate([p[:3], p[np.arange(7) >= 3]])
    for name, values in p.columns().items():
        np.testing.assert_array_equal(values, joined.columns()[name])
    assert len(p[:0]) == 0


def test_details_are_uniform_and_depend_on_the_seed_alone() -> None:
    seeds = np.arange(5000, dtype=np.uint64) * np.uint64(977)
    numbers = uniform_details(seeds, 6)
    assert numbers.shape == (5000, 6)
    assert (numbers >= 0.0).all()
    assert (numbers < 1.0).all()
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(numbers.T), np.eye(6), atol=0.06)
    np.testing.assert_array_equal(uniform_details(seeds[41:43], 3), numbers[41:43, :3])


def test_painted_flux_is_the_magnitude() -> None:
    p = draw_parameters(np.random.default_rng(4), 200, magnitude_limit=20.0)
    p = dataclasses.replace(p, dust=np.zeros(200), half_light=np.minimum(p.half_light, 2.0))
    side = p.half_light * 24.0
    image = paint(p, BANDS, size=256, pixel_scale=side / 256)
    assert np.isfinite(image).all()
    assert (image >= 0.0).all()
    total = image.sum(axis=(2, 3), dtype=float)
    ratio = total / band_flux(p, BANDS)
    # Tails and companions near the grid's edge may be cut.
    assert np.abs(np.median(ratio, axis=0) - 1.0).max() < 0.03
    assert np.quantile(np.abs(ratio - 1.0), 0.9) < 0.12
    np.testing.assert_allclose(band_flux(p, ("i",))[:, 0], p.flux(), rtol=1e-12)


def test_face_on_disk_is_an_exponential() -> None:
    p = plain(1)
    image = paint(p, ("r",), size=401, pixel_scale=0.1)[0, 0]
    y, x = (np.indices(image.shape) - 200) * 0.1
    radius = np.hypot(x, y)
    total = image.sum(dtype=float)
    assert image[radius < 2.0].sum(dtype=float) / total == pytest.approx(0.5, abs=0.01)
    ratio = image[200, 200 + 20] / image[200, 200 + 40]
    assert ratio == pytest.approx(np.exp(2.0 / (2.0 / 1.678)), rel=0.01)


def test_arms_have_their_number() -> None:
    for count in (2, 3, 4):
        p = plain(
            1,
            arm_strength=np.ones(1),
            arm_count=np.array([count]),
            flocculence=np.zeros(1),
            pitch=np.radians([20.0]),
        )
        image = paint(p, ("g",), size=401, pixel_scale=0.1)[0, 0]
        azimuth = np.linspace(0.0, 2.0 * np.pi, 360, endpoint=False)
        ring = image[
            np.round(200 + 25 * np.sin(azimuth)).astype(int), np.round(200 + 25 * np.cos(azimuth)).astype(int)
        ]
        power = np.abs(np.fft.rfft(ring))[1:9]
        assert power.argmax() + 1 == count


def test_painting_does_not_depend_on_the_batch() -> None:
    p = draw_parameters(np.random.default_rng(9), 12, mix="training")
    scale = np.linspace(0.1, 0.3, 12)
    together = paint(p, BANDS, size=64, pixel_scale=scale)
    for k in range(12):
        alone = paint(p[k : k + 1], BANDS, size=64, pixel_scale=scale[k])
        np.testing.assert_allclose(alone[0], together[k], rtol=1e-5, atol=1e-6 * together[k].max())


def test_offset_moves_the_object() -> None:
    p = plain(1)
    image = paint(p, ("r",), size=200, pixel_scale=0.1, offset_x=1.0, offset_y=-0.5)[0, 0].astype(float)
    y, x = (np.indices(image.shape) - 99.5) * 0.1
    assert (x * image).sum() / image.sum() == pytest.approx(1.0, abs=0.05)
    assert (y * image).sum() / image.sum() == pytest.approx(-0.5, abs=0.05)


def test_unknown_band_is_an_error() -> None:
    with pytest.raises(ValueError, match="'w'"):
        paint(plain(1), ("w",), size=32, pixel_scale=0.2)


def test_measured_size_agrees_with_moments_of_the_image() -> None:
    p = plain(1)
    fwhm = np.array([0.9])
    image = paint(p, ("r",), size=400, pixel_scale=0.1)
    image = convolve(image, fwhm[:, None], np.array([0.1]))[0, 0].astype(float)
    y, x = (np.indices(image.shape) - 199.5) * 0.1 / NATIVE_SCALE
    variance = 30.0
    for _ in range(200):
        weight = image * np.exp(-0.5 * (x**2 + y**2) / variance)
        variance = (weight * (x**2 + y**2)).sum() / weight.sum()
    measured = measure(p, fwhm, np.array([5.0]), scatter=0.0)
    assert measured.trace[0] == pytest.approx(2.0 * variance, rel=0.15)
    # Kron's radius is the light's first moment.
    near = np.hypot(x, y) < 6.0 * np.sqrt(variance)
    first = (np.hypot(x, y) * image)[near].sum() / image[near].sum()
    assert measured.kron_radius[0] == pytest.approx(first, rel=0.15)


def test_measurements_are_finite_and_repeatable() -> None:
    p = draw_parameters(np.random.default_rng(5), 3000, mix="training")
    fwhm, sigma = np.full(3000, 0.9), np.full(3000, 5.0)
    first, second = measure(p, fwhm, sigma), measure(p[::-1], fwhm, sigma)
    for field in dataclasses.fields(first):
        values = getattr(first, field.name)
        assert np.isfinite(values).all(), field.name
        np.testing.assert_array_equal(values, getattr(second, field.name)[::-1])
    radius, ok = guarded_radius(first.trace, first.kron_radius, first.footprint_area, NATIVE_SCALE)
    assert ok.all()
    galaxies = p.kind < Kind.STAR
    ratio = radius[galaxies] / p.half_light[galaxies]
    assert 2.0 < np.median(ratio) < 4.5


def one(**changes: float) -> GalaxyParameters:
    """Return one plain face-on disk with some changes."""
    return plain(1, **{name: np.array([value]) for name, value in changes.items()})


def polar(size: int, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    y, x = (np.indices((size, size)) - (size - 1) / 2.0) * pixel
    return np.hypot(x, y), np.arctan2(y, x)


def test_mixes_have_rings_and_irregulars() -> None:
    rng = np.random.default_rng(0)
    for mix, ringed, irregular in (("natural", 0.06, 0.06), ("training", 0.08, 0.08)):
        p = draw_parameters(rng, 40000, mix=mix)
        disk = p.kind == Kind.DISK
        assert (p.ring_strength > 0.0)[disk].mean() == pytest.approx(ringed, abs=0.008)
        assert (p.lopsidedness > 0.0)[disk].mean() == pytest.approx(irregular, abs=0.008)
        assert not ((p.ring_strength > 0.0) & ~(disk & (p.axis_ratio >= EDGE_ON))).any()
        odd = p[p.lopsidedness > 0.0]
        assert (odd.kind == Kind.DISK).all()
        for name in ("bulge_fraction", "arm_strength", "ring_strength"):
            assert (getattr(odd, name) == 0.0).all(), name
        assert (p.redshift[p.kind < Kind.STAR] > 0.0).all()
        assert (p.redshift[p.kind >= Kind.STAR] == 0.0).all()
    wrong = p.size_error != 1.0
    assert wrong.mean() == pytest.approx(0.0135, abs=0.003)
    assert (p.kind[wrong] < Kind.STAR).all()


def test_no_mix_gives_away_more_light_than_there_is() -> None:
    p = draw_parameters(np.random.default_rng(6), 40000, mix="training")
    assert young_share(p).max() < 0.95


@pytest.mark.parametrize("radius", [1.2, 3.0])
def test_ring_is_where_it_should_be(radius: float) -> None:
    ring = {"ring_strength": 0.8, "ring_radius": radius, "ring_width": 0.1, "bar_angle": 0.0}
    size, pixel, scale = 401, 0.05, 2.0 / 1.678
    with_ring = paint(one(**ring), ("i",), size=size, pixel_scale=pixel)[0, 0]
    distance, _ = polar(size, pixel)
    rings = np.arange(0.2, 4.5, 0.05) * scale
    profile = np.array([with_ring[np.abs(distance - r) < 0.04].mean() for r in rings])
    # Over the exponential disk, which the ring leaves as it is outside.
    excess = profile * np.exp(rings / scale)
    assert rings[excess.argmax()] / scale == pytest.approx(radius, rel=0.1)
    assert excess.max() > 1.5 * excess[-1]


def test_ring_keeps_the_flux() -> None:
    for axis_ratio in (1.0, 0.4):
        p = one(ring_strength=1.0, ring_radius=2.5, ring_width=0.12, axis_ratio=axis_ratio)
        image = paint(p, ("i",), size=500, pixel_scale=0.05)
        assert image.sum(dtype=float) == pytest.approx(p.flux()[0], rel=0.02)


def test_ring_is_blue() -> None:
    p = one(ring_strength=1.0, ring_radius=2.5, ring_width=0.08, red_colour=1.2, blue_colour=0.2)
    g, i = paint(p, ("g", "i"), size=300, pixel_scale=0.05)[0]
    distance, _ = polar(300, 0.05)
    scale = 2.0 / 1.678
    at = [np.abs(distance / scale - radius) < 0.1 for radius in (1.0, 2.5)]
    colour = [-2.5 * np.log10(g[where].sum() / i[where].sum()) for where in at]
    assert colour[1] < colour[0] - 0.3


def asymmetry(p: GalaxyParameters) -> np.ndarray:
    """Return the light that a half turn moves (Conselice 2003)."""
    image = paint(p, ("i",), size=128, pixel_scale=0.15)[:, 0].astype(float)
    return np.abs(image - image[:, ::-1, ::-1]).sum(axis=(1, 2)) / image.sum(axis=(1, 2)) / 2.0


def test_irregulars_are_lopsided() -> None:
    n = 12
    medians = [np.median(asymmetry(plain(n, lopsidedness=np.full(n, a)))) for a in (0.0, 0.3, 0.6, 1.0)]
    assert medians[0] < 0.01
    assert (np.diff(medians) > 0.03).all()
    assert medians[-1] > 0.25
    p = plain(n, lopsidedness=np.full(n, 0.8), clumpiness=np.full(n, 0.5))
    image = paint(p, ("i",), size=256, pixel_scale=0.1)
    np.testing.assert_allclose(image.sum(axis=(1, 2, 3), dtype=float), p.flux(), rtol=0.03)


def test_dust_dims_the_near_side_of_inclined_disks() -> None:
    for axis_ratio, dimmed in ((0.25, True), (0.4, True), (0.6, False), (1.0, False)):
        frames = [
            paint(one(axis_ratio=axis_ratio, angle=0.0, dust=dust), ("i",), size=200, pixel_scale=0.1)[0, 0]
            for dust in (0.0, 2.0)
        ]
        lost = (frames[0] - frames[1]).astype(float)
        if not dimmed:
            assert np.abs(lost).max() == 0.0
            continue
        assert lost.min() >= -1e-6 * frames[0].max()
        assert 0.03 < lost.sum() / frames[0].sum() < 0.4
        halves = np.sort([lost[:100].sum(), lost[100:].sum()])
        assert halves[1] > 3.0 * halves[0]


def test_tight_arms_of_small_disks_are_smooth_but_not_elsewhere() -> None:
    p = one(arm_strength=1.0, arm_count=6, pitch=np.radians(8.0), half_light=0.8)
    p = dataclasses.replace(p, arm_count=np.array([6]))
    image = paint(p, ("i",), size=200, pixel_scale=0.1)[0, 0]
    distance, _ = polar(200, 0.1)
    inside = image[distance < 2.0 * 0.8].sum(dtype=float) / image.sum(dtype=float)
    assert inside > 0.75


def artefact(kind: Artifact, n: int = 8) -> GalaxyParameters:
    return plain(
        n,
        kind=np.full(n, Kind.ARTIFACT, dtype=np.int64),
        artifact=np.full(n, kind, dtype=np.int64),
    )


@pytest.mark.parametrize("kind", [k for k in Artifact if k is not Artifact.NONE])
def test_artefacts_are_bright_and_differ(kind: Artifact) -> None:
    image = paint(artefact(kind), BANDS, size=64, pixel_scale=0.3)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert (image >= 0.0).all()
    # Far above the sky's noise, which is some 10 nJy per native pixel.
    brightest = image.max(axis=(1, 2, 3)) / (0.3 / NATIVE_SCALE) ** 2
    assert (brightest > 10.0).all()
    assert np.abs(image[0] / image[0].max() - image[1] / image[1].max()).max() > 0.1


def test_a_ray_is_short_and_in_one_band() -> None:
    image = paint(artefact(Artifact.RAY), BANDS, size=128, pixel_scale=0.2).astype(float)
    totals = np.sort(image.sum(axis=(2, 3)), axis=1)
    assert (totals[:, 1] < 0.1 * totals[:, 2]).all()
    distance, _ = polar(128, 0.2)
    shape = image.sum(axis=1)
    assert ((shape * (distance < 5.0)).sum(axis=(1, 2)) > 0.98 * shape.sum(axis=(1, 2))).all()


def test_a_diffraction_spike_passes_through_the_object() -> None:
    p = dataclasses.replace(artefact(Artifact.DIFFRACTION), angle=np.zeros(8))
    image = paint(p, ("r",), size=65, pixel_scale=0.2)[:, 0]
    # It lies along x, and above and below it is darker.
    assert (image[:, 32, 32] > 1.5 * np.maximum(image[:, 22, 32], image[:, 42, 32])).all()
    # It fades away from the star.
    assert (np.diff(image[:, 32, :33], axis=1) > 0.0).all()


def test_remains_of_the_detector_fill_the_frame() -> None:
    image = paint(artefact(Artifact.OTHER, 40), ("i",), size=64, pixel_scale=0.3)[:, 0].astype(float)
    mean, spread = image.mean(axis=(1, 2)), image.std(axis=(1, 2))
    assert (spread > 0.3 * mean).all()
    quarters = image.reshape(40, 2, 32, 2, 32).mean(axis=(2, 4)).reshape(40, 4)
    stepped = quarters.max(axis=1) > 3.0 * quarters.min(axis=1)
    assert 0.2 < stepped.mean() < 0.6


def test_a_wrong_size_is_wrong_in_all_measurements() -> None:
    p = draw_parameters(np.random.default_rng(5), 200)
    fwhm, sigma = np.full(200, 0.9), np.full(200, 5.0)
    right = measure(p, fwhm, sigma)
    wrong = measure(dataclasses.replace(p, size_error=np.full(200, 6.0)), fwhm, sigma)
    np.testing.assert_allclose(wrong.trace, 36.0 * right.trace, rtol=1e-12)
    np.testing.assert_allclose(wrong.kron_radius, 6.0 * right.kron_radius, rtol=1e-12)
    np.testing.assert_allclose(wrong.footprint_area, 36.0 * right.footprint_area, rtol=0.02)
    np.testing.assert_array_equal(wrong.magnitude, right.magnitude)
