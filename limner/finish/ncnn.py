"""Real-ESRGAN's compact network from the files of ncnn: a text of layers, and their weights.

Of `name.param` every line is a layer; `name.bin` has the weights of each in turn: of a convolution
fp16 numbers after a mark, padded to four bytes, then fp32 biases, of a PReLU fp32 slopes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limner.errors import CheckpointError, quote
from limner.nn.upscaler import CompactUpscaler

MAGIC = "7767517"
HALF = 0x01306B47  # the mark of fp16 weights
FILE_LIMIT = 64 * 2**20  # bytes
LAYERS_LIMIT = 64
WIDTH_LIMIT = 256
TAIL = ("PixelShuffle", "Interp", "BinaryOp")


def read_ncnn(path: Path) -> CompactUpscaler:
    """Return the network of a .param or .bin file, whose other half lies beside it.

    Raises CheckpointError for what is missing, and for any network but that one.
    """
    shown = quote(str(path), 120)
    try:
        text = path.with_suffix(".param").read_bytes()[: 2**20].decode("ascii")
        data = _read(path.with_suffix(".bin"), shown)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise CheckpointError(
            f"{shown} cannot be read ({reason}); ncnn's networks are two files side by side, "
            "NAME.param and NAME.bin"
        ) from error
    layers = _layers(text, shown)
    widths, factor = _sizes(layers, shown)
    network = CompactUpscaler(widths[0], len(widths) - 2, factor)
    tensors, cursor = network.state_dict(), _Cursor(data, shown)
    for number in range(len(network.convs)):
        weights = {
            f"convs.{number}.weight": cursor.half,
            f"convs.{number}.bias": cursor.plain,
            f"acts.{number}.weight": cursor.plain,
        }
        for name, read in weights.items():
            if name in tensors:
                tensors[name] = read(tensors[name].shape)
    network.load_state_dict(tensors)
    cursor.end()
    return network.requires_grad_(False).eval()


def _read(path: Path, shown: str) -> bytes:
    with path.open("rb") as file:
        data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise CheckpointError(f"{shown} is larger than {FILE_LIMIT // 2**20} MiB; give another")
    return data


def _layers(text: str, shown: str) -> list[tuple[str, dict[str, str]]]:
    """Return the kind and the settings of each layer."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != [MAGIC]:
        raise CheckpointError(f"{shown} is no network of ncnn; give a .param file and its .bin")
    found = []
    for words in lines[2:]:
        settings = dict(word.split("=", 1) for word in words if "=" in word)
        found.append((words[0], settings))
    return found


def _sizes(layers: list[tuple[str, dict[str, str]]], shown: str) -> tuple[list[int], int]:
    """Return the outputs of each convolution, and the factor; CheckpointError for another net."""
    kinds = [kind for kind, _ in layers]
    convolutions = [settings for kind, settings in layers if kind == "Convolution"]
    count = len(convolutions)
    body = [kind for _ in range(count - 1) for kind in ("Convolution", "PReLU")]
    wanted = ["Input", "Split", *body, "Convolution", *TAIL]
    fits = 3 <= count <= LAYERS_LIMIT and kinds == wanted
    try:
        widths = [int(each["0"]) for each in convolutions]
        factor = int(layers[-3][1]["0"])
        fits = fits and all(
            (each["1"], each["4"], int(each["6"])) == ("3", "1", 9 * before * after)
            for each, before, after in zip(convolutions, [3, *widths], widths, strict=False)
        )
    except (KeyError, ValueError, IndexError):
        fits, widths, factor = False, [], 0
    same = len(set(widths[:-1])) == 1 and 0 < widths[0] <= WIDTH_LIMIT
    if not (fits and same and factor in (2, 4) and widths[-1] == 3 * factor**2):
        raise CheckpointError(
            f"{shown} is another network than the compact one of Real-ESRGAN, which limner reads; "
            "give realesr-animevideov3-x4.param, or weights that limner trained"
        )
    return widths, factor


class _Cursor:
    """Reads the numbers of a .bin file one tensor after the other."""

    def __init__(self, data: bytes, shown: str) -> None:
        self.data, self.shown, self.at = data, shown, 0

    def half(self, shape: torch.Size) -> Tensor:
        """Return a tensor of fp16 numbers behind their mark."""
        if int.from_bytes(self._take(4), "little") != HALF:
            raise CheckpointError(
                f"{self.shown} has weights of another kind than fp16, which limner reads; give "
                "another file"
            )
        count = shape.numel()
        numbers = np.frombuffer(self._take(2 * count), np.float16).astype(np.float32)
        self._take(-2 * count % 4)
        return torch.from_numpy(numbers).view(shape)

    def plain(self, shape: torch.Size) -> Tensor:
        """Return a tensor of fp32 numbers."""
        numbers = np.frombuffer(self._take(4 * shape.numel()), np.float32).copy()
        return torch.from_numpy(numbers).view(shape)

    def end(self) -> None:
        """Raise CheckpointError unless all was read."""
        if self.at != len(self.data):
            raise CheckpointError(f"{self.shown} holds more weights than its layers; get it anew")

    def _take(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) != count:
            raise CheckpointError(f"{self.shown} holds fewer weights than its layers; get it anew")
        self.at += count
        return taken


def is_ncnn(path: Path) -> bool:
    """Say whether a file's name is that of one half of ncnn's networks."""
    return path.suffix in (".param", ".bin")
