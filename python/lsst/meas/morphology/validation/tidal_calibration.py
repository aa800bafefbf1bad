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

"""What a tidal model's answers mean, chosen on hosts with known truth."""

from __future__ import annotations

__all__ = ("calibrated_head", "with_masks")

import dataclasses

import numpy as np
import numpy.typing as npt

from ..model.heads import TidesHead
from .tidal_completeness import HalfFound, fit_half_found
from .tidal_evaluation import RECALL
from .tidal_flux import FluxLaw, fit_flux_law
from .tidal_outcomes import CLASSES, WEIGHED, TidalOutcomes
from .tidal_pixels import LEVELS, PixelCounts
from .tidal_presence import recall_threshold

type Floats = npt.NDArray[np.floating]
type Bools = npt.NDArray[np.bool_]

LEAST = 20
"""Features of a class that are needed to choose a number for it."""


def with_masks(head: TidesHead, counts: PixelCounts) -> TidesHead:
    """Choose where masks begin: where they overlap best with the truth.

    Parameters
    ----------
    head
        What the model says of itself.
    counts
        Pixels of hosts whose truth is known.

    Returns
    -------
    head
        With thresholds of the masks, and without the numbers that depend
        on them.
    """
    pooled = counts.pooled()
    masks = {name: _best(pooled[k]) for k, name in enumerate(WEIGHED)}
    changes = {"mask_threshold": masks, "threshold": None, "half_found": None}
    changes |= dict.fromkeys(("flux_scale", "flux_error", "flux_power", "error_power"))
    return TidesHead.model_validate({**head.model_dump(), **changes})


def calibrated_head(head: TidesHead, outcomes: TidalOutcomes) -> tuple[TidesHead, HalfFound | None]:
    """Choose thresholds of presence, and what makes fluxes true.

    Any debris is flagged from where `RECALL` of the visible is found; a
    class from where precision and recall have the largest harmonic mean.
    Fluxes are fitted on visible features that are found.

    Parameters
    ----------
    head
        From `with_masks`.
    outcomes
        What came of hosts whose truth is known, with that head.

    Returns
    -------
    head
        The complete head. Numbers that no features were there to choose
        stay at their defaults.
    half
        Where half of all features are found, all classes together.
    """
    clean = outcomes.undisturbed
    told = clean | outcomes.seen
    threshold: dict[str, float] = {}
    laws: dict[str, FluxLaw] = {}
    for k, name in enumerate(WEIGHED):
        visible, score = outcomes.weighable[:, k], outcomes.presence[:, k]
        if visible.sum() < LEAST:
            continue
        if name == "debris":
            threshold[name] = recall_threshold(score[visible], RECALL)
        else:
            threshold[name] = _best_threshold(score[told], visible[told])
        rows = visible & (score >= threshold[name]) & np.isfinite(outcomes.flux[:, k])
        measured = (outcomes.flux, outcomes.flux_error, outcomes.confidence, outcomes.true_flux)
        laws[name] = fit_flux_law(*(array[rows, k] for array in measured))
    found = {name: fit_half_found(*_features(outcomes, k, threshold)) for k, name in enumerate(WEIGHED)}
    half = {name: (fit.offset, fit.slope) for name, fit in found.items() if fit is not None}
    changes: dict[str, object] = {"threshold": threshold, "half_found": half or None}
    for field in dataclasses.fields(FluxLaw):
        changes[field.name] = {name: getattr(law, field.name) for name, law in laws.items()}
    return TidesHead.model_validate({**head.model_dump(), **changes}), found["debris"]


def _features(outcomes: TidalOutcomes, k: int, threshold: dict[str, float]) -> tuple[Bools, Floats, Floats]:
    """Return whether features were found, how bright they are, and the
    limit there.
    """
    rows = ~outcomes.undisturbed if k == len(CLASSES) else outcomes.kind == k + 1
    found = outcomes.presence[rows, k] >= threshold.get(WEIGHED[k], 0.5)
    return found, outcomes.surface_brightness[rows], outcomes.limit[rows]


def _best(pooled: Floats) -> float:
    """Return the threshold of the largest overlap; one half without any."""
    if not np.isfinite(pooled).any():
        return 0.5
    # The first level marks everything.
    return float(np.nanargmax(np.where(np.arange(LEVELS) > 0, pooled, -1.0)) / LEVELS)


def _best_threshold(score: Floats, there: Bools) -> float:
    """Return the threshold of the largest harmonic mean of precision and
    recall.
    """
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(there[order])
    f1 = 2.0 * hits / (np.arange(1, len(score) + 1) + there.sum())
    # Equal scores stand or fall together.
    last = np.append(np.diff(score[order]) != 0.0, True)
    return float(score[order][np.argmax(np.where(last, f1, -1.0))])
