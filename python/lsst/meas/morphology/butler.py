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

"""Model packages as datasets of a Butler repository.

Importing this module makes the storage class known. It loads no network
library.
"""

from __future__ import annotations

__all__ = (
    "MANIFEST_STORAGE_CLASS",
    "PACKAGE_STORAGE_CLASS",
    "ModelPackageFormatter",
    "dataset_type_name",
    "ingest",
    "register_storage_classes",
    "run_name",
)

import logging
from typing import Any

from lsst.daf.butler import (
    Butler,
    DatasetRef,
    DatasetType,
    FileDataset,
    FormatterV2,
    MissingCollectionError,
    MissingDatasetTypeError,
    StorageClass,
    StorageClassFactory,
)
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.resources import ResourcePath, ResourcePathExpression

from .errors import MissingExtraError, ModelPackageError
from .inference.backend import installed_backends
from .inference.golden import check_golden
from .inference.options import EngineOptions
from .model.manifest import Manifest
from .model.package import ModelPackage

_LOG = logging.getLogger(__name__)

PACKAGE_STORAGE_CLASS = "MorphologyModelPackage"
"""Storage class of a model package."""

MANIFEST_STORAGE_CLASS = "MorphologyModelManifest"
"""Storage class of its derived component ``manifest``."""

EXTENSION = ".morph"
"""File name extension of model packages."""

_DELEGATE = "lsst.daf.butler.StorageClassDelegate"
"""What a definition read from a configuration has by default."""


class ModelPackageFormatter(FormatterV2):
    """Reads and writes model packages; what is read has been verified."""

    can_read_from_local_file = True
    default_extension = EXTENSION
    supported_extensions = frozenset({EXTENSION})

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        # Docstring inherited.
        package = ModelPackage.open(path)
        return package.manifest if component == "manifest" else package

    def to_bytes(self, in_memory_dataset: ModelPackage) -> bytes:
        # Docstring inherited.
        return in_memory_dataset.to_bytes()


def register_storage_classes() -> None:
    """Make the storage classes known, unless a configuration has.

    The definitions are those of ``config/storageClasses.yaml``, so that the
    same ones may be read from there before or after.
    """
    factory = StorageClassFactory()
    manifest = StorageClass(MANIFEST_STORAGE_CLASS, pytype=Manifest, delegate=_DELEGATE)
    package = StorageClass(
        PACKAGE_STORAGE_CLASS,
        pytype=ModelPackage,
        derivedComponents={"manifest": manifest},
        delegate=_DELEGATE,
    )
    for storage_class in (manifest, package):
        if storage_class.name not in factory:
            factory.registerStorageClass(storage_class)


def dataset_type_name(manifest: Manifest) -> str:
    """Return the name of the dataset type of a model's packages."""
    return f"morphology_model_{manifest.name}"


def run_name(manifest: Manifest) -> str:
    """Return the RUN collection that holds one version of a model."""
    return f"models/morphology/{manifest.name}/{manifest.version}"


def ingest(butler: Butler, path: ResourcePathExpression, *, transfer: str = "copy") -> DatasetRef:
    """Put a model package into a repository, for good.

    The package is verified, and its golden outputs are reproduced on the
    CPU with each backend that is installed, before anything is written.

    Parameters
    ----------
    butler
        A writeable Butler.
    path
        The package's file.
    transfer
        How the file gets there, as `lsst.daf.butler.Butler.ingest` has it.

    Returns
    -------
    ref
        The new dataset.

    Raises
    ------
    ModelPackageError
        Raised if the package is refused, if its golden outputs are not
        reproduced, or if the repository has this version of the model.
    """
    uri = ResourcePath(path, forceDirectory=False)
    if uri.getExtension() != EXTENSION:
        raise ModelPackageError(f"{uri} is no model package: its name does not end in {EXTENSION!r}.")
    package = ModelPackage.open(uri)
    manifest = package.manifest
    dataset_type = DatasetType(
        dataset_type_name(manifest), (), PACKAGE_STORAGE_CLASS, universe=butler.dimensions
    )
    run = run_name(manifest)
    _refuse_second(butler, dataset_type, run, package)
    _check_golden(package)
    butler.registry.registerDatasetType(dataset_type)
    butler.collections.register(run)
    ref = DatasetRef(dataset_type, butler.registry.expandDataId({}), run=run)
    try:
        butler.ingest(FileDataset(uri, [ref], formatter=ModelPackageFormatter), transfer=transfer)
    except ConflictingDefinitionError as error:
        raise ModelPackageError(_second(run, package)) from error
    return ref


def _refuse_second(butler: Butler, dataset_type: DatasetType, run: str, package: ModelPackage) -> None:
    """Refuse a version of a model that the repository has."""
    try:
        refs = butler.query_datasets(dataset_type.name, collections=run, explain=False)
    except (MissingCollectionError, MissingDatasetTypeError):
        return
    if refs:
        raise ModelPackageError(_second(run, package))


def _second(run: str, package: ModelPackage) -> str:
    manifest = package.manifest
    return (
        f"The repository already has version {manifest.version} of the model {manifest.name}, in the"
        f" collection {run!r}, and versions never change. Give {package.path} a new version to ingest it."
    )


def _check_golden(package: ModelPackage) -> None:
    """Reproduce the golden outputs with each backend there is."""
    reports = []
    for backend in installed_backends():
        try:
            report = check_golden(package, EngineOptions(backend=backend, device="cpu"))
        except MissingExtraError as error:
            _LOG.warning("The golden outputs can't be checked with %s: %s", backend, error)
            continue
        if not report.passed:
            raise ModelPackageError(f"{package.path}: its golden outputs were {report}.")
        _LOG.info("%s: golden outputs %s", package.path, report)
        reports.append(report)
    if not reports:
        raise ModelPackageError(f"{package.path}: no backend could check its golden outputs.")


register_storage_classes()
