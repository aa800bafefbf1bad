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

"""Draw frozen sets of simulated galaxies, and check that they are so."""

from __future__ import annotations

__all__ = (
    "FrozenSample",
    "check_model",
    "draw_sample",
    "freeze",
    "picture_fingerprint",
)

import dataclasses
import itertools
import logging
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..errors import ModelMismatchError, MorphologyError
from ..model.manifest import FieldOfView, Manifest
from ..questions.tree import QuestionTree
from .checksums import truth_checksum
from .frozen_definition import SampleDefinition
from .objects import SimulatedObjects, draw_objects, select_by_winner
from .stamps import observe
from .votes import UNTAUGHT, draw_votes

_LOG = logging.getLogger(__name__)

BANDS = ("g", "r", "i")
"""Bands in which the sets are seen; a model may use some of them."""

TREE = "rubin"
"""Name of the tree whose questions the volunteers are asked."""

CONCENTRATION = 60.0
"""How the volunteers scatter around the probabilities: see `draw_votes`."""

_BLOCK = 32
"""Objects whose pictures share a stream of random numbers."""

_FINGERPRINTED = 64
"""Objects whose pictures are looked at by the fingerprint."""

_TOLERANCE = 0.1
"""Difference in fingerprints that rounding may cause; their scatter from
one set of pictures to another is several hundred."""


