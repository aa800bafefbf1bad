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
"""What ``morphology train`` does with real labels."""

from __future__ import annotations

__all__ = ("LabelChoices", "label_options", "train_labels")

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..model.manifest import Manifest
    from ..model.package import ModelPackage
    from ..questions.tree import QuestionTree
    from ..training.label_store import LabelCounts, LabelStore
    from ..training.label_table import LabelTable
    from ..training.labelled_patch import LabelledPatch
    from ..training.loop import TrainingOptions
    from ..training.session import TrainedModel

_FILE = click.Path(exists=True, dir_okay=False, path_type=pathlib.Path)

_EPOCHS = 40
"""Passes over the labels, if they are few and no steps are given."""

_FEWEST_STEPS = 200

_OPTIONS = (
    click.option("--labels", type=_FILE, help="Table of vote counts to train on, not on simulation."),
    click.option("--repo", help="Butler repository to cut the labels' stamps from."),
    click.option("--collections", help="Collections of coadds and objects there, separated by commas."),
    click.option("--skymap", help="Skymap, if the repository has several."),
    click.option("--coadd", default="deep_coadd", show_default=True, help="Dataset type of the coadds."),
    click.option(
        "--object", "objects", default="object", show_default=True, help="Dataset type of the objects."
    ),
    click.option(
        "--stamp-file",
        "stamp_files",
        type=_FILE,
        multiple=True,
        help="Instead of a repository, the labels' stamps, an .npz file; may be repeated.",
    ),
    click.option("--tree", help="Tree of the vote counts: a shipped one or a file.  [default: the model's]"),
    click.option("--name", help="Name of the model.  [default: the recipe's, or the tree's]"),
    click.option(
        "--held-out",
        type=click.FloatRange(0.0, 0.5, min_open=True),
        default=0.2,
        show_default=True,
        help="Share of the labels that is not learnt: half of it calibrates, half judges.",
    ),
    click.option(
        "--start-from",
        help="Model, by name or package, whose weights the training begins with; on labels, whose build too.",
    ),
)


@dataclasses.dataclass(frozen=True)
class LabelChoices:
    """Where labels and their stamps are, and what is made of them."""

    labels: pathlib.Path | None
    repo: str | None
    collections: str | None
    skymap: str | None
    coadd: str
    objects: str
    stamp_files: tuple[pathlib.Path, ...]
    tree: str | None
    name: str | None
    held_out: float
    start_from: str | None

    @classmethod
    def take(cls, options: dict[str, Any]) -> LabelChoices:
        """Take the options of labels out of all."""
        chosen = cls(**{field.name: options.pop(field.name) for field in dataclasses.fields(cls)})
        if chosen.labels is None:
            given = (chosen.repo, chosen.tree, *chosen.stamp_files)
            if any(value is not None for value in given):
                raise click.UsageError("--repo, --stamp-file and --tree are for a training on --labels.")
        elif (chosen.repo is None) == (not chosen.stamp_files):
            raise click.UsageError("Give the labels' stamps either by --repo or by --stamp-file.")
        elif chosen.repo is not None and not chosen.collections:
            raise click.UsageError("--repo needs --collections.")
        return chosen

    @property
    def words(self) -> list[str]:
        """What was typed."""
        words = []
        for name, value in (
            ("--labels", self.labels),
            ("--repo", self.repo),
            ("--collections", self.collections),
            ("--skymap", self.skymap),
            *(("--stamp-file", path) for path in self.stamp_files),
            ("--tree", self.tree),
            ("--name", self.name),
            ("--start-from", self.start_from),
        ):
            words += [name, str(value)] if value is not None else []
        return [*words, "--held-out", f"{self.held_out:g}"]


