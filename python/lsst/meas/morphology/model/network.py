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

from lsst.meas.morphology.errors import MissingExtraError
from lsst.meas.morphology.model.manifest import (
    ConvNetArchitecture,
    Manifest,
    ResNetArchitecture,
    TimmArchitecture,
    VotesHead,
)
from lsst.meas.morphology.model.rendering import build_renderer

CONCENTRATION_FLOOR = 0.1
"""Smallest concentration under the activation ``softplus``."""

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
        self.encoder, width = _build_encoder(manifest.architecture, self.rendering.channels)
        self.projection: nn.Module = nn.Identity()
        features = width
        if manifest.embedding is not None:
            features = manifest.embedding.features
            self.projection = nn.Linear(width, features)
            centre = torch.tensor(manifest.embedding.centre or [0.0] * features)
            spread = torch.tensor(manifest.embedding.scale or [1.0] * features)
            # As with the rendering, the manifest holds these numbers.
            self.register_buffer("centre", centre, persistent=False)
            self.register_buffer("spread", spread, persistent=False)
        self.embeds = manifest.embedding is not None
        self.head = (
            _VotesModule(manifest.votes, features, manifest.tree.n_answers) if manifest.votes else None
        )

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
        features: torch.Tensor = self.projection(self.encoder(self.rendering(flux, valid)))
        return features

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
            ``alpha`` (Dirichlet concentrations, ``[n, t, a]``) and
            ``embedding`` (``[n, f]``), whichever the model has.
        """
        features = self.features(flux, valid)
        outputs = {}
        if self.head is not None:
            outputs["alpha"] = self.head(features, dropout)
        if self.embeds:
            outputs["embedding"] = (features - self.centre) / self.spread
        return outputs


class _VotesModule(nn.Module):
    """Concentrations from features, under each of several masks."""

    dropout_masks: torch.Tensor

    def __init__(self, head: VotesHead, features: int, answers: int) -> None:
        super().__init__()
        self.activation = head.activation
        self.dropout = head.dropout
        self.linear = nn.Linear(features, answers)
        self.register_buffer("dropout_masks", _balanced_masks(head.samples, features, head.dropout))

    def concentrations(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the concentrations for masked features ``[..., f]``."""
        logits = self.linear(hidden)
        if self.activation == "sigmoid":
            return 1.0 + 100.0 * torch.sigmoid(logits)
        return CONCENTRATION_FLOOR + nn.functional.softplus(logits)

    def forward(self, features: torch.Tensor, dropout: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.gelu(features)
        return self.concentrations(hidden.unsqueeze(1) * dropout.unsqueeze(0))


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


def _build_encoder(
    architecture: ConvNetArchitecture | ResNetArchitecture | TimmArchitecture, channels: int
) -> tuple[nn.Module, int]:
    """Return an encoder from ``channels`` to a vector, and its length."""
    match architecture:
        case ConvNetArchitecture():
            stages = _convnext_stages(architecture, channels)
        case ResNetArchitecture():
            stages = _resnet_stages(architecture, channels)
        case TimmArchitecture():
            return _timm_encoder(architecture, channels)
    width = architecture.widths[-1]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width)), width


def _timm_encoder(architecture: TimmArchitecture, channels: int) -> tuple[nn.Module, int]:
    try:
        import timm  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingExtraError("timm", "train", f"build the encoder {architecture.name}") from error
    encoder = timm.create_model(architecture.name, pretrained=False, num_classes=0, in_chans=channels)
    return encoder, int(encoder.num_features)


def _convnext_stages(architecture: ConvNetArchitecture, channels: int) -> list[nn.Module]:
    """Return stages in the manner of Liu et al. (2022, arXiv:2201.03545)."""
    widths = architecture.widths
    stages: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], architecture.patch, architecture.patch),
        _ChannelNorm(widths[0]),
    ]
    for index, (depth, width) in enumerate(zip(architecture.depths, widths, strict=True)):
        if index:
            before = widths[index - 1]
            stages += [_ChannelNorm(before), nn.Conv2d(before, width, 2, 2)]
        stages += [_ConvNeXtBlock(width, architecture.kernel, architecture.expansion) for _ in range(depth)]
    return stages


class _ChannelNorm(nn.Module):
    """Layer normalisation over the channels of an image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(image.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


class _ConvNeXtBlock(nn.Module):
    """Depthwise convolution and a small perceptron, around a shortcut."""

    def __init__(self, width: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width),
            _ChannelNorm(width),
            nn.Conv2d(width, expansion * width, 1),
            nn.GELU(),
            nn.Conv2d(expansion * width, width, 1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = image + self.residual(image)
        return out


def _resnet_stages(architecture: ResNetArchitecture, channels: int) -> list[nn.Module]:
    """Return stages in the manner of He et al. (2015, arXiv:1512.03385)."""
    before = architecture.widths[0]
    stages: list[nn.Module] = [
        nn.Conv2d(channels, before, 3, 2, 1, bias=False),
        _BatchNorm(before),
        nn.ReLU(),
    ]
    for index, (depth, width) in enumerate(zip(architecture.depths, architecture.widths, strict=True)):
        for block in range(depth):
            stages.append(_ResNetBlock(before, width, 2 if index and not block else 1))
            before = width
    return stages


class _BatchNorm(nn.Module):
    """Batch normalisation that keeps no count of batches as a weight.

    In inference it is a fixed affine map, so that an object's result does
    not depend on its batch.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(
            image, self.running_mean, self.running_var, self.weight, self.bias, training=self.training
        )


class _ResNetBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            _BatchNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            _BatchNorm(width),
        )
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride)] if stride > 1 else []
        if stride > 1 or before != width:
            shortcut += [nn.Conv2d(before, width, 1, bias=False), _BatchNorm(width)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.residual(image) + self.shortcut(image))
