"""Samplers: the exact solution for Gaussian data, diffusers' trajectories, and guidance."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from limner.errors import UsageError
from limner.sampling.diffusion import (
    DIFFUSION_SAMPLERS,
    ROUNDS,
    Denoise,
    find_sampler,
    guide_two,
    repaint,
    rescale,
    unit_noise,
)
from limner.sampling.schedule import NOISE_SCHEDULES, Process
from limner.sampling.tokens import guide

MEAN, DEVIATION = 0.7, 0.4
every_sampler = pytest.mark.parametrize("name", DIFFUSION_SAMPLERS)


def of_normal_data(process: Process) -> Denoise:
    """Return the exact x_0 expected of x_t where data is N(MEAN, DEVIATION^2)."""
    kept = process.kept

    def denoise(x: Tensor, time: int) -> Tensor:
        share = float(kept[time])
        spread = share * DEVIATION**2 + 1 - share
        return MEAN + math.sqrt(share) * DEVIATION**2 / spread * (x - math.sqrt(share) * MEAN)

    return denoise


def run(name: str, process: Process, steps: int, rows: int, denoise: Denoise) -> list[Tensor]:
    fresh = unit_noise(range(rows), (1,))
    noise = next(fresh).double()
    levels = process.levels(steps)
    return [each.x for each in DIFFUSION_SAMPLERS[name](denoise, noise, levels, fresh)]


@every_sampler
@pytest.mark.parametrize("schedule", NOISE_SCHEDULES)
def test_normal_data_is_drawn_as_it_is_distributed(name: str, schedule: str) -> None:
    process = Process(schedule)
    drawn = run(name, process, 250, 400, of_normal_data(process))[-1]
    noise = next(unit_noise(range(400), (1,))).double()
    if name == "ddpm":
        assert float(drawn.mean()) == pytest.approx(MEAN, abs=4 * DEVIATION / 20)
        assert float(drawn.std()) == pytest.approx(DEVIATION, rel=0.15)
    else:  # the ordinary differential equation maps quantiles to quantiles
        torch.testing.assert_close(drawn, MEAN + DEVIATION * noise, atol=0.03, rtol=0)


@every_sampler
def test_more_steps_come_nearer_to_the_exact_solution(name: str) -> None:
    process = Process()
    errors = []
    for steps in (5, 20, 80):
        drawn = run(name, process, steps, 64, of_normal_data(process))[-1]
        noise = next(unit_noise(range(64), (1,))).double()
        exact = MEAN + DEVIATION * noise
        fault = drawn.std() / exact.std() - 1 if name == "ddpm" else (drawn - exact).norm()
        errors.append(abs(float(fault)))
    assert errors[2] < errors[0]
    if name != "ddpm":
        assert errors[0] > errors[1] > errors[2]


def test_second_order_is_nearer_than_first() -> None:
    process = Process()
    noise = next(unit_noise(range(64), (1,))).double()
    exact = MEAN + DEVIATION * noise
    first, second = (
        (run(name, process, 20, 64, of_normal_data(process))[-1] - exact).norm()
        for name in ("ddim", "dpm_solver")
    )
    assert second < first / 2


def test_euler_is_ddim_in_other_words() -> None:
    process = Process("linear")
    one, other = (run(name, process, 12, 8, of_normal_data(process)) for name in ("ddim", "euler"))
    torch.testing.assert_close(torch.stack(one), torch.stack(other), atol=1e-9, rtol=1e-9)


@every_sampler
def test_one_step_gives_what_is_expected_of_noise(name: str) -> None:
    process = Process()
    (only,) = run(name, process, 1, 4, of_normal_data(process))
    noise = next(unit_noise(range(4), (1,))).double()
    torch.testing.assert_close(only, of_normal_data(process)(noise, 999), atol=1e-9, rtol=1e-6)


@every_sampler
def test_a_sampler_is_lazy_and_its_rows_are_their_own(name: str) -> None:
    process, calls = Process(), []

    def denoise(x: Tensor, time: int) -> Tensor:
        calls.append(time)
        return of_normal_data(process)(x, time)

    def drawn(seeds: list[int]) -> Tensor:
        fresh = unit_noise(seeds, (2,))
        levels = process.levels(6)
        return list(DIFFUSION_SAMPLERS[name](denoise, next(fresh), levels, fresh))[-1].x

    together = drawn([5, 6, 7])
    assert torch.equal(together[1:2], drawn([6]))
    calls.clear()
    fresh = unit_noise([1], (2,))
    next(DIFFUSION_SAMPLERS[name](denoise, next(fresh), process.levels(6), fresh))
    assert calls == [999]


@given(
    st.sampled_from(sorted(DIFFUSION_SAMPLERS)), st.sampled_from(sorted(NOISE_SCHEDULES)),
    st.integers(2, 1000), st.data(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_what_is_certain_is_reached_exactly(
    name: str, schedule: str, times: int, data: st.DataObject
) -> None:
    """Where the data is one point, every sampler ends at it, whatever the steps."""
    process = Process(schedule, times=times)
    steps = data.draw(st.integers(1, min(times, 30)))
    levels = process.levels(steps)
    assert len(set(levels.times)) == steps and min(levels.times) >= 0
    assert all(one < other for one, other in pairwise(levels.signal))
    point = torch.tensor([[0.3, -2.0]])
    fresh = unit_noise([data.draw(st.integers(0, 2**40))], (2,))
    *_, last = DIFFUSION_SAMPLERS[name](lambda x, time: point, next(fresh), levels, fresh)
    torch.testing.assert_close(last.x, point, atol=1e-5, rtol=1e-5)


CLASSES = {
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "dpm_solver": ("DPMSolverMultistepScheduler", {}),
}
SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
OUTPUTS = {"noise": "epsilon", "start": "sample", "v": "v_prediction"}


def network(x: Tensor, time: int) -> Tensor:
    """Stand for a network: smooth, not linear, another at each time."""
    return torch.tanh(x.roll(1, dims=-1) * 0.7 + 0.3 * x) * (0.5 + time / 2000)


class Double:
    """Torch, for a module that asks for single precision where it should be double."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class Replayed:
    """Diffusers asks for noise through a function; give it ours."""

    def __init__(self, fresh: Iterator[Tensor]) -> None:
        self.fresh = fresh

    def __call__(self, *shape: Any, **options: Any) -> Tensor:
        return next(self.fresh)


