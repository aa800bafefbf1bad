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

"""Simulated galaxies as a source of labelled stamps."""

from __future__ import annotations

__all__ = ("SimulatedSource",)

import dataclasses

from ..model.manifest import Manifest
from .galaxies import Mix
from .stamps import SimulatedStamps, sample_stamps


@dataclasses.dataclass(frozen=True)
class SimulatedSource:
    """Simulated galaxies as a model of some manifest wants to see them."""

    manifest: Manifest
    """The model: bands, size, field of view and question tree."""

    mix: Mix
    """The sample: ``training`` or ``natural``."""

    volunteers: tuple[int, int] = (5, 40)
    """Smallest and largest number of volunteers per galaxy."""

    def __call__(self, seed: int, n: int) -> SimulatedStamps:
        """Draw ``n`` objects that depend on ``seed`` alone."""
        return sample_stamps(
            seed,
            n,
            bands=self.manifest.bands,
            stamp_size=self.manifest.stamp_size,
            field_of_view=self.manifest.field_of_view,
            tree=self.manifest.tree,
            mix=self.mix,
            volunteers=self.volunteers,
        )

    def describe(self) -> str:
        """Return a text that is the same for sources of the same stamps."""
        view = self.manifest.field_of_view.model_dump_json(exclude_none=True)
        return (
            f"simulated galaxies, {self.mix} mix, {self.volunteers} volunteers,"
            f" bands {''.join(self.manifest.bands)}, {self.manifest.stamp_size} px,"
            f" field of view {view}, tree {self.manifest.tree.name}"
        )
