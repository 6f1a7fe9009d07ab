import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limner
from limner.draw import draw, draw_request, stream_request
from limner.errors import UnknownModelError, UsageError
from limner.images import read_png_texts
from limner.model import load
from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling
from limner.text.notes import WEAK, Note, Reading
from limner.text.tokenizer import Tokenizer
from limner.types import Request, Step
from tests.tiny_clip import save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import TEXT_LENGTH, prior_config, save_tiny_model, tiny_pipeline
from tests.tiny_unclip import save_tiny_unclip
from tests.waiting import PATIENCE

PROMPT = "three red apples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    return load(folder)


def test_drawing_gives_pictures_with_seeds_that_count_up(pipeline: Any) -> None:
    pictures = draw(PROMPT, model=pipeline, n=3, seed=7)
    assert [picture.seed for picture in pictures] == [7, 8, 9]
    assert {picture.image.size for picture in pictures} == {(16, 16)}
    assert len({picture.image.tobytes() for picture in pictures}) == 3
    assert {(picture.prompt, picture.model) for picture in pictures} == {(PROMPT, "tiny")}


def test_a_picture_is_the_same_alone_and_among_others(pipeline: Any) -> None:
    together = draw(PROMPT, model=pipeline, n=6, seed=7)
    for picture in together:
        (alone,) = draw(PROMPT, model=pipeline, seed=picture.seed)
        assert alone.image.tobytes() == picture.image.tobytes()
        assert alone.to_png() == picture.to_png()