@every_sampler
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
@pytest.mark.parametrize(
    ("schedule", "prediction"),
    [("linear", "noise"), ("linear", "start"), ("linear", "v"), ("cosine", "v")],
)
@pytest.mark.parametrize("steps", [5, 20])
def test_trajectories_are_those_of_diffusers(
    name: str, schedule: str, prediction: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    kind, options = CLASSES[name]
    if name == "euler":  # q of the cosine begins at 20,000, which leaves 1e-3 in single precision
        monkeypatch.setattr(diffusers.schedulers.scheduling_euler_discrete, "torch", Double())
    theirs = getattr(diffusers, kind)(
        beta_schedule=SCHEDULES[schedule], prediction_type=OUTPUTS[prediction],
        timestep_spacing="trailing", **options,
    )  # fmt: skip
    process = Process(schedule, prediction)
    noise = next(unit_noise([3, 4], (3, 4)))
    fresh = unit_noise([8, 9], (3, 4))

    def denoise(x: Tensor, time: int) -> Tensor:
        return process.start(x, network(x, time), torch.full((len(x),), time))

    levels = process.levels(steps)
    ours = [each.x for each in DIFFUSION_SAMPLERS[name](denoise, noise, levels, fresh)]
    module = __import__(type(theirs).__module__, fromlist=["randn_tensor"])
    again = Replayed(unit_noise([8, 9], (3, 4)))
    monkeypatch.setattr(module, "randn_tensor", again, raising=False)
    theirs.set_timesteps(steps)
    x = noise / levels.signal[0] if name == "euler" else noise
    for index, time in enumerate(theirs.timesteps):
        assert int(time) == levels.times[index]
        seen = theirs.scale_model_input(x, time)
        x = theirs.step(network(seen, int(time)), time, x).prev_sample
        reached = x * levels.signal[index + 1] if name == "euler" else x
        torch.testing.assert_close(ours[index], reached, atol=1e-5, rtol=1e-5)


def test_an_unknown_sampler_is_told_with_the_known_ones() -> None:
    assert find_sampler("ddim") is DIFFUSION_SAMPLERS["ddim"]
    with pytest.raises(UsageError, match="did you mean 'dpm_solver'"):
        find_sampler("dpm_solver++")


def test_guidance_over_two_conditions() -> None:
    neither, one, both = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(guide_two(neither, one, both, 0, 0), both)
    torch.testing.assert_close(guide_two(neither, one, both, 2, 2), guide(both, neither, 2))
    torch.testing.assert_close(guide_two(neither, one, both, 0, 3), guide(both, one, 3))


def test_rescaling_gives_the_spread_back() -> None:
    generator = torch.Generator().manual_seed(0)
    guided, conditional = torch.randn(2, 3, 8, generator=generator) * torch.tensor([[[4.0]], [[1]]])
    assert torch.equal(rescale(guided, conditional, 0), guided)
    whole = rescale(guided, conditional, 1)
    torch.testing.assert_close(whole.std(1), conditional.std(1))
    half = rescale(guided, conditional, 0.5)
    torch.testing.assert_close(half, (guided + whole) / 2)


def test_repainting_keeps_what_is_given_and_brings_the_rest_to_it() -> None:
    """Of two numbers that always agree, one is given; the other is drawn near to it."""
    start, keep = torch.tensor([[0.8, 0.0]]), torch.tensor([[True, False]])
    asked = []

    def denoise(x: Tensor, time: int) -> Tensor:
        asked.append(time)
        both = x.mean(1, keepdim=True).expand_as(x)  # what agrees best
        return torch.where(keep, start, both)

    levels = Process().levels(10)
    noise = (each[:, :2] for each in unit_noise([0], (2,)))
    *_, last = repaint(denoise, next(noise), levels, noise)
    assert last.x[0, 0] == start[0, 0]
    assert len(asked) == 9 * ROUNDS + 1  # the last level needs one round
    assert abs(float(last.x[0, 1]) - 0.8) < 0.5


def test_the_last_levels_are_those_with_least_noise() -> None:
    levels = Process().levels(8)
    some = levels.last(0.25)
    assert some.times == levels.times[-2:] and some.noise == levels.noise[-3:]
    assert len(levels.last(0.01).times) == 1 and levels.last(1.0) == levels
