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

"""Frozen sets of hosts with debris: exams that are set before training.

A set is its definition: seeds and distributions. Whoever changes the
simulator changes the exam, and is told so by checksums and fingerprints,
which are compared before a set is used.
"""

from __future__ import annotations

__all__ = ("EVALUATION_TIDES_V1", "TIDES_THRESHOLD_V1", "TRAINING_LIBRARY_SEED", "TidalSample", "TidalSet")

import dataclasses

TRAINING_LIBRARY_SEED = 1
"""Seed of the library of encounters to train on; exams have others."""


@dataclasses.dataclass(frozen=True)
class TidalSample:
    """Hosts at one depth."""

    name: str
    """Name of the sample."""

    seed: int
    """Seed of all its random numbers."""

    visits: float
    """Number of visits in r."""

    number: int
    """Number of hosts."""

    share_undisturbed: float = 0.36
    """Share of hosts without debris."""

    checksum: str = ""
    """Checksum of what the scenes are."""

    fingerprint: tuple[float, ...] = ()
    """What `picture_fingerprint` says of the first pictures."""


@dataclasses.dataclass(frozen=True)
class TidalSet:
    """Samples that models are judged by, or thresholds are chosen on."""

    name: str
    """Name of the set, with its version."""

    library_seed: int
    """Seed of the library of its encounters."""

    encounters: int
    """Encounters of each kind."""

    samples: tuple[TidalSample, ...]
    """The samples."""

    library_fingerprint: tuple[float, ...] = ()
    """What `library_fingerprint` says of its encounters."""


EVALUATION_TIDES_V1 = TidalSet(
    "evaluation-tides-v1",
    library_seed=2,
    encounters=96,
    library_fingerprint=(108.469346, 74.767645, -0.750461),
    samples=(
        TidalSample(
            "40 visits",
            seed=20261124_11,
            visits=40.0,
            number=1500,
            checksum="e74e53c479a4ab604e5212cdc9613276e673a12757aaecd38cb8529fab0e1bc5",
            fingerprint=(-670.297, 1316.37, -132.106, -54.839, 307.148, 310.356),
        ),
        TidalSample(
            "200 visits",
            seed=20261124_12,
            visits=200.0,
            number=1500,
            checksum="ee931bf40ba7d1a2e724efaddd3c661deec69f334e75213e1901ab4c3deaae08",
            fingerprint=(-225.314, -31.319, -837.446, -557.667, 169.39, 603.988),
        ),
    ),
)
"""The first set: at the depth of DP2, and of ten years."""

TIDES_THRESHOLD_V1 = TidalSet(
    "tides-threshold-v1",
    library_seed=3,
    encounters=64,
    library_fingerprint=(55.34716, 34.973535, 36.096508),
    samples=(
        TidalSample(
            "40 visits",
            seed=20261124_21,
            visits=40.0,
            number=500,
            checksum="d5dec33f0b6c716fc6b75394ccc52fcd715534c8c6e62aa6472f72920bfd4fc6",
            fingerprint=(591.797, 1791.815, -240.794, 872.192, -109.865, 151.301),
        ),
        TidalSample(
            "200 visits",
            seed=20261124_22,
            visits=200.0,
            number=500,
            checksum="0c138329076749421fadc94d2a4b7cb27e7cff5b802910bd07d44a60f4867615",
            fingerprint=(210.857, 1303.498, 59.52, -120.483, -71.401, -452.794),
        ),
    ),
)
"""Other hosts and encounters at the same depths, to choose thresholds on."""
