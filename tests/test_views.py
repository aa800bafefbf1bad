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

"""Views of a stamp, turned and mirrored, and the means of what is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lsst.meas.morphology.model.manifest import TrainingRecord
from lsst.meas.morphology.model.network import MorphologyNetwork, build_network
from lsst.meas.morphology.model.views import all_views, mean_of_views, mean_over_views
from lsst.meas.morphology.training.recipe import recipe

SMOKE = recipe("tides_smoke", "0.0.1", title="Smoke", record=TrainingRecord(data="None.", seed=5))


def make_network(views: int | None) -> MorphologyNetwork:
    torch.manual_seed(3)
    return build_network(SMOKE.model_copy(update={"views": views})).eval()


def answers(network: MorphologyNetwork, flux: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        result: dict[str, torch.Tensor] = network(
            flux, torch.ones_like(flux, dtype=torch.bool), torch.ones(1, 1)
        )
    return result


@pytest.fixture
def flux() -> torch.Tensor:
    return 100.0 * torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_views_are_different_and_turned_back(count: int) -> None:
    images = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    views = all_views(images, count)
    assert views.shape == (2 * count, 3, 4, 4)
    assert torch.equal(views[:2], images)
    assert len({view.numpy().tobytes() for view in views[::2]}) == count
    torch.testing.assert_close(mean_of_views(views, count), images)
    means = mean_over_views(views.mean(dim=(2, 3)), count)
    torch.testing.assert_close(means, images.mean(dim=(2, 3)))


def test_all_views_are_those_of_numpy() -> None:
    image = np.arange(16.0).reshape(4, 4)
    expected = {np.rot90(part, k).tobytes() for part in (image, image.T) for k in range(4)}
    views = all_views(torch.from_numpy(image)[None, None], 8)
    assert {view.contiguous().numpy().tobytes() for view in views[:, 0]} == expected


def test_with_all_views_answers_turn_with_the_stamp(flux: torch.Tensor) -> None:
    network = make_network(8)
    straight, turned = answers(network, flux), answers(network, flux.rot90(1, (-2, -1)))
    for name in ("mask", "share"):
        torch.testing.assert_close(turned[name], straight[name].rot90(1, (-2, -1)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned["presence"], straight["presence"], rtol=1e-4, atol=1e-5)
    alone = make_network(None)
    one, other = answers(alone, flux), answers(alone, flux.rot90(1, (-2, -1)))
    assert not torch.allclose(other["mask"], one["mask"].rot90(1, (-2, -1)), rtol=1e-3)


def test_means_over_views_are_means_by_hand(flux: torch.Tensor) -> None:
    alone, both = make_network(None), make_network(2)
    upside_down = answers(alone, flux.flip(-2))
    straight, mean = answers(alone, flux), answers(both, flux)
    for name in ("mask", "share"):
        torch.testing.assert_close(mean[name], (straight[name] + upside_down[name].flip(-2)) / 2.0)
    torch.testing.assert_close(mean["presence"], (straight["presence"] + upside_down["presence"]) / 2.0)
    assert 0.0 <= mean["share"].min() <= mean["share"].max() <= 1.0


def test_encodings_of_views_are_averaged() -> None:
    manifest = recipe("smoke", "0.0.1", title="Smoke", record=TrainingRecord(data="None.", seed=5))
    torch.manual_seed(4)
    network = build_network(manifest).eval()
    flux = 100.0 * torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    valid = torch.rand(flux.shape, generator=torch.Generator().manual_seed(2)) > 0.1
    with torch.inference_mode():
        both = network.encoded(flux, valid)
        network.views = 1
        straight, mirrored = network.encoded(flux, valid), network.encoded(flux.flip(-2), valid.flip(-2))
    torch.testing.assert_close(both, (straight + mirrored) / 2.0)
    assert not torch.allclose(straight, mirrored)
    # Training shows one view of each stamp, whatever the model does.
    network.views = 2
    network.train()
    assert network.encoded(flux, valid).shape == straight.shape


@pytest.mark.parametrize("n", [0, 1])
def test_few_stamps_have_views_too(n: int) -> None:
    shapes: dict[str, tuple[Any, ...]] = {
        name: tuple(v.shape) for name, v in answers(make_network(4), torch.zeros(n, 3, 32, 32)).items()
    }
    assert shapes == {"mask": (n, 5, 32, 32), "presence": (n, 4), "share": (n, 4, 32, 32)}
