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

"""Simulated stamps with simulated votes, to train on."""

from __future__ import annotations

__all__ = ("BLOCK", "SimulatedStamps", "observe", "sample_stamps")

import dataclasses

import numpy as np
import numpy.typing as npt

from ..model.manifest import FieldOfView
from ..pixels.radius import guarded_radius
from ..questions.tree import QuestionTree
from .galaxies import GalaxyParameters, Kind, Mix, colour_offset, draw_parameters
from .measuring import measure
from .observing import NATIVE_SCALE, Conditions, add_noise, convolve, draw_conditions
from .painting import paint
from .votes import draw_votes, true_probabilities

type Floats = npt.NDArray[np.float64]

BLOCK = 32
"""Objects drawn from one stream of random numbers."""

_OVERSAMPLE = 2


@dataclasses.dataclass(frozen=True)
class SimulatedStamps:
    """Stamps of ``n`` objects and what is known of them."""

    bands: tuple[str, ...]
    """Names of the bands."""

    flux: npt.NDArray[np.float32]
    """Flux per stamp pixel in nJy, ``[n, band, size, size]``."""

    valid: npt.NDArray[np.bool_]
    """Whether a pixel was measured, ``[n, band, size, size]``."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Scale of each stamp, ``[n]``."""

    votes: npt.NDArray[np.int32]
    """Votes of the simulated volunteers, ``[n, answer]``."""

    probabilities: npt.NDArray[np.float32]
    """The probabilities behind the votes, ``[n, answer]``."""

    parameters: GalaxyParameters
    """The objects' parameters."""

    conditions: Conditions
    """Seeing and depth."""

    def __len__(self) -> int:
        return len(self.flux)


