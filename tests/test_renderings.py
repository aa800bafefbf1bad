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

"""Renderings of coadds as Galaxy Zoo's pictures, and of 8-bit images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsst.meas.morphology.errors import ModelMismatchError, ModelPackageError
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.pixel_units import in_model_unit
from lsst.meas.morphology.model.rendering import build_renderer
from lsst.meas.morphology.model.rendering_spec import (
    EuclidRendering,
    HscRendering,
    LegacySurveyRendering,
    Rgb8Rendering,
)
from lsst.meas.morphology.questions.tree import QuestionTree

SIZE = 40
NANOMAGGY = 3630.780548


def make_manifest(rendering, bands, pixels="nJy/arcsec2", **changes):
    return Manifest.model_validate(
        {
            "name": "seen",
            "version": "1.0.0",
            "title": "A model",
            "licence": "GPL-3.0-or-later",
            "purpose": "science",
            "bands": tuple(bands),
            "pixels": pixels,
            "stamp_size": SIZE,
            "field_of_view": {"rule": "radius", "multiple": 4.7, "min_arcsec": 8.0, "max_arcsec": 240.0},
            "rendering": rendering,
            "architecture": {"kind": "convnext", "depths": (1, 1), "widths": (8, 12), "kernel": 3},
            "votes": {"tree": QuestionTree.load("desi").to_dict(), "samples": 2, "dropout": 0.2},
            "training": {"data": "nothing", "seed": 1},
            **changes,
        }
    )


def render(rendering, bands, flux, valid=None, pixels="nJy/arcsec2"):
    module = build_renderer(make_manifest(rendering, bands, pixels))
    valid = np.ones(flux.shape, bool) if valid is None else valid
    out = module(torch.from_numpy(flux.astype(np.float32)), torch.from_numpy(valid)).numpy()
    assert out.shape == (len(flux), module.channels, *flux.shape[2:])
    return out


def galaxies(bands, n=3, seed=0):
    """Return surface brightness (nJy per arcsec2) of discs on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    disc = np.exp(-np.hypot(x, y * 1.5) / 6.0)
    colour = np.linspace(0.5, 2.0, bands)[:, None, None]
    bright = 10.0 ** rng.uniform(3.0, 6.0, (n, 1, 1, 1))
    return bright * colour * disc + rng.normal(0.0, 300.0, (n, bands, SIZE, SIZE))


def legacy_numpy(nanomaggies, bands):
    """Compute the viewer's picture of g, r and i or z."""
    factors = {"g": 6.0, "r": 3.4, "i": 3.0, "z": 2.2}
    x = np.stack([np.clip(factors[b] * f + 0.03, 0, None) for b, f in zip(bands, nanomaggies, strict=True)])
    mean = x.mean(0)
    with np.errstate(invalid="ignore"):
        ratio = np.where(mean > 0, np.arcsinh(20.0 * mean) / np.sqrt(20.0) / mean, 0.0)
    return np.clip(x * ratio, 0, 1)[::-1]


@pytest.mark.parametrize("bands", ["gri", "grz"])
def test_legacy_survey_is_the_viewers_picture(bands):
    flux = galaxies(3)
    out = render(LegacySurveyRendering.for_bands(bands), bands, flux)
    for stamp, seen in zip(flux, out, strict=True):
        nanomaggies = stamp * 0.262**2 / NANOMAGGY
        np.testing.assert_allclose(seen, legacy_numpy(nanomaggies, bands), atol=2e-6)
    assert out.min() == 0.0
    assert out.max() == 1.0


def test_bands_of_one_colour_are_averaged():
    """A galaxy of i - z = 2.5 log10(3 / 2.2) looks the same in griz."""
    flux = galaxies(3)
    four = np.concatenate([flux, flux[:, 2:] * (3.0 / 2.2)], axis=1)
    three = render(LegacySurveyRendering.for_bands("gri"), "gri", flux)
    np.testing.assert_allclose(
        render(LegacySurveyRendering.for_bands("griz"), "griz", four), three, atol=1e-6
    )


def test_a_missing_band_leaves_the_colour_to_the_others():
    flux = galaxies(4)
    valid = np.ones(flux.shape, bool)
    valid[:, 3] = False
    griz, gri = LegacySurveyRendering.for_bands("griz"), LegacySurveyRendering.for_bands("gri")
    np.testing.assert_allclose(render(griz, "griz", flux, valid), render(gri, "gri", flux[:, :3]), atol=1e-6)


