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

"""What models are evaluated on, and their predictions for it."""

from __future__ import annotations

__all__ = ("Exam", "frozen_exams", "own_exam", "sit", "sit_without", "view")

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..errors import MissingColumnError, ModelMismatchError, MorphologyError
from ..inference.engine import Engine
from ..model.manifest import Manifest
from ..questions.tree import QuestionTree
from ..simulation.checksums import truth_checksum
from ..simulation.frozen_definition import FrozenSet
from ..simulation.frozen_set import CONCENTRATION, check_model, draw_sample
from ..tables.galaxy_zoo import answer_names
from ..validation.evaluation import LabelledPredictions

type Stamps = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]

_ROWS = 256


@dataclasses.dataclass(frozen=True)
class Exam:
    """A sample of galaxies with votes, whose stamps come in batches."""

    name: str
    """Name of the sample."""

    source: str
    """Where it comes from."""

    checksum: str
    """The same for the same galaxies and votes."""

    tree: QuestionTree
    """The questions."""

    votes: npt.NDArray[np.int32]
    """Votes, ``[n, answer]``."""

    stamps: Callable[[Manifest], Iterator[Stamps]]
    """Makes the stamps as a model wants them."""

    probabilities: npt.NDArray[np.floating] | None = None
    """True probabilities, if known, ``[n, answer]``."""

    concentration: float = np.inf
    """How votes scatter around these."""

    covariates: Mapping[str, npt.NDArray[np.floating]] = dataclasses.field(default_factory=dict)
    """What the difficulty may depend on, by name, ``[n]``."""

    fair_votes: npt.NDArray[np.int32] | None = None
    """Votes of other volunteers, if `votes` decided which galaxies are
    there, ``[n, answer]``."""

    def __len__(self) -> int:
        return len(self.votes)


def frozen_exams(definition: FrozenSet, manifest: Manifest, *, quick: int | None = None) -> Iterator[Exam]:
    """Draw the samples of a frozen set.

    Parameters
    ----------
    definition
        The set.
    manifest
        A model that is to be tried on it.
    quick
        Number of galaxies of each sample instead of all.

    Yields
    ------
    exam
        One sample.

    Raises
    ------
    ModelMismatchError
        Raised if the model cannot be tried on it.
    MorphologyError
        Raised if the simulator no longer makes what was frozen.
    """
    for sample_definition in definition.samples:
        sample = draw_sample(sample_definition, quick=quick)
        check_model(manifest, sample.tree)
        yield Exam(
            name=sample_definition.name,
            source=definition.name + (" (a few)" if quick is not None else ""),
            checksum=truth_checksum(sample.objects),
            tree=sample.tree,
            votes=sample.objects.votes,
            stamps=sample.stamps,
            probabilities=sample.objects.probabilities,
            concentration=CONCENTRATION,
            covariates=sample.covariates(),
            fair_votes=sample.fair_votes(),
        )


def own_exam(
    votes_file: Path,
    stamps_file: Path,
    tree: QuestionTree,
    *,
    suffix: str | None = None,
    id_column: str = "id",
    by: Sequence[str] = (),
) -> Exam:
    """Read a table of votes, and stamps.

    Parameters
    ----------
    votes_file
        Parquet or CSV table with a column of votes for each answer, under
        Galaxy Zoo's name, ours, or ours with ``_votes``. Missing ones are
        taken as not asked for.
    stamps_file
        NumPy file with the arrays ``flux`` (nJy per stamp pixel,
        ``[n, band, size, size]``) and, at will, ``valid`` (of the same
        shape) and ``id`` (``[n]``).
    tree
        The questions.
    suffix
        What follows a question's name in Galaxy Zoo's; by default the
        tree's own.
    id_column
        Column that is matched with ``id``. Without ``id`` rows are in the
        order of the stamps.
    by
        Columns that difficulty may depend on.

    Returns
    -------
    exam
        The galaxies that have stamps, in their order.

    Raises
    ------
    MorphologyError
        Raised if files do not fit each other, saying how.
    """
    table = _read_table(votes_file)
    with np.load(stamps_file, allow_pickle=False) as arrays:
        if "flux" not in arrays:
            raise MorphologyError(f"{stamps_file}: there is no array 'flux', only {', '.join(arrays)}.")
        flux = np.asarray(arrays["flux"], dtype=np.float32)
        valid = np.asarray(arrays["valid"], dtype=np.bool_) if "valid" in arrays else np.isfinite(flux)
        ids = arrays.get("id")
    if flux.ndim != 4 or valid.shape != flux.shape:
        raise MorphologyError(
            f"{stamps_file}: 'flux' must be [n, band, size, size] and 'valid' the same; they are {flux.shape}"
            f" and {valid.shape}."
        )
    flux = np.where(valid, flux, np.float32(0.0))
    rows = _match(table, votes_file, len(flux), ids, stamps_file, id_column)
    votes = _votes(table, votes_file, tree, suffix)[rows]
    covariates = {}
    for name in by:
        if name not in table.column_names:
            raise MissingColumnError(f"{votes_file} has no column {name!r}.")
        covariates[name] = np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)[rows]

    def stamps(manifest: Manifest) -> Iterator[Stamps]:
        for start in range(0, len(flux), _ROWS):
            yield flux[start : start + _ROWS], valid[start : start + _ROWS]

    digest = hashlib.sha256(votes.tobytes())
    digest.update(flux.tobytes())
    return Exam(
        name=votes_file.stem,
        source=f"{votes_file.name}, {stamps_file.name}",
        checksum=digest.hexdigest(),
        tree=tree,
        votes=votes,
        stamps=stamps,
        covariates=covariates,
    )


