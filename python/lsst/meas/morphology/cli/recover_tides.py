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

"""``butler recover-tides``: what was found of injected features."""

from __future__ import annotations

__all__ = ("command",)

import click

from lsst.daf.butler import Butler, DatasetRef, MissingDatasetTypeError

from ..model.shipped import find_model
from ..validation.tidal_outcomes import CLASSES, TidalThresholds


@click.command(name="recover-tides", short_help="Say which injected tidal features were found.")
@click.argument("repo")
@click.argument("collection")
@click.option("--model", default="tides", show_default=True, help="Model whose thresholds decide.")
@click.option("--table", default="object_tidal", show_default=True, help="The tables' name.")
@click.option("--band", default="r", show_default=True, help="Band of fluxes and limits.")
def command(repo: str, collection: str, model: str, table: str, band: str) -> None:
    """Compare what inject-tides put in with what step1-tides measured.

    COLLECTION holds the measurements and the truth; several may be given,
    by commas.
    """
    import numpy as np
    import pyarrow as pa

    from ..model.package import ModelPackage
    from ..validation.tidal_recovery import recover, recovery_text

    head = ModelPackage.open(find_model(model)).manifest.tides
    if head is None:
        raise click.ClickException(f"Model {model} has no masks of tidal features.")
    thresholds = TidalThresholds.of(head).presence
    with Butler.from_config(repo, collections=collection.split(",")) as butler:
        truths = [butler.get(ref) for ref in _find(butler, "tidal_injection_truth")]
        tables = [butler.get(ref) for ref in _find(butler, f"{table}_patch")]
    truth = {
        name: np.concatenate([np.asarray(one[name]) for one in truths if name in one.colnames])
        for name in truths[0].colnames
    }
    found = pa.concat_tables(tables, promote_options="permissive")
    flagged = found["tidal_flag"].to_numpy(zero_copy_only=False)
    found = found.filter(pa.array(~flagged.astype(bool)))
    measured = {
        "objectId": found["objectId"].to_numpy(),
        "limit": found[f"{band}_surfaceBrightnessLimit"].to_numpy(),
    }
    for name in (*CLASSES, "debris"):
        measured[f"{name}_found"] = found[f"{name}_probability"].to_numpy() >= thresholds[name]
        measured[f"{name}_flux"] = found[f"{name}_{band}_flux"].to_numpy()
        measured[f"{name}_fluxErr"] = found[f"{name}_{band}_fluxErr"].to_numpy()
    click.echo(recovery_text(recover(truth, measured, band=band)), nl=False)


def _find(butler: Butler, name: str) -> list[DatasetRef]:
    """Return all datasets of a type, at least one."""
    try:
        refs = butler.query_datasets(name, explain=False)
    except MissingDatasetTypeError:
        refs = []
    if not refs:
        raise click.ClickException(
            f"There is no dataset {name!r} in {', '.join(butler.collections.defaults)}: give the collections "
            "that inject-tides and step1-tides wrote."
        )
    return refs
