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

"""From a catalogue of image files to a table of what a model says."""

from __future__ import annotations

__all__ = ("PredictionSummary", "predict_catalog")

import dataclasses
import itertools
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from .errors import ModelMismatchError
from .images.catalog import CatalogRows, ImageCatalog
from .images.reader import ImageBatch, read_images
from .images.views import View
from .inference.engine import Engine, Predictions
from .inference.options import EngineOptions
from .inference.pool import EnginePool
from .model.manifest import Manifest
from .model.package import ModelPackage
from .model.rendering_spec import Rgb8Rendering
from .posteriors import summarize
from .tables.columns import NOVELTY_COLUMN
from .tables.image_rows import image_table

_LOG = logging.getLogger(__name__)

ROW_GROUP = 16384
"""Rows that are written at a time."""

_SHOWN = 10
"""Problems that are logged; the table holds all of them."""


@dataclasses.dataclass(frozen=True)
class PredictionSummary:
    """What a run over a catalogue came to."""

    images: int
    """Number of rows."""

    flagged: int
    """Number of images that could not be read."""

    seconds: float
    """Time from the first to the last image."""

    description: str
    """What ran the model, and where."""


def predict_catalog(
    package: ModelPackage,
    catalog: ImageCatalog,
    out: Path,
    *,
    options: EngineOptions,
    readers: int = 2,
    draws: int = 8,
    seed: int = 0,
    embeddings: bool = False,
    progress: Callable[[int], None] = lambda images: None,
) -> PredictionSummary:
    """Run a model over the images of a catalogue.

    Parameters
    ----------
    package
        A model whose pixels are ``rgb8``.
    catalog
        The images.
    out
        The Parquet file to write. It appears when all of it is there.
    options
        How the network is run.
    readers
        Threads that read and decode images meanwhile.
    draws
        Random views of each image for a model of Zoobot 2.0; one of 2.9
        has the one central view.
    seed
        Seed of the random views.
    embeddings
        Write the model's feature vectors too. A model without other
        outputs does it anyhow.
    progress
        Called with the number of images after each batch.

    Returns
    -------
    summary
        Counts and time.

    Raises
    ------
    ImageReadError
        Raised if the catalogue can't be read. An image that can't be is a
        flagged row.
    ModelMismatchError
        Raised if the model does not take images.

    Notes
    -----
    The views of an image are further samples of the posterior, beside those
    of the model's dropout masks; classes, quantities and embeddings are
    averaged over them.
    """
    view = _view(package.manifest, draws, seed)
    pool = EnginePool.from_package(package, options)
    run = _Run(pool, catalog, view, embeddings)
    images = flagged = 0
    started = time.perf_counter()
    with _Writer(out) as writer:
        for table, problems in run.tables(readers, max(1, options.batch_size // view.draws)):
            for problem in filter(None, problems):
                flagged += 1
                if flagged <= _SHOWN:
                    _LOG.warning("Flagged: %s", problem)
            images += len(problems)
            writer.add(table)
            progress(len(problems))
    if flagged > _SHOWN:
        _LOG.warning("Flagged: %d images in all; the table says why.", flagged)
    return PredictionSummary(images, flagged, time.perf_counter() - started, pool.description)


def _view(manifest: Manifest, draws: int, seed: int) -> View:
    """Return what the model is to be shown of each image."""
    rendering = manifest.rendering
    if not isinstance(rendering, Rgb8Rendering):
        raise ModelMismatchError(
            f"Model {manifest.name} {manifest.version} takes pixels as {manifest.pixels}, not images of 8"
            " bits: run it on coadds with pipetask, or import it again for images."
        )
    random = rendering.era == "2.0"
    return View(
        era=rendering.era,
        size=manifest.stamp_size,
        luma=rendering.greyscale == "itu",
        draws=draws if random else 1,
        seed=seed,
    )


type _Batch = tuple[CatalogRows, ImageBatch]


class _Run:
    """Images in, tables out, batch by batch."""

    def __init__(self, pool: EnginePool, catalog: ImageCatalog, view: View, embeddings: bool) -> None:
        self.pool, self.catalog, self.view = pool, catalog, view
        self.manifest = manifest = pool.manifest
        self.model_id = manifest.model_id
        self.tree = None if manifest.votes is None else manifest.tree
        others = (manifest.votes, manifest.classes, manifest.scalar)
        self.embeds = manifest.embedding is not None and (embeddings or not any(others))
        if embeddings and manifest.embedding is None:
            raise ModelMismatchError(f"Model {manifest.name} {manifest.version} has no embedding.")

    def tables(self, readers: int, batch_size: int) -> Iterator[tuple[pa.Table, tuple[str | None, ...]]]:
        """Yield a table and the problems of each batch; the first has no
        rows.
        """
        return self.pool.map(
            self._table, itertools.chain([self._nothing()], self._batches(readers, batch_size))
        )

    def _nothing(self) -> _Batch:
        pixels = np.empty((0, 3, self.view.size, self.view.size), np.float32)
        return CatalogRows((), ()), ImageBatch(pixels, np.empty(0, np.bool_), ())

    def _batches(self, readers: int, batch_size: int) -> Iterator[_Batch]:
        # The reader runs ahead, so the rows are remembered until they come
        # back with their pixels.
        shown, named = itertools.tee(
            (one, file)
            for rows in self.catalog.rows()
            for one, file in zip(rows.ids, rows.files, strict=True)
        )
        paths = (self.catalog.locate(file) for _, file in shown)
        for batch in read_images(paths, self.view, batch_size=batch_size, threads=readers):
            pairs = list(itertools.islice(named, len(batch)))
            yield CatalogRows(tuple(one for one, _ in pairs), tuple(file for _, file in pairs)), batch

    def _table(self, engine: Engine, rows_and_batch: _Batch) -> tuple[pa.Table, tuple[str | None, ...]]:
        rows, batch = rows_and_batch
        outputs = engine.predict(batch.pixels, np.ones(batch.pixels.shape, np.bool_))
        posteriors = None
        if self.tree is not None:
            assert outputs.alpha is not None
            answers = outputs.alpha.shape[-1]
            # Views and dropout masks alike are samples of the posterior.
            alpha = outputs.alpha.reshape(-1, self.view.draws * outputs.alpha.shape[1], answers)
            posteriors = summarize(_spread(alpha, batch.good), self.tree)
        table = image_table(
            names={self.catalog.id_column: rows.ids, self.catalog.file_column: rows.files},
            problems=batch.problems,
            model_id=self.model_id,
            tree=self.tree,
            posteriors=posteriors,
            values=self._values(outputs, batch.good),
            embedding=self._mean(outputs.embedding, batch.good) if self.embeds else None,
        )
        return table, batch.problems

    def _values(
        self, outputs: Predictions, good: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        values = {}
        if self.manifest.classes is not None:
            probabilities = self._mean(outputs.classes, good)
            for index, name in enumerate(self.manifest.classes.names):
                values[f"{name}_probability"] = probabilities[:, index]
        if self.manifest.scalar is not None:
            values[self.manifest.scalar.name] = self._mean(outputs.scalar, good)[:, 0]
        if self.manifest.novelty is not None:
            values[NOVELTY_COLUMN.name] = self._mean(outputs.novelty, good)[:, 0]
        return values

    def _mean(
        self, output: npt.NDArray[np.float32] | None, good: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """Average an output ``[m * draw, value]`` over the draws."""
        assert output is not None
        return _spread(output.reshape(-1, self.view.draws, output.shape[-1]).mean(axis=1), good)


def _spread(values: npt.NDArray[np.float32], good: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Put rows of good images into their places, NaN elsewhere."""
    spread = np.full((len(good), *values.shape[1:]), np.nan, np.float32)
    spread[good] = values
    return spread


class _Writer:
    """Writes a Parquet file beside its place and moves it there at last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._file: pyarrow.parquet.ParquetWriter | None = None

    def __enter__(self) -> _Writer:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        os.close(handle)
        self._partial = Path(name)
        return self

    def add(self, table: pa.Table) -> None:
        """Add rows; the first table, which may be empty, says the columns."""
        if self._file is None:
            self._file = pyarrow.parquet.ParquetWriter(self._partial, table.schema, compression="zstd")
        self._tables.append(table)
        self._rows += len(table)
        if self._rows >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        assert self._file is not None
        if self._tables:
            self._file.write_table(pa.concat_tables(self._tables).combine_chunks())
        self._tables, self._rows = [], 0

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._flush()
            if self._file is not None:
                self._file.close()
            if kind is None:
                # A temporary file is private; a table is not.
                self._partial.chmod(0o666 & ~_umask())
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
