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

"""Encounters on disk, so that they are computed once and drawn often.

One file in the safetensors format holds one encounter at all its times.
"""

from __future__ import annotations

__all__ = ("EncounterLibrary", "encounter_seed", "make_library")

import dataclasses
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .encounters import TIMES, make_encounters
from .snapshots import KINDS, REPEATS, Encounter, spin

type Arrays = dict[str, npt.NDArray[np.generic]]

_INDEX = "library.json"
_ARRAYS = ("companion", "companion_ratio", "light", "axis", "time")


@dataclasses.dataclass(frozen=True)
class EncounterLibrary:
    """Encounters of all kinds in a directory."""

    directory: Path
    """Where the files are."""

    count: int
    """Encounters of each kind."""

    seed: int
    """Seed of the library; libraries of different seeds share nothing."""

    times: int
    """Times at which each encounter is kept."""

    @classmethod
    def open(cls, directory: Path | str) -> Self:
        """Open a library that `make_library` has made.

        Parameters
        ----------
        directory
            Where the library is.

        Raises
        ------
        FileNotFoundError
            Raised if there is no library, or if some of its encounters are
            missing.
        """
        directory = Path(directory)
        try:
            index = json.loads((directory / _INDEX).read_text())
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no library of encounters in {directory}; make one with make_library."
            ) from None
        library = cls(directory, int(index["count"]), int(index["seed"]), int(index["times"]))
        missing = library.missing()
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of the {len(library)} encounters in {directory} are missing; "
                f"make_library with count={library.count} and seed={library.seed} makes them."
            )
        return library

    def __len__(self) -> int:
        """Return the number of encounters of all kinds together."""
        return self.count * len(KINDS)

    def path(self, kind: str, index: int) -> Path:
        """Return the file of an encounter.

        Raises
        ------
        IndexError
            Raised if the library does not hold that encounter.
        """
        if kind not in KINDS or not 0 <= index < self.count:
            raise IndexError(
                f"Encounter {index} of kind {kind!r} is not in {self.directory}: "
                f"it holds {self.count} each of {', '.join(KINDS)}."
            )
        return self.directory / f"{kind}-{index:05d}.safetensors"

    def missing(self) -> list[tuple[str, int]]:
        """Return kind and index of the encounters that have no file."""
        return [(kind, index) for kind, index in self._all() if not self.path(kind, index).exists()]

    def encounter(self, kind: str, index: int, time: int = 0) -> Encounter:
        """Read an encounter at one of its times.

        Parameters
        ----------
        kind
            One of `KINDS`.
        index
            Number of the encounter within its kind.
        time
            Number of the time, less than ``times``.

        Raises
        ------
        IndexError
            Raised if the library does not hold that encounter or time.
        OSError
            Raised if the file is damaged.
        """
        path = self.path(kind, index)
        if not 0 <= time < self.times:
            raise IndexError(f"Encounters in {self.directory} have {self.times} times, and none is {time}.")
        try:
            with safe_open(path, framework="numpy") as file:
                seed = int(file.metadata()["seed"])
                names = [name for name in file.keys() if name.endswith(f"@{time}")]  # noqa: SIM118
                found = {name.partition("@")[0]: file.get_tensor(name) for name in names}
        except SafetensorError as error:
            raise OSError(f"{path} is damaged ({error}); delete it and run make_library again.") from error
        return _unpack(kind, seed, found)

    def checksum(self) -> str:
        """Return the SHA-256 of all files, in hexadecimal digits.

        Numbers are stored in few enough digits to be the same whatever
        processor has computed them.
        """
        digest = hashlib.sha256()
        for kind, index in self._all():
            digest.update(hashlib.sha256(self.path(kind, index).read_bytes()).digest())
        return digest.hexdigest()

    def _all(self) -> Iterator[tuple[str, int]]:
        """Go through the kinds and indices of all encounters."""
        for kind in KINDS:
            for index in range(self.count):
                yield kind, index


