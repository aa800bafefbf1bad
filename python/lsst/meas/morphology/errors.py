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

"""The family of errors raised by this package."""

from __future__ import annotations

__all__ = (
    "CheckpointError",
    "CoaddReadError",
    "DeviceError",
    "ImageReadError",
    "IncompleteInputError",
    "LabelError",
    "MissingColumnError",
    "MissingExtraError",
    "ModelMismatchError",
    "ModelPackageError",
    "MorphologyError",
    "PartitionError",
    "QuestionTreeError",
)


class MorphologyError(Exception):
    """Base of all errors raised by this package."""


class QuestionTreeError(MorphologyError, ValueError):
    """A decision tree is malformed; the message says where."""


class ModelPackageError(MorphologyError, ValueError):
    """A model package is corrupt, unsafe or of an unknown version."""


class CheckpointError(MorphologyError, ValueError):
    """A checkpoint can't be imported as a model; the message says why."""


class ModelMismatchError(MorphologyError, ValueError):
    """A model and the configuration or pixels given to it disagree."""


class MissingColumnError(MorphologyError, ValueError):
    """A table lacks a column that is needed; the message names both."""


class CoaddReadError(MorphologyError, OSError):
    """A coadd could not be read; the message names the dataset."""


class ImageReadError(MorphologyError, OSError):
    """An image file could not be read; the message names it."""


class LabelError(MorphologyError, ValueError):
    """Labels can't be used to train on; the message says why."""


class DeviceError(MorphologyError, RuntimeError):
    """The device or backend that was asked for is not available."""


class IncompleteInputError(MorphologyError, RuntimeError):
    """Tables that ought to exist are missing; the message names them."""


class PartitionError(MorphologyError, ValueError):
    """Tables cannot be gathered into one partition; the message says why."""


class MissingExtraError(MorphologyError, ImportError):
    """An optional dependency is missing; the message names the extra.

    Parameters
    ----------
    module
        The module that could not be imported.
    extra
        The extra of this distribution that brings it.
    purpose
        What it is needed for, completing "is needed to ...".
    """

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"The Python module {module!r} is needed to {purpose}. "
            f"Install it with: pip install 'lsst-meas-morphology[{extra}]'"
        )
        self.module = module
        self.extra = extra
