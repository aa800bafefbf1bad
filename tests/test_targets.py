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

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lsst.meas.morphology.errors import MissingColumnError
from lsst.meas.morphology.flags import Flag
from lsst.meas.morphology.pixels.geometry import Geometry
from lsst.meas.morphology.pixels.radius import guarded_radius
from lsst.meas.morphology.pixels.targets import Targets, TargetSelection, required_columns, select_targets

GEOMETRY = Geometry((1000, 2000, 1600, 2600), 0.2, lambda ra, dec: (1000 + 100 * ra, 2000 + 100 * dec))
NO_CUTS = TargetSelection(
    min_extendedness=None, max_magnitude=None, min_signal_to_noise=None, min_radius_over_psf=None
)


def objects(n: int = 4, **changes: npt.ArrayLike) -> dict[str, Any]:
    """Return a DP2 object table of galaxies that pass every cut."""
    flux = 10 ** (0.4 * (31.4 - 20.0))
    table: dict[str, Any] = {
        "objectId": np.arange(n) + (1 << 60),
        "tract": np.full(n, 9, np.int32),
        "patch": np.full(n, 3, np.int32),
        "coord_ra": np.full(n, 3.0),
        "coord_dec": np.full(n, 2.0),
        "refExtendedness": np.ones(n, np.float32),
        "refBand": np.full(n, "i"),
        "i_cModelFlux": np.full(n, flux, np.float32),
        "i_cModelFluxErr": np.full(n, flux / 100, np.float32),
        "i_ixxPSF": np.full(n, 6.0, np.float32),
        "i_iyyPSF": np.full(n, 6.5, np.float32),
        "shape_xx": np.full(n, 30.0, np.float32),
        "shape_yy": np.full(n, 20.0, np.float32),
        "shape_flag": np.zeros(n, np.bool_),
        "i_kronRad": np.full(n, 7.0, np.float32),
        "i_kronFlux_flag": np.zeros(n, np.bool_),
        "footprintArea": np.full(n, 900, np.int32),
    }
    table.update({name: np.asanyarray(value) for name, value in changes.items()})
    return table


def select(table: Mapping[str, Any], selection: TargetSelection | None = None) -> Targets:
    return select_targets(
        table, tract=9, patch=3, selection=selection or TargetSelection(), geometry=GEOMETRY
    )


def kept(targets: Targets) -> list[int]:
    return (targets.object_id - (1 << 60)).tolist()


def flags(targets: Targets) -> list[Flag]:
    return [Flag(int(value)) for value in targets.flags]


def test_targets() -> None:
    targets = select(objects(coord_ra=[0.0, 1.0, 2.5, 5.9], coord_dec=[0.1, 0.2, 0.3, 0.4]))
    assert kept(targets) == [0, 1, 2, 3]
    assert targets.object_id.dtype == np.int64
    assert set(targets.tract.tolist()) == {9}
    assert set(targets.patch.tolist()) == {3}
    np.testing.assert_allclose(targets.x, [1000, 1100, 1250, 1590])
    np.testing.assert_allclose(targets.y, [2010, 2020, 2030, 2040])
    # The largest of 3.13 sigma = 15.7, 2.5 Kron radii = 17.5 and 16.9 pixels.
    np.testing.assert_allclose(targets.radius, 17.5 * 0.2, rtol=1e-6)
    assert flags(targets) == [Flag(0)] * 4
    assert targets.measurable.all()
    assert kept(targets[np.array([2, 0])]) == [2, 0]
    assert kept(targets[1:3]) == [1, 2]
    assert kept(targets[-1]) == [3]
    assert len(targets[targets.x > 1100]) == 2


@pytest.mark.parametrize(
    ("column", "failing", "option"),
    [
        ("refExtendedness", 0.5, "min_extendedness"),
        ("i_cModelFlux", 10 ** (0.4 * (31.4 - 21.01)), "max_magnitude"),
        ("i_cModelFlux", -1e7, "max_magnitude"),
        ("i_cModelFluxErr", 10 ** (0.4 * (31.4 - 20.0)) / 19.9, "min_signal_to_noise"),
        ("shape_xx", 12.5 * 1.4**2 - 20.1, "min_radius_over_psf"),
        ("i_ixxPSF", 50 / 1.4**2 - 6.4, "min_radius_over_psf"),
    ],
)
def test_each_cut(column: str, failing: float, option: str) -> None:
    table = objects()
    table[column] = table[column].copy()
    table[column][1] = failing
    selection = TargetSelection(min_signal_to_noise=None) if failing < -1e6 else TargetSelection()
    assert kept(select(table, selection)) == [0, 2, 3]
    values = {name: getattr(selection, name) for name in TargetSelection.__dataclass_fields__}
    assert kept(select(table, TargetSelection(**{**values, option: None}))) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "column", ["refExtendedness", "i_cModelFlux", "i_cModelFluxErr", "shape_xx", "shape_yy", "i_iyyPSF"]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, "masked"])
