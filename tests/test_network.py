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

"""Rendering and networks: shapes, independence, bad pixels, formats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsst.meas.morphology.errors import MissingExtraError
from lsst.meas.morphology.model.manifest import (
    AsinhRendering,
    ConvNetArchitecture,
    EmbeddingHead,
    FieldOfView,
    Manifest,
    ResNetArchitecture,
    TimmArchitecture,
    TrainingRecord,
    VotesHead,
)
from lsst.meas.morphology.model.network import CONCENTRATION_FLOOR, build_network
from lsst.meas.morphology.model.rendering import AsinhRenderer
from lsst.meas.morphology.questions.tree import QuestionTree

TREE = QuestionTree.load("rubin")
ENCODERS = {
    "convnext": ConvNetArchitecture(depths=(1, 1), widths=(8, 12)),
    "resnet": ResNetArchitecture(depths=(1, 2), widths=(8, 12)),
    "contrast": ResNetArchitecture(depths=(1, 1), widths=(8, 12), contrast=3, distance=True),
}


def make_manifest(**changes):
    values = {
        "name": "toy",
        "version": "1.0.0",
        "title": "Toy",
        "licence": "GPL-3.0-or-later",
        "purpose": "commissioning",
        "bands": ("g", "r", "i"),
        "optional_bands": ("g",),
        "stamp_size": 24,
        "field_of_view": FieldOfView(rule="fixed", pixel_arcsec=0.2),
        "rendering": AsinhRendering(softening=(10.0,) * 3 + (300.0,) * 3, scale=(0.25,) * 3 + (0.5,) * 3),
        "architecture": ENCODERS["resnet"],
        "votes": VotesHead(tree=TREE.to_dict(), samples=8, dropout=0.25),
        "embedding": EmbeddingHead(features=10),
        "training": TrainingRecord(data="none", seed=1),
    }
    return Manifest(**{**values, **changes})


def make_network(**changes):
    torch.manual_seed(3)
    return build_network(make_manifest(**changes)).eval()


def make_stamps(n, seed=0):
    rng = np.random.default_rng(seed)
    flux = rng.normal(0.0, 100.0, (n, 3, 24, 24)).astype(np.float32)
    return torch.from_numpy(flux), torch.from_numpy(rng.random(flux.shape) > 0.1)


def measure(network, flux, valid):
    with torch.inference_mode():
        return network(flux, valid, network.head.dropout_masks)


@pytest.mark.parametrize("kind", ENCODERS)
def test_outputs_have_the_promised_shapes(kind):
    network = make_network(architecture=ENCODERS[kind])
    outputs = measure(network, *make_stamps(5))
    assert set(outputs) == {"alpha", "embedding"}
    assert outputs["alpha"].shape == (5, 8, TREE.n_answers)
    assert outputs["embedding"].shape == (5, 10)
    assert outputs["alpha"].dtype == torch.float32
    assert bool((outputs["alpha"] > CONCENTRATION_FLOOR).all())


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_object_does_not_depend_on_its_batch(kind):
    network = make_network(architecture=ENCODERS[kind])
    flux, valid = make_stamps(6)
    together = measure(network, flux, valid)
    order = torch.tensor([3, 0, 5])
    apart = measure(network, flux[order], valid[order])
    for name in together:
        torch.testing.assert_close(together[name][order], apart[name], rtol=0, atol=1e-5)


def test_no_objects_give_no_rows():
    outputs = measure(make_network(), *make_stamps(0))
    assert outputs["alpha"].shape == (0, 8, TREE.n_answers)


def test_rendering_is_the_documented_formula():
    renderer = AsinhRenderer(AsinhRendering(softening=(10.0, 20.0, 300.0, 400.0), scale=(1, 2, 3, 4)), 2)
    flux = torch.tensor([-50.0, 7.0]).reshape(1, 2, 1, 1)
    valid = torch.tensor([True, True]).reshape(1, 2, 1, 1)
    expected = [np.arcsinh(-5.0), 2 * np.arcsinh(0.35), 3 * np.arcsinh(-1 / 6), 4 * np.arcsinh(7 / 400), 1, 1]
    np.testing.assert_allclose(renderer(flux, valid).flatten(), expected, rtol=1e-6)
    assert renderer.channels == 6


def test_rendering_without_validity():
    renderer = AsinhRenderer(AsinhRendering(softening=(1.0,), scale=(1.0,), validity_channel=False), 1)
    rendered = renderer(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.bool))
    assert rendered.shape == (1, 1, 2, 2)
    assert not rendered.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e35, 123.0])
def test_what_lies_under_invalid_pixels_does_not_matter(value):
    network = make_network()
    flux, valid = make_stamps(2)
    expected = measure(network, flux, valid)
    changed = measure(network, torch.where(valid, flux, torch.tensor(value)), valid)
    for name in expected:
        assert torch.equal(expected[name], changed[name])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_counts_as_invalid(value):
    network = make_network()
    flux, valid = make_stamps(2)
    valid[0, 1, 5, 5] = False
    expected = measure(network, flux, valid)
    flux[0, 1, 5, 5] = value
    valid[0, 1, 5, 5] = True
    assert torch.equal(expected["alpha"], measure(network, flux, valid)["alpha"])


def test_missing_bands_and_empty_stamps_give_finite_numbers():
    network = make_network()
    flux, valid = make_stamps(2)
    valid[0, 0] = False
    valid[1] = False
    outputs = measure(network, flux, valid)
    assert all(bool(torch.isfinite(value).all()) for value in outputs.values())


def test_dropout_masks_drop_every_feature_equally_often():
    masks = make_network().head.dropout_masks
    assert masks.shape == (8, 10)
    np.testing.assert_allclose(masks.mean(dim=0), 1.0)
    np.testing.assert_array_equal((masks == 0).sum(dim=0), 2)
    assert len({tuple(row.tolist()) for row in masks}) > 1


def test_the_head_is_linear_in_the_masked_features():
    network = make_network()
    flux, valid = make_stamps(3)
    with torch.inference_mode():
        hidden = torch.nn.functional.gelu(network.features(flux, valid)).numpy()
        alpha = measure(network, flux, valid)["alpha"].numpy()
    weight, bias = (p.detach().numpy() for p in (network.head.linear.weight, network.head.linear.bias))
    for k, mask in enumerate(network.head.dropout_masks.numpy()):
        logits = (hidden * mask) @ weight.T + bias
        np.testing.assert_allclose(alpha[:, k], 0.1 + np.log1p(np.exp(logits)), rtol=1e-5)


def test_concentrations_are_not_capped():
    network = make_network()
    with torch.no_grad():
        network.head.linear.bias += 500.0
    assert float(measure(network, *make_stamps(1))["alpha"].min()) > 400.0


def test_the_exponential_activation_is_the_documented_formula():
    head = VotesHead(tree=TREE.to_dict(), samples=2, dropout=0.5, activation="exponential")
    network = make_network(votes=head)
    flux, valid = make_stamps(3)
    alpha = measure(network, flux, valid)["alpha"].numpy()
    weight, bias = (p.detach().numpy() for p in (network.head.linear.weight, network.head.linear.bias))
    with torch.inference_mode():
        hidden = torch.nn.functional.gelu(network.features(flux, valid)).numpy()
    logits = (hidden[:, None] * network.head.dropout_masks.numpy()) @ weight.T + bias
    np.testing.assert_allclose(alpha, 0.1 + np.exp(logits), rtol=1e-5)
    with torch.no_grad():
        network.head.linear.bias += 100.0
    np.testing.assert_allclose(measure(network, flux, valid)["alpha"], 0.1 + np.exp(7.0), rtol=1e-5)


def test_local_contrast_sees_ripples_and_no_slopes():
    encoder = make_network(architecture=ENCODERS["contrast"]).encoder
    y, x = np.mgrid[:40, :40]
    slope = torch.from_numpy((3.0 * x + y).astype(np.float32))[None, None].repeat(1, 9, 1, 1)
    shown = encoder[0](slope)
    assert shown.shape == (1, 12, 40, 40)
    assert torch.equal(shown[:, :9], slope)
    np.testing.assert_allclose(shown[0, 9:, 4:-4, 4:-4], 0.0, atol=1e-3)
    ripple = slope.clone()
    ripple[0, 1, 19:22, 19:22] += 1.0
    added = (encoder[0](ripple) - shown)[0, 9:]
    assert float(added[1, 20, 20]) == pytest.approx(4.0 * (1.0 - 9.0 / 81.0), abs=1e-3)
    assert not added[[0, 2]].any()


def test_distance_is_measured_from_the_centre():
    encoder = make_network(architecture=ENCODERS["contrast"]).encoder
    shown = encoder[1](torch.ones(2, 12, 5, 5))
    assert shown.shape == (2, 13, 5, 5)
    assert torch.equal(shown[:, :12], torch.ones(2, 12, 5, 5))
    assert float(shown[1, 12, 2, 2]) == 0.0
    assert float(shown[0, 12, 4, 2]) == pytest.approx(2.0 / 5.0)
    assert float(shown[0, 12, 0, 0]) == pytest.approx(2.0 * np.sqrt(2.0) / 5.0)


def test_the_sigmoid_activation_runs_from_1_to_101():
    network = make_network(votes=VotesHead(tree=TREE.to_dict(), samples=2, dropout=0.5, activation="sigmoid"))
    alpha = measure(network, *make_stamps(4))["alpha"]
    assert 1.0 < float(alpha.min()) < float(alpha.max()) < 101.0


def test_the_embedding_is_centred_and_scaled_as_the_manifest_says():
    flux, valid = make_stamps(3)
    plain = measure(make_network(), flux, valid)
    head = EmbeddingHead(features=10, centre=(0.5,) * 10, scale=tuple(range(1, 11)))
    scaled = measure(make_network(embedding=head), flux, valid)
    expected = (plain["embedding"].numpy() - 0.5) / np.arange(1, 11)
    np.testing.assert_allclose(scaled["embedding"], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(plain["alpha"], scaled["alpha"])


@pytest.mark.parametrize("head", ["votes", "embedding"])
def test_either_head_may_be_missing(head):
    network = make_network(**{head: None})
    flux, valid = make_stamps(2)
    outputs = network(flux, valid, torch.ones(4, 10 if head == "votes" else 12))
    assert set(outputs) == {"alpha", "embedding"} - {"alpha" if head == "votes" else "embedding"}


def test_the_weights_hold_nothing_that_the_manifest_holds():
    names = set(make_network().state_dict())
    assert "head.dropout_masks" in names
    assert not {name for name in names if name.startswith(("rendering", "centre", "spread"))}


def test_a_stretch_of_fluxes_refuses_images():
    with pytest.raises(ValueError, match="rgb8"):
        make_manifest(pixels="rgb8")


def test_a_timm_encoder_without_timm_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"timm.*\[train\]"):
        make_network(architecture=TimmArchitecture(name="convnext_atto"))
