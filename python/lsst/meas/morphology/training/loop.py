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

"""The training loop: seeded step by step, resumable, ending in weights."""

from __future__ import annotations

__all__ = ("BatchObjective", "Trainer", "TrainingOptions")

import bisect
import copy
import dataclasses
import itertools
import logging
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch

from ..errors import DeviceError, MorphologyError
from ..model.manifest import Manifest
from ..model.network import MorphologyNetwork, build_network
from .batches import AugmentOptions, BatchStream, StampBatch, augment
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .labelled import StampArrays
from .optimizer import KernelOptimizer
from .voting import VotingObjective

_LOG = logging.getLogger(__name__)

_CHECKPOINT = "checkpoint.safetensors"

_FORMER = {"restarts": [], "precision": "auto", "start": ""}
"""Options that checkpoints did not always name, as they were then."""


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained; the same options give the same weights."""

    steps: int
    """Number of batches."""

    minutes: float = math.inf
    """Time after which training ends if it has not before. The learning
    rate then falls with time, and results depend on the machine's speed.
    """

    seed: int = 1
    """Seed of weights, order, augmentation and dropout."""

    learning_rate: float = 3e-3
    """Largest learning rate; see `KernelOptimizer`."""

    weight_decay: float = 0.02
    """Decay of the matrices and kernels, not of biases and norms."""

    warm_up: float = 0.05
    """Share of the run, or of a cycle, in which the learning rate rises."""

    restarts: tuple[int, ...] = ()
    """Steps at which the learning rate begins anew, in rising order, so that
    a training goes on from where a shorter one ended (Loshchilov & Hutter
    2017, arXiv:1608.03983).
    """

    average: float = 0.995
    """Decay of the running mean of the weights, which is what is kept."""

    augment: AugmentOptions = dataclasses.field(default_factory=AugmentOptions)
    """How stamps are varied."""

    checkpoint_steps: int = 200
    """Steps between checkpoints."""

    device: str = "cpu"
    """Where to train: ``cpu`` or ``cuda``."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's forward and backward pass; weights and losses are in
    float32 always. By default bfloat16 on a GPU, float32 else."""

    start: str = ""
    """Identity of the model whose weights the training begins with; none if
    they are new."""

    def __post_init__(self) -> None:
        bounds = (0, *self.restarts, self.steps)
        if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
            raise ValueError(f"The restarts {self.restarts} do not rise between 0 and {self.steps} steps.")
        if self.restarts and math.isfinite(self.minutes):
            raise ValueError("A training with restarts ends after its steps, not after minutes.")

    @property
    def mixed(self) -> bool:
        """Whether the network runs in bfloat16."""
        return self.precision == "bfloat16" or (self.precision == "auto" and self.device != "cpu")

    def cycle(self, step: int) -> tuple[int, int]:
        """Return the first step of the cycle of a step, and its length."""
        bounds = (0, *self.restarts, self.steps)
        last = min(bisect.bisect_right(bounds, step), len(bounds) - 1)
        return bounds[last - 1], bounds[last] - bounds[last - 1]


class BatchObjective(Protocol):
    """What a training makes small."""

    def loss(self, network: MorphologyNetwork, batch: StampBatch, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of a batch, a scalar.

        Parameters
        ----------
        network
            In training mode.
        batch
            On the network's device.
        generator
            Source of random numbers, on the CPU.
        """
        ...

    def measure(self, network: MorphologyNetwork, stamps: StampArrays) -> dict[str, float]:
        """Return figures of stamps that are held back.

        Parameters
        ----------
        network
            In evaluation mode.
        stamps
            What is measured.

        Returns
        -------
        figures
            For the curves; ``validation_loss`` is the loss.
        """
        ...

    def shown(self, figures: Mapping[str, float]) -> str:
        """Return the most telling figures in words, for the log."""
        ...


