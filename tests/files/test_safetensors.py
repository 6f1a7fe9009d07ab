import io
import json
import pickle
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from limner.errors import CheckpointError
from limner.files.safetensors import TensorEntry, read_header, read_tensors


def read(data: bytes) -> dict[str, TensorEntry]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with open(file.name, "rb") as opened:
            return read_header(opened, "model.safetensors")


def refused(data: bytes, fault: str) -> None:
    with pytest.raises(CheckpointError, match=fault) as caught:
        read(data)
    assert "model.safetensors" in str(caught.value)


def build(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def entry(dtype: Any = "F32", shape: Any = (2,), begin: Any = 0, end: Any = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


GOOD = save({"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.int64), "c": torch.zeros(0)})


def test_an_honest_file_is_read_as_the_library_reads_it() -> None:
    found = read(GOOD)
    assert {name: (value.shape, value.count) for name, value in found.items()} == {
        name: (tuple(tensor.shape), tensor.numel()) for name, tensor in load(GOOD).items()
    }
    assert found["b"].dtype == "I64"


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
        torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.uint16, torch.uint32, torch.uint64,
    ],
)  # fmt: skip
def test_every_dense_dtype_is_known(dtype: torch.dtype) -> None:
    assert read(save({"a": torch.zeros(3, dtype=dtype)}))["a"].shape == (3,)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 640 + 2**16])
def test_a_header_whose_length_begins_as_a_pickle_does_is_read(length: int) -> None:
    empty = len(json.dumps({"a": entry(), "__metadata__": {"note": ""}}))
    data = build(
        {"a": entry(), "__metadata__": {"note": "x" * (length - empty)}},
        torch.ones(2).numpy().tobytes(),
    )
    assert data[0] == 0x80 and data[1] in range(2, 6)
    assert read(data)["a"].shape == load(data)["a"].shape == (2,)


def test_metadata_of_text_is_allowed() -> None:
    assert list(read(save({"a": torch.zeros(1)}, metadata={"format": "pt"}))) == ["a"]
    refused(build({"__metadata__": {"a": 1}}), "invalid type")
    refused(build({"__metadata__": ["a"]}), "invalid type")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9])
def test_a_few_bytes_are_no_header(size: int) -> None:
    refused(bytes(size), f"has {size} bytes")


def test_a_cut_or_padded_body_is_not_covered() -> None:
    for data in (GOOD[:-10], GOOD + bytes(10)):
        refused(data, "cannot be read: .*not covering the entire|cannot be read: .*ncomplete")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100_000_001, 1000])
def test_a_lying_header_length_is_refused_at_once(length: int) -> None:
    data = build({"a": entry()}, bytes(8), length)
    began = time.process_time()
    refused(data, "states a header of")
    assert time.process_time() - began < 0.05  # a page fault is allowed; reading 100 MB is not


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (b"not json at all", "not JSON"),
        (b"[1, 2]", "cannot be read: .*header"),
        (b'{"a": ', "not JSON"),
        (b'{"a\xff": 1}', "not UTF-8 at byte 3"),
        (b'{"a":' + b"[" * 200_000, "nested too deeply"),
        (b'{"a": NaN}', "holds NaN"),
        (b"{} {}", "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_header_that_is_not_plain_json_is_refused(header: bytes, fault: str) -> None:
    refused(build(header), fault)


def test_a_doubled_key_is_refused_though_the_library_takes_it() -> None:
    one, two = json.dumps(entry()), json.dumps(entry(begin=0, end=8))
    data = build(f'{{"a": {one}, "a": {two}}}'.encode(), bytes(8))
    assert list(load(data)) == ["a"]
    refused(data, "'a' twice")
    refused(build(b'{"a": {"dtype": "F32", "dtype": "I32"}}', bytes(8)), "'dtype' twice")


@pytest.mark.parametrize(
    ("tensors", "body"),
    [
        ({"a": entry(), "b": entry(begin=4, end=12)}, 12),  # they overlap
        ({"a": entry(), "b": entry()}, 8),
        ({"a": entry(), "b": entry(begin=12, end=20)}, 20),  # a hole between them
        ({"a": entry(begin=4, end=12)}, 12),
        ({"a": entry(shape=[3])}, 8),  # the shape needs another number of bytes
        ({"a": entry(shape=[2**40, 2**40])}, 8),
        ({"a": entry(shape=[-2])}, 8),
        ({"a": entry(shape=[2.0])}, 8),
        ({"a": entry(shape=[True, 2])}, 8),
        ({"a": entry(shape="2")}, 8),
        ({"a": entry(begin=8, end=0)}, 8),
        ({"a": entry(begin=-8, end=0)}, 8),
        ({"a": entry(begin="0")}, 8),
        ({"a": entry(end=2**63)}, 8),
        ({"a": entry(dtype="F128")}, 8),
        ({"a": entry(dtype="SPARSE_COO")}, 8),
        ({"a": entry(dtype=["F32"])}, 8),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8),
        ({"a": 7}, 8),
    ],
)
def test_a_byte_that_nothing_explains_is_refused(tensors: dict[str, Any], body: int) -> None:
    refused(build(tensors, bytes(body)), "cannot be read: .*; get it anew")


def test_a_key_of_no_meaning_is_refused_though_the_library_takes_it() -> None:
    data = build({"a": entry() | {"indices": [0]}}, bytes(8))
    assert list(load(data)) == ["a"]
    refused(data, "'a' of .* data_offsets, and nothing else")


def test_what_is_read_is_the_open_file_whatever_takes_its_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(GOOD)
    with path.open("rb") as file:
        path.unlink()
        path.write_bytes(save({"a": torch.ones(2, 3)}))
        assert set(read_header(file, "it")) == {"a", "b", "c"}
        tensors, metadata = read_tensors(file, "it")
        assert torch.equal(tensors["a"], torch.zeros(2, 3)) and metadata == {}


class Attack:
    """What a hostile pickle holds: a call that the unpickler would make."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (eval, ("1/0",))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_named_as_one(protocol: int) -> None:
    refused(pickle.dumps(Attack(), protocol), "this is a pickle; use limner import")


def test_what_torch_save_writes_is_named() -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, buffer)
    refused(buffer.getvalue(), "zip archive .*use limner import")
    old = io.BytesIO()
    torch.save({"a": torch.zeros(2)}, old, _use_new_zipfile_serialization=False)
    refused(old.getvalue(), "this is a pickle")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (pickle.dumps(Attack(), 0) + bytes(100), "states a header|not JSON"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z archive"),
        (b"\x93NUMPY\x01\x00" + bytes(50), "NumPy"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"GGUF\x03\x00\x00\x00" + bytes(50), "GGUF"),
    ],
)
def test_other_formats_are_refused(data: bytes, fault: str) -> None:
    refused(data, fault)


def test_a_zip_bomb_is_never_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(50_000_000))
    began = time.process_time()
    refused(buffer.getvalue(), "zip archive")
    assert time.process_time() - began < 0.05


def test_cutting_at_every_byte_is_refused_as_the_library_does() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(CheckpointError):
            read(GOOD[:size])
        with pytest.raises(SafetensorError):
            load(GOOD[:size])
