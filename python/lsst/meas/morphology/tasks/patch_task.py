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

"""What the tasks that measure the objects of a patch share."""

from __future__ import annotations

__all__ = ("PatchConfig", "PatchConnections", "PatchTask")

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

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

# Registers the storage class of model packages.
from .. import butler as _butler  # noqa: F401
from ..inference.engine import Engine, get_engine
from ..model.manifest import Manifest
from ..pixels.cover import choose_cover
from ..pixels.geometry import Geometry, read_geometry
from ..pixels.planes import Planes, read_planes
from ..pixels.source import CoaddSource
from ..pixels.stamps import Stamps, cut_stamps, stamp_boxes
from ..pixels.targets import Targets, select_targets
from .options import EngineConfig, PixelsConfig, SelectionConfig
from .patch_inputs import coadd_source, keep_bands, read_objects
from .stopwatch import Stopwatch


class PatchConnections(
    PipelineTaskConnections,
    dimensions=("skymap", "tract", "patch"),
    defaultTemplates={"modelName": "rubin"},
):
    """Coadds, objects and a model: the inputs of a task for patches."""

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

    config: PatchConfig

    def __init__(self, *, config: PatchConfig) -> None:
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


class PatchConfig(PipelineTaskConfig, pipelineConnections=PatchConnections):
    """Configuration that the tasks for patches share."""

    bands = ListField[str](
        doc="The model's bands, in any order: graph building can't read them from the model. A model with "
        "other bands is refused.",
        default=["g", "r", "i"],
    )
    coaddStorageClass = Field[str](
        doc="Storage class of the coadds: 'CellCoadd', or 'ExposureF' with the full stack.",
        default="CellCoadd",
    )
    selection = ConfigField[SelectionConfig](doc="Which objects are measured.")
    pixels = ConfigField[PixelsConfig](doc="How coadds are read.")
    engine = ConfigField[EngineConfig](doc="How the network is run.")


class PatchTask(PipelineTask):
    """A task that shows the stamps of a patch's objects to a network.

    A task of this kind defines ``run``, whose results are named like its
    outputs.
    """

    config: PatchConfig

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
        result: Struct = self.run(
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
            butlerQC.put(result, outputRefs)
        self.metadata["seconds"] = stopwatch.seconds
        self.log.info("Seconds by stage: %s", stopwatch)

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
            Raised if the model has other bands, other pixels, or not what
            the task is for.
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

    def select(
        self,
        objects: Mapping[str, npt.NDArray[np.generic]],
        sources: Sequence[CoaddSource],
        tract: int,
        patch: int,
    ) -> tuple[Geometry, Targets]:
        """Find out where the patch is and which of its objects to measure."""
        geometry = read_geometry(sources[0])
        targets = select_targets(
            objects,
            tract=tract,
            patch=patch,
            selection=self.config.selection.to_selection(),
            geometry=geometry,
        )
        self.log.info("Patch %d of tract %d: %d targets", patch, tract, len(targets))
        return geometry, targets

    def read(
        self,
        sources: Sequence[CoaddSource],
        targets: Targets,
        geometry: Geometry,
        engine: Engine,
        *,
        keep_variance: bool = False,
    ) -> Planes:
        """Read the pixels that the targets' stamps need."""
        manifest = engine.manifest
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
            keep_variance=keep_variance,
            restore_background=self.config.pixels.restoreBackground,
        )

    def cut(
        self, planes: Planes, targets: Targets, geometry: Geometry, engine: Engine, stopwatch: Stopwatch
    ) -> Iterator[tuple[Stamps, slice]]:
        """Cut stamps, batch by batch, and say which targets they are of."""
        manifest = engine.manifest
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
