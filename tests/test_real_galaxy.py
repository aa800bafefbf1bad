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

"""A real spiral of HSC, as a cell coadd, seen by the default model."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lsst.images import YX, Box, Image, Interval, Mask, MaskSchema, SkyProjection, TractFrame
from lsst.images import get_legacy_deep_coadd_mask_planes as mask_planes
from lsst.images.cells import CellCoadd, CellGrid, CellGridBounds, CellPointSpreadFunction, PatchDefinition
from lsst.images.serialization import write_archive
from lsst.meas.morphology.explore.gallery import Portrait, describe_row, draw_gallery
from lsst.meas.morphology.inference.engine import EngineOptions, get_engine
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.pixels.source import CoaddSource
from lsst.meas.morphology.rgb import lupton_rgb
from lsst.meas.morphology.tasks.measure_morphology import MeasureMorphologyTask

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MORPHOLOGY_TESTDATA_DIR", ROOT.parent / "shared" / "data")) / "hsc"
RA, DEC = 222.5155, 0.0975
NANOJANSKY = 10.0 ** (-0.4 * (27.0 - 31.4))
"""nJy of a count: HSC's zero point is 27."""

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is absent (MORPHOLOGY_TESTDATA_DIR)")


def read_coadd(band: str) -> CellCoadd:
    """Read HSC's afw-style file as a cell coadd of two by two cells."""
    with fits.open(DATA / f"{RA}_{DEC}_{band}.fits.gz") as file:
        image, mask, variance = (file[i].data[:300, :300] for i in (1, 2, 3))
        header, bits = file[1].header, file[2].header
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(header)
    bbox = Box(y=Interval(0, 300), x=Interval(0, 300))
    schema = MaskSchema(list(mask_planes().values()))
    planes = Mask(0, schema=schema, bbox=bbox)
    for old, new in {
        "NO_DATA": "NO_DATA",
        "SAT": "SATURATED",
        "CR": "COSMIC_RAY",
        "INTRP": "INTERPOLATED",
    }.items():
        planes.set(new, (mask >> bits[f"MP_{old}"]) & 1 != 0)
    grid = CellGrid(bbox=bbox, cell_shape=YX(y=150, x=150))
    projection = SkyProjection.from_fits_wcs(
        wcs, TractFrame(skymap="hsc", tract=0, bbox=bbox), pixel_bounds=bbox
    )
    return CellCoadd(
        Image(np.float32(image * NANOJANSKY), bbox=bbox, unit=u.nJy, sky_projection=projection),
        mask=planes,
        variance=Image(np.float32(variance * NANOJANSKY**2), bbox=bbox, unit=u.nJy**2),
        band=band,
        psf=CellPointSpreadFunction(np.ones((2, 2, 3, 3)) / 9.0, CellGridBounds(grid=grid, bbox=bbox)),
        patch=PatchDefinition(id=0, index=YX(y=0, x=0), inner_bbox=bbox, cells=grid),
    )


def objects() -> dict[str, np.ma.MaskedArray]:
    """Return the object table that measuring the spiral by hand would give."""
    row = {
        "objectId": 1,
        "patch": 0,
        "tract": 0,
        "coord_ra": RA,
        "coord_dec": DEC,
        "refExtendedness": 1.0,
        "i_cModelFlux": 3e5,
        "i_cModelFluxErr": 300.0,
        "i_ixxPSF": 4.0,
        "i_iyyPSF": 4.0,
        "refBand": "i",
        "shape_xx": 400.0,
        "shape_yy": 400.0,
        "i_kronRad": 30.0,
    }
    return {name: np.ma.asarray(np.array([value])) for name, value in row.items()}


def test_real_spiral(tmp_path: Path, model_file: Path) -> None:
    """It runs on real pixels; what it says is printed, and drawn."""
    sources = []
    for band in "gri":
        write_archive(read_coadd(band), tmp_path / f"{band}.fits")
        sources.append(CoaddSource(band, str(tmp_path / f"{band}.fits"), f"HSC {band}"))
    engine = get_engine("real", lambda: ModelPackage.open(model_file), EngineOptions())
    task = MeasureMorphologyTask(config=MeasureMorphologyTask.ConfigClass())
    table = task.run(objects=objects(), sources=sources, tract=0, patch=0, engine=engine).table
    assert table.num_rows == 1
    assert not table["morphology_flag"][0].as_py()
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "modelId"}
    lines = describe_row(columns, engine.manifest.tree, 0)
    print("\n".join(lines))
    pixels = np.stack([read_coadd(band).image.array for band in "gri"]) * np.float32(0.04 / 0.168**2)
    folder = Path(os.environ.get("MORPHOLOGY_PICTURES", tmp_path))
    picture = folder / "real_spiral.png"
    draw_gallery(
        picture, [Portrait("HSC 222.5155 +0.0975", lupton_rgb(pixels), lines)], title="HSC", columns=1
    )
    assert picture.stat().st_size > 10_000
    # The model has never seen a real galaxy: this is all that is asked.
    assert columns["smoothOrFeatured_problem_fraction"][0] < 0.5
