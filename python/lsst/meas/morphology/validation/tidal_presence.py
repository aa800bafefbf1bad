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

"""Whether hosts with debris are told from those without, and what it is."""

from __future__ import annotations

__all__ = (
    "NAMES",
    "class_confusion",
    "completeness_at_purity",
    "recall_threshold",
    "roc_area",
)

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..confident import Confusion

type Floats = npt.NDArray[np.float64]
type Bools = npt.NDArray[np.bool_]

NAMES = ("none", "tail", "stream", "shell")
"""What a host may have, in the order of its kind."""


def roc_area(positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating]) -> float:
    """Return the area under the receiver operating characteristic.

    Parameters
    ----------
    positive, negative
        Scores of hosts with and without debris, ``[n]`` and ``[m]``.

    Returns
    -------
    area
        Probability that one with debris scores higher than one without,
        ties counting half; NaN if either is empty.
    """
    n, m = len(positive), len(negative)
    if not n or not m:
        return float("nan")
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2.0) / (n * m))


def recall_threshold(positive: npt.NDArray[np.floating], recall: float) -> float:
    """Return the largest threshold that finds a share of what is there.

    Parameters
    ----------
    positive
        Scores of hosts with debris, ``[n]``.
    recall
        The share that is to be found, above 0.

    Returns
    -------
    threshold
        A score; hosts that reach it are found. NaN without hosts.
    """
    if not len(positive):
        return float("nan")
    lost = int(np.floor((1.0 - recall) * len(positive) + 1e-9))
    return float(np.sort(positive)[min(lost, len(positive) - 1)])


def completeness_at_purity(
    positive: npt.NDArray[np.floating],
    negative: npt.NDArray[np.floating],
    *,
    purity: float = 0.9,
    prevalence: float | None = None,
) -> tuple[float, float]:
    """Return how much is found if a share of what is flagged is right.

    Parameters
    ----------
    positive, negative
        Scores of hosts with and without debris, ``[n]`` and ``[m]``.
    purity
        Least share of the flagged hosts that have debris.
    prevalence
        Share of all hosts that have debris; by default that of the scores.

    Returns
    -------
    completeness
        Share of the hosts with debris that are flagged; 0 if no threshold
        is as pure, NaN without hosts.
    threshold
        The score that reaches it, NaN if none does.
    """
    n, m = len(positive), len(negative)
    if not n:
        return float("nan"), float("nan")
    share = n / (n + m) if prevalence is None else prevalence
    candidates = np.unique(positive)
    found = 1.0 - np.searchsorted(np.sort(positive), candidates) / n
    wrong = 1.0 - np.searchsorted(np.sort(negative), candidates) / m if m else np.zeros_like(found)
    right = share * found
    pure = right >= purity * (right + (1.0 - share) * wrong)
    if not pure.any():
        return 0.0, float("nan")
    first = int(np.flatnonzero(pure)[0])
    return float(found[first]), float(candidates[first])


def class_confusion(
    presence: npt.NDArray[np.floating], kind: npt.NDArray[np.integer], threshold: float
) -> Confusion:
    """Compare the likeliest class with the true one.

    Parameters
    ----------
    presence
        Probabilities that there are a tail, a stream, a shell, and any
        debris, ``[n, 4]``.
    kind
        True kinds: 0 for none, then in the order of `NAMES`, ``[n]``.
    threshold
        Least probability of any debris; a host below it counts as having
        none.

    Returns
    -------
    confusion
        Counts, true kinds along the rows.
    """
    guess = np.where(presence[:, 3] >= threshold, 1 + presence[:, :3].argmax(axis=1), 0)
    counts = np.zeros((len(NAMES), len(NAMES)), dtype=np.int64)
    np.add.at(counts, (kind, guess), 1)
    return Confusion(NAMES, counts)
