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

"""From batches of stamps to the tidal features of a patch."""

from __future__ import annotations

__all__ = ("TidalCollector", "TidalPatch")

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ..flags import Flag
from ..inference.engine import Engine
from ..masks.flux import weighed_pixels
from ..masks.measurement import FeatureMeasurements, feature_masks, measure_features
from ..masks.patch import PatchMask
from ..masks.settings import FeatureSettings
from ..model.pixel_units import in_model_unit
from ..pixels.geometry import Geometry
from ..pixels.stamps import Stamps
from ..pixels.targets import Targets
from ..tables.tidal_columns import reference_band
from .stopwatch import Stopwatch

MASKED_SHARE = 0.1
"""Part of a stamp without data from which it is flagged as masked."""

BLENDED_SHARE = 0.2
"""Part of the debris under neighbours from which it is flagged as blended."""

SHARED = 1e-4
"""Part of the debris that must be another's for it to be shared: more than
the network's rounding from batch to batch."""

_KEPT = tuple(
    field.name for field in dataclasses.fields(FeatureMeasurements) if field.name not in ("features", "mask")
)


@dataclasses.dataclass(frozen=True)
class TidalPatch:
    """What was measured of a patch's targets, in their order."""

    measurements: dict[str, npt.NDArray[Any]]
    """Arrays by their names in
    `~lsst.meas.morphology.masks.measurement.FeatureMeasurements`, NaN where
    nothing was measured.
    """

    mask: PatchMask
    """The features that are there, on the patch's pixels."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Pixel scales of the stamps (arcsec), ``[n]``."""

    flags: npt.NDArray[np.uint32]
    """Bits of `~lsst.meas.morphology.flags.Flag`, ``[n]``."""

    found: dict[str, int]
    """Number of objects by feature that have it."""

    light: dict[str, float]
    """Flux of debris in the reference band (nJy): ``assigned`` to objects
    that have debris, and ``left`` where the model marks pixels and does not
    believe in what it marks.
    """


class _Answers(NamedTuple):
    """What a model says of some stamps."""

    pixels: npt.NDArray[np.float32]
    """Probabilities of pixels, ``[n, plane, s, s]``."""

    presence: npt.NDArray[np.float32]
    """Probabilities of presence, ``[n, feature]``."""

    share: npt.NDArray[np.float32] | None
    """Features' parts of the light, ``[n, feature, s, s]``."""


