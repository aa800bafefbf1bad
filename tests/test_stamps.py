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

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.special import erf

from lsst.meas.morphology.flags import Flag
from lsst.meas.morphology.model.manifest import FieldOfView
from lsst.meas.morphology.pixels.cover import Cover, choose_cover
from lsst.meas.morphology.pixels.geometry import Geometry
from lsst.meas.morphology.pixels.planes import Planes
from lsst.meas.morphology.pixels.reasons import Reason
from lsst.meas.morphology.pixels.stamps import Stamps, cut_stamps, stamp_boxes
from lsst.meas.morphology.pixels.targets import Targets

X0, Y0 = 5000, 2000
PIXEL = 0.2
BANDS = ("g", "r", "i")


def make_targets(x: npt.ArrayLike, y: npt.ArrayLike, radius: npt.ArrayLike = 1.0, flags: int = 0) -> Targets:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    n = len(x)
    return Targets(
        object_id=np.arange(n, dtype=np.int64),
        tract=np.ones(n, np.int32),
        patch=np.zeros(n, np.int32),
        ra=x,
        dec=y,
        x=x,
        y=y,
        radius=np.broadcast_to(np.asarray(radius, np.float32), n).copy(),
        flags=np.full(n, flags, np.uint32),
    )


def make_planes(
    image: npt.NDArray[Any],
    reasons: npt.NDArray[Any] | None = None,
    *,
    missing: tuple[str, ...] = (),
    cover: Cover | None = None,
) -> tuple[Planes, Geometry]:
    """Return planes with the bands' images, zero where there is a reason."""
    n_bands, ny, nx = image.shape
    bbox = (X0, Y0, X0 + nx, Y0 + ny)
    if reasons is None:
        reasons = np.zeros(image.shape, np.uint8)
    for band in missing:
        reasons[BANDS.index(band)] = Reason.NO_DATA
    planes = Planes(
        bands=BANDS[:n_bands],
        cover=cover or Cover(bbox, True, (bbox,)),
        image=np.where(reasons == 0, image, 0.0).astype(np.float32),
        reasons=reasons.astype(np.uint8),
        missing_bands=frozenset(missing),
    )
    return planes, Geometry(bbox, PIXEL, lambda ra, dec: (ra, dec))


def fixed(scale: float) -> FieldOfView:
    """Return a field of view with a number of pixels per stamp pixel."""
    return FieldOfView(rule="fixed", pixel_arcsec=scale * PIXEL)


def cut(
    planes: Planes,
    geometry: Geometry,
    targets: Targets,
    field: FieldOfView,
    size: int = 32,
    optional: tuple[str, ...] = (),
    batch_size: int = 64,
    bands: tuple[str, ...] | None = None,
) -> Stamps:
    """Cut all stamps and put the batches together."""
    batches = list(
        cut_stamps(
            planes,
            targets,
            geometry,
            field_of_view=field,
            stamp_size=size,
            bands=planes.bands if bands is None else bands,
            optional_bands=optional,
            batch_size=batch_size,
        )
    )
    return Stamps(
        *(np.concatenate([getattr(b, field.name) for b in batches]) for field in dataclasses.fields(Stamps))
    )


def has(stamps: Stamps, flag: Flag) -> list[bool]:
    return ((stamps.flags & np.uint32(flag)) != 0).tolist()


def gaussian(shape: tuple[int, int], x: float, y: float, sigma: float) -> npt.NDArray[np.float64]:
    """Integrate a Gaussian of unit flux over pixels."""

    def profile(n: int, centre: float) -> npt.NDArray[np.float64]:
        edges = (np.arange(n + 1) - 0.5 - centre) / (sigma * np.sqrt(2))
        return np.diff(0.5 * erf(edges))

    return profile(shape[0], y)[:, None] * profile(shape[1], x)[None, :]


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.0, 1.37, 2.0, 2.9, 4.0])
def test_flux_and_centroid_are_kept(scale: float) -> None:
    rng = np.random.default_rng(3)
    size = 48
    for _ in range(4):
        x, y = 150 + rng.uniform(-0.5, 0.5, 2)
        sigma = 1.8 if scale < 1 else 2.5
        planes, geometry = make_planes(gaussian((301, 301), x, y, sigma)[None] * 1e4)
        stamps = cut(planes, geometry, make_targets([X0 + x], [Y0 + y]), fixed(scale), size)
        flux = stamps.flux[0, 0].astype(np.float64)
        assert flux.sum() == pytest.approx(1e4, rel=1e-3)
        rows, columns = np.indices(flux.shape)
        centre = (size - 1) / 2
        tolerance = 0.02 * min(1.0, 1.0 / scale)
        assert (flux * columns).sum() / flux.sum() == pytest.approx(centre, abs=tolerance)
        assert (flux * rows).sum() / flux.sum() == pytest.approx(centre, abs=tolerance)
        assert stamps.valid.all()
        assert stamps.flags[0] == 0
        assert stamps.arcsec_per_px[0] == pytest.approx(scale * PIXEL)


