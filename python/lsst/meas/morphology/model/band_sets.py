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
"""Which of some sets of missing bands an object's comes nearest to."""

from __future__ import annotations

__all__ = ("NearestBandSet",)

import torch
from torch import nn


class NearestBandSet(nn.Module):
    """Tells objects apart by the bands that nothing was measured in.

    Parameters
    ----------
    bands
        The model's bands.
    missing
        Sets of bands that may be missing.
    """

    present: torch.Tensor

    def __init__(self, bands: tuple[str, ...], missing: tuple[tuple[str, ...], ...]) -> None:
        super().__init__()
        present = torch.tensor([[float(band not in gone) for band in bands] for gone in missing])
        # As with the rendering, the manifest holds these numbers.
        self.register_buffer("present", present, persistent=False)

    def forward(self, valid: torch.Tensor) -> torch.Tensor:
        """Return 1 for the nearest set and 0 for the others, ``[n, p]``.

        The first of several that are as near.

        Parameters
        ----------
        valid
            Which pixels were measured, ``[n, b, s, s]``.
        """
        seen = valid.to(self.present.dtype).amax(dim=(2, 3))
        nearest = (seen.unsqueeze(1) - self.present).abs().sum(dim=2).argmin(dim=1)
        return nn.functional.one_hot(nearest, len(self.present)).to(self.present.dtype)
