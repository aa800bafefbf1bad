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

"""Checkpoints in Zoobot's formats, turned into models; and bad ones."""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import torch

from lsst.meas.morphology.cli.import_zoobot import _SIGHTS
from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import CheckpointError, ModelPackageError
from lsst.meas.morphology.inference.engine import Engine
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.architecture_spec import TimmArchitecture
from lsst.meas.morphology.model.encoders import build_encoder
from lsst.meas.morphology.model.network import build_network
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.zoobot import importer
from lsst.meas.morphology.zoobot.checkpoint import read_checkpoint
from lsst.meas.morphology.zoobot.importer import ImportOptions, describe_checkpoint, load_source
from lsst.meas.morphology.zoobot.questions import to_question_tree
from lsst.meas.morphology.zoobot.sights import SIGHTS, make_sight

timm = pytest.importorskip("timm")

SIZE = 64
ENCODER = "test_convnext"

PAIRS = {
    "smooth-or-featured-dr5": ["_smooth", "_featured-or-disk", "_artifact"],
    "has-ring-dr5": ["_yes", "_no"],
    "how-many-rings-dr5": ["_1", "_more-than-1"],
}
DEPENDENCIES = {
    "smooth-or-featured-dr5": None,
    "has-ring-dr5": "smooth-or-featured-dr5_featured-or-disk",
    "how-many-rings-dr5": "has-ring-dr5_yes",
}
COLUMNS = [question + answer for question, answers in PAIRS.items() for answer in answers]

ERA_20 = {
    "n_blocks": 0,
    "lr_decay": 0.75,
    "dropout_prob": 0.4,
    "always_train_batchnorm": False,
    "cosine_schedule": False,
    "warmup_epochs": 0,
    "max_cosine_epochs": 100,
    "max_learning_rate_reduction_factor": 0.01,
    "from_scratch": False,
    "prog_bar": True,
    "visualize_images": False,
    "seed": 42,
}
"""Arguments that Zoobot 2.9 refuses."""

ERA_29 = {
    "name": "hf_hub:mwalmsley/zoobot-encoder-" + ENCODER,
    "zoobot_checkpoint_loc": None,
    "training_mode": "full",
    "layer_decay": 0.75,
    "learning_rate": 1e-4,
    "head_dropout_prob": 0.5,
    "scheduler_kwargs": None,
    "timm_kwargs": {"drop_path_rate": 0.2},
    "greyscale": False,
    "seed": 7,
}


@contextlib.contextmanager
def zoobot_modules():
    """Pretend that Zoobot is installed, for as long as something is saved."""
    module = types.ModuleType("zoobot.shared.schemas")
    for name in ("Schema", "Question", "Answer"):
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
    names = {"zoobot": types.ModuleType("zoobot"), "zoobot.shared": types.ModuleType("zoobot.shared")}
    names[module.__name__] = module
    sys.modules.update(names)
    try:
        yield module
    finally:
        for name in names:
            del sys.modules[name]


def fill_schema(module: types.ModuleType, pairs=PAIRS, dependencies=DEPENDENCIES) -> Any:
    """Return a schema with its circles of questions and answers."""
    schema = module.Schema()
    schema.question_answer_pairs = pairs
    schema.dependencies = dependencies
    schema.label_cols = [question + answer for question, answers in pairs.items() for answer in answers]
    schema.questions = []
    for text, answers in pairs.items():
        question = module.Question()
        question.text, question._asked_after = text, None
        question.answers = []
        for answer in answers:
            made = module.Answer()
            made.text, made.question, made._next_question = text + answer, question, None
            question.answers.append(made)
        schema.questions.append(question)
    return schema


def make_encoder(name: str = ENCODER, channels: int = 3, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=0, in_chans=channels).eval()


def make_head(outputs: int, features: int = 64) -> torch.nn.Linear:
    torch.manual_seed(outputs)
    return torch.nn.Linear(features, outputs)


