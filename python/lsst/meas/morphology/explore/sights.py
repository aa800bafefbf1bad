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

"""What renderings of coadds show a model, beside Galaxy Zoo's own pictures."""

from __future__ import annotations

__all__ = ("RENDERINGS", "SIGHT_BANDS", "SIGHT_FIELD", "draw_sights")

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import MissingExtraError
from ..images.decode import decode_image
from ..images.views import central_view
from ..model.field_of_view import FieldOfView
from ..model.pixel_units import in_model_unit
from ..model.rendering_spec import (
    AsinhRendering,
    EuclidRendering,
    HscRendering,
    LegacySurveyRendering,
    Rendering,
)

RENDERINGS: dict[str, tuple[Rendering, tuple[str, ...]]] = {
    "Legacy Survey, g r i": (LegacySurveyRendering.for_bands("gri"), ("g", "r", "i")),
    "Legacy Survey, g r i z": (LegacySurveyRendering.for_bands("griz"), ("g", "r", "i", "z")),
    "HSC, g r i": (HscRendering.for_bands("gri"), ("g", "r", "i")),
    "Euclid, r i z": (EuclidRendering.for_bands("riz"), ("r", "i", "z")),
    "Euclid, grey, r i": (EuclidRendering.for_bands("ri", greyscale="mean"), ("r", "i")),
    "this package's own, i r g": (
        AsinhRendering(softening=(10.0,) * 3, scale=(0.25,) * 3, validity_channel=False),
        ("i", "r", "g"),
    ),
}
"""The renderings that are drawn, each with its bands."""

SIGHT_BANDS = ("g", "r", "i", "z")
"""Bands of the stamps that are drawn."""

SIGHT_FIELD = FieldOfView(rule="radius", multiple=4.7, min_arcsec=8.0, max_arcsec=240.0)
"""Galaxy Zoo's field of view, less the margin that Zoobot cuts off."""


def draw_sights(
    path: str | Path,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    arcsec_per_px: npt.NDArray[np.float32],
    examples: Sequence[Path] = (),
) -> None:
    """Draw galaxies as each rendering shows them to a network.

    Parameters
    ----------
    path
        The picture to write.
    flux
        Stamps of galaxies (nJy per stamp pixel) in the bands `SIGHT_BANDS`,
        ``[n, band, size, size]``.
    valid
        Which of their pixels were measured, of the same shape.
    arcsec_per_px
        Pixel scales of the stamps (arcsec), ``[n]``.
    examples
        Images of Galaxy Zoo, for a first row: what Zoobot 2.9 shows a model
        of them.

    Raises
    ------
    ImageReadError
        Raised if an example can't be read.
    MissingExtraError
        Raised if the library that draws is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "draw pictures") from error

    rows: list[tuple[str, list[npt.NDArray[np.float32]]]] = []
    if examples:
        views = [np.asarray(central_view(decode_image(file), flux.shape[-1])) for file in examples]
        rows.append(("Galaxy Zoo's own images", [view.astype(np.float32) / 255.0 for view in views]))
    for title, (rendering, bands) in RENDERINGS.items():
        rows.append((title, list(_rendered(flux, valid, arcsec_per_px, rendering, bands))))
    columns = max(len(pictures) for _, pictures in rows)
    figure = Figure(figsize=(1.7 * columns, 1.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for ax in axes.ravel():
        ax.set_axis_off()
    for row, (title, pictures) in zip(axes, rows, strict=True):
        row[0].set_title(title, fontsize=8, loc="left")
        for ax, picture in zip(row, pictures, strict=False):
            grey = picture.shape[-1] == 1
            ax.imshow(picture[..., 0] if grey else picture, cmap="gray", vmin=0.0, vmax=1.0)
    figure.savefig(path, dpi=130)


def _rendered(
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    arcsec_per_px: npt.NDArray[np.float32],
    rendering: Rendering,
    bands: tuple[str, ...],
) -> npt.NDArray[np.float32]:
    """Return the channels of each stamp, ``[n, y, x, channel]`` in 0 to 1,
    north up as in Galaxy Zoo's images.
    """
    import torch

    from ..model.manifest import Manifest
    from ..model.rendering import build_renderer

    own = isinstance(rendering, AsinhRendering)
    manifest = Manifest.model_validate(
        {
            "name": "sight",
            "version": "1.0.0",
            "title": "A rendering",
            "licence": "GPL-3.0-or-later",
            "purpose": "commissioning",
            "bands": bands,
            "pixels": "nJy" if own else "nJy/arcsec2",
            "stamp_size": flux.shape[-1],
            "field_of_view": SIGHT_FIELD,
            "rendering": rendering,
            "architecture": {"kind": "convnext", "depths": (1,), "widths": (1,)},
            "embedding": {"features": 1},
            "training": {"data": "none", "seed": 0},
        }
    )
    chosen = [SIGHT_BANDS.index(band) for band in bands]
    pixels = in_model_unit(flux[:, chosen], arcsec_per_px, manifest.pixels)
    channels = build_renderer(manifest)(torch.from_numpy(pixels), torch.from_numpy(valid[:, chosen]))
    pictures: npt.NDArray[np.float32] = np.clip(channels.numpy(), 0.0, 1.0)
    return np.moveaxis(pictures, 1, -1)[:, ::-1]
