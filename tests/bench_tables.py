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

"""Time assembling, writing and gathering tables of 46 answers."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import healpy
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lsst.meas.morphology.posteriors import summarize
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.tables.assemble import morphology_table
from lsst.meas.morphology.tables.partition import gather


def timed(action: Callable[[], object]) -> float:
    """Return the least CPU time of five calls, in milliseconds."""
    times = []
    for _ in range(5):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def main() -> None:
    """Print one line per step."""
    tree = QuestionTree.load("rubin")
    rng = np.random.default_rng(1)
    n = 1000
    posteriors = summarize(rng.uniform(1.0, 101.0, (n, 2, tree.n_answers)), tree)

    def make(patch: int) -> pa.Table:
        return morphology_table(
            tree=tree,
            object_id=np.arange(n) + n * patch,
            tract=1,
            patch=patch,
            ra=rng.uniform(42.0, 44.0, n),
            dec=rng.uniform(2.0, 4.0, n),
            radius=np.ones(n),
            arcsec_per_px=np.ones(n),
            flags=np.zeros(n, dtype=np.uint32),
            posteriors=posteriors,
            model_id="0" * 64,
        )

    table = make(0)
    print(f"assemble {n} rows of {table.num_columns} columns: {timed(lambda: make(0)):.1f} ms")
    print(f"write them as Parquet to memory: {timed(lambda: pq.write_table(table, io.BytesIO())):.1f} ms")
    tables = [make(patch) for patch in range(50)]
    pixel = int(healpy.ang2pix(2**5, 43.0, 3.0, nest=True, lonlat=True))
    rows = gather(tables, pixel=pixel, order=5).num_rows
    took = timed(lambda: gather(tables, pixel=pixel, order=5))
    print(f"gather {rows} rows out of {len(tables)} tables of {n}: {took:.0f} ms")


if __name__ == "__main__":
    main()
