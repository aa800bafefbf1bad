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

"""Galaxy Zoo's column names and table layouts, there and back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import MissingColumnError, QuestionTreeError
from lsst.meas.morphology.posteriors import summarize
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.tables.assemble import morphology_table
from lsst.meas.morphology.tables.galaxy_zoo import answer_names, from_galaxy_zoo, to_galaxy_zoo, tree_of
from lsst.meas.morphology.tables.image_rows import TREE_KEY, image_table


def alphas(tree, rows=50, samples=3, seed=0):
    return (
        np.random.default_rng(seed).gamma(1.0, 8.0, (rows, samples, tree.n_answers)).astype(np.float32) + 0.5
    )


def images(tree, rows=50, **options):
    """Return a table of images and the posteriors in it."""
    posteriors = summarize(alphas(tree, rows, **options), tree)
    names = {"id_str": [f"{n:04d}" for n in range(rows)], "file_loc": [f"{n}.jpg" for n in range(rows)]}
    table = image_table(
        names=names, problems=[None] * rows, model_id="a" * 64, tree=tree, posteriors=posteriors
    )
    return table, posteriors


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "decals5",
            {"smooth-or-featured-dr5_smooth", "spiral-arm-count-dr5_more-than-4", "merging-dr5_merger"},
        ),
        ("desi", {"smooth-or-featured_featured-or-disk", "bulge-size_moderate", "how-rounded_in-between"}),
        ("cosmic_dawn", {"smooth-or-featured-cd_problem", "clumps-cd_yes", "problem-cd_star"}),
        ("euclid", {"artifact-euclid_ghost"}),
    ],
)
def test_names_are_galaxy_zoos(name, expected):
    tree = QuestionTree.load(name)
    names = answer_names(tree)
    assert tuple(names) == tree.answer_columns
    assert tuple(names.values()) == tree.label_columns
    assert expected <= set(names.values())


def test_the_suffix_may_be_another():
    names = answer_names(QuestionTree.load("desi"), suffix="-dr12")
    assert names["smoothOrFeatured_smooth"] == "smooth-or-featured-dr12_smooth"


def test_friendly_layout():
    tree = QuestionTree.load("desi")
    table, posteriors = images(tree)
    friendly = to_galaxy_zoo(table, tree, layout="friendly")
    assert friendly.column_names == [
        "id_str",
        "file_loc",
        "modelId",
        *(f"{name}_fraction" for name in tree.label_columns),
    ]
    assert friendly["id_str"].to_pylist()[:2] == ["0000", "0001"]
    hidden = 0
    for index, question in enumerate(tree.questions):
        for answer, column in enumerate(range(*tree.slices[question.name].indices(tree.n_answers))):
            label = f"{question.label}_{question.answer_labels[answer]}_fraction"
            values = friendly[label].to_numpy()
            asked = posteriors.asked[:, index] >= 0.5
            np.testing.assert_array_equal(np.isnan(values), ~asked)
            np.testing.assert_array_equal(values[asked], posteriors.fraction[asked, column])
            hidden += int((~asked).sum())
    assert friendly["smooth-or-featured_smooth_fraction"].null_count == 0
    assert not np.isnan(friendly["smooth-or-featured_smooth_fraction"].to_numpy()).any()
    assert hidden > 100


def test_advanced_layout():
    tree = QuestionTree.load("decals5")
    table, posteriors = images(tree)
    advanced = to_galaxy_zoo(table, tree, layout="advanced", concentration="dirichlet")
    ends = ("fraction", "90pc-lower", "90pc-upper", "proportion-asked", "dirichlet")
    assert advanced.column_names[3:] == [f"{name}_{end}" for name in tree.label_columns for end in ends]
    index = tree.column_index("bar", "weak")
    for end, values in zip(
        ends,
        (
            posteriors.fraction[:, index],
            posteriors.fraction_low[:, index],
            posteriors.fraction_high[:, index],
            posteriors.asked[:, [q.name for q in tree.questions].index("bar")],
            posteriors.concentration[:, index],
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(advanced[f"bar-dr5_weak_{end}"].to_numpy(), values)


@pytest.mark.parametrize("concentration", ["dirichlet", "concentrations", "bare"])
def test_there_and_back(concentration):
    tree = QuestionTree.load("euclid")
    table, _ = images(tree)
    there = to_galaxy_zoo(table, tree, layout="advanced", concentration=concentration)
    back = from_galaxy_zoo(there, tree, bare="concentration")
    for name in table.column_names:
        if name.startswith("morphology_") or name.endswith(("_entropy", "_mutualInfo")):
            assert name not in back.column_names
        else:
            assert back[name].to_pylist() == table[name].to_pylist(), name


def test_votes_of_volunteers():
    tree = QuestionTree.load("decals5")
    theirs = pa.table(
        {
            "iauname": ["a", "b"],
            "smooth-or-featured-dr5_smooth": [3, 9],
            "smooth-or-featured-dr5_total-votes": [5, 10],
            "smooth-or-featured-dr5_smooth_fraction": [0.6, 0.9],
            "bar-dr5_strong": [0, 1],
        }
    )
    ours = from_galaxy_zoo(theirs, tree)
    assert ours.column_names == [
        "iauname",
        "smoothOrFeatured_smooth_votes",
        "smooth-or-featured-dr5_total-votes",
        "smoothOrFeatured_smooth_fraction",
        "bar_strong_votes",
    ]
    assert ours["smoothOrFeatured_smooth_votes"].to_pylist() == [3, 9]


def test_bare_names_are_concentrations_in_tables_of_zoobot():
    tree = QuestionTree.load("decals5")
    theirs = pa.table({"smooth-or-featured-dr5_smooth": [33.5], "id_str": ["x"]})
    assert from_galaxy_zoo(theirs, tree, bare="concentration")[
        "smoothOrFeatured_smooth_concentration"
    ].to_pylist() == [33.5]


def test_proportions_asked_of_questions_and_of_answers():
    tree = QuestionTree.load("desi")
    question = {"bar_proportion_volunteers_asked": [0.25]}
    assert from_galaxy_zoo(pa.table({**question, "bar_no": [1]}), tree)["bar_asked"].to_pylist() == [0.25]
    answers = {f"bar_{a}_proportion-asked": [0.25] for a in ("strong", "weak", "no")}
    table = from_galaxy_zoo(pa.table({**answers, "bar_no": [1]}), tree)
    assert table.column_names == ["bar_no_votes", "bar_asked"]
    answers["bar_no_proportion-asked"] = [0.5]
    with pytest.raises(ValueError, match="differ"):
        from_galaxy_zoo(pa.table({**answers, "bar_no": [1]}), tree)


def test_a_wrong_tree_or_suffix_is_named():
    desi, decals = QuestionTree.load("desi"), QuestionTree.load("decals5")
    table, _ = images(desi)
    there = to_galaxy_zoo(table, desi, layout="friendly")
    with pytest.raises(MissingColumnError, match="suffix"):
        from_galaxy_zoo(there, decals)
    with pytest.raises(MissingColumnError, match="smoothOrFeatured_problem_fraction"):
        to_galaxy_zoo(table, QuestionTree.load("euclid"), layout="friendly")


def test_flagged_rows_stay_and_are_empty():
    tree = QuestionTree.load("desi")
    alpha = alphas(tree, 3)
    alpha[1] = np.nan
    table = image_table(
        names={"id_str": ["a", "b", "c"]},
        problems=[None, "broken", None],
        model_id="a" * 64,
        tree=tree,
        posteriors=summarize(alpha, tree),
    )
    assert table["morphology_flag"].to_pylist() == [False, True, False]
    assert table["morphology_problem"].to_pylist() == [None, "broken", None]
    for layout in ("friendly", "advanced"):
        theirs = to_galaxy_zoo(table, tree, layout=layout)
        for name in theirs.column_names[2:]:
            assert np.isnan(theirs[name].to_numpy()[1]), name


def test_a_table_of_the_sky_keeps_position_and_ids(tmp_path):
    tree = QuestionTree.load("rubin")
    table = morphology_table(
        tree=tree,
        object_id=[2**60 + 1],
        tract=1,
        patch=2,
        ra=[10.0],
        dec=[-3.0],
        radius=[4.0],
        arcsec_per_px=[0.2],
        flags=np.zeros(1, np.uint32),
        posteriors=summarize(alphas(tree, 1), tree),
        model_id="a" * 64,
    )
    theirs = to_galaxy_zoo(table, tree, layout="friendly")
    assert theirs.column_names[:7] == ["objectId", "tract", "patch", "ra", "dec", "radius", "arcsecPerPixel"]
    assert theirs["objectId"].to_pylist() == [2**60 + 1]
    assert tree_of(table.schema, "a table").name == "rubin"


def test_a_table_says_its_tree():
    tree = QuestionTree.load("gz2")
    table, _ = images(tree, 1)
    assert tree_of(table.schema, "x").questions == tree.questions
    assert json.loads(table.schema.metadata[TREE_KEY.encode()])["name"] == "gz2"
    with pytest.raises(QuestionTreeError, match=r"x\.parquet"):
        tree_of(pa.schema([]), "x.parquet")


def test_values_and_embeddings_of_images():
    table = image_table(
        names={"id_str": ["a", "b"]},
        problems=[None, None],
        model_id="a" * 64,
        values={"ring_probability": np.array([0.5, 1.0], np.float32)},
        embedding=np.ones((2, 4), np.float32),
    )
    assert table.column_names[3:] == ["ring_probability", "embedding", "modelId"]
    assert table["embedding"].to_pylist() == [[1.0] * 4] * 2


@pytest.mark.parametrize("rows", [0, 7])
def test_command(tmp_path, rows):
    tree = QuestionTree.load("decals5")
    table, _ = images(tree, rows)
    path = tmp_path / "ours.parquet"
    pa.parquet.write_table(table, path)
    runner = CliRunner()
    for layout in ("friendly", "advanced"):
        for ending in ("parquet", "csv"):
            out = tmp_path / f"{layout}.{ending}"
            result = runner.invoke(main, ["export-galaxy-zoo", str(path), str(out), "--layout", layout])
            assert result.exit_code == 0, result.output
            assert f"{rows} rows" in result.output
            assert not list(tmp_path.glob(".*"))
        written = pa.parquet.read_table(tmp_path / f"{layout}.parquet")
        expected = to_galaxy_zoo(table, tree, layout=layout)
        assert written.column_names == expected.column_names
        assert written["id_str"].to_pylist() == expected["id_str"].to_pylist()
        read = pa.csv.read_csv(tmp_path / f"{layout}.csv")
        assert read.column_names == expected.column_names
        assert len(read) == rows


def test_command_refuses_what_it_cannot_do(tmp_path):
    path = tmp_path / "ours.parquet"
    pa.parquet.write_table(pa.table({"a": [1]}), path)
    runner = CliRunner()
    result = runner.invoke(main, ["export-galaxy-zoo", str(path), str(tmp_path / "x.parquet")])
    assert result.exit_code == 1
    assert "question tree" in result.output
    result = runner.invoke(main, ["export-galaxy-zoo", str(path), str(tmp_path / "x.csv"), "--tree", "desi"])
    assert result.exit_code == 1
    assert "smoothOrFeatured_asked" in result.output
    result = runner.invoke(main, ["export-galaxy-zoo", str(path), str(tmp_path / "x.fits"), "--tree", "desi"])
    assert result.exit_code == 1
    assert not list(tmp_path.glob("x.*"))
