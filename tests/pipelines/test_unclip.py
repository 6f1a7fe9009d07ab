"""unCLIP with every prior and upsampler: alone as in company, varied, mixed, and back from disk."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import limner
from limner.checkpoint.model import load_checkpoint, save_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.pipelines.unclip import UnClip, slerp
from limner.sampling.diffusion import DIFFUSION_SAMPLERS, DiffusionSampling
from limner.types import DIFFUSION_SAMPLERS as NAMES
from limner.types import Request, Sampling
from tests.tiny_model import SIZE, tiny_pipeline
from tests.tiny_unclip import SAMPLING, Tables, save_tiny_unclip, tiny_unclip

CASES = [
    ("diffusion", ""),
    ("autoregressive", "convolution"),
    ("", "diffusion"),
    ("diffusion", "diffusion"),
    ("diffusion", "convolution", True),
]
RED, BLUE = (Image.new("RGB", (20, 30), colour) for colour in ("red", "blue"))


@pytest.fixture(params=CASES, ids=lambda case: "-".join(str(each) or "none" for each in case))
def parts(request: pytest.FixtureRequest) -> tuple[UnClip, Tables]:
    return tiny_unclip(*request.param)


@pytest.fixture
def pipeline(parts: tuple[UnClip, Tables]) -> UnClip:
    return parts[0]


def images_of(pipeline: UnClip, request: Request) -> Tensor:
    last = list(pipeline.stream(request))[-1]
    assert last.images is not None
    return last.images


def test_a_picture_is_the_same_alone_and_in_company(pipeline: UnClip) -> None:
    together = images_of(pipeline, Request("a red apple", n=3, seed=3))
    assert together.shape == (3, 3, pipeline.size, pipeline.size) and together.abs().max() <= 1
    for index in range(3):
        alone = images_of(pipeline, Request("a red apple", n=1, seed=3 + index))
        assert torch.equal(alone[0], together[index])
    assert len(together.flatten(1).unique(dim=0)) == 3
    prompts = ["three red apples", "a red apple"]
    assert torch.equal(pipeline.draw_many(prompts, [8, 4])[1], together[1])
    assert not torch.equal(images_of(pipeline, Request("three red apples", seed=3))[0], together[0])


def test_steps_count_up_to_the_pictures_and_show_them_on_the_way(pipeline: UnClip) -> None:
    steps = list(pipeline.stream(Request("a red apple", n=2, seed=0)))
    total = steps[0].total
    assert [step.index for step in steps] == list(range(1, total + 1))
    assert {step.total for step in steps} == {total}
    shown = [pipeline.preview(step) for step in steps]
    assert all(each is None or each.shape[0] == 1 for each in shown[:-1])
    assert sum(each is not None for each in shown) >= 2 * SAMPLING.steps
    assert steps[-1].images is not None and len(steps[-1].images) == 2


def test_drawing_stops_when_nobody_asks(pipeline: UnClip) -> None:
    calls: list[int] = []
    pipeline.decoder.register_forward_pre_hook(lambda module, inputs: calls.append(1))
    steps = pipeline.stream(Request("a red apple", n=5, seed=0))
    while not calls:
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(calls) == 1


def test_it_comes_back_from_its_folder(parts: tuple[UnClip, Tables], tmp_path: Path) -> None:
    pipeline, tables = parts
    save_checkpoint(tmp_path / "m", pipeline, name="m", licence="Apache-2.0", **tables)
    request = Request("a red apple", seed=5)
    loaded = load_checkpoint(tmp_path / "m")
    assert loaded.info.family == "unclip" and loaded.defaults == SAMPLING
    assert torch.equal(images_of(loaded, request), images_of(pipeline, request))


def test_an_older_folder_varies_by_the_vector_alone(tmp_path: Path) -> None:
    folder = save_tiny_unclip(tmp_path / "m")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    assert config["sampling"].pop("vary_strength") == 1.0
    path.write_text(json.dumps(config), encoding="utf-8")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["config.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert load_checkpoint(folder).defaults.vary_strength == 1.0


def test_a_picture_is_varied_and_two_are_mixed(pipeline: UnClip) -> None:
    (*_, last) = pipeline.stream(Request("", n=2, seed=7, image=RED))
    assert last.images is not None
    again = pipeline.draw_vectors(pipeline.see([RED]).repeat(2, 1), [7, 8])
    assert torch.equal(again, last.images) and not torch.equal(again[0], again[1])
    red, blue = pipeline.see([RED, BLUE]).split(1)
    torch.testing.assert_close(pipeline.between(RED, BLUE, 0.0), red)
    torch.testing.assert_close(pipeline.between(RED, BLUE, 1.0), blue)
    middle = pipeline.between(RED, BLUE, 0.5)
    torch.testing.assert_close(middle @ red.T, middle @ blue.T)


@pytest.mark.parametrize("latent", [False, True])
def test_a_picture_is_varied_from_under_noise(latent: bool) -> None:
    pipeline, _ = tiny_unclip("diffusion", "diffusion", latent)
    request = Request("", n=2, seed=7, image=RED)
    drawn, counts = {}, []
    for strength in (0.01, 0.5, 1.0):
        pipeline.defaults = replace(SAMPLING, vary_strength=strength)
        steps = list(pipeline.stream(request))
        assert [step.index for step in steps] == list(range(1, steps[-1].total + 1))
        counts.append(steps[-1].total)
        assert steps[-1].images is not None
        drawn[strength] = steps[-1].images
        assert torch.equal(pipeline.vary_many([RED], [8]), drawn[strength][1:])
    assert counts == sorted(set(counts)) and all(
        len(each.unique(dim=0)) == 2 for each in drawn.values()
    )
    # All noise leaves the vector alone; so does a text.
    assert torch.equal(drawn[1.0][:1], pipeline.draw_vectors(pipeline.see([RED]), [7]))
    told = [
        images_of(pipeline, replace(request, prompt="a red apple"))
        for pipeline.defaults in (SAMPLING, replace(SAMPLING, vary_strength=0.5))
    ]
    assert torch.equal(*told) and not torch.equal(drawn[0.5], drawn[1.0])


def test_a_picture_and_a_text_together(pipeline: UnClip) -> None:
    drawn = images_of(pipeline, Request("a red apple", seed=2, image=RED))
    for other in (
        Request("three red apples", seed=2, image=RED),
        Request("a red apple", seed=2, image=BLUE),
    ):
        assert not torch.equal(images_of(pipeline, other), drawn)


def test_the_library_draws_and_remembers_how(tmp_path: Path) -> None:
    folder = save_tiny_unclip(tmp_path / "m", upsampler="convolution")
    first, second = limner.draw("a red apple", model=folder, n=2, seed=1, steps=3, sampler="ddim")
    assert first.image.size == (2 * SIZE, 2 * SIZE) and first.image != second.image
    assert (first.settings["steps"], first.settings["sampler"]) == (3, "ddim")
    assert first.settings["candidates"] == 2


@pytest.mark.parametrize("sampler", DIFFUSION_SAMPLERS)
def test_every_sampler_draws(sampler: str) -> None:
    assert tuple(DIFFUSION_SAMPLERS) == NAMES
    pipeline, _ = tiny_unclip()
    request = Request("a red apple", seed=1, sampling=Sampling(steps=5, sampler=sampler))
    drawn = images_of(pipeline, request)
    assert drawn.isfinite().all() and drawn.std() > 0
    assert torch.equal(images_of(pipeline, request), drawn)


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance": 3.0}, {"text_share": 3.0}, {"rescale": 0.7},
        {"guidance_schedule": "interval"}, {"candidates": 1}, {"prior_guidance": 2.0},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_every_value_of_sampling_changes_the_picture(changes: dict[str, Any]) -> None:
    pipeline, _ = tiny_unclip()
    prompts, seeds = ["a red apple"] * 3, [1, 2, 3]
    plain = pipeline.draw_many(prompts, seeds)
    other = pipeline.draw_many(prompts, seeds, DiffusionSampling(**vars(SAMPLING) | changes))
    assert not torch.equal(plain, other)


def test_what_a_request_leaves_open_is_the_models_own() -> None:
    pipeline, _ = tiny_unclip()
    request = Request("a red apple", guidance=0.0, sampling=Sampling(steps=9))
    assert pipeline.resolve_sampling(request) == DiffusionSampling(
        **vars(SAMPLING) | {"steps": 9, "guidance": 0.0}
    )


def test_values_of_the_other_kind_are_refused() -> None:
    pipeline, _ = tiny_unclip()
    with pytest.raises(UsageError, match="top_k is 5, but this model draws no tokens"):
        pipeline.resolve_sampling(Request("a red apple", sampling=Sampling(top_k=5)))
    for sampling, words in ((Sampling(steps=5), "steps is 5"), (Sampling(sampler="ddim"), "ddim")):
        with pytest.raises(UsageError, match=f"{words}.*draws tokens, not from noise"):
            tiny_pipeline().resolve_sampling(Request("a red apple", sampling=sampling))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "steps is 0; expected a whole number of 1 to 1000"),
        ({"steps": 1001}, "steps is 1001; expected a whole number of 1 to 1000"),
        ({"sampler": "heun"}, "sampler is 'heun'; expected ddpm, ddim, euler, dpm_solver"),
        ({"sampler": "dim"}, "did you mean 'ddim'"),
    ],
)
def test_requests_out_of_range_are_told_the_range(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Sampling(**values)
    with pytest.raises(UsageError, match=words):
        DiffusionSampling(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"guidance": 101}, r"guidance is 101; expected a number in \[0, 100\]"),
        ({"rescale": -0.1}, r"rescale is -0.1; expected a number in \[0, 1\]"),
        ({"text_share": float("nan")}, r"text_share is nan; expected a number in \[0, 10\]"),
        ({"candidates": 0}, "candidates is 0; expected a whole number of 1 to 64"),
        ({"guidance_schedule": "sine"}, "guidance_schedule is 'sine'; expected constant"),
    ],
)
def test_a_models_own_values_are_in_range(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        DiffusionSampling(**values)


@pytest.mark.parametrize("value", [0, -0.5, 1.5, float("nan"), "1", True])
def test_a_varying_strength_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"vary_strength is .*; expected a number in \(0, 1\]"):
        DiffusionSampling(vary_strength=value)


def test_sizes_and_shares_out_of_range_are_refused() -> None:
    pipeline, _ = tiny_unclip()
    with pytest.raises(UsageError, match="pictures 16 pixels wide, not 32"):
        next(pipeline.stream(Request("a red apple", size=32)))
    with pytest.raises(UsageError, match="no prompts"):
        pipeline.draw_many([], [])
    with pytest.raises(UsageError, match=r"share is 1.5; expected a number in \[0, 1\]"):
        pipeline.between(RED, BLUE, 1.5)


def test_the_way_between_two_vectors_is_even() -> None:
    first, second = torch.eye(2).split(1)
    for share in (0.0, 0.25, 1.0):
        angle = torch.tensor(share) * torch.pi / 2
        wanted = torch.stack([angle.cos(), angle.sin()])[None]
        torch.testing.assert_close(slerp(first, second, share), wanted)
    torch.testing.assert_close(slerp(first, first, 0.5), first)


@pytest.mark.parametrize(
    ("table", "changes", "words"),
    [
        ("decoder", {"embedding": 9}, "gives vectors of 8, but the decoder was made for 9"),
        ("prior", {"embedding": 9}, "gives vectors of 8, but the prior was made for 9"),
        ("upsampler", {"size": 64}, "draws 16 pixels, but its upsampler enlarges 32"),
        ("decoder", {"channels": 4}, "does not draw pixels alone"),
        ("prior", {"text_vocabulary": 9}, "but the prior was made for 9"),
    ],
)
def test_parts_of_different_models_are_refused(
    table: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pipeline, tables = tiny_unclip(upsampler="convolution")
    tables[table] = tables[table] | changes
    save_checkpoint(tmp_path / "m", pipeline, name="m", licence="Apache-2.0", **tables)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path / "m")


def test_a_latent_is_drawn_and_its_autoencoder_paints_it() -> None:
    pipeline, _ = tiny_unclip(prior="", latent=True)
    assert (pipeline.small, pipeline.size) == (SIZE, SIZE)
    pictures = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    latents = pipeline.latents(pictures)
    assert latents.shape == (2, 2, 2, 2) and latents.abs().max() <= 1
    near = latents + 0.01 * torch.randn(latents.shape)
    assert torch.equal(pipeline.pixels(near), pipeline.autoencoder.reconstruct(pictures))
    *steps, last = pipeline.stream(Request("a red apple", seed=2))
    drawn = last.images
    assert drawn is not None and last.latents is None
    assert all(step.images is None for step in steps)
    shown = pipeline.preview(steps[-1])
    assert shown is not None and shown.shape == drawn.shape
    codes = pipeline.autoencoder.encode(pictures).flatten().tolist()
    assert drawn.shape == (1, 3, SIZE, SIZE) and set(codes) <= set(range(16))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder": {"channels": 3}}, "draws 3 channels 2 wide, but its autoencoder has others"),
        ({"decoder": {"size": 4}}, "draws 2 channels 4 wide, but its autoencoder has others"),
        ({"autoencoder": {}}, "does not draw pixels alone"),
    ],
)
def test_a_latent_that_fits_no_autoencoder_is_refused(
    changes: dict[str, dict[str, Any]], words: str, tmp_path: Path
) -> None:
    pipeline, tables = tiny_unclip(prior="", latent=True)
    changed: Tables = {
        name: {**table, **changes[name]} if changes.get(name) else changes.get(name, table)
        for name, table in tables.items()
    }
    save_checkpoint(tmp_path / "m", pipeline, name="m", licence="Apache-2.0", **changed)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path / "m")


def test_a_request_together_is_one_alone(pipeline: UnClip) -> None:
    request = Request("a red apple", n=2, seed=7)
    *_, together = pipeline.stream_together([request])
    *_, alone = pipeline.stream(Request("a red apple", seed=7))
    assert together.images is not None and alone.images is not None
    assert torch.equal(together.images, alone.images) and pipeline.batch_rows == 1
    with pytest.raises(UsageError, match="2 requests; this model draws one at a time"):
        pipeline.stream_together([request, request])
