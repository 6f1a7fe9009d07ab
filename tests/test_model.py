"""What `limner.load` returns: it draws, saves itself, and goes to the Hub and back."""

import copy
import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import limner
from limner.checkpoint.model import save_checkpoint
from limner.codecs import create_codec
from limner.errors import ResourceError, UsageError
from limner.model import MODELS, ClipModel, Drawing
from limner.pipelines.families import FAMILIES
from tests.checkpoint.test_adapters import tensors_of
from tests.tiny_clip import save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import CODEC, save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

PROMPT = "a red apple"
SAVED = {
    "dalle": save_tiny_model,
    "unclip": save_tiny_unclip,
    "gan": save_tiny_gan,
    "clip": save_tiny_clip,
}
PARTS = ("config.json", "model.safetensors", "tokenizer.json", "manifest.json")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {family: save(folder / family) for family, save in SAVED.items()}


@pytest.fixture
def model(folders: dict[str, Path]) -> Any:
    return limner.load(folders["dalle"])


def test_every_family_has_its_model() -> None:
    assert {kind.family for kind in MODELS} == set(FAMILIES) == set(SAVED)


@pytest.mark.parametrize("family", SAVED)
def test_a_loaded_model_is_saved_as_it_was(
    folders: dict[str, Path], family: str, tmp_path: Path
) -> None:
    loaded = limner.load(folders[family])
    assert loaded.save(tmp_path / "again") == tmp_path / "again"
    for name in PARTS:
        assert (tmp_path / "again" / name).read_bytes() == (folders[family] / name).read_bytes()
    assert limner.load(tmp_path / "again").info == loaded.info


def test_the_embedded_models_are_saved_as_they_are(tmp_path: Path) -> None:
    loaded = limner.load("clip")  # the smallest, its weights in fp16, with a card
    loaded.save_pretrained(tmp_path / "clip")
    again = limner.load(tmp_path / "clip")
    assert (again.info, again.config, again.card) == (loaded.info, loaded.config, loaded.card)
    assert again.card


