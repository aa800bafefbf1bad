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

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lsst.pex.config import ConfigField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    InvalidQuantumError,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)
from lsst.pipe.base import connectionTypes as cT
from lsst.utils.logging import PeriodicLogger
from lsst.utils.timer import timeMethod

# Registers the storage class of model packages.
from .. import butler as _butler  # noqa: F401
from ..flags import TIDAL_FLAGS, Flag, flag_columns
from ..inference.engine import Engine, get_engine
from ..masks.planes import make_mask
from ..model.manifest import Manifest
from ..pixels.cover import choose_cover
from ..pixels.geometry import Geometry, read_geometry
from ..pixels.planes import Planes, read_planes
from ..pixels.source import CoaddSource
from ..pixels.stamps import Stamps, cut_stamps, stamp_boxes
from ..pixels.targets import Targets, select_targets
from ..tables.tidal_table import tidal_table
from .options import EngineConfig, PixelsConfig, SelectionConfig
from .patch_inputs import coadd_source, keep_bands, read_objects
from .stopwatch import Stopwatch
from .tidal_collector import TidalCollector, TidalPatch


class SegmentTidalFeaturesConnections(
    PipelineTaskConnections,
    dimensions=("skymap", "tract", "patch"),
    defaultTemplates={"tableName": "object_tidal", "modelName": "tides"},
):
    """Coadds, objects and a model in; a row per host and a mask out."""

    coadds = cT.Input(
        doc="Coadds of the patch, in the model's bands.",
        name="deep_coadd",
        storageClass="CellCoadd",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    object = cT.PrerequisiteInput(
        doc="Object table of the tract.",
        name="object",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        deferLoad=True,
    )
    model = cT.PrerequisiteInput(
        doc="Model package.",
        name="morphology_model_{modelName}",
        storageClass="MorphologyModelPackage",
        dimensions=(),
        deferLoad=True,
    )
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

    config: SegmentTidalFeaturesConfig

    def __init__(self, *, config: SegmentTidalFeaturesConfig) -> None:
        super().__init__(config=config)
        self.coadds = dataclasses.replace(self.coadds, storageClass=config.coaddStorageClass)

    def adjustQuantum(
        self,
        inputs: dict[str, tuple[Any, Collection[Any]]],
        outputs: dict[str, tuple[Any, Collection[Any]]],
        label: str,
        data_id: Any,
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Drop the coadds in bands that the model does not use."""
        adjusted = {"coadds": keep_bands(*inputs["coadds"], self.config.bands)}
        super().adjustQuantum({**inputs, **adjusted}, outputs, label, data_id)
        return adjusted, {}


class SegmentTidalFeaturesConfig(PipelineTaskConfig, pipelineConnections=SegmentTidalFeaturesConnections):
    """Configuration of `SegmentTidalFeaturesTask`."""

    bands = ListField[str](
        doc="The model's bands, in any order: graph building can't read them from the model. A model with "
        "other bands is refused.",
        default=["g", "r", "i"],
    )
    coaddStorageClass = Field[str](
        doc="Storage class of the coadds: 'CellCoadd', or 'ExposureF' with the full stack.",
        default="CellCoadd",
    )
    selection = ConfigField[SelectionConfig](doc="Which objects are searched for tidal features.")
    pixels = ConfigField[PixelsConfig](doc="How coadds are read.")
    engine = ConfigField[EngineConfig](doc="How the network is run.")

    def setDefaults(self) -> None:
        # Docstring inherited.
        super().setDefaults()
        self.selection.maxMagnitude = 20.0
        self.selection.minRadius = 5.0
        self.pixels.restoreBackground = True
        # A stamp with its masks takes 20 times the memory of one for votes.
        self.engine.batchSize = 16


class SegmentTidalFeaturesTask(PipelineTask):
    """Find the tidal features of the large galaxies of a patch.

    The network marks the pixels of tails, streams and shells around each
    host. The masks are written on the coadd's own pixels, and what they
    hold is measured. What can't be measured gets a row with flags.
    """

    ConfigClass: ClassVar[type[SegmentTidalFeaturesConfig]] = SegmentTidalFeaturesConfig
    _DefaultName: ClassVar[str] = "segmentTidalFeatures"

    config: SegmentTidalFeaturesConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # Docstring inherited.
        model = butlerQC.get(inputRefs.model)
        self.check_model(model.get(component="manifest"), origin=f"model package {model.ref}")
        engine = get_engine(str(model.ref.id), model.get, self.config.engine.to_options())
        data_id = butlerQC.quantum.dataId
        assert data_id is not None
        stopwatch = Stopwatch()
        with stopwatch.stage("objects"):
            objects = read_objects(butlerQC.get(inputRefs.object), self.config.selection.to_selection())
        result = self.run(
            objects=objects,
            sources=[
                coadd_source(handle, self.config.coaddStorageClass)
                for handle in butlerQC.get(list(inputRefs.coadds))
            ],
            tract=int(data_id["tract"]),
            patch=int(data_id["patch"]),
            engine=engine,
            stopwatch=stopwatch,
        )
        with stopwatch.stage("write"):
            butlerQC.put(result.table, outputRefs.table)
            butlerQC.put(result.mask, outputRefs.mask)
        self.metadata["seconds"] = stopwatch.seconds
        self.log.info("Seconds by stage: %s", stopwatch)

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
            geometry = read_geometry(sources[0])
            targets = select_targets(
                objects,
                tract=tract,
                patch=patch,
                selection=self.config.selection.to_selection(),
                geometry=geometry,
            )
        self.log.info("Patch %d of tract %d: %d targets", patch, tract, len(targets))
        with stopwatch.stage("read"):
            planes = self._read(sources, targets, geometry, manifest)
        collector = TidalCollector(engine, geometry, stopwatch)
        periodic = PeriodicLogger(self.log)
        for stamps, batch in self._cut(planes, targets, geometry, manifest, stopwatch):
            collector.add(stamps, targets[batch])
            periodic.log("Searched %d of %d targets", collector.count, len(targets))
        contested = collector.contested()
        for stamps, batch in self._cut(planes, targets[contested], geometry, manifest, stopwatch):
            collector.share(stamps, targets[contested[batch]], contested[batch])
            periodic.log("Shared the light of %d targets", len(contested))
        found = collector.finish()
        with stopwatch.stage("assemble"):
            table = self._assemble(targets, found, manifest)
            mask = make_mask(found.mask, geometry.sky_projection)
        self._record(found, planes, contested=len(contested), objects=len(objects["objectId"]), engine=engine)
        return Struct(table=table, mask=mask)

    def check_model(self, manifest: Manifest, *, origin: str) -> None:
        """Refuse a model that does not fit the configuration.

        Parameters
        ----------
        manifest
            The model's manifest.
        origin
            Where the model came from, for messages.

        Raises
        ------
        lsst.pipe.base.InvalidQuantumError
            Raised if the model has other bands, other pixels or no masks.
        """
        if set(manifest.bands) != set(self.config.bands):
            raise InvalidQuantumError(
                f"The {origin} uses the bands {list(manifest.bands)}, and this task is configured for "
                f"{list(self.config.bands)}: set the config field 'bands' to the model's, or choose another "
                f"model by connections.modelName."
            )
        if manifest.tides is None:
            raise InvalidQuantumError(
                f"The {origin} marks no tidal features: choose another model by connections.modelName."
            )
        if manifest.pixels == "rgb8":
            raise InvalidQuantumError(
                f"The {origin} takes pixels as {manifest.pixels}, not nJy: it can't see coadds."
            )

    def _read(
        self, sources: Sequence[CoaddSource], targets: Targets, geometry: Geometry, manifest: Manifest
    ) -> Planes:
        """Read the pixels that the targets' stamps need."""
        boxes = stamp_boxes(
            targets, geometry, field_of_view=manifest.field_of_view, stamp_size=manifest.stamp_size
        )
        return read_planes(
            sources,
            manifest.bands,
            choose_cover(boxes, geometry.bbox),
            threads=self.config.pixels.readThreads,
            bad_mask_planes=tuple(self.config.pixels.badMaskPlanes),
            check_variance=self.config.pixels.checkVariance,
            keep_variance=True,
            restore_background=self.config.pixels.restoreBackground,
        )

    def _cut(
        self, planes: Planes, targets: Targets, geometry: Geometry, manifest: Manifest, stopwatch: Stopwatch
    ) -> Iterator[tuple[Stamps, slice]]:
        """Cut stamps, batch by batch, and say which targets they are of."""
        batches = cut_stamps(
            planes,
            targets,
            geometry,
            field_of_view=manifest.field_of_view,
            stamp_size=manifest.stamp_size,
            bands=manifest.bands,
            optional_bands=manifest.optional_bands,
            batch_size=self.config.engine.batchSize,
        )
        start = 0
        for stamps in stopwatch.iterate("stamps", batches):
            yield stamps, slice(start, start + len(stamps))
            start += len(stamps)

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
