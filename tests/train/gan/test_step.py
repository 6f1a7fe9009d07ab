"""A GAN's run: it learns, goes on exactly, hands on a folder that draws, and tells a collapse."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import limner
from limner.checkpoint.model import save_checkpoint
from limner.codecs import create_codec
from limner.errors import ConfigError
from limner.gan.losses import ADVERSARIAL, PENALTIES
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig, TextConfig
from limner.train.gan.settings import GanTraining, latent_of
from limner.train.gan.step import GanStep
from limner.train.gan.watch import SoundWeights, measures, signs_of_collapse
from limner.train.inputs import caches
from limner.train.loop import Run, train
from limner.train.reading import read_config
from limner.train.steps import create_step
from tests.data.source_files import write_pictures
from tests.gan.tiny import DISCRIMINATORS_TINY, GENERATORS_TINY
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import CODEC, TEXT_LENGTH, prior_config, tiny_pipeline

DECIDED = ("text_vocabulary", "size", "width", "text_encoder", "map_channels")
LOOP = LoopConfig(steps=4, batch=4, warmup=2, validate_every=4, sample_every=99, save_every=2)
PLAIN = {"batch_norm": False}
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "dcgan": ("dcgan", "dcgan", {}, {"penalty": "none", "loss": "nonsaturating"}),
    "modulated": ("modulated", "residual", {}, {"n_critic": 2, "penalty_every": 2}),
    "critic": ("modulated", "dcgan", PLAIN, {"loss": "wasserstein", "penalty": "wgan_gp"}),
    "spectral": ("modulated", "residual", {"spectral": True}, {"penalty": "none"}),
    "vae": ("modulated", "residual", {}, {"reconstruction": 1.0}),
    "clip": ("modulated", "clip", {}, {"guidance": 0.5, "augment": "colour,translation,cutout"}),
    "latent": ("cells", "residual", {}, {"reconstruction": 1.0, "hard_negatives": 2}),
    "values": ("cells", "residual", {}, {"reconstruction": 1.0}),
    "kept": ("modulated", "residual", {}, {"on_collapse": "restore", "watch_from": 0}),
}
LATENT = ("latent", "values")  # cases that draw the latent of a codec


@pytest.fixture(autouse=True)
def font_found(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 40)


def part(table: dict[str, Any], *but: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in but}


def gan_run(out: Path, case: str = "modulated", **changes: Any) -> TrainConfig:
    generator, discriminator, table, training = CASES[case]
    told: dict[str, Any] = {}
    loop = dataclasses.replace(LOOP, optimizer="muon" if case in LATENT else "adamw")
    but = ["text_vocabulary"]
    data = DataConfig(held_for_validation=6, workers=0)
    if case in LATENT:
        model = str(save_base(out.parent / "base"))
        told = {"codec_from": model, "start_from": model}
        but += ["size", "patch", "width", "text_encoder"]
        table = table | {"patch": 1, "channels": [8]}
        data = dataclasses.replace(data, cached=9, captions=2)
    if case == "clip":
        told = {"clip_from": str(save_tiny_clip(out.parent / "clip"))}
        but += ["width", "text_encoder"]
    sizes: dict[str, Any] = {"width": 32, "hidden": 32} if case in LATENT else {}
    sizes |= {"levels": CODEC["levels"]} if case == "values" else {}
    config = TrainConfig(
        "gan",
        str(out),
        text_length=8,
        loop=loop,
        **told,
        data=data,
        tables={
            "gan_training": GanTraining(**training),
            "generator": part(GENERATORS_TINY[generator], *but) | sizes,
            "discriminator": part(DISCRIMINATORS_TINY[discriminator], *DECIDED) | table,
        },
    )
    return config.changed(**changes)


def save_base(folder: Path) -> Path:
    """Write a tiny model whose codec has 4 x 4 cells and return its folder."""
    tokenizer = tiny_pipeline().tokenizer
    codec, prior = CODEC | {"size": 32}, prior_config(tokenizer) | {"grid": [4, 4]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = create_prior(prior), create_codec(codec)
    pipeline = Dalle(tokenizer, *made, size=32, text_length=TEXT_LENGTH)
    save_checkpoint(folder, pipeline, name="base", licence="CC0-1.0", codec=codec, prior=prior)
    return folder


def test_weights_decay_and_biases_do_not(tmp_path: Path) -> None:
    loop = dataclasses.replace(LOOP, weight_decay=0.1)
    step = GanStep(gan_run(tmp_path / "run", loop=loop))
    for module, optimizer in zip((step.learner, step.discriminator), step.optimizers, strict=True):
        decay = {
            id(parameter): group["weight_decay"]
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for name, parameter in module.named_parameters():
            wanted = 0.0 if name.endswith("bias") or parameter.ndim < 2 else 0.1
            assert decay[id(parameter)] == wanted, name


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_and_resumed_is_the_run_unbroken(case: str, tmp_path: Path) -> None:
    whole, broken = (gan_run(tmp_path / name / "run", case) for name in ("whole", "broken"))
    last = list(train(whole))[-1]
    steps = train(broken)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    again = list(train(broken, resume=True))
    assert [each.step for each in again] == [3, 4]
    assert again[-1].numbers == last.numbers and again[-1].validation == last.validation
    json.dumps(last.validation)
    first, second = (
        load_file(tmp_path / name / "run" / "state" / "tensors.safetensors")
        for name in ("whole", "broken")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    model = limner.load(tmp_path / "whole" / "run" / "model")
    assert model.info.family == "gan"
    assert not any("judge" in name or "encoder." in name[:8] for name in model.state_dict())
    (picture,) = limner.draw("a red apple", model=model, seed=1)
    assert picture.image.size == (model.size, model.size)
    assert (tmp_path / "whole" / "run" / "samples-000004.png").exists()


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_every_loss_and_penalty_trains_without_a_value_that_is_not_finite(
    loss: str, penalty: str, tmp_path: Path
) -> None:
    training = GanTraining(
        loss=loss, penalty=penalty, penalty_every=2, hard_negatives=0, augment=""
    )
    loop = dataclasses.replace(LOOP, steps=200, batch=2, warmup=5, learning_rate=2e-3, bf16=False)
    config = gan_run(tmp_path / "run", "critic", loop=loop, gan_training=training)
    config = config.changed(
        generator={**config.part("generator"), "text_encoder": {"name": "own", "layers": 0}}
    )
    step: Any = create_step(config)
    step.start(0)
    few = list(itertools.islice(step.batches, 4))
    step.batches = itertools.cycle(few)
    for number in range(200):
        found = step(number)
        assert all(torch.isfinite(torch.tensor(value)) for value in found.values()), number
    assert all(bool(each.isfinite().all()) for each in step.learner.parameters())
    assert all(bool(each.isfinite().all()) for each in step.discriminator.parameters())
    assert all(bool(v.isfinite().all()) for v in step.averages["generator"].values)
    drawn = step.samples()
    assert drawn.isfinite().all() and drawn.std() > 0


def test_what_is_shown_is_learnt(tmp_path: Path) -> None:
    training = GanTraining(penalty_every=4, hard_negatives=0, reconstruction=2.0, kl=0.001)
    loop = dataclasses.replace(
        LOOP, steps=400, batch=8, learning_rate=3e-3, bf16=False, warmup=5, schedule="constant"
    )
    step: Any = create_step(gan_run(tmp_path, "vae", loop=loop, gan_training=training))
    step.start(0)
    images, ids = next(step.batches)
    step.batches = iter([(images, ids)] * 150)

    def error() -> float:
        with torch.no_grad():
            drawn, _ = step._draw(images, ids[0], torch.Generator().manual_seed(0))
        return float((drawn.images[:4] - images[:4]).abs().mean())  # the half that was seen

    before = error()
    for number in range(150):
        step(number)
    assert error() < 0.6 * before
    assert all(each.requires_grad for each in step.discriminator.parameters())


def test_the_text_tower_of_a_clip_stays_as_it_was(tmp_path: Path) -> None:
    config = gan_run(tmp_path / "run", "clip")
    step: Any = create_step(config)
    clip = limner.load(config.clip_from).clip
    step.start(0)
    step(0)
    for key, value in clip.text.state_dict().items():
        for owner in (step.generator, step.discriminator):
            assert torch.equal(owner.sentence.text.state_dict()[key], value)
    held = dict(step.clip.named_parameters())
    assert all(torch.equal(held[key], value) for key, value in clip.named_parameters())
    assert all(each.grad is None for each in step.clip.parameters())


@pytest.mark.parametrize("case", ["dcgan", "vae"])
def test_measuring_and_showing_leave_training_as_it_was(case: str, tmp_path: Path) -> None:
    step: Any = create_step(gan_run(tmp_path, case))
    states = {name: module.state_dict() for name, module in step.modules.items()}
    before = {(n, k): v.clone() for n, held in states.items() for k, v in held.items()}
    found, source = step.validate(), torch.get_rng_state()
    assert found == step.validate() and torch.equal(step.samples(), step.samples())
    assert step.generator.training and step.discriminator.training
    assert torch.equal(source, torch.get_rng_state())
    after = {(n, k): v for n, held in step.modules.items() for k, v in held.state_dict().items()}
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def collapse(step: Any) -> None:
    """Plant a collapse: a generator that hears neither words nor noise."""
    with torch.no_grad():
        for parameter in step.generator.mapping.parameters():
            parameter.zero_()
        for average, parameter in zip(
            step.averages["generator"].values, step.generator.parameters(), strict=True
        ):
            average.copy_(parameter)


@pytest.mark.parametrize("reaction", ["tell", "stop", "restore"])
def test_a_planted_collapse_is_told_at_the_next_validation(reaction: str, tmp_path: Path) -> None:
    training = GanTraining(on_collapse=reaction, watch_from=0)
    loop = dataclasses.replace(LOOP, steps=6, validate_every=2, save_every=2, learning_rate=1e-7)
    config = gan_run(tmp_path / "run", loop=loop, gan_training=training)
    step: Any = create_step(config)
    lively(step)
    step.start(0)
    run = Run(step, config, Path(config.out))
    told: list[str] = []
    sound: dict[str, Tensor] = {}
    ended = ""
    for progress in run.steps(0):
        if progress.step == 2:
            assert not progress.notes, "nothing has collapsed yet"
            sound = {key: value.clone() for key, value in step.generator.state_dict().items()}
            collapse(step)
        if progress.step == 4:
            told, ended = list(progress.notes), progress.ended
    (note,) = [each for each in told if each.startswith("collapse: drawn pictures are ")]
    assert "as varied as true ones; lower the learning rates" in note
    assert ended == (note if reaction == "stop" else "")
    if reaction == "restore":
        assert "the weights of the last validation without collapse are restored" in told
        mapping = {k: v for k, v in step.generator.state_dict().items() if "mapping" in k}
        for key, value in mapping.items():
            torch.testing.assert_close(value, sound[key], atol=1e-4, rtol=1e-4)


def lively(step: Any) -> None:
    """Let the generator's pictures differ from the first, and be what is called true."""
    with torch.no_grad():
        for parameter in step.generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for average, parameter in zip(
            step.averages["generator"].values, step.generator.parameters(), strict=True
        ):
            average.copy_(parameter)
        ((_, _, ids),) = step._held
        ids = ids.repeat(4, 1)
        with step._as_it_draws():
            true = step._drawn_at(ids, range(1000, 1000 + len(ids)))
    step.__dict__["_held"] = [(0, true, ids)]


