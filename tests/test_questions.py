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

import json
import pathlib
import pickle

import pytest

from lsst.meas.morphology.errors import QuestionTreeError
from lsst.meas.morphology.questions.tree import Campaign, Question, QuestionTree, available_trees

SIZES = {
    "candels": (11, 32),
    "cosmic_dawn": (13, 45),
    "decals5": (10, 34),
    "decals8": (10, 34),
    "desi": (10, 34),
    "euclid": (13, 46),
    "euclid_q1": (13, 46),
    "gz2": (10, 30),
    "hubble_v2": (9, 28),
    "jwst": (12, 39),
    "rubin": (13, 46),
    "ukidss": (10, 30),
}

GOOD = """\
name: mine
title: My own questions
suffix: -mine
questions:
  - name: smoothOrFeatured
    label: smooth-or-featured
    text: Is it smooth?
    answers: [smooth, {name: featuredOrDisk, label: featured-or-disk}, artifact]
  - name: bar
    after: [smoothOrFeatured_featuredOrDisk]
    answers:
      - yes
      - no
  - name: merging
    after: [smoothOrFeatured_smooth, smoothOrFeatured_featuredOrDisk]
    answers: [none, merger]
"""


def write(tmp_path: pathlib.Path, text: str) -> pathlib.Path:
    path = tmp_path / "tree.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(SIZES))
def test_shipped_trees(name: str) -> None:
    tree = QuestionTree.load(name)
    assert (tree.n_questions, tree.n_answers) == SIZES[name]
    assert tree.name == name
    assert len(tree.answer_columns) == len(set(tree.answer_columns)) == tree.n_answers
    assert len(set(tree.label_columns)) == tree.n_answers
    assert [part.start for part in tree.slices.values()] == [0] + [
        part.stop for part in list(tree.slices.values())[:-1]
    ]
    assert QuestionTree.from_dict(json.loads(json.dumps(tree.to_dict(), sort_keys=True))) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert hash(tree) == hash(QuestionTree.load(name))


def test_all_trees_are_listed() -> None:
    assert available_trees() == tuple(sorted(SIZES))


def test_output_order_of_desi() -> None:
    tree = QuestionTree.load("desi")
    assert {name: (part.start, part.stop) for name, part in tree.slices.items()} == {
        "smoothOrFeatured": (0, 3),
        "diskEdgeOn": (3, 5),
        "hasSpiralArms": (5, 7),
        "bar": (7, 10),
        "bulgeSize": (10, 15),
        "howRounded": (15, 18),
        "edgeOnBulge": (18, 21),
        "spiralWinding": (21, 24),
        "spiralArmCount": (24, 30),
        "merging": (30, 34),
    }


def test_names_map_both_ways() -> None:
    tree = QuestionTree.load("decals5")
    names = dict(zip(tree.label_columns, tree.answer_columns, strict=True))
    assert names["smooth-or-featured-dr5_featured-or-disk"] == "smoothOrFeatured_featuredOrDisk"
    assert names["spiral-arm-count-dr5_more-than-4"] == "spiralArmCount_moreThan4"
    assert names["merging-dr5_minor-disturbance"] == "merging_minorDisturbance"
    assert QuestionTree.load("desi").label_columns[0] == "smooth-or-featured_smooth"
    assert QuestionTree.load("hubble_v2").label_columns[-5] == "spiral-arm-count-hubble_cant-tell"
    assert "spiral-arm-count-hubble_5-plus" in QuestionTree.load("hubble_v2").label_columns


def test_rubin_is_cosmic_dawn_with_a_ghost() -> None:
    rubin, cosmic_dawn = QuestionTree.load("rubin"), QuestionTree.load("cosmic_dawn")
    assert rubin.answer_columns == (*cosmic_dawn.answer_columns, "artifact_ghost")
    assert rubin.questions[:-1] == cosmic_dawn.questions[:-1]
    assert rubin.questions == QuestionTree.load("euclid").questions


