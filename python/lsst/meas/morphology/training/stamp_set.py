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

"""Stamps of labelled objects, in memory and in files."""

from __future__ import annotations

__all__ = ("StampSet", "match_labels", "matching_rows")

import dataclasses
import logging
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import LabelError, ModelMismatchError
from ..model.manifest import Manifest
from ..model.pixel_units import in_model_unit
from .label_table import DEC_COLUMNS, ID_COLUMNS, RA_COLUMNS, LabelTable

_LOG = logging.getLogger(__name__)

MATCH_ARCSEC = 1.0
"""Largest distance between a label's position and its object's."""

_OPTIONAL = ("arcsec_per_px", "object_id", "ra", "dec")
_ALIASES = {"objectId": "object_id", "coord_ra": "ra", "coord_dec": "dec"}


@dataclasses.dataclass(frozen=True)
class StampSet:
    """Stamps as `~lsst.meas.morphology.pixels.stamps` cuts them."""

    flux: npt.NDArray[np.float32]
    """Flux (nJy per stamp pixel), or images of 8 bits where a model takes
    those, ``[n, band, size, size]``."""

    valid: npt.NDArray[np.bool_]
    """Which pixels were measured, of the same shape."""

    arcsec_per_px: npt.NDArray[np.float32] | None = None
    """Pixel scales (arcsec), ``[n]``; needed by models of surface
    brightness only."""

    object_id: npt.NDArray[np.int64] | None = None
    """Ids of the objects, ``[n]``."""

    ra: npt.NDArray[np.float64] | None = None
    """Right ascensions (ICRS, degrees), ``[n]``."""

    dec: npt.NDArray[np.float64] | None = None
    """Declinations (ICRS, degrees), ``[n]``."""

    def __post_init__(self) -> None:
        if self.flux.ndim != 4 or self.valid.shape != self.flux.shape:
            raise LabelError(
                f"Stamps have the shape {self.flux.shape} and their validity {self.valid.shape}; both must be"
                " [n, band, size, size]."
            )
        for name in _OPTIONAL:
            array = getattr(self, name)
            if array is not None and array.shape != self.flux.shape[:1]:
                raise LabelError(f"{name} has the shape {array.shape} for {len(self.flux)} stamps.")

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return the stamps that an index array or mask selects."""
        others = {name: getattr(self, name) for name in _OPTIONAL}
        chosen = {name: None if array is None else array[rows] for name, array in others.items()}
        return dataclasses.replace(self, flux=self.flux[rows], valid=self.valid[rows], **chosen)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read an ``.npz`` file.

        Parameters
        ----------
        path
            A file with the array ``flux`` and, if given, ``valid`` (by
            default, where the flux is finite), ``arcsec_per_px``,
            ``objectId``, ``ra`` and ``dec``. Nothing in it is unpickled.

        Raises
        ------
        LabelError
            Raised if the file can't be read or lacks the flux.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {_ALIASES.get(name, name): file[name] for name in file.files}
        except FileNotFoundError:
            raise
        except Exception as error:
            raise LabelError(f"{path} can't be read as an .npz file of stamps: {error}") from error
        if "flux" not in arrays:
            raise LabelError(f"{path} has no array 'flux'; it has {', '.join(arrays) or 'none'}.")
        flux = np.asarray(arrays["flux"], np.float32)
        valid = np.asarray(arrays.get("valid", np.isfinite(flux)), np.bool_)
        if valid.shape == flux.shape:
            valid &= np.isfinite(flux)
            flux = np.where(valid, flux, np.float32(0.0))
        types = {"arcsec_per_px": np.float32, "object_id": np.int64, "ra": np.float64, "dec": np.float64}
        others = {name: np.asarray(arrays[name], types[name]) for name in _OPTIONAL if name in arrays}
        return cls(flux, valid, **others)

    def write(self, path: str | Path) -> None:
        """Write an ``.npz`` file that `read` reads."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})

    def for_model(self, manifest: Manifest) -> Self:
        """Return the stamps in the unit of a model.

        Parameters
        ----------
        manifest
            The model.

        Raises
        ------
        ModelMismatchError
            Raised if the stamps are not of the model's shape, or the model
            needs pixel scales that are not there.
        """
        shape = (len(manifest.bands), manifest.stamp_size, manifest.stamp_size)
        if self.flux.shape[1:] != shape:
            raise ModelMismatchError(
                f"Model {manifest.name} takes stamps of shape (n, {', '.join(map(str, shape))}), bands"
                f" {', '.join(manifest.bands)}; these are {self.flux.shape}."
            )
        if manifest.pixels in ("nJy", "rgb8"):
            return self
        if self.arcsec_per_px is None:
            raise ModelMismatchError(
                f"Model {manifest.name} takes surface brightness: the stamps need 'arcsec_per_px'."
            )
        return dataclasses.replace(self, flux=in_model_unit(self.flux, self.arcsec_per_px, manifest.pixels))