def test_value_not_finite_is_selected_and_flagged(column: str, value: float | str) -> None:
    table = objects()
    table[column] = np.ma.array(table[column], copy=True)
    if value == "masked":
        table[column][1] = np.ma.masked
    else:
        table[column][1] = value
    # The last object has that, and fails another cut.
    other = "i_ixxPSF" if column == "refExtendedness" else "refExtendedness"
    table[column][3] = table[column][1]
    table[other][3] = 100.0 if other == "i_ixxPSF" else 0.0
    targets = select(table)
    assert kept(targets) == [0, 1, 2]
    assert flags(targets) == [Flag(0), Flag.SELECTION, Flag(0)]
    assert np.isfinite(targets.radius).all()


def test_flagged_shape_counts_as_none() -> None:
    targets = select(objects(shape_flag=[False, True, False, False]))
    assert flags(targets) == [Flag(0), Flag.SELECTION, Flag(0), Flag(0)]


def test_stars_are_left_out_by_size() -> None:
    psf = objects()
    table = objects(shape_xx=psf["i_ixxPSF"], shape_yy=psf["i_iyyPSF"])
    assert len(select(table)) == 0
    # A star's half-light radius is half its FWHM.
    assert len(select(table, TargetSelection(min_radius_over_psf=0.499))) == 4
    assert len(select(table, TargetSelection(min_radius_over_psf=0.501))) == 0


def test_cut_on_radius() -> None:
    """In arcsec, of the radius that holds nearly all light."""
    table = objects(4, i_kronRad=[7.0, 20.0, 5.0, np.nan], footprintArea=[0, 0, 0, 0])
    table["shape_xx"] = table["shape_yy"] = np.array([30.0, 30.0, 60.0, np.nan], np.float32)
    # 3.5, 10 and 4.85 arcsec; the last has none, and nothing is known of it.
    targets = select(table, TargetSelection(min_radius=4.0))
    assert kept(targets) == [1, 2, 3]
    np.testing.assert_allclose(targets.radius, [10.0, 4.853, np.nan], rtol=1e-3)
    assert flags(targets)[:2] == [Flag(0)] * 2
    assert flags(targets)[2] == Flag.SHAPE | Flag.SELECTION
    assert kept(select(table, TargetSelection(min_radius=5.0))) == [1, 3]
    assert flags(select(table, NO_CUTS))[3] == Flag.SHAPE


