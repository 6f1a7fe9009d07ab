"""The runs of unCLIP's parts: they learn, go on exactly, and hand on a folder that draws."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import limner
from limner.codecs import create_autoencoder
from limner.errors import CheckpointError, ConfigError
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig, TextConfig
from limner.train.loop import train
from limner.train.parts import CODEC_FILE, load_autoencoder, save_codec
from limner.train.steps import create_step
from limner.train.unclip.settings import FROM_CLIP, UnClipTraining
from tests.codecs.tiny import TINY
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import SIZE, save_tiny_model
from tests.tiny_unclip import DECODER, PRIORS, UPSAMPLERS, save_tiny_unclip

LOOP = LoopConfig(steps=4, batch=4, warmup=2, validate_every=4, sample_every=99, save_every=2)
SAMPLING = {"steps": 2, "prior_steps": 2, "upsampler_steps": 2}
CELLS = {"width": 32, "layers": 2, "heads": 2, "hidden": 32}  # as the tiny model's prior
MADE_FOR = ("embedding", "text_vocabulary")
CASES: list[tuple[str, str]] = [
    ("decoder", ""),
    *(("embedding_prior", name) for name in PRIORS),
    *(("upsampler", name) for name in UPSAMPLERS),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(filter(None, case)))


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Return the folders that runs begin with."""
    return {
        "clip": str(save_tiny_clip(tmp_path / "clip")),
        "unclip": str(save_tiny_unclip(tmp_path / "unclip", prior="")),
    }


def unclip_run(
    case: tuple[str, str], out: Path, folders: dict[str, str], **changes: Any
) -> TrainConfig:
    task, name = case
    whole = {"decoder": DECODER, **PRIORS, **UPSAMPLERS}[name or task]
    if task == "embedding_prior":
        whole = PRIORS[name]
    table = {key: value for key, value in whole.items() if key not in MADE_FOR}
    begin: dict[str, Any] = {"start_from": folders["unclip"]}
    if task == "decoder":
        begin = {"clip_from": folders["clip"]}
    config = TrainConfig(
        task, str(out), loop=LOOP, sampling=SAMPLING, tables={task: table}, **begin,
        data=DataConfig(held_for_validation=3, cached=9, captions=2, workers=0),
    )  # fmt: skip
    return config.changed(**changes)


def test_every_task_is_tested() -> None:
    assert {task for task, _ in CASES} == set(FROM_CLIP)


