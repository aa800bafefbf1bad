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

import types
import warnings
from pathlib import Path

import astropy.units as u
import astropy.wcs
import numpy as np
import numpy.typing as npt
import pytest
from astropy.coordinates import SkyCoord

from lsst.images import (
    YX,
    Box,
    Image,
    Interval,
    Mask,
    MaskSchema,
    SkyProjection,
    TractFrame,
    get_legacy_deep_coadd_mask_planes,
    get_legacy_non_cell_coadd_mask_planes,
)
from lsst.images.cells import CellCoadd, CellGrid, CellGridBounds, CellPointSpreadFunction, PatchDefinition
from lsst.images.fields import SplineField
from lsst.images.serialization import write_archive
from lsst.meas.morphology.errors import CoaddReadError
from lsst.meas.morphology.pixels import source as source_module
from lsst.meas.morphology.pixels.cover import Cover, choose_cover
from lsst.meas.morphology.pixels.geometry import read_geometry
from lsst.meas.morphology.pixels.planes import read_planes
from lsst.meas.morphology.pixels.reasons import Reason
from lsst.meas.morphology.pixels.source import CoaddSource

CELL = 30
X0, Y0 = 600, 300


def tan_projection(bbox: Box, *, ra: float = 150.0, dec: float = 2.0, scale: float = 0.2) -> SkyProjection:
    """Return a tangent-plane projection about a box's centre."""
    wcs = astropy.wcs.WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(bbox.x.start + bbox.x.stop) / 2, (bbox.y.start + bbox.y.stop) / 2]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    frame = TractFrame(skymap="test", tract=1, bbox=bbox)
    return SkyProjection.from_fits_wcs(wcs, frame, pixel_bounds=bbox)