@pytest.mark.parametrize(("scale", "size"), [(0.6, 16), (1.0, 15), (1.7, 16), (3.3, 9)])
def test_stamp_is_integral_of_linear_interpolation(scale: float, size: int) -> None:
    rng = np.random.default_rng(5)
    image = rng.normal(size=(1, 80, 90))
    x, y = 43.3, 38.9
    planes, geometry = make_planes(image)
    flux = cut(planes, geometry, make_targets([X0 + x], [Y0 + y]), fixed(scale), size).flux[0, 0]
    fine = 40
    offsets = ((np.arange(size * fine) + 0.5) / fine - size / 2) * scale
    surface = RegularGridInterpolator((np.arange(80), np.arange(90)), image[0], method="linear")
    rows, columns = np.meshgrid(y + offsets, x + offsets, indexing="ij")
    brute = surface((rows, columns)).reshape(size, fine, size, fine).mean(axis=(1, 3)) * scale**2
    np.testing.assert_allclose(flux, brute, atol=2e-3 * scale**2)


def test_detail_that_stamps_cannot_show_is_averaged_out() -> None:
    pattern = np.where(np.indices((200, 200)).sum(axis=0) % 2, 1.0, -1.0)[None]
    planes, geometry = make_planes(pattern)
    for scale in (1.0, 2.0, 4.0):
        flux = cut(planes, geometry, make_targets([X0 + 100.2], [Y0 + 99.7]), fixed(scale)).flux
        assert np.abs(flux).max() < 0.3
        assert np.abs(flux.mean()) < 1e-3


def test_stamps_do_not_depend_on_batches_or_order() -> None:
    rng = np.random.default_rng(7)
    reasons = (rng.random((3, 400, 400)) < 1e-3) * np.uint8(Reason.BAD)
    planes, geometry = make_planes(rng.normal(size=(3, 400, 400)), reasons)
    n = 60
    targets = make_targets(
        X0 + rng.uniform(-20, 420, n), Y0 + rng.uniform(-20, 420, n), rng.uniform(0.5, 12, n)
    )
    outside = ~geometry.contains(targets.x, targets.y)
    targets.flags[outside] = np.uint32(Flag.OFF_IMAGE | Flag.GENERAL)
    field = FieldOfView(rule="radius", multiple=2.0, min_arcsec=4.0, max_arcsec=20.0)
    expected = cut(planes, geometry, targets, field)
    assert any(has(expected, Flag.FIELD_LIMIT))
    assert any(has(expected, Flag.EDGE))
    order = rng.permutation(n)
    for batch_size, permutation in itertools.product((1, 7, 100), (np.arange(n), order)):
        found = cut(planes, geometry, targets[permutation], field, batch_size=batch_size)
        for name in ("flux", "valid", "arcsec_per_px", "flags"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[permutation])


def test_invalid_pixels_leak_no_flux() -> None:
    reasons = np.zeros((1, 100, 100), np.uint8)
    reasons[0, 40:45, 60:70] = Reason.BAD
    image = np.full((1, 100, 100), 3.0)
    image[reasons != 0] = 1e9
    planes, geometry = make_planes(image, reasons)
    scale = 1.5
    stamps = cut(planes, geometry, make_targets([X0 + 50], [Y0 + 50]), fixed(scale))
    valid = stamps.valid[0, 0]
    assert 10 < (~valid).sum() < 40
    np.testing.assert_allclose(stamps.flux[0, 0][valid], 3.0 * scale**2, rtol=1e-5)
    assert (stamps.flux[0, 0][~valid] == 0).all()
    rows, columns = np.nonzero(~valid)
    centre = (32 - 1) / 2
    assert rows.mean() == pytest.approx(centre + (42 - 50) / scale, abs=0.5)
    assert columns.mean() == pytest.approx(centre + (64.5 - 50) / scale, abs=0.5)
    assert stamps.flags[0] == 0


def test_stamp_across_the_edge() -> None:
    planes, geometry = make_planes(np.ones((2, 60, 70)))
    stamps = cut(planes, geometry, make_targets([X0 + 2.0, X0 + 35.0], [Y0 + 57.0, Y0 + 30.0]), fixed(1.0))
    assert has(stamps, Flag.EDGE) == [True, False]
    assert has(stamps, Flag.GENERAL) == [False, False]
    # Columns from x = 2 - 15.5: the centres of the first 13 lie outside.
    inside = np.zeros((32, 32), np.bool_)
    inside[:18, 14:] = True
    np.testing.assert_array_equal(stamps.valid[0], np.broadcast_to(inside, (2, 32, 32)))
    np.testing.assert_allclose(stamps.flux[0, :, inside], 1.0, rtol=1e-5)


