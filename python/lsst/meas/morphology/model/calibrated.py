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
"""Calibration of concentrations, as a torch module."""

from __future__ import annotations

__all__ = ("CalibrationFactors", "build_calibration")

from collections.abc import Mapping

import torch
from torch import nn

from ..questions.tree import QuestionTree
from .band_sets import NearestBandSet
from .manifest import Manifest


def build_calibration(manifest: Manifest) -> CalibrationFactors | None:
    """Return a model's calibration, if it has one.

    Parameters
    ----------
    manifest
        The model's description.
    """
    calibration = manifest.calibration
    if calibration is None or manifest.votes is None:
        return None
    sets: dict[tuple[str, ...], Mapping[str, float]] = {(): calibration.concentration or {}}
    sets |= {entry.missing: entry.concentration for entry in calibration.without or ()}
    factors = torch.stack([_by_answer(manifest.tree, chosen) for chosen in sets.values()])
    return CalibrationFactors(factors, NearestBandSet(manifest.bands, tuple(sets)))


class CalibrationFactors(nn.Module):
    """Factors of the concentrations, by the bands that are missing.

    Parameters
    ----------
    factors
        Factor of each answer, ``[p, a]``, for each set of missing bands.
    nearest
        Tells which set is an object's.
    """

    factors: torch.Tensor

    def __init__(self, factors: torch.Tensor, nearest: NearestBandSet) -> None:
        super().__init__()
        self.nearest = nearest
        # As with the rendering, the manifest holds these numbers.
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, alpha: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return calibrated concentrations.

        Parameters
        ----------
        alpha
            Concentrations, ``[n, t, a]``.
        valid
            Which pixels were measured, ``[n, b, s, s]``.
        """
        chosen = self.factors
        if len(self.factors) > 1:
            chosen = (self.nearest(valid) @ self.factors).unsqueeze(1)
        return alpha * chosen


def _by_answer(tree: QuestionTree, concentration: Mapping[str, float]) -> torch.Tensor:
    """Return the factor of each answer's concentration, ``[a]``."""
    factors = torch.ones(tree.n_answers)
    for question, factor in concentration.items():
        factors[tree.slices[question]] = factor
    return factors