def test_a_collapse_that_comes_again_and_again_ends_the_run(tmp_path: Path) -> None:
    step: Any = create_step(gan_run(tmp_path, "kept"))
    sound = {"variety": 1.0, "recall": 0.5, "balance": 1.0}
    assert step.react(sound) == []
    for _ in range(3):
        assert "restored" in step.react(sound | {"variety": 0.1})[-1] and not step.stopped
    step.react(sound | {"recall": 0.0})
    assert "was restored 3 times before" in step.stopped


def test_a_discriminator_that_knows_all_is_told(tmp_path: Path) -> None:
    sound = {"variety": 1.0, "recall": 0.5, "balance": 0.001}
    step: Any = create_step(gan_run(tmp_path))
    assert step.react(sound) == []  # before watch_from
    step.done = 1000
    (note,) = step.react(sound)
    assert note.startswith("the discriminator wins: its loss is 0.1% of the generator's")


def test_a_loss_below_zero_is_not_taken_for_that_of_a_codec_s_discriminator(tmp_path: Path) -> None:
    loop = dataclasses.replace(
        LOOP, steps=230, validate_every=999, sample_every=999, save_every=999
    )
    training = GanTraining(
        loss="wasserstein", penalty="none", discriminator_rate=1e-2, watch_from=999
    )
    run = gan_run(tmp_path / "run", gan_training=training, loop=loop)
    assert not [note for each in train(run) for note in each.notes if "codec" in note]