class Trainer:
    """Trains the network of one manifest.

    Parameters
    ----------
    manifest
        The model to train.
    options
        How.
    directory
        Where checkpoints lie. If there is one, training goes on from it.
    validation
        Stamps that are measured at each checkpoint, for the curves.
    objective
        What is made small; by default the likelihood of votes.
    prepare
        Changes the weights of the new network before anything is learnt.

    Raises
    ------
    DeviceError
        Raised if the device is not there.
    MorphologyError
        Raised if the checkpoint is of another run.
    """

    def __init__(
        self,
        manifest: Manifest,
        options: TrainingOptions,
        directory: pathlib.Path,
        validation: StampArrays,
        objective: BatchObjective | None = None,
        prepare: Callable[[MorphologyNetwork], None] | None = None,
    ) -> None:
        if options.device != "cpu" and not torch.cuda.is_available():
            raise DeviceError(f"Device {options.device!r} was asked for, but torch sees no CUDA device.")
        self._manifest = manifest
        self._options = options
        self._path = directory / _CHECKPOINT
        self._validation = validation
        self._device = torch.device(options.device)
        self._optional = tuple(manifest.bands.index(band) for band in manifest.optional_bands)
        torch.manual_seed(options.seed)
        self._network = build_network(manifest)
        if prepare is not None:
            prepare(self._network)
        self._network = self._network.to(self._device)
        # On this memory layout convolutions are up to twice as fast.
        self._network = self._network.to(memory_format=torch.channels_last)
        self._mean = copy.deepcopy(self._network).eval().requires_grad_(False)
        self._objective = objective or VotingObjective(manifest.tree, self._device, mixed=options.mixed)
        self._optimizer = KernelOptimizer(self._network.parameters(), weight_decay=options.weight_decay)
        self.step = 0
        """Steps done so far."""
        self.seconds = 0.0
        """Time spent so far, over all runs."""
        self.history: list[dict[str, float]] = []
        """Loss and agreement at each checkpoint."""
        directory.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._restore(read_checkpoint(self._path))

    @property
    def network(self) -> MorphologyNetwork:
        """The network with the running mean of the weights, to be kept."""
        return self._mean

    def run(self, stream: BatchStream, progress: Callable[[int], None] | None = None) -> None:
        """Train to the end.

        Parameters
        ----------
        stream
            Batches; it is entered at the step that is due.
        progress
            Called with the number of steps done after each step.
        """
        began = time.monotonic() - self.seconds
        losses: list[float] = []
        batches = stream.batches(self.step)
        while self._done() < 1.0:
            losses.append(self._train(next(batches)))
            self.step += 1
            self.seconds = time.monotonic() - began
            if progress is not None:
                progress(self.step)
            if self.step % self._options.checkpoint_steps == 0 or self._done() >= 1.0:
                self._note(float(np.mean(losses)))
                losses.clear()
                self._save()

    def _done(self) -> float:
        """Return which share of the run is over."""
        return max(self.step / self._options.steps, self.seconds / (60.0 * self._options.minutes))

    def _train(self, batch: StampBatch) -> float:
        """Do one step and return its loss.

        All random numbers are drawn from a stream that starts anew at each
        step, so that a run that was interrupted ends as one that was not.
        """
        generator = torch.Generator().manual_seed((self._options.seed << 32) + self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        batch = augment(batch, self._optional, self._options.augment, generator).to(self._device)
        self._network.train()
        loss = self._objective.loss(self._network, batch, generator)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._optimizer.step()
        self._follow()
        return loss.item()

    def _rate(self) -> float:
        """Return the learning rate: in each cycle a linear rise, then half a
        cosine.
        """
        first, length = self._options.cycle(self.step)
        done = max((self.step - first) / length, self.seconds / (60.0 * self._options.minutes))
        warm = self._options.warm_up
        if done < warm:
            return self._options.learning_rate * (done + 1.0 / length) / warm
        phase = (done - warm) / (1.0 - warm)
        return self._options.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * phase)))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running mean; at first it follows more quickly."""
        decay = min(self._options.average, (1.0 + self.step) / (10.0 + self.step))
        current = self._network.state_dict()
        for name, mean in self._mean.state_dict().items():
            mean.lerp_(current[name], 1.0 - decay)

    def _note(self, loss: float) -> None:
        """Add a line to the history."""
        figures = self._objective.measure(self._mean, self._validation)
        entry = {"step": self.step, "seconds": self.seconds, "learning_rate": self._rate(), "loss": loss}
        self.history.append(entry | figures)
        _LOG.info(
            "Step %d, %.0f s: loss %.3f, held back %.3f; %s",
            self.step,
            self.seconds,
            loss,
            figures["validation_loss"],
            self._objective.shown(figures),
        )

    def _save(self) -> None:
        tensors = {f"network.{k}": v for k, v in self._network.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self._mean.state_dict().items()}
        moments = self._optimizer.state_dict()["state"]
        tensors |= {f"moment.{i}.{k}": v for i, entry in moments.items() for k, v in entry.items()}
        state = {
            "run": self._identity(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
        }
        write_checkpoint(self._path, Checkpoint(tensors, state))

    def _restore(self, checkpoint: Checkpoint) -> None:
        if _FORMER | checkpoint.state.get("run", {}) not in self._beginnings():
            raise MorphologyError(
                f"{self._path} is of a run with other options: {checkpoint.state.get('run')}; now"
                f" {self._identity()}. Name another directory or delete it."
            )
        parts: dict[str, dict[str, Any]] = {"network": {}, "mean": {}, "moment": {}}
        for name, tensor in checkpoint.tensors.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = tensor
        self._network.load_state_dict(parts["network"])
        self._mean.load_state_dict(parts["mean"])
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in parts["moment"].items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step = checkpoint.state["step"]
        self.seconds = checkpoint.state["seconds"]
        self.history = checkpoint.state["history"]

    def _beginnings(self) -> list[dict[str, Any]]:
        """Return the identities of this run, and of the shorter ones that it
        goes on from.
        """
        whole = self._identity()
        restarts = self._options.restarts
        shorter = [{"steps": step, "restarts": list(restarts[:i])} for i, step in enumerate(restarts)]
        return [whole, *(whole | part for part in shorter)]

    def _identity(self) -> dict[str, Any]:
        """Return what must not change between the parts of a run."""
        options = dataclasses.asdict(self._options) | {"restarts": list(self._options.restarts)}
        for name in ("minutes", "checkpoint_steps", "device"):
            del options[name]
        # A longer training of the same network is called by a new version,
        # and training does not look at several views.
        network = self._manifest.model_copy(update={"version": "0", "title": "", "views": None})
        return {"model": network.model_id, **options}
