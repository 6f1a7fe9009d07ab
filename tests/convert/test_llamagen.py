"""LlamaGen: the states, logits, codes and pixels that its own equations give."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import limner
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.sampling.tokens import TokenSampling
from limner.train.parts import load_codec
from tests.convert import llamagen, vqgan

PROMPTS = ["a red apple", "three apples under the night sky", "sky"]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    place = tmp_path_factory.mktemp("llamagen")
    return place, llamagen.write(place / "in")


@pytest.fixture(scope="module")
def model(t5: tuple[Path, Any]) -> Any:
    place, _ = t5
    made = import_checkpoint(place / "in", place / "out")
    assert (made.format, made.name, made.family, made.size) == (
        "llamagen",
        "llamagen",
        "dalle",
        256,
    )
    assert "lower case" in made.notes[0]
    return limner.load(place / "out")


@pytest.fixture(params=["native", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from limner.nn.native import find_library

    if request.param == "torch":
        monkeypatch.setenv("LIMNER_NATIVE", "0")
    find_library.cache_clear()
    if request.param == "native" and find_library()[0] is None:
        pytest.skip("no C compiler")
    yield
    find_library.cache_clear()


def ids_of(model: Any, prompt: str) -> list[int]:
    return [each - 1 for each in model.read([prompt])[0].tolist() if each]


@torch.no_grad()
def test_the_text_ends_and_has_the_states_of_t5(t5: tuple[Path, Any], model: Any) -> None:
    assert ids_of(model, "A RED apple") == ids_of(model, "a red apple")
    for prompt in PROMPTS:
        ids = ids_of(model, prompt)
        assert ids[-1] == 1  # </s>
        found = model.prior.encoder(model.read([prompt]))[0, -len(ids) :]
        assert (found - llamagen.states_of(t5[1], ids)).abs().max() < 1e-5


@torch.no_grad()
def test_each_step_gives_the_same_logits_and_the_likeliest_code(
    t5: tuple[Path, Any], model: Any, engine: None
) -> None:
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    greedy, state = TokenSampling(top_k=1, guidance=6.5), llamagen.random_decoder()
    *_, codes = model.prior.stream(model.read(PROMPTS), greedy, [1, 2, 3], processors=[watch])
    for row, prompt in enumerate(PROMPTS):
        states = llamagen.states_of(t5[1], ids_of(model, prompt))
        wanted = llamagen.guided(state, states, codes[row], 7.5)
        found = torch.stack([each[row] for each in seen])
        # 7.5 and 6.5 times the differences of logits, each of which is below 1e-5.
        assert (found - wanted).abs().max() < 1e-4
        assert torch.equal(codes[row], wanted.argmax(-1))


@torch.no_grad()
def test_teacher_forcing_gives_the_same_logits(t5: tuple[Path, Any], model: Any) -> None:
    codes = torch.randint(llamagen.TINY.codes, (4, 256), generator=torch.Generator().manual_seed(1))
    text = model.read([*PROMPTS, "a"])
    text[3] = 0  # no text
    found = model.prior(text, codes)[:, :, 0]
    state = llamagen.random_decoder()
    for row, prompt in enumerate(PROMPTS):
        states = llamagen.states_of(t5[1], ids_of(model, prompt))
        wanted = llamagen.logits(state, states, codes[row])
        assert (found[row] - wanted).abs().max() < 5e-5  # double precision is as far
    untold = state["cls_embedding.uncond_embedding"][-text.shape[1] :]
    assert (found[3] - llamagen.logits(state, untold, codes[3])).abs().max() < 5e-5


@torch.no_grad()
def test_a_picture_is_the_same_alone_and_without_guidance(model: Any) -> None:
    plain = TokenSampling(temperature=1.0)
    *_, both = model.prior.stream(model.read(PROMPTS[:2]), plain, [4, 5])
    *_, alone = model.prior.stream(model.read(PROMPTS[1:2]), plain, [5])
    assert torch.equal(both[1], alone[0])
    with pytest.raises(UsageError, match="13 positions; this model reads 12"):
        model.prior.text(torch.ones(1, 13, dtype=torch.int64))


@torch.no_grad()
def test_the_tokenizer_gives_the_same_codes_and_pixels(model: Any) -> None:
    _, theirs = llamagen.random_tokenizer()
    torch.manual_seed(1)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    vectors = F.normalize(vqgan.encode(theirs, images), dim=1)
    codes = vqgan.nearest(theirs, vectors)
    assert torch.equal(model.codec.encode(images), codes)
    wanted = vqgan.decode(theirs, codes).clamp(-1, 1)
    assert (model.codec.decode(codes) - wanted).abs().max() < 1e-5


def test_the_tokenizer_alone_is_a_codec(tmp_path: Path) -> None:
    state, _ = llamagen.random_tokenizer()
    save_file(state, tmp_path / "vq_ds16_c2i.pt")
    made = import_checkpoint(tmp_path / "vq_ds16_c2i.pt", tmp_path / "out")
    assert (made.format, made.family) == ("llamagen", "")
    codec, config = load_codec(tmp_path / "out")
    assert config["quantizer"] == "cosine" and codec.grid == (16, 16)


def test_it_draws(model: Any, t5: tuple[Path, Any]) -> None:
    (picture,) = model.draw("a red apple", seed=1)
    assert picture.image.size == (256, 256)
    details = limner.registry.details(t5[0] / "out")
    assert details["prior"]["name"] == "llamagen" and "T5" in details["card"]


def test_the_side_is_what_its_name_says(tmp_path: Path) -> None:
    llamagen.write(tmp_path / "in", pickled=False)
    (tmp_path / "in" / "t2i_XL_stage1_256.pt").rename(tmp_path / "in" / "t2i_XL_stage2_512.pt")
    assert import_checkpoint(tmp_path / "in", tmp_path / "out").size == 512


def test_what_is_missing_or_of_another_kind_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    llamagen.write(folder, pickled=False)
    (folder / "flan-t5-xl" / "config.json").rename(folder / "flan-t5-xl" / "x.json")
    with pytest.raises(CheckpointError, match="has no T5"):
        import_checkpoint(folder, tmp_path / "out")
    (folder / "flan-t5-xl" / "x.json").rename(folder / "flan-t5-xl" / "config.json")
    tokenizer = folder / "flan-t5-xl" / "tokenizer.json"
    held = tokenizer.read_text()
    tokenizer.unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        import_checkpoint(folder, tmp_path / "out")
    tokenizer.write_text(held)
    state = llamagen.random_decoder()
    save_file(state | {"more": torch.zeros(1)}, folder / "t2i_XL_stage1_256.pt")
    with pytest.raises(CheckpointError, match="1 too many"):
        import_checkpoint(folder, tmp_path / "out")
    labels = {"cls_embedding.embedding_table.weight": torch.zeros(3, 2)}
    save_file(state | labels, folder / "t2i_XL_stage1_256.pt")
    with pytest.raises(CheckpointError, match="classes of ImageNet"):
        import_checkpoint(folder, tmp_path / "out")
    (folder / "vq_ds16_t2i.pt").unlink()
    with pytest.raises(CheckpointError, match="no file with LlamaGen's tokenizer"):
        import_checkpoint(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_tables_of_names_are_read_both_ways() -> None:
    from limner.convert.llamagen import KEYS, vq_keys

    state, _ = llamagen.random_tokenizer()
    del state["quantize.codebook_used"]
    for names, keys in ((llamagen.random_decoder(), KEYS), (state, vq_keys(5))):
        for name in names:
            found = keys.ours(name)
            assert found is not None, name
            assert keys.theirs(found[0]) == (name, found[1])
