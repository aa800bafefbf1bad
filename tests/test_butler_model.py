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
"""Model packages in a Butler repository, and the commands about them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from lsst.daf.butler import (
    Butler,
    Config,
    DatasetType,
    MissingDatasetTypeError,
    StorageClass,
    StorageClassFactory,
)
from lsst.meas.morphology.butler import (
    MANIFEST_STORAGE_CLASS,
    PACKAGE_STORAGE_CLASS,
    ModelPackageFormatter,
    dataset_type_name,
    ingest,
    register_storage_classes,
    run_name,
)
from lsst.meas.morphology.cli import check_model, ingest_model
from lsst.meas.morphology.errors import ModelPackageError
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import ModelPackage, write_package

CONFIG = Path(__file__).parents[1] / "config"
RUN = "models/morphology/tiny/1.0.0"


@pytest.fixture(scope="module")
def empty_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("empty") / "repo"
    Butler.makeRepo(root)
    return root


@pytest.fixture
def repo(empty_repo: Path, tmp_path: Path) -> Path:
    return shutil.copytree(empty_repo, tmp_path / "repo")


@pytest.fixture
def butler(repo: Path) -> Iterator[Butler]:
    with Butler.from_config(repo, writeable=True) as butler:
        yield butler


def rewritten(package: Path, destination: Path, *, error: float = 1.0, **changes: Any) -> Path:
    """Write a package again, with changes of its manifest.

    With an ``error`` its golden outputs are not those of its network.
    """
    opened = ModelPackage.open(package)
    golden = opened.golden()
    golden["alpha"] *= np.float32(error)
    write_package(
        destination,
        manifest=opened.manifest.model_copy(update=changes),
        weights=opened.read_weights(),
        program=opened.program(),
        golden=golden,
        card=opened.card(),
    )
    return destination


def test_ingest_and_read(butler: Butler, repo: Path, tiny_package: Path) -> None:
    ref = ingest(butler, tiny_package)
    assert ref.datasetType.name == "morphology_model_tiny"
    assert ref.run == RUN
    assert not ref.dataId.required
    expected = ModelPackage.open(tiny_package)
    with Butler.from_config(repo, collections=RUN) as reader:
        package = reader.get("morphology_model_tiny")
        assert isinstance(package, ModelPackage)
        assert package.manifest == expected.manifest
        assert package.to_bytes() == tiny_package.read_bytes()
        assert str(repo) in package.path
        manifest = reader.get("morphology_model_tiny.manifest")
        assert isinstance(manifest, Manifest)
        assert manifest.model_id == expected.manifest.model_id
        handle = reader.getDeferred("morphology_model_tiny")
        assert handle.get(component="manifest") == manifest
        assert handle.get().manifest == manifest
        assert handle.ref.id == ref.id


def test_a_version_is_ingested_once(butler: Butler, tiny_package: Path, tmp_path: Path) -> None:
    ingest(butler, tiny_package)
    for again in (tiny_package, rewritten(tiny_package, tmp_path / "a.morph", title="Another")):
        with pytest.raises(ModelPackageError, match=f"already has version 1.0.0 of the model tiny.*{RUN}"):
            ingest(butler, again)
    newer = ingest(butler, rewritten(tiny_package, tmp_path / "b.morph", version="1.1.0"))
    assert newer.run == "models/morphology/tiny/1.1.0"
    refs = butler.query_datasets("morphology_model_tiny", collections="models/*", find_first=False)
    assert {ref.run for ref in refs} == {RUN, newer.run}
    chosen = butler.get("morphology_model_tiny.manifest", collections=[newer.run, RUN])
    assert chosen.version == "1.1.0"


def test_two_models_side_by_side(butler: Butler, tiny_package: Path, tmp_path: Path) -> None:
    other = rewritten(tiny_package, tmp_path / "other.morph", name="other")
    refs = [ingest(butler, tiny_package), ingest(butler, other)]
    collections = [ref.run for ref in refs]
    manifests = [
        butler.get(f"morphology_model_{name}.manifest", collections=collections) for name in ("tiny", "other")
    ]
    assert [manifest.name for manifest in manifests] == ["tiny", "other"]
    assert manifests[0].model_id != manifests[1].model_id


def nothing_was_written(butler: Butler) -> bool:
    return not list(butler.collections.query("models/*")) and not list(
        butler.registry.queryDatasetTypes("morphology_model_*")
    )


def test_bad_packages_are_not_ingested(butler: Butler, tiny_package: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_package.read_bytes())
    data[len(data) // 2] ^= 1
    flipped = tmp_path / "flipped.morph"
    flipped.write_bytes(data)
    with pytest.raises(ModelPackageError, match="corrupt"):
        ingest(butler, flipped)
    wrong = rewritten(tiny_package, tmp_path / "wrong.morph", error=1.1)
    with pytest.raises(ModelPackageError, match="golden outputs were NOT reproduced by onnxruntime"):
        ingest(butler, wrong)
    renamed = shutil.copy(tiny_package, tmp_path / "tiny.zip")
    with pytest.raises(ModelPackageError, match=r"does not end in '\.morph'"):
        ingest(butler, renamed)
    with pytest.raises(FileNotFoundError):
        ingest(butler, tmp_path / "none.morph")
    assert nothing_was_written(butler)


def test_damage_in_the_repository_is_noticed(butler: Butler, tiny_package: Path) -> None:
    ref = ingest(butler, tiny_package)
    path = Path(butler.getURI(ref).ospath)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for dataset in (ref, ref.makeComponentRef("manifest")):
        with pytest.raises(Exception, match="tiny") as caught:
            butler.get(dataset)
        causes = [caught.value, caught.value.__cause__]
        assert any(isinstance(error, ModelPackageError) and str(path) in str(error) for error in causes)


def test_put_keeps_every_byte(repo: Path, tiny_package: Path) -> None:
    config = Config(str(repo / "butler.yaml"))
    for name in ("storageClasses.yaml", "datastores/fileDatastore.yaml"):
        config.update(Config(str(CONFIG / name)))
    config.dumpToUri(str(repo / "butler.yaml"))
    package = ModelPackage.open(tiny_package)
    with Butler.from_config(repo, run=RUN, writeable=True) as butler:
        dataset_type = DatasetType(
            "morphology_model_tiny", (), PACKAGE_STORAGE_CLASS, universe=butler.dimensions
        )
        butler.registry.registerDatasetType(dataset_type)
        ref = butler.put(package, dataset_type)
        path = Path(butler.getURI(ref).ospath)
        assert path.suffix == ".morph"
        assert path.read_bytes() == tiny_package.read_bytes()
        assert butler.get(ref.makeComponentRef("manifest")) == package.manifest


def test_in_memory_datastore_knows_the_component(tiny_package: Path) -> None:
    delegate = StorageClassFactory().getStorageClass(PACKAGE_STORAGE_CLASS).delegate()
    package = ModelPackage.open(tiny_package)
    assert delegate.getComponent(package, "manifest") == package.manifest


def test_names(tiny_package: Path) -> None:
    manifest = ModelPackage.open(tiny_package).manifest
    assert dataset_type_name(manifest) == "morphology_model_tiny"
    assert run_name(manifest) == RUN


# Configuration and code say the same


def test_definitions_in_code_and_configuration_agree() -> None:
    factory = StorageClassFactory()
    # Raises where they differ.
    factory.addFromConfig(Config(str(CONFIG / "storageClasses.yaml")))
    register_storage_classes()
    for name in (PACKAGE_STORAGE_CLASS, MANIFEST_STORAGE_CLASS):
        assert isinstance(factory.getStorageClass(name), StorageClass)
    assert factory.getStorageClass(PACKAGE_STORAGE_CLASS).pytype is ModelPackage
    assert factory.getStorageClass(MANIFEST_STORAGE_CLASS).pytype is Manifest
    formatters = yaml.safe_load((CONFIG / "datastores/fileDatastore.yaml").read_text())["datastore"][
        "formatters"
    ]
    assert formatters == {PACKAGE_STORAGE_CLASS: f"{ModelPackageFormatter.__module__}.ModelPackageFormatter"}


def python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


READ = "from lsst.daf.butler import Butler; b = Butler.from_config({repo!r}, collections={run!r}); "


@pytest.mark.parametrize("order", ["configuration", "configuration, code", "code"])
def test_bare_butler(butler: Butler, repo: Path, tiny_package: Path, order: str) -> None:
    """The configuration alone is enough, and in the way of nothing."""
    ingest(butler, tiny_package)
    read = READ.format(repo=str(repo), run=RUN)
    load = "import lsst.meas.morphology.butler; "
    get = "m = 'morphology_model_tiny'; print(b.get(f'{m}.manifest').title, b.get(m).manifest.version)"
    code = {
        "configuration": read + get,
        "configuration, code": read + load + get,
        "code": load + read + get,
    }[order]
    environment = {} if order == "code" else {"DAF_BUTLER_CONFIG_PATH": str(CONFIG)}
    assert python(code, **environment) == "A small model that has learnt nothing 1.0.0"


def test_transfer_datasets(butler: Butler, empty_repo: Path, tiny_package: Path, tmp_path: Path) -> None:
    """Another repository gets the model without this package's help."""
    ingest(butler, tiny_package)
    target = shutil.copytree(empty_repo, tmp_path / "target")
    source = str(butler._config.configFile.dirname().ospath)
    code = (
        "from lsst.daf.butler import Butler\n"
        f"source = Butler.from_config({source!r})\n"
        f"target = Butler.from_config({str(target)!r}, writeable=True)\n"
        f"refs = source.query_datasets('morphology_model_tiny', collections={RUN!r})\n"
        "target.transfer_from(source, refs, transfer='copy', register_dataset_types=True)\n"
        f"print(target.get('morphology_model_tiny.manifest', collections={RUN!r}).name)\n"
    )
    assert python(code, DAF_BUTLER_CONFIG_PATH=str(CONFIG)) == "tiny"