def save(path: Path, encoder, head, names: str, hyperparameters, prefix: str = "encoder.") -> Path:
    """Save a model as Lightning does, with the weights of a metric."""
    state = OrderedDict((prefix + name, value) for name, value in encoder.state_dict().items())
    if head is not None:
        state[f"{names}.weight"], state[f"{names}.bias"] = head.weight.detach(), head.bias.detach()
    state["train_loss_metric.mean_value"] = torch.tensor(0.0)
    content = {
        "epoch": 3,
        "global_step": 10,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "hparams_name": "kwargs",
        "hyper_parameters": hyperparameters,
    }
    torch.save(content, path)
    return path


def save_tree(path: Path, hyperparameters=ERA_29, *, channels: int = 3, prefix: str = "encoder.", **schema):
    """Save a fine-tuned tree; return it with its parts."""
    encoder, head = make_encoder(channels=channels), make_head(len(COLUMNS))
    with zoobot_modules() as module:
        given = {**hyperparameters, "schema": fill_schema(module, **schema)}
        save(path, encoder, head, "head.1.0", given, prefix)
    return path, encoder, head


def load_network(source, **options):
    """Return the network of a checkpoint without exporting it."""
    chosen = ImportOptions(size=SIZE, **options)
    checkpoint, spec = load_source(source, chosen)
    sight = make_sight(chosen.sight, channels=spec.channels, bands=chosen.bands)
    manifest = describe_checkpoint(checkpoint, spec, sight, chosen)
    network = build_network(manifest)
    importer._load(network, checkpoint, spec)
    return manifest, network.eval()


def make_images(count: int = 5) -> torch.Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, SIZE, SIZE)).astype(np.float32))


@torch.inference_mode()
def measure(network, images: torch.Tensor):
    masks = network.head.dropout_masks if network.head is not None else torch.ones(1, 1)
    return network(images, torch.ones(images.shape, dtype=torch.bool), masks)


@torch.inference_mode()
def features_of(encoder, images: torch.Tensor) -> torch.Tensor:
    return encoder(images / 255.0)