def test_stamp_larger_than_the_patch() -> None:
    planes, geometry = make_planes(np.ones((1, 20, 30)))
    stamps = cut(planes, geometry, make_targets([X0 + 15.0], [Y0 + 10.0]), fixed(2.0))
    assert has(stamps, Flag.EDGE) == [True]
    assert stamps.valid[0, 0].sum() == pytest.approx(150, abs=15)
    assert stamps.flux.sum() == pytest.approx(600, rel=0.05)


def test_flags_of_pixels() -> None:
    reasons = np.zeros((3, 200, 400), np.uint8)
    reasons[1, 90, 45] = Reason.NO_DATA
    reasons[0, 100, 150] = Reason.SATURATED
    reasons[0, 112, 250] = Reason.SATURATED
    reasons[2, 86, 350] = Reason.NONFINITE
    planes, geometry = make_planes(np.ones((3, 200, 400)), reasons)
    targets = make_targets(X0 + np.array([50.0, 150.0, 250.0, 350.0]), np.full(4, Y0 + 100.0))
    stamps = cut(planes, geometry, targets, fixed(1.0))
    assert [Flag(int(flags)) for flags in stamps.flags] == [
        Flag.NO_DATA,
        Flag.SATURATED,
        Flag(0),
        Flag.NONFINITE,
    ]
    # Beyond the stamp nothing is flagged.
    stamps = cut(planes, geometry, targets, fixed(1.0), size=8)
    assert [Flag(int(flags)) for flags in stamps.flags] == [Flag(0), Flag.SATURATED, Flag(0), Flag(0)]


def test_missing_band() -> None:
    targets = make_targets([X0 + 50.0, np.nan], [Y0 + 50.0, np.nan])
    targets.flags[1] = np.uint32(Flag.POSITION | Flag.GENERAL)
    planes, geometry = make_planes(np.ones((3, 100, 100)), missing=("i",))
    stamps = cut(planes, geometry, targets, fixed(1.0), optional=("i",))
    assert Flag(int(stamps.flags[0])) == Flag.MISSING_BAND
    assert stamps.valid[0, :2].all()
    assert not stamps.valid[0, 2].any()
    assert (stamps.flux[0, 2] == 0).all()
    stamps = cut(planes, geometry, targets, fixed(1.0), optional=("g",))
    assert has(stamps, Flag.GENERAL) == [True, True]
    assert has(stamps, Flag.MISSING_BAND) == [True, True]
    assert not stamps.valid.any()
    assert not stamps.flux.any()


def test_bands_in_another_order() -> None:
    planes, geometry = make_planes(np.ones((3, 60, 60)) * np.array([1, 2, 3])[:, None, None])
    stamps = cut(planes, geometry, make_targets([X0 + 30], [Y0 + 30]), fixed(1.0), bands=("i", "g"))
    np.testing.assert_allclose(stamps.flux[0].mean(axis=(1, 2)), [3, 1], rtol=1e-6)
    with pytest.raises(ValueError, match="not z"):
        cut(planes, geometry, make_targets([X0 + 30], [Y0 + 30]), fixed(1.0), bands=("i", "z"))


def test_centre_without_data_is_a_failure() -> None:
    reasons = np.zeros((2, 100, 100), np.uint8)
    reasons[0, 40:60, 40:60] = Reason.SATURATED
    planes, geometry = make_planes(np.ones((2, 100, 100)), reasons)
    targets = make_targets([X0 + 50.0, X0 + 58.0], [Y0 + 50.0, Y0 + 58.0])
    stamps = cut(planes, geometry, targets, fixed(1.0))
    assert has(stamps, Flag.GENERAL) == [True, False]
    assert has(stamps, Flag.SATURATED) == [True, True]
    assert not stamps.valid[0].any()
    assert not stamps.flux[0].any()
    assert stamps.valid[1].any()
    stamps = cut(planes, geometry, targets, fixed(1.0), optional=("g",))
    assert has(stamps, Flag.GENERAL) == [False, False]


def test_targets_without_place_get_stamps_too() -> None:
    planes, geometry = make_planes(np.ones((2, 100, 100)))
    targets = make_targets([np.nan, X0 + 50.0, X0 - 1e6], [np.nan, Y0 + 50.0, Y0 + 50.0], [np.nan, np.nan, 1])
    targets.flags[0] = np.uint32(Flag.POSITION | Flag.GENERAL)
    targets.flags[1] = np.uint32(Flag.SHAPE)
    targets.flags[2] = np.uint32(Flag.OFF_IMAGE | Flag.GENERAL)
    field = FieldOfView(rule="radius", multiple=2.0, min_arcsec=4.0, max_arcsec=20.0)
    stamps = cut(planes, geometry, targets, field)
    assert [Flag(int(flags)) for flags in stamps.flags] == [
        Flag.POSITION | Flag.GENERAL,
        Flag.SHAPE,
        Flag.OFF_IMAGE | Flag.GENERAL,
    ]
    assert stamps.valid.any(axis=(1, 2, 3)).tolist() == [False, True, False]
    np.testing.assert_allclose(stamps.arcsec_per_px, [4 / 32, 4 / 32, 4 / 32])
    assert len(stamp_boxes(targets, geometry, field_of_view=field, stamp_size=32)) == 1