def sit(
    engines: Sequence[Engine],
    exam: Exam,
    *,
    without_bands: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> list[LabelledPredictions]:
    """Let models predict the votes of a sample.

    Parameters
    ----------
    engines
        The models. They look at the same stamps, which are made once.
    exam
        The sample.
    without_bands
        Bands to take away.
    progress
        Called with the number of galaxies done since the last call.

    Returns
    -------
    predictions
        Predictions beside what is known, for each model.

    Raises
    ------
    ModelMismatchError
        Raised if stamps do not fit a model, or it has no such band.
    """
    return _sit([(engine, tuple(without_bands)) for engine in engines], exam, progress)


def sit_without(
    engine: Engine,
    exam: Exam,
    sets: Sequence[tuple[str, ...]],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[LabelledPredictions]:
    """Let a model predict the votes of a sample without some bands.

    Parameters
    ----------
    engine
        The model.
    exam
        The sample; its stamps are made once.
    sets
        Sets of bands that are taken away together.
    progress
        Called with the number of galaxies done since the last call.

    Returns
    -------
    predictions
        Predictions beside what is known, for each set.

    Raises
    ------
    ModelMismatchError
        Raised if stamps do not fit the model, or it has no such band.
    """
    return _sit([(engine, gone) for gone in sets], exam, progress)


def _sit(
    sitting: Sequence[tuple[Engine, tuple[str, ...]]], exam: Exam, progress: Callable[[int], None] | None
) -> list[LabelledPredictions]:
    """Let models predict, each without some bands."""
    manifest = sitting[0][0].manifest
    for engine, gone in sitting:
        if view(engine.manifest) != view(manifest):
            raise ModelMismatchError(
                "Models with different bands, stamp sizes or fields of view can't share stamps."
            )
        _check_questions(engine.manifest, exam.tree)
        if unknown := set(gone) - set(manifest.bands):
            raise ModelMismatchError(f"The model does not look at {', '.join(sorted(unknown))}.")
    samples = [engine.manifest.outputs["alpha"][0] for engine, _ in sitting]
    parts = [[np.empty((0, number, exam.tree.n_answers), dtype=np.float32)] for number in samples]
    for flux, valid in exam.stamps(manifest):
        for (engine, gone), part in zip(sitting, parts, strict=True):
            kept = valid & np.array([band not in gone for band in manifest.bands])[:, None, None]
            alpha = engine.predict(np.where(kept, flux, np.float32(0.0)), kept).alpha
            assert alpha is not None
            part.append(alpha)
        if progress is not None:
            progress(len(flux))
    return [
        LabelledPredictions(
            name=exam.name,
            tree=exam.tree,
            alpha=np.concatenate(part),
            votes=exam.votes,
            probabilities=exam.probabilities,
            concentration=exam.concentration,
            covariates=exam.covariates,
            fair_votes=exam.fair_votes,
        )
        for part in parts
    ]


def view(manifest: Manifest) -> tuple[object, ...]:
    """Return what a model's stamps depend on."""
    return manifest.bands, manifest.stamp_size, manifest.field_of_view


def _check_questions(manifest: Manifest, tree: QuestionTree) -> None:
    if manifest.votes is None or manifest.tree.answer_columns != tree.answer_columns:
        raise ModelMismatchError(
            f"Model {manifest.name} {manifest.version} does not answer the questions of {tree.name!r}."
        )


def _read_table(path: Path) -> pa.Table:
    if path.suffix == ".csv":
        return pyarrow.csv.read_csv(path)
    return pyarrow.parquet.read_table(path)


def _match(
    table: pa.Table,
    votes_file: Path,
    number: int,
    ids: npt.NDArray[np.generic] | None,
    stamps_file: Path,
    id_column: str,
) -> npt.NDArray[np.intp]:
    """Return the table's row of each stamp."""
    if ids is None:
        if len(table) != number:
            raise MorphologyError(
                f"{votes_file} has {len(table)} rows and {stamps_file} {number} stamps; give the stamps an"
                " array 'id' to match them by."
            )
        return np.arange(number)
    if id_column not in table.column_names:
        raise MissingColumnError(f"{votes_file} has no column {id_column!r} to match the stamps' ids with.")
    places = {str(value): row for row, value in enumerate(table[id_column].to_pylist())}
    if len(places) != len(table):
        raise MorphologyError(f"{votes_file}: ids in column {id_column!r} are not unique.")
    rows = [places.get(str(value), -1) for value in ids.tolist()]
    if missing := rows.count(-1):
        raise MorphologyError(
            f"{missing} of the {number} stamps in {stamps_file} have no row in {votes_file}."
        )
    return np.asarray(rows, dtype=np.intp)


def _votes(table: pa.Table, path: Path, tree: QuestionTree, suffix: str | None) -> npt.NDArray[np.int32]:
    """Return the votes by answer, 0 where there is no column."""
    votes = np.zeros((len(table), tree.n_answers), dtype=np.int32)
    theirs = answer_names(tree, suffix=suffix)
    found = 0
    for index, ours in enumerate(tree.answer_columns):
        for name in (theirs[ours], f"{ours}_votes", ours):
            if name in table.column_names:
                values = np.nan_to_num(np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float64))
                if (values < 0.0).any() or (values != np.rint(values)).any():
                    raise MorphologyError(f"{path}: column {name!r} holds no numbers of votes.")
                votes[:, index] = values
                found += 1
                break
    if not found:
        raise MissingColumnError(
            f"{path} has no column of votes of the tree {tree.name!r}, such as"
            f" {next(iter(theirs.values()))!r}."
        )
    return votes
