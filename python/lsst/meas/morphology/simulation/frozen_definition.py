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

"""Frozen sets of simulated galaxies: exams that are set before training.

A set is its definition: seeds and distributions. Whoever changes the
simulator changes the exam, and is told so by the checksums, which are
compared before a set is used.
"""

from __future__ import annotations

__all__ = ("EVALUATION_V1", "FrozenSet", "SampleDefinition")

import dataclasses

from .galaxies import Mix


@dataclasses.dataclass(frozen=True)
class SampleDefinition:
    """One sample of a frozen set."""

    name: str
    """Name of the sample."""

    seed: int
    """Seed of all its random numbers."""

    mix: Mix
    """Distribution of the galaxies; see `draw_parameters`."""

    magnitude_limit: float
    """Faintest magnitude in the i band."""

    volunteers: tuple[int, int]
    """Smallest and largest number of volunteers per galaxy."""

    number: int | None = None
    """Number of galaxies; `None` if `per_answer` decides."""

    per_answer: int = 0
    """Confident galaxies wanted of each answer that is ever deserved."""

    first_checksum: str = ""
    """Checksum of what the first chunk of the stream holds."""

    checksum: str = ""
    """Checksum of the whole sample."""

    fingerprint: tuple[float, ...] = ()
    """What `picture_fingerprint` says of the first pictures."""

    @property
    def selected_on_votes(self) -> bool:
        """Whether galaxies are in the sample because of their votes.

        If so, their votes are no fair draw; see `FrozenSample.fair_votes`.
        """
        return self.per_answer > 0


@dataclasses.dataclass(frozen=True)
class FrozenSet:
    """Samples that models are judged by."""

    name: str
    """Name of the set, with its version."""

    samples: tuple[SampleDefinition, ...]
    """The samples."""


EVALUATION_V1 = FrozenSet(
    "evaluation-v1",
    (
        SampleDefinition(
            name="natural",
            seed=20261124_01,
            mix="natural",
            magnitude_limit=21.0,
            volunteers=(5, 40),
            number=20000,
            first_checksum="aef7b4c4e51cfa0d07489cfd71834a0bfe6c43b5ba2044bda61e6f031a902e4e",
            checksum="66c5374dfca167927b35fcba80d1155b8d761dda8017ab0df52b8e2d214bc98b",
            fingerprint=(107.529, -397.427, 288.149),
        ),
        SampleDefinition(
            name="stratified",
            seed=20261124_02,
            mix="training",
            magnitude_limit=20.0,
            volunteers=(40, 40),
            per_answer=300,
            first_checksum="b34e25323833453a91ef34be7c1550c4a43430256f85b848601e810cabb68b18",
            checksum="db3c6438810b2e95b5c83f0e25f05d21f928c76953de8014ba227af9ba08c746",
            fingerprint=(70.559, 99.502, -383.154),
        ),
    ),
)
"""The first set: as on the sky, and rich in every answer."""
