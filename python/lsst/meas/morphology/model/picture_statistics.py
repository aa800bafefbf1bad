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

"""A few numbers of a picture that its encoder has no need to look at."""

from __future__ import annotations

__all__ = ("PictureStatistics",)

import itertools

import torch
from torch import nn

_APERTURES = (0.03, 0.08, 0.2, 10.0)
"""Widths (sigma) of the weights about the centre, over the stamp's side; the
widest takes in all of it."""

_SMALL = 1e-4
"""Ripples that are nothing; the picture's channels are of order one."""

_CLIP = 3.0
"""A pixel of a line counts at most as often as the mean pixel."""

_SHORT = 0.03
"""How far chance makes a line stand out from its neighbours."""


class PictureStatistics(nn.Module):
    """Brightness, texture, lines and likeness of a picture's channels.

    An encoder keeps what answers the questions. It may be blind to colours
    in the wrong order, to a line that crosses the stamp, or to channels
    that do not lie on one another, all of which show in these numbers:

    - of each channel the mean about the centre, in four apertures. Channels
      are stretched nearly as a logarithm, so colours are differences of
      these;
    - of each channel the centroid of the light about the centre;
    - of each channel the logarithm of its ripples on three scales, in the
      two wider apertures;
    - of each channel how far its columns and its rows stand out from those
      beside them, at most and on average;
    - of each pair of channels the correlation of their ripples, on two
      scales.

    Most are taken from means of 2 x 2 and 4 x 4 pixels, which makes them
    cheap.

    Parameters
    ----------
    channels
        Number of channels that are looked at, the first ones.
    size
        Side of the picture in pixels, at least 12.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.channels = channels
        pairs = list(itertools.combinations(range(channels), 2))
        self.first, self.second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        self.width = 16 * channels + 4 * len(pairs)
        # These numbers follow from the size, so they are no weights.
        for name, weights in {
            "light": _apertures(size // 2),
            "fine": _apertures(size, 1, 0)[:, 2:],
            "medium": _apertures(size // 2, 1, 1)[:, 2:],
            "coarse": _apertures(size // 4, 1, 1)[:, 2:],
            "axis": _axis(size // 2),
        }.items():
            self.register_buffer(name, weights, persistent=False)

    light: torch.Tensor
    fine: torch.Tensor
    medium: torch.Tensor
    coarse: torch.Tensor
    axis: torch.Tensor

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Return the statistics ``[n, width]`` of ``[n, c, s, s]``."""
        shown = picture[:, : self.channels]
        half = nn.functional.avg_pool2d(shown, 2)
        quarter = nn.functional.avg_pool2d(half, 2)
        across, along = _bends(half)
        medium, coarse = across + along, torch.add(*_bends(quarter))
        steps = shown[..., 1:, 1:] - shown[..., :-1, :-1]
        parts = [
            half.flatten(2) @ self.light,
            self._centroid(half),
            torch.log(steps.abs().flatten(2) @ self.fine + _SMALL),
            torch.log(medium.abs().flatten(2) @ self.medium + _SMALL),
            torch.log(coarse.abs().flatten(2) @ self.coarse + _SMALL),
            _lines(across, -2),
            _lines(along, -1),
        ]
        if self.first:
            parts += [self._likeness(medium, self.medium), self._likeness(coarse, self.coarse)]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def _centroid(self, half: torch.Tensor) -> torch.Tensor:
        """Return where the light about the centre is, ``[n, c, 2]``."""
        light = half.clamp(min=0.0) * self.light[:, 1].view(half.shape[-2:])
        total = light.sum(dim=(2, 3)) + 1e-5
        return torch.stack([(light.sum(dim=dim) @ self.axis) / total for dim in (2, 3)], dim=-1)

    def _likeness(self, ripples: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return correlations of channels, ``[n, pair, 2]``."""
        flat = ripples.flatten(2)
        power = flat.square() @ weights
        product = (flat[:, self.first] * flat[:, self.second]) @ weights
        return product / torch.sqrt(power[:, self.first] * power[:, self.second] + _SMALL**3)


def _axis(size: int) -> torch.Tensor:
    """Return the pixels' distances from the centre, over the side."""
    return (torch.arange(size) - (size - 1) / 2.0) / size


def _apertures(size: int, before: int = 0, after: int = 0) -> torch.Tensor:
    """Return weights ``[pixel, aperture]`` that sum to one.

    Parameters
    ----------
    size
        Side of the picture.
    before, after
        Numbers of rows, and of columns, that it lacks at either end.
    """
    axis = _axis(size)[before : size - after]
    lines = [torch.exp(-0.5 * (axis / width).square()) for width in _APERTURES]
    weights = torch.stack([(line[:, None] * line).flatten() for line in lines], dim=1)
    return weights / weights.sum(dim=0)


def _bends(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels less the mean of two neighbours, across and along."""
    inner = picture[..., 1:-1, 1:-1]
    across = inner - 0.5 * (picture[..., 1:-1, :-2] + picture[..., 1:-1, 2:])
    return across, inner - 0.5 * (picture[..., :-2, 1:-1] + picture[..., 2:, 1:-1])


def _lines(ripples: torch.Tensor, dim: int) -> torch.Tensor:
    """Return how lines along a dimension stand out, ``[n, c, 2]``.

    Ripples are clipped, so a line counts by its length, and the core of a
    galaxy hardly.
    """
    level = ripples.abs().mean(dim=(2, 3), keepdim=True) + 1e-5
    line = (ripples / level).clamp(-_CLIP, _CLIP).mean(dim=dim)
    return torch.log(
        torch.stack([line.abs().amax(dim=-1), line.square().mean(dim=-1).sqrt()], dim=-1) + _SHORT
    )
