"""Noise schedules and predictions: their defining equations, and diffusers' numbers."""

import math

import pytest
import torch

from limner.errors import ConfigError, UsageError
from limner.sampling.schedule import NOISE_SCHEDULES, PREDICTIONS, Process, time_features

every_schedule = pytest.mark.parametrize("schedule", NOISE_SCHEDULES)


@every_schedule
def test_signal_falls_from_almost_all_to_almost_none(schedule: str) -> None:
    kept = Process(schedule).kept
    assert kept.dtype == torch.float64 and kept.shape == (1000,)
    assert (kept.diff() < 0).all() and kept[0] > 0.999 and 0 < kept[-1] < 1e-4


def test_linear_is_the_papers_for_a_thousand_times() -> None:
    added = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(Process("linear").kept, (1 - added).cumprod(0))


def test_cosine_is_a_squared_cosine_but_for_its_end() -> None:
    share = (torch.arange(990, dtype=torch.float64) + 1) / 1000
    wanted = torch.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2
    first = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(Process("cosine").kept[:990], wanted / first)


@every_schedule
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_right_prediction_gives_the_start_back(schedule: str, prediction: str) -> None:
    process = Process(schedule, prediction)
    generator = torch.Generator().manual_seed(0)
    start, noise = torch.randn(2, 4, 3, 2, 2, generator=generator, dtype=torch.float64)
    times = torch.tensor([0, 17, 500, 999])
    x = process.noised(start, noise, times)
    output = process.target(start, noise, times)
    torch.testing.assert_close(process.start(x, output, times), start, atol=1e-8, rtol=1e-8)
    a, s = process.at(times, start)
    torch.testing.assert_close(a**2 + s**2, torch.ones_like(a))
    assert not torch.allclose(process.start(x, output + 0.1, times), start, atol=1e-3)


def test_levels_go_from_the_noisiest_time_to_clean() -> None:
    process = Process()
    for steps in (1, 3, 7, 50, 1000):
        levels = process.levels(steps)
        assert len(levels.times) == len(set(levels.times)) == steps
        assert levels.times[0] == 999 and list(levels.times) == sorted(levels.times)[::-1]
        assert (levels.signal[-1], levels.noise[-1]) == (1.0, 0.0)
        assert levels.signal[0] == pytest.approx(math.sqrt(process.kept[999]))
    assert Process(times=10).levels(10).times == tuple(range(9, -1, -1))


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "ten"])
def test_steps_out_of_range_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match="expected a whole number of 1 to 1000"):
        Process().levels(steps)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"prediction": "epsilon"}, "expected noise or start or v"),
        ({"times": 1}, "times is 1; expected 2 to"),
    ],
)
def test_unknown_values_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Process(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_schedules_are_those_of_diffusers(schedule: str, theirs: str) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    kept = diffusers.DDPMScheduler(beta_schedule=theirs).alphas_cumprod
    torch.testing.assert_close(Process(schedule).kept.float(), kept, atol=1e-6, rtol=1e-4)


def test_every_time_has_features_of_its_own() -> None:
    features = time_features(torch.arange(1000), 16)
    assert features.shape == (1000, 16) and features.abs().max() <= 1
    apart = torch.cdist(features, features) + 9 * torch.eye(1000)
    assert apart.min() > 0.01
    torch.testing.assert_close(features[5, 0], torch.tensor(5.0).sin())
    torch.testing.assert_close(features[:, :8] ** 2 + features[:, 8:] ** 2, torch.ones(1000, 8))
