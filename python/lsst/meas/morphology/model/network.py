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

"""The one constructor of networks: a manifest in, a torch module out."""

from __future__ import annotations

__all__ = ("CONCENTRATION_FLOOR", "MorphologyNetwork", "build_network")

import torch
from torch import nn

from ..errors import ModelPackageError
from .architecture_spec import UNetArchitecture
from .calibrated import build_calibration
from .encoders import build_encoder
from .heads import ScalarHead, VotesHead
from .manifest import Manifest
from .novelty_score import build_novelty
from .rendering import build_renderer
from .segmentation import TidesModule, UNetEncoder
from .views import all_views, mean_of_views, mean_over_views

CONCENTRATION_FLOOR = 0.1
"""Smallest concentration, except under the activation ``sigmoid``."""

_LARGEST_EXPONENT = 7.0
"""Where the activation ``exponential`` ends, at a concentration of 1097."""

_MASK_SEED = 20251030
"""Seed of the dropout masks that a new network starts with."""


def build_network(manifest: Manifest) -> MorphologyNetwork:
    """Return a network as a manifest describes it, with new weights.

    Parameters
    ----------
    manifest
        The model's description.

    Returns
    -------
    network
        The module. Its weights are drawn from torch's random stream; load
        a package's with ``load_state_dict``.

    Raises
    ------
    MissingExtraError
        Raised if the encoder is timm's and timm is missing.
    ModelPackageError
        Raised if the encoder can't be built, or doesn't fit the heads.
    """
    return MorphologyNetwork(manifest)


