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

"""``morphology compare``: whether a new model is as good as an old one."""

from __future__ import annotations

__all__ = ("command",)

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from ..errors import MorphologyError
from ..inference.engine import Engine
from ..inference.options import EngineOptions
from ..model.manifest import Manifest
from ..model.package import ModelPackage
from ..model.shipped import find_model
from ..simulation.frozen_definition import EVALUATION_V2
from ..validation.comparison import compare_likelihoods
from .evaluate import QUICK, try_models
from .exams import Exam, frozen_exams, own_exam, view

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class _Sample:
    """Log-probabilities of the votes of one sample."""

    questions: tuple[str, ...]
    log_probability: npt.NDArray[np.float64]
    asked: npt.NDArray[np.bool_]
    checksum: str


@dataclasses.dataclass(frozen=True)
class _Result:
    """What a model makes of the samples."""

    model: str
    source: str
    samples: Mapping[str, _Sample]

    def fits(self, other: _Result) -> bool:
        """Whether both have tried the same galaxies, votes and questions."""
        return self.samples.keys() == other.samples.keys() and all(
            (sample.checksum, sample.questions)
            == (other.samples[name].checksum, other.samples[name].questions)
            for name, sample in self.samples.items()
        )


@click.command("compare", short_help="Say whether a new model is as good as an old one.")
@click.argument("old")
@click.argument("new")
@click.option(
    "--margin",
    type=click.FloatRange(min=0.0),
    default=0.01,
    show_default=True,
    help="Loss that does not matter, in nats for each galaxy that was asked a question.",
)
@click.option("--strict", is_flag=True, help="Exit non-zero too if the new model may be worse.")
@click.option("--quick", is_flag=True, help=f"Only {QUICK} galaxies, to see that it works.")
@click.option(
    "--votes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Table of votes to compare on instead of simulated galaxies.",
)
@click.option(
    "--stamps", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="NumPy file of the stamps."
)
@click.option("--id-column", default="id", show_default=True, help="Column of the ids in the table of votes.")
@click.option("--suffix", help="What follows a question's name in Galaxy Zoo's names.  [default: the tree's]")
@click.option(
    "--threads", type=click.IntRange(min=1), default=_CORES, help="CPU threads.  [default: all cores]"
)
def command(
    old: str,
    new: str,
    margin: float,
    strict: bool,
    quick: bool,
    votes: Path | None,
    stamps: Path | None,
    id_column: str,
    suffix: str | None,
    threads: int,
) -> None:
    """Compare the log-likelihoods that OLD and NEW give the same votes.

    Both are model packages, names of shipped models, or folders that
    'morphology evaluate' wrote. A question is better if its whole interval
    of the mean gain lies above zero, as good if it lies above minus the
    margin, worse if it lies below that, and otherwise undecided; all
    intervals hold at once with 95 % probability. Exits with 1 if any
    question, or all together, is worse in any sample.
    """
    if (votes is None) != (stamps is None):
        raise click.UsageError("--votes and --stamps go together.")
    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    packages = [
        None if Path(name).is_dir() else ModelPackage.open(os.fspath(find_model(name))) for name in (old, new)
    ]
    models = [package for package in packages if package is not None]
    exams = _exams(models[0].manifest, quick, votes, stamps, id_column, suffix) if models else []
    tried = iter(_run(models, exams, threads) if models else [])
    first, second = (
        _read(Path(name)) if package is None else next(tried)
        for name, package in zip((old, new), packages, strict=True)
    )
    if not first.fits(second):
        raise MorphologyError(
            f"{old} was tried on {first.source} and {new} on {second.source}, and the votes differ: nothing"
            " can be compared. Evaluate both anew."
        )
    worse, undecided = [], []
    click.echo(f"{second.model} against {first.model} on {first.source}")
    for name, sample in first.samples.items():
        comparison = compare_likelihoods(
            sample.log_probability,
            second.samples[name].log_probability,
            sample.asked,
            sample.questions,
            margin=margin,
            level=1.0 - 0.05 / len(first.samples),
        )
        click.echo(f"\nSample {name}\n{comparison.describe()}")
        worse += [f"{question} ({name})" for question in comparison.worse]
        undecided += [f"{question} ({name})" for question in comparison.undecided]
    if worse:
        click.echo(f"\nWORSE in {', '.join(worse)}")
    elif undecided:
        click.echo(f"\nNot shown to be as good in {', '.join(undecided)}; nowhere shown to be worse")
    else:
        click.echo("\nAs good or better")
    if worse or (strict and undecided):
        raise SystemExit(1)


def _exams(
    manifest: Manifest,
    quick: bool,
    votes: Path | None,
    stamps: Path | None,
    id_column: str,
    suffix: str | None,
) -> list[Exam]:
    """Return the samples that are compared on."""
    if votes is not None and stamps is not None:
        return [own_exam(votes, stamps, manifest.tree, suffix=suffix, id_column=id_column)]
    return list(frozen_exams(EVALUATION_V2, manifest, quick=QUICK if quick else None))


def _run(packages: Sequence[ModelPackage], exams: Sequence[Exam], threads: int) -> list[_Result]:
    """Try models, together if they look at the same stamps."""
    engines = [Engine.from_package(package, EngineOptions(threads=threads)) for package in packages]
    samples: list[dict[str, _Sample]] = [{} for _ in engines]
    for exam in exams:
        if len({view(engine.manifest) for engine in engines}) == 1:
            evaluations = try_models(engines, exam)
        else:
            evaluations = [try_models([engine], exam)[0] for engine in engines]
        for found, evaluation in zip(samples, evaluations, strict=True):
            found[exam.name] = _Sample(
                tuple(exam.tree.slices), evaluation.log_model, evaluation.asked > 0, exam.checksum
            )
    return [
        _Result(f"{engine.manifest.name} {engine.manifest.version}", exams[0].source, found)
        for engine, found in zip(engines, samples, strict=True)
    ]


def _read(folder: Path) -> _Result:
    """Read what ``morphology evaluate`` wrote."""
    samples = {}
    ends = "_logLikelihood"
    for path in sorted(folder.glob("galaxies-*.parquet")):
        table = pyarrow.parquet.read_table(path)
        marks = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        questions = tuple(name.removesuffix(ends) for name in table.column_names if name.endswith(ends))
        samples[marks["sample"]] = _Sample(
            questions,
            np.stack([table[name + ends].to_numpy() for name in questions], axis=1),
            np.stack([table[name + "_votes"].to_numpy() for name in questions], axis=1) > 0,
            marks["checksum"],
        )
    if not samples:
        raise MorphologyError(f"{folder} holds no galaxies-*.parquet as 'morphology evaluate' writes them.")
    return _Result(marks["model"], marks["source"], samples)
