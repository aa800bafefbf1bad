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

"""Encounters of galaxies, their debris, and the library of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lsst.meas.morphology.simulation.tidal.debris import paint_debris, project
from lsst.meas.morphology.simulation.tidal.encounters import KINDS, TIMES, make_encounter, make_encounters
from lsst.meas.morphology.simulation.tidal.library import EncounterLibrary, encounter_seed, make_library
from lsst.meas.morphology.simulation.tidal.orbits import HOST, Field, Galaxy, Plummer, integrate
from lsst.meas.morphology.simulation.tidal.snapshots import Encounter, even_points, spin


def hernquist_potential(r: np.ndarray, mass: float, scale: float) -> np.ndarray:
    """Return the potential of Hernquist's profile, equation 5 of his paper."""
    return -mass / (r + scale)


def host_energy(x: np.ndarray, v: np.ndarray, flattening: float = 1.0) -> np.ndarray:
    m = np.sqrt(x[0] ** 2 + x[1] ** 2 + (x[2] / flattening) ** 2)
    return 0.5 * (v**2).sum(axis=0) + hernquist_potential(m, 27.0, 6.0) + hernquist_potential(m, 1.5, 0.55)


def path_of(x: np.ndarray, v: np.ndarray, galaxy: Galaxy, steps: int, time_step: float) -> np.ndarray:
    return integrate(x, v, [Field(galaxy)], time_step=time_step, keep=range(steps))


# Orbits ---------------------------------------------------------------------


def test_circular_orbits_stay_circular() -> None:
    radius = np.array([0.7, 1.0, 2.0, 4.0, 8.0])
    zero = np.zeros_like(radius)
    mass = 27.0 * radius**2 / (radius + 6.0) ** 2 + 1.5 * radius**2 / (radius + 0.55) ** 2
    x = np.stack([radius, zero, zero]).astype(np.float32)
    v = np.stack([zero, np.sqrt(mass / radius), zero]).astype(np.float32)
    path = path_of(x, v, HOST, 1000, 0.05)
    distance = np.sqrt((path**2).sum(axis=1))
    np.testing.assert_allclose(distance, np.broadcast_to(radius, distance.shape), rtol=2e-3)
    np.testing.assert_allclose(HOST.circular_speed(radius), np.sqrt(mass / radius))


@pytest.mark.parametrize("flattening", [1.0, 0.85])
def test_energy_is_conserved(flattening: float) -> None:
    rng = np.random.default_rng(2)
    x, v = rng.normal(0.0, 3.0, (3, 40)), rng.normal(0.0, 0.5, (3, 40))
    step = 0.01
    path = path_of(x, v, Galaxy(flattening=flattening), 3000, step)
    speed = (path[2:] - path[:-2]) / (2.0 * step)
    energy = np.array([host_energy(a, b, flattening) for a, b in zip(path[1:-1], speed, strict=True)])
    assert np.abs(energy / energy[0] - 1.0).max() < 0.01
    spin_z = path[1:-1, 0] * speed[:, 1] - path[1:-1, 1] * speed[:, 0]
    np.testing.assert_allclose(spin_z, np.broadcast_to(spin_z[0], spin_z.shape), atol=0.02)


def test_single_precision_and_long_steps_suffice() -> None:
    """A radial orbit turns back where it started, as shells' particles do."""
    x, v = np.array([[5.0], [0.0], [0.0]]), np.array([[0.0], [0.05], [0.0]])
    coarse = path_of(x.astype(np.float32), v.astype(np.float32), HOST, 1500, 0.04)
    distance = np.sqrt((coarse[:, :, 0] ** 2).sum(axis=1))
    turns = distance[1:-1][(distance[1:-1] > distance[2:]) & (distance[1:-1] >= distance[:-2])]
    assert len(turns) >= 5
    np.testing.assert_allclose(turns, 5.0, rtol=0.02)


def test_half_of_the_hosts_stars_are_within_one() -> None:
    rng = np.random.default_rng(1)
    root = np.sqrt(rng.random(200_000))
    radius = 0.55 * root / (1.0 - root)
    projected = radius * np.sqrt(1.0 - rng.uniform(-1.0, 1.0, len(radius)) ** 2)
    assert np.median(projected) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("potential", [HOST.scaled(0.4, 0.7), Plummer(0.05, 0.2)])
