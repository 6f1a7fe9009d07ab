"""Training state: what comes back is bit for bit what was saved."""

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limner.errors import CheckpointError, ResourceError
from limner.train.optimizer import EMA, create_optimizers
from limner.train.state.state import load_state, save_state


class Run:
    """A module, its average and its optimisers, as a training step holds them."""

    def __init__(self, kind: str, width: int = 6, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.module = nn.Sequential(
            nn.Linear(4, width), nn.GroupNorm(2, width), nn.Linear(width, 4)
        )
        self.modules: dict[str, nn.Module] = {"part": self.module}
        self.averages = {"part": EMA(self.module.parameters(), 0.9)}
        self.optimizers = create_optimizers(self.module, kind, 1e-2, 0.1)
        self.scaler: torch.amp.GradScaler | None = None

    def step(self, number: int) -> None:
        x = torch.randn(8, 4)
        loss = (self.module(x) - x).square().mean()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.averages["part"].update(number)

    def save(self, folder: Path, step: int) -> None:
        save_state(folder, step, self, {"note": "x"})

    def load(self, folder: Path) -> dict[str, object]:
        return load_state(folder, self)

    def everything(self) -> list[Tensor]:
        tensors = [*self.module.state_dict().values(), *self.averages["part"].values]
        for optimizer in self.optimizers:
            for entries in optimizer.state_dict()["state"].values():
                tensors += [torch.as_tensor(value) for _, value in sorted(entries.items())]
        return [tensor.detach().clone() for tensor in tensors]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(params=["adamw", "muon"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_everything_comes_back_and_goes_on_alike(kind: str, tmp_path: Path) -> None:
    run, other = Run(kind), Run(kind, seed=1)
    for number in range(3):
        run.step(number)
    run.save(tmp_path, 3)
    saved = run.everything()
    for number in range(3, 6):
        run.step(number)
    found = other.load(tmp_path)
    assert (found["step"], found["note"]) == (3, "x")
    assert same(other.everything(), saved)
    for number in range(3, 6):
        other.step(number)  # the random source came back too: the same batches are drawn
    assert same(other.everything(), run.everything())
    assert not same(saved, run.everything())


def test_moments_come_back_in_the_layout_of_their_weights(tmp_path: Path) -> None:
    """A fused optimiser walks memory, not indices: another layout would mix up the moments."""
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 4, 3)
    conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
    optimizers = create_optimizers(conv, "adamw", 1e-2, 0.1)
    conv(torch.randn(2, 8, 5, 5)).square().sum().backward()
    optimizers[0].step()
    run = Run("adamw")
    run.modules, run.averages, run.optimizers = {"conv": conv}, {}, optimizers
    run.save(tmp_path, 1)
    run.load(tmp_path)
    for parameter, entries in optimizers[0].state.items():
        assert entries["exp_avg"].stride() == parameter.stride()
        assert entries["exp_avg_sq"].stride() == parameter.stride()


def test_a_later_state_replaces_the_earlier(tmp_path: Path) -> None:
    run = Run("adamw")
    run.save(tmp_path, 1)
    run.step(0)
    run.save(tmp_path, 2)
    assert Run("adamw").load(tmp_path)["step"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.old"]
    run.save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.old"]


@pytest.mark.parametrize(
    ("crash", "step"),
    [
        (lambda folder: (folder / "state.new").mkdir(), 5),
        (lambda folder: (folder / "state").rename(folder / "state.old"), 5),
    ],
    ids=["while writing", "between the renames"],
)
def test_a_crash_leaves_a_state(crash: Callable[[Path], object], step: int, tmp_path: Path) -> None:
    run = Run("adamw")
    run.save(tmp_path, 5)
    crash(tmp_path)
    other = Run("adamw", seed=1)
    assert other.load(tmp_path)["step"] == step
    assert same(other.everything(), run.everything())
    other.save(tmp_path, 6)
    assert Run("adamw").load(tmp_path)["step"] == 6


def test_no_state_and_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no training state in .*; start without --resume"):
        Run("adamw").load(tmp_path)
    Run("adamw").save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="belongs to another model"):
        Run("adamw", width=8).load(tmp_path)


def kept(folder: Path) -> Path:
    return folder / "state"


def cut(folder: Path) -> None:
    path = kept(folder) / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def without_random(folder: Path) -> None:
    path = kept(folder) / "tensors.safetensors"
    tensors = load_file(path)
    del tensors["random"]
    save_file(tensors, path)


@pytest.mark.parametrize(
    "harm",
    [
        cut,
        without_random,
        lambda folder: (kept(folder) / "tensors.safetensors").unlink(),
        lambda folder: (kept(folder) / "tensors.safetensors").write_bytes(b""),
        lambda folder: (kept(folder) / "state.json").unlink(),
        lambda folder: (kept(folder) / "state.json").write_text("{"),
        lambda folder: (kept(folder) / "state.json").write_text("[" * 100_000),
        lambda folder: (kept(folder) / "state.json").write_text("[]"),
        lambda folder: (kept(folder) / "state.json").write_text('{"step": "3"}'),
        lambda folder: (kept(folder) / "state.json").write_text('{"step": -1}'),
        lambda folder: (kept(folder) / "state.json").write_bytes(b"\xff\xfe"),
    ],
)
def test_a_damaged_state_is_refused(harm: Callable[[Path], object], tmp_path: Path) -> None:
    run = Run("adamw")
    run.step(0)
    run.save(tmp_path, 1)
    harm(tmp_path)
    with pytest.raises(CheckpointError, match=r"is damaged \(.+\); remove it and start") as caught:
        Run("adamw").load(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 400


@pytest.mark.parametrize(("kind", "other"), [("adamw", "muon"), ("muon", "adamw")])
@pytest.mark.parametrize("old", [False, True], ids=["", "of the first format"])
def test_another_optimizer_is_refused(kind: str, other: str, old: bool, tmp_path: Path) -> None:
    run = Run(kind)
    run.step(0)
    run.save(tmp_path, 1)
    if old:
        (kept(tmp_path) / "state.json").write_text('{"step": 1}')
        (kept(tmp_path) / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"belongs to another (number of )?optimizer"):
        Run(other).load(tmp_path)


def test_another_set_of_trained_weights_is_refused(tmp_path: Path) -> None:
    run, other = Run("adamw"), Run("adamw")
    run.step(0)
    run.save(tmp_path, 1)
    first = other.module[0].requires_grad_(False)
    trained = [p for p in other.module.parameters() if p.requires_grad]
    assert len(trained) == 4 and not first.weight.requires_grad
    other.averages = {"part": EMA(trained, 0.9)}
    other.optimizers = create_optimizers(other.module, "adamw", 1e-2, 0.1)
    with pytest.raises(CheckpointError, match=r"another set of trained weights \(part\)"):
        other.load(tmp_path)
    other.averages = run.averages
    with pytest.raises(CheckpointError, match="belongs to another optimizer than this run's AdamW"):
        other.load(tmp_path)


def test_a_state_saved_before_the_first_step_comes_back(tmp_path: Path) -> None:
    run = Run("muon")
    run.save(tmp_path, 0)
    other = Run("muon", seed=1)
    assert other.load(tmp_path)["step"] == 0
    assert same(other.everything(), run.everything())


def test_the_state_is_no_pickle(tmp_path: Path) -> None:
    Run("adamw").save(tmp_path, 1)
    names = {path.name for path in (tmp_path / "state").iterdir()}
    assert names == {"tensors.safetensors", "state.json", "manifest.json"}


def empty(folder: Path, but: str = "") -> None:
    for path in folder.iterdir():
        if path.name != but:
            path.unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "harm",
    [
        cut,
        lambda folder: flip(kept(folder) / "tensors.safetensors"),
        lambda folder: flip(kept(folder) / "state.json"),
        lambda folder: flip(kept(folder) / "manifest.json"),
        lambda folder: (kept(folder) / "tensors.safetensors").unlink(),
        lambda folder: (kept(folder) / "manifest.json").unlink(),
        lambda folder: empty(kept(folder), but="manifest.json"),
        lambda folder: empty(kept(folder)),
        lambda folder: (kept(folder) / "tensors.safetensors").write_bytes(b""),
        lambda folder: (kept(folder) / "manifest.json").write_text('{"files": {}}'),
    ],
    ids=[
        "cut", "a bit", "a bit of json", "a bit of the manifest", "a file is missing",
        "no manifest", "manifest only", "empty", "zero length", "manifest of nothing",
    ],
)  # fmt: skip
def test_the_newest_sound_state_is_taken(harm: Callable[[Path], object], tmp_path: Path) -> None:
    run = Run("adamw")
    run.save(tmp_path, 1)
    before = run.everything()
    run.step(0)
    run.save(tmp_path, 2)
    harm(tmp_path)
    other = Run("adamw", seed=1)
    found = other.load(tmp_path)
    assert found["step"] == 1 and same(other.everything(), before)
    told = str(found["set_aside"])
    assert "state.bad-1" in told and "state.old" in told
    assert (tmp_path / "state.bad-1").is_dir() and not (tmp_path / "state").exists()
    other.save(tmp_path, 2)
    again = Run("adamw").load(tmp_path)
    assert (again["step"], again["set_aside"]) == (2, "")


def test_a_disk_that_is_full_leaves_both_states(
    tmp_path: Path,
) -> None:
    """The real limit of the system: no file may be larger than a few bytes."""
    run = Run("adamw")
    run.save(tmp_path, 1)
    run.save(tmp_path, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(ResourceError, match=r"could not be saved .* the one before is kept"):
            run.save(tmp_path, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.old"]
    assert Run("adamw").load(tmp_path)["step"] == 2
    (tmp_path / "state").rename(tmp_path / "gone")
    assert Run("adamw").load(tmp_path)["step"] == 1


def test_what_is_saved_does_not_change_later(tmp_path: Path) -> None:
    run = Run("adamw")
    saved = run.everything()
    run.save(tmp_path, 1)
    with torch.no_grad():
        for parameter in run.module.parameters():
            parameter.add_(1)
    other = Run("adamw", seed=1)
    other.load(tmp_path)
    assert same(other.everything(), saved)


def test_the_scale_of_fp16_comes_back(tmp_path: Path) -> None:
    run = Run("adamw")
    scaler, other = (torch.amp.GradScaler("cpu", init_scale=size) for size in (8.0, 2.0))
    run.scaler = scaler
    run.save(tmp_path, 1)
    run.scaler = other
    run.load(tmp_path)
    assert other.state_dict() == scaler.state_dict()
    run.scaler = None
    run.save(tmp_path, 2)
    run.scaler = other
    with pytest.raises(CheckpointError, match=r"another precision \(it has no scale of fp16\)"):
        run.load(tmp_path)
