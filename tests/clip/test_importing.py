"""Reading an image checkpoint of `transformers`: whole models, what pictures they see."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from limner.clip.importing import Usual, import_image_encoder, read_seen
from limner.clip.pretrained import PRETRAINED_IMAGE
from limner.clip.towers import check_image_encoder
from limner.errors import CheckpointError, ConfigError
from tests.tiny_model import SIZE
from tests.tiny_vision import SEEN, make_vision_model, save_tiny_vision, vision_in

WHOLE = {
    "pretrained_vit": ("ViTForImageClassification", "vit"),
    "pretrained_resnet": ("ResNetForImageClassification", "resnet"),
    "pretrained_clip": ("CLIPModel", "vision_model"),
}
SEEN_FILE = "preprocessor_config.json"
USUAL = Usual((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "ViT")


@pytest.mark.parametrize("name", PRETRAINED_IMAGE)
def test_a_whole_model_gives_its_encoder(name: str, tmp_path: Path) -> None:
    kind, part = WHOLE[name]
    encoder = vision_in(save_tiny_vision(tmp_path, name, kind))
    wanted = make_vision_model(name, kind).get_submodule(part).state_dict()
    held = encoder.body.state_dict()
    assert held and all(torch.equal(value, wanted[key]) for key, value in held.items())
    assert encoder.size == SIZE and list(encoder.config.mean) == SEEN["mean"]


def test_a_vits_names_of_either_age_are_read(tmp_path: Path) -> None:
    body = make_vision_model("pretrained_vit").state_dict()
    wanted = {key: body[key] for key in import_image_encoder(
        str(save_tiny_vision(tmp_path, "pretrained_vit")))[1]}  # fmt: skip
    held = load_file(tmp_path / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in held  # as on the Hub
    save_file(wanted, tmp_path / "model.safetensors")
    found = import_image_encoder(str(tmp_path))[1]
    assert all(torch.equal(value, wanted[key]) for key, value in found.items())


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"size": 32}, {"size": 32}),
        ({"size": {"shortest_edge": 32}}, {"size": 32}),
        ({"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}, {"size": 32}),
        ({"size": 32, "crop_size": 48, "do_center_crop": False}, {"size": 32}),
        ({"image_mean": None}, {"mean": [0.5] * 3}),
        ({}, {"size": SIZE, "mean": [0.5] * 3, "std": [0.5] * 3}),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}, {"mean": [0.0] * 3, "std": [1.0] * 3}),
        ({"do_normalize": False, "image_std": None}, {"mean": [0.0] * 3, "std": [1.0] * 3}),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_how_pictures_are_prepared_is_read(
    held: dict[str, Any], wanted: dict[str, Any], nested: bool, tmp_path: Path
) -> None:
    save_tiny_vision(tmp_path, "pretrained_vit")
    (tmp_path / SEEN_FILE).unlink()
    path = tmp_path / ("processor_config.json" if nested else SEEN_FILE)
    path.write_text(json.dumps({"image_processor": held} if nested else held))
    found = import_image_encoder(str(tmp_path))[0]
    assert {key: found[key] for key in wanted} == wanted


def test_what_is_not_stated_is_as_for_the_first_of_the_kind(tmp_path: Path) -> None:
    for name, encoder in PRETRAINED_IMAGE.items():
        folder = save_tiny_vision(tmp_path / name, name)
        (folder / SEEN_FILE).unlink()
        found = import_image_encoder(str(folder))[0]
        assert found["size"] == (224 if name == "pretrained_resnet" else SIZE)
        assert (tuple(found["mean"]), tuple(found["std"])) == (encoder.mean, encoder.std)


def seen(**values: Any) -> Callable[[Path], Any]:
    return lambda folder: (folder / SEEN_FILE).write_text(json.dumps(values))


def without(key: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file({k: v for k, v in load_file(path).items() if k != key}, path)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "config.json").unlink(), r"cannot read config\.json"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "'bert'; expected on"),
        (lambda f: (f / SEEN_FILE).write_text("{"), r"preprocessor_config\.json is not JSON"),
        (lambda f: (f / SEEN_FILE).write_text("[]"), "holds a list; expected a table"),
        (seen(size={"height": 8, "width": 16}), "expected a square of at most 4096 pixels"),
        (seen(size={"height": [8]}), "expected a square"),
        (seen(size=10**30), "expected a square of at most 4096"),
        (seen(image_mean=[10**400, 0, 0]), "three numbers from 0 each"),
        (seen(size="large"), "the size 'large'"),
        (seen(image_mean=[0.5]), r"mean \[0\.5\] and std"),
        (seen(image_std=["a", 1, 1]), "std .*expected a square of at most 4096 pixels"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "reads no pickles"),
        (without("embeddings.cls_token"), r"lack 1 tensors of ViTModel, embeddings\.cls_token"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    change: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    change(save_tiny_vision(tmp_path, "pretrained_vit"))
    with pytest.raises(CheckpointError, match=words) as caught:
        import_image_encoder(str(tmp_path))
    assert "\n" not in str(caught.value)


NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 0.5, 1, 16, 224])
VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3) | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["height", "width", "shortest_edge"]), inner)
    ),
    max_leaves=6,
)
KEYS = ("size", "crop_size", "do_center_crop", "image_mean", "image_std", "do_normalize")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vit")


@settings(deadline=None)
@given(held=st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_whatever_is_stated_can_be_used_or_is_refused(held: dict[str, Any], folder: Path) -> None:
    (folder / SEEN_FILE).write_text(json.dumps(held))
    try:
        found = read_seen(folder, USUAL, {"image_size": SIZE})
        check_image_encoder({"name": "pretrained_vit", "sizes": {}, **found})
    except (CheckpointError, ConfigError) as error:
        assert "\n" not in str(error)
    else:
        assert 0 < found["size"] <= 4096 and len(found["mean"]) == len(found["std"]) == 3
