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

"""The score of what is unlike the training objects, as a torch module."""

from __future__ import annotations

__all__ = ("NoveltyScore", "build_novelty", "picture_statistics")

import torch
from torch import nn

from .band_sets import NearestBandSet
from .manifest import Manifest
from .novelty import Novelty
from .picture_statistics import PictureStatistics


def picture_statistics(manifest: Manifest, channels: int) -> PictureStatistics:
    """Return the statistics of a model's rendered stamps.

    Parameters
    ----------
    manifest
        The model's description.
    channels
        Number of channels that its rendering gives, of which as many are
        looked at as the model has bands.
    """
    return PictureStatistics(min(channels, len(manifest.bands)), manifest.stamp_size)


def build_novelty(manifest: Manifest, width: int, channels: int) -> NoveltyScore | None:
    """Return a model's score of novelty, if it has one.

    Parameters
    ----------
    manifest
        The model's description.
    width
        Length of the encoder's vector.
    channels
        Number of channels that its rendering gives.
    """
    if manifest.novelty is None:
        return None
    statistics = picture_statistics(manifest, channels) if manifest.novelty.picture else None
    return NoveltyScore(manifest.novelty, manifest.bands, width, statistics)


class NoveltyScore(nn.Module):
    """Distance from prototypes of the training objects.

    It is taken before the projection, which keeps what the questions need,
    and forgets much of what tells the unknown.

    Parameters
    ----------
    novelty
        What it is made of.
    bands
        The model's bands.
    width
        Length of the encoder's vector.
    statistics
        What is looked at besides.
    """

    centre: torch.Tensor
    whitening: torch.Tensor
    prototypes: torch.Tensor

    def __init__(
        self, novelty: Novelty, bands: tuple[str, ...], width: int, statistics: PictureStatistics | None
    ) -> None:
        super().__init__()
        self.statistics = statistics
        width += statistics.width if statistics is not None else 0
        missing = novelty.missing
        self.nearest = NearestBandSet(bands, missing) if missing is not None else None
        sets = (len(missing),) if missing is not None else ()
        self.register_buffer("centre", torch.zeros(*sets, width))
        directions = novelty.directions or width
        self.register_buffer("whitening", torch.eye(directions, width).repeat(*sets, 1, 1))
        self.register_buffer("prototypes", torch.zeros(*sets, novelty.prototypes, directions))

    def forward(self, encoded: torch.Tensor, picture: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the score ``[n, 1]``.

        Parameters
        ----------
        encoded
            What the encoder says, ``[n, w]``.
        picture
            What it says so of, ``[n, channels, s, s]``.
        valid
            Which pixels were measured, ``[n, b, s, s]``.
        """
        vector = encoded
        if self.statistics is not None:
            vector = torch.cat([encoded, self.statistics(picture)], dim=1)
        if self.nearest is None:
            white = nn.functional.linear(vector - self.centre, self.whitening)
            prototypes = self.prototypes.unsqueeze(0)
        else:
            white, prototypes = self._chosen(vector, self.nearest(valid))
        # Not by the squares' expansion, which loses digits.
        square = (white.unsqueeze(1) - prototypes).square().mean(dim=-1)
        return square.amin(dim=1, keepdim=True).sqrt()

    def _chosen(self, vector: torch.Tensor, choice: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return vectors and prototypes by which bands are missing.

        Whitened vectors ``[n, d]`` and prototypes ``[n, k, d]``, both of the
        set of missing bands that comes nearest.
        """
        choice = choice.to(vector.dtype)
        white = (vector - self.centre.unsqueeze(1)) @ self.whitening.transpose(1, 2)
        white = (choice.T.unsqueeze(2) * white).sum(dim=0)
        count, width = self.prototypes.shape[1:]
        return white, (choice @ self.prototypes.flatten(1)).view(-1, count, width)
