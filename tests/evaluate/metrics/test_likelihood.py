"""The likelihood of true pictures: closed forms of priors that are known."""

from collections.abc import Sequence
from math import log

import pytest
import torch
from torch import Tensor

from limner.evaluate.metrics.likelihood import AT_ONCE, LOGITS, MeasuredPrior, measure_prior
from limner.pipelines.dalle import Dalle
from limner.priors.base import PriorBase, PriorConfig
from tests.tiny_model import SIZE, TEXT_LENGTH, tiny_pipeline

VOCABULARY, CELLS = 16, 4
PROMPTS = [f"{number} red apples" for number in range(45)]


class Known(PriorBase):
    """A prior of which every code has the same known chances, whatever was asked for."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.config = PriorConfig(400, VOCABULARY, grid=(2, 2))
        self.logits = logits

    def forward(self, text: Tensor, codes: Tensor) -> Tensor:
        return self.logits.expand(len(text), self.length, 1, VOCABULARY)


def pipeline_of(logits: Tensor) -> Dalle:
    tiny = tiny_pipeline()
    return Dalle(tiny.tokenizer, Known(logits), tiny.codec, size=SIZE, text_length=TEXT_LENGTH)


def measured(pipeline: Dalle) -> MeasuredPrior:
    return MeasuredPrior(pipeline.nll_many, CELLS, VOCABULARY, pipeline.prior.nll_kind)


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_a_uniform_prior_has_the_logarithm_of_its_vocabulary() -> None:
    asked = (PROMPTS, pictures(45))
    found = measure_prior(measured(pipeline_of(torch.zeros(VOCABULARY))), {"seen": asked})
    nats, bits = found.nll["seen"], found.bits("seen")
    for end in (nats.value, nats.low, nats.high):
        assert end == pytest.approx(log(VOCABULARY), rel=1e-6)
    assert bits.value == pytest.approx(CELLS * 4) and nats.n == bits.n == 45


def test_a_planted_prior_has_the_likelihood_of_its_table() -> None:
    logits = torch.linspace(-2, 3, VOCABULARY)
    pipeline, images = pipeline_of(logits), pictures(45)
    codes = pipeline.codec.encode(images).flatten(1)
    assert len(codes.unique()) > 2
    each = -logits.log_softmax(0)[codes].mean(1).double()
    found = measure_prior(
        measured(pipeline), {"a": (PROMPTS, images), "b": (PROMPTS[:2], images[:2])}
    )
    assert found.nll["a"].value == pytest.approx(float(each.mean()), rel=1e-6)
    assert found.nll["b"].value == pytest.approx(float(each[:2].mean()), rel=1e-6)
    assert found.nll["a"].low < found.nll["a"].value < found.nll["a"].high
    spread = 1.96 * float(each.std()) / 45**0.5
    assert found.nll["a"].high - found.nll["a"].value == pytest.approx(spread, rel=0.2)


def test_pictures_go_through_in_batches_with_their_own_prompts() -> None:
    sizes: list[int] = []
    told: list[tuple[str, int, int]] = []

    def nll(prompts: Sequence[str], images: Tensor) -> Tensor:
        sizes.append(len(prompts))
        assert [int(prompt.split()[0]) for prompt in prompts] == images[:, 0, 0, 0].tolist()
        return images[:, 0, 0, 0]

    images = torch.arange(45.0)[:, None, None, None].expand(-1, 3, 2, 2)
    prior = MeasuredPrior(nll, CELLS, VOCABULARY, "known")
    found = measure_prior(prior, {"seen": (PROMPTS, images)}, watch=lambda *at: told.append(at))
    assert sizes == [AT_ONCE, 13] and found.nll["seen"].value == 22
    assert told[0] == ("NLL of seen", 0, 45) and told[-1] == ("NLL of seen", 45, 45)


def test_large_logits_go_through_in_smaller_batches() -> None:
    def of(codes: int, vocabulary: int) -> int:
        return MeasuredPrior(lambda prompts, images: images, codes, vocabulary, "").at_once

    assert of(1024, 8192) * 1024 * 8192 <= LOGITS < (of(1024, 8192) + 1) * 1024 * 8192
    assert of(2**20, 2**20) == 1 and of(4, 16) == AT_ONCE


def test_the_answer_says_what_it_is_of() -> None:
    prior = measured(pipeline_of(torch.zeros(VOCABULARY)))
    found = measure_prior(prior, {"chinese": (PROMPTS[:3], pictures(3))})
    answer = found.to_json()
    assert answer["of"] == "each code after those before it" and answer["codes"] == CELLS
    assert list(answer["sets"]) == ["chinese"] and list(answer["sets"]["chinese"]) == [
        "nats",
        "bits",
    ]
    assert answer["of"] in found.about
    nats, bits = found.metrics("chinese")
    assert (nats.name, bits.name) == ("NLL, nats a code", "NLL, bits a picture")
    assert nats.better == bits.better == "lower" and bits.estimate.value == pytest.approx(16)
