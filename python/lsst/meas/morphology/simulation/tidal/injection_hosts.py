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

"""Objects of the object table around which features may be put."""

from __future__ import annotations

__all__ = ("HostSelection", "choose_hosts", "kernels_at")

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lsst.daf.butler import Butler, DatasetRef

from ...pixels.geometry import Geometry
from ...pixels.targets import TargetSelection, required_columns, select_targets
from .injection import Hosts

_LOG = logging.getLogger(__name__)

_HALF_LIGHTS = 3.0
"""Half-light radii in the radius that holds nearly all of the light."""


@dataclasses.dataclass(frozen=True)
class HostSelection:
    """Objects around which features may be put."""

    count: int = 4
    """Most features for each patch."""

    max_magnitude: float = 20.0
    """Faintest cModel magnitude in i, or else in the first band."""

    min_half_light: float = 1.5
    """Smallest half-light radius (arcsec)."""

    max_half_light: float = 10.0
    """Largest half-light radius (arcsec)."""


def choose_hosts(
    butler: Butler,
    ref: DatasetRef,
    *,
    tract: int,
    patch: int,
    bands: tuple[str, ...],
    geometry: Geometry,
    selection: HostSelection,
    rng: np.random.Generator,
) -> Hosts:
    """Return the objects of a patch that may be hosts, in random order.

    Parameters
    ----------
    butler
        Butler to read the object table with.
    ref
        The object table.
    tract, patch
        The patch.
    bands
        Bands whose fluxes are wanted.
    geometry
        Where the patch's pixels lie.
    selection
        Which objects.
    rng
        Source of the order.

    Returns
    -------
    hosts
        Those that can be measured, have a flux in some band and a centre
        that is not saturated, as bright stars have, and radii within the
        limits.
    """
    available = set(butler.get(ref.makeComponentRef("columns")))
    band = "i" if "i_cModelFlux" in available else bands[0]
    cuts = TargetSelection(max_magnitude=selection.max_magnitude, magnitude_band=band)
    fluxes = [f"{b}_cModelFlux" for b in bands if f"{b}_cModelFlux" in available]
    saturated = [name for b in bands if (name := f"{b}_pixelFlags_saturatedCenter") in available]
    names = list(dict.fromkeys([*required_columns(available, cuts, table=str(ref)), *fluxes, *saturated]))
    table = butler.get(ref, parameters={"columns": names})
    columns = {name: np.ma.asarray(table[name]) for name in names}
    targets = select_targets(columns, tract=tract, patch=patch, selection=cuts, geometry=geometry)
    half_light = np.asarray(targets.radius, np.float64) / _HALF_LIGHTS
    good = targets.measurable & (half_light >= selection.min_half_light)
    good &= half_light <= selection.max_half_light
    index = {int(value): row for row, value in enumerate(np.asarray(columns["objectId"]))}
    rows = np.array([index[int(value)] for value in targets.object_id], dtype=np.int64)
    flux = {b: _flux(columns.get(f"{b}_cModelFlux"), rows) for b in bands}
    for name in saturated:
        good &= ~np.ma.filled(columns[name], False)[rows].astype(np.bool_)
    # Without any flux there is nothing to scale by.
    good &= np.stack(list(flux.values())).max(axis=0) > 0.0
    hosts = Hosts(
        object_id=targets.object_id,
        patch=targets.patch.astype(np.int64),
        ra=targets.ra,
        dec=targets.dec,
        x=targets.x,
        y=targets.y,
        half_light=half_light,
        flux=flux,
    )
    return hosts[rng.permutation(np.flatnonzero(good))]


def kernels_at(psfs: Mapping[str, Any], host: Hosts) -> dict[str, npt.NDArray[np.floating]] | None:
    """Return the point spread functions at a host.

    Parameters
    ----------
    psfs
        By band, those of a patch's coadds.
    host
        One host.

    Returns
    -------
    kernels
        Images by band; `None` if some band has no data there.
    """
    kernels = {}
    for band, psf in psfs.items():
        try:
            image = psf.compute_kernel_image(x=float(host.x[0]), y=float(host.y[0])).array
        except Exception as error:
            # What is raised off the cells is not documented.
            _LOG.debug("No kernel at %.1f, %.1f in %s: %s", host.x[0], host.y[0], band, error)
            return None
        if not np.isfinite(image).all() or image.sum() <= 0.0:
            return None
        kernels[band] = np.asarray(image, np.float64)
    return kernels


def _flux(column: npt.NDArray[Any] | None, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return fluxes, 0 where there is none."""
    if column is None:
        return np.zeros(len(rows))
    values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    return np.asarray(np.nan_to_num(values[rows], posinf=0.0, neginf=0.0))
