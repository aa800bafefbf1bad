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

"""Many image files, read ahead of the network by several threads."""

from __future__ import annotations

__all__ = ("ImageBatch", "read_images")

import collections
import concurrent.futures
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ImageReadError
from .views import View

BATCHES_AHEAD = 2
"""Batches that may be decoded before the network asks for them."""


@dataclasses.dataclass(frozen=True)
class ImageBatch:
    """Some images in the catalogue's order."""

    pixels: npt.NDArray[np.float32]
    """Views of the images that could be read (0 to 255), ``[m, 3, s, s]``
    with all draws of one image together."""

    good: npt.NDArray[np.bool_]
    """Whether each image could be read, ``[n]``."""

    problems: tuple[str | None, ...]
    """Why an image could not be read, `None` where it could."""

    def __len__(self) -> int:
        return len(self.good)


def read_images(paths: Iterable[Path], view: View, *, batch_size: int, threads: int) -> Iterator[ImageBatch]:
    """Read images, batch by batch.

    Parameters
    ----------
    paths
        The files, in the order of the catalogue. They are asked for as they
        are needed.
    view
        What the model is shown of each.
    batch_size
        Images in a batch; the last may have fewer.
    threads
        Threads that read and decode. They go on while a batch is used,
        until `BATCHES_AHEAD` batches are waiting.

    Yields
    ------
    batch
        The batch. A file that can't be read is not an error but a problem
        of its row.
    """
    rows = enumerate(paths)
    waiting: collections.deque[concurrent.futures.Future[npt.NDArray[np.uint8] | str]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="images") as pool:
        try:
            while True:
                missing = (BATCHES_AHEAD + 1) * batch_size - len(waiting)
                for row, path in itertools.islice(rows, missing):
                    waiting.append(pool.submit(_read, path, row, view))
                if not waiting:
                    return
                yield _gather([waiting.popleft() for _ in range(min(batch_size, len(waiting)))], view)
        finally:
            for future in waiting:
                future.cancel()


def _read(path: Path, row: int, view: View) -> npt.NDArray[np.uint8] | str:
    """Return the views of a file, or what is wrong with it."""
    try:
        return view.read(path, row)
    except ImageReadError as error:
        return str(error)


def _gather(futures: list[concurrent.futures.Future[npt.NDArray[np.uint8] | str]], view: View) -> ImageBatch:
    """Wait for the images of a batch and put them together."""
    results = [future.result() for future in futures]
    views = [result for result in results if not isinstance(result, str)]
    pixels = np.empty((len(views) * view.draws, 3, view.size, view.size), np.float32)
    for index, one in enumerate(views):
        pixels[index * view.draws : (index + 1) * view.draws] = one
    problems = tuple(result if isinstance(result, str) else None for result in results)
    return ImageBatch(pixels, np.array([problem is None for problem in problems], np.bool_), problems)