def test_merging_follows_smooth_or_featured() -> None:
    for name in ("rubin", "desi", "jwst"):
        assert QuestionTree.load(name).question("merging").parents == (
            ("smoothOrFeatured", "smooth"),
            ("smoothOrFeatured", "featuredOrDisk"),
        )


@pytest.mark.parametrize("name", sorted(SIZES))
def test_parents_come_first(name: str) -> None:
    tree = QuestionTree.load(name)
    assert sorted(tree.ancestry_order) == list(range(tree.n_questions))
    seen: set[str] = set()
    for index in tree.ancestry_order:
        question = tree.questions[index]
        assert {parent for parent, _ in question.parents} <= seen
        seen.add(question.name)


def test_read_own_tree(tmp_path: pathlib.Path) -> None:
    tree = QuestionTree.read(write(tmp_path, GOOD))
    assert tree.answer_columns[3:5] == ("bar_yes", "bar_no")
    assert tree.question("bar").label == tree.question("bar").text == "bar"
    assert tree.label_columns[:2] == (
        "smooth-or-featured-mine_smooth",
        "smooth-or-featured-mine_featured-or-disk",
    )
    assert tree.column_index("bar", "no") == 4
    assert tree.question("merging").parents[1] == ("smoothOrFeatured", "featuredOrDisk")


def test_children_may_stand_before_their_parents(tmp_path: pathlib.Path) -> None:
    second = "- {name: b, after: [a_yes], answers: [x, y]}"
    text = f"name: t\ntitle: T\nquestions:\n{second}\n- {{name: a, answers: [yes, no]}}"
    tree = QuestionTree.read(write(tmp_path, text))
    assert [question.name for question in tree.questions] == ["b", "a"]
    assert tree.ancestry_order == (1, 0)


def test_unknown_names_are_refused() -> None:
    tree = QuestionTree.load("rubin")
    with pytest.raises(KeyError, match="no question 'ring'"):
        tree.question("ring")
    with pytest.raises(KeyError, match="no answer 'perhaps'"):
        tree.column_index("bar", "perhaps")
    with pytest.raises(KeyError, match="no campaign"):
        tree.for_campaign("other")
    with pytest.raises(QuestionTreeError, match="no question tree 'nonesuch'; available are candels"):
        QuestionTree.load("nonesuch")
    with pytest.raises(QuestionTreeError, match="no question tree '../tree'"):
        QuestionTree.load("../tree")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: mine\n", "", r":1: the key 'name' is missing"),
        ("title: My own questions\n", "title:\n", r":2: title: expected one line of text"),
        ("name: mine", "name: My tree", r":1: name: 'My tree' cannot be a tree's name"),
        ("suffix: -mine", "suffix: -my mine", r":3: suffix: '-my mine' cannot be a suffix"),
        ("suffix: -mine", "suffx: -mine", r":3: suffx: unknown key 'suffx'; known are name, title"),
        ("    text: Is", "    txt: Is", r":7: questions\[0\].txt: unknown key 'txt'"),
        ("name: bar", "name: has-bar", r":9: questions\[1\].name: 'has-bar' cannot be a question's name"),
        ("name: bar", "name: Bar", r":9: questions\[1\].name: 'Bar' cannot be a question's name"),
        ("name: bar", "name: b" + 24 * "a", r":9: .*longer than 24 characters"),
        ("name: bar", "name: merging", r":14: questions\[2\].name: the question 'merging' occurs twice"),
        ("name: bar", "name: smoothorfeatured", r":9: .* differs from 'smoothOrFeatured' in case only"),
        ("label: smooth-or-featured", "label: bar", r":9: .*: the label 'bar' occurs twice"),
        ("- no\n", "- yes\n", r":13: .*answers\[1\]: the answer of question 'bar' 'yes' occurs twice"),
        ("- no\n", "- can't tell\n", r':13: .*answers\[1\]: "can\'t tell" cannot be an answer\'s name'),
        ("      - no\n", "", r":11: questions\[1\].answers: question 'bar' needs at least two answers"),
        ("[none, merger]", "[]", r":16: questions\[2\].answers: .* at least two answers"),
        ("[none, merger]", "", r":16: questions\[2\].answers: expected a list, got nothing"),
        ("[none, merger]", "[none, [merger]]", r":16: questions\[2\].answers\[1\]: expected a mapping"),
        ("    answers: [none, merger]\n", "", r":14: questions\[2\]: the key 'answers' is missing"),
        ("label: featured", "Label: featured", r":8: .*answers\[1\].Label: unknown key 'Label'"),
        ("after: [smoothOrFeatured_f", "after: [smooth_f", r":10: .*after\[0\].* no question 'smooth'"),
        ("bar\n    after: [smoothOrFeatured_featuredOrDisk]", "bar\n    after: [smoothOrFeatured_disk]",
         r":10: .*no answer 'disk'; it has smooth, featuredOrDisk, artifact"),
        ("after: [smoothOrFeatured_smooth, ", "after: [smoothOrFeatured_featuredOrDisk, ", r":15: .* twice"),
        ("after: [smoothOrFeatured_smooth, ", "after: [bar_yes, ", r":15: .*must exclude each other"),
        ("label: smooth-or-featured\n", "after: [bar_yes]\n", r":6: .*a circle holds up bar, merging"),
        ("    text: Is it smooth?\n", "    name: again\n", r":7: .*the key 'name' occurs twice"),
        ("questions:", "questions: {", r"not valid YAML"),
        ("title: My", "title: : My", r":2: not valid YAML"),
        ("text: Is it smooth?", "text: &a [*a]", r":7: .*aliases are not allowed"),
        ("text: Is it smooth?", "? [a]\n    : b", r":7: .*a key must be text"),
    ],)  # fmt: skip
