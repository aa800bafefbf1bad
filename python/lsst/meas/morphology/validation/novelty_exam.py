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

"""How well a score of novelty tells strangers from ordinary stamps."""

from __future__ import annotations

__all__ = ("NOISE_FACTORS", "NoveltyExam", "examine_novelty", "novelty_table", "novelty_text")

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .strangers import STRANGERS, AddNoise, Stranger
from .tidal_presence import roc_area

NOISE_FACTORS = (1.0, 2.0, 4.0, 8.0)
"""How often the sky's noise is taken."""

type Floats = npt.NDArray[np.float64]
type Score = Callable[[npt.NDArray[np.float32], npt.NDArray[np.bool_]], npt.NDArray[np.floating]]


@dataclasses.dataclass(frozen=True)
class NoveltyExam:
    """How a sample of stamps and its spoiled copies score."""

    sample: str
    """Name of the sample."""

    number: int
    """Number of stamps."""

    factors: tuple[float, ...]
    """How often the noise was taken, ``[f]``."""

    ordinary: Floats
    """Share of unspoiled stamps above the threshold, ``[f]``."""

    noise: Floats
    """Area under the ROC curve of unspoiled stamps with more noise against
    those without, ``[f]``."""

    kinds: tuple[Stranger, ...]
    """What was done to them, ``[k]``."""

    area: Floats
    """Area under the ROC curve of spoiled stamps against unspoiled ones with
    as much noise, ``[k, f]``."""

    found: Floats
    """Share of spoiled stamps above the threshold, ``[k, f]``."""

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the kinds that do not reach their bar, noise as it is."""
        return tuple(
            kind.name
            for kind, area in zip(self.kinds, self.area[:, 0], strict=True)
            if kind.bar is not None and not area >= kind.bar
        )


def examine_novelty(
    sample: str,
    score: Score,
    threshold: float,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    add_noise: AddNoise,
    *,
    factors: Sequence[float] = NOISE_FACTORS,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> NoveltyExam:
    """Score stamps and their spoiled copies, under more and more noise.

    Parameters
    ----------
    sample
        Name of the sample.
    score
        Returns the scores ``[n]`` of stamps.
    threshold
        Score above which a stamp is out of distribution.
    flux
        Ordinary stamps that no model was trained on, ``[n, b, s, s]``.
    valid
        Which pixels were measured, of the same shape.
    add_noise
        Adds noise to them.
    factors
        How often the noise is to be taken, the first being 1.
    seed
        Seed of what spoils them.
    progress
        Called with the number of stamps scored since the last call.

    Returns
    -------
    exam
        Areas and shares. Kinds that need more bands are left out.
    """
    kinds = tuple(kind for kind in STRANGERS if kind.bands <= flux.shape[1])

    def scores(shown: npt.NDArray[np.float32]) -> Floats:
        found = np.asarray(score(np.where(valid, shown, np.float32(0.0)), valid), dtype=np.float64)
        if progress is not None:
            progress(len(shown))
        return found

    def noisier(shown: npt.NDArray[np.float32], factor: float, *stream: int) -> npt.NDArray[np.float32]:
        rng = np.random.default_rng([seed, *stream])
        return add_noise(shown, float(np.sqrt(factor**2 - 1.0)), rng) if factor > 1.0 else shown

    ordinary = [scores(noisier(flux, factor, 0, index)) for index, factor in enumerate(factors)]
    area, found = np.empty((2, len(kinds), len(factors)))
    for k, kind in enumerate(kinds):
        spoiled = kind.spoil(flux, add_noise, np.random.default_rng([seed, k + 1]))
        for index, factor in enumerate(factors):
            said = scores(noisier(spoiled, factor, k + 1, index))
            area[k, index] = roc_area(said, ordinary[index])
            found[k, index] = np.mean(said > threshold)
    return NoveltyExam(
        sample=sample,
        number=len(flux),
        factors=tuple(factors),
        ordinary=np.array([np.mean(said > threshold) for said in ordinary]),
        noise=np.array([roc_area(said, ordinary[0]) for said in ordinary]),
        kinds=kinds,
        area=area,
        found=found,
    )


def novelty_text(exams: Sequence[NoveltyExam], heading: str) -> str:
    """Return exams as text for people.

    Parameters
    ----------
    exams
        The samples.
    heading
        First line.
    """
    return "\n".join([heading, "=" * len(heading), "", *(line for exam in exams for line in _lines(exam))])


def _lines(exam: NoveltyExam) -> Iterator[str]:
    yield f"Sample {exam.sample}: {exam.number} stamps"
    yield "Area under the ROC curve, and share above the threshold, by how often the sky's noise is taken"
    yield f"{'':<28}" + "".join(f"{f'noise x {factor:g}':>16}" for factor in exam.factors)
    yield f"{'ordinary':<28}" + _row(exam.noise, exam.ordinary)
    for kind, area, found in zip(exam.kinds, exam.area, exam.found, strict=True):
        verdict = "" if kind.bar is None else f"  {'met' if area[0] >= kind.bar else 'MISSED'}: {kind.bar}"
        yield f"{kind.name:<28}" + _row(area, found) + verdict
    yield ""


def _row(area: Floats, share: Floats) -> str:
    return "".join(f"{f'{a:.3f} ({s:.3f})':>16}" for a, s in zip(area, share, strict=True))


def novelty_table(exams: Sequence[NoveltyExam], metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Return exams as a table, a row for each sample, kind and noise.

    Parameters
    ----------
    exams
        The samples.
    metadata
        What the schema's metadata say, such as the model's id.

    Returns
    -------
    table
        Columns ``sample``, ``kind`` ("ordinary" for none), ``noise``
        (factor), ``count``, ``rocArea`` and ``share`` above the threshold.
    """
    rows = [
        {"sample": exam.sample, "kind": name, "noise": factor, "count": exam.number, "rocArea": a, "share": s}
        for exam in exams
        for name, area, share in [
            ("ordinary", exam.noise, exam.ordinary),
            *((kind.name, exam.area[k], exam.found[k]) for k, kind in enumerate(exam.kinds)),
        ]
        for factor, a, s in zip(exam.factors, area.tolist(), share.tolist(), strict=True)
    ]
    return pa.Table.from_pylist(rows).replace_schema_metadata({"kind": "novelty", **(metadata or {})})
