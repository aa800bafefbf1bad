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

"""Contact sheets of tidal features: from a repository, and of real skies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from astropy.io import fits
from click.testing import CliRunner
from scipy.special import expit

from lsst.daf.butler import Butler, DatasetType
from lsst.images import Mask, MaskSchema
from lsst.meas.morphology.cli.draw_tides import command
from lsst.meas.morphology.explore.tidal_portraits import choose_hosts
from lsst.meas.morphology.explore.tidal_sheet import TidalPortrait, draw_tidal_sheet, faint_grey
from lsst.meas.morphology.inference.engine import Engine, EngineOptions
from lsst.meas.morphology.masks.planes import MASK_PLANES
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.shipped import find_model
from lsst.meas.morphology.pixels.resample import axis_weights, resample
from lsst.meas.morphology.surface_brightness import to_njy
from lsst.meas.morphology.validation.tidal_outcomes import TidalThresholds

repo_module = pytest.importorskip("lsst.meas.morphology.simulation.repo")

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MORPHOLOGY_TESTDATA_DIR", ROOT.parent / "shared" / "data")) / "hsc"
SKYMAP = "lsst_cells_sim"


def test_grey_shows_faint_light_and_hides_nothing() -> None:
    rng = np.random.default_rng(1)
    brightness = rng.normal(0.0, 10.0, (80, 80))
    brightness[20:40, 20:40] += to_njy(27.0)
    brightness[60:64, 60:64] += to_njy(18.0)
    brightness[:5] = np.nan
    grey = faint_grey(brightness)
    assert np.isnan(grey[:5]).all()
    sky, feature, core = grey[45:55, 5:15], grey[22:38, 22:38], grey[61:63, 61:63]
    assert feature.mean() > sky.mean() + 3.0 * sky.std()
    assert core.min() == 1.0
    assert 0.0 <= np.nanmin(grey) < np.nanmax(grey) <= 1.0
    # Another unit of brightness, or a pedestal, leaves the sky as it is.
    assert faint_grey(brightness + 50.0)[45:55, 5:15].mean() == pytest.approx(sky.mean(), abs=0.05)
    assert np.isnan(faint_grey(np.full((3, 3), np.nan))).all()


def test_surest_hosts_come_first() -> None:
    table = {
        "debris_probability": np.array([0.2, 0.9, np.nan, 0.99, 0.5]),
        "tidal_flag": np.array([False, False, False, True, False]),
    }
    assert choose_hosts(table, count=9).tolist() == [1, 4, 0]
    assert choose_hosts(table, count=1).tolist() == [1]
    assert choose_hosts(table, count=9, least=0.4).tolist() == [1, 4]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a table and a mask of two hosts."""
    made = repo_module.simulate_repository(
        tmp_path_factory.mktemp("sim") / "repo",
        columns=1,
        rows=1,
        patch_cells=5,
        cell_size=60,
        n_galaxies=4,
        n_neighbours=2,
        n_stars=1,
        nasty=False,
        seed=4,
    )
    where = {"skymap": SKYMAP, "tract": 1, "patch": 0}
    with Butler.from_config(str(made.path), writeable=True, run="u/test/tides") as butler:
        for name, storage in (("object_tidal_patch", "ArrowTable"), ("object_tidal_mask", "MaskV2")):
            dimensions = ("skymap", "tract", "patch")
            butler.registry.registerDatasetType(
                DatasetType(name, dimensions, storage, universe=butler.dimensions)
            )
        objects = butler.get("object", skymap=SKYMAP, tract=1, collections="sim")
        bits = np.zeros((300, 300), np.uint8)
        bits[100:180, 120:200] = 1
        coadd = butler.get("deep_coadd", {**where, "band": "r"}, collections="sim")
        assert (coadd.bbox.x.start, coadd.bbox.y.start) == (0, 0)
        mask = Mask(0, schema=MaskSchema(list(MASK_PLANES.values())), bbox=coadd.bbox)
        mask.set("TIDAL_TAIL", bits != 0)
        butler.put(mask, "object_tidal_mask", where)
        columns = {
            "objectId": np.asarray(objects["objectId"][:2]),
            "tract": np.full(2, 1, np.int32),
            "patch": np.zeros(2, np.int32),
            "coord_ra": np.asarray(objects["coord_ra"][:2]),
            "coord_dec": np.asarray(objects["coord_dec"][:2]),
            "radius": np.array([5.0, 9.0]),
            "tidal_flag": np.zeros(2, np.bool_),
            **{f"{name}_probability": np.array([0.4, 0.8]) for name in (*MASK_PLANES, "debris")},
        }
        butler.put(pa.table(columns).replace_schema_metadata({"kind": "test"}), "object_tidal_patch", where)
    return Path(made.path)


