"""Training a decoder of things: right answers, a run that resumes, a model that keeps its codes."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limner.data.batches.batches import graph_at, pixels_to_tensor, true_pictures
from limner.data.scenes import graph as scenes
from limner.data.scenes.backgrounds import background, backgrounds
from limner.data.scenes.graph import Graph
from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import sprite
from limner.errors import ConfigError
from limner.nn.painter import Painter
from limner.nn.styles import STYLES
from limner.nn.things import Thing, ThingsDecoder, find_places, lay
from limner.registry import load
from limner.train.codec import things_data
from limner.train.codec.naming import COLOUR_NAMES, UNASKED, cell_labels
from limner.train.codec.things import ThingsStep, placing_loss, read_rightly
from limner.train.codec.things_data import (
    Things,
    crops_of,
    estrange,
    places_of,
    sheets_of,
    tell_colours,
)
from limner.train.codec.things_settings import ThingsTraining
from limner.train.config.run import TrainConfig
from limner.train.loop import train
from limner.train.parts import load_autoencoder
from limner.train.reading import read_config
from limner.types import Request
from tests.tiny_model import save_tiny_model

CONFIG = """
task = "things"
out = "{out}"
start_from = "{model}"
[codec]
name = "fsq"
size = 64
encode_size = 16
levels = [4, 4]
encoder_channels = [8, 8, 8]
decoder_channels = [8, 8, 8]
encoder_blocks = [0, 0, 0]
decoder_blocks = [0, 0, 0]
things = [279, 13, 6]
backdrops = 43
things_width = 64
things_layers = 1
namer_channels = [8, 8, 8]
things_channels = [8, 8]
ground_channels = [8, 8, 8, 8, 8]
[codec_training]
decoder_only = true
[things_training]
grounds = 2
crops = 5
drawings = 5
[data]
held_for_validation = 3
workers = 0
[loop]
steps = 4
batch = 4
warmup = 2
bf16 = false
validate_every = 99
sample_every = 99
save_every = 3
"""


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


def config_in(folder: Path, name: str = "run", **changes: str) -> TrainConfig:
    if not (folder / "model").exists():
        save_tiny_model(folder / "model")
    text = CONFIG.format(out=folder / name, model=folder / "model")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    (folder / "run.toml").write_text(text)
    return read_config(folder / "run.toml")


def test_a_run_teaches_all_that_it_shows_and_leaves_the_codes(tmp_path: Path) -> None:
    step = ThingsStep(config_in(tmp_path))
    step.start(0)
    before = {name: value.clone() for name, value in step.codec.state_dict().items()}
    images = true_pictures([graph_at("held_out", number) for number in range(2)], 64)
    codes = step.codec.eval().encode(images)
    for number in range(3):
        found = step(number)
    assert {"noun", "naming", "placing", "ground", "drawing", "loss"} <= set(found)
    assert torch.equal(step.codec.encode(images), codes)
    parts = ("reader.open", "namer.body", "painter.noun", "backdrops.plan")
    after = step.codec.state_dict()
    taught = tuple(f"decoder.{each}" for each in ("reader", "namer", "painter", "backdrops"))
    for name, value in after.items():
        if not name.startswith(taught):
            assert torch.equal(value, before[name]), name  # the small picture stays
    for part in parts:
        changed = [not torch.equal(after[name], before[name]) for name in after if part in name]
        assert any(changed), part
    measured = step.validate()
    assert {"psnr", "things", "nouns", "colours", "styles"} <= set(measured)


def test_a_codec_goes_on_in_the_wide_world(tmp_path: Path) -> None:
    first = ThingsStep(config_in(tmp_path))
    pipeline = load(tmp_path / "model")
    pipeline.codec, pipeline.size = first.codec, first.codec.config.size
    first.save_model(tmp_path / "first", pipeline, codec=first.codec_config)
    things, grounds = 1 + len(nouns(wide=True)), len(backgrounds(wide=True))
    changes = {
        str(tmp_path / "model"): str(tmp_path / "first" / "model"),
        "things = [279, 13, 6]": f"things = [{things}, 13, 6]",
        "backdrops = 43": f"backdrops = {grounds}",
        "[data]": "[data]\nlevel = 7",
    }
    wide = ThingsStep(config_in(tmp_path, **changes))
    ours, theirs = wide.codec.state_dict(), first.codec.state_dict()
    # Each question's answers begin as they were; those of new things follow the old ones.
    first_answers, answers = [279, 13, 6, 43], [things, 13, 6, grounds]
    for name, asked in (("reader.name", 4), ("namer.out.2", 3)):
        for part in ("weight", "bias"):
            new, old = (each[f"decoder.{name}.{part}"] for each in (ours, theirs))
            blocks = zip(new.split(answers[:asked]), old.split(first_answers[:asked]), strict=True)
            assert all(torch.equal(mine[: len(was)], was) for mine, was in blocks)
    table = "decoder.painter.noun.weight"
    assert torch.equal(ours[table][:279], theirs[table]) and len(ours[table]) == things
    plans = [each["decoder.backdrops.plan.weight"] for each in (ours, theirs)]
    assert torch.equal(plans[0][:43], plans[1]) and len(plans[0]) == grounds
    wide.start(0)
    batch = next(iter(wide.batches))
    assert int(batch.labels[:, 0].max()) < things and int(batch.nouns.max()) < things
    assert math.isfinite(wide(0)["loss"])
    with pytest.raises(ConfigError, match=rf"scenes have \[{things}, 13, 6\]"):
        config_in(tmp_path, **{"[data]": "[data]\nlevel = 7"})


def test_a_resumed_run_is_the_unbroken_one(tmp_path: Path) -> None:
    whole, parts = (config_in(tmp_path, name) for name in ("whole", "parts"))
    assert [each.step for each in train(whole)][-1] == 4
    going = train(parts)
    list(itertools.islice(going, 2))
    going.close()  # type: ignore[attr-defined]
    list(train(parts, resume=True))
    ours, theirs = ((each / "codec.safetensors").read_bytes()
                    for each in (tmp_path / "whole", tmp_path / "parts"))  # fmt: skip
    assert ours == theirs


def test_a_whole_model_draws_the_same_codes_larger(tmp_path: Path) -> None:
    list(train(config_in(tmp_path)))
    large, given = load(tmp_path / "run" / "model"), load(tmp_path / "model")
    request = Request("a red apple", n=2, seed=3)
    ours, theirs = ([*each.stream(request)][-1] for each in (large, given))
    assert torch.equal(ours.codes, theirs.codes)
    assert ours.images.shape == (2, 3, 64, 64) and theirs.images.shape == (2, 3, 16, 16)
    assert isinstance(large.codec.decoder, ThingsDecoder)
    # What is trained on the new model goes on from its small codec.
    small, config = load_autoencoder(tmp_path / "run" / "model")
    assert config == given.config.codec | {"size": 16} and small.config.size == 16
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(small.encode(images), given.codec.encode(images))
    assert torch.equal(small.reconstruct(images), given.codec.reconstruct(images))


def test_right_answers_give_the_picture_back(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph((scenes.Thing("apple", "red"), scenes.Thing("dog")), "night", relation="left")
    placed = [(graph, (0.0, 0.0))]
    places = places_of(placed, 8)
    places[:, 0] = places[:, 0] * 9 - 4.5  # as a logit
    found = sorted(find_places(places[0]))
    answers = cell_labels(placed, 8)[0, :3, 4, [1, 6]].T
    things = [Thing(tuple(names), *where, 1.0)
              for names, where in zip(answers.tolist(), found, strict=True)]  # fmt: skip
    painter = Painter((279, 13, 6), (8, 8), STYLES)
    tell_colours(painter)
    monkeypatch.setattr(painter, "sheets", lambda nouns: sheets_of((nouns - 1).tolist(), 128) / 255)
    drawings = painter(answers)
    picture = pixels_to_tensor(background("night", 256).copy())
    lay(picture, [replace(each, surety=1.0) for each in things], drawings)
    true = true_pictures([graph], 256)[0]
    assert (picture - true).abs().max() < 4.1 / 255  # rounding of sheets, sprite and picture


def test_a_lesson_that_is_left_out_teaches_nothing(tmp_path: Path) -> None:
    none = {"crops = 5": "crops = 5\nreading = false", "grounds = 2": "grounds = 0",
            "drawings = 5": "drawings = 0"}  # fmt: skip
    step = ThingsStep(config_in(tmp_path, **none))
    step.start(0)
    before = {name: value.clone() for name, value in step.codec.state_dict().items()}
    assert "noun" in step(0)
    changed = {name.split(".")[1] for name, value in step.codec.state_dict().items()
               if not torch.equal(value, before[name])}  # fmt: skip
    assert changed == {"namer"}


def test_where_no_lesson_is_about_scenes_none_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = {"crops = 5": "crops = 0\nreading = false"}
    step = ThingsStep(config_in(tmp_path, **none))
    monkeypatch.setattr(things_data, "scene_batch", lambda *_, **__: pytest.fail("a scene"))
    step.start(0)
    before = {name: value.clone() for name, value in step.codec.state_dict().items()}
    assert {"drawing", "ground"} <= set(step(0))
    changed = {name.split(".")[1] for name, value in step.codec.state_dict().items()
               if not torch.equal(value, before[name])}  # fmt: skip
    assert changed == {"painter", "backdrops"}


def test_what_is_read_is_compared_with_what_stands() -> None:
    names, squares = (
        torch.tensor([[4, UNASKED, 2], [5, 1, 1]]),
        torch.tensor([[0.0, 0.25, 0.5]] * 2),
    )
    squares[1, 0] = 0.5
    found = [Thing((4, 9, 2), 0.02, 0.2, 0.55, 1, 1), Thing((5, 2, 1), 0.5, 0.25, 0.6, 1, 1)]
    assert read_rightly(found, names, squares, 0.07).tolist() == [1, 1, 1, 1]
    assert read_rightly(found, names, squares, 0.2).tolist() == [2, 2, 1, 2]
    assert read_rightly([], names, squares, 1.0).tolist() == [0, 0, 0, 0]


def test_crops_are_of_what_stands_and_of_nothing_known() -> None:
    graph = Graph((scenes.Thing("apple", "red"), scenes.Thing("dog")), "night", relation="left")
    placed = [(graph, (0.0, 0.0))] * 2
    labels, places = cell_labels(placed, 8), places_of(placed, 8)
    labels[1] = UNASKED
    of, squares, named = crops_of(labels, places, 9, torch.Generator().manual_seed(0))
    assert of.tolist() == [0, 0, 1, 1] and named[2:].tolist() == [[0] * 3] * 2
    assert torch.equal(named[:2], labels[0, :3, 4, [1, 6]].T)
    wanted = torch.tensor([[0.0, 0.25, 0.5], [0.5, 0.25, 0.5]])
    assert 0 < (squares[:2] - wanted).abs().max() < 0.06
    assert len(crops_of(labels, places, 3, torch.Generator())[0]) == 3


def test_a_moved_scene_has_its_places_moved() -> None:
    graph = Graph((scenes.Thing("apple"),), "night")
    still, moved = places_of([(graph, (0.0, 0.0)), (graph, (0.05, -0.05))], 8)
    assert still[:, 4, 4].tolist() == pytest.approx([1.0, 1.0, 0.0, 0.0, 6.0])
    assert moved[:, 3, 4].tolist() == pytest.approx([1.0, 1.0, 0.4, 0.6, 6.0])
    assert still[0].sum() == moved[0].sum() == 1 and (still[1] == 1).all()


def test_of_a_strange_picture_nothing_is_known() -> None:
    look = {"size": 16, "seed": 1, "level": 4}
    plain, strange = (
        Things(9, ThingsTraining(strange=share), 2, (64, 24), **look)[3] for share in (0.0, 0.6)
    )
    odd = (strange.pictures != plain.pictures).flatten(1).any(1)
    assert 2 < odd.sum() < 9
    assert (strange.labels[odd] == UNASKED).all() and (strange.places[odd] == 0).all()
    assert torch.equal(strange.labels[~odd], plain.labels[~odd])
    assert (plain.labels[:, 3] == plain.labels[:, 3, :1, :1]).all()  # behind things too
    assert len(plain.grounds) == len(plain.backdrops) == 3


def test_no_way_of_making_a_picture_strange_leaves_it() -> None:
    picture, other = torch.rand(2, 3, 16, 16)
    made = [estrange(picture, other, torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert all(each.shape == picture.shape and not torch.equal(each, picture) for each in made)
    turned = sum(torch.equal(each.rot90(-1, (1, 2)), picture) for each in made)
    assert 2 < turned < 20


@pytest.mark.parametrize("colour", [None, "red", "blue", "white"])
def test_true_sheets_make_the_sprite_in_any_colour(
    colour: str | None, emoji_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painter = Painter((279, 13, 6), (8, 8), STYLES)
    tell_colours(painter)
    monkeypatch.setattr(painter, "sheets", lambda nouns: sheets_of((nouns - 1).tolist(), 96) / 255)
    number = next(at for at, each in enumerate(nouns()) if each.singular == "apple")
    name = COLOUR_NAMES.index(colour or nouns()[number].colour)
    drawn = painter(torch.tensor([[1 + number, 1 + name, 1]]))[0]
    asked = None if colour == nouns()[number].colour else colour
    wanted = sprite(str(emoji_font), nouns()[number].emoji, asked, "plain", 96)
    true = torch.from_numpy(wanted.copy()).movedim(-1, 0) / 255
    error = (drawn - true).abs()  # Lanczos overshoots at edges, and is cut
    assert error.mean() < 0.5 / 255 and error.max() < 30 / 255


def test_the_loss_of_places_is_nothing_for_the_right_ones() -> None:
    wanted = places_of([(Graph((scenes.Thing("apple"),), "night"), (0.0, 0.0))], 8)
    right = wanted.clone()
    right[:, :2] = right[:, :2] * 60 - 30
    assert placing_loss(right, wanted) < 1e-6
    right[:, 4] += 1
    assert placing_loss(right, wanted) == pytest.approx(1 / 3)
    assert placing_loss(right, torch.zeros_like(wanted)) > 1


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("start_from", "# start_from", "needs start_from, the codec or model"),
        ("things = [279, 13, 6]", "things = [3, 13, 6]", r"codec.things is \[3, 13, 6\]; scenes"),
        ("decoder_only = true", "naming = 0.1", "codec_training.decoder_only = true, and neither"),
        ("grounds = 2", "grounds = -1", "grounds is -1"),
        ("backdrops = 43", "backdrops = 42", "codec.backdrops is 42; scenes have 43"),
    ],
)
def test_a_mistake_is_told(before: str, after: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        config_in(tmp_path, **{before: after})
