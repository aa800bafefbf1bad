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

"""Kinds that no model was trained on, and the exam that they are for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.simulation.stamps import sample_stamps
from lsst.meas.morphology.training.trust import trusted_package
from lsst.meas.morphology.validation.novelty_exam import examine_novelty, novelty_table, novelty_text
from lsst.meas.morphology.validation.strangers import STRANGERS

type Flux = npt.NDArray[np.float32]

KINDS = {kind.name: kind for kind in STRANGERS}


def add_noise(flux: Flux, factor: float, rng: np.random.Generator) -> Flux:
    """Add white noise of one in the first band, two in the next."""
    sigma = np.arange(1.0, flux.shape[1] + 1.0)[:, None, None]
    return (flux + factor * sigma * rng.normal(size=flux.shape)).astype(np.float32)


def stamps(n: int = 40) -> Flux:
    """Return Gaussians of three colours, with noise."""
    y, x = np.mgrid[:64, :64] - 31.5
    light = np.exp(-0.5 * (x**2 + y**2) / 25.0) * np.array([50.0, 100.0, 150.0])[:, None, None]
    return add_noise(np.repeat(light[None], n, axis=0).astype(np.float32), 1.0, np.random.default_rng(3))


@pytest.mark.parametrize("kind", STRANGERS, ids=lambda kind: kind.name)
def test_strangers_keep_shape_and_noise(kind) -> None:
    """They change every stamp, leave the sky's noise, and are repeatable."""
    flux = stamps()
    before = flux.copy()
    spoiled = kind.spoil(flux, add_noise, np.random.default_rng(1))
    np.testing.assert_array_equal(flux, before)
    assert spoiled.dtype == np.float32
    assert spoiled.shape == flux.shape
    assert (spoiled != flux).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(spoiled, kind.spoil(flux, add_noise, np.random.default_rng(1)))
    corner = np.median(np.abs(spoiled[:, :, :16, :16]), axis=(2, 3)) / 0.6745
    noise = np.sort(corner, axis=1)
    np.testing.assert_allclose(np.median(noise, axis=0), [1.0, 2.0, 3.0], rtol=0.15)


def test_bad_columns() -> None:
    """Whole columns of one band, by known multiples of its noise."""
    flux = stamps()
    change = KINDS["bad columns"].spoil(flux, add_noise, np.random.default_rng(1)) - flux
    assert (np.ptp(change, axis=2) < 1e-3).all()
    touched = (np.abs(change[:, :, 0]) > 1e-3).sum(axis=2)
    assert ((touched > 0).sum(axis=1) == 1).all()
    assert touched.max() <= 5
    size = np.abs(change[:, :, 0]).max(axis=2) / np.arange(1.0, 4.0)
    assert size.max() < 5 * 51.0
    assert size[size > 0.01].min() > 4.0


def test_shifted_cells() -> None:
    """The centre moves, in one band or in all; the far edge stays."""
    flux = stamps()
    for name, bands in (("mis-registered cell", 1), ("cell shifted in all bands", 3)):
        spoiled = KINDS[name].spoil(flux, add_noise, np.random.default_rng(1))
        same = (spoiled == flux).mean(axis=(2, 3))
        assert ((same < 0.99).sum(axis=1) == bands).all()
        assert (spoiled == flux).mean() > 0.2
        peak = np.argmax(spoiled.reshape(*spoiled.shape[:2], -1), axis=2)
        moved = np.hypot(peak // 64 - 31.5, peak % 64 - 31.5)
        assert ((moved > 2.0).sum(axis=1) == bands).mean() > 0.9


def test_swapped_bands_are_never_as_before() -> None:
    flux = stamps()
    spoiled = KINDS["swapped bands"].spoil(flux, add_noise, np.random.default_rng(1))
    for old, new in zip(flux, spoiled, strict=True):
        order = [next(k for k in range(3) if np.array_equal(old[k], image)) for image in new]
        assert sorted(order) == [0, 1, 2]
        assert order != [0, 1, 2]


def test_doughnut_has_a_hole() -> None:
    point = np.zeros((20, 3, 64, 64), np.float32)
    point[:, :, 32, 32] = 1000.0
    spoiled = KINDS["defocus doughnut"].spoil(point, lambda flux, factor, rng: flux, np.random.default_rng(1))
    assert (np.abs(spoiled[:, :, 32, 32]) < 1e-3).all()
    np.testing.assert_allclose(spoiled.sum(axis=(2, 3)), 1000.0, rtol=1e-4)
    assert (spoiled[:, :, 32, 32 + 4 : 32 + 8].max(axis=2) > 1.0).all()


def test_exam_of_a_known_score() -> None:
    """A score that is the first band's mean sees what it ought to."""
    flux = stamps(200)
    valid = np.ones(flux.shape, np.bool_)

    def score(shown: Flux, seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
        assert seen is valid
        return shown[:, 0].mean(axis=(1, 2))

    seen: list[int] = []
    exam = examine_novelty(
        "some", score, 2.0, flux, valid, add_noise, factors=(1.0, 4.0), progress=seen.append
    )
    assert sum(seen) == 200 * 2 * (1 + len(STRANGERS))
    names = [kind.name for kind in exam.kinds]
    assert exam.noise[0] == 0.5
    assert exam.noise[1] == pytest.approx(0.5, abs=0.1)
    assert exam.ordinary[0] == 0.0
    assert exam.area[names.index("negative")].tolist() == [0.0, 0.0]
    # Of the five other orders four put a brighter band first.
    swapped = exam.area[names.index("swapped bands"), 0]
    assert swapped == pytest.approx(0.8 + 0.2 * 0.5, abs=0.08)
    assert exam.found[names.index("swapped bands"), 0] == pytest.approx(0.8, abs=0.1)
    assert "negative" not in exam.missed
    assert "defocus doughnut" in exam.missed
    table = novelty_table([exam], {"model": "x"})
    assert table.num_rows == 2 * (1 + len(STRANGERS))
    assert set(table["kind"].to_pylist()) == {"ordinary", *names}
    text = novelty_text([exam], "heading")
    assert "MISSED" in text
    assert all(name in text for name in names)


def test_one_band_has_no_order() -> None:
    flux = stamps(8)[:, :1]
    valid = np.ones(flux.shape, np.bool_)
    exam = examine_novelty(
        "grey", lambda f, v: f[:, 0].max(axis=(1, 2)), 1.0, flux, valid, add_noise, factors=(1.0,)
    )
    assert not {"swapped bands", "mis-registered cell"} & {kind.name for kind in exam.kinds}
    assert exam.area.shape == (len(exam.kinds), 1)


def test_command(tmp_path: Path, make_package: Callable[..., Path]) -> None:
    package = make_package(stamp_size=24)
    arguments = ["evaluate-novelty", str(package), "-o", str(tmp_path / "out"), "--number", "16"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "must have a score of novelty" in result.output
    train = sample_stamps(3, 128, stamp_size=24)
    scored = tmp_path / "scored.morph"
    trusted_package(ModelPackage.open(package), scored, train.flux, train.valid, None, data="few")
    arguments[1] = str(scored)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    table = pyarrow.parquet.read_table(tmp_path / "out" / "novelty.parquet")
    assert table.schema.metadata[b"kind"] == b"novelty"
    assert set(table["sample"].to_pylist()) == {"natural", "training"}
    assert "swapped bands" in (tmp_path / "out" / "novelty.txt").read_text()
