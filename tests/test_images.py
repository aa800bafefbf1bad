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

"""Decoding of image files and the views of them that Zoobot's models take."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lsst.meas.morphology.errors import ImageReadError, MissingExtraError
from lsst.meas.morphology.images.decode import decode_image
from lsst.meas.morphology.images.reader import BATCHES_AHEAD, read_images
from lsst.meas.morphology.images.views import View, central_view, random_view

Image = pytest.importorskip("PIL.Image")

SIZES = [(424, 424), (300, 300), (424, 300), (300, 424), (224, 224), (101, 77), (1000, 600), (512, 513)]


def picture(size=(120, 120), seed=0):
    """Return a picture with structure on all scales, ``[y, x, 3]``."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(x - width / 2, y - height / 2)
    glow = 200 * np.exp(-radius / (0.1 * width))
    noise = rng.normal(20, 12, (height, width, 3))
    return np.clip(glow[..., None] * (1.0, 0.8, 0.6) + noise, 0, 255).astype(np.uint8)


def write(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_central_view_is_that_of_zoobot_bit_for_bit(size, mode):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    bilinear = pytest.importorskip("torchvision.transforms").InterpolationMode.BILINEAR
    theirs = transforms.Compose(
        [
            transforms.RandomAffine(
                degrees=0, translate=None, scale=(1.2, 1.2), shear=None, interpolation=bilinear
            ),
            transforms.Resize(224, interpolation=bilinear, antialias=True),
            transforms.CenterCrop(224),
            transforms.PILToTensor(),
        ]
    )
    for seed in range(3):
        image = Image.fromarray(picture(size, seed)).convert(mode)
        expected = theirs(image).numpy()
        ours = np.atleast_3d(np.asarray(central_view(image, 224)))
        np.testing.assert_array_equal(np.moveaxis(ours, -1, 0), expected)


def test_luma_is_that_of_zoobot_bit_for_bit(tmp_path):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    path = write(tmp_path / "a.png", picture((424, 424)))
    bilinear = pytest.importorskip("torchvision.transforms").InterpolationMode.BILINEAR
    theirs = transforms.Compose(
        [
            transforms.Grayscale(num_output_channels=1),
            transforms.RandomAffine(degrees=0, scale=(1.2, 1.2), interpolation=bilinear),
            transforms.Resize(224, interpolation=bilinear, antialias=True),
            transforms.CenterCrop(224),
            transforms.PILToTensor(),
        ]
    )
    ours = View("2.9", luma=True).read(path, 0)[0]
    for channel in ours:
        np.testing.assert_array_equal(channel, theirs(Image.open(path)).numpy()[0])


def test_central_view_keeps_the_central_five_sixths():
    array = np.zeros((600, 600, 3), np.uint8)
    array[50:550, 50:550] = 255
    view = np.asarray(central_view(Image.fromarray(array), 100))
    assert (view[2:-2, 2:-2] == 255).all()
    array[50:550, 50:550] = 0
    array[:45] = 255
    assert not np.asarray(central_view(Image.fromarray(array), 100)).any()


def test_jpeg_and_png(tmp_path):
    array = picture()
    np.testing.assert_array_equal(decode_image(write(tmp_path / "a.png", array)), array)
    jpeg = np.asarray(decode_image(write(tmp_path / "a.jpg", array, quality=95)), float)
    assert jpeg.shape == array.shape
    assert np.abs(jpeg - array).mean() < 15


def test_grey_becomes_three_equal_channels(tmp_path):
    grey = picture()[..., 0]
    for name in ("a.png", "a.jpg"):
        pixels = np.asarray(decode_image(write(tmp_path / name, grey)))
        assert pixels.shape == (*grey.shape, 3)
        assert (pixels == pixels[..., :1]).all()
    np.testing.assert_array_equal(np.asarray(decode_image(tmp_path / "a.png"))[..., 0], grey)


def test_a_palette_becomes_its_colours(tmp_path):
    colours = np.array([[0, 0, 0], [250, 10, 20], [30, 240, 50]], np.uint8)
    indices = np.random.default_rng(1).integers(0, 3, (40, 40))
    image = Image.new("P", (40, 40))
    image.putpalette(colours.tobytes())
    image.putdata(indices.ravel().tolist())
    for name, options in (("a.png", {}), ("b.png", {"transparency": b"\x00\x80\xff"}), ("c.gif", {})):
        image.save(tmp_path / name, **options)
        np.testing.assert_array_equal(decode_image(tmp_path / name), colours[indices])


def test_transparency_is_dropped_and_colours_kept(tmp_path):
    array = picture()
    alpha = np.random.default_rng(2).integers(0, 256, array.shape[:2]).astype(np.uint8)
    path = write(tmp_path / "a.png", np.dstack([array, alpha]))
    np.testing.assert_array_equal(decode_image(path), array)
    path = write(tmp_path / "b.png", np.dstack([array[..., 0], alpha]))
    np.testing.assert_array_equal(np.asarray(decode_image(path))[..., 1], array[..., 0])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_become_eight(tmp_path, name):
    values = np.random.default_rng(3).integers(0, 65536, (50, 60)).astype(np.uint16)
    values[0, :3] = 0, 128, 65535
    pixels = np.asarray(decode_image(write(tmp_path / name, values)))
    np.testing.assert_array_equal(pixels[..., 0], np.rint(values / 257))
    assert pixels[0, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr"])
def test_other_modes(tmp_path, mode):
    name = "a.png" if mode == "1" else "a.tif"
    image = decode_image(write(tmp_path / name, picture(), mode))
    assert image.mode == "RGB"
    assert image.size == (120, 120)


def test_bad_files_are_named(tmp_path):
    good = write(tmp_path / "good.jpg", picture()).read_bytes()
    broken = {
        "missing.jpg": None,
        "empty.jpg": b"",
        "truncated.jpg": good[: len(good) // 2],
        "text.png": b"this is no image",
    }
    png = write(tmp_path / "good.png", picture()).read_bytes()
    broken["truncated.png"] = png[: len(png) // 2]
    broken["damaged.png"] = png[:100] + b"\0" * 50 + png[150:]
    for name, content in broken.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageReadError, match=name):
            decode_image(tmp_path / name)
    with pytest.raises(ImageReadError, match="float"):
        decode_image(write(tmp_path / "float.tif", np.ones((8, 8), np.float32)))
    with pytest.raises(ImageReadError, match="16 bits"):
        decode_image(write(tmp_path / "wide.tif", np.full((8, 8), 70000, np.int32)))
    with pytest.raises(ImageReadError):
        decode_image(tmp_path)


def test_no_format_that_runs_programs(tmp_path):
    path = tmp_path / "a.eps"
    Image.fromarray(picture()).save(path)
    with pytest.raises(ImageReadError, match=r"a\.eps"):
        decode_image(path)


def test_pillow_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"\[images\]"):
        decode_image(tmp_path / "a.png")


def test_random_views_follow_their_law():
    """A disc stays, a gradient averages out, corners go black."""
    size = 300
    y, x = np.mgrid[:size, :size]
    disc = np.where(np.hypot(x - 149.5, y - 149.5) < 60, 255, 0).astype(np.uint8)
    rng = np.random.default_rng(4)
    areas = []
    for _ in range(200):
        view = np.asarray(random_view(Image.fromarray(disc), 224, rng), float) / 255
        areas.append(view.mean())
    # The share of the disc in the crop is its share in the image over the
    # share of the crop, which is uniform in 0.7 to 0.8.
    expected = (disc > 0).mean() * np.log(0.8 / 0.7) / 0.1
    assert np.mean(areas) == pytest.approx(expected, rel=0.01)
    assert min(areas) > (disc > 0).mean() / 0.8 * 0.98
    assert max(areas) < (disc > 0).mean() / 0.7 * 1.02


def test_random_views_mean_that_of_an_independent_computation():
    """The mean view equals one made by exact coordinates and scipy."""
    ndimage = pytest.importorskip("scipy.ndimage")
    array = picture((160, 160), 5)[..., 0]
    draws = 400
    rng = np.random.default_rng(6)
    ours = np.array([np.asarray(random_view(Image.fromarray(array), 64, rng)) for _ in range(draws)], float)
    theirs = np.empty_like(ours)
    rng = np.random.default_rng(7)
    grid = np.arange(64) + 0.5
    for index in range(draws):
        angle = rng.uniform(-np.pi, np.pi)
        area, ratio = rng.uniform(0.7, 0.8), np.exp(rng.uniform(np.log(0.9), np.log(1.1)))
        across, down = np.rint(160 * np.sqrt([area * ratio, area / ratio]))
        left, top = rng.integers(0, 161 - across), rng.integers(0, 161 - down)
        x, y = left + grid * across / 64 - 80, top + grid * down / 64 - 80
        y, x = np.meshgrid(y[::-1] if rng.random() < 0.5 else y, x, indexing="ij")
        place = (
            80 - 0.5 + np.cos(angle) * y + np.sin(angle) * x,
            80 - 0.5 - np.sin(angle) * y + np.cos(angle) * x,
        )
        theirs[index] = ndimage.map_coordinates(array.astype(float), place, order=1, cval=0.0)
    spread = np.hypot(ours.std(0), theirs.std(0)) / np.sqrt(draws)
    pull = (ours.mean(0) - theirs.mean(0)) / np.maximum(spread, 0.05)
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.35)
    assert abs(ours.mean() - theirs.mean()) < 0.1


def test_long_images_have_a_central_crop():
    image = Image.fromarray(picture((500, 60)))
    view = random_view(image, 32, np.random.default_rng(8))
    assert view.size == (32, 32)


def test_random_views_depend_on_seed_row_and_draw_alone(tmp_path):
    path = write(tmp_path / "a.png", picture())
    few, many = View("2.0", 32, draws=2, seed=9), View("2.0", 32, draws=5, seed=9)
    np.testing.assert_array_equal(few.read(path, 3), many.read(path, 3)[:2])
    assert (few.read(path, 3) != few.read(path, 4)).any()
    assert (few.read(path, 3)[0] != few.read(path, 3)[1]).any()
    assert (few.read(path, 3) != View("2.0", 32, draws=2, seed=10).read(path, 3)).any()


def test_senseless_numbers_of_draws_are_refused():
    with pytest.raises(ValueError, match="0"):
        View("2.0", draws=0)
    with pytest.raises(ValueError, match="one view"):
        View("2.9", draws=5)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("draws", [1, 3])
def test_batches_keep_order_and_flag_bad_files(tmp_path, batch_size, draws):
    paths = [write(tmp_path / f"{n}.png", picture(seed=n)) for n in range(10)]
    paths[3].write_bytes(b"broken")
    paths[7].unlink()
    view = View("2.0" if draws > 1 else "2.9", 32, draws=draws)
    batches = list(read_images(paths, view, batch_size=batch_size, threads=2))
    assert [len(batch) for batch in batches] == [
        min(batch_size, 10 - start) for start in range(0, 10, batch_size)
    ]
    good = np.concatenate([batch.good for batch in batches])
    assert np.flatnonzero(~good).tolist() == [3, 7]
    problems = [problem for batch in batches for problem in batch.problems]
    assert "3.png" in problems[3]
    assert "7.png" in problems[7]
    assert problems[0] is None
    pixels = np.concatenate([batch.pixels for batch in batches])
    expected = np.concatenate([view.read(path, n) for n, path in enumerate(paths) if good[n]])
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, expected)


def test_no_images():
    assert list(read_images([], View("2.9"), batch_size=4, threads=1)) == []


def test_reading_ahead_is_bounded_and_stops(tmp_path):
    path = write(tmp_path / "a.png", picture())
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield path

    batches = read_images(endless(), View("2.9", 16), batch_size=4, threads=2)
    for used in range(1, 6):
        next(batches)
        assert asked == (BATCHES_AHEAD + used) * 4
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]
