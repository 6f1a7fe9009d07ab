"""aMUSEd: the states, logits, masks and pixels of diffusers and transformers, random weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import limner
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError
from limner.sampling.tokens import TokenSampling
from tests.convert.amused import CODES, SIDE, SIZE, decode, encode, logits, read, write

AmusedScheduler: Any = diffusers.AmusedScheduler
PROMPTS = ["a red apple", "cat", "RED  cats!!"]


@pytest.fixture(scope="module", params=[False, True])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("amused")
    parts = write(place / "in", halves=request.param)
    made = import_checkpoint(place / "in", place / "out")
    assert (made.format, made.name, made.family, made.size) == ("amused", "amused", "dalle", SIZE)
    return limner.load(place / "out"), parts


@torch.no_grad()
def test_the_network_gives_the_same_logits(both: Any) -> None:
    model, parts = both
    text = model.read(PROMPTS)
    states, last = model.prior.tower.states(text)
    theirs, pooled = read(parts, PROMPTS)
    assert (states - theirs).abs().max() < 1e-5
    assert (model.prior.pooled(last) - pooled).abs().max() < 1e-5
    codes = torch.randint(CODES, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    codes[1:, ::2] = model.prior.mask
    found = model.prior.network(codes, *model.prior.text(text))
    assert (found - logits(parts, (theirs, pooled), codes)).abs().max() < 1e-5


@torch.no_grad()
def test_without_text_stands_the_empty_one(both: Any) -> None:
    model, parts = both
    text = torch.zeros(1, 1, dtype=torch.int64)
    codes = torch.full((1, SIDE, SIDE), model.prior.mask)
    found = model.prior(text, codes)[:, :, 0]
    assert (found - logits(parts, read(parts, [""]), codes).flatten(1, 2)).abs().max() < 1e-5


@torch.no_grad()
def test_drawing_goes_as_the_scheduler_goes(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy, and without noise: each pass draws and hides what the scheduler does."""
    model, parts = both
    monkeypatch.setattr(model.prior, "config", replace(model.prior.config, noise=0.0))
    greedy = TokenSampling(top_k=1, guidance=9.0)
    seen = list(model.prior.stream(model.read(PROMPTS[:1]), greedy, [3]))
    assert len(seen) == model.prior.steps == 12
    monkeypatch.setattr(  # the scheduler draws by chance
        torch, "multinomial", lambda chances, *_, **__: chances.argmax(-1, keepdim=True)
    )
    scheduler = AmusedScheduler(mask_token_id=model.prior.mask)
    scheduler.set_timesteps(12, temperature=(0, 0))
    texts = [read(parts, [each]) for each in (PROMPTS[0], "")]
    codes = torch.full((1, SIDE, SIDE), model.prior.mask)
    for drawn, timestep in zip(seen, scheduler.timesteps, strict=True):
        told, untold = (logits(parts, each, codes) for each in texts)
        guided = (untold + 10 * (told - untold)).permute(0, 3, 1, 2)
        found = scheduler.step(guided, timestep, codes)
        assert torch.equal(drawn.view(1, SIDE, SIDE), found.pred_original_sample)
        codes = found.prev_sample
    assert model.prior.mask not in codes


@torch.no_grad()
def test_the_vqgan_gives_the_same_codes_and_pixels(both: Any) -> None:
    model, parts = both
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    codes = encode(parts, images)
    assert torch.equal(model.codec.encode(images * 2 - 1), codes)
    assert ((model.codec.decode(codes) + 1) / 2 - decode(parts, codes)).abs().max() < 1e-5


@torch.no_grad()
def test_known_cells_stay_and_a_picture_is_its_seeds(both: Any) -> None:
    model, _ = both
    text, plain = model.read(PROMPTS[:2]), TokenSampling()
    *_, pair = model.prior.stream(text, plain, [1, 2])
    *_, alone = model.prior.stream(text[1:], plain, [2])
    assert torch.equal(pair[1], alone[0]) and int(pair.max()) < CODES
    known = torch.arange(64)[None] % CODES, torch.arange(64)[None] < 40
    *_, kept = model.prior.stream(text[:1], plain, [1], known)
    assert torch.equal(kept[0, :40], known[0][0, :40]) and int(kept.max()) < CODES


def test_it_draws(both: Any) -> None:
    model, _ = both
    pictures = [each.image.tobytes() for each in model.draw("a red apple", n=2, seed=4)]
    assert pictures[0] == model.draw("a red apple", seed=4)[0].image.tobytes()


def test_variants_and_other_pipelines_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder)
    place = folder / "transformer" / "config.json"
    told = json.loads(place.read_text())
    for change, words in (
        ({"use_bias": True}, "use_bias = True; limner draws with False"),
        ({"num_res_blocks": 0}, "num_res_blocks = 0"),
        ({"num_res_blocks": 1}, "too many"),
    ):
        place.write_text(json.dumps(told | change))
        with pytest.raises(CheckpointError, match=words):
            import_checkpoint(folder, tmp_path / "out")
    place.write_text(json.dumps(told))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "VQDiffusionPipeline"}))
    with pytest.raises(CheckpointError, match="of AmusedPipeline; give"):
        import_checkpoint(folder, tmp_path / "out", format="amused")
    assert not (tmp_path / "out").exists()
