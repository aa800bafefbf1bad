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

"""Volunteers who see what the seeing and the noise have left."""

from __future__ import annotations

__all__ = ("UNTAUGHT", "draw_votes", "true_probabilities")

import numpy as np
import numpy.typing as npt

from ..questions.tree import QuestionTree
from .disks import boxed_half_light
from .galaxies import Artifact, GalaxyParameters, Kind
from .observing import Conditions
from .visibility import Visibility, logistic, step, visibility

type Floats = npt.NDArray[np.float64]

UNTAUGHT: tuple[str, ...] = ()
"""Answers that nothing in the simulated sky deserves."""


def true_probabilities(
    parameters: GalaxyParameters, conditions: Conditions, tree: QuestionTree
) -> npt.NDArray[np.float32]:
    """Return the probability of each answer, were its question asked.

    Parameters
    ----------
    parameters
        The ``n`` objects.
    conditions
        The conditions under which they are seen.
    tree
        The tree; its questions must be among those of ``rubin``.

    Returns
    -------
    probabilities
        In the order of the tree's answers, ``[n, answer]``; the answers of
        a question sum to one.

    Raises
    ------
    ValueError
        Raised if the tree asks something that is not simulated.
    """
    answers = _answer_scores(parameters, visibility(parameters, conditions))
    out = np.empty((len(parameters), tree.n_answers))
    for question in tree.questions:
        try:
            columns = [answers[question.name][answer] for answer in question.answers]
        except KeyError:
            raise ValueError(
                f"Simulated volunteers cannot answer the question {question.name!r} of tree {tree.name!r}."
            ) from None
        values = np.maximum(np.stack(columns, axis=1), 0.004)
        out[:, tree.slices[question.name]] = values / values.sum(axis=1, keepdims=True)
    return out.astype(np.float32)


def _answer_scores(p: GalaxyParameters, v: Visibility) -> dict[str, dict[str, Floats]]:
    """Return each question's probabilities before they are made to sum."""
    zoom = (p.kind < Kind.STAR) & (np.abs(np.log(p.size_error)) > np.log(2.0))
    problem = (p.kind >= Kind.STAR) | zoom
    disk = p.kind == Kind.DISK
    resolved = step(v.resolution, 0.85, 0.15)
    score = -2.6 + 10.0 * v.arms + 2.4 * np.minimum(0.4 * v.bar, 1.0) + 6.0 * v.edge_on + 2.5 * v.clumps
    score += 3.0 * v.disturbance + 2.5 * v.ring + 3.0 * v.irregular
    score += np.where(disk, 1.6 * (1.0 - p.bulge_fraction) * resolved, -0.8)
    featured = logistic(1.4 * score)
    scores = {
        "smoothOrFeatured": {
            "smooth": np.where(problem, 0.05, (1.0 - featured) * 0.985),
            "featuredOrDisk": np.where(problem, 0.02, featured * 0.985),
            "problem": np.where(problem, 0.93, 0.015),
        },
        "diskEdgeOn": {"yes": 0.01 + 0.98 * v.edge_on, "no": 0.99 - 0.98 * v.edge_on},
        "howRounded": _ordered(v.axis_ratio, (0.42, 0.78), 0.045, ("cigarShaped", "inBetween", "round")),
    }
    # Tails are taken for arms now and then.
    spiral = 0.01 + 0.98 * logistic((v.arms + 0.08 * v.disturbance - 0.14) / 0.028)
    scores["hasSpiralArms"] = {"yes": spiral, "no": 1.0 - spiral}
    scores["bar"] = _ordered(
        np.log(np.maximum(v.bar, 0.02)), tuple(np.log([0.6, 1.9])), 0.24, ("no", "weak", "strong")
    )
    scores["bulgeSize"] = _ordered(
        np.log(np.maximum(p.bulge_fraction, 0.004)),
        tuple(np.log([0.03, 0.13, 0.32, 0.6])),
        0.22 + 0.15 / np.maximum(v.resolution, 0.5),
        ("none", "small", "moderate", "large", "dominant"),
    )
    no_bulge = step(-p.bulge_fraction, -0.09, 0.02)
    boxy = np.where(p.boxiness > 2.0, 0.87, 0.05) * step(
        boxed_half_light(p) * p.bulge_axis_ratio * v.resolution / p.half_light, 0.5, 0.1
    )
    scores["edgeOnBulge"] = {
        "none": no_bulge,
        "boxy": (1.0 - no_bulge) * boxy,
        "rounded": (1.0 - no_bulge) * (1.0 - boxy),
    }
    blur = 1.0 - np.clip(v.arms / 0.4, 0.0, 1.0)
    scores["spiralWinding"] = _ordered(
        np.degrees(p.pitch), (14.0, 23.0), 1.2 + 3.0 * blur, ("tight", "medium", "loose")
    )
    scores["spiralArmCount"] = _arm_counts(p, blur)
    scores["merging"] = _merging(v)
    clumpy = 0.01 + 0.97 * logistic((v.clumps + 0.1 * p.flocculence * v.arms - 0.3) / 0.07)
    scores["clumps"] = {"yes": clumpy, "no": 1.0 - clumpy}
    star, artifact = p.kind == Kind.STAR, p.kind == Kind.ARTIFACT
    scores["problem"] = {
        "star": np.where(star, 0.92, np.where(problem, 0.04, 0.4)),
        "artifact": np.where(artifact, 0.93, np.where(problem, 0.05, 0.4)),
        "zoom": np.where(zoom, 0.9, np.where(problem, 0.01, 0.1)),
    }
    kinds = {
        "satellite": Artifact.SATELLITE,
        "scattered": Artifact.SCATTERED,
        "saturation": Artifact.SATURATION,
        "ghost": Artifact.GHOST,
        "diffraction": Artifact.DIFFRACTION,
        "ray": Artifact.RAY,
        "other": Artifact.OTHER,
    }
    scores["artifact"] = {name: np.where(p.artifact == kind, 0.85, 0.03) for name, kind in kinds.items()}
    return scores


