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

__all__ = ("UNTAUGHT", "Visibility", "draw_votes", "true_probabilities", "visibility")

import dataclasses

import numpy as np
import numpy.typing as npt

from ..questions.tree import QuestionTree
from .disks import ARM_SHARE, CLUMP_SHARE
from .galaxies import Artifact, GalaxyParameters, Kind
from .observing import NATIVE_SCALE, Conditions

type Floats = npt.NDArray[np.float64]

UNTAUGHT: tuple[str, ...] = (
    "problem_zoom",
    "artifact_diffraction",
    "artifact_ray",
    "artifact_other",
)
"""Answers that nothing in the simulated sky deserves."""


@dataclasses.dataclass(frozen=True)
class Visibility:
    """What is left of each feature in the image, ``[n]`` each."""

    resolution: Floats
    """Half-light radius over FWHM."""

    axis_ratio: Floats
    """Axis ratio of the convolved image."""

    arms: Floats
    """Contrast of the spiral arms."""

    bar: Floats
    """Strength of the bar, 0 to 1."""

    clumps: Floats
    """Strength of the clumps, 0 to 1."""

    edge_on: Floats
    """How edge-on a disk looks, 0 to 1."""

    disturbance: Floats
    """Strength of the tidal tails, 0 to 1."""

    companion: Floats
    """Flux ratio of the companion, as far as it stands apart."""


def visibility(parameters: GalaxyParameters, conditions: Conditions) -> Visibility:
    """Reckon what seeing and noise leave of each feature.

    A wave of length L keeps exp(-2 pi**2 sigma**2 / L**2) of its contrast
    after a Gaussian of width sigma; a feature is seen when its contrast
    times the signal-to-noise ratio of the area it covers is well above five.
    Tails are too wide to be added up by eye: theirs is the ratio in the area
    of the point spread function, 2.27 fwhm**2.

    Parameters
    ----------
    parameters
        The ``n`` objects.
    conditions
        The conditions under which they are seen.

    Returns
    -------
    visibility
        Strengths of the features.
    """
    p = parameters
    fwhm, sigma = conditions.reference()
    psf = fwhm / 2.3548
    scale = p.half_light / 1.678
    disk = p.kind == Kind.DISK
    resolution = p.half_light / fwhm
    q = np.where(disk, np.sqrt(p.axis_ratio**2 + 1.5 * p.thickness**2), p.axis_ratio)
    width = 0.69 * p.half_light
    axis_ratio = np.sqrt(((q * width) ** 2 + psf**2) / (width**2 + psf**2))
    light = p.flux() * (1.0 - p.bulge_fraction) / (1.0 + p.companion_ratio)
    # Surface brightness at one scale length, in nJy per native pixel.
    surface = light * NATIVE_SCALE**2 * np.exp(-1.0) / (2.0 * np.pi * scale**2 * np.maximum(q, 0.15))
    arms = _visible_arms(p, scale, q, psf, surface / sigma) * _step(scale / fwhm, 0.75, 0.1)
    length = p.bar_length * scale * np.sqrt(np.clip(q, 0.05, 1.0))
    bar = p.bar_strength * np.sqrt(1.0 - p.bulge_fraction)
    bar *= _step(length / fwhm, 1.0, 0.15) * np.exp(-0.8 * (psf / (p.bar_axis_ratio * length + psf)) ** 2)
    bar *= _seen(p.bar_strength * 2.0 * surface * length / NATIVE_SCALE / sigma)
    # A dozen knots, as bright as the disk in the area 1.13 fwhm**2 that
    # their peak stands for, at one and a half scale lengths.
    knots = CLUMP_SHARE * p.clumpiness / 12.0 * (scale / fwhm) ** 2 * np.maximum(q, 0.15)
    knots *= 2.0 * np.pi * np.exp(1.5) / 1.13
    clumps = np.minimum(knots, 1.0) * _seen(knots * surface * fwhm / NATIVE_SCALE / sigma)
    looks = disk * _step(-axis_ratio, -0.40, 0.03) * _step(resolution, 0.9, 0.15)
    tail = 0.22 * p.disturbance * p.flux() * NATIVE_SCALE**2 / (12.0 * p.half_light**2)
    disturbance = p.disturbance * _seen(2.0 * tail * 1.5 * fwhm / NATIVE_SCALE / sigma)
    companion = p.companion_ratio * _step(p.companion_distance * resolution, 1.2, 0.2)
    return Visibility(
        resolution,
        axis_ratio,
        np.where(disk, arms, 0.0),
        np.where(disk, bar, 0.0),
        np.where(disk, clumps, 0.0),
        np.asarray(looks, dtype=np.float64),
        disturbance,
        companion,
    )


