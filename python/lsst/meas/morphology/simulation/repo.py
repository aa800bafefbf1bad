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

"""Butler repositories of simulated skies, in the format of DP2."""

from __future__ import annotations

__all__ = ("SimulatedRepository", "simulate_repository")

import dataclasses
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lsst.daf.butler import Butler, CollectionType, DatasetType

from ..errors import MissingExtraError
from ..questions.tree import QuestionTree
from .galaxies import Mix, colour_offset
from .layout import SkyLayout, TractLayout, make_layout
from .measuring import measure
from .sky import SkyObjects, draw_sky
from .votes import draw_votes, true_probabilities

if TYPE_CHECKING:
    from .drawing import Survey

_LOG = logging.getLogger(__name__)

INSTRUMENT = "MorphologySim"
"""Name of the instrument, which only gives the bands their names."""

type Progress = Callable[[int, int], object]


@dataclasses.dataclass(frozen=True)
class SimulatedRepository:
    """What was written."""

    path: Path
    """Root of the repository."""

    skymap: str
    """Name of the skymap."""

    collection: str
    """Collection that holds all datasets."""

    layout: SkyLayout
    """Where tracts and patches are."""

    objects: SkyObjects
    """What is on the sky."""

    missing: tuple[tuple[int, int, str], ...]
    """Tract, patch and band of the coadds that are missing on purpose."""


def simulate_repository(
    dest: str | os.PathLike[str],
    *,
    center_ra: float = 150.0,
    center_dec: float = 2.2,
    columns: int = 2,
    rows: int = 2,
    patch_cells: int = 7,
    border_cells: int = 1,
    cell_size: int = 150,
    n_galaxies: int = 40,
    n_neighbours: int = 60,
    n_stars: int = 12,
    bands: tuple[str, ...] = ("g", "r", "i"),
    fwhm: float = 0.85,
    visits: float = 60.0,
    mix: Mix | None = None,
    nasty: bool = True,
    missing_band: str | None = "i",
    background_bin: int | None = None,
    skymap: str = "lsst_cells_sim",
    run: str = "sim/raw",
    collection: str = "sim",
    seed: int = 1,
    progress: Progress | None = None,
) -> SimulatedRepository:
    """Write a repository with coadds, objects and truth.

    Two overlapping tracts, each with patches of real `CellCoadd` files
    (``deep_coadd``), an ``object`` table, and ``morphology_truth``.

    Parameters
    ----------
    dest
        Folder of the repository; must not exist or be empty.
    center_ra, center_dec
        Tangent point of the first tract in degrees; 0 and a pole are fine.
    columns, rows
        Patches of a tract along x and y.
    patch_cells
        Cells along the side of a patch, its border among them.
    border_cells
        Cells of a patch's border on each side.
    cell_size
        Side of a cell in pixels.
    n_galaxies, n_neighbours, n_stars
        Number of galaxies brighter than i = 21, fainter galaxies, and stars
        per patch.
    bands
        Names of the bands, out of u, g, r, i, z, y.
    fwhm
        Mean FWHM in r (arcsec).
    visits
        Number of visits in each band.
    mix
        The galaxies' mix; `None` is half ``training``, half ``natural``.
    nasty
        Whether to add objects that are hard to measure.
    missing_band
        Band that the last patch of the last tract lacks, if any.
    background_bin
        Side of the bins (pixels) of the background that is subtracted from
        the coadds and kept with them; `None` for none.
    skymap
        Name of the skymap.
    run, collection
        RUN collection of the datasets, and the CHAINED one that holds it.
    seed
        Seed of everything.
    progress
        Called with the numbers of steps done and to do.

    Returns
    -------
    repository
        What was written.

    Raises
    ------
    FileExistsError
        Raised if ``dest`` holds anything.
    ValueError
        Raised if the layout is impossible or a band unknown.
    lsst.meas.morphology.errors.MissingExtraError
        Raised if GalSim is not installed.
    """
    try:
        from .drawing import Survey, draw_tract
    except ModuleNotFoundError as error:
        raise MissingExtraError("galsim", "simulate", "draw simulated coadds") from error
    from .coadds import make_coadd

    dest = Path(dest)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise FileExistsError(f"{dest} is not empty: choose another folder, or remove it first.")
    layout = make_layout(
        center_ra,
        center_dec,
        columns=columns,
        rows=rows,
        patch_cells=patch_cells,
        border_cells=border_cells,
        cell_size=cell_size,
    )
    for band in bands:
        colour_offset(band)
    survey = Survey(bands, fwhm, visits)
    objects = draw_sky(
        layout, seed, n_galaxies=n_galaxies, n_neighbours=n_neighbours, n_stars=n_stars, mix=mix, nasty=nasty
    )
    last = layout.tracts[-1]
    missing = tuple((last.tract, last.patches[-1].patch, b) for b in bands if b == missing_band)
    coadds_to_write = len(layout.tracts) * columns * rows * len(bands) - len(missing)
    tracker = _Tracker(progress, len(layout.tracts) * len(objects) + 20 * coadds_to_write)
    _LOG.info(
        "Simulating %d objects in %d tracts of %d patches", len(objects), len(layout.tracts), columns * rows
    )
    Butler.makeRepo(str(dest))
    with Butler.from_config(str(dest), writeable=True, run=run) as butler:
        _register(butler, layout, bands, skymap, collection, run)
        for tract in layout.tracts:
            planes = draw_tract(tract, objects, survey, seed, progress=tracker.advance)
            for patch in tract.patches:
                for band in bands:
                    if (tract.tract, patch.patch, band) in missing:
                        continue
                    coadd = make_coadd(
                        planes[band], tract, patch, band, skymap=skymap, background_bin=background_bin
                    )
                    butler.put(
                        coadd, "deep_coadd", skymap=skymap, tract=tract.tract, patch=patch.patch, band=band
                    )
                    tracker.advance(20)
            lacking = {patch: [band] for number, patch, band in missing if number == tract.tract}
            _put_tables(butler, tract, objects[objects.tract == tract.tract], survey, seed, lacking, skymap)
    return SimulatedRepository(dest, skymap, collection, layout, objects, missing)


