"""What every pipeline shares: moving it, and the pictures and texts that it takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limner.errors import ImageError, UsageError
from limner.types import Picture
from tests.tiny_clip import tiny_clip
from tests.tiny_gan import tiny_gan
from tests.tiny_model import tiny_pipeline
from tests.tiny_unclip import tiny_unclip

BUILT: dict[str, Callable[[], Any]] = {
    "dalle": tiny_pipeline,
    "clip": tiny_clip,
    "unclip": lambda: tiny_unclip("diffusion")[0],
    "gan": lambda: tiny_gan()[0],
}


@pytest.fixture(params=BUILT)
def pipeline(request: pytest.FixtureRequest) -> Any:
    return BUILT[request.param]()


def test_a_pipeline_is_moved_by_name(pipeline: Any) -> None:
    for given in ("cpu", torch.device("cpu"), torch.float32):
        assert pipeline.to(given) is pipeline
    assert pipeline.to(device="cpu").device.type == "cpu"
    with pytest.raises(UsageError, match=r"device is 'gpu'; expected auto.*did you mean 'cuda'"):
        pipeline.to("gpu")
    with pytest.raises(UsageError, match="cannot be moved to"):
        pipeline.to([1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_in_one_sentence(pipeline: Any) -> None:
    moves: tuple[Callable[[], Any], ...] = (
        lambda: pipeline.to("cuda"),
        lambda: pipeline.to(device="cuda"),
        lambda: pipeline.to(torch.device("cuda")),
        lambda: pipeline.to(0),
        lambda: pipeline.cuda(),
        lambda: pipeline.cuda(1),
    )
    for move in moves:
        with pytest.raises(UsageError, match="the number of GPUs that torch finds is 0"):
            move()


def test_weights_stay_in_fp32(pipeline: Any) -> None:
    moves: tuple[Callable[[], Any], ...] = (
        lambda: pipeline.half(),
        lambda: pipeline.bfloat16(),
        lambda: pipeline.to(torch.float16),
        lambda: pipeline.to("cpu", dtype=torch.bfloat16),
    )
    for move in moves:
        with pytest.raises(UsageError, match="they are kept in fp32; for drawing in less memory"):
            move()
    assert {weight.dtype for weight in pipeline.parameters()} == {torch.float32}


def test_a_pipeline_without_a_folder_tells_what_it_is(pipeline: Any) -> None:
    shown = repr(pipeline)
    assert shown.startswith(f"<limner model 'unsaved' of the family {pipeline.family}: 16 pixels,")
    assert shown.endswith(" M parameters, cpu, fp32>")


def test_a_clip_sees_whatever_holds_a_picture(tmp_path: Path) -> None:
    clip = tiny_clip()
    image = Image.effect_noise((20, 14), 80).convert("RGB")
    image.save(tmp_path / "a.png")
    wanted = clip.see([image])
    given = (image, Picture(image, "", 0, "m"), tmp_path / "a.png", str(tmp_path / "a.png"))
    for each in given:
        assert torch.equal(clip.see([each]), wanted)
        assert torch.equal(clip.see(each), wanted)
    torch.testing.assert_close(clip.see(list(given)), wanted.expand(4, -1))
    for wrong in (7, None, [image, 7], torch.zeros(3, 4, 4)):
        with pytest.raises(UsageError, match=r"a picture is .*; expected the path of a file"):
            clip.see(wrong)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="cannot read the picture"):
        clip.see(tmp_path / "nothing.png")


def test_a_clip_takes_one_text_as_one() -> None:
    clip = tiny_clip()
    image = Image.new("RGB", (16, 16), "red")
    assert torch.equal(clip.encode_texts("a red apple"), clip.encode_texts(["a red apple"]))
    assert clip.compare(image, "a red apple").shape == (1, 1)
    with pytest.raises(UsageError, match="give at least two, each once"):
        clip.classify(image, "apple")


@pytest.mark.parametrize("family", ["dalle", "unclip", "gan"])
def test_each_prompt_has_a_seed(family: str) -> None:
    pipeline = BUILT[family]().eval()
    for prompts, seeds, words in (
        (["a red apple"], [1, 2], "the prompts are 1 and the seeds 2; give a seed for each"),
        (["a red apple"] * 2, [1], "the prompts are 2 and the seeds 1"),
        ([], [], "no prompts were given"),
        ([7], [1], "a text is 7; expected words"),
    ):
        with pytest.raises(UsageError, match=words):
            pipeline.draw_many(prompts, seeds)
    if family == "unclip":
        with pytest.raises(UsageError, match="the prompts are 1 and the seeds 2"):
            pipeline.vary_many(Image.new("RGB", (8, 8)), [1, 2])
