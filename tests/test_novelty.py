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

from lsst.meas.morphology.errors import MorphologyError
from lsst.meas.morphology.inference.engine import Engine, EngineOptions
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.simulation.stamps import SimulatedStamps, sample_stamps
from lsst.meas.morphology.training.held_out import roc_area
from lsst.meas.morphology.training.novelty import fit_novelty
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
    """With one prototype the score is the textbook's distance."""
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(6, 6))
    train = rng.normal(size=(20000, 6)) @ mixing.T + 3.0
    fit = fit_novelty(train, data="normal", prototypes=1)
    test = rng.normal(size=(500, 6)) @ mixing.T + 3.0
    inverse = np.linalg.inv(np.cov(train.T))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", test - train.mean(0), inverse, test - train.mean(0)) / 6.0)
    np.testing.assert_allclose(fit.score(test), expected, rtol=0.05)
    assert np.mean(fit.score(rng.normal(size=(20000, 6)) @ mixing.T + 3.0) > fit.record.threshold) < 0.02


def test_prototypes_follow_clusters() -> None:
    rng = np.random.default_rng(2)
    centres = 20.0 * rng.normal(size=(4, 5))
    train = centres[rng.integers(0, 4, 2000)] + rng.normal(size=(2000, 5))
    fit = fit_novelty(train, data="clusters", prototypes=8)
    between = centres.mean(axis=0, keepdims=True)
    assert fit.score(between)[0] > fit.record.threshold
    assert (fit.score(centres) < fit.record.threshold).all()
    again = fit_novelty(train, data="clusters", prototypes=8)
    np.testing.assert_array_equal(again.prototypes, fit.prototypes)
    with pytest.raises(MorphologyError, match="too few"):
        fit_novelty(train[:10], data="clusters")


def test_a_program_scores(tmp_path: Path, tiny_package: Path) -> None:
    """Both backends give what the fit gives; the rest does not change."""
    package = ModelPackage.open(tiny_package)
    rng = np.random.default_rng(6)
    flux = rng.normal(0.0, 100.0, (96, 3, 16, 16)).astype(np.float32)
    valid = rng.random(flux.shape) > 0.05
    new, fit = trusted_package(package, tmp_path / "new.morph", flux, valid, None, data="noise")
    assert fit is None
    assert new.manifest.calibration is None
    novelty = new.manifest.novelty
    assert novelty is not None
    weights = {name: torch.from_numpy(array) for name, array in package.read_weights().items()}
    network = build_network(package.manifest)
    network.load_state_dict(weights)
    with torch.inference_mode():
        encoded = network.eval().encoded(torch.from_numpy(flux), torch.from_numpy(valid)).numpy()
    expected = fit_novelty(encoded, data="noise").score(encoded)
    old = Engine.from_package(package, EngineOptions(device="cpu")).predict(flux, valid)
    assert old.novelty is None
    for backend in ("onnx", "torch"):
        options = EngineOptions(backend=backend, device="cpu")
        assert check_golden(new, options).passed
        said = Engine.from_package(new, options).predict(flux, valid)
        assert said.novelty is not None
        np.testing.assert_allclose(said.novelty[:, 0], expected, atol=2e-3)
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
    train, test = sample_stamps(3, 192), sample_stamps(4, 64)
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