def write_coadd(
    path: Path,
    image: npt.NDArray[np.float32],
    *,
    variance: npt.NDArray[np.float32] | None = None,
    masks: dict[str, npt.NDArray[np.bool_]] | None = None,
    cell: int = CELL,
    unit: u.UnitBase = u.nJy,
    schema: MaskSchema | None = None,
    band: str = "i",
    x0: int = X0,
    y0: int = Y0,
    background: SplineField | None = None,
) -> None:
    """Write arrays as a cell coadd in DP2's format."""
    ny, nx = image.shape
    bbox = Box(y=Interval(y0, y0 + ny), x=Interval(x0, x0 + nx))
    schema = schema or MaskSchema(list(get_legacy_deep_coadd_mask_planes().values()))
    mask = Mask(0, schema=schema, bbox=bbox)
    for name, where in (masks or {}).items():
        mask.set(name, where)
    grid = CellGrid(bbox=bbox, cell_shape=YX(y=cell, x=cell))
    if variance is None:
        variance = np.ones_like(image)
    coadd = CellCoadd(
        Image(image, bbox=bbox, unit=unit, sky_projection=tan_projection(bbox)),
        mask=mask,
        variance=Image(variance, bbox=bbox, unit=unit**2),
        band=band,
        psf=CellPointSpreadFunction(
            np.ones((ny // cell, nx // cell, 3, 3)) / 9.0, CellGridBounds(grid=grid, bbox=bbox)
        ),
        patch=PatchDefinition(id=0, index=YX(y=0, x=0), inner_bbox=bbox, cells=grid),
    )
    if background is not None:
        coadd.backgrounds.add("sky", background)
        coadd.apply_background("sky")
    write_archive(coadd, path)


def whole(image: npt.NDArray[np.float32]) -> Cover:
    ny, nx = image.shape
    bbox = (X0, Y0, X0 + nx, Y0 + ny)
    return Cover(bbox, True, (bbox,))


def noise(seed: int, ny: int = 90, nx: int = 120) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 10, (ny, nx)).astype(np.float32)


def spot(y: int, x: int, ny: int = 90, nx: int = 120) -> npt.NDArray[np.bool_]:
    mask = np.zeros((ny, nx), np.bool_)
    mask[y, x] = True
    return mask


def test_pixels_come_back(tmp_path: Path) -> None:
    images = {band: noise(i) for i, band in enumerate("gri")}
    sources = []
    for band, image in images.items():
        write_coadd(tmp_path / f"{band}.fits", image, band=band)
        sources.append(CoaddSource(band, str(tmp_path / f"{band}.fits")))
    for threads in (1, 3):
        planes = read_planes(sources, ("i", "g"), whole(images["g"]), threads=threads)
        assert planes.bands == ("i", "g")
        assert (planes.x0, planes.y0) == (X0, Y0)
        assert planes.image.dtype == np.float32
        assert planes.image.dtype.isnative
        assert planes.missing_bands == frozenset()
        np.testing.assert_array_equal(planes.image, [images["i"], images["g"]])
        assert not planes.reasons.any()


def test_bad_pixels_are_zero_and_have_a_reason(tmp_path: Path) -> None:
    image, variance = noise(1), np.ones((90, 120), np.float32)
    image[5, 6], image[7, 8] = np.nan, -np.inf
    variance[9, 10], variance[11, 12], variance[13, 14], variance[15, 16] = np.inf, np.nan, 0.0, -1.0
    masks = {
        "NO_DATA": spot(20, 20),
        "SATURATED": spot(21, 21) | spot(20, 20),
        "DETECTED": np.ones((90, 120), np.bool_),
        "INTERPOLATED": spot(22, 22),
        "INEXACT_PSF": spot(23, 23),
    }
    write_coadd(tmp_path / "i.fits", image, variance=variance, masks=masks)
    source = CoaddSource("i", str(tmp_path / "i.fits"))
    planes = read_planes([source], ("i",), whole(image))
    expected = np.zeros((90, 120), np.uint8)
    for y, x in ((5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)):
        expected[y, x] = Reason.NONFINITE
    expected[20, 20] = Reason.NO_DATA | Reason.SATURATED
    expected[21, 21] = Reason.SATURATED
    np.testing.assert_array_equal(planes.reasons[0], expected)
    np.testing.assert_array_equal(planes.image[0], np.where(expected == 0, image, 0.0))

    planes = read_planes([source], ("i",), whole(image), check_variance=False)
    assert planes.reasons[0, 9, 10] == 0
    assert planes.reasons[0, 5, 6] == Reason.NONFINITE

    planes = read_planes([source], ("i",), whole(image), bad_mask_planes=("INTRP", "SAT", "NO_SUCH_PLANE"))
    assert planes.reasons[0, 20, 20] == planes.reasons[0, 21, 21] == Reason.SATURATED
    assert planes.reasons[0, 22, 22] == Reason.BAD
    assert planes.reasons[0, 23, 23] == 0


def test_mask_of_several_bytes(tmp_path: Path) -> None:
    schema = MaskSchema(list(get_legacy_non_cell_coadd_mask_planes().values()))
    masks = {"NO_DATA": spot(1, 1), "BAD": spot(2, 2), "UNMASKED_NAN": spot(3, 3), "SUSPECT": spot(4, 4)}
    write_coadd(tmp_path / "i.fits", noise(1), masks=masks, schema=schema)
    planes = read_planes([CoaddSource("i", str(tmp_path / "i.fits"))], ("i",), whole(noise(1)))
    assert planes.reasons[0].sum() == Reason.NO_DATA + 2 * Reason.BAD
    assert planes.reasons[0, 2, 2] == planes.reasons[0, 3, 3] == Reason.BAD


def test_other_units_become_nanojansky(tmp_path: Path) -> None:
    image = noise(2)
    write_coadd(tmp_path / "i.fits", image, unit=u.uJy)
    planes = read_planes([CoaddSource("i", str(tmp_path / "i.fits"))], ("i",), whole(image))
    np.testing.assert_allclose(planes.image[0], 1e3 * image, rtol=1e-6)
    write_coadd(tmp_path / "x.fits", image, unit=u.electron)
    with pytest.raises(CoaddReadError, match="x.fits"):
        read_planes([CoaddSource("i", str(tmp_path / "x.fits"))], ("i",), whole(image))


def test_missing_bands(tmp_path: Path) -> None:
    image = noise(3)
    write_coadd(tmp_path / "r.fits", image, band="r")
    planes = read_planes([CoaddSource("r", str(tmp_path / "r.fits"))], ("g", "r", "i"), whole(image))
    assert planes.missing_bands == {"g", "i"}
    assert not planes.image[[0, 2]].any()
    assert (planes.reasons[[0, 2]] == Reason.NO_DATA).all()
    np.testing.assert_array_equal(planes.image[1], image)
    planes = read_planes([], ("g",), whole(image))
    assert planes.missing_bands == {"g"}


def test_sparse_cover_reads_its_boxes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(4, 300, 300)
    write_coadd(tmp_path / "i.fits", image)
    bbox = (X0, Y0, X0 + 300, Y0 + 300)
    needed = np.array([[X0 + 35, Y0 + 10, X0 + 70, Y0 + 20], [X0 + 299, Y0 + 200, X0 + 300, Y0 + 232]])
    cover = choose_cover(needed, bbox, tile=CELL)
    opened = []
    open_archive = source_module.open_archive

    def counting(*args: object, **kwargs: object) -> object:
        opened.append(args)
        return open_archive(*args, **kwargs)

    monkeypatch.setattr(source_module, "open_archive", counting)
    planes = read_planes([CoaddSource("i", str(tmp_path / "i.fits"))], ("i",), cover)
    assert len(opened) == 1
    read = np.zeros((300, 300), np.bool_)
    read[0:30, 30:90] = True
    read[180:240, 270:300] = True
    np.testing.assert_array_equal(planes.image[0], np.where(read, image, 0.0))
    assert not planes.reasons.any()
    # Nothing is opened where there is nothing to read.
    planes = read_planes([CoaddSource("i", "nowhere.fits")], ("i",), choose_cover(needed[:0], bbox))
    assert not planes.image.any()


@pytest.mark.parametrize("damage", ["absent", "empty", "text", "truncated", "overwritten", "another type"])
def test_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "i.fits"
    image = noise(5, 300, 300)
    write_coadd(path, image)
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a coadd")
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 3])
    elif damage == "overwritten":
        # Well inside the compressed image.
        path.write_bytes(content[:60000] + bytes(20000) + content[80000:])
    else:
        path.unlink()
        write_archive(Image(image, unit=u.nJy), path)
    other = CoaddSource("g", str(tmp_path / "g.fits"))
    write_coadd(tmp_path / "g.fits", image, band="g")
    source = CoaddSource("i", str(path), label="deep_coadd@{band: 'i', patch: 3}")
    with warnings.catch_warnings():
        # What astropy only warns of must fail too.
        warnings.simplefilter("ignore")
        for threads in (1, 2):
            with pytest.raises(CoaddReadError, match=r"deep_coadd@{band: 'i', patch: 3} .*i\.fits"):
                read_planes([source, other], ("g", "i"), whole(image), threads=threads)


