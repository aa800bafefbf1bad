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

"""The task that measures what the galaxies of a patch look like."""

from __future__ import annotations

__all__ = ("MeasureMorphologyConfig", "MeasureMorphologyConnections", "MeasureMorphologyTask")

import dataclasses
from collections.abc import Collection, Mapping, Sequence
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
from ..flags import Flag, flag_columns
from ..inference.engine import Engine, get_engine
from ..model.manifest import Manifest
from ..pixels.cover import choose_cover
from ..pixels.geometry import read_geometry
from ..pixels.planes import read_planes
from ..pixels.source import CoaddSource
from ..pixels.stamps import cut_stamps, stamp_boxes
from ..pixels.targets import Targets, select_targets
from ..tables.assemble import embedding_table, morphology_table
from .measurements import MeasurementCollector, Measurements
from .options import EngineConfig, PixelsConfig, SelectionConfig
from .patch_inputs import coadd_source, keep_bands, read_objects
from .stopwatch import Stopwatch


class MeasureMorphologyConnections(
    PipelineTaskConnections,
    dimensions=("skymap", "tract", "patch"),
    defaultTemplates={"tableName": "object_morphology", "modelName": "rubin"},
):
    """Coadds, objects and a model in; a row per measured object out."""

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
        doc="Morphology of the patch's objects, one row each.",
        name="{tableName}_patch",
        storageClass="ArrowTable",
        dimensions=("skymap", "tract", "patch"),
    )
    embeddings = cT.Output(
        doc="The network's embedding of each of the patch's objects.",
        name="{tableName}_embedding_patch",
        storageClass="ArrowTable",
        dimensions=("skymap", "tract", "patch"),
    )

    config: MeasureMorphologyConfig

    def __init__(self, *, config: MeasureMorphologyConfig) -> None:
        super().__init__(config=config)
        self.coadds = dataclasses.replace(self.coadds, storageClass=config.coaddStorageClass)
        if not config.doEmbeddings:
            del self.embeddings

    def adjustQuantum(
        self,
        inputs: dict[str, tuple[Any, Collection[Any]]],
        outputs: dict[str, tuple[Any, Collection[Any]]],
        label: str,
        data_id: Any,
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Drop the coadds in bands that the model does not use.

        Where a patch has none of the model's bands its first coadd stays,
        for its geometry, so that its objects get (flagged) rows.
        """
        adjusted = {"coadds": keep_bands(*inputs["coadds"], self.config.bands)}
        super().adjustQuantum({**inputs, **adjusted}, outputs, label, data_id)
        return adjusted, {}


class MeasureMorphologyConfig(PipelineTaskConfig, pipelineConnections=MeasureMorphologyConnections):
    """Configuration of `MeasureMorphologyTask`."""

    bands = ListField[str](
        doc="The model's bands, in any order: graph building can't read them from the model. A model with "
        "other bands is refused.",
        default=["g", "r", "i"],
    )
    coaddStorageClass = Field[str](
        doc="Storage class of the coadds: 'CellCoadd', or 'ExposureF' with the full stack.",
        default="CellCoadd",
    )
    doEmbeddings = Field[bool](doc="Write the embeddings too.", default=True)
    selection = ConfigField[SelectionConfig](doc="Which objects are measured.")
    pixels = ConfigField[PixelsConfig](doc="How coadds are read.")
    engine = ConfigField[EngineConfig](doc="How the network is run.")


class MeasureMorphologyTask(PipelineTask):
    """Measure the morphology of the resolved objects of a patch.

    The posterior over the votes that volunteers would give to each question
    of the model's decision tree is predicted from the coadds around each
    object. What can't be measured gets a row with flags.
    """

    ConfigClass: ClassVar[type[MeasureMorphologyConfig]] = MeasureMorphologyConfig
    _DefaultName: ClassVar[str] = "measureMorphology"

    config: MeasureMorphologyConfig

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
            if self.config.doEmbeddings:
                butlerQC.put(result.embeddings, outputRefs.embeddings)
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
        """Measure the objects of a patch.

        Parameters
        ----------
        objects
            Columns of the tract's object table.
        sources
            The patch's coadds, one for each band that there is.
        tract, patch
            The patch whose objects are measured.
        engine
            The model, ready to run.
        stopwatch
            Where the seconds by stage are added.

        Returns
        -------
        result
            A struct with the attributes

            - ``table``: one row per target, as `pyarrow.Table`.
            - ``embeddings``: likewise, or `None` if the model has none.
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
            boxes = stamp_boxes(
                targets, geometry, field_of_view=manifest.field_of_view, stamp_size=manifest.stamp_size
            )
            planes = read_planes(
                sources,
                manifest.bands,
                choose_cover(boxes, geometry.bbox),
                threads=self.config.pixels.readThreads,
                bad_mask_planes=tuple(self.config.pixels.badMaskPlanes),
                check_variance=self.config.pixels.checkVariance,
                restore_background=self.config.pixels.restoreBackground,
            )
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
        collector = MeasurementCollector(engine, stopwatch)
        periodic = PeriodicLogger(self.log)
        for stamps in stopwatch.iterate("stamps", batches):
            collector.add(stamps)
            periodic.log("Measured %d of %d targets", collector.count, len(targets))
        with stopwatch.stage("assemble"):
            measurements = collector.finish()
            result = self._assemble(targets, measurements, manifest)
        self._record(measurements, objects_read=len(objects["objectId"]), engine=engine)
        return result

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
            Raised if the model has other bands, other pixels or no votes.
        """
        if set(manifest.bands) != set(self.config.bands):
            raise InvalidQuantumError(
                f"The {origin} uses the bands {list(manifest.bands)}, and this task is configured for "
                f"{list(self.config.bands)}: set the config field 'bands' to the model's, or choose another "
                f"model by connections.modelName."
            )
        if manifest.pixels == "rgb8":
            raise InvalidQuantumError(
                f"The {origin} takes pixels as {manifest.pixels}, not nJy: it can't see coadds."
            )
        if manifest.votes is None:
            raise InvalidQuantumError(f"The {origin} predicts no votes.")
        if self.config.doEmbeddings and manifest.embedding is None:
            raise InvalidQuantumError(
                f"The {origin} has no embedding: set the config field doEmbeddings=False."
            )

    def _assemble(self, targets: Targets, measurements: Measurements, manifest: Manifest) -> Struct:
        """Make the output tables."""
        assert manifest.votes is not None
        table = morphology_table(
            tree=manifest.tree,
            object_id=targets.object_id,
            tract=targets.tract,
            patch=targets.patch,
            ra=targets.ra,
            dec=targets.dec,
            radius=targets.radius,
            arcsec_per_px=measurements.arcsec_per_px,
            flags=measurements.flags,
            posteriors=measurements.posteriors,
            novelty=measurements.novelty,
            model_id=manifest.model_id,
        )
        embeddings = None
        if self.config.doEmbeddings:
            embeddings = embedding_table(
                object_id=targets.object_id,
                ra=targets.ra,
                dec=targets.dec,
                embedding=measurements.embedding,
                model_id=manifest.model_id,
            )
        return Struct(table=table, embeddings=embeddings)

    def _record(self, measurements: Measurements, *, objects_read: int, engine: Engine) -> None:
        """Write counts and the engine into the log and the metadata."""
        failed = (measurements.flags & np.uint32(Flag.GENERAL)) != 0
        flags = {name: int(value.sum()) for name, value in flag_columns(measurements.flags).items()}
        self.metadata["objects"] = objects_read
        self.metadata["targets"] = len(failed)
        self.metadata["measured"] = int(np.sum(~failed))
        self.metadata["flags"] = flags
        self.metadata["engine"] = engine.description
        self.metadata["modelId"] = engine.manifest.model_id
        self.log.info(
            "Measured %d of %d targets on %s; flagged: %s",
            np.sum(~failed),
            len(failed),
            engine.description,
            ", ".join(f"{name} {count}" for name, count in flags.items() if count) or "none",
        )