def _arm_counts(p: GalaxyParameters, blur: Floats) -> dict[str, Floats]:
    """Return votes for one, two, three, four, more arms, or can't tell."""
    lost = np.clip(0.04 + 0.5 * blur + 0.7 * (p.flocculence - 0.4).clip(0.0), 0.0, 0.9)
    names = ("1", "2", "3", "4", "moreThan4")
    spread = 0.42 + 0.5 * blur
    counts = np.minimum(p.arm_count, 5)
    weights = np.stack([np.exp(-0.5 * ((counts - k) / spread) ** 2) for k in range(1, 6)], axis=1)
    weights *= ((1.0 - lost) / weights.sum(axis=1))[:, None]
    return {name: weights[:, k] for k, name in enumerate(names)} | {"cantTell": lost}


def _merging(v: Visibility) -> dict[str, Floats]:
    """Return votes for the stages of merging."""
    merger = 0.96 * logistic((v.companion - 0.2) / 0.03)
    strength = np.maximum(v.disturbance, np.minimum(3.0 * v.companion, 0.3))
    major = (1.0 - merger) * logistic((strength - 0.46) / 0.06)
    minor = (1.0 - merger - major) * logistic((strength - 0.18) / 0.035)
    return {
        "none": 1.0 - merger - major - minor,
        "minorDisturbance": minor,
        "majorDisturbance": major,
        "merger": merger,
    }


def draw_votes(
    rng: np.random.Generator,
    probabilities: npt.NDArray[np.floating],
    tree: QuestionTree,
    *,
    volunteers: tuple[int, int] = (5, 40),
    concentration: float = 60.0,
) -> npt.NDArray[np.int32]:
    """Let volunteers walk down the tree.

    Who answers a question is asked those that follow; a galaxy's answers
    scatter around its probabilities like a Dirichlet-multinomial.

    Parameters
    ----------
    rng
        Source of random numbers.
    probabilities
        Probability of each answer, ``[n, answer]``.
    tree
        The tree.
    volunteers
        Smallest and largest number of volunteers per object.
    concentration
        Sum of the Dirichlet's parameters; infinite for pure multinomials.

    Returns
    -------
    votes
        Numbers of votes, ``[n, answer]``.
    """
    n = len(probabilities)
    votes = np.zeros((n, tree.n_answers), dtype=np.int32)
    everyone = rng.integers(volunteers[0], volunteers[1] + 1, n)
    for k in tree.ancestry_order:
        question = tree.questions[k]
        columns = tree.slices[question.name]
        asked = everyone if not question.parents else np.zeros(n, dtype=np.int64)
        for name, answer in question.parents:
            parent = tree.slices[name].start + tree.question(name).answers.index(answer)
            asked = asked + votes[:, parent]
        p = np.asarray(probabilities[:, columns], dtype=np.float64)
        if np.isfinite(concentration):
            p = np.maximum(rng.standard_gamma(concentration * p), 1e-9)
        p /= p.sum(axis=1, keepdims=True)
        votes[:, columns] = rng.multinomial(asked, p)
    return votes


def _ordered(
    x: Floats, thresholds: tuple[float, ...], width: Floats | float, names: tuple[str, ...]
) -> dict[str, Floats]:
    """Return probabilities of ordered answers (an ordered logit)."""
    above = [logistic((x - t) / width) for t in thresholds]
    edges = [np.ones_like(x), *above, np.zeros_like(x)]
    return {name: edges[k] - edges[k + 1] for k, name in enumerate(names)}
