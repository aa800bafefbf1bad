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

"""Tidal models before hosts whose debris is known."""

from __future__ import annotations

__all__ = ("check_tides", "frozen_exam", "grade", "grade_all")

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ..errors import ModelMismatchError
from ..inference.engine import Engine, Predictions
from ..masks.measurement import measure_features
from ..masks.settings import FeatureSettings
from ..model.heads import TidesHead
from ..model.manifest import Manifest
from ..model.pixel_units import in_model_unit
from ..simulation.tidal.frozen import FrozenTides
from ..simulation.tidal.frozen_definition import TidalSet
from ..simulation.tidal.snapshots import KINDS
from ..simulation.tidal.source import TidalStamps
from ..surface_brightness import feature_depth, limit, mask_limit, truth_masks
from ..validation.tidal_outcomes import WEIGHED, TidalOutcomes, TidalThresholds
from ..validation.tidal_pixels import count_pixels, region_truth

type Floats = npt.NDArray[np.floating]

_TRAITS = ("cirrus", "halo", "ghost", "companion")
_COVARIATES = ("host_magnitude", "host_radius")
_BAND = "r"
"""Band of the truth."""


def check_tides(manifest: Manifest) -> TidesHead:
    """Return what a model says of its masks.

    Parameters
    ----------
    manifest
        The model.

    Raises
    ------
    ModelMismatchError
        Raised if it has no masks of tails, streams, shells and debris, or
        does not look at r.
    """
    head = manifest.tides
    if head is None or not set(WEIGHED) <= set(head.features):
        raise ModelMismatchError(
            f"Model {manifest.name} {manifest.version} has no masks of {', '.join(WEIGHED)}."
        )
    if _BAND not in manifest.bands:
        raise ModelMismatchError(f"Model {manifest.name} {manifest.version} does not look at {_BAND}.")
    return head


@contextlib.contextmanager
def frozen_exam(definition: TidalSet, directory: Path | None, *, quick: int | None) -> Iterator[FrozenTides]:
    """Prepare a frozen set, with a progress bar.

    Parameters
    ----------
    definition
        The set.
    directory
        Where its encounters are, or are to be; `None` for a folder that is
        gone when the context ends.
    quick
        Number of hosts instead of all.

    Yields
    ------
    exam
        The set.

    Raises
    ------
    MorphologyError
        Raised if the simulator no longer makes what was frozen.
    """
    with tempfile.TemporaryDirectory() as temporary:
        length = len(KINDS) * definition.encounters
        with click.progressbar(length=length, label="Encounters", show_pos=True, width=30) as bar:
            exam = FrozenTides.prepare(
                definition,
                directory or Path(temporary),
                quick=quick,
                progress=lambda done: bar.update(done - bar.pos),
            )
        yield exam


def grade_all(
    engine: Engine,
    head: TidesHead,
    batches: Iterable[tuple[str, TidalStamps]],
    *,
    groups: tuple[str, ...],
    weigh: bool = True,
    progress: Callable[[int], None] | None = None,
) -> TidalOutcomes:
    """Let a model mark and weigh the debris of hosts.

    Parameters
    ----------
    engine
        The model.
    head
        Its thresholds; others than its own may be tried.
    batches
        Names of groups by depth, and stamps in the model's bands.
    groups
        The names of all groups.
    weigh
        Whether to measure fluxes, which takes most of the time.
    progress
        Called with the number of hosts done since the last call.

    Returns
    -------
    outcomes
        What came of it, in the order of the batches.
    """
    parts = []
    for name, stamps in batches:
        pixels = in_model_unit(stamps.flux, stamps.arcsec_per_px, engine.manifest.pixels)
        said = engine.predict(pixels, stamps.valid)
        parts.append(grade(stamps, said, head, groups=groups, group=groups.index(name), weigh=weigh))
        if progress is not None:
            progress(len(pixels))
    return TidalOutcomes.concatenate(parts)


def grade(
    stamps: TidalStamps,
    said: Predictions,
    head: TidesHead,
    *,
    groups: tuple[str, ...],
    group: int,
    weigh: bool = True,
) -> TidalOutcomes:
    """Compare what a model says of a batch of hosts with the truth.

    Parameters
    ----------
    stamps
        The hosts.
    said
        What the model says.
    head
        Its thresholds.
    groups
        Names of all groups by depth.
    group
        Group of these hosts.
    weigh
        Whether to measure fluxes; if not, they are NaN.

    Returns
    -------
    outcomes
        What came of it.
    """
    assert said.mask is not None
    assert said.presence is not None
    n, r = len(stamps.flux), stamps.bands.index(_BAND)
    sigma, scale = stamps.sigma[:, r], stamps.arcsec_per_px
    light = stamps.host + stamps.others
    valid = stamps.valid[:, r]
    # What was not measured can't be seen.
    shown = np.where(valid[:, np.newaxis], stamps.debris, np.float32(0.0))
    truth = truth_masks(shown, light, mask_limit(sigma), scale)
    regions = region_truth(truth.mask, truth.ignore, truth.any_mask, truth.any_ignore, valid)
    probability = expit(said.mask)
    planes = [head.planes.index(name) for name in WEIGHED]
    features = [head.features.index(name) for name in WEIGHED]
    presence = expit(said.presence)
    brightness, contrast = feature_depth(shown.sum(axis=1), light, scale)
    area = np.square(scale, dtype=np.float64)[:, np.newaxis]
    flux = flux_error = confidence = np.full((n, len(WEIGHED)), np.nan)
    if weigh:
        flux, flux_error, confidence = _weigh(stamps, probability, presence, said.share, head)
    each = np.concatenate([stamps.debris, stamps.debris.sum(axis=1, keepdims=True)], axis=1)
    masks = np.concatenate([truth.mask, truth.any_mask[:, np.newaxis]], axis=1)
    covariates = {name: np.asarray(stamps.properties[name], np.float64) for name in _COVARIATES}
    return TidalOutcomes(
        groups=groups,
        group=np.full(n, group, dtype=np.int64),
        kind=np.asarray(stamps.properties["kind"], dtype=np.int64),
        visible=truth.visible,
        presence=presence[:, features],
        counts=count_pixels(probability[:, planes], regions, mask_threshold=TidalThresholds.of(head).mask),
        surface_brightness=brightness,
        contrast=contrast,
        limit=limit(sigma),
        true_flux=area * np.where(masks, each, 0.0).sum(axis=(2, 3), dtype=np.float64),
        total_flux=area * each.sum(axis=(2, 3), dtype=np.float64),
        flux=flux,
        flux_error=flux_error,
        confidence=confidence,
        traits={name: np.asarray(stamps.properties[f"has_{name}"], np.bool_) for name in _TRAITS},
        covariates={**covariates, "fwhm": np.asarray(stamps.fwhm[:, r], np.float64)},
    )


def _weigh(
    stamps: TidalStamps, probability: Floats, presence: Floats, shares: Floats | None, head: TidesHead
) -> tuple[Floats, Floats, Floats]:
    """Return fluxes in r, their errors, and confidences, ``[n, 4]``."""
    r = stamps.bands.index(_BAND)
    measured = measure_features(
        probability,
        presence,
        in_model_unit(stamps.flux, stamps.arcsec_per_px, "nJy/arcsec2"),
        stamps.valid,
        stamps.arcsec_per_px,
        stamps.sigma,
        settings=FeatureSettings.from_head(head),
        shares=shares,
        reference=r,
    )
    features = [head.features.index(name) for name in WEIGHED]
    return (
        measured.flux[:, features, r],
        measured.flux_error[:, features, r],
        measured.confidence[:, features],
    )
