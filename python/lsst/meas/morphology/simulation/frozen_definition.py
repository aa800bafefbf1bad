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

__all__ = ("EVALUATION_V2", "FrozenSet", "SampleDefinition")

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


EVALUATION_V2 = FrozenSet(
    "evaluation-v2",
    (
        SampleDefinition(
            name="natural",
            seed=20261124_21,
            mix="natural",
            magnitude_limit=21.0,
            volunteers=(5, 40),
            number=20000,
            first_checksum="ae1092686e895ca56fe916ef692b5600d1f4ac6cae448ca19596816d69516b86",
            checksum="86a1fafaba35db033b523858ad9f46333b76cf54d0a0d851108a949bb94094f9",
            fingerprint=(65.347, -392.384, -153.781),
        ),
        SampleDefinition(
            name="stratified",
            seed=20261124_22,
            mix="training",
            magnitude_limit=20.0,
            volunteers=(40, 40),
            per_answer=300,
            first_checksum="579b0d35c6625a66ec2687ab89b576291107a9c76f40e9ef88695e8aa3f798fe",
            checksum="fc3f179e36cd34e328124411a911de524ca1be36291c958e58853af4ed9265b9",
            fingerprint=(664.818, -887.34, 351.458),
        ),
    ),
)
"""As on the sky, and rich in every answer.

The second set. In the first, bars, boxes and single arms were claimed by
volunteers whose pictures do not show them; it was withdrawn before a model
was released on its figures.
"""