def _visible_arms(p: GalaxyParameters, scale: Floats, q: Floats, psf: Floats, surface: Floats) -> Floats:
    """Return the arms' contrast, a mean over the radii where arms may be.

    The distance between arms grows with the radius as the light fades. Their
    crests are sharp, so the wave that carries them is 1.5 times as strong as
    their light.
    """
    radii = (1.2, 1.8, 2.4)
    mean = np.zeros(len(p))
    for radius in radii:
        spacing = (
            2.0 * np.pi * radius * scale * np.sin(p.pitch) / p.arm_count * np.sqrt(np.clip(q, 0.05, 1.0))
        )
        left = np.exp(-2.0 * np.pi**2 * psf**2 / spacing**2)
        contrast = 1.5 * ARM_SHARE * p.arm_strength * left * (1.0 - 0.4 * p.flocculence)
        area = np.sqrt(spacing * 2.0 * scale) / NATIVE_SCALE
        seen = contrast * _seen(contrast * surface * np.exp(1.0 - radius) * area)
        mean += seen / len(radii)
    return mean


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
    n = len(p)
    few = np.full(n, 0.01)
    problem = p.kind >= Kind.STAR
    disk = p.kind == Kind.DISK
    resolved = _step(v.resolution, 0.85, 0.15)
    score = -2.6 + 10.0 * v.arms + 2.4 * v.bar + 6.0 * v.edge_on + 2.5 * v.clumps
    score += 3.0 * v.disturbance + np.where(disk, 1.6 * (1.0 - p.bulge_fraction) * resolved, -0.8)
    featured = _logistic(1.4 * score)
    scores = {
        "smoothOrFeatured": {
            "smooth": np.where(problem, 0.05, (1.0 - featured) * 0.985),
            "featuredOrDisk": np.where(problem, 0.02, featured * 0.985),
            "problem": np.where(problem, 0.93, 0.015),
        },
        "diskEdgeOn": {"yes": 0.01 + 0.98 * v.edge_on, "no": 0.99 - 0.98 * v.edge_on},
        "howRounded": _ordered(v.axis_ratio, (0.42, 0.78), 0.04, ("cigarShaped", "inBetween", "round")),
    }
    spiral = 0.01 + 0.98 * _logistic((v.arms - 0.12) / 0.02)
    scores["hasSpiralArms"] = {"yes": spiral, "no": 1.0 - spiral}
    scores["bar"] = _ordered(v.bar, (0.17, 0.44), 0.045, ("no", "weak", "strong"))
    scores["bulgeSize"] = _ordered(
        np.log(np.maximum(p.bulge_fraction, 0.004)),
        tuple(np.log([0.03, 0.13, 0.32, 0.6])),
        0.22 + 0.15 / np.maximum(v.resolution, 0.5),
        ("none", "small", "moderate", "large", "dominant"),
    )
    no_bulge = _step(-p.bulge_fraction, -0.09, 0.02)
    boxy = np.where(p.boxiness > 2.0, 0.85, 0.05) * _step(
        p.bulge_half_light * v.resolution / p.half_light, 0.4, 0.1
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
    clumpy = 0.01 + 0.97 * _logistic((v.clumps + 0.1 * p.flocculence * v.arms - 0.3) / 0.07)
    scores["clumps"] = {"yes": clumpy, "no": 1.0 - clumpy}
    star = p.kind == Kind.STAR
    scores["problem"] = {
        "star": np.where(star, 0.92, np.where(problem, 0.04, 0.4)),
        "artifact": np.where(star, 0.06, np.where(problem, 0.93, 0.4)),
        "zoom": few,
    }
    kinds = {
        "satellite": Artifact.SATELLITE,
        "scattered": Artifact.SCATTERED,
        "saturation": Artifact.SATURATION,
        "ghost": Artifact.GHOST,
    }
    scores["artifact"] = {name: np.where(p.artifact == kind, 0.85, 0.03) for name, kind in kinds.items()}
    scores["artifact"] |= dict.fromkeys(("diffraction", "ray", "other"), few)
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
    merger = 0.96 * _logistic((v.companion - 0.2) / 0.03)
    strength = np.maximum(v.disturbance, np.minimum(3.0 * v.companion, 0.3))
    major = (1.0 - merger) * _logistic((strength - 0.46) / 0.06)
    minor = (1.0 - merger - major) * _logistic((strength - 0.18) / 0.035)
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


def _logistic(x: npt.ArrayLike) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40.0, 40.0))), dtype=np.float64)


def _step(x: Floats, threshold: float, width: float) -> Floats:
    return _logistic((x - threshold) / width)


def _seen(signal_to_noise: Floats) -> Floats:
    """Return how much of a feature is seen at a signal-to-noise ratio."""
    squared = np.square(signal_to_noise / 6.0)
    return np.asarray(squared / (1.0 + squared), dtype=np.float64)


def _ordered(
    x: Floats, thresholds: tuple[float, ...], width: Floats | float, names: tuple[str, ...]
) -> dict[str, Floats]:
    """Return probabilities of ordered answers (an ordered logit)."""
    above = [_logistic((x - t) / width) for t in thresholds]
    edges = [np.ones_like(x), *above, np.zeros_like(x)]
    return {name: edges[k] - edges[k + 1] for k, name in enumerate(names)}
