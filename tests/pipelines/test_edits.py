"""Edits by every family and prior, with models too small to draw anything: what stays, stays."""

from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from limner.codecs import create_codec
from limner.errors import UsageError
from limner.images import to_images
from limner.pipelines.blending import windows
from limner.pipelines.dalle import Dalle
from limner.pipelines.edits import STEPS, Redraw, pick_cells
from limner.pipelines.redrawing import box_around, choose_part
from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling
from limner.text.tokenizer import Tokenizer
from limner.types import Edit, Request, Step
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import CODEC, SENTENCES, SIZE, TEXT_LENGTH, prior_config, tiny_pipeline
from tests.tiny_unclip import tiny_unclip

CRF = {"text_layers": 1, "rank": 4, "iterations": 2, "sweeps": 3}
BOX = (10, 4, 26, 20)
PROMPT = "a red apple"


def picture(width: int = 40, height: int = 32) -> Image.Image:
    pixels = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    return Image.fromarray(pixels)


def masked(image: Image.Image) -> Image.Image:
    mask = Image.new("L", image.size, 0)
    mask.paste(255, BOX)
    return mask


def dalle_of(name: str, groups: int = 1, scales: bool = False) -> Dalle:
    """Return a random model of tokens, whose every part speaks up."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(SENTENCES, 400)
    codec = CODEC | {"groups": groups}
    prior = prior_config(tokenizer) | {"name": name, "groups": groups}
    prior |= CRF if name == "crf" else {}
    if scales:
        sizes = {key: CODEC[key] for key in CODEC if key.startswith(("enc", "dec", "size"))}
        codec = {**sizes, "name": "multiscale", "scales": [1, 2], "levels": [4, 4]}
        prior |= {"maps": [[1, 1], [2, 2]]}
    modules = [create_prior(prior), create_codec(codec)]
    for module in modules:
        for parameter in module.eval().parameters():
            with torch.no_grad():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    sampling = TokenSampling(temperature=1.2, guidance=1.0)
    return Dalle(tokenizer, *modules, size=SIZE, text_length=TEXT_LENGTH, defaults=sampling)  # type: ignore[arg-type]


MODELS: dict[str, Any] = {
    "gpt": lambda: dalle_of("gpt"),
    "gpt-groups": lambda: dalle_of("gpt", 2),
    "gpt-scales": lambda: dalle_of("gpt", scales=True),
    "next_scale": lambda: dalle_of("next_scale", scales=True),
    "crf": lambda: dalle_of("crf", 2),
    "unclip": lambda: tiny_unclip()[0],
    "unclip-latent": lambda: tiny_unclip("diffusion", "convolution", True)[0],
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]()


def edited(model: Any, **asked: Any) -> list[Image.Image]:
    steps: list[Step] = list(model.stream(Request(asked.pop("prompt", PROMPT), **asked)))
    assert [step.index for step in steps] == sorted(step.index for step in steps)
    assert steps[-1].index == steps[-1].total and steps[-1].images is not None
    return to_images(steps[-1].images)


def few(model: Any) -> Edit:
    """Return an edit of few candidates, where a model has such."""
    return Edit(candidates=3 if model.family == "dalle" else None)


def test_what_is_not_masked_stays_bit_for_bit(model: Any) -> None:
    image = picture()
    asked = {"image": image, "mask": masked(image), "edit": few(model)}
    first, second = edited(model, n=2, seed=4, **asked)
    kept = numpy.asarray(masked(image)) == 0
    for found in (first, second):
        assert found.size == image.size
        assert (numpy.asarray(found)[kept] == numpy.asarray(image)[kept]).all()
        assert (numpy.asarray(found)[~kept] != numpy.asarray(image)[~kept]).any()
    assert first.tobytes() != second.tobytes()
    (alone,) = edited(model, seed=5, **asked)
    assert alone.tobytes() == second.tobytes()


def test_what_was_in_the_hole_leaves_no_trace(model: Any) -> None:
    image = picture()
    other = image.copy()
    other.paste("red", BOX)
    found = [
        edited(model, image=each, mask=masked(image), seed=3, edit=few(model))[0]
        for each in (image, other)
    ]
    assert found[0].tobytes() == found[1].tobytes()


def test_the_prompt_counts(model: Any) -> None:
    image = picture()
    asked = {"image": image, "mask": Image.new("L", image.size, 255), "seed": 3}
    one, other = (
        edited(model, prompt=prompt, **asked)[0] for prompt in (PROMPT, "three red apples")
    )
    assert one.tobytes() != other.tobytes()


def test_an_empty_mask_and_no_strength_change_nothing(model: Any) -> None:
    image = picture()
    for asked in ({"mask": Image.new("L", image.size, 0)}, {"edit": Edit(strength=0)}):
        assert edited(model, image=image, **asked)[0].tobytes() == image.tobytes()


def test_a_hole_of_one_pixel_and_soft_edges(model: Any) -> None:
    image = picture()
    dot = Image.new("L", image.size, 0)
    dot.putpixel((17, 9), 255)
    soft = masked(image)
    soft.paste(60, (0, 0, 8, 8))
    for mask in (dot, soft):
        (found,) = edited(model, image=image, mask=mask, seed=1)
        kept = numpy.asarray(mask) == 0
        assert (numpy.asarray(found)[kept] == numpy.asarray(image)[kept]).all()
        assert found.tobytes() != image.tobytes()


def test_all_of_a_hole_is_all_of_it_however_it_is_asked(model: Any) -> None:
    image = picture()
    for seed in (1, 2, 3):
        asked = {"image": image, "mask": masked(image), "seed": seed}
        whole, full = (
            edited(model, edit=replace(few(model), strength=strength), **asked)[0]
            for strength in (None, 1.0)
        )
        assert whole.tobytes() == full.tobytes()


def test_without_a_mask_a_strength_changes_the_picture_itself(model: Any) -> None:
    image = picture(32, 32)
    found = {
        strength: edited(model, image=image, seed=2, edit=Edit(strength=strength))[0]
        for strength in (0.25, 1.0)
    }
    assert len({each.tobytes() for each in found.values()} | {image.tobytes()}) == 3
    (words,) = edited(model, prompt="", image=image, seed=2, edit=Edit(strength=0.5))
    assert words.tobytes() != image.tobytes()


def test_two_texts_say_what_is_to_change(model: Any) -> None:
    image = picture(32, 32)
    edit = Edit(before="three red apples")
    found = edited(model, image=image, seed=2, edit=edit)[0]
    assert found.size == image.size
    assert edited(model, image=image, seed=2, edit=edit)[0].tobytes() == found.tobytes()


def test_a_part_of_the_cells_is_redrawn_and_the_rest_stays() -> None:
    image = picture(32, 32)
    (found,) = edited(dalle_of("gpt"), image=image, seed=2, edit=Edit(strength=0.5))
    same = (numpy.asarray(found) == numpy.asarray(image)).all(-1)
    quarters = [same[top : top + 16, left : left + 16] for top in (0, 16) for left in (0, 16)]
    assert sorted(bool(each.all()) for each in quarters) == [False, False, True, True]


def test_texts_that_say_the_same_change_nothing() -> None:
    image = picture(32, 32)
    (found,) = edited(tiny_pipeline(), image=image, seed=2, edit=Edit(before=PROMPT))
    assert found.tobytes() == image.tobytes()


def test_logits_processors_are_asked() -> None:
    def forbid(codes: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        asked.append(codes.shape[1])
        return logits

    asked: list[int] = []
    image = picture()
    edited(dalle_of("gpt"), image=image, mask=masked(image), logits_processors=(forbid,))
    assert asked
    with pytest.raises(UsageError, match="no order that they could follow"):
        edited(dalle_of("crf"), image=image, mask=masked(image), logits_processors=(forbid,))


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((15, 40), "the picture is 15 x 40 pixels; give one of at least 16 a side"),
        ((1, 1), "at least 16 a side"),
        ((16, 8193), "at most 16777216 pixels and 8192 a side can be edited"),
        ((4097, 4097), "the picture is 4097 x 4097 pixels; at most 16777216"),
    ],
)
def test_pictures_that_are_too_small_or_large_are_refused(
    size: tuple[int, int], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_pipeline()
    monkeypatch.setattr(Dalle, "redraw", lambda *_: pytest.fail("the model was asked"))
    with pytest.raises(UsageError, match=told):
        edited(model, image=Image.new("RGB", size), edit=Edit())


def test_a_family_that_cannot_says_which_can(tmp_path: Any) -> None:
    import limner

    gan, image = limner.load(save_tiny_gan(tmp_path / "gan")), picture()
    with pytest.raises(UsageError, match=r"a GAN draws whole.*of the family 'dalle' or 'unclip'"):
        edited(gan, image=image, mask=masked(image))
    with pytest.raises(UsageError, match="give a mask or a strength too"):
        edited(tiny_pipeline(), image=image)


def test_a_model_without_candidates_says_so() -> None:
    image = picture()
    with pytest.raises(UsageError, match="candidates is 3, but this model draws from noise"):
        edited(tiny_unclip()[0], image=image, mask=masked(image), edit=Edit(candidates=3))


def test_a_codec_without_its_encoder_is_told() -> None:
    model, image = tiny_pipeline(), picture()
    bare: dict[str, Any] = {key: [] for key in CODEC if key.startswith("encoder")}
    model.codec = create_codec(CODEC | bare)
    with pytest.raises(UsageError, match="takes no pictures; edit with a model"):
        edited(model, image=image, mask=masked(image))


def hole(height: int, width: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    share = torch.zeros(1, 1, height, width)
    left, top, right, bottom = box
    share[..., top:bottom, left:right] = 1
    return share


@pytest.mark.parametrize(
    ("share", "found"),
    [
        (hole(64, 64, (8, 8, 56, 56)), [(0, 0, 64)]),
        (hole(64, 64, (0, 0, 64, 64)), [(0, 0, 64)]),
        (hole(64, 96, (0, 0, 32, 64)), [(0, 0, 64)]),  # what lies left of a picture
        (hole(64, 200, (90, 10, 110, 30)), [(0, 68, 64)]),  # amid what is around it
        (hole(64, 128, (0, 0, 64, 64)), [(0, 13, 64), (0, 0, 64)]),  # from what is known on
        (hole(128, 64, (0, 64, 64, 128)), [(51, 0, 64), (64, 0, 64)]),
        (hole(64, 64, (0, 0, 0, 0)), []),
    ],
)
def test_windows_cover_a_hole_from_what_is_known(
    share: torch.Tensor, found: list[tuple[int, int, int]]
) -> None:
    assert list(windows(share)) == found


def test_all_of_a_long_picture_is_covered() -> None:
    seen = torch.zeros(20, 150)
    for top, left, side in windows(torch.ones(1, 1, 20, 150)):
        seen[top : top + side, left : left + side] = 1
    assert seen.all()


def test_the_worst_cells_of_a_hole_are_picked() -> None:
    misfit = torch.tensor([[3.0, 1.0], [2.0, 9.0]])
    open_cells = torch.tensor([[True, True], [True, False]])
    assert pick_cells(misfit, open_cells, 0.5).tolist() == [[True, False], [True, False]]
    assert not pick_cells(misfit, open_cells, 0.0).any()
    assert pick_cells(misfit, open_cells, 1.0).tolist() == open_cells.tolist()


def test_a_rectangle_holds_what_was_chosen() -> None:
    chosen = torch.zeros(4, 4, dtype=torch.bool)
    assert not box_around(chosen).any()
    chosen[0, 1] = chosen[2, 2] = True
    assert box_around(chosen).nonzero().tolist() == [[r, c] for r in range(3) for c in (1, 2)]


def test_where_the_text_fits_worst_is_redrawn_first() -> None:
    """Of a picture whose one corner another text explains, that corner is chosen."""
    model = dalle_of("gpt")
    text = model.read([PROMPT])
    (likely,) = model.draw_many([PROMPT], [1], TokenSampling(temperature=0.01, guidance=0.0))
    seen = likely[None].clone()
    seen[..., :8, 8:] = torch.randn(3, 8, 8).clamp(-1, 1)
    share = torch.ones(1, 1, SIZE, SIZE)
    task = Redraw(seen, share, PROMPT, "", 0.25, 2, 1, model.defaults)
    with torch.inference_mode():
        assert choose_part(model, task, text).sum() == 1
        assert (
            choose_part(model, Redraw(seen, share, PROMPT, "", None, 2, 1, None), text).sum() == 1
        )


def test_steps_of_an_edit_are_counted() -> None:
    image = picture(64, 32)
    mask = Image.new("L", image.size, 0)
    mask.paste(255, (0, 0, 32, 32))
    (*_, last) = tiny_pipeline().stream(Request(PROMPT, n=2, image=image, mask=mask))
    assert last.total == 2 * 2 * STEPS
