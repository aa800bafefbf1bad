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

"""Injected features against what was measured of their hosts."""

from __future__ import annotations

__all__ = ("Recovery", "recover", "recovery_text")

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from .tidal_completeness import Completeness, HalfFound, completeness_by, fit_half_found
from .tidal_flux import FluxScore, score_flux
from .tidal_outcomes import CLASSES

type Columns = Mapping[str, npt.NDArray[np.generic]]
type Bools = npt.NDArray[np.bool_]

_EDGES: Mapping[str, tuple[float, ...]] = {
    "surfaceBrightness": tuple(np.arange(22.0, 32.1, 1.0)),
    "depth": tuple(np.arange(-8.0, 2.1, 1.0)),
    "contrast": (0.1, 0.3, 1.0, 3.0, 10.0, 1e9),
    "hostMagnitude": tuple(np.arange(12.0, 21.1, 1.0)),
    "fwhm": (0.0, 0.8, 1.0, 1.2, 9.9),
}


@dataclasses.dataclass(frozen=True)
class Recovery:
    """What was found of the features that were put in."""

    features: int
    """Number of features whose hosts were measured."""

    unmeasured: int
    """Number of features whose hosts were not."""

    found: Mapping[str, tuple[int, int]]
    """Number found and number put in, of all debris and by class."""

    named: Mapping[str, tuple[int, int]]
    """Number found under its own name and number put in, by class."""

    clean: tuple[int, int]
    """Number flagged and number of measured objects without a feature."""

    curves: Mapping[str, Mapping[str, Completeness]]
    """Share found by quantity, of all and by class."""

    half: HalfFound | None
    """Where half are found."""

    flux: Mapping[str, FluxScore]
    """Fluxes of what was found under its own name, by class."""


def recover(truth: Columns, measured: Columns, *, band: str = "r") -> Recovery:
    """Compare injected features with the measurements of their hosts.

    Parameters
    ----------
    truth
        Columns ``objectId``, ``kind``, ``surfaceBrightness``, ``contrast``,
        ``<band>_flux`` and ``<band>_hostFlux``, and at will ``<band>_fwhm``,
        a row for each feature.
    measured
        Columns ``objectId``, ``limit``, and for tail, stream, shell and
        debris ``<class>_found`` and ``<class>_flux``, ``<class>_fluxErr`` in
        the band; a row for each object measured.
    band
        Band of the fluxes.

    Returns
    -------
    recovery
        What was found. Objects that were flagged before anything was put
        around them count as found: measure the original too if there are
        many of them.
    """
    order = np.argsort(measured["objectId"])
    ids = measured["objectId"][order]
    place = np.minimum(np.searchsorted(ids, truth["objectId"]), max(len(ids) - 1, 0))
    there = ids[place] == truth["objectId"] if len(ids) else np.zeros(len(truth["objectId"]), np.bool_)
    rows = order[place[there]] if len(ids) else np.empty(0, np.int64)
    mine = {name: values[there] for name, values in truth.items()}
    found = np.asarray(measured["debris_found"][rows], np.bool_)
    classes: dict[str, Bools] = {name: mine["kind"] == name for name in CLASSES}
    parts = {"all": np.ones(len(rows), np.bool_), **classes}
    brightness = np.asarray(mine["surfaceBrightness"], np.float64)
    limit = np.asarray(measured["limit"][rows], np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = 31.4 - 2.5 * np.log10(np.asarray(mine[f"{band}_hostFlux"], np.float64))
    values = {
        "surfaceBrightness": brightness,
        "depth": brightness - limit,
        "contrast": np.asarray(mine["contrast"], np.float64),
        "hostMagnitude": magnitude,
    }
    if f"{band}_fwhm" in mine:
        values["fwhm"] = np.asarray(mine[f"{band}_fwhm"], np.float64)
    named, flux = {}, {}
    for name, which in classes.items():
        own = np.asarray(measured[f"{name}_found"][rows], np.bool_) & which
        named[name] = (int(own.sum()), int(which.sum()))
        flux[name] = score_flux(
            np.asarray(measured[f"{name}_flux"][rows[own]], np.float64),
            np.asarray(measured[f"{name}_fluxErr"][rows[own]], np.float64),
            np.asarray(mine[f"{band}_flux"][own], np.float64),
        )
    curves = {
        quantity: {name: completeness_by(found[w], values[quantity][w], edges) for name, w in parts.items()}
        for quantity, edges in _EDGES.items()
        if quantity in values
    }
    clean = ~np.isin(measured["objectId"], truth["objectId"])
    return Recovery(
        features=len(rows),
        unmeasured=int((~there).sum()),
        found={name: (int(found[which].sum()), int(which.sum())) for name, which in parts.items()},
        named=named,
        clean=(int(np.asarray(measured["debris_found"], np.bool_)[clean].sum()), int(clean.sum())),
        curves=curves,
        half=fit_half_found(found, brightness, limit),
        flux=flux,
    )


def recovery_text(recovery: Recovery) -> str:
    """Return what was found as text.

    Parameters
    ----------
    recovery
        From `recover`.
    """
    return "\n".join(_lines(recovery)) + "\n"


def _lines(recovery: Recovery) -> Iterator[str]:
    yield f"{recovery.features} features measured; hosts of {recovery.unmeasured} more were not"
    for name, (found, number) in recovery.found.items():
        own = recovery.named.get(name)
        yield f"  {name:<8} found {found:>5} of {number:>5}" + (f", {own[0]} as {name}" if own else "")
    flagged, clean = recovery.clean
    yield f"  {flagged} of {clean} other objects flagged"
    for quantity, curves in recovery.curves.items():
        yield f"Share found by {quantity} (features)"
        for name, curve in curves.items():
            cells = [
                f"{curve.edges[k]:.4g}: {curve.found[k]:.2f} ({curve.count[k]})"
                for k in np.flatnonzero(curve.count)
            ]
            yield f"  {name:<8}" + "  ".join(cells)
    if recovery.half is not None:
        half = recovery.half
        yield f"Half are found at limit {half.offset:+.2f} {half.slope:+.2f} (limit - 30) mag/arcsec2"
    for name, score in recovery.flux.items():
        if score.count:
            yield (
                f"Flux of {score.count} {name}s over all of the feature's: median |error| {score.error:.3f}, "
                f"bias {score.bias:+.3f}, {score.coverage:.2f} within the stated error"
            )
