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

"""What masks of tidal features measure, against sums that are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from felis.datamodel import Schema

from lsst.meas.morphology.masks.flux import LEAST_CONFIDENCE, LEAST_DOUBT, confidence, doubt
from lsst.meas.morphology.masks.host import find_rings, fit_host
from lsst.meas.morphology.masks.measurement import FeatureMeasurements, measure_features
from lsst.meas.morphology.masks.neighbours import find_neighbours
from lsst.meas.morphology.masks.noise import measure_fluctuations
from lsst.meas.morphology.masks.settings import FeatureSettings
from lsst.meas.morphology.model.manifest import TidesHead
from lsst.meas.morphology.tables.columns import felis, partition_columns
from lsst.meas.morphology.tables.tidal_columns import reference_band, tidal_columns
from lsst.meas.morphology.tables.tidal_table import tidal_table

PLANES = ("tail", "stream", "shell", "debris", "host")
SIZE = 128
SCALE = 0.8
SIGMA = 2.0
"""Noise in nJy per native pixel of 0.2 arcsec."""
NOISE = SIGMA / (0.2 * SCALE)
"""The same in surface brightness, per stamp pixel, if it is white."""
AXIS = np.arange(SIZE) - (SIZE - 1) / 2.0
X, Y = np.meshgrid(AXIS, AXIS)
CHECKS = {
    "check_description": True,
    "check_redundant_datatypes": True,
    "check_tap_principal": True,
    "check_tap_table_indexes": True,
}
SETTINGS = FeatureSettings.from_head(TidesHead(planes=PLANES))


def galaxy(axis_ratio: float, angle: float, radius: float = 9.0, centre: float = 3000.0) -> np.ndarray:
    """Return an exponential disk; the radius is the half-light one."""
    u = X * np.cos(angle) + Y * np.sin(angle)
    v = -X * np.sin(angle) + Y * np.cos(angle)
    r = np.hypot(u * np.sqrt(axis_ratio), v / np.sqrt(axis_ratio))
    return np.asarray(centre * np.exp(-1.678 * r / radius))


def arc(brightness: float = 40.0) -> np.ndarray:
    """Return an arc, 36 pixels above the host."""
    ring = np.exp(-0.5 * ((np.hypot(X, Y) - 36.0) / 3.0) ** 2)
    return np.asarray(brightness * ring * (np.abs(X) < Y))


def star(x: float, y: float, flux: float) -> np.ndarray:
    return np.asarray(flux * np.exp(-0.5 * ((X - x) ** 2 + (Y - y) ** 2) / 0.7**2))


@dataclasses.dataclass(frozen=True)
class Scene:
    truth: np.ndarray
    measured: FeatureMeasurements
    shares: np.ndarray

    @property
    def shown(self) -> float:
        """Part of the feature's light in pixels where it counts."""
        counts = (self.truth > 2.0) | (self.shares > 0.05)
        return float(np.median((self.truth * counts).sum(axis=(1, 2)) / self.truth.sum(axis=(1, 2))))

    @property
    def ratio(self) -> np.ndarray:
        """Flux of the stream over the true flux, in r."""
        total = self.truth.sum(axis=(1, 2)) * SCALE**2
        return np.asarray(self.measured.flux[:, 1, 1] / total)


