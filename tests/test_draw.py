import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import limner
from limner.draw import draw, finish
from limner.errors import UnknownModelError, UsageError
from limner.images import read_png_texts
from limner.registry import load
from limner.sampling.tokens import TokenSampling
from limner.types import Request
from tests.tiny_model import TEXT_LENGTH, save_tiny_model, tiny_pipeline

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
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code, PROMPT, str(folder)],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for _ in range(2)
    }  # fmt: skip
    import hashlib

    (here,) = draw(PROMPT, model=pipeline, seed=11)
    assert hashes == {hashlib.sha256(here.image.tobytes()).hexdigest() + "\n"}


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
            draw(PROMPT, model=wrong)


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

    def watched() -> Any:
        for step in pipeline.stream(request):
            seen.append((step.index, step.images is not None))
            yield step

    pictures = finish(watched(), request, pipeline)
    assert len(pictures) == 2
    assert [done for _, done in seen] == [False] * (len(seen) - 1) + [True]
    assert [index for index, _ in seen] == sorted(index for index, _ in seen)
    assert next(iter(pipeline.stream(request))).images is None


@pytest.mark.parametrize(
    "imports",
    ["", "import limner.draw", "from limner.draw import finish", "import limner.cli.draw"],
)
def test_the_public_draw_is_the_function_whatever_was_imported_first(imports: str) -> None:
    code = f"import limner\n{imports}\nfrom limner.draw import draw\nassert limner.draw is draw"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert limner.draw is draw
