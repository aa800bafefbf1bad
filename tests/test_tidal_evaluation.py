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

"""The measures of a tidal evaluation, against independent computations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from lsst.meas.morphology.model.heads import TidesHead
from lsst.meas.morphology.surface_brightness import feature_depth, to_njy, truth_masks
from lsst.meas.morphology.validation.tidal_bars import check_tidal_bars
from lsst.meas.morphology.validation.tidal_completeness import HalfFound, completeness_by, fit_half_found
from lsst.meas.morphology.validation.tidal_evaluation import ALL, evaluate_tides
from lsst.meas.morphology.validation.tidal_flux import (
    FluxLaw,
    fit_flux_error,
    fit_flux_law,
    fit_flux_scale,
    score_flux,
)
from lsst.meas.morphology.validation.tidal_outcomes import TidalOutcomes, TidalThresholds
from lsst.meas.morphology.validation.tidal_pixels import LEVELS, REGIONS, count_pixels, region_truth
from lsst.meas.morphology.validation.tidal_plots import draw_tidal_evaluation
from lsst.meas.morphology.validation.tidal_presence import (
    class_confusion,
    completeness_at_purity,
    recall_threshold,
    roc_area,
)
from lsst.meas.morphology.validation.tidal_report import tidal_text
from lsst.meas.morphology.validation.tidal_tables import TIDAL_EVALUATION_SCHEMA, hosts_table, tidal_table

HALF = TidalThresholds.of(TidesHead(planes=("tail", "stream", "shell", "debris", "host")))
PLANES = ("tail", "stream", "shell", "debris")


def random_masks(rng: np.random.Generator, n: int, size: int) -> tuple[npt.NDArray[np.bool_], ...]:
    mask = rng.random((n, 3, size, size)) < 0.2
    ignore = (rng.random(mask.shape) < 0.1) & ~mask
    any_mask = mask.any(axis=1)
    return mask, ignore, any_mask, ignore.any(axis=1) & ~any_mask, rng.random((n, size, size)) < 0.9


# Pixels


def test_iou_by_hand() -> None:
    rng = np.random.default_rng(1)
    n, size = 6, 7
    mask, ignore, any_mask, any_ignore, valid = random_masks(rng, n, size)
    mask[5], any_mask[5] = False, False
    probability = rng.random((n, 4, size, size)).astype(np.float32)
    thresholds = {"tail": 0.3, "stream": 0.62}
    truth = region_truth(mask, ignore, any_mask, any_ignore, valid)
    counts = count_pixels(probability, truth, mask_threshold=thresholds)
    for level in (0, 10, 25, 40):
        for r, name in enumerate(REGIONS):
            if name == "linear" and level != 25:
                continue
            both = whole = 0
            for k in range(n):
                own_both = own_whole = 0
                for y in range(size):
                    for x in range(size):
                        tail, stream = mask[k, 0, y, x], mask[k, 1, y, x]
                        if name == "linear":
                            true = tail or stream
                            skip = not true and (ignore[k, 0, y, x] or ignore[k, 1, y, x])
                            marked = probability[k, 0, y, x] >= 0.3 or probability[k, 1, y, x] >= 0.62
                        elif name == "debris":
                            true, skip = any_mask[k, y, x], any_ignore[k, y, x]
                            marked = probability[k, 3, y, x] >= level / LEVELS
                        else:
                            true, skip = mask[k, r, y, x], ignore[k, r, y, x]
                            marked = probability[k, r, y, x] >= level / LEVELS
                        if skip or not valid[k, y, x]:
                            continue
                        own_both += bool(true and marked)
                        own_whole += bool(true or marked)
                both, whole = both + own_both, whole + own_whole
                assert counts.by_host()[k, r, level] == pytest.approx(own_both / own_whole)
            assert counts.pooled()[r, level] == pytest.approx(both / whole)


def test_nothing_true_or_marked_is_no_number() -> None:
    empty = np.zeros((2, 3, 4, 4), np.bool_)
    truth = region_truth(empty, empty, empty[:, 0], empty[:, 0], ~empty[:, 0])
    counts = count_pixels(
        np.zeros((2, 4, 4, 4), np.float32), truth, mask_threshold={"tail": 0.5, "stream": 0.5}
    )
    assert np.isnan(counts.pooled()[:, 1:]).all()
    assert (counts.pooled()[:, 0] == 0.0).all()


# Presence


def test_roc_area_counts_pairs() -> None:
    rng = np.random.default_rng(2)
    positive, negative = rng.integers(3, 12, 40) / 10.0, rng.integers(0, 9, 30) / 10.0
    pairs = [(p > q) + 0.5 * (p == q) for p in positive for q in negative]
    assert roc_area(positive, negative) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_area(positive, negative[:0]))


@pytest.mark.parametrize("recall", [0.5, 0.9, 1.0])
def test_recall_threshold_is_the_largest(recall: float) -> None:
    scores = np.random.default_rng(3).random(57)
    threshold = recall_threshold(scores, recall)
    assert (scores >= threshold).mean() >= recall - 1e-9
    assert (scores > threshold).mean() < recall
    assert np.isnan(recall_threshold(scores[:0], recall))


@pytest.mark.parametrize("prevalence", [None, 0.1, 0.001])
def test_completeness_at_purity_tries_every_threshold(prevalence: float | None) -> None:
    rng = np.random.default_rng(4)
    positive, negative = rng.beta(4, 2, 80), rng.beta(2, 4, 120)
    share = 80 / 200 if prevalence is None else prevalence
    best = 0.0
    for threshold in positive:
        found, wrong = (positive >= threshold).mean(), (negative >= threshold).mean()
        if share * found / (share * found + (1 - share) * wrong) >= 0.9:
            best = max(best, found)
    got, threshold = completeness_at_purity(positive, negative, prevalence=prevalence)
    assert got == pytest.approx(best)
    if best:
        assert (positive >= threshold).mean() == pytest.approx(got)


def test_purity_that_no_threshold_reaches() -> None:
    found, threshold = completeness_at_purity(np.array([0.1]), np.array([0.5, 0.2]))
    assert found == 0.0
    assert np.isnan(threshold)


def test_class_confusion_by_hand() -> None:
    presence = np.array(
        [[0.9, 0.1, 0.2, 0.9], [0.3, 0.4, 0.2, 0.9], [0.9, 0.1, 0.2, 0.1], [0.1, 0.2, 0.3, 0.5]]
    )
    found = class_confusion(presence, np.array([1, 1, 3, 0]), 0.5)
    expected = np.zeros((4, 4), int)
    expected[1, 1] = expected[1, 2] = expected[3, 0] = expected[0, 3] = 1
    assert (found.counts == expected).all()


# Completeness


def test_completeness_in_bins() -> None:
    found = np.array([True, False, True, True, False, True])
    values = np.array([0.0, 0.5, 1.0, 2.0, np.nan, 2.1])
    got = completeness_by(found, values, [0.0, 1.0, 2.0])
    assert got.count.tolist() == [2, 2]
    assert got.found.tolist() == [0.5, 1.0]
    assert np.isnan(completeness_by(found[:0], values[:0], [0.0, 1.0]).found).all()


def test_half_found_is_where_it_was_put() -> None:
    rng = np.random.default_rng(5)
    limit = np.where(rng.random(4000) < 0.5, 29.8, 30.7)
    brightness = rng.uniform(25.0, 32.0, 4000)
    true = HalfFound(-1.3, -0.2, 0.35)
    found = rng.random(4000) < 1.0 / (1.0 + np.exp((brightness - true.at(limit)) / true.width))
    got = fit_half_found(found, brightness, limit)
    assert got is not None
    assert got.offset == pytest.approx(-1.3, abs=0.1)
    assert got.slope == pytest.approx(-0.2, abs=0.12)
    assert got.width == pytest.approx(0.35, abs=0.08)
    # Near the middle half of them are found, whatever the function.
    near = np.abs(brightness - got.at(limit)) < 0.2
    assert found[near].mean() == pytest.approx(0.5, abs=0.06)
    assert fit_half_found(np.ones(4000, np.bool_), brightness, limit) is None
    one_depth = fit_half_found(found[limit < 30], brightness[limit < 30], limit[limit < 30])
    assert one_depth is not None
    assert one_depth.slope == 0.0
    assert one_depth.at(29.8) == pytest.approx(true.at(29.8), abs=0.1)


def test_depth_of_a_feature_decides_whether_it_is_visible() -> None:
    rng = np.random.default_rng(6)
    debris = (rng.random((30, 20, 20)) ** 4 * 200.0).astype(np.float32)
    light = (rng.random((30, 20, 20)) * 300.0).astype(np.float32)
    scale = rng.uniform(0.7, 1.6, 30).astype(np.float32)
    brightness, contrast = feature_depth(debris, light, scale)
    for shift in (-0.01, 0.01):
        seen = truth_masks(debris[:, None], light, np.nan_to_num(brightness, nan=20.0) + shift, scale)
        assert (seen.visible[:, 0] == (np.isfinite(brightness) & (shift > 0))).all()
    k = int(np.flatnonzero(np.isfinite(brightness))[0])
    inside = (debris[k] >= to_njy(brightness[k]) * (1 - 1e-6)) & (debris[k] > 0.1 * light[k])
    assert contrast[k] == pytest.approx(debris[k][inside].sum() / light[k][inside].sum(), rel=1e-5)
    assert np.isnan(feature_depth(0.0 * debris, light, scale)[0]).all()


# Flux


def test_flux_score_by_hand() -> None:
    flux = np.array([90.0, 130.0, np.nan, 100.0])
    score = score_flux(flux, np.array([10.0, 20.0, 1.0, 0.0]), np.full(4, 100.0))
    assert score.count == 3
    assert (score.error, score.bias) == pytest.approx((0.1, 0.0))
    assert score.coverage == pytest.approx(2 / 3)
    assert score_flux(flux[:0], flux[:0], flux[:0]).count == 0


def test_fitted_flux_holds_on_other_data() -> None:
    rng = np.random.default_rng(7)
    truth = 10.0 ** rng.uniform(2.0, 5.0, 4000)
    sigma = np.full(4000, 50.0)
    flux = 0.8 * truth * np.exp(rng.normal(0.0, 0.15, 4000)) + rng.normal(0.0, 50.0, 4000)
    fit, held = slice(0, 2000), slice(2000, None)
    scale = fit_flux_scale(flux[fit], truth[fit])
    assert scale == pytest.approx(1.25, rel=0.02)
    error = fit_flux_error(scale * flux[fit], scale * sigma[fit], truth[fit])
    assert error == pytest.approx(0.15, abs=0.02)
    total = np.hypot(scale * sigma, error * scale * flux)
    score = score_flux(scale * flux[held], total[held], truth[held])
    assert score.coverage == pytest.approx(0.6827, abs=0.03)
    assert abs(score.bias) < 0.02
    assert fit_flux_error(truth, sigma, truth) == 0.0
    assert fit_flux_scale(np.full(3, np.nan), np.ones(3)) == 1.0


def test_fitted_law_follows_confidence_on_other_data() -> None:
    rng = np.random.default_rng(17)
    truth = 10.0 ** rng.uniform(3.0, 5.0, 4000)
    sure = 1.0 - rng.beta(1.0, 4.0, 4000)
    scatter = 0.5 * (1.0 - sure) ** 0.6
    flux = 0.9 * truth * sure**0.4 * np.exp(scatter * rng.laplace(0.0, 1.0, 4000))
    sigma = np.full(4000, 1.0)
    fit = slice(0, 2000)
    law = fit_flux_law(flux[fit], sigma[fit], sure[fit], truth[fit])
    assert law.flux_scale == pytest.approx(1 / 0.9, rel=0.03)
    assert law.flux_power == pytest.approx(-0.4, abs=0.05)
    assert law.error_power == pytest.approx(0.6, abs=0.15)
    better = law.flux_scale * sure**law.flux_power * flux
    error = law.flux_error * (1.0 - sure) ** law.error_power * better
    for part in (sure < 0.8, sure > 0.8):
        rows = np.flatnonzero(part)[np.flatnonzero(part) >= 2000]
        score = score_flux(better[rows], error[rows], truth[rows])
        assert score.coverage == pytest.approx(0.6827, abs=0.05)
        assert abs(score.bias) < 0.03


def test_law_without_fluxes_changes_nothing() -> None:
    empty = np.zeros(0)
    assert fit_flux_law(empty, empty, empty, empty) == FluxLaw(1.0, 0.0, 0.0, 0.0)
    dark = np.full(30, -1.0)
    law = fit_flux_law(dark, np.ones(30), np.ones(30), np.ones(30))
    assert (law.flux_scale, law.flux_power) == (1.0, 0.0)


# The whole


def outcomes(n: int, *, perfect: bool = True, seed: int = 8) -> TidalOutcomes:
    """Return what someone who knows the truth, or nothing, would answer."""
    rng = np.random.default_rng(seed)
    size = 12
    kind = rng.integers(0, 4, n)
    debris = np.zeros((n, 3, size, size), np.float32)
    for k, one in enumerate(kind):
        if one:
            debris[k, one - 1, 2:9, 3:8] = to_njy(rng.uniform(25.0, 31.0))
    light = np.full((n, size, size), 1.0, np.float32)
    scale = np.full(n, 2.0, np.float32)
    group = rng.integers(0, 2, n)
    limit = np.where(group == 0, 29.8, 30.7)
    truth = truth_masks(debris, light, limit - 1.0, scale)
    chance = np.concatenate([truth.mask, truth.any_mask[:, None]], axis=1).astype(np.float32)
    if not perfect:
        chance = rng.random(chance.shape, dtype=np.float32)
    presence = np.concatenate([truth.visible, truth.visible.any(axis=1)[:, None]], axis=1).astype(float)
    if not perfect:
        presence = rng.random(presence.shape)
    regions = region_truth(truth.mask, truth.ignore, truth.any_mask, truth.any_ignore, light > 0)
    brightness, contrast = feature_depth(debris.sum(axis=1), light, scale)
    classes = debris.sum(axis=(2, 3)) * 4.0
    true_flux = np.concatenate([classes, classes.sum(axis=1, keepdims=True)], axis=1)
    factor = np.exp(rng.normal(0.0, 0.1, true_flux.shape))
    return TidalOutcomes(
        groups=("40 visits", "200 visits"),
        group=group,
        kind=kind,
        visible=truth.visible,
        presence=presence,
        counts=count_pixels(chance, regions, mask_threshold=HALF.mask),
        surface_brightness=brightness,
        contrast=contrast,
        limit=limit,
        true_flux=true_flux,
        total_flux=1.2 * true_flux,
        flux=true_flux * factor,
        flux_error=0.1 * true_flux,
        confidence=rng.uniform(0.5, 1.0, true_flux.shape),
        traits={"cirrus": rng.random(n) < 0.3},
        covariates={"host_magnitude": rng.uniform(14, 18, n), "fwhm": rng.uniform(0.7, 1.4, n)},
    )


def test_who_knows_the_truth_meets_every_bar() -> None:
    parts = [outcomes(700, seed=seed) for seed in (8, 9)]
    joined = TidalOutcomes.concatenate(parts)
    assert len(joined) == 1400
    evaluation = evaluate_tides(joined, HALF)
    bars = check_tidal_bars(evaluation)
    assert len(bars) == 18
    assert [bar.what for bar in bars if not bar.met] == []
    assert (evaluation.pixels[ALL].pooled == 1.0).all()
    assert (evaluation.pixels["40 visits"].median == 1.0).all()
    assert evaluation.confusion[ALL].accuracy == 1.0
    assert evaluation.flags.share == {ALL: 0.0, "cirrus": 0.0}
    half = evaluation.half
    assert half is not None
    # Visible is: brighter than a magnitude above the limit.
    assert half.at([29.8, 30.7]) == pytest.approx([28.8, 29.7], abs=0.1)
    # Halves are each measured on their own hosts.
    assert evaluate_tides(joined[:700], HALF).makeup == evaluate_tides(parts[0], HALF).makeup


def test_who_knows_nothing_misses() -> None:
    evaluation = evaluate_tides(outcomes(600, perfect=False), HALF)
    missed = {bar.what for bar in check_tidal_bars(evaluation) if not bar.met}
    assert {"debris: pooled IoU", "debris or not: ROC area", "undisturbed hosts flagged"} <= missed
    assert evaluation.roc[ALL] == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("number", [0, 1, 300])
def test_text_tables_and_page(number: int, tmp_path) -> None:
    seen = outcomes(number)
    evaluation = evaluate_tides(seen, HALF)
    text = tidal_text(evaluation, "A model on an exam")
    assert max(map(len, text.splitlines())) <= 150
    assert "states no thresholds" in text
    table = tidal_table(evaluation, {"model": "a model"})
    assert table.schema.equals(TIDAL_EVALUATION_SCHEMA)
    assert table.schema.metadata[b"model"] == b"a model"
    hosts = hosts_table(seen, evaluation)
    assert hosts.num_rows == number
    assert hosts["kind"].type == pa.string()
    picture = tmp_path / "page.png"
    draw_tidal_evaluation(picture, seen, evaluation, title="A model on an exam")
    assert picture.read_bytes().startswith(b"\x89PNG")
