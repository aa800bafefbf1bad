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

"""Time `summarize`: CPU milliseconds an object of 46 answers, 16 samples."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import time  # noqa: E402
import tracemalloc  # noqa: E402

import numpy as np  # noqa: E402

from lsst.meas.morphology.posteriors import log_probability, summarize  # noqa: E402
from lsst.meas.morphology.questions.tree import QuestionTree  # noqa: E402

BUDGET = 1.5
OBJECTS = 1000


def main() -> None:
    """Print one line per range of concentrations."""
    tree = QuestionTree.load("rubin")
    rng = np.random.default_rng(1)
    for low, high in ((1.0, 101.0), (0.05, 2.0), (50.0, 200.0), (100.0, 1000.0), (1000.0, 5000.0)):
        alpha = np.exp(rng.uniform(np.log(low), np.log(high), (OBJECTS, 16, tree.n_answers))).astype(
            np.float32
        )
        summarize(alpha[:10], tree)
        times = []
        for _ in range(3):
            start = time.process_time()
            summarize(alpha, tree)
            times.append((time.process_time() - start) / OBJECTS * 1e3)
        best = min(times)
        print(
            f"summarize, alpha {low:g} to {high:g}: {best:.3f} ms/object, {best / BUDGET:.2f} of the budget"
        )
    votes = rng.integers(0, 20, (OBJECTS, tree.n_answers))
    start = time.process_time()
    log_probability(votes, alpha, tree)
    print(f"log_probability: {(time.process_time() - start) / OBJECTS * 1e3:.3f} ms/object")
    tracemalloc.start()
    summarize(alpha, tree)
    print(f"peak memory of summarize beyond its input: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
