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

"""Simulated stamps, and whether they are what the pipeline would cut."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lsst.meas.morphology.model.manifest import FieldOfView
from lsst.meas.morphology.pixels.resample import axis_weights, resample
from lsst.meas.morphology.simulation.galaxies import Kind, draw_parameters
from lsst.meas.morphology.simulation.observing import (
    NATIVE_SCALE,
    add_noise,
    convolve,
    resampled_correlation,
    sky_sigma,
)
from lsst.meas.morphology.simulation.painting import paint
from lsst.meas.morphology.simulation.stamps import BLOCK, sample_stamps

ARRAYS = ("flux", "valid", "arcsec_per_px", "votes", "probabilities")


def test_stream_is_the_same_however_it_is_cut() -> None:
    whole = sample_stamps(7, 2 * BLOCK + 5, stamp_size=32)
    n = len(whole)
    parts = [
        sample_stamps(7, stop - start, stamp_size=32, start=start)
        for start, stop in ((0, 1), (1, BLOCK), (BLOCK, BLOCK + 3), (BLOCK + 3, n))
    ]
    for name in ARRAYS:
        together = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(together, getattr(whole, name))
    seeds = np.concatenate([part.parameters.seed for part in parts])
    np.testing.assert_array_equal(seeds, whole.parameters.seed)
    np.testing.assert_array_equal(
        np.concatenate([part.conditions.fwhm for part in parts]), whole.conditions.fwhm
    )


def test_another_seed_is_another_sky() -> None:
    assert not np.array_equal(sample_stamps(1, 4).flux, sample_stamps(2, 4).flux)


def test_no_stamps() -> None:
    none = sample_stamps(1, 0, stamp_size=16)
    assert none.flux.shape == (0, 3, 16, 16)
    assert none.votes.shape == none.probabilities.shape
    assert len(none.parameters) == 0


def test_shapes_types_and_field_of_view() -> None:
    view = FieldOfView(rule="radius", multiple=3.0, min_arcsec=12.8, max_arcsec=20.0)
    made = sample_stamps(3, 40, bands=("u", "z"), stamp_size=48, field_of_view=view, mix="natural")
    assert made.flux.shape == made.valid.shape == (40, 2, 48, 48)
    assert made.flux.dtype == np.float32
    assert made.valid.dtype == np.bool_
    assert np.isfinite(made.flux).all()
    side = made.arcsec_per_px * 48
    assert side.min() >= 12.8 - 1e-4
    assert side.max() <= 20.0 + 1e-4
    assert (made.flux[~made.valid] == 0.0).all()
    assert 0.9 < made.valid.mean() < 1.0


def test_faster_than_training_needs() -> None:
    import time

    sample_stamps(1, BLOCK)
    start = time.process_time()
    sample_stamps(1, 4 * BLOCK)
    assert 4 * BLOCK / (time.process_time() - start) > 150.0


@pytest.mark.parametrize("fwhm", [0.7, 1.2])
def test_fourier_path_agrees_with_galsim(fwhm: float) -> None:
    galsim_drawing = pytest.importorskip("lsst.meas.morphology.simulation.drawing")
    p = draw_parameters(np.random.default_rng(6), 60, mix="training")
    p = p[(p.kind < Kind.STAR) & (p.half_light < 1.7) & (p.disturbance == 0)][:10]
    assert len(p) == 10
    for k in range(len(p)):
        one = p[k : k + 1]
        drawn = galsim_drawing.draw_object(one, ("g", "i"), np.array([fwhm, fwhm]))
        size = drawn.shape[-1]
        assert size < 121
        fine = paint(one, ("g", "i"), size=2 * size, pixel_scale=0.1)
        fine = convolve(fine, np.full((1, 2), fwhm), np.array([0.1]))[0]
        # Shifted by half a pixel, each second one's centre is a native
        # pixel's.
        turn = np.exp(1j * np.pi * np.fft.fftfreq(2 * size))
        shifted = np.fft.ifft2(np.fft.fft2(fine) * turn[:, None] * turn).real
        ours = 4.0 * shifted[:, ::2, ::2]
        peak = drawn.max(axis=(1, 2))[:, None, None]
        assert np.abs((ours - drawn) / peak).max() < 0.003
        np.testing.assert_allclose(ours.sum(axis=(1, 2)), drawn.sum(axis=(1, 2)), rtol=0.02)


@pytest.mark.parametrize(("scale", "tolerance"), [(0.2, 0.02), (0.33, 0.04), (0.55, 0.06)])
def test_stamps_look_as_the_pipeline_cuts_them(scale: float, tolerance: float) -> None:
    galsim_drawing = pytest.importorskip("lsst.meas.morphology.simulation.drawing")
    p = draw_parameters(np.random.default_rng(8), 60, mix="training")
    p = p[(p.kind == Kind.DISK) & (p.axis_ratio > 0.3) & (p.disturbance == 0)][:4]
    bulge = p.bulge_half_light * 8.0 * scale / p.half_light
    p = dataclasses.replace(
        p, half_light=np.full(4, 8.0 * scale), bulge_half_light=bulge, magnitude=np.full(4, 18.0)
    )
    size, fwhm = 64, 0.8
    for k in range(4):
        one = p[k : k + 1]
        coadd = galsim_drawing.draw_object(one, ("r",), np.array([fwhm]))
        n = coadd.shape[-1]
        weights = axis_weights(np.array([(n - 1) / 2.0]), np.array([scale / NATIVE_SCALE]), size, n)
        cut = resample(coadd[:, :, None, :], weights, weights)[0, 0]
        fine = paint(one, ("r",), size=2 * size, pixel_scale=scale / 2.0)
        ours = convolve(fine, np.full((1, 1), fwhm), np.array([scale / 2.0]), boxes=3)
        ours = ours.reshape(size, 2, size, 2).sum(axis=(1, 3))
        # The centre of a bulge is sampled more coarsely at large scales.
        inner = slice(8, -8)
        assert np.abs(ours - cut)[inner, inner].max() < tolerance * cut.max()


@pytest.mark.parametrize("scale", [1.0, 1.6, 2.7])
def test_noise_is_that_of_resampled_pixels(scale: float) -> None:
    rng = np.random.default_rng(0)
    n, size = 30, 48
    length = int(size * scale) + 24
    white = rng.standard_normal((n, length, 1, length), dtype=np.float32)
    centre = length / 2.0 + rng.uniform(-0.5, 0.5, n)
    weights = axis_weights(centre, np.full(n, scale), size, length)
    cut = resample(white, weights, weights)
    ours = np.zeros((n, 1, size, size), dtype=np.float32)
    add_noise(rng, ours, ("r",), np.ones((n, 1)), np.ones((n, 1)), np.full(n, scale))
    for image in (cut, ours):
        variance = float(resampled_correlation(scale, 0.0)) ** 2
        assert image.var() == pytest.approx(variance, rel=0.04)
        neighbour = float(resampled_correlation(scale, 0.0) * resampled_correlation(scale, 1.0))
        assert (image[..., 1:] * image[..., :-1]).mean() == pytest.approx(neighbour, abs=0.04 * variance)
        assert (image[..., 1:, :] * image[..., :-1, :]).mean() == pytest.approx(
            neighbour, abs=0.04 * variance
        )


def test_depth_of_a_visit() -> None:
    # Five sigma of a point source of 0.9 arcsec in one visit in r is 23.9.
    sigma = float(sky_sigma("r", 1.0))
    limit = 5.0 * sigma * np.sqrt(2.266) * 0.9 / NATIVE_SCALE
    assert 31.4 - 2.5 * np.log10(limit) == pytest.approx(23.9, abs=1e-6)
    assert float(sky_sigma("r", 100.0)) == pytest.approx(sigma / 10.0)
