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

__all__ = ("EVALUATION_TIDES_V1", "TIDES_THRESHOLD_V3", "TRAINING_LIBRARY_SEED", "TidalSample", "TidalSet")

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

TIDES_THRESHOLD_V3 = TidalSet(
    "tides-threshold-v3",
    library_seed=6,
    encounters=320,
    library_fingerprint=(115.973322, 186.318492, 10.679557),
    samples=(
        TidalSample(
            "40 visits",
            seed=20261130_41,
            visits=40.0,
            number=3500,
            checksum="1971b41d303f40cc2fa30aac5cc0ba179c2a49c825279a23fdd8b2ec28b9b8e0",
            fingerprint=(258.028, 1888.416, 463.785, -563.897, 550.794, -590.056),
        ),
        TidalSample(
            "200 visits",
            seed=20261130_42,
            visits=200.0,
            number=3500,
            checksum="ad83044ec61036d0a856370fc5afa5de51d20bd10d06cd035de93bf6df4441f2",
            fingerprint=(-955.341, 2907.387, -891.21, 372.403, 495.621, 205.291),
        ),
    ),
)
"""Other hosts and encounters at the same depths, to choose thresholds on.
Earlier such sets had fewer encounters, too few for the errors of fluxes."""
