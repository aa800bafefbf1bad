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

"""Which object tables a HEALPix pixel needs, whatever the query says."""

from __future__ import annotations

__all__ = ("find_overlapping_objects", "objects_by_patch")

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, MissingDatasetTypeError
from lsst.daf.butler.registry import Registry

from ..sky import healpix_pixel

_DILATION = 1.02
"""Widening of a pixel's bounding circle: the polygon that stands for a pixel
is slightly smaller than the pixel itself."""


def find_overlapping_objects(
    dataset_type: DatasetType,
    registry: Registry,
    data_id: DataCoordinate,
    collections: Sequence[str],
) -> Iterable[DatasetRef]:
    """Find the object tables of all tracts that overlap a HEALPix pixel.

    Made for `lsst.pipe.base.connectionTypes.PrerequisiteInput`: the tracts
    are found whatever constraint the user put on the quantum graph, so that
    a gather knows of patches that were left out.

    Parameters
    ----------
    dataset_type
        The object table's dataset type.
    registry
        Registry to search.
    data_id
        Data ID of the pixel, with its region.
    collections
        Collections to search.

    Returns
    -------
    refs
        The object tables, ordered by tract.
    """
    assert data_id.region is not None, "a quantum's data ID has its regions"
    circle = data_id.region.getBoundingCircle()
    circle = type(circle)(circle.getCenter(), circle.getOpeningAngle() * _DILATION)
    try:
        refs = registry.queryDatasets(
            dataset_type,
            collections=collections,
            findFirst=True,
            where="skymap = :skymap AND tract.region OVERLAPS :pixel",
            bind={"skymap": data_id["skymap"], "pixel": circle},
        )
        return sorted(refs, key=lambda ref: int(ref.dataId["tract"]))
    except MissingDatasetTypeError:
        return []


def objects_by_patch(
    columns: Mapping[str, npt.NDArray[Any]], *, tract: int, order: int, pixel: int
) -> dict[tuple[int, int], int]:
    """Count a tract's objects in a HEALPix pixel, patch by patch.

    Parameters
    ----------
    columns
        Columns ``coord_ra``, ``coord_dec`` (deg) and ``patch`` of the
        tract's object table.
    tract
        The tract.
    order, pixel
        The NESTED HEALPix pixel.

    Returns
    -------
    counts
        Number of objects by (tract, patch), without the patches that have
        none.
    """
    inside = healpix_pixel(order, columns["coord_ra"], columns["coord_dec"]) == pixel
    patches, counts = np.unique(np.asarray(columns["patch"])[inside], return_counts=True)
    return {(tract, int(patch)): int(count) for patch, count in zip(patches, counts, strict=True)}
