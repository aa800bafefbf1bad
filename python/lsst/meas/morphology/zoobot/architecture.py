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

"""Which of timm's encoders a checkpoint's weights belong to."""

from __future__ import annotations

__all__ = ("EncoderSpec", "find_encoder")

import dataclasses
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError, MissingExtraError, ModelPackageError
from ..model.architecture_spec import TimmArchitecture
from ..model.encoders import build_encoder

_LOG = logging.getLogger(__name__)

type Weights = Mapping[str, torch.Tensor]

_KNOWN = (
    "convnext_nano",
    "convnext_pico",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "convnext_large",
    "efficientnet_b0",
    "tf_efficientnetv2_s",
    "resnet18",
    "resnet50",
    "resnet101",
    "maxvit_rmlp_tiny_rw_256",
    "maxvit_tiny_rw_224",
    "maxvit_rmlp_small_rw_224",
    "maxvit_rmlp_base_rw_224",
    "maxvit_large_tf_224",
    "vit_so400m_patch14_siglip_224",
)
"""Encoders of published models of Zoobot's, tried first."""

_FAMILIES = {
    "stages.0.blocks.0.conv_dw.weight": ("convnext*", "test_convnext*"),
    "stages.0.blocks.0.dwconv.weight": ("convnext*",),
    "conv_stem.weight": ("efficientnet*", "tf_efficientnet*", "mobilenet*", "mnasnet*", "test_efficientnet*"),
    "layer1.0.conv1.weight": ("resnet*", "*resnet*", "resnext*", "seresn*", "test_resnet*"),
    "stem.conv1.weight": ("maxvit*", "coatnet*", "maxxvit*", "coatnext*"),
    "patch_embed.proj.weight": ("vit*", "deit*", "swin*", "eva*", "beit*", "test_vit*"),
}
"""Patterns of names to search, by a weight that is only in the family."""

_PUBLISHED = re.compile(
    r"(?:.*/)?(?:zoobot-encoder|baseline-encoder)-(?:greyscale-|classification-|regression-)?(.+)"
)
"""Names of published encoders; the last part is mostly timm's name."""

_IGNORED = re.compile(
    "drop|pretrained|checkpoint|cache|path|dir|num_classes|in_chans|script|export|features_only"
)
"""Arguments of timm's that change nothing in a prediction, or read files."""


@dataclasses.dataclass(frozen=True)
class EncoderSpec:
    """An encoder that a checkpoint's weights fit exactly."""

    architecture: TimmArchitecture
    """What to build."""

    channels: int
    """Number of channels of its images: 3, or 1 for grey ones."""

    width: int
    """Length of its vector."""

    how: str
    """How it was found, for people."""

    weights: Weights
    """The weights, all of them, under the names of the encoder built."""


