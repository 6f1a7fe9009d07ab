"""The GAN's pipeline with every generator: alone, in company, back from disk; what it can't do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import limner
from limner.checkpoint.model import load_checkpoint, save_checkpoint
from limner.cli import main
from limner.errors import CheckpointError, UsageError
from limner.gan import GENERATORS
from limner.gan.drawing import GanSampling
from limner.pipelines.gan import Gan
from limner.types import Request, Sampling
from tests.gan.tiny import SIZE
from tests.tiny_gan import save_tiny_gan, tiny_gan
from tests.tiny_model import CODEC

RED = Image.new("RGB", (20, 30), "red")


@pytest.fixture(params=GENERATORS)
def pipeline(request: pytest.FixtureRequest) -> Gan:
    return tiny_gan(request.param)[0]


def images_of(pipeline: Gan, request: Request) -> Tensor:
    last = list(pipeline.stream(request))[-1]
    assert last.images is not None
    return last.images


def test_a_picture_is_the_same_alone_and_in_company(pipeline: Gan) -> None:
    together = images_of(pipeline, Request("a red apple", n=3, seed=3))
    assert together.shape == (3, 3, SIZE, SIZE) and together.abs().max() <= 1
    for index in range(3):
        alone = images_of(pipeline, Request("a red apple", n=1, seed=3 + index))
        assert torch.equal(alone[0], together[index])
    assert len(together.flatten(1).unique(dim=0)) == 3
    prompts = ["three red apples", "a red apple"]
    assert torch.equal(pipeline.draw_many(prompts, [8, 4])[1], together[1])
    assert not torch.equal(images_of(pipeline, Request("three red apples", seed=3))[0], together[0])


def test_each_step_is_a_picture_and_the_last_has_all(pipeline: Gan) -> None:
    steps = list(pipeline.stream(Request("a red apple", n=3, seed=0)))
    assert [(step.index, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    shown = [pipeline.preview(step) for step in steps]
    assert [None if each is None else len(each) for each in shown] == [1, 1, 3]
    assert shown[0] is not None and shown[2] is not None and torch.equal(shown[0], shown[2][:1])


def test_drawing_stops_when_nobody_asks(pipeline: Gan) -> None:
    calls: list[int] = []
    pipeline.generator.register_forward_pre_hook(lambda module, inputs: calls.append(1))
    steps = pipeline.stream(Request("a red apple", n=5, seed=0))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(calls) == 1


@pytest.mark.parametrize("name", GENERATORS)
def test_it_comes_back_from_its_folder(name: str, tmp_path: Path) -> None:
    pipeline, _ = tiny_gan(name)
    loaded = load_checkpoint(save_tiny_gan(tmp_path / "m", name))
    assert loaded.info.family == "gan" and loaded.defaults == GanSampling(0.8)
    request = Request("a red apple", seed=5)
    assert torch.equal(images_of(loaded, request), images_of(pipeline, request))


def test_a_latent_is_drawn_and_its_autoencoder_paints_it(tmp_path: Path) -> None:
    pipeline, table = tiny_gan("cells", latent=True)
    drawn = images_of(pipeline, Request("a red apple", n=2, seed=5))
    assert drawn.shape == (2, 3, SIZE, SIZE)
    pictures = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    latents = pipeline.latents(pictures)
    assert latents.shape == (2, 2, 2, 2) and latents.abs().max() <= 1
    assert torch.equal(pipeline.pixels(latents + 0.01), pipeline.autoencoder.reconstruct(pictures))
    tables: dict[str, Any] = {"generator": table, "autoencoder": CODEC}
    save_checkpoint(tmp_path / "m", pipeline, name="m", licence="CC0-1.0", **tables)
    loaded = load_checkpoint(tmp_path / "m")
    assert torch.equal(images_of(loaded, Request("a red apple", n=2, seed=5)), drawn)
    with pytest.raises(UsageError, match="the config of the pipeline's autoencoder is not known"):
        save_checkpoint(tmp_path / "n", pipeline, name="n", licence="CC0-1.0", generator=table)


def test_a_folder_without_an_autoencoder_says_nothing_of_it(tmp_path: Path) -> None:
    config = json.loads((save_tiny_gan(tmp_path / "m") / "config.json").read_text())
    assert "autoencoder" not in config
    again = load_checkpoint(tmp_path / "m")
    save_checkpoint(tmp_path / "again", again, name="m", licence="CC0-1.0")
    assert json.loads((tmp_path / "again" / "config.json").read_text()).keys() == config.keys()


def test_a_temperature_scales_all_noise() -> None:
    pipeline, _ = tiny_gan()
    wild, plain = (
        images_of(pipeline, Request("a red apple", n=8, seed=0, sampling=Sampling(temperature=t)))
        for t in (2.0, 0.01)
    )
    assert wild.std(0).mean() > 5 * plain.std(0).mean()
    assert pipeline.resolve_sampling(Request("a red apple")) == GanSampling(0.8)


def test_the_library_draws_and_remembers_how(tmp_path: Path) -> None:
    folder = save_tiny_gan(tmp_path / "m")
    first, second = limner.draw("a red apple", model=folder, n=2, seed=1, temperature=0.5)
    assert first.image.size == (SIZE, SIZE) and first.image != second.image
    assert (first.settings["steps"], first.settings["temperature"]) == (1, 0.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mask": RED}, "mask is given without a picture; give its image too"),
        ({"image": RED}, "cannot fill in or alter one; leave it out, or change the picture with"),
        ({"size": 32}, "this model draws pictures 16 pixels wide, not 32"),
        ({"guidance": 3.0}, "guidance is 3.0, but a GAN draws at once"),
        ({"sampling": Sampling(steps=5)}, "steps is 5, but a GAN draws at once and takes a temper"),
        ({"sampling": Sampling(top_k=5)}, "top_k is 5, but a GAN draws at once"),
    ],
)
def test_what_a_gan_cannot_do_is_one_sentence(values: dict[str, Any], words: str) -> None:
    pipeline, _ = tiny_gan()
    with pytest.raises(UsageError, match=words) as refused:
        list(pipeline.stream(Request("a red apple", **values)))
    assert str(refused.value).count(". ") == 0


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"temperature is 11; expected a number in \[0.01, 10\]"):
        GanSampling(11)
    with pytest.raises(UsageError, match="no prompts"):
        tiny_gan()[0].draw_many([], [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text_vocabulary": 9}, "but the generator was made for 9"),
        ({"size": 32, "channels": [16, 8, 8]}, "size 16, but its parts were made for 32 pixels"),
        ({"channels_drawn": 4}, "draws 4 channels 16 wide, not those of its autoencoder, or of"),
    ],
)
def test_parts_of_different_models_are_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pipeline, table = tiny_gan()
    table = table | changes
    save_checkpoint(tmp_path / "m", pipeline, name="m", licence="Apache-2.0", generator=table)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path / "m")


def test_the_command_line_draws_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(save_tiny_gan(tmp_path / "m"))
    out = str(tmp_path / "out")
    for words in (
        ["draw", "a red apple", "-n", "2", "--seed", "1", "--model", folder, "--out", out, "-q"],
        ["models", "show", folder, "--json"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["family"] == "gan"
    assert len(list(Path(out).glob("*.png"))) == 3
    with pytest.raises(SystemExit) as ended:
        main(["draw", "a red apple", "--model", folder, "--steps", "5"])
    assert ended.value.code == 2
    assert "a GAN draws at once and takes a temperature alone" in capsys.readouterr().err
