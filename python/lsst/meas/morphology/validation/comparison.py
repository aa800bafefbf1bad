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

"""Whether a new model is as good as an old one, by paired bootstrap."""

from __future__ import annotations

__all__ = ("Comparison", "Verdict", "compare_likelihoods")

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

type Floats = npt.NDArray[np.float64]

MIN_GALAXIES = 100
"""Fewest galaxies with votes from which a question is judged."""

_BLOCK_VALUES = 4_000_000
"""Values of the largest temporary array."""


class Verdict(enum.Enum):
    """What the comparison says of one question."""

    BETTER = "better"
    """The whole interval lies above zero."""

    AS_GOOD = "as good"
    """The whole interval lies above minus the margin."""

    UNDECIDED = "undecided"
    """The interval reaches below minus the margin, and above it too."""

    WORSE = "worse"
    """The whole interval lies below minus the margin."""

    TOO_FEW = "too few"
    """Too few galaxies have votes."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """New model against old, question by question.

    Gains are differences in log-likelihood, new less old, in nats for each
    galaxy that was asked; the last entry is for all questions together.
    """

    names: tuple[str, ...]
    """Names of the questions, and ``all``."""

    count: npt.NDArray[np.int64]
    """Galaxies that were asked, ``[question]``."""

    gain: Floats
    """Mean gain, ``[question]``; NaN without galaxies."""

    low: Floats
    """Lower ends of the simultaneous intervals, ``[question]``."""

    high: Floats
    """Upper ends, ``[question]``."""

    margin: float
    """Loss that does not matter."""

    level: float
    """Probability that all intervals hold at once."""

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What is to be said of each question."""
        return tuple(
            _verdict(int(count), float(low), float(high), self.margin)
            for count, low, high in zip(self.count, self.low, self.high, strict=True)
        )

    @property
    def worse(self) -> tuple[str, ...]:
        """Names of the questions in which the new model is worse."""
        return tuple(n for n, v in zip(self.names, self.verdicts, strict=True) if v is Verdict.WORSE)

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the questions in which it may be worse."""
        return tuple(n for n, v in zip(self.names, self.verdicts, strict=True) if v is Verdict.UNDECIDED)

    def describe(self) -> str:
        """Return the comparison as a table for people."""
        lines = [
            f"Gain in log-likelihood, nats per galaxy asked; {self.level * 100:.4g} % intervals, all at once",
            f"{'question':<18}{'galaxies':>9}{'gain':>10}{'low':>10}{'high':>10}  verdict",
        ]
        lines += [
            f"{name:<18}{count:>9}{gain:>10.4f}{low:>10.4f}{high:>10.4f}  {verdict.value}"
            for name, count, gain, low, high, verdict in zip(
                self.names, self.count, self.gain, self.low, self.high, self.verdicts, strict=True
            )
        ]
        return "\n".join(lines)


def compare_likelihoods(
    old: Floats,
    new: Floats,
    asked: npt.NDArray[np.bool_],
    questions: Sequence[str],
    *,
    margin: float = 0.01,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 1,
) -> Comparison:
    """Compare the log-likelihoods that two models give the same votes.

    Parameters
    ----------
    old, new
        Log-probabilities of the votes, ``[galaxy, question]``.
    asked
        Whether there were votes, ``[galaxy, question]``.
    questions
        Names of the questions.
    margin
        Loss that does not matter, in nats for each galaxy asked.
    level
        Probability that all intervals hold at once.
    resamples
        Number of bootstrap samples.
    seed
        Of the bootstrap.

    Returns
    -------
    comparison
        Gains and intervals.

    Raises
    ------
    ValueError
        Raised if the shapes differ, or a log-probability is not finite.

    Notes
    -----
    Galaxies are drawn with replacement, each with all its questions and
    with both models' values. The intervals are ``gain +- c s`` with s the
    bootstrap's standard deviation and c the quantile, over resamples, of
    the largest ``|gain* - gain| / s`` of all questions: they hold at once,
    so that thirteen questions do not raise thirteen times the alarm.
    """
    if not old.shape == new.shape == asked.shape or old.shape[1:] != (len(questions),):
        raise ValueError(
            f"Shapes {old.shape}, {new.shape}, {asked.shape} do not fit {len(questions)} questions."
        )
    gains = np.where(asked, new, 0.0) - np.where(asked, old, 0.0)
    if not np.isfinite(gains).all():
        raise ValueError("Log-probabilities of votes are not finite.")
    gains = np.concatenate([gains, gains.sum(axis=1, keepdims=True)], axis=1)
    there = np.concatenate([asked, asked.any(axis=1, keepdims=True)], axis=1)
    count = there.sum(axis=0)
    gain = np.divide(gains.sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    judged = count >= MIN_GALAXIES
    low, high = np.full(len(count), np.nan), np.full(len(count), np.nan)
    if judged.any():
        means = _bootstrap(gains[:, judged], there[:, judged], resamples, np.random.default_rng(seed))
        spread = means.std(axis=0, ddof=1)
        away = np.divide(
            np.abs(means - gain[judged]), spread, out=np.zeros(means.shape), where=spread > 0.0
        ).max(axis=1)
        half = np.quantile(away, level) * spread
        low[judged], high[judged] = gain[judged] - half, gain[judged] + half
    return Comparison((*questions, "all"), count, gain, low, high, margin, level)


def _bootstrap(
    gains: Floats, there: npt.NDArray[np.bool_], resamples: int, rng: np.random.Generator
) -> Floats:
    """Return the resamples' mean gains, ``[resample, question]``."""
    number = len(gains)
    columns = np.concatenate([gains, there.astype(np.float64)], axis=1)
    block = max(1, _BLOCK_VALUES // number)
    sums = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        chosen = rng.integers(0, number, (size, number)) + number * np.arange(size)[:, np.newaxis]
        weights = np.bincount(chosen.ravel(), minlength=size * number).reshape(size, number)
        sums.append(weights.astype(np.float64) @ columns)
    total = np.concatenate(sums)
    return np.asarray(total[:, : gains.shape[1]] / np.maximum(total[:, gains.shape[1] :], 1.0))


def _verdict(count: int, low: float, high: float, margin: float) -> Verdict:
    if count < MIN_GALAXIES:
        return Verdict.TOO_FEW
    if low > 0.0:
        return Verdict.BETTER
    if low >= -margin:
        return Verdict.AS_GOOD
    return Verdict.WORSE if high < -margin else Verdict.UNDECIDED
