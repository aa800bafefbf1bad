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

"""Pictures of measured objects, cut out of the coadds that they came from."""

from __future__ import annotations

__all__ = ("draw_repository",)

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lsst.daf.butler import Butler, DatasetRef

from ..errors import IncompleteInputError
from ..model.manifest import FieldOfView
from ..pixels.cover import choose_cover
from ..pixels.geometry import read_geometry
from ..pixels.planes import read_planes
from ..pixels.source import CoaddSource
from ..pixels.stamps import cut_stamps, stamp_boxes
from ..pixels.targets import Targets
from ..questions.tree import QuestionTree
from ..rgb import lupton_rgb
from .counts import draw_counts
from .gallery import Portrait, choose_rows, describe_row, draw_gallery

_NATIVE_AREA = 0.04
"""Area of a native pixel of LSST (arcsec2), the unit of `lupton_rgb`."""

_FIELD = FieldOfView(rule="radius", multiple=4.0, min_arcsec=12.8, max_arcsec=64.0)
"""Field of view of the portraits: somewhat wider than a model's."""


def draw_repository(
    butler: Butler,
    directory: str | Path,
    *,
    tree: QuestionTree,
    table_name: str = "object_morphology",
    order: int = 5,
    coadd_name: str = "deep_coadd",
    bands: tuple[str, str, str] = ("g", "r", "i"),
    count: int = 24,
) -> tuple[Path, Path]:
    """Draw measured galaxies with their posteriors, and a map of counts.

    Parameters
    ----------
    butler
        Butler whose default collections hold HEALPix tables and coadds.
    directory
        Folder for the pictures, made if need be.
    tree
        The tree that the tables were made with.
    table_name
        Stem of the tables' dataset type names.
    order
        HEALPix order of the partitions.
    coadd_name
        Dataset type name of the coadds.
    bands
        Three bands, bluest first.
    count
        Number of galaxies.

    Returns
    -------
    gallery, counts
        The pictures, ``galaxies.png`` and ``counts.png``.

    Raises
    ------
    IncompleteInputError
        Raised if there is no HEALPix table.
    """
    refs = butler.query_datasets(f"{table_name}_hpx{order}", explain=False)
    if not refs:
        raise IncompleteInputError(
            f"There is no dataset '{table_name}_hpx{order}' in the collections "
            f"{list(butler.collections.defaults)}: run step 2 first."
        )
    table = pa.concat_tables([butler.get(ref) for ref in refs], promote_options="permissive")
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "modelId"}
    skymap = str(refs[0].dataId["skymap"])
    rows = choose_rows(columns, tree, count=count)
    portraits = [
        Portrait(
            title=f"{columns['objectId'][row]}, {columns['radius'][row]:.1f} arcsec",
            rgb=_picture(butler, _one_target(columns, int(row)), skymap, coadd_name, bands),
            lines=describe_row(columns, tree, int(row)),
        )
        for row in rows
    ]
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    gallery, counts = directory / "galaxies.png", directory / "counts.png"
    draw_gallery(
        gallery,
        portraits,
        title=f"{table_name}: likeliest answers, expected fractions of votes, 90 % intervals",
        columns=6,
    )
    draw_counts(counts, columns["coord_ra"], columns["coord_dec"], partition_order=order)
    return gallery, counts


def _one_target(columns: Mapping[str, npt.NDArray[Any]], row: int) -> Targets:
    """Return a table's row as a target without a pixel position."""
    one = slice(row, row + 1)
    return Targets(
        object_id=columns["objectId"][one],
        tract=columns["tract"][one],
        patch=columns["patch"][one],
        ra=columns["coord_ra"][one],
        dec=columns["coord_dec"][one],
        x=np.full(1, np.nan),
        y=np.full(1, np.nan),
        radius=columns["radius"][one],
        flags=np.zeros(1, np.uint32),
    )


def _picture(
    butler: Butler, target: Targets, skymap: str, coadd_name: str, bands: tuple[str, str, str]
) -> npt.NDArray[np.float32]:
    """Cut a colour picture; what one band lacks is as in the others."""
    sources = []
    for band in bands:
        data_id = {
            "skymap": skymap,
            "tract": int(target.tract[0]),
            "patch": int(target.patch[0]),
            "band": band,
        }
        ref: DatasetRef | None = butler.find_dataset(coadd_name, data_id)
        if ref is not None:
            sources.append(CoaddSource(band=band, uri=butler.getURI(ref), label=str(ref)))
    geometry = read_geometry(sources[0])
    x, y = geometry.sky_to_pixel(target.ra, target.dec)
    target = Targets(**{**vars(target), "x": x, "y": y})
    boxes = stamp_boxes(target, geometry, field_of_view=_FIELD, stamp_size=96)
    cover = choose_cover(boxes, geometry.bbox)
    planes = read_planes(sources, bands, cover, threads=len(bands))
    stamps = next(
        cut_stamps(
            planes,
            target,
            geometry,
            field_of_view=_FIELD,
            stamp_size=96,
            bands=bands,
            optional_bands=bands,
        )
    )
    brightness = stamps.flux[0] * np.float32(_NATIVE_AREA / float(stamps.arcsec_per_px[0]) ** 2)
    grey = brightness.sum(axis=0) / np.maximum(stamps.valid[0].sum(axis=0), 1)
    return lupton_rgb(np.where(stamps.valid[0], brightness, grey))