def test_north() -> None:
    angle = np.radians(30.0)

    def turned(ra: npt.NDArray[Any], dec: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        east, north = -1000.0 * ra, 1000.0 * dec
        return east * np.cos(angle) - north * np.sin(angle), east * np.sin(angle) + north * np.cos(angle)

    geometry = Geometry((0, 0, 10, 10), 0.2, turned)
    north = geometry.north(np.array([1.0, np.nan, 2.0]), np.array([0.0, 1.0, 90.0]))
    np.testing.assert_allclose(np.degrees(north), [120.0, np.nan, 120.0])


def test_positions() -> None:
    table = objects(6, coord_ra=[3.0, np.nan, 3.0, -0.01, 6.0, np.inf], coord_dec=[2.0, 2, np.nan, 2, 2, 2])
    targets = select(table)
    nowhere, outside = Flag.POSITION | Flag.GENERAL, Flag.OFF_IMAGE | Flag.GENERAL
    assert flags(targets) == [Flag(0), nowhere, nowhere, outside, outside, nowhere]
    assert targets.measurable.tolist() == [True, False, False, False, False, False]
    assert np.isnan(targets.x[[1, 2, 5]]).all()
    np.testing.assert_array_equal(targets.ra, [3.0, np.nan, 3.0, -0.01, 6.0, np.nan])


def test_only_the_patch_s_own_primary_objects() -> None:
    table = objects(5, patch=[3, 4, 3, 3, 3], tract=[9, 9, 8, 9, 9])
    assert kept(select(table)) == [0, 3, 4]
    table["detect_isPrimary"] = np.array([True, True, True, False, True])
    assert kept(select(table)) == [0, 4]
    del table["tract"]
    assert kept(select(table)) == [0, 2, 4]


def test_no_objects() -> None:
    for table in (objects(0), objects(4, patch=np.full(4, 5)), objects(4, refExtendedness=np.zeros(4))):
        targets = select(table)
        assert len(targets) == 0
        assert targets.radius.dtype == np.float32
        assert targets.flags.dtype == np.uint32


def test_radius_falls_through() -> None:
    n = 5
    table = objects(
        n,
        shape_xx=[np.nan, np.nan, np.nan, np.nan, 300.0],
        i_kronRad=[9.0, np.nan, 9.0, np.nan, 1.0],
        i_kronFlux_flag=[False, False, True, False, False],
        footprintArea=np.ma.array([100, 100, 100, 100, 100], mask=[0, 0, 0, 1, 0]),
    )
    targets = select(table, NO_CUTS)
    area = math.sqrt(100 / math.pi)
    sigma = 2.5 * math.sqrt(math.pi / 2) * math.sqrt(160)
    np.testing.assert_allclose(targets.radius, 0.2 * np.array([22.5, area, area, np.nan, sigma]), rtol=1e-6)
    assert flags(targets) == [Flag(0), Flag(0), Flag(0), Flag.SHAPE, Flag(0)]


def test_kron_radius_is_the_reference_band_s() -> None:
    table = objects(4, refBand=["i", "r", "z", "r"])
    table["r_kronRad"] = np.array([1.0, 20.0, 1.0, 30.0])
    table["r_kronFlux_flag"] = np.array([False, False, False, True])
    targets = select(table, NO_CUTS)
    floor = math.sqrt(900 / math.pi)
    np.testing.assert_allclose(targets.radius, 0.2 * np.array([17.5, 50.0, floor, floor]), rtol=1e-6)


def test_tables_with_fewer_columns() -> None:
    table = objects()
    # DP1 and early tables: another extendedness, no reference band.
    table["refSizeExtendedness"] = table.pop("refExtendedness")
    for name in ("refBand", "tract", "shape_flag", "i_kronFlux_flag", "footprintArea", "i_kronRad"):
        del table[name]
    assert "refSizeExtendedness" in required_columns(table.keys(), TargetSelection())
    targets = select(table)
    np.testing.assert_allclose(targets.radius, 0.2 * 2.5 * math.sqrt(math.pi / 2) * 5.0, rtol=1e-6)
    # Without moments other sizes do, if no cut is made on them.
    table["footprintArea"] = np.full(4, 400)
    del table["shape_xx"]
    targets = select(table, TargetSelection(min_radius_over_psf=None))
    np.testing.assert_allclose(targets.radius, 0.2 * math.sqrt(400 / math.pi), rtol=1e-6)


@pytest.mark.parametrize(
    "column",
    ["objectId", "patch", "coord_ra", "coord_dec", "refExtendedness", "i_cModelFlux", "i_cModelFluxErr"]
    + ["i_ixxPSF", "i_iyyPSF", "shape_xx", "shape_yy"],
)
def test_missing_column_is_named(column: str) -> None:
    table = objects()
    del table[column]
    with pytest.raises(MissingColumnError, match=f"'object_all'.*'{column}'"):
        required_columns(table.keys(), TargetSelection(), table="object_all")
    with pytest.raises(MissingColumnError, match=f"'{column}'"):
        select(table)


def test_columns_that_are_read() -> None:
    available = [*objects(), "x", "y", "r_kronRad", "z_psfFlux", "detect_isPrimary"]
    columns = required_columns(available, TargetSelection())
    assert len(set(columns)) == len(columns)
    assert set(columns) == {*objects(), "r_kronRad", "detect_isPrimary"}
    assert "i_cModelFlux" not in required_columns(available, NO_CUTS)
    with pytest.raises(MissingColumnError, match="'r_cModelFlux'"):
        required_columns(available, TargetSelection(magnitude_band="r"))
    # Some estimate of the radius is needed whatever the cuts.
    with pytest.raises(MissingColumnError, match="'shape_xx'"):
        required_columns(["objectId", "patch", "coord_ra", "coord_dec"], NO_CUTS)


def test_guarded_radius() -> None:
    trace = [50.0, np.nan, -1.0, np.inf, 0.0, np.nan]
    kron = [1.0, 4.0, np.nan, np.nan, 0.0, -3.0]
    area = [1.0, 4.0, 100.0, np.nan, 0.0, np.nan]
    radius, ok = guarded_radius(trace, kron, area, 0.2)
    sigma = 2.5 * math.sqrt(math.pi / 2) * 5.0
    np.testing.assert_allclose(
        radius, 0.2 * np.array([sigma, 10, math.sqrt(100 / math.pi), np.nan, np.nan, np.nan]), rtol=1e-6
    )
    assert ok.tolist() == [True, True, True, False, False, False]
    assert radius.dtype == np.float32
    assert guarded_radius(None, [2.0], None, 1.0)[0].tolist() == [5.0]
    with pytest.raises(ValueError, match="at least one"):
        guarded_radius(None, None, None, 1.0)


def test_the_two_estimates_agree_for_a_gaussian() -> None:
    sigma = 6.0
    r = (np.arange(20000) + 0.5) * 0.005
    light = np.exp(-0.5 * (r / sigma) ** 2) * r
    kron = (light * r).sum() / light.sum()
    trace = (light * r**2).sum() / light.sum()
    by_trace, _ = guarded_radius([trace], None, None, 1.0)
    by_kron, _ = guarded_radius(None, [kron], None, 1.0)
    assert by_trace[0] == pytest.approx(by_kron[0], rel=1e-4)
    assert light[r < by_kron[0]].sum() / light.sum() > 0.99
