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

"""Networks that say of every pixel what lies there."""

from __future__ import annotations

__all__ = ("TidalLogits", "TidesModule", "UNetEncoder")

from typing import NamedTuple

import torch
from torch import nn

from .architecture_spec import UNetArchitecture
from .blocks import BatchNorm, Distance, ResNetBlock
from .heads import TidesHead

_FIRST_LOGIT = -4.0
"""What a new network says of every pixel: that features are rare."""

_SMALLEST_SHARE = 1e-4
"""Share of the stamp under a mask that counts as none: two pixels."""


class UNetEncoder(nn.Module):
    """Residual maps of an image at ever coarser resolutions.

    Parameters
    ----------
    architecture
        What it is made of.
    channels
        Number of channels of its input.
    """

    def __init__(self, architecture: UNetArchitecture, channels: int) -> None:
        super().__init__()
        widths = architecture.widths
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False),
            BatchNorm(widths[0]),
            nn.ReLU(),
            Distance(),
        )
        stages = []
        for index, (depth, width) in enumerate(zip(architecture.depths, widths, strict=True)):
            before = widths[index - 1] if index else widths[0] + 1
            blocks = [ResNetBlock(before, width, 2 if index else 1)]
            blocks += [ResNetBlock(width, width, 1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.width = 2 * widths[-1]
        """Length of the vector that `summary` returns."""

    def maps(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps of an image ``[n, channels, s, s]``, with sides of
        half of its, a quarter, and so on.
        """
        maps = []
        current = self.stem(image)
        for stage in self.stages:
            current = stage(current)
            maps.append(current)
        return maps

    def summary(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return the coarsest map's mean and largest values, ``[n, w]``."""
        return torch.cat([maps[-1].mean(dim=(2, 3)), maps[-1].amax(dim=(2, 3))], dim=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the summary of images, as other encoders do."""
        return self.summary(self.maps(image))


class TidalLogits(NamedTuple):
    """What a `TidesModule` says, before the last function."""

    mask: torch.Tensor
    """Share of annotators who would mark a pixel, ``[n, plane, s, s]``."""

    presence: torch.Tensor
    """Whether a visible feature is there, ``[n, feature]``."""

    share: torch.Tensor | None
    """Part of a pixel's light that is a feature's, ``[n, feature, s, s]``,
    if the head gives it."""


class TidesModule(nn.Module):
    """Mask planes and presence, from the maps of a `UNetEncoder`.

    Parameters
    ----------
    head
        The planes.
    architecture
        What the encoder is made of.
    """

    def __init__(self, head: TidesHead, architecture: UNetArchitecture) -> None:
        super().__init__()
        widths, planes = architecture.widths, len(head.planes)
        self.merges = nn.ModuleList(
            _Merge(coarse, fine) for coarse, fine in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        # Each pixel of the finest map tells of four of the stamp's, as in
        # Shi et al. (2016, arXiv:1609.05158).
        self.mean = nn.Conv2d(widths[0], 4 * planes, 3, 1, 1)
        self.agreement = nn.Conv2d(widths[0], 4 * planes, 1)
        assert self.mean.bias is not None
        assert self.agreement.bias is not None
        nn.init.constant_(self.mean.bias, _FIRST_LOGIT)
        nn.init.zeros_(self.agreement.bias)
        self.presence = nn.Linear(2 * widths[-1] + planes, len(head.features))
        self.ranks = tuple(rank - 1 for rank in head.ranks or ())
        if self.ranks:
            self.ranked = nn.Linear(planes * len(self.ranks), len(head.features), bias=False)
            nn.init.zeros_(self.ranked.weight)
            self.ranked.requires_grad_(False)
        self.share: nn.Conv2d | None = None
        if head.shares:
            self.share = nn.Conv2d(widths[0], 4 * len(head.features), 3, 1, 1)
            assert self.share.bias is not None
            nn.init.constant_(self.share.bias, _FIRST_LOGIT)

    def pixels(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Return what is known of the finest map's pixels, ``[n, w, ...]``."""
        current = maps[-1]
        for merge, skip in zip(self.merges, maps[-2::-1], strict=True):
            current = merge(current, skip)
        return current

    def concentration(self, known: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of how much annotators agree, as the sum of
        a beta distribution's two parameters, ``[n, plane, s, s]``. Only
        training needs it.
        """
        return nn.functional.pixel_shuffle(self.agreement(known), 2)

    def forward(self, known: torch.Tensor, summary: torch.Tensor) -> TidalLogits:
        """Return the logits of masks, presence and shares.

        Parameters
        ----------
        known
            What `pixels` returned.
        summary
            Summary of the coarsest map, ``[n, w]``.
        """
        mask = nn.functional.pixel_shuffle(self.mean(known), 2)
        whole, ranked = self.signs(mask, summary)
        presence = self.presence(whole)
        if ranked is not None:
            presence = presence + self.ranked(ranked)
        share = None if self.share is None else nn.functional.pixel_shuffle(self.share(known), 2)
        return TidalLogits(mask, presence, share)

    def signs(self, mask: torch.Tensor, summary: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what presence is told from.

        Parameters
        ----------
        mask
            Logits of masks, ``[n, plane, s, s]``.
        summary
            Summary of the coarsest map, ``[n, w]``.

        Returns
        -------
        whole
            The summary and the logarithm of each mask's share of the stamp,
            ``[n, w + plane]``.
        ranked
            The logits of the head's ranks, ``[n, plane * rank]``, if it has
            any.
        """
        # A presence must not bend the masks, which have better labels.
        mask = mask.detach()
        marked = torch.sigmoid(mask).mean(dim=(2, 3))
        whole = torch.cat([summary, torch.log(marked + _SMALLEST_SHARE)], dim=1)
        if not self.ranks:
            return whole, None
        largest = mask.flatten(2).topk(self.ranks[-1] + 1, dim=2).values
        return whole, largest[:, :, list(self.ranks)].flatten(1)


class _Merge(nn.Module):
    """A coarse map brought to twice its side and joined to a finer one."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(coarse + fine, fine, 3, 1, 1, bias=False), BatchNorm(fine), nn.ReLU()
        )

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        larger = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        merged: torch.Tensor = self.body(torch.cat([larger, fine], dim=1))
        return merged
