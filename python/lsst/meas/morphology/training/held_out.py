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

"""The part of the labels that is held out, and how well it is predicted."""

from __future__ import annotations

__all__ = ("choose_held_out", "held_out_figures")

import numpy as np
import numpy.typing as npt

from ..errors import LabelError
from .target import ClassesTarget, ScalarTarget, Target

MIN_LABELS = 10
"""Fewer labels teach nothing that can be judged."""


def choose_held_out(target: Target, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose which labels are held out.

    Parameters
    ----------
    target
        The labels, all of them usable.
    share
        Share that is held out; of each class, if there are classes.
    seed
        Seed of the choice.

    Returns
    -------
    held_out
        Whether each is held out, ``[n]``.

    Raises
    ------
    LabelError
        Raised if there are too few labels, in all or of some class.
    """
    count = len(target.labelled)
    if count < MIN_LABELS:
        raise LabelError(f"{count} labels of {target.name} are too few; at least {MIN_LABELS} are needed.")
    rng = np.random.default_rng([seed, 1])
    held_out = np.zeros(count, np.bool_)
    groups = [np.arange(count)]
    if isinstance(target, ClassesTarget):
        names = target.tree.questions[0].answer_labels
        groups = [np.flatnonzero(target.classes == index) for index in range(len(names))]
        for name, members in zip(names, groups, strict=True):
            if len(members) < 2:
                raise LabelError(
                    f"Class {name!r} of {target.name} has {len(members)} labels with stamps; at least 2 are"
                    " needed, one of which is held out."
                )
    for members in groups:
        number = min(max(round(share * len(members)), 1), len(members) - 1)
        held_out[rng.permutation(members)[:number]] = True
    return held_out


def held_out_figures(
    target: Target, predicted: npt.NDArray[np.float32], held_out: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Compare predictions with the labels that were held out.

    Parameters
    ----------
    target
        The labels.
    predicted
        Expected fractions ``[m, a]``, or values ``[m]``, of those held out.
    held_out
        Which they are, ``[n]``.

    Returns
    -------
    figures
        Measures by name.
    """
    figures = {"heldOut.count": float(np.sum(held_out))}
    if isinstance(target, ScalarTarget):
        truth = target.values[held_out].astype(np.float64)
        error = predicted.astype(np.float64) - truth
        figures["heldOut.rms"] = float(np.sqrt(np.mean(error**2)))
        figures["heldOut.meanAbsolute"] = float(np.mean(np.abs(error)))
        spread = float(np.var(truth))
        figures["heldOut.explained"] = 1.0 - float(np.mean(error**2)) / spread if spread > 0.0 else np.nan
        return figures
    if isinstance(target, ClassesTarget):
        return figures | _class_figures(target, predicted, target.classes[held_out])
    votes = target.votes[held_out]
    for question, answers in target.tree.slices.items():
        total = votes[:, answers].sum(axis=1)
        asked = total > 0
        if asked.any():
            observed = votes[asked, answers] / total[asked, None]
            deviation = np.abs(observed - predicted[asked, answers]).mean(axis=1)
            figures[f"heldOut.{question}.deviation"] = float(np.average(deviation, weights=total[asked]))
    return figures


def _class_figures(
    target: ClassesTarget, predicted: npt.NDArray[np.float32], truth: npt.NDArray[np.intp]
) -> dict[str, float]:
    guess = predicted.argmax(axis=1)
    recall = [float(np.mean(guess[truth == index] == index)) for index in np.unique(truth)]
    figures = {
        "heldOut.accuracy": float(np.mean(guess == truth)),
        "heldOut.balancedAccuracy": float(np.mean(recall)),
        "heldOut.majority": float(np.bincount(truth).max() / len(truth)),
    }
    if predicted.shape[1] == 2:
        score, positive = predicted[:, 0], truth == 0
        figures["heldOut.rocArea"] = roc_area(score[positive], score[~positive])
    return figures


def roc_area(positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating]) -> float:
    """Return the area under the ROC curve.

    Parameters
    ----------
    positive, negative
        Scores of those that should score high, and of the others.

    Returns
    -------
    area
        Probability that one of the first scores higher than one of the
        others; half of it where they are equal.
    """
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    equal = np.searchsorted(ordered, positive, side="right") - below
    return float(np.mean((below + 0.5 * equal) / len(negative)))