def test_coadds_must_belong_together(tmp_path: Path) -> None:
    write_coadd(tmp_path / "i.fits", noise(6))
    write_coadd(tmp_path / "g.fits", noise(6), x0=X0 + 30, band="g")
    sources = [CoaddSource(band, str(tmp_path / f"{band}.fits")) for band in "gi"]
    with pytest.raises(CoaddReadError, match=r"g\.fits.*differs"):
        read_planes(sources, ("g", "i"), whole(noise(6)))
    with pytest.raises(ValueError, match="two coadds"):
        read_planes([sources[0], sources[0]], ("g",), whole(noise(6)))
    with pytest.raises(CoaddReadError, match="neither"):
        read_planes([CoaddSource("i")], ("i",), whole(noise(6)))


def test_geometry(tmp_path: Path) -> None:
    write_coadd(tmp_path / "i.fits", noise(7))
    geometry = read_geometry(CoaddSource("i", str(tmp_path / "i.fits")))
    assert geometry.bbox == (X0, Y0, X0 + 120, Y0 + 90)
    assert geometry.shape == (90, 120)
    assert geometry.pixel_scale == pytest.approx(0.2, rel=1e-6)
    # The reference pixel, and one some arcseconds north and east of it.
    x, y = geometry.sky_to_pixel(np.array([150.0, 150.0 + 5 / 3600]), np.array([2.0, 2.0 + 7 / 3600]))
    np.testing.assert_allclose(x, [X0 + 59.0, X0 + 59.0 - 25 * np.cos(np.radians(2.0))], atol=1e-3)
    np.testing.assert_allclose(y, [Y0 + 44.0, Y0 + 44.0 + 35], atol=1e-3)
    assert geometry.contains(
        np.array([X0 - 0.5, X0 - 0.51, X0 + 119.4, X0 + 119.5, np.nan]), np.full(5, Y0 + 1.0)
    ).tolist() == [True, False, True, False, False]
    with pytest.raises(CoaddReadError, match="nowhere"):
        read_geometry(CoaddSource("i", str(tmp_path / "nowhere.fits")))


