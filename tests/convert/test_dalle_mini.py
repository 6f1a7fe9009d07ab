"""DALL-E mini from its Flax files: the same model as from min-dalle's, read without JAX."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import limner
from limner.convert import dalle_mini
from limner.convert.importing import import_checkpoint
from limner.convert.msgpack import open_msgpack
from limner.errors import CheckpointError
from tests.convert import flax, mini

CONFIG = {
    "model_type": "dallebart", "decoder_start_token_id": mini.BEGIN, "normalize_text": True,
    "decoder_attention_heads": mini.HEADS, "encoder_attention_heads": mini.HEADS,
    "use_bias": False, "ln_positions": "normformer",
}  # fmt: skip


def write_flax(folder: Path, *, scanned: bool = True, **config: Any) -> Path:
    encoder, decoder, detokenizer = mini.random_states()
    flax.write(folder / "flax_model.msgpack", flax.bart(encoder, decoder, scanned=scanned))
    (folder / "config.json").write_text(json.dumps(CONFIG | config), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(mini.words()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(mini.MERGES), encoding="utf-8")
    flax.write(folder / "vqgan" / "flax_model.msgpack", flax.vqgan(detokenizer))
    (folder / "vqgan" / "config.json").write_text("{}", encoding="utf-8")
    return folder


@torch.no_grad()
@pytest.mark.parametrize("scanned", [True, False])
def test_it_is_the_model_of_min_dalles_files(tmp_path: Path, scanned: bool) -> None:
    made = import_checkpoint(write_flax(tmp_path / "in", scanned=scanned), tmp_path / "flax")
    assert made.format == "dalle-mini" and "jax" not in sys.modules
    assert len(made.notes) == 1 and "normalised" in made.notes[0]
    import_checkpoint(mini.write_mini(tmp_path / "torch"), tmp_path / "out")
    ours, theirs = limner.load(tmp_path / "flax"), limner.load(tmp_path / "out")
    held = theirs.state_dict()
    assert held.keys() == ours.state_dict().keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, held[name]), name
    assert ours.prior.config == theirs.prior.config
    assert ours.defaults.guidance == 9 and ours.defaults.top_k == 0
    codes = torch.randint(mini.CODES, (1, mini.CELLS), generator=torch.Generator().manual_seed(1))
    wanted = mini.paint(mini.random_states()[2], codes, 1e-6).clamp(0, 1)
    assert ((ours.codec.decode(codes.view(1, 16, 16)) + 1) / 2 - wanted).abs().max() < 1e-5


def test_the_tables_of_names_are_read_both_ways(tmp_path: Path) -> None:
    write_flax(tmp_path, scanned=False)
    for path, keys in (("", dalle_mini.KEYS), ("vqgan", dalle_mini.VQGAN_KEYS)):
        with open_msgpack(tmp_path / path / "flax_model.msgpack") as opened:
            for name in opened.entries:
                found = keys.ours(name)
                assert found is not None, name
                assert keys.theirs(found[0]) == (name, found[1])
                turned = found[1].ours(opened.read(name))
                assert torch.equal(found[1].theirs(turned), opened.read(name))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"ln_positions": "swinv2"}, "has ln_positions = 'swinv2'"),
        ({"use_bias": True}, "has use_bias = True"),
        ({"encoder_attention_heads": 4}, "other heads"),
        ({"decoder_attention_heads": 3, "encoder_attention_heads": 3}, "a multiple of the heads"),
    ],
)
def test_a_variant_that_was_not_published_is_refused(
    tmp_path: Path, config: dict[str, Any], told: str
) -> None:
    source = write_flax(tmp_path / "in", **config)
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_without_its_vqgan_it_says_where_to_put_it(tmp_path: Path) -> None:
    source = write_flax(tmp_path / "in")
    (source / "vqgan" / "flax_model.msgpack").unlink()
    with pytest.raises(CheckpointError, match="in a folder vqgan there"):
        import_checkpoint(source, tmp_path / "out")


def test_another_file_under_the_name_of_flax_is_refused(tmp_path: Path) -> None:
    source = write_flax(tmp_path / "in")
    torch.save({"a": torch.zeros(1)}, source / "flax_model.msgpack")
    with pytest.raises(CheckpointError, match="is no msgpack of Flax"):
        import_checkpoint(source, tmp_path / "out")


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "int8"])
def test_arrays_of_other_types_are_read(tmp_path: Path, kind: str) -> None:
    array = torch.arange(6).view(2, 3).to(getattr(torch, kind))
    flax.write(tmp_path / "a.msgpack", {"a": {"b": array, "c": 7, "d": "text"}})
    with open_msgpack(tmp_path / "a.msgpack") as opened:
        assert opened.values == {"a/c": 7, "a/d": "text"}
        assert torch.equal(opened.read("a/b"), array)
        assert torch.equal(opened.read_row("a/b", 1), array[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-3],
        lambda data: data + b"\xc0",
        lambda data: data.replace(b"float32", b"object3"),
        lambda data: b"\x81\xa1a" * 100 + b"\xc0",
        lambda data: b"\x82\xa1a\xc0\xa1a\xc0",
        lambda data: data.replace(b"\x92\xce\x00\x00\x00\x02", b"\x92\xce\xff\x00\x00\x02"),
        lambda data: b"\xde\xff\xff\xa1a",
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "a.msgpack"
    flax.write(path, {"a": torch.zeros(2, 3)})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match="no msgpack of Flax"), open_msgpack(path):
        pass
