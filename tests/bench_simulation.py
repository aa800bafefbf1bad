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

"""What simulation costs: ``python tests/bench_simulation.py``."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import logging  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from lsst.meas.morphology.simulation.stamps import sample_stamps  # noqa: E402

NEEDED = 150.0
"""Stamps of 64 pixels and three bands per second on one core."""


def main() -> None:
    """Print rates of stamps, and the time a default repository takes."""
    for size, bands in ((64, "gri"), (96, "gri"), (64, "ugrizy")):
        sample_stamps(1, 32, stamp_size=size, bands=tuple(bands))
        n = 512
        start = time.process_time()
        sample_stamps(2, n, stamp_size=size, bands=tuple(bands))
        rate = n / (time.process_time() - start)
        print(f"stamps, {size} px, {bands}: {rate:.0f} /s, {rate / NEEDED:.1f} times what training needs")
    from lsst.meas.morphology.simulation.repo import simulate_repository

    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        made = simulate_repository(Path(folder) / "repo")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(p.stat().st_size for p in made.path.rglob("*") if p.is_file())
        print(
            f"default repository: {len(made.objects)} objects, {size / 2**20:.0f} MiB, {cpu:.0f} s of CPU, "
            f"{wall:.0f} s"
        )


if __name__ == "__main__":
    main()
