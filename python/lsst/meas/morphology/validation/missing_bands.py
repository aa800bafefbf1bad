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

"""What a model loses where bands are missing."""

from __future__ import annotations

__all__ = ("BandLoss", "band_losses", "missing_bands_table", "missing_bands_text")

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from .bars import CORE, Bar, check_bars
from .evaluation import SampleEvaluation

LARGEST_LOSS = 0.02
"""Accuracy that may be lost where one band is missing."""


@dataclasses.dataclass(frozen=True)
class BandLoss:
    """A sample as seen without some bands."""

    missing: tuple[str, ...]
    """The bands."""

    accuracy: Mapping[str, float]
    """Accuracy on confident galaxies, by question."""

    lost: Mapping[str, float]
    """How much lower that is than with all bands, by question."""

    gained: float
    """Log-likelihood: part of the way to the oracle."""

    coverage: tuple[Bar, ...]
    """How far the coverage of the votes is off, and may be."""

    @property
    def name(self) -> str:
        """What is missing, for people."""
        return f"without {', '.join(self.missing)}" if self.missing else "all bands"

    @property
    def worst(self) -> tuple[str, float]:
        """The question that loses most, and how much."""
        if not self.lost:
            return "", float("nan")
        question = max(self.lost, key=lambda name: self.lost[name])
        return question, self.lost[question]

    @property
    def bars(self) -> tuple[Bar, ...]:
        """What a model is held to; of accuracy, where one band is missing."""
        if len(self.missing) != 1:
            return self.coverage
        question, lost = self.worst
        loss = Bar(self.name, "accuracy lost at most", lost, LARGEST_LOSS, False, remark=question)
        return (loss, *self.coverage)


def band_losses(evaluations: Mapping[tuple[str, ...], SampleEvaluation]) -> tuple[BandLoss, ...]:
    """Compare evaluations of one sample without some bands with the whole.

    Parameters
    ----------
    evaluations
        By the bands that were missing; the first one with none missing.

    Returns
    -------
    losses
        In the same order.
    """
    if () not in evaluations:
        raise ValueError("There is no evaluation with all bands to compare the others with.")
    whole = {
        name: evaluations[()].confusion[name].accuracy for name in CORE if name in evaluations[()].confusion
    }
    losses = []
    for missing, evaluation in evaluations.items():
        accuracy = {name: evaluation.confusion[name].accuracy for name in whole}
        losses.append(
            BandLoss(
                missing=missing,
                accuracy=accuracy,
                lost={name: whole[name] - accuracy[name] for name in whole},
                gained=evaluation.likelihoods.total_gained,
                coverage=tuple(bar for bar in check_bars(evaluation) if "coverage" in bar.what),
            )
        )
    return tuple(losses)


def missing_bands_text(losses: Sequence[BandLoss]) -> str:
    """Return losses as text for people, to follow an evaluation's.

    Parameters
    ----------
    losses
        What was lost, without any bands first.
    """
    return "\n".join(_lines(losses))


def _lines(losses: Sequence[BandLoss]) -> Iterator[str]:
    title = "Missing bands: accuracy on confident galaxies, and part of the way to the oracle"
    yield from (title, "-" * len(title), "")
    yield f"{'':<24}" + "".join(f"{name:>18}" for name in losses[0].accuracy) + f"{'way':>8}"
    for loss in losses:
        yield (
            f"{loss.name:<24}"
            + "".join(f"{v:>18.4f}" for v in loss.accuracy.values())
            + f"{loss.gained:>8.3f}"
        )
    yield ""
    for bar in (bar for loss in losses for bar in _named(loss)):
        yield (
            f"{bar.sample:<24}{bar.what:<40}{bar.value:>9.4f} <={bar.bar:>6.3f}"
            f"  {'met' if bar.met else 'MISSED'}{'; ' + bar.remark if bar.remark else ''}"
        )
    yield ""


def _named(loss: BandLoss) -> Iterator[Bar]:
    """Yield a loss's bars, named by what is missing."""
    for bar in loss.bars:
        yield dataclasses.replace(bar, sample=loss.name)


def missing_bands_table(losses: Sequence[BandLoss], metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Return losses as a table, a row for each number.

    Parameters
    ----------
    losses
        What was lost.
    metadata
        What the schema's metadata say, such as the model's id.

    Returns
    -------
    table
        Columns ``missing`` (bands, separated by commas), ``measure`` and
        ``value``.
    """
    rows = []
    for loss in losses:
        measures = {f"accuracy {name}": value for name, value in loss.accuracy.items()}
        measures |= {f"lost {name}": value for name, value in loss.lost.items()}
        measures |= {"likelihood_gained": loss.gained} | {bar.what: bar.value for bar in loss.coverage}
        rows += [
            {"missing": ",".join(loss.missing), "measure": k, "value": float(v)} for k, v in measures.items()
        ]
    table = pa.Table.from_pylist(rows)
    return table.replace_schema_metadata({"kind": "missingBands", **(metadata or {})})
