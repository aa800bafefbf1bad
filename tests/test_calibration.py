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

"""Calibration: fitted to votes, applied inside the program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pytest
from click.testing import CliRunner

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import ModelPackageError
from lsst.meas.morphology.inference.engine import Engine, EngineOptions
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.model.manifest import Calibration, Manifest
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.posteriors import log_probability, summarize
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.training.calibration import fit_calibration, log_likelihood
from lsst.meas.morphology.training.stamp_set import StampSet
from lsst.meas.morphology.training.trust import trusted, trusted_package

TREE = QuestionTree.load("rubin")


def _votes(
    rng: np.random.Generator, alpha: npt.NDArray[np.float64], number: int = 20
) -> npt.NDArray[np.int64]:
    """Draw votes from Dirichlet-multinomials ``[n, a]``, all asked."""
    votes = np.zeros(alpha.shape, np.int64)
    for answers in TREE.slices.values():
        for row, part in enumerate(alpha[:, answers]):
            votes[row, answers] = rng.multinomial(number, rng.dirichlet(part))
    return votes


@pytest.fixture(scope="module")
def overconfident() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return votes, and concentrations that are three times too large."""
    rng = np.random.default_rng(3)
    alpha = rng.gamma(2.0, 2.0, (600, TREE.n_answers)) + 0.2
    votes = _votes(rng, alpha)
    jitter = np.exp(rng.normal(0.0, 0.02, (600, 3, 1)))
    return votes, (3.0 * alpha[:, None] * jitter).astype(np.float32)


def test_factors_are_found(
    overconfident: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
) -> None:
    votes, alpha = overconfident
    fit = fit_calibration(votes, alpha, TREE)
    assert set(fit.factors) == set(TREE.slices)
    np.testing.assert_allclose(list(fit.factors.values()), 1.0 / 3.0, rtol=0.2)
    assert min(fit.gain.values()) > 0.0
    for question, (half, nine_tenths) in fit.after.items():
        assert half == pytest.approx(0.5, abs=0.05)
        assert nine_tenths == pytest.approx(0.9, abs=0.03)
        # Concentrations too large make intervals too narrow.
        assert fit.before[question][1] < nine_tenths - 0.03


def test_held_out_likelihood_improves(
    overconfident: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
) -> None:
    votes, alpha = overconfident
    fit = fit_calibration(votes[:300], alpha[:300], TREE)
    factors = np.ones(TREE.n_answers, np.float32)
    for question, factor in fit.factors.items():
        factors[TREE.slices[question]] = factor
    before = log_likelihood(votes[300:], alpha[300:], TREE)
    after = log_likelihood(votes[300:], alpha[300:] * factors, TREE)
    print(f"nats per galaxy: {before:.3f} before, {after:.3f} after")
    assert after > before + 1.0
    assert before == pytest.approx(
        log_probability(votes[300:], alpha[300:], TREE).sum(axis=1).mean(), abs=1e-3
    )


def test_nothing_is_changed_without_need() -> None:
    """Few galaxies, or a model that is right, get no factor far from one."""
    rng = np.random.default_rng(4)
    alpha = rng.gamma(2.0, 2.0, (400, TREE.n_answers)) + 0.2
    votes = _votes(rng, alpha)
    votes[20:, TREE.slices["bar"]] = 0
    votes[:, TREE.slices["clumps"]] = 0
    fit = fit_calibration(votes, alpha[:, None].astype(np.float32), TREE)
    assert not {"bar", "clumps"} & set(fit.factors)
    assert all(0.8 < factor < 1.25 for factor in fit.factors.values())


def test_the_program_applies_it(tmp_path: Path, tiny_package: Path) -> None:
    package = ModelPackage.open(tiny_package)
    rng = np.random.default_rng(6)
    flux = rng.normal(0.0, 100.0, (96, 3, 16, 16)).astype(np.float32)
    valid = np.ones(flux.shape, np.bool_)
    options = EngineOptions(device="cpu")
    raw = Engine.from_package(package, options).predict(flux, valid).alpha
    assert raw is not None
    votes = _votes(rng, 0.4 * raw.mean(axis=1).astype(np.float64))
    new, fit = trusted_package(
        package, tmp_path / "new.morph", flux, valid, votes, data="noise", version="1.0.1"
    )
    assert fit is not None
    assert fit.factors
    calibration = new.manifest.calibration
    assert calibration is not None
    assert calibration.concentration == pytest.approx(fit.factors)
    assert calibration.coverage["bar"] == pytest.approx(fit.after["bar"][1], abs=1e-4)
    factors = np.ones(TREE.n_answers, np.float32)
    for question, factor in fit.factors.items():
        factors[TREE.slices[question]] = factor
    for backend in ("onnx", "torch"):
        chosen = EngineOptions(backend=backend, device="cpu")
        assert check_golden(new, chosen).passed
        alpha = Engine.from_package(new, chosen).predict(flux, valid).alpha
        assert alpha is not None
        np.testing.assert_allclose(alpha, raw * factors, rtol=1e-4)
    before, after = summarize(raw, TREE), summarize(alpha, TREE)
    np.testing.assert_allclose(after.fraction, before.fraction, atol=1e-4)
    assert log_likelihood(votes, alpha, TREE) > log_likelihood(votes, raw, TREE)
    assert "How far to trust it" in new.card()
    # Calibrating again starts from the network, not from the calibration.
    again, _ = trusted_package(new, tmp_path / "again.morph", flux, valid, votes, data="noise")
    assert again.manifest.calibration == calibration


