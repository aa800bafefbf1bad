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

"""Catalogues of image files in, tables of a model's answers out."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from lsst.meas.morphology.cli.main import main
from lsst.meas.morphology.errors import ImageReadError, MissingColumnError, ModelMismatchError
from lsst.meas.morphology.image_catalog import predict_catalog
from lsst.meas.morphology.images.catalog import ImageCatalog
from lsst.meas.morphology.images.views import View
from lsst.meas.morphology.inference.engine import Engine
from lsst.meas.morphology.inference.options import EngineOptions
from lsst.meas.morphology.model.package import ModelPackage
from lsst.meas.morphology.posteriors import summarize
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.meas.morphology.tables.galaxy_zoo import tree_of

Image = pytest.importorskip("PIL.Image")

SIZE = 32
COUNT = 23
OPTIONS = EngineOptions(backend="torch", device="cpu", batch_size=8)
IDS = [f"00{n}" if n % 2 else f"J{n}+0{n}" for n in range(COUNT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of images of several sizes and modes, and lists."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "jpg").mkdir()
    rng = np.random.default_rng(0)
    files = []
    for n in range(COUNT):
        width, height = rng.integers(40, 120, 2)
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        mode, ending = (("RGB", "jpg"), ("L", "jpg"), ("RGBA", "png"), ("P", "png"))[n % 4]
        files.append(f"jpg/{n}.{ending}")
        image.convert(mode).save(folder / files[-1])
    (folder / "jpg/8.jpg").write_bytes((folder / "jpg/8.jpg").read_bytes()[:300])
    (folder / "jpg/11.png").unlink()
    table = pa.table({"ra": np.arange(COUNT), "id_str": IDS, "file_loc": files})
    pa.parquet.write_table(table, folder / "list.parquet")
    (folder / "list.csv").write_text(
        "ra,id_str,file_loc\n" + "".join(f"{n},{IDS[n]},{files[n]}\n" for n in range(COUNT))
    )
    return folder


@pytest.fixture(scope="module")
def make_model(make_package):
    def make(**changes):
        return make_package(
            **{
                "bands": ("red", "green", "blue"),
                "optional_bands": (),
                "pixels": "rgb8",
                "stamp_size": SIZE,
                "rendering": {"kind": "rgb8", "era": changes.pop("era", "2.9")},
                **changes,
            }
        )

    return make


def run(model, catalog, out, **options):
    return predict_catalog(ModelPackage.open(model), catalog, out, options=OPTIONS, **options)


def direct(model, folder, era="2.9", draws=1, seed=0):
    """Return the answers of the engine itself, and which images are good."""
    view = View(era, SIZE, draws=draws, seed=seed)
    engine = Engine.from_package(ModelPackage.open(model), OPTIONS)
    listed = pa.parquet.read_table(folder / "list.parquet")["file_loc"].to_pylist()
    outputs, good = [], []
    for row, file in enumerate(listed):
        try:
            pixels = view.read(folder / file, row).astype(np.float32)
        except ImageReadError:
            good.append(False)
        else:
            good.append(True)
            outputs.append(engine.predict(pixels, np.ones(pixels.shape, bool)))
    return outputs, np.array(good)


def test_table_of_a_tree(folder, make_model, tmp_path, caplog):
    model = make_model()
    with caplog.at_level(logging.WARNING):
        summary = run(model, ImageCatalog(folder / "list.csv"), tmp_path / "t.parquet")
    table = pa.parquet.read_table(tmp_path / "t.parquet")
    assert (summary.images, summary.flagged) == (COUNT, 2)
    assert "torch" in summary.description
    assert "8.jpg" in caplog.text
    assert "11.png" in caplog.text
    assert table["id_str"].to_pylist() == IDS
    assert table["file_loc"].to_pylist()[0] == "jpg/0.jpg"
    outputs, good = direct(model, folder)
    assert np.flatnonzero(~good).tolist() == [8, 11]
    assert table["morphology_flag"].to_numpy().tolist() == (~good).tolist()
    problems = table["morphology_problem"].to_pylist()
    assert "8.jpg: " in problems[8]
    assert "no such file" in problems[11]
    tree = tree_of(table.schema, "t")
    assert tree.questions == QuestionTree.load("rubin").questions
    expected = summarize(np.concatenate([output.alpha for output in outputs]), tree)
    for index, name in enumerate(tree.answer_columns):
        for end, values in (("fraction", expected.fraction), ("concentration", expected.concentration)):
            column = table[f"{name}_{end}"].to_numpy()
            assert np.isnan(column[~good]).all()
            np.testing.assert_allclose(column[good], values[:, index], rtol=2e-5)
    assert set(table["modelId"].to_pylist()) == {ModelPackage.open(model).manifest.model_id}


def test_formats_and_batches_make_no_difference(folder, make_model, tmp_path):
    from astropy.table import Table

    Table.read(folder / "list.csv", format="ascii.csv", converters={"id_str": str}).write(
        folder / "list.ecsv", format="ascii.ecsv", overwrite=True
    )
    tables = []
    for ending in ("csv", "parquet", "ecsv"):
        for batch_size in (1, 5, 64):
            out = tmp_path / f"{ending}{batch_size}.parquet"
            predict_catalog(
                ModelPackage.open(make_model()),
                ImageCatalog(folder / f"list.{ending}"),
                out,
                options=EngineOptions(backend="torch", device="cpu", batch_size=batch_size),
                readers=3,
            )
            tables.append(pa.parquet.read_table(out))
    for table in tables:
        for name in tables[0].column_names:
            ours, first = table[name].to_pylist(), tables[0][name].to_pylist()
            if name.endswith(("_fraction", "_concentration")):
                np.testing.assert_allclose(ours, first, rtol=1e-4)
            elif not name.startswith("morphology_") and "_" not in name:
                assert ours == first


def test_random_views_are_samples(folder, make_model, tmp_path):
    model = make_model(era="2.0")
    catalog = ImageCatalog(folder / "list.csv")
    run(model, catalog, tmp_path / "a.parquet", draws=3, seed=5)
    run(model, catalog, tmp_path / "b.parquet", draws=3, seed=6)
    table, other = (pa.parquet.read_table(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    outputs, good = direct(model, folder, "2.0", 3, 5)
    tree = tree_of(table.schema, "t")
    alpha = np.stack([output.alpha.reshape(-1, tree.n_answers) for output in outputs])
    assert alpha.shape[1] == 15
    expected = summarize(alpha, tree)
    column = "smoothOrFeatured_smooth_fraction"
    np.testing.assert_allclose(table[column].to_numpy()[good], expected.fraction[:, 0], rtol=2e-5)
    information = table["smoothOrFeatured_mutualInfo"].to_numpy()[good]
    np.testing.assert_allclose(information, expected.mutual_info[:, 0], rtol=1e-3, atol=1e-6)
    assert (table[column].to_numpy()[good] != other[column].to_numpy()[good]).all()


@pytest.mark.slow
def test_the_average_over_views_converges(folder, make_model, tmp_path):
    """Twice independent averages differ by their own sampling error."""
    model = make_model(era="2.0")
    catalog = ImageCatalog(folder / "list.csv")
    fractions = []
    for seed in range(8):
        run(model, catalog, tmp_path / "t.parquet", draws=16, seed=seed)
        fractions.append(
            pa.parquet.read_table(tmp_path / "t.parquet")["smoothOrFeatured_smooth_fraction"].to_numpy()
        )
    outputs, good = direct(model, folder, "2.0", 64, 99)
    tree = QuestionTree.load("rubin")
    part = tree.slices["smoothOrFeatured"]
    means = np.stack([(o.alpha[..., 0] / o.alpha[..., part].sum(-1)).mean(1) for o in outputs])
    sampling = means.std(axis=1, ddof=1)
    scatter = np.std(fractions, axis=0, ddof=1)[good]
    assert np.sqrt(np.mean((scatter / (sampling / 4.0)) ** 2)) == pytest.approx(1.0, abs=0.3)
    pull = (np.mean(fractions, axis=0)[good] - means.mean(1)) / (sampling * np.sqrt(1 / 128 + 1 / 64))
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.5)


def test_classes_quantities_and_embeddings(folder, make_model, tmp_path):
    model = make_model(
        votes=None,
        embedding={"features": 10},
        classes={"names": ("ring", "no ring")},
        scalar={"name": "redshift"},
    )
    run(model, ImageCatalog(folder / "list.csv"), tmp_path / "t.parquet", embeddings=True)
    table = pa.parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == [
        "id_str",
        "file_loc",
        "morphology_flag",
        "morphology_problem",
        "ring_probability",
        "no ring_probability",
        "redshift",
        "embedding",
        "modelId",
    ]
    outputs, good = direct(model, folder)
    expected = np.concatenate([output.classes for output in outputs])
    np.testing.assert_allclose(table["ring_probability"].to_numpy()[good], expected[:, 0], rtol=1e-4)
    total = table["ring_probability"].to_numpy() + table["no ring_probability"].to_numpy()
    np.testing.assert_allclose(total[good], 1.0, rtol=1e-5)
    quantity = np.concatenate([output.scalar for output in outputs])[:, 0]
    np.testing.assert_allclose(table["redshift"].to_numpy()[good], quantity, rtol=1e-4)
    assert np.isnan(table["redshift"].to_numpy()[~good]).all()
    vectors = np.array(table["embedding"].to_pylist(), float)
    np.testing.assert_allclose(
        vectors[good], np.concatenate([o.embedding for o in outputs]), rtol=2e-3, atol=1e-3
    )
    assert np.isnan(vectors[~good]).all()


def test_a_bare_encoder_writes_its_embedding(folder, make_model, tmp_path):
    run(make_model(votes=None), ImageCatalog(folder / "list.csv"), tmp_path / "t.parquet")
    table = pa.parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names[4:] == ["embedding", "modelId"]
    with pytest.raises(ModelMismatchError, match="no embedding"):
        run(
            make_model(embedding=None),
            ImageCatalog(folder / "list.csv"),
            tmp_path / "u.parquet",
            embeddings=True,
        )
    assert not (tmp_path / "u.parquet").exists()


def test_an_empty_catalogue_makes_an_empty_table(folder, make_model, tmp_path):
    (tmp_path / "list.csv").write_text("id_str,file_loc\n")
    summary = run(make_model(), ImageCatalog(tmp_path / "list.csv"), tmp_path / "t.parquet")
    table = pa.parquet.read_table(tmp_path / "t.parquet")
    run(make_model(), ImageCatalog(folder / "list.csv"), tmp_path / "full.parquet")
    assert summary.images == len(table) == 0
    assert table.schema.equals(pa.parquet.read_schema(tmp_path / "full.parquet"))


def test_models_of_coadds_are_refused(folder, tiny_package, tmp_path):
    with pytest.raises(ModelMismatchError, match="nJy"):
        run(tiny_package, ImageCatalog(folder / "list.csv"), tmp_path / "t.parquet")


def test_nothing_is_left_of_a_run_that_fails(folder, make_model, tmp_path):
    (tmp_path / "list.csv").write_text("id_str,file_loc\na,1.jpg\n,2.jpg\n")
    with pytest.raises(ImageReadError, match=r"row 2 has no id_str"):
        run(make_model(), ImageCatalog(tmp_path / "list.csv"), tmp_path / "t.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "ecsv"])
def test_missing_columns_are_named(folder, ending, tmp_path):
    if ending == "csv":
        (tmp_path / "list.csv").write_text("name,place\na,b\n")
    elif ending == "parquet":
        pa.parquet.write_table(pa.table({"name": ["a"], "place": ["b"]}), tmp_path / "list.parquet")
    else:
        from astropy.table import Table

        Table({"name": ["a"], "place": ["b"]}).write(tmp_path / "list.ecsv")
    path = tmp_path / f"list.{ending}"
    with pytest.raises(MissingColumnError, match=r"id_str.*name, place"):
        list(ImageCatalog(path).rows())
    rows = [one for piece in ImageCatalog(path, "name", "place").rows() for one in piece.ids]
    assert rows == ["a"]


def test_ids_are_text(tmp_path):
    ids = pa.table({"id_str": [2**63 - 1, 7], "file_loc": ["a", None]})
    path = tmp_path / "x.parquet"
    pa.parquet.write_table(ids, path)
    pieces = list(ImageCatalog(path).rows())
    assert [one for piece in pieces for one in piece.ids] == ["9223372036854775807", "7"]
    assert [one for piece in pieces for one in piece.files] == ["a", ""]


def test_counting():
    folder = Path(pytest.importorskip("tempfile").mkdtemp())
    for text, count in (
        ("id_str,file_loc\na,b\nc,d\n", 2),
        ("id_str,file_loc\na,b", 1),
        ("id_str,file_loc", 0),
    ):
        (folder / "x.csv").write_text(text)
        assert ImageCatalog(folder / "x.csv").count() == count


def test_unreadable_catalogues_are_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    (tmp_path / "y.csv").write_bytes(b"id_str,file_loc\na,b,c\n")
    for name in ("x.parquet", "y.csv", "missing.csv", "z.txt"):
        with pytest.raises(ImageReadError, match=name):
            list(ImageCatalog(tmp_path / name).rows())


def test_command(folder, make_model, tmp_path):
    out = tmp_path / "t.parquet"
    arguments = ["predict", str(make_model()), str(folder / "list.csv"), "--out", str(out), "--threads", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"{COUNT} images, 2 of them flagged" in result.output
    assert pa.parquet.read_table(out)["id_str"].to_pylist() == IDS
    (tmp_path / "elsewhere.csv").write_text((folder / "list.csv").read_text())
    arguments[2] = str(tmp_path / "elsewhere.csv")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "--images" in result.output
    assert pa.parquet.read_table(out)["morphology_flag"].to_pylist() == [True] * COUNT
    result = CliRunner().invoke(main, [*arguments, "--images", str(folder)])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["predict", "nothing", *arguments[2:]])
    assert result.exit_code == 1
    assert "nothing" in result.output
