"""Larger pictures: a network of limner's own, or a public one, part by part.

Shapes: h and w pixels of the small picture. It makes up no detail that the small picture does not
suggest, and does not know what a picture shows.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import CheckpointError, ConfigError, UsageError, quote
from limner.files.safetensors import read_header, read_tensors, strict_json
from limner.finish.ncnn import is_ncnn, read_ncnn
from limner.images import as_image, to_images, to_tensor
from limner.nn.upscaler import CompactUpscaler, Upscaler, UpscalerConfig
from limner.options import check_upscale

if TYPE_CHECKING:
    from PIL.Image import Image

    from limner.types import PictureLike

TILE = 256  # small pixels a side that are enlarged at a time
PIXELS_LIMIT = 16_777_216  # of the large picture
WEIGHTS_LIMIT = 10_000_000  # numbers of a network
UPSCALER_FILE = "upscaler.safetensors"
OWN = Path(__file__).resolve().parent.parent / "zoo" / UPSCALER_FILE


def upscale(image: PictureLike, *, by: int = 2, weights: str | Path | None = None) -> Image:
    """Return a picture `by` times as wide and high, 2 or 4, as an RGB image of PIL.

    The image is a path, an image of PIL, or a limner.Picture. `weights` are those of a run of
    `limner train configs/upscale.toml` in place of limner's own, or a .param file of ncnn
    (realesr-animevideov3-x4). Raises LimnerError.
    """
    check_upscale(by)
    return upscale_image(as_image(image), by, weights)


@torch.inference_mode()
def upscale_image(image: Image, by: int, weights: str | Path | None = None) -> Image:
    """Return an RGB picture `by` times as wide and high, 2 or 4.

    `weights` are another network's, as `load_upscaler` takes them. A network that enlarges four
    times is halved again by the mean of each four pixels. UsageError for another `by`, and where
    more than 16,777,216 pixels would come out.
    """
    width, height = image.size
    if width * height * check_upscale(by) ** 2 > PIXELS_LIMIT:
        raise UsageError(
            f"the picture is {width} x {height} pixels, and {by} times as wide and high it would "
            f"have more than {PIXELS_LIMIT}; give a smaller picture",
            param="upscale",
        )
    network = opened_upscaler(weights)
    if network.factor < by:
        raise UsageError(
            f"upscale is {by}, but these weights enlarge {network.factor} times; give "
            f"{network.factor}",
            param="upscale",
        )
    return to_images(enlarge(network, to_tensor([image]), by))[0]


def enlarge(network: Upscaler | CompactUpscaler, images: Tensor, by: int) -> Tensor:
    """Return images (B, 3, h * by, w * by) in [-1, 1] of images (B, 3, h, w), part by part.

    Each part sees as far beyond its edge as the network looks, so that no seam is left.
    """
    height, width = images.shape[2:]
    factor, reach = network.factor, network.reach + 2  # the plain enlarging looks two pixels far
    large = images.new_empty(len(images), 3, height * by, width * by)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            first, before = max(0, top - reach), max(0, left - reach)
            part = images[..., first : bottom + reach, before : right + reach]
            drawn = network(part).float().clamp(-1, 1)
            rows = slice((top - first) * factor, (bottom - first) * factor)
            columns = slice((left - before) * factor, (right - before) * factor)
            drawn = drawn[..., rows, columns]
            if factor != by:
                drawn = F.avg_pool2d(drawn, factor // by)
            large[..., top * by : bottom * by, left * by : right * by] = drawn
    return large


@cache
def _own() -> Upscaler | CompactUpscaler:
    return load_upscaler(OWN)


def opened_upscaler(weights: str | Path | None = None) -> Upscaler | CompactUpscaler:
    """Return limner's own network, which is read once, or that of some `weights`."""
    return _own() if weights is None else load_upscaler(weights)


def load_upscaler(path: str | Path) -> Upscaler | CompactUpscaler:
    """Return the network of a file or a run of `limner train`, or of ncnn's two files.

    Of ncnn the compact network of Real-ESRGAN is read (realesr-animevideov3-x4). Raises
    CheckpointError when there is none, or it is damaged.
    """
    file = Path(path)
    if is_ncnn(file):
        return read_ncnn(file)
    file = file / UPSCALER_FILE if file.is_dir() else file
    shown = quote(str(file), 120)
    try:
        with file.open("rb") as opened:
            if sum(each.count for each in read_header(opened, shown).values()) > WEIGHTS_LIMIT:
                raise CheckpointError(f"{shown} holds too many weights; give a smaller network")
            tensors, metadata = read_tensors(opened, shown)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {shown} ({error.strerror}); give a run of limner train "
            "configs/upscale.toml, or a .param file of ncnn"
        ) from error
    try:
        values = strict_json(metadata.get("upscaler", "").encode(), f"what {shown} says of itself")
        network = Upscaler(UpscalerConfig(**values))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (ConfigError, CheckpointError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{shown} is no network that enlarges; give a run of limner train configs/upscale.toml"
        ) from error
    return network.requires_grad_(False).eval()


def save_upscaler(network: Upscaler, path: Path, *, half: bool = True) -> None:
    """Write a network's weights, with `half` in fp16, and its sizes beside them, or nothing."""
    from safetensors.torch import save_file

    kind = torch.half if half else torch.float32
    tensors = {
        name: value.detach().to(kind).contiguous().clone()
        for name, value in network.state_dict().items()
    }
    staged = path.with_suffix(".new")
    save_file(tensors, staged, metadata={"upscaler": json.dumps(asdict(network.config))})
    staged.replace(path)