def test_strength_is_the_potentials_slope(potential: Galaxy | Plummer) -> None:
    radius, step = np.array([0.1, 0.5, 2.0, 9.0]), 1e-4

    def depth(r: np.ndarray) -> np.ndarray:
        if isinstance(potential, Plummer):
            return -0.05 / np.sqrt(r**2 + 0.04)
        return hernquist_potential(r, 10.8, 4.2) + hernquist_potential(r, 0.6, 0.385)

    slope = (depth(radius + step) - depth(radius - step)) / (2.0 * step)
    strength, work = np.empty(4), np.empty(4)
    potential.strength(radius**2, strength, work)
    np.testing.assert_allclose(strength * radius, slope, rtol=1e-6)


def test_falling_with_the_host_leaves_its_middle_at_rest() -> None:
    """The companion pulls at the host as at a particle in its middle."""
    path = np.stack([np.linspace(-9.0, 9.0, 201), np.full(201, 3.0), np.zeros(201)], axis=1)
    other = Field(HOST, path, pulls_origin=True)
    x = np.array([[0.0, 0.5], [0.0, 0.0], [0.0, 0.0]])
    moved = integrate(x, np.zeros_like(x), [other], time_step=0.05, keep=[200])[0]
    assert np.abs(moved[:, 0]).max() < 1e-6
    assert np.abs(moved[:, 1] - x[:, 1]).max() > 0.05


def test_faded_satellites_do_not_pull() -> None:
    x, v = np.array([[2.0], [0.0], [0.0]]), np.array([[0.0], [1.0], [0.0]])
    path = np.ones((101, 3))
    alone = integrate(x, v, [Field(HOST)], time_step=0.05, keep=[0, 100])
    fields = [Field(HOST), Field(Plummer(5.0, 0.1), path, np.zeros(101))]
    np.testing.assert_array_equal(integrate(x, v, fields, time_step=0.05, keep=[0, 100]), alone)
    np.testing.assert_array_equal(alone[0], x)


def test_last_digits_of_the_start_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    x, v = rng.normal(0.0, 2.0, (2, 3, 5000))
    one = path_of(x.astype(np.float32), v.astype(np.float32), HOST, 50, 0.05)
    x2, v2 = np.nextafter(x, 9.0), np.nextafter(v, -9.0)
    other = path_of(x2.astype(np.float32), v2.astype(np.float32), HOST, 50, 0.05)
    np.testing.assert_array_equal(one, other)


def test_even_points_are_more_even_than_random_ones() -> None:
    points = even_points(np.random.default_rng(3), 20_000, 2)
    counts = np.histogram2d(*points, bins=20, range=[[0, 1], [0, 1]])[0]
    assert counts.sum() == 20_000
    assert counts.std() < 0.3 * np.sqrt(50.0)
    assert points.min() >= 0.0
    assert points.max() < 1.0


def test_spin_turns_about_the_axis() -> None:
    rng = np.random.default_rng(4)
    x, axis = rng.normal(size=(50, 3)), np.array([0.6, 0.0, 0.8])
    turned = spin(x, axis).reshape(-1, 50, 3)
    np.testing.assert_allclose(turned[0], x, rtol=1e-6)
    expected = np.broadcast_to(np.linalg.norm(x, axis=1), turned.shape[:2])
    np.testing.assert_allclose(np.linalg.norm(turned, axis=2), expected, rtol=1e-5)
    np.testing.assert_allclose(turned @ axis, np.broadcast_to(x @ axis, turned.shape[:2]), atol=1e-5)
    assert np.ptp(turned, axis=0).max() > 0.3


# Encounters -----------------------------------------------------------------


@pytest.fixture(scope="module")
def encounters() -> dict[str, list[tuple[Encounter, ...]]]:
    """Three encounters of each kind at all times."""
    return {kind: [make_encounters(kind, seed) for seed in (11, 12, 13)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_encounters_are_well_formed(encounters: dict[str, list[tuple[Encounter, ...]]], kind: str) -> None:
    for times in encounters[kind]:
        assert len(times) == TIMES
        assert all(a.time < b.time for a, b in zip(times[:-1], times[1:], strict=True))
        for seen in times:
            assert (seen.kind, seen.seed) == (kind, times[0].seed)
            assert seen.x.shape == (len(seen.weight), 3)
            assert seen.x.dtype == seen.weight.dtype == np.float32
            assert len(seen.x) > 1000
            assert np.isfinite(seen.x).all()
            assert seen.weight.min() > 0.0
            assert seen.weight.sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)
            assert np.linalg.norm(seen.axis) == pytest.approx(1.0, abs=1e-6)
            assert 0.002 < seen.light < 0.5
            assert np.isnan(seen.companion).all() == (seen.companion_ratio == 0.0)
            assert kind != "tail" or seen.axis.tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_encounters_follow_from_their_seed(kind: str) -> None:
    first = make_encounter(kind, 5, particles=2000)
    again = make_encounter(kind, 5, particles=2000)
    other = make_encounter(kind, 6, particles=2000)
    np.testing.assert_array_equal(first.x, again.x)
    assert (first.light, first.time) == (again.light, again.time)
    assert first.x.shape != other.x.shape or np.abs(first.x - other.x).max() > 0.1


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="no debris of kind 'ring'"):
        make_encounter("ring", 1)


