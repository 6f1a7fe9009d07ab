import dataclasses
import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import limner
from limner.errors import ImageError, UsageError
from limner.images import read_png_texts
from limner.types import Codec, Picture, Pipeline, Request, Sampling, TokenPrior
from tests.tiny_model import tiny_pipeline


def test_the_public_names_are_there_and_no_others() -> None:
    assert set(limner.__all__) == {
        "Edit", "Explanation", "LimnerError", "Model", "Morph", "Picture", "Request", "Sampling",
        "Step", "__version__", "colourise", "draw", "edit", "explain", "export_checkpoint",
        "import_checkpoint",
        "list_models", "list_parts",
        "load", "morph", "outpaint", "restyle", "upscale", "vary",
    }  # fmt: skip
    for name in limner.__all__:
        assert getattr(limner, name) is not None
        assert name in dir(limner)
    assert {name for name in dir(limner) if not name.startswith("__")} < set(limner.__all__)
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        limner.paint  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'laod'; did you mean 'load'"):
        limner.laod  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    ["import limner; limner.Request('a cat'); dir(limner)", "import limner.cli"],
)
def test_importing_and_asking_loads_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'numpy', 'PIL', 'tokenizers', 'safetensors', 'huggingface_hub'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_a_request_is_normalised_and_frozen() -> None:
    request = Request("  a\u202e red\x07 apple\n")
    assert request.prompt == "a red apple"
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.n = 2  # type: ignore[misc]


def test_a_missing_seed_is_chosen_once_and_kept() -> None:
    seeds = {Request("a cat").seed for _ in range(8)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**32 for seed in seeds)
    request = Request("a cat")
    assert dataclasses.replace(request, n=2).seed == request.seed
    assert Request("a cat", seed=0).seed == 0


@pytest.mark.parametrize("n", [0, -1, 1001, 2**63, 1.5, "2", True, None])
def test_a_bad_number_of_pictures_is_refused(n: Any) -> None:
    with pytest.raises(UsageError, match="n is") as caught:
        Request("a cat", n=n)
    assert caught.value.param == "n"


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "7", False])
def test_a_bad_seed_is_refused(seed: Any) -> None:
    with pytest.raises(UsageError, match="seed is"):
        Request("a cat", seed=seed)


def test_the_last_picture_of_a_request_has_a_seed_too() -> None:
    assert Request("a cat", n=4, seed=2**63 - 4).seed == 2**63 - 4
    with pytest.raises(UsageError, match="from 0 to"):
        Request("a cat", n=4, seed=2**63 - 3)


@pytest.mark.parametrize("guidance", [-0.1, 101, math.nan, math.inf, "3", True])
def test_a_bad_guidance_is_refused(guidance: Any) -> None:
    with pytest.raises(UsageError, match="guidance is"):
        Request("a cat", guidance=guidance)


@pytest.mark.parametrize("size", [0, -64, 7, 8193, 64.0, "64"])
def test_a_bad_size_is_refused(size: Any) -> None:
    with pytest.raises(UsageError, match="size is"):
        Request("a cat", size=size)


def test_sampling_must_be_a_sampling() -> None:
    with pytest.raises(UsageError, match=r"limner\.Sampling"):
        Request("a cat", sampling={"top_k": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("temperature", [0.01, 1, 10], [0, -1, 0.001, 10.1, math.nan, "1", True]),
        ("top_k", [0, 1, 4000], [-1, 1.5, "3", True, 2**31]),
        ("top_p", [0.1, 1], [0, 1.01, math.inf, "x"]),
        ("min_p", [0, 0.5], [-0.1, 1, math.nan]),
        ("typical_p", [0.2, 1], [0, 1.1, math.nan]),
        ("speculate", [0, 64], [-1, 65, 1.5]),
        ("guidance_schedule", ["constant", "linear", "ramp", "cosine"], ["cosin", "", 3, True]),
    ],
)
def test_each_sampling_field_has_a_range(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in [None, *good]:
        assert getattr(Sampling(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(UsageError, match=f"{name} is") as caught:
            Sampling(**{name: value})
        assert caught.value.param == name


def test_a_misspelt_schedule_gets_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        Sampling(guidance_schedule="cosin")


def picture() -> Picture:
    image = Image.new("RGB", (4, 2), (255, 0, 10))
    settings = {"guidance": 3.0, "steps": 4, "model_hash": "ab" * 32, "family": "dalle"}
    return Picture(image, "红苹果, a cat", 7, "tiny", settings)


def test_a_picture_saves_itself_with_what_draws_it_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    assert Image.open(path).getpixel((0, 0)) == (255, 0, 10)
    assert read_png_texts(path)["parameters"].startswith("红苹果, a cat\nSteps: 4,")
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_can_leave_the_text_out(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png", metadata=False)
    assert read_png_texts(tmp_path / "a.png") == {}


def test_a_picture_shows_itself_in_jupyter() -> None:
    shown = Image.open(io.BytesIO(picture()._repr_png_()))
    assert shown.format == "PNG"
    assert shown.size == (4, 2)


def test_pictures_and_steps_tell_what_they_are_in_one_line() -> None:
    picture = Picture(Image.new("RGB", (8, 6)), "a cat " * 40, 7, "tiny")
    assert repr(picture).startswith("<Picture of 'a cat a cat")
    assert repr(picture).endswith("…: 8 x 6 pixels, seed 7, model 'tiny'>")
    steps = list(tiny_pipeline().eval().stream(Request("a red apple", seed=1)))
    assert repr(steps[0]) == "<Step 1 of 4, codes (1, 1)>"
    assert repr(steps[-1]) == "<Step 4 of 4, codes (1, 4), images (1, 3, 16, 16)>"


def test_a_request_takes_what_a_person_gives_for_a_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 6), "teal")
    image.save(tmp_path / "a.png")
    taken: list[Any] = [image, Picture(image, "", 0, "m"), tmp_path / "a.png"]
    for given in [*taken, str(tmp_path / "a.png")]:
        kept = Request("", image=given).image
        assert isinstance(kept, Image.Image) and kept.tobytes() == image.tobytes()
    clear = Request("", image=Image.new("RGBA", (2, 2), (0, 0, 0, 0))).image
    assert isinstance(clear, Image.Image) and clear.getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(UsageError, match="a picture is 7; expected the path of a file"):
        Request("a cat", image=7)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a mask is 7; expected a box x,y,w,h"):
        Request("a cat", image=image, mask=7)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"cannot read the picture .*nothing\.png"):
        Request("a cat", image=tmp_path / "nothing.png")  # type: ignore[arg-type]


def test_logits_processors_must_be_functions() -> None:
    def same(codes: Any, logits: Any) -> Any:
        return logits

    given: Any
    for given in ((same,), [same], same):
        assert Request("a cat", logits_processors=given).logits_processors == (same,)
    for given in (7, ["top_k"], [same, None]):
        with pytest.raises(UsageError, match=r"logits_processors holds .*; expected functions"):
            Request("a cat", logits_processors=given)


def test_the_parts_of_a_real_pipeline_keep_the_protocols() -> None:
    pipeline = tiny_pipeline()
    assert isinstance(pipeline, Pipeline)
    assert isinstance(pipeline.codec, Codec)
    assert isinstance(pipeline.prior, TokenPrior)
