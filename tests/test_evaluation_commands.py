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

"""Evaluating and comparing models, from predictions to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.frozen_definition import EVALUATION_V2
from lsst.meas.morphology.simulation.frozen_set import CONCENTRATION, draw_sample
from lsst.meas.morphology.validation.bars import check_bars
from lsst.meas.morphology.validation.evaluation import LabelledPredictions, evaluate
from lsst.meas.morphology.validation.report import evaluation_text
from lsst.meas.morphology.validation.tables import EVALUATION_SCHEMA, evaluation_table

RUBIN = QuestionTree.load("rubin")
SIZE = 24


def oracle(number: int, *, known: bool = True, selected: bool = False) -> LabelledPredictions:
    """Return the predictions of who knows the truth."""
    sample = draw_sample(EVALUATION_V2.samples[0], quick=number)
    truth = sample.objects.probabilities
    return LabelledPredictions(
        name="natural",
        tree=RUBIN,
        alpha=np.repeat(CONCENTRATION * truth[:, np.newaxis], 2, axis=1),
        votes=sample.objects.votes,
        probabilities=truth if known else None,
        concentration=CONCENTRATION,
        covariates=sample.covariates(),
        fair_votes=sample.objects.votes[::-1] if selected else None,
    )


@pytest.fixture(scope="module")
def package(make_package: Callable[..., Path]) -> Path:
    """Return a small model of stamps that the simulator can make."""
    return make_package(stamp_size=SIZE)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def value(table: pa.Table, **conditions: str | None) -> float:
    """Return the value of the one row that meets the conditions."""
    wanted = {"question": None, "answer": None, "by": None, **conditions}
    rows = [row for row in table.to_pylist() if all(row[key] == item for key, item in wanted.items())]
    assert len(rows) == 1, wanted
    return rows[0]["value"]


def test_who_knows_the_truth_meets_every_bar() -> None:
    evaluation = evaluate(oracle(4096))
    bars = check_bars(evaluation)
    assert len(bars) == 13
    missed = [bar.what for bar in bars if not bar.met]
    assert missed == []
    table = evaluation_table([evaluation])
    assert table.schema.equals(EVALUATION_SCHEMA)
    assert value(table, measure="likelihood_gained") == pytest.approx(1.0)
    assert value(table, measure="truth_deviation") == pytest.approx(0.0, abs=1e-6)
    assert value(table, measure="coverage_90") == pytest.approx(0.9, abs=0.01)
    assert value(table, measure="calibration_error", question="smoothOrFeatured") < 0.01
    assert value(table, measure="recall", question="merging", answer="none") > 0.99
    by = {row["by"] for row in table.to_pylist()} - {None}
    assert by == {"votes", "magnitude", "size", "seeing", "depth"}


def test_only_votes_known() -> None:
    evaluation = evaluate(oracle(2000, known=False))
    assert evaluation.truth is None
    assert evaluation.oracle is None
    table = evaluation_table([evaluation])
    # More than binomial scatter: that of the volunteers' Dirichlet.
    assert 0.0 < value(table, measure="excess_deviation") < 0.03
    assert "truth_deviation" not in table["measure"].to_pylist()
    assert value(table, measure="likelihood_gained") is None
    assert "in excess of the floor" in evaluation_text([evaluation], "Votes alone")


def test_votes_that_chose_the_galaxies_are_not_judged_by() -> None:
    evaluation = evaluate(oracle(500, selected=True))
    plain = evaluate(oracle(500))
    # Other galaxies' votes: bad for likelihood, of no concern elsewhere.
    assert evaluation.likelihoods.total[1] < plain.likelihoods.total[1] - 1.0
    assert evaluation.coverage.pooled[1] < plain.coverage.pooled[1]
    for name, found in evaluation.confusion.items():
        assert (found.counts == plain.confusion[name].counts).all()
    assert (evaluation.asked == plain.asked[::-1]).all()
    assert {bar.what.partition(":")[0] for bar in check_bars(evaluation)} == {
        "bar, no or any",
        "edgeOnBulge",
        "bulgeSize",
        "spiralWinding",
        "spiralArmCount",
    }


@pytest.mark.parametrize("number", [0, 1])
def test_hardly_any_galaxies(number: int) -> None:
    evaluation = evaluate(oracle(number))
    table = evaluation_table([evaluation])
    assert len(table) > 100
    assert "Sample natural" in evaluation_text([evaluation], "Hardly anything")


def test_what_does_not_fit_is_refused() -> None:
    good = oracle(3)
    with pytest.raises(ValueError, match="fit"):
        LabelledPredictions("x", RUBIN, good.alpha[:2], good.votes)
    with pytest.raises(ValueError, match="finite"):
        LabelledPredictions("x", RUBIN, good.alpha * np.nan, good.votes)


@pytest.fixture(scope="module")
def evaluated(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a quick evaluation."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    result = run("evaluate", package, "-o", out, "--quick", "--no-plots", "--threads", 1, "--missing-bands")
    assert result.exit_code == 0, result.output
    assert "What the default model is held to" in result.output
    return out


def test_evaluate_writes_table_and_text(evaluated: Path) -> None:
    table = pq.read_table(evaluated / "evaluation.parquet")
    assert set(table["sample"].to_pylist()) == {"natural", "stratified"}
    assert table.schema.metadata[b"model"] == b"tiny 1.0.0"
    missing = pq.read_table(evaluated / "missing_bands.parquet")
    assert set(missing["missing"].to_pylist()) == {"", "i"}
    text = (evaluated / "evaluation.txt").read_text()
    assert "Missing bands" in text
    assert "Sample stratified" in text
    assert max(map(len, text.splitlines())) <= 150
    assert "What the default model is held to" in (evaluated / "evaluation.html").read_text()
    for sample in ("natural", "stratified"):
        assert len(pq.read_table(evaluated / f"galaxies-{sample}.parquet")) > 100


def test_compare_with_itself_and_with_what_was_written(evaluated: Path, package: Path) -> None:
    result = run("compare", evaluated, package, "--quick", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "As good or better" in result.output


def test_compare_with_a_worse_model(
    evaluated: Path, make_package: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_package(seed=3, stamp_size=28)
    forth = run("compare", evaluated, other, "--quick", "--threads", 1, "--margin", 0)
    back_folder = tmp_path / "other"
    assert run("evaluate", other, "-o", back_folder, "--quick", "--no-plots", "--threads", 1).exit_code == 0
    back = run("compare", back_folder, evaluated, "--margin", 0)
    assert {forth.exit_code, back.exit_code} <= {0, 1}
    assert 1 in (forth.exit_code, back.exit_code)
    assert "WORSE in" in forth.output + back.output


def test_models_of_other_stamps_are_compared_on_the_same_galaxies(
    package: Path, make_package: Callable[..., Path]
) -> None:
    other = make_package(seed=3, stamp_size=28)
    for pair in ((package, other), (package, package)):
        result = run("compare", *pair, "--quick", "--threads", 1)
        assert "tiny 1.0.0 against tiny 1.0.0 on evaluation-v2 (a few)" in result.output
        assert "smoothOrFeatured        256" in result.output


def test_compare_refuses_other_galaxies(evaluated: Path, tmp_path: Path, package: Path) -> None:
    result = run("compare", tmp_path, evaluated)
    assert result.exit_code == 1
    assert "galaxies-*.parquet" in result.output
    votes, stamps = own_files(tmp_path)
    result = run("compare", evaluated, package, "--votes", votes, "--stamps", stamps)
    assert result.exit_code == 1
    assert "nothing can be compared" in result.output


def own_files(folder: Path, number: int = 12) -> tuple[Path, Path]:
    """Write a table of votes in Galaxy Zoo's names, and stamps, shuffled."""
    rng = np.random.default_rng(5)
    ids = np.array([f"g{k}" for k in range(number)])
    columns = {
        "id": ids,
        "smooth-or-featured-rubin_smooth": rng.integers(0, 30, number),
        "smooth-or-featured-rubin_featured-or-disk": rng.integers(0, 30, number),
        "bar_no_votes": np.where(np.arange(number) < 2, np.nan, 3.0),
        "magnitude": rng.uniform(17, 20, number),
    }
    order = rng.permutation(number)
    table = pa.table({name: values[order] for name, values in columns.items()})
    pyarrow.csv.write_csv(table, folder / "votes.csv")
    flux = rng.normal(0, 50, (number, 3, SIZE, SIZE)).astype(np.float32)
    flux[:, :, 0, 0] = np.nan
    np.savez(folder / "stamps.npz", flux=flux, id=ids)
    return folder / "votes.csv", folder / "stamps.npz"


