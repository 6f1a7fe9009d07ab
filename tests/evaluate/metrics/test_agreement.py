"""CLIP score and R-precision of vectors of which the answers are known."""

import pytest
import torch

from limner.errors import UsageError
from limner.evaluate.metrics.agreement import clip_scores, r_precision


def test_scores_are_hundred_times_the_cosine_and_never_below_nothing() -> None:
    pictures = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    assert clip_scores(pictures, texts).tolist() == pytest.approx([100, 80, 0])


def test_a_picture_at_its_own_sentence_is_right() -> None:
    vectors = torch.eye(5)
    names = list("abcde")
    assert r_precision(vectors, vectors, names).tolist() == [1] * 5
    assert r_precision(vectors, vectors.roll(1, 0), names).tolist() == [0] * 5


def test_equal_sentences_are_no_rivals_and_ties_are_shared() -> None:
    vectors = torch.eye(3)[[0, 0, 1, 2]]
    assert r_precision(vectors, vectors, ["a", "a", "b", "c"]).tolist() == [1] * 4
    same = torch.ones(4, 3)
    found = r_precision(same, same, ["a", "b", "c", "d"])
    assert found.tolist() == [0.25] * 4


def test_guessing_is_right_as_often_as_there_are_candidates() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures, texts = (torch.randn(600, 8, generator=generator) for _ in range(2))
    found = r_precision(pictures, texts, [str(row) for row in range(600)], candidates=5)
    assert float(found.mean()) == pytest.approx(0.2, abs=0.05)


def test_sets_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UsageError, match="one vector for each"):
        clip_scores(torch.ones(2, 3), torch.ones(3, 3))
    with pytest.raises(UsageError, match="two that differ"):
        r_precision(torch.ones(2, 3), torch.ones(2, 3), ["a", "a"])
