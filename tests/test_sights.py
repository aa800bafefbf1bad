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

"""The picture of what renderings show a network."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import MissingExtraError
from lsst.meas.morphology.explore.sights import RENDERINGS, SIGHT_BANDS, draw_sights

Image = pytest.importorskip("PIL.Image")


def stamps(n=2, size=48):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    flux = np.broadcast_to(3000 * np.exp(-np.hypot(x, y) / 8), (n, len(SIGHT_BANDS), size, size))
    return flux.astype(np.float32), np.ones(flux.shape, bool), np.full(n, 0.2, np.float32)


def test_picture_has_a_row_for_each_rendering_and_the_examples(tmp_path):
    pytest.importorskip("matplotlib")
    example = tmp_path / "example.png"
    Image.fromarray(np.full((60, 60, 3), 200, np.uint8)).save(example)
    draw_sights(tmp_path / "a.png", *stamps())
    draw_sights(tmp_path / "b.png", *stamps(), [example])
    with Image.open(tmp_path / "a.png") as without, Image.open(tmp_path / "b.png") as with_example:
        rows = len(RENDERINGS)
        assert with_example.height == pytest.approx(without.height * (rows + 1) / rows, rel=0.02)
        assert np.asarray(without.convert("L")).std() > 20


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="explore"):
        draw_sights(tmp_path / "a.png", *stamps())


@pytest.mark.slow
def test_command(tmp_path):
    pytest.importorskip("matplotlib")
    result = CliRunner().invoke(main, ["draw-sights", str(tmp_path / "a.png"), "--count", "2"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.png").stat().st_size > 50_000
