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

"""What a trained model is given so that it can be trusted."""

from __future__ import annotations

__all__ = ("trust_page", "trusted", "trusted_package")

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import MorphologyError
from ..model.manifest import BandCalibration, Calibration, Manifest
from ..model.network import MorphologyNetwork, build_network
from ..model.package import ModelPackage
from .calibration import LEVELS, MIN_GALAXIES, CalibrationFit, fit_calibration, fit_factors
from .export import export_package
from .missing_bands import missing_sets, rows_without
from .novelty import learn_novelty

_LOG = logging.getLogger(__name__)

_CHUNK = 128

type Flux = npt.NDArray[np.float32]
type Bools = npt.NDArray[np.bool_]


def trusted(
    manifest: Manifest,
    network: MorphologyNetwork,
    flux: Flux,
    valid: Bools,
    votes: npt.NDArray[np.integer] | None,
    *,
    data: str,
    seed: int = 1,
    needs_novelty: bool = True,
) -> tuple[Manifest, MorphologyNetwork, CalibrationFit | None]:
    """Calibrate a network and teach it what it has never seen.

    Parameters
    ----------
    manifest
        The model; a score of novelty that it has is replaced, and so is its
        calibration if there are votes.
    network
        Its network, trained, on the CPU.
    flux
        Stamps in the model's unit, ``[n, b, s, s]``, drawn as those of the
        training but not used in it.
    valid
        Which pixels were measured, of the same shape.
    votes
        Their votes, ``[n, a]``; None to leave their calibration as it is.
    data
        What the stamps are.
    seed
        Seed of the fits.
    needs_novelty
        Whether too few stamps for a score of novelty are an error; else
        the model then has none.

    Returns
    -------
    manifest
        The manifest with calibration and novelty.
    network
        A network built from it, with the same weights and those of the
        novelty.
    calibration
        What the calibration gains; None without votes.

    Raises
    ------
    MorphologyError
        Raised if there are too few stamps.
    """
    bare = _changed(manifest, calibration=None, novelty=None, members={})
    weights = {k: v for k, v in network.state_dict().items() if not k.startswith("novelty.")}
    plain = _loaded(bare, weights)
    novelty = None
    try:
        novelty = learn_novelty(plain, bare, flux, valid, data=data, seed=seed)
    except MorphologyError as error:
        if needs_novelty:
            raise
        _LOG.warning("The model gets no score of novelty: %s", error)
    calibration, fit = manifest.calibration, None
    if votes is not None and plain.head is not None:
        fit, without = _fits(plain, bare, flux, valid, votes, seed)
        calibration = _calibration(fit, without, data)
    complete = _changed(bare, calibration=calibration, novelty=novelty.record if novelty else None)
    if novelty is not None:
        weights |= {f"novelty.{name}": torch.from_numpy(array) for name, array in novelty.weights().items()}
    return complete, _loaded(complete, weights), fit


def trusted_package(
    package: ModelPackage,
    out: str | Path,
    flux: Flux,
    valid: Bools,
    votes: npt.NDArray[np.integer] | None,
    *,
    data: str,
    version: str | None = None,
    seed: int = 1,
) -> tuple[ModelPackage, CalibrationFit | None]:
    """Write a model again, calibrated and with a score of novelty.

    Parameters
    ----------
    package
        The model.
    out
        The package to write.
    flux, valid, votes, data, seed
        As in `trusted`.
    version
        Version of the new package; by default the old one's.

    Returns
    -------
    package
        The new package.
    calibration
        What the calibration gains; None without votes.

    Raises
    ------
    MorphologyError
        Raised if there are too few stamps.
    ModelPackageError
        Raised if the backends do not reproduce the new package.
    """
    weights = {name: torch.from_numpy(array) for name, array in package.read_weights().items()}
    old = _loaded(package.manifest, weights)
    manifest, network, fit = trusted(package.manifest, old, flux, valid, votes, data=data, seed=seed)
    if version is not None:
        manifest = _changed(manifest, version=version)
    golden = package.golden()
    card = package.card() + trust_page(manifest, fit)
    return export_package(out, manifest, network, golden["flux"], golden["valid"], card), fit


def _changed(manifest: Manifest, **changes: Any) -> Manifest:
    return Manifest.model_validate(manifest.model_copy(update=changes).model_dump())