def test_tails_reach_far_beyond_the_disk(encounters: dict[str, list[tuple[Encounter, ...]]]) -> None:
    for times in encounters["tail"]:
        radius = np.linalg.norm(times[-1].x, axis=1)
        assert radius.min() > 1.8
        # The disk's outermost particle starts at 3.6.
        assert radius.max() > 6.0
        assert times[0].companion_ratio >= 0.3


def test_streams_are_thin(encounters: dict[str, list[tuple[Encounter, ...]]]) -> None:
    """Most of a stream is near the plane of its satellite's orbit."""
    for times in encounters["stream"]:
        x, axis = times[0].x, times[0].axis
        height = np.median(np.abs(x @ axis))
        length = np.median(np.linalg.norm(x, axis=1))
        assert height < 0.35 * length


def edge_contrast(x: np.ndarray, weight: np.ndarray) -> float:
    """Return the largest fall of the density within 8 per cent in radius."""
    edges = np.exp(np.arange(np.log(1.0), np.log(9.0), 0.04))
    counts = np.histogram(np.linalg.norm(x, axis=1), bins=edges, weights=weight)[0]
    density = counts / np.diff(edges**3)
    enough = counts[:-2] > 0.005
    return float((density[:-2] / np.maximum(density[2:], 1e-9))[enough].max())


def test_shells_have_edges(encounters: dict[str, list[tuple[Encounter, ...]]]) -> None:
    for times in encounters["shell"]:
        assert max(edge_contrast(seen.x, seen.weight) for seen in times) > 2.0
        assert all(np.isnan(seen.companion).all() for seen in times)


# Pictures -------------------------------------------------------------------


def test_project_looks_along_the_last_row() -> None:
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_allclose(project(x, np.eye(3)), x[:, :2])
    np.testing.assert_allclose(project(x, np.eye(3)[[2, 0, 1]]), x[:, [2, 0]])


@pytest.mark.parametrize("n", [1, 30, 3000])
def test_painting_keeps_light_and_place(n: int) -> None:
    rng = np.random.default_rng(n)
    xy = rng.normal([0.4, -0.3], 0.5, (n, 2))
    weight = rng.uniform(0.5, 1.5, n)
    weight /= weight.sum()
    picture = paint_debris(xy, weight, size=256, pixel_scale=0.1)
    assert picture.dtype == np.float32
    assert picture.min() >= 0.0
    assert picture.sum(dtype=np.float64) == pytest.approx(1.0, abs=2e-3)
    axis = (np.arange(256) - 127.5) * 0.1
    centre = [float((picture.sum(axis=0) * axis).sum()), float((picture.sum(axis=1) * axis).sum())]
    np.testing.assert_allclose(centre, weight @ xy, atol=0.05 if n > 100 else 1.7)


def test_painting_counts_only_what_is_inside() -> None:
    rng = np.random.default_rng(7)
    xy = rng.uniform(-8.0, 8.0, (60_000, 2))
    weight = np.full(60_000, 1.0 / 60_000)
    picture = paint_debris(xy, weight, size=80, pixel_scale=0.1)
    inside = (np.abs(xy) < 4.0).all(axis=1).mean()
    assert picture.sum() == pytest.approx(inside, rel=0.02)


def test_painting_nothing() -> None:
    for xy in (np.empty((0, 2)), np.full((5, 2), 900.0), np.full((5, 2), np.nan)):
        picture = paint_debris(xy, np.full(len(xy), 0.2), size=64, pixel_scale=0.1)
        assert picture.shape == (64, 64)
        assert not picture.any()


@pytest.mark.parametrize("n", [2000, 10_000, 40_000])
def test_even_debris_has_no_lumps(n: int) -> None:
    rng = np.random.default_rng(8)
    radius, angle = 5.0 * np.sqrt(rng.random(n)), rng.uniform(0.0, 2.0 * np.pi, n)
    xy = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    picture = paint_debris(xy, np.full(n, 1.0 / n), size=128, pixel_scale=0.1)
    y, x = (np.indices((128, 128)) - 63.5) * 0.1
    middle = picture[np.hypot(x, y) < 3.5]
    assert middle.mean() == pytest.approx(0.01 / (np.pi * 25.0), rel=0.06)
    raw = np.histogram2d(xy[:, 1], xy[:, 0], bins=128, range=[[-6.4, 6.4]] * 2)[0][np.hypot(x, y) < 3.5]
    assert middle.std() / middle.mean() < min(0.14, 0.4 * raw.std() / raw.mean())


