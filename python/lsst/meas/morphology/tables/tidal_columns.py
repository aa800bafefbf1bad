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

"""The columns of tables of tidal features."""

from __future__ import annotations

__all__ = ("REFERENCE_BAND", "reference_band", "tidal_columns")

from collections.abc import Iterator, Sequence

from ..flags import TIDAL_FLAGS
from .column import Column
from .columns import MODEL_ID_COLUMN, STAMP_COLUMNS

REFERENCE_BAND = "r"
"""Band of what is measured once only, where the model has it."""

_BRIGHTNESS = "mag/arcsec**2"

_WORDS = {
    "tail": "a tidal tail",
    "stream": "a stream",
    "shell": "a shell",
    "debris": "tidal debris of any kind",
}


def reference_band(bands: Sequence[str]) -> str:
    """Return the band of what is measured once only.

    Parameters
    ----------
    bands
        The model's bands.
    """
    return REFERENCE_BAND if REFERENCE_BAND in bands else bands[0]


def tidal_columns(features: Sequence[str], bands: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of a table of tidal features.

    Parameters
    ----------
    features
        The model's planes but the host's.
    bands
        The model's bands.

    Returns
    -------
    columns
        Ids, position, stamp and flags; limits and the host by band; then by
        feature how likely it is there, where and how large it is, and by
        band its flux and surface brightness; the model's id.
    """
    columns = [
        *STAMP_COLUMNS,
        *(
            Column(d.column, "bool", d.description, ucd="meta.code.error", nullable=False)
            for d in TIDAL_FLAGS
        ),
        Column(
            "host_radius",
            "float32",
            "Semi-major axis of the isophote that holds half the host's flux in the stamp, in the band "
            f"{reference_band(bands)}; PSF included.",
            unit="arcsec",
            ucd="phys.angSize;src",
        ),
    ]
    for band in bands:
        columns += _host_columns(band)
    for feature in features:
        columns += _feature_columns(feature, reference_band(bands))
        for band in bands:
            columns += _band_columns(feature, band)
    return (*columns, MODEL_ID_COLUMN)


def _host_columns(band: str) -> Iterator[Column]:
    """Yield the columns of limit and host in a band."""
    yield Column(
        f"{band}_surfaceBrightnessLimit",
        "float32",
        "Surface brightness of three times the noise on 10 by 10 arcsec, from the median variance of the "
        f"stamp in {band}; white noise assumed.",
        unit=_BRIGHTNESS,
        ucd="phot.mag.sb;stat.min",
    )
    yield Column(
        f"host_{band}_flux",
        "float32",
        f"Flux of the host in the stamp in {band}, from its smooth model.",
        unit="nJy",
        ucd="phot.flux.density",
    )


def _feature_columns(feature: str, band: str) -> Iterator[Column]:
    """Yield the columns of a feature that do not depend on the band."""
    words = _WORDS.get(feature, f"a feature of the kind {feature}")
    mask = f"the mask of {words}"
    yield Column(
        f"{feature}_probability",
        "float32",
        f"Probability that {words} is visible in the stamp.",
        ucd="stat.probability;src.morph",
        principal=True,
    )
    for name, text, unit, ucd in (
        ("area", f"Area of {mask}.", "arcsec**2", "phys.angArea"),
        (
            "share",
            f"Part of the light under {mask} that is this object's own; others have the rest.",
            "",
            "stat.value",
        ),
        ("hostFraction", f"Flux of {words} over the host's, in {band}.", "", "phot.flux.density;arith.ratio"),
        (
            "extent",
            f"Distance from the host's centre within which 99% of {mask} lies.",
            "arcsec",
            "phys.angSize",
        ),
        ("extentRadii", "The same over host_radius.", "", "phys.angSize;arith.ratio"),
        (
            "positionAngle",
            f"Direction of the major axis of {mask} about the host's centre, north through east, 0 to 180.",
            "deg",
            "pos.posAng",
        ),
        (
            "surfaceBrightness50",
            f"Surface brightness, exceeded on 100 arcsec**2, at which half of all features ({feature}) would "
            f"have been found at this depth in {band}.",
            _BRIGHTNESS,
            "phot.mag.sb;stat.median",
        ),
    ):
        yield Column(f"{feature}_{name}", "float32", text, unit=unit, ucd=ucd)


def _band_columns(feature: str, band: str) -> Iterator[Column]:
    """Yield the columns of a feature in a band."""
    words = _WORDS.get(feature, f"a feature of the kind {feature}")
    for name, text, unit, ucd in (
        ("flux", f"Flux of {words} in {band}, without host and neighbours.", "nJy", "phot.flux.density"),
        (
            "fluxErr",
            f"Standard error of the flux of {words} in {band}: correlated noise, sky, host, neighbours and "
            "the edge of the mask.",
            "nJy",
            "stat.error;phot.flux.density",
        ),
        (
            "surfaceBrightness",
            f"Mean surface brightness of {words} in {band}.",
            _BRIGHTNESS,
            "phot.mag.sb;stat.mean",
        ),
        (
            "surfaceBrightnessFaintest",
            f"Mean surface brightness in {band} of the tenth of the mask where the model is least sure of "
            f"{words}.",
            _BRIGHTNESS,
            "phot.mag.sb;stat.max",
        ),
    ):
        yield Column(f"{feature}_{band}_{name}", "float32", text, unit=unit, ucd=ucd)
