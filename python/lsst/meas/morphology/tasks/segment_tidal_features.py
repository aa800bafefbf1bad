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

"""The task that finds and measures the tidal features of a patch."""

from __future__ import annotations

__all__ = (
    "SegmentTidalFeaturesConfig",
    "SegmentTidalFeaturesConnections",
    "SegmentTidalFeaturesTask",
)

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lsst.pipe.base import (
    InvalidQuantumError,
    Struct,
)
from lsst.pipe.base import connectionTypes as cT
from lsst.utils.logging import PeriodicLogger
from lsst.utils.timer import timeMethod

from ..flags import TIDAL_FLAGS, Flag, flag_columns
from ..inference.engine import Engine
from ..masks.planes import make_mask
from ..model.manifest import Manifest
from ..pixels.planes import Planes
from ..pixels.source import CoaddSource
from ..pixels.targets import Targets
from ..tables.tidal_table import tidal_table
from .patch_task import PatchConfig, PatchConnections, PatchTask
from .stopwatch import Stopwatch
from .tidal_collector import TidalCollector, TidalPatch


class SegmentTidalFeaturesConnections(
    PatchConnections,
    dimensions=("skymap", "tract", "patch"),
    defaultTemplates={"tableName": "object_tidal", "modelName": "tides"},
):
    """Coadds, objects and a model in; a row per host and a mask out."""

    table = cT.Output(
        doc="Tidal features of the patch's objects, one row for each object.",
        name="{tableName}_patch",
        storageClass="ArrowTable",
        dimensions=("skymap", "tract", "patch"),
    )
    mask = cT.Output(
        doc="Pixels of the tidal features of the patch's objects, on the coadd's own pixels.",
        name="{tableName}_mask",
        storageClass="MaskV2",
        dimensions=("skymap", "tract", "patch"),
    )


class SegmentTidalFeaturesConfig(PatchConfig, pipelineConnections=SegmentTidalFeaturesConnections):
    """Configuration of `SegmentTidalFeaturesTask`."""

    def setDefaults(self) -> None:
        # Docstring inherited.
        super().setDefaults()
        self.selection.maxMagnitude = 20.0
        self.selection.minRadius = 5.0
        self.pixels.restoreBackground = True
        # A stamp with its masks takes 20 times the memory of one for votes.
        self.engine.batchSize = 16


class SegmentTidalFeaturesTask(PatchTask):
    """Find the tidal features of the large galaxies of a patch.

    The network marks the pixels of tails, streams and shells around each
    host. The masks are written on the coadd's own pixels, and what they
    hold is measured. What can't be measured gets a row with flags.
    """

    ConfigClass: ClassVar[type[SegmentTidalFeaturesConfig]] = SegmentTidalFeaturesConfig
    _DefaultName: ClassVar[str] = "segmentTidalFeatures"

    config: SegmentTidalFeaturesConfig

    @timeMethod
    def run(
        self,
        *,
        objects: Mapping[str, npt.NDArray[Any]],
        sources: Sequence[CoaddSource],
        tract: int,
        patch: int,
        engine: Engine,
        stopwatch: Stopwatch | None = None,
    ) -> Struct:
        """Find the tidal features of a patch's objects.

        Parameters
        ----------
        objects
            Columns of the tract's object table.
        sources
            The patch's coadds, one for each band that there is.
        tract, patch
            The patch whose objects are searched.
        engine
            The model, ready to run.
        stopwatch
            Where the seconds by stage are added.

        Returns
        -------
        result
            A struct with the attributes

            - ``table``: one row per target, as `pyarrow.Table`.
            - ``mask``: the features' pixels, as `lsst.images.Mask`.
        """
        stopwatch = stopwatch or Stopwatch()
        manifest = engine.manifest
        with stopwatch.stage("select"):
            geometry, targets = self.select(objects, sources, tract, patch)
        with stopwatch.stage("read"):
            planes = self.read(sources, targets, geometry, engine, keep_variance=True)
        collector = TidalCollector(engine, geometry, stopwatch)
        periodic = PeriodicLogger(self.log)
        for stamps, batch in self.cut(planes, targets, geometry, engine, stopwatch):
            collector.add(stamps, targets[batch])
            periodic.log("Searched %d of %d targets", collector.count, len(targets))
        contested = collector.contested()
        for stamps, batch in self.cut(planes, targets[contested], geometry, engine, stopwatch):
            collector.share(stamps, targets[contested[batch]], contested[batch])
            periodic.log("Shared the light of %d targets", len(contested))
        found = collector.finish()
        with stopwatch.stage("assemble"):
            table = self._assemble(targets, found, manifest)
            mask = make_mask(found.mask, geometry.sky_projection)
        self._record(found, planes, contested=len(contested), objects=len(objects["objectId"]), engine=engine)
        return Struct(table=table, mask=mask)

    def check_model(self, manifest: Manifest, *, origin: str) -> None:
        # Docstring inherited.
        super().check_model(manifest, origin=origin)
        if manifest.tides is None:
            raise InvalidQuantumError(
                f"The {origin} marks no tidal features: choose another model by connections.modelName."
            )

    def _assemble(self, targets: Targets, found: TidalPatch, manifest: Manifest) -> Any:
        """Make the output table."""
        assert manifest.tides is not None
        return tidal_table(
            features=manifest.tides.features,
            bands=manifest.bands,
            object_id=targets.object_id,
            tract=targets.tract,
            patch=targets.patch,
            ra=targets.ra,
            dec=targets.dec,
            radius=targets.radius,
            arcsec_per_px=found.arcsec_per_px,
            flags=found.flags,
            measurements=found.measurements,
            model_id=manifest.model_id,
        )

    def _record(
        self, found: TidalPatch, planes: Planes, *, contested: int, objects: int, engine: Engine
    ) -> None:
        """Write counts and the engine into the log and the metadata."""
        failed = (found.flags & np.uint32(Flag.GENERAL)) != 0
        flags = {name: int(value.sum()) for name, value in flag_columns(found.flags, TIDAL_FLAGS).items()}
        self.metadata["objects"] = objects
        self.metadata["targets"] = len(failed)
        self.metadata["measured"] = int(np.sum(~failed))
        self.metadata["contested"] = contested
        self.metadata["found"] = found.found
        self.metadata["light"] = found.light
        self.metadata["restoredBands"] = sorted(planes.restored_bands)
        self.metadata["flags"] = flags
        self.metadata["engine"] = engine.description
        self.metadata["modelId"] = engine.manifest.model_id
        self.log.info(
            "Searched %d of %d targets on %s; found: %s; flagged: %s",
            np.sum(~failed),
            len(failed),
            engine.description,
            ", ".join(f"{name} {count}" for name, count in found.found.items()),
            ", ".join(f"{name} {count}" for name, count in flags.items() if count) or "none",
        )
