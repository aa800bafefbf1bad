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

"""Simulated hosts with debris, and what is mistaken for it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp, norm

from lsst.meas.morphology.model.field_of_view import FieldOfView
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.pixels.radius import guarded_radius
from lsst.meas.morphology.simulation.galaxies import Kind, colour_offset
from lsst.meas.morphology.simulation.measuring import measure
from lsst.meas.morphology.simulation.tidal.annotators import PLANES, annotate
from lsst.meas.morphology.simulation.tidal.confusers import draw_cirrus, draw_ghost, draw_halos
from lsst.meas.morphology.simulation.tidal.drawing import draw
from lsst.meas.morphology.simulation.tidal.hosts import draw_hosts
from lsst.meas.morphology.simulation.tidal.library import EncounterLibrary, make_library
from lsst.meas.morphology.simulation.tidal.missing import lose_pixels
from lsst.meas.morphology.simulation.tidal.neighbours import Field, paint_field
from lsst.meas.morphology.simulation.tidal.scenes import draw_scenes
from lsst.meas.morphology.simulation.tidal.sky import oversubtraction, sky_residual
from lsst.meas.morphology.simulation.tidal.source import (
    FIELD_OF_VIEW,
    TidalSource,
    TidalStamps,
    sample_scenes,
    sample_tides,
)

GRI = ("g", "r", "i")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> EncounterLibrary:
    return make_library(tmp_path_factory.mktemp("encounters"), count=3, seed=77)


@pytest.fixture(scope="module")
def stamps(library: EncounterLibrary) -> TidalStamps:
    return sample_tides(5, 96, library=library)


@pytest.fixture(scope="module")
def tidal_manifest() -> Manifest:
    return Manifest.model_validate(
        {
            "name": "tidal",
            "version": "1.0.0",
            "title": "A model of tides",
            "licence": "GPL-3.0-or-later",
            "purpose": "commissioning",
            "bands": GRI,
            "optional_bands": ("g", "i"),
            "pixels": "nJy/arcsec2",
            "stamp_size": 64,
            "field_of_view": FIELD_OF_VIEW.model_dump(exclude_none=True),
            "rendering": {"kind": "surface_brightness", "softening": (3.0,), "block": (1,), "scale": (1.0,)},
            "architecture": {"kind": "unet", "depths": (1, 1), "widths": (4, 8)},
            "votes": None,
            "tides": {"kind": "tides", "planes": PLANES},
            "training": {"data": "nothing", "seed": 1},
        }
    )


# Streams of stamps


def test_stream_is_the_same_however_it_is_cut(library: EncounterLibrary) -> None:
    whole = sample_tides(7, 40, library=library, stamp_size=32)
    parts = [
        sample_tides(7, n, library=library, stamp_size=32, start=start)
        for start, n in ((0, 1), (1, 31), (32, 3), (35, 5))
    ]
    together = TidalStamps.concatenate(parts)
    for name in ("flux", "valid", "debris", "host", "others", "cirrus", "arcsec_per_px", "visits"):
        np.testing.assert_array_equal(getattr(together, name), getattr(whole, name))
    for name, values in whole.properties.items():
        np.testing.assert_array_equal(together.properties[name], values)
    assert not np.array_equal(sample_tides(8, 1, library=library, stamp_size=32).flux, whole.flux[:1])


def test_scenes_do_not_depend_on_the_pixels(library: EncounterLibrary) -> None:
    columns = sample_scenes(7, 40, library=library)
    for size in (16, 32):
        made = sample_tides(7, 40, library=library, stamp_size=size)
        np.testing.assert_array_equal(columns["kind"], made.properties["kind"])
        np.testing.assert_array_equal(columns["encounter"], made.properties["encounter"])
        np.testing.assert_array_equal(columns["half_light"], made.properties["host_radius"])
        np.testing.assert_allclose(columns["sigma"], made.sigma, rtol=1e-6)


def test_no_stamps_and_no_r(library: EncounterLibrary) -> None:
    none = sample_tides(1, 0, library=library, stamp_size=16)
    assert none.flux.shape == (0, 3, 16, 16)
    assert none.debris.shape == (0, 3, 16, 16)
    assert len(none) == 0
    with pytest.raises(ValueError, match="in r"):
        sample_tides(1, 1, library=library, bands=("g", "i"))


def test_truth_adds_up_to_the_picture(stamps: TidalStamps) -> None:
    """What is left without all known light is sky and noise."""
    area = (stamps.arcsec_per_px**2)[:, None, None]
    known = (stamps.debris.sum(axis=1) + stamps.host + stamps.others + stamps.cirrus) * area
    left = np.where(stamps.valid[:, 1], stamps.flux[:, 1] - known, np.nan)
    pixels = (stamps.arcsec_per_px / 0.2)[:, None, None]
    # Bright pixels have the noise of their own photons; be away from them.
    faint = known < 2.0 * stamps.sigma[:, 1, None, None] * pixels**2 * 3.0
    left = np.where(faint, left, np.nan)
    for k in np.flatnonzero(~stamps.properties["oversubtracted"].astype(bool)):
        rest = left[k][np.isfinite(left[k])]
        if len(rest) < 3000:
            continue
        noise = stamps.sigma[k, 1] * float(pixels[k, 0, 0])
        assert 0.6 < rest.std() / noise < 1.5
        assert abs(np.median(rest)) / float(area[k, 0, 0]) < 40.0


def test_debris_is_where_it_is_said_to_be(stamps: TidalStamps) -> None:
    kind = stamps.properties["kind"]
    total = stamps.debris.sum(axis=(2, 3)) * (stamps.arcsec_per_px**2)[:, None]
    np.testing.assert_allclose(stamps.properties["debris_flux"], total, rtol=1e-4)
    for k in range(len(stamps)):
        there = total[k] > 0.0
        assert there.sum() == (kind[k] > 0)
        if kind[k]:
            assert there[kind[k] - 1]
            assert stamps.properties["encounter"][k] >= 0
            # Within the stamp is at most all of it.
            share = total[k].max() / stamps.properties["host_flux"][k, 1]
            most = {1: 1.0, 2: 0.0801, 3: 0.1301}[int(kind[k])]
            assert 0.0 < share < most
        else:
            assert stamps.properties["encounter"][k] == -1
    assert set(kind.tolist()) == {0, 1, 2, 3}


def test_bands_can_be_chosen(stamps: TidalStamps) -> None:
    some = stamps.in_bands(("i", "r"))
    np.testing.assert_array_equal(some.flux, stamps.flux[:, [2, 1]])
    np.testing.assert_array_equal(some.sigma, stamps.sigma[:, [2, 1]])
    np.testing.assert_array_equal(some.properties["host_flux"], stamps.properties["host_flux"][:, [2, 1]])
    np.testing.assert_array_equal(some.mask_limit(), stamps.mask_limit())
    assert len(some[3:7]) == 4


def test_scale_is_what_the_task_would_take(library: EncounterLibrary) -> None:
    rng = np.random.default_rng(2)
    scenes = draw_scenes(rng, 16, library=library, bands=GRI)
    view = FieldOfView(rule="radius", multiple=4.5, min_arcsec=51.2, max_arcsec=60.0)
    drawn = draw(rng, scenes, stamp_size=32, field_of_view=view)
    fwhm, sigma = scenes.conditions.reference()
    seen = measure(scenes.hosts, fwhm, sigma)
    radius, _ = guarded_radius(seen.trace, seen.kron_radius, seen.footprint_area, 0.2)
    np.testing.assert_allclose(drawn.arcsec_per_px * 32, np.clip(4.5 * radius, 51.2, 60.0), rtol=1e-5)


def test_depth_may_be_fixed(library: EncounterLibrary) -> None:
    fixed = sample_scenes(3, 64, library=library, visits=40.0)
    assert (fixed["visits"][:, 1] == 40.0).all()
    assert fixed["visits"][:, 0].std() > 0.0
    free = sample_scenes(3, 640, library=library)["visits"][:, 1]
    assert 10.0 <= free.min() < 12.0
    assert 210.0 < free.max() <= 250.0


# What must not give a kind away


def test_nothing_but_debris_tells_the_kinds_apart(library: EncounterLibrary) -> None:
    scenes = draw_scenes(np.random.default_rng(11), 1500, library=library, bands=GRI)
    beside = np.bincount(scenes.companion_scene, scenes.companion_ratio, minlength=len(scenes))
    far = np.zeros(len(scenes))
    where = np.hypot(scenes.companion_x, scenes.companion_y)
    far[scenes.companion_scene] = where / scenes.hosts.half_light[scenes.companion_scene]
    quantities = {
        "companions": beside,
        "distance": far,
        "disk": (scenes.hosts.kind == Kind.DISK).astype(float),
        "inclination": np.where(scenes.hosts.kind == Kind.DISK, scenes.hosts.axis_ratio, -1.0),
        "magnitude": scenes.hosts.magnitude,
        "size": scenes.hosts.half_light,
        "depth": scenes.conditions.visits[:, 1],
        "seeing": scenes.conditions.fwhm[:, 1],
        "arms": scenes.hosts.arm_strength,
        "angle": scenes.hosts.angle,
    }
    for name, values in quantities.items():
        for kind in (1, 2, 3):
            found = ks_2samp(values[scenes.kind == kind], values[scenes.kind == 0])
            assert found.pvalue > 1e-3, f"{name} tells kind {kind}"


def test_shares_of_kinds(library: EncounterLibrary) -> None:
    kind = draw_scenes(np.random.default_rng(1), 800, library=library, bands=GRI, share_undisturbed=0.4).kind
    np.testing.assert_allclose(np.bincount(kind) / 800, [0.4, 0.2, 0.2, 0.2], atol=0.06)


def test_hosts_are_bright_and_resolved() -> None:
    rng = np.random.default_rng(0)
    spin = rng.normal(size=(2000, 3))
    spin /= np.linalg.norm(spin, axis=1, keepdims=True)
    hosts = draw_hosts(rng, spin)
    assert hosts.half_light.min() >= 2.0
    assert hosts.half_light.max() <= 10.0
    assert hosts.magnitude.min() > 13.9
    assert hosts.magnitude.max() <= 20.0
    assert 15.5 < np.median(hosts.magnitude) < 17.5
    assert not hosts.disturbance.any()
    assert not hosts.companion_ratio.any()
    disk = hosts.kind == Kind.DISK
    # The long axis lies across the spin, and a spin towards us is face-on.
    along = np.cos(hosts.angle) * spin[:, 0] + np.sin(hosts.angle) * spin[:, 1]
    np.testing.assert_allclose(along[disk], 0.0, atol=1e-9)
    np.testing.assert_allclose(hosts.axis_ratio[disk], np.abs(spin[disk, 2]))


# What is mistaken for debris


def test_counts_and_light_of_the_field() -> None:
    rng = np.random.default_rng(4)
    size, scale = 128, 0.6
    fields = [paint_field(rng, ("i",), size=size, pixel_scale=scale, half_light=0.0) for _ in range(400)]
    area = (size * scale / 60.0) ** 2
    assert np.mean([len(f.star_flux) for f in fields]) == pytest.approx(2.5 * area, rel=0.1)
    # Galaxies: 30 per square arcmin brighter than 25, and e**0.78 more per
    # magnitude; the light of the faint ones alone has little scatter.
    grid = np.linspace(16.0, 26.5, 5000)
    density = 30.0 * 0.78 * np.exp(0.78 * (grid - 25.0)) * 10.0 ** (0.4 * (31.4 - grid))
    galaxies = np.sum(density) * (grid[1] - grid[0]) * area
    light = np.array([f.image.sum() - f.star_flux.sum() for f in fields])
    # Colours of 0.8 +- 0.3 are relative to i, where they change nothing.
    assert light.mean() == pytest.approx(galaxies, rel=4.0 * light.std() / galaxies / 20.0 + 0.05)


def test_halos_are_there_and_fade() -> None:
    nobody = np.zeros(0)
    empty = Field(np.zeros((1, 1, 1), np.float32), nobody, nobody, nobody, nobody)
    rng = np.random.default_rng(0)
    halos = [draw_halos(rng, ("r",), empty, size=64, pixel_scale=1.0) for _ in range(200)]
    assert np.mean([h.present for h in halos]) == pytest.approx(0.25, abs=0.1)
    for h in halos:
        assert (h.image.max() > 0.0) == h.present
    star = Field(empty.image, np.array([1e6]), np.zeros(1), np.zeros(1), np.ones(1))
    lone = next(
        h
        for h in (draw_halos(rng, ("r",), star, size=65, pixel_scale=1.0) for _ in range(50))
        if not h.present
    )
    profile = lone.image[0, 32, 32:]
    assert (np.diff(profile) < 0.0).all()
    steepness = np.log(profile[30] / profile[15]) / np.log(2.0)
    assert -3.1 < steepness < -2.3


def test_ghosts_have_edges() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        ghost = draw_ghost(rng, GRI, size=96, pixel_scale=1.0)[1]
        lit = ghost > 0.5 * ghost.max()
        assert 0 < lit.mean() < 1.0
        assert ghost.min() >= 0.0
        # 25.3 to 28.3 mag per square arcsec, and a colour.
        assert 5.0 < ghost.max() < 1000.0


def test_cirrus_is_a_power_law_and_coloured() -> None:
    rng = np.random.default_rng(2)
    slopes, colours = [], []
    for _ in range(40):
        dust = draw_cirrus(rng, GRI, size=128)
        assert dust.shape == (3, 128, 128)
        window = np.hanning(128)[:, None] * np.hanning(128)
        power = np.abs(np.fft.fft2(np.log(dust[1] - dust[1].min() + dust[1].std()) * window)) ** 2
        k = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None, :])
        bins = np.digitize(k, edges := np.geomspace(0.03, 0.25, 8))
        mean = [power[bins == j].mean() for j in range(1, 8)]
        slopes.append(np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(mean), 1)[0])
        colours.append([-2.5 * np.log10(dust[a].std() / dust[b].std()) for a, b in ((0, 1), (1, 2))])
    assert -3.7 < np.median(slopes) < -2.3
    g_r, r_i = np.mean(colours, axis=0)
    # A galaxy of this g - r has an r - i that is redder.
    galaxy = (colour_offset("r") - colour_offset("i")) * g_r
    assert 0.35 < g_r < 0.7
    assert r_i < galaxy


def test_small_bins_take_faint_light() -> None:
    flat = np.full((2, 64, 64), 5.0, dtype=np.float32)
    nothing = np.zeros((64, 64), dtype=np.float32)
    np.testing.assert_allclose(oversubtraction(flat, nothing, 1.0), 5.0, rtol=1e-4)
    # What was detected is left alone.
    bright = flat.copy()
    bright[:, 20:30, 20:30] = 1e5
    detected = (bright[0] > 10.0).astype(np.float32)
    np.testing.assert_allclose(oversubtraction(bright, detected, 1.0), 5.0, rtol=1e-3)
    # Of a faint feature of 10 arcsec a little is lost, of 60 arcsec most.
    lost = []
    for width in (10.0, 60.0):
        axis = np.arange(128) - 63.5
        blob = np.exp(-0.5 * (np.hypot(axis, axis[:, None]) / (width / 2.3548)) ** 2).astype(np.float32)
        lost.append(float(oversubtraction(blob[None], np.zeros((128, 128), np.float32), 1.0)[0, 64, 64]))
    assert lost[0] < 0.25
    assert lost[1] > 0.6


def test_skies_are_smooth_and_small() -> None:
    rng = np.random.default_rng(3)
    skies = np.stack([sky_residual(rng, GRI, 32) for _ in range(400)])
    level = skies[:, 1].mean(axis=(1, 2))
    assert np.median(np.abs(level)) < 3.0
    assert abs(level.mean()) < 4.0 * level.std() / 20.0
    assert np.abs(np.diff(skies, 2, axis=3)).max() < 1.0
    assert np.corrcoef(level, skies[:, 2].mean(axis=(1, 2)))[0, 1] > 0.2


def test_pixels_are_lost() -> None:
    n = 3000
    light = np.zeros((n, 3, 32, 32), dtype=np.float32)
    light[0, 1, 4, 5] = 1e6
    valid = lose_pixels(np.random.default_rng(0), light)
    assert not valid[0, 1, 4, 5]
    bad = ~valid.all(axis=(2, 3))
    bad[0] = False
    everywhere, single = bad.all(axis=1), bad.sum(axis=1) == 1
    assert everywhere.mean() == pytest.approx(0.11, abs=0.02)
    assert single.mean() == pytest.approx(0.03, abs=0.01)
    assert (everywhere | single | ~bad.any(axis=1)).all()
    assert valid.any(axis=(2, 3)).all()


# Annotators and training


def test_annotators_agree_on_what_is_plain() -> None:
    n = 4000
    debris = np.zeros((n, 3, 1, 5), dtype=np.float32)
    host, others = np.zeros((2, n, 1, 5), dtype=np.float32)
    at_limit = 10.0 ** (0.4 * (31.4 - 28.0))
    debris[:, 1, 0] = at_limit * np.array([30.0, 1.0, 10.0 ** (0.4 * 0.25), 0.03, 30.0])
    host[:, 0, 4] = 300.0 * at_limit
    marks, annotators = annotate(np.random.default_rng(0), debris, host, others, np.full(n, 28.0))
    assert marks.dtype == annotators.dtype == np.uint8
    assert set(annotators.tolist()) == {1, 2, 3, 4, 5}
    assert (marks <= annotators[:, None, None, None]).all()
    share = marks.sum(axis=0) / annotators.sum()
    # Half see what is at the limit, and one sigma more that which is 0.25
    # mag brighter; the last pixel has a contrast of exactly 0.1.
    np.testing.assert_allclose(share[1, 0], [1.0, 0.5, norm.cdf(1.0), 0.0, 0.5], atol=0.03)
    np.testing.assert_array_equal(marks[:, 1], marks[:, PLANES.index("debris")])
    assert not marks[:, [0, 2]].any()
    np.testing.assert_allclose(share[PLANES.index("host"), 0], [0.0, 0.0, 0.0, 0.0, 1.0])


def test_source_makes_what_a_model_wants(library: EncounterLibrary, tidal_manifest: Manifest) -> None:
    source = TidalSource(tidal_manifest, str(library.directory))
    made = pickle.loads(pickle.dumps(source))(3, 40)
    assert made.flux.shape == made.valid.shape == (40, 3, 64, 64)
    assert made.marks.shape == made.scored.shape == (40, 5, 64, 64)
    assert made.marks.dtype == made.annotators.dtype == np.uint8
    again = source(3, 40)
    np.testing.assert_array_equal(again.flux, made.flux)
    np.testing.assert_array_equal(again.marks, made.marks)
    assert not np.array_equal(source(4, 40).marks, made.marks)
    np.testing.assert_array_equal(made.scored[:, 3], made.valid[:, 1])
    assert len(made) == 40
    assert len(source(3, 0)) == 0
    undisturbed = TidalSource(tidal_manifest, str(library.directory), share_undisturbed=1.0)(3, 8)
    assert not undisturbed.marks[:, :4].any()
    assert undisturbed.marks[:, 4].any(axis=(1, 2)).all()
    text = source.describe()
    assert text == TidalSource(tidal_manifest, str(library.directory)).describe()
    assert "seed 77" in text
    assert text != TidalSource(tidal_manifest, str(library.directory), 0.5).describe()


def test_source_without_a_library(tidal_manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make_library"):
        TidalSource(tidal_manifest, str(tmp_path / "nowhere"))(1, 1)
