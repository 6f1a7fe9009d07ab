"""Pictures become codes once: whole or not at all, with all captions, and read back exactly."""

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.codecs import create_codec
from limner.data.batches import encode as encoding
from limner.data.batches.augment import AugmentConfig
from limner.data.batches.batches import to_floats
from limner.data.batches.encode import EncodeConfig, encode
from limner.data.batches.encoded import (
    Encoded,
    PictureCodes,
    is_encoded,
    read_encoded,
    read_manifest,
)
from limner.data.batches.picture_store import fitted
from limner.data.sources.base import read_pictures
from limner.data.sources.opening import open_source
from limner.errors import ConfigError, DataError, UsageError
from limner.nn.devices import bf16_where_fast
from limner.text.tokenizer import Tokenizer
from tests.data.source_files import write_pairs
from tests.tiny_model import CODEC


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "SHARD", 1)


@pytest.fixture
def codec() -> Any:
    torch.manual_seed(0)
    return create_codec(CODEC | {"groups": 2}).eval()


def written(place: Path, codec: Any, out: Path, config: EncodeConfig | None = None) -> Encoded:
    source = open_source(place)
    *counts, manifest = encode(source, codec, "digest", out, config or EncodeConfig())
    assert isinstance(manifest, dict) and counts[-1] == manifest["pictures"]
    assert read_manifest(out) == manifest
    return read_encoded(out)


def test_codes_are_those_of_the_pictures(tmp_path: Path, codec: Any) -> None:
    write_pairs(tmp_path / "a", 70)  # more than a block, so two shards
    found = written(tmp_path / "a", codec, tmp_path / "out")
    source = open_source(tmp_path / "a")
    pictures = [fitted(image, 16) for _, image in read_pictures(source)]
    with torch.inference_mode(), bf16_where_fast(torch.device("cpu")):
        wanted = codec.encode(to_floats(torch.stack(pictures[:64]))).flatten(1, 2)
    assert torch.equal(found.codes[:64, 0].long(), wanted)
    assert found.codes.shape == (70, 1, 4, 2)
    assert found.keys == [each.key for each in source]
    assert found.captions == [each.captions for each in source]
    assert found.manifest["source"] == source.describe()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *found.manifest["files"], "codes.json", "bad_samples.jsonl",
    }  # fmt: skip
    assert len(found.manifest["files"]) == 4 and is_encoded(tmp_path / "out")


def test_the_first_crop_is_the_picture_and_others_differ(tmp_path: Path, codec: Any) -> None:
    write_pairs(tmp_path / "a", 20)
    plain = written(tmp_path / "a", codec, tmp_path / "plain")
    altered = AugmentConfig(crop=0.5, flip=0.5)
    three = written(tmp_path / "a", codec, tmp_path / "three", EncodeConfig(3, 1, altered))
    again = written(tmp_path / "a", codec, tmp_path / "again", EncodeConfig(3, 1, altered))
    other = written(tmp_path / "a", codec, tmp_path / "other", EncodeConfig(3, 2, altered))
    assert torch.equal(three.codes[:, :1], plain.codes)
    assert torch.equal(three.codes, again.codes) and not torch.equal(three.codes, other.codes)
    assert not torch.equal(three.codes[:, 1], three.codes[:, 0])
    assert not torch.equal(three.codes[:, 1], three.codes[:, 2])


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_pictures_are_left_out_and_listed(tmp_path: Path, codec: Any, workers: int) -> None:
    write_pairs(tmp_path / "a", 120)
    path = tmp_path / "a" / "066.png"
    path.write_bytes(b"x" * path.stat().st_size)
    source = open_source(tmp_path / "a")
    *_, manifest = encode(
        source, codec, "digest", tmp_path / "out", EncodeConfig(), workers=workers
    )
    assert isinstance(manifest, dict)
    assert manifest["pictures"] == 119 and manifest["source"]["bad"] == 1
    (line,) = (tmp_path / "out" / "bad_samples.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == "066.png"
    found = read_encoded(tmp_path / "out")
    assert "066.png" not in found.keys and found.codes.shape[0] == len(found.captions) == 119


def test_too_many_bad_pictures_leave_nothing_behind(tmp_path: Path, codec: Any) -> None:
    write_pairs(tmp_path / "a", 10)
    path = tmp_path / "a" / "003.png"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DataError, match="1 of 10 samples are bad, more than 1 %"):
        written(tmp_path / "a", codec, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_leaving_early_leaves_nothing_behind(tmp_path: Path, codec: Any) -> None:
    write_pairs(tmp_path / "a", 70)
    source = open_source(tmp_path / "a")
    with closing(encode(source, codec, "d", tmp_path / "out", EncodeConfig())) as steps:
        assert next(steps) == 64
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    with pytest.raises(UsageError, match="is not empty"):
        next(encode(source, codec, "d", tmp_path / "a", EncodeConfig()))
    with pytest.raises(ConfigError, match="crops is 0; give 1 to 64"):
        EncodeConfig(crops=0)


@pytest.mark.parametrize("name", ["codes-00000.safetensors", "codes-00000.jsonl", "codes.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_damage_is_told(tmp_path: Path, codec: Any, name: str, damage: str) -> None:
    write_pairs(tmp_path / "a", 3)
    written(tmp_path / "a", codec, tmp_path / "out")
    path = tmp_path / "out" / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif name == "codes.json":
        path.write_bytes(data[:-9] if damage == "cut" else data.replace(b'odes": 1', b'odes": 9'))
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data[:-2] + b"??")
    with pytest.raises(DataError, match=r"are damaged .* encode the pictures again"):
        read_encoded(tmp_path / "out")


def some_codes() -> PictureCodes:
    """Return 40 pictures with 1 to 5 captions and 3 crops; all say whose they are."""
    captions = [tuple(f"{n} {k}" for k in range(1 + n % 5)) for n in range(40)]
    codes = torch.arange(40).view(40, 1, 1) * 10 + torch.arange(3).view(1, 3, 1)
    encoded = Encoded({}, [str(n) for n in range(40)], captions, codes.int())
    return encoded.part(range(40), Tokenizer.train(["0 1 2 3 4 5 6 7 8 9"], 300), 6)


def test_every_caption_and_crop_of_a_picture_is_drawn() -> None:
    found = some_codes()
    rows = torch.arange(40)
    seen: set[tuple[int, int, int]] = set()
    lasts: Counter[tuple[int, int]] = Counter()
    for seed in range(200):
        chosen = found.choose(torch.Generator().manual_seed(seed))
        text, codes = found.read(rows, chosen[rows])
        numbers, crops = codes[:, 0] // 10, codes[:, 0] % 10
        assert torch.equal(numbers.long(), rows)
        assert (chosen[:, 0] <= rows % 5).all()
        seen |= {(n, int(c), int(x)) for n, (c, x) in enumerate(chosen.tolist())}
        assert torch.equal(crops.long(), chosen[:, 1])
        lasts.update(zip(chosen[:, 0].tolist(), text[:, -1].tolist(), strict=True))
    assert len({token for _, token in lasts}) == len(lasts) == 5  # caption k ends in k
    assert seen == {(n, k, c) for n in range(40) for k in range(1 + n % 5) for c in range(3)}


def test_by_default_the_first_caption_and_crop_are_read() -> None:
    found = some_codes()
    text, codes = found.read(torch.tensor([7, 3]))
    assert codes[:, 0].tolist() == [70, 30] and text[0, -1] == text[1, -1]
