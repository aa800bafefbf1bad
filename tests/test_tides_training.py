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

"""Training on marks: likelihood, stamps on disk, resuming, the whole way."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from click.testing import CliRunner

from lsst.meas.morphology.cli.train import command
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.manifest import Manifest, TrainingRecord
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.simulation.tidal.library import make_library
from lsst.meas.morphology.simulation.tidal.source import TidalSource, sample_tides
from lsst.meas.morphology.surface_brightness import truth_masks
from lsst.meas.morphology.training.batches import AugmentOptions, BatchStream, MarkedBatch, augment
from lsst.meas.morphology.training.labelled import MarkedStamps
from lsst.meas.morphology.training.loop import Trainer, TrainingOptions
from lsst.meas.morphology.training.marked_source import MarkedSource
from lsst.meas.morphology.training.marking import MarkingObjective, mask_figures
from lsst.meas.morphology.training.marks_loss import beta_binomial, overlap_loss
from lsst.meas.morphology.training.presence_fit import fit_presence
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.shards import StampStore
from lsst.meas.morphology.training.share_loss import share_loss
from lsst.meas.morphology.training.tides_session import train_tides_package
from lsst.meas.morphology.training.training_data import DataOptions

MANIFEST = recipe("tides_smoke", "0.0.1", title="Smoke", record=TrainingRecord(data="Streaks.", seed=5))
SIZE = MANIFEST.stamp_size
CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Drawn:
    flux: np.ndarray
    valid: np.ndarray
    arcsec_per_px: np.ndarray
    marks: np.ndarray
    annotators: np.ndarray
    scored: np.ndarray
    light: np.ndarray
    shares: np.ndarray


@dataclasses.dataclass(frozen=True)
class Streaks:
    """A round host, and in half of the stamps a streak of one class."""

    def __call__(self, seed: int, n: int) -> Drawn:
        rng = np.random.default_rng(seed)
        axis = np.arange(SIZE) - (SIZE - 1) / 2
        y, x = axis[:, None], axis[None, :]
        scale = rng.choice([0.8, 2.4], n).astype(np.float32)
        kind = rng.integers(0, 6, n)
        host = 300.0 * np.exp(-np.hypot(y, x) / 2.0)
        flux = rng.normal(host, 5.0, (n, 3, SIZE, SIZE))
        light = np.repeat(host[None], n, axis=0).astype(np.float32)
        shares = np.zeros((n, 4, SIZE, SIZE), np.uint8)
        marks = np.zeros((n, 5, SIZE, SIZE), np.uint8)
        annotators = rng.integers(0, 4, n).astype(np.uint8)
        for k in np.flatnonzero(kind < 3):
            streak = np.abs((y if rng.random() < 0.5 else x) - rng.integers(5, 12)) <= 2 + 0 * (x + y)
            flux[k] += 60.0 * streak
            light[k] += 60.0 * streak
            shares[k, [kind[k], 3]] = np.rint(255.0 * 60.0 * streak / light[k])
            marks[k, [kind[k], 3]] = annotators[k] * streak
        marks[:, 4] = annotators[:, None, None] * (host > 20.0)
        flux = (flux * scale[:, None, None, None] ** 2).astype(np.float32)
        valid = np.ones(flux.shape, np.bool_)
        scored = np.ones(marks.shape, np.bool_)
        valid[..., 0], scored[..., 0], light[..., 0] = False, False, 0.0
        return Drawn(flux, valid, scale, marks, annotators, scored, light, shares)

    def describe(self) -> str:
        return "streaks"


SOURCE = MarkedSource(MANIFEST, Streaks())


def make_store(path: Any, count: int = 4) -> StampStore[MarkedStamps]:
    return StampStore(path, SOURCE, MarkedStamps, seed=1, shard_size=16, count=count)


# The likelihood


def test_loss_is_the_beta_binomial_of_scipy() -> None:
    rng = np.random.default_rng(1)
    annotators = rng.integers(1, 7, 300)
    marks = rng.binomial(annotators, rng.random(300))
    logit, log_c = rng.normal(0.0, 4.0, 300), rng.uniform(-3.5, 5.5, 300)
    loss = beta_binomial(*map(torch.from_numpy, (marks, annotators, logit, log_c)))
    mean, c = scipy.special.expit(logit), np.exp(log_c)
    expected = -scipy.stats.betabinom.logpmf(marks, annotators, mean * c, (1.0 - mean) * c)
    expected += np.log(scipy.special.comb(annotators, marks))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=2e-4, atol=2e-5)


def test_one_annotator_is_a_coin_whatever_the_concentration() -> None:
    logit = torch.linspace(-30.0, 30.0, 61)
    marks = (torch.arange(61) % 2).int()
    for log_c in (-9.0, 0.0, 9.0):
        loss = beta_binomial(marks, torch.ones(61).int(), logit, torch.full((61,), log_c))
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            logit, marks.float(), reduction="none"
        )
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_without_annotators_there_is_no_loss_and_no_gradient() -> None:
    logit = torch.randn(3, 5, requires_grad=True)
    log_c = torch.randn(3, 5, requires_grad=True)
    asked = torch.tensor([[2], [0], [1]])
    loss = beta_binomial(torch.zeros(3, 5).int(), asked, logit, log_c)
    assert torch.equal(loss[1], torch.zeros(5))
    loss.sum().backward()
    assert torch.equal(logit.grad[1], torch.zeros(5))
    assert torch.equal(log_c.grad[1], torch.zeros(5))
    assert bool((logit.grad[[0, 2]] > 0).all())
    nobody = beta_binomial(torch.zeros(2).int(), torch.zeros(2).int(), torch.ones(2), torch.ones(2))
    assert torch.equal(nobody, torch.zeros(2))


def test_overlap_of_hard_masks_is_intersection_over_union() -> None:
    rng = np.random.default_rng(2)
    share, target = (rng.random((2, 4, 3, 20, 20)) > 0.4).astype(np.float32)
    counted = (rng.random((4, 3, 20, 20)) > 0.2).astype(np.float32)
    loss = overlap_loss(*map(torch.from_numpy, (share, target, counted))).numpy()
    for plane in range(3):
        a, b = (m[:, plane][counted[:, plane] > 0] > 0 for m in (share, target))
        assert loss[plane] == pytest.approx(1.0 - (np.sum(a & b) + 1) / (np.sum(a | b) + 1), rel=1e-5)


def test_pixels_that_are_not_scored_drop_out() -> None:
    torch.manual_seed(1)
    network = build_network(MANIFEST)
    objective = MarkingObjective(MANIFEST.tides, CPU)
    stamps = SOURCE(3, 8)
    wrong = stamps.marks.copy()
    wrong[~stamps.scored] = np.broadcast_to(stamps.annotators[:, None, None, None], wrong.shape)[
        ~stamps.scored
    ]
    assert not np.array_equal(wrong, stamps.marks)
    losses = [
        objective.loss(network, MarkedBatch.of(part), torch.Generator().manual_seed(2))
        for part in (stamps, dataclasses.replace(stamps, marks=wrong))
    ]
    assert torch.equal(*losses)


def test_nothing_scored_is_no_loss_but_a_number() -> None:
    network = build_network(MANIFEST)
    stamps = SOURCE(3, 4)
    empty = dataclasses.replace(
        stamps,
        scored=np.zeros_like(stamps.scored),
        presence_scored=np.zeros_like(stamps.presence_scored),
        light=np.zeros_like(stamps.light),
    )
    loss = MarkingObjective(MANIFEST.tides, CPU).loss(network, MarkedBatch.of(empty), torch.Generator())
    assert loss.item() == 0.0


# Sources and stamps on disk


def test_a_source_gives_surface_brightness_and_presence() -> None:
    made, marked = Streaks()(7, 60), SOURCE(7, 60)
    np.testing.assert_allclose(
        marked.flux * made.arcsec_per_px[:, None, None, None] ** 2, made.flux, rtol=1e-5, atol=1e-4
    )
    for k in range(60):
        for plane in range(4):
            half = (2 * made.marks[k, plane].astype(int) >= made.annotators[k]) & made.scored[k, plane]
            area = np.sum(half) * float(made.arcsec_per_px[k]) ** 2 if made.annotators[k] else 0.0
            assert bool(marked.presence[k, plane]) == (area >= 100.0)
            known = made.annotators[k] > 0 and (area == 0.0 or area >= 100.0)
            assert bool(marked.presence_scored[k, plane]) == known
    there = marked.presence_scored & (marked.presence > 0)
    assert there[:, :3].any(axis=0).all()
    assert (~marked.presence_scored[made.annotators > 0]).any()


def test_marked_stamps_are_kept_on_disk(tmp_path: Any) -> None:
    store = make_store(tmp_path)
    fresh = store.kind.of(SOURCE(int(np.random.SeedSequence([1, 2]).generate_state(1, np.uint64)[0]), 16))
    kept = store.load(2)
    for field in dataclasses.fields(MarkedStamps):
        one, other = getattr(fresh, field.name), getattr(kept, field.name)
        assert one.dtype == other.dtype
        if field.name not in ("flux", "light"):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(kept.flux, fresh.flux, rtol=5e-4, atol=1e-3)
    np.testing.assert_allclose(kept.light, fresh.light, rtol=5e-4, atol=1e-3)


def test_marks_turn_with_their_stamps(tmp_path: Any) -> None:
    batch = next(BatchStream(make_store(tmp_path), batch_size=32, window=2, seed=1).batches())
    assert isinstance(batch, MarkedBatch)
    marks = (batch.flux[:, [0, 1, 2, 1, 0]] > 20.0).to(torch.uint8)
    batch = dataclasses.replace(batch, marks=marks, scored=batch.valid[:, [0, 1, 2, 1, 0]].clone())
    options = AugmentOptions(missing_band=0.0, missing_bands=0.0, edge=0.0)
    turned = augment(batch, (), options, torch.Generator().manual_seed(1))
    assert not torch.equal(turned.flux, batch.flux)
    assert torch.equal(turned.marks[:, 1][turned.valid[:, 1]], (turned.flux[:, 1] > 20.0)[turned.valid[:, 1]])
    assert torch.equal(turned.scored[:, :3], turned.valid)
    assert torch.equal(turned.presence, batch.presence)


# Parts of the light


def test_shares_turn_with_their_stamps(tmp_path: Any) -> None:
    batch = next(BatchStream(make_store(tmp_path), batch_size=32, window=2, seed=1).batches())
    assert isinstance(batch, MarkedBatch)
    options = AugmentOptions(missing_band=0.0, missing_bands=0.0, edge=0.0)
    turned = augment(batch, (), options, torch.Generator().manual_seed(1))
    for before, after in zip((batch.light, batch.shares), (turned.light, turned.shares), strict=True):
        assert not torch.equal(before, after)
        assert torch.equal(before.double().sum(dim=(-2, -1)), after.double().sum(dim=(-2, -1)))
    own = turned.light * turned.shares[:, 3] / 255.0
    noise = (turned.flux[:, 1] - turned.light)[turned.valid[:, 1]]
    assert noise.std() < 6.0
    assert own.sum() > 0.0


def draw_shares() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return light, its parts, and which features are large enough."""
    stamps = SOURCE(5, 24)
    share = torch.from_numpy(stamps.shares).float() / 255.0
    return torch.from_numpy(stamps.light), share, torch.ones(share.shape[:2], dtype=torch.bool)


