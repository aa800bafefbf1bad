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

"""The score of what is unlike the training objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import chi2

from lsst.meas.morphology.errors import MorphologyError
from lsst.meas.morphology.inference.engine import Engine, EngineOptions
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.novelty import Novelty
from lsst.meas.morphology.model.novelty_score import NoveltyScore
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.picture_statistics import PictureStatistics
from lsst.meas.morphology.simulation.stamps import SimulatedStamps, sample_stamps
from lsst.meas.morphology.training.held_out import roc_area
from lsst.meas.morphology.training.novelty import NoveltyFit, fit_novelty, learn_novelty, novelty_vectors
from lsst.meas.morphology.training.recipe import recipe
from lsst.meas.morphology.training.trust import trusted, trusted_package

type Flux = npt.NDArray[np.float32]


def bad_columns(flux: Flux) -> Flux:
    """Return stamps with some columns far too bright or too dark."""
    rng = np.random.default_rng(1)
    flux = flux.copy()
    for stamp in flux:
        for column in rng.integers(0, flux.shape[-1], 6):
            stamp[:, :, column] = 4.0 * stamp.std() * rng.choice([-1.0, 1.0])
    return flux


def shifted_cell(flux: Flux) -> Flux:
    """Return stamps across which one cell of a coadd is mis-registered."""
    flux = flux.copy()
    size = flux.shape[-1]
    middle = slice(size // 3, size - size // 3)
    flux[:, :, :, middle] = np.roll(flux[:, :, :, middle], 5, axis=-2)
    flux[:, 0] = np.roll(flux[:, 0], 6, axis=-1)
    return flux


def doughnut(flux: Flux) -> Flux:
    """Return stamps as a telescope out of focus would show them."""
    size = flux.shape[-1]
    y, x = np.mgrid[:size, :size] - size // 2
    kernel = (np.hypot(x, y) > 4.0) & (np.hypot(x, y) < 7.0)
    transform = np.fft.rfft2(np.fft.ifftshift(kernel / kernel.sum()))
    return np.fft.irfft2(np.fft.rfft2(flux) * transform, s=(size, size)).astype(np.float32)


def swapped_bands(flux: Flux) -> Flux:
    """Return stamps whose bands are in another order."""
    return flux[:, [2, 0, 1]].copy()


KINDS: tuple[Callable[[Flux], Flux], ...] = (bad_columns, shifted_cell, doughnut, swapped_bands)


def test_mahalanobis() -> None:
    """With one prototype the score is in proportion to the textbook's."""
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(6, 6))
    train = rng.normal(size=(20000, 6)) @ mixing.T + 3.0
    fit = fit_novelty({(): train}, data="normal", prototypes=1)
    test = rng.normal(size=(500, 6)) @ mixing.T + 3.0
    inverse = np.linalg.inv(np.cov(train.T))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", test - train.mean(0), inverse, test - train.mean(0)))
    # At the threshold, which is one, chi squared of six degrees of freedom
    # is exceeded by one in a hundred.
    np.testing.assert_allclose(fit.score(test), expected / np.sqrt(chi2(6).isf(0.01)), rtol=0.05)
    assert fit.record.threshold == 1.0
    assert np.mean(fit.score(rng.normal(size=(20000, 6)) @ mixing.T + 3.0) > 1.0) < 0.02


def test_prototypes_follow_clusters() -> None:
    rng = np.random.default_rng(2)
    centres = 20.0 * rng.normal(size=(4, 5))
    train = centres[rng.integers(0, 4, 2000)] + rng.normal(size=(2000, 5))
    fit = fit_novelty({(): train}, data="clusters", prototypes=8)
    between = centres.mean(axis=0, keepdims=True)
    assert fit.score(between)[0] > fit.record.threshold
    assert (fit.score(centres) < fit.record.threshold).all()
    again = fit_novelty({(): train}, data="clusters", prototypes=8)
    np.testing.assert_array_equal(again.prototypes, fit.prototypes)
    with pytest.raises(MorphologyError, match="too few"):
        fit_novelty({(): train, ("g",): train[:10]}, data="clusters")
    with pytest.raises(MorphologyError, match="too few"):
        fit_novelty({}, data="nothing")


def test_long_vectors_are_shortened() -> None:
    """To the encoder's largest directions, and all of the statistics."""
    rng = np.random.default_rng(4)
    spread = np.concatenate([np.linspace(1.0, 3.0, 160), [0.01, 0.02]])
    train = spread * rng.normal(size=(1200, 162))
    fit = fit_novelty({(): train}, data="long", statistics=2, prototypes=1)
    assert fit.record.directions == 130
    assert fit.whitening.shape == (1, 130, 162)
    assert fit.record.picture == 1
    odd = np.zeros((3, 162))
    odd[0, 161] = 0.5
    odd[1, 159] = 60.0
    odd[2, 0] = 20.0
    novel = fit.score(odd)
    assert novel[0] > 1.0
    assert novel[1] > 1.0
    # A direction of little variance is one of those that are left out.
    assert novel[2] < novel[0]
    module = NoveltyScore(fit.record, ("g",), 162, None)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in fit.weights().items()})
    picture = torch.ones(3, 1, 8, 8)
    said = module(torch.from_numpy(odd).float(), picture, picture > 0.0)
    np.testing.assert_allclose(said[:, 0].numpy(), novel, rtol=1e-4)


