"""DALL-E mini: the ids, states, logits, codes and pixels that its own equations give."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limner
from limner.convert import min_dalle
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.sampling.tokens import TokenSampling
from tests.convert import mini

PROMPTS = ["a cat", "A CAB!  fat", "cat", "<s> a", "z caf\u00e9 \u732b", "bad"]
GREEDY = TokenSampling(top_k=1, guidance=15.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mini")
    source = mini.write_mini(place / "in", pickled=True)
    made = import_checkpoint(source, place / "out")
    assert (made.format, made.name, made.family) == ("min-dalle", "dalle-mini", "dalle")
    return place / "out"


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return limner.load(folder)


@pytest.fixture(params=["native", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.nn.native import find_library

    if request.param == "torch":
        monkeypatch.setenv("LIMNER_NATIVE", "0")
    find_library.cache_clear()
    if request.param == "native" and find_library()[0] is None:
        pytest.skip("no C compiler")


@pytest.fixture(autouse=True)
def found_again() -> Any:
    yield
    from limner.nn.native import find_library

    find_library.cache_clear()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_become_the_same_ids(model: Any, prompt: str) -> None:
    (row,) = model.read([prompt]).tolist()
    assert [each - 1 for each in row if each] == mini.tokenize(prompt)
    assert len(row) == mini.TEXT


def test_a_prompt_that_is_too_long_keeps_its_end(model: Any) -> None:
    (row,) = model.read(["cat " * 40]).tolist()
    wanted = mini.tokenize("cat " * 40)
    assert [each - 1 for each in row] == [*wanted[: mini.TEXT - 1], wanted[-1]]


def test_what_the_tokenizer_drops_is_told(model: Any) -> None:
    assert model.tokenizer.unseen_words("a \u732b z") == ["\u732b", "z"]
    assert model.tokenizer.unseen_words("a cat") == []


@torch.no_grad()
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_text_encoder_gives_the_same_states(model: Any, prompt: str) -> None:
    wanted = mini.encode(mini.random_states()[0], mini.tokenize(prompt))
    text = model.read([prompt])
    assert (model.prior.text(text)[0, -len(wanted) :] - wanted).abs().max() < 1e-5
    memory, lengths = model.prior.read(text)
    assert lengths == [len(wanted)]
    assert (memory[0, : len(wanted)] - wanted).abs().max() < 1e-5


@torch.no_grad()
def test_without_text_stands_the_empty_one(model: Any) -> None:
    wanted = mini.encode(mini.random_states()[0], [0, 2])
    memory, lengths = model.prior.read(torch.zeros(1, mini.TEXT, dtype=torch.int64))
    assert lengths == [2] and (memory[0, :2] - wanted).abs().max() < 1e-5
    short, _ = model.prior.read(torch.zeros(1, 1, dtype=torch.int64))
    assert (short[0, :2] - wanted).abs().max() < 1e-5


@torch.no_grad()
def test_a_text_that_is_too_long_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="13 positions; this model reads 12"):
        model.prior.read(torch.ones(1, mini.TEXT + 1, dtype=torch.int64))


@torch.no_grad()
def test_each_step_gives_the_same_logits_and_the_likeliest_code(model: Any, engine: None) -> None:
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    states = mini.random_states()
    encoder, decoder, _ = states
    exact = {name: each.double() for name, each in decoder.items()}
    prompts = ["a cat", "a bad cab!"]
    *_, codes = model.prior.stream(model.read(prompts), GREEDY, [1, 2], processors=[watch])
    for row, prompt in enumerate(prompts):
        wanted = mini.guided(states, prompt, codes[row], 16.0)
        found = torch.stack([each[row] for each in seen])
        # 16 times one logit less 15 times another: both programs are as far from double precision
        # as from one another, some 5e-6 in a logit and up to 31 times that here.
        assert (found - wanted).abs().max() < 2e-4
        memory = [mini.encode(encoder, each).double() for each in ([0, 2], mini.tokenize(prompt))]
        untold, told = (mini.logits(exact, each, codes[row]) for each in memory)
        assert (found - (16 * told - 15 * untold)).abs().max() < 2e-4
        assert torch.equal(codes[row], wanted.argmax(-1))


@torch.no_grad()
def test_teacher_forcing_gives_the_same_logits(model: Any) -> None:
    encoder, decoder, _ = mini.random_states()
    codes = torch.randint(mini.CODES, (2, mini.CELLS), generator=torch.Generator().manual_seed(1))
    prompts = ["a cat", "bad"]
    found = model.prior(model.read(prompts), codes.view(2, 16, 16))
    assert found.shape == (2, mini.CELLS, 1, mini.CODES)
    for row, prompt in enumerate(prompts):
        memory = mini.encode(encoder, mini.tokenize(prompt))
        wanted = mini.logits(decoder, memory, codes[row])
        assert (found[row, :, 0] - wanted).abs().max() < 1e-5
    nats = model.prior.nll(model.read(prompts), codes)
    assert nats.shape == (2, mini.CELLS, 1)


@torch.no_grad()
def test_codes_become_the_same_pixels(model: Any) -> None:
    codes = torch.randint(mini.CODES, (2, mini.CELLS), generator=torch.Generator().manual_seed(1))
    wanted = mini.paint(mini.random_states()[2], codes).clamp(0, 1)
    found = (model.codec.decode(codes.view(2, 16, 16)) + 1) / 2
    assert found.shape == (2, 3, mini.SIZE, mini.SIZE)
    assert (found - wanted).abs().max() < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("schedule", ["interval", "linear"])
def test_guidance_that_comes_and_goes_misses_nothing(model: Any, schedule: str) -> None:
    seen: list[Tensor] = []

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    sampling = TokenSampling(top_k=1, guidance=3.0, guidance_schedule=schedule)
    *_, codes = model.prior.stream(model.read(["a cat"]), sampling, [1], processors=[watch])
    states = mini.random_states()
    cell = 100
    scale = 3.0 if schedule == "interval" else 3.0 * (cell + 1) / mini.CELLS
    wanted = mini.guided(states, "a cat", codes[0], 1 + scale)[cell]
    assert (seen[cell][0] - wanted).abs().max() < 1e-4


def test_it_draws_alone_as_in_company_and_shows_its_way(model: Any) -> None:
    steps = list(model.stream(limner.Request("a cat", n=3, seed=5)))
    assert steps[-1].index == steps[-1].total == 3 * mini.CELLS
    alone, (first, *_) = model.draw("a cat", seed=5)[0], model.draw("a cat", n=3, seed=5)
    assert alone.image.size == (mini.SIZE, mini.SIZE)
    assert alone.image.tobytes() == first.image.tobytes()
    shown = model.preview(steps[10])
    assert shown.shape[1:] == (3, mini.SIZE, mini.SIZE)


def test_a_picture_is_edited_only_with_an_encoder(model: Any) -> None:
    picture = model.draw("a cat", seed=5)[0]
    with pytest.raises(UsageError, match="kept to draw alone"):
        model.edit(picture, "a bad cat", mask="0,0,16,16")


def test_the_model_is_saved_and_loaded_again(model: Any, tmp_path: Path) -> None:
    again = limner.load(model.save(tmp_path / "again"))
    assert (
        again.draw("cat", seed=1)[0].image.tobytes() == model.draw("cat", seed=1)[0].image.tobytes()
    )


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_it_draws_in_less_memory(folder: Path, precision: str) -> None:
    drawn = limner.load(folder, precision=precision).draw("a cat", seed=5)
    assert drawn[0].image.size == (mini.SIZE, mini.SIZE)


def test_files_of_mini_beside_those_of_mega_are_told_apart(tmp_path: Path) -> None:
    source = mini.write_mini(tmp_path / "in", "_mini")
    assert import_checkpoint(source, tmp_path / "one").format == "min-dalle-mini"
    mini.write_mini(source)
    with pytest.raises(CheckpointError, match=r"may be min-dalle or min-dalle-mini; say which"):
        import_checkpoint(source, tmp_path / "two")
    made = import_checkpoint(source, tmp_path / "two", format="min-dalle-mini")
    assert made.format == "min-dalle-mini"


def test_the_tables_of_names_are_read_both_ways() -> None:
    encoder, decoder, detokenizer = mini.random_states()
    from limner.convert.taming import DECODER_KEYS

    for state, keys in (
        (encoder, min_dalle.ENCODER_KEYS),
        (decoder, min_dalle.PRIOR_KEYS),
        (detokenizer, DECODER_KEYS),
    ):
        for name in state:
            found = keys.ours(name)
            assert found is not None, name
            assert keys.theirs(found[0]) == (name, found[1])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layers.0.self_attn.q_proj.bias": torch.zeros(128)}, "1 too many"),
        ({"embed_positions.weight": torch.zeros(255, 128)}, "255 cells, which are no square"),
        ({"embed_positions.weight": torch.zeros(64, 128)}, "8 cells a side.*made for 16"),
        ({"embed_positions.weight": torch.zeros(64)}, "no tensor embed_positions.weight of 2 axes"),
        ({"final_ln.bias": torch.zeros(3)}, "1 of another shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: Any, told: str) -> None:
    source = mini.write_mini(tmp_path / "in", **changes)
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = mini.write_mini(tmp_path / "in")
    (source / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"has no merges\.txt"):
        import_checkpoint(source, tmp_path / "out", format="min-dalle")


@torch.no_grad()
def test_it_is_the_same_as_the_package(tmp_path: Path) -> None:
    theirs: Any = pytest.importorskip("min_dalle.models")
    text: Any = pytest.importorskip("min_dalle.text_tokenizer")
    torch.set_grad_enabled(True)  # the package turns it off for everybody
    encoder_state, decoder_state, _ = mini.random_states()
    sizes = {"embed_count": mini.WIDTH, "attention_head_count": mini.HEADS,
             "glu_embed_count": mini.HIDDEN, "device": "cpu"}  # fmt: skip
    encoder = theirs.DalleBartEncoder(
        layer_count=mini.TEXT_LAYERS, text_vocab_count=len(mini.words()),
        text_token_count=mini.TEXT, **sizes,
    )  # fmt: skip
    decoder = theirs.DalleBartDecoder(
        layer_count=mini.LAYERS, image_vocab_count=mini.ROWS - 1, **sizes
    )
    encoder.load_state_dict(encoder_state, strict=False)
    decoder.load_state_dict(decoder_state, strict=False)
    model = limner.load(
        import_checkpoint(mini.write_mini(tmp_path / "in"), tmp_path / "out").folder
    )
    tokenizer = text.TextTokenizer(mini.words(), mini.MERGES[1:-1])
    for prompt in PROMPTS:
        assert tokenizer.tokenize(prompt) == mini.tokenize(prompt)
    # Their loop, greedily: the empty prompt first, then the prompt.
    ids = tokenizer.tokenize("a bad cat")
    rows = torch.ones(2, mini.TEXT, dtype=torch.long)
    rows[0, :2] = torch.tensor([ids[0], ids[-1]])
    rows[1, : len(ids)] = torch.tensor(ids)
    memory = encoder(rows)
    ours = model.prior.text(model.read(["a bad cat"]))[0, -len(ids) :]
    assert (memory[1, : len(ids)] - ours).abs().max() < 1e-4
    state = torch.zeros(mini.LAYERS, 4, mini.CELLS, mini.WIDTH)
    codes, wanted = [mini.BEGIN], []
    for cell in range(mini.CELLS):
        found, state = decoder(
            attention_mask=rows.not_equal(1)[:, None, None], encoder_state=memory,
            attention_state=state, prev_tokens=torch.tensor([[codes[-1]]]),
            token_index=torch.tensor([cell]),
        )  # fmt: skip
        both = found[:, -1, : mini.CODES]
        wanted.append(both[0] * (1 - 16) + both[1] * 16)
        codes.append(int(wanted[-1].argmax()))
    *_, drawn = model.prior.stream(model.read(["a bad cat"]), GREEDY, [1])
    assert drawn[0].tolist() == codes[1:]