def test_no_share_is_better_than_the_true_one() -> None:
    light, share, seen = draw_shares()
    true = torch.logit(share, eps=1e-6)
    best = share_loss(true, light, share, seen)
    for change in (-0.5, -0.1, 0.1, 0.5):
        assert share_loss(true + change, light, share, seen) > best
    nothing = share_loss(torch.full_like(true, -9.0), light, share, seen)
    everything = share_loss(torch.full_like(true, 9.0), light, share, seen)
    assert everything > nothing > best


def test_the_loss_of_shares_is_relative() -> None:
    light, share, seen = draw_shares()
    logit = torch.randn(share.shape, generator=torch.Generator().manual_seed(1))
    loss = share_loss(logit, light, share, seen)
    torch.testing.assert_close(share_loss(logit, 1000.0 * light, share, seen), loss, rtol=1e-4, atol=0.0)


def test_stamps_whose_light_is_not_known_do_not_count() -> None:
    light, share, seen = draw_shares()
    logit = torch.randn(share.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    alone = share_loss(logit[:12], light[:12], share[:12], seen[:12])
    light[12:] = 0.0
    both = share_loss(logit, light, share, seen)
    torch.testing.assert_close(both, alone)
    both.backward()
    assert torch.all(logit.grad[12:] == 0.0)
    assert share_loss(logit, torch.zeros_like(light), share, seen).item() == 0.0


def patch_of_shares(share: float, *, side: int = 4) -> torch.Tensor:
    """Return a square feature on 16 by 16 pixels, ``[1, 1, 16, 16]``."""
    shares = torch.zeros(1, 1, 16, 16)
    shares[..., 4 : 4 + side, 4 : 4 + side] = share
    return shares


LIGHT, SEEN = torch.ones(1, 16, 16), torch.ones(1, 1, dtype=torch.bool)


def test_half_the_flux_is_as_wrong_as_twice() -> None:
    """Else the likeliest flux would not be the median one."""
    true = patch_of_shares(0.25)

    def off(factor: float) -> float:
        logit = torch.logit(factor * true, eps=1e-9)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logit, true, reduction="sum")
        return share_loss(logit, LIGHT, true, SEEN).item() - entropy.item() / 4.0

    assert off(1.0) == pytest.approx(0.0, abs=1e-5)
    assert off(0.5) == pytest.approx(off(2.0), rel=0.1)
    assert off(2.0) > 0.5


