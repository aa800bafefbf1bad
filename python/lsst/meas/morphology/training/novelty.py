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

__all__ = ("NoveltyFit", "fit_novelty", "learn_novelty", "novelty_vectors")

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.distance import cdist

from ..errors import MorphologyError
from ..model.manifest import Manifest, Novelty
from ..model.network import MorphologyNetwork
from ..model.novelty_score import picture_statistics
from ..model.picture_statistics import PictureStatistics
from .missing_bands import missing_sets, rows_without

_LOG = logging.getLogger(__name__)

EIGENVALUE_FLOOR = 1e-5
"""Least variance of a direction that whitening believes, over the largest."""

HELD_OUT = 0.25
"""Share of the objects that sets the threshold."""

_ENOUGH = 4
"""Objects wanted for each dimension."""

_DIRECTIONS = 128
"""Most directions of the encoder's vector that are looked at."""

_PROTOTYPES = 128
"""Most prototypes for each set of missing bands."""

_PER_PROTOTYPE = 40
"""Objects wanted for each of them."""

_CHUNK = 128
_ROUNDS = 30

type Floats = npt.NDArray[np.float64]
type Vectors = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class NoveltyFit:
    """A score of novelty: what the manifest and the weights say of it."""

    record: Novelty
    """For the manifest."""

    centre: Vectors
    """Mean vector, for each set of missing bands, ``[p, w]``."""

    whitening: Vectors
    """Matrices that make the covariance one, over the score of the
    threshold, ``[p, d, w]``."""

    prototypes: Vectors
    """Whitened prototypes, ``[p, k, d]``."""

    def weights(self) -> Mapping[str, Vectors]:
        """Return the tensors of a network's ``novelty``, by name."""
        return {name: getattr(self, name) for name in ("centre", "whitening", "prototypes")}

    def score(self, vectors: npt.NDArray[np.floating], missing: int = 0) -> Floats:
        """Return the scores ``[n]`` of vectors ``[n, w]``.

        Parameters
        ----------
        vectors
            What is known of the objects.
        missing
            Which of the sets of missing bands is theirs.
        """
        whitening = self.whitening[missing].astype(np.float64)
        white = (vectors.astype(np.float64) - self.centre[missing]) @ whitening.T
        return np.sqrt(_squares(white, self.prototypes[missing].astype(np.float64)).min(axis=1))


