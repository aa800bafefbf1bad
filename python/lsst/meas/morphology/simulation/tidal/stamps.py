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

"""Pictures of hosts, and what is known of them."""

from __future__ import annotations

__all__ = ("TidalStamps",)

import dataclasses
from typing import Self

import numpy as np
import numpy.typing as npt

from ...surface_brightness import mask_limit

type Image = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class TidalStamps:
    """Stamps of ``n`` hosts and what is known of them.

    Surface brightness is in nJy per arcsec**2, in r, seen through the
    atmosphere and without noise.
    """

    bands: tuple[str, ...]
    """Names of the bands."""

    flux: Image
    """Flux per stamp pixel in nJy, 0 where nothing was measured,
    ``[n, band, size, size]``.
    """

    valid: npt.NDArray[np.bool_]
    """Whether a pixel was measured, of the same shape."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Scale of each stamp, ``[n]``."""

    debris: Image
    """Surface brightness of tails, streams and shells,
    ``[n, 3, size, size]``.
    """

    host: Image
    """Surface brightness of the host, ``[n, size, size]``."""

    others: Image
    """That of neighbours, companions, stars, their halos and ghosts."""

    cirrus: Image
    """That of cirrus."""

    sigma: npt.NDArray[np.float32]
    """Noise of the sky (nJy per native pixel), as the variance plane has it,
    ``[n, band]``.
    """

    fwhm: npt.NDArray[np.float32]
    """FWHM of the point spread function in arcsec, ``[n, band]``."""

    visits: npt.NDArray[np.float32]
    """Number of visits, ``[n, band]``."""

    properties: dict[str, npt.NDArray[np.generic]]
    """What else is known, by name, ``[n, ...]``:

    - ``kind``: 0 without debris, 1 tail, 2 stream, 3 shell;
    - ``encounter``: its number in the library, -1 without debris;
    - ``host_magnitude``: i band, AB;
    - ``host_radius``: half-light radius in arcsec;
    - ``host_flux``: nJy, ``[n, band]``;
    - ``debris_flux``: nJy in r within the stamp, ``[n, 3]``;
    - ``companion_ratio``: flux of all companions over the host's;
    - ``has_companion``, ``has_halo``, ``has_ghost``, ``has_cirrus``,
      ``oversubtracted``: true or false.
    """

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, index: slice | npt.NDArray[np.generic]) -> Self:
        """Return the stamps that a slice, mask or index array selects."""
        arrays = {name: getattr(self, name)[index] for name in _ARRAYS}
        properties = {name: values[index] for name, values in self.properties.items()}
        return type(self)(self.bands, **arrays, properties=properties)

    def mask_limit(self) -> npt.NDArray[np.float64]:
        """Return the faintest surface brightness in masks, ``[n]``.

        In r, in AB magnitudes per arcsec**2.
        """
        return mask_limit(self.sigma[:, self.bands.index("r")])

    def in_bands(self, bands: tuple[str, ...]) -> Self:
        """Return the same stamps in some of their bands."""
        chosen = [self.bands.index(band) for band in bands]
        by_band = {name: getattr(self, name)[:, chosen] for name in _BY_BAND}
        properties = {**self.properties, "host_flux": self.properties["host_flux"][:, chosen]}
        return dataclasses.replace(self, bands=bands, **by_band, properties=properties)

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """Join stamps of the same bands and size, at least one set."""
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        properties = {
            name: np.concatenate([part.properties[name] for part in parts]) for name in parts[0].properties
        }
        return cls(parts[0].bands, **arrays, properties=properties)


_ARRAYS = tuple(
    field.name for field in dataclasses.fields(TidalStamps) if field.name not in ("bands", "properties")
)
_BY_BAND = ("flux", "valid", "sigma", "fwhm", "visits")
