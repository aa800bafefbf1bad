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

"""``morphology evaluate-novelty``: does a model know what it does not know."""

from __future__ import annotations

__all__ = ("command",)

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..simulation.stamps import SimulatedStamps
    from ..validation.strangers import AddNoise

_SEED = 20261124_05
"""Seed of the stamps; no training draws from it."""

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command("evaluate-novelty", short_help="Say whether a model knows what it was never shown.")
@click.argument("model")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the table and the text.",
)
@click.option(
    "--number", type=click.IntRange(min=8), default=1000, show_default=True, help="Stamps of each sample."
)
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), default=_CORES, help="CPU threads.  [default: all cores]"
)
def command(model: str, out: Path, number: int, backend: str, device: str, threads: int) -> None:
    """Spoil stamps and see whether MODEL finds them out of distribution.

    Simulated stamps as on the sky and as in the training are spoiled in ways
    that no model was trained on: bad columns, a mis-registered cell, a
    defocused telescope, bands in another order. They are scored beside the
    same stamps as they were, both with more and more noise.
    """
    import numpy as np
    import pyarrow.parquet

    from ..errors import ModelMismatchError
    from ..inference.engine import Engine
    from ..inference.options import EngineOptions
    from ..model.package import ModelPackage
    from ..model.shipped import find_model
    from ..simulation.galaxies import Mix
    from ..simulation.source import SimulatedSource
    from ..validation.novelty_exam import NOISE_FACTORS, examine_novelty, novelty_table, novelty_text
    from ..validation.strangers import STRANGERS

    logging.getLogger("lsst.meas.morphology.inference").setLevel(logging.WARNING)
    package = ModelPackage.open(find_model(model))
    manifest = package.manifest
    if manifest.novelty is None or manifest.votes is None or manifest.pixels != "nJy":
        raise ModelMismatchError(
            f"Model {manifest.name} {manifest.version} must have a score of novelty, and votes on fluxes in"
            " nJy, to be tried on simulated stamps; 'morphology calibrate' gives a score to a model."
        )
    engine = Engine.from_package(package, EngineOptions(backend=backend, device=device, threads=threads))

    def score(flux: np.ndarray, valid: np.ndarray) -> np.ndarray:
        novelty = engine.predict(flux, valid).novelty
        assert novelty is not None
        return novelty[:, 0]

    exams = []
    mixes: tuple[Mix, ...] = ("natural", "training")
    for mix in mixes:
        stamps = SimulatedSource(manifest, mix)(_SEED, number)
        kinds = sum(kind.bands <= len(manifest.bands) for kind in STRANGERS)
        length = number * (kinds + 1) * len(NOISE_FACTORS)
        with click.progressbar(length=length, label=f"Stamps, {mix}", show_pos=True, width=30) as bar:
            exams.append(
                examine_novelty(
                    mix,
                    score,
                    manifest.novelty.threshold,
                    stamps.flux,
                    stamps.valid,
                    _noise_of(stamps),
                    progress=bar.update,
                )
            )
    name = f"{manifest.name} {manifest.version}"
    text = novelty_text(exams, f"{name} and what it was never shown")
    out.mkdir(parents=True, exist_ok=True)
    metadata = {"model": name, "modelId": manifest.model_id, "seed": str(_SEED)}
    pyarrow.parquet.write_table(novelty_table(exams, metadata), out / "novelty.parquet")
    (out / "novelty.txt").write_text(text)
    click.echo(text)
    click.echo(f"Wrote novelty.parquet and novelty.txt in {out}")


def _noise_of(stamps: SimulatedStamps) -> AddNoise:
    """Return what adds noise of the sky of each stamp."""
    import numpy as np

    from ..simulation.observing import NATIVE_SCALE, add_noise

    conditions = stamps.conditions
    dark = np.full_like(conditions.visits, np.inf)

    def add(
        flux: np.ndarray[tuple[int, ...], np.dtype[np.float32]], factor: float, rng: np.random.Generator
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        noisy = flux.copy()
        ratio = stamps.arcsec_per_px / NATIVE_SCALE
        add_noise(rng, noisy, stamps.bands, factor * conditions.sigma, dark, ratio)
        return noisy

    return add
