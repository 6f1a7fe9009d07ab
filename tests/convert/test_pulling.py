"""Public models by their names: what is told of one that is not here, and how it is got."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from limner import registry
from limner.convert import pulling
from limner.convert.formats import FORMATS
from limner.errors import CheckpointError, ResourceError, UnknownModelError, UsageError
from limner.files import hub, public
from limner.files.public import PUBLIC
from limner.train.parts import find_codec, load_codec
from tests.convert import clips, dvae
from tests.convert.test_dalle_mini import write_flax


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "limner" / "models"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str, ...]]]:
    """Let the folder `hub` stand for the Hub, and return what is asked of it."""
    calls: list[tuple[str, tuple[str, ...]]] = []

    def download(name: str, files: Sequence[str]) -> tuple[Path, Path]:
        calls.append((name, tuple(files)))
        held = tmp_path / "hub" / name.removeprefix(hub.PREFIX)
        if not held.is_dir():
            raise ResourceError(f"'{name}' is not on this machine and the Hub cannot be reached")
        snapshot = tmp_path / f"snapshot{len(calls)}"
        for path in held.iterdir():
            if any(path.match(each) for each in files):
                snapshot.mkdir(exist_ok=True)
                (snapshot / path.name).symlink_to(path)
        return snapshot, tmp_path

    monkeypatch.setattr(hub, "download", download)
    return calls


def test_the_table_is_whole() -> None:
    for name, model in PUBLIC.items():
        assert model.format in FORMATS, name
        assert model.parameters > 0 and model.megabytes > 0 and model.licence and model.place
        told = model.to_json()
        assert told["memory"] == 4 * model.parameters
        assert all("/" in each for each in told["sources"])
        assert len(public.advice(name)) <= 400
        assert ("not for commercial use" in public.advice(name)) == ("NC" in model.licence)


def test_one_that_is_not_here_says_what_it_takes_and_how_to_get_it() -> None:
    for ask in (registry.find, registry.load, registry.check, registry.details):
        with pytest.raises(UnknownModelError) as told:
            ask("dalle-mega")
        for words in ("M parameters", "licence Apache-2.0", "limner models pull dalle-mega",
                      "--from FOLDER", "dalle-mini/dalle-mega"):  # fmt: skip
            assert words in str(told.value)
    with pytest.raises(UnknownModelError, match="did you mean 'siglip-b16' or 'siglip2-b16'"):
        registry.find("siglip-b1")


def test_a_clip_is_fetched_converted_used_and_removed(
    tmp_path: Path, home: Path, asked: list[Any]
) -> None:
    clips.save_transformers(
        clips.random_clip(), tmp_path / "hub" / "openai" / "clip-vit-base-patch32"
    )
    made = pulling.pull("clip-vit-b32")
    assert made.folder == str(home / "clip-vit-b32") and made.format == "clip"
    assert [name for name, _ in asked] == ["hf:openai/clip-vit-base-patch32"]
    assert registry.load_clip("clip-vit-b32").encode_texts(["a cat"]).shape == (1, 24)
    assert [each.name for each in registry.list_models()][-1] == "clip-vit-b32"
    assert registry.details("clip-vit-b32")["name"] == "clip-vit-b32"
    assert registry.details("clip-vit-b32")["licence"] == "MIT"
    assert public.pulled() == ["clip-vit-b32"]
    with pytest.raises(UsageError, match="is on this machine already"):
        pulling.pull("clip-vit-b32")
    folder, size = pulling.remove("clip-vit-b32")
    assert folder == home / "clip-vit-b32" and size > 0 and not folder.exists()
    with pytest.raises(UnknownModelError, match="is not on this machine"):
        pulling.remove("clip-vit-b32")


def test_a_pickle_is_fetched_where_there_is_nothing_else(tmp_path: Path, asked: list[Any]) -> None:
    folder = tmp_path / "hub" / "facebook" / "metaclip-b32-400m"
    clips.save_transformers(clips.random_clip(), folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")  # its bytes tell
    pulling.pull("metaclip-b32")
    assert [("pytorch_model.bin" in files) for _, files in asked] == [False, True]


def test_a_model_of_two_repositories_is_put_together(tmp_path: Path, asked: list[Any]) -> None:
    source = write_flax(tmp_path / "flax")
    shutil.copytree(source, tmp_path / "hub" / "dalle-mini" / "dalle-mini")
    vqgan = tmp_path / "hub" / "dalle-mini" / "vqgan_imagenet_f16_16384"
    shutil.move(tmp_path / "hub" / "dalle-mini" / "dalle-mini" / "vqgan", vqgan)
    made = pulling.pull("dalle-mini")
    assert made.format == "dalle-mini" and len(asked) == 2
    assert registry.load("dalle-mini").family == "dalle"


def test_files_of_a_folder_need_no_network(tmp_path: Path, home: Path, asked: list[Any]) -> None:
    pulling.pull("openai-dvae", dvae.write_dvae(tmp_path / "in"))
    assert not asked and (home / "openai-dvae" / "codec.safetensors").is_file()
    assert all(each.name != "openai-dvae" for each in registry.list_models())
    # As codec_from, and as --codec, its name is enough.
    assert find_codec("openai-dvae") == home / "openai-dvae" / "codec.safetensors"
    assert load_codec("openai-dvae")[1]["name"] == "openai_dvae"
    with pytest.raises(CheckpointError, match="there is no codec or model at 'vqgan-f16-16384'"):
        find_codec("vqgan-f16-16384")


def test_what_cannot_be_fetched_says_where_it_is(asked: list[Any], home: Path) -> None:
    with pytest.raises(UsageError, match="limner cannot fetch 'openai-dvae'; put its files"):
        pulling.pull("openai-dvae")
    with pytest.raises(ResourceError, match="the Hub cannot be reached"):
        pulling.pull("dalle-mega")
    with pytest.raises(UnknownModelError, match="no public model is called 'dalle'"):
        pulling.pull("dalle")
    assert not home.exists()