@every_case
def test_a_run_stopped_and_resumed_is_the_run_unbroken(
    case: tuple[str, str], tmp_path: Path, folders: dict[str, str]
) -> None:
    whole, broken = (unclip_run(case, tmp_path / name, folders) for name in ("whole", "broken"))
    last = list(train(whole))[-1]
    steps = train(broken)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    again = list(train(broken, resume=True))
    assert [each.step for each in again] == [3, 4]
    assert again[-1].numbers == last.numbers and again[-1].validation == last.validation
    json.dumps(last.validation)
    first, second = (
        load_file(tmp_path / name / "state" / "tensors.safetensors") for name in ("whole", "broken")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    model = limner.load(tmp_path / "whole" / "model")
    part = {"decoder": "decoder", "embedding_prior": "prior", "upsampler": "upsampler"}[case[0]]
    assert model.info.family == "unclip" and getattr(model, part) is not None
    assert model.defaults.steps == 2
    (picture,) = limner.draw("a red apple", model=model, seed=1)
    assert picture.image.size == ((2 if case[0] == "upsampler" else 1) * SIZE,) * 2


@every_case
def test_what_a_part_is_shown_is_learnt(
    case: tuple[str, str], tmp_path: Path, folders: dict[str, str]
) -> None:
    loop = dataclasses.replace(LOOP, steps=80, batch=8, learning_rate=1e-2, bf16=False, warmup=5)
    step: Any = create_step(unclip_run(case, tmp_path, folders, loop=loop))
    step.start(0)
    batch = next(step.batches)
    step.batches = iter([batch] * 40)
    losses = [step(number)["loss"] for number in range(40)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    others = [p for p in step.pipeline.parameters() if not p.requires_grad]
    assert len(others) > 10 and all(each.grad is None for each in others)


@every_case
def test_measuring_leaves_training_as_it_was(
    case: tuple[str, str], tmp_path: Path, folders: dict[str, str]
) -> None:
    step: Any = create_step(unclip_run(case, tmp_path, folders))
    before = {name: value.clone() for name, value in step.trained.state_dict().items()}
    found, source = step.validate(), torch.get_rng_state()
    assert found == step.validate() and found["validation"] > 0
    assert step.trained.training and torch.equal(source, torch.get_rng_state())
    assert all(torch.equal(before[n], v) for n, v in step.trained.state_dict().items())
    shown = step.samples()
    size = 2 * SIZE if case[0] == "upsampler" else SIZE
    assert shown.shape[1:] == (3, size, size) and len(shown) >= 16 and step.trained.training


@pytest.mark.parametrize("told", ["embedding", "text"])
def test_a_decoder_is_told_what_the_run_says(
    told: str, tmp_path: Path, folders: dict[str, str]
) -> None:
    training = UnClipTraining(condition_on=told)
    config = unclip_run(CASES[0], tmp_path / "run", folders, unclip_training=training)
    list(train(config))
    decoder = limner.load(tmp_path / "run" / "model").decoder
    assert bool(decoder.config.embedding) == (told == "embedding")
    assert bool(decoder.config.text_vocabulary) == (told == "text")


def test_embeddings_are_told_with_noise_up_to_a_length(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    for most in (0.0, 0.5):
        training = UnClipTraining(embedding_noise=most)
        config = unclip_run(CASES[0], tmp_path, folders, unclip_training=training)
        step: Any = create_step(config)
        added = step._blur(400, torch.Generator().manual_seed(0))
        lengths = added.norm(dim=1)
        assert lengths.max() <= most + 1e-6
        assert lengths.mean().item() == pytest.approx(most / 2, abs=0.02)
        assert added.mean(0).abs().max() < 0.05


def test_a_decoder_goes_on_from_a_model(tmp_path: Path, folders: dict[str, str]) -> None:
    config = unclip_run(
        CASES[0], tmp_path / "run", folders, clip_from="", start_from=folders["unclip"], decoder={}
    )
    step: Any = create_step(config)
    held = limner.load(folders["unclip"]).decoder.state_dict()
    assert all(torch.equal(value, held[n]) for n, value in step.trained.state_dict().items())


def cells_run(tmp_path: Path, **changes: Any) -> TrainConfig:
    """Return the run of a new decoder of a latent, in the place of a model's own."""
    started = str(save_tiny_unclip(tmp_path / "latent", latent=True))
    folders = {"unclip": started, "clip": ""}
    table = {"name": "cells", "patch": 1, **CELLS, "text_encoder": {"name": "own", "layers": 0}}
    training = UnClipTraining(begin_as=str(save_tiny_model(tmp_path / "told")))
    start: dict[str, Any] = {"clip_from": "", "start_from": started, "decoder": table}
    return unclip_run(CASES[0], tmp_path / "run", folders,
                      **start | {"unclip_training": training} | changes)  # fmt: skip


def test_a_new_decoder_begins_with_the_words_and_transformer_of_a_prior(tmp_path: Path) -> None:
    config = cells_run(tmp_path)
    step: Any = create_step(config)
    told = limner.load(tmp_path / "told").prior
    assert torch.equal(step.trained.text.weight, told.text.weight)
    assert torch.equal(step.trained.cells.placed, told.target)
    assert torch.equal(step.trained.cells.transformer.norm.weight, told.transformer.norm.weight)
    for _ in train(config):
        pass
    model, held = limner.load(tmp_path / "run" / "model"), limner.load(tmp_path / "latent")
    assert model.decoder.config.size == 2 and type(model.decoder) is type(step.trained)
    for part in ("clip", "prior", "autoencoder"):  # what it was put into stays
        own, theirs = (getattr(each, part).state_dict() for each in (model, held))
        assert all(torch.equal(value, theirs[name].half().float()) for name, value in own.items())
    (drawn,) = limner.draw("a red apple", model=model, seed=1)
    assert drawn.image.size == (SIZE, SIZE)
    # And another goes on from what was learnt, with the embedding among its words.
    table = {**config.part("decoder"), "tokens": 2}
    training = UnClipTraining(begin_as=str(tmp_path / "run" / "model"))
    after: Any = create_step(config.changed(decoder=table, unclip_training=training))
    learnt = model.decoder.state_dict()
    assert all(torch.equal(after.trained.state_dict()[n], value) for n, value in learnt.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder": {"name": "cells", "patch": 1}}, "does not fit; give the width, layers"),
        ({"decoder": {"name": "cells", "patch": 1, **CELLS, "text_encoder": {"name": "own",
                      "layers": 1, "heads": 2, "hidden": 8}}}, "reads text in another way"),
        ({"decoder": {"name": "cells", "patch": 1, **CELLS, "levels": [3]}},
         r"decoder.levels is \[3\]; expected those of the codec whose latent is drawn, \["),
        ({"decoder": {"name": "unet", "patch": 1, "widths": [8]}}, "take decoder.name = 'cells'"),
        ({"unclip_training": UnClipTraining(begin_as="clip")},
         "begin_as holds a model of the family 'clip'"),
        ({"unclip_training": UnClipTraining(begin_as="default")}, "have different tokenizers"),
    ],
)  # fmt: skip
def test_what_a_decoder_cannot_begin_as_is_told(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        create_step(cells_run(tmp_path, **changes))


def test_embeddings_are_made_once_and_anew_for_another_clip(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    config = unclip_run(CASES[1], tmp_path / "run", folders)
    first: Any = create_step(config)
    assert first.train.images.shape == (9, 8) and first.train.texts.shape == (9, 2, 8)
    seen = first.pipeline.clip.encode_texts(first.train.ids[:, 1].long())
    torch.testing.assert_close(first.train.texts[:, 1], seen, atol=1e-5, rtol=1e-5)
    again: Any = create_step(config)
    assert not again.notes and torch.equal(again.train.images, first.train.images)
    fewer = dataclasses.replace(config, data=dataclasses.replace(config.data, cached=8))
    told: Any = create_step(fewer)
    assert len(told.train) == 8 and "another count" in told.notes[0]


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        (CASES[0], {"clip_from": ""}, "a decoder needs a trained CLIP"),
        (CASES[0], {"decoder": {"name": "unte"}}, "did you mean 'unet'"),
        (CASES[0], {"decoder": DECODER}, "decoder.embedding is decided by CLIP"),
        (CASES[0], {"upsampler": {"name": "convolution"}}, "leave .upsampler. out"),
        (CASES[0], {"sampling": {"steps": 0}}, "sampling.steps is 0; expected a whole number of 1"),
        (CASES[0], {"sampling": {"stpes": 3}}, "unknown key sampling.stpes; did you mean 'steps'"),
        (CASES[0], {"text": TextConfig(keywords=True)}, "is decided by CLIP"),
        (CASES[0], {"data": DataConfig(source="x")}, "that is learnt from emoji scenes"),
        (CASES[1], {"start_from": ""}, "adds to a model that has a decoder"),
        (CASES[1], {"data": DataConfig()}, "data.cached is 0; a prior of embeddings needs"),
        (CASES[1], {"loop": LoopConfig(compile=True)}, "task 'embedding_prior' compiles no step"),
        (CASES[3], {"upsampler": {"name": "diffusion", "factor": 3}}, "factor is 3; expected 2"),
        (CASES[3], {"upsampler": {"name": "convolution", "size": 64}}, "draws 16 pixels, but"),
    ],
)
def test_runs_that_cannot_be_are_refused(
    case: tuple[str, str], changes: dict[str, Any], words: str, tmp_path: Path,
    folders: dict[str, str],
) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match=words):
        list(train(unclip_run(case, tmp_path / "run", folders, **changes)))


def test_models_of_other_families_are_no_beginning(tmp_path: Path, folders: dict[str, str]) -> None:
    model = str(save_tiny_model(tmp_path / "dalle"))
    for case, key in ((CASES[0], "clip_from"), (CASES[1], "start_from")):
        with pytest.raises(ConfigError, match=f"{key} holds a model of the family 'dalle'"):
            create_step(unclip_run(case, tmp_path / "run", folders, **{key: model}))


def test_other_tasks_do_not_begin_with_a_model_that_has_no_codec(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    config = TrainConfig("prior", str(tmp_path / "run"), start_from=folders["unclip"], loop=LOOP,
                         data=DataConfig(cached=16))  # fmt: skip
    with pytest.raises(ConfigError, match="start_from holds a model of the family 'unclip'"):
        create_step(config)
    for name, family in (("unclip", "unclip"), ("clip", "clip")):
        with pytest.raises(CheckpointError, match=f"of the family '{family}', which has no codec"):
            load_autoencoder(folders[name])


def latent_run(tmp_path: Path, folders: dict[str, str], **changes: Any) -> TrainConfig:
    config = unclip_run(("decoder", ""), tmp_path / "run", folders)
    table = {"name": "unet", "patch": 1, "widths": [8], "blocks": 1, "width": 8}
    codec = str(save_tiny_model(tmp_path / "codec"))
    return config.changed(**{"decoder": table, "codec_from": codec} | changes)


def test_a_decoder_of_a_latent_is_trained_and_draws(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    config = latent_run(tmp_path, folders)
    codec = load_autoencoder(config.codec_from)[0]
    for _ in train(config):
        pass
    model = limner.load(tmp_path / "run" / "model")
    assert (model.decoder.config.channels, model.decoder.config.size) == (2, 2)
    for name, tensor in model.autoencoder.state_dict().items():
        assert torch.equal(tensor, codec.state_dict()[name].half().float()), name
    (drawn,) = limner.draw("a red apple", model=model, seed=1)
    assert drawn.image.size == (SIZE, SIZE)


def test_a_decoder_of_a_continuous_latent_is_trained_and_draws(
    tmp_path: Path, folders: dict[str, str]
) -> None:
    (tmp_path / "kl").mkdir()
    codec = create_autoencoder({**TINY["kl"], "size": SIZE})
    for _ in range(2):
        codec.train()(torch.rand(4, 3, SIZE, SIZE) * 2 - 1)
    save_codec(codec, {**TINY["kl"], "size": SIZE}, tmp_path / "kl" / CODEC_FILE)
    for _ in train(latent_run(tmp_path, folders, codec_from=str(tmp_path / "kl"))):
        pass
    model = limner.load(tmp_path / "run" / "model")
    drawn = model.decoder.config
    assert (drawn.channels, drawn.size, drawn.bounded) == (3, SIZE // 8, False)
    assert model.autoencoder.deviation == codec.deviation.half().float() != 1
    steps = list(model.stream(limner.Request("a red apple", seed=1)))
    shown = model.preview(steps[-2])
    assert shown.shape == steps[-1].images.shape == (1, 3, SIZE, SIZE)
    again = limner.draw("a red apple", model=model, seed=1)[0].image
    assert again.tobytes() == limner.draw("a red apple", model=model, seed=1)[0].image.tobytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoder": {"name": "unet", "size": 16}}, "the codec decides size; leave one"),
        ({"decoder": {"name": "unet", "channels": 3}}, "decoder.channels is decided by CLIP"),
        ({"task": "embedding_prior", "decoder": {}, "clip_from": "", "start_from": "m"},
         "codec_from is the codec of a new decoder"),
    ],
)  # fmt: skip
def test_what_a_latent_cannot_be_is_told(
    changes: dict[str, Any], words: str, tmp_path: Path, folders: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=words):
        latent_run(tmp_path, folders, **changes).check_parts()
