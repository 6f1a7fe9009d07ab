"""`limner.restyle` and a model's own: things repainted, filtered, or left, and said to be so."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import limner
from limner.errors import UsageError
from limner.images import read_png_texts, read_xmp
from limner.pipelines.things import names_of
from limner.restyle import restyle
from tests.tiny_things import save_tiny_things, tiny_things

GREY = Image.new("RGB", (80, 64), (128, 128, 128))


def test_things_are_repainted_and_told() -> None:
    model = tiny_things()
    picture = restyle(GREY, "as a silhouette", model=model)
    told = picture.settings["restyle"]
    assert picture.image.size == (80, 64) and picture.image.tobytes() != GREY.tobytes()
    assert (told["style"], told["way"]) == ("silhouette", "repainted")
    assert told["things"] and {each["name"] for each in told["things"]} == {"thing"}
    assert told["things"] == sorted(told["things"], key=lambda each: (each["left"], each["top"]))
    assert [str(each) for each in picture.notes] == ["painted anew: thing (silhouette)"]
    assert restyle(GREY, "剪影", model=model).image.tobytes() == picture.image.tobytes()


def test_what_is_in_the_style_already_is_left() -> None:
    picture = restyle(GREY, "plain", model=tiny_things())
    assert picture.image.tobytes() == GREY.tobytes()
    assert picture.settings["restyle"]["way"] == "unchanged"
    assert str(picture.notes[0]).startswith("left as it is, because it is in that style already")


def test_where_nothing_is_known_all_is_filtered_or_the_subject_cut_out() -> None:
    model, disc = tiny_things(finds=False), GREY.copy()
    ImageDraw.Draw(disc).ellipse((20, 16, 52, 48), fill="#cc2222")
    for style, words in (("line art", "a filter made all of it"), ("sticker", "was cut out")):
        picture = restyle(disc, style, model=model)
        assert picture.settings["restyle"] == {"style": style, "way": "filtered", "things": []}
        assert words in str(picture.notes[0])
    with pytest.raises(UsageError, match="no filter makes it plain"):
        restyle(disc, "plain", model=model)
    with pytest.raises(UsageError, match="nor a subject before a plain background"):
        restyle(Image.effect_noise((64, 64), 90), "sticker", model=model)


def test_a_file_says_what_was_done_and_only_what_a_model_painted_is_its_work(
    tmp_path: Path,
) -> None:
    for finds, made in ((True, True), (False, False)):
        picture = restyle(GREY, "line art", model=tiny_things(finds=finds))
        picture.save(tmp_path / "a.png")
        told = json.loads(read_png_texts(tmp_path / "a.png")["limner"])
        assert told["task"] == "restyle" and told["restyle"]["style"] == "line art"
        data = (tmp_path / "a.png").read_bytes()
        assert ("compositeWithTrainedAlgorithmicMedia" in read_xmp(data, "a.png")) == made
        with Image.open(tmp_path / "a.png") as saved:  # without a mark
            assert saved.convert("RGB").tobytes() == picture.image.tobytes()


def test_a_loaded_model_restyles_as_limner_does_with_it(tmp_path: Path) -> None:
    model = limner.load(save_tiny_things(tmp_path / "model"))
    GREY.save(tmp_path / "grey.png")
    picture = model.restyle(tmp_path / "grey.png", "pixel art")
    same = limner.restyle(picture.image, "plain", model=tmp_path / "model", device="cpu")
    assert picture.model == same.model == "tiny-things"
    with pytest.raises(UsageError, match="the picture is 8 x 8 pixels; give one of at least 16"):
        model.restyle(GREY.resize((8, 8)), "plain")
    with pytest.raises(UsageError, match="style is 'flat'"):
        limner.restyle("absent.png", "flat")


def test_the_answers_of_the_default_are_the_things_of_its_words() -> None:
    from limner.data.scenes.nouns import nouns
    from limner.nn.things import Thing

    model = limner.load("default")
    every = nouns(wide=True)
    assert model.codec.config.things[0] == 1 + len(every)
    things = [Thing((at, 1, 1), 0, 0, 1, 1, 1) for at in (1, 2, len(every), len(every) + 1)]
    wanted = [every[0].singular, every[1].singular, every[-1].singular, "thing"]
    assert names_of(model.words, things) == wanted
