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

"""The subcommand ``morphology export-galaxy-zoo``."""

from __future__ import annotations

__all__ = ("command",)

from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet

from ..model.package import ModelPackage
from ..questions.tree import QuestionTree, available_trees
from ..tables.galaxy_zoo import Concentration, Layout, to_galaxy_zoo, tree_of

_ROWS = 1 << 16


@click.command("export-galaxy-zoo")
@click.argument("table", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["friendly", "advanced"]),
    default="friendly",
    show_default=True,
    help="Fractions alone, without those that few would be asked for; or all numbers.",
)
@click.option(
    "--tree",
    help="Question tree: a name, a YAML file, or the model package.  [default: what the table says]",
)
@click.option("--suffix", help="What follows a question's name.  [default: the tree's]")
@click.option(
    "--concentration",
    type=click.Choice(["dirichlet", "concentrations", "bare"]),
    help="Add the answers' concentrations, under this name.",
)
def command(
    table: Path,
    out: Path,
    layout: Layout,
    tree: str | None,
    suffix: str | None,
    concentration: Concentration | None,
) -> None:
    """Write TABLE as Galaxy Zoo names and lays out its own.

    TABLE is a Parquet file of this package's, or a folder of them; OUT ends
    in .parquet or .csv.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise click.ClickException(f"{out}: the exported table must end in .parquet or .csv.")
    dataset = pyarrow.dataset.dataset(table, format="parquet")
    questions = tree_of(dataset.schema, str(table)) if tree is None else _tree(tree)
    partial = out.with_name(f".{out.name}.partial")
    rows = 0
    writer: pyarrow.parquet.ParquetWriter | pyarrow.csv.CSVWriter | None = None
    try:
        for piece in _pieces(dataset):
            part = to_galaxy_zoo(piece, questions, layout=layout, suffix=suffix, concentration=concentration)
            if writer is None:
                make = pyarrow.csv.CSVWriter if out.suffix == ".csv" else pyarrow.parquet.ParquetWriter
                writer = make(partial, part.schema)
            writer.write_table(part)
            rows += len(part)
        assert writer is not None
        writer.close()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    click.echo(f"{out}: {rows} rows, layout {layout}, tree {questions.name}.")


def _pieces(dataset: pyarrow.dataset.Dataset) -> Iterator[pa.Table]:
    """Yield the rows some at a time, after a piece without any."""
    yield dataset.schema.empty_table()
    for batch in dataset.to_batches(batch_size=_ROWS):
        yield pa.Table.from_batches([batch], dataset.schema)


def _tree(name: str) -> QuestionTree:
    """Return the tree of a name or of a file."""
    if name in available_trees():
        return QuestionTree.load(name)
    if name.endswith(".morph"):
        return ModelPackage.open(name).manifest.tree
    if not Path(name).is_file():
        raise click.ClickException(f"{name!r} is no file and no tree among {', '.join(available_trees())}.")
    return QuestionTree.read(name)