# Commands


def invoke(command: Any, *arguments: object) -> Any:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_ingest_command(repo: Path, tiny_package: Path, tmp_path: Path) -> None:
    result = invoke(ingest_model.command, repo, tiny_package)
    assert result.exit_code == 0, result.output
    assert result.output == f"Ingested morphology_model_tiny into the collection {RUN}.\n"
    again = invoke(ingest_model.command, repo, tiny_package)
    assert again.exit_code == 1
    assert "already has version 1.0.0 of the model tiny" in again.output
    nothing = invoke(ingest_model.command, repo, tmp_path / "none.morph")
    assert nothing.exit_code == 1
    assert "no file and no model that ships" in nothing.output


def test_ingest_command_is_a_butler_subcommand() -> None:
    from lsst.daf.butler.cli.butler import cli

    result = invoke(cli, "ingest-morphology-model", "--help")
    assert result.exit_code == 0, result.output
    assert "REPO FILE" in result.output


def test_check_command(tiny_package: Path) -> None:
    result = invoke(check_model.command, tiny_package, "--card", "--device", "cpu")
    assert result.exit_code == 0, result.output
    manifest = ModelPackage.open(tiny_package).manifest
    for words in (
        "intact, with all checksums right",
        manifest.model_id,
        "tiny 1.0.0: A small model that has learnt nothing",
        "g, r, i (may be missing: i)",
        "6 radii, from 6.4 to 40 arcsec",
        f"tree {manifest.tree.name}",
        "# A small model",
        manifest.members["program.onnx"].sha256,
        "Golden outputs reproduced by onnxruntime",
        "Golden outputs reproduced by torch",
    ):
        assert words in result.output