def scene(
    n: int = 8,
    *,
    feature: np.ndarray | None = None,
    more: Any = 0.0,
    keep: slice = slice(None),
    valid: np.ndarray | None = None,
    parted: bool = False,
    **options: Any,
) -> Scene:
    """Draw and measure hosts with the same arc and different noise; parted,
    with the parts of the light that are the arc's.
    """
    rng = np.random.default_rng(1)
    feature = arc() if feature is None else feature
    brightness = np.empty((n, 3, SIZE, SIZE))
    shares = np.zeros((n, 4, SIZE, SIZE), np.float32)
    for i in range(n):
        host = galaxy(rng.uniform(0.4, 1.0), rng.uniform(0.0, np.pi)) + feature + more + 4.0
        shares[i, [1, 3]] = feature / host
        brightness[i] = host * np.array([0.6, 1.0, 1.3])[:, None, None]
    brightness += rng.normal(0.0, NOISE, brightness.shape)
    probabilities = np.zeros((n, 5, SIZE, SIZE), np.float32)
    probabilities[:, 1] = probabilities[:, 3] = np.clip(feature / 4.0, 0.0, 1.0) * (feature > 2.0)
    valid = np.ones(brightness.shape, np.bool_) if valid is None else valid
    measured = measure_features(
        probabilities[keep],
        np.tile([0.1, 0.9, 0.2, 0.95], (n, 1))[keep],
        np.where(valid, brightness, 0.0).astype(np.float32)[keep],
        valid[keep],
        np.full(n, SCALE)[keep],
        np.full((n, 3), SIGMA)[keep],
        **{"settings": SETTINGS, "reference": 1, "shares": shares[keep] if parted else None, **options},
    )
    return Scene(np.broadcast_to(feature, (n, SIZE, SIZE))[keep], measured, shares[keep, 1])


def test_flux_of_an_arc_over_a_disk() -> None:
    found = scene(12)
    assert np.median(found.ratio) == pytest.approx(1.0, abs=0.07)
    error = found.measured.flux_error[:, 1, 1] / found.measured.flux[:, 1, 1]
    spread = np.std(found.ratio)
    assert 0.6 * spread < np.median(error) < 2.5 * spread
    # Colours: g, r, i have 0.6, 1 and 1.3 of the light.
    colour = np.median(found.measured.flux[:, 1] / found.measured.flux[:, 1, 1:2], axis=0)
    np.testing.assert_allclose(colour, [0.6, 1.0, 1.3], rtol=0.06)
    np.testing.assert_array_equal(found.measured.flux[:, 1], found.measured.flux[:, 3])
    assert np.isnan(found.measured.flux[:, [0, 2]]).all()


def test_flux_from_parts_of_the_light() -> None:
    found = scene(12, parted=True)
    error = found.measured.flux_error[:, 1, 1] / found.measured.flux[:, 1, 1]
    # Nothing but noise is left when the parts are right.
    off = (found.ratio - found.shown) / error
    assert np.all(np.abs(off) < 4.0)
    assert np.median(error) < 0.03
    assert np.median(found.ratio) == pytest.approx(found.shown, abs=0.01)
    assert found.shown > np.sum(arc() * (arc() > 2.0)) / np.sum(arc()) + 0.005
    mean = 10.0 ** (0.4 * (31.4 - found.measured.mean_brightness[:, 1, 1]))
    np.testing.assert_allclose(mean, np.mean(arc()[arc() > 2.0]), rtol=0.1)
    colour = np.median(found.measured.flux[:, 1] / found.measured.flux[:, 1, 1:2], axis=0)
    np.testing.assert_allclose(colour, [0.6, 1.0, 1.3], rtol=0.02)
    assert np.isnan(found.measured.flux[:, [0, 2]]).all()


def test_parts_tell_a_feature_from_a_neighbour_on_it() -> None:
    blob = 400.0 * np.exp(-0.5 * ((X - 4.0) ** 2 + (Y - 36.0) ** 2) / 3.0**2)
    found = scene(8, more=blob, parted=True)
    assert np.median(found.ratio) == pytest.approx(found.shown, abs=0.02)