@pytest.mark.parametrize("era", [ERA_29, ERA_20], ids=["2.9", "2.0"])
def test_finetuned_tree(era, tmp_path: Path) -> None:
    path, encoder, head = save_tree(tmp_path / "tree.ckpt", era)
    manifest, network = load_network(path)
    images = make_images()
    outputs = measure(network, images)
    with torch.inference_mode():
        expected = torch.sigmoid(head(features_of(encoder, images))) * 100.0 + 1.0
    torch.testing.assert_close(outputs["alpha"][:, 0], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(outputs["embedding"], features_of(encoder, images), rtol=0, atol=1e-6)
    assert manifest.tree.label_columns == tuple(COLUMNS)
    assert manifest.origin.kind == "FinetuneableZoobotTree"
    assert len(manifest.origin.sha256) == 64
    assert manifest.architecture == TimmArchitecture(name=ENCODER)
    assert manifest.pixels == "rgb8"
    assert manifest.rendering.greyscale == "none"


def test_tree_from_scratch_that_was_compiled(tmp_path: Path) -> None:
    encoder, head = make_encoder(), make_head(len(COLUMNS))
    given = {
        "output_dim": len(COLUMNS),
        "question_answer_pairs": PAIRS,
        "dependencies": DEPENDENCIES,
        "architecture_name": ENCODER,
        "channels": 3,
        "dropout_rate": 0.2,
        "betas": (0.9, 0.999),
        "timm_kwargs": {},
    }
    path = save(tmp_path / "t.ckpt", encoder, head, "head.1.0", given, "encoder._orig_mod.")
    manifest, network = load_network(path)
    images = make_images()
    with torch.inference_mode():
        expected = torch.sigmoid(head(features_of(encoder, images))) * 100.0 + 1.0
    torch.testing.assert_close(measure(network, images)["alpha"][:, 0], expected, rtol=0, atol=1e-4)
    assert manifest.origin.kind == "ZoobotTree"


@pytest.mark.parametrize(("sight", "greyscale"), [("images", "itu"), ("images-2.0", "mean")])
def test_grey(sight: str, greyscale: str, tmp_path: Path) -> None:
    path, encoder, head = save_tree(tmp_path / "grey.ckpt", {**ERA_29, "greyscale": True}, channels=1)
    manifest, network = load_network(path, sight=sight)
    assert manifest.rendering.greyscale == greyscale
    assert manifest.rendering.era == ("2.9" if sight == "images" else "2.0")
    images = make_images()
    images[:] = images[:, :1]
    with torch.inference_mode():
        expected = torch.sigmoid(head(features_of(encoder, images[:, :1]))) * 100.0 + 1.0
    torch.testing.assert_close(measure(network, images)["alpha"][:, 0], expected, rtol=0, atol=1e-3)


def test_classifier(tmp_path: Path) -> None:
    encoder, head = make_encoder(), make_head(3)
    given = {**ERA_29, "num_classes": 3, "label_col": "label", "class_weights": np.ones(3)}
    path = save(tmp_path / "c.ckpt", encoder, head, "head.linear", given)
    manifest, network = load_network(path, classes=("spiral", "ring", "other"))
    images = make_images()
    with torch.inference_mode():
        expected = torch.softmax(head(features_of(encoder, images)), dim=1)
    torch.testing.assert_close(measure(network, images)["classes"], expected, rtol=0, atol=1e-6)
    assert manifest.classes.names == ("spiral", "ring", "other")
    assert manifest.outputs == {"embedding": (64,), "classes": (3,)}
    assert load_network(path)[0].classes.names == ("class0", "class1", "class2")
    with pytest.raises(CheckpointError, match="3 classes apart; 2 names"):
        load_network(path, classes=("spiral", "ring"))
    with pytest.raises(CheckpointError, match="no posterior samples"):
        load_network(path, samples=8)


@pytest.mark.parametrize("bounded", [True, False])
def test_regressor(bounded: bool, tmp_path: Path) -> None:
    encoder, head = make_encoder(), make_head(1)
    given = {**ERA_29, "label_col": "stellar_mass", "loss": "mse", "unit_interval": bounded}
    path = save(tmp_path / "r.ckpt", encoder, head, "head.linear", given)
    manifest, network = load_network(path)
    images = make_images()
    with torch.inference_mode():
        expected = head(features_of(encoder, images))
        expected = torch.sigmoid(expected) if bounded else expected
    torch.testing.assert_close(measure(network, images)["scalar"], expected, rtol=0, atol=1e-5)
    assert manifest.scalar.name == "stellar_mass"
    assert manifest.scalar.activation == ("sigmoid" if bounded else "identity")


def test_bare_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    encoder = make_encoder()
    weights = encoder.state_dict()
    classified = {**weights, "head.fc.weight": torch.zeros(10, 64), "head.fc.bias": torch.zeros(10)}
    torch.save(weights, tmp_path / "encoder.pt")
    save_file(classified, tmp_path / "encoder.safetensors")
    folder = tmp_path / "repository"
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": ENCODER, "num_classes": 0}))
    asked = []

    def load_config(name, cache_dir=None):
        asked.append(name)
        return {"architecture": ENCODER}, ENCODER, {}

    monkeypatch.setattr(timm.models, "load_model_config_from_hf", load_config)
    monkeypatch.setattr(timm.models, "load_state_dict_from_hf", lambda name, weights_only: weights)
    images = make_images()
    for source, named in (
        (tmp_path / "encoder.pt", ENCODER),
        (tmp_path / "encoder.safetensors", ENCODER),
        (folder, None),
        ("hf_hub:mwalmsley/zoobot-encoder-" + ENCODER, None),
    ):
        manifest, network = load_network(source, architecture=named)
        outputs = measure(network, images)
        assert set(outputs) == {"embedding"}
        torch.testing.assert_close(outputs["embedding"], features_of(encoder, images), rtol=0, atol=1e-6)
        assert manifest.origin.kind == "encoder"
        assert manifest.votes is None
    assert asked == ["mwalmsley/zoobot-encoder-" + ENCODER]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_resnet"])
def test_other_families(name: str, tmp_path: Path) -> None:
    encoder = timm.create_model(name, num_classes=0).eval()
    torch.save(encoder.state_dict(), tmp_path / "encoder.pt")
    options = ImportOptions(size=160, architecture=name)
    checkpoint, spec = load_source(tmp_path / "encoder.pt", options)
    assert spec.architecture.name == name
    assert spec.width == encoder.num_features
    assert set(spec.weights) == set(encoder.state_dict())
    assert checkpoint.weight is None


def test_encoder_inferred_from_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint whose encoder was passed in memory does not name it."""
    from lsst.meas.morphology.zoobot import architecture

    monkeypatch.setattr(architecture, "_FAMILIES", {"stages.0.blocks.0.conv_dw.weight": ("test_convnext*",)})
    path, _, _ = save_tree(tmp_path / "tree.ckpt", {**ERA_29, "name": None})
    _, spec = load_source(path, ImportOptions(size=SIZE))
    assert spec.architecture.name == ENCODER
    assert "fit test_convnext" in caplog.text
    path, _, _ = save_tree(tmp_path / "tree.ckpt", {**ERA_29, "name": "hf_hub:someone/zoobot-encoder-euclid"})
    assert load_source(path, ImportOptions(size=SIZE))[1].architecture.name == ENCODER


def test_name_that_timm_has_for_another_size_only() -> None:
    from lsst.meas.morphology.zoobot.architecture import _describe

    described = _describe("maxvit_rmlp_tiny_rw_224", {}, 224)
    assert described == TimmArchitecture(name="maxvit_rmlp_tiny_rw_256", options={"img_size": 224})
    assert _describe("convnext_nano.in12k", {}, 224) == TimmArchitecture(name="convnext_nano")


def test_posterior_samples(tmp_path: Path) -> None:
    path, encoder, head = save_tree(tmp_path / "tree.ckpt", ERA_20)
    manifest, network = load_network(path, samples=20)
    assert manifest.votes.dropout == 0.4
    images = make_images()
    alpha = measure(network, images)["alpha"]
    assert alpha.shape == (5, 20, len(COLUMNS))
    masks = network.head.dropout_masks
    torch.testing.assert_close((masks == 0).float().mean(), torch.tensor(0.4))
    with torch.inference_mode():
        expected = torch.sigmoid(head(features_of(encoder, images) * masks[3])) * 100.0 + 1.0
    torch.testing.assert_close(alpha[:, 3], expected, rtol=0, atol=1e-4)


def test_questions_of_another_campaign() -> None:
    tree = to_question_tree(PAIRS, DEPENDENCIES, name="mine", source="x")
    assert tree.label_columns == tuple(COLUMNS)
    assert tree.suffix == "-dr5"
    assert tree.answer_columns[:3] == (
        "smoothOrFeatured_smooth",
        "smoothOrFeatured_featuredOrDisk",
        "smoothOrFeatured_artifact",
    )
    assert tree.answer_columns[-1] == "howManyRings_moreThan1"
    assert tree.question("howManyRings").parents == (("hasRing", "yes"),)
    assert tree.name == "mine"


@pytest.mark.parametrize("name", ["desi", "decals5", "cosmic_dawn", "euclid", "gz2", "hubble_v2", "jwst"])
def test_questions_of_a_known_campaign(name: str) -> None:
    known = QuestionTree.load(name)
    pairs = {
        question.label + known.suffix: tuple("_" + answer for answer in question.answer_labels)
        for question in known.questions
    }
    tree = to_question_tree(pairs, {}, name="mine", source="x")
    assert tree.name == known.name
    assert tree.answer_columns == known.answer_columns
    assert tree.label_columns == known.label_columns


def test_questions_of_several_campaigns() -> None:
    """One output vector may hold the same questions of many campaigns."""
    pairs = {
        f"{question}-{campaign}": ["_yes", "_no"]
        for campaign in ("dr12", "gz2", "hubble")
        for question in ("bar", "clumps-embedded-larger-object", "clumps-embedded-larger-thing", "x_y")
    }
    tree = to_question_tree(pairs, {}, name="evo", source="x")
    assert tree.suffix == ""
    assert tree.label_columns == tuple(q + a for q, answers in pairs.items() for a in answers)
    names = [question.name for question in tree.questions]
    assert names[0] == "barDr12"
    assert max(map(len, names)) <= 24
    assert len({name.casefold() for name in names}) == len(pairs)


@pytest.mark.parametrize(
    ("pairs", "dependencies", "words"),
    [
        ({"bar": ["_yes", "_no"]}, {"bar": "disk_yes"}, "no answer"),
        ({"bar": ["_yes"]}, {}, "at least two answers"),
        ({"a": ["_x", "_y"], "b": ["_x", "_y"]}, {"a": "b_x", "b": "a_x"}, "question tree"),
        ({"bar": ["yes", "no"]}, {}, "not named"),
    ],
)
def test_questions_that_are_no_tree(pairs, dependencies, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        to_question_tree(pairs, dependencies, name="mine", source="x")


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["hyperparameters", "schema", "weights", "old format"])
def test_code_is_refused_and_not_run(place: str, tmp_path: Path) -> None:
    witness, path = tmp_path / "was_run", tmp_path / "evil.ckpt"
    evil = Malicious(witness)
    content = {"state_dict": {"encoder.x": torch.zeros(1)}, "hyper_parameters": {}}
    if place == "weights":
        content["state_dict"]["encoder.y"] = evil
    elif place == "schema":
        with zoobot_modules() as module:
            schema = fill_schema(module)
            schema.extra = evil
            content["hyper_parameters"]["schema"] = schema
            torch.save(content, path)
    else:
        content["hyper_parameters"]["name"] = evil
    if place != "schema":
        torch.save(content, path, _use_new_zipfile_serialization=place != "old format")
    with pytest.raises(CheckpointError, match=r"is refused.*(posix|nt)\.system"):
        read_checkpoint(path)
    assert not witness.exists()
    result = click.testing.CliRunner().invoke(main, ["import-zoobot", str(path), str(tmp_path / "o.morph")])
    assert result.exit_code == 1
    assert "is refused" in result.output
    assert not witness.exists()
    assert not (tmp_path / "o.morph").exists()


def test_plain_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "was_run")))
    with pytest.raises(CheckpointError, match=r"evil\.ckpt"):
        read_checkpoint(path)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 0.9999])
def test_truncated(share: float, tmp_path: Path) -> None:
    path, _, _ = save_tree(tmp_path / "tree.ckpt")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"tree\.ckpt"):
        read_checkpoint(path)


def test_truncated_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file(make_encoder().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated"):
        read_checkpoint(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_checkpoint(tmp_path / "nowhere.ckpt")
    with pytest.raises(CheckpointError, match="holds none of"):
        load_source(tmp_path, ImportOptions())


def test_other_classes(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"unet.down.weight": torch.zeros(2)}, "hyper_parameters": {"lr": 1.0}}, path)
    with pytest.raises(CheckpointError, match=r"no checkpoint of Zoobot's.*unet\.down\.weight"):
        read_checkpoint(path)
    save(path, make_encoder(), make_head(7), "head.1.0", {"lr": 1.0})
    with pytest.raises(CheckpointError, match="class that can't be imported"):
        read_checkpoint(path)
    save(path, make_encoder(), make_head(7), "head.3.deep.0", {"lr": 1.0})
    with pytest.raises(CheckpointError, match="not Zoobot's one linear layer"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="a list"):
        read_checkpoint(path)
    torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match="neither"):
        read_checkpoint(path)


def test_unknown_encoder(tmp_path: Path) -> None:
    strange = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8, 64))
    given = {**ERA_29, "name": "hf_hub:me/zoobot-encoder-galaxynet", "num_classes": 2}
    path = save(tmp_path / "c.ckpt", strange, make_head(2), "head.linear", given)
    with pytest.raises(CheckpointError, match=r"no encoder .* knows no encoder 'galaxynet'.*--architecture"):
        load_source(path, ImportOptions())
    path, _, _ = save_tree(tmp_path / "tree.ckpt")
    with pytest.raises(CheckpointError, match="'test_resnet' begins with"):
        load_source(path, ImportOptions(architecture="test_resnet"))
    with pytest.raises(CheckpointError, match="'test_convnext2' does not fit"):
        load_source(path, ImportOptions(architecture="test_convnext2"))


def test_heads_that_do_not_fit(tmp_path: Path) -> None:
    encoder = make_encoder()
    given = {**ERA_29, "question_answer_pairs": PAIRS, "dependencies": DEPENDENCIES}
    path = save(tmp_path / "t.ckpt", encoder, make_head(5), "head.1.0", given)
    with pytest.raises(CheckpointError, match="5 outputs, the questions 7 answers"):
        read_checkpoint(path)
    save(path, encoder, make_head(7, features=32), "head.1.0", given)
    with pytest.raises(CheckpointError, match="takes 32 features; the encoder test_convnext gives 64"):
        load_source(path, ImportOptions())
    broken = make_head(7)
    broken.weight.data[0, 0] = float("nan")
    save(path, encoder, broken, "head.1.0", given)
    with pytest.raises(CheckpointError, match="not finite"):
        load_network(path)


def test_descriptions_cannot_name_files() -> None:
    for name in ("hf_hub:mwalmsley/x", "local-dir:/tmp/x", "../x"):
        with pytest.raises(ValueError, match="name"):
            TimmArchitecture(name=name)
    for option in ("checkpoint_path", "pretrained", "pretrained_cfg_overlay", "cache_dir", "num_classes"):
        with pytest.raises(ValueError, match="is not allowed"):
            TimmArchitecture(name=ENCODER, options={option: "x"})
    with pytest.raises(ModelPackageError, match="knows no encoder 'galaxynet'"):
        build_encoder(TimmArchitecture(name="galaxynet"), 3)
    with pytest.raises(ModelPackageError, match="can't build"):
        build_encoder(TimmArchitecture(name=ENCODER, options={"surprise": 1}), 3)


def test_sights() -> None:
    assert SIGHTS == _SIGHTS
    for name in SIGHTS[2:]:
        sight = make_sight(name, channels=3)
        assert sight.pixels == "nJy/arcsec2"
        assert sight.rendering.kind == name.replace("-", "_")
        assert make_sight(name, channels=1).rendering.greyscale == "itu"
    assert make_sight("legacy-survey", channels=3, bands=("g", "r", "z")).bands == ("g", "r", "z")
    for name, channels, bands, words in (
        ("legacy-survey", 3, ("g", "r", "vis"), "can't show"),
        ("images", 3, ("g",), "takes no bands"),
        ("images", 5, None, "5 channels"),
        ("sound", 3, None, "no sight"),
    ):
        with pytest.raises(CheckpointError, match=words):
            make_sight(name, channels=channels, bands=bands)


@pytest.mark.parametrize("sight", ["images", pytest.param("legacy-survey", marks=pytest.mark.slow)])
def test_command(sight: str, tmp_path: Path) -> None:
    """The package runs with both backends, as the checkpoint does."""
    path, encoder, head = save_tree(tmp_path / "tree.ckpt")
    out = tmp_path / "zoobot.morph"
    arguments = [
        "import-zoobot",
        str(path),
        str(out),
        "--size",
        str(SIZE),
        "--sight",
        sight,
        "--name",
        "mine",
    ]
    result = click.testing.CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    package = ModelPackage.open(out)
    assert package.manifest.model_id in result.output
    assert package.manifest.name == "mine"
    assert "FinetuneableZoobotTree" in package.card()
    assert not package.card().count(str(tmp_path))
    if sight != "images":
        return
    images = make_images()
    with torch.inference_mode():
        expected = torch.sigmoid(head(features_of(encoder, images))) * 100.0 + 1.0
    for backend in ("onnx", "torch"):
        engine = Engine.from_package(package, EngineOptions(backend=backend, device="cpu", batch_size=2))
        outputs = engine.predict(images.numpy(), np.ones(images.shape, np.bool_))
        np.testing.assert_allclose(outputs.alpha[:, 0], expected.numpy(), atol=1e-3)
        assert outputs.classes is None