def sample_stamps(
    seed: int,
    n: int,
    *,
    bands: tuple[str, ...] = ("g", "r", "i"),
    stamp_size: int = 64,
    field_of_view: FieldOfView | None = None,
    tree: QuestionTree | None = None,
    mix: Mix = "training",
    start: int = 0,
    volunteers: tuple[int, int] = (5, 40),
    magnitude_limit: float = 21.0,
) -> SimulatedStamps:
    """Simulate stamps as the pipeline would cut them, with votes.

    Object ``start + k`` of a seed is the same whatever ``n`` and ``start``
    are, so a stream may be cut into batches and resumed at will.

    Parameters
    ----------
    seed
        Seed of the stream.
    n
        Number of objects.
    bands
        Names of the bands, out of u, g, r, i, z, y.
    stamp_size
        Side of the stamps in pixels.
    field_of_view
        Rule for the stamps' scale; by default three radii, 12.8 to 64
        arcsec.
    tree
        The tree whose questions are asked; by default ``rubin``.
    mix
        ``training`` or ``natural``; see `draw_parameters`.
    start
        Number of objects of the stream to skip.
    volunteers
        Smallest and largest number of volunteers per object.
    magnitude_limit
        Faintest magnitude in the i band.

    Returns
    -------
    stamps
        Stamps, votes and truth.
    """
    if field_of_view is None:
        field_of_view = FieldOfView(rule="radius", multiple=3.0, min_arcsec=12.8, max_arcsec=64.0)
    if tree is None:
        tree = QuestionTree.load("rubin")
    blocks = [
        _simulate_block(
            np.random.default_rng([seed, block]),
            bands,
            stamp_size,
            field_of_view,
            tree,
            mix,
            volunteers,
            magnitude_limit,
        )
        for block in range(start // BLOCK, -(-(start + n) // BLOCK))
    ]
    return _join(blocks, bands, stamp_size, tree, slice(start % BLOCK, start % BLOCK + n))


def _join(
    blocks: list[SimulatedStamps], bands: tuple[str, ...], size: int, tree: QuestionTree, rows: slice
) -> SimulatedStamps:
    """Put blocks together and keep some rows."""
    if not blocks:
        rng = np.random.default_rng(0)
        shape = (0, len(bands), size, size)
        answers = (0, tree.n_answers)
        return SimulatedStamps(
            bands,
            np.empty(shape, np.float32),
            np.empty(shape, np.bool_),
            np.empty(0, np.float32),
            np.empty(answers, np.int32),
            np.empty(answers, np.float32),
            draw_parameters(rng, 0),
            draw_conditions(rng, 0, bands),
        )
    names = ("flux", "valid", "arcsec_per_px", "votes", "probabilities")
    arrays = {name: np.concatenate([getattr(b, name) for b in blocks])[rows] for name in names}
    conditions = Conditions(
        bands,
        *(
            np.concatenate([getattr(b.conditions, name) for b in blocks])[rows]
            for name in ("fwhm", "visits", "sigma")
        ),
    )
    parameters = GalaxyParameters.concatenate([b.parameters for b in blocks])[rows]
    return SimulatedStamps(bands, **arrays, parameters=parameters, conditions=conditions)


def _simulate_block(
    rng: np.random.Generator,
    bands: tuple[str, ...],
    size: int,
    field_of_view: FieldOfView,
    tree: QuestionTree,
    mix: Mix,
    volunteers: tuple[int, int],
    magnitude_limit: float,
) -> SimulatedStamps:
    """Simulate one block of objects."""
    parameters = draw_parameters(rng, BLOCK, mix=mix, magnitude_limit=magnitude_limit)
    conditions = draw_conditions(rng, BLOCK, bands)
    image, valid, scale = observe(rng, parameters, conditions, stamp_size=size, field_of_view=field_of_view)
    probabilities = true_probabilities(parameters, conditions, tree)
    votes = draw_votes(rng, probabilities, tree, volunteers=volunteers)
    return SimulatedStamps(bands, image, valid, scale, votes, probabilities, parameters, conditions)


def observe(
    rng: np.random.Generator,
    parameters: GalaxyParameters,
    conditions: Conditions,
    *,
    stamp_size: int,
    field_of_view: FieldOfView,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Take pictures of objects.

    Parameters
    ----------
    rng
        Source of random numbers, for neighbours, noise and lost pixels.
    parameters
        The ``n`` objects, at least one.
    conditions
        The conditions under which they are seen.
    stamp_size
        Side of the stamps in pixels.
    field_of_view
        Rule for the stamps' scale.

    Returns
    -------
    flux
        Flux per stamp pixel in nJy, 0 where nothing was measured,
        ``[n, band, size, size]``.
    valid
        Whether a pixel was measured, of the same shape.
    arcsec_per_px
        Scale of each stamp, ``[n]``.
    """
    n, bands, size = len(parameters), conditions.bands, stamp_size
    fwhm, sigma = conditions.reference()
    measurement = measure(parameters, fwhm, sigma)
    radius, _ = guarded_radius(
        measurement.trace, measurement.kron_radius, measurement.footprint_area, NATIVE_SCALE
    )
    scale, _ = field_of_view.arcsec_per_px(radius, size)
    fine = np.asarray(scale, dtype=np.float64) / _OVERSAMPLE
    # A centroid is good to about a fifth of a native pixel.
    shift = rng.normal(0.0, 0.2 * NATIVE_SCALE, (2, n))
    image = paint(
        parameters,
        bands,
        size=size * _OVERSAMPLE,
        pixel_scale=fine,
        offset_x=shift[0],
        offset_y=shift[1],
    )
    image += _neighbours(rng, parameters, bands, size * _OVERSAMPLE, fine)
    image = convolve(image, conditions.fwhm, fine, boxes=3)
    image = image.reshape(n, len(bands), size, _OVERSAMPLE, size, _OVERSAMPLE).sum(axis=(3, 5))
    add_noise(rng, image, bands, conditions.sigma, conditions.visits, scale / NATIVE_SCALE)
    valid = _valid(rng, image, parameters, scale)
    image[~valid] = 0.0
    return image, valid, scale


def _neighbours(
    rng: np.random.Generator,
    parameters: GalaxyParameters,
    bands: tuple[str, ...],
    size: int,
    scale: Floats,
) -> npt.NDArray[np.float32]:
    """Paint stars and faint galaxies around, ``[n, band, size, size]``.

    About 30 objects brighter than 25th magnitude per square arcmin. One that
    volunteers would take for a companion, by its light and place, is left
    out: companions are drawn with the galaxies, and are asked about.
    """
    n, most = len(scale), 24
    side = scale * size
    number = np.minimum(rng.poisson(30.0 * (side / 60.0) ** 2), most)
    magnitude = np.clip(25.0 + np.log(rng.uniform(1e-9, 1.0, (n, most))) / 1.0, 15.0, 25.0)
    flux = 10.0 ** (0.4 * (31.4 - magnitude)) * (np.arange(most) < number[:, None])
    where = rng.uniform(-0.5, 0.5, (2, n, most)) * side[:, None]
    distance = np.hypot(where[0], where[1])
    alike = flux > 0.1 * parameters.flux()[:, None]
    flux[(distance < 2.5) | (alike & (distance < 3.0 * parameters.half_light[:, None]))] = 0.0
    star = rng.random((n, most)) < 0.25
    width = np.where(star, 0.02, 10.0 ** (-0.45 - 0.07 * (magnitude - 22.0) + rng.normal(0, 0.15, (n, most))))
    axis = (np.arange(size) - (size - 1) / 2.0) * scale[:, None]
    sigma = np.maximum(width, 0.45 * scale[:, None])[:, :, None]
    along = np.exp(-0.5 * ((axis[:, None, :] - where[0][:, :, None]) / sigma) ** 2).astype(np.float32)
    across = np.exp(-0.5 * ((axis[:, None, :] - where[1][:, :, None]) / sigma) ** 2).astype(np.float32)
    colour = rng.uniform(0.2, 1.3, (n, most))
    peak = flux * scale[:, None] ** 2 / (2.0 * np.pi * sigma[:, :, 0] ** 2)
    image = np.empty((n, len(bands), size, size), dtype=np.float32)
    for b, band in enumerate(bands):
        weight = (peak * 10.0 ** (-0.4 * colour_offset(band) * colour)).astype(np.float32)
        image[:, b] = np.matmul((across * weight[:, :, None]).transpose(0, 2, 1), along)
    return image


def _valid(
    rng: np.random.Generator,
    image: npt.NDArray[np.float32],
    parameters: GalaxyParameters,
    scale: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """Lose some pixels: edges of patches, holes, saturated cores."""
    n, _, size, _ = image.shape
    valid = np.ones(image.shape, dtype=np.bool_)
    fate = rng.random(n)
    edge = rng.integers(1, size // 2 - 4, (n,)).tolist()
    side = rng.integers(0, 4, (n,)).tolist()
    corner = rng.integers(0, size, (n, 2))
    extent = rng.integers(2, size // 6, (n, 2))
    for k in np.flatnonzero(fate < 0.06).tolist():
        stripe = slice(0, edge[k]) if side[k] < 2 else slice(size - edge[k], size)
        valid[(k, slice(None), stripe) if side[k] % 2 else (k, slice(None), slice(None), stripe)] = False
    for k in np.flatnonzero(fate > 0.95).tolist():
        y, x = int(corner[k, 0]), int(corner[k, 1])
        height, width = int(extent[k, 0]), int(extent[k, 1])
        valid[k, :, y : y + height, x : x + width] = False
    if len(_saturated := np.flatnonzero(parameters.kind >= Kind.STAR)):
        limit = (20000.0 * (scale[_saturated] / NATIVE_SCALE) ** 2)[:, None, None, None]
        valid[_saturated] &= image[_saturated] < limit
    return valid
