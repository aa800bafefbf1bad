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
"""Inference: two backends, one answer, whatever the batches are."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lsst.meas.morphology.errors import DeviceError, MissingExtraError, ModelMismatchError, ModelPackageError
from lsst.meas.morphology.inference import backend as backend_module
from lsst.meas.morphology.inference.backend import choose, installed_backends, make_backend
from lsst.meas.morphology.inference.engine import (
    MAX_ENGINES,
    Engine,
    EngineOptions,
    clear_engines,
    get_engine,
)
from lsst.meas.morphology.inference.golden import TOLERANCES, check_golden
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import ModelPackage, write_package

Stamps = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]
MakePackage = Callable[..., Path]
ALPHA_TOLERANCE = 5e-4
BACKENDS = ("onnx", "torch")


def cpu(**changes: Any) -> EngineOptions:
    return EngineOptions(**{"device": "cpu", **changes})


@pytest.fixture(autouse=True)
def _no_engines_left() -> Any:
    yield
    clear_engines()


@pytest.fixture(scope="module")
def package(tiny_package: Path) -> ModelPackage:
    return ModelPackage.open(tiny_package)


@pytest.fixture(scope="module")
def stamps(package: ModelPackage) -> Stamps:
    """Return stamps with bright objects, invalid pixels, NaN and nothing."""
    rng = np.random.default_rng(7)
    size = package.manifest.stamp_size
    flux = rng.normal(scale=30.0, size=(23, 3, size, size)).astype(np.float32)
    flux *= np.geomspace(1.0, 1e5, len(flux), dtype=np.float32)[:, None, None, None]
    valid = rng.random(flux.shape) > 0.2
    flux[~valid] = np.nan
    flux[3], valid[3] = 0.0, False
    valid[4, 2] = False
    return flux, valid


# The answers


@pytest.mark.parametrize("backend", BACKENDS)
def test_golden_outputs(package: ModelPackage, backend: str) -> None:
    report = check_golden(package, cpu(backend=backend))
    assert report.passed
    assert report.count == 4
    assert report.max_abs_alpha is not None
    assert report.max_abs_embedding is not None
    assert max(report.max_abs_alpha, report.max_abs_embedding) < 5e-4
    assert report.description in str(report)
    assert "reproduced by" in str(report)


def test_the_backends_agree(package: ModelPackage, stamps: Stamps) -> None:
    first, second = (Engine.from_package(package, cpu(backend=name)).predict(*stamps) for name in BACKENDS)
    assert first.alpha is not None
    assert second.alpha is not None
    tree = package.manifest.tree
    assert first.alpha.shape == (23, 5, tree.n_answers)
    assert first.alpha.dtype == np.float32
    assert np.isfinite(first.alpha).all()
    assert np.all(first.alpha > 0)
    assert first.alpha.std(axis=0).max() > 0.01, "the stamps must not all look alike"
    assert np.abs(first.alpha - second.alpha).max() < ALPHA_TOLERANCE
    assert first.embedding is not None
    assert second.embedding is not None
    assert np.abs(first.embedding - second.embedding).max() < 5e-4
    assert first.mask is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_and_order_do_not_matter(package: ModelPackage, stamps: Stamps, backend: str) -> None:
    flux, valid = stamps
    engine = Engine.from_package(package, cpu(backend=backend, batch_size=64))
    together = engine.predict(flux, valid).alpha
    assert together is not None
    for batch_size in (1, 7, 23):
        apart = Engine.from_package(package, cpu(backend=backend, batch_size=batch_size)).predict(flux, valid)
        assert np.abs(apart.alpha - together).max() < ALPHA_TOLERANCE
    order = np.random.default_rng(1).permutation(len(flux))
    shuffled = engine.predict(flux[order], valid[order]).alpha
    assert np.abs(shuffled - together[order]).max() < ALPHA_TOLERANCE
    again = engine.predict(flux, valid).alpha
    np.testing.assert_array_equal(again, together)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_stamps(package: ModelPackage, backend: str) -> None:
    engine = Engine.from_package(package, cpu(backend=backend))
    size = package.manifest.stamp_size
    empty = np.zeros((0, 3, size, size), np.float32)
    predictions = engine.predict(empty, empty.astype(np.bool_))
    assert predictions.alpha is not None
    assert predictions.embedding is not None
    assert predictions.alpha.shape == (0, 5, package.manifest.tree.n_answers)
    assert predictions.embedding.shape == (0, 10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_memory_layout(package: ModelPackage, stamps: Stamps, backend: str) -> None:
    """Views, other orders and read-only arrays are as good as any."""
    flux, valid = stamps
    engine = Engine.from_package(package, cpu(backend=backend, batch_size=8))
    expected = engine.predict(flux[::2], valid[::2]).alpha
    fortran = np.asfortranarray(flux[::2])
    fortran.flags.writeable = False
    np.testing.assert_array_equal(engine.predict(fortran, valid[::2]).alpha, expected)
    frozen = np.ascontiguousarray(flux[::2])
    frozen.flags.writeable = False
    np.testing.assert_array_equal(engine.predict(frozen, valid[::2]).alpha, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("changes", "alpha", "embedding"),
    [
        ({"votes": None, "training": {"data": "nothing", "seed": 1}}, False, True),
        ({"embedding": None}, True, False),
    ],
)
def test_either_head_alone(
    make_package: MakePackage, backend: str, changes: dict[str, Any], alpha: bool, embedding: bool
) -> None:
    package = ModelPackage.open(make_package(**changes))
    report = check_golden(package, cpu(backend=backend))
    assert report.passed
    assert (report.max_abs_alpha is not None) == alpha
    assert (report.max_abs_embedding is not None) == embedding


def test_stamps_of_another_model(package: ModelPackage, stamps: Stamps) -> None:
    flux, valid = stamps
    engine = Engine.from_package(package, cpu())
    for bad in (flux[:, :2], flux[..., :-1], flux[0], np.swapaxes(flux, 1, 3)):
        with pytest.raises(ModelMismatchError, match=r"tiny 1\.0\.0 takes stamps of shape \(n, 3, 16, 16\)"):
            engine.predict(bad, np.ones(bad.shape, np.bool_))
    with pytest.raises(ModelMismatchError, match="validity"):
        engine.predict(flux, valid[:1])


def test_wrong_golden_outputs_are_seen(package: ModelPackage, tmp_path: Path) -> None:
    golden = package.golden()
    for change, words in ((np.float32(0.01), "differs by at most 0.01"), (np.float32(np.nan), "nan")):
        golden["alpha"][0, 0, 0] += change
        other = write_package(
            tmp_path / "other.morph",
            manifest=package.manifest,
            weights=package.read_weights(),
            program=package.program(),
            golden=golden,
            card="",
        )
        report = check_golden(other, cpu(backend="torch"))
        assert not report.passed
        assert words in str(report)
        assert "NOT reproduced" in str(report)


def test_tolerance_grows_with_the_value() -> None:
    tolerance = TOLERANCES["float32"]
    golden = np.array([1.0, 100.0, 1000.0], np.float32)
    assert tolerance.allows(golden + np.float32([4e-4, 4e-4, 4e-3]), golden)
    assert not tolerance.allows(golden + np.float32([6e-4, 0.0, 0.0]), golden)
    assert not tolerance.allows(golden * np.float32(np.nan), golden)


def test_autocast_is_near(package: ModelPackage) -> None:
    report = check_golden(package, cpu(backend="torch", precision="autocast"))
    assert report.passed
    assert report.max_abs_alpha is not None
    assert report.max_abs_alpha > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Guards may run slower")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_network(package: ModelPackage, stamps: Stamps) -> None:
    options = cpu(backend="torch", compile=True, batch_size=8)
    compiled = Engine.from_package(package, options).predict(*stamps).alpha
    plain = Engine.from_package(package, cpu(backend="torch")).predict(*stamps).alpha
    assert np.abs(compiled - plain).max() < ALPHA_TOLERANCE


# Memory


class Small:
    """A backend that runs out of memory above some batch size."""

    name = "small"
    device = "cpu"

    def __init__(self, manifest: Manifest, limit: int) -> None:
        self.manifest = manifest
        self.limit = limit
        self.batches: list[int] = []

    def run(
        self, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[np.float32]]:
        self.batches.append(len(flux))
        if len(flux) > self.limit:
            raise MemoryError(f"can't do {len(flux)}\nat all")
        mean = np.where(valid, flux, 0).mean(axis=(1, 2, 3))
        votes = self.manifest.votes
        assert votes is not None
        shape = (len(flux), votes.samples, self.manifest.tree.n_answers)
        return {
            "alpha": np.broadcast_to(mean[:, None, None], shape),
            "embedding": np.broadcast_to(mean[:, None], (len(flux), 10)),
        }


def test_out_of_memory_halves_the_batch(
    package: ModelPackage, stamps: Stamps, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Small(package.manifest, limit=5)
    engine = Engine(package.manifest, backend, batch_size=16)
    with caplog.at_level(logging.WARNING):
        predictions = engine.predict(*stamps)
    assert backend.batches == [16, 8, 4, 4, 4, 4, 4, 3]
    assert engine.batch_size == 4
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "small on cpu ran out of memory; continuing with batches of 8 stamps (can't do 16)",
        "small on cpu ran out of memory; continuing with batches of 4 stamps (can't do 8)",
    ]
    flux, valid = stamps
    expected = np.where(valid, flux, 0).mean(axis=(1, 2, 3))
    np.testing.assert_array_equal(predictions.alpha[:, 0, 0], expected)
    engine.predict(*stamps)
    assert backend.batches[8:] == [4, 4, 4, 4, 4, 3]


def test_out_of_memory_for_one_stamp(package: ModelPackage, stamps: Stamps) -> None:
    engine = Engine(package.manifest, Small(package.manifest, limit=0), batch_size=2)
    with pytest.raises(MemoryError, match="single stamp: can't do 1"):
        engine.predict(*stamps)


def test_fixed_batches_are_filled_up(package: ModelPackage, stamps: Stamps) -> None:
    backend = Small(package.manifest, limit=10)
    engine = Engine(package.manifest, backend, batch_size=10, fixed_batch=True)
    predictions = engine.predict(*stamps)
    assert backend.batches == [10, 10, 10]
    loose = Engine(package.manifest, backend, batch_size=10).predict(*stamps)
    np.testing.assert_array_equal(predictions.alpha, loose.alpha)


class Raising:
    """Stands in for a session or network that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, *args: Any) -> Any:
        raise self.error

    __call__ = run


