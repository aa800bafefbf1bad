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
"""Model packages: what they hold, and every way to be refused."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import TensorProto, helper

from lsst.meas.morphology.errors import ModelPackageError
from lsst.meas.morphology.model.arrays import pack_arrays, unpack_arrays
from lsst.meas.morphology.model.container import pack_members
from lsst.meas.morphology.model.manifest import Manifest
from lsst.meas.morphology.model.package import DROPOUT_MASKS, MEMBERS, ModelPackage, write_package
from lsst.meas.morphology.model.program import verify_program
from lsst.meas.morphology.model.weights import load_weights, serialize_weights, tensor_spans
from lsst.meas.morphology.questions.tree import QuestionTree
from lsst.resources import ResourcePath

TREE = QuestionTree.load("desi")
RNG = np.random.default_rng(20261124)
WEIGHTS = {
    "matrix": RNG.normal(size=(2, TREE.n_answers)).astype(np.float32),
    DROPOUT_MASKS: np.ones((3, 2), np.float32),
    "scalar": np.array(2.0, np.float32),
}
MANIFEST = Manifest.model_validate(
    {
        "name": "tiny",
        "version": "1.0.0",
        "title": "A tiny model",
        "licence": "CC0-1.0",
        "purpose": "commissioning",
        "bands": ["g", "r"],
        "stamp_size": 8,
        "field_of_view": {"rule": "fixed", "pixel_arcsec": 0.2},
        "rendering": {"softening": [1.0, 1.0], "scale": [1.0, 1.0]},
        "architecture": {"kind": "convnext", "depths": [1], "widths": [2]},
        "votes": {"tree": TREE.to_dict(), "samples": 3, "dropout": 0.0},
        "training": {"data": "none", "seed": 1},
    }
)
GOLDEN = {
    "flux": np.zeros((2, 2, 8, 8), np.float32),
    "valid": np.ones((2, 2, 8, 8), np.bool_),
    "alpha": np.ones((2, 3, TREE.n_answers), np.float32),
}


def refer(tensor: onnx.TensorProto, location: str, offset: object, length: object) -> onnx.TensorProto:
    """Make a tensor's values lie in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def model(change: Callable[[onnx.ModelProto], None] = lambda proto: None) -> bytes:
    """Return a small valid program, after a change."""
    span = tensor_spans(serialize_weights(WEIGHTS))["matrix"]
    matrix = helper.make_tensor(
        "matrix", TensorProto.FLOAT, span.shape, WEIGHTS["matrix"].tobytes(), raw=True
    )
    refer(matrix, "weights.safetensors", span.offset, span.size)
    nodes = [
        helper.make_node("Cast", ["valid"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["flux", "mask"], ["seen"]),
        helper.make_node("GlobalAveragePool", ["seen"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["alpha"]),
    ]
    pixels = ["n", 2, 8, 8]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("flux", TensorProto.FLOAT, pixels),
            helper.make_tensor_value_info("valid", TensorProto.BOOL, pixels),
        ],
        [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, ["n", TREE.n_answers])],
        [matrix],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    change(proto)
    return bytes(proto.SerializeToString())


def write(path: Path, **changes: Any) -> ModelPackage:
    parts = {"weights": WEIGHTS, "program": model(), "golden": GOLDEN, "card": "# Tiny\n", **changes}
    return write_package(path, manifest=parts.pop("manifest", MANIFEST), **parts)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("package") / "tiny-1.0.0.morph"
    write(path)
    return path.read_bytes()


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def resealed(data: bytes, **changes: bytes) -> bytes:
    """Return a package with other members and the checksums to match."""
    members = members_of(data) | {name.replace("__", "."): content for name, content in changes.items()}
    document = json.loads(members["manifest.json"])
    document["members"] = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
        if name != "manifest.json"
    }
    return pack_members({**members, "manifest.json": json.dumps(document).encode()})


