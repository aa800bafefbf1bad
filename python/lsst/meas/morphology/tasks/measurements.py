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

"""From batches of stamps to the measurements of a patch."""

from __future__ import annotations

__all__ = ("MeasurementCollector", "Measurements")

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from ..flags import Flag
from ..inference.engine import Engine
from ..model.pixel_units import in_model_unit
from ..pixels.stamps import Stamps
from ..posteriors import Posteriors, summarize
from .stopwatch import Stopwatch


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What was measured of a patch's targets, in their order."""

    posteriors: Posteriors
    """Summaries of the vote posteriors, NaN where nothing was measured."""

    embedding: npt.NDArray[np.float32]
    """Embeddings ``[n, feature]``, NaN where nothing was measured; without
    features if the model has no embedding."""

    novelty: npt.NDArray[np.float32]
    """How far each is from the training objects ``[n]``, NaN where nothing
    was measured or the model can't tell."""

    arcsec_per_px: npt.NDArray[np.float32]
    """Pixel scales of the stamps (arcsec), ``[n]``."""

    flags: npt.NDArray[np.uint32]
    """Bits of `~lsst.meas.morphology.flags.Flag`, ``[n]``."""


class MeasurementCollector:
    """Runs the network batch by batch and keeps only the summaries.

    Parameters
    ----------
    engine
        The model, ready to run.
    stopwatch
        Where the seconds by stage are added.
    """

    def __init__(self, engine: Engine, stopwatch: Stopwatch) -> None:
        self.count = 0
        """Number of targets so far."""
        self._engine = engine
        self._stopwatch = stopwatch
        votes, embedding = engine.manifest.votes, engine.manifest.embedding
        assert votes is not None
        self._tree = engine.manifest.tree
        self._samples = votes.samples
        self._features = 0 if embedding is None else embedding.features
        # The empty first part gives a patch without targets its shapes.
        self._parts = [self._summarize(np.empty((0, self._samples, self._tree.n_answers), np.float32))]
        self._embeddings = [np.empty((0, self._features), np.float32)]
        self._novelty = [np.empty(0, np.float32)]
        self._scales = [np.empty(0, np.float32)]
        self._flags = [np.empty(0, np.uint32)]

    def add(self, stamps: Stamps) -> None:
        """Measure a batch.

        Parameters
        ----------
        stamps
            The batch; those flagged as failed are not shown to the network.
        """
        n = len(stamps.flags)
        good = (stamps.flags & np.uint32(Flag.GENERAL)) == 0
        alpha = np.full((n, self._samples, self._tree.n_answers), np.nan, np.float32)
        embedding = np.full((n, self._features), np.nan, np.float32)
        novelty = np.full(n, np.nan, np.float32)
        if good.any():
            with self._stopwatch.stage("inference"):
                flux = in_model_unit(
                    stamps.flux[good], stamps.arcsec_per_px[good], self._engine.manifest.pixels
                )
                predictions = self._engine.predict(flux, stamps.valid[good])
            alpha[good] = predictions.alpha
            if self._features:
                embedding[good] = predictions.embedding
            if predictions.novelty is not None:
                novelty[good] = predictions.novelty[:, 0]
        with self._stopwatch.stage("posteriors"):
            self._parts.append(self._summarize(alpha))
        self._embeddings.append(embedding)
        self._novelty.append(novelty)
        self._scales.append(stamps.arcsec_per_px)
        self._flags.append(stamps.flags | self._novelty_flag(novelty))
        self.count += n

    def finish(self) -> Measurements:
        """Return the measurements of all batches."""
        names = [field.name for field in dataclasses.fields(Posteriors)]
        return Measurements(
            posteriors=Posteriors(
                **{name: np.concatenate([getattr(part, name) for part in self._parts]) for name in names}
            ),
            embedding=np.concatenate(self._embeddings),
            novelty=np.concatenate(self._novelty),
            arcsec_per_px=np.concatenate(self._scales),
            flags=np.concatenate(self._flags),
        )

    def _novelty_flag(self, novelty: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
        """Return the flag's bit where the model's threshold is exceeded."""
        settings = self._engine.manifest.novelty
        if settings is None:
            return np.zeros(len(novelty), np.uint32)
        return np.where(novelty > settings.threshold, Flag.OUT_OF_DISTRIBUTION, 0).astype(np.uint32)

    def _summarize(self, alpha: npt.NDArray[Any]) -> Posteriors:
        return summarize(alpha, self._tree)
