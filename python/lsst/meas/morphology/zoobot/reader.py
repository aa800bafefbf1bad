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

"""Reading files that torch wrote without running anything in them."""

from __future__ import annotations

__all__ = ("Inert", "read_torch_file")

import os
import pathlib
import pickle
import re
import warnings
import zipfile
from typing import Any

import torch

from ..errors import CheckpointError

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""What torch says that a file wants, in the message of its refusal."""

_INERT = (
    "zoobot.shared.schemas.Schema",
    "zoobot.shared.schemas.Question",
    "zoobot.shared.schemas.Answer",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
)
"""What harmless checkpoints may name besides tensors and plain data. None
of it is imported: `Inert` stands in for each."""


class Inert:
    """Stands in for an object of a checkpoint, and only keeps its state.

    Parameters
    ----------
    *arguments
        What the object would be made of.
    """

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def get(self, name: str) -> Any:
        """Return an attribute of the object, or `None`."""
        state = self.__dict__.get("state")
        return state.get(name) if isinstance(state, dict) else None


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """Return what ``torch.save`` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    content
        Tensors and plain data; objects of other classes are `Inert`.

    Raises
    ------
    FileNotFoundError
        Raised if there is no such file.
    CheckpointError
        Raised if the file is damaged, or names anything that could run.
    """
    source = os.fspath(path)
    if not pathlib.Path(source).is_file():
        raise FileNotFoundError(f"There is no checkpoint {source}.")
    try:
        with (
            torch.serialization.safe_globals([(Inert, name) for name in _INERT]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            _refuse_globals(source)
            return torch.load(source, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if match := _GLOBAL.search(str(error)):
            raise _refusal(source, [match[1]]) from error
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
        raise CheckpointError(
            f"{source} is refused: it is not only data, or damaged. Nothing in it was run. {reason[:300]}"
        ) from error
    # A damaged file ends in errors of many kinds, whose base is this one.
    except Exception as error:
        raise CheckpointError(
            f"{source} can't be read as a torch checkpoint; it is truncated, damaged or of another kind:"
            f" {type(error).__name__}: {_first_line(error)}"
        ) from error


def _refuse_globals(source: str) -> None:
    """Name what an unsafe file wants, before anything of it is read."""
    if not zipfile.is_zipfile(source):
        # A file of torch before 1.6; torch refuses it, if need be, itself.
        return
    if wanted := sorted(torch.serialization.get_unsafe_globals_in_checkpoint(source)):
        raise _refusal(source, wanted)


def _refusal(source: str, wanted: list[str]) -> CheckpointError:
    return CheckpointError(
        f"{source} is refused: unpickling it would import {', '.join(wanted)}, and so could run any code."
        " Nothing in it was run. If you trust its author, have it saved again with weights only."
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no details")[:300]