def make_library(
    directory: Path | str,
    *,
    count: int,
    seed: int,
    processes: int = 1,
    times: int = TIMES,
    progress: Callable[[int], None] | None = None,
) -> EncounterLibrary:
    """Make the encounters of a library that are not there yet.

    Parameters
    ----------
    directory
        Where to put the library; made if need be.
    count
        Encounters of each kind; may be more than were made before.
    seed
        Seed of the library.
    processes
        Processes to compute in.
    times
        Times at which to keep each encounter.
    progress
        Called with the number of encounters there, after each.

    Returns
    -------
    library
        The complete library.

    Raises
    ------
    ValueError
        Raised if the directory has a library of another seed or other
        times.
    """
    library = EncounterLibrary(Path(directory), count, seed, times)
    library.directory.mkdir(parents=True, exist_ok=True)
    _write_index(library)
    todo = [(library, kind, index) for kind, index in library.missing()]
    for made, _ in enumerate(_in_processes(todo, processes), start=1):
        if progress is not None:
            progress(len(library) - len(todo) + made)
    return library


def encounter_seed(seed: int, kind: str, index: int) -> int:
    """Return the seed of an encounter of a library.

    Parameters
    ----------
    seed
        Seed of the library.
    kind
        One of `KINDS`.
    index
        Number of the encounter within its kind.
    """
    state = np.random.SeedSequence([seed, KINDS.index(kind), index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def _write_index(library: EncounterLibrary) -> None:
    """Write what the library is, unless another one is there."""
    path = library.directory / _INDEX
    index = {"seed": library.seed, "times": library.times}
    if path.exists():
        there = {name: json.loads(path.read_text())[name] for name in index}
        if there != index:
            raise ValueError(f"{library.directory} has a library of {there}, not of {index}; use another.")
    _write(path, json.dumps(index | {"count": library.count}, indent=2).encode())


def _in_processes(todo: list[tuple[EncounterLibrary, str, int]], processes: int) -> Iterator[tuple[str, int]]:
    """Make encounters, here or in other processes."""
    if processes == 1:
        yield from map(_make_one, todo)
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            yield from pool.imap_unordered(_make_one, todo)


def _make_one(job: tuple[EncounterLibrary, str, int]) -> tuple[str, int]:
    """Make and write one encounter at all its times."""
    library, kind, index = job
    seed = encounter_seed(library.seed, kind, index)
    arrays: Arrays = {}
    for number, encounter in enumerate(make_encounters(kind, seed, times=library.times)):
        arrays |= {f"{name}@{number}": value for name, value in _pack(encounter).items()}
    _write(library.path(kind, index), save(arrays, {"seed": str(seed)}))
    return kind, index


def _pack(encounter: Encounter) -> Arrays:
    """Return what is needed to tell an encounter, in few bytes.

    Positions are in half precision: a step is a hundredth of the host's
    radius or less. What repeats itself is left out.
    """
    arrays: Arrays = {}
    for name in _ARRAYS:
        value = np.asarray(getattr(encounter, name))
        arrays[name] = value.astype(np.float32)
    own = len(encounter.x) // (REPEATS if encounter.kind == "shell" else 1)
    arrays["x"] = encounter.x[:own].astype(np.float16)
    if np.ptp(encounter.weight) > 0.0:
        arrays["weight"] = (encounter.weight * len(encounter.weight)).astype(np.float16)
    return arrays


def _unpack(kind: str, seed: int, arrays: Arrays) -> Encounter:
    """Return the encounter that has been packed."""
    x, axis = arrays["x"].astype(np.float32), arrays["axis"].astype(np.float32)
    x = spin(x, axis) if kind == "shell" else x
    weight = arrays.get("weight", np.ones(len(x))).astype(np.float32)
    return Encounter(
        kind=kind,
        seed=seed,
        x=x,
        weight=weight / np.float32(weight.sum(dtype=np.float64)),
        companion=arrays["companion"].astype(np.float32),
        companion_ratio=float(arrays["companion_ratio"]),
        light=float(arrays["light"]),
        axis=axis,
        time=float(arrays["time"]),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
