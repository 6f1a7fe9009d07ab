"""Reading pictures: what they show, whatever a codec does to them."""

import pytest
import torch
import torch.nn.functional as F

from limner.data.scenes.backgrounds import BACKGROUNDS
from limner.data.scenes.graph import Graph, Thing
from limner.errors import UsageError
from limner.evaluate.scenes.detection import Reader, Reading
from limner.evaluate.scenes.judging import ASPECTS, judge, tally
from limner.evaluate.scenes.prompts import Prompt, collect_prompts
from limner.evaluate.scenes.score import true_pictures


@pytest.fixture(scope="module")
def prompts(emoji_font: object) -> list[Prompt]:
    return collect_prompts("validation", 150, seed=5)


@pytest.fixture(scope="module")
def pictures(prompts: list[Prompt]) -> torch.Tensor:
    return true_pictures([prompt.graph for prompt in prompts], 64)


def lowest(reader: Reader, pictures: torch.Tensor, prompts: list[Prompt]) -> float:
    readings = reader.read(pictures)
    scores = tally(judge(each.graph, shown) for each, shown in zip(prompts, readings, strict=True))
    return min(score.value for score in scores.values() if score.value is not None)


def test_true_pictures_are_read(
    reader: Reader, pictures: torch.Tensor, prompts: list[Prompt]
) -> None:
    assert lowest(reader, pictures, prompts) >= 0.98


def test_larger_pictures_are_read(reader: Reader, prompts: list[Prompt]) -> None:
    large = true_pictures([prompt.graph for prompt in prompts[:60]], 128)
    assert lowest(reader, large, prompts[:60]) >= 0.98


def test_noisy_and_blurred_pictures_are_read(
    reader: Reader, pictures: torch.Tensor, prompts: list[Prompt]
) -> None:
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    assert lowest(reader, blurred + 0.1 * noise, prompts) >= 0.9


def read_one(reader: Reader, graph: Graph) -> Reading:
    return reader.read(true_pictures([graph], 64))[0]


def test_a_reading_names_all_that_is_shown(reader: Reader) -> None:
    apple = Thing("apple", "blue", size="small")
    shown = read_one(reader, Graph((apple,), "striped:red"))
    assert (shown.background, shown.things, shown.relation) == ("striped:red", (apple,), None)
    assert shown.explained > 0.9
    pair = (Thing("dog"), Thing("car", "green"))
    shown = read_one(reader, Graph(pair, "night", relation="above"))
    assert (shown.background, shown.things, shown.relation) == ("night", pair, "above")


def test_a_missing_object_is_not_counted(reader: Reader) -> None:
    picture = true_pictures([Graph((Thing("apple", count=3),), "beach")], 64)
    ground = reader.bank.grounds[BACKGROUNDS.index("beach")] * 2 - 1
    picture[0, :, 32:, 32:] = ground[:, 32:, 32:]
    assert reader.read(picture)[0].things == (Thing("apple", count=2),)


def test_bare_ground_shows_nothing(reader: Reader) -> None:
    readings = reader.read(reader.bank.grounds * 2 - 1)
    assert all(reading.things == () for reading in readings)
    assert len({reading.background for reading in readings}) == len(readings)


def test_noise_is_not_taken_for_what_was_asked(reader: Reader, prompts: list[Prompt]) -> None:
    noise = torch.rand(len(prompts), 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    readings = reader.read(noise)
    scores = tally(judge(each.graph, shown) for each, shown in zip(prompts, readings, strict=True))
    assert all((scores[aspect].value or 0) < 0.2 for aspect in ASPECTS if aspect != "count")


def test_wrong_shapes_are_refused(reader: Reader) -> None:
    for shape in [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 32)]:
        with pytest.raises(UsageError, match="shape"):
            reader.read(torch.zeros(shape))
    with pytest.raises(UsageError, match="expected 64 or more"):
        reader.read(torch.zeros(1, 3, 32, 32))
