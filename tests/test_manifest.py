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
"""The manifest of a model: what it refuses, and how it is identified."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from lsst.meas.morphology.errors import ModelPackageError
from lsst.meas.morphology.model.manifest import SCHEMA_VERSION, FieldOfView, Manifest, Member
from lsst.meas.morphology.questions.tree import QuestionTree

TREE = QuestionTree.load("rubin")


def document(**changes: Any) -> dict[str, Any]:
    """Return a valid manifest as it is stored, with some parts changed."""
    return {
        "schema_version": 1,
        "min_read_version": 1,
        "name": "tiny",
        "version": "1.0.0",
        "title": "A tiny model",
        "licence": "CC0-1.0",
        "purpose": "commissioning",
        "bands": ["g", "r", "i"],
        "optional_bands": ["i"],
        "stamp_size": 32,
        "field_of_view": {"rule": "radius", "multiple": 6.0, "min_arcsec": 6.4, "max_arcsec": 64.0},
        "rendering": {"kind": "asinh", "softening": [1.0, 2.0, 3.0], "scale": [0.5, 0.5, 0.5]},
        "architecture": {"kind": "convnext", "depths": [1, 1], "widths": [8, 16]},
        "votes": {"kind": "votes", "tree": TREE.to_dict(), "samples": 4, "dropout": 0.25},
        "embedding": {"kind": "embedding", "features": 16},
        "training": {"data": "none", "seed": 1, "untaught": ["artifact"], "figures": {"accuracy": 0.5}},
        **changes,
    }


def read(**changes: Any) -> Manifest:
    return Manifest.from_json(json.dumps(document(**changes)).encode(), source="the file")


def test_round_trip() -> None:
    manifest = read()
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.to_json() == manifest.to_json()
    assert again.model_id == manifest.model_id
    assert again.tree.answer_columns == TREE.answer_columns


def test_model_id_is_the_checksum_of_the_canonical_manifest() -> None:
    manifest = read()
    stored = json.loads(manifest.to_json())
    canonical = json.dumps(stored, sort_keys=True, separators=(",", ":"))
    assert manifest.model_id == hashlib.sha256(canonical.encode()).hexdigest()
    reordered = dict(reversed(document().items()))
    assert Manifest.from_json(json.dumps(reordered, indent=7).encode()).model_id == manifest.model_id


def test_model_id_is_for_ever() -> None:
    """The id of a published model must never change with the code."""
    manifest = read(votes=None, training={"data": "none", "seed": 1})
    assert manifest.model_id == "8559eda6cc8db012f44d82d1e6bab5e2b1847777b187cc5267743646039e60a3"


def test_model_id_changes_with_anything() -> None:
    ids = {
        read().model_id,
        read(title="Another").model_id,
        read(stamp_size=33).model_id,
        read().with_members({"card.md": Member(size=1, sha256="0" * 64)}).model_id,
        read().with_members({"card.md": Member(size=1, sha256="1" * 64)}).model_id,
    }
    assert len(ids) == 5


def test_missing_optional_parts_are_not_written() -> None:
    """A field added later, and not used, must not change old models' ids."""
    stored = json.loads(read().to_json())
    assert "calibration" not in stored
    assert "centre" not in stored["embedding"]
    assert "pixel_arcsec" not in stored["field_of_view"]


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"name": "Tiny"}, "name: "),
        ({"name": "../tiny"}, "name: "),
        ({"version": "1.0/../2"}, "version: "),
        ({"version": "01.0"}, "version: "),
        ({"purpose": "fun"}, "purpose: "),
        ({"bands": []}, "bands: "),
        ({"bands": ["g", "g", "i"]}, "named twice"),
        ({"optional_bands": ["z"]}, "optional_bands"),
        ({"optional_bands": ["g", "r", "i"]}, "optional_bands"),
        ({"stamp_size": 100000}, "stamp_size: "),
        ({"stamp_size": 32.5}, "stamp_size: "),
        ({"rendering": {"softening": [1.0, 1.0], "scale": [1.0, 1.0]}}, "rendering.softening"),
        (
            {"rendering": {"softening": [1.0, 0.0, 1.0], "scale": [1.0, 1.0, 1.0]}},
            "rendering.asinh.softening.1",
        ),
        ({"architecture": {"kind": "convnext", "depths": [1], "widths": [8, 8]}}, "1 depths for 2 widths"),
        ({"architecture": {"kind": "python", "source": "import os"}}, "architecture: "),
        ({"field_of_view": {"rule": "fixed"}}, "pixel_arcsec"),
        ({"field_of_view": {"rule": "fixed", "pixel_arcsec": 0.2, "multiple": 3}}, "nothing else"),
        (
            {"field_of_view": {"rule": "radius", "multiple": 3, "min_arcsec": 9, "max_arcsec": 8}},
            "min_arcsec 9.0 is above",
        ),
        ({"votes": None, "embedding": None}, "no head"),
        ({"votes": {"tree": {"name": "x"}, "samples": 4, "dropout": 0.1}}, "manifest"),
        ({"votes": {"tree": TREE.to_dict(), "samples": 0, "dropout": 0.1}}, "votes.samples"),
        ({"votes": {"tree": TREE.to_dict(), "samples": 1, "dropout": 1.0}}, "votes.dropout"),
        ({"embedding": {"features": 2, "centre": [0.0]}}, "1 values of centre for 2 features"),
        ({"training": {"data": "d", "seed": 1, "untaught": ["unicorns"]}}, "unicorns"),
        ({"members": {"card.md": {"size": 1, "sha256": "00"}}}, "members.card.md.sha256"),
    ],
)
def test_refusals(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelPackageError, match="the file") as caught:
        read(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not valid JSON"),
        (b"\x80\x04K\x01.", "not valid JSON"),
        (b"[]", "JSON list"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"name": "a", "name": "b"}', "same key twice"),
        (b"{}", "min_read_version"),
        (b'{"min_read_version": "1"}', "min_read_version"),
        (b'{"min_read_version": true}', "min_read_version"),
        (b" " * (5 * 1024 * 1024), "bytes"),
    ],
)
def test_not_a_manifest(data: bytes, words: str) -> None:
    with pytest.raises(ModelPackageError, match="the file") as caught:
        Manifest.from_json(data, source="the file")
    assert words in str(caught.value)


