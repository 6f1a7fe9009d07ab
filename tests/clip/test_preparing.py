"""Pictures of any shape become the pixels of `transformers`' image processors, to one level."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import transformers
from PIL import Image

from limner.clip.importing import import_image_encoder
from limner.clip.preparing import FILTERS, Preparation
from limner.clip.towers import create_image_encoder
from limner.errors import CheckpointError, ConfigError
from tests.tiny_clip import tiny_clip
from tests.tiny_vision import ENCODERS, save_tiny_vision, vision_in

SHAPES = [(61, 40), (40, 61), (33, 33), (16, 16), (7, 90), (300, 217), (10, 13)]  # width, height
# Whose processor, the checkpoint's architecture, and the settings that make its squares tiny.
PROCESSORS: list[tuple[str, str, dict[str, Any]]] = [
    ("CLIP", "pretrained_clip", {"size": {"shortest_edge": 16}, "crop_size": 16}),
    ("CLIP", "pretrained_clip", {"size": 20, "crop_size": {"height": 16, "width": 16}}),
    ("CLIP", "pretrained_clip", {"size": {"height": 20, "width": 20}, "crop_size": 16}),
    ("ViT", "pretrained_vit", {"size": 16}),
    ("ViT", "pretrained_vit", {"size": {"height": 16, "width": 16}}),
    ("Siglip", "pretrained_vit", {"size": {"height": 16, "width": 16}}),
    ("ConvNext", "pretrained_resnet", {"size": {"shortest_edge": 16}}),
    ("ConvNext", "pretrained_resnet", {"size": {"shortest_edge": 384}}),
]


def processor_of(kind: str, **settings: Any) -> Any:
    """Return an image processor of `transformers` that needs no torchvision."""
    return getattr(transformers, f"{kind}ImageProcessorPil")(**settings)


def picture(size: tuple[int, int]) -> Image.Image:
    """Return a picture with edges as sharp as they can be."""
    pixels = np.random.default_rng(sum(size)).integers(0, 2, (size[1], size[0], 3)) * 255
    return Image.fromarray(pixels.astype(np.uint8))


def pixels_of(processor: Any, image: Image.Image) -> npt.NDArray[np.float64]:
    """Return the pixels (H, W, 3), 0 to 255, that a processor hands on."""
    found = processor(image, return_tensors="np", do_normalize=False)["pixel_values"][0]
    return np.asarray(found.transpose(1, 2, 0) * 255, np.float64)


@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize(("kind", "name", "settings"), PROCESSORS)
def test_pixels_are_those_of_transformers(
    kind: str, name: str, settings: dict[str, Any], resample: int, tmp_path: Path
) -> None:
    save_tiny_vision(tmp_path, name)
    processor = processor_of(kind, resample=resample, **settings)
    processor.save_pretrained(tmp_path)
    prepare = vision_in(tmp_path).prepare
    for shape in SHAPES:
        if shape == (prepare.size, prepare.size):
            continue  # stays as it is, where some processors cut a margin off
        image = picture(shape)
        wanted, found = pixels_of(processor, image), np.asarray(prepare(image), np.float64)
        assert found.shape == wanted.shape, shape
        assert np.abs(found - wanted).max() <= 1, shape


@pytest.mark.parametrize("kind", ["CLIP", "ViT", "Siglip", "ConvNext"])
def test_what_a_processor_does_not_say_is_as_its_kind_does(kind: str, tmp_path: Path) -> None:
    name = {"CLIP": "pretrained_clip", "ConvNext": "pretrained_resnet"}.get(kind, "pretrained_vit")
    save_tiny_vision(tmp_path, name)
    said = f'{{"image_processor_type": "{kind}ImageProcessor", "size": 16, "crop_size": 16}}'
    (tmp_path / "preprocessor_config.json").write_text(said)
    prepare = vision_in(tmp_path).prepare
    resample = "bilinear" if kind == "ViT" else "bicubic"
    edge = {"ConvNext": 18}.get(kind, 16)
    assert prepare == Preparation(16, edge, kind == "ViT", resample)


def test_a_clip_of_our_own_sees_what_openai_s_processor_would_show_it() -> None:
    clip = tiny_clip()
    size = clip.size
    processor = processor_of("CLIP", size={"shortest_edge": size}, crop_size=size)
    for shape in SHAPES:
        image = picture(shape)
        found = np.asarray(clip.clip.prepare(image), np.float64)
        assert np.abs(found - pixels_of(processor, image)).max() <= 1, shape


def test_a_long_strip_needs_no_memory() -> None:
    strip = Image.new("RGB", (8192, 1), "red")
    assert Preparation(224, 224)(strip).getpixel((5, 5)) == (255, 0, 0)  # else 411 million pixels
    ramp = Image.linear_gradient("L").resize((9, 8192)).convert("RGB")
    whole = ramp.resize((200, 200 * 8192 // 9), Image.Resampling.BICUBIC)
    top = (whole.height - 200) // 2
    wanted = np.asarray(whole.crop((0, top, 200, top + 200)), int)
    assert np.abs(np.asarray(Preparation(200, 200)(ramp), int) - wanted).max() <= 1


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    image = picture((16, 16))
    for edge in (16, 20):
        assert np.array_equal(np.asarray(Preparation(16, edge)(image)), np.asarray(image))


def test_another_size_in_training_keeps_the_margin(tmp_path: Path) -> None:
    from limner.train.clip.settings import VisionConfig
    from limner.train.clip.step import image_side_of
    from limner.train.config.run import TrainConfig

    save_tiny_vision(tmp_path, "pretrained_clip")
    processor_of("CLIP", size=20, crop_size=16).save_pretrained(tmp_path)
    config = TrainConfig(
        "clip", "x", tables={"vision": VisionConfig(encoder=str(tmp_path), size=32)}
    )
    encoder = image_side_of(config).encoder
    assert (encoder["size"], encoder["edge"]) == (32, 40)


@pytest.mark.parametrize(
    "changes",
    ['"resample": 9', '"resample": "sharp"', '"crop_size": 64', '"size": {"shortest_edge": 16, '
     '"longest_edge": 99}', '"size": {"height": 16}'],
)  # fmt: skip
def test_a_processor_that_shows_no_square_is_refused(changes: str, tmp_path: Path) -> None:
    save_tiny_vision(tmp_path, "pretrained_clip")
    (tmp_path / "preprocessor_config.json").write_text(f'{{"size": 16, {changes}}}')
    if 'size": {' in changes:
        (tmp_path / "preprocessor_config.json").write_text(f"{{{changes}}}")
    with pytest.raises(CheckpointError, match="expected a square of at most"):
        import_image_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edge": 8}, "edge is 8; expected at least size, 16, or 0"),
        ({"resample": "bicubik"}, "did you mean 'bicubic'"),
    ],
)
def test_mistakes_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        create_image_encoder(ENCODERS["pretrained_vit"] | changes)


def test_filters_are_numbered_as_in_pillow() -> None:
    for number, name in enumerate(FILTERS):
        assert Image.Resampling(number).name.lower() == name