def test_equal_pictures_have_no_variety_and_no_recall() -> None:
    random = torch.Generator().manual_seed(0)
    real = torch.randn(40, 12, generator=random)
    again = measures(real, torch.randn(40, 12, generator=random))
    alike = measures(real, real[:1].repeat(40, 1))
    assert 0.7 < again["variety"] < 1.3 and again["recall"] > 0.5
    assert not signs_of_collapse(again)
    assert alike["variety"] < 0.1 and len(signs_of_collapse(alike)) == 1
    (few,) = signs_of_collapse({"variety": 0.9, "recall": 0.0})
    assert few.startswith("collapse: 0.0% of the true pictures")


def test_kept_weights_come_back() -> None:
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    kept = SoundWeights({"module": module}, {})
    kept.keep()
    before = module.weight.detach().clone()
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(module.weight, before)
    kept.restore([optimizer])
    assert torch.equal(module.weight, before) and int(kept.restored) == 1
    assert all(float(v["exp_avg"].abs().sum()) == 0 for v in optimizer.state.values())


def test_pictures_of_ones_own(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos" / "red_apple", [f"{index:02d}.png" for index in range(30)])
    write_pictures(tmp_path / "photos" / "cat", [f"cat{index:02d}.png" for index in range(10)])
    data = DataConfig(source=str(tmp_path / "photos"), validation_share=0.4, workers=0)
    config = gan_run(tmp_path / "run", data=data)
    (*_, last) = train(config)
    assert last.validation["recall"] >= 0
    model = limner.load(tmp_path / "run" / "model")
    assert model.tokenizer.unseen_words("a red apple") != model.tokenizer.unseen_words("rocket")
    assert model.info.licence == "unknown"


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        ("modulated", {"loop": LoopConfig(batch=1)}, "loop.batch is 1, and gan_training.mismatch"),
        ("modulated", {"loop": LoopConfig(batch=4, accumulate=2)}, "accumulate is 2, and a GAN is"),
        ("modulated", {"loop": LoopConfig(fp16=True)}, "loop.fp16 is True, and a GAN"),
        ("modulated", {"loop": LoopConfig(parallel="fsdp")}, "small enough for 'ddp'"),
        ("dcgan", {"gan_training": GanTraining(penalty="r1")}, "batch_norm mixes them"),
        ("modulated", {"gan_training": GanTraining(guidance=1.0)}, "guidance needs a trained CLIP"),
        ("modulated", {"discriminator": {"name": "clip"}}, "discriminator.name needs a trained CL"),
        ("modulated", {"discriminator": {"name": "residual", "size": 8}}, "size is decided by"),
        ("modulated", {"discriminator": {"name": "residul"}}, "unknown discriminator 'residul'"),
        ("modulated", {"discriminator": {}}, "unknown discriminator"),
        ("modulated", {"generator": {"name": "modulated", "size": 48}}, "but size is 48"),
        ("modulated", {"start_from": "x"}, "whose words and transformer a generator 'cells' begi"),
        ("latent", {"data": DataConfig(held_for_validation=6)}, "cached is 0 scenes, fewer than"),
        ("latent", {"gan_training": GanTraining(naming=1.0)}, "naming needs a codec that reads th"),
        ("modulated", {"gan_training": GanTraining(naming=1.0)}, "naming needs a codec that read"),
        ("modulated", {"sampling": {"temprature": 1}}, "did you mean 'temperature'"),
        ("modulated", {"sampling": {"temperature": 0}}, "sampling.temperature is 0; expected"),
        ("modulated", {"data": DataConfig(held_for_validation=3)}, "on at least 4 pictures"),
        ("clip", {"text": TextConfig(keywords=True)}, "is decided by CLIP"),
    ],
)
def test_runs_that_cannot_be_are_refused(
    case: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        list(train(gan_run(tmp_path / "run", case, **changes)))
    assert not (tmp_path / "run").exists()


def test_values_are_those_of_the_codec(tmp_path: Path) -> None:
    config = gan_run(tmp_path / "run", "values")
    table = {**config.part("generator"), "levels": [4, 2]}
    with pytest.raises(ConfigError, match=r"levels is \[4, 2\]; .* drawn, \[4, 4\], or none"):
        list(train(config.changed(generator=table)))


def test_a_latent_begins_with_the_words_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    step: Any = create_step(gan_run(tmp_path / "run", "latent"))
    told = limner.load(tmp_path / "base")
    assert step.tokenizer.to_json() == told.tokenizer.to_json()
    for part in (step.generator, step.discriminator):
        assert torch.equal(part.sentence.text.weight, told.prior.text.weight)
    step.start(0)
    codes, ids = next(step.batches)
    assert ids.shape[:2] == (3, 4) and step._to_draw(codes).shape == (4, 2, 4, 4)
    assert step.samples().shape[1:] == (3, 32, 32)


def test_policies_are_checked_and_several_ranks_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ConfigError, match=r"augment has the policy 'cutuot'.*did you mean 'cutout'"
    ):
        GanTraining(augment="translation,cutuot")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="task 'gan' runs on one rank"):
        list(train(gan_run(tmp_path / "run")))


def test_the_configs_can_be_built() -> None:
    from limner.gan import create_generator

    folder = Path(__file__).resolve().parents[3] / "configs" / "gan"
    for path in sorted(folder.glob("*.toml")):
        config = read_config(path)
        assert config.out == f"runs/gan/{path.stem}"
        with torch.device("meta"):
            built = create_generator({**config.part("generator"), "text_vocabulary": 4096})
        assert sum(each.numel() for each in built.parameters()) * 2 < 6e6


def test_the_config_of_the_latent_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[3]
    monkeypatch.chdir(root)  # it names the default by its folder
    config = read_config(root / "configs" / "families" / "gan.toml")
    assert config.out == "runs/families/gan"
    assert latent_of(config) == {"channels_drawn": 8, "size": 8, "bounded": True}