def test_old_scores_stay() -> None:
    """Without the new fields, whitened distance of the encoder's vector."""
    record = Novelty(prototypes=3, threshold=2.0, share=0.01, data="x")
    assert "picture" not in record.model_dump(exclude_none=True)
    assert not {"missing", "directions"} & set(record.model_dump(exclude_none=True))
    module = NoveltyScore(record, ("g", "r"), 4, None)
    assert {name: tuple(array.shape) for name, array in module.state_dict().items()} == {
        "centre": (4,),
        "whitening": (4, 4),
        "prototypes": (3, 4),
    }
    rng = np.random.default_rng(7)
    arrays = {name: rng.normal(size=tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict({name: torch.from_numpy(array).float() for name, array in arrays.items()})
    vectors = rng.normal(size=(5, 4))
    white = (vectors - arrays["centre"]) @ arrays["whitening"].T
    expected = np.sqrt(np.square(white[:, None] - arrays["prototypes"]).mean(axis=2).min(axis=1))
    blank = torch.zeros(5, 2, 8, 8)
    found = module(torch.from_numpy(vectors).float(), blank, blank > 0.0)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-5)


def test_missing_bands_have_prototypes_of_their_own() -> None:
    """Each object is compared with those that lack the same bands."""
    sets = ((), ("g",), ("g", "i"))
    record = Novelty(prototypes=2, missing=sets, threshold=1.0, share=0.01, data="x")
    module = NoveltyScore(record, ("g", "r", "i"), 4, None)
    rng = np.random.default_rng(7)
    arrays = {name: rng.normal(size=tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict({name: torch.from_numpy(array).float() for name, array in arrays.items()})
    vectors = rng.normal(size=(4, 4))
    valid = np.zeros((4, 3, 8, 8), np.bool_)
    valid[:, 1] = True
    valid[0, [0, 2], 3, 3] = True
    valid[1, 2] = True
    # The last one has every band but i, for which no prototypes were made:
    # all bands and only r are as near, and the first is taken.
    valid[3, 0] = True
    picture = torch.zeros(4, 3, 8, 8)
    found = module(torch.from_numpy(vectors).float(), picture, torch.from_numpy(valid))[:, 0].numpy()
    fit = NoveltyFit(record, **{name: array.astype(np.float32) for name, array in arrays.items()})
    expected = [fit.score(vectors[k : k + 1], which)[0] for k, which in enumerate((0, 1, 2, 0))]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_statistics_of_a_known_picture() -> None:
    """Means, centroid, lines and likeness of a Gaussian and a line."""
    size = 64
    statistics = PictureStatistics(2, size)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2.0
    light = np.exp(-0.5 * ((x - 2.0) ** 2 + y**2) / 9.0)
    noise = 0.01 * np.random.default_rng(1).normal(size=(2, 2, size, size))
    picture = np.stack([light, 0.5 * light]) + noise
    picture[1, 0, :, 40] += 0.1
    found = statistics(torch.from_numpy(picture).float()).double().numpy()
    assert found.shape == (2, statistics.width)
    means = found[:, :8].reshape(2, 2, 4)
    for width, mean in zip((0.03, 0.08, 0.2), means[0, 0], strict=False):
        weight = np.exp(-0.5 * (x**2 + y**2) / (width * size) ** 2)
        assert mean == pytest.approx((weight * light).sum() / weight.sum(), abs=0.01)
    assert means[0, 0, 3] == pytest.approx(light.mean(), abs=0.002)
    np.testing.assert_allclose(means[0, 1], 0.5 * means[0, 0], atol=0.01)
    across, down = found[0, 8:10]
    # A Gaussian under a Gaussian aperture of 0.08 * 64 pixels.
    assert across * size == pytest.approx(2.0 * 5.12**2 / (5.12**2 + 9.0), abs=0.1)
    assert down * size == pytest.approx(0.0, abs=0.1)
    lines = found[:, 24:32].reshape(2, 2, 2, 2)  # stamp, direction, channel, (at most, on average)
    assert lines[1, 0, 0, 0] > lines[0, 0, 0, 0] + 0.5
    np.testing.assert_allclose(lines[1, :, 1], lines[0, :, 1], atol=0.5)
    assert lines[1, 1, 0, 0] == pytest.approx(lines[0, 1, 0, 0], abs=0.5)
    assert (found[0, -2:] > 0.9).all()
    shifted = picture.copy()
    shifted[:, 1] = np.roll(shifted[:, 1], 8, axis=-1)
    assert statistics(torch.from_numpy(shifted).float())[0, -1] < 0.5
    # One channel has no likeness, and emptiness gives finite numbers.
    grey = PictureStatistics(1, 8)
    assert torch.isfinite(grey(torch.zeros(3, 4, 8, 8))).all()
    assert grey(torch.zeros(3, 4, 8, 8)).shape == (3, grey.width)


@pytest.mark.parametrize("count", [96, 400])
def test_a_program_scores(tmp_path: Path, tiny_package: Path, count: int) -> None:
    """Both backends give what the fit gives; the rest does not change.

    With few stamps only the encoder is listened to.
    """
    package = ModelPackage.open(tiny_package)
    rng = np.random.default_rng(6)
    flux = rng.normal(0.0, 100.0, (count, 3, 16, 16)).astype(np.float32)
    valid = rng.random(flux.shape) > 0.05
    new, fit = trusted_package(package, tmp_path / "new.morph", flux, valid, None, data="noise")
    assert fit is None
    assert new.manifest.calibration is None
    novelty = new.manifest.novelty
    assert novelty is not None
    assert novelty.picture == (None if count == 96 else 1)
    assert novelty.missing is not None
    assert novelty.missing[0] == ()
    assert len(novelty.missing) == 2 ** len(package.manifest.optional_bands)
    weights = {name: torch.from_numpy(array) for name, array in package.read_weights().items()}
    network = build_network(package.manifest)
    network.load_state_dict(weights)
    learnt = learn_novelty(network.eval(), package.manifest, flux, valid, data="noise")
    vectors = novelty_vectors(network, package.manifest, flux, valid)
    old = Engine.from_package(package, EngineOptions(device="cpu")).predict(flux, valid)
    assert old.novelty is None
    for which, gone in enumerate(novelty.missing):
        shown = valid.copy()
        shown[:, [package.manifest.bands.index(band) for band in gone]] = False
        expected = learnt.score(vectors[gone][:, : learnt.centre.shape[1]], which)
        for backend in ("onnx", "torch"):
            options = EngineOptions(backend=backend, device="cpu")
            assert check_golden(new, options).passed
            said = Engine.from_package(new, options).predict(flux, shown)
            assert said.novelty is not None
            np.testing.assert_allclose(said.novelty[:, 0], expected, atol=2e-3)
            if not gone:
                np.testing.assert_allclose(said.alpha, old.alpha, rtol=1e-4)
        assert np.mean(expected > novelty.threshold) < 0.1


def _areas(score: Callable[[Flux, npt.NDArray[np.bool_]], npt.NDArray[np.floating]], usual: SimulatedStamps):
    base = score(usual.flux, usual.valid)
    areas = {}
    for kind in KINDS:
        flux = np.where(usual.valid, kind(usual.flux), np.float32(0.0))
        areas[kind.__name__] = roc_area(score(flux, usual.valid), base)
    return areas


def test_unknown_kinds_with_a_tiny_untrained_model() -> None:
    """Even features at random see bad columns and a doughnut."""
    manifest = recipe("smoke", "0.0.1", title="x", record={"data": "none", "seed": 1})
    torch.manual_seed(1)
    network = build_network(manifest).eval()
    train, test = sample_stamps(3, 400), sample_stamps(4, 64)
    done, scoring, _ = trusted(manifest, network, train.flux, train.valid, None, data="simulated")

    @torch.inference_mode()
    def score(flux: Flux, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
        assert scoring.head is not None
        said = scoring(torch.from_numpy(flux), torch.from_numpy(valid), scoring.head.dropout_masks)
        return said["novelty"][:, 0].numpy()

    areas = _areas(score, test)
    print({name: round(area, 3) for name, area in areas.items()})
    assert areas["bad_columns"] > 0.7
    assert done.novelty is not None


@pytest.mark.slow
def test_unknown_kinds_with_the_default_model(model_file: Path, tmp_path: Path) -> None:
    train, test = sample_stamps(11, 1600), sample_stamps(12, 320)
    package = ModelPackage.open(model_file)
    new, _ = trusted_package(package, tmp_path / "x.morph", train.flux, train.valid, train.votes, data="x")
    engine = Engine.from_package(new, EngineOptions(device="cpu"))

    def score(flux: Flux, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
        novelty = engine.predict(flux, valid).novelty
        assert novelty is not None
        return novelty[:, 0]

    areas = _areas(score, test)
    print({name: round(area, 3) for name, area in areas.items()})
    # The encoder of the default model hardly looks at colours: its score
    # does not see bands in another order, as the page on fine-tuning says.
    areas.pop("swapped_bands")
    assert min(areas.values()) > 0.9