class Exposure:
    """What this package uses of `lsst.afw.image.ExposureF`'s interface."""

    def __init__(self, image: npt.NDArray[np.float32], planes: dict[str, int], calibration: float) -> None:
        self.image = types.SimpleNamespace(array=image)
        self.mask = types.SimpleNamespace(
            array=np.zeros(image.shape, np.int32), getMaskPlaneDict=lambda: planes
        )
        self.variance = types.SimpleNamespace(array=np.ones(image.shape, np.float32))
        self._calibration = calibration
        ny, nx = image.shape
        self._box = Box(y=Interval(Y0, Y0 + ny), x=Interval(X0, X0 + nx))

    def getBBox(self) -> object:
        box = self._box
        return types.SimpleNamespace(
            getMinX=lambda: box.x.start,
            getMinY=lambda: box.y.start,
            getMaxX=lambda: box.x.stop - 1,
            getMaxY=lambda: box.y.stop - 1,
        )

    def getWcs(self) -> object:
        projection = tan_projection(self._box)

        def sky_to_pixel(ra: object, dec: object, degrees: bool = False) -> tuple[object, object]:
            xy = projection.sky_to_pixel(SkyCoord(ra, dec, unit="deg" if degrees else "rad"))
            return xy.x, xy.y

        return types.SimpleNamespace(
            skyToPixelArray=sky_to_pixel,
            getPixelScale=lambda: types.SimpleNamespace(asArcseconds=lambda: 0.2),
        )

    def getPhotoCalib(self) -> object:
        if not self._calibration:
            return None
        return types.SimpleNamespace(getCalibrationMean=lambda: self._calibration)


def test_exposure() -> None:
    image = noise(8)
    exposure = Exposure(image.copy(), {"NO_DATA": 8, "SAT": 1, "BAD": 0, "TOP": 31}, 57.5)
    exposure.mask.array[3, 4] = 1 << 8
    exposure.mask.array[5, 6] = 1 << 1
    exposure.mask.array[7, 8] = 1
    exposure.mask.array[9, 10] = -(1 << 31)
    exposure.image.array[11, 12] = np.nan
    exposure.variance.array[13, 14] = np.inf
    source = CoaddSource("i", exposure=exposure, label="deep_coadd i")
    geometry = read_geometry(source)
    assert geometry.bbox == (X0, Y0, X0 + 120, Y0 + 90)
    assert geometry.pixel_scale == pytest.approx(0.2)
    x, y = geometry.sky_to_pixel(np.array([150.0]), np.array([2.0]))
    assert (x[0], y[0]) == pytest.approx((X0 + 59.0, Y0 + 44.0), abs=1e-6)
    planes = read_planes(
        [source], ("i",), whole(image), bad_mask_planes=("NO_DATA", "SATURATED", "BAD", "TOP")
    )
    expected = np.zeros((90, 120), np.uint8)
    expected[3, 4], expected[5, 6], expected[7, 8] = Reason.NO_DATA, Reason.SATURATED, Reason.BAD
    expected[9, 10], expected[11, 12], expected[13, 14] = Reason.BAD, Reason.NONFINITE, Reason.NONFINITE
    np.testing.assert_array_equal(planes.reasons[0], expected)
    np.testing.assert_allclose(planes.image[0], np.where(expected == 0, 57.5 * image, 0.0), rtol=1e-6)
    box = (X0 + 10, Y0 + 20, X0 + 30, Y0 + 60)
    part = read_planes([source], ("i",), Cover(geometry.bbox, False, (box,)))
    np.testing.assert_allclose(part.image[0, 20:60, 10:30], 57.5 * image[20:60, 10:30], rtol=1e-6)
    assert np.count_nonzero(part.image) == 800
    # The exposure itself is left as it was.
    np.testing.assert_array_equal(np.nan_to_num(exposure.image.array - image), 0.0)


