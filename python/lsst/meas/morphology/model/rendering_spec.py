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

"""Renderings of pixels, as a manifest describes them."""

from __future__ import annotations

__all__ = (
    "AsinhRendering",
    "ColourRendering",
    "EuclidRendering",
    "Greyscale",
    "HscRendering",
    "LegacySurveyRendering",
    "Pixels",
    "Rendering",
    "Rgb8Rendering",
    "SurfaceBrightnessRendering",
)

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, PositiveFloat, Tag

from .faint_rendering_spec import SurfaceBrightnessRendering
from .record import Name, Pixels, Record

Greyscale = Literal["none", "itu", "mean"]
"""How colours become one channel: not at all, by ITU-R BT.601's luma (299,
587 and 114 thousandths of red, green and blue), or by their mean."""

Weights = Annotated[dict[Name, PositiveFloat], Field(min_length=1)]
"""Factors of bands, by band."""


class AsinhRendering(Record):
    """Stretch of the pixels before the encoder.

    Channel ``c`` shows band ``c % n_bands`` as
    ``scale[c] * asinh(flux / softening[c])``, the stretch of Lupton et al.
    (2004, PASP 116, 133) band by band. Twice as many channels as bands show
    each band with two softenings, and so on.
    """

    kind: Literal["asinh"] = "asinh"

    softening: tuple[PositiveFloat, ...]
    """Flux at which the stretch turns from linear to logarithmic, for each
    channel (nJy per stamp pixel)."""

    scale: tuple[PositiveFloat, ...]
    """Factor after the stretch, for each channel."""

    validity_channel: bool = True
    """Whether the pixels' validity is given to the encoder as well."""

    def check(self, bands: Sequence[str], pixels: Pixels) -> None:
        """Refuse bands and pixels that this can't render.

        Parameters
        ----------
        bands
            The model's bands.
        pixels
            What its pixels are.

        Raises
        ------
        ValueError
            Raised if they don't fit.
        """
        for name in ("softening", "scale"):
            values: Sequence[float] = getattr(self, name)
            if len(values) == 0 or len(values) % len(bands):
                raise ValueError(f"{len(values)} values of rendering.{name} for {len(bands)} bands")
        if len(self.softening) != len(self.scale):
            raise ValueError("rendering.softening and rendering.scale have different lengths")
        if pixels == "rgb8":
            raise ValueError("pixels 'rgb8' need the rendering 'rgb8'")


class Rgb8Rendering(Record):
    """Images of 8 bits as Zoobot sees them: divided by 255, no more."""

    kind: Literal["rgb8"] = "rgb8"

    greyscale: Greyscale = "none"
    """Whether the encoder sees one channel, and which."""

    era: Literal["2.0", "2.9"] = "2.9"
    """Whose crops the model was trained to see: those of Zoobot 2.0, drawn
    at random even for predictions, or the central one of Zoobot 2.9."""

    def check(self, bands: Sequence[str], pixels: Pixels) -> None:
        """Refuse bands and pixels that this can't render.

        Parameters
        ----------
        bands
            The model's bands: red, green and blue, whatever their names.
        pixels
            What its pixels are.

        Raises
        ------
        ValueError
            Raised if they don't fit.
        """
        if pixels != "rgb8" or len(bands) != 3:
            raise ValueError(f"the rendering 'rgb8' takes three bands of pixels 'rgb8', not {bands} {pixels}")