def test_bad_files_are_refused(tmp_path: pathlib.Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(QuestionTreeError, match=message) as caught:
        QuestionTree.read(path)
    assert str(path) in str(caught.value)


def test_other_bad_files_are_refused(tmp_path: pathlib.Path) -> None:
    for content, message in [
        (b"", "the file is empty"),
        (b"just text", "expected a mapping"),
        (b"name: t\ntitle: T\nquestions: []", ":3: questions: a tree needs at least one question"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: \x00", "not valid YAML"),
        (b"[" * 5000, "not valid YAML"),
        (b"#" * 1_000_001, "no decision tree"),
        (b"a: 1\n---\nb: 2", "not valid YAML"),
    ]:
        path = tmp_path / "tree.yaml"
        path.write_bytes(content)
        with pytest.raises(QuestionTreeError, match=message):
            QuestionTree.read(path)
    with pytest.raises(FileNotFoundError):
        QuestionTree.read(tmp_path / "nothing.yaml")


def test_bad_data_are_refused() -> None:
    data = QuestionTree.load("gz2").to_dict()
    data["questions"][3]["answers"][1]["name"] = 7
    with pytest.raises(
        QuestionTreeError, match=r"manifest: questions\[3\].answers\[1\]: expected text, got int"
    ):
        QuestionTree.from_dict(data, source="manifest")
    with pytest.raises(QuestionTreeError, match="expected a mapping .* got nothing"):
        QuestionTree.from_dict(None)  # type: ignore[arg-type]


def test_trees_made_in_code_are_checked() -> None:
    with pytest.raises(QuestionTreeError, match="at least two answers"):
        QuestionTree("t", "T", (Question("a", ("yes",)),))
    with pytest.raises(QuestionTreeError, match="2 answers, 1 labels"):
        Question("a", ("yes", "no"), answer_labels=("yes",))
    tree = QuestionTree("t", "T", (Question("a", ("yes", "no")),), "-t", (Campaign("u", "U", "-u"),))
    assert tree.for_campaign("u").label_columns == ("a-u_yes", "a-u_no")


def test_sums_over_several_branches_are_allowed() -> None:
    tree = QuestionTree(
        "t",
        "T",
        (
            Question("a", ("yes", "no")),
            Question("b", ("yes", "no"), (("a", "yes"),)),
            Question("c", ("yes", "no"), (("a", "no"),)),
            Question("d", ("yes", "no"), (("b", "yes"), ("c", "yes"))),
        ),
    )
    assert tree.ancestry_order == (0, 1, 2, 3)
