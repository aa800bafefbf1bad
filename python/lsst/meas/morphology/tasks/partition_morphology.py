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

"""The task that gathers patch tables into one table per HEALPix pixel."""

from __future__ import annotations

__all__ = ("PartitionMorphologyConfig", "PartitionMorphologyConnections", "PartitionMorphologyTask")

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pyarrow as pa

from lsst.pex.config import Field, ListField, RangeField
from lsst.pipe.base import (
    InputQuantizedConnection,
    InvalidQuantumError,
    NoWorkFound,
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

from ..errors import IncompleteInputError
from ..tables.partition import gather
from .object_lookup import find_overlapping_objects, objects_by_patch
from .stopwatch import Stopwatch

_DEFAULT_ORDER = 5
_OBJECT_COLUMNS = ("coord_ra", "coord_dec", "patch")


class PartitionMorphologyConnections(
    PipelineTaskConnections,
    dimensions=("skymap", "healpix5"),
    defaultTemplates={"tableName": "object_morphology"},
):
    """Patch tables in, HEALPix tables out.

    The patch tables are found under the user's query, the object tables
    are not: from these the task learns which patch tables are missing.
    """

    tables = cT.Input(
        doc="Morphology of each patch's objects.",
        name="{tableName}_patch",
        storageClass="ArrowTable",
        dimensions=("skymap", "tract", "patch"),
        multiple=True,
        deferLoad=True,
        deferGraphConstraint=True,
        minimum=0,
    )
    embeddings = cT.Input(
        doc="Embeddings of each patch's objects.",
        name="{tableName}_embedding_patch",
        storageClass="ArrowTable",
        dimensions=("skymap", "tract", "patch"),
        multiple=True,
        deferLoad=True,
        deferGraphConstraint=True,
        minimum=0,
    )
    object = cT.PrerequisiteInput(
        doc="Object tables of all tracts that overlap the pixel.",
        name="object",
        storageClass="ArrowAstropy",
        dimensions=("skymap", "tract"),
        multiple=True,
        deferLoad=True,
        lookupFunction=find_overlapping_objects,
    )
    table = cT.Output(
        doc="Morphology of the objects in the pixel, ordered by _healpix_29.",
        name="{tableName}_hpx5",
        storageClass="ArrowTable",
        dimensions=("skymap", "healpix5"),
    )
    embedding_table = cT.Output(
        doc="Embeddings of the objects in the pixel, ordered by _healpix_29.",
        name="{tableName}_embedding_hpx5",
        storageClass="ArrowTable",
        dimensions=("skymap", "healpix5"),
    )

    config: PartitionMorphologyConfig

    def __init__(self, *, config: PartitionMorphologyConfig) -> None:
        super().__init__(config=config)
        order = config.healpixOrder
        self.dimensions = {"skymap", f"healpix{order}"}
        for name in ("table", "embedding_table"):
            connection = getattr(self, name)
            setattr(
                self,
                name,
                dataclasses.replace(
                    connection,
                    name=re.sub(rf"_hpx{_DEFAULT_ORDER}$", f"_hpx{order}", connection.name),
                    dimensions=("skymap", f"healpix{order}"),
                ),
            )
        if not config.doEmbeddings:
            del self.embeddings
            del self.embedding_table


class PartitionMorphologyConfig(PipelineTaskConfig, pipelineConnections=PartitionMorphologyConnections):
    """Configuration of `PartitionMorphologyTask`."""

    healpixOrder = RangeField[int](
        doc="HEALPix order of the partitions. It is part of the outputs' names, and has to be of the "
        "task's label too: one repository can't hold two orders under one label.",
        default=_DEFAULT_ORDER,
        min=0,
        max=17,
    )
    doEmbeddings = Field[bool](doc="Partition the embeddings too.", default=True)
    knownMissing = ListField[str](
        doc="Patches that may lack a table, each written 'tract:patch'.", default=[]
    )
    allowIncomplete = Field[bool](
        doc="Partition what there is, whatever is missing; what is missing is written into the task's "
        "metadata.",
        default=False,
    )

    def validate(self) -> None:
        # Docstring inherited.
        super().validate()
        self.known_missing()

    def known_missing(self) -> frozenset[tuple[int, int]]:
        """Return `knownMissing` as (tract, patch) pairs."""
        pairs = []
        for text in self.knownMissing:
            match = re.fullmatch(r"(\d+):(\d+)", text)
            if match is None:
                raise ValueError(f"knownMissing must hold 'tract:patch', such as '9813:42', not {text!r}.")
            pairs.append((int(match[1]), int(match[2])))
        return frozenset(pairs)


class PartitionMorphologyTask(PipelineTask):
    """Gather the rows of one HEALPix pixel from the tables of its patches.

    A row belongs to the pixel that its position says, never to a region
    that stands for the pixel. Where a patch has objects in the pixel and
    no table, the task raises rather than write a partition with a hole.
    """

    ConfigClass: ClassVar[type[PartitionMorphologyConfig]] = PartitionMorphologyConfig
    _DefaultName: ClassVar[str] = "partitionMorphologyHpx5"

    config: PartitionMorphologyConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        # Docstring inherited.
        order = self.config.healpixOrder
        assert butlerQC.quantum.dataId is not None
        pixel = int(butlerQC.quantum.dataId[f"healpix{order}"])
        stopwatch = Stopwatch()
        with stopwatch.stage("objects"):
            expected = self._count_objects(butlerQC.get(list(inputRefs.object)), order, pixel)
        outputs: dict[str, Any] = {}
        for name, inputs in (("table", "tables"), ("embedding_table", "embeddings")):
            if not hasattr(inputRefs, inputs):
                continue
            handles = {
                (int(handle.dataId["tract"]), int(handle.dataId["patch"])): handle
                for handle in butlerQC.get(list(getattr(inputRefs, inputs)))
            }
            with stopwatch.stage("completeness"):
                self.check_complete(expected, handles, pixel=pixel, what=inputs)
            with stopwatch.stage("gather"):
                outputs[name] = self.run(tables=self._read(handles), pixel=pixel, order=order).table
        rows = outputs["table"].num_rows
        if "embedding_table" in outputs and outputs["embedding_table"].num_rows > rows:
            raise InvalidQuantumError(
                f"HEALPix pixel {pixel} has {outputs['embedding_table'].num_rows} rows of embeddings for "
                f"{rows} rows of morphology: the patch tables come from different runs."
            )
        self.metadata["rows"] = rows
        if rows == 0:
            raise NoWorkFound(f"No measured object lies in HEALPix pixel {pixel} of order {order}.")
        with stopwatch.stage("write"):
            for name, table in outputs.items():
                butlerQC.put(table, getattr(outputRefs, name))
        self.metadata["seconds"] = stopwatch.seconds
        self.log.info("Pixel %d of order %d: %d rows (%s)", pixel, order, rows, stopwatch)

    @timeMethod
    def run(self, *, tables: Iterable[pa.Table], pixel: int, order: int) -> Struct:
        """Gather one pixel's rows.

        Parameters
        ----------
        tables
            Patch tables, each read when it is asked for.
        pixel, order
            The NESTED HEALPix pixel.

        Returns
        -------
        result
            A struct with the attribute

            - ``table``: the rows, ordered by ``_healpix_29``.

        Raises
        ------
        MorphologyError
            Raised if an object appears twice, or tables of several models
            are mixed.
        """
        return Struct(table=gather(tables, pixel=pixel, order=order))

    def check_complete(
        self,
        expected: Mapping[tuple[int, int], int],
        found: Iterable[tuple[int, int]],
        *,
        pixel: int,
        what: str,
    ) -> None:
        """Refuse to go on where a patch with objects has no table.

        Parameters
        ----------
        expected
            Number of objects in the pixel by (tract, patch).
        found
            The (tract, patch) pairs that have a table.
        pixel
            The HEALPix pixel, for messages.
        what
            The connection whose tables these are.

        Raises
        ------
        IncompleteInputError
            Raised if tables are missing that are not in ``knownMissing``,
            unless ``allowIncomplete`` is set.
        """
        missing = sorted(set(expected) - set(found) - self.config.known_missing())
        if not missing:
            return
        listed = [f"{tract}:{patch}" for tract, patch in missing]
        objects = sum(expected[pair] for pair in missing)
        if not self.config.allowIncomplete:
            shown = ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
            raise IncompleteInputError(
                f"HEALPix pixel {pixel}: {len(listed)} patches (tract:patch) have {objects} objects in it "
                f"and no dataset '{self.connections_name(what)}' in the input collections: {shown}. Measure "
                f"them first, or build the graph without a constraint that leaves them out; to go on without "
                f"them, list them in knownMissing or set allowIncomplete."
            )
        self.log.warning(
            "Pixel %d: incomplete by configuration; %d objects of %s are left out.", pixel, objects, listed
        )
        self.metadata[f"missing_{what}"] = listed

    def connections_name(self, connection: str) -> str:
        """Return the dataset type name of a connection."""
        return str(getattr(self.config.ConnectionsClass(config=self.config), connection).name)

    def _count_objects(self, handles: list[Any], order: int, pixel: int) -> dict[tuple[int, int], int]:
        """Count the objects in the pixel by (tract, patch)."""
        counts: dict[tuple[int, int], int] = {}
        for handle in handles:
            columns = handle.get(parameters={"columns": list(_OBJECT_COLUMNS)})
            tract = int(handle.dataId["tract"])
            counts.update(objects_by_patch(columns, tract=tract, order=order, pixel=pixel))
        return counts

    def _read(self, handles: Mapping[tuple[int, int], Any]) -> Iterable[pa.Table]:
        """Read tables one by one, with a heartbeat in the log."""
        periodic = PeriodicLogger(self.log)
        for i, pair in enumerate(sorted(handles)):
            yield handles[pair].get()
            periodic.log("Read %d of %d patch tables", i + 1, len(handles))