class MorphologyNetwork(nn.Module):
    """Rendering, encoder, embedding and heads of one model.

    Parameters
    ----------
    manifest
        The model's description.
    """

    centre: torch.Tensor
    spread: torch.Tensor

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self.rendering = build_renderer(manifest)
        self.encoder, width = build_encoder(manifest.architecture, self.rendering.channels)
        self.projection: nn.Module = nn.Identity()
        features = width
        if manifest.embedding is not None:
            features = manifest.embedding.features
            if manifest.embedding.projection != "identity":
                self.projection = nn.Linear(width, features)
            elif features != width:
                raise ModelPackageError(
                    f"Model {manifest.name} {manifest.version} states {features} features; its encoder gives"
                    f" {width}."
                )
            centre = torch.tensor(manifest.embedding.centre or [0.0] * features)
            spread = torch.tensor(manifest.embedding.scale or [1.0] * features)
            # As with the rendering, the manifest holds these numbers.
            self.register_buffer("centre", centre, persistent=False)
            self.register_buffer("spread", spread, persistent=False)
        self.embeds = manifest.embedding is not None
        self.head = (
            _VotesModule(manifest.votes, features, manifest.tree.n_answers) if manifest.votes else None
        )
        self.calibration = build_calibration(manifest)
        self.classes = _ClassesModule(features, len(manifest.classes.names)) if manifest.classes else None
        self.scalar = _ScalarModule(manifest.scalar, features) if manifest.scalar else None
        self.tides = _tides(manifest)
        self.views = manifest.views or 1
        self.novelty = build_novelty(manifest, width, self.rendering.channels)
        self.outputs = tuple(manifest.outputs)

    def features(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return what the heads work from.

        Parameters
        ----------
        flux
            Pixels in the model's unit, of shape ``[n, b, s, s]``.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        features
            Of shape ``[n, f]``.
        """
        features: torch.Tensor = self.projection(self.encoded(flux, valid))
        return features

    def encoded(self, flux: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return what the encoder says, before the projection.

        Parameters
        ----------
        flux
            Pixels in the model's unit, of shape ``[n, b, s, s]``.
        valid
            Which pixels were measured, of the same shape.

        Returns
        -------
        encoded
            Of shape ``[n, w]``.
        """
        return self.encoded_picture(self.rendering(flux, valid))

    def encoded_picture(self, picture: torch.Tensor) -> torch.Tensor:
        """Return what the encoder says of rendered stamps, ``[n, w]``: the
        mean over the model's views; in training, of the stamps as they are.

        Parameters
        ----------
        picture
            What the rendering returned, ``[n, c, s, s]``.
        """
        views = 1 if self.training else self.views
        return mean_over_views(self.encoder(all_views(picture, views)), views)

    def segmented(
        self, flux: torch.Tensor, valid: torch.Tensor, views: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a model with tides knows of pixels and of the whole.

        Parameters
        ----------
        flux
            Pixels in the model's unit, of shape ``[n, b, s, s]``.
        valid
            Which pixels were measured, of the same shape.
        views
            Number of views of each stamp that are looked at.

        Returns
        -------
        known
            What the masks are made from, ``[views * n, w, s / 2, s / 2]``.
        encoded
            The encoder's vector, ``[views * n, w]``.
        """
        return self._segmented(all_views(self.rendering(flux, valid), views))

    def _segmented(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.tides is not None
        assert isinstance(self.encoder, UNetEncoder)
        maps = self.encoder.maps(picture)
        return self.tides.pixels(maps), self.encoder.summary(maps)

    def forward(
        self, flux: torch.Tensor, valid: torch.Tensor, dropout: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Measure a batch of stamps.

        Parameters
        ----------
        flux
            Pixels in the model's unit, of shape ``[n, b, s, s]``.
        valid
            Which pixels were measured, of the same shape.
        dropout
            Factors of the features for each posterior sample, of shape
            ``[t, f]``; those that belong to the model are its tensor
            ``head.dropout_masks``.

        Returns
        -------
        outputs
            ``alpha`` (Dirichlet concentrations, ``[n, t, a]``),
            ``embedding`` (``[n, f]``), ``classes`` (probabilities,
            ``[n, k]``), ``scalar`` and ``novelty`` (both ``[n, 1]``),
            ``mask`` (logits, ``[n, p, s, s]``), ``presence`` (logits,
            ``[n, f]``) and ``share`` (``[n, f, s, s]``), whichever the model
            has.
        """
        outputs = {}
        picture = self.rendering(flux, valid)
        if self.tides is None:
            encoded = self.encoded_picture(picture)
        else:
            known, encoded = self._segmented(all_views(picture, self.views))
            logits = self.tides(known, encoded)
            outputs["mask"] = mean_of_views(logits.mask, self.views)
            outputs["presence"] = mean_over_views(logits.presence, self.views)
            if logits.share is not None:
                outputs["share"] = mean_of_views(torch.sigmoid(logits.share), self.views)
            encoded = mean_over_views(encoded, self.views)
        features = self.projection(encoded)
        if self.head is not None:
            alpha = self.head(features, dropout)
            outputs["alpha"] = alpha if self.calibration is None else self.calibration(alpha, valid)
        if self.embeds:
            outputs["embedding"] = (features - self.centre) / self.spread
        if self.classes is not None:
            outputs["classes"] = self.classes(features)
        if self.scalar is not None:
            outputs["scalar"] = self.scalar(features)
        if self.novelty is not None:
            outputs["novelty"] = self.novelty(encoded, picture, valid)
        return {name: outputs[name] for name in self.outputs}


def _tides(manifest: Manifest) -> TidesModule | None:
    """Return the head of tides, if the model has one."""
    if manifest.tides is None:
        return None
    assert isinstance(manifest.architecture, UNetArchitecture)
    return TidesModule(manifest.tides, manifest.architecture)


class _VotesModule(nn.Module):
    """Concentrations from features, under each of several masks."""

    dropout_masks: torch.Tensor

    def __init__(self, head: VotesHead, features: int, answers: int) -> None:
        super().__init__()
        self.activation = head.activation
        self.bends = head.hidden != "identity"
        self.dropout = head.dropout
        self.linear = nn.Linear(features, answers)
        self.register_buffer("dropout_masks", _balanced_masks(head.samples, features, head.dropout))

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        """Return what is masked, for features ``[..., f]``."""
        return nn.functional.gelu(features) if self.bends else features

    def concentrations(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the concentrations for masked features ``[..., f]``."""
        logits = self.linear(hidden)
        if self.activation == "sigmoid":
            return 1.0 + 100.0 * torch.sigmoid(logits)
        if self.activation == "exponential":
            return CONCENTRATION_FLOOR + torch.exp(logits.clamp(max=_LARGEST_EXPONENT))
        return CONCENTRATION_FLOOR + nn.functional.softplus(logits)

    def forward(self, features: torch.Tensor, dropout: torch.Tensor) -> torch.Tensor:
        return self.concentrations(self.hidden(features).unsqueeze(1) * dropout.unsqueeze(0))


def _balanced_masks(samples: int, features: int, dropout: float) -> torch.Tensor:
    """Return masks ``[t, f]`` that drop each feature equally often.

    Drawn feature by feature without replacement, so that the masks' mean is
    one for each feature, which independent draws reach only on average.
    """
    dropped = round(samples * dropout)
    generator = torch.Generator().manual_seed(_MASK_SEED)
    masks = torch.full((samples, features), samples / max(samples - dropped, 1))
    for feature in range(features):
        masks[torch.randperm(samples, generator=generator)[:dropped], feature] = 0.0
    return masks


class _ClassesModule(nn.Module):
    """Probabilities of classes, without dropout, from features."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.linear(features), dim=-1)


class _ScalarModule(nn.Module):
    """A quantity, without dropout, from features."""

    def __init__(self, head: ScalarHead, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.unit_interval = head.activation == "sigmoid"

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.linear(features)
        return torch.sigmoid(value) if self.unit_interval else value