def test_command_draws(repo: Path, tmp_path: Path) -> None:
    picture = tmp_path / "sheet.png"
    result = CliRunner().invoke(command, [str(repo), "u/test/tides,sim", str(picture)])
    assert result.exit_code == 0, result.output
    assert "2 hosts" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (
        "as sure"
        in CliRunner().invoke(command, [str(repo), "u/test/tides,sim", "x", "--least", "0.9"]).output
    )
    assert "step1-tides" in CliRunner().invoke(command, [str(repo), "sim", "x"]).output


# Real skies


def shipped_tides() -> Engine:
    """Return the shipped model, or skip."""
    try:
        path = find_model("tides")
    except Exception as error:
        pytest.skip(f"There is no model of tidal features: {error}")
    return Engine.from_package(ModelPackage.open(str(path)), EngineOptions())


def hsc_stamp(
    image: npt.NDArray[np.float32], centre: tuple[float, float], arcsec_per_px: float, size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Resample counts ``[band, y, x]`` to surface brightness in a stamp."""
    scale = np.array([arcsec_per_px / 0.168])
    good = np.isfinite(image)
    layers = np.concatenate([np.where(good, image, 0.0), good]).astype(np.float32)
    rows = axis_weights(np.array([centre[1]]), scale, size, image.shape[1])
    columns = axis_weights(np.array([centre[0]]), scale, size, image.shape[2])
    stamp = resample(layers.transpose(1, 0, 2)[None], rows, columns)[0]
    flux, weight = stamp[: len(image)], stamp[len(image) :] / scale[0] ** 2
    valid = weight > 0.5
    njy = 10.0 ** (-0.4 * (27.0 - 31.4))
    flux = np.where(valid, flux / np.maximum(weight, 0.5) * njy / arcsec_per_px**2, 0.0)
    return flux.astype(np.float32), valid


def hsc_scenes(size: int) -> list[tuple[str, npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
    """Return the galaxy with a loop, the spiral and its neighbour."""
    with np.load(DATA / "lsbg_grizy.npz") as arrays:
        loop = arrays["images"][:3].astype(np.float32)
    bands = []
    for band in "gri":
        with fits.open(DATA / f"222.5155_0.0975_{band}.fits.gz") as file:
            bands.append(np.asarray(file[1].data, np.float32))
    spiral = np.stack(bands)
    places = {
        "galaxy with a loop": (loop, (106.0, 94.0)),
        "spiral": (spiral, (150.0, 150.0)),
        "disturbed neighbour": (spiral, (208.0, 38.0)),
    }
    return [(name, *hsc_stamp(image, centre, 0.4, size)) for name, (image, centre) in places.items()]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent (MORPHOLOGY_TESTDATA_DIR)")
def test_real_faint_galaxies(tmp_path: Path) -> None:
    """It runs on real pixels; what it marks is drawn to be looked at."""
    engine = shipped_tides()
    manifest = engine.manifest
    assert manifest.tides is not None
    thresholds = TidalThresholds.of(manifest.tides)
    portraits = []
    for name, flux, valid in hsc_scenes(manifest.stamp_size):
        said = engine.predict(flux[None], valid[None])
        assert said.mask is not None
        assert said.presence is not None
        chance, presence = expit(said.mask[0]), expit(said.presence[0])
        assert np.isfinite(chance).all()
        masks = {
            plane: (chance[k] >= thresholds.mask[plane]) & valid[1]
            for k, plane in enumerate(manifest.tides.planes)
            if plane in thresholds.mask
        }
        features = manifest.tides.features
        lines = tuple(f"{plane} {presence[k]:.2f}" for k, plane in enumerate(features))
        brightness = np.where(valid[1], flux[1], np.nan)
        portraits.append(TidalPortrait(name, brightness, 0.4, masks, (" ".join(lines),)))
        print(name, lines, {plane: int(mask.sum()) for plane, mask in masks.items()})
    folder = Path(os.environ.get("MORPHOLOGY_PICTURES", tmp_path))
    picture = folder / "real_tides.png"
    draw_tidal_sheet(picture, portraits, title=f"HSC, {manifest.name} {manifest.version}", columns=1)
    assert picture.stat().st_size > 10_000
