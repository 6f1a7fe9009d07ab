"""Karlo: every part, the samplers and whole pictures of diffusers, with random weights."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers.schedulers import scheduling_unclip
from PIL import Image
from torch import Tensor

import limner
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.options import Sampling
from limner.sampling.diffusion import unit_noise
from tests.convert import clips, karlo

PROMPTS = ["a red apple", "cat", "RED  cats!!"]
TIMES = torch.tensor([980, 333, 2])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("karlo")
    parts = karlo.write(place / "in")
    made = import_checkpoint(place / "in", place / "out")
    assert (made.format, made.name, made.family) == ("karlo", "karlo", "unclip")
    assert made.size == karlo.SIZE
    exact = {name: karlo.exact(parts[name]) for name in karlo.SCHEDULERS}
    return limner.load(place / "out"), parts | exact


def tokenizer() -> Any:
    return transformers.CLIPTokenizer(
        clips.words(), clips.MERGES, model_max_length=clips.LENGTH, pad_token="<|endoftext|>"
    )


def told(parts: dict[str, Any], prompts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Return states, vectors and which positions are real, as unCLIP's pipeline has them."""
    text = tokenizer()(prompts, padding="max_length", truncation=True, return_tensors="pt")
    found = parts["text_encoder"](text.input_ids)
    return found.last_hidden_state, found.text_embeds, text.attention_mask.bool()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_towers_give_the_same(both: Any) -> None:
    model, parts = both
    states, vectors, real = told(parts, PROMPTS)
    found = model.clip.read(model.read(PROMPTS))
    assert (found.vectors - vectors).abs().max() < 1e-5
    assert (found.states[found.real] - states[real]).abs().max() < 1e-5
    pixels = noise(2, 3, karlo.EYES, karlo.EYES).clamp(-1, 1)
    mean, std = (torch.tensor(each)[:, None, None] for each in (
        transformers.image_utils.OPENAI_CLIP_MEAN, transformers.image_utils.OPENAI_CLIP_STD,
    ))  # fmt: skip
    seen = parts["image_encoder"]((pixels / 2 + 0.5 - mean) / std).image_embeds
    assert (model.clip.encode_images(pixels) - seen).abs().max() < 1e-5


@torch.no_grad()
def test_the_prior_gives_the_same(both: Any) -> None:
    model, parts = both
    states, vectors, real = told(parts, PROMPTS)
    x = noise(3, karlo.WIDTH)
    wanted = parts["prior"](x, TIMES, vectors, states, real).predicted_image_embedding
    found = model.prior(model.clip.read(model.read(PROMPTS)), x, TIMES)
    assert (found - wanted).abs().max() < 1e-5


@torch.no_grad()
def test_the_decoder_gives_the_same(both: Any) -> None:
    model, parts = both
    states, vectors, real = told(parts, ["", *PROMPTS[:2]])
    x, seen = noise(3, 3, karlo.SMALL, karlo.SMALL), noise(2, karlo.WIDTH)
    embedding = torch.cat([torch.zeros(1, karlo.WIDTH), seen])
    none = parts["text_proj"].learned_classifier_free_guidance_embeddings[None]
    context, added = parts["text_proj"](
        image_embeddings=torch.cat([none, seen]), prompt_embeds=vectors,
        text_encoder_hidden_states=states, do_classifier_free_guidance=False,
    )  # fmt: skip
    mask = torch.nn.functional.pad(real, (4, 0), value=True)
    wanted = parts["decoder"](x, TIMES, context, class_labels=added, attention_mask=mask).sample
    ids = model.read(PROMPTS[:2])
    text = torch.cat([torch.zeros_like(ids[:1]), ids])  # of none, the empty text is told
    found = model.decoder(x, TIMES, embedding=embedding, text=text)
    assert found.shape[1] == 6 and (found - wanted).abs().max() < 2e-5