def learn_novelty(
    network: MorphologyNetwork,
    manifest: Manifest,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    *,
    data: str,
    seed: int = 1,
) -> NoveltyFit:
    """Fit a score of novelty to stamps.

    The statistics of the picture are part of it if the stamps are enough to
    know how these are distributed, and there are fewer prototypes if not.

    Parameters
    ----------
    network
        The network, on the CPU and in evaluation mode.
    manifest
        The model.
    flux
        Stamps in the model's unit, ``[n, b, s, s]``, drawn as those of the
        training but not used in it.
    valid
        Which pixels were measured, of the same shape.
    data
        What the stamps are.
    seed
        Seed of the fit.

    Raises
    ------
    MorphologyError
        Raised if there are too few stamps.
    """
    vectors = novelty_vectors(network, manifest, flux, valid)
    least = min(len(part) for part in vectors.values())
    statistics = picture_statistics(manifest, network.rendering.channels).width
    encoded = next(iter(vectors.values())).shape[1] - statistics
    enough = _ENOUGH * (min(encoded, _DIRECTIONS) + statistics)
    if least < enough:
        vectors = {gone: part[:, :encoded] for gone, part in vectors.items()}
        statistics = 0
        _LOG.warning(
            "%d stamps are too few for a score of novelty that looks at colours and texture as well; %d are"
            " enough.",
            least,
            enough,
        )
    prototypes = max(1, min(_PROTOTYPES, least // _PER_PROTOTYPE))
    return fit_novelty(vectors, data=data, statistics=statistics, prototypes=prototypes, seed=seed)


def novelty_vectors(
    network: MorphologyNetwork,
    manifest: Manifest,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
) -> dict[tuple[str, ...], Vectors]:
    """Return what a score of novelty is fitted to.

    Parameters
    ----------
    network
        The network, on the CPU and in evaluation mode.
    manifest
        The model.
    flux
        Stamps in the model's unit, ``[n, b, s, s]``.
    valid
        Which pixels were measured, of the same shape.

    Returns
    -------
    vectors
        For each set of missing bands the vectors of those stamps that lack
        no other band, ``[m, w]``: what the encoder says, and after it the
        statistics of the picture.
    """
    statistics = picture_statistics(manifest, network.rendering.channels)
    vectors = {}
    for gone in missing_sets(manifest.optional_bands):
        rows, kept = rows_without(manifest, valid, gone)
        parts = [
            _vectors(network, statistics, flux[chunk], valid[chunk] & kept[:, None, None])
            for chunk in np.split(rows, range(_CHUNK, len(rows), _CHUNK))
        ]
        vectors[gone] = np.concatenate(parts)
    return vectors


@torch.inference_mode()
def _vectors(
    network: MorphologyNetwork,
    statistics: PictureStatistics,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
) -> Vectors:
    shown = network.rendering(
        torch.from_numpy(np.where(valid, flux, np.float32(0.0))), torch.from_numpy(valid)
    )
    return torch.cat([network.encoded_picture(shown), statistics(shown)], dim=1).numpy()


def fit_novelty(
    vectors: Mapping[tuple[str, ...], npt.NDArray[np.floating]],
    *,
    data: str,
    statistics: int = 0,
    prototypes: int = _PROTOTYPES,
    share: float = 0.01,
    seed: int = 1,
) -> NoveltyFit:
    """Fit a score of novelty.

    Parameters
    ----------
    vectors
        What is known of objects like those of the training, ``[n, w]``, for
        each set of missing bands: see `novelty_vectors`.
    data
        What these objects are.
    statistics
        How many of the features, the last ones, are statistics of the
        picture; all of them are looked at.
    prototypes
        Number of prototypes; with one, the score is Mahalanobis' distance.
    share
        Share of such objects that is to score above the threshold.
    seed
        Seed of the parts and of the first prototypes.

    Returns
    -------
    fit
        The score. It is one at the threshold, for each set.

    Raises
    ------
    MorphologyError
        Raised if there are fewer than four objects per direction and
        prototype.
    """
    least = min((len(part) for part in vectors.values()), default=0)
    width = max((part.shape[1] for part in vectors.values()), default=0)
    directions = min(width - statistics, _DIRECTIONS) + statistics
    enough = _ENOUGH * max(directions, prototypes)
    if least < enough:
        raise MorphologyError(
            f"{least} objects are too few to tell what is unlike them: {enough} are needed for"
            f" {directions} directions and {prototypes} prototypes."
        )
    parts = [_fit(part.astype(np.float64), statistics, prototypes, share, seed) for part in vectors.values()]
    record = Novelty(
        prototypes=prototypes,
        picture=1 if statistics else None,
        missing=tuple(vectors),
        directions=directions if directions < width else None,
        threshold=1.0,
        share=share,
        data=data,
    )
    centre, whitening, found = (np.stack(arrays).astype(np.float32) for arrays in zip(*parts, strict=True))
    return NoveltyFit(record, centre, whitening, found)


def _fit(
    vectors: Floats, statistics: int, prototypes: int, share: float, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Return centre, whitening and whitened prototypes."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(vectors))
    judged, fitted = np.split(vectors[order], [max(1, round(HELD_OUT * len(vectors)))])
    centre = fitted.mean(axis=0)
    directions = _directions(fitted - centre, statistics)
    fitted = (fitted - centre) @ directions.T
    whitening = _whitening(fitted)
    _, group = _prototypes(fitted @ whitening.T, prototypes, rng)
    # Once more, by the scatter about the prototypes: what sets groups apart
    # must not make everything else look small.
    means = np.array([fitted[group == k].mean(axis=0) for k in range(prototypes)])
    whitening = _whitening(fitted - means[group])
    found = means @ whitening.T
    whitening = whitening @ directions
    scores = np.sqrt(_squares((judged - centre) @ whitening.T, found).min(axis=1))
    threshold = float(np.quantile(scores, 1.0 - share, method="higher"))
    return centre, whitening / threshold, found / threshold


def _directions(differences: Floats, statistics: int) -> Floats:
    """Return what is looked at of vectors, ``[d, w]``.

    Of what the encoder says the directions of most variance, and all of the
    statistics, in which little variance is what matters.
    """
    width = differences.shape[1]
    encoded = width - statistics
    if encoded <= _DIRECTIONS:
        return np.eye(width)
    part = differences[:, :encoded]
    _, directions = np.linalg.eigh(part.T @ part)
    looked_at = np.zeros((_DIRECTIONS + statistics, width))
    looked_at[:_DIRECTIONS, :encoded] = directions[:, ::-1][:, :_DIRECTIONS].T
    looked_at[_DIRECTIONS:, encoded:] = np.eye(statistics)
    return looked_at


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
    far = np.full(len(white), np.inf)
    while len(centres) < count:
        far = np.minimum(far, _squares(white, centres[-1:])[:, 0])
        chance = far + 1e-12
        centres = np.vstack([centres, white[rng.choice(len(white), p=chance / chance.sum())]])
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
    """Return mean squared differences ``[n, k]``."""
    return np.asarray(cdist(white, centres, "sqeuclidean") / white.shape[1], dtype=np.float64)