class ColourRendering(Record):
    """What renderings of surface brightness as a colour picture share.

    A primary colour is the mean of its bands, each times its factor; where
    a pixel of a band is invalid, the mean goes over the others.
    """

    red: Weights
    """Factor of each band of red."""

    green: Weights
    """Factor of each band of green."""

    blue: Weights
    """Factor of each band of blue."""

    greyscale: Greyscale = "none"
    """Whether the encoder sees one channel, and which."""

    DEFAULTS: ClassVar[Mapping[str, tuple[str, float]]]
    """Primary colour and factor of each band that this kind knows."""

    @classmethod
    def for_bands(cls, bands: Sequence[str], *, greyscale: Greyscale = "none") -> Self:
        """Return the rendering with its usual factors for some bands.

        Parameters
        ----------
        bands
            Bands, at least one for each primary colour.
        greyscale
            Whether the encoder sees one channel, and which.

        Raises
        ------
        ValueError
            Raised if a band has no usual factor or a colour has no band.
        """
        planes: dict[str, dict[str, float]] = {"red": {}, "green": {}, "blue": {}}
        for band in bands:
            if band not in cls.DEFAULTS:
                raise ValueError(f"{cls.__name__} knows the bands {', '.join(cls.DEFAULTS)}, not {band!r}.")
            plane, factor = cls.DEFAULTS[band]
            planes[plane][band] = factor
        if empty := [plane for plane, weights in planes.items() if not weights]:
            raise ValueError(f"{cls.__name__} has no band for {', '.join(empty)} among {', '.join(bands)}.")
        return cls.model_validate({**planes, "greyscale": greyscale})

    def check(self, bands: Sequence[str], pixels: Pixels) -> None:
        """Refuse bands and pixels that this can't render.

        Parameters
        ----------
        bands
            The model's bands.
        pixels
            What its pixels are.

        Raises
        ------
        ValueError
            Raised if they don't fit.
        """
        used = {*self.red, *self.green, *self.blue}
        if used != set(bands):
            raise ValueError(f"the rendering shows the bands {sorted(used)}, the model has {sorted(bands)}")
        if pixels != "nJy/arcsec2":
            raise ValueError(f"this rendering takes pixels 'nJy/arcsec2', not {pixels!r}")


class LegacySurveyRendering(ColourRendering):
    """The colour stretch of the DESI Legacy Imaging Surveys' viewer.

    Its JPEG cutouts are what Galaxy Zoo DESI's volunteers and networks saw.
    With x the factor times the flux in nanomaggies in a native pixel plus an
    offset, negative values cut off, a colour is
    ``x asinh(Q I) / (sqrt(Q) I)``, where I is the mean of the three colours'
    x, cut off at 1. The viewer renders g, r and z; i has the factor by which
    it shows as red what z does for a galaxy of i - z = 0.34 mag.

    Notes
    -----
    The viewer keeps the surface brightness when it changes the pixel scale,
    so the unit is that of the survey's own pixels at any scale.
    """

    kind: Literal["legacy_survey"] = "legacy_survey"

    offset: PositiveFloat = 0.03
    """What is added to each band, after its factor."""

    strength: PositiveFloat = 20.0
    """Q, how strongly bright pixels are compressed."""

    unit: PositiveFloat = 3630.780548 / 0.262**2
    """Surface brightness of one nanomaggy in a native pixel of 0.262 arcsec
    (nJy per arcsec2)."""

    DEFAULTS = {"g": ("blue", 6.0), "r": ("green", 3.4), "i": ("red", 3.0), "z": ("red", 2.2)}


class HscRendering(ColourRendering):
    """Lupton et al.'s (2004) colour stretch as Hyper Suprime-Cam shows it.

    A colour c is ``c F(I) / I`` with I the mean of the colours and
    ``F(I) = 0.1 asinh(Q I / stretch) / asinh(0.1 Q)``, negative values of
    both cut off; a pixel with a colour above 1 is divided by it, which keeps
    its hue. It is what astropy's ``make_lupton_rgb`` draws. The usual factors
    make a galaxy white that has g - r = 0.44 and r - i = 0.31 mag.
    """

    kind: Literal["hsc"] = "hsc"

    stretch: PositiveFloat = 0.5 * 57.54399 / 0.168**2
    """Surface brightness of the linear part (nJy per arcsec2); by default
    half a count in a native pixel of 0.168 arcsec at the zero point 27.0."""

    strength: PositiveFloat = 10.0
    """Q, how strongly bright pixels are compressed."""

    DEFAULTS = {"g": ("blue", 1.5), "r": ("green", 1.0), "i": ("red", 0.75), "z": ("red", 0.65)}


