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

"""Intervals of mixtures of Beta distributions, for many mixtures at once.

With ``x = sin(theta)**2`` the density of a Beta distribution becomes smooth
at both ends and its width in ``theta`` depends on the concentration alone,
so a uniform grid in ``theta`` integrates all but the narrowest mixtures.
"""

from __future__ import annotations

__all__ = ("mixture_interval",)

import numpy as np
import numpy.typing as npt
from scipy import special

type Floats = npt.NDArray[np.float64]

_START = 3
"""Node below which, and above whose mirror, densities may be singular."""

_BLOCK_VALUES = 250_000
"""Values of the largest temporary array, which then stays in the cache."""

_TOLERANCE = 1.2e-3
"""Width in x of a bracket whose middle is returned."""

_MAX_ITERATIONS = 80


class _Grid:
    """A uniform grid in theta from 0 to pi / 2.

    Parameters
    ----------
    cells
        Number of cells; there is one node more.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.step = 0.5 * np.pi / cells
        self.theta = self.step * np.arange(cells + 1)
        inner = self.theta[1:-1]
        self.basis = np.stack([np.log(np.sin(inner)), np.log(np.cos(inner))])
        # A component's width in theta is 0.5 / sqrt(a + b): at least 1.25
        # cells for these.
        self.max_concentration = (0.5 / (1.25 * self.step)) ** 2


_GRIDS = (_Grid(160), _Grid(320))
"""Grids for wide and narrow mixtures; the last serves those narrower still as
a first guess."""


def mixture_interval(a: Floats, b: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the central interval of equal-weight mixtures of Betas.

    Parameters
    ----------
    a, b
        Parameters of the components, positive and finite,
        ``[mixture, component]``.
    level
        Probability within the interval, above 0 and below 1.

    Returns
    -------
    low, high
        The quantiles ``(1 - level) / 2`` and ``(1 + level) / 2`` of each
        mixture, ``[mixture]``, good to 1e-3. Where a mixture has (almost)
        no density at a quantile, any value within the gap may be returned.

    Notes
    -----
    The cumulative distribution is the trapezoidal sum of the mixture's
    density over the grid, corrected to fourth order at its ends
    (Euler-Maclaurin). Where a density diverges (a component with ``a < 1``)
    the sum starts at the exact value of a node close to 0. Mixtures with a
    component too narrow for the finest grid are solved by bracketing the
    exact distribution function, starting from the grid's value.
    """
    probabilities = (0.5 * (1.0 - level), 0.5 * (1.0 + level))
    largest = np.max(a + b, axis=-1)
    grid_numbers = np.searchsorted([grid.max_concentration for grid in _GRIDS], largest)
    edges = np.empty((2, len(a)))
    for number in np.unique(grid_numbers):
        grid = _GRIDS[min(number, len(_GRIDS) - 1)]
        numbered = np.flatnonzero(grid_numbers == number)
        block = max(1, _BLOCK_VALUES // (a.shape[1] * grid.cells))
        for rows in np.split(numbered, range(block, len(numbered), block)):
            density, cumulative = _on_grid(a[rows], b[rows], grid)
            for edge, probability in zip(edges, probabilities, strict=True):
                theta = _invert(density, cumulative, probability, grid)
                if number == len(_GRIDS):
                    theta = _bracket(a[rows], b[rows], probability, theta)
                edge[rows] = np.sin(theta) ** 2
    return edges[0], edges[1]


def _log_normalization(a: Floats, b: Floats) -> Floats:
    """Log of the factor of the density in theta."""
    return np.asarray(np.log(2.0) - special.betaln(a, b))


def _on_grid(a: Floats, b: Floats, grid: _Grid) -> tuple[Floats, Floats]:
    """Return each mixture's density in theta and its integral, at the nodes.

    Both are ``[mixture, node]``. At the outermost nodes the density is set
    to zero; the integral is exact there, and good from `_START` to its
    mirror.
    """
    components = np.stack([2.0 * a - 1.0, 2.0 * b - 1.0], axis=-1) @ grid.basis
    # By itself: it may be infinite, which some libraries of linear algebra
    # take for an invalid value.
    components += _log_normalization(a, b)[..., np.newaxis]
    np.exp(components, out=components)
    density = np.zeros((len(a), grid.cells + 1))
    np.mean(components, axis=-2, out=density[:, 1:-1])

    slope = np.zeros_like(density)
    slope[:, 1:-1] = (density[:, 2:] - density[:, :-2]) * (0.5 / grid.step)
    slope[:, 0] = density[:, 1] / grid.step
    cumulative = np.zeros_like(density)
    cumulative[:, 1:] = np.cumsum(density[:, 1:] + density[:, :-1], axis=-1) * (0.5 * grid.step)
    cumulative -= (slope - slope[:, :1]) * (grid.step**2 / 12.0)

    singular = np.flatnonzero(np.min(a, axis=-1) < 1.0)
    if singular.size:
        exact = np.mean(special.betainc(a[singular], b[singular], np.sin(grid.theta[_START]) ** 2), axis=-1)
        cumulative[singular] += (exact - cumulative[singular, _START])[:, np.newaxis]
        cumulative[singular, 1:_START] = exact[:, np.newaxis]
    cumulative[:, 0] = 0.0
    cumulative[:, -_START:] = 1.0
    return density, np.maximum.accumulate(np.clip(cumulative, 0.0, 1.0), axis=-1)


def _invert(density: Floats, cumulative: Floats, probability: float, grid: _Grid) -> Floats:
    """Return the quantile in theta of each mixture on the grid.

    Within a cell the density is taken as linear between its nodes, scaled
    to the cell's probability.
    """
    rows = np.arange(len(cumulative))
    right = np.clip(np.sum(cumulative < probability, axis=-1), 1, grid.cells)
    left = right - 1
    inside = cumulative[rows, right] - cumulative[rows, left]
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.clip((probability - cumulative[rows, left]) / inside, 0.0, 1.0)
        mean = 0.5 * (density[rows, left] + density[rows, right])
        first, last = density[rows, left] / mean, density[rows, right] / mean
        root = np.sqrt(np.maximum(first**2 + 2.0 * (last - first) * wanted, 0.0))
        part = 2.0 * wanted / (first + root)
    part = np.where(np.isfinite(part), part, 0.5)
    return np.asarray(grid.step * (left + np.clip(part, 0.0, 1.0)))


def _bracket(a: Floats, b: Floats, probability: float, theta: Floats) -> Floats:
    """Solve for quantiles in theta with the exact distribution function.

    Newton's method that aims a little beyond the root, so that it closes a
    bracket around it; wherever that fails, the bracket is halved.
    """
    factor = _log_normalization(a, b)
    theta = np.clip(theta, 1e-3, 0.5 * np.pi - 1e-3)
    low, high = np.zeros_like(theta), np.full_like(theta, 0.5 * np.pi)
    active = np.arange(len(theta))
    for iteration in range(_MAX_ITERATIONS):
        now = theta[active]
        sine, cosine = np.sin(now)[:, np.newaxis], np.cos(now)[:, np.newaxis]
        aa, bb = a[active], b[active]
        excess = np.mean(special.betainc(aa, bb, sine**2), axis=-1) - probability
        density = np.mean(
            np.exp((2.0 * aa - 1.0) * np.log(sine) + (2.0 * bb - 1.0) * np.log(cosine) + factor[active]),
            axis=-1,
        )
        low[active] = np.where(excess <= 0.0, now, low[active])
        high[active] = np.where(excess >= 0.0, now, high[active])
        bottom, top = low[active], high[active]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            aim = now - excess / density - np.copysign(0.5 * _TOLERANCE, excess)
        halve = ~((aim > bottom) & (aim < top)) | (iteration % 4 == 3)
        theta[active] = np.where(halve, 0.5 * (bottom + top), aim)
        open_ = np.sin(top) ** 2 - np.sin(bottom) ** 2 > _TOLERANCE
        active = active[open_]
        if not active.size:
            break
    return np.asarray(0.5 * (low + high))