class TidalCollector:
    """Runs the network batch by batch and keeps masks and measurements.

    Masks live on in the patch's mask alone. All objects with a mask claim
    its light, each as far as the model believes in it. Those whose pixels
    another claims too have to be measured again when all claims are known:
    `contested` names them, `share` does it.

    Parameters
    ----------
    engine
        The model, ready to run.
    geometry
        Where the patch's pixels lie.
    stopwatch
        Where the seconds by stage are added.
    """

    def __init__(self, engine: Engine, geometry: Geometry, stopwatch: Stopwatch) -> None:
        manifest = engine.manifest
        assert manifest.tides is not None
        self.count = 0
        """Number of targets so far."""
        self._engine = engine
        self._geometry = geometry
        self._stopwatch = stopwatch
        self._settings = FeatureSettings.from_head(manifest.tides)
        self._reference = manifest.bands.index(reference_band(manifest.bands))
        self._mask = PatchMask(geometry.bbox, self._settings.features)
        self._claimed: dict[int, tuple[slice, slice]] = {}
        self._shapes = self._find_shapes(len(manifest.tides.planes), len(manifest.bands))
        # The empty first part gives a patch without targets its shapes.
        self._parts = [self._nothing(0)]
        self._scales = [np.empty(0, np.float32)]
        self._flags = [np.empty(0, np.uint32)]

    def add(self, stamps: Stamps, targets: Targets) -> None:
        """Measure a batch.

        Parameters
        ----------
        stamps
            The batch; those flagged as failed are not shown to the network.
        targets
            Its targets.
        """
        good = np.flatnonzero((stamps.flags & np.uint32(Flag.GENERAL)) == 0)
        part = self._nothing(len(targets))
        if len(good):
            answers = self._predict(stamps, good)
            with self._stopwatch.stage("measure"):
                measured = self._measure(stamps, targets, good, answers, None)
                for name in _KEPT:
                    part[name][good] = getattr(measured, name)
            with self._stopwatch.stage("paint"):
                claims = self._claims(measured.mask, answers)
                for k, i in enumerate(good):
                    self._paint(
                        measured.mask[k], answers.presence[k], claims[k], self.count + int(i), targets[int(i)]
                    )
        self._parts.append(part)
        self._scales.append(stamps.arcsec_per_px)
        self._flags.append(stamps.flags)
        self.count += len(targets)

    def contested(self) -> npt.NDArray[np.int64]:
        """Return which targets, of all so far, have pixels that another
        claims too.
        """
        return np.array([i for i, part in self._claimed.items() if self._mask.contested(part)], np.int64)

    def share(self, stamps: Stamps, targets: Targets, which: npt.NDArray[np.int64]) -> None:
        """Measure targets again, each with its own part of the light.

        Parameters
        ----------
        stamps
            Their stamps, as they were.
        targets
            The targets.
        which
            Their places among all targets.
        """
        everything = np.arange(len(targets))
        answers = self._predict(stamps, everything)
        with self._stopwatch.stage("measure"):
            mask = feature_masks(answers.pixels, stamps.valid, self._settings)
            claims = self._claims(mask, answers)
            weights = np.stack(
                [self._mask.weights(claim, *self._place(targets[i])) for i, claim in enumerate(claims)]
            )
            measured = self._measure(stamps, targets, everything, answers, weights)
        joined = self._joined()
        for name in _KEPT:
            joined[name][which] = getattr(measured, name)
        self._parts = [joined]

    def finish(self) -> TidalPatch:
        """Return the measurements of all batches."""
        measurements = self._joined()
        flags = np.concatenate(self._flags)
        with np.errstate(invalid="ignore"):
            shared = measurements["share"][:, self._settings.union] < 1.0 - SHARED
            for flag, where in (
                (Flag.MASKED, measurements["masked"] > MASKED_SHARE),
                (Flag.BLENDED, (measurements["blended"] > BLENDED_SHARE) | shared),
                (Flag.TRUNCATED, measurements["truncated"] > 0.0),
            ):
                flags[where] |= np.uint32(flag)
            there = measurements["presence"] >= np.array(self._settings.threshold)
        union, flux = self._settings.union, measurements["flux"][:, self._settings.union, self._reference]
        return TidalPatch(
            measurements=measurements,
            mask=self._mask,
            arcsec_per_px=np.concatenate(self._scales),
            flags=flags,
            found={name: int(there[:, k].sum()) for k, name in enumerate(self._settings.features)},
            light={
                "assigned": float(np.nansum(flux[there[:, union]])),
                "left": float(np.nansum(flux[~there[:, union]])),
            },
        )

    def _predict(self, stamps: Stamps, chosen: npt.NDArray[np.int64]) -> _Answers:
        """Return what the model says of some stamps."""
        with self._stopwatch.stage("inference"):
            pixels = in_model_unit(
                stamps.flux[chosen], stamps.arcsec_per_px[chosen], self._engine.manifest.pixels
            )
            predictions = self._engine.predict(pixels, stamps.valid[chosen])
        assert predictions.mask is not None
        assert predictions.presence is not None
        return _Answers(expit(predictions.mask), expit(predictions.presence), predictions.share)

    def _measure(
        self,
        stamps: Stamps,
        targets: Targets,
        chosen: npt.NDArray[np.int64],
        answers: _Answers,
        weights: npt.NDArray[np.float32] | None,
    ) -> FeatureMeasurements:
        scale = stamps.arcsec_per_px[chosen]
        return measure_features(
            answers.pixels,
            answers.presence,
            in_model_unit(stamps.flux[chosen], scale, "nJy/arcsec2"),
            stamps.valid[chosen],
            scale,
            stamps.sigma[chosen],
            settings=self._settings,
            shares=answers.share,
            reference=self._reference,
            native_scale=self._geometry.pixel_scale,
            weights=weights,
            north=self._geometry.north(targets.ra[chosen], targets.dec[chosen]),
        )

    def _claims(
        self,
        mask: npt.NDArray[np.bool_],
        answers: _Answers,
    ) -> npt.NDArray[np.float32]:
        """Return how strongly objects claim their pixels, ``[n, s, s]``."""
        weighed = weighed_pixels(mask, answers.share)
        chosen = answers.pixels[:, self._settings.index].max(axis=1)
        belief = answers.presence[:, self._settings.union, None, None]
        # A claim that is there at all must not vanish in the sum.
        claim = np.maximum(chosen * belief, np.float32(1e-6))
        return np.where(weighed.any(axis=1), claim, np.float32(0.0))

    def _paint(
        self,
        mask: npt.NDArray[np.bool_],
        presence: npt.NDArray[np.float32],
        claim: npt.NDArray[np.float32],
        number: int,
        target: Targets,
    ) -> None:
        """Put an object's features and claims on the patch."""
        if not mask.any():
            return
        place = self._place(target)
        self._claimed[number] = self._mask.claim(claim, *place)
        there = presence >= np.array(self._settings.threshold)
        self._mask.paint(mask & there[:, None, None], *place)

    def _place(self, target: Targets) -> tuple[float, float, float]:
        """Return one target's position and tract pixels per stamp pixel."""
        manifest = self._engine.manifest
        scale, _ = manifest.field_of_view.arcsec_per_px(target.radius, manifest.stamp_size)
        return float(target.x[0]), float(target.y[0]), float(scale[0]) / self._geometry.pixel_scale

    def _nothing(self, n: int) -> dict[str, npt.NDArray[Any]]:
        """Return the measurements of objects of which there are none."""
        return {name: np.full((n, *shape), np.nan) for name, shape in self._shapes.items()}

    def _find_shapes(self, planes: int, bands: int) -> dict[str, tuple[int, ...]]:
        """Return each measurement's shape for one object."""
        size, features = 8, len(self._settings.features)
        one = measure_features(
            np.zeros((1, planes, size, size), np.float32),
            np.zeros((1, features)),
            np.zeros((1, bands, size, size), np.float32),
            np.zeros((1, bands, size, size), np.bool_),
            np.ones(1),
            np.ones((1, bands)),
            settings=self._settings,
            reference=self._reference,
        )
        return {name: getattr(one, name).shape[1:] for name in _KEPT}

    def _joined(self) -> dict[str, npt.NDArray[Any]]:
        return {name: np.concatenate([part[name] for part in self._parts]) for name in _KEPT}