def test_dense_edges_stay_sharp() -> None:
    rng = np.random.default_rng(9)
    xy = np.stack([rng.uniform(-6.0, 0.0, 200_000), rng.uniform(-6.0, 6.0, 200_000)], axis=1)
    picture = paint_debris(xy, np.full(200_000, 5e-6), size=128, pixel_scale=0.1)
    profile = picture[30:98].mean(axis=0) / picture[30:98, 20:50].mean()
    assert profile[61] > 0.8
    assert profile[66] < 0.2


def test_light_does_not_depend_on_the_pixels(encounters: dict[str, list[tuple[Encounter, ...]]]) -> None:
    seen = encounters["tail"][0][1]
    xy = project(seen.x, np.eye(3))
    coarse = paint_debris(xy, seen.weight, size=64, pixel_scale=0.2)
    fine = paint_debris(xy, seen.weight, size=128, pixel_scale=0.1)
    blocks = fine.reshape(8, 16, 8, 16).sum(axis=(1, 3))
    np.testing.assert_allclose(coarse.reshape(8, 8, 8, 8).sum(axis=(1, 3)), blocks, atol=0.012)


# The library ----------------------------------------------------------------


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> EncounterLibrary:
    return make_library(tmp_path_factory.mktemp("library"), count=2, seed=21)


def test_library_holds_what_was_made(library: EncounterLibrary) -> None:
    opened = EncounterLibrary.open(str(library.directory))
    assert opened == library
    assert len(opened) == 2 * len(KINDS)
    for kind in KINDS:
        made = make_encounters(kind, encounter_seed(21, kind, 1))[TIMES - 1]
        read = opened.encounter(kind, 1, TIMES - 1)
        assert (read.kind, read.seed) == (kind, made.seed)
        np.testing.assert_allclose(read.x, made.x, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(read.weight, made.weight, rtol=2e-3)
        assert read.weight.dtype == np.float32
        for name in ("companion", "companion_ratio", "light", "axis", "time"):
            np.testing.assert_allclose(getattr(read, name), getattr(made, name), rtol=1e-6)


def test_library_resumes(library: EncounterLibrary, tmp_path: Path) -> None:
    seen: list[int] = []
    small = make_library(tmp_path / "new", count=1, seed=21, progress=seen.append)
    assert seen == [1, 2, 3]
    path = small.path("stream", 0)
    before, checksum = path.read_bytes(), small.checksum()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 3 encounters"):
        EncounterLibrary.open(small.directory)
    make_library(small.directory, count=1, seed=21, progress=seen.append)
    assert seen == [1, 2, 3, 3]
    assert path.read_bytes() == before
    assert EncounterLibrary.open(small.directory).checksum() == checksum
    for kind in KINDS:
        assert small.path(kind, 0).read_bytes() == library.path(kind, 0).read_bytes()


def test_library_notices_changes(library: EncounterLibrary, tmp_path: Path) -> None:
    copy = dataclasses.replace(library, directory=tmp_path)
    for path in library.directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert copy.checksum() == library.checksum()
    path = copy.path("tail", 1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert copy.checksum() != library.checksum()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match="is damaged"):
        copy.encounter("tail", 1)


def test_libraries_share_no_encounter() -> None:
    seeds = [
        encounter_seed(seed, kind, index) for seed in (1, 2, 3) for kind in KINDS for index in range(500)
    ]
    assert len(set(seeds)) == len(seeds)


def test_library_refuses_what_it_does_not_hold(library: EncounterLibrary, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no library of encounters"):
        EncounterLibrary.open(tmp_path)
    with pytest.raises(IndexError, match="Encounter 2 of kind 'tail'"):
        library.encounter("tail", 2)
    with pytest.raises(IndexError, match="kind 'ring'"):
        library.encounter("ring", 0)
    with pytest.raises(IndexError, match="have 4 times"):
        library.encounter("tail", 0, 4)
    with pytest.raises(ValueError, match="use another"):
        make_library(library.directory, count=2, seed=22)
    assert json.loads((library.directory / "library.json").read_text())["seed"] == 21


@pytest.mark.slow
def test_processes_make_the_same_library(tmp_path: Path) -> None:
    one = make_library(tmp_path / "one", count=1, seed=31)
    two = make_library(tmp_path / "two", count=1, seed=31, processes=2)
    assert one.checksum() == two.checksum()
