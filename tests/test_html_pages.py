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
"""Pages of a training and of an evaluation, each in one file."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lsst.meas.morphology.errors import MissingExtraError
from lsst.meas.morphology.html_page import HtmlPage
from lsst.meas.morphology.model.manifest import TrainingRecord
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.training import report
from lsst.meas.morphology.training.agreement import question_figures
from lsst.meas.morphology.training.calibration import fit_calibration
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.report import Examples, write_report
from lsst.meas.morphology.validation.evaluation import LabelledPredictions, evaluate
from lsst.meas.morphology.validation.page import write_page

RUBIN = QuestionTree.load("rubin")


class Reader(HTMLParser):
    """Collects what a browser would show, and fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        self.words.append(data)


def check_alone(text: str) -> Reader:
    """Make sure that a page is whole and fetches nothing."""
    page = Reader(text)
    assert page.open == []
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not re.search(r"url\(|@import|<script|<link", text)
    return page


def test_a_page_escapes_what_it_is_told() -> None:
    page = HtmlPage("a < b & c")
    page.table(("x", "y"), [("<b>", 0.12345), ("none", None), ("nan", float("nan")), ("count", 3)])
    page.paragraph("<script>")
    found = check_alone(page.text())
    assert found.tables == [[["x", "y"], ["<b>", "0.123"], ["none", ""], ["nan", ""], ["count", "3"]]]
    assert "a < b & c" in "".join(found.words)


def test_the_same_figure_is_the_same_text() -> None:
    texts = []
    for _ in range(2):
        page = HtmlPage("x")
        page.figure(report.draw_losses([{"step": 1, "loss": 2.0, "validation_loss": 3.0}], "nats"), "loss")
        texts.append(page.text())
    assert texts[0] == texts[1]
    source = check_alone(texts[0]).sources[0].removeprefix("data:image/svg+xml;base64,")
    assert b"<svg" in base64.b64decode(source)


def votes_and_alpha(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    alpha = rng.gamma(2.0, 2.0, (number, RUBIN.n_answers)) + 0.2
    votes = np.zeros(alpha.shape, np.int64)
    for answers in RUBIN.slices.values():
        for row in range(number):
            votes[row, answers] = rng.multinomial(25, rng.dirichlet(alpha[row, answers] / 3.0))
    return votes, np.repeat(alpha[:, None], 2, axis=1).astype(np.float32)


def test_report_of_a_training(tmp_path: Path) -> None:
    votes, alpha = votes_and_alpha(80)
    fraction = np.concatenate(
        [alpha[:, 0, part] / alpha[:, 0, part].sum(1, keepdims=True) for part in RUBIN.slices.values()],
        axis=1,
    )
    figures = question_figures(votes, fraction, RUBIN)
    record = TrainingRecord(
        data="Simulated.",
        seed=5,
        presentations=96,
        figures={"steps": 6, "seconds": 9, "distinctStamps": 64, "sky.negativeLogLikelihood": 12.3456},
    )
    manifest = recipe("smoke", "0.0.1", title="x", record=record)
    fit = fit_calibration(votes, alpha, RUBIN)
    assert fit.factors
    history = [
        {
            "step": k,
            "learning_rate": 1e-3,
            "loss": 9.0 - k,
            "validation_loss": 10.0 - k,
            "bar_accuracy": 0.1 * k,
        }
        for k in (1, 2, 3)
    ]
    history[-1]["bar_balanced"] = 0.4
    flux = np.random.default_rng(1).normal(0.0, 20.0, (5, 3, 16, 16)).astype(np.float32)
    path = tmp_path / "report.html"
    write_report(
        path,
        manifest,
        command="morphology train out.morph",
        history=history,
        figures={"sky": figures},
        calibration=fit,
        examples={"sky": Examples(flux, votes[:5], fraction[:5])},
    )
    page = check_alone(path.read_text())
    words = "".join(page.words)
    assert "morphology train out.morph" in words
    assert "12.346 nats" in words
    assert len(page.sources) == 4
    summary, agreement, calibration = page.tables
    assert ["different stamps", "64"] in summary
    assert [row[0] for row in agreement[1:]] == list(RUBIN.slices)
    for name, entry in figures.items():
        row = agreement[1 + list(RUBIN.slices).index(name)]
        assert row[1] == str(entry.count)
        assert row[2] == (f"{entry.accuracy:.3f}" if entry.count else "")
    for row in calibration[1:]:
        assert row[1] == (f"{fit.factors[row[0]]:.3f}" if row[0] in fit.factors else "")
        assert row[4] == f"{fit.before[row[0]][1]:.3f}"
        assert row[6] == f"{fit.after[row[0]][1]:.3f}"


def test_no_matplotlib_is_told_before_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"lsst-meas-morphology\[explore\]"):
        report.check_drawing()


@pytest.mark.parametrize("number", [0, 60])
def test_page_of_an_evaluation(tmp_path: Path, number: int) -> None:
    votes, alpha = votes_and_alpha(number)
    evaluation = evaluate(
        LabelledPredictions(
            "own", RUBIN, alpha, votes.astype(np.int32), covariates={"size": np.linspace(1.0, 2.0, number)}
        )
    )
    path = tmp_path / "page.html"
    write_page(path, [evaluation], "Model x on <own>", plots={"own": b"\x89PNG", "other": b""}, bars=False)
    page = check_alone(path.read_text())
    assert page.sources == ["data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()]
    answers = page.tables[-1]
    assert [row[0] for row in answers[1:-1]] == list(RUBIN.answer_columns)
    shares = [cell for row in answers[1:-1] for cell in row[-2:]]
    expected = [f"{x:.3f}" if np.isfinite(x) else "" for x in evaluation.coverage.by_answer.T.ravel()]
    assert shares == expected
    if number:
        likelihood = {row[0]: row for row in page.tables[1]}
        assert float(likelihood["all"][3]) == pytest.approx(evaluation.likelihoods.total[1], abs=6e-4)
