"""Infinity: the logits, bits and pixels that its own equations give, map by map."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import limner
from limner.convert.importing import import_checkpoint
from limner.convert.infinity import VAE_KEYS, keys_of
from limner.errors import CheckpointError, ConfigError, UsageError
from limner.sampling.tokens import TokenSampling
from limner.train.parts import load_codec
from tests.convert import infinity, llamagen

PROMPTS = ["a red apple", "three apples under the night sky"]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    place = tmp_path_factory.mktemp("infinity")
    return place, infinity.write(place / "in")


@pytest.fixture(scope="module")
def model(t5: tuple[Path, Any]) -> Any:
    place, _ = t5
    made = import_checkpoint(place / "in", place / "out")
    assert (made.format, made.family, made.size) == ("infinity", "dalle", 32)
    return limner.load(place / "out")


def states_of(t5: tuple[Path, Any], model: Any, prompt: str) -> Tensor:
    ids = [each - 1 for each in model.read([prompt])[0].tolist() if each]
    return llamagen.states_of(t5[1], ids)


@torch.no_grad()
def test_each_map_gives_the_same_logits_and_the_likeliest_bits(
    t5: tuple[Path, Any], model: Any
) -> None:
    assert (model.defaults.temperature, model.defaults.guidance) == (0.5, 2.0)
    state = infinity.random_transformer()
    for prompt in PROMPTS:
        states = states_of(t5, model, prompt)
        for scale in (0.0, 2.0):
            seen: list[Tensor] = []

            def watch(_: Tensor, logits: Tensor, seen: list[Tensor] = seen) -> Tensor:
                seen.append(logits)
                return logits

            greedy = TokenSampling(top_k=1, guidance=scale)
            *_, codes = model.prior.stream(model.read([prompt]), greedy, [1], processors=[watch])
            wanted = infinity.guided(state, states, codes[0], scale + 1)
            bits = infinity.TINY.bits  # of every map, bit after bit
            maps = [torch.stack(seen[at : at + bits], 1) for at in range(0, len(seen), bits)]
            assert [len(each) for each in maps] == [side * side for side in infinity.SIDES]
            assert (torch.cat(maps) - wanted).abs().max() < 1e-4
            assert torch.equal(codes[0], wanted.argmax(-1))


@torch.no_grad()
def test_teacher_forcing_gives_the_same_logits(t5: tuple[Path, Any], model: Any) -> None:
    state = infinity.random_transformer()
    codes = torch.randint(2, (3, infinity.ENDS[-1], infinity.TINY.bits))
    text = model.read([*PROMPTS, "a"])
    text[2] = 0  # no text
    found = model.prior(text, codes)
    for row, prompt in enumerate(PROMPTS):
        wanted = infinity.logits(state, states_of(t5, model, prompt), codes[row])
        assert (found[row] - wanted).abs().max() < 5e-5
    length = int((text != 0).sum(1).max())
    wanted = infinity.logits(state, state["cfg_uncond"][:length], codes[2])
    assert (found[2] - wanted).abs().max() < 5e-5
    with pytest.raises(UsageError, match="25 positions; this model reads 24"):
        model.prior.text(torch.ones(1, 25, dtype=torch.int64))


@torch.no_grad()
def test_the_codec_gives_the_same_bits_and_pixels(model: Any) -> None:
    vae = infinity.random_vae()
    torch.manual_seed(1)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    codes = infinity.encode(vae, images)
    assert torch.equal(model.codec.encode(images), codes)
    assert torch.equal(model.codec.encode_after(images, codes[:, :5], 2), codes[:, 5:21])
    assert (model.codec.decode(codes) - infinity.decode(vae, codes[0])).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="is not trained; train a 'multiscale'"):
        model.codec(images)


def test_it_draws_and_redraws_a_part(model: Any, t5: tuple[Path, Any]) -> None:
    (picture,) = model.draw("a red apple", seed=1)
    assert picture.image.size == (32, 32)
    edited = limner.edit(picture.image, "a sky", mask="0,0,8,8", model=model, candidates=1)
    assert edited[0].image.size == (32, 32)
    assert "Lowercase" not in (t5[0] / "out" / "tokenizer.json").read_text()
    assert "T5" in limner.registry.details(t5[0] / "out")["card"]


def test_the_codec_alone_is_read(tmp_path: Path) -> None:
    vae = infinity.in_its_names(infinity.random_vae())
    save_file(vae, tmp_path / "infinity_vae_d16.pth")
    made = import_checkpoint(tmp_path / "infinity_vae_d16.pth", tmp_path / "out")
    assert (made.format, made.family) == ("infinity", "")
    codec, config = load_codec(tmp_path / "out")
    assert (config["name"], codec.vocabulary, codec.groups) == ("bits", 2, 8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"more": torch.zeros(1)}, "1 too many"),
        ({"head.bias": torch.zeros(3)}, "1 of another shape"),
        ({"word_embed.weight": torch.zeros(32, 9)}, "draws 9 bits a cell, but the VAE"),
        ({"text_proj_for_sos.ca.mat_q": torch.zeros(1, 3, 8)}, "a number that divides 32"),
        ({"block_chunks.1.module.0.sa.scale_mul_1H11": torch.zeros(3)}, "1 of another shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Any, told: str) -> None:
    folder = tmp_path / "in"
    infinity.write(folder, pickled=False)
    state = infinity.random_transformer() | change
    save_file(state, folder / "infinity_125M_256x256.pth")
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(folder, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_what_is_missing_or_of_another_size_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    infinity.write(folder)
    whole, data = folder / "infinity_125M_256x256.pth", b""
    for name in ("infinity_2b_reg.pth", "x.pth"):
        whole.rename(folder / name)
        with pytest.raises(CheckpointError, match="reads no larger Infinity"):
            import_checkpoint(folder, tmp_path / "out")
        (folder / name).rename(whole)
    (folder / "flan-t5-xl" / "config.json").rename(folder / "flan-t5-xl" / "x.json")
    with pytest.raises(CheckpointError, match="has no T5"):
        import_checkpoint(folder, tmp_path / "out")
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        import_checkpoint(folder, tmp_path / "out", format="infinity")
    (folder / "infinity_vae_d16.pth").unlink()
    whole.write_bytes(data)
    with pytest.raises(CheckpointError, match="no file with Infinity's VAE"):
        import_checkpoint(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_tables_of_names_are_read_both_ways() -> None:
    sizes = infinity.TINY
    states = [
        (keys_of(sizes.chunks, sizes.each), infinity.random_transformer()),
        (VAE_KEYS, infinity.in_its_names(infinity.random_vae())),
    ]
    for keys, state in states:
        for name in state:
            if name.endswith(("zero_k_bias", "lfq.mask")):
                continue
            found = keys.ours(name)
            assert found is not None, name
            assert keys.theirs(found[0]) == (name, found[1])
