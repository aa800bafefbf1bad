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

"""Draw frozen sets of hosts with debris, and check that they are so."""

from __future__ import annotations

__all__ = (
    "EVALUATION_TIDES_V1",
    "TIDES_THRESHOLD_V3",
    "FrozenTides",
    "freeze",
    "library_fingerprint",
    "picture_fingerprint",
    "prepare_library",
)

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...errors import ModelMismatchError, MorphologyError
from ...model.field_of_view import FieldOfView
from ...model.manifest import Manifest
from ..checksums import arrays_checksum
from .frozen_definition import EVALUATION_TIDES_V1, TIDES_THRESHOLD_V3, TidalSample, TidalSet
from .library import EncounterLibrary, make_library
from .snapshots import KINDS
from .source import BANDS, FIELD_OF_VIEW, TidalStamps, sample_scenes, sample_tides

_LOG = logging.getLogger(__name__)

_BATCH = 32
_FINGERPRINTED = 32
"""Hosts whose pictures are looked at by the fingerprint."""

_TOLERANCE = 0.1
"""Difference in fingerprints of pictures that rounding may cause; their
scatter from one set of pictures to another is several hundred."""

_LIBRARY_TOLERANCE = 1e-3
"""The same for those of libraries; others differ by 1 or more."""


@dataclasses.dataclass(frozen=True)
class FrozenTides:
    """A set that was found to be as it was frozen."""

    definition: TidalSet
    """What it is."""

    library: EncounterLibrary
    """Its encounters."""

    quick: int | None = None
    """Number of hosts instead of all, for tests; half of each depth."""

    @classmethod
    def prepare(
        cls,
        definition: TidalSet,
        directory: Path,
        *,
        quick: int | None = None,
        processes: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> FrozenTides:
        """Make a set's encounters if need be, and compare with checksums.

        Parameters
        ----------
        definition
            The set.
        directory
            Where its encounters are, or are to be.
        quick
            Number of hosts instead of all.
        processes
            Processes to compute encounters in.
        progress
            Called with the number of encounters there, after each.

        Returns
        -------
        frozen
            The set.

        Raises
        ------
        MorphologyError
            Raised if the simulator no longer makes what was frozen.
        """
        library = prepare_library(definition, directory, processes=processes, progress=progress)
        for sample in definition.samples:
            found = freeze(sample, library)
            _compare(definition, f"scenes of {sample.name}", found.checksum, sample.checksum)
            _compare_numbers(
                definition,
                f"pictures of {sample.name}",
                found.fingerprint,
                sample.fingerprint,
                _TOLERANCE,
            )
        _LOG.info("Set %s: %d hosts", definition.name, sum(s.number for s in definition.samples))
        return cls(definition, library, quick)

    def __len__(self) -> int:
        return sum(self._number(sample) for sample in self.definition.samples)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the depths."""
        return tuple(sample.name for sample in self.definition.samples)

    def batches(
        self,
        *,
        bands: tuple[str, ...] = BANDS,
        stamp_size: int = 128,
        field_of_view: FieldOfView = FIELD_OF_VIEW,
    ) -> Iterator[tuple[str, TidalStamps]]:
        """Take pictures of the hosts.

        Parameters
        ----------
        bands
            Which of g, r and i to return, r among them.
        stamp_size
            Side of the stamps in pixels.
        field_of_view
            Rule for the stamps' scale.

        Yields
        ------
        name, stamps
            Name of the depth, and the next hosts. Pictures and what lies
            around the hosts differ with size and field of view; hosts,
            debris and conditions do not.

        Raises
        ------
        ModelMismatchError
            Raised if a band is none of the set's, or r is missing.
        """
        if not set(bands) <= set(BANDS) or "r" not in bands:
            raise ModelMismatchError(
                f"Bands {', '.join(bands)} were asked for; frozen hosts are seen in {', '.join(BANDS)}, and"
                " their truth is that in r."
            )
        for sample in self.definition.samples:
            number = self._number(sample)
            for start in range(0, number, _BATCH):
                made = sample_tides(
                    sample.seed,
                    min(_BATCH, number - start),
                    library=self.library,
                    stamp_size=stamp_size,
                    field_of_view=field_of_view,
                    visits=sample.visits,
                    share_undisturbed=sample.share_undisturbed,
                    start=start,
                )
                yield sample.name, made.in_bands(bands)

    def stamps(self, manifest: Manifest) -> Iterator[tuple[str, TidalStamps]]:
        """Take pictures as a model wants them; see `batches`."""
        return self.batches(
            bands=manifest.bands, stamp_size=manifest.stamp_size, field_of_view=manifest.field_of_view
        )

    def _number(self, sample: TidalSample) -> int:
        if self.quick is None:
            return sample.number
        return min(sample.number, -(-self.quick // len(self.definition.samples)))


def prepare_library(
    definition: TidalSet,
    directory: Path,
    *,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
    check: bool = True,
) -> EncounterLibrary:
    """Make the encounters of a set that are not there yet.

    Parameters
    ----------
    definition
        The set.
    directory
        Where to put them.
    processes
        Processes to compute in.
    progress
        Called with the number of encounters there, after each.
    check
        Whether to compare with the fingerprint; without, a set can be
        frozen anew.

    Returns
    -------
    library
        The encounters.

    Raises
    ------
    MorphologyError
        Raised if the encounters are not those that were frozen.
    """
    library = make_library(
        directory,
        count=definition.encounters,
        seed=definition.library_seed,
        processes=processes,
        progress=progress,
    )
    if check:
        found = library_fingerprint(library)
        frozen = definition.library_fingerprint
        _compare_numbers(definition, "encounters", found, frozen, _LIBRARY_TOLERANCE)
    return library


def library_fingerprint(library: EncounterLibrary) -> tuple[float, ...]:
    """Return a few numbers that change with any encounter of a library.

    Parameters
    ----------
    library
        The library.

    Returns
    -------
    fingerprint
        For each kind, the sum over encounters of the particles' mean
        distances, with signs drawn at random.
    """
    rng = np.random.default_rng(0)
    numbers = []
    for kind in KINDS:
        signs = rng.integers(0, 2, library.count) * 2 - 1
        total = 0.0
        for index, sign in enumerate(signs.tolist()):
            encounter = library.encounter(kind, index)
            distance = np.sqrt((encounter.x.astype(np.float64) ** 2).sum(axis=1))
            total += sign * float((distance * encounter.weight).sum())
        numbers.append(round(total, 6))
    return tuple(numbers)


def picture_fingerprint(sample: TidalSample, library: EncounterLibrary) -> tuple[float, ...]:
    """Return a few numbers that change if pictures or truth do.

    Parameters
    ----------
    sample
        The sample, of which the first 32 hosts are looked at.
    library
        Its encounters.

    Returns
    -------
    fingerprint
        For each band the sum over pixels of ``asinh(flux / 30 nJy)``, and
        for each kind that of ``asinh(brightness / 3 nJy per arcsec**2)``,
        with signs drawn at random.
    """
    made = sample_tides(
        sample.seed,
        _FINGERPRINTED,
        library=library,
        visits=sample.visits,
        share_undisturbed=sample.share_undisturbed,
    )
    rng = np.random.default_rng(0)
    numbers: list[float] = []
    for picture, unit in ((made.flux, 30.0), (made.debris, 3.0)):
        signs = rng.integers(0, 2, picture.shape) * 2 - 1
        numbers += (np.arcsinh(picture.astype(np.float64) / unit) * signs).sum(axis=(0, 2, 3)).tolist()
    return tuple(round(number, 3) for number in numbers)


def freeze(sample: TidalSample, library: EncounterLibrary) -> TidalSample:
    """Complete the definition of a new sample.

    Parameters
    ----------
    sample
        The sample; checksums that it has are ignored.
    library
        Its encounters.

    Returns
    -------
    sample
        The same with checksum and fingerprint.
    """
    scenes = sample_scenes(
        sample.seed,
        sample.number,
        library=library,
        visits=sample.visits,
        share_undisturbed=sample.share_undisturbed,
    )
    return dataclasses.replace(
        sample,
        checksum=arrays_checksum(scenes),
        fingerprint=picture_fingerprint(sample, library),
    )


def _compare(definition: TidalSet, what: str, found: str, frozen: str) -> None:
    if found != frozen:
        raise MorphologyError(
            f"The {what} in {definition.name} have the checksum {found}, not {frozen}: the simulator has"
            " changed since, and results would not be comparable. Freeze a new set under a new name."
        )


def _compare_numbers(
    definition: TidalSet, what: str, found: tuple[float, ...], frozen: tuple[float, ...], tolerance: float
) -> None:
    if len(found) != len(frozen) or not np.allclose(found, frozen, rtol=0.0, atol=tolerance):
        raise MorphologyError(
            f"The {what} in {definition.name} have the fingerprint {found}, not {frozen}: the simulator has"
            " changed since, and results would not be comparable. Freeze a new set under a new name."
        )
