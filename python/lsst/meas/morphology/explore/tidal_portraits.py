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

"""Hosts of a repository, cut out of coadds and masks of tidal features."""

from __future__ import annotations

__all__ = ("choose_hosts", "draw_tidal_repository")

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lsst.daf.butler import Butler, DatasetRef, MissingDatasetTypeError
from lsst.images import Box, Interval

from ..errors import IncompleteInputError
from ..masks.planes import MASK_PLANES
from ..pixels.source import CoaddSource, open_coadd
from .tidal_sheet import TidalPortrait, draw_tidal_sheet

type Columns = Mapping[str, npt.NDArray[Any]]

_SIDE = 5.0
"""Side of a picture over the host's radius."""

_LEAST, _MOST = 60.0, 200.0
"""Bounds of the side (arcsec)."""

_PIXELS = 180
"""Least number of pixels along a picture."""

_BLANK = ("NO_DATA", "SATURATED")
"""Mask planes whose pixels are left white."""


def choose_hosts(table: Columns, *, count: int, least: float = 0.0) -> npt.NDArray[np.int64]:
    """Choose the hosts whose debris is the surest.

    Parameters
    ----------
    table
        Columns of a table of tidal features.
    count
        Number of hosts wanted.
    least
        Least probability of debris.

    Returns
    -------
    rows
        Indices of at most ``count`` rows, the surest first. Those that
        could not be measured are left out.
    """
    chance = np.asarray(table["debris_probability"], np.float64)
    good = ~np.asarray(table["tidal_flag"], np.bool_) & (np.nan_to_num(chance, nan=-1.0) >= least)
    rows = np.flatnonzero(good)
    return rows[np.argsort(-chance[rows], kind="stable")][:count]


def draw_tidal_repository(
    butler: Butler,
    path: str | Path,
    *,
    table_name: str = "object_tidal",
    coadd_name: str = "deep_coadd",
    bands: tuple[str, ...] = ("r", "g", "i"),
    count: int = 12,
    least: float = 0.0,
) -> int:
    """Draw the surest hosts of tidal features with their masks.

    Parameters
    ----------
    butler
        Butler whose default collections hold tables and masks by patch, and
        coadds.
    path
        Picture to write.
    table_name
        Stem of the dataset type names of tables and masks.
    coadd_name
        Dataset type name of the coadds.
    bands
        Bands of which the first that there is, is drawn.
    count
        Number of hosts.
    least
        Least probability of debris.

    Returns
    -------
    drawn
        Number of hosts on the sheet.

    Raises
    ------
    IncompleteInputError
        Raised if there is no table, or no host in it.
    """
    refs = _find_tables(butler, f"{table_name}_patch")
    table = pa.concat_tables([butler.get(ref) for ref in refs], promote_options="permissive")
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "modelId"}
    rows = choose_hosts(columns, count=count, least=least)
    if not len(rows):
        raise IncompleteInputError(f"No host in '{table_name}_patch' has been measured, or is as sure.")
    skymap = str(refs[0].dataId["skymap"])
    names = table_name, coadd_name
    portraits = [_portrait(butler, columns, int(row), skymap, names=names, bands=bands) for row in rows]
    draw_tidal_sheet(path, portraits, title=f"{table_name}: surest debris first", columns=3)
    return len(portraits)


def _find_tables(butler: Butler, name: str) -> list[DatasetRef]:
    try:
        refs = butler.query_datasets(name, explain=False)
    except MissingDatasetTypeError:
        refs = []
    if not refs:
        raise IncompleteInputError(
            f"There is no dataset {name!r} in the collections {list(butler.collections.defaults)}: run "
            "step1-tides first."
        )
    return refs


def _portrait(
    butler: Butler,
    columns: Columns,
    row: int,
    skymap: str,
    *,
    names: tuple[str, str],
    bands: tuple[str, ...],
) -> TidalPortrait:
    """Cut one host out of coadd and mask.

    The names are those of tables and masks, and of coadds.
    """
    table_name, coadd_name = names
    patch = {"skymap": skymap, "tract": int(columns["tract"][row]), "patch": int(columns["patch"][row])}
    band, ref = _find_coadd(butler, coadd_name, patch, bands)
    radius = float(np.nan_to_num(columns["radius"][row]))
    with open_coadd(CoaddSource(band, butler.getURI(ref), str(ref))) as reader:
        projection = reader.get_component("sky_projection")
        whole = reader.get_component("bbox")
        scale = _pixel_scale(projection, whole)
        side = float(np.clip(_SIDE * radius, _LEAST, _MOST)) / scale
        ra, dec = float(columns["coord_ra"][row]), float(columns["coord_dec"][row])
        box = _box(projection, ra, dec, side, whole)
        image = reader.get_component("image", bbox=box).array
        mask = reader.get_component("mask", bbox=box)
    bad = ~np.isfinite(image)
    for plane in _BLANK:
        if plane in mask.schema.names:
            bad |= mask.get(plane)
    features = butler.get(f"{table_name}_mask", patch, parameters={"bbox": box})
    bins = max(1, int(side) // _PIXELS)
    brightness = _binned(np.where(bad, np.nan, image), bins) / scale**2
    masks = {name: _binned(features.get(plane.name), bins) > 0.5 for name, plane in MASK_PLANES.items()}
    chances = " ".join(
        f"{name} {columns[f'{name}_probability'][row]:.2f}"
        for name in (*MASK_PLANES, "debris")
        if f"{name}_probability" in columns
    )
    title = f"{columns['objectId'][row]}, {band}"
    return TidalPortrait(title, brightness, bins * scale, masks, (chances,))


def _find_coadd(
    butler: Butler, name: str, patch: Mapping[str, Any], bands: tuple[str, ...]
) -> tuple[str, DatasetRef]:
    """Return a patch's coadd in the first band that has one."""
    for band in bands:
        ref = butler.find_dataset(name, {**patch, "band": band})
        if ref is not None:
            return band, ref
    raise IncompleteInputError(f"There is no {name!r} of patch {patch} in {', '.join(bands)}.")


def _pixel_scale(projection: Any, box: Any) -> float:
    """Return the side of a pixel in arcsec."""
    x = np.array([box.x.start, box.x.start + 1.0])
    y = np.array([box.y.start, box.y.start], dtype=np.float64)
    points = projection.pixel_to_sky(x=x, y=y)
    return float(points[0].separation(points[1]).arcsec)


def _box(projection: Any, ra: float, dec: float, side: float, whole: Any) -> Box:
    """Return the box about a position, cut off at the patch's edges."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    place = projection.sky_to_pixel(SkyCoord(ra=[ra] * u.deg, dec=[dec] * u.deg))
    half = round(0.5 * side)
    limits = []
    for centre, axis in ((float(place.y[0]), whole.y), (float(place.x[0]), whole.x)):
        middle = round(centre)
        limits.append(Interval(max(middle - half, axis.start), min(middle + half + 1, axis.stop)))
    return Box(y=limits[0], x=limits[1])


def _binned(values: npt.NDArray[Any], bins: int) -> npt.NDArray[np.float64]:
    """Average square blocks, NaN where most of one is."""
    rows, columns = (side // bins * bins for side in values.shape)
    part = values[:rows, :columns].astype(np.float64)
    blocks = part.reshape(rows // bins, bins, columns // bins, bins)
    good = np.isfinite(blocks).sum(axis=(1, 3))
    total = np.nansum(blocks, axis=(1, 3))
    return np.where(good > 0.5 * bins**2, total / np.maximum(good, 1), np.nan)