def test_no_targets() -> None:
    planes, geometry = make_planes(np.ones((2, 100, 100)))
    assert (
        list(
            cut_stamps(
                planes,
                make_targets([], []),
                geometry,
                field_of_view=fixed(1.0),
                stamp_size=32,
                bands=BANDS[:2],
            )
        )
        == []
    )
    assert stamp_boxes(make_targets([], []), geometry, field_of_view=fixed(1.0), stamp_size=32).shape == (
        0,
        4,
    )


def test_pixels_outside_a_sparse_cover_are_never_used() -> None:
    rng = np.random.default_rng(11)
    image = rng.normal(size=(2, 900, 900))
    targets = make_targets(X0 + rng.uniform(0, 900, 9), Y0 + rng.uniform(0, 900, 9), rng.uniform(1, 6, 9))
    field = FieldOfView(rule="radius", multiple=2.0, min_arcsec=4.0, max_arcsec=20.0)
    planes, geometry = make_planes(image)
    expected = cut(planes, geometry, targets, field)
    boxes = stamp_boxes(targets, geometry, field_of_view=field, stamp_size=32)
    cover = choose_cover(boxes, geometry.bbox, tile=50)
    assert not cover.full
    unread = np.ones((900, 900), np.bool_)
    for x0, y0, x1, y1 in cover.boxes:
        unread[y0 - Y0 : y1 - Y0, x0 - X0 : x1 - X0] = False
    assert unread.mean() > 0.5
    image[:, unread] = np.nan
    poisoned, _ = make_planes(image, cover=cover)
    found = cut(poisoned, geometry, targets, field)
    np.testing.assert_array_equal(found.flux, expected.flux)
    np.testing.assert_array_equal(found.valid, expected.valid)
    with pytest.raises(ValueError, match="cover"):
        cut(poisoned, geometry, make_targets([X0 + 450], [Y0 + 450], [9]), field)


def test_boxes_hold_every_pixel_with_weight() -> None:
    rng = np.random.default_rng(13)
    for scale in (0.5, 1.0, 1.9, 4.0):
        for x, y in [(50.0, 50.5), *(50 + rng.uniform(-1, 1, (5, 2)))]:
            targets = make_targets([X0 + x], [Y0 + y])
            planes, geometry = make_planes(np.ones((1, 100, 100)))
            ((x0, y0, x1, y1),) = stamp_boxes(targets, geometry, field_of_view=fixed(scale), stamp_size=16)
            part = np.zeros((1, 100, 100))
            part[0, y0 - Y0 : y1 - Y0, x0 - X0 : x1 - X0] = 1.0
            inside, _ = make_planes(part)
            expected = cut(planes, geometry, targets, fixed(scale), 16).flux
            np.testing.assert_array_equal(cut(inside, geometry, targets, fixed(scale), 16).flux, expected)


def test_noise_is_the_median_of_the_stamp_s_good_pixels() -> None:
    rng = np.random.default_rng(12)
    planes, geometry = make_planes(np.zeros((2, 200, 200), np.float32))
    targets = make_targets([X0 + 60.0, X0 + 150.0, X0 + 60.0], [Y0 + 60.0, Y0 + 150.0, Y0 + 60.0])
    targets.flags[2] = Flag.GENERAL
    assert np.isnan(cut(planes, geometry, targets, fixed(2.0)).sigma).all()
    variance = rng.uniform(4.0, 9.0, planes.image.shape).astype(np.float32)
    variance[:, 100:, 100:] *= 100.0
    # A quarter of the first stamp has no good pixel.
    variance[0, 28:60, 28:60] = 0.0
    variance[1, 100:, 100:] = 0.0
    sigma = cut(dataclasses.replace(planes, variance=variance), geometry, targets, fixed(2.0)).sigma
    part = variance[0, 28:93, 28:93]
    np.testing.assert_allclose(sigma[0, 0], np.sqrt(np.median(part[part > 0])), rtol=0.01)
    part = variance[0, 118:183, 118:183]
    np.testing.assert_allclose(sigma[1, 0], np.sqrt(np.median(part)), rtol=0.01)
    assert np.isnan(sigma[1, 1])
    assert np.isnan(sigma[2]).all()
