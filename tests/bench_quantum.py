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

"""One quantum of a full patch of three bands: seconds by stage, and memory.

Run as ``python tests/bench_quantum.py [FOLDER]``; the repository that it
makes (some 400 MB, a few minutes) stays in FOLDER if one is given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
from astropy.table import Table

SKYMAP = "morph_bench"
SIZES = (10, 1000, 7000)
WHERE = {"skymap": SKYMAP, "tract": 1}


def make_repository(root: Path) -> None:
    """Write two full patches, and object tables of several lengths."""
    from lsst.daf.butler import Butler
    from lsst.meas.morphology.butler import ingest
    from lsst.meas.morphology.model.shipped import find_model
    from lsst.meas.morphology.simulation.repo import simulate_repository

    if not root.exists():
        simulate_repository(
            root,
            columns=1,
            rows=1,
            patch_cells=22,
            n_galaxies=100,
            n_neighbours=0,
            n_stars=20,
            nasty=False,
            missing_band=None,
            skymap=SKYMAP,
        )
        with Butler.from_config(str(root), writeable=True) as butler:
            ingest(butler, find_model("rubin"))
            table = butler.get("object", WHERE, collections="sim")
            for n in SIZES:
                butler.collections.register(f"objects/{n}")
                butler.put(scatter(table, n, butler), "object", WHERE, run=f"objects/{n}")


def scatter(table: Table, n: int, butler: object) -> Table:
    """Return n bright, resolved objects anywhere in the patch."""
    rng = np.random.default_rng(n)
    projection = butler.get("deep_coadd.sky_projection", WHERE, patch=0, band="r", collections="sim")  # type: ignore[attr-defined]
    box = butler.get("deep_coadd.bbox", WHERE, patch=0, band="r", collections="sim")  # type: ignore[attr-defined]
    bright = np.flatnonzero(
        (table["i_cModelFlux"] > 1.2e4) & (table["refExtendedness"] > 0.5) & (table["shape_xx"] > 12)
    )
    rows = table[rng.choice(bright, n)]
    x = rng.uniform(box.x.start, box.x.stop, n)
    y = rng.uniform(box.y.start, box.y.stop, n)
    sky = projection.pixel_to_sky(x=x, y=y)
    rows["objectId"] = np.arange(n) + 1
    rows["coord_ra"], rows["coord_dec"], rows["patch"] = sky.ra.deg, sky.dec.deg, 0
    rows["i_cModelFluxErr"] = rows["i_cModelFlux"] / 100.0
    return rows


def run_quantum(root: Path, n: int) -> None:
    """Run the quantum in this process and print its figures as JSON."""
    # All that the measurement imports, so that memory is counted beyond it.
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401

    from lsst.meas.morphology.model.package import ModelPackage
    from lsst.meas.morphology.model.shipped import find_model
    from lsst.pipe.base import Pipeline
    from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

    manifest = ModelPackage.open(find_model("rubin")).manifest
    model_run = f"models/morphology/{manifest.name}/{manifest.version}"
    pipeline = Pipeline.from_uri("resource://lsst.meas.morphology/pipelines/Morphology.yaml#step1-measure")
    before = high_water()
    inputs = [f"objects/{n}", "sim", model_run]
    output = f"u/bench{n}/{uuid.uuid4().hex[:8]}"
    with SimplePipelineExecutor.prep_butler(str(root), inputs, output) as butler:
        executor = SimplePipelineExecutor.from_pipeline(
            pipeline, where=f"skymap='{SKYMAP}' AND tract=1", butler=butler
        )
        executor.run(register_dataset_types=True, save_versions=False)
        (ref,) = butler.query_datasets("measureMorphology_metadata", collections=output)
        metadata = butler.get(ref)["measureMorphology"]
    peak = (high_water() - before) / 1024
    seconds = {name: metadata["seconds"][name] for name in metadata["seconds"]}
    print(json.dumps({"targets": metadata["targets"], "seconds": seconds, "peak": peak}))


def high_water() -> int:
    """Return the largest memory of this process so far, in KiB.

    Not `resource.getrusage`, which counts the parent's memory too.
    """
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def main(folder: Path) -> None:
    root = folder / "repo"
    make_repository(root)
    print("\ntargets   " + "  ".join(f"{name:>10}" for name in STAGES) + "   peak MiB")
    reading = {}
    for n in SIZES:
        command = [sys.executable, __file__, "--one", str(root), str(n)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        figures = json.loads(result.stdout.splitlines()[-1])
        seconds = figures["seconds"]
        reading[n] = seconds["read"]
        cells = "  ".join(f"{seconds.get(name, 0.0):>8.2f} s" for name in STAGES)
        print(f"{figures['targets']:>7}   {cells}   {figures['peak']:>8.0f}")
        per_target = {name: 1e3 * seconds[name] / n for name in ("stamps", "inference", "posteriors")}
        print("          " + ", ".join(f"{name} {ms:.2f} ms a target" for name, ms in per_target.items()))
    print(f"reading for 1000 targets over reading for 10: {reading[1000] / reading[10]:.1f}")


STAGES = ("objects", "select", "read", "stamps", "inference", "posteriors", "assemble", "write")

if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run_quantum(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
