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

"""``morphology draw-tides``: a model's masks over stamps."""

from __future__ import annotations

__all__ = ("command",)

import os
import tempfile
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ..errors import MorphologyError
from ..explore.tidal_sheet import TidalPortrait, draw_tidal_sheet
from ..inference.engine import Engine
from ..inference.options import EngineOptions
from ..model.heads import TidesHead
from ..model.manifest import Manifest
from ..model.package import ModelPackage
from ..model.pixel_units import in_model_unit
from ..model.shipped import find_model
from ..simulation.tidal.library import EncounterLibrary, make_library
from ..simulation.tidal.snapshots import KINDS
from ..simulation.tidal.source import TidalStamps, sample_tides
from ..surface_brightness import truth_masks
from ..validation.tidal_outcomes import CLASSES, WEIGHED, TidalThresholds
from .tidal_exam import check_tides

type Floats = npt.NDArray[np.float32]
type Bools = npt.NDArray[np.bool_]

_ENCOUNTERS = 8
"""Encounters of each kind, if no folder of them is given."""

_UNDISTURBED = 0.2


@click.command("draw-tides", short_help="Draw a model's masks of tidal features over stamps.")
@click.argument("model")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--stamps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="NumPy file of stamps: arrays flux, arcsec_per_px, and at will valid.  [default: simulated ones]",
)
@click.option(
    "--library",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Folder of encounters for simulated hosts.  [default: {_ENCOUNTERS} new ones of each kind]",
)
@click.option("--count", type=click.IntRange(1, 200), default=12, show_default=True, help="Number of hosts.")
@click.option("--visits", default=40.0, show_default=True, help="Depth of simulated hosts.")
@click.option("--seed", type=click.IntRange(min=0), default=5, show_default=True, help="Their seed.")
def command(
    model: str, out: Path, stamps: Path | None, library: Path | None, count: int, visits: float, seed: int
) -> None:
    """Draw stamps with the outlines of what MODEL marks, into OUT.

    Fluxes are nJy per stamp pixel, [n, band, size, size] in the model's
    bands. Simulated hosts are shown with the true outlines beside.
    """
    package = ModelPackage.open(os.fspath(find_model(model)))
    manifest = package.manifest
    head = check_tides(manifest)
    engine = Engine.from_package(package, EngineOptions())
    title = f"{manifest.name} {manifest.version}"
    if stamps is not None:
        flux, valid, scale = _read(stamps, count)
        portraits = _portraits(engine, head, flux, valid, scale)
    else:
        made = _simulate(library, manifest, count, visits, seed)
        portraits = _portraits(engine, head, made.flux, made.valid, made.arcsec_per_px, made)
        title += ", simulated hosts; dotted: the truth"
    draw_tidal_sheet(out, portraits, title=title, columns=3)
    click.echo(f"{out}: {len(portraits)} hosts")


def _read(path: Path, count: int) -> tuple[Floats, Bools, Floats]:
    """Return flux, validity and scales of a file's first stamps."""
    with np.load(path, allow_pickle=False) as arrays:
        if missing := {"flux", "arcsec_per_px"} - set(arrays):
            raise MorphologyError(
                f"{path} has no array {', '.join(sorted(missing))}, only {', '.join(arrays)}."
            )
        flux = np.asarray(arrays["flux"][:count], dtype=np.float32)
        scale = np.asarray(arrays["arcsec_per_px"][:count], dtype=np.float32)
        valid = np.asarray(arrays["valid"][:count], np.bool_) if "valid" in arrays else np.isfinite(flux)
    return np.where(valid, flux, np.float32(0.0)), valid, scale


def _simulate(library: Path | None, manifest: Manifest, count: int, visits: float, seed: int) -> TidalStamps:
    """Return simulated hosts as the model wants to see them."""
    with tempfile.TemporaryDirectory() as temporary:
        if library is not None:
            encounters = EncounterLibrary.open(library)
        else:
            length = len(KINDS) * _ENCOUNTERS
            with click.progressbar(length=length, label="Encounters", show_pos=True, width=30) as bar:
                encounters = make_library(
                    Path(temporary),
                    count=_ENCOUNTERS,
                    seed=seed + 2000,
                    progress=lambda done: bar.update(done - bar.pos),
                )
        return sample_tides(
            seed,
            count,
            library=encounters,
            bands=manifest.bands,
            stamp_size=manifest.stamp_size,
            field_of_view=manifest.field_of_view,
            visits=visits,
            share_undisturbed=_UNDISTURBED,
        )


def _portraits(
    engine: Engine,
    head: TidesHead,
    flux: Floats,
    valid: Bools,
    scale: Floats,
    made: TidalStamps | None = None,
) -> list[TidalPortrait]:
    """Let the model mark the stamps."""
    said = engine.predict(in_model_unit(flux, scale, engine.manifest.pixels), valid)
    assert said.mask is not None
    assert said.presence is not None
    r = engine.manifest.bands.index("r")
    chance, presence = expit(said.mask), expit(said.presence)
    brightness = np.where(valid[:, r], in_model_unit(flux, scale, "nJy/arcsec2")[:, r], np.nan)
    thresholds = TidalThresholds.of(head)
    marked = {
        name: (chance[:, head.planes.index(name)] >= thresholds.mask[name]) & valid[:, r] for name in CLASSES
    }
    truth = None
    if made is not None:
        light = made.host + made.others
        truth = truth_masks(made.debris, light, made.mask_limit(), made.arcsec_per_px).mask
    names = ("undisturbed", *CLASSES)
    portraits = []
    for k in range(len(flux)):
        lines = [" ".join(f"{name} {presence[k, head.features.index(name)]:.2f}" for name in WEIGHED)]
        known = {} if truth is None else {name: truth[k, j] for j, name in enumerate(CLASSES)}
        # Masks of what is held not to be there are not drawn.
        there = {
            name: mask[k]
            for name, mask in marked.items()
            if presence[k, head.features.index(name)] >= thresholds.presence[name]
        }
        title = str(k) if made is None else f"{k}: {names[int(made.properties['kind'][k])]}"
        portraits.append(TidalPortrait(title, brightness[k], float(scale[k]), there, tuple(lines), known))
    return portraits