def test_missing_bands_have_factors_of_their_own(tmp_path: Path, make_package: Callable[..., Path]) -> None:
    package = ModelPackage.open(make_package(optional_bands=("g", "i")))
    bands, optional = package.manifest.bands, package.manifest.optional_bands
    assert len(optional) == 2
    rng = np.random.default_rng(9)
    flux = rng.normal(0.0, 100.0, (120, 3, 16, 16)).astype(np.float32)
    whole = np.ones(flux.shape, np.bool_)
    sets = [(), optional[:1], optional[1:], optional]
    options = EngineOptions(device="cpu")

    def predicted(model: ModelPackage, gone: tuple[str, ...], **changes: Any) -> npt.NDArray[np.float32]:
        valid = whole & np.array([band not in gone for band in bands])[:, None, None]
        engine = Engine.from_package(model, dataclasses.replace(options, **changes))
        alpha = engine.predict(np.where(valid, flux, np.float32(np.nan)), valid).alpha
        assert alpha is not None
        return alpha

    raw = {gone: predicted(package, gone) for gone in sets}
    votes = _votes(rng, 0.3 * raw[()].mean(axis=1).astype(np.float64))
    # Half of the stamps lack a band, and can't say what is seen with it.
    valid = whole.copy()
    valid[60:, bands.index(optional[0])] = False
    new, _ = trusted_package(package, tmp_path / "new.morph", flux, valid, votes, data="noise")
    calibration = new.manifest.calibration
    assert calibration is not None
    assert calibration.without is not None
    assert [entry.missing for entry in calibration.without] == sets[1:]
    stated = {(): calibration.concentration or {}}
    stated |= {entry.missing: entry.concentration for entry in calibration.without}
    for gone in sets:
        rows = slice(None) if optional[0] in gone else slice(60)
        expected = fit_calibration(votes[rows], raw[gone][rows], TREE).factors
        assert stated[gone] == pytest.approx(expected, rel=1e-3)
        factors = np.ones(TREE.n_answers, np.float32)
        for question, factor in stated[gone].items():
            factors[TREE.slices[question]] = factor
        for backend in ("onnx", "torch"):
            np.testing.assert_allclose(predicted(new, gone, backend=backend), raw[gone] * factors, rtol=1e-4)
    assert stated[()] != pytest.approx(stated[optional], rel=0.01)
    assert f"factor without {', '.join(optional)}" in new.card()


def test_manifest_refuses_sets_of_bands_that_may_not_be_missing(tiny_package: Path) -> None:
    manifest = ModelPackage.open(tiny_package).manifest
    first = {"missing": manifest.optional_bands[:1], "concentration": {"bar": 2.0}}
    needed = {"missing": tuple(set(manifest.bands) - set(manifest.optional_bands)), "concentration": {}}
    for without in ([needed], [first, first]):
        calibration = {"method": "none", "data": "none", "without": without}
        with pytest.raises(ValueError, match="different sets"):
            Manifest.model_validate({**manifest.model_dump(), "calibration": calibration})


def test_few_stamps_with_all_bands_are_fitted_together(tiny_package: Path) -> None:
    manifest = ModelPackage.open(tiny_package).manifest
    rng = np.random.default_rng(10)
    flux = rng.normal(0.0, 100.0, (96, 3, 16, 16)).astype(np.float32)
    valid = np.ones(flux.shape, np.bool_)
    valid[20:, manifest.bands.index(manifest.optional_bands[0])] = False
    votes = _votes(rng, rng.gamma(2.0, 0.2, (96, TREE.n_answers)) + 0.2)
    network = build_network(manifest).eval()
    new, _, fit = trusted(manifest, network, flux, valid, votes, data="noise", needs_novelty=False)
    assert fit is not None
    assert fit.factors
    assert new.calibration is not None
    assert new.calibration.concentration == fit.factors
    assert new.calibration.without is None


def test_manifest_refuses_unknown_questions(tiny_package: Path) -> None:
    manifest = ModelPackage.open(tiny_package).manifest
    calibration = Calibration(method="none", data="none", concentration={"noSuchQuestion": 2.0})
    with pytest.raises(ValueError, match="noSuchQuestion"):
        Manifest.model_validate(manifest.model_copy(update={"calibration": calibration}).model_dump())
    text = manifest.to_json().replace(b'"bands"', b'"novelty": {"prototypes": 0}, "bands"', 1)
    with pytest.raises(ModelPackageError, match="novelty"):
        Manifest.from_json(text)
    assert b"novelty" not in manifest.to_json()


def test_command(tmp_path: Path, tiny_package: Path) -> None:
    rng = np.random.default_rng(8)
    flux = rng.normal(0.0, 100.0, (80, 3, 16, 16)).astype(np.float32)
    StampSet(flux, np.ones(flux.shape, np.bool_), object_id=np.arange(80)).write(tmp_path / "s.npz")
    votes = {"objectId": np.arange(80), "bar_strong": rng.integers(0, 9, 80)}
    votes |= {"bar_weak": rng.integers(0, 9, 80), "bar_no": rng.integers(0, 9, 80)}
    pyarrow.csv.write_csv(pa.table(votes), tmp_path / "v.csv")
    out = tmp_path / "new.morph"
    command = ["calibrate", str(tiny_package), str(out), "--version", "1.0.1"]
    assert CliRunner().invoke(main, command).exit_code == 2
    command += ["--stamps", str(tmp_path / "s.npz"), "--labels", str(tmp_path / "v.csv")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "Out of distribution above" in result.output
    manifest = ModelPackage.open(out).manifest
    assert manifest.version == "1.0.1"
    assert manifest.calibration is not None
    assert set(manifest.calibration.concentration or ()) <= {"bar"}
