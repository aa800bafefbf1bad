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

"""Tidal features: what a background takes, how many are cut, what it costs.

Run as ``python tests/bench_tides.py background LIBRARY``, where LIBRARY is
a folder of encounters; as ``... cut``; or as ``... cost MODEL [FOLDER]``,
where the repository that it makes (some 400 MB, a few minutes) stays in
FOLDER if one is given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np

EXTENTS = (10.0, 20.0, 30.0, 45.0, 60.0, 100.0)
"""Edges of the bins of extent (arcsec)."""

FIELD = 1408
"""Side of the field about a host (native pixels): eleven bins."""


def field_of_view():
    """Return that of the default model."""
    from lsst.meas.morphology.model.manifest import FieldOfView

    return FieldOfView(rule="radius", multiple=4.5, min_arcsec=51.2, max_arcsec=204.8)


def background(library: str, n: int = 128) -> None:
    """Show what bins of 128 pixels take of features, by their extent."""
    from lsst.meas.morphology.masks.measurement import measure_features
    from lsst.meas.morphology.masks.settings import FeatureSettings
    from lsst.meas.morphology.model.manifest import TidesHead
    from lsst.meas.morphology.simulation.tidal.library import EncounterLibrary
    from lsst.meas.morphology.simulation.tidal.source import sample_tides
    from lsst.meas.morphology.surface_brightness import truth_masks

    settings = FeatureSettings.from_head(TidesHead(planes=("debris",)))
    rows = []
    for start in range(0, n, 32):
        stamps = sample_tides(
            77, 32, library=EncounterLibrary.open(library), visits=40.0, share_undisturbed=0.0, start=start
        )
        stamps = stamps[~stamps.properties["oversubtracted"]]
        r = stamps.bands.index("r")
        masks = truth_masks(
            stamps.debris, stamps.host + stamps.others, stamps.mask_limit(), stamps.arcsec_per_px
        )
        area = np.square(stamps.arcsec_per_px.astype(np.float64))[:, None, None]
        truth = (area * stamps.debris.sum(axis=1) * masks.any_mask).sum(axis=(1, 2))
        taken = np.stack([taken_light(stamps, k) for k in range(len(stamps))])
        lost = (area * taken * masks.any_mask).sum(axis=(1, 2))
        flux = []
        for image in (stamps.flux[:, r] / area, stamps.flux[:, r] / area - taken):
            measured = measure_features(
                masks.any_mask[:, None].astype(np.float32),
                np.ones((len(stamps), 1)),
                image[:, None].astype(np.float32),
                stamps.valid[:, r : r + 1],
                stamps.arcsec_per_px,
                stamps.sigma[:, r : r + 1],
                settings=settings,
            )
            flux.append(measured.flux[:, 0, 0])
        visible = masks.visible.any(axis=1) & (truth > 0)
        columns = np.stack([measured.extent[:, 0], lost, *flux])[:, visible]
        columns[1:] /= truth[visible]
        rows.append(columns)
    extent, lost, restored, subtracted = np.concatenate(rows, axis=1)
    print("extent (arcsec)  features  taken; flux if restored, subtracted; |error| if restored, subtracted")
    for low, high in zip(EXTENTS[:-1], EXTENTS[1:], strict=True):
        chosen = (extent >= low) & (extent < high)
        if chosen.any():
            figures = [np.median(x[chosen]) for x in (lost, restored, subtracted)]
            errors = [np.median(np.abs(x[chosen] - 1.0)) for x in (restored, subtracted)]
            print(f"{low:4.0f} to {high:3.0f} {chosen.sum():12d}", *(f"{x:12.3f}" for x in figures + errors))


def taken_light(stamps, k: int) -> np.ndarray:
    """Return the background of a host's field, at its stamp's pixels."""
    from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates

    from lsst.images import Box, Interval
    from lsst.images.fields import SplineField
    from lsst.meas.morphology.simulation.background import fit_background

    r = stamps.bands.index("r")
    scale = float(stamps.arcsec_per_px[k]) / 0.2
    light = (stamps.host[k] + stamps.others[k] + stamps.debris[k].sum(axis=0)) * 0.04
    size = light.shape[0]
    axis = (np.arange(FIELD) - (FIELD - 1) / 2.0) / scale + (size - 1) / 2.0
    y, x = np.meshgrid(axis, axis, indexing="ij")
    image = map_coordinates(light, [y, x], order=1, mode="constant")
    sigma = float(stamps.sigma[k, r])
    image += np.random.default_rng(k).normal(0.0, sigma, image.shape)
    width = float(stamps.fwhm[k, r]) / 2.3548 / 0.2
    # Five sigma of what a match to the PSF leaves of the noise.
    detected = gaussian_filter(image, width) > 5.0 * sigma / (2.0 * np.sqrt(np.pi) * width)
    detected = binary_dilation(detected, iterations=round(2.4 * width))
    level, rows, columns = fit_background(image, ~detected)
    box = Box(y=Interval(0, FIELD), x=Interval(0, FIELD))
    model = SplineField(box, level, y=rows, x=columns).render().array
    inner = (np.arange(size) - (size - 1) / 2.0) * scale + (FIELD - 1) / 2.0
    return map_coordinates(model, np.meshgrid(inner, inner, indexing="ij"), order=1, mode="nearest") / 0.04


def cut(n: int = 4000) -> None:
    """Count the hosts whose stamps a patch's edge cuts, by their radius."""
    from lsst.meas.morphology.flags import Flag
    from lsst.meas.morphology.pixels.cover import Cover
    from lsst.meas.morphology.pixels.geometry import Geometry
    from lsst.meas.morphology.pixels.planes import Planes
    from lsst.meas.morphology.pixels.stamps import cut_stamps
    from lsst.meas.morphology.pixels.targets import Targets

    side, border = 3300, 150
    bbox = (0, 0, side, side)
    geometry = Geometry(bbox, 0.2, lambda ra, dec: (ra, dec))
    empty = np.zeros((1, side, side), np.float32)
    planes = Planes(("r",), Cover(bbox, True, (bbox,)), empty, empty.astype(np.uint8), frozenset())
    rng = np.random.default_rng(1)
    print("radius (arcsec)  side (arcsec)  cut, geometry  cut, counted")
    for radius in (10.0, 15.0, 20.0, 30.0, 45.5, 60.0):
        x, y = rng.uniform(border - 0.5, side - border - 0.5, (2, n))
        index = np.arange(n)
        flags = np.zeros(n, np.uint32)
        targets = Targets(index, index, index, x, y, x, y, np.full(n, radius, np.float32), flags)
        field = field_of_view()
        batches = cut_stamps(
            planes, targets, geometry, field_of_view=field, stamp_size=32, bands=("r",), batch_size=64
        )
        edge = np.mean(np.concatenate([(s.flags & np.uint32(Flag.EDGE)) != 0 for s in batches]))
        stamp = float(field.arcsec_per_px(np.array([radius]), 1)[0][0])
        beyond = max(0.0, 0.5 * stamp - 0.2 * border)
        inner = 0.2 * (side - 2 * border)
        print(f"{radius:15.1f} {stamp:14.1f} {1 - (1 - 2 * beyond / inner) ** 2:14.3f} {edge:13.3f}")