def test_evaluate_on_own_votes(package: Path, tmp_path: Path) -> None:
    votes, stamps = own_files(tmp_path)
    out = tmp_path / "out"
    result = run("evaluate", package, "-o", out, "--votes", votes, "--stamps", stamps, "--by", "magnitude")
    assert result.exit_code == 0, result.output
    table = pq.read_table(out / "evaluation.parquet")
    counts = {
        row["question"]: row["count"] for row in table.to_pylist() if row["measure"] == "log_likelihood"
    }
    assert counts["bar"] == 10
    assert counts["smoothOrFeatured"] == 12
    assert counts["merging"] == 0
    assert "magnitude" in table["by"].to_pylist()
    assert (out / "evaluation-votes.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "evaluation.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "held to" not in page


def test_own_files_that_do_not_fit(package: Path, tmp_path: Path) -> None:
    votes, stamps = own_files(tmp_path)
    base = ("evaluate", package, "-o", tmp_path / "out", "--no-plots", "--votes", votes)
    assert "go together" in run(*base).output
    assert "no column 'nothing'" in run(*base, "--stamps", stamps, "--id-column", "nothing").output
    assert "no column 'size'" in run(*base, "--stamps", stamps, "--by", "size").output
    flux = np.zeros((3, 3, SIZE, SIZE), np.float32)
    np.savez(tmp_path / "few.npz", flux=flux)
    assert "12 rows" in run(*base, "--stamps", tmp_path / "few.npz").output
    np.savez(tmp_path / "strange.npz", flux=flux, id=np.array(["g1", "g2", "x"]))
    assert "1 of the 3 stamps" in run(*base, "--stamps", tmp_path / "strange.npz").output
    np.savez(tmp_path / "none.npz", images=flux)
    assert "no array 'flux'" in run(*base, "--stamps", tmp_path / "none.npz").output
    np.savez(tmp_path / "flat.npz", flux=flux[0])
    assert "[n, band, size, size]" in run(*base, "--stamps", tmp_path / "flat.npz").output
    pyarrow.csv.write_csv(pa.table({"id": ["g1"]}), tmp_path / "empty.csv")
    no_votes = (*base[:-1], tmp_path / "empty.csv", "--stamps", tmp_path / "one.npz")
    np.savez(tmp_path / "one.npz", flux=flux[:1])
    assert "no column of votes" in run(*no_votes).output
    assert not (tmp_path / "out").exists()


def test_without_a_band(package: Path, tmp_path: Path) -> None:
    votes, stamps = own_files(tmp_path)
    base = (
        "evaluate",
        package,
        "-o",
        tmp_path / "out",
        "--no-plots",
        "--votes",
        votes,
        "--stamps",
        stamps,
    )
    assert "without i" in run(*base, "--without-band", "i").output
    assert "does not look at z" in run(*base, "--without-band", "z").output
