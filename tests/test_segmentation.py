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

"""Networks that mark pixels: rendering, shapes, independence, packages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lsst.meas.morphology.errors import ModelPackageError
from lsst.meas.morphology.inference.engine import Engine
from lsst.meas.morphology.inference.golden import check_golden
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.faint_rendering import SurfaceBrightnessRenderer
from lsst.meas.morphology.model.manifest import (
    EmbeddingHead,
    FieldOfView,
    Manifest,
    SurfaceBrightnessRendering,
    TidesHead,
    TrainingRecord,
    UNetArchitecture,
)
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.model.shipped import find_model
from lsst.meas.morphology.training.export import export_package

PLANES = ("tail", "stream", "shell", "debris", "host")
RENDERING = {"softening": (5.0, 40.0), "block": (4, 1), "scale": (0.3, 0.5)}


def manifest(**changes: Any) -> Manifest:
    parts: dict[str, Any] = {
        "name": "tiny_tides",
        "version": "1.0.0",
        "title": "Tiny",
        "licence": "CC0-1.0",
        "purpose": "commissioning",
        "bands": ("g", "r", "i"),
        "optional_bands": ("g", "i"),
        "pixels": "nJy/arcsec2",
        "stamp_size": 32,
        "field_of_view": FieldOfView(rule="radius", multiple=4.5, min_arcsec=51.2, max_arcsec=204.8),
        "rendering": SurfaceBrightnessRendering(**RENDERING),
        "architecture": UNetArchitecture(depths=(1, 1, 2), widths=(4, 8, 12)),
        "tides": TidesHead(planes=PLANES),
        "training": TrainingRecord(data="none", seed=1),
    }
    return Manifest.model_validate({**parts, **changes})


def stamps(n: int = 4, size: int = 32, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    flux = (rng.standard_t(2, (n, 3, size, size)) * 30.0).astype(np.float32)
    return flux, rng.random(flux.shape) > 0.1


def network(described: Manifest) -> Any:
    torch.manual_seed(3)
    net = build_network(described).eval()
    # New presences have no bias, and batch norms would do nothing.
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0.0, 0.1)
    return net


# Rendering


def test_blocks_show_the_mean_of_their_measured_pixels() -> None:
    flux, valid = stamps(2, 8)
    valid[0, 0, :4, :4] = False
    flux[1, 1, 5, 5] = np.inf
    flux[1, 2, 0, 0] = np.nan
    renderer = SurfaceBrightnessRenderer(SurfaceBrightnessRendering(**RENDERING), 3)
    shown = renderer(torch.from_numpy(flux), torch.from_numpy(valid)).numpy()
    assert shown.shape == (2, renderer.channels, 8, 8)
    measured = valid & np.isfinite(flux)
    for n in range(2):
        for band in range(3):
            for y in range(8):
                for x in range(8):
                    rows, columns = slice(y // 4 * 4, y // 4 * 4 + 4), slice(x // 4 * 4, x // 4 * 4 + 4)
                    inside = flux[n, band, rows, columns][measured[n, band, rows, columns]].astype(float)
                    mean = inside.mean() if len(inside) else 0.0
                    assert shown[n, band, y, x] == pytest.approx(0.3 * np.arcsinh(mean / 5.0), abs=1e-4)
    single = np.where(measured, flux, 0.0).astype(float)
    np.testing.assert_allclose(shown[:, 3:6], 0.5 * np.arcsinh(single / 40.0), atol=1e-5)
    np.testing.assert_array_equal(shown[:, 6:], measured)


def test_a_missing_band_is_empty_sky() -> None:
    flux, valid = stamps()
    valid[:, 0] = False
    renderer = SurfaceBrightnessRenderer(SurfaceBrightnessRendering(**RENDERING), 3)
    shown = renderer(torch.from_numpy(flux), torch.from_numpy(valid))
    assert not shown[:, [0, 3, 6]].any()
    assert bool(shown[:, [1, 4, 7]].any())


# Manifests


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stamp_size": 36}, "stamp_size 36 is no multiple of 8"),
        ({"rendering": {"kind": "surface_brightness", "softening": [1.0], "block": [3], "scale": [1.0]}},
         "no multiple of the block 3"),
        ({"pixels": "nJy"}, "takes pixels 'nJy/arcsec2'"),
        ({"rendering": {"kind": "surface_brightness", "softening": [1.0], "block": [1, 1], "scale": [1.0]}},
         "different lengths"),
        ({"architecture": {"kind": "convnext", "depths": [1], "widths": [4]}}, "tides need the architecture"),
        ({"tides": {"planes": ["host"]}}, "no plane but the host's"),
        ({"tides": {"planes": ["tail", "tail"]}}, "named twice"),
        ({"tides": {"planes": ["tail"], "threshold": {"shell": 0.5}}}, "threshold names the planes"),
        ({"tides": {"planes": ["tail"], "mask_threshold": {"tail": 1.5}}}, "mask_threshold.tail"),
        ({"architecture": {"kind": "unet", "depths": [1, 1, 1], "widths": [4, 4]}}, "3 depths for 2 widths"),
        ({"tides": None}, "no head"),
    ],
)  # fmt: skip
def test_refusals(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        manifest(**changes)
    assert words in str(caught.value)


def test_numbers_of_the_planes_are_kept_and_not_written_without() -> None:
    assert "threshold" not in manifest().to_json().decode()
    head = TidesHead(
        planes=PLANES, threshold={"tail": 0.3}, flux_scale={"shell": 1.1}, flux_error={"shell": 0.2}
    )
    again = Manifest.from_json(manifest(tides=head).to_json())
    assert again.tides == head
    assert again.tides.features == PLANES[:4]
    assert again.model_id != manifest().model_id


# Networks


def test_outputs_are_those_of_the_manifest() -> None:
    described = manifest(embedding=EmbeddingHead(features=6))
    flux, valid = map(torch.from_numpy, stamps())
    with torch.inference_mode():
        outputs = network(described)(flux, valid, torch.ones(1, 1))
    assert {name: tuple(value.shape[1:]) for name, value in outputs.items()} == described.outputs
    assert list(outputs) == ["embedding", "mask", "presence"]
    assert described.outputs["mask"] == (5, 32, 32)
    assert described.outputs["presence"] == (4,)


def test_a_new_network_says_that_features_are_rare() -> None:
    flux, valid = map(torch.from_numpy, stamps())
    with torch.inference_mode():
        mask = network(manifest())(flux, valid, torch.ones(1, 1))["mask"]
    assert torch.sigmoid(mask).mean() < 0.1


def test_a_stamp_does_not_depend_on_its_batch() -> None:
    net = network(manifest())
    flux, valid = map(torch.from_numpy, stamps())
    with torch.inference_mode():
        together = net(flux, valid, torch.ones(1, 1))
        for k in range(4):
            alone = net(flux[k : k + 1], valid[k : k + 1], torch.ones(1, 1))
            for name, value in alone.items():
                torch.testing.assert_close(value[0], together[name][k], rtol=1e-4, atol=1e-5)


def test_values_of_unmeasured_pixels_do_not_matter() -> None:
    net = network(manifest())
    flux, valid = stamps()
    other = np.where(valid, flux, np.float32(np.nan))
    with torch.inference_mode():
        one = net(torch.from_numpy(flux), torch.from_numpy(valid), torch.ones(1, 1))
        two = net(torch.from_numpy(other), torch.from_numpy(valid), torch.ones(1, 1))
    for name, value in one.items():
        assert torch.equal(value, two[name])


def test_a_mask_lies_where_the_light_is() -> None:
    """A change of one pixel changes the logits around it most."""
    net = network(manifest())
    flux, valid = np.zeros((1, 3, 32, 32), np.float32), np.ones((1, 3, 32, 32), np.bool_)
    lit = flux.copy()
    lit[0, :, 22, 5] = 3000.0
    with torch.inference_mode():
        masks = [
            net(torch.from_numpy(f), torch.from_numpy(valid), torch.ones(1, 1))["mask"] for f in (flux, lit)
        ]
    change = (masks[1] - masks[0]).abs().sum(dim=(0, 1)).numpy()
    y, x = np.unravel_index(change.argmax(), change.shape)
    assert abs(y - 22) <= 3
    assert abs(x - 5) <= 3


def test_a_presence_does_not_bend_the_masks() -> None:
    net = network(manifest()).train()
    flux, valid = map(torch.from_numpy, stamps())
    net.tides(*net.segmented(flux, valid))[1].sum().backward()
    assert net.tides.mean.weight.grad is None
    assert bool((net.encoder.stages[0][0].residual[0].weight.grad != 0).any())


def test_packages_give_the_same_on_both_backends(tmp_path: Any) -> None:
    described = manifest()
    net = network(described)
    flux, valid = stamps(5)
    package = export_package(tmp_path / "tiny.morph", described, net, flux[:3], valid[:3], "A card.")
    for backend in ("onnx", "torch"):
        options = EngineOptions(backend=backend, device="cpu", batch_size=2)
        assert check_golden(package, options).passed
        found = Engine.from_package(package, options).predict(flux, valid)
        with torch.inference_mode():
            expected = net(torch.from_numpy(flux), torch.from_numpy(valid), torch.ones(1, 1))
        np.testing.assert_allclose(found.mask, expected["mask"].numpy(), atol=1e-4)
        np.testing.assert_allclose(found.presence, expected["presence"].numpy(), atol=1e-4)
        assert found.alpha is None
    assert Engine.from_package(package, options).predict(flux[:0], valid[:0]).mask.shape == (0, 5, 32, 32)


def test_golden_masks_are_looked_at(tmp_path: Any) -> None:
    """A package whose golden masks are of another network is no good."""
    described = manifest()
    flux, valid = stamps(3)
    net = network(described)
    net.tides.mean.bias.data += 1.0
    package = export_package(tmp_path / "tiny.morph", described, net, flux, valid, "A card.")
    assert package.golden()["mask"].shape == (3, 5, 32, 32)
    golden = package.golden()
    golden["mask"][1, 2, 3, 4] += 0.01
    object.__setattr__(package, "golden", lambda: golden)
    assert not check_golden(package, EngineOptions(backend="onnx", device="cpu")).passed


def test_a_tree_is_not_to_be_had() -> None:
    with pytest.raises(ModelPackageError, match="no votes"):
        _ = manifest().tree


# The model that ships with the code


@pytest.fixture(scope="module")
def shipped() -> ModelPackage:
    return ModelPackage.open(str(find_model("tides")))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_the_shipped_model_gives_its_golden_outputs(shipped: ModelPackage, backend: str) -> None:
    assert check_golden(shipped, EngineOptions(backend=backend, device="cpu")).passed


def test_the_shipped_model_is_small_and_says_what_it_is(shipped: ModelPackage) -> None:
    assert len(shipped.to_bytes()) <= 8 * 1024 * 1024
    assert shipped.manifest.tides.planes == PLANES
    assert shipped.manifest.field_of_view.multiple * 3 >= 12
    assert "not for science" in shipped.card()
    golden = shipped.golden()
    assert not golden["valid"][-1, [0, 2]].any()


def test_the_shipped_model_marks_turned_stamps_alike(shipped: ModelPackage) -> None:
    engine = Engine.from_package(shipped, EngineOptions(backend="onnx", device="cpu"))
    golden = shipped.golden()
    flux, valid = golden["flux"], golden["valid"]
    plain = engine.predict(flux, valid)
    turned = engine.predict(np.rot90(flux, 1, (2, 3)), np.rot90(valid, 1, (2, 3)))
    share = 1.0 / (1.0 + np.exp(-plain.mask))
    back = 1.0 / (1.0 + np.exp(-np.rot90(turned.mask, -1, (2, 3))))
    assert share.max() > 0.9
    assert np.abs(share - back).mean() < 0.02


def test_the_shipped_model_sees_nothing_in_an_empty_sky(shipped: ModelPackage) -> None:
    engine = Engine.from_package(shipped, EngineOptions(backend="onnx", device="cpu"))
    size = shipped.manifest.stamp_size
    flux = np.random.default_rng(1).normal(0.0, 15.0, (2, 3, size, size)).astype(np.float32)
    found = engine.predict(flux, np.ones(flux.shape, np.bool_))
    assert (found.mask > 0.0)[:, :4].mean() < 0.002
    nothing = engine.predict(np.full_like(flux, np.nan), np.zeros(flux.shape, np.bool_))
    assert np.isfinite(nothing.mask).all()
    assert np.isfinite(nothing.presence).all()