class EuclidRendering(Record):
    """The stretch of Galaxy Zoo Euclid's pictures, with ground-based bands.

    A plane is ``asinh(surface brightness / softening)``, negative values and
    the brightest pixels of the stamp cut off, divided by its largest value.
    Blue is the visible plane and red the infrared one, green their mean;
    without infrared bands the picture is grey.

    Notes
    -----
    As in the original, brightness is relative to the stamp's own brightest
    pixels. The visible band of Euclid spans r, i and z.
    """

    kind: Literal["euclid"] = "euclid"

    visible: Weights
    """Factor of each band of the visible plane, whose mean is taken."""

    infrared: dict[Name, PositiveFloat] = {}
    """Factor of each band of the infrared plane."""

    visible_softening: PositiveFloat = 1000.0
    """Surface brightness at which the visible plane becomes logarithmic
    (nJy per arcsec2); by default Euclid's 0.01 counts in a pixel of 0.1
    arcsec at the zero point 23.9."""

    infrared_softening: PositiveFloat = 2000.0
    """The same for the infrared plane; by default 5 counts at 29.9."""

    brightest: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0015
    """Share of the stamp's pixels that are cut off as brightest."""

    greyscale: Greyscale = "none"
    """Whether the encoder sees one channel, and which."""

    @classmethod
    def for_bands(cls, bands: Sequence[str], *, greyscale: Greyscale = "none") -> Self:
        """Return the rendering for some bands: r, i and z are visible, and y
        is infrared; without y, z is, and without both there is none. A band
        g is not shown, and so not allowed.

        Parameters
        ----------
        bands
            Bands out of r, i, z and y, one of r and i among them.
        greyscale
            Whether the encoder sees one channel, and which.

        Raises
        ------
        ValueError
            Raised if a band can't be shown.
        """
        if strange := set(bands) - {"r", "i", "z", "y"}:
            raise ValueError(
                f"EuclidRendering shows the bands r, i, z and y, not {', '.join(sorted(strange))}."
            )
        infrared = [band for band in ("y", "z") if band in bands][:1]
        visible = [band for band in bands if band not in infrared]
        return cls(
            visible=dict.fromkeys(visible, 1.0), infrared=dict.fromkeys(infrared, 1.0), greyscale=greyscale
        )

    def check(self, bands: Sequence[str], pixels: Pixels) -> None:
        """Refuse bands and pixels that this can't render.

        Parameters
        ----------
        bands
            The model's bands.
        pixels
            What its pixels are.

        Raises
        ------
        ValueError
            Raised if they don't fit.
        """
        used = {*self.visible, *self.infrared}
        if used != set(bands):
            raise ValueError(f"the rendering shows the bands {sorted(used)}, the model has {sorted(bands)}")
        if pixels != "nJy/arcsec2":
            raise ValueError(f"this rendering takes pixels 'nJy/arcsec2', not {pixels!r}")


def _kind(value: Any) -> str:
    """Return the kind of a rendering; the first one needs no name."""
    return str(value.get("kind", "asinh") if isinstance(value, Mapping) else value.kind)


Rendering = Annotated[
    Annotated[AsinhRendering, Tag("asinh")]
    | Annotated[Rgb8Rendering, Tag("rgb8")]
    | Annotated[LegacySurveyRendering, Tag("legacy_survey")]
    | Annotated[HscRendering, Tag("hsc")]
    | Annotated[EuclidRendering, Tag("euclid")]
    | Annotated[SurfaceBrightnessRendering, Tag("surface_brightness")],
    Discriminator(_kind),
]
"""Any rendering, discriminated by ``kind``, by default ``asinh``."""
