"""Detections pictures: what they show, whatever a codec does to them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from limner.data.batches.batches import true_pictures
from limner.data.scenes.backgrounds import BACKGROUNDS, backgrounds
from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.nouns import nouns
from limner.errors import UsageError
from limner.evaluate.scenes import detection, matching
from limner.evaluate.scenes.detection import Detections, SceneDetector
from limner.evaluate.scenes.judging import ASPECTS, judge, tally
from limner.evaluate.scenes.prompts import Prompt, collect_prompts


@pytest.fixture(scope="module")
def prompts(emoji_font: object) -> list[Prompt]:
    return collect_prompts("validation", 150, seed=5)


@pytest.fixture(scope="module")
def pictures(prompts: list[Prompt]) -> torch.Tensor:
    return true_pictures([prompt.graph for prompt in prompts], 64)


def lowest(detector: SceneDetector, pictures: torch.Tensor, prompts: list[Prompt]) -> float:
    readings = detector.detect(pictures)
    scores = tally(judge(each.graph, shown) for each, shown in zip(prompts, readings, strict=True))
    return min(score.value for score in scores.values() if score.value is not None)


def test_true_pictures_are_read(
    detector: SceneDetector, pictures: torch.Tensor, prompts: list[Prompt]
) -> None:
    assert lowest(detector, pictures, prompts) >= 0.98


def test_larger_pictures_are_read(detector: SceneDetector, prompts: list[Prompt]) -> None:
    large = true_pictures([prompt.graph for prompt in prompts[:60]], 128)
    assert lowest(detector, large, prompts[:60]) >= 0.98


def test_noisy_and_blurred_pictures_are_read(
    detector: SceneDetector, pictures: torch.Tensor, prompts: list[Prompt]
) -> None:
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    assert lowest(detector, blurred + 0.1 * noise, prompts) >= 0.9


def read_one(detector: SceneDetector, graph: Graph) -> Detections:
    return detector.detect(true_pictures([graph], 64))[0]


def test_a_reading_names_all_that_is_shown(detector: SceneDetector) -> None:
    apple = Thing("apple", "blue", size="small")
    shown = read_one(detector, Graph((apple,), "striped:red"))
    assert (shown.background, shown.things, shown.relation) == ("striped:red", (apple,), None)
    assert shown.explained > 0.9
    pair = (Thing("dog"), Thing("car", "green"))
    shown = read_one(detector, Graph(pair, "night", relation="above"))
    assert (shown.background, shown.things, shown.relation) == ("night", pair, "above")


def test_a_missing_object_is_not_counted(detector: SceneDetector) -> None:
    picture = true_pictures([Graph((Thing("apple", count=3),), "beach")], 64)
    ground = detector.bank.backgrounds[BACKGROUNDS.index("beach")] * 2 - 1
    picture[0, :, 32:, 32:] = ground[:, 32:, 32:]
    assert detector.detect(picture)[0].things == (Thing("apple", count=2),)


def test_bare_ground_shows_nothing(detector: SceneDetector) -> None:
    readings = detector.detect(detector.bank.backgrounds * 2 - 1)
    assert all(reading.things == () for reading in readings)
    assert len({reading.background for reading in readings}) == len(readings)


def test_noise_is_not_taken_for_what_was_asked(
    detector: SceneDetector, prompts: list[Prompt]
) -> None:
    noise = torch.rand(len(prompts), 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    readings = detector.detect(noise)
    scores = tally(judge(each.graph, shown) for each, shown in zip(prompts, readings, strict=True))
    assert all((scores[aspect].value or 0) < 0.2 for aspect in ASPECTS if aspect != "count")


def test_wrong_shapes_are_refused(detector: SceneDetector) -> None:
    for shape in [(3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 32)]:
        with pytest.raises(UsageError, match="shape"):
            detector.detect(torch.zeros(shape))
    with pytest.raises(UsageError, match="expected 64 or more"):
        detector.detect(torch.zeros(1, 3, 32, 32))


def test_true_pictures_of_the_kinds_of_the_wide_world_are_read(
    emoji_font: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A few things are enough here: benchmarks/ceiling.py looks for all of them.
    some = nouns()[:24]
    for module in (matching, detection):
        monkeypatch.setattr(module, "nouns", lambda *, wide=False: some)
    matching.sprite_bank.cache_clear()
    detector = SceneDetector(wide=True)
    matching.sprite_bank.cache_clear()
    one, two, three = (Thing(each.singular) for each in some[3:6])
    asked = [
        *(Graph((replace(one, count=count),), "beach at night") for count in (6, 7, 8, 9)),
        Graph((one, two), "forest", relation="front"),
        Graph((two, one), "downtown at night", relation="front"),
        Graph((one, two), "snow at night", relation="beside"),
        Graph((one, two, three), "mountains", relation="row"),
        Graph((three, two, one), "plain:white", relation="between"),
        *(Graph((), place) for place in backgrounds(wide=True)),
        Graph((one,), "meadow at night"),
    ]
    shown = detector.detect(true_pictures(asked, 64))
    for graph, seen in zip(asked, shown, strict=True):
        assert all(all(marks) for marks in judge(graph, seen).values()), (graph, seen)
