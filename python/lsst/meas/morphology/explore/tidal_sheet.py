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

"""A sheet of hosts in faint light, with the outlines of their features."""

from __future__ import annotations

__all__ = ("COLOURS", "TidalPortrait", "draw_tidal_sheet", "faint_grey", "tidal_sheet")

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from ..errors import MissingExtraError
from ..surface_brightness import to_njy

type Image = npt.NDArray[np.floating]
type Bools = npt.NDArray[np.bool_]

COLOURS = {"tail": "tab:red", "stream": "tab:blue", "shell": "tab:green", "debris": "tab:purple"}
"""Colour of each feature's outline."""

_BRIGHT = float(to_njy(22.0))
"""Surface brightness that is black (nJy/arcsec2)."""

_SMOOTHING = 1.2
"""Standard deviation of the smoothing of the picture, in its pixels."""


@dataclasses.dataclass(frozen=True)
class TidalPortrait:
    """One host of the sheet."""

    title: str
    """Its name."""

    brightness: Image
    """Surface brightness (nJy/arcsec2), NaN without data, ``[y, x]``."""

    arcsec_per_px: float
    """Pixel scale (arcsec); NaN if it is not known."""

    masks: Mapping[str, Bools]
    """Pixels of features by name, ``[y, x]``."""

    lines: tuple[str, ...] = ()
    """What is said of it."""

    truth: Mapping[str, Bools] = dataclasses.field(default_factory=dict)
    """True pixels of features by name, if known, ``[y, x]``."""


def faint_grey(brightness: Image) -> npt.NDArray[np.float64]:
    """Stretch a picture so that faint light shows: inverted, asinh.

    Parameters
    ----------
    brightness
        Surface brightness (nJy/arcsec2), NaN without data, ``[y, x]``.

    Returns
    -------
    grey
        From 0, white, to 1, black; NaN without data. The sky is a light
        grey, the noise of the smoothed picture is where the stretch bends,
        and 22 mag/arcsec2 is black.
    """
    good = np.isfinite(brightness)
    if not good.any():
        return np.full(brightness.shape, np.nan)
    sky = float(np.median(brightness[good]))
    filled = np.where(good, brightness, sky)
    smooth = gaussian_filter(filled.astype(np.float64), _SMOOTHING)
    # The fainter half of the pixels: the sky and its noise.
    low = smooth[good & (smooth <= sky)]
    sigma = max(1.4826 * float(np.median(np.abs(low - sky))), 1e-3)
    scaled = np.arcsinh((smooth - sky) / (2.0 * sigma))
    floor, ceiling = np.arcsinh(-1.5), np.arcsinh(max(_BRIGHT, 20.0 * sigma) / (2.0 * sigma))
    grey = np.clip((scaled - floor) / (ceiling - floor), 0.0, 1.0)
    return np.where(good, grey, np.nan)


def draw_tidal_sheet(
    path: str | Path, portraits: Sequence[TidalPortrait], *, title: str, columns: int = 4, bare: bool = True
) -> None:
    """Draw the sheet into a file.

    Parameters
    ----------
    path
        Picture to write.
    portraits, title, columns, bare
        As those of `tidal_sheet`.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    figure = tidal_sheet(portraits, title=title, columns=columns, bare=bare)
    figure.savefig(path, dpi=100, bbox_inches="tight")


def tidal_sheet(
    portraits: Sequence[TidalPortrait], *, title: str, columns: int = 4, bare: bool = True
) -> Any:
    """Return the sheet as a figure of matplotlib.

    Parameters
    ----------
    portraits
        The hosts.
    title
        Heading of the sheet.
    columns
        Hosts in a row.
    bare
        Whether to draw each host twice: as it is, or with the true
        outlines where they are known, and with the outlines of the masks.

    Raises
    ------
    MissingExtraError
        Raised if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "explore", "draw pictures") from error

    each = 2 if bare else 1
    rows = max(1, -(-len(portraits) // columns))
    figure = Figure(figsize=(2.2 * columns * each, 2.6 * rows + 0.6), layout="constrained")
    colours = ", ".join(f"{name} {colour.removeprefix('tab:')}" for name, colour in COLOURS.items())
    bar = "; bar: 20 arcsec" if any(np.isfinite(portrait.arcsec_per_px) for portrait in portraits) else ""
    figure.suptitle(f"{title}\n{colours}{bar}", fontsize=10)
    axes = figure.subplots(rows, columns * each, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for k, portrait in enumerate(portraits):
        for ax in axes[each * k : each * (k + 1)]:
            _draw_picture(ax, portrait)
        if bare:
            _draw_outlines(axes[each * k], portrait.truth, "dotted")
        _draw_outlines(axes[each * (k + 1) - 1], portrait.masks, "solid")
        axes[each * k].set_title(portrait.title, fontsize=8, loc="left")
        axes[each * k].text(
            0.0,
            -0.02,
            "\n".join(portrait.lines),
            transform=axes[each * k].transAxes,
            fontsize=6.5,
            va="top",
            family="monospace",
        )
    return figure


def _draw_picture(ax: Any, portrait: TidalPortrait) -> None:
    grey = faint_grey(portrait.brightness)
    ax.imshow(grey, origin="lower", cmap="Greys", vmin=0.0, vmax=1.0, interpolation="nearest")
    if np.isfinite(portrait.arcsec_per_px):
        length = 20.0 / portrait.arcsec_per_px
        margin = 0.04 * grey.shape[0]
        ax.plot([margin, margin + length], [margin, margin], color="k", lw=1.5)
    ax.set_xlim(-0.5, grey.shape[1] - 0.5)
    ax.set_ylim(-0.5, grey.shape[0] - 0.5)


def _draw_outlines(ax: Any, masks: Mapping[str, Bools], style: str) -> None:
    for name, mask in masks.items():
        if mask.any():
            # A frame of nothing closes outlines at the edge.
            framed = np.pad(mask.astype(np.float32), 1)
            axis_x, axis_y = (np.arange(side) - 1.0 for side in framed.shape[::-1])
            colour = COLOURS.get(name, "tab:orange")
            ax.contour(axis_x, axis_y, framed, [0.5], colors=[colour], linewidths=0.9, linestyles=[style])