def test_what_is_given_to_save_counts(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m", name="mine", licence="MIT", card="# Mine\n", weights="fp16")
    again = limner.load(tmp_path / "m")
    assert (again.info.name, again.info.licence, again.card) == ("mine", "MIT", "# Mine\n")
    kinds = {each.dtype for each in load_file(tmp_path / "m" / "model.safetensors").values()}
    assert torch.float16 in kinds and torch.float32 not in kinds
    with pytest.warns(FutureWarning, match="half is called weights now"):
        again.save(tmp_path / "full", half=False)
    assert (again.stored, limner.load(tmp_path / "full").stored) == ("fp16", "fp32")


def test_a_saved_model_has_its_adapters_in_it(
    model: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    from limner.checkpoint.adapters import AdapterInfo, save_adapter

    info = AdapterInfo(model.info.sha256, "tiny", 2, 2.0)
    save_adapter(tmp_path / "a.safetensors", tensors_of(0), info)
    alone = limner.load(folders["dalle"], adapters=tmp_path / "a.safetensors")
    weighed = limner.load(folders["dalle"], adapters=(tmp_path / "a.safetensors", 1.0))
    alone.save(tmp_path / "m")
    merged = limner.load(tmp_path / "m")
    for loaded in (weighed, merged):
        for name, tensor in alone.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name
    assert merged.info.sha256 != model.info.sha256
    assert repr(alone).endswith("cpu, fp32, adapter a>")


def test_a_model_that_became_another_is_refused_before_a_file_is_written(
    model: Any, tmp_path: Path
) -> None:
    model.codec = create_codec({**CODEC, "decoder_channels": [16, 8, 8]})
    with pytest.raises(UsageError, match=r"no longer what 'tiny' was loaded as.* codec, prior"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_table_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    from tests.tiny_model import tiny_pipeline

    with pytest.raises(UsageError, match="config of the pipeline's prior is not known"):
        save_checkpoint(tmp_path / "m", tiny_pipeline(), name="m", licence="MIT", codec=CODEC)
    assert not (tmp_path / "m").exists()


def test_a_model_draws_as_limner_draws_with_it(model: Any) -> None:
    wanted = limner.draw(PROMPT, model=model, n=2, seed=3, temperature=0.5)
    for drawn in (model.draw, model):
        pictures = drawn(PROMPT, n=2, seed=3, temperature=0.5)
        assert [each.to_png() for each in pictures] == [each.to_png() for each in wanted]
    with pytest.raises(UsageError, match="device is given, but the model has been loaded already"):
        model.draw(PROMPT, device="cpu")


def test_a_model_varies_as_limner_varies_with_it(folders: dict[str, Path], tmp_path: Path) -> None:
    model = limner.load(folders["unclip"])
    (drawn,) = model(PROMPT, seed=1, steps=1)
    drawn.save(tmp_path / "a.png")
    given = (drawn, drawn.image, tmp_path / "a.png", str(tmp_path / "a.png"))
    pixels = {limner.vary(each, model=model, seed=2)[0].image.tobytes() for each in given}
    pixels |= {model.vary(each, seed=2)[0].image.tobytes() for each in given}
    assert len(pixels) == 1


TASKS = ("draw", "vary", "edit", "outpaint", "colourise", "restyle", "morph", "explain")


@pytest.mark.parametrize("task", TASKS)
def test_a_model_has_every_task_with_the_same_arguments_in_the_same_order(task: str) -> None:
    def arguments(of: Any) -> dict[str, inspect.Parameter]:
        given = inspect.signature(of).parameters.values()
        left_out = ("self", "model", "options", "device")  # a model stands on one
        return {each.name: each for each in given if each.name not in left_out}

    own, wanted = arguments(getattr(Drawing, task)), arguments(getattr(limner, task))
    assert list(own) == list(wanted)
    for name, each in own.items():
        assert (each.kind, each.default) == (wanted[name].kind, wanted[name].default), name


def test_a_model_morphs_as_limner_morphs_with_it(model: Any) -> None:
    ends = (PROMPT, "a red zebra")
    way = model.morph(*ends, frames=3, seed=5, upscale=2)
    wanted = limner.morph(*ends, frames=3, seed=5, model=model, upscale=2)
    assert [each.tobytes() for each in way.frames] == [each.tobytes() for each in wanted.frames]
    assert len(way.frames) == 3 and way.frames[0].width == 2 * model.size
    with pytest.raises(UsageError, match="has no argument 'strength'"):
        model.morph(*ends, strength=0.5)


def test_what_is_coloured_is_finished_and_what_is_explained_is_not(
    folders: dict[str, Path], model: Any
) -> None:
    grey = Image.effect_noise((20, 16), 50)
    (picture,) = limner.load(folders["unclip"]).colourise(grey, steps=2, palette="#000,#fff")
    colours = {colour for _, colour in picture.image.getcolors() or []}
    assert colours <= {(0, 0, 0), (255, 255, 255)} and colours
    assert picture.settings["finish"]["palette"] == ["#000000", "#ffffff"]
    with pytest.raises(UsageError, match="upscale is 2, but an explanation is of the picture as"):
        model.explain(PROMPT, upscale=2)


def test_a_clip_that_is_called_compares(folders: dict[str, Path], model: Any) -> None:
    clip = limner.load(folders["clip"])
    assert isinstance(clip, ClipModel)
    (picture,) = model(PROMPT, seed=1)
    assert torch.equal(clip(picture, [PROMPT]), clip.compare([picture.image], [PROMPT]))
    with pytest.raises(UsageError, match=r"what limner\.load returns of a model that draws"):
        limner.draw(PROMPT, model=clip)  # type: ignore[arg-type]


def test_a_copy_is_a_model_too(model: Any) -> None:
    twin = copy.deepcopy(model)
    assert twin(PROMPT, seed=1)[0].to_png() == model(PROMPT, seed=1)[0].to_png()
    assert type(twin) is type(model)


def test_a_model_is_loaded_by_the_names_of_other_libraries(folders: dict[str, Path]) -> None:
    loaded = limner.Model.from_pretrained(folders["dalle"], precision="bf16", device="cpu")
    assert (loaded.info.name, loaded.precision) == ("tiny", "bf16")
    with pytest.raises(UsageError, match="no argument 'torch_dtype'; limner calls it precision"):
        limner.Model.from_pretrained("default", torch_dtype=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="revision is 'v1', but 'default' is on this machine"):
        limner.Model.from_pretrained("default", revision="v1")


class Hub:
    """Stands for the network alone: what is uploaded is kept, and given to who downloads."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, list[Any]()

    def create_repo(self, _: Any, name: str, *, private: bool | None, exist_ok: bool) -> None:
        self.calls.append(("repo", name, private, exist_ok))

    def create_branch(self, _: Any, name: str, *, branch: str, exist_ok: bool) -> None:
        self.calls.append(("branch", name, branch, exist_ok))

    def upload_folder(
        self, _: Any, *, repo_id: str, folder_path: Path, revision: str | None, commit_message: str
    ) -> None:
        shutil.copytree(folder_path, self.place(repo_id, revision or "main"))
        self.calls.append(("files", repo_id, revision, commit_message))

    def snapshot_download(
        self, name: str, *, revision: str | None, allow_patterns: list[str]
    ) -> str:
        assert set(PARTS) <= set(allow_patterns)
        return str(self.place(name, revision or "main"))

    def place(self, name: str, revision: str) -> Path:
        return self.folder / name / "snapshots" / revision


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "hub")
    for name in ("create_repo", "create_branch", "upload_folder"):
        method = getattr(hub, name)
        monkeypatch.setattr(
            huggingface_hub.HfApi, name, lambda api, *a, call=method, **k: call(api, *a, **k)
        )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_a_model_goes_to_the_hub_and_comes_back(model: Any, hub: Hub) -> None:
    assert model.push_to_hub("someone/tiny", private=True) == "hf:someone/tiny"
    assert hub.calls == [
        ("repo", "someone/tiny", True, True),
        ("files", "someone/tiny", None, "Upload a model of limner"),
    ]
    for loaded in (
        limner.load("hf:someone/tiny"),
        limner.Model.from_pretrained("someone/tiny"),
        limner.Model.from_pretrained("hf:someone/tiny"),
    ):
        assert loaded.info == model.info
    config = json.loads((hub.place("someone/tiny", "main") / "config.json").read_text("utf-8"))
    assert config["family"] == "dalle"


def test_a_revision_is_a_branch_of_its_own(model: Any, hub: Hub) -> None:
    model.push_to_hub("someone/tiny")
    name = model.push_to_hub("someone/tiny", revision="refs/two", name="second")
    assert name == "hf:someone/tiny@refs/two"
    assert ("branch", "someone/tiny", "refs/two", True) in hub.calls
    loaded = [
        limner.load(name),
        limner.Model.from_pretrained("someone/tiny", revision="refs/two"),
        limner.load("hf:someone/tiny"),
    ]
    assert [each.info.name for each in loaded] == ["second", "second", "tiny"]


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "a b/c", "", "someone/"])
def test_a_name_that_is_none_is_refused_before_the_network(
    model: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="names no repository; expected owner/name"):
        model.push_to_hub(name)


def test_a_hub_that_refuses_is_told_in_one_sentence(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("nobody answers\nat all")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(ResourceError, match="did not take 'a/b': nobody answers; log in with hf"):
        model.push_to_hub("a/b")


def test_a_model_tells_what_it_is_in_one_line(model: Any) -> None:
    assert repr(model) == str(model)
    assert repr(model).startswith("<limner model 'tiny' of the family dalle: 16 pixels, 0.0 M para")
    assert "\n" not in repr(model)