def label_options[F: Callable[..., Any]](command: F) -> F:
    """Give a command the options of labels."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def train_labels(
    out: pathlib.Path,
    choices: LabelChoices,
    recipe_name: str,
    version: str,
    *,
    work: pathlib.Path,
    options: TrainingOptions,
    steps: int | None,
    batch_size: int | None,
    command: str,
    start: ModelPackage | None,
) -> TrainedModel:
    """Train a model on real labels and tell what became of them.

    Parameters
    ----------
    out
        The package to write.
    choices
        Labels and stamps.
    recipe_name, version
        What is trained.
    work
        Directory of stamps and checkpoints.
    options
        How to train, but for the number of steps.
    steps
        Number of steps; by default so many that the labels are seen forty
        times, at most as many as of simulated stamps.
    batch_size
        Stamps in a step.
    command
        What to type to train it again.
    start
        Model whose build and weights the training begins with, if any.
    """
    import torch

    from ..errors import LabelError
    from ..training.fine_tune import inherit
    from ..training.label_table import LabelTable
    from ..training.session import DataOptions, train_on
    from ..training.target import VotesTarget, make_target
    from ..training.training_data import TabulatedData

    assert choices.labels is not None
    manifest = _manifest(choices, start, recipe_name, version, options.seed)
    table = LabelTable.read(choices.labels)
    target = make_target(table, tree=manifest.tree)
    if not isinstance(target, VotesTarget):
        raise LabelError(f"{choices.labels} holds no vote counts.")
    table, target = table[target.labelled], target[target.labelled]
    store = _store(choices, table, target, manifest, work, options.seed)
    click.echo(_told(store.counts, len(target.labelled)))
    data = TabulatedData(
        store, DataOptions(stamps=store.counts.taught, **({"batch_size": batch_size} if batch_size else {}))
    )
    if steps is None:
        passes = -(-_EPOCHS * store.counts.taught // data.batch_size)
        steps = min(options.steps, max(_FEWEST_STEPS, passes))
    options = dataclasses.replace(
        options, steps=steps, checkpoint_steps=max(1, min(options.checkpoint_steps, steps // 4))
    )

    def prepare(network: Any) -> None:
        assert start is not None
        with torch.no_grad():
            inherit(network, start, target)

    with click.progressbar(length=steps, label="Training", show_pos=True) as bar:
        return train_on(
            out,
            manifest,
            work,
            data,
            options=options,
            command=command,
            prepare=None if start is None else prepare,
            progress=lambda step: bar.update(step - bar.pos),
        )


def _manifest(
    choices: LabelChoices, start: ModelPackage | None, recipe_name: str, version: str, seed: int
) -> Manifest:
    """Return the manifest of the model before it is trained."""
    from ..model.manifest import Manifest, TrainingRecord
    from ..training.recipe import recipe

    assert choices.labels is not None
    record = TrainingRecord(data=f"It was trained on the votes of {choices.labels.name}.", seed=seed)
    if start is None:
        base = recipe(recipe_name, version, title="-", record=record)
    else:
        base = start.manifest
        record = record.model_copy(
            update={
                "data": f"{record.data} It began as {base.name} {base.version} (model id {base.model_id})."
            }
        )
    tree = _tree(choices.tree)
    if base.votes is None:
        raise click.UsageError("A table of votes trains a model of votes; this one has none.")
    votes = base.votes if tree is None else base.votes.model_copy(update={"tree": tree.to_dict()})
    name = choices.name or (base.name if tree is None else tree.name)
    changes = {
        "name": name,
        "version": version,
        "title": f"Galaxy morphology ({name} {version}), trained on {choices.labels.name}",
        "votes": votes,
        "calibration": None,
        "novelty": None,
        "origin": None,
        "members": {},
        "training": record,
    }
    return Manifest.model_validate(base.model_copy(update=changes).model_dump())


def _tree(name: str | None) -> QuestionTree | None:
    from ..questions.tree import QuestionTree, available_trees

    if name is None:
        return None
    return QuestionTree.load(name) if name in available_trees() else QuestionTree.read(name)


def _store(
    choices: LabelChoices, table: LabelTable, target: Any, manifest: Manifest, work: pathlib.Path, seed: int
) -> LabelStore:
    """Cut the labels' stamps, unless that was done before."""
    from ..training.label_store import LabelStore, Split

    source = [choices.repo, choices.collections, choices.skymap, choices.coadd, choices.objects]
    store = LabelStore(
        work / "stamps",
        table,
        target.votes,
        manifest,
        source=repr([*source, *((path.name, path.stat().st_size) for path in choices.stamp_files)]),
        split=Split(held_out=choices.held_out, seed=seed),
    )
    if store.is_cut:
        return store
    with (
        _patches(choices, table, manifest) as patches,
        click.progressbar(length=len(table), label="Cutting ", show_pos=True) as bar,
    ):
        store.cut(patches, lambda done: bar.update(done - bar.pos))
    return store


@contextlib.contextmanager
def _patches(
    choices: LabelChoices, table: LabelTable, manifest: Manifest
) -> Iterator[Iterator[LabelledPatch]]:
    """Open what the stamps come from."""
    from ..training.labelled_patch import stamp_file_patches

    if choices.repo is None:
        yield stamp_file_patches(choices.stamp_files, table)
        return
    from lsst.daf.butler import Butler

    from ..training.repository_stamps import RepositoryOptions, labelled_patches

    names = RepositoryOptions(skymap=choices.skymap, coadd=choices.coadd, object=choices.objects)
    assert choices.collections is not None
    with Butler.from_config(choices.repo) as butler:
        yield labelled_patches(butler, choices.collections.split(","), table, manifest, options=names)


def _told(counts: LabelCounts, rows: int) -> str:
    """Say what became of the labels."""
    return (
        f"{rows} rows have votes: {counts.labels - counts.found} are no object here,"
        f" {counts.found - counts.measured} have no pixels to look at; {counts.taught} are learnt,"
        f" {counts.trust} calibrate, {counts.judge} judge."
    )