def test_infinity_is_refused() -> None:
    text = json.dumps(document()).replace('"accuracy": 0.5', '"accuracy": Infinity')
    with pytest.raises(ModelPackageError, match="training.figures.accuracy"):
        Manifest.from_json(text.encode())


def test_newer_versions() -> None:
    newer = SCHEMA_VERSION + 1
    assert read(schema_version=newer).schema_version == newer
    with pytest.raises(ModelPackageError, match=f"manifest version {newer} or newer.*Upgrade"):
        read(schema_version=newer, min_read_version=newer, surprise="of a kind that is not understood")


def test_no_votes_no_tree() -> None:
    manifest = read(votes=None, training={"data": "d", "seed": 1})
    with pytest.raises(ModelPackageError, match="no votes"):
        _ = manifest.tree


def test_fixed_field_of_view() -> None:
    rule = FieldOfView(rule="fixed", pixel_arcsec=0.25)
    scale, limited = rule.arcsec_per_px(np.array([1.0, np.nan, 1e9]), 32)
    np.testing.assert_array_equal(scale, np.float32(0.25))
    assert scale.dtype == np.float32
    assert not limited.any()


def test_field_of_view_by_radius() -> None:
    rule = FieldOfView(rule="radius", multiple=6.0, min_arcsec=6.4, max_arcsec=64.0)
    radius = np.array([0.1, 2.0, 64.0 / 6.0, 20.0, np.nan, np.inf, -np.inf], dtype=np.float32)
    scale, limited = rule.arcsec_per_px(radius, 32)
    np.testing.assert_allclose(scale, [0.2, 0.375, 2.0, 2.0, 0.2, 0.2, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(limited[[0, 1, 3, 4, 5, 6]], [False, False, True, False, False, False])
    scale, limited = rule.arcsec_per_px(np.array([]), 32)
    assert scale.shape == limited.shape == (0,)