def test_order_of_bands_is_the_manifests():
    flux = galaxies(3)
    rendering = LegacySurveyRendering.for_bands("gri")
    np.testing.assert_array_equal(
        render(rendering, "irg", flux[:, ::-1].copy()), render(rendering, "gri", flux)
    )


def test_hsc_is_astropys_lupton_picture():
    visualization = pytest.importorskip("astropy.visualization")
    flux = galaxies(3)
    counts = flux * 0.168**2 * 10 ** (0.4 * (27.0 - 31.4))
    out = render(HscRendering.for_bands("gri"), "gri", flux)
    for stamp, seen in zip(counts, out, strict=True):
        blue, green, red = stamp * np.array([1.5, 1.0, 0.75])[:, None, None]
        theirs = visualization.make_lupton_rgb(red, green, blue, minimum=0, stretch=0.5, Q=10)
        ours = np.moveaxis(seen, 0, -1) * 255
        assert np.abs(ours - theirs).max() <= 1.01


def test_hsc_keeps_the_hue_of_bright_pixels():
    flux = np.ones((1, 3, SIZE, SIZE)) * np.array([1e9, 2e9, 4e9])[:, None, None]
    out = render(HscRendering.for_bands("gri"), "gri", flux)[0, :, 0, 0]
    np.testing.assert_allclose(out, np.array([3.0, 2.0, 1.5]) / 3.0, rtol=1e-5)


@pytest.mark.parametrize("bands", ["riz", "ri", "rizy", "i"])
def test_euclid(bands):
    flux = galaxies(len(bands))
    rendering = EuclidRendering.for_bands(bands)
    out = render(rendering, bands, flux)
    for stamp, seen in zip(flux, out, strict=True):
        infrared = [bands.index(b) for b in rendering.infrared]
        visible = [bands.index(b) for b in rendering.visible]

        def stretch(plane, softening):
            plane = np.arcsinh(np.clip(plane / softening, 0, None))
            white = np.percentile(plane, 99.85)
            return np.clip(plane / white, 0, 1)

        blue = stretch(np.clip(stamp[visible], 0, None).mean(0), 1000.0)
        red = stretch(np.clip(stamp[infrared], 0, None).mean(0), 2000.0) if infrared else blue
        np.testing.assert_allclose(seen, [red, (red + blue) / 2, blue], atol=3e-6)
    assert out.max() == 1.0


@pytest.mark.parametrize("kind", [LegacySurveyRendering, HscRendering, EuclidRendering])
def test_one_channel(kind):
    bands = "riz" if kind is EuclidRendering else "gri"
    flux = galaxies(3)
    rgb = render(kind.for_bands(bands), bands, flux)
    mean = render(kind.for_bands(bands, greyscale="mean"), bands, flux)
    luma = render(kind.for_bands(bands, greyscale="itu"), bands, flux)
    np.testing.assert_allclose(mean[:, 0], rgb.mean(1), atol=1e-6)
    np.testing.assert_allclose(luma[:, 0], np.tensordot(rgb, (0.299, 0.587, 0.114), (1, 0)), atol=1e-6)


@pytest.mark.parametrize("kind", [LegacySurveyRendering, HscRendering, EuclidRendering])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e35, -1e5])
def test_bad_pixels_are_black_and_alone(kind, value):
    bands = "riz" if kind is EuclidRendering else "gri"
    rendering = kind.for_bands(bands)
    flux = galaxies(3)
    valid = np.ones(flux.shape, bool)
    valid[:, :, 3, 4] = False
    clean = np.where(valid, flux, 0.0)
    expected = render(rendering, bands, clean, valid)
    assert (expected[..., 3, 4] == 0.0).all()
    np.testing.assert_array_equal(render(rendering, bands, np.where(valid, flux, value), valid), expected)
    if value > 1e30 or np.isnan(value):
        np.testing.assert_array_equal(render(rendering, bands, np.where(valid, flux, value)), expected)
    nothing = render(rendering, bands, flux, np.zeros(flux.shape, bool))
    assert (nothing == 0.0).all()