@pytest.mark.parametrize(
    ("backend", "error", "expected"),
    [
        ("torch", torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError),
        ("torch", RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), MemoryError),
        ("torch", RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), MemoryError),
        ("torch", RuntimeError("CUDA error: an illegal memory access was encountered"), RuntimeError),
        ("torch", ValueError("out of memory"), ValueError),
        (
            "onnx",
            Exception("BFCArena::AllocateRawInternal Failed to allocate memory for 8 bytes"),
            MemoryError,
        ),
        ("onnx", Exception("CUDA failure 2: out of memory ; GPU=0"), MemoryError),
        ("onnx", Exception("std::bad_alloc"), MemoryError),
        ("onnx", ValueError("Required inputs (['flux']) are missing"), ValueError),
    ],
)
def test_libraries_say_it_differently(
    package: ModelPackage, stamps: Stamps, backend: str, error: Exception, expected: type[Exception]
) -> None:
    runner = make_backend(package, cpu(backend=backend))
    setattr(runner, "_session" if backend == "onnx" else "_network", Raising(error))
    with pytest.raises(expected) as caught:
        runner.run(*stamps)
    assert type(caught.value) is expected
    assert str(error) in str(caught.value)


# Devices and backends


def test_options_are_checked() -> None:
    for changes in ({"backend": "jax"}, {"device": "tpu"}, {"precision": "int8"}):
        with pytest.raises(ValueError, match="is none of"):
            EngineOptions(**changes)
    for changes in ({"batch_size": 0}, {"threads": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            EngineOptions(**changes)


def lacking(monkeypatch: pytest.MonkeyPatch, *, modules: tuple[str, ...] = (), gpu: bool = False) -> None:
    """Pretend that modules are missing, and that there is (no) GPU."""
    monkeypatch.setattr(backend_module, "_installed", lambda name: name not in modules)
    monkeypatch.setattr(backend_module, "_torch_lacks_gpu", lambda: "" if gpu else "there is none")
    monkeypatch.setattr(backend_module, "_onnx_lacks_gpu", lambda: "" if gpu else "it has none")


@pytest.mark.parametrize(
    ("backend", "device", "modules", "gpu", "expected"),
    [
        ("auto", "auto", (), False, ("onnx", "cpu")),
        ("auto", "cpu", (), False, ("onnx", "cpu")),
        ("auto", "auto", ("onnxruntime",), False, ("torch", "cpu")),
        ("auto", "auto", (), True, ("torch", "cuda")),
        ("auto", "cuda", (), True, ("torch", "cuda")),
        ("auto", "cpu", (), True, ("onnx", "cpu")),
        ("onnx", "auto", (), True, ("onnx", "cuda")),
        ("onnx", "auto", (), False, ("onnx", "cpu")),
        ("torch", "auto", (), False, ("torch", "cpu")),
        ("torch", "cpu", (), True, ("torch", "cpu")),
    ],
)
def test_what_auto_means(
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    device: str,
    modules: tuple[str, ...],
    gpu: bool,
    expected: tuple[str, str],
) -> None:
    lacking(monkeypatch, modules=modules, gpu=gpu)
    assert choose(EngineOptions(backend=backend, device=device)) == expected


@pytest.mark.parametrize("backend", ["auto", "onnx", "torch"])
def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    lacking(monkeypatch)
    with pytest.raises(DeviceError, match="device='cuda' was asked for, but (there is|it has) none"):
        choose(EngineOptions(backend=backend, device="cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("backend", "words"), [("torch", "torch"), ("auto", "torch"), ("onnx", "CUDA provider")]
)
def test_no_gpu_here(package: ModelPackage, backend: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        Engine.from_package(package, EngineOptions(backend=backend, device="cuda"))


def test_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, modules=("onnxruntime",))
    assert installed_backends() == ("torch",)
    with pytest.raises(MissingExtraError, match=r"lsst-meas-morphology\[cpu\]"):
        choose(cpu(backend="onnx"))
    with pytest.raises(MissingExtraError, match=r"lsst-meas-morphology\[gpu\]"):
        choose(EngineOptions(backend="onnx", device="cuda"))
    lacking(monkeypatch, modules=("torch",))
    with pytest.raises(MissingExtraError, match="torch"):
        choose(cpu(backend="torch"))


def test_gpu_provider_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, package: ModelPackage, caplog: pytest.LogCaptureFixture
) -> None:
    """A CUDA build without a GPU: an error if asked for, else the CPU."""
    from lsst.meas.morphology.inference import onnx_backend

    lacking(monkeypatch, gpu=True)
    session = onnx_backend._session

    def without_gpu(package: Any, options: Any, providers: list[Any]) -> Any:
        return session(package, options, providers[-1:])

    monkeypatch.setattr(onnx_backend, "_session", without_gpu)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    with pytest.raises(DeviceError, match="could not start its CUDAExecutionProvider"):
        make_backend(package, EngineOptions(backend="onnx", device="cuda"))
    with caplog.at_level(logging.WARNING):
        assert make_backend(package, EngineOptions(backend="onnx")).device == "cpu"
    assert "Using the CPU: onnxruntime" in caplog.text


def test_onnx_without_tensorrt_is_float32(package: ModelPackage) -> None:
    with pytest.raises(DeviceError, match="only through TensorRT"):
        make_backend(package, cpu(backend="onnx", precision="autocast"))
    with pytest.raises(DeviceError, match="TensorRT, which needs device='cuda'"):
        make_backend(package, cpu(backend="onnx", compile=True))


def test_the_choice_is_logged(package: ModelPackage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lsst.meas.morphology.inference"):
        engine = Engine.from_package(package, cpu(threads=2))
    (record,) = [record for record in caplog.records if record.levelno == logging.INFO]
    assert record.name == "lsst.meas.morphology.inference.engine"
    assert engine.description in record.getMessage()
    assert "tiny 1.0.0" in record.getMessage()
    assert "2 CPU thread(s)" in record.getMessage()
    assert "onnxruntime" in engine.description
    assert "on cpu" in engine.description


def test_torch_settings_are_restored(package: ModelPackage, stamps: Stamps) -> None:
    before = torch.get_num_threads()
    seen = []
    engine = Engine.from_package(package, cpu(backend="torch", threads=before + 1))
    backend: Any = engine._backend
    backend._network.register_forward_pre_hook(lambda *args: seen.append(torch.get_num_threads()))
    engine.predict(*stamps)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    backend._network = Raising(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        engine.predict(*stamps)
    assert torch.get_num_threads() == before


# Packages that do not fit


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_another_network(package: ModelPackage, backend: str) -> None:
    changes = {"architecture": package.manifest.architecture.model_copy(update={"depths": (2, 1)})}
    other = dataclasses.replace(package, manifest=package.manifest.model_copy(update=changes))
    if backend == "torch":
        with pytest.raises(ModelPackageError, match="the weights don't fit the network"):
            make_backend(other, cpu(backend="torch"))
    else:
        assert check_golden(other, cpu(backend="onnx")).passed, "the program is whole in itself"


def test_program_of_another_model(package: ModelPackage, make_package: MakePackage) -> None:
    changes = {"votes": None, "training": {"data": "nothing", "seed": 1}}
    stranger = ModelPackage.open(make_package(**changes))
    other = dataclasses.replace(package, manifest=stranger.manifest)
    with pytest.raises(ModelPackageError, match="the program takes .*'dropout'"):
        make_backend(other, cpu(backend="onnx"))


def test_program_that_does_not_load(package: ModelPackage) -> None:
    members = {**package._members, "program.onnx": package.program().replace(b"Conv", b"Cnov")}
    other = dataclasses.replace(package, _members=members)
    with pytest.raises(
        ModelPackageError, match=r"tiny-1\.0\.0\.morph: onnxruntime .* can't load the program"
    ):
        make_backend(other, cpu(backend="onnx"))


# The cache


def test_one_engine_per_model_and_options(package: ModelPackage) -> None:
    opened: list[str] = []

    def open_package() -> ModelPackage:
        opened.append("package")
        return package

    engine = get_engine("a", open_package, cpu())
    assert get_engine("a", open_package, cpu()) is engine
    assert get_engine("a", open_package, EngineOptions(device="cpu")) is engine
    assert get_engine("a", open_package, cpu(batch_size=2)) is not engine
    assert get_engine("b", open_package, cpu()) is not engine
    assert len(opened) == 3


def test_the_cache_is_bounded(package: ModelPackage) -> None:
    first = get_engine("0", lambda: package, cpu())
    for index in range(1, MAX_ENGINES):
        get_engine(str(index), lambda: package, cpu())
    assert get_engine("0", lambda: package, cpu()) is first
    get_engine("one more", lambda: package, cpu())
    assert get_engine("0", lambda: package, cpu()) is first, "it was used last but one"
    reopened = []
    get_engine("1", lambda: reopened.append(1) or package, cpu())  # type: ignore[func-returns-value]
    assert reopened


def test_threads_share_one_engine(package: ModelPackage, stamps: Stamps) -> None:
    opened: list[int] = []
    results: list[npt.NDArray[np.float32]] = []

    def work() -> None:
        engine = get_engine("shared", lambda: opened.append(1) or package, cpu(batch_size=5))  # type: ignore[func-returns-value]
        alpha = engine.predict(*stamps).alpha
        assert alpha is not None
        results.append(alpha)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert len(results) == 4
    for alpha in results[1:]:
        np.testing.assert_array_equal(alpha, results[0])


def test_a_failure_is_not_cached(package: ModelPackage) -> None:
    def fail() -> ModelPackage:
        raise ModelPackageError("corrupt")

    with pytest.raises(ModelPackageError, match="corrupt"):
        get_engine("a", fail, cpu())
    assert get_engine("a", lambda: package, cpu()) is not None


def test_heavy_libraries_are_imported_late() -> None:
    import subprocess

    code = (
        "import sys, lsst.meas.morphology.inference.engine, lsst.meas.morphology.inference.golden;"
        "print([m for m in ('torch', 'onnxruntime', 'onnx') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# With a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "options",
    [
        EngineOptions(backend="torch", device="cuda"),
        EngineOptions(backend="torch", device="cuda", precision="autocast"),
        EngineOptions(backend="torch", device="cuda", compile=True, batch_size=8),
        EngineOptions(backend="torch", device="cuda", compile=True, precision="autocast", batch_size=8),
        EngineOptions(backend="onnx", device="cuda"),
    ],
    ids=str,
)
def test_golden_outputs_on_a_gpu(package: ModelPackage, options: EngineOptions) -> None:
    if options.backend == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("this onnxruntime has no CUDA provider")
    report = check_golden(package, options)
    assert report.passed, str(report)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu(package: ModelPackage, stamps: Stamps) -> None:
    on_cpu = Engine.from_package(package, cpu(backend="onnx")).predict(*stamps).alpha
    for batch_size in (1, 7, 64):
        options = EngineOptions(backend="torch", device="cuda", batch_size=batch_size)
        on_gpu = Engine.from_package(package, options).predict(*stamps).alpha
        assert np.abs(on_gpu - on_cpu).max() < ALPHA_TOLERANCE


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_that_is_too_small(
    package: ModelPackage, stamps: Stamps, caplog: pytest.LogCaptureFixture
) -> None:
    flux, valid = (np.concatenate([array] * 400) for array in stamps)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    engine = Engine.from_package(package, EngineOptions(device="cuda", batch_size=len(flux)))
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 64e6) / total)
    try:
        with caplog.at_level(logging.WARNING):
            predictions = engine.predict(flux, valid)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "ran out of memory; continuing with batches of" in caplog.text
    assert np.isfinite(predictions.alpha).all()
