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

"""The models that ship with the code."""

from __future__ import annotations

__all__ = ("find_model", "shipped_models")

from importlib.resources import files
from pathlib import Path

from ..errors import ModelPackageError


def shipped_models() -> dict[str, Path]:
    """Return the packages that ship with the code.

    Returns
    -------
    models
        File of the newest version of each model, by name.
    """
    folder = Path(str(files("lsst.meas.morphology.resources").joinpath("models")))
    models: dict[str, Path] = {}
    for path in sorted(folder.glob("*.morph"), key=_version):
        models[path.stem.rpartition("-")[0]] = path
    return models


def find_model(name_or_file: str) -> Path:
    """Return the file of a model that is given by name or as a file.

    Parameters
    ----------
    name_or_file
        Name of a model that ships with the code, or a file.

    Returns
    -------
    path
        The package's file.

    Raises
    ------
    ModelPackageError
        Raised if it is neither.
    """
    path = Path(name_or_file)
    if path.is_file():
        return path
    models = shipped_models()
    if name_or_file in models:
        return models[name_or_file]
    raise ModelPackageError(
        f"{name_or_file!r} is no file and no model that ships with the code ({', '.join(models) or 'none'})."
    )


def _version(path: Path) -> tuple[int, ...]:
    """Return the version in a package's file name, for sorting."""
    return tuple(int(part) for part in path.stem.rpartition("-")[2].split(".") if part.isdigit())
