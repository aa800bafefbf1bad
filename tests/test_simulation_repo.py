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

"""Simulated repositories: what the Butler gives back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from click.testing import CliRunner

from lsst.daf.butler import Butler
from lsst.images.cells import CellIJ
from lsst.meas.morphology.cli.simulate_repo import command
from lsst.meas.morphology.flags import Flag
from lsst.meas.morphology.model.manifest import FieldOfView
from lsst.meas.morphology.pixels.cover import choose_cover
from lsst.meas.morphology.pixels.geometry import read_geometry
from lsst.meas.morphology.pixels.planes import read_planes
from lsst.meas.morphology.pixels.source import CoaddSource
from lsst.meas.morphology.pixels.stamps import cut_stamps, stamp_boxes
from lsst.meas.morphology.pixels.targets import TargetSelection, required_columns, select_targets
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.galaxies import draw_parameters
from lsst.meas.morphology.simulation.layout import SkyLayout, make_layout
from lsst.meas.morphology.simulation.painting import band_flux
from lsst.meas.morphology.simulation.sky import Nasty, draw_sky, missing_cells

drawing = pytest.importorskip("lsst.meas.morphology.simulation.drawing")
repo_module = pytest.importorskip("lsst.meas.morphology.simulation.repo")

SKYMAP = "lsst_cells_sim"
SMALL = {"patch_cells": 4, "cell_size": 60, "n_galaxies": 8, "n_neighbours": 4, "n_stars": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> repo_module.SimulatedRepository:
    return repo_module.simulate_repository(
        tmp_path_factory.mktemp("sim") / "repo", columns=2, rows=2, center_ra=359.9999, seed=5, **SMALL
    )


@pytest.fixture(scope="module")
def butler(made: repo_module.SimulatedRepository):
    with Butler.from_config(str(made.path), collections="sim") as butler:
        yield butler


def get_coadd(butler: Butler, tract: int, patch: int, band: str):
    return butler.get("deep_coadd", skymap=SKYMAP, tract=tract, patch=patch, band=band)


def test_every_coadd_but_one(made, butler: Butler) -> None:
    refs = butler.query_datasets("deep_coadd", collections="sim", find_first=True)
    there = {(r.dataId["tract"], r.dataId["patch"], r.dataId["band"]) for r in refs}
    expected = {(t, p, b) for t in (1, 2) for p in range(4) for b in "gri"}
    assert made.missing == ((2, 3, "i"),)
    assert there == expected - set(made.missing)
    assert tuple(butler.collections.get_info("sim").children) == ("sim/raw",)


def test_coadd_is_as_dp2_writes_it(made, butler: Butler) -> None:
    coadd = get_coadd(butler, 1, 3, "r")
    layout = made.layout.tracts[0]
    patch = layout.patches[3]
    assert coadd.unit == u.nJy
    assert coadd.variance.unit == u.nJy**2
    assert coadd.band == "r"
    assert (coadd.skymap, coadd.tract, coadd.patch.id) == (SKYMAP, 1, 3)
    assert (coadd.bbox.x.start, coadd.bbox.y.start, coadd.bbox.x.stop, coadd.bbox.y.stop) == patch.outer
    inner = coadd.patch.inner_bbox
    assert (inner.x.start, inner.y.start, inner.x.stop, inner.y.stop) == patch.inner
    assert coadd.patch.outer_bbox == coadd.bbox
    assert {"NO_DATA", "SATURATED", "INEXACT_PSF", "DETECTED"} <= set(coadd.mask.schema.names)
    assert coadd.image.array.dtype == np.float32
    kernel = coadd.psf.compute_kernel_image(x=patch.inner[0] + 5, y=patch.inner[1] + 5).array
    assert kernel.sum() == pytest.approx(1.0)
    assert np.unravel_index(kernel.argmax(), kernel.shape) == (20, 20)


def test_projection_is_the_layouts(made, butler: Butler) -> None:
    for layout in made.layout.tracts:
        patch = layout.patches[2]
        x, y = np.array([patch.inner[0] + 3.3, patch.outer[2] - 1.0]), np.array([patch.inner[1], 40.5])
        ra, dec = layout.pixel_to_sky(x, y)
        projection = get_coadd(butler, layout.tract, 2, "g").sky_projection
        there = projection.sky_to_pixel(SkyCoord(ra, dec, unit="deg"))
        np.testing.assert_allclose(there.x, x, atol=1e-6)
        np.testing.assert_allclose(there.y, y, atol=1e-6)


def test_missing_cells_hold_nothing(made, butler: Butler) -> None:
    layout = made.layout.tracts[0]
    size = layout.cell_size
    assert missing_cells(layout, "g") > missing_cells(layout, "r")
    for band in "gr":
        coadd = get_coadd(butler, 1, 0, band)
        lost = np.zeros(coadd.image.array.shape, dtype=bool)
        cells = {c for c in missing_cells(layout, band) if max(c) < 4}
        assert coadd.psf.bounds.missing == {CellIJ(i=i, j=j) for i, j in cells}
        for i, j in cells:
            lost[i * size : (i + 1) * size, j * size : (j + 1) * size] = True
        np.testing.assert_array_equal(coadd.mask.get("NO_DATA"), lost)
        np.testing.assert_array_equal(np.isposinf(coadd.variance.array), lost)
        assert (coadd.image.array[lost] == 0.0).all()
        assert np.isfinite(coadd.image.array).all()
        assert (coadd.variance.array > 0.0).all()


def test_noise_has_the_variance_of_the_plane(butler: Butler) -> None:
    coadd = get_coadd(butler, 2, 1, "i")
    sky = ~coadd.mask.get("NO_DATA") & ~coadd.mask.get("DETECTED")
    pull = coadd.image.array[sky] / np.sqrt(coadd.variance.array[sky])
    assert np.subtract(*np.quantile(pull, [0.75, 0.25])) / 1.349 == pytest.approx(1.0, abs=0.1)


def test_patches_of_a_tract_share_their_pixels(butler: Butler) -> None:
    left, right = get_coadd(butler, 1, 0, "r"), get_coadd(butler, 1, 1, "r")
    both = left.bbox.intersection(right.bbox)
    assert both.x.size == 2 * 60
    np.testing.assert_array_equal(left.image[both].array, right.image[both].array)


def test_object_tables(made, butler: Butler) -> None:
    seen: list[int] = []
    for layout in made.layout.tracts:
        table = butler.get("object", skymap=SKYMAP, tract=layout.tract)
        assert (table["tract"] == layout.tract).all()
        assert table["coord_ra"].unit == u.deg
        assert table["g_cModelFlux"].unit == u.nJy
        assert table["shape_xx"].unit == u.pix**2
        assert set(required_columns(table.colnames, TargetSelection())) <= set(table.colnames)
        seen.extend(table["objectId"].tolist())
        good = np.isfinite(table["coord_ra"])
        where = layout.patch_of(
            *layout.sky_to_pixel(np.asarray(table["coord_ra"])[good], np.asarray(table["coord_dec"])[good])
        )
        stray = where != np.asarray(table["patch"])[good]
        # The one object off the image is so on purpose.
        assert stray.sum() == (1 if layout.tract == 1 else 0)
    assert len(seen) == len(set(seen)) == len(made.objects)


def test_patch_without_i_has_no_fluxes_in_i(butler: Butler) -> None:
    table = butler.get("object", skymap=SKYMAP, tract=2)
    last = np.asarray(table["patch"]) == 3
    assert last.any()
    assert np.isnan(table["i_cModelFlux"][last]).all()
    assert np.isfinite(table["r_cModelFlux"][last]).all()
    assert (np.asarray(table["refBand"])[last] == "r").all()
    assert (np.asarray(table["refBand"])[~last] == "i").all()


def test_nasty_objects(made, butler: Butler) -> None:
    table = butler.get("object", skymap=SKYMAP, tract=1)
    truth = butler.get("morphology_truth", skymap=SKYMAP, tract=1)
    np.testing.assert_array_equal(table["objectId"], truth["objectId"])
    rows = {
        str(kind): table[np.asarray(truth["nasty"]) == kind][0] for kind in set(truth["nasty"]) - {"none"}
    }
    assert set(rows) == {kind.name.lower() for kind in Nasty} - {"none"}
    assert np.isnan(rows["no_position"]["coord_ra"])
    assert np.isnan(rows["no_shape"]["shape_xx"])
    assert rows["no_shape"]["shape_flag"]
    assert rows["no_size"]["footprintArea"] == 0
    assert np.isnan(rows["no_size"]["i_kronRad"])
    assert np.isnan(rows["no_flux"]["i_cModelFlux"])
    layout = made.layout.tracts[0]
    coadd = get_coadd(butler, 1, 0, "r")
    for kind, plane in (("no_data", "NO_DATA"), ("saturated", "SATURATED")):
        x, y = layout.sky_to_pixel(rows[kind]["coord_ra"], rows[kind]["coord_dec"])
        assert coadd.mask.get(plane)[round(float(y)), round(float(x))]
    x, _ = layout.sky_to_pixel(rows["off_image"]["coord_ra"], rows["off_image"]["coord_dec"])
    assert x < 0


def cut(made, butler: Butler, tract: int, patch: int):
    """Cut stamps as the pipeline does; return targets, stamps, truth."""
    table = butler.get("object", skymap=SKYMAP, tract=tract)
    truth = butler.get("morphology_truth", skymap=SKYMAP, tract=tract)
    selection = TargetSelection()
    columns = {c: np.asarray(table[c]) for c in required_columns(table.colnames, selection)}
    sources = [
        CoaddSource(
            band=band,
            label=band,
            uri=butler.getURI("deep_coadd", skymap=SKYMAP, tract=tract, patch=patch, band=band),
        )
        for band in "gri"
        if (tract, patch, band) not in made.missing
    ]
    geometry = read_geometry(sources[0])
    targets = select_targets(columns, tract=tract, patch=patch, selection=selection, geometry=geometry)
    view = FieldOfView(rule="radius", multiple=3.0, min_arcsec=12.8, max_arcsec=64.0)
    boxes = stamp_boxes(targets, geometry, field_of_view=view, stamp_size=64)
    planes = read_planes(sources, ("g", "r", "i"), choose_cover(boxes, geometry.bbox), threads=1)
    batches = cut_stamps(
        planes,
        targets,
        geometry,
        field_of_view=view,
        stamp_size=64,
        bands=("g", "r", "i"),
        optional_bands=("i",),
        batch_size=1000,
    )
    rows = [table["objectId"].tolist().index(k) for k in targets.object_id.tolist()]
    return targets, next(iter(batches)), table[rows], truth[rows]


def test_pipeline_flags_the_nasty_ones(made, butler: Butler) -> None:
    _, stamps, _, truth = cut(made, butler, 1, 0)
    flags = {str(kind): Flag(int(f)) for kind, f in zip(truth["nasty"], stamps.flags, strict=True)}
    assert Flag.NO_DATA in flags["no_data"]
    assert Flag.EDGE in flags["edge"]
    assert Flag.FIELD_LIMIT in flags["edge"]
    assert Flag.SELECTION in flags["no_shape"]
    assert Flag.SHAPE not in flags["no_shape"]
    assert Flag.SHAPE in flags["no_size"]
    assert Flag.SELECTION in flags["no_flux"]
    assert Flag.POSITION | Flag.GENERAL in flags["no_position"]
    assert Flag.OFF_IMAGE | Flag.GENERAL in flags["off_image"]
    assert Flag.SATURATED in flags["saturated"]
    assert Flag.GENERAL not in flags["beside_star"]


def test_patch_without_i_is_flagged_throughout(made, butler: Butler) -> None:
    _, stamps, _, _ = cut(made, butler, 2, 3)
    assert len(stamps) > 0
    assert ((stamps.flags & np.uint32(Flag.MISSING_BAND)) != 0).all()
    assert not stamps.valid[:, 2].any()
    assert stamps.valid[:, 1].mean() > 0.5


def test_pixels_hold_the_fluxes_of_the_table() -> None:
    p = draw_parameters(np.random.default_rng(3), 30, magnitude_limit=23.0)
    p = dataclasses.replace(p, half_light=np.minimum(p.half_light, 1.5), dust=np.zeros(30))
    flux = band_flux(p, ("g", "i"))
    ratio = [
        drawing.draw_object(p[k : k + 1], ("g", "i"), np.array([0.9, 0.8])).sum(axis=(1, 2)) / flux[k]
        for k in range(30)
    ]
    np.testing.assert_allclose(np.median(ratio, axis=0), 1.0, atol=0.03)
    assert np.abs(np.array(ratio) - 1.0).max() < 0.2


def test_truth_has_votes_down_the_tree(butler: Butler) -> None:
    tree = QuestionTree.load("rubin")
    truth = butler.get("morphology_truth", skymap=SKYMAP, tract=1)
    votes = np.stack([np.asarray(truth[f"{c}_votes"]) for c in tree.answer_columns], axis=1)
    probabilities = np.stack([np.asarray(truth[f"{c}_probability"]) for c in tree.answer_columns], axis=1)
    for question in tree.questions:
        columns = tree.slices[question.name]
        np.testing.assert_allclose(probabilities[:, columns].sum(axis=1), 1.0, rtol=1e-5)
        if question.parents:
            asked = sum(votes[:, tree.column_index(*parent)] for parent in question.parents)
            np.testing.assert_array_equal(votes[:, columns].sum(axis=1), asked)
    assert (votes[:, tree.slices["smoothOrFeatured"]].sum(axis=1) >= 5).all()


def test_right_ascension_wraps_inside(butler: Butler) -> None:
    ra = np.concatenate(
        [np.asarray(butler.get("object", skymap=SKYMAP, tract=t)["coord_ra"]) for t in (1, 2)]
    )
    ra = ra[np.isfinite(ra)]
    assert (ra >= 0.0).all()
    assert (ra < 360.0).all()
    assert (ra < 1.0).any()
    assert (ra > 359.0).any()


def test_regions_hold_the_patches(made, butler: Butler) -> None:
    records = butler.query_dimension_records("patch", skymap=SKYMAP)
    assert len(records) == 8
    for record in records:
        layout = made.layout.tracts[record.tract - 1]
        x0, y0, x1, y1 = layout.patches[record.id].outer
        ra, dec = layout.pixel_to_sky(
            [x0 + 1.0, (x0 + x1) / 2, x1 - 2.0], [y0 + 1.0, (y0 + y1) / 2, y1 - 2.0]
        )
        for a, d in zip(np.radians(ra), np.radians(dec), strict=True):
            assert record.region.contains(float(a), float(d))


def test_galaxies_of_the_overlap_are_in_both_tracts(made, butler: Butler) -> None:
    first, second = made.layout.tracts
    bright = made.objects[made.objects.main & (made.objects.parameters.magnitude < 20.5)]
    compared = 0
    for k in range(len(bright)):
        fluxes = []
        for layout in (first, second):
            x, y = layout.sky_to_pixel(bright.ra[k : k + 1], bright.dec[k : k + 1])
            patch = int(layout.patch_of(x, y)[0])
            if patch < 0:
                break
            coadd = get_coadd(butler, layout.tract, patch, "r")
            column, row = round(float(x[0])) - coadd.bbox.x.start, round(float(y[0])) - coadd.bbox.y.start
            part = (slice(row - 6, row + 7), slice(column - 6, column + 7))
            if coadd.mask.get("NO_DATA")[part].any() or coadd.mask.get("SATURATED")[part].any():
                break
            fluxes.append(float(coadd.image.array[part].sum()))
        if len(fluxes) == 2:
            compared += 1
            assert fluxes[0] == pytest.approx(fluxes[1], rel=0.15)
    assert compared >= 2


def unique_owners(layout: SkyLayout, n: int = 4000) -> None:
    """Assert that positions all over a layout have one owner each."""
    rng = np.random.default_rng(0)
    for tract in layout.tracts:
        _, _, width, height = tract.bounds
        x, y = rng.uniform(0.0, width - 1.0, n), rng.uniform(0.0, height - 1.0, n)
        ra, dec = tract.pixel_to_sky(x, y)
        there = tract.sky_to_pixel(ra, dec)
        np.testing.assert_allclose(there[0], x, atol=1e-5)
        np.testing.assert_allclose(there[1], y, atol=1e-5)
        owner, patch = layout.owner(ra, dec)
        inside = np.zeros(n, dtype=bool)
        for other in layout.tracts:
            mine = owner == other.tract
            where = other.patch_of(*other.sky_to_pixel(ra, dec))
            np.testing.assert_array_equal(patch[mine], where[mine])
            inside |= where >= 0
        np.testing.assert_array_equal(owner >= 0, inside)
        assert (owner == tract.tract).mean() > 0.2


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.0, 0.0), (359.9999, -30.0), (120.0, 90.0), (10.0, -90.0), (10.0, 89.97)]
)
def test_every_position_has_one_owner(ra: float, dec: float) -> None:
    layout = make_layout(ra, dec, columns=3, rows=1, patch_cells=5, cell_size=100)
    unique_owners(layout)
    objects = draw_sky(layout, 3, n_galaxies=30, n_neighbours=10, n_stars=5)
    assert len(set(objects.object_id.tolist())) == len(objects)
    kept = objects[objects.nasty != Nasty.OFF_IMAGE]
    owner, patch = layout.owner(kept.ra, kept.dec)
    np.testing.assert_array_equal(owner, kept.tract)
    np.testing.assert_array_equal(patch, kept.patch)
    assert set(kept.tract.tolist()) == {1, 2}


def test_directions_turn_with_the_tract() -> None:
    layout = make_layout(10.0, 40.0, columns=2, rows=2, patch_cells=5, cell_size=100)
    objects = draw_sky(layout, 1, n_galaxies=20, n_neighbours=0, n_stars=0, nasty=False)
    for tract in layout.tracts:
        x, y = tract.sky_to_pixel(objects.ra, objects.dec)
        angle = drawing.rotated(objects, tract).angle
        # A step along the major axis, on the sky.
        ra, dec = tract.pixel_to_sky(x + np.cos(angle), y + np.sin(angle))
        east = (ra - objects.ra) * np.cos(np.radians(objects.dec))
        position_angle = np.arctan2(east, dec - objects.dec)
        turned = np.sin(position_angle - objects.parameters.angle)
        assert np.abs(turned).max() < 0.01


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 90.0), (200.0, -90.0)])
def test_repository_at_a_pole(tmp_path: Path, ra: float, dec: float) -> None:
    small = {**SMALL, "patch_cells": 3, "n_galaxies": 3, "n_neighbours": 0, "n_stars": 0}
    made = repo_module.simulate_repository(
        tmp_path / "repo", center_ra=ra, center_dec=dec, columns=1, rows=1, bands=("r",), seed=2, **small
    )
    assert made.missing == ()
    with Butler.from_config(str(made.path), collections="sim") as butler:
        coadd = get_coadd(butler, 1, 0, "r")
        pole = coadd.sky_projection.sky_to_pixel(SkyCoord([0.0], [dec], unit="deg"))
        np.testing.assert_allclose([pole.x[0], pole.y[0]], 0.5 * (3 * 60 - 1), atol=1e-6)
        table = butler.get("object", skymap=SKYMAP, tract=1)
        assert (np.abs(np.asarray(table["coord_dec"])[np.isfinite(table["coord_dec"])]) > 89.0).all()


def test_same_seed_same_sky(tmp_path: Path) -> None:
    small = {**SMALL, "patch_cells": 3, "n_galaxies": 2, "n_neighbours": 1, "n_stars": 1}
    images, tables = [], []
    for name in "ab":
        made = repo_module.simulate_repository(
            tmp_path / name, columns=1, rows=1, bands=("i",), seed=2, **small
        )
        with Butler.from_config(str(made.path), collections="sim") as butler:
            images.append(get_coadd(butler, 1, 0, "i").image.array)
            tables.append(butler.get("object", skymap=SKYMAP, tract=1))
    np.testing.assert_array_equal(*images)
    assert tables[0].colnames == tables[1].colnames
    np.testing.assert_array_equal(tables[0]["i_cModelFlux"], tables[1]["i_cModelFlux"])


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        repo_module.simulate_repository(tmp_path)
    outcome = CliRunner().invoke(command, [str(tmp_path), "--quiet"])
    assert outcome.exit_code == 1
    assert "not empty" in outcome.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["note.txt"]


def test_command(tmp_path: Path) -> None:
    arguments = (
        "--patches 1 1 --patch-cells 3 --cell-size 60 --galaxies 2 --neighbours 1 --stars 1 --bands ri"
    )
    outcome = CliRunner().invoke(
        command, [str(tmp_path / "repo"), *arguments.split(), "--ra", "0", "--dec", "-5"]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "2 overlapping tracts" in outcome.output
    assert "Tract 2, patch 0 has no i coadd" in outcome.output
    with Butler.from_config(str(tmp_path / "repo"), collections="sim") as butler:
        assert len(butler.query_datasets("deep_coadd")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_cells": 2}, "no inner pixels"),
        ({"center_dec": 91.0}, "no position"),
        ({"bands": ("g", "w")}, "'w'"),
    ],
)
def test_impossible_skies_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        repo_module.simulate_repository(tmp_path / "repo", **options)
    assert not (tmp_path / "repo").exists()