def test_surface_brightness_does_not_depend_on_the_pixel_scale():
    """A galaxy cut at two scales has the same colours where it is flat."""
    scales = np.array([0.2, 0.5], np.float32)
    brightness = np.array([3e4, 5e4, 8e4])[:, None, None]
    flux = (brightness * (scales**2)[:, None, None, None] * np.ones((2, 3, SIZE, SIZE))).astype(np.float32)
    seen = in_model_unit(flux, scales, "nJy/arcsec2")
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-6)
    np.testing.assert_allclose(seen[0, :, 0, 0], brightness[:, 0, 0], rtol=1e-6)
    assert seen.dtype == np.float32
    assert in_model_unit(flux, scales, "nJy") is flux
    with pytest.raises(ModelMismatchError, match="morphology predict"):
        in_model_unit(flux, scales, "rgb8")


@pytest.mark.parametrize("greyscale", ["none", "mean", "itu"])
def test_images_of_8_bits(greyscale):
    images = np.random.default_rng(1).integers(0, 256, (2, 3, SIZE, SIZE)).astype(np.float32)
    out = render(Rgb8Rendering(greyscale=greyscale), ("red", "green", "blue"), images, pixels="rgb8")
    expected = images / 255
    if greyscale != "none":
        weights = (0.299, 0.587, 0.114) if greyscale == "itu" else (1 / 3,) * 3
        expected = np.tensordot(expected, weights, (1, 0))[:, None]
    np.testing.assert_allclose(out, expected, atol=1e-7)


def test_images_that_are_grey_already_stay_as_they_are():
    grey = np.arange(SIZE * SIZE).reshape(1, 1, SIZE, SIZE) % 256
    images = np.repeat(grey, 3, axis=1).astype(np.float32)
    out = render(Rgb8Rendering(greyscale="itu"), ("red", "green", "blue"), images, pixels="rgb8")
    np.testing.assert_allclose(out, grey / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("rendering", "bands", "pixels", "words"),
    [
        (LegacySurveyRendering.for_bands("gri"), "grz", "nJy/arcsec2", "bands"),
        (LegacySurveyRendering.for_bands("gri"), "gri", "nJy", "nJy/arcsec2"),
        (EuclidRendering.for_bands("ri"), "gri", "nJy/arcsec2", "bands"),
        (Rgb8Rendering(), "gri", "nJy", "rgb8"),
        (Rgb8Rendering(), "gr", "rgb8", "three"),
        ({"kind": "fisheye"}, "gri", "nJy", "fisheye"),
        ({"kind": "hsc", "red": {}, "green": {"r": 1.0}, "blue": {"g": 1.0}}, "gr", "nJy/arcsec2", "red"),
        ({"softening": (1.0,) * 3, "scale": (1.0,) * 3}, "gri", "rgb8", "rgb8"),
    ],
)
def test_what_does_not_fit_is_refused(rendering, bands, pixels, words):
    with pytest.raises(ValueError, match=words):
        make_manifest(rendering, bands, pixels)


def test_bands_without_a_place_are_refused():
    with pytest.raises(ValueError, match="'u'"):
        LegacySurveyRendering.for_bands("ugri")
    with pytest.raises(ValueError, match="red"):
        HscRendering.for_bands("gr")
    with pytest.raises(ValueError, match="g"):
        EuclidRendering.for_bands("gri")


@pytest.mark.parametrize(
    ("rendering", "bands", "pixels"),
    [
        (LegacySurveyRendering.for_bands("griz"), "griz", "nJy/arcsec2"),
        (HscRendering.for_bands("gri", greyscale="mean"), "gri", "nJy/arcsec2"),
        (EuclidRendering.for_bands("rizy"), "rizy", "nJy/arcsec2"),
        (Rgb8Rendering(greyscale="itu", era="2.0"), "rgb", "rgb8"),
    ],
)
def test_packages_hold_the_rendering(make_package, rendering, bands, pixels):
    """Exported, read again, and run by both backends with equal results."""
    path = make_package(
        rendering=rendering.model_dump(),
        bands=tuple(bands),
        optional_bands=(),
        pixels=pixels,
        stamp_size=SIZE,
    )
    package = ModelPackage.open(path)
    assert package.manifest.rendering == rendering
    assert Manifest.from_json(package.manifest.to_json()) == package.manifest
    for backend in ("onnx", "torch"):
        assert check_golden(package, EngineOptions(backend=backend, device="cpu")).passed
    assert not [name for name in package.read_weights() if name.startswith("rendering")]


def test_a_manifest_of_another_rendering_is_named():
    data = make_manifest(HscRendering.for_bands("gri"), "gri").to_json().replace(b'"hsc"', b'"dsc"')
    with pytest.raises(ModelPackageError, match="dsc"):
        Manifest.from_json(data)
