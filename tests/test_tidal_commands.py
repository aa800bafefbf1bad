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

"""Evaluating and calibrating tidal models, from stamps to files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from scipy.special import logit

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.cli.tidal_exam import grade
from lsst.meas.morphology.inference.engine import Predictions
from lsst.meas.morphology.model.heads import TidesHead
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.simulation.tidal import frozen
from lsst.meas.morphology.simulation.tidal.frozen_definition import TidalSample, TidalSet
from lsst.meas.morphology.simulation.tidal.library import EncounterLibrary
from lsst.meas.morphology.simulation.tidal.source import TidalStamps, sample_tides
from lsst.meas.morphology.surface_brightness import truth_masks
from lsst.meas.morphology.validation.tidal_bars import check_tidal_bars
from lsst.meas.morphology.validation.tidal_evaluation import ALL, evaluate_tides
from lsst.meas.morphology.validation.tidal_outcomes import TidalOutcomes, TidalThresholds
from lsst.meas.morphology.validation.tidal_pixels import REGIONS

PLANES = ("tail", "stream", "shell", "debris", "host")
SIZE = 32


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[TidalSet, Path]:
    """Return a small set, frozen now, and the folder of its encounters."""
    folder = tmp_path_factory.mktemp("encounters")
    samples = tuple(
        TidalSample(f"{visits:.0f} visits", seed=5, visits=visits, number=64) for visits in (40.0, 200.0)
    )
    bare = TidalSet("small-v1", library_seed=9, encounters=2, samples=samples)
    library = frozen.prepare_library(bare, folder, check=False)
    made = tuple(frozen.freeze(sample, library) for sample in samples)
    prints = frozen.library_fingerprint(library)
    return dataclasses.replace(bare, samples=made, library_fingerprint=prints), folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small model with masks that has learnt nothing."""
    import torch

    from lsst.meas.morphology.model.network import build_network
    from lsst.meas.morphology.training.export import export_package

    manifest = Manifest.model_validate(
        {
            "name": "tides",
            "version": "1.0.0",
            "title": "Tides that have learnt nothing",
            "licence": "CC0-1.0",
            "purpose": "commissioning",
            "bands": ("g", "r", "i"),
            "optional_bands": ("g", "i"),
            "pixels": "nJy/arcsec2",
            "stamp_size": SIZE,
            "field_of_view": {"rule": "radius", "multiple": 4.5, "min_arcsec": 51.2, "max_arcsec": 204.8},
            "rendering": {
                "kind": "surface_brightness",
                "softening": (5.0, 40.0),
                "block": (4, 1),
                "scale": (0.3, 0.5),
            },
            "architecture": {"kind": "unet", "depths": (1, 1, 2), "widths": (4, 8, 12)},
            "tides": {"planes": PLANES},
            "training": {"data": "nothing", "seed": 1},
        }
    )
    torch.manual_seed(3)
    network = build_network(manifest).eval()
    flux = np.random.default_rng(1).normal(scale=100.0, size=(4, 3, SIZE, SIZE)).astype(np.float32)
    path = tmp_path_factory.mktemp("tides") / "tides-1.0.0.morph"
    export_package(path, manifest, network, flux, np.ones(flux.shape, np.bool_), "# Tides\n")
    return path