def match_labels(stamps: StampSet, table: LabelTable) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find out which stamp belongs to which label.

    By object ids if both have them, else by positions, else by their order.

    Parameters
    ----------
    stamps
        The stamps.
    table
        The labels.

    Returns
    -------
    stamp_rows, label_rows
        Rows of the stamps and of the labels that belong together.

    Raises
    ------
    LabelError
        Raised if nothing matches, an id is repeated, or the numbers differ
        where there is neither id nor position.
    """
    stamp_rows, label_rows = matching_rows(stamps, table)
    if not len(label_rows):
        raise LabelError(f"No row of {table.source} belongs to any of the {len(stamps)} stamps.")
    if missing := len(table) - len(label_rows):
        _LOG.warning("%d of %d rows of %s have no stamp", missing, len(table), table.source)
    return stamp_rows, label_rows


def matching_rows(stamps: StampSet, table: LabelTable) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find out which stamp belongs to which label, if any does.

    Parameters
    ----------
    stamps
        The stamps.
    table
        The labels.

    Returns
    -------
    stamp_rows, label_rows
        As of `match_labels`; possibly none.

    Raises
    ------
    LabelError
        Raised if an id is repeated, or the numbers differ where there is
        neither id nor position.
    """
    ids, ra, dec = table.find(ID_COLUMNS), table.find(RA_COLUMNS), table.find(DEC_COLUMNS)
    if ids is not None and stamps.object_id is not None:
        stamp_rows, label_rows = match_ids(stamps.object_id, ids, table.source)
    elif ra is not None and dec is not None and stamps.ra is not None and stamps.dec is not None:
        stamp_rows, label_rows = match_positions(stamps.ra, stamps.dec, ra, dec)
    else:
        if len(stamps) != len(table):
            raise LabelError(
                f"{len(stamps)} stamps and the {len(table)} rows of {table.source} share neither object ids"
                " nor positions: without them, both must have the same order and number."
            )
        stamp_rows = label_rows = np.arange(len(table))
    return stamp_rows, label_rows


def match_ids(
    object_id: npt.NDArray[np.int64], ids: np.ma.MaskedArray[Any, Any], source: str
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Match objects and labels by id."""
    if ids.dtype.kind not in "iu":
        raise LabelError(f"The object ids of {source} are {ids.dtype}, not whole numbers.")
    label_rows = np.flatnonzero(~np.ma.getmaskarray(ids))
    wanted = np.ma.getdata(ids)[label_rows].astype(np.int64)
    values, counts = np.unique(wanted, return_counts=True)
    if np.any(counts > 1):
        raise LabelError(f"{source} has the object {values[counts > 1][0]} in several rows.")
    _, first, second = np.intersect1d(object_id, wanted, return_indices=True)
    order = np.argsort(second)
    return first[order], label_rows[second[order]]


def match_positions(
    object_ra: npt.NDArray[np.float64],
    object_dec: npt.NDArray[np.float64],
    ra: np.ma.MaskedArray[Any, Any],
    dec: np.ma.MaskedArray[Any, Any],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Match each label with the nearest object, at most `MATCH_ARCSEC` off."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    objects = np.flatnonzero(np.isfinite(object_ra) & np.isfinite(object_dec))
    labels = np.flatnonzero(~(np.ma.getmaskarray(ra) | np.ma.getmaskarray(dec)))
    if not len(objects) or not len(labels):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    sky = SkyCoord(object_ra[objects], object_dec[objects], unit=u.deg)
    wanted = SkyCoord(np.ma.getdata(ra)[labels], np.ma.getdata(dec)[labels], unit=u.deg)
    nearest, distance, _ = wanted.match_to_catalog_sky(sky)
    near = distance < MATCH_ARCSEC * u.arcsec
    return objects[nearest[near]], labels[near]
