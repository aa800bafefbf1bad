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

"""From a trained network to a model package."""

from __future__ import annotations

__all__ = ("export_package", "export_program")

import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import MissingExtraError, ModelPackageError
from ..inference.golden import check_golden
from ..inference.options import EngineOptions
from ..model.manifest import Manifest
from ..model.network import MorphologyNetwork
from ..model.package import WEIGHTS, ModelPackage, write_package
from ..model.weights import TensorSpan, serialize_weights, tensor_spans

if TYPE_CHECKING:
    import onnx

_LOG = logging.getLogger(__name__)

_OPSET = 20


def export_package(
    path: str | os.PathLike[str],
    manifest: Manifest,
    network: MorphologyNetwork,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    card: str,
) -> ModelPackage:
    """Write a network as a package and try it with both backends.

    Parameters
    ----------
    path
        The package to write.
    manifest
        What the model is; its members are filled in.
    network
        The trained network, built from an equal manifest.
    flux
        Golden stamps (nJy per stamp pixel), of shape ``[n, b, s, s]``. Let
        them be few, and as different as those the model will meet.
    valid
        Which of their pixels were measured, of the same shape.
    card
        Description of the model for people, in Markdown.

    Returns
    -------
    package
        The package, read again.

    Raises
    ------
    MissingExtraError
        Raised if the packages that write ONNX programs are missing.
    ModelPackageError
        Raised if a backend does not reproduce the network's outputs.
    """
    network = network.cpu().eval()
    weights = {name: tensor.contiguous().numpy() for name, tensor in network.state_dict().items()}
    golden = {"flux": flux, "valid": valid, **_outputs(network, flux, valid)}
    program = export_program(network, flux, valid, tensor_spans(serialize_weights(weights)))
    write_package(path, manifest=manifest, weights=weights, program=program, golden=golden, card=card)
    package = ModelPackage.open(os.fspath(path))
    for backend in ("onnx", "torch"):
        report = check_golden(package, EngineOptions(backend=backend, device="cpu"))
        _LOG.info("Golden outputs of %s: %s.", path, report)
        if not report.passed:
            raise ModelPackageError(f"{path} is not usable: golden outputs {report}.")
    return package


def export_program(
    network: MorphologyNetwork,
    flux: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    spans: Mapping[str, TensorSpan],
) -> bytes:
    """Return a network as an ONNX program whose weights lie elsewhere.

    Parameters
    ----------
    network
        On the CPU, in evaluation mode.
    flux
        At least two example stamps.
    valid
        Which of their pixels were measured.
    spans
        Where each of the network's weights lies in the package's weights.

    Returns
    -------
    program
        Bytes of the ONNX model; numbers of stamps and samples are free.

    Raises
    ------
    MissingExtraError
        Raised if the packages that write ONNX programs are missing.
    """
    for module in ("onnx", "onnxscript"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingExtraError(module, "train", "write a model package") from error
    masks = _masks(network)
    stamps, samples = torch.export.Dim("n"), torch.export.Dim("t")
    with _quiet(), _plain_attention(network):
        exported = torch.onnx.export(
            network,
            (torch.from_numpy(flux), torch.from_numpy(valid), masks.repeat(2, 1)),
            input_names=["flux", "valid", "dropout"],
            output_names=list(network.outputs),
            dynamic_shapes=({0: stamps}, {0: stamps}, {0: samples} if network.head else None),
            opset_version=_OPSET,
            dynamo=True,
            # Optimising would change the weights, and so store them twice.
            optimize=False,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    _strip(model, drop_dropout=network.head is None)
    _refer(model, spans)
    return bytes(model.SerializeToString(deterministic=True))


def _masks(network: MorphologyNetwork) -> torch.Tensor:
    """Return the dropout masks, or one that does nothing."""
    return network.head.dropout_masks if network.head is not None else torch.ones(1, 1)


@torch.inference_mode()
def _outputs(
    network: MorphologyNetwork, flux: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.float32]]:
    outputs = network(torch.from_numpy(flux), torch.from_numpy(valid), _masks(network))
    return {name: value.numpy() for name, value in outputs.items()}


def _strip(model: onnx.ModelProto, *, drop_dropout: bool) -> None:
    """Remove what only debugging needs, and an input that nobody reads."""
    del model.metadata_props[:]
    graph = model.graph
    del graph.value_info[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output, graph):
        del item.metadata_props[:]
        item.doc_string = ""
    if drop_dropout:
        kept = [item for item in graph.input if item.name != "dropout"]
        del graph.input[:]
        graph.input.extend(kept)


def _refer(model: onnx.ModelProto, spans: Mapping[str, TensorSpan]) -> None:
    """Replace weights by references into the package's weights.

    Tensors that are no weights, such as the rendering's numbers, stay.
    """
    for tensor in model.graph.initializer:
        span = spans.get(tensor.name)
        if span is None:
            continue
        if tuple(tensor.dims) != span.shape:
            raise ModelPackageError(
                f"The exporter changed the shape of {tensor.name}: {tuple(tensor.dims)} for {span.shape}."
            )
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = tensor.EXTERNAL
        reference: dict[str, Any] = {"location": WEIGHTS, "offset": span.offset, "length": span.size}
        for key, value in reference.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)


@contextlib.contextmanager
def _plain_attention(network: torch.nn.Module) -> Iterator[None]:
    """Write attention as products, not as one operator.

    The exporter replaces that operator by another layout of memory than it
    had traced, and then fails in what follows.
    """
    fused: list[Any] = [module for module in network.modules() if getattr(module, "fused_attn", False)]
    try:
        for module in fused:
            module.fused_attn = False
        yield
    finally:
        for module in fused:
            module.fused_attn = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which tells of its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
