"""Importing: what is refused before anything is read, and what is left when something fails."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import limner
from limner.convert import formats, importing
from limner.convert.files import Files
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, ResourceError, UnknownModelError, UsageError
from limner.files import hub
from tests.convert import dvae, mini


def test_the_name_is_of_the_library_too() -> None:
    assert limner.import_checkpoint is import_checkpoint


@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_format_has_its_module(name: str) -> None:
    reader = formats.find_format(name).reader()
    assert {"looks_like", "plan"} <= set(dir(reader))
    assert formats.FORMATS[name].about and formats.FORMATS[name].files


def test_an_unknown_format_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'openai-dvae'"):
        import_checkpoint(tmp_path, tmp_path / "out", format="openai-vae")


def test_a_place_that_is_in_use_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UsageError, match="is not empty"):
        import_checkpoint(tmp_path / "absent", tmp_path / "out")


@pytest.mark.parametrize("source", ["absent", "", "a\0b"])
def test_nothing_at_the_source_is_told(tmp_path: Path, source: str) -> None:
    with pytest.raises((UnknownModelError, UsageError), match=r"nothing at|give a folder"):
        import_checkpoint(source, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_files_of_no_format_are_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "weights.onnx").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"of no format.*it has 'weights\.onnx'"):
        import_checkpoint(tmp_path / "in", tmp_path / "out")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    source = dvae.write_dvae(tmp_path / "in")
    (source / "encoder.pkl").unlink()
    os.mkfifo(source / "encoder.pkl")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        import_checkpoint(source, tmp_path / "out")


def test_a_repository_is_fetched_by_the_patterns_of_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dvae.write_dvae(tmp_path / "in")
    asked: list[Any] = []

    def download(name: str, patterns: Any) -> tuple[Path, Path]:
        asked.append((name, tuple(patterns)))
        return source, source

    monkeypatch.setattr(hub, "download", download)
    made = import_checkpoint("hf:a/b@c", tmp_path / "out", format="openai-dvae")
    assert asked == [("hf:a/b@c", formats.FORMATS["openai-dvae"].files)]
    assert made.folder == str(tmp_path / "out")
    import_checkpoint("hf:a/b", tmp_path / "two")
    assert set(formats.FORMATS["min-dalle"].files) < set(asked[1][1])


def test_progress_counts_bytes_and_the_precision_stays(tmp_path: Path) -> None:
    encoder, decoder = dvae.random_states()
    (tmp_path / "in").mkdir()
    for name, state in (("encoder", encoder), ("decoder", decoder)):
        halves = {key: each.half() for key, each in state.items()}
        save_file(halves, tmp_path / "in" / f"{name}.safetensors")
    steps: list[tuple[int, int]] = []
    made = import_checkpoint(
        tmp_path / "in", tmp_path / "out", progress=lambda *step: steps.append(step)
    )
    assert steps[-1] == (2 * made.parameters, 2 * made.parameters)
    assert steps == sorted(steps)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mini.write_mini(tmp_path / "in")

    def full(*given: Any) -> str:
        given[0].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importing, "write_tensors", full)
    with pytest.raises(ResourceError, match="No space left"):
        import_checkpoint(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_files_are_found_by_name_in_folders_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("a/b/x.pt", "y.pt", ".git/z.pt"):
        (tmp_path / name).write_bytes(b"x")
    with Files(tmp_path) as files:
        assert files.names == ("y.pt", "a/b/x.pt")
        assert files.find("x.pt") == tmp_path / "a" / "b" / "x.pt"
        assert files.find("none.pt", "*.pt") == tmp_path / "y.pt"
        assert files.single() is None
        with pytest.raises(CheckpointError, match=r"has no z\.pt or w\.pt"):
            files.need("z.pt", "w.pt")


def test_text_that_is_none_is_refused(tmp_path: Path) -> None:
    source = mini.write_mini(tmp_path / "in")
    (source / "vocab.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"cannot read .*vocab\.json"):
        import_checkpoint(source, tmp_path / "out")
    (source / "vocab.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="expected a table of keys"):
        import_checkpoint(source, tmp_path / "out")
    (source / "vocab.json").write_text('{"<s>": 0, "</s>": 2, "<unk>": 99}')
    with pytest.raises(CheckpointError, match="beyond the 23 rows"):
        import_checkpoint(source, tmp_path / "out")
    (source / "vocab.json").write_text('{"<s>": 0}')
    with pytest.raises(CheckpointError, match="no token </s>"):
        import_checkpoint(source, tmp_path / "out")


@torch.no_grad()
def test_a_merge_of_three_pieces_is_refused(tmp_path: Path) -> None:
    source = mini.write_mini(tmp_path / "in")
    (source / "merges.txt").write_text("#version\na b c\n")
    with pytest.raises(CheckpointError, match="line 2: 'a b c' is no pair"):
        import_checkpoint(source, tmp_path / "out")
