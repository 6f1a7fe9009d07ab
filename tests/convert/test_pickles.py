"""Pickles: what tensors are is read, and twelve hostile ones leave no mark."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.cli import main
from limner.convert import pickles
from limner.convert.opening import open_tensors
from limner.errors import CheckpointError
from tests.convert import dvae


class Call:
    """A value whose pickle calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.call = function, given

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def rezipped(data: bytes, change: Callable[[str, bytes], bytes], **how: Any) -> bytes:
    """Return an archive anew with its members changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", **how) as new:
        for each in old.infolist():
            new.writestr(each.filename, change(each.filename, old.read(each)))
    return buffer.getvalue()


def named(module: str, name: str, *given: str) -> bytes:
    """Return a bare pickle that calls a function by its name, where it may not be importable."""
    words = b"".join(b"X" + struct.pack("<I", len(each)) + each.encode() for each in given)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + words + b"tR."


def in_data(data: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, old: data if name.endswith("data.pkl") else old


def with_bad_checksum(data: bytes) -> bytes:
    at = data.index(struct.pack("<f", 1.5))  # of the tensor, behind its checksum
    return data[:at] + b"\xff" + data[at + 1 :]


def without_end() -> torch.Tensor:
    return torch.zeros(1).expand(2**20, 2**20)


def hostile(marker: str) -> dict[str, bytes]:
    """Return hostile files, by what they try; where one runs code, it makes the marker's file."""
    touch = f"touch {marker}"
    honest = saved({"blocks.input.w": torch.full((4,), 1.5)})
    code = f"open({marker!r}, 'w').close()"
    bomb = rezipped(
        saved({"a": torch.zeros(2**20)}), lambda _, old: old, compression=zipfile.ZIP_DEFLATED
    )
    inner = rezipped(saved({"a": Call(os.system, touch)}), lambda _, old: old)
    return {
        "os.system": saved({"a": Call(os.system, touch)}),
        "eval": saved({"a": Call(eval, f"exec({code!r})")}),
        "exec in a bare pickle": pickle.dumps(Call(exec, code), protocol=2),
        "pip.main": named("pip", "main", "install"),
        "torch.hub": rezipped(honest, in_data(named("torch.hub", "load", "a/b", "c"))),
        "runpy": rezipped(honest, in_data(named("runpy", "run_path", marker))),
        "nested zip": rezipped(honest, in_data(inner)),
        "bad checksum": with_bad_checksum(honest),
        "zip bomb": bomb,
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(64),
        "a sparse tensor": saved({"a": torch.eye(3).to_sparse()}),
        "a view without end": saved({"a": without_end()}),
        "old protocol": pickle.dumps(Call(os.system, touch), protocol=0),
        "memory": rezipped(
            honest, in_data(b"\x80\x02cbuiltins\nbytearray\n(\x8a\x06" + b"\x00" * 5 + b"\x40tR.")
        ),
    }


@pytest.mark.parametrize("kind", hostile(""))
def test_a_hostile_file_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    marker = tmp_path / "marker"
    source = dvae.write_dvae(tmp_path / "in")
    (source / "encoder.pkl").write_bytes(hostile(str(marker))[kind])
    with pytest.raises(SystemExit) as ended:
        main(["import", str(source), "--out", str(tmp_path / "out"), "--as", "openai-dvae"])
    printed = capsys.readouterr()
    assert ended.value.code == 4, printed.err
    assert printed.err.count("\n") == 1 and "encoder.pkl" in printed.err
    assert printed.out == "" and "internal error" not in printed.err
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.SAFETENSORS", "encoder.st"])
def test_the_first_bytes_say_what_a_file_is_and_not_its_name(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    (tmp_path / name).write_bytes(saved({"a": Call(os.system, f"touch {marker}")}))
    with pytest.raises(CheckpointError, match="asks for"), open_tensors(tmp_path / name):
        pass
    assert not marker.exists()


def test_tensors_of_every_type_and_the_values_beside_them_are_read(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "half": torch.randn(2, 3).half(), "brain": torch.randn(4).bfloat16(),
        "flag": torch.tensor([True]), "turned": torch.randn(3, 5).T, "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 2),
        "part": shared[2:4], "again": shared,
    }  # fmt: skip
    told = {"weights": state, "hparams": {"dim": 8, "types": ("full", "axial_row")}, "epoch": 3}
    for zipped in (True, False):
        torch.save(told, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
        with open_tensors(tmp_path / "a.pt") as opened:
            assert set(opened.entries) == {f"weights/{name}" for name in state}
            assert opened.values == {
                "hparams/dim": 8, "hparams/types": ["full", "axial_row"], "epoch": 3,
            }  # fmt: skip
            for name, wanted in state.items():
                found = opened.read(f"weights/{name}")
                assert found.dtype == wanted.dtype and torch.equal(found, wanted), name


def test_the_process_has_no_network_and_writes_no_file(tmp_path: Path) -> None:
    code = (pickles._PROCESS.read_text("utf-8").rpartition("if __name__")[0]) + (
        "import socket\nleave_the_network()\nconfine(2**30, 60)\n{}\nprint('done')\n"
    )
    for attempt in ("socket.socket()", "os.system('true')", "open('x', 'w')", "os.remove('y')"):
        ran = subprocess.run(
            [sys.executable, "-c", code.replace("{}", attempt)],
            cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 77 and b"done" not in ran.stdout, attempt
    assert not list(tmp_path.iterdir())


def test_a_process_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles, "SECONDS", 0)
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="ended the process"), open_tensors(tmp_path / "a.pt"):
        pass


READERS = ("convert", "cli.importing", "cli.exporting", "cli.models")


def test_nothing_but_the_import_reaches_the_reader_of_pickles() -> None:
    from tests.test_layers import ROOT, read_imports

    for each in read_imports(ROOT / "limner"):
        if each.target.startswith("limner.convert"):
            place = each.source.removeprefix("limner.")
            assert place.startswith(READERS) or place == "limner", place
    package = ROOT / "limner"
    texts = {path: path.read_text("utf-8") for path in package.rglob("*.py")}
    assert not [path for path, text in texts.items() if "weights_only=False" in text]
