"""Networks of ncnn: what the files say is what the network computes; others are refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from limner.errors import CheckpointError
from limner.finish.ncnn import read_ncnn

WIDTH, LAYERS, FACTOR = 4, 2, 2
CONV = "Convolution c 1 1 a b 0={} 1=3 4=1 5=1 6={}"


def lines() -> list[str]:
    """Return a network's layers as ncnn writes them."""
    widths = [3, *[WIDTH] * (LAYERS + 1), 3 * FACTOR**2]
    body = []
    for before, after in pairwise(widths[:-1]):
        body += [CONV.format(after, 9 * before * after), f"PReLU p 1 1 a b 0={after}"]
    last = CONV.format(widths[-1], 9 * widths[-2] * widths[-1])
    tail = [f"PixelShuffle s 1 1 a b 0={FACTOR}", "Interp i 1 1 a b 0=1 1=2.0 2=2.0"]
    whole = ["Input i 0 1 data", "Split s 1 2 a b c", *body, last, *tail, "BinaryOp b 2 1 a b o"]
    return ["7767517", f"{len(whole)} 9", *whole]


def numbers() -> tuple[list[np.ndarray], bytes]:
    """Return the network's tensors, and the bytes of its file."""
    rng = np.random.default_rng(0)
    widths = [3, *[WIDTH] * (LAYERS + 1), 3 * FACTOR**2]
    found, data = [], b""
    for number, (before, after) in enumerate(pairwise(widths)):
        weight = rng.normal(0, 0.2, (after, before, 3, 3)).astype(np.float16)
        plain = [rng.normal(0, 0.2, after).astype(np.float32)]
        if number < len(widths) - 2:
            plain.append(rng.uniform(0, 0.5, after).astype(np.float32))
        raw = weight.tobytes()
        data += (0x01306B47).to_bytes(4, "little") + raw + b"\0" * (-len(raw) % 4)
        data += b"".join(each.tobytes() for each in plain)
        found += [weight.astype(np.float32), *plain]
    return found, data


def write(folder: Path, text: str = "", data: bytes | None = None) -> Path:
    (folder / "net.param").write_text(text or "\n".join(lines()) + "\n")
    (folder / "net.bin").write_bytes(numbers()[1] if data is None else data)
    return folder / "net.param"


def test_the_files_are_computed_as_they_say(tmp_path: Path) -> None:
    network = read_ncnn(write(tmp_path))
    image = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    x, tensors = image, [torch.from_numpy(each) for each in numbers()[0]]
    while tensors:
        weight, bias, *tensors = tensors
        x = F.conv2d(x, weight, bias, padding=1)
        if tensors:
            slope, *tensors = tensors
            x = F.prelu(x, slope)
    wanted = F.pixel_shuffle(x, FACTOR) + F.interpolate(image, scale_factor=2.0, mode="nearest")
    torch.testing.assert_close(network(image * 2 - 1), wanted * 2 - 1, atol=1e-5, rtol=1e-5)
    assert (network.factor, network.reach) == (2, 4)
    again = read_ncnn(tmp_path / "net.bin").state_dict()
    assert all(torch.equal(again[name], each) for name, each in network.state_dict().items())


@pytest.mark.parametrize(
    ("text", "cut", "told"),
    [
        ("no network", 0, "is no network of ncnn"),
        ("\n".join(lines()[:-1]), 0, "is another network"),
        ("\n".join(lines()).replace("1=3", "1=5"), 0, "is another network"),
        ("\n".join(lines()).replace("PReLU", "ReLU"), 0, "is another network"),
        ("\n".join(lines()).replace("0=4 ", "0=4000000 "), 0, "is another network"),
        ("", 4, "fewer weights"),
        ("", -4, "more weights"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, cut: int, told: str) -> None:
    data = numbers()[1]
    data = data[:-cut] if cut > 0 else data + b"\0" * -cut
    with pytest.raises(CheckpointError, match=told):
        read_ncnn(write(tmp_path, text, data))


def test_a_missing_half_and_another_kind_of_weights_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, data=b"\0\0\0\0" + numbers()[1][4:])
    with pytest.raises(CheckpointError, match="weights of another kind than fp16"):
        read_ncnn(path)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(CheckpointError, match="two files side by side"):
        read_ncnn(path)