def test_parts_of_unmeasured_pixels_are_filled_in() -> None:
    valid = np.ones((8, 3, SIZE, SIZE), np.bool_)
    valid[:, 1, round(SIZE / 2) + 34 : round(SIZE / 2) + 38, SIZE // 2 - 4 : SIZE // 2 + 4] = False
    whole, holed = scene(8, parted=True), scene(8, parted=True, valid=valid)
    lost = 1.0 - np.sum(arc() * valid[0, 1]) / np.sum(arc())
    assert lost > 0.05
    # What is filled in is a mean, fainter than the ridge that is not there.
    assert np.median(holed.ratio) == pytest.approx(holed.shown, abs=0.35 * lost)
    assert np.all(holed.measured.flux_error[:, 1, 1] > whole.measured.flux_error[:, 1, 1])
    np.testing.assert_allclose(holed.measured.flux[:, 1, 0], whole.measured.flux[:, 1, 0], rtol=1e-5)


def test_shape_and_brightness() -> None:
    found = scene(4)
    mask = arc() > 2.0
    np.testing.assert_array_equal(found.measured.mask[:, 1], np.broadcast_to(mask, (4, SIZE, SIZE)))
    np.testing.assert_allclose(found.measured.area[:, 1], mask.sum() * SCALE**2)
    assert not found.measured.area[:, 0].any()
    true = 31.4 - 2.5 * np.log10(arc()[mask].mean())
    np.testing.assert_allclose(found.measured.mean_brightness[:, 1, 1], true, atol=0.12)
    assert np.all(found.measured.faintest_brightness[:, 1, 1] > true)
    reach = np.quantile(np.hypot(X, Y)[mask], 0.99) * SCALE
    np.testing.assert_allclose(found.measured.extent[:, 1], reach)
    # The arc lies across the y axis; pixels at the left and right of it are
    # as far as those above, so that its long axis about the host is y.
    np.testing.assert_allclose(found.measured.position_angle[:, 1] % 180.0, 0.0, atol=1e-6)
    assert not found.measured.truncated.any()


def test_position_angle_is_north_through_east() -> None:
    """A feature up and to the left is in the north-east, if north is up."""
    feature = 40.0 * np.exp(-0.5 * ((X + 30.0) ** 2 + (Y - 30.0) ** 2) / 4.0**2)
    found = scene(2, feature=feature)
    np.testing.assert_allclose(found.measured.position_angle[:, 1], 45.0, atol=1.0)
    # With north along x the same direction is 45 degrees less 90 from it.
    turned = scene(2, feature=feature, north=np.zeros(2))
    np.testing.assert_allclose(turned.measured.position_angle[:, 1], 135.0, atol=1.0)


def test_host_and_limits() -> None:
    found = scene(6).measured
    # Total of an exponential disk: 2 pi h**2 centre.
    total = 2 * np.pi * (9.0 / 1.678) ** 2 * 3000.0 * SCALE**2
    np.testing.assert_allclose(found.host_flux[:, 1], total, rtol=0.03)
    # The semi-major axis is the radius over the root of the axis ratio.
    rng = np.random.default_rng(1)
    axis_ratio = np.array([(rng.uniform(0.4, 1.0), rng.uniform())[0] for _ in range(6)])
    np.testing.assert_allclose(found.host_radius, 9.0 * SCALE / np.sqrt(axis_ratio), rtol=0.06)
    np.testing.assert_allclose(found.limit, 31.4 - 2.5 * np.log10(3.0 * SIGMA / (0.2 * 10.0)))
    np.testing.assert_allclose(found.host_fraction[:, 1], found.flux[:, 1, 1] / found.host_flux[:, 1])
    np.testing.assert_allclose(found.extent_radii[:, 1], found.extent[:, 1] / found.host_radius)


def test_neighbours_on_the_feature_do_not_count() -> None:
    stars = star(0.0, 36.0, 3000.0) + star(14.0, 33.0, 400.0) + star(-50.0, -40.0, 5000.0)
    clean, dirty = scene(8), scene(8, more=stars)
    # What is filled in is the mean of the arc around, fainter than its ridge;
    # the stars have more than half its flux.
    np.testing.assert_allclose(np.median(dirty.ratio), np.median(clean.ratio), atol=0.13)
    lost = (clean.measured.flux - dirty.measured.flux)[:, 1, 1]
    assert np.median(np.abs(lost) / dirty.measured.flux_error[:, 1, 1]) < 1.0
    assert np.all(dirty.measured.blended > 0.02)
    assert np.all(clean.measured.blended < 0.02)


def test_sky_level_does_not_count() -> None:
    level = scene(4, more=50.0)
    assert np.median(level.ratio) == pytest.approx(np.median(scene(4).ratio), abs=0.01)


def test_missing_pixels_and_bands() -> None:
    valid = np.ones((6, 3, SIZE, SIZE), np.bool_)
    valid[:, 1, 94:101, 60:70] = False
    valid[0, :, 94:101, 60:70] = False
    valid[:, 2] = False
    found = scene(6, valid=valid)
    assert np.median(found.ratio) == pytest.approx(1.0, abs=0.1)
    assert np.isnan(found.measured.flux[:, :, 2]).all()
    assert np.isnan(found.measured.host_flux[:, 2]).all()
    assert np.isfinite(found.measured.flux[:, 1, :2]).all()
    # What is missing in all bands belongs to no mask.
    assert found.measured.area[0, 1] < found.measured.area[1, 1]
    np.testing.assert_allclose(found.measured.masked, 70.0 / SIZE**2)


def test_edge_of_the_data_truncates() -> None:
    valid = np.ones((2, 3, SIZE, SIZE), np.bool_)
    valid[0, :, 100:] = False
    found = scene(2, valid=valid).measured
    assert found.truncated.tolist() == [True, False]
    assert found.area[0, 1] < found.area[1, 1]


def test_without_any_pixel_nothing_is_measured() -> None:
    found = scene(2, valid=np.zeros((2, 3, SIZE, SIZE), np.bool_)).measured
    for name in ("flux", "flux_error", "mean_brightness", "extent", "position_angle", "share"):
        assert np.isnan(getattr(found, name)).all(), name
    assert not found.mask.any()
    assert not found.truncated.any()
    assert np.isnan(found.host_radius).all()


@pytest.mark.parametrize("parted", [False, True])
def test_weights_share_the_light(parted: bool) -> None:
    rng = np.random.default_rng(9)
    weights = rng.random((4, SIZE, SIZE)).astype(np.float32)
    one, mine, rest = (scene(4, weights=w, parted=parted) for w in (None, weights, 1.0 - weights))
    # The parts of the light reach beyond the mask.
    beyond = (one.shares > 0.05) & ~one.measured.mask[:, 1]
    assert beyond.any()
    np.testing.assert_allclose(
        mine.measured.flux[:, 1] + rest.measured.flux[:, 1], one.measured.flux[:, 1], rtol=1e-4
    )
    np.testing.assert_allclose(mine.measured.share[:, 1] + rest.measured.share[:, 1], 1.0, rtol=1e-5)
    np.testing.assert_allclose(one.measured.share[:, 1], 1.0)
    np.testing.assert_array_equal(mine.measured.area, one.measured.area)


def test_model_scales_fluxes_and_adds_errors() -> None:
    changed = dataclasses.replace(SETTINGS, flux_scale=(1, 1.5, 1, 1), flux_error=(0, 0.3, 0, 0))
    plain, scaled = scene(3).measured, scene(3, settings=changed).measured
    np.testing.assert_allclose(scaled.flux[:, 1], 1.5 * plain.flux[:, 1])
    expected = np.hypot(1.5 * plain.flux_error[:, 1], 0.3 * scaled.flux[:, 1])
    np.testing.assert_allclose(scaled.flux_error[:, 1], expected)
    np.testing.assert_array_equal(scaled.flux[:, 3], plain.flux[:, 3])
    # The factor is for light beyond the mask.
    np.testing.assert_allclose(scaled.mean_brightness[:, 1], plain.mean_brightness[:, 1])


@pytest.mark.parametrize("parted", [False, True])
def test_factors_and_errors_go_with_the_masks_confidence(parted: bool) -> None:
    changed = dataclasses.replace(
        SETTINGS,
        flux_scale=(1, 1.5, 1, 1),
        flux_error=(0, 0.3, 0, 0),
        flux_power=(0, -0.5, 0, 0),
        error_power=(0, 0.7, 0, 0),
    )
    plain, scaled = (scene(3, settings=s, parted=parted).measured for s in (SETTINGS, changed))
    sure = plain.confidence[:, 1]
    # The arc's own light, by its brightness, but for the noise.
    light = arc() * (arc() > 2.0)
    expected = (light * np.clip(arc() / 4.0, 0.0, 1.0)).sum() / light.sum()
    np.testing.assert_allclose(sure, expected, atol=0.02)
    assert np.all((sure > 0.9) & (sure < 1.0))
    factor = 1.5 * sure[:, None] ** -0.5
    np.testing.assert_allclose(scaled.flux[:, 1], factor * plain.flux[:, 1])
    relative = 0.3 * (1.0 - sure[:, None]) ** 0.7
    total = np.hypot(factor * plain.flux_error[:, 1], relative * scaled.flux[:, 1])
    np.testing.assert_allclose(scaled.flux_error[:, 1], total)
    assert np.isnan(plain.confidence[:, 0]).all()


def test_confidence_is_of_the_light() -> None:
    """Noise below zero is none, and without light there is no doubt."""
    part = np.zeros((3, 1, 2, 2), np.float32)
    part[:2, 0, 0] = [0.5, 1.0]
    value = np.array([[[40.0, 10.0], [7.0, 7.0]], [[-3.0, 10.0], [7.0, 7.0]], np.zeros((2, 2))], np.float32)
    probability = np.broadcast_to(np.array([[0.9, 0.3], [0.0, 0.0]], np.float32), part.shape)
    found = confidence(part, value, probability)
    np.testing.assert_allclose(found[:, 0], [(20 * 0.9 + 10 * 0.3) / 30, 0.3, 1.0], rtol=1e-6)
    assert confidence(part, value, 0.1 * probability)[1, 0] == LEAST_CONFIDENCE
    np.testing.assert_allclose(doubt(np.array([0.25, 1.0])), [0.75, LEAST_DOUBT])


def test_objects_do_not_depend_on_their_batch() -> None:
    together, alone = scene(3).measured, scene(3, keep=slice(1, 2)).measured
    np.testing.assert_allclose(together.flux[1], alone.flux[0], rtol=1e-5)
    np.testing.assert_allclose(together.flux_error[1], alone.flux_error[0], rtol=1e-4)


# The parts


def test_isophotes_are_found() -> None:
    rng = np.random.default_rng(3)
    ratios = np.array([0.3, 0.5, 0.7, 0.95])
    images = np.stack([galaxy(q, rng.uniform(0, np.pi)) for q in ratios])
    images += rng.normal(0.0, NOISE, images.shape)
    # A companion on one side must not turn them.
    images += star(20.0, 5.0, 2000.0)
    rings = find_rings(images.astype(np.float32), np.ones(images.shape, np.bool_))
    np.testing.assert_allclose(rings.axis_ratio, ratios, atol=0.04)
    again = rings.scatter(rings.gather(images[:, None]))
    np.testing.assert_array_equal(again[:, 0], images)


def test_host_model_is_the_host() -> None:
    host = galaxy(0.6, 0.7)[None]
    clear = np.ones((1, 1, SIZE, SIZE), np.bool_)
    clear[0, 0, 80:90, 40:110] = False
    image = np.where(clear[0], host, 1e6).astype(np.float32)
    rings = find_rings(host.astype(np.float32), np.ones(host.shape, np.bool_))
    model = fit_host(image[:, None], clear, rings, np.ones(1)).light[0, 0]
    outside = (host[0] > 1.0) & (host[0] < 1000.0)
    assert np.median(np.abs(model / host[0] - 1.0)[outside]) < 0.02
    assert np.quantile(np.abs(model / host[0] - 1.0)[outside], 0.95) < 0.1


def test_neighbours_are_told_from_features() -> None:
    rng = np.random.default_rng(5)
    image = arc(60.0) + star(0.0, 36.0, 2000.0) + star(30.0, -30.0, 2000.0) + rng.normal(0, NOISE, X.shape)
    features = arc(60.0) > 3.0
    found = find_neighbours(
        image[None].astype(np.float32),
        np.ones((1, SIZE, SIZE), np.bool_),
        features[None],
        (np.hypot(X, Y) < 8.0)[None],
        np.array([0.3 * NOISE]),
    )
    middle = (SIZE - 1) // 2
    assert found.compact[0, middle + 36, middle]
    assert found.compact[0, middle - 29, middle + 30]
    assert found.any[found.compact].all()
    on_arc = found.compact[0] & features
    assert on_arc.sum() < 0.25 * features.sum()


def test_fluctuations_of_correlated_noise() -> None:
    """Sums over boxes scatter as the law says."""
    rng = np.random.default_rng(8)
    n = 60
    noise = rng.normal(0.0, 1.0, (n, 1, SIZE, SIZE))
    # Each pixel shares half its noise with its right-hand neighbour.
    noise = (noise + np.roll(noise, 1, axis=3)) / np.sqrt(2.0)
    clear = np.ones(noise.shape, np.bool_)
    law = measure_fluctuations(noise, clear, np.ones((n, 1)))
    sums = noise[:, 0, 40:60, 40:60].sum(axis=(1, 2))
    stated = np.median(law.variance(np.full((n, 1), 400.0))[:, 0, 0])
    assert np.sqrt(stated) == pytest.approx(sums.std(), rel=0.3)
    # White noise would have a scatter of 20; this has 20 sqrt(2).
    assert np.sqrt(stated) > 24.0
    sky = rng.normal(0.0, 0.5, (n, 1, 8, 8)).repeat(16, axis=2).repeat(16, axis=3)
    uneven = measure_fluctuations(noise + sky, clear, np.ones((n, 1)))
    assert np.median(uneven.sky) == pytest.approx(0.25, rel=0.35)
    nothing = measure_fluctuations(noise, np.zeros(noise.shape, np.bool_), np.full((n, 1), 7.0))
    np.testing.assert_array_equal(nothing.noise, 7.0)


# The table


def test_table_holds_what_was_measured() -> None:
    found = scene(2).measured
    flags = np.array([0, 1], np.uint32)
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    table = tidal_table(
        features=found.features,
        bands=("g", "r", "i"),
        object_id=[5, 6],
        tract=1,
        patch=2,
        ra=[1.0, np.nan],
        dec=[2.0, np.nan],
        radius=[3.0, 4.0],
        arcsec_per_px=[SCALE, SCALE],
        flags=flags,
        measurements=values,
        model_id="m",
    )
    columns = tidal_columns(found.features, ("g", "r", "i"))
    assert table.column_names == [column.name for column in columns]
    assert len(set(table.column_names)) == len(columns)
    assert all(column.ucd and column.description for column in columns)
    row = table.slice(0, 1).to_pylist()[0]
    assert row["stream_r_flux"] == pytest.approx(found.flux[0, 1, 1], rel=1e-6)
    assert row["debris_i_fluxErr"] == pytest.approx(found.flux_error[0, 3, 2], rel=1e-6)
    assert row["tail_probability"] == pytest.approx(0.1)
    assert row["host_g_flux"] == pytest.approx(found.host_flux[0, 0], rel=1e-6)
    assert (row["tidal_flag"], row["modelId"], row["patch"]) == (False, "m", 2)
    failed = table.slice(1, 1).to_pylist()[0]
    assert failed["tidal_flag"]
    assert np.isnan(failed["stream_probability"])
    assert np.isnan(failed["host_radius"])


def test_felis_accepts_the_schema() -> None:
    columns = partition_columns(tidal_columns(("tail", "stream", "shell", "debris"), ("g", "r", "i")))
    described = felis(columns, table="ObjectTidal", description="Tidal features of large galaxies.")
    assert Schema.model_validate(described, context=CHECKS)


def test_reference_band() -> None:
    assert reference_band(("g", "r", "i")) == "r"
    assert reference_band(("z", "y")) == "z"
