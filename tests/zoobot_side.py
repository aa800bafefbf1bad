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

"""Run by an interpreter that has Zoobot: save models and their predictions.

    python zoobot_side.py FOLDER

FOLDER holds ``cases.json`` and ``catalog.csv``; each case leaves a
checkpoint that Zoobot saved and a table that Zoobot predicted.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import lightning
import numpy as np
import pandas
import timm
import torch
from galaxy_datasets.pytorch.galaxy_dataset import load_img_file
from galaxy_datasets.transforms import get_galaxy_transform, minimal_view_config
from zoobot.pytorch.estimators import define_model
from zoobot.pytorch.predictions import predict_on_catalog
from zoobot.pytorch.training import finetune
from zoobot.shared import schemas

SPREAD = 0.1
"""Standard deviation of a head's outputs over images, before its last
function. An encoder of random weights tells images apart but little, and
what separates them separates rounding errors too.
"""

LABELS = {"classes": ["zero", "one", "two"], "scalar": ["size"]}
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}


def make_encoder(case: dict, images: torch.Tensor) -> torch.nn.Module:
    """Return a seeded encoder whose normalisation has seen the images."""
    torch.manual_seed(case["seed"])
    encoder = timm.create_model(
        case["architecture"], num_classes=0, in_chans=1 if case["grey"] else 3, **case["options"]
    )
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.momentum = None
        encoder.train()
        with torch.no_grad():
            encoder(images)
    return encoder.eval()


def spread(head: torch.nn.Module, features: torch.Tensor) -> None:
    """Make a new head's outputs differ from image to image."""
    (linear,) = (module for module in head.modules() if isinstance(module, torch.nn.Linear))
    with torch.no_grad():
        torch.nn.init.normal_(linear.weight)
        logits = features @ linear.weight.T
        scale = SPREAD / logits.std(dim=0)
        linear.weight *= scale[:, None]
        linear.bias.copy_(torch.randn(linear.bias.shape) - logits.mean(dim=0) * scale)


def make_model(
    kind: str, encoder: torch.nn.Module, case: dict, features: torch.Tensor
) -> lightning.LightningModule:
    schema = getattr(schemas, case["schema"])
    common = {"encoder": encoder, "greyscale": case["grey"], "timm_kwargs": {}}
    if kind == "tree":
        model = finetune.FinetuneableZoobotTree(schema=schema, **common)
    elif kind == "classes":
        model = finetune.FinetuneableZoobotClassifier(num_classes=3, **common)
    elif kind == "scalar":
        model = finetune.FinetuneableZoobotRegressor(label_col="size", unit_interval=case["grey"], **common)
    else:
        model = define_model.ZoobotTree(
            len(schema.label_cols),
            schema.question_answer_pairs,
            schema.dependencies,
            architecture_name=case["architecture"],
            channels=1 if case["grey"] else 3,
            timm_kwargs=case["options"],
            compile_encoder=case.get("compiled", False),
        )
        model.encoder.load_state_dict(encoder.state_dict(), strict=False)
        if case.get("compiled"):
            model.encoder._orig_mod.load_state_dict(encoder.state_dict())
    spread(model.head, features)
    return model.eval()


def save(model: lightning.LightningModule, path: Path) -> None:
    trainer = lightning.Trainer(max_epochs=1, **QUIET)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path, weights_only=True)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    catalog = pandas.read_csv(folder / "catalog.csv", dtype=str)
    for case in json.loads((folder / "cases.json").read_text()):
        config = minimal_view_config()
        config.greyscale = case["grey"]
        transform = get_galaxy_transform(config)
        images = torch.stack([transform(load_img_file(file)) for file in catalog["file_loc"]])
        encoder = make_encoder(case, images[:16])
        with torch.no_grad():
            features = torch.cat([encoder(batch) for batch in images.split(16)])
        for kind in case["kinds"]:
            stem = f"{case['name']}-{kind}"
            out = folder / f"{stem}.csv"
            schema = getattr(schemas, case["schema"])
            if kind == "encoder":
                timm.models.save_for_hf(encoder, str(folder / stem))
                model = encoder
            else:
                model = make_model(kind, encoder, case, features)
                save(model, folder / f"{stem}.ckpt")
            if kind in ("encoder", "zoobot_tree"):
                # Zoobot 2.9 can't predict a catalogue with these.
                with torch.inference_mode():
                    values = torch.cat([model(batch) for batch in images.split(16)]).numpy()
                table = pandas.DataFrame(values, columns=[f"{index}" for index in range(values.shape[1])])
                if kind == "zoobot_tree":
                    table.columns = schema.label_cols
                table["id_str"] = catalog["id_str"]
                table.to_csv(out, index=False)
            else:
                predict_on_catalog.predict(
                    catalog,
                    model,
                    str(out),
                    LABELS.get(kind, schema.label_cols),
                    transform,
                    datamodule_kwargs={"batch_size": 16, "num_workers": 0},
                    trainer_kwargs=QUIET,
                )
            print("done", stem, float(np.ptp(pandas.read_csv(out).iloc[:, 0])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