@pytest.fixture
def exams(small: tuple[TidalSet, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the small set be both exams; return its encounters."""
    for name in ("EVALUATION_TIDES_V1", "TIDES_THRESHOLD_V3"):
        monkeypatch.setattr(frozen, name, small[0])
    return small[1]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_calibrate_then_evaluate(package: Path, exams: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.morph"
    result = run("calibrate-tides", package, out, "--library", exams, "--threads", 1, "--version", "1.0.1")
    assert result.exit_code == 0, result.output
    assert "model tides 1.0.1" in result.output
    old, new = ModelPackage.open(package), ModelPackage.open(out)
    assert new.program() == old.program()
    assert new.weights_bytes() == old.weights_bytes()
    head = new.manifest.tides
    assert head is not None
    assert set(head.mask_threshold or ()) == {"tail", "stream", "shell", "debris"}
    assert "debris" in (head.threshold or {})
    assert "## Thresholds and fluxes" in new.card()
    # Again changes neither numbers nor the card.
    again = tmp_path / "again.morph"
    arguments = ("calibrate-tides", out, again, "--library", exams, "--threads", 1)
    assert run(*arguments).exit_code == 0
    assert ModelPackage.open(again).manifest.tides == head
    assert ModelPackage.open(again).card() == new.card()
    folder = tmp_path / "evaluated"
    result = run("evaluate-tides", out, "-o", folder, "--library", exams, "--quick", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "MISSED" in result.output
    assert "no thresholds" not in result.output
    table = pq.read_table(folder / "tides.parquet")
    assert table.schema.metadata[b"model"] == b"tides 1.0.1"
    assert {"bar", "iou_pooled", "roc_area", "completeness"} <= set(table["measure"].to_pylist())
    assert pq.read_table(folder / "tides-hosts.parquet").num_rows == 128
    assert (folder / "tides.png").read_bytes().startswith(b"\x89PNG")
    assert "small-v1 (a few)" in (folder / "tides.txt").read_text()


def test_other_models_are_refused(tiny_package: Path, exams: Path, tmp_path: Path) -> None:
    result = run("evaluate-tides", tiny_package, "-o", tmp_path / "out", "--library", exams)
    assert result.exit_code == 1
    assert "has no masks of" in result.output
    assert not (tmp_path / "out").exists()


def test_masks_are_drawn_over_stamps(package: Path, small: tuple[TidalSet, Path], tmp_path: Path) -> None:
    picture = tmp_path / "sheet.png"
    result = run("draw-tides", package, picture, "--library", small[1], "--count", 3)
    assert result.exit_code == 0, result.output
    assert "3 hosts" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    flux = np.random.default_rng(1).normal(0.0, 5.0, (2, 3, SIZE, SIZE)).astype(np.float32)
    flux[:, :, :3] = np.nan
    np.savez(tmp_path / "stamps.npz", flux=flux, arcsec_per_px=np.full(2, 1.6))
    result = run("draw-tides", package, picture, "--stamps", tmp_path / "stamps.npz")
    assert "2 hosts" in result.output, result.output
    np.savez(tmp_path / "strange.npz", image=flux)
    result = run("draw-tides", package, picture, "--stamps", tmp_path / "strange.npz")
    assert "no array arcsec_per_px, flux" in result.output


def test_a_simulator_that_has_changed_is_told(
    package: Path, small: tuple[TidalSet, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sample = dataclasses.replace(small[0].samples[0], checksum="0" * 64)
    monkeypatch.setattr(frozen, "EVALUATION_TIDES_V1", dataclasses.replace(small[0], samples=(sample,)))
    result = run("evaluate-tides", package, "-o", tmp_path / "out", "--library", small[1])
    assert result.exit_code == 1
    assert "simulator has changed" in result.output


def oracle(stamps: TidalStamps) -> Predictions:
    """Return what someone would say who sees through the noise."""
    truth = truth_masks(stamps.debris, stamps.host + stamps.others, stamps.mask_limit(), stamps.arcsec_per_px)
    host = np.zeros_like(truth.any_mask)
    mask = np.concatenate([truth.mask, truth.any_mask[:, None], host[:, None]], axis=1)
    presence = np.concatenate([truth.visible, truth.visible.any(axis=1)[:, None]], axis=1)
    return Predictions(mask=logit(0.02 + 0.96 * mask), presence=logit(0.02 + 0.96 * presence))


@pytest.mark.slow
def test_who_sees_the_truth_passes(small: tuple[TidalSet, Path]) -> None:
    """The masks are perfect; what is left is the error of the fluxes."""
    library = EncounterLibrary.open(small[1])
    head = TidesHead(planes=PLANES)
    parts = []
    for group, visits in enumerate((40.0, 200.0)):
        for start in range(0, 96, 32):
            stamps = sample_tides(11, 32, library=library, stamp_size=128, visits=visits, start=start)
            said = oracle(stamps)
            parts.append(grade(stamps, said, head, groups=("40 visits", "200 visits"), group=group))
    outcomes = TidalOutcomes.concatenate(parts)
    evaluation = evaluate_tides(outcomes, TidalThresholds.of(head))
    missed = [bar.what for bar in check_tidal_bars(evaluation) if not bar.met and "flux" not in bar.what]
    assert [what for what in missed if "interval" not in what] == []
    assert evaluation.pixels[ALL].pooled == pytest.approx(np.ones(len(REGIONS)))
    streams = evaluation.flux["stream"]
    assert streams[ALL].error < streams["all its light"].error + 0.5
    assert all(np.isfinite(scores[ALL].error) for scores in evaluation.flux.values())
