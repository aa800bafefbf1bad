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

"""Fitting the score of what is unlike the training objects."""

from __future__ import annotations

__all__ = ("NoveltyFit", "fit_novelty")

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..errors import MorphologyError
from ..model.manifest import Novelty

EIGENVALUE_FLOOR = 1e-4
"""Least variance of a direction that whitening believes, over the largest."""

HELD_OUT = 0.25
"""Share of the objects that sets the threshold."""

_ROUNDS = 30
_BLOCK = 2048

type Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class NoveltyFit:
    """A score of novelty: what the manifest and the weights say of it."""

    record: Novelty
    """For the manifest."""

    centre: npt.NDArray[np.float32]
    """Mean of the encoder's vectors, ``[w]``."""

    whitening: npt.NDArray[np.float32]
    """Matrix that makes their covariance one, ``[w, w]``."""

    prototypes: npt.NDArray[np.float32]
    """Whitened prototypes, ``[k, w]``."""

    def weights(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """Return the tensors of a network's ``novelty``, by name."""
        return {name: getattr(self, name) for name in ("centre", "whitening", "prototypes")}

    def score(self, encoded: npt.NDArray[np.floating]) -> Floats:
        """Return the scores ``[n]`` of vectors ``[n, w]``."""
        whitening = self.whitening.astype(np.float64)
        white = (encoded.astype(np.float64) - self.centre) @ whitening.T
        return np.sqrt(_squares(white, self.prototypes.astype(np.float64)).min(axis=1))


def fit_novelty(
    encoded: npt.NDArray[np.floating], *, data: str, prototypes: int = 16, share: float = 0.01, seed: int = 1
) -> NoveltyFit:
    """Fit a score of novelty.

    Parameters
    ----------
    encoded
        What the encoder says of objects like those of the training,
        ``[n, w]``.
    data
        What these objects are.
    prototypes
        Number of prototypes; with one, the score is Mahalanobis' distance.
    share
        Share of such objects that is to score above the threshold.
    seed
        Seed of the parts and of the first prototypes.

    Returns
    -------
    fit
        The score.

    Raises
    ------
    MorphologyError
        Raised if there are fewer than four objects per dimension and
        prototype.
    """
    count, width = encoded.shape
    if count < 4 * max(width, prototypes):
        raise MorphologyError(
            f"{count} objects are too few to tell what is unlike them: {4 * max(width, prototypes)} are"
            f" needed for an encoder of {width} features."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    judged, fitted = np.split(encoded[order].astype(np.float64), [max(1, round(HELD_OUT * count))])
    centre = fitted.mean(axis=0)
    whitening = _whitening(fitted - centre)
    _, group = _prototypes((fitted - centre) @ whitening.T, prototypes, rng)
    # Once more, by the scatter about the prototypes: what sets groups apart
    # must not make everything else look small.
    means = np.array([fitted[group == k].mean(axis=0) for k in range(prototypes)])
    whitening = _whitening(fitted - means[group])
    found = (means - centre) @ whitening.T
    record = Novelty(prototypes=prototypes, threshold=1.0, share=share, data=data)
    fit = NoveltyFit(
        record, centre.astype(np.float32), whitening.astype(np.float32), found.astype(np.float32)
    )
    threshold = float(np.quantile(fit.score(judged), 1.0 - share, method="higher"))
    return dataclasses.replace(fit, record=record.model_copy(update={"threshold": threshold}))


def _whitening(differences: Floats) -> Floats:
    """Return the matrix ``[w, w]`` that gives vectors unit covariance."""
    variance, directions = np.linalg.eigh(differences.T @ differences / len(differences))
    largest = max(float(variance[-1]), 1e-12)
    return np.asarray((directions / np.sqrt(np.maximum(variance, EIGENVALUE_FLOOR * largest))).T)


def _prototypes(white: Floats, count: int, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return means of groups of vectors, and each vector's group.

    By Lloyd's algorithm. It begins with vectors that are far from one
    another: each is drawn with a probability that grows with its squared
    distance from those before.
    """
    centres = white[rng.integers(len(white))][np.newaxis]
    while len(centres) < count:
        far = _squares(white, centres).min(axis=1) + 1e-12
        centres = np.vstack([centres, white[rng.choice(len(white), p=far / far.sum())]])
    for _ in range(_ROUNDS):
        group = _squares(white, centres).argmin(axis=1)
        # A prototype without a group takes the vector farthest from all.
        for empty in np.setdiff1d(np.arange(count), group):
            group[_squares(white, centres).min(axis=1).argmax()] = empty
        moved = np.array([white[group == k].mean(axis=0) for k in range(count)])
        if np.allclose(moved, centres):
            break
        centres = moved
    return centres, group


def _squares(white: Floats, centres: Floats) -> Floats:
    """Return mean squared differences ``[n, k]``, blockwise."""
    parts = [
        np.square(white[start : start + _BLOCK, None] - centres).mean(axis=-1)
        for start in range(0, len(white), _BLOCK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, len(centres)))