def test_features_too_small_to_be_told_weigh_a_fifth() -> None:
    true, logit = patch_of_shares(0.25), torch.full((1, 1, 16, 16), -3.0)
    pair = [patch_of_shares(0.5, side=2), true]
    each = [share_loss(logit, LIGHT, share, SEEN).item() for share in pair]
    both = share_loss(
        logit.repeat(2, 1, 1, 1),
        LIGHT.repeat(2, 1, 1),
        torch.cat(pair),
        torch.tensor([[False], [True]]),
    )
    assert both.item() == pytest.approx((0.2 * each[0] + each[1]) / 1.2, rel=1e-5)


def test_a_trace_of_a_feature_does_not_outweigh_others() -> None:
    trace = patch_of_shares(0.003, side=1)
    marked = torch.logit(patch_of_shares(0.1), eps=1e-4)
    assert share_loss(marked, LIGHT, trace, SEEN).item() < 10.0


def test_simulated_shares_hold_the_flux_of_visible_debris(tmp_path: Any) -> None:
    library = make_library(tmp_path, count=4, seed=5)
    manifest = recipe("tides", "0.0.1", title="Any", record=TrainingRecord(data="Any.", seed=1))
    labelled = TidalSource(manifest, str(tmp_path))(3, 32)
    made = sample_tides(3, 32, library=library)
    seen = truth_masks(made.debris, made.host + made.others, made.mask_limit(), made.arcsec_per_px)
    true = np.where(seen.mask & made.valid[:, 1, None], made.debris, 0.0).sum(axis=(2, 3))
    found = (labelled.light[:, None] * labelled.shares[:, :3] / 255.0).sum(axis=(2, 3))
    assert (true > 0.0).sum() > 10
    # Whole 255ths, of parts of a tenth and more.
    np.testing.assert_allclose(found, true, rtol=0.01)
    np.testing.assert_array_equal(labelled.shares[:, :3].max(axis=1), labelled.shares[:, 3])
    assert np.all(labelled.light[~made.valid[:, 1]] == 0.0)


