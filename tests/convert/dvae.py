"""OpenAI's discrete VAE restated: random weights in its layout, and what they make of pictures.

The equations are those of arXiv 2102.12092, appendix A.1, and of PyPI `dall-e` 0.1; nothing of
limner's is used.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, START, VOCABULARY, BLOCKS = 8, 6, 16, 2
State = dict[str, Tensor]


def _convolution(state: State, name: str, inputs: int, outputs: int, kernel: int) -> None:
    deviation = (inputs * kernel**2) ** -0.5
    state[f"{name}.w"] = torch.randn(outputs, inputs, kernel, kernel) * deviation
    state[f"{name}.b"] = torch.randn(outputs) * 0.1


def _groups(state: State, inputs: int, widths: list[int], kernels: list[int]) -> None:
    for group, width in enumerate(widths, start=1):
        for block in range(1, BLOCKS + 1):
            name = f"blocks.group_{group}.block_{block}"
            if inputs != width:
                _convolution(state, f"{name}.id_path", inputs, width, 1)
            inner = [inputs, width // 4, width // 4, width // 4, width]
            for at, kernel in enumerate(kernels):
                convolution = f"{name}.res_path.conv_{at + 1}"
                _convolution(state, convolution, inner[at], inner[at + 1], kernel)
            inputs = width


def random_states(seed: int = 0) -> tuple[State, State]:
    """Return state dicts of an encoder and a decoder, as `state_dict()` of PyPI dall-e has them."""
    torch.manual_seed(seed)
    encoder: State = {}
    _convolution(encoder, "blocks.input", 3, WIDTH, 7)
    _groups(encoder, WIDTH, [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH], [3, 3, 3, 1])
    _convolution(encoder, "blocks.output.conv", 8 * WIDTH, VOCABULARY, 1)
    decoder: State = {}
    _convolution(decoder, "blocks.input", VOCABULARY, START, 1)
    _groups(decoder, START, [8 * WIDTH, 4 * WIDTH, 2 * WIDTH, WIDTH], [1, 3, 3, 3])
    _convolution(decoder, "blocks.output.conv", WIDTH, 6, 1)
    return encoder, decoder


def _convolved(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.w"]
    return F.conv2d(x, weight, state[f"{name}.b"], padding=(weight.shape[-1] - 1) // 2)


def _through(state: State, x: Tensor, group: int) -> Tensor:
    for block in range(1, BLOCKS + 1):
        name = f"blocks.group_{group}.block_{block}"
        inner = x
        for at in range(1, 5):
            inner = _convolved(state, f"{name}.res_path.conv_{at}", inner.clamp_min(0))
        same = f"{name}.id_path.w" not in state
        kept = x if same else _convolved(state, f"{name}.id_path", x)
        x = kept + inner / (4 * BLOCKS) ** 2
    return x


def encode(state: State, pixels: Tensor) -> Tensor:
    """Return logits (B, V, h, w) of pictures (B, 3, H, W) in [0, 1]."""
    x = _convolved(state, "blocks.input", 0.8 * pixels + 0.1)
    for group in range(1, 5):
        x = _through(state, x, group)
        if group < 4:
            x = nn.MaxPool2d(2)(x)
    return _convolved(state, "blocks.output.conv", x.clamp_min(0))


def decode(state: State, codes: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W) in [0, 1] of codes (B, h, w)."""
    x = F.one_hot(codes, VOCABULARY).permute(0, 3, 1, 2).float()
    x = _convolved(state, "blocks.input", x)
    for group in range(1, 5):
        x = _through(state, x, group)
        if group < 4:
            x = nn.Upsample(scale_factor=2, mode="nearest")(x)
    means = _convolved(state, "blocks.output.conv", x.clamp_min(0))[:, :3].sigmoid()
    return ((means - 0.1) / 0.8).clamp(0, 1)


def write_dvae(folder: Path, *, pickled: bool = False, **changes: Any) -> Path:
    """Write `encoder.pkl` and `decoder.pkl` with state dicts, and return the folder.

    By default they are safetensors, whatever their names say: a pickle takes a process to open.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder, decoder = random_states()
    save: Callable[..., Any] = torch.save if pickled else save_file
    save(encoder | changes, folder / "encoder.pkl")
    save(decoder, folder / "decoder.pkl")
    return folder
