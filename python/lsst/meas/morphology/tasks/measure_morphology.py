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

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lsst.pex.config import Field
from lsst.pipe.base import (
    InvalidQuantumError,
    Struct,
)
from lsst.pipe.base import connectionTypes as cT
from lsst.utils.logging import PeriodicLogger
from lsst.utils.timer import timeMethod

from ..flags import Flag, flag_columns
from ..inference.engine import Engine
from ..model.manifest import Manifest
from ..pixels.source import CoaddSource
from ..pixels.targets import Targets
from ..tables.assemble import embedding_table, morphology_table
from .measurements import MeasurementCollector, Measurements
from .patch_task import PatchConfig, PatchConnections, PatchTask
from .stopwatch import Stopwatch


class MeasureMorphologyConnections(
    PatchConnections,
    dimensions=("skymap", "tract", "patch"),
    defaultTemplates={"tableName": "object_morphology", "modelName": "rubin"},
):
    """Coadds, objects and a model in; a row per measured object out."""

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
        if not config.doEmbeddings:
            del self.embeddings


class MeasureMorphologyConfig(PatchConfig, pipelineConnections=MeasureMorphologyConnections):
    """Configuration of `MeasureMorphologyTask`."""

    doEmbeddings = Field[bool](doc="Write the embeddings too.", default=True)


class MeasureMorphologyTask(PatchTask):
    """Measure the morphology of the resolved objects of a patch.

    The posterior over the votes that volunteers would give to each question
    of the model's decision tree is predicted from the coadds around each
    object. What can't be measured gets a row with flags.
    """

    ConfigClass: ClassVar[type[MeasureMorphologyConfig]] = MeasureMorphologyConfig
    _DefaultName: ClassVar[str] = "measureMorphology"

    config: MeasureMorphologyConfig

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
            geometry, targets = self.select(objects, sources, tract, patch)
        with stopwatch.stage("read"):
            planes = self.read(sources, targets, geometry, engine)
        collector = MeasurementCollector(engine, stopwatch)
        periodic = PeriodicLogger(self.log)
        for stamps, _ in self.cut(planes, targets, geometry, engine, stopwatch):
            collector.add(stamps)
            periodic.log("Measured %d of %d targets", collector.count, len(targets))
        with stopwatch.stage("assemble"):
            measurements = collector.finish()
            result = self._assemble(targets, measurements, manifest)
        self._record(measurements, objects_read=len(objects["objectId"]), engine=engine)
        return result

    def check_model(self, manifest: Manifest, *, origin: str) -> None:
        # Docstring inherited.
        super().check_model(manifest, origin=origin)
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