def refused(data: bytes) -> str:
    with pytest.raises(ModelPackageError, match="the file") as caught:
        ModelPackage.from_bytes(data, path="the file")
    return str(caught.value)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.0.0.morph"
    written = write(path)
    for source in (path, str(path), ResourcePath(path)):
        package = ModelPackage.open(source)
        assert package.path == str(path)
        assert package.manifest == written.manifest
        assert package.manifest.model_copy(update={"members": {}}) == MANIFEST
        assert package.card() == "# Tiny\n"
        assert package.program() == model()
        for expected, found in ((WEIGHTS, package.read_weights()), (GOLDEN, package.golden())):
            assert set(expected) == set(found)
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name], array, strict=True)
                assert found[name].flags.writeable
        assert package.to_bytes() == path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_same_input_same_bytes(tmp_path: Path, good: bytes) -> None:
    again = tmp_path / "again.morph"
    again.write_bytes(b"something old")
    reordered = dict(reversed(WEIGHTS.items()))
    fortran = {**reordered, "matrix": np.asfortranarray(reordered["matrix"])}
    write(again, weights=fortran)
    assert again.read_bytes() == good


def test_other_programs_can_read_it(good: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        assert archive.testzip() is None
        assert tuple(archive.namelist()) == MEMBERS
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        tensors = safetensors.numpy.load(archive.read("weights.safetensors"))
        np.testing.assert_array_equal(tensors["matrix"], WEIGHTS["matrix"])
        with np.load(io.BytesIO(archive.read("golden.npz")), allow_pickle=False) as golden:
            np.testing.assert_array_equal(golden["alpha"], GOLDEN["alpha"])


def test_nothing_is_written_that_would_be_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelPackageError, match="alpha"):
        write(tmp_path / "bad.morph", golden={**GOLDEN, "alpha": GOLDEN["alpha"][:, :2]})
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ModelPackage.open(tmp_path / "none.morph")


def test_every_flipped_bit_is_noticed(good: bytes) -> None:
    """All header bytes, and a sample of the rest."""
    headers = {position for name in MEMBERS for position in range(good.index(name.encode()) - 30, 0, -1)[:60]}
    sample = set(RNG.integers(0, len(good), 300).tolist())
    tail = set(range(len(good) - 400, len(good)))
    for position in sorted(headers | sample | tail):
        damaged = bytearray(good)
        damaged[position] ^= 1 << (position % 8)
        refused(bytes(damaged))


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "manifest.json"])
def test_a_flipped_byte_names_its_member(good: bytes, name: str) -> None:
    content = members_of(good)[name]
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 0x20
    # The zip file itself is right, so that only the manifest can tell.
    message = refused(pack_members(members_of(good) | {name: bytes(damaged)}))
    assert f"member {name!r} is corrupt" in message
    position = good.index(content)
    assert name in refused(good[:position] + bytes(damaged) + good[position + len(content) :])


def test_truncated(good: bytes) -> None:
    for length in {0, 1, 21, 22, 100, *range(0, len(good), 211), len(good) - 1}:
        refused(good[:length])


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x05cposix\nsystem\n", b"x" * 1000])
def test_no_zip_file(data: bytes) -> None:
    assert "no zip file" in refused(data)


def test_bytes_around_the_members(good: bytes) -> None:
    assert "only form" in refused(b"#!/bin/sh\n" + good)
    refused(good + b"more")


