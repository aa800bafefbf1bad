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

"""Beginning a training with the weights of a model that there is."""

from __future__ import annotations

__all__ = ("begun_from", "starting_from")

import logging
from collections.abc import Callable

import torch

from ..errors import ModelMismatchError
from ..model.manifest import Manifest
from ..model.network import MorphologyNetwork
from ..model.package import ModelPackage

_LOG = logging.getLogger(__name__)

_SEEN = ("bands", "pixels", "stamp_size", "field_of_view", "rendering", "architecture")
"""What must be the same for the weights to mean the same."""


def begun_from(package: ModelPackage | None) -> str:
    """Return a sentence for the record of the training, or nothing."""
    if package is None:
        return ""
    old = package.manifest
    return f" The training began with the weights of {old.name} {old.version} (model id {old.model_id})."


def starting_from(package: ModelPackage, manifest: Manifest) -> Callable[[MorphologyNetwork], None]:
    """Return what gives a new network the weights of a model.

    Parameters
    ----------
    package
        The model whose weights are taken.
    manifest
        The model that is to be trained. It may have heads that the other
        has not, which begin with new weights.

    Raises
    ------
    ModelMismatchError
        Raised if the two don't see the same, or not with the same encoder.
    """
    old = package.manifest
    differ = [name for name in _SEEN if getattr(old, name) != getattr(manifest, name)]
    if differ:
        raise ModelMismatchError(
            f"A training of {manifest.name} can't begin with {package.path}: that model has another"
            f" {' and another '.join(differ)}."
        )
    weights = {name: torch.from_numpy(array.copy()) for name, array in package.read_weights().items()}

    def prepare(network: MorphologyNetwork) -> None:
        own = network.state_dict()
        fitting = {
            name: weight
            for name, weight in weights.items()
            if name in own and own[name].shape == weight.shape
        }
        network.load_state_dict(fitting, strict=False)
        new = sorted(own.keys() - fitting.keys())
        _LOG.info(
            "Beginning with the weights of %s %s; new are %s.",
            old.name,
            old.version,
            ", ".join(new) or "none",
        )

    return prepare