def test_a_picture_is_the_same_in_another_process(folder: Path, pipeline: Any) -> None:
    code = (
        "import sys, hashlib, limner\n"
        "picture, = limner.draw(sys.argv[1], model=sys.argv[2], seed=11)\n"
        "print(hashlib.sha256(picture.image.tobytes()).hexdigest())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, PROMPT, str(folder)],
        capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    (here,) = draw(PROMPT, model=pipeline, seed=11)
    assert there.stdout == hashlib.sha256(here.image.tobytes()).hexdigest() + "\n"


def test_what_cannot_be_seen_in_a_prompt_changes_nothing(pipeline: Any) -> None:
    clean, dirty = (
        draw(text, model=pipeline, seed=3)[0].image.tobytes()
        for text in (PROMPT, "\u202e three\x07  red\u200b apples\n")
    )
    assert clean == dirty


def test_a_model_is_a_name_a_folder_or_a_pipeline(folder: Path, pipeline: Any) -> None:
    pixels = {
        draw(PROMPT, model=model, seed=1)[0].image.tobytes()
        for model in (folder, str(folder), pipeline)
    }
    assert len(pixels) == 1
    with pytest.raises(UnknownModelError, match="did you mean 'default'"):
        draw(PROMPT, model="defalt")
    for wrong in (7, None, ["default"]):
        with pytest.raises(UsageError, match=r"what limner\.load returns"):
            draw(PROMPT, model=wrong)  # type: ignore[arg-type]


def test_sampling_and_guidance_reach_the_model(pipeline: Any) -> None:
    likeliest = {
        picture.image.tobytes() for picture in draw(PROMPT, model=pipeline, n=4, seed=1, top_k=1)
    }
    assert len(likeliest) == 1
    (picture,) = draw(
        PROMPT, model=pipeline, seed=1, guidance=2, temperature=0.5, guidance_schedule="cosine"
    )
    expected = {"guidance": 2.0, "temperature": 0.5, "guidance_schedule": "cosine", "top_k": 0}
    assert {name: picture.settings[name] for name in expected} == expected


def test_a_misspelt_argument_gets_a_hint(pipeline: Any) -> None:
    with pytest.raises(UsageError, match="'temprature'; did you mean 'temperature'"):
        draw(PROMPT, model=pipeline, temprature=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="draws pictures 16 pixels wide, not 64"):
        draw(PROMPT, model=pipeline, size=64)


def test_words_never_seen_are_a_note_and_no_failure(pipeline: Any) -> None:
    (picture,) = draw("three red zebras 斑", model=pipeline, seed=1)
    assert "the model has never seen: zebras, 斑" in map(str, picture.notes)
    (picture,) = draw(PROMPT, model=pipeline, seed=1)
    assert picture.notes == ()


def test_many_unseen_words_make_a_short_note(pipeline: Any) -> None:
    words = " ".join(f"{letter}zq" for letter in "abcdefghijklm")
    (note, _) = draw(words, model=pipeline, seed=1)[0].notes
    assert str(note) == "the model has never seen: azq, bzq, czq, dzq, ezq, fzq, gzq, hzq, ..."


def test_a_prompt_that_is_too_long_is_cut_with_a_note(pipeline: Any) -> None:
    first = " ".join(["red"] * TEXT_LENGTH)
    (whole,) = draw(first, model=pipeline, seed=1)
    (cut,) = draw(first + " apple sky", model=pipeline, seed=1)
    assert whole.notes == ()
    assert tuple(map(str, cut.notes)) == (
        f"prompt_truncated: the prompt has {TEXT_LENGTH + 2} tokens; "
        f"the model reads the first {TEXT_LENGTH}",
    )
    assert cut.image.tobytes() == whole.image.tobytes()


def test_settings_say_what_draws_the_picture_again(pipeline: Any, tmp_path: Path) -> None:
    (picture,) = draw(PROMPT, model=pipeline, seed=5, top_p=0.9)
    picture.save(tmp_path / "a.png")
    kept = json.loads(read_png_texts(tmp_path / "a.png")["limner"])
    assert kept["model_hash"] == pipeline.info.sha256
    assert (kept["prompt"], kept["seed"], kept["steps"]) == (PROMPT, 5, 4)
    names = [field.name for field in fields(TokenSampling)]
    (again,) = draw(
        kept["prompt"], model=pipeline, seed=kept["seed"], **{name: kept[name] for name in names}
    )
    assert again.image.tobytes() == picture.image.tobytes()


def test_a_pipeline_without_a_folder_draws_too() -> None:
    (picture,) = draw(PROMPT, model=tiny_pipeline().eval(), seed=5)
    assert picture.model == "unsaved"


def test_drawing_can_be_watched_and_stopped(pipeline: Any) -> None:
    request = Request(PROMPT, n=2, seed=1)
    seen = []

    def watched(steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            seen.append((step.index, step.images is not None))
            yield step

    drawn = draw_request(pipeline, request, watch=watched)
    assert len(drawn.pictures) == 2 and drawn.dropped == [] and drawn.seconds > 0
    assert [done for _, done in seen] == [False] * (len(seen) - 1) + [True]
    assert [index for index, _ in seen] == sorted(index for index, _ in seen)
    assert next(iter(pipeline.stream(request))).images is None
    with pytest.raises(ValueError, match="watch left steps unread"):
        draw_request(pipeline, request, watch=lambda steps: [next(steps)])


def test_the_steps_of_a_request_end_in_its_pictures(pipeline: Any, tmp_path: Path) -> None:
    clip = limner.load(save_tiny_clip(tmp_path / "clip"))
    request = Request(PROMPT, n=2, seed=1)
    steps = stream_request(pipeline, request, best_of=5, clip=clip)
    totals = set()
    try:
        while True:
            totals.add(next(steps).total)
    except StopIteration as ended:
        drawn = ended.value
    (total,) = totals
    assert total == 5 * pipeline.prior.steps
    wanted = draw(PROMPT, model=pipeline, n=2, seed=1, best_of=5, clip=clip)
    assert [each.seed for each in drawn.pictures] == [each.seed for each in wanted]
    assert {each.seed for each in (*drawn.pictures, *drawn.dropped)} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    "imports",
    ["", "import limner.draw", "from limner.draw import Drawn", "import limner.cli.draw"],
)
def test_the_public_draw_is_the_function_whatever_was_imported_first(imports: str) -> None:
    code = f"import limner\n{imports}\nfrom limner.draw import draw\nassert limner.draw is draw"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
    assert limner.draw is draw


def test_a_list_of_prompts_is_drawn_as_each_alone(pipeline: Any) -> None:
    prompts = [PROMPT, "a red apple"]
    together = draw(prompts, model=pipeline, n=2, seed=7)
    alone = [picture for each in prompts for picture in draw(each, model=pipeline, n=2, seed=7)]
    assert [each.to_png() for each in together] == [each.to_png() for each in alone]
    assert [(each.prompt, each.seed) for each in together] == [
        (prompt, seed) for prompt in prompts for seed in (7, 8)
    ]
    first, second = draw(tuple(prompts), model=pipeline)
    assert first.seed == second.seed
    for bad, words in (([], "no prompts were given"), ([PROMPT, 7], "prompt"), (7, "prompt")):
        with pytest.raises(UsageError, match=words):
            draw(bad, model=pipeline)  # type: ignore[arg-type]


def test_the_best_of_a_list_are_chosen_for_each_prompt(
    pipeline: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clip = load(save_tiny_clip(tmp_path_factory.mktemp("clips") / "clip"))
    prompts = [PROMPT, "a red apple"]
    together = draw(prompts, model=pipeline, seed=7, best_of=3, clip=clip)
    alone = [draw(each, model=pipeline, seed=7, best_of=3, clip=clip)[0] for each in prompts]
    assert [each.to_png() for each in together] == [each.to_png() for each in alone]


def test_a_model_given_by_name_is_loaded_as_asked(folder: Path, pipeline: Any) -> None:
    (picture,) = draw(PROMPT, model=folder, seed=1, precision="bf16", device="cpu")
    assert picture.settings["precision"] == "bf16"
    (plain,) = draw(PROMPT, model=folder, seed=1, precision=None, device=None, adapters=None)
    assert plain.to_png() == draw(PROMPT, model=pipeline, seed=1)[0].to_png()
    with pytest.raises(UsageError, match="device is 'gpu'; expected auto"):
        draw(PROMPT, model=folder, device="gpu")
    with pytest.raises(UsageError, match=r"there is no adapter 'dog\.safetensors'"):
        draw(PROMPT, model=folder, adapters="dog.safetensors")
    with pytest.raises(UsageError, match="an adapter is 7; expected FILE or FILE:WEIGHT"):
        draw(PROMPT, model=folder, adapters=[7])  # type: ignore[list-item]
    for name, value in (("device", "cpu"), ("precision", "bf16"), ("adapters", ["dog"])):
        with pytest.raises(UsageError, match=f"{name} is given, but the model has been loaded"):
            draw(PROMPT, model=pipeline, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("num_inference_steps", "limner calls it steps"),
        ("guidance_scale", "limner calls it guidance and counts it from 0, so give one less"),
        ("generator", "give a whole number as seed"),
        ("num_images_per_prompt", "limner calls it n"),
        ("negative_prompt", "limner has no negative prompts, so leave it out"),
        ("width", "pictures are square, and limner calls it size"),
        ("height", "pictures are square, and limner calls it size"),
        ("torch_dtype", "give precision as 'fp32', 'bf16' or 'int8'"),
        ("devise", "did you mean 'device'"),
        ("adaptors", "did you mean 'adapters'"),
    ],
)
def test_the_names_of_other_libraries_get_limners(pipeline: Any, name: str, hint: str) -> None:
    drawings: list[Any] = [draw, pipeline.draw]
    for drawing in drawings:
        with pytest.raises(UsageError, match=f"no argument '{name}'; {hint}") as caught:
            drawing(PROMPT, **{name: 1})
        assert caught.value.param == name
    with pytest.raises(UsageError, match=f"no argument '{name}'; {hint}"):
        limner.vary(draw(PROMPT, model=pipeline)[0], **{name: 1})  # type: ignore[arg-type]


def forbid_low(codes: Tensor, logits: Tensor) -> Tensor:
    """Leave the upper half of the codes."""
    return logits.index_fill(-1, torch.arange(logits.shape[-1] // 2), float("-inf"))


class Log:
    """Changes nothing and keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, codes: Tensor, logits: Tensor) -> Tensor:
        self.seen.append((codes.clone(), logits))
        return logits


def test_logits_processors_choose_among_the_codes(pipeline: Any) -> None:
    request = Request(PROMPT, n=2, seed=1, logits_processors=(forbid_low,))
    *_, step = pipeline.stream(request)
    assert int(step.codes.min()) >= 8
    log = Log()
    pictures = draw(PROMPT, model=pipeline, n=2, seed=1, logits_processors=[log, forbid_low])
    wanted = draw_request(pipeline, request).pictures
    assert [each.image.tobytes() for each in pictures] == [e.image.tobytes() for e in wanted]
    assert pictures[0].settings["logits_processors"] == ["Log", "forbid_low"]
    json.dumps(pictures[0].settings)
    assert [codes.shape[1] for codes, _ in log.seen] == [0, 1, 2, 3]
    assert all(len(codes) == len(logits) for codes, logits in log.seen)
    assert torch.equal(log.seen[-1][0][:2], step.codes[:, :3])  # the codes that were drawn


def test_a_processor_that_changes_nothing_changes_nothing(pipeline: Any) -> None:
    settings: list[dict[str, Any]] = [{}, {"guidance": 2.0, "top_k": 3}]
    for options in settings:
        plain = draw(PROMPT, model=pipeline, n=2, seed=1, **options)
        hooked = draw(PROMPT, model=pipeline, n=2, seed=1, logits_processors=Log(), **options)
        assert [e.image.tobytes() for e in plain] == [e.image.tobytes() for e in hooked]


def test_a_picture_drawn_with_a_processor_is_the_same_alone(pipeline: Any) -> None:
    together = draw(PROMPT, model=pipeline, n=6, seed=7, logits_processors=[forbid_low])
    for picture in together:
        (alone,) = draw(PROMPT, model=pipeline, seed=picture.seed, logits_processors=[forbid_low])
        assert alone.image.tobytes() == picture.image.tobytes()


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (lambda codes, logits: None, r"returned NoneType; expected logits \(1, 16\)"),
        (lambda codes, logits: logits[:, :3], r"returned \(1, 3\); expected logits \(1, 16\)"),
        (lambda codes, logits: logits - float("inf"), "left no code to choose from"),
        (lambda codes, logits: logits * float("nan"), "left no code to choose from, or gave NaN"),
    ],
)
def test_what_a_processor_gets_wrong_is_told(pipeline: Any, processor: Any, words: str) -> None:
    if not pipeline.prior.packed.parts(pipeline.prior)[0].native:
        words = words.replace(r"(1,", r"(4,")
    with pytest.raises(UsageError, match=words):
        draw(PROMPT, model=pipeline, logits_processors=[processor])


def test_models_without_logits_refuse_processors(
    pipeline: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("others")
    for model in (save_tiny_gan(folder / "gan"), save_tiny_unclip(folder / "unclip")):
        with pytest.raises(UsageError, match="given, but this model draws no tokens and has no"):
            draw(PROMPT, model=model, logits_processors=[forbid_low])
    field = tiny_pipeline()
    sizes = {"name": "crf", "text_layers": 1, "rank": 4}
    field.prior = create_prior({**prior_config(field.tokenizer), **sizes})
    with pytest.raises(UsageError, match="but this model's prior draws codes in no order"):
        draw(PROMPT, model=field, logits_processors=[forbid_low])
    with pytest.raises(UsageError, match="but speculate is 4 too, and drafts are drawn without"):
        draw(PROMPT, model=pipeline, speculate=4, logits_processors=[forbid_low])


def test_a_tokenizer_that_does_not_fit_is_refused(folder: Path) -> None:
    model = load(folder)
    words = ["".join(letters) for letters in itertools.product("bdfgk", "aeiou", "lmnrst", "aeiou")]
    larger = Tokenizer.train(words * 3, 900)
    assert larger.vocabulary > model.tokenizer.vocabulary
    model.tokenizer = larger
    words_of_it = f"has {larger.vocabulary} ids, but the model was made for"
    with pytest.raises(UsageError, match=words_of_it):
        draw(PROMPT, model=model)
    with pytest.raises(UsageError, match=words_of_it):
        model.draw_many([PROMPT], [1])


def test_a_single_text_is_no_list_of_letters(pipeline: Any) -> None:
    assert torch.equal(pipeline.draw_many(PROMPT, [1]), pipeline.draw_many([PROMPT], [1]))
    steps = [list(pipeline.stream(PROMPT))[-1], list(pipeline.stream(Request(PROMPT)))[-1]]
    assert all(step.images is not None and len(step.images) == 1 for step in steps)
    for wrong in (7, None, [PROMPT]):
        with pytest.raises(UsageError, match=r"the request is .*expected a prompt, or a limner"):
            list(pipeline.stream(wrong))


def test_what_is_often_drawn_wrong_is_looked_at(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubt = Reading("an apple", (Note(WEAK, ("apple",), ("1 of 12",)),))
    monkeypatch.setattr(type(pipeline), "reading_of", lambda self, request: doubt)
    for shown, told in (([1.0, 1.0], False), ([1.0, 0.7], True), (None, True)):
        monkeypatch.setattr(type(pipeline), "shows", lambda self, *_, shown=shown: shown)
        pictures = limner.draw("an apple", model=pipeline, n=2, seed=1)
        assert all(bool(each.notes) is told for each in pictures), shown