def repacked(good: bytes, extra: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return the package as Python's own zip writer makes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in [*members_of(good).items(), *extra]:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def test_compressed_members(good: bytes) -> None:
    assert "is compressed" in refused(repacked(good, [], zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.py", "a path"),
        ("/etc/passwd", "a path"),
        ("sub/weights.safetensors", "a path"),
        ("..", "a path"),
        ("C:evil", "a path"),
        ("manif\u00e9st.json", "a path"),
    ],
)
def test_member_names(good: bytes, name: str, words: str) -> None:
    message = refused(repacked(good, [(name, b"x")]))
    assert words in message
    assert repr(name) in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_member(good: bytes) -> None:
    assert "'card.md' occurs twice" in refused(repacked(good, [("card.md", b"x")]))


def test_unknown_member(good: bytes) -> None:
    assert "unknown member 'code.py'" in refused(pack_members({**members_of(good), "code.py": b"import os"}))


def test_missing_member(good: bytes) -> None:
    members = members_of(good)
    del members["golden.npz"]
    assert "lacks the member 'golden.npz'" in refused(pack_members(members))


def test_too_many_members(good: bytes) -> None:
    extra = [(f"m{index}", b"") for index in range(100)]
    assert "105 members" in refused(repacked(good, extra))


def test_declared_sizes(good: bytes) -> None:
    """A header that promises gigabytes reserves no memory."""
    position = good.rindex(b"weights.safetensors") - 46
    bomb = bytearray(good)
    struct.pack_into("<2L", bomb, position + 20, 0x7FFFFFFF, 0x7FFFFFFF)
    assert "declares members of together" in refused(bytes(bomb))
    struct.pack_into("<2L", bomb, position + 20, 100, 0x7FFFFFFF)
    assert "is compressed" in refused(bytes(bomb))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.morph"
    with path.open("wb") as stream:
        stream.truncate(3 * 1024**3)
    with pytest.raises(ModelPackageError, match="at most"):
        ModelPackage.open(path)


def test_manifest_that_disagrees_with_the_members(good: bytes) -> None:
    members = members_of(good)
    document = json.loads(members["manifest.json"])
    for change, words in (
        ({"card.md": None}, "checksum of member 'card.md'"),
        ({"card.md": {"size": 3, "sha256": "0" * 64}}, "the manifest states 3"),
        ({"other": {"size": 3, "sha256": "0" * 64}}, "checksum of 'other'"),
    ):
        stated = {key: value for key, value in (document["members"] | change).items() if value}
        changed = json.dumps({**document, "members": stated}).encode()
        assert words in refused(pack_members({**members, "manifest.json": changed}))


def test_manifest_of_the_future(good: bytes) -> None:
    members = members_of(good)
    document = json.loads(members["manifest.json"]) | {"min_read_version": 99}
    members["manifest.json"] = json.dumps(document).encode()
    assert "version 99 or newer" in refused(pack_members(members))


def npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


class Trap:
    """Would leave a trace if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("unpickled",)


def test_pickle_in_golden(good: bytes) -> None:
    golden = {f"{name}.npy": npy(array) for name, array in GOLDEN.items()}
    trap = npy(np.array([Trap()], dtype=object))
    message = refused(resealed(good, golden__npz=pack_members({**golden, "alpha.npy": trap})))
    assert "golden.npz" in message
    assert "pickled objects" in message
    assert "'alpha.npy'" in message
    message = refused(resealed(good, golden__npz=pack_members({**golden, "alpha.npy": pickle.dumps(Trap())})))
    assert "not a plain array" in message
    assert "golden.npz" in refused(resealed(good, golden__npz=pickle.dumps(Trap())))


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros(3, dtype=[("a", "f4"), ("b", "O")])),
        npy(np.zeros(3, dtype=[("a", "f4")])),
        npy(np.array(["text"])),
        npy(np.zeros(3, "M8[s]")),
        npy(np.zeros(3, "c8")),
        npy(np.zeros((3, 2), order="F")),
        npy(np.zeros(3))[:-1],
        npy(np.zeros(3)) + b"\0",
        npy(np.zeros(3)).replace(b"(3,)", b"(9**99,)"),
        npy(np.zeros(3)).replace(b"(3,), }   ", b"(3000000),}"),
        npy(np.zeros(3)).replace(b"(3,)", b"(-3)"),
        b"\x93NUMPY\x03\x00",
        b"\x93NUMPY\x01\x00\xff\xff{" + b"[" * 65534,
        b"",
    ],
)
def test_arrays_that_are_not_plain(content: bytes) -> None:
    with pytest.raises(ModelPackageError, match="the file: member 'a.npy'"):
        unpack_arrays(pack_members({"a.npy": content}), source="the file")


def test_arrays_round_trip() -> None:
    arrays = {
        "scalar": np.array(3, np.int16),
        "empty": np.zeros((0, 4), np.float16),
        "bits": np.array([[True, False]]),
        "f8": np.linspace(0, 1, 5),
    }
    found = unpack_arrays(pack_arrays(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    with pytest.raises(ValueError, match="[Oo]bject arrays"):
        pack_arrays({"a": np.array([None])})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": GOLDEN["alpha"].astype(np.float64)}, "float64"),
        ({"flux": GOLDEN["flux"][:1]}, "'valid'"),
        ({name: array[:0] for name, array in GOLDEN.items()}, "n > 0"),
        ({"extra": np.zeros(1)}, "'extra'"),
        ({"valid": GOLDEN["valid"].astype(np.uint8)}, "uint8"),
        ({"flux": np.float32(1.0)}, "shape ()"),
    ],
)
def test_golden_arrays_of_another_model(tmp_path: Path, changes: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ModelPackageError, match=r"golden\.npz") as caught:
        write(tmp_path / "bad.morph", golden={**GOLDEN, **changes})
    assert words in str(caught.value)


def test_dropout_masks_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ModelPackageError, match="3 dropout masks"):
        write(tmp_path / "bad.morph", weights={**WEIGHTS, DROPOUT_MASKS: np.ones((2, 3), np.float32)})


def test_card_is_text(good: bytes) -> None:
    assert "not UTF-8" in refused(resealed(good, card__md=b"\xff\xfe\x00"))


# Weights


def test_weights_agree_with_the_library() -> None:
    data = serialize_weights(WEIGHTS)
    spans = tensor_spans(data)
    for name, array in safetensors.numpy.load(data).items():
        span = spans[name]
        assert data[span.offset : span.offset + span.size] == array.tobytes()
        np.testing.assert_array_equal(load_weights(data)[name], array, strict=True)


def weights_file(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(begin: int, end: int, **changes: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end], **changes}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        weights_file(b"[]"),
        weights_file(b"nonsense"),
        weights_file({"a": 1}),
        weights_file({"a": {**entry(0, 2), "code": "x"}}, b"ab"),
        weights_file({"a": entry(0, 2, dtype="PICKLE")}, b"ab"),
        weights_file({"a": entry(0, 2, dtype=["U8"])}, b"ab"),
        weights_file({"a": entry(0, 2, shape=[3])}, b"ab"),
        weights_file({"a": entry(0, 2, shape=[-1, -2])}, b"ab"),
        weights_file({"a": entry(0, 2, shape=[2.0])}, b"ab"),
        weights_file({"a": entry(0, 2, data_offsets=[0, 2, 4])}, b"ab"),
        weights_file({"a": entry(0, 2), "b": entry(1, 3)}, b"abc"),
        weights_file({"a": entry(0, 2), "b": entry(3, 4)}, b"abcd"),
        weights_file({"a": entry(0, 2)}, b"abc"),
        weights_file({"a": entry(0, 4)}, b"abc"),
    ],
)
def test_bad_weights(good: bytes, data: bytes) -> None:
    assert "weights.safetensors is not a valid safetensors file" in refused(
        resealed(good, weights__safetensors=data)
    )


# The program


def set_domain(domain: str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node[0].domain = domain

    return change


def branches(node: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(
        [node], "branch", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, [])]
    )


def hide_in_subgraph(proto: onnx.ModelProto) -> None:
    inner = helper.make_node("PyOp", [], ["z"], domain="ai.onnx.contrib")
    middle = helper.make_node("If", ["c"], ["z"], then_branch=branches(inner), else_branch=branches(inner))
    outer = helper.make_node("If", ["c"], ["z"], then_branch=branches(middle), else_branch=branches(middle))
    proto.graph.node.append(outer)


def hide_in_function(proto: onnx.ModelProto) -> None:
    inner = helper.make_node("PyOp", ["x"], ["y"], domain="com.microsoft")
    opsets = [helper.make_opsetid("", 18)]
    proto.functions.append(helper.make_function("", "Gelu", ["x"], ["y"], [inner], opsets))


def hide_in_training(proto: onnx.ModelProto) -> None:
    inner = helper.make_node("PyOp", [], ["z"], domain="ai.onnx.contrib")
    proto.training_info.add().algorithm.CopyFrom(branches(inner))


def import_domain(proto: onnx.ModelProto) -> None:
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def nest(proto: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["c"], ["z"])
    for _ in range(20):
        node = helper.make_node("If", ["c"], ["z"], then_branch=branches(node))
    proto.graph.node.append(node)


def move(location: str, offset: object = None, length: object = None) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        span = tensor_spans(serialize_weights(WEIGHTS))["matrix"]
        tensor = proto.graph.initializer[0]
        del tensor.external_data[:]
        refer(
            tensor,
            location,
            span.offset if offset is None else offset,
            span.size if length is None else length,
        )

    return change


def hide_in_attribute(proto: onnx.ModelProto) -> None:
    value = refer(helper.make_tensor("v", TensorProto.FLOAT, [1], b"\0" * 4, raw=True), "/etc/passwd", 0, 4)
    proto.graph.node.append(helper.make_node("Constant", [], ["k"], value=value))


def state_twice(proto: onnx.ModelProto) -> None:
    item = proto.graph.initializer[0].external_data.add()
    item.key, item.value = "location", "/etc/passwd"


def state_more(proto: onnx.ModelProto) -> None:
    item = proto.graph.initializer[0].external_data.add()
    item.key, item.value = "basepath", "/etc"


def sparse(proto: onnx.ModelProto) -> None:
    proto.graph.sparse_initializer.add().dims.append(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_domain("ai.onnx.contrib"), "'Cast' of the foreign domain 'ai.onnx.contrib'"),
        (set_domain("com.microsoft"), "foreign domain 'com.microsoft'"),
        (set_domain("ai.onnx.ml"), "foreign domain 'ai.onnx.ml'"),
        (hide_in_subgraph, "'PyOp' of the foreign domain"),
        (hide_in_function, "field 25 of its ModelProto is not allowed"),
        (hide_in_training, "field 20 of its ModelProto is not allowed"),
        (import_domain, "imports operators of the foreign domain"),
        (nest, "nested"),
        (move("/etc/passwd"), "'/etc/passwd'"),
        (move("../weights.safetensors"), "'../weights.safetensors'"),
        (move("golden.npz"), "'golden.npz'"),
        (move("weights.safetensors", offset=0), "not those of a tensor"),
        (move("weights.safetensors", length=1 << 40), "not those of a tensor"),
        (move("weights.safetensors", offset=-8), "offset and length"),
        (move("weights.safetensors", offset="1e3"), "offset and length"),
        (move("weights.safetensors", offset="9" * 5000), "offset and length"),
        (hide_in_attribute, "'/etc/passwd'"),
        (state_twice, "twice"),
        (state_more, "must state location, offset and length"),
        (sparse, "field 15 of its GraphProto is not allowed"),
    ],
)
def test_programs_with_a_way_out(
    tmp_path: Path, good: bytes, change: Callable[[onnx.ModelProto], None], words: str
) -> None:
    with pytest.raises(ModelPackageError, match=r"program\.onnx is refused"):
        write(tmp_path / "bad.morph", program=model(change))
    message = refused(resealed(good, program__onnx=model(change)))
    assert words in message


@pytest.mark.parametrize(
    "data", [b"", b"\x08", b"\xff" * 20, b"nonsense", pickle.dumps(Trap()), b"\x3a\xff\x01"]
)
def test_no_program(good: bytes, data: bytes) -> None:
    assert "program.onnx is refused" in refused(resealed(good, program__onnx=data))


def test_damaged_programs_never_crash_the_check() -> None:
    program = model()
    spans = tensor_spans(serialize_weights(WEIGHTS))
    for position in range(len(program)):
        for damaged in (program[:position], program[:position] + b"\xff" + program[position + 1 :]):
            try:
                verify_program(damaged, weights_name="weights.safetensors", spans=spans)
            except ModelPackageError:
                continue


def test_what_passes_is_what_onnx_reads() -> None:
    """The check sees each operator that the library sees."""
    program = model()
    spans = tensor_spans(serialize_weights(WEIGHTS))
    verify_program(program, weights_name="weights.safetensors", spans=spans)
    proto = onnx.load_from_string(program)
    for index in range(len(proto.graph.node)):
        changed = onnx.load_from_string(program)
        changed.graph.node[index].domain = "x"
        with pytest.raises(ModelPackageError, match="foreign"):
            verify_program(changed.SerializeToString(), weights_name="weights.safetensors", spans=spans)