def test_exposure_without_calibration_is_named() -> None:
    source = CoaddSource("i", exposure=Exposure(noise(9), {}, 0.0), label="deep_coadd of patch 7")
    with pytest.raises(CoaddReadError, match=r"deep_coadd of patch 7.*photometric calibration"):
        read_planes([source], ("i",), whole(noise(9)))


def hilly(image: npt.NDArray[np.float32], unit: u.UnitBase) -> SplineField:
    """Return a background with a value of its own at each of nine points."""
    ny, nx = image.shape
    bbox = Box(y=Interval(Y0, Y0 + ny), x=Interval(X0, X0 + nx))
    axis = np.array([0.0, 0.5, 1.0])
    level = np.array([[3.0, -1.0, 2.0], [0.5, 4.0, 1.0], [-2.0, 0.0, 5.0]])
    return SplineField(bbox, level, y=Y0 + axis * (ny - 1), x=X0 + axis * (nx - 1), unit=unit)


@pytest.mark.parametrize("full", [True, False], ids=["whole", "part"])
def test_background_is_added_again(full: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    image = rng.normal(0.0, 10.0, (90, 120)).astype(np.float32)
    hole = np.zeros(image.shape, np.bool_)
    hole[5:9, 40:50] = True
    path = tmp_path / "coadd.fits"
    # The background in another unit than the image: 1 uJy is 1000 nJy.
    write_coadd(path, image.copy(), masks={"NO_DATA": hole}, unit=u.uJy, background=hilly(image, u.nJy))
    cover = whole(image)
    if not full:
        box = (X0 + 30, Y0, X0 + 60, Y0 + 30)
        cover = Cover(bbox=cover.bbox, full=False, boxes=(box,))
    source = CoaddSource("i", str(path))
    as_it_is = read_planes([source], ["i"], cover)
    restored = read_planes([source], ["i"], cover, restore_background=True)
    assert (as_it_is.restored_bands, restored.restored_bands) == (frozenset(), {"i"})
    read = np.zeros(image.shape, np.bool_)
    for x0, y0, x1, y1 in cover.boxes:
        read[y0 - Y0 : y1 - Y0, x0 - X0 : x1 - X0] = True
    np.testing.assert_allclose(
        restored.image[0], np.where(read & ~hole, image * 1e3, 0.0), rtol=1e-5, atol=1e-2
    )
    level = hilly(image, u.nJy).render().array
    difference = restored.image[0] - as_it_is.image[0]
    np.testing.assert_allclose(difference, np.where(read & ~hole, level, 0.0), atol=1e-2)


def test_coadd_without_background_stays_as_it_is(tmp_path: Path) -> None:
    image = np.ones((60, 60), np.float32)
    write_coadd(tmp_path / "coadd.fits", image)
    source = CoaddSource("i", str(tmp_path / "coadd.fits"))
    planes = read_planes([source], ["i"], whole(image), restore_background=True)
    assert planes.restored_bands == frozenset()
    np.testing.assert_array_equal(planes.image[0], image)


def test_variance_is_kept_on_request(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    image = np.ones((60, 60), np.float32)
    variance = rng.uniform(1.0, 2.0, image.shape).astype(np.float32)
    variance[3, 4] = np.inf
    hole = np.zeros(image.shape, np.bool_)
    hole[10:20, 10:20] = True
    write_coadd(tmp_path / "coadd.fits", image, variance=variance, masks={"NO_DATA": hole}, unit=u.uJy)
    source = CoaddSource("i", str(tmp_path / "coadd.fits"))
    assert read_planes([source], ["i"], whole(image)).variance is None
    kept = read_planes([source], ["i"], whole(image), check_variance=False, keep_variance=True).variance
    assert kept is not None
    good = ~hole & np.isfinite(variance)
    np.testing.assert_allclose(kept[0], np.where(good, variance * np.float32(1e6), 0.0), rtol=1e-5)
