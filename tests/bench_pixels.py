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

"""Time and memory of reading and cutting a DP2-sized patch.

Run as ``python tests/bench_pixels.py [FOLDER]``; the coadds that it writes
(200 MB, half a minute) stay in FOLDER if one is given.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from test_planes import write_coadd

from lsst.images.cells import CellCoadd
from lsst.images.serialization import open_archive
from lsst.meas.morphology.model.manifest import FieldOfView
from lsst.meas.morphology.pixels.cover import Cover, choose_cover
from lsst.meas.morphology.pixels.geometry import Geometry, read_geometry
from lsst.meas.morphology.pixels.planes import Planes, read_planes
from lsst.meas.morphology.pixels.source import CoaddSource
from lsst.meas.morphology.pixels.stamps import cut_stamps, stamp_boxes
from lsst.meas.morphology.pixels.targets import Targets

BANDS = ("g", "r", "i")
SIDE, X0, Y0 = 3300, 6000, 3000
COMPONENTS = ("image", "mask", "variance", "sky_projection")


def write_patch(folder: Path) -> list[CoaddSource]:
    """Write a patch's coadds, unless they are there."""
    rng = np.random.default_rng(0)
    hole = np.zeros((SIDE, SIDE), np.bool_)
    hole[150:300, 1200:1350] = True
    for band in BANDS:
        if not (folder / f"{band}.fits").exists():
            variance = rng.normal(100, 1, (SIDE, SIDE)).astype(np.float32)
            variance[hole] = np.inf
            masks = {"NO_DATA": hole, "DETECTED": rng.random((SIDE, SIDE)) < 0.1}
            write_coadd(
                folder / f"{band}.fits",
                rng.normal(0, 10, (SIDE, SIDE)).astype(np.float32),
                variance=variance,
                masks=masks,
                cell=150,
                band=band,
                x0=X0,
                y0=Y0,
            )
    return [CoaddSource(band, str(folder / f"{band}.fits")) for band in BANDS]


def scatter(n: int, geometry: Geometry, low: float, high: float) -> Targets:
    """Return targets anywhere in a patch, of radii between two values."""
    rng = np.random.default_rng(n)
    x0, y0, x1, y1 = geometry.bbox
    x, y = rng.uniform(x0, x1 - 1, n), rng.uniform(y0, y1 - 1, n)
    radius = rng.uniform(low, high, n).astype(np.float32)
    zeros = np.zeros(n, np.int32)
    return Targets(np.arange(n), zeros, zeros, x, y, x, y, radius, np.zeros(n, np.uint32))


def field(size: int) -> FieldOfView:
    """Return stamps whose sides are the targets' radii."""
    return FieldOfView(rule="radius", multiple=1.0, min_arcsec=0.1 * size, max_arcsec=1.0 * size)


def seconds(*functions: Callable[[], object], repeats: int = 3) -> list[tuple[float, float]]:
    """Return each function's least wall-clock and CPU times, taken in turn."""
    times = np.full((len(functions), 2), np.inf)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = np.array([time.perf_counter(), time.process_time()])
            function()
            times[i] = np.minimum(times[i], [time.perf_counter(), time.process_time()] - start)
    return [(float(wall), float(cpu)) for wall, cpu in times]


def cover_of(n: int, geometry: Geometry) -> Cover:
    """Return the cover of targets with stamps of 64 pixels at scale 1 to 2."""
    targets = scatter(n, geometry, 12.8, 25.6)
    return choose_cover(stamp_boxes(targets, geometry, field_of_view=field(64), stamp_size=64), geometry.bbox)


def count(planes: Planes, targets: Targets, geometry: Geometry, size: int) -> int:
    """Cut stamps and let them go."""
    batches = cut_stamps(
        planes, targets, geometry, field_of_view=field(size), stamp_size=size, bands=BANDS, batch_size=64
    )
    return sum(len(batch) for batch in batches)


def bare(source: CoaddSource) -> None:
    """Read a coadd's components and do nothing with them."""
    with open_archive(source.uri, cls=CellCoadd, partial=True) as reader:
        for name in COMPONENTS:
            reader.get_component(name)


def peak() -> int:
    """Return this process's peak resident size in MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) // 1024


def measure_memory(folder: str) -> None:
    """Print the growth of the peak resident size over a whole patch."""
    sources = write_patch(Path(folder))
    geometry = read_geometry(sources[0])
    start = peak()
    planes = read_planes(sources, BANDS, cover_of(7000, geometry), threads=3)
    count(planes, scatter(7000, geometry, 12.8, 25.6), geometry, 64)
    print(peak() - start)


def main(folder: Path) -> None:
    sources = write_patch(folder)
    geometry = read_geometry(sources[0])
    full, sparse = cover_of(1000, geometry), cover_of(10, geometry)
    assert full.full
    assert not sparse.full
    print(
        "| reading 3 bands, 3300x3300 px | wall s | CPU s | wall ratio | CPU ratio |\n|---|---|---|---|---|"
    )
    for threads in (1, 2, 3):

        def reference(threads: int = threads) -> None:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(bare, sources))

        def read(cover: Cover, threads: int = threads) -> None:
            read_planes(sources, BANDS, cover, threads=threads)

        base, dense, few = seconds(reference, lambda: read(full), lambda: read(sparse))
        for name, (wall, cpu) in (("bare components", base), ("1000 targets", dense), ("10 targets", few)):
            ratios = f"{wall / base[0]:.2f} | {cpu / base[1]:.2f}"
            print(f"| {name}, {threads} threads | {wall:.2f} | {cpu:.2f} | {ratios} |")
    planes = read_planes(sources, BANDS, full, threads=3)
    print("\n| stamp | pixels per stamp pixel | wall ms per target | CPU ms |\n|---|---|---|---|")
    for size in (64, 96):
        for low, high in ((1, 1), (1, 2), (2, 2), (4, 4)):
            targets = scatter(1000, geometry, low * size * 0.2, high * size * 0.2)
            ((wall, cpu),) = seconds(lambda t=targets, size=size: count(planes, t, geometry, size))
            print(f"| {size} px | {low} to {high} | {wall:.3f} | {cpu:.3f} |")
    command = [sys.executable, __file__, "--memory", str(folder)]
    growth = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print(f"\nPeak memory beyond the imports, 7000 targets, 3 threads: {growth} MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(sys.argv[2])
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(Path(name))
