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

"""Groups of options that several tasks share."""

from __future__ import annotations

__all__ = ("EngineConfig", "PixelsConfig", "SelectionConfig")

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

from ..inference.engine import EngineOptions
from ..pixels.reasons import BAD_MASK_PLANES
from ..pixels.targets import TargetSelection


class SelectionConfig(Config):
    """Which objects are measured.

    An object whose value for a cut is not finite passes that cut, and is
    flagged.
    """

    minExtendedness = Field[float](
        doc="Least refExtendedness, exclusive (0 point-like, 1 extended). None: no cut.",
        default=0.5,
        optional=True,
    )
    maxMagnitude = Field[float](
        doc="Faintest cModel magnitude in magnitudeBand, exclusive (AB). None: no cut.",
        default=21.0,
        optional=True,
    )
    magnitudeBand = Field[str](
        doc="The band of the cuts on magnitude, signal-to-noise ratio and PSF.", default="i"
    )
    minSignalToNoise = Field[float](
        doc="Least cModel signal-to-noise ratio in magnitudeBand, exclusive. None: no cut.",
        default=20.0,
        optional=True,
    )
    minRadiusOverPsf = Field[float](
        doc="Least ratio of the object's radius to the PSF FWHM in magnitudeBand, exclusive. None: no cut.",
        default=0.7,
        optional=True,
    )
    minRadius = Field[float](
        doc="Least radius that holds nearly all light, exclusive (arcsec; about three half-light radii). An "
        "object without one passes. None: no cut.",
        default=None,
        optional=True,
    )

    def to_selection(self) -> TargetSelection:
        """Return the cuts as the value that `select_targets` takes."""
        return TargetSelection(
            min_extendedness=self.minExtendedness,
            max_magnitude=self.maxMagnitude,
            magnitude_band=self.magnitudeBand,
            min_signal_to_noise=self.minSignalToNoise,
            min_radius_over_psf=self.minRadiusOverPsf,
            min_radius=self.minRadius,
        )


class PixelsConfig(Config):
    """How coadds are read."""

    readThreads = RangeField[int](
        doc="Threads that read coadds, each a band at a time.", default=3, min=1, max=64
    )
    badMaskPlanes = ListField[str](
        doc="Mask planes whose pixels are invalid, where a coadd has them.",
        default=list(BAD_MASK_PLANES),
    )
    checkVariance = Field[bool](
        doc="Read the variance too, and take pixels whose variance is not finite as invalid.",
        default=True,
    )
    restoreBackground = Field[bool](
        doc="Add the background that was subtracted from a coadd to its image, where the file has it: the "
        "light of large objects is part of it.",
        default=False,
    )


class EngineConfig(Config):
    """How the network is run."""

    backend = ChoiceField[str](
        doc="What runs the network.",
        default="auto",
        allowed={
            "auto": "ONNX Runtime on a CPU if it is installed, else torch.",
            "onnx": "ONNX Runtime.",
            "torch": "PyTorch.",
        },
    )
    device = ChoiceField[str](
        doc="Where the network runs. A device that is asked for and absent is an error.",
        default="auto",
        allowed={"auto": "A GPU if there is one, else the CPU.", "cpu": "The CPU.", "cuda": "An NVIDIA GPU."},
    )
    precision = ChoiceField[str](
        doc="Arithmetic of the network.",
        default="float32",
        allowed={"float32": "Single precision.", "autocast": "Mixed precision, on a GPU with torch only."},
    )
    compile = Field[bool](doc="Compile the network with torch.compile, on a GPU.", default=False)
    batchSize = RangeField[int](doc="Stamps in one batch.", default=64, min=1, max=65536)
    threads = RangeField[int](
        doc="CPU threads of the network. pipetask gives each process one unless told otherwise.",
        default=1,
        min=1,
        max=1024,
    )

    def to_options(self) -> EngineOptions:
        """Return the options as the value that `get_engine` takes."""
        return EngineOptions(
            backend=self.backend,
            device=self.device,
            batch_size=self.batchSize,
            threads=self.threads,
            precision=self.precision,
            compile=self.compile,
        )