# The presence


def test_presence_is_fitted_to_what_the_masks_show() -> None:
    torch.manual_seed(3)
    network = build_network(MANIFEST).eval()
    assert network.tides is not None
    calls: list[int] = []

    def parts() -> Any:
        for seed in range(4):
            calls.append(seed)
            yield SOURCE(100 + seed, 100)

    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_presence(network, parts())
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"tides.presence.weight", "tides.presence.bias", "tides.ranked.weight"}
    assert calls == [0, 1, 2, 3]
    unseen = SOURCE(999, 200)
    with torch.inference_mode():
        flux, valid = torch.from_numpy(unseen.flux), torch.from_numpy(unseen.valid)
        said = network(flux, valid, torch.ones(1, 1))["presence"][:, 3].numpy()
    known = unseen.presence_scored[:, 3]
    there, absent = said[known & (unseen.presence[:, 3] > 0)], said[known & (unseen.presence[:, 3] == 0)]
    area = scipy.stats.mannwhitneyu(there, absent).statistic / (len(there) * len(absent))
    assert area > 0.9
    # It is a probability: as many are there as it says.
    assert np.mean(scipy.special.expit(said[known])) == pytest.approx(
        np.mean(unseen.presence[known, 3]), abs=0.1
    )


def test_too_few_features_leave_the_presence_as_it_is() -> None:
    torch.manual_seed(3)
    network = build_network(MANIFEST).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_presence(network, [SOURCE(5, 12)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("ranks", "message"), [((4, 2), "do not rise"), ((1, 1025), "no rank")])
def test_impossible_ranks_are_refused(ranks: tuple[int, ...], message: str) -> None:
    content = MANIFEST.model_dump()
    content["tides"]["ranks"] = ranks
    with pytest.raises(ValueError, match=message):
        Manifest.model_validate(content)


# Figures


def test_figures_are_those_of_a_count_by_hand() -> None:
    torch.manual_seed(4)
    network = build_network(MANIFEST).eval()
    network.tides.mean.bias.data += 4.0
    stamps = SOURCE(11, 150)
    figures = mask_figures(network, MANIFEST.tides, stamps, CPU, views=network.views)
    with torch.inference_mode():
        flux, valid = torch.from_numpy(stamps.flux), torch.from_numpy(stamps.valid)
        outputs = {k: v.numpy() for k, v in network(flux, valid, torch.ones(1, 1)).items()}
    asked = stamps.annotators[:, None, None, None].astype(int)
    counted = stamps.scored & (asked > 0)
    truth = (2 * stamps.marks.astype(int) >= asked) & counted
    found = (outputs["mask"] > 0) & counted
    for index, plane in enumerate(MANIFEST.tides.planes):
        expected = (found & truth)[:, index].sum() / (found | truth)[:, index].sum()
        assert figures.overlap[plane] == pytest.approx(expected, abs=0.002)
    for index, plane in enumerate(MANIFEST.tides.features):
        known = stamps.presence_scored[:, index]
        positive = stamps.presence[known, index] > 0
        value = outputs["presence"][known, index]
        expected = scipy.stats.mannwhitneyu(value[positive], value[~positive]).statistic
        assert figures.separation[plane] == pytest.approx(
            expected / (positive.sum() * (~positive).sum()), abs=0.002
        )


# Training


class Killed(BaseException):
    """Stands for a kill in the middle of a run."""


def run(path: Any, *, steps: int = 7, die_at: int | None = None, **changes: Any) -> Trainer:
    options = TrainingOptions(
        steps=steps, seed=7, augment=AugmentOptions(edge=0.0), **{"checkpoint_steps": 3, **changes}
    )
    objective = MarkingObjective(MANIFEST.tides, CPU, mixed=options.mixed)
    trainer = Trainer(MANIFEST, options, path, SOURCE(1, 48), objective)
    stream = BatchStream(make_store(path / "stamps"), batch_size=16, window=2, seed=7)

    def progress(step: int) -> None:
        if step == die_at:
            raise Killed

    trainer.run(stream, progress)
    return trainer


def test_a_killed_run_ends_as_one_that_was_not(tmp_path: Any) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", die_at=5)
    killed = run(tmp_path / "killed")
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, killed.network.state_dict()[name]), name
    assert [entry["validation_loss"] for entry in killed.history] == [
        entry["validation_loss"] for entry in whole.history
    ]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_finds_the_streaks(tmp_path: Any, caplog: pytest.LogCaptureFixture, precision: str) -> None:
    with caplog.at_level(logging.INFO):
        changes = {"checkpoint_steps": 50, "learning_rate": 0.01, "average": 0.95}
        trainer = run(tmp_path, steps=150, precision=precision, **changes)
    history = trainer.history
    assert all(tensor.dtype == torch.float32 for tensor in trainer.network.state_dict().values())
    assert history[-1]["validation_loss"] < 0.5 * history[0]["validation_loss"]
    assert history[-1]["debris_overlap"] > 0.6
    assert history[-1]["host_overlap"] > 0.6
    assert history[-1]["debris_separation"] > 0.9
    stamps = SOURCE(99, 120)
    with torch.inference_mode():
        flux, valid = torch.from_numpy(stamps.flux), torch.from_numpy(stamps.valid)
        share = trainer.network(flux, valid, torch.ones(1, 1))["share"][:, 3].numpy()
    true = (stamps.light * stamps.shares[:, 3] / 255.0).sum(axis=(1, 2))
    found = (stamps.light * share).sum(axis=(1, 2))[true > 0.0] / true[true > 0.0]
    assert np.median(np.abs(found - 1.0)) < 0.3
    assert "debris overlap 0." in caplog.text


