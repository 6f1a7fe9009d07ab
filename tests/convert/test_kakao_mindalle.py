"""minDALL-E: the ids, logits, codes and pixels that its own equations give."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.sampling.tokens import TokenSampling
from tests.convert import mindalle, vqgan

PROMPTS = ["a red apple", "The path, thé 苹果!", "apple " * 9]
LENGTH = mindalle.TINY.length


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mindalle")
    mindalle.write(folder / "in")
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> Any:
    made = import_checkpoint(place / "in", place / "out")
    assert (made.format, made.name, made.family) == ("kakao-mindalle", "mindall-e", "dalle")
    assert (made.size, made.licence) == (256, "CC-BY-NC-SA-4.0")
    return limner.load(place / "out")


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


def ids_of(place: Path, prompt: str) -> list[int]:
    return mindalle.tokenize(place / "in" / "tokenizer", prompt, LENGTH)


@pytest.mark.parametrize("prompt", [*PROMPTS, "", "[PAD] [UNK]", "it's", "\tred\n apple…"])
def test_a_text_has_the_ids_of_its_tokenizer(place: Path, model: Any, prompt: str) -> None:
    from limner.nn.prefix import filled_behind

    padding = torch.full((LENGTH,), model.prior.config.padding)
    # A special token that is typed is plain text here, and one token there.
    typed = prompt.replace("[PAD]", "[ PAD ]").replace("[UNK]", "[ UNK ]")
    found = filled_behind(model.read([prompt]), padding)[0].tolist()
    assert found == ids_of(place, typed)


@torch.no_grad()
def test_each_step_gives_the_same_logits_and_the_likeliest_code(
    place: Path, model: Any, engine: None
) -> None:
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    greedy, state = TokenSampling(top_k=1), mindalle.random_transformer()
    *_, codes = model.prior.stream(model.read(PROMPTS), greedy, [1, 2, 3], processors=[watch])
    for row, prompt in enumerate(PROMPTS):
        wanted = mindalle.logits(state, ids_of(place, prompt), codes[row])
        found = torch.stack([each[row] for each in seen])
        assert (found - wanted).abs().max() < 1e-4
        assert torch.equal(codes[row], wanted.argmax(-1))


@torch.no_grad()
def test_guidance_pushes_from_a_text_of_padding(place: Path, model: Any) -> None:
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits[0])
        return logits

    guided, state = TokenSampling(top_k=1, guidance=2.0), mindalle.random_transformer()
    *_, codes = model.prior.stream(model.read(PROMPTS[:1]), guided, [1], processors=[watch])
    told, untold = (
        mindalle.logits(state, ids_of(place, each), codes[0]) for each in (PROMPTS[0], "")
    )
    assert (torch.stack(seen) - (told + 2 * (told - untold))).abs().max() < 1e-4


@torch.no_grad()
def test_teacher_forcing_gives_the_same_logits(place: Path, model: Any) -> None:
    codes = torch.randint(vqgan.CODES, (3, 256), generator=torch.Generator().manual_seed(1))
    found = model.prior(model.read(PROMPTS), codes)[:, :, 0]
    state = mindalle.random_transformer()
    for row, prompt in enumerate(PROMPTS):
        wanted = mindalle.logits(state, ids_of(place, prompt), codes[row])
        assert (found[row] - wanted).abs().max() < 5e-5
    with pytest.raises(UsageError, match="13 positions; this model reads 12"):
        model.prior.text(torch.ones(1, 13, dtype=torch.int64))


@torch.no_grad()
def test_its_vqgan_gives_the_same_codes_and_pixels(model: Any) -> None:
    state = mindalle.random_vqgan()
    torch.manual_seed(1)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    codes = vqgan.codes_of(state, images)
    assert torch.equal(model.codec.encode(images), codes)
    wanted = vqgan.decode(state, codes).clamp(-1, 1)
    assert (model.codec.decode(codes) - wanted).abs().max() < 1e-5


def test_it_draws_in_any_company_edits_and_explains(place: Path, model: Any) -> None:
    first, second = model.draw("a red apple", n=2, seed=1)
    assert first.image.size == (256, 256)
    (alone,) = model.draw("a red apple", seed=second.seed)
    assert alone.image.tobytes() == second.image.tobytes()
    (edited,) = model.edit(first, "red", mask="0,0,128,128", seed=1, candidates=2)
    outside = (200, 200, 256, 256)
    assert edited.image.crop(outside).tobytes() == first.image.crop(outside).tobytes()
    told = model.explain("red apple", seed=1)
    assert {each.text for each in told.words} == {"red", "apple"}
    details = limner.registry.details(place / "out")
    assert details["prior"]["name"] == "gpt2" and "Kakao" in details["card"]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_it_draws_in_other_precisions(place: Path, precision: str) -> None:
    model = limner.load(place / "out", precision=precision)
    assert model.draw("a red apple", seed=1)[0].image.size == (256, 256)


def test_it_comes_back_as_it_was(place: Path, model: Any, tmp_path: Path) -> None:
    made = limner.export_checkpoint(place / "out", tmp_path / "files", format="kakao-mindalle")
    assert made.files == (
        *("stage1_last.ckpt", "stage2_last.ckpt"),
        *("tokenizer/bpe-16k-merges.txt", "tokenizer/bpe-16k-vocab.json"),
    )
    for name, state in (("stage1_last.ckpt", mindalle.random_vqgan()),
                        ("stage2_last.ckpt", mindalle.random_transformer())):  # fmt: skip
        found = torch.load(tmp_path / "files" / name, weights_only=True)["state_dict"]
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state)
    import_checkpoint(tmp_path / "files", tmp_path / "again")
    first, second = (
        load_file(folder / "model.safetensors") for folder in (place / "out", tmp_path / "again")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    told = [
        (folder / "tokenizer.json").read_text() for folder in (place / "out", tmp_path / "again")
    ]
    assert json.loads(told[0]) == json.loads(told[1])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    mindalle.write(tmp_path / "in", pickled=False)
    return tmp_path / "in"


def refused(folder: Path, match: str) -> None:
    out = folder.parent / "out"
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint(folder, out, format="kakao-mindalle")
    assert not out.exists()


def changed(folder: Path, name: str, change: Any) -> None:
    path = folder / name
    state = load_file(path)
    change(state)
    save_file(state, path)


def test_tensors_that_do_not_fit_are_told(files: Path) -> None:
    kept = (files / "stage2_last.ckpt").read_bytes()
    for change, told in (
        (lambda state: state.pop("state_dict/ln_f.bias"), "1 tensors missing"),
        (lambda state: state.update({"state_dict/more": torch.zeros(1)}), "1 too many"),
        (lambda state: state.pop("state_dict/tok_emb_txt.weight"), "no tensor tok_emb_txt.weight"),
        (lambda state: state.update({"state_dict/head_img.weight": torch.zeros(3, 128)}),
         "1 of another shape"),
    ):  # fmt: skip
        changed(files, "stage2_last.ckpt", change)
        refused(files, told)
        (files / "stage2_last.ckpt").write_bytes(kept)
    (files / "stage2_last.ckpt").write_bytes(kept[: len(kept) // 2])
    refused(files, "stage2_last.ckpt")
    (files / "stage2_last.ckpt").rename(files / "other.ckpt")
    refused(files, "has no stage2_last.ckpt")


def test_parts_of_other_models_are_told(files: Path) -> None:
    codes = "state_dict/quantize.embedding.weight"
    changed(files, "stage1_last.ckpt", lambda state: state.update({codes: torch.zeros(9, 8)}))
    refused(files, "belong to different models")
    changed(files, "stage1_last.ckpt", lambda state: state.pop(codes))
    refused(files, "holds no VQGAN")


def test_a_tokenizer_that_does_not_fit_is_told(files: Path) -> None:
    path = files / "tokenizer" / "bpe-16k-vocab.json"
    table = json.loads(path.read_text())
    for more, told in (({"z": 80}, "beyond the 80 rows"), ({"z": 1}, "there twice")):
        path.write_text(json.dumps(table | more))
        refused(files, told)
    path.write_text(json.dumps({key: at for key, at in table.items() if key != "[UNK]"}))
    refused(files, r"no token \[UNK\]")
    path.unlink()
    refused(files, "has no bpe-16k-vocab.json")


def test_what_config_yaml_says_counts(files: Path) -> None:
    (files / "config.yaml").write_text("  n_heads: 4\n")
    import_checkpoint(files, files.parent / "four")
    assert json.loads((files.parent / "four" / "config.json").read_text())["prior"]["heads"] == 4
    (files / "config.yaml").write_text("    gelu_use_approx: True\n")
    refused(files, "gelu_use_approx")


def test_a_vocabulary_without_padding_gets_it_last(files: Path) -> None:
    path = files / "tokenizer" / "bpe-16k-vocab.json"
    table = json.loads(path.read_text())
    table = {key: at - 1 for key, at in table.items() if key != "[PAD]"}
    path.write_text(json.dumps(table))
    merges = files / "tokenizer" / "bpe-16k-merges.txt"
    merges.write_text(merges.read_text().partition("\n")[2])  # without the line of its version
    import_checkpoint(files, files.parent / "out")
    model = limner.load(files.parent / "out")
    assert model.prior.config.padding == len(table)
    ids = [each - 1 for each in model.read(["apple"])[0].tolist() if each]
    assert ids == [table["apple</w>"]]
