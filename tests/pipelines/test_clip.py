"""The CLIP pipeline: pictures and texts compared, labels in both languages, folders read back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import limner
from limner.checkpoint.model import load_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.pipelines.clip import label_sentences
from limner.registry import details, load_clip, load_to_draw
from tests.checkpoint.test_model import change_config, refused
from tests.tiny_clip import RESNET, VIT, save_tiny_clip, tiny_clip
from tests.tiny_model import save_tiny_model

COLOURS = ("red", "green", "blue")


def pictures(size: tuple[int, int] = (16, 16)) -> list[Image.Image]:
    return [Image.new("RGB", size, colour) for colour in COLOURS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_clip(tmp_path / "clip", image_encoder=RESNET)


def test_pictures_and_texts_are_compared_by_cosine() -> None:
    clip = tiny_clip()
    cosines = clip.compare(pictures(), ["a red apple", "  夜空下 "])
    assert cosines.shape == (3, 2) and bool((cosines.abs() <= 1 + 1e-6).all())
    expected = clip.see(pictures())[2] @ clip.encode_texts(["夜空下"])[0]
    torch.testing.assert_close(cosines[2, 1], expected)


def test_a_text_reads_the_same_beside_a_longer_one() -> None:
    clip = tiny_clip()
    both = clip.encode_texts(["apple", "three red apples under the night sky"])
    torch.testing.assert_close(both[:1], clip.encode_texts(["apple"]))


def test_a_picture_of_another_size_is_seen_at_its_middle() -> None:
    clip = tiny_clip()
    wide = Image.new("RGB", (64, 32), "white")
    wide.paste(Image.new("RGB", (40, 32), "red"), (12, 0))
    torch.testing.assert_close(clip.see([wide]), clip.see(pictures()[:1]))


def test_probabilities_are_of_one_right_label() -> None:
    clip = tiny_clip()
    shares = clip.classify(pictures(), ["apple", "sky", "苹果"])
    assert shares.shape == (3, 3)
    torch.testing.assert_close(shares.sum(1), torch.ones(3))
    swapped = clip.classify(pictures(), ["苹果", "sky", "apple"])
    torch.testing.assert_close(swapped, shares.flip(1))


def test_labels_are_said_in_their_own_language() -> None:
    assert label_sentences("apple") == ["an apple", "a picture of an apple", "apple"]
    assert label_sentences("red {car}")[0] == "a red {car}"
    assert label_sentences("苹果") == ["苹果", "一个苹果", "一张苹果的图片"]


@pytest.mark.parametrize("labels", [[], ["apple"], ["apple", " apple "]])
def test_labels_that_leave_no_choice_are_refused(labels: list[str]) -> None:
    with pytest.raises(UsageError, match="give at least two, each once"):
        tiny_clip().classify(pictures(), labels)


def test_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="no pictures were given"):
        tiny_clip().see([])


def test_a_saved_clip_comes_back_whole(folder: Path) -> None:
    original, loaded = tiny_clip(image_encoder=RESNET), limner.load(folder)
    assert loaded.info.family == "clip" and loaded.info.name == "tiny-clip"
    assert (loaded.size, loaded.text_length) == (original.size, original.text_length)
    before, after = (each.compare(pictures(), ["a red apple"]) for each in (original, loaded))
    assert torch.equal(before, after)
    assert not loaded.training and not any(each.requires_grad for each in loaded.parameters())


def test_its_config_has_the_tables_of_its_family_alone(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert "clip" in config and not {"codec", "prior", "sampling"} & set(config)
    shown = details(folder)
    assert shown["clip"]["image_encoder"] == RESNET and "codec" not in shown


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"codec": {}}, "unknown key 'codec'"),
        ({"sampling": {}}, "unknown key 'sampling'"),
        ({"clip": ...}, "lacks clip"),
        ({"clip": []}, r"clip is \[\]; expected dict"),
        ({"clip": {}}, "was made for None"),
        ({"family": ...}, "lacks family|unknown key"),
        ({"family": ["clip"]}, r"family \['clip'\]; expected dalle, clip"),
        ({"size": 32}, "has the size 32, but its parts were made for 16 pixels"),
    ],
)
def test_a_config_of_something_else_is_refused(
    folder: Path, values: dict[str, Any], fault: str
) -> None:
    change_config(folder, **values)
    refused(folder, fault)


def test_a_tower_that_does_not_fit_the_weights_is_refused(folder: Path) -> None:
    table = json.loads((folder / "config.json").read_text())["clip"]
    change_config(folder, clip=table | {"image_encoder": VIT})
    refused(folder, "tensors missing")
    change_config(folder, clip=table | {"image_encoder": VIT | {"layers": 10**6}})
    refused(folder, "layers is 1000000; expected at most 256")
    change_config(folder, clip=table | {"text_vocabulary": 7})
    refused(folder, "the text tower was made for 7")


def test_a_clip_draws_nothing_and_says_so(folder: Path) -> None:
    with pytest.raises(
        UsageError, match="'clip', which compares pictures with sentences and draws"
    ):
        load_to_draw(folder)
    with pytest.raises(UsageError, match="'clip' computes in fp32 alone"):
        limner.load(folder, precision="bf16")
    with pytest.raises(UsageError, match="draws none"):
        limner.draw("a red apple", model=folder)


def test_a_model_that_draws_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="family 'dalle', which draws"):
        load_clip(save_tiny_model(tmp_path / "model"))


def test_a_damaged_clip_is_refused(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="sha256"):
        load_checkpoint(folder)