@dataclasses.dataclass(frozen=True)
class FrozenSample:
    """A sample that has been drawn and found to be as it was frozen."""

    definition: SampleDefinition
    """What it is."""

    tree: QuestionTree
    """The questions that its volunteers were asked."""

    objects: SimulatedObjects
    """The galaxies and their votes."""

    def __len__(self) -> int:
        return len(self.objects)

    def covariates(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return what each galaxy's difficulty may depend on.

        Magnitude in i, half-light radius and FWHM in r (arcsec), and depth:
        the magnitude in r of a point source at five sigma.
        """
        fwhm, sigma = self.objects.conditions.reference()
        noise = 5.0 * sigma * np.sqrt(2.266) * fwhm / 0.2
        return {
            "magnitude": self.objects.parameters.magnitude,
            "size": self.objects.parameters.half_light,
            "seeing": fwhm,
            "depth": 31.4 - 2.5 * np.log10(noise),
        }

    def fair_votes(self) -> npt.NDArray[np.int32] | None:
        """Return votes of other volunteers, if the first ones chose.

        Galaxies that are in a sample because of their votes have got votes
        that are no fair draw: coverage and likelihood would mean nothing.
        Those of as many other volunteers are.
        """
        if not self.definition.selected_on_votes:
            return None
        rng = np.random.default_rng([self.definition.seed, 2])
        return draw_votes(
            rng,
            self.objects.probabilities,
            self.tree,
            volunteers=self.definition.volunteers,
            concentration=CONCENTRATION,
        )

    def stamps(self, manifest: Manifest) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]]:
        """Take pictures of the galaxies as a model wants them.

        Parameters
        ----------
        manifest
            The model: bands, size and field of view.

        Yields
        ------
        flux, valid
            Pictures of the next galaxies, ``[n, band, size, size]``. They
            differ with size and field of view, noise included; galaxies and
            votes do not.

        Raises
        ------
        ModelMismatchError
            Raised if the model looks at other bands, answers other
            questions or takes no fluxes.
        """
        check_model(manifest, self.tree)
        bands = [BANDS.index(band) for band in manifest.bands]
        for block, start in enumerate(range(0, len(self), _BLOCK)):
            part = self.objects[start : start + _BLOCK]
            flux, valid, _ = observe(
                np.random.default_rng([self.definition.seed, 1, block]),
                part.parameters,
                part.conditions,
                stamp_size=manifest.stamp_size,
                field_of_view=manifest.field_of_view,
            )
            yield flux[:, bands], valid[:, bands]


def check_model(manifest: Manifest, tree: QuestionTree) -> None:
    """Raise if a model cannot sit the exam.

    Parameters
    ----------
    manifest
        The model.
    tree
        The questions of the exam.

    Raises
    ------
    ModelMismatchError
        Raised if the model looks at other bands, answers other questions or
        takes no fluxes.
    """
    name = f"Model {manifest.name} {manifest.version}"
    if manifest.votes is None:
        raise ModelMismatchError(f"{name} predicts no votes.")
    if manifest.pixels != "nJy" or not set(manifest.bands) <= set(BANDS):
        raise ModelMismatchError(
            f"{name} takes {manifest.pixels} in bands {', '.join(manifest.bands)}; the frozen galaxies are"
            f" seen in nJy in {', '.join(BANDS)}."
        )
    if manifest.tree.answer_columns != tree.answer_columns:
        raise ModelMismatchError(
            f"{name} answers the questions of tree {manifest.tree.name!r}; volunteers were asked those of"
            f" {tree.name!r}."
        )


def draw_sample(
    definition: SampleDefinition, *, quick: int | None = None, check: bool = True
) -> FrozenSample:
    """Draw a sample and compare it with its checksums.

    Parameters
    ----------
    definition
        The sample.
    quick
        Number of galaxies to draw instead of all, for tests; of those that
        the first chunk gives.
    check
        Whether to compare; without, a set can be frozen anew.

    Returns
    -------
    sample
        The sample.

    Raises
    ------
    MorphologyError
        Raised if the simulator no longer makes what was frozen.
    """
    tree = QuestionTree.load(TREE)
    chunks = _stream(definition, tree)
    first = next(chunks)
    if check:
        _compare(definition.name, "first objects", truth_checksum(first), definition.first_checksum)
    if quick is not None:
        return FrozenSample(definition, tree, _begin(definition, first, tree, quick))
    chunks = itertools.chain([first], chunks)
    if definition.number is None:
        objects = select_by_winner(chunks, tree, per_answer=definition.per_answer, without=UNTAUGHT)
    else:
        number = definition.number
        parts = list(itertools.islice(chunks, -(-number // len(first))))
        objects = SimulatedObjects.concatenate(parts)[:number]
    sample = FrozenSample(definition, tree, objects)
    if check:
        _compare(definition.name, "objects", truth_checksum(objects), definition.checksum)
        _compare_pictures(sample)
    _LOG.info("Sample %s: %d galaxies", definition.name, len(sample))
    return sample


def freeze(definition: SampleDefinition) -> SampleDefinition:
    """Complete the definition of a new sample with its checksums.

    Parameters
    ----------
    definition
        The sample; checksums that it has are ignored.

    Returns
    -------
    definition
        The same with checksums, to be written into a `FrozenSet`.
    """
    sample = draw_sample(definition, check=False)
    return dataclasses.replace(
        definition,
        first_checksum=truth_checksum(next(_stream(definition, sample.tree))),
        checksum=truth_checksum(sample.objects),
        fingerprint=picture_fingerprint(sample),
    )


def _stream(definition: SampleDefinition, tree: QuestionTree) -> Iterator[SimulatedObjects]:
    """Draw the objects that a sample is taken from."""
    return draw_objects(
        definition.seed,
        tree,
        bands=BANDS,
        mix=definition.mix,
        magnitude_limit=definition.magnitude_limit,
        volunteers=definition.volunteers,
    )


def _begin(
    definition: SampleDefinition, first: SimulatedObjects, tree: QuestionTree, number: int
) -> SimulatedObjects:
    """Return a few objects of the first chunk, of a kind with the sample."""
    if definition.selected_on_votes:
        few = -(-number // tree.n_answers)
        first = select_by_winner([first], tree, per_answer=few, without=UNTAUGHT, complete=False)
    return first[:number]


def picture_fingerprint(sample: FrozenSample) -> tuple[float, ...]:
    """Return a few numbers that change if pictures are taken otherwise.

    Parameters
    ----------
    sample
        The sample, of which the first 64 galaxies are looked at, in 64
        pixels three radii wide.

    Returns
    -------
    fingerprint
        For each band the sum over pixels of ``asinh(flux / 30 nJy)`` with
        signs drawn at random.
    """
    view = FieldOfView(rule="radius", multiple=3.0, min_arcsec=12.8, max_arcsec=64.0)
    rng = np.random.default_rng(0)
    total = np.zeros(len(BANDS))
    for block, start in enumerate(range(0, min(_FINGERPRINTED, len(sample)), _BLOCK)):
        part = sample.objects[start : start + _BLOCK]
        stream = np.random.default_rng([sample.definition.seed, 1, block])
        flux, _, _ = observe(stream, part.parameters, part.conditions, stamp_size=64, field_of_view=view)
        signs = rng.integers(0, 2, flux.shape) * 2 - 1
        total += (np.arcsinh(flux.astype(np.float64) / 30.0) * signs).sum(axis=(0, 2, 3))
    return tuple(round(float(value), 3) for value in total)


def _compare(name: str, what: str, found: str, frozen: str) -> None:
    if found != frozen:
        raise MorphologyError(
            f"The {what} of the frozen sample {name!r} have the checksum {found}, not {frozen}: the simulator"
            " has changed since, and results would not be comparable. Freeze a new set under a new name."
        )


def _compare_pictures(sample: FrozenSample) -> None:
    found, frozen = picture_fingerprint(sample), sample.definition.fingerprint
    if len(frozen) != len(found) or not np.allclose(found, frozen, rtol=0.0, atol=_TOLERANCE):
        raise MorphologyError(
            f"The pictures of the frozen sample {sample.definition.name!r} have the fingerprint {found}, not"
            f" {frozen}: the simulator has changed since. Freeze a new set under a new name."
        )
