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

"""Encoders: from an image to a vector."""

from __future__ import annotations

__all__ = ("build_encoder",)

from typing import Any

import torch
from torch import nn

from ..errors import MissingExtraError, ModelPackageError
from .architecture_spec import (
    Architecture,
    ConvNetArchitecture,
    ResNetArchitecture,
    TimmArchitecture,
    UNetArchitecture,
)
from .blocks import BatchNorm, Distance, ResNetBlock
from .segmentation import UNetEncoder

_CONTRAST_GAIN = 4.0
"""Makes ripples about as large as the light that they are on."""


def build_encoder(architecture: Architecture, channels: int) -> tuple[nn.Module, int]:
    """Return an encoder with new weights.

    Parameters
    ----------
    architecture
        What it is made of.
    channels
        Number of channels of its input.

    Returns
    -------
    encoder
        A module from ``[n, channels, s, s]`` to ``[n, width]``.
    width
        Length of the vector.

    Raises
    ------
    MissingExtraError
        Raised if the encoder is timm's and timm is missing.
    ModelPackageError
        Raised if timm knows no such encoder.
    """
    match architecture:
        case ConvNetArchitecture():
            stages = _convnext_stages(architecture, channels)
        case ResNetArchitecture():
            stages = _resnet_stages(architecture, channels)
        case UNetArchitecture():
            unet = UNetEncoder(architecture, channels)
            return unet, unet.width
        case TimmArchitecture():
            return _timm_encoder(architecture, channels)
    width = architecture.widths[-1]
    if isinstance(architecture, ResNetArchitecture) and architecture.pooling == "zones":
        return nn.Sequential(*stages, _ZonePool(), nn.LayerNorm(3 * width)), 3 * width
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width)), width


def _timm_encoder(architecture: TimmArchitecture, channels: int) -> tuple[nn.Module, int]:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "train", f"build the encoder {architecture.name}") from error
    if not timm.is_model(architecture.name):
        raise ModelPackageError(
            f"timm {timm.__version__} knows no encoder {architecture.name!r}; another version may."
        )
    options: dict[str, Any] = dict(architecture.options or {})
    try:
        encoder = timm.create_model(
            architecture.name,
            pretrained=False,
            num_classes=0,
            in_chans=channels,
            **options,
        )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ModelPackageError(
            f"timm {timm.__version__} can't build the encoder {architecture.name!r} with the options"
            f" {architecture.options or 'of its own'}: {error}"
        ) from error
    # The length before the classifier, which a few encoders make longer
    # than their feature maps are deep.
    width: Any = getattr(encoder, "head_hidden_size", None) or encoder.num_features
    return encoder, int(width)


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
    stages: list[nn.Module] = []
    if architecture.contrast is not None:
        stages.append(_LocalContrast(architecture.contrast))
        channels += architecture.contrast
    if architecture.distance:
        stages.append(Distance())
        channels += 1
    stages += [nn.Conv2d(channels, before, 3, 2, 1, bias=False), BatchNorm(before), nn.ReLU()]
    for index, (depth, width) in enumerate(zip(architecture.depths, architecture.widths, strict=True)):
        for block in range(depth):
            stages.append(ResNetBlock(before, width, 2 if index and not block else 1))
            before = width
    return stages


class _LocalContrast(nn.Module):
    """Adds to an image its first channels, less their surroundings.

    Arms, bars and clumps are small ripples on a galaxy's light. The mean
    over 3 pixels less that over 9 shows them by themselves.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        shown = image[:, : self.count]
        # One axis after the other takes a fraction of the time.
        near, far = (_mean(_mean(shown, (1, side)), (side, 1)) for side in (3, 9))
        return torch.cat([image, _CONTRAST_GAIN * (near - far)], dim=1)


class _ZonePool(nn.Module):
    """Means inside and outside the central half, and the largest value.

    The object is in the central half, its surroundings outside: what is
    seen in both, such as stars and clumps, means different things. A mean
    over all loses what is seen once, such as a companion.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        size = maps.shape[-1]
        axis = (torch.arange(size, device=maps.device) - (size - 1) / 2.0).abs() < size / 4.0
        inside = (axis[:, None] & axis).to(maps.dtype)
        count = inside.sum()
        within = (maps * inside).sum(dim=(2, 3))
        around = maps.sum(dim=(2, 3)) - within
        return torch.cat([within / count, around / (size * size - count), maps.amax(dim=(2, 3))], dim=1)


def _mean(image: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    """Return the mean over a rectangle, of the pixels that there are."""
    padding = (sides[0] // 2, sides[1] // 2)
    return nn.functional.avg_pool2d(image, sides, 1, padding, count_include_pad=False)
