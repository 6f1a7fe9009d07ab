"""Which words drew which cells: by every prior, by every family, and by hand where it is known."""

import pytest
import torch

from limner.codecs import create_codec
from limner.pipelines.dalle import Dalle
from limner.pipelines.explain import CELLS, LIKELIHOOD, OCCLUSION, find_reasons, to_grid
from limner.priors import create_prior
from limner.text.tokenizer import Tokenizer
from limner.types import Drawable, Request, Step
from tests.tiny_gan import tiny_gan
from tests.tiny_model import (
    CODEC,
    SENTENCES,
    SIZE,
    TEXT_LENGTH,
    Averages,
    AveragesConfig,
    prior_config,
    tiny_pipeline,
)
from tests.tiny_unclip import tiny_unclip

WORDS = ["three", "red", "apples", "under", "the", "night", "sky"]
REQUEST = Request(" ".join(WORDS), seed=4)
CRF = {"text_layers": 1, "rank": 4, "iterations": 2, "sweeps": 3}


def last_step(pipeline: Drawable, request: Request = REQUEST) -> Step:
    return list(pipeline.stream(request))[-1]


@pytest.fixture(params=[("gpt", 1), ("gpt", 2), ("next_scale", 1), ("crf", 1)], ids=str)
def pipeline(request: pytest.FixtureRequest) -> Dalle:
    name, groups = request.param
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(SENTENCES, 400)
    table = prior_config(tokenizer) | {"name": name, "groups": groups}
    prior = create_prior(table | (CRF if name == "crf" else {}))
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    codec = create_codec(CODEC | {"groups": groups})
    return Dalle(tokenizer, prior, codec, size=SIZE, text_length=TEXT_LENGTH).eval()


def test_heat_is_what_the_codes_cost_more_without_the_word(pipeline: Dalle) -> None:
    last = last_step(pipeline)
    reasons = find_reasons(pipeline, REQUEST, last)
    assert reasons.way == LIKELIHOOD and [each.text for each in reasons.words] == WORDS
    assert last.codes is not None and reasons.surprise is not None
    text = pipeline.tokenizer.batch([REQUEST.prompt], TEXT_LENGTH)
    with torch.no_grad():
        whole = pipeline.prior.nll(text, last.codes).sum(-1)
        torch.testing.assert_close(reasons.surprise.flatten(), whole[0])
        first = (text[0] != 0).nonzero()[0]  # "three" is one token
        text[0, first] = 0
        without = pipeline.prior.nll(text, last.codes).sum(-1)
    torch.testing.assert_close(reasons.words[0].heat.flatten(), (without - whole)[0])
    assert reasons.words[0].total == pytest.approx(float((without - whole).sum()), abs=1e-4)
    row, column = reasons.words[0].peak
    assert reasons.words[0].heat[row, column] == reasons.words[0].heat.max()


def test_words_that_the_model_does_not_read_are_left_out() -> None:
    pipeline = tiny_pipeline()
    request = Request(" ".join(WORDS) + " a red apple", seed=4, verbatim=True)
    reasons = find_reasons(pipeline, request, last_step(pipeline, request))
    assert [each.text for each in reasons.words] == [*WORDS, "a"], "8 tokens are read"


def test_of_two_maps_the_coarse_one_is_shared_out() -> None:
    values = torch.tensor([[8.0, 1, 2, 3, 4]])
    assert to_grid(values, ((1, 1), (2, 2))).tolist() == [[[3.0, 4.0], [5.0, 6.0]]]
    tokenizer = Tokenizer.train(SENTENCES, 400)
    table = prior_config(tokenizer) | {"maps": [[1, 1], [2, 2]], "levels": []}
    codec = Averages(AveragesConfig())
    pipeline = Dalle(
        tokenizer, create_prior(table), codec, size=SIZE, text_length=TEXT_LENGTH
    ).eval()
    reasons = find_reasons(pipeline, REQUEST, last_step(pipeline))
    assert reasons.surprise is not None and reasons.surprise.shape == (2, 2)
    assert {each.heat.shape for each in reasons.words} == {(2, 2)}


@pytest.mark.parametrize("pipeline", [tiny_gan()[0], tiny_unclip()[0]], ids=["gan", "unclip"])
def test_without_codes_the_picture_is_drawn_again_without_each_word(pipeline: Drawable) -> None:
    last = last_step(pipeline)
    reasons = find_reasons(pipeline, REQUEST, last)
    assert reasons.way == OCCLUSION and reasons.surprise is None
    assert [each.text for each in reasons.words] == WORDS
    assert last.images is not None
    other = pipeline.draw_many(["three apples under the night sky"], [4])
    moved = (other.clamp(-1, 1) - last.images.clamp(-1, 1)).abs().mean() / 2
    red = reasons.words[1].heat
    assert red.shape == (min(CELLS, pipeline.size),) * 2 and float(moved) > 0
    torch.testing.assert_close(red.mean(), moved)
