"""The lookup's answer is that of fp64 brute force at any size, scale, tie and setting."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from limner.codecs import lookup
from limner.codecs.lookup import nearest
from limner.errors import UsageError
from limner.nn import nearest as nearest_of_kernel

BF16 = [torch.bfloat16] if lookup._has_bf16() else []
PRECISIONS = [*BF16, torch.float32, torch.float64]


def brute_force(vectors: Tensor, codebook: Tensor) -> Tensor:
    differences = vectors.double()[:, None] - codebook.double()
    return differences.square().sum(-1).argmin(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def products_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "SMALL", 0)


@pytest.fixture
def kernel_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "SMALL", 0)
    monkeypatch.setattr(lookup, "LEAST_FOR_KERNEL", 0)
    if not nearest_of_kernel.searches():
        pytest.skip("no native kernel searches here")


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(normal(*shape, seed=seed), dim=-1)


def lattice(*shape: int, seed: int = 0) -> Tensor:
    """Return small whole numbers: many exact ties of different codes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, shape, generator=generator).float()


CASES: dict[str, tuple[Tensor, Tensor]] = {
    "random": (normal(200, 64), normal(500, 64, seed=1)),
    "unit vectors of few dimensions": (unit(300, 8), unit(900, 8, seed=1)),
    "far from zero": (normal(200, 32) + 100, normal(500, 32, seed=1) + 100),
    "huge": (normal(200, 32) * 1e30, normal(500, 32, seed=1) * 1e30),
    "beyond squares": (normal(200, 32) * 1e38, normal(500, 32, seed=1) * 1e37),
    "tiny": (normal(200, 32) * 1e-30, normal(500, 32, seed=1) * 1e-30),
    "subnormal": (normal(70, 16) * 1e-40, normal(100, 16, seed=1) * 1e-40),
    "one code far off": (normal(200, 32), torch.cat([normal(500, 32), torch.ones(1, 32) * 1e5])),
    "vectors far off": (normal(200, 32) * 1e6, normal(500, 32, seed=1)),
    "codes far off": (normal(200, 32), normal(500, 32, seed=1) * 1e6),
    "all the same": (normal(100, 32), torch.ones(500, 32)),
    "each code many times": (normal(100, 16), normal(20, 16, seed=1).repeat(30, 1)),
    "a lattice full of ties": (lattice(300, 8), lattice(2000, 8, seed=1)),
    "clusters": (normal(200, 64), normal(30, 64, seed=1).repeat(20, 1) + normal(600, 64) / 50),
    "nearly the same": (normal(200, 16), 1 + normal(500, 16, seed=1) * 1e-6),
    "fp64": (normal(100, 16).double() / 3, normal(300, 16, seed=1).double() / 3),
    "fp64, told apart only there": (normal(100, 9).double(), 1 + normal(300, 9).double() * 1e-12),
    "fp16": (normal(100, 16).half(), normal(300, 16, seed=1).half()),
    "bf16 beside fp32": (normal(100, 16).bfloat16(), normal(300, 16, seed=1)),
    "one code": (normal(100, 16), normal(1, 16, seed=1)),
    "one vector": (normal(1, 16), normal(300, 16, seed=1)),
    "one dimension": (normal(100, 1), normal(300, 1, seed=1)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_that_of_brute_force(name: str, products_only: None) -> None:
    vectors, codebook = CASES[name]
    codes = nearest(vectors, codebook)
    assert codes.dtype == torch.int64
    assert torch.equal(codes, brute_force(vectors, codebook))


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_changes_no_answer(name: str, kernel_first: None) -> None:
    vectors, codebook = CASES[name]
    assert torch.equal(nearest(vectors, codebook), brute_force(vectors, codebook))


@pytest.mark.parametrize("name", CASES)
def test_what_the_kernel_settles_is_right(name: str, kernel_first: None) -> None:
    vectors, codebook = (each.float() for each in CASES[name])
    scale = lookup._scale(vectors, codebook)
    if scale is None:
        return
    codes, settled = nearest_of_kernel.search(vectors, codebook, scale)
    assert torch.equal(codes[settled], brute_force(vectors, codebook)[settled])


@pytest.mark.parametrize(
    "name",
    ["random", "unit vectors of few dimensions", "far from zero", "huge", "tiny", "one code"],
)
def test_the_kernel_settles_ordinary_rows(name: str, kernel_first: None) -> None:
    assert nearest_of_kernel.search(*CASES[name], lookup._scale(*CASES[name]) or 1.0)[1].all()


def test_the_kernel_settles_no_tie_and_no_crowd(kernel_first: None) -> None:
    vectors, codebook = CASES["each code many times"]
    assert not nearest_of_kernel.search(vectors, codebook, 1.0)[1].any()
    vectors, codebook = CASES["all the same"]
    assert not nearest_of_kernel.search(vectors, codebook, 1.0)[1].any()


@pytest.mark.usefixtures("threads")
def test_threads_and_company_change_nothing_the_kernel_finds(kernel_first: None) -> None:
    vectors, codebook = normal(400, 50), normal(700, 50, seed=1)
    wanted = brute_force(vectors, codebook)
    for count in (1, 3):
        torch.set_num_threads(count)
        for rows in (1, 5, 6, 7, 47, 48, 49, 400):
            codes, settled = nearest_of_kernel.search(vectors[-rows:], codebook, 1.0)
            assert settled.all() and torch.equal(codes, wanted[-rows:])


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_what_a_precision_settles_is_right(name: str, dtype: torch.dtype) -> None:
    vectors, codebook = CASES[name]
    codes, settled = lookup._by_product(vectors, codebook, dtype)
    assert torch.equal(codes[settled], brute_force(vectors, codebook)[settled])


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize(
    "name", ["random", "unit vectors of few dimensions", "far from zero", "huge", "tiny"]
)
def test_each_precision_settles_ordinary_rows(name: str, dtype: torch.dtype) -> None:
    vectors, codebook = CASES[name]
    assert lookup._by_product(vectors, codebook, dtype)[1].all()


def bounded(vectors: Tensor, codebook: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the true error of each score over the bound that is claimed for it (N, V)."""
    codes = lookup._Codes.of(codebook, 1.0, dtype)
    centred = lookup._working(vectors, 1.0, dtype) - codes.centre
    room = torch.empty(len(vectors), len(codes.rounded), dtype=dtype)
    scores = lookup._scores(centred.to(dtype), codes, room)[:, : len(codebook)].double()
    z, e = vectors.double() - codes.centre.double(), codebook.double() - codes.centre.double()
    halves = e.square().sum(1) / 2
    true = z @ e.T + halves.mean() - halves
    claimed = lookup._error(centred, centred.to(dtype), codes).double()[:, None]
    return (scores - true).abs() / (claimed + scores.abs() * lookup.OUTPUT_ERROR.get(dtype, 0))


ALTERNATE = torch.tensor([1.0, -1.0])
# Where one kind of error in bf16 is as large as it can be, and the score too small to hide it.
BADLY_ROUNDED = (1.5 + 0.99 * 2.0**-8 * ALTERNATE.repeat(8)).expand(64, 16)
EXACT = 2 * ALTERNATE.repeat(8).expand(64, 16)
WHOLE = torch.cat([torch.full((500, 1), 16.0), 4 * lattice(500, 31)], dim=1)
WORST: dict[str, tuple[Tensor, Tensor]] = {
    "vectors": (BADLY_ROUNDED, torch.cat([EXACT, -EXACT])),
    "codes": (EXACT, torch.cat([BADLY_ROUNDED, -BADLY_ROUNDED])),
    "biases": (torch.cat([-WHOLE[:50, :1], lattice(50, 31)], dim=1), torch.cat([WHOLE, -WHOLE])),
    "scores": (
        torch.tensor([[129.0, -128, 0, 0]]).expand(64, 4),  # 257 times the first code
        torch.tensor([[1.0, -1, 1, 1], [-1, 1, -1, -1]]),
    ),
}


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_no_score_is_further_off_than_its_bound(dtype: torch.dtype) -> None:
    names = ("random", "far from zero", "vectors far off", "codes far off")
    for vectors, codebook in [*(CASES[name] for name in names), *WORST.values()]:
        assert bounded(vectors, codebook, dtype).max() <= 1


@pytest.mark.parametrize("kind", WORST)
def test_no_part_of_the_bound_is_idle(kind: str) -> None:
    for dtype in BF16:
        assert bounded(*WORST[kind], dtype).max() > 0.7


def test_a_coarser_precision_leaves_what_it_cannot_tell_apart() -> None:
    vectors, codebook = CASES["nearly the same"]
    for dtype in BF16:
        assert not lookup._by_product(vectors, codebook, dtype)[1].all()
    vectors, codebook = CASES["fp64, told apart only there"]
    assert not lookup._by_product(vectors, codebook, torch.float32)[1].any()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_vectors_and_codes(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**31), label="seed")
    rows = data.draw(st.integers(1, 150), label="vectors")
    different = data.draw(st.integers(1, 200), label="different codes")
    copies = data.draw(st.integers(1, 5), label="copies")
    width = data.draw(st.integers(1, 40), label="dimensions")
    make = data.draw(st.sampled_from([normal, unit, lattice]), label="kind")
    exponents = st.integers(-36, 36)
    sizes = data.draw(st.tuples(exponents, exponents) | exponents.map(lambda e: (e, e)))
    codebook = make(different, width, seed=seed).repeat(copies, 1) * 10.0 ** sizes[0]
    vectors = make(rows, width, seed=seed + 1) * 10.0 ** sizes[1]
    near = data.draw(st.floats(0, 1), label="share of vectors that are codes, but for a little")
    count = int(near * rows)
    noise = data.draw(st.sampled_from([0, 1e-7, 1e-3]), label="little")
    vectors[:count] = codebook[torch.arange(count) % len(codebook)]
    vectors[:count] *= 1 + noise * normal(count, width, seed=seed + 2)
    wanted = brute_force(vectors, codebook)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookup, "SMALL", 0)
        assert torch.equal(nearest(vectors, codebook), wanted)
        patch.setattr(lookup, "LEAST_FOR_KERNEL", 0)
        assert torch.equal(nearest(vectors, codebook), wanted)
    assert torch.equal(nearest(vectors, codebook), wanted)


def test_a_row_is_answered_alike_in_any_company() -> None:
    vectors, codebook = lattice(200, 8), lattice(300, 8, seed=1) + normal(300, 8) * 1e-4
    together = nearest(vectors, codebook)
    assert torch.equal(together, torch.cat([nearest(each[None], codebook) for each in vectors]))


@pytest.fixture
def matmul_precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_fp32_is_not_trusted_where_it_may_be_less(precision: str, matmul_precision: None) -> None:
    torch.set_float32_matmul_precision(precision)
    precisions = lookup._precisions(*CASES["random"])
    assert (torch.float32 in precisions) == (precision == "highest")
    assert precisions[-1] == torch.float64


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_settings_of_speed_do_not_change_the_answer(precision: str, matmul_precision: None) -> None:
    vectors, codebook = normal(100, 32), normal(40, 32, seed=1).repeat(8, 1)
    codebook += normal(320, 32, seed=2) * 1e-5
    wanted = brute_force(vectors, codebook)
    torch.set_float32_matmul_precision(precision)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            assert torch.equal(nearest(vectors, codebook), wanted)
    assert torch.equal(nearest(vectors, codebook), wanted)


def test_it_takes_no_part_in_gradients() -> None:
    vectors = normal(100, 16).requires_grad_()
    assert not nearest(vectors, normal(100, 16, seed=1).requires_grad_()).requires_grad


class Largest(TorchDispatchMode):
    """Notes the elements of the largest tensor of numbers that any operation gives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, list | tuple) else (out,):
            if isinstance(each, Tensor) and each.is_floating_point():
                self.elements = max(self.elements, each.numel())
        return out


@pytest.mark.parametrize("name", ["random", "all the same", "far from zero"])
def test_no_more_than_a_block_of_scores_is_held(
    name: str, products_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, codebook = CASES[name]
    monkeypatch.setattr(lookup, "BLOCK", 64 * 512)
    with Largest() as largest:
        codes = nearest(vectors, codebook)
    assert largest.elements <= 64 * 512 < len(vectors) * len(codebook)
    assert torch.equal(codes, brute_force(vectors, codebook))


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("least", [0, 2**26])
def test_a_strange_row_gets_a_code_in_range_and_harms_no_other(
    strange: float, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "LEAST_FOR_KERNEL", least)
    vectors, codebook = normal(100, 16), normal(300, 16, seed=1)
    wanted = nearest(vectors, codebook)
    vectors[7, 3] = strange
    codes = nearest(vectors, codebook)
    others = torch.arange(100) != 7
    assert torch.equal(codes[others], wanted[others])
    assert 0 <= codes[7] < 300


def test_no_vectors_have_no_codes() -> None:
    assert nearest(torch.zeros(0, 4), normal(5, 4)).shape == (0,)


@pytest.mark.parametrize(
    ("vectors", "codebook", "words"),
    [
        ((3, 4), (5, 6), r"vectors are \(3, 4\) and codes \(5, 6\); expected .* one D"),
        ((4,), (5, 4), r"expected \(N, D\) and \(V, D\)"),
        ((3, 4), (0, 4), "the codebook is empty; expected at least one code"),
    ],
)
def test_other_shapes_are_refused(
    vectors: tuple[int, ...], codebook: tuple[int, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        nearest(torch.zeros(vectors), torch.zeros(codebook))
