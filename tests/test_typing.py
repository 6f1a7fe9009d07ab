"""What a type checker knows: mypy reads this file with the others, and these lines are its test."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import pytest
import torch

import limner
from limner.draw import draw_request
from limner.model import ClipModel, DalleModel, GanModel, UnClipModel
from limner.types import Drawable, Pipeline, Request, Varying
from tests.tiny_clip import save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_unclip import save_tiny_unclip

ROOT = Path(limner.__file__).parent.parent


def test_a_preset_is_of_its_family() -> None:
    model = limner.load("gan")  # the smallest
    assert_type(model, GanModel)
    assert isinstance(model, GanModel)
    assert_type(model.draw("a cat", seed=1), list[limner.Picture])


if TYPE_CHECKING:
    assert_type(limner.load("default"), DalleModel)
    assert_type(limner.load("unclip", device="cpu"), UnClipModel)
    assert_type(limner.load("clip"), ClipModel)
    assert_type(limner.load("clip").compare("a.png", "a cat"), torch.Tensor)
    assert_type(limner.load("runs/mine"), Any)
    drawable: Drawable = limner.load("default")
    varying: Varying = limner.load("unclip")
    pipeline: Pipeline = limner.load("clip")
    assert_type(draw_request(drawable, Request("a cat")).pictures, list[limner.Picture])


def test_the_protocols_tell_models_apart(tmp_path: Path) -> None:
    gan = limner.load(save_tiny_gan(tmp_path / "gan"))
    unclip = limner.load(save_tiny_unclip(tmp_path / "unclip"))
    clip = limner.load(save_tiny_clip(tmp_path / "clip"))
    for model, is_drawable, is_varying in (
        (gan, True, False), (unclip, True, True), (clip, False, False)
    ):  # fmt: skip
        assert isinstance(model, Pipeline)
        assert isinstance(model, Drawable) is is_drawable
        assert isinstance(model, Varying) is is_varying
    assert not isinstance(torch.nn.Linear(1, 1), Pipeline)


@pytest.mark.slow
@pytest.mark.timeout(600)  # mypy reads the whole package where it has no cache
def test_mypy_completes_a_program_and_finds_its_mistakes(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import limner\n"
        'model = limner.load("default")\n'
        "reveal_type(model)\n"
        'reveal_type(model.draw("a cat", n=2, top_k=5)[0].image.size)\n'
        'model.draw("a cat", top_k="five")\n'
        'limner.load("default", devise="cpu")\n'
        'limner.load("clip").draw("a cat")\n',
        encoding="utf-8",
    )
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(program)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    said = [line.partition(".py:")[2] for line in ended.stdout.splitlines()]
    assert any('3: note: Revealed type is "limner.model.DalleModel"' in line for line in said)
    assert any(line.startswith("4: note:") and "int" in line for line in said)
    for number in (5, 6, 7):
        assert any(line.startswith(f"{number}: error:") for line in said), (number, said)
    assert not any(line.startswith(("2: error", "4: error")) for line in said)