class _Tracker:
    """Counts steps for whoever wants to know."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def advance(self, steps: int) -> None:
        """Report that some more steps are done."""
        self._done += steps
        if self._progress is not None:
            self._progress(self._done, self._total)


def _register(
    butler: Butler, layout: SkyLayout, bands: tuple[str, ...], skymap: str, collection: str, run: str
) -> None:
    """Insert dimension records, dataset types and collections."""
    registry = butler.registry
    registry.insertDimensionData(
        "instrument",
        {
            "name": INSTRUMENT,
            "visit_max": 1,
            "exposure_max": 1,
            "detector_max": 1,
            "visit_system": 0,
            "class_name": "lsst.obs.base.Instrument",
        },
    )
    registry.insertDimensionData(
        "physical_filter", *({"instrument": INSTRUMENT, "name": f"{b}_sim", "band": b} for b in bands)
    )
    first = layout.tracts[0]
    registry.insertDimensionData(
        "skymap",
        {
            "name": skymap,
            "hash": hashlib.sha1(repr(layout).encode()).digest(),
            "tract_max": max(t.tract for t in layout.tracts) + 1,
            "patch_nx_max": first.columns,
            "patch_ny_max": first.rows,
        },
    )
    for tract in layout.tracts:
        registry.insertDimensionData(
            "tract", {"skymap": skymap, "id": tract.tract, "region": tract.region(tract.bounds)}
        )
        registry.insertDimensionData(
            "patch",
            *(
                {
                    "skymap": skymap,
                    "tract": tract.tract,
                    "id": patch.patch,
                    "cell_x": patch.column,
                    "cell_y": patch.row,
                    "region": tract.region(patch.outer),
                }
                for patch in tract.patches
            ),
        )
    for name, dimensions, storage_class in (
        ("deep_coadd", ("skymap", "tract", "patch", "band"), "CellCoadd"),
        ("object", ("skymap", "tract"), "ArrowAstropy"),
        ("morphology_truth", ("skymap", "tract"), "ArrowAstropy"),
    ):
        registry.registerDatasetType(DatasetType(name, dimensions, storage_class, universe=butler.dimensions))
    butler.collections.register(collection, CollectionType.CHAINED)
    butler.collections.redefine_chain(collection, [run])


def _put_tables(
    butler: Butler,
    tract: TractLayout,
    objects: SkyObjects,
    survey: Survey,
    seed: int,
    missing_bands: dict[int, list[str]],
    skymap: str,
) -> None:
    """Measure a tract's objects, ask volunteers, and write both tables."""
    from .drawing import object_conditions, rotated
    from .tables import object_table, truth_table

    tree = QuestionTree.load("rubin")
    conditions = object_conditions(objects, tract, survey)
    fwhm, sigma = conditions.reference()
    measurement = measure(rotated(objects, tract), fwhm, sigma)
    probabilities = true_probabilities(objects.parameters, conditions, tree)
    votes = draw_votes(np.random.default_rng([seed, 3, tract.tract]), probabilities, tree)
    where = {"skymap": skymap, "tract": tract.tract}
    table = object_table(objects, measurement, conditions, missing_bands=missing_bands)
    butler.put(table, "object", where)
    butler.put(truth_table(objects, conditions, probabilities, votes, tree), "morphology_truth", where)
