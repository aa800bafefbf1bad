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

"""Everything that is measured of a tidal model on one exam."""

from __future__ import annotations

__all__ = (
    "NATURAL_SHARE",
    "PURITY",
    "RECALL",
    "FalseFlags",
    "PixelScore",
    "TidalEvaluation",
    "evaluate_tides",
)

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..confident import Confusion
from .tidal_completeness import Completeness, HalfFound, completeness_by, fit_half_found
from .tidal_flux import FluxScore, score_flux
from .tidal_outcomes import CLASSES, WEIGHED, TidalOutcomes, TidalThresholds
from .tidal_pixels import REGIONS
from .tidal_presence import class_confusion, completeness_at_purity, recall_threshold, roc_area

type Floats = npt.NDArray[np.float64]
type Bools = npt.NDArray[np.bool_]

RECALL = 0.9
"""Share of hosts with visible debris that flags are to find."""

PURITY = 0.9
"""Share of flagged hosts that have debris."""

NATURAL_SHARE = 0.1
"""Share of hosts with visible debris that a survey may hold."""

ALL = "all"
"""Name of the group of all hosts."""

_EDGES: Mapping[str, tuple[float, ...]] = {
    "surface_brightness": tuple(np.arange(24.0, 32.1, 0.5)),
    "depth": tuple(np.arange(-6.0, 2.1, 0.5)),
    "contrast": (0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0, 10.0, 1e9),
    "host_magnitude": tuple(np.arange(13.0, 21.1, 1.0)),
    "host_radius": (0.0, 3.0, 4.0, 5.0, 6.0, 8.0, 100.0),
    "fwhm": (0.0, 0.8, 0.9, 1.0, 1.1, 1.2, 9.9),
}


@dataclasses.dataclass(frozen=True)
class PixelScore:
    """Intersection over union of one group of hosts, ``[region]`` each."""

    pooled: Floats
    """Over all pixels of all hosts together."""

    median: Floats
    """Median over the hosts where the region can be seen."""

    hosts: npt.NDArray[np.int64]
    """Number of these hosts."""

    best: Floats
    """Largest pooled value at any threshold."""


@dataclasses.dataclass(frozen=True)
class FalseFlags:
    """Undisturbed hosts that are flagged."""

    threshold: float
    """Least probability of debris that flags."""

    recall: float
    """Share of hosts with visible debris that it flags."""

    share: Mapping[str, float]
    """Share of undisturbed hosts that it flags, of all and by what else is
    in the picture."""


@dataclasses.dataclass(frozen=True)
class TidalEvaluation:
    """The measures of one exam."""

    number: int
    """Number of hosts."""

    makeup: Mapping[str, int]
    """Number of hosts that are undisturbed, visible, faint, and so on."""

    thresholds: TidalThresholds
    """The model's thresholds."""

    pixels: Mapping[str, PixelScore]
    """By group of depth, ``all`` first."""

    confusion: Mapping[str, Confusion]
    """Of undisturbed hosts and visible features, by group."""

    roc: Mapping[str, float]
    """Areas, by what is told apart."""

    flags: FalseFlags
    """At the model's own threshold."""

    flags_at_recall: FalseFlags
    """At the threshold that finds exactly `RECALL` of this exam."""

    pure: Mapping[str, tuple[float, float]]
    """Completeness at `PURITY`, and its threshold, by share of hosts with
    debris."""

    curves: Mapping[str, Mapping[str, Completeness]]
    """At `PURITY` among `NATURAL_SHARE`, all debris, by quantity and then
    by group or class."""

    half: HalfFound | None
    """Where half are found at the model's own threshold."""

    flux: Mapping[str, Mapping[str, FluxScore]]
    """By class, and then by which features."""


def evaluate_tides(outcomes: TidalOutcomes, thresholds: TidalThresholds) -> TidalEvaluation:
    """Measure a model on one exam.

    Parameters
    ----------
    outcomes
        Truth and answers.
    thresholds
        The model's.

    Returns
    -------
    evaluation
        The measures.
    """
    score = outcomes.presence[:, 3]
    positive, negative = score[outcomes.seen], score[outcomes.undisturbed]
    groups = {ALL: np.ones(len(outcomes), np.bool_)}
    groups |= {name: outcomes.group == k for k, name in enumerate(outcomes.groups)}
    pure = {
        name: completeness_at_purity(positive, negative, purity=PURITY, prevalence=share)
        for name, share in (("exam", None), ("natural", NATURAL_SHARE))
    }
    own = thresholds.presence["debris"]
    told = outcomes.undisturbed | outcomes.seen
    debris = ~outcomes.undisturbed
    return TidalEvaluation(
        number=len(outcomes),
        makeup=_makeup(outcomes),
        thresholds=thresholds,
        pixels={name: _pixels(outcomes[rows], thresholds) for name, rows in groups.items()},
        confusion={
            name: class_confusion(outcomes.presence[rows & told], outcomes.kind[rows & told], own)
            for name, rows in groups.items()
        },
        roc=_roc(outcomes, groups),
        flags=_flags(outcomes, own),
        flags_at_recall=_flags(outcomes, recall_threshold(positive, RECALL)),
        pure=pure,
        curves=_curves(outcomes, pure["natural"][1]),
        half=fit_half_found(
            score[debris] >= own, outcomes.surface_brightness[debris], outcomes.limit[debris]
        ),
        flux=_flux(outcomes, thresholds, groups),
    )


