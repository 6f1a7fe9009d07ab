import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner import registry
from limner.checkpoint.shared import ZOO
from limner.errors import CheckpointError, UnknownModelError, UsageError
from limner.registry import PRESETS, describe, details, find, list_models, load
from tests.tiny_model import save_tiny_model
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "model")


def test_the_embedded_default_is_a_preset_of_the_package() -> None:
    assert PRESETS["default"] == Path(registry.__file__).parent / "zoo" / "default"


def test_every_model_of_the_package_is_a_preset() -> None:
    folders = {each.name for each in ZOO.iterdir() if each.is_dir()}
    assert folders == set(PRESETS)
    assert {entry.name for entry in list_models()} == folders


def test_a_folder_loads_by_path_or_text(folder: Path) -> None:
    assert load(folder).info == load(str(folder)).info
    assert load(folder).info.name == "tiny"


def test_a_preset_loads_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "little", folder)
    assert load("little").info.name == "tiny"


def test_a_precision_is_that_of_drawing(folder: Path) -> None:
    assert load(folder).precision == "fp32"
    assert load(folder, precision="bf16").precision == "bf16"
    with pytest.raises(UsageError, match="precision is 'half'; expected fp32, bf16, int8"):
        load(folder, precision="half")


def test_a_device_is_chosen_by_name(folder: Path) -> None:
    assert load(folder).device == load(folder, device="cpu").device == torch.device("cpu")
    assert load(folder, device="auto").device.type in ("cpu", "cuda")
    assert load(folder, device=torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(UsageError, match="device is 'cuda:99', and the number of GPUs"):
        load(folder, device=99)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="device is 'gpu'; expected auto, cpu, cuda or cuda:N"):
        load(folder, device="gpu")


def test_a_preset_wins_over_a_folder_of_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "little", folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "little").mkdir()
    assert find("little") == folder
    assert find("./little") == Path("little")
    assert find(Path("little")) == Path("little")


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A folder as a run leaves it: its own config and log, and the model within."""
    shutil.copytree(folder, tmp_path / "run" / "model")
    (tmp_path / "run" / "config.json").write_text('{"task": "prior"}')
    (tmp_path / "run" / "log.jsonl").write_text("{}\n")
    return tmp_path / "run"


def test_a_run_is_the_model_that_it_made(folder: Path, run: Path) -> None:
    assert find(run) == find(str(run)) == run / "model" and find(run / "model") == run / "model"
    assert load(run).info == load(folder).info
    assert details(run)["folder"] == str(run / "model")
    registry.check(run)


def test_a_run_without_a_model_says_what_it_is(run: Path) -> None:
    shutil.rmtree(run / "model")
    with pytest.raises(CheckpointError, match="is a run that has made no model; go on with it"):
        load(run)
    (run / "codec.safetensors").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="is the run of a codec, which draws nothing alone"):
        load(run)


def test_a_folder_beside_a_model_is_no_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load(tmp_path)


def test_a_check_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys; from limner import registry; registry.check('default')\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert ran.stdout == "[]\n"


def test_a_name_is_checked_before_anything_is_loaded(folder: Path, tmp_path: Path) -> None:
    registry.check(folder)
    registry.check("hf:owner/name")  # without the network
    for wrong, kind in (("defualt", UnknownModelError), ("hf:name", UnknownModelError)):
        with pytest.raises(kind):
            registry.check(wrong)
    with pytest.raises(UsageError, match="is of the family 'dalle', which draws"):
        registry.check(folder, draws=False)
    with pytest.raises(UsageError, match="compares pictures with sentences and draws none"):
        registry.check("clip")
    registry.check("clip", draws=False)


def test_a_path_of_a_presets_name_is_a_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModelError, match="there is no model folder at 'default'; give a"):
        load(Path("default"))


@pytest.mark.parametrize("name", ["defualt", "Default", "defaults"])
def test_a_wrong_name_gets_near_names(name: str) -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'default'") as caught:
        load(name)
    assert caught.value.exit_code == 2
    assert caught.value.param == "model"


def test_a_name_far_from_all_gets_the_list() -> None:
    with pytest.raises(
        UnknownModelError, match=f"the models are {', '.join(PRESETS)}; a folder or hf:"
    ):
        load("zzz")


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 5000, "\ud800"])
def test_a_strange_name_is_only_unknown(name: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        load(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["../x", "./nothing", "runs/nothing", "/no/such/folder"])
def test_a_path_that_is_not_there_is_unknown(name: str) -> None:
    with pytest.raises(UnknownModelError, match="no model folder at"):
        load(name)


def test_a_path_that_is_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(CheckpointError):
            load(path)


@pytest.mark.parametrize(
    "name", ["hf:", "hf:one", "hf:a/b/c", "hf:../../etc", "hf:a b/c", "hf:a/b@"]
)
def test_a_bad_hub_name_is_refused_before_any_network(name: str) -> None:
    with pytest.raises(UnknownModelError, match="expected hf:owner/name"):
        load(name)


def run_offline(cache: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Load in a process of its own: the Hub library reads its settings when imported."""
    code = (
        "import sys, limner\n"
        "try: print(limner.load(sys.argv[1]).info.name)\n"
        "except limner.LimnerError as error: print(error.exit_code, error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", code, name], env=environment, cwd=Path.cwd(),
        capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip


def test_a_hub_model_loads_from_the_cache_through_its_links(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name in ("refs", "blobs", f"snapshots/{commit}"):
        (repository / name).mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    for path in folder.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (repository / "blobs" / digest).write_bytes(path.read_bytes())
        (repository / f"snapshots/{commit}" / path.name).symlink_to(f"../../blobs/{digest}")
    assert run_offline(tmp_path, "hf:someone/tiny").stdout == "tiny\n"
    (repository / f"snapshots/{commit}" / "config.json").unlink()
    (repository / f"snapshots/{commit}" / "config.json").symlink_to("/etc/passwd")
    assert "leads out of the folder" in run_offline(tmp_path, "hf:someone/tiny").stdout


def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    answer = run_offline(tmp_path, "hf:someone/nothing").stdout
    assert answer.startswith("5 'hf:someone/nothing' is not on this machine")


def test_describing_a_folder(folder: Path) -> None:
    entry = describe(folder)
    assert (entry.name, entry.family, entry.size, entry.licence, entry.embedded) == (
        "tiny", "dalle", 16, "Apache-2.0", False,
    )  # fmt: skip
    assert entry.bytes == (folder / "model.safetensors").stat().st_size
    assert entry.parameters * 4 < entry.bytes < entry.parameters * 4 + 20_000


def test_listing_and_details_are_plain_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PRESETS", {"little": folder})
    (entry,) = list_models()
    assert (entry.name, entry.embedded) == ("little", True)
    found = json.loads(json.dumps(details("little")))
    assert found["name"] == "little"
    assert found["codec"]["name"] == "fsq"
    assert found["card"].startswith("# Tiny")
    assert (
        found["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    )


def test_a_damaged_preset_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PRESETS", {"gone": tmp_path / "gone"})
    with pytest.raises(CheckpointError, match="gone"):
        list_models()