def test_check_command_with_one_backend(tiny_package: Path) -> None:
    result = invoke(check_model.command, tiny_package, "--backend", "torch", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "onnxruntime" not in result.output


def test_check_command_fails(tiny_package: Path, tmp_path: Path) -> None:
    wrong = rewritten(tiny_package, tmp_path / "wrong.morph", error=1.1)
    result = invoke(check_model.command, wrong, "--device", "cpu")
    assert result.exit_code == 1
    assert "NOT reproduced by onnxruntime" in result.output
    assert "NOT reproduced by torch" in result.output
    wrong.write_bytes(wrong.read_bytes()[:-1])
    truncated = subprocess.run(
        [sys.executable, "-m", "lsst.meas.morphology", "check-model", str(wrong)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert truncated.returncode == 1
    assert "truncated" in truncated.stderr
    assert "Traceback" not in truncated.stderr


def test_what_a_missing_model_looks_like(butler: Butler, repo: Path, tiny_package: Path) -> None:
    """As the documentation tells it."""
    with pytest.raises(MissingDatasetTypeError):
        butler.get("morphology_model_tiny", collections="models")
    ingest(butler, tiny_package)
    other = "models/morphology/other"
    butler.collections.register(other)
    with (
        Butler.from_config(repo, collections=other) as reader,
        pytest.raises(LookupError, match="morphology_model_tiny"),
    ):
        reader.get("morphology_model_tiny")


def test_graph_building_without_a_model(simulated_repo: Path, tmp_path: Path) -> None:
    """The documentation quotes this error and says what to do."""
    from lsst.pipe.base import Pipeline
    from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

    repo = shutil.copytree(simulated_repo, tmp_path / "repo")
    pipeline = Pipeline.from_uri("resource://lsst.meas.morphology/pipelines/Morphology.yaml#step1-measure")
    with (
        SimplePipelineExecutor.prep_butler(str(repo), inputs=["sim"], output="u/none") as butler,
        pytest.raises(FileNotFoundError, match=r"measureMorphology\.model \(morphology_model_rubin\)"),
    ):
        SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