def cost(model: str, folder: Path) -> None:
    """Print the seconds of both tasks on one patch of 3300 by 3300 pixels."""
    from bench_quantum import SKYMAP, make_repository

    from lsst.daf.butler import Butler
    from lsst.meas.morphology.butler import ingest
    from lsst.meas.morphology.model.package import ModelPackage

    make_repository(folder)
    manifest = ModelPackage.open(model).manifest
    with Butler.from_config(str(folder), writeable=True) as butler:
        run = f"models/morphology/{manifest.name}/{manifest.version}"
        if run not in butler.collections.query("*"):
            ingest(butler, Path(model))
    for subset in ("step1-measure", "step1-tides", "step1-measure,step1-tides"):
        command = [sys.executable, __file__, "quantum", str(folder), subset, manifest.name, run, SKYMAP]
        print(subset, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def quantum(root: str, subset: str, name: str, run: str, skymap: str) -> None:
    """Run quanta in this process and print their seconds by stage."""
    import resource
    import time

    from lsst.meas.morphology.model.package import ModelPackage
    from lsst.meas.morphology.model.shipped import find_model
    from lsst.pipe.base import Pipeline
    from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

    votes = ModelPackage.open(find_model("rubin")).manifest
    inputs = ["objects/1000", "sim", f"models/morphology/{votes.name}/{votes.version}", run]
    pipeline = Pipeline.from_uri(f"resource://lsst.meas.morphology/pipelines/Morphology.yaml#{subset}")
    if "tides" in subset:
        pipeline.addConfigOverride("segmentTidalFeatures", "connections.modelName", name)
    output = f"u/bench_tides/{uuid.uuid4().hex[:8]}"
    with SimplePipelineExecutor.prep_butler(root, inputs, output) as butler:
        executor = SimplePipelineExecutor.from_pipeline(
            pipeline, where=f"skymap='{skymap}' AND tract=1", butler=butler
        )
        start = time.process_time()
        executor.run(register_dataset_types=True, save_versions=False)
        figures = {"cpu": round(time.process_time() - start, 2)}
        for label in ("measureMorphology", "segmentTidalFeatures"):
            if label in executor.quantum_graph.pipeline_graph.tasks:
                (ref,) = butler.query_datasets(f"{label}_metadata", collections=output)
                metadata = butler.get(ref)[label]
                stages = metadata["seconds"]
                figures[label] = {
                    "targets": metadata["targets"],
                    **{stage: round(stages[stage], 2) for stage in stages},
                }
    figures["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def main() -> None:
    """Run what the command line names."""
    what, *arguments = sys.argv[1:] or ["cut"]
    if what == "cost" and len(arguments) == 1:
        with tempfile.TemporaryDirectory() as folder:
            cost(arguments[0], Path(folder) / "repo")
    elif what == "cost":
        cost(arguments[0], Path(arguments[1]))
    else:
        {"background": background, "cut": cut, "quantum": quantum}[what](*arguments)


if __name__ == "__main__":
    main()
