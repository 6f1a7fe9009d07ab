"""Feature networks: which one a name opens, what it says of itself, and Inception's own form."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from limner.codecs.features import FeatureNetwork
from limner.errors import CheckpointError, UsageError
from limner.evaluate.metrics import inception as inception_file
from limner.evaluate.metrics.inception import AT_ONCE, Inception
from limner.evaluate.metrics.networks import NAMES, clip_network, open_network
from limner.images import to_tensor
from limner.registry import load
from tests.tiny_clip import save_tiny_clip, tiny_clip


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (20 + 9 * place, 31), colour) for place, colour in
            enumerate(("red", "green", "blue"))]  # fmt: skip


@pytest.fixture(scope="module")
def inception() -> Inception:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Inception().eval()


@pytest.fixture(scope="module")
def weights(inception: Inception, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    save_file(inception.state_dict(), path)
    return path


def test_a_clip_is_named_by_its_weights(tmp_path: Path) -> None:
    clip = load(save_tiny_clip(tmp_path / "clip"))
    network = open_network("limner-clip", clip=clip)
    assert network.title("FID") == f"FID(limner-clip {clip.info.sha256[:8]})"
    assert network.to_json() == {"name": "limner-clip", "sha256": clip.info.sha256}
    features = network.features(pictures())
    assert torch.allclose(features.norm(dim=1), torch.ones(3), atol=1e-5)
    assert network.classify is None
    other = open_network(str(tmp_path / "clip"))
    assert other.label == f"tiny-clip {clip.info.sha256[:8]}"
    assert torch.equal(other.features(pictures()), features)


def test_a_clip_that_was_never_saved_has_a_hash_of_its_own() -> None:
    first = clip_network(tiny_clip()).sha256
    assert first == clip_network(tiny_clip()).sha256 != clip_network(tiny_clip(width=32)).sha256


def test_own_features_know_classes(tmp_path: Path) -> None:
    save_file(FeatureNetwork(5, 3, channels=8).state_dict(), tmp_path / "features.safetensors")
    network = open_network(str(tmp_path))
    assert network.label.startswith("limner-features ") and len(network.label) == 24
    features = network.features(pictures())
    assert features.shape == (3, 32 * 16) and network.classify is not None
    assert torch.allclose(network.classify(features).sum(1), torch.ones(3))
    assert torch.equal(open_network(str(tmp_path / "features.safetensors")).features(pictures()),
                       features)  # fmt: skip


def test_inception_has_the_parts_of_the_published_file(inception: Inception) -> None:
    shapes = {name: tuple(each.shape) for name, each in inception.state_dict().items()}
    # Names, shapes and the number of them as torch-fidelity 0.4.0 reads them; run against it with
    # random weights, features and logits were equal to the last bit.
    assert sum(not name.endswith("num_batches_tracked") for name in shapes) == 94 * 5 + 2
    assert shapes["Conv2d_4a_3x3.conv.weight"] == (192, 80, 3, 3)
    assert shapes["Mixed_6e.branch7x7dbl_5.conv.weight"] == (192, 192, 1, 7)
    assert shapes["Mixed_7a.branch7x7x3_4.bn.running_var"] == (192,)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["fc.weight"] == (1008, 2048)


def test_inception_reads_a_users_weights(inception: Inception, weights: Path) -> None:
    network = open_network("inception", weights=weights)
    features = network.features(pictures()[:1])
    assert network.label.startswith("inception ") and features.shape == (1, 2048)
    with torch.inference_mode():
        plain = inception(to_tensor([pictures()[0]]))  # its norms are not fused
    assert torch.allclose(features, plain, rtol=1e-4, atol=float(plain.abs().max()) * 1e-5)
    assert network.classify is not None
    assert float(network.classify(features).sum()) == pytest.approx(1, abs=1e-4)
    pickled = weights.with_suffix(".pth")
    torch.save(inception.state_dict() | {"AuxLogits.fc.weight": torch.zeros(1)}, pickled)
    assert torch.equal(open_network("inception", weights=pickled).features(pictures()[:1]),
                       features)  # fmt: skip


def test_packed_convolutions_give_the_same_in_parts_of_any_size(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = Inception.load(weights), torch.rand(AT_ONCE + 2, 3, 40, 40) * 2 - 1
    with torch.inference_mode():
        packed = network(images)
        monkeypatch.setattr(inception_file, "packs", lambda: False)
        plain = Inception.load(weights)(images)
    assert packed.shape == (AT_ONCE + 2, 2048) and plain.abs().max() > 0
    assert torch.allclose(packed, plain, rtol=1e-4, atol=float(plain.abs().max()) * 1e-5)


class Trap:
    """What torch would run on reading if it unpickled more than tensors."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle ran')",))


def test_weights_of_something_else_are_refused(inception: Inception, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    for content in (
        {"fc.weight": torch.zeros(1)},
        {**inception.state_dict(), "fc.weight": torch.zeros(1000, 2048)},
        Trap(),
        [1, 2],
    ):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="no Inception weights of FID"):
            open_network("inception", weights=path)
    for data in (b"", b"not a file of weights"):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="no Inception weights of FID"):
            open_network("inception", weights=path)
    with pytest.raises(CheckpointError, match="No such file"):
        open_network("inception", weights=tmp_path / "none.pth")


def test_what_names_no_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="limner does not download"):
        open_network("inception")
    with pytest.raises(UsageError, match="give one with --clip"):
        open_network("limner-clip")
    with pytest.raises(UsageError, match="did you mean 'inception'"):
        open_network("inceptoin")
    with pytest.raises(UsageError, match="leave it out"):
        open_network("limner-clip", weights=tmp_path)
    assert set(NAMES) == {"limner-clip", "inception"}
