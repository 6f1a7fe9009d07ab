"""Karlo: every part, the samplers and whole pictures of diffusers, with random weights."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers.pipelines.deprecated.unclip import text_proj
from diffusers.schedulers import scheduling_unclip
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.sampling.diffusion import ddpm_learned, unit_noise
from tests.convert import clips, karlo

PROMPTS = ["a red apple", "cat", "RED  cats!!"]
# Time 999 divides by 5e-5: what is not clipped there has few digits. Of this seed all is clipped.
SEED = 1
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
    model, _ = both
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
    """Return the picture (1, 3, H, W) in [-1, 1] that diffusers draws with the noise of SEED."""
    chances = {
        "prior": unit_noise([SEED], (karlo.WIDTH,)),
        "decoder": unit_noise([SEED], (3, karlo.SMALL, karlo.SMALL)),
        "super_res": unit_noise([SEED], (3, karlo.SIZE, karlo.SIZE)),
    }
    chances = {name: each for name, each in chances.items() if name in counts}
    first = {f"{name}_latents": next(each) for name, each in chances.items()}
    steps = {f"{name}_num_inference_steps": count for name, count in counts.items()}

    def drawn() -> Iterator[Tensor]:
        for name, each in chances.items():
            yield from (next(each) for _ in range(counts[name] - 1))

    later = drawn()
    parts = parts | {"tokenizer": tokenizer(), "feature_extractor": karlo.preparing()}
    made = pipeline(**{name: parts[name] for name in pipeline.__init__.__annotations__})
    made.set_progress_bar_config(disable=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduling_unclip, "randn_tensor", lambda *_, **__: next(later))
        images = made(**asked, **first, **steps, output_type="np").images
    return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1


@pytest.mark.parametrize("counts", [(2, 3, 2), (6, 5, 7)])
def test_a_picture_is_the_one_that_diffusers_draws(both: Any, counts: tuple[int, int, int]) -> None:
    model, parts = both
    named = dict(zip(("prior", "decoder", "super_res"), counts, strict=True))
    prompt = "a red apple"
    theirs = wanted(parts, diffusers.UnCLIPPipeline, named, prompt=prompt)
    steps = dict(zip(("prior_steps", "steps", "upsampler_steps"), counts, strict=True))
    drawn = model.draw_many([prompt], [SEED], replace(model.defaults, **steps))
    assert drawn.std() > 0.1 and (drawn - theirs).abs().max() < 1e-4
    # And by its scheduler as it is, nearly, but for numbers that time 999 does not clip.
    plain = parts | {name: karlo.scheduler_of(name) for name in karlo.SCHEDULERS}
    theirs = wanted(plain, diffusers.UnCLIPPipeline, named, prompt=prompt)
    assert (drawn - theirs).abs().mean() < 1e-3


def picture(side: int = karlo.EYES) -> Image.Image:
    pixels = (noise(side, side, 3).clamp(-1, 1) * 127.5 + 127.5).round()
    return Image.fromarray(pixels.numpy().astype("uint8"))


def test_variations_are_those_that_diffusers_draws(both: Any, tmp_path: Path) -> None:
    """Of the model with a prior, and of the layout of image variations, which has none."""
    model, parts = both
    counts, pipeline = {"decoder": 5, "super_res": 4}, diffusers.UnCLIPImageVariationPipeline
    theirs = wanted(parts, pipeline, counts, image=picture())
    karlo.write(tmp_path / "in", pipeline="UnCLIPImageVariationPipeline")
    made = import_checkpoint(tmp_path / "in", tmp_path / "out")
    assert made.format == "karlo" and "no prior" in made.notes[0]
    other = limner.load(tmp_path / "out")
    sampling = replace(model.defaults, steps=5, upsampler_steps=4)
    for each in (model, other):
        drawn = each.vary_many([picture()], [SEED], sampling)
        assert (drawn - theirs).abs().max() < 1e-4
    assert other.draw("a red apple", seed=1, steps=2)
    assert not torch.equal(drawn, model.vary_many([picture()], [SEED + 1], sampling))


def test_without_an_image_tower_it_draws_and_does_not_vary(tmp_path: Path) -> None:
    karlo.write(tmp_path / "in", eyes=False)
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    model = limner.load(tmp_path / "out")
    first, second = model.draw("a red apple", n=2, seed=4, steps=2)
    (alone,) = model.draw("a red apple", seed=5, steps=2)
    assert alone.image.tobytes() == second.image.tobytes() != first.image.tobytes()
    with pytest.raises(UsageError, match="has no image tower to see it; import it with"):
        model.vary(picture(32), steps=2)


def test_steps_are_shown_and_guidance_counts(both: Any) -> None:
    model, _ = both
    few = replace(model.defaults, steps=2, prior_steps=3, upsampler_steps=2)
    seen = list(model._stream(["a red apple"], [1], few))
    shown = [None if each.images is None else each.images.shape[-1] for each in seen]
    assert shown == [None] * 3 + [karlo.SMALL] * 2 + [karlo.SIZE] * 2
    assert [each.index for each in seen] == [1, 2, 3, 4, 5, 6, 7] and seen[0].total == 7
    plain = replace(few, guidance=0.0, prior_guidance=0.0)
    drawn = [model.draw_many(["a red apple"], [1], each) for each in (few, plain)]
    assert not torch.equal(*drawn)
    for sampler in ("ddim", "dpm_solver"):
        other = model.draw_many(["a red apple"], [1], replace(few, sampler=sampler))
        assert other.isfinite().all() and not torch.equal(other, drawn[0])


def test_its_pictures_are_edited_and_turned_into_one_another(both: Any) -> None:
    model, _ = both
    whole = picture(karlo.SIZE)
    for prompt, more in (("cat", {}), ("cat", {"before": "a red apple"})):
        (made,) = model.edit(whole, prompt, mask="0,0,16,32", steps=2, **more)
        left = [each.crop((20, 0, 32, 32)).tobytes() for each in (made.image, whole)]
        assert left[0] == left[1] and made.image.tobytes() != whole.tobytes()
    turned = model.turn(torch.ones(1, 4), torch.tensor([[3.0, 3.0, -3.0, -3.0]]), 0.5)
    assert torch.allclose(turned.norm(), torch.tensor(4.0))


Change = Callable[[Path], object]


def changed(name: str, **told: Any) -> Change:
    """Return what changes the config of a part."""

    def change(folder: Path) -> None:
        place = folder / name
        place.write_text(json.dumps(json.loads(place.read_text()) | told))

    return change


def cut(folder: Path) -> None:
    place = folder / "decoder" / "diffusion_pytorch_model.safetensors"
    place.write_bytes(place.read_bytes()[:-1000])


def renamed(folder: Path) -> None:
    place = folder / "prior" / "diffusion_pytorch_model.safetensors"
    state = load_file(place)
    state["prior_std"] = state.pop("clip_std")
    save_file(state, place)


REFUSED: dict[str, tuple[Change, str]] = {
    "truncated": (cut, "decoder/diffusion_pytorch_model.safetensors"),
    "renamed": (renamed, "does not fit: 1 tensors missing, 1 too many"),
    "without a folder": (lambda folder: shutil.rmtree(folder / "text_proj"), "has no text_proj"),
    "another pipeline": (changed("model_index.json", _class_name="StableUnCLIPPipeline"),
                         "of UnCLIPPipeline or UnCLIPImageVariationPipeline; give the folder"),
    "another activation": (changed("decoder/config.json", act_fn="gelu"), "draws with 'silu'"),
    "another norm": (changed("super_res_last/config.json", resnet_time_scale_shift="scale_shift"),
                     "draws with 'default'"),
    "other blocks": (changed("decoder/config.json", down_block_types=["DownBlock2D"] * 2),
                     "limner knows ResnetDownsampleBlock2D"),
    "another way up": (
        changed("super_res_first/config.json",
                up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"]),
        "other blocks on the way up",
    ),
    "too many layers": (changed("decoder/config.json", layers_per_block=10**9), "blocks is"),
    "no number": (changed("decoder/config.json", sample_size="64"), "sample_size = '64'"),
    "another process": (
        changed("decoder_scheduler/scheduler_config.json", prediction_type="sample"),
        "draws with 'epsilon'",
    ),
    "another clip": (changed("prior_scheduler/scheduler_config.json", clip_sample_range="5"),
                     "clips to '5'"),
    "another heads": (changed("prior/config.json", num_attention_heads=5), "multiple of 5 heads"),
    "another size": (changed("super_res_first/config.json", sample_size=40), "makes 40 pixels"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("files") / "in"
    karlo.write(place)
    return place


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(files: Path, tmp_path: Path, name: str) -> None:
    change, words = REFUSED[name]
    folder = tmp_path / "in"
    shutil.copytree(files, folder)
    change(folder)
    with pytest.raises(CheckpointError, match=re.escape(words)) as raised:
        import_checkpoint(folder, tmp_path / "out", format="karlo")
    assert "\n" not in str(raised.value) and raised.value.exit_code == 4
    assert not (tmp_path / "out").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("draws", [True, False])
def test_it_comes_back_as_it_was(
    tmp_path: Path, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "UnCLIPPipeline" if draws else "UnCLIPImageVariationPipeline"
    karlo.write(tmp_path / "in", pipeline=name, eyes=not draws)
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    made = limner.export_checkpoint(tmp_path / "out", tmp_path / "back", format="karlo")
    assert made.files == tuple(sorted(made.files)) and "decoder/config.json" in made.files
    held = sorted(each.relative_to(tmp_path / "in") for each in tmp_path.glob("in/*/*.safetensors"))
    assert len(held) == 6 and {each.as_posix() for each in held} <= {*made.files}
    for each in held:
        first, second = (load_file(tmp_path / place / each) for place in ("in", "back"))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), each
    # diffusers loads it, and limner reads it again as it was. It looks for the class of text_proj
    # where it no longer is, in what was published too.
    monkeypatch.setitem(sys.modules, "unclip", text_proj)
    loaded = getattr(diffusers, name).from_pretrained(tmp_path / "back")
    assert loaded.decoder.config.attention_head_dim == 16
    assert loaded.decoder_scheduler.config.variance_type == "learned_range"
    import_checkpoint(tmp_path / "back", tmp_path / "again")
    for file in ("config.json", "model.safetensors"):
        both = [(tmp_path / place / file).read_bytes() for place in ("out", "again")]
        assert both[0] == both[1], file