def test_a_training_ends_in_a_package(tmp_path: Any) -> None:
    path = tmp_path / "tides.morph"
    model = train_tides_package(
        path,
        MANIFEST,
        tmp_path / "work",
        options=TrainingOptions(steps=4, seed=5, checkpoint_steps=2),
        data=DataOptions(stamps=32, batch_size=8, shard_size=8, window=2, validation=16, evaluation=40),
        source=SOURCE,
        samples={"streaks": SOURCE},
        command="morphology train tides.morph",
    )
    package = ModelPackage.open(path)
    assert package.manifest == model.package.manifest
    assert package.manifest.training.presentations == 32
    assert package.manifest.training.figures["streaks.debris.overlap"] >= 0.0
    assert "not for science" in package.card()
    assert "morphology train tides.morph" in package.card()
    assert "| host |" in package.card()
    golden = package.golden()
    assert not golden["valid"][-1, [0, 2]].any()
    assert golden["valid"][-1, 1].any()
    for backend in ("onnx", "torch"):
        assert check_golden(package, EngineOptions(backend=backend, device="cpu")).passed


def test_the_command_wants_encounters(tmp_path: Any) -> None:
    result = CliRunner().invoke(command, [str(tmp_path / "x.morph"), "--recipe", "tides_smoke"])
    assert result.exit_code == 2
    assert "--library" in result.output


def test_the_command_ends_in_a_package_and_a_page(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    make_library(tmp_path / "encounters", count=1, seed=9, times=2)
    out = tmp_path / "smoke.morph"
    options = ["--recipe", "tides_smoke", "--library", str(tmp_path / "encounters"), "--steps", "8"]
    result = CliRunner().invoke(command, [str(out), *options])
    assert result.exit_code == 0, result.output
    package = ModelPackage.open(out)
    assert package.manifest.tides is not None
    assert package.manifest.outputs["share"] == (4, SIZE, SIZE)
    page = (tmp_path / "smoke.morph.html").read_text()
    assert package.manifest.model_id in page
    assert "Training of tides_smoke" in page
    assert "encountersTrainedOn" in page
    assert page.count("<figure>") == 3
