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

"""Training: likelihood, order of data, resuming, and the whole way."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner

from lsst.meas.morphology.cli.train import command
from lsst.meas.morphology.errors import DeviceError, ModelMismatchError, MorphologyError
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.manifest import TrainingRecord
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.simulation.source import SimulatedSource
from lsst.meas.morphology.training.agreement import figures_table, question_figures
from lsst.meas.morphology.training.batches import AugmentOptions, Batch, BatchStream, augment
from lsst.meas.morphology.training.checkpoint import read_checkpoint
from lsst.meas.morphology.training.labelled import LabelledStamps
from lsst.meas.morphology.training.loop import Trainer, TrainingOptions
from lsst.meas.morphology.training.loss import VotesLoss
from lsst.meas.morphology.training.optimizer import KernelOptimizer
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.session import DataOptions, train_package
from lsst.meas.morphology.training.shards import ShardStore
from lsst.meas.morphology.training.start import begun_from, starting_from
from lsst.meas.morphology.training.voting import expected_fractions

TREE = QuestionTree.load("rubin")
MANIFEST = recipe("smoke", "0.0.1", title="Smoke", record=TrainingRecord(data="Simulated.", seed=5))
SOURCE = SimulatedSource(MANIFEST, "training")


@dataclasses.dataclass(frozen=True)
class Numbered:
    """Stamps whose every pixel is their own number."""

    size: int = 4

    def __call__(self, seed, n):
        flux = np.arange(n, dtype=np.float32)[:, None, None, None] + np.zeros((1, 3, self.size, self.size))
        number = (np.float32(seed % 1000) + flux).astype(np.float32)
        votes = np.tile(np.arange(n, dtype=np.int32)[:, None], (1, TREE.n_answers))
        return LabelledStamps(number, np.ones(flux.shape, np.bool_), votes)

    def describe(self):
        return f"numbered {self.size}"


def make_store(path, count=4, shard_size=10, seed=1, source=None):
    return ShardStore(path, source or Numbered(), seed=seed, shard_size=shard_size, count=count)


# The likelihood


def test_loss_is_the_dirichlet_multinomial_of_scipy():
    rng = np.random.default_rng(1)
    n = 12
    votes = rng.integers(0, 15, (n, TREE.n_answers))
    alpha = np.exp(rng.normal(1.0, 1.5, (n, TREE.n_answers))).astype(np.float32)
    loss = VotesLoss(TREE)
    each = loss.per_question(torch.from_numpy(votes), torch.from_numpy(alpha)).numpy()
    expected = np.empty_like(each)
    for k, answers in enumerate(TREE.slices.values()):
        for i in range(n):
            v = votes[i, answers]
            expected[i, k] = -scipy.stats.dirichlet_multinomial.logpmf(
                v, alpha[i, answers].astype(float), v.sum()
            )
    np.testing.assert_allclose(each, expected, atol=3e-5, rtol=1e-5)
    total = loss(torch.from_numpy(votes), torch.from_numpy(alpha))
    np.testing.assert_allclose(total, expected.sum(axis=1).mean(), rtol=1e-5)


def test_a_question_without_votes_contributes_exactly_nothing():
    rng = np.random.default_rng(2)
    votes = torch.from_numpy(rng.integers(1, 9, (30, TREE.n_answers)))
    asked = TREE.slices["bar"]
    votes[:, asked] = 0
    alpha = torch.from_numpy(np.exp(rng.normal(2, 2, votes.shape)).astype(np.float32)).requires_grad_()
    each = VotesLoss(TREE).per_question(votes, alpha)
    index = list(TREE.slices).index("bar")
    assert torch.equal(each[:, index], torch.zeros(30))
    each.sum().backward()
    assert torch.equal(alpha.grad[:, asked], torch.zeros(30, 3))
    assert bool((alpha.grad[:, TREE.slices["merging"]] != 0).any())


def test_loss_is_float32_for_half_precision_input():
    alpha = torch.full((2, TREE.n_answers), 3.0, dtype=torch.bfloat16)
    assert VotesLoss(TREE).per_question(torch.ones(2, TREE.n_answers), alpha).dtype == torch.float32


# Agreement


def test_figures_count_confident_galaxies_only():
    votes = np.zeros((6, TREE.n_answers), np.int32)
    fraction = np.zeros((6, TREE.n_answers))
    edge = TREE.slices["diskEdgeOn"]
    votes[:, edge] = [[20, 0], [16, 4], [15, 5], [19, 0], [0, 40], [0, 0]]
    fraction[:, edge] = [[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9], [0.2, 0.8], [0.5, 0.5]]
    figures = question_figures(votes, fraction, TREE)["diskEdgeOn"]
    assert figures.count == 3
    assert figures.accuracy == pytest.approx(2 / 3)
    assert figures.balanced_accuracy == pytest.approx((0.5 + 1.0) / 2)
    assert figures.majority == pytest.approx(2 / 3)
    none = question_figures(votes, fraction, TREE)["bar"]
    assert none.count == 0
    assert np.isnan(none.accuracy)
    assert "| bar | 0 |" in figures_table({"bar": none})


# Stamps on disk and their order


def test_shards_are_kept_and_read_again(tmp_path):
    store = make_store(tmp_path, source=SOURCE, shard_size=8)
    first = store.load(1)
    expected = make_store(tmp_path / "other", source=SOURCE, shard_size=8).load(1)
    again = make_store(tmp_path, source=SOURCE, shard_size=8).load(1)
    for name in ("flux", "valid", "votes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        np.testing.assert_array_equal(getattr(first, name), getattr(expected, name))
    assert not np.array_equal(first.flux, store.load(2).flux)
    assert not list(tmp_path.glob("*.tmp"))


def test_half_precision_loses_nothing_that_matters(tmp_path):
    class Bright(Numbered):
        def __call__(self, seed, n):
            flux = np.geomspace(1e-2, 1e6, n * 48, dtype=np.float32).reshape(n, 3, 4, 4)
            votes = np.zeros((n, TREE.n_answers), np.int32)
            return LabelledStamps(flux, np.ones(flux.shape, np.bool_), votes)

    kept = make_store(tmp_path, source=Bright()).load(0)
    exact = Bright()(0, 10)
    assert kept.flux.dtype == np.float32
    np.testing.assert_allclose(kept.flux, exact.flux, rtol=5e-4, atol=1e-5)


def test_shards_made_in_another_process_are_the_same(tmp_path):
    store = make_store(tmp_path / "a", source=SOURCE, shard_size=4, count=2)
    store.start()
    try:
        here = [store.load(i) for i in range(2)]
    finally:
        store.stop()
    alone = make_store(tmp_path / "b", source=SOURCE, shard_size=4, count=2)
    for index in range(2):
        np.testing.assert_array_equal(here[index].flux, alone.load(index).flux)


def test_stamps_of_another_seed_or_source_are_refused(tmp_path):
    make_store(tmp_path)
    with pytest.raises(MorphologyError, match="another source, seed or shard size"):
        make_store(tmp_path, seed=2)
    with pytest.raises(MorphologyError, match="numbered 5"):
        make_store(tmp_path, source=Numbered(5))


def test_each_stamp_comes_once_in_an_epoch(tmp_path):
    store = make_store(tmp_path, count=4, shard_size=10)
    stream = BatchStream(store, batch_size=5, window=2, seed=3)
    assert stream.steps_per_epoch == 8
    steps = list(itertools.islice(stream.batches(), 16))
    numbers = [torch.cat([b.flux[:, 0, 0, 0] for b in steps[k : k + 8]]).tolist() for k in (0, 8)]
    everything = np.concatenate([store.load(i).flux[:, 0, 0, 0] for i in range(4)])
    for epoch in numbers:
        assert sorted(epoch) == sorted(everything.tolist())
    assert numbers[0] != numbers[1]
    for batch in steps:
        np.testing.assert_array_equal(batch.votes[:, 0] % 10, batch.votes[:, -1])


@pytest.mark.parametrize("first", [1, 3, 4, 9, 13])
def test_a_stream_can_be_entered_anywhere(tmp_path, first):
    stream = BatchStream(make_store(tmp_path, count=3), batch_size=4, window=2, seed=3)
    all_steps = list(itertools.islice(stream.batches(), 16))
    for one, other in zip(all_steps[first:], stream.batches(first), strict=False):
        assert torch.equal(one.flux, other.flux)


def test_a_window_that_fills_no_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="do not fill a batch of 64"):
        BatchStream(make_store(tmp_path), batch_size=64, window=2, seed=1)


# Augmentation


def make_batch(n=400, size=6):
    rng = np.random.default_rng(4)
    flux = torch.from_numpy(rng.normal(10, 1, (n, 3, size, size)).astype(np.float32))
    return Batch(flux, torch.ones(flux.shape, dtype=torch.bool), torch.zeros(n, 2))


def test_turning_keeps_every_pixel_and_makes_eight_views():
    batch = make_batch()
    flux = batch.flux[:1].expand_as(batch.flux)
    options = AugmentOptions(missing_band=0.0, missing_bands=0.0, edge=0.0)
    turned = augment(
        Batch(flux, batch.valid, batch.votes), (0,), options, torch.Generator().manual_seed(1)
    ).flux
    views = {tuple(view.flatten().tolist()) for view in turned}
    assert len(views) == 8
    assert len({tuple(sorted(view)) for view in views}) == 1


def test_only_optional_bands_go_missing_as_often_as_asked():
    batch = make_batch(4000)
    options = AugmentOptions(missing_band=0.3, missing_bands=0.1, edge=0.0)
    varied = augment(batch, (0, 2), options, torch.Generator().manual_seed(1))
    there = varied.valid.flatten(2).any(dim=2).numpy()
    assert there[:, 1].all()
    assert (~there[:, 0] & ~there[:, 2]).mean() == pytest.approx(0.1, abs=0.02)
    assert (there[:, 0] ^ there[:, 2]).mean() == pytest.approx(0.3, abs=0.03)
    assert not varied.flux[~varied.valid].any()
    assert bool(batch.valid.all())


def test_cut_off_stamps_keep_their_centre():
    options = AugmentOptions(missing_band=0.0, missing_bands=0.0, edge=0.5)
    varied = augment(make_batch(2000, 20), (), options, torch.Generator().manual_seed(1))
    cut = ~varied.valid[:, 0].flatten(1).all(dim=1)
    # One edge in eight is drawn outside the stamp.
    assert cut.float().mean().item() == pytest.approx(0.5 * 7 / 8, abs=0.04)
    assert bool(varied.valid[:, :, 9:11, 9:11].all())


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        AugmentOptions(missing_band=0.7, missing_bands=0.7)


# The optimiser


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (40, 2, 3, 3)])
def test_kernels_move_by_the_nearest_orthogonal_matrix(shape):
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.zeros(shape))
    optimizer = KernelOptimizer([kernel], weight_decay=0.1, kernel_rate=2.0)
    optimizer.param_groups[0]["lr"] = 0.5
    gradient = torch.randn(shape)
    kernel.grad = gradient.clone()
    optimizer.step()
    u, _, v = np.linalg.svd(gradient.flatten(1).numpy(), full_matrices=False)
    moved = -kernel.detach().flatten(1).numpy()
    rows, columns = moved.shape
    moved /= max(1.0, rows / columns) ** 0.5
    # Newton and Schulz leave the singular values between 0.68 and 1.14.
    singular = np.diag(u.T @ moved @ v.T)
    np.testing.assert_allclose(u.T @ moved @ v.T, np.diag(singular), atol=1e-4)
    assert 0.6 < singular.min() <= singular.max() < 1.2


def test_other_parameters_move_as_under_adamw():
    torch.manual_seed(1)
    mine = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.ones(3))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    optimizer = KernelOptimizer(mine, weight_decay=0.3)
    groups = [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0}]
    expected = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    for _ in range(5):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        optimizer.step()
        expected.step()
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


# The loop


class Killed(BaseException):
    """Stands for a kill in the middle of a run."""


def run(path, *, die_at=None, options=None):
    options = options or TrainingOptions(steps=11, seed=7, checkpoint_steps=4)
    stamps = LabelledStamps.of(SOURCE(1, 16))
    trainer = Trainer(MANIFEST, options, path, stamps)
    store = make_store(path / "stamps", source=SOURCE, shard_size=32, count=2)
    stream = BatchStream(store, batch_size=16, window=1, seed=7)

    def progress(step):
        if step == die_at:
            raise Killed

    trainer.run(stream, progress)
    return trainer


def test_a_killed_run_ends_as_one_that_was_not(tmp_path):
    whole = run(tmp_path / "whole")
    for step in (2, 6, 10):
        with pytest.raises(Killed):
            run(tmp_path / "killed", die_at=step)
    killed = run(tmp_path / "killed")
    assert killed.step == whole.step == 11
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, killed.network.state_dict()[name]), name
    strip = [{k: v for k, v in entry.items() if k != "seconds"} for entry in whole.history]
    assert [entry["step"] for entry in strip] == [4, 8, 11]
    assert [e["validation_loss"] for e in killed.history] == [e["validation_loss"] for e in whole.history]


def test_a_finished_run_is_not_run_again(tmp_path):
    first = run(tmp_path)
    again = run(tmp_path, die_at=12)
    assert again.step == 11
    assert torch.equal(first.network.head.linear.weight, again.network.head.linear.weight)


def test_other_options_do_not_continue_a_run(tmp_path):
    run(tmp_path, options=TrainingOptions(steps=2, seed=7))
    with pytest.raises(MorphologyError, match="other options"):
        run(tmp_path, options=TrainingOptions(steps=2, seed=8))


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path):
    longer = TrainingOptions(steps=11, restarts=(6,), seed=7, checkpoint_steps=4)
    whole = run(tmp_path / "whole", options=longer)
    run(tmp_path / "parts", options=TrainingOptions(steps=6, seed=7, checkpoint_steps=4))
    parts = run(tmp_path / "parts", options=longer)
    assert parts.step == whole.step == 11
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, parts.network.state_dict()[name]), name
    with pytest.raises(MorphologyError, match="other options"):
        run(tmp_path / "parts", options=TrainingOptions(steps=20, restarts=(7,), seed=7))


def test_the_learning_rate_begins_anew_at_a_restart(tmp_path):
    options = TrainingOptions(steps=40, restarts=(20,), warm_up=0.1, seed=7, checkpoint_steps=1)
    rates = [entry["learning_rate"] for entry in run(tmp_path, options=options).history]
    alone = TrainingOptions(steps=20, warm_up=0.1, seed=7, checkpoint_steps=1)
    once = [entry["learning_rate"] for entry in run(tmp_path / "alone", options=alone).history]
    # An entry has the rate of the step to come.
    assert rates[:19] == pytest.approx(once[:19])
    assert rates[20:39] == pytest.approx(once[:19])
    assert max(rates) == pytest.approx(options.learning_rate)


@pytest.mark.parametrize("restarts", [(0,), (10,), (12,), (5, 5), (7, 3)])
def test_impossible_restarts_are_refused(restarts):
    with pytest.raises(ValueError, match="do not rise"):
        TrainingOptions(steps=10, restarts=restarts)


def test_restarts_and_minutes_exclude_each_other():
    with pytest.raises(ValueError, match="minutes"):
        TrainingOptions(steps=10, restarts=(5,), minutes=1.0)


def test_bfloat16_learns_much_the_same(tmp_path):
    plain, mixed = (
        run(tmp_path / name, options=TrainingOptions(steps=20, seed=1, precision=name))
        for name in ("float32", "bfloat16")
    )
    assert mixed.history[-1]["loss"] == pytest.approx(plain.history[-1]["loss"], rel=0.03)
    assert not torch.equal(mixed.network.head.linear.weight, plain.network.head.linear.weight)
    assert all(tensor.dtype == torch.float32 for tensor in mixed.network.state_dict().values())


def test_a_training_begins_with_the_weights_of_a_model(tmp_path, tiny_package):
    old = ModelPackage.open(tiny_package)
    manifest = old.manifest.model_copy(update={"version": "9.0.0", "members": {}})
    torch.manual_seed(1)
    network = build_network(manifest)
    starting_from(old, manifest)(network)
    for name, array in old.read_weights().items():
        np.testing.assert_array_equal(network.state_dict()[name].numpy(), array)
    other = manifest.model_copy(update={"stamp_size": 2 * manifest.stamp_size})
    with pytest.raises(ModelMismatchError, match="another stamp_size"):
        starting_from(old, other)
    assert old.manifest.model_id in begun_from(old)
    assert begun_from(None) == ""


def test_a_broken_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(MorphologyError, match="not a checkpoint"):
        read_checkpoint(path)


def test_minutes_end_a_run(tmp_path):
    trainer = run(tmp_path, options=TrainingOptions(steps=10**6, minutes=0.01, seed=7))
    assert 1 <= trainer.step < 1000


def test_training_lowers_the_loss(tmp_path):
    options = TrainingOptions(steps=30, seed=1, checkpoint_steps=5)
    history = run(tmp_path, options=options).history
    assert history[-1]["loss"] < history[0]["loss"] - 3.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DeviceError, match="cuda"):
        run(tmp_path, options=TrainingOptions(steps=1, device="cuda"))


def test_expected_fractions_are_means_over_samples(tmp_path):
    network = run(tmp_path, options=TrainingOptions(steps=2, seed=7)).network
    stamps = LabelledStamps.of(SOURCE(9, 5))
    loss = VotesLoss(TREE)
    fraction, nats = expected_fractions(network, stamps, loss, torch.device("cpu"), batch_size=2)
    with torch.inference_mode():
        alpha = network(
            torch.from_numpy(stamps.flux), torch.from_numpy(stamps.valid), network.head.dropout_masks
        )["alpha"].numpy()
    total = np.zeros(5)
    for answers in TREE.slices.values():
        part = alpha[:, :, answers]
        mean = (part / part.sum(axis=2, keepdims=True)).mean(axis=1)
        np.testing.assert_allclose(fraction[:, answers], mean, rtol=1e-4)
        for i, votes in enumerate(stamps.votes[:, answers]):
            p = [scipy.stats.dirichlet_multinomial.pmf(votes, a, votes.sum()) for a in part[i].astype(float)]
            total[i] -= np.log(np.mean(p))
    assert nats == pytest.approx(total.mean(), rel=1e-4)


# The whole way


def test_a_smoke_training_ends_in_a_package(tmp_path, caplog):
    path = tmp_path / "smoke-0.0.1.morph"
    with caplog.at_level(logging.INFO):
        model = train_package(
            path,
            MANIFEST,
            tmp_path / "work",
            options=TrainingOptions(steps=6, seed=5, checkpoint_steps=3),
            data=DataOptions(
                stamps=64, batch_size=16, shard_size=16, window=2, validation=16, evaluation=64, trust=128
            ),
            source=SOURCE,
            samples={"natural": SimulatedSource(MANIFEST, "natural"), "training": SOURCE},
            command="morphology train smoke.morph",
        )
    package = ModelPackage.open(path)
    assert package.manifest == model.package.manifest
    record = package.manifest.training
    assert record.presentations == 96
    assert record.figures["steps"] == 6
    assert record.figures["natural.smoothOrFeatured.count"] > 0
    assert set(model.figures) == {"natural", "training"}
    assert "not for science" in package.card()
    assert "morphology train smoke.morph" in package.card()
    golden = package.golden()
    assert not golden["valid"][-1, [0, 2]].any()
    assert golden["valid"][-1, 1].any()
    for backend in ("onnx", "torch"):
        assert check_golden(package, EngineOptions(backend=backend, device="cpu")).passed
    assert model.calibration is not None
    assert package.manifest.calibration.concentration == pytest.approx(model.calibration.factors)
    assert package.manifest.novelty.threshold > 0.0
    assert golden["novelty"].shape == (len(golden["flux"]), 1)
    assert "How far to trust it" in package.card()
    spread = (golden["embedding"] * np.array(package.manifest.embedding.scale)).std()
    assert spread > 0
    assert "Golden outputs" in caplog.text


def test_weights_are_stored_once(tmp_path, tiny_package):
    package = ModelPackage.open(os.fspath(tiny_package))
    assert len(package.program()) < 60_000
    weights = package.weights_bytes()
    largest = max(package.read_weights().values(), key=lambda array: array.nbytes)
    assert largest.tobytes() in weights
    assert largest.tobytes() not in package.program()


def test_an_unknown_recipe_is_refused():
    with pytest.raises(MorphologyError, match="no recipe 'unknown'"):
        recipe("unknown", "1.0.0", title="x", record=TrainingRecord(data="x", seed=1))


@pytest.mark.slow
def test_the_command_survives_a_kill(tmp_path):
    """Killed by the system and started again, it ends with the same model."""
    arguments = ["--recipe", "smoke", "--steps", "24", "--stamps", "128", "--seed", "3"]
    whole = tmp_path / "whole.morph"
    result = CliRunner().invoke(command, [str(whole), *arguments])
    assert result.exit_code == 0, result.output
    assert "Unseen galaxies, sample: natural" in result.output
    killed = tmp_path / "killed.morph"
    shell = [sys.executable, "-m", "lsst.meas.morphology", "train", str(killed), *arguments]
    checkpoint = tmp_path / "killed.morph.work" / "checkpoint.safetensors"
    process = subprocess.Popen(shell, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(6000):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not killed.exists()
    subprocess.run(shell, check=True, capture_output=True)
    one, other = ModelPackage.open(os.fspath(whole)), ModelPackage.open(os.fspath(killed))
    assert one.weights_bytes() == other.weights_bytes()
    assert one.program() == other.program()


def test_the_command_goes_on_and_begins_with_a_model(tmp_path):
    smoke = ["--recipe", "smoke", "--stamps", "64", "--batch-size", "16", "--no-report"]

    def train(name, *options):
        result = CliRunner().invoke(command, [str(tmp_path / name), *smoke, *options])
        assert result.exit_code == 0, result.output
        return ModelPackage.open(tmp_path / name)

    first = train("first.morph", "--steps", "4", "--work", str(tmp_path / "work"))
    longer = ["--steps", "8", "--restart", "4", "--version", "0.2.0", "--work", str(tmp_path / "work")]
    second = train("second.morph", *longer)
    assert second.manifest.training.figures["steps"] == 8.0
    assert second.manifest.training.presentations == 128
    assert "--restart 4" in second.card()
    third = train(
        "third.morph",
        "--steps",
        "1",
        "--learning-rate",
        "1e-5",
        "--start-from",
        str(tmp_path / "first.morph"),
    )
    assert first.manifest.model_id in third.manifest.training.data
    assert "--start-from" in third.card()
    names = [name for name, array in first.read_weights().items() if array.ndim == 4]
    new, old = third.read_weights(), first.read_weights()
    for name in names:
        change = np.linalg.norm(new[name] - old[name]) / np.linalg.norm(old[name])
        assert change < 0.02, (name, change)
    result = CliRunner().invoke(
        command, [str(tmp_path / "x.morph"), *smoke, "--steps", "4", "--restart", "4"]
    )
    assert result.exit_code == 2
    assert "do not rise" in result.output
