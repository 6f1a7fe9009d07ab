"""Enlarging: the part-by-part way is the whole one, sizes are right, weights are read strictly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import limner
from limner.errors import CheckpointError, UsageError
from limner.finish import upscale
from limner.finish.upscale import enlarge, load_upscaler, save_upscaler, upscale_image
from limner.nn.upscaler import CompactUpscaler, Upscaler, UpscalerConfig

RUST = (200, 120, 40)


def tiny(factor: int = 4) -> Upscaler:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Upscaler(UpscalerConfig(factor, width=8, blocks=2))
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False).eval()


@pytest.mark.parametrize("by", [2, 4])
@pytest.mark.parametrize("network", [tiny(), CompactUpscaler(8, 2)])
def test_parts_fit_without_a_seam(
    network: Upscaler, by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(1, 3, 21, 50, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        whole = enlarge(network, images, by)
        monkeypatch.setattr(upscale, "TILE", 12)
        parts = enlarge(network, images, by)
    assert whole.shape == (1, 3, 21 * by, 50 * by)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_limners_own_enlarges_a_picture_of_any_shape() -> None:
    image = Image.new("RGB", (9, 5), RUST)
    for by in (2, 4):
        large = upscale_image(image, by)
        assert large.size == (9 * by, 5 * by)
        shade: Any = large.getpixel((12, 8))
        assert all(abs(ours - given) < 12 for ours, given in zip(shade, RUST, strict=True))
    assert limner.upscale(image).size == (18, 10)


def test_weights_are_written_and_read(tmp_path: Path) -> None:
    network = tiny(2)
    save_upscaler(network, tmp_path / "upscaler.safetensors", half=False)
    image = Image.effect_noise((12, 12), 60).convert("RGB")
    for place in (tmp_path, tmp_path / "upscaler.safetensors"):
        again = load_upscaler(place)
        assert again.config == network.config
        assert upscale_image(image, 2, place).size == (24, 24)
    with pytest.raises(UsageError, match="these weights enlarge 2 times"):
        upscale_image(image, 4, tmp_path)


STATED = [None, "no json", '{"width": 0}', '{"width": 100000}', "[]"]


@pytest.mark.parametrize("stated", STATED)
def test_other_files_are_refused(tmp_path: Path, stated: str | None) -> None:
    metadata = None if stated is None else {"upscaler": stated}
    save_file({"x": torch.zeros(3)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(CheckpointError, match="is no network that enlarges"):
        load_upscaler(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_upscaler(tmp_path / "absent")
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04junk")
    with pytest.raises(CheckpointError, match="this is a pickle"):
        load_upscaler(tmp_path / "pickle.pt")


def test_mistakes_are_told() -> None:
    with pytest.raises(UsageError, match="upscale is 3"):
        limner.upscale(Image.new("RGB", (4, 4)), by=3)
    with pytest.raises(UsageError, match="would have more than 16777216"):
        limner.upscale(Image.new("RGB", (4096, 2048)), by=2)