def _makeup(outcomes: TidalOutcomes) -> dict[str, int]:
    parts = {"undisturbed": outcomes.undisturbed, "visible": outcomes.seen, "faint": outcomes.faint}
    parts |= {f"visible {name}": outcomes.visible[:, k] for k, name in enumerate(CLASSES)}
    parts |= {f"undisturbed, {name}": outcomes.undisturbed & has for name, has in outcomes.traits.items()}
    return {name: int(rows.sum()) for name, rows in parts.items()}


def _pixels(outcomes: TidalOutcomes, thresholds: TidalThresholds) -> PixelScore:
    levels = thresholds.levels(REGIONS)
    places = np.arange(len(REGIONS))
    pooled = outcomes.counts.pooled()
    seen = [*outcomes.visible.T, outcomes.seen, outcomes.visible[:, :2].any(axis=1)]
    by_host = outcomes.counts.by_host()[:, places, levels]
    medians = [_median(by_host[rows, k]) for k, rows in enumerate(seen)]
    best = np.where(np.isnan(pooled), -np.inf, pooled).max(axis=1)
    return PixelScore(
        pooled[places, levels],
        np.asarray(medians),
        np.asarray([rows.sum() for rows in seen], dtype=np.int64),
        np.where(np.isfinite(best), best, np.nan),
    )


def _roc(outcomes: TidalOutcomes, groups: Mapping[str, Bools]) -> dict[str, float]:
    score, seen, clean = outcomes.presence[:, 3], outcomes.seen, outcomes.undisturbed
    areas = {name: roc_area(score[seen & rows], score[clean & rows]) for name, rows in groups.items()}
    areas["with faint ones"] = roc_area(score[~clean], score[clean])
    for name, has in outcomes.traits.items():
        areas[f"against {name}"] = roc_area(score[seen], score[clean & has])
    for k, name in enumerate(CLASSES):
        areas[name] = roc_area(score[outcomes.visible[:, k]], score[clean])
        own = outcomes.presence[:, k]
        rest = (clean | seen) & ~outcomes.visible[:, k]
        areas[f"{name} against all else"] = roc_area(own[outcomes.visible[:, k]], own[rest])
    return areas


def _flags(outcomes: TidalOutcomes, threshold: float) -> FalseFlags:
    flagged, clean = outcomes.presence[:, 3] >= threshold, outcomes.undisturbed
    share = {ALL: _share(flagged[clean])}
    share |= {name: _share(flagged[clean & has]) for name, has in outcomes.traits.items()}
    return FalseFlags(threshold, _share(flagged[outcomes.seen]), share)


def _curves(outcomes: TidalOutcomes, threshold: float) -> dict[str, dict[str, Completeness]]:
    found = outcomes.presence[:, 3] >= threshold
    values = {
        "surface_brightness": outcomes.surface_brightness,
        "depth": outcomes.surface_brightness - outcomes.limit,
        "contrast": outcomes.contrast,
        **outcomes.covariates,
    }
    debris = ~outcomes.undisturbed
    parts = {ALL: debris}
    parts |= {name: debris & (outcomes.group == k) for k, name in enumerate(outcomes.groups)}
    parts |= {name: outcomes.kind == k + 1 for k, name in enumerate(CLASSES)}
    curves = {}
    for quantity, edges in _EDGES.items():
        if quantity in values:
            # Whatever is seen or not decides nothing but these two.
            only = np.True_ if quantity in ("surface_brightness", "depth") else outcomes.seen
            curves[quantity] = {
                name: completeness_by(found[rows & only], values[quantity][rows & only], edges)
                for name, rows in parts.items()
            }
    return curves


def _flux(
    outcomes: TidalOutcomes, thresholds: TidalThresholds, groups: Mapping[str, Bools]
) -> dict[str, dict[str, FluxScore]]:
    def score(rows: Bools, k: int, truth: npt.NDArray[np.floating]) -> FluxScore:
        return score_flux(outcomes.flux[rows, k], outcomes.flux_error[rows, k], truth[rows, k])

    scores: dict[str, dict[str, FluxScore]] = {}
    for k, name in enumerate(WEIGHED):
        visible = outcomes.weighable[:, k]
        found = visible & (outcomes.presence[:, k] >= thresholds.presence[name])
        found &= np.isfinite(outcomes.flux[:, k])
        scores[name] = {group: score(found & rows, k, outcomes.true_flux) for group, rows in groups.items()}
        scores[name]["all its light"] = score(found, k, outcomes.total_flux)
        # A feature that was not found has no flux: an error of its all.
        flux = np.nan_to_num(outcomes.flux[visible, k])
        sigma = np.nan_to_num(outcomes.flux_error[visible, k])
        scores[name]["found or not"] = score_flux(flux, sigma, outcomes.true_flux[visible, k])
    return scores


def _share(rows: Bools) -> float:
    return float(rows.mean()) if len(rows) else float("nan")


def _median(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")