@torch.no_grad()
def test_the_upsampler_gives_the_same(both: Any) -> None:
    model, parts = both
    x = noise(3, 6, karlo.SIZE, karlo.SIZE)
    for ours, theirs in (("first", "super_res_first"), ("final", "super_res_last")):
        found = getattr(model.upsampler, ours)(x, TIMES)
        assert (found - parts[theirs](x, TIMES).sample).abs().max() < 2e-5


@torch.no_grad()
@pytest.mark.parametrize("steps", [2, 7, 25])
def test_levels_and_steps_are_the_schedulers(both: Any, steps: int) -> None:
    """From the same noise, a network that says the same: each step as UnCLIPScheduler takes it."""
    from limner.sampling.diffusion import ddpm_learned

    model, parts = both
    scheduler, process = karlo.exact(karlo.scheduler_of("decoder_scheduler")), model.decoder.process
    scheduler.set_timesteps(steps)
    levels = process.levels(steps)
    assert list(levels.times) == scheduler.timesteps.tolist()
    said = noise(1, 6, 4, 4)

    def look(x: Tensor, time: int) -> tuple[Tensor, Tensor]:
        start = process.start(x, said[:, :3], torch.tensor([time]))
        return start.clamp(-1, 1), said[:, 3:].clamp(-1, 1)

    said[:, 3:].clamp_(-1, 1)
    fresh = unit_noise([3], (3, 4, 4))
    drawn = ddpm_learned(look, next(fresh), levels, fresh)
    others = unit_noise([3], (3, 4, 4))
    x = next(others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduling_unclip, "randn_tensor", lambda *_, **__: next(others))
        times = [*scheduler.timesteps.tolist(), None]
        for moment, time, after in zip(drawn, times[:-1], times[1:], strict=True):
            x = scheduler.step(said, time, x, prev_timestep=after).prev_sample
            assert (moment.x - x).abs().max() < 1e-4


def wanted(parts: dict[str, Any], pipeline: Any, counts: dict[str, int], **asked: Any) -> Tensor:
    """Return the picture (1, 3, H, W) in [-1, 1] that diffusers draws with the noise of seed 5."""
    chances = {
        "prior": unit_noise([5], (karlo.WIDTH,)),
        "decoder": unit_noise([5], (3, karlo.SMALL, karlo.SMALL)),
        "super_res": unit_noise([5], (3, karlo.SIZE, karlo.SIZE)),
    }
    chances = {name: each for name, each in chances.items() if name in counts}
    first = {f"{name}_latents": next(each) for name, each in chances.items()}
    steps = {f"{name}_num_inference_steps": count for name, count in counts.items()}

    def drawn() -> Iterator[Tensor]:
        for name, each in chances.items():
            yield from (next(each) for _ in range(counts[name] - 1))

    later = drawn()
    held = {name: parts[name] for name in pipeline.__init__.__annotations__ if name in parts}
    made = pipeline(tokenizer=tokenizer(), **held, **asked.pop("more", {}))
    made.set_progress_bar_config(disable=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduling_unclip, "randn_tensor", lambda *_, **__: next(later))
        images = made(**asked, **first, **steps, output_type="np").images
    return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1


@pytest.mark.parametrize("counts", [(5, 6, 4), (2, 2, 2), (25, 25, 7)])
def test_a_picture_is_the_one_that_diffusers_draws(both: Any, counts: tuple[int, int, int]) -> None:
    model, parts = both
    named = dict(zip(("prior", "decoder", "super_res"), counts, strict=True))
    prompt = "a red apple"
    theirs = wanted(parts, diffusers.UnCLIPPipeline, named, prompt=prompt)
    steps = dict(zip(("prior_steps", "steps", "upsampler_steps"), counts, strict=True))
    drawn = model.draw_many([prompt], [5], replace(model.defaults, **steps))
    assert drawn.std() > 0.1 and (drawn - theirs).abs().max() < 1e-4
    # And by its scheduler as it is, nearly.
    plain = parts | {name: karlo.scheduler_of(name) for name in karlo.SCHEDULERS}
    theirs = wanted(plain, diffusers.UnCLIPPipeline, named, prompt=prompt)
    assert (drawn - theirs).abs().max() < 5e-3