def _loaded(manifest: Manifest, weights: dict[str, torch.Tensor]) -> MorphologyNetwork:
    network = build_network(manifest)
    network.load_state_dict(weights)
    return network.eval()


def _fits(
    network: MorphologyNetwork,
    manifest: Manifest,
    flux: Flux,
    valid: Bools,
    votes: npt.NDArray[np.integer],
    seed: int,
) -> tuple[CalibrationFit, tuple[BandCalibration, ...]]:
    """Fit all bands, and then each set of missing ones, on the stamps that
    can show it.
    """
    shown = {gone: rows_without(manifest, valid, gone) for gone in missing_sets(manifest.optional_bands)}
    if len(shown[()][0]) < MIN_GALAXIES:
        # Too few have all bands; all together, then, as they are.
        shown = {(): (np.arange(len(valid)), np.ones(len(manifest.bands), np.bool_))}
    rows, kept = shown.pop(())
    alpha = _concentrations(network, flux, valid, rows, kept)
    fit = fit_calibration(votes[rows], alpha, manifest.tree, seed=seed)
    without = []
    for gone, (rows, kept) in shown.items():
        alpha = _concentrations(network, flux, valid, rows, kept)
        factors, _ = fit_factors(votes[rows], alpha, manifest.tree, seed=seed)
        without.append(BandCalibration(missing=gone, concentration=factors))
    return fit, tuple(without)


def _calibration(fit: CalibrationFit, without: tuple[BandCalibration, ...], data: str) -> Calibration:
    """Return what the manifest says of fits."""
    method = "One factor of the concentrations per question, by maximum likelihood of the votes."
    if without:
        method = method.replace("question,", "question and set of missing bands,")
    return Calibration(
        method=method,
        data=data,
        coverage={question: round(shares[LEVELS.index(0.9)], 4) for question, shares in fit.after.items()},
        concentration=dict(fit.factors),
        without=without or None,
    )


@torch.inference_mode()
def _concentrations(
    network: MorphologyNetwork, flux: Flux, valid: Bools, rows: npt.NDArray[np.intp], kept: Bools
) -> npt.NDArray[np.float32]:
    """Return the concentrations ``[n, t, a]`` of some stamps in some bands."""
    assert network.head is not None
    parts = []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        seen = valid[chunk] & kept[:, None, None]
        shown = np.where(seen, flux[chunk], np.float32(0.0))
        features = network.features(torch.from_numpy(shown), torch.from_numpy(seen))
        parts.append(network.head(features, network.head.dropout_masks).numpy())
    return np.concatenate(parts)


def trust_page(manifest: Manifest, fit: CalibrationFit | None) -> str:
    """Return what the card says of it, in Markdown.

    Parameters
    ----------
    manifest
        The model, calibrated and with a score of novelty.
    fit
        What the calibration gains; None without votes.
    """
    parts = ["\n## How far to trust it"]
    if manifest.calibration is not None and fit is not None:
        parts += [
            f"Calibrated on {manifest.calibration.data}. {manifest.calibration.method} The gain is that on"
            " galaxies with all bands which did not set the factor.",
            "\n".join(_factor_table(manifest.calibration, fit)),
        ]
    if manifest.novelty is not None:
        parts.append(
            f"An object whose novelty exceeds {manifest.novelty.threshold:.3f} is unlike the training objects"
            f" ({manifest.novelty.data}), of which {manifest.novelty.share:.1%} exceed it."
        )
    return "\n\n".join(parts) + "\n"


def _factor_table(calibration: Calibration, fit: CalibrationFit) -> Iterator[str]:
    """Yield the lines of a table of factors; a dash stands for one."""
    without = calibration.without or ()
    heads = ["question", "factor of concentrations", "gain (nats per galaxy asked)"]
    heads += [f"factor without {', '.join(entry.missing)}" for entry in without]
    yield f"| {' | '.join(heads)} |"
    yield "|---" + "|---:" * (len(heads) - 1) + "|"
    factors = [fit.factors, fit.gain, *(entry.concentration for entry in without)]
    for name in fit.before:
        cells = [f"{values[name]:.3f}" if name in values else "-" for values in factors]
        if set(cells) != {"-"}:
            yield f"| {name} | {' | '.join(cells)} |"
