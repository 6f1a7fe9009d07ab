"""Networks are outlined without values and without torch's compiler, and built unfilled."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.codecs import CODECS, create_codec
from limner.nn.unfilled import Outline, Unfilled
from limner.priors import create_prior


class Network(nn.Module):
    """A weight of each way of filling one, and what is no weight."""

    noise: Tensor
    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scaled = nn.Parameter(torch.randn(3, 4) * 0.5)
        self.plain = nn.Linear(5, 6)
        self.table = nn.Embedding(7, 8)
        nn.init.normal_(self.plain.bias)
        self.table.weight.data.mul_(2.0)
        generator = torch.Generator().manual_seed(1)
        own = torch.empty(9).normal_(generator=generator)
        self.register_buffer("basis", own, persistent=False)
        self.register_buffer("noise", torch.empty(3).uniform_(1, 2), persistent=False)


def test_weights_are_left_as_they_are_and_all_else_is_filled() -> None:
    drawn = list[tuple[int, ...]]()

    class Watched(Unfilled):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            before = torch.random.get_rng_state()
            found = super().__torch_function__(func, types, args, kwargs)
            if not torch.equal(before, torch.random.get_rng_state()):
                drawn.append(tuple(found.shape))
            return found

    with Watched():
        built = Network()
    assert drawn == [(3, 4), (3,)]  # torch.randn, and the noise
    assert bool((built.noise >= 1).all()) and bool((built.noise <= 2).all())
    expected = torch.empty(9).normal_(generator=torch.Generator().manual_seed(1))
    assert torch.equal(built.basis, expected)


CASES: list[dict[str, Any]] = [
    *({"name": name, "size": 32} for name in ("fsq", "dvae", "vqvae", "vqvae2")),
    {"name": "multiscale", "size": 32, "scales": [1, 2, 4]},
]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_an_outline_has_the_shapes_and_kinds_of_the_network(case: dict[str, Any]) -> None:
    assert case["name"] in CODECS
    compare(lambda: create_codec(case))


@pytest.mark.parametrize("name", ["gpt", "next_scale", "crf"])
def test_an_outline_of_a_prior_is_true_too(name: str) -> None:
    maps = ((2, 2), (4, 4)) if name == "next_scale" else ()
    sizes = {"vocabulary": 64, "grid": (4, 4), "width": 64, "levels": (8, 8), "maps": maps}
    compare(lambda: create_prior({"name": name, "text_vocabulary": 50, **sizes}))


def compare(build: Any) -> None:
    """Build an outline and the network, and compare all that they hold."""
    with Outline():
        outline = build()
    assert torch.empty(1).device.type == "cpu"
    network = build()
    held = [
        {
            name: (each.shape, each.dtype)
            for name, each in [*of.named_parameters(), *of.named_buffers()]
        }
        for of in (outline, network)
    ]
    assert held[0] == held[1]
    assert all(each.is_meta for each in outline.parameters())


def test_what_is_joined_and_combined_has_its_shape_and_kind() -> None:
    def made() -> list[Tensor]:
        row, column = torch.arange(3), torch.arange(2, 8, 2)[:, None]
        half = torch.ones(3, dtype=torch.float16)
        return [
            row // 2, row % 2, row * column, row / 2, row + 0.5, half * 2, half - row,
            torch.stack([row, row], dim=1), torch.stack([row, row], -1), torch.cat([row, row]),
            torch.cat([column, column], dim=1), torch.cartesian_prod(row, row),
            torch.rand(2, 3), torch.randn((2, 3)), torch.arange(0.0, 2.0, 0.5),
        ]  # fmt: skip

    with Outline():
        outlined = made()
    assert [(each.shape, each.dtype) for each in outlined] == [
        (each.shape, each.dtype) for each in made()
    ]
    with Outline(), pytest.raises((RuntimeError, ValueError)):
        torch.ones(2) * torch.ones(3)


def test_an_outline_of_the_default_needs_no_compiler() -> None:
    code = (
        "import sys, limner.registry\n"
        "for name in limner.registry.PRESETS: limner.registry.load(name)\n"
        "print([each for each in ('torch._dynamo', 'sympy') if each in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
