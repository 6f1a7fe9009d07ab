"""ruDALL-E: the ids, logits, codes and pixels that its own equations give, in both versions."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError
from limner.nn.windows import allowed
from limner.sampling.tokens import TokenSampling
from tests.convert import rudalle, vqgan

PROMPTS = ["кот на столе", "Кот, кот!", "на столе стоя"]
SIZES = {3: rudalle.TINY, 2: replace(rudalle.TINY, version=2)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rudalle")
    for version, sizes in SIZES.items():
        rudalle.write(folder / f"in{version}", sizes, pickled=version == 3)
        made = import_checkpoint(folder / f"in{version}", folder / f"out{version}")
        assert (made.format, made.name, made.family, made.size) == (
            *("ru-dalle", "ru-dalle", "dalle"),
            128,
        )
        assert "Russian" in made.notes[0]
    return folder


@pytest.fixture(params=[3, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def model(place: Path, version: int) -> Any:
    return limner.load(place / f"out{version}")


@pytest.fixture(params=["native", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from limner.nn.native import find_library

    if request.param == "torch":
        monkeypatch.setenv("LIMNER_NATIVE", "0")
    find_library.cache_clear()
    if request.param == "native" and find_library()[0] is None:
        pytest.skip("no C compiler")
    yield
    find_library.cache_clear()


@pytest.mark.parametrize("prompt", [*PROMPTS, "", " КОТ\tна\n", "кзz🐈zк\u2581кот\u2581", "<EOS>"])
def test_a_text_has_the_ids_of_its_tokenizer(place: Path, prompt: str) -> None:
    model = limner.load(place / "out3")
    found = [each - 1 for each in model.tokenizer.batch([prompt], 40)[0].tolist() if each]
    assert found == rudalle.tokenize(prompt)


def test_a_long_text_keeps_its_end(place: Path) -> None:
    ids = limner.load(place / "out3").read(["кот " * 20])[0].tolist()
    assert len(ids) == 12 and (ids[0], ids[-1]) == (rudalle.BOS + 1, rudalle.EOS + 1)


@pytest.mark.parametrize("kind", ["row", "column", "window", "torus"])
def test_what_a_layer_sees(kind: str) -> None:
    sizes = rudalle.Sizes(length=5, side=13, version=2 if kind == "torus" else 3)
    at = {"row": 0, "column": 1}.get(kind, 2)
    assert torch.equal(allowed(kind, 5, 13), rudalle.seen_by(sizes)[at])


@torch.no_grad()
def test_each_step_gives_the_same_logits_and_the_likeliest_code(
    model: Any, version: int, engine: None
) -> None:
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    greedy, sizes = TokenSampling(top_k=1), SIZES[version]
    state = rudalle.random_transformer(sizes)
    *_, codes = model.prior.stream(model.read(PROMPTS), greedy, [1, 2, 3], processors=[watch])
    for row, prompt in enumerate(PROMPTS):
        wanted = rudalle.logits(state, rudalle.tokenize(prompt), codes[row], sizes)
        found = torch.stack([each[row] for each in seen])
        assert (found - wanted).abs().max() < 1e-4
        assert torch.equal(codes[row], wanted.argmax(-1))


@torch.no_grad()
def test_teacher_forcing_gives_the_same_logits(model: Any, version: int) -> None:
    codes = torch.randint(vqgan.CODES, (3, 256), generator=torch.Generator().manual_seed(1))
    found = model.prior(model.read(PROMPTS), codes)[:, :, 0]
    sizes = SIZES[version]
    state = rudalle.random_transformer(sizes)
    for row, prompt in enumerate(PROMPTS):
        wanted = rudalle.logits(state, rudalle.tokenize(prompt), codes[row], sizes)
        assert (found[row] - wanted).abs().max() < 5e-5


@torch.no_grad()
def test_its_vqgan_gives_the_same_codes_and_pixels(place: Path) -> None:
    codec, state = limner.load(place / "out3").codec, rudalle.random_vqgan()
    torch.manual_seed(1)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    codes = vqgan.codes_of(state, images)
    assert torch.equal(codec.encode(images), codes)
    wanted = vqgan.decode(state, codes).clamp(-1, 1)
    assert (codec.decode(codes) - wanted).abs().max() < 1e-5


def test_it_draws_edits_and_explains(place: Path) -> None:
    model = limner.load(place / "out3", precision="int8")
    first, second = model.draw("кот на столе", n=2, seed=1)
    assert first.image.size == (128, 128)
    (alone,) = model.draw("кот на столе", seed=second.seed)
    assert alone.image.tobytes() == second.image.tobytes()
    (edited,) = model.edit(first, "кот", mask="0,0,64,64", seed=1)
    outside = (100, 100, 128, 128)
    assert edited.image.crop(outside).tobytes() == first.image.crop(outside).tobytes()
    told = model.explain("кот на столе", seed=1)
    assert {each.text for each in told.words} == {"кот", "на", "столе"}


def test_it_comes_back_as_it_was(place: Path, tmp_path: Path, version: int) -> None:
    made = limner.export_checkpoint(place / f"out{version}", tmp_path / "files", format="ru-dalle")
    name = f"pytorch_model_v{version}.bin"
    assert made.files == ("bpe.model", name, "vqgan.gumbelf8-sber.model.ckpt")
    for file, state in (
        (name, rudalle.random_transformer()),
        ("vqgan.gumbelf8-sber.model.ckpt", rudalle.random_vqgan()),
    ):
        found = torch.load(tmp_path / "files" / file, weights_only=True)
        found = found.get("state_dict", found)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)
    words = [folder / "bpe.model" for folder in (place / "in3", tmp_path / "files")]
    assert words[0].read_text() == words[1].read_text()
    # Without what its layers see the name says which version it is.
    import_checkpoint(tmp_path / "files", tmp_path / "again")
    held = json.loads((tmp_path / "again" / "config.json").read_text())
    assert held["prior"]["version"] == version


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rudalle.write(tmp_path / "in", pickled=False)
    return tmp_path / "in"


def refused(folder: Path, match: str) -> None:
    out = folder.parent / "out"
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint(folder, out, format="ru-dalle")
    assert not out.exists()


def test_tensors_that_do_not_fit_are_told(files: Path) -> None:
    path, other = files / "pytorch_model.bin", files / "vqgan.gumbelf8-sber.model.ckpt"
    kept = path.read_bytes()
    wrong = torch.zeros(268, 268, dtype=torch.bool)
    for change, told in (
        ({"to_logits.0.bias": None}, "1 tensors missing"),
        ({"more": torch.zeros(1)}, "1 too many"),
        ({"text_embeddings.weight": None}, "no tensor text_embeddings.weight"),
        ({"to_logits.1.bias": torch.zeros(3)}, "1 of another shape"),
        ({"transformer.conv_mask": wrong}, "neither version"),
    ):
        state = {**load_file(path), **change}
        save_file({name: each for name, each in state.items() if each is not None}, path)
        refused(files, told)
        path.write_bytes(kept)
    path.write_bytes(kept[: len(kept) // 2])
    refused(files, "pytorch_model.bin")
    path.write_bytes(kept)
    save_file(load_file(other) | {"quantize.embed.weight": torch.zeros(9, 8)}, other)
    refused(files, "belong to different models")
    save_file({"model.decoder.x": torch.zeros(1)}, other)
    refused(files, "holds no VQGAN")
    other.unlink()
    refused(files, "has no .*gumbelf8")


def test_a_tokenizer_that_does_not_fit_is_told(files: Path) -> None:
    path = files / "bpe.model"
    lines = path.read_text().splitlines()
    letters = len(rudalle.LETTERS)
    for at, line, told in (
        (0, "no numbers", "end too early"),
        (0, "", "more numbers, or fewer"),
        (0, "0 9", "counts no letters"),
        (letters, "44 60", "an id beyond them"),
        (1, "55296 4", "no letter"),
        (1, "90 4", "no mark before words"),
        (letters, f"44 {rudalle.pieces()['я']}", "there twice"),
        (letters + 1, "70 5 80", "come later"),
    ):
        path.write_text("\n".join([*lines[:at], line, *lines[at + 1 :]]))
        refused(files, told)
    path.unlink()
    refused(files, "has no bpe.model")
