"""DALL-E with every prior: alone as in company, previews on the way, and back from its folder."""

from pathlib import Path
from typing import Any

import pytest
import torch

from limner.checkpoint.model import load_checkpoint, save_checkpoint
from limner.codecs import create_codec
from limner.data.scenes.words import scene_words
from limner.errors import UsageError
from limner.nn.told import Told
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling
from limner.text.tokenizer import Tokenizer
from limner.types import Request, Sampling, Step
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
from tests.tiny_things import tiny_things

SAMPLING = TokenSampling(temperature=1.2, guidance=1.0)
CRF = {"text_layers": 1, "rank": 4, "iterations": 2, "sweeps": 3}
CASES = [("gpt", 1), ("gpt", 2), ("gpt", 3), ("next_scale", 2), ("crf", 1), ("crf", 2)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def parts(request: pytest.FixtureRequest) -> tuple[Dalle, dict[str, Any], dict[str, Any]]:
    name, groups = request.param
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(SENTENCES, 400)
    codec = CODEC | {"groups": groups}
    prior = prior_config(tokenizer) | {"name": name, "groups": groups}
    prior |= CRF if name == "crf" else {}
    modules = (create_prior(prior), create_codec(codec))
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    built = Dalle(tokenizer, *modules, defaults=SAMPLING, size=SIZE, text_length=TEXT_LENGTH)
    return built.eval(), codec, prior


@pytest.fixture
def pipeline(parts: tuple[Dalle, dict[str, Any], dict[str, Any]]) -> Dalle:
    return parts[0]


def images_of(pipeline: Dalle, request: Request) -> torch.Tensor:
    last = list(pipeline.stream(request))[-1]
    assert last.images is not None
    return last.images


def test_a_picture_is_the_same_alone_and_in_company(pipeline: Dalle) -> None:
    together = images_of(pipeline, Request("a red apple", n=6, seed=3))
    assert together.shape == (6, 3, SIZE, SIZE) and together.abs().max() <= 1
    for index in range(6):
        alone = images_of(pipeline, Request("a red apple", n=1, seed=3 + index))
        assert torch.equal(alone[0], together[index])
    assert len(together.flatten(1).unique(dim=0)) > 1
    prompts = ["three red apples", "a red apple", "夜空下的三个红苹果"]
    assert torch.equal(pipeline.draw_many(prompts, [8, 4, 9])[1], together[1])


def test_true_pictures_have_nats_by_their_prompts(pipeline: Dalle) -> None:
    prompts = ["three red apples", "a red apple", "夜空下的三个红苹果"]
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    together = pipeline.nll_many(prompts, images)
    assert together.shape == (3,) and bool((together > 0).all())
    text = pipeline.tokenizer.batch(prompts, TEXT_LENGTH)
    with torch.no_grad():
        loss = pipeline.prior.loss(text, pipeline.codec.encode(images))
    torch.testing.assert_close(together.mean(), loss)
    alone = [
        pipeline.nll_many([each], image[None]) for each, image in zip(prompts, images, strict=True)
    ]
    torch.testing.assert_close(torch.cat(alone), together)
    others = pipeline.nll_many(prompts[1:] + prompts[:1], images)
    assert not torch.allclose(others, together, atol=1e-4)


def test_a_prior_of_one_precision_refuses_others(pipeline: Dalle) -> None:
    pipeline.set_precision("fp32")
    if "int8" in pipeline.prior.precisions:
        pipeline.set_precision("int8")
        assert pipeline.precision == "int8"
        return
    with pytest.raises(
        UsageError, match="precision is 'int8', but this model of the family 'dalle' comp"
    ):
        pipeline.set_precision("int8")
    assert pipeline.precision == "fp32"


def test_steps_count_up_to_the_pictures(pipeline: Dalle) -> None:
    steps = list(pipeline.stream(Request("a red apple", n=5, seed=0)))
    cells, often = pipeline.prior.length, pipeline.prior.steps
    assert {step.total for step in steps} == {5 * often}
    assert [step.index for step in steps] == sorted({step.index for step in steps})
    assert steps[-1].index == 5 * often and all(step.images is None for step in steps[:-1])
    several = (pipeline.prior.config.groups,) if pipeline.prior.config.groups > 1 else ()
    assert steps[-1].codes is not None and steps[-1].codes.shape == (5, cells, *several)


def test_a_preview_shows_what_is_known(pipeline: Dalle) -> None:
    steps = list(pipeline.stream(Request("a red apple", n=5, seed=0)))
    assert steps[-1].images is not None
    assert pipeline.preview(steps[-1]) is steps[-1].images
    assert pipeline.preview(Step(0, 1)) is None
    grey = pipeline.codec.encode(torch.zeros(1, 3, SIZE, SIZE)).flatten(1, 2)
    for step in steps[:-1]:
        assert step.codes is not None
        shown = pipeline.preview(step)
        assert shown is not None and shown.shape == (len(step.codes), 3, SIZE, SIZE)
        known = step.codes.shape[1]
        rows = [torch.cat([codes, grey[0, known:]]) for codes in step.codes]
        codes = torch.stack(rows)
        assert torch.equal(shown, pipeline.codec.decode(codes.unflatten(1, (2, 2))))


@pytest.mark.parametrize("name", ["gpt", "next_scale"])
@torch.no_grad()
def test_several_maps_are_drawn_and_shown_on_the_way(name: str) -> None:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(SENTENCES, 400)
    changes = {"name": name, "maps": [[1, 1], [2, 2]], "levels": []}
    prior = create_prior(prior_config(tokenizer) | changes)
    drawing = Dalle(
        tokenizer, prior, Averages(AveragesConfig()), defaults=SAMPLING, size=SIZE
    ).eval()
    steps = list(drawing.stream(Request("a red apple", n=2, seed=0)))
    assert len(steps) == prior.steps == {"gpt": 5, "next_scale": 2}[name]
    first, last = steps[0], steps[-1]
    assert last.codes is not None and last.images is not None
    assert torch.equal(last.images, drawing.codec.decode(last.codes))
    shown = drawing.preview(first)
    assert shown is not None and first.codes is not None and first.codes.shape == (2, 1)
    for image, code in zip(shown, last.codes[:, 0], strict=True):
        assert image.mean().item() == pytest.approx(code.item() / 7.5 - 1, abs=1 / 7)


def test_it_comes_back_from_its_folder(
    parts: tuple[Dalle, dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    pipeline, codec, prior = parts
    save_checkpoint(
        tmp_path / "m", pipeline, name="m", licence="Apache-2.0", codec=codec, prior=prior
    )
    request = Request("a red apple", n=2, seed=5)
    loaded = load_checkpoint(tmp_path / "m")
    assert torch.equal(images_of(loaded, request), images_of(pipeline, request))


def test_what_a_request_leaves_open_is_the_models_own(pipeline: Dalle) -> None:
    request = Request("a red apple", guidance=0.0, sampling=Sampling(top_k=5))
    assert pipeline.resolve_sampling(request) == TokenSampling(temperature=1.2, top_k=5)
    with pytest.raises(UsageError, match="pictures 16 pixels wide, not 32"):
        next(pipeline.stream(Request("a red apple", size=32)))
    with pytest.raises(UsageError, match="no prompts"):
        pipeline.draw_many([], [])


def test_requests_are_drawn_together_as_each_alone(pipeline: Dalle) -> None:
    scales = (0.5, 3.0, 1.5) if pipeline.prior.mixes_guidance else (2.0, 2.0, 2.0)
    requests = [
        Request(text, seed=7 + number, guidance=scale)
        for number, (text, scale) in enumerate(zip(SENTENCES[:3], scales, strict=True))
    ]
    *_, last = pipeline.stream_together(requests)
    assert last.images is not None and last.index == last.total == 3 * pipeline.prior.steps
    for request, image in zip(requests, last.images, strict=True):
        assert torch.equal(images_of(pipeline, request)[0], image)


def test_a_schedule_is_that_of_each_ones_own_guidance() -> None:
    pipeline = tiny_pipeline().eval()
    with torch.no_grad():
        for parameter in pipeline.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    for schedule in ("linear", "ramp", "cosine", "interval"):
        requests = [
            Request(
                "a red apple",
                seed=7,
                guidance=scale,
                sampling=Sampling(guidance_schedule=schedule),
            )
            for scale in (1.0, 4.0)
        ]
        *_, last = pipeline.stream_together(requests)
        assert last.images is not None
        for request, image in zip(requests, last.images, strict=True):
            assert torch.equal(images_of(pipeline, request)[0], image)


def test_requests_of_several_kinds_are_not_drawn_together(pipeline: Dalle) -> None:
    plain = Request("a red apple", seed=1)
    wild = Request("a red apple", seed=1, sampling=Sampling(temperature=2.0))
    unguided = Request("a red apple", seed=1, guidance=0.0)
    for other in (wild, unguided):
        assert pipeline.kind_of(plain) != pipeline.kind_of(other)
        with pytest.raises(UsageError, match="several sampling values"):
            next(pipeline.stream_together([plain, other]))
    most = pipeline.batch_rows
    with pytest.raises(UsageError, match=f"draws {most} at once"):
        next(pipeline.stream_together([plain] * (most + 1)))
    assert pipeline.kind_of(plain) == pipeline.kind_of(Request("a dog", seed=2, guidance=1.0))
    mixed = pipeline.kind_of(Request("a dog", seed=2, guidance=2.0))
    assert (mixed == pipeline.kind_of(plain)) is pipeline.prior.mixes_guidance
    processed = Request("a red apple", logits_processors=(lambda codes, logits: logits,))
    assert pipeline.kind_of(processed) != pipeline.kind_of(plain)


@torch.inference_mode()
def test_a_style_that_the_codec_paints_is_not_drawn_by_the_prior() -> None:
    pipeline = tiny_things()
    pipeline.words = scene_words(4, count=3000)
    asked = {text: Request(text, seed=4) for text in ("a silhouette of a dog", "a dog")}
    readings = [pipeline.reading_of(each) for each in asked.values()]
    assert [pipeline.said(each) for each in readings] == ["a dog"] * 2
    drawn: list[Any] = [[*pipeline.stream(each)][-1] for each in asked.values()]
    styled, plain = drawn
    assert torch.equal(styled.codes, plain.codes)
    assert not torch.equal(styled.images, plain.images)
    assert torch.equal(
        styled.images, pipeline.codec.decode(plain.codes.view(1, 4, 4), [Told(style="silhouette")])
    )
    # One that no codec paints is the prior's: it has seen such pictures.
    pipeline.codec.decoder.painter.styles = ()
    assert pipeline.said(readings[0]) == readings[0].text