def find_encoder(
    weights: Weights,
    *,
    source: str,
    size: int = 224,
    name: str | None = None,
    stated: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> EncoderSpec:
    """Find the encoder that weights belong to.

    Parameters
    ----------
    weights
        Weights of the encoder, by name.
    source
        Where they come from, for error messages.
    size
        Side of the images.
    name
        The encoder, as the user knows it; no other is tried.
    stated
        Names that the checkpoint gives; if none fits, the shapes decide.
    options
        Arguments of timm's that the checkpoint was made with.

    Returns
    -------
    spec
        The encoder and its weights.

    Raises
    ------
    CheckpointError
        Raised if no encoder of timm's has just these weights.
    MissingExtraError
        Raised if timm is missing.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "train", "import models of Zoobot's") from error
    kept = {
        key: value
        for key, value in (options or {}).items()
        if not _IGNORED.search(key) and isinstance(value, bool | int | float | str)
    }
    reasons: list[str] = []
    for candidate, how in _candidates(weights, name, stated):
        try:
            return _fit(_describe(candidate, kept, size), weights, how)
        except (CheckpointError, ModelPackageError) as error:
            if how != _INFERRED:
                reasons.append(str(error))
    tried = "".join(f" {reason}" for reason in reasons)
    raise CheckpointError(
        f"{source}: no encoder of timm {timm.__version__} that was tried has exactly these {len(weights)}"
        f" weights (such as {', '.join(sorted(weights)[:2])}).{tried} If you know the encoder, name it with"
        " --architecture."
    )


_INFERRED = "inferred from the shapes of the weights"


def _candidates(weights: Weights, name: str | None, stated: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names to try, the likely ones first, each with its reason."""
    import timm

    if name is not None:
        yield name, "named by the user"
        return
    tried = set()
    for given in stated:
        match = _PUBLISHED.fullmatch(given)
        plain = match[1] if match else given.rpartition("/")[2]
        # Zoobot before 2.0 did not say which efficientnet.
        plain = "efficientnet_b0" if plain == "efficientnet" else plain
        tried.add(plain)
        yield plain, f"named in the checkpoint as {given}"
    for key, patterns in _FAMILIES.items():
        if key in weights:
            found = {model for pattern in patterns for model in timm.list_models(pattern)} - tried
            likely = [known for known in _KNOWN if known in found]
            others = sorted(found - set(likely), key=lambda model: (len(model), model))
            yield from ((candidate, _INFERRED) for candidate in (*likely, *others))


def _describe(name: str, options: Mapping[str, Any], size: int) -> TimmArchitecture:
    """Return the encoder of a name, for images of a size.

    Encoders that are tied to the size of their images mostly have it in
    their names; timm has many of them for another size only.
    """
    import timm

    plain = name.partition(".")[0]
    if not timm.is_model(plain):
        stem = re.sub(r"_\d+$", "", plain)
        others = [
            model for model in timm.list_models(f"{stem}_*") if re.fullmatch(r"_\d+", model[len(stem) :])
        ]
        if not others:
            raise CheckpointError(f"timm {timm.__version__} knows no encoder {plain!r}.")
        plain = others[0]
    config: Any = timm.get_pretrained_cfg(plain)
    if config is not None and config.fixed_input_size and config.input_size[-1] != size:
        options = {"img_size": size, **options}
    try:
        return TimmArchitecture(name=plain, options=dict(options) or None)
    except ValueError as error:
        raise CheckpointError(f"The encoder {plain!r} can't be described: {error}.") from error


def _fit(architecture: TimmArchitecture, weights: Weights, how: str) -> EncoderSpec:
    """Return the encoder with its weights, if they are just these."""
    import timm

    config: Any = timm.get_pretrained_cfg(architecture.name)
    first, classifier = (_first(getattr(config, key, None)) for key in ("first_conv", "classifier"))
    stem = weights.get(f"{first}.weight")
    if stem is None or stem.ndim != 4 or stem.shape[1] > 4:
        raise CheckpointError(f"{architecture.name!r} begins with {first!r}, which these weights lack.")
    kept = {name: value for name, value in weights.items() if not name.startswith(f"{classifier}.")}
    # No memory is used, and no time for random numbers.
    with torch.device("meta"):
        encoder, width = build_encoder(architecture, int(stem.shape[1]))
    problem = _difference(encoder, kept)
    if problem and (renamed := _renamed(encoder, kept)) is not None and not _difference(encoder, renamed):
        kept, problem = dict(renamed), ""
    if problem:
        raise CheckpointError(f"{architecture.name!r} does not fit: {problem}.")
    if how == _INFERRED:
        _LOG.warning("The checkpoint does not name its encoder; its weights fit %s.", architecture.name)
    return EncoderSpec(architecture, int(stem.shape[1]), width, how, kept)


def _first(value: Any) -> str:
    """Return the only or the first of timm's names of a module."""
    return str(value if isinstance(value, str) or not value else value[0])


def _difference(encoder: nn.Module, weights: Weights) -> str:
    """Say how weights differ from an encoder's; empty if they don't."""
    wanted = encoder.state_dict()
    if missing := sorted(set(wanted) - set(weights)):
        return f"it has {missing[0]!r} and {len(missing) - 1} more that these weights lack"
    if extra := sorted(set(weights) - set(wanted)):
        return f"it lacks {extra[0]!r} and {len(extra) - 1} more of these weights"
    for name, value in wanted.items():
        if value.shape != weights[name].shape:
            return f"its {name!r} is {tuple(value.shape)}, not {tuple(weights[name].shape)}"
    return ""


def _renamed(encoder: nn.Module, weights: Weights) -> Weights | None:
    """Return weights under the names of today's timm, if it knows how."""
    rename = getattr(sys.modules[type(encoder).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return None
    try:
        renamed = rename(dict(weights), encoder)
    # A function of timm's, given what it may not be meant for.
    except Exception as error:
        _LOG.debug("timm can't rename the weights: %s", error)
        return None
    return renamed if isinstance(renamed, Mapping) else None
