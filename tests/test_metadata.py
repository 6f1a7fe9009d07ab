"""What a picture's file says of itself, and that a file of anybody's is read without harm."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.errors import DataError, ImageError
from limner.gan.drawing import GanSampling
from limner.images import encode_png
from limner.metadata import read_metadata, texts_of
from limner.sampling.tokens import TokenSampling
from limner.text.notes import Note
from limner.types import Picture

SETTINGS = {"guidance": 2.0, "top_k": 5, "temperature": 0.5, "steps": 4, "model_hash": "ab" * 32}


def saved(folder: Path, **changes: object) -> Path:
    """Write a picture of which the words of limner's own are changed, and return its path."""
    own = {"prompt": "a cat", "seed": 7, "model": "tiny", **SETTINGS, **changes}
    path = folder / "picture.png"
    path.write_bytes(encode_png(Image.new("RGB", (4, 4), "red"), {"limner": json.dumps(own)}))
    return path


def test_a_picture_says_what_it_was_saved_with(tmp_path: Path) -> None:
    adapters = [{"name": "dog", "sha256": "cd", "weight": 0.5}]
    picture = Picture(
        Image.new("RGB", (4, 4), "red"), "红苹果", 7, "tiny", {**SETTINGS, "adapters": adapters},
        (Note("unseen", ("zebra",)),),
    )  # fmt: skip
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "other.png")
    found = read_metadata(tmp_path / "other.png")
    assert found is not None
    assert (found.prompt, found.seed, found.model) == ("红苹果", 7, "tiny")
    assert found.notes == ("the model has never seen: zebra",) and found.adapters == (
        ("dog", "cd", 0.5),
    )
    assert dict(found.settings) == {**SETTINGS, "adapters": adapters}
    assert found.image.tobytes() == picture.image.tobytes()


def test_a_model_is_asked_for_what_it_takes(tmp_path: Path) -> None:
    found = read_metadata(saved(tmp_path))
    assert found is not None
    tokens = found.request(TokenSampling(), n=2, seed=9, image=None)
    assert (tokens.n, tokens.seed, tokens.guidance) == (2, 9, 2.0)
    assert (tokens.sampling.top_k, tokens.sampling.temperature) == (5, 0.5)
    assert tokens.sampling.steps is None  # of a model that draws tokens they are no choice
    at_once = found.request(GanSampling(), n=1, seed=7, image=None)
    assert (at_once.guidance, at_once.sampling.top_k) == (None, None)
    assert at_once.sampling.temperature == 0.5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_without_words_says_nothing(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain", format=kind)
    assert read_metadata(tmp_path / "plain") is None
    assert texts_of(tmp_path / "plain") == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "7", "null", "[" * 100_000, '{"prompt": "a", "seed": 1}']
    + [
        json.dumps({"prompt": "a", "model": "m", "seed": seed})
        for seed in (-1, 2**63, 1.5, True, "7", None)
    ],
)
def test_damaged_words_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(encode_png(Image.new("RGB", (4, 4)), {"limner": text}))
    with pytest.raises(DataError, match="is damaged; it names no prompt, seed and model"):
        read_metadata(path)


def test_odd_values_are_passed_over(tmp_path: Path) -> None:
    found = read_metadata(saved(tmp_path, notes="x", adapters=[1, {"weight": "much"}]))
    assert found is not None
    assert found.notes == () and found.adapters == ()


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="is not a picture that limner reads"):
        read_metadata(tmp_path / "x.png")
