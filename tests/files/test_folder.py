import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.checkpoint.model import load_checkpoint
from limner.errors import CheckpointError
from limner.files.folder import ModelFolder, digest, shown_path
from tests.tiny_model import save_tiny_model
from tests.waiting import PATIENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


def refused(folder: Path, fault: str) -> str:
    began = time.process_time()  # not the clock: other work on the machine takes none of it
    with pytest.raises(CheckpointError, match=fault) as caught:
        load_checkpoint(folder)
    assert time.process_time() - began < 5
    return str(caught.value)


def test_files_are_read_and_digested_as_they_are(folder: Path) -> None:
    opened = ModelFolder(folder)
    data = opened.read("config.json")
    assert data == (folder / "config.json").read_bytes()
    with opened.open("config.json") as file:
        assert digest(file) == digest(data) == opened.manifest()["config.json"]
    opened.check_digest("config.json", data, opened.manifest())


def test_a_text_file_without_end_is_not_read_to_its_end(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**40)  # a sparse file: it takes no room
    refused(folder, "is larger than 67108864 bytes")


def test_a_shown_path_is_one_line_and_keeps_its_end() -> None:
    assert shown_path("a/b") == "a/b"
    assert shown_path("a\nb").isprintable()
    assert shown_path("x" * 500 + "/end").endswith("x/end")
    assert len(shown_path("x" * 500)) == 120


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        ("", "is empty"),
        ("[]", "needs one key"),
        ('{"files": []}', "needs one key"),
        ('{"files": {}, "more": 1}', "needs one key"),
        ('{"files": {}}', "does not list config.json"),
        ('{"files": {"../x": "%s"}}' % ("0" * 64), "outside the folder"),
        ('{"files": {"/etc/passwd": "%s"}}' % ("0" * 64), "outside the folder"),
        ('{"files": {"..": "%s"}}' % ("0" * 64), "outside the folder"),
        ('{"files": {"a\\\\b": "%s"}}' % ("0" * 64), "outside the folder"),
        ('{"files": {"config.json": "abc"}}', "no sha256"),
        ('{"files": {"config.json": 7}}', "no sha256"),
    ],
)
def test_a_manifest_that_misleads_is_refused(folder: Path, manifest: str, fault: str) -> None:
    (folder / "manifest.json").write_text(manifest)
    refused(folder, fault)


def test_a_missing_manifest_is_refused(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    refused(folder, r"has no manifest\.json")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "README.md", "extra.txt"]
)
def test_a_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/etc/passwd")
    assert "root:" not in refused(folder, "is a link that leads out of the folder")


def test_a_link_within_the_folder_or_the_given_root_is_followed(folder: Path) -> None:
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    (folder / "model.safetensors").rename(blobs / "abc")
    (folder / "model.safetensors").symlink_to("../blobs/abc")
    refused(folder, "leads out of the folder")
    assert load_checkpoint(folder, root=folder.parent).info.name == "tiny"
    (blobs / "abc").rename(folder / "weights")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("weights")
    assert load_checkpoint(folder).info.name == "tiny"


def test_a_loop_of_links_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    refused(folder, "cannot read the model folder")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_pipe_or_folder_in_place_of_a_file_never_hangs(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "not a regular file")
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, "cannot read|not a regular file")


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "pipe", tmp_path / "file", Path("/dev/zero")):
        refused(path, "is no folder")
    refused(tmp_path / "nothing", "No such file")
    for name in ("weights.pt", "weights.SAFETENSORS"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
        refused(tmp_path / name, "this is a pickle; use limner import")


def test_a_folder_without_the_right_to_read_is_refused(folder: Path) -> None:
    """Root may read everything, so root asks as a user without rights."""
    folder.chmod(0)
    code = (
        "import sys; sys.path[:0] = [sys.argv[2]]\n"
        "import limner.checkpoint.model, limner.errors, os\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: limner.checkpoint.model.load_checkpoint(sys.argv[1])\n"
        "except limner.errors.CheckpointError as error: print(error.exit_code, error)\n"
    )
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code, str(folder), str(Path.cwd())],
            capture_output=True, text=True, check=True, timeout=PATIENCE,
        )  # fmt: skip
    finally:
        folder.chmod(0o700)
    assert answer.stdout.startswith("4 cannot read the model folder")
    assert "Permission denied" in answer.stdout


def test_a_long_strange_path_is_shown_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200) / "a\nb\x1b[31m"
    path.mkdir(parents=True)
    message = refused(path, r"has no config\.json")
    assert message.isprintable()
