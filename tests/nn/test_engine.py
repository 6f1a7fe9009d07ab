"""The prepared decoder, in stock torch and native: one meaning, in any company and precision."""

import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError
from limner.nn.engine import DecoderShape, head_precision
from limner.nn.native import NativeEngine, find_library, is_scaled
from limner.nn.prepare import feed_forward_of, layers_of
from limner.nn.torch_engine import TorchEngine, packed_products, product_of
from limner.nn.transformer import (
    FeedForward,
    RMSNorm,
    Transformer,
    TransformerConfig,
    rotary_angles,
)
from limner.types import PRECISIONS, check_precision
from tests.waiting import PATIENCE

WIDTH, LAYERS, HEADS, HIDDEN, VOCABULARY, LENGTH = 48, 2, 3, 70, 131, 11
SHAPE = DecoderShape(WIDTH, LAYERS, HEADS, HIDDEN, groups=2)
Make = Callable[..., Any]
M = TypeVar("M", bound=torch.nn.Module)


@pytest.fixture(params=["torch", "native"])
def make(request: pytest.FixtureRequest) -> Make:
    """Return what prepares a decoder in one of the two ways."""
    if request.param == "torch":
        return TorchEngine
    return native()


def native() -> Make:
    library, why = find_library()
    if library is None:
        pytest.skip(why)
    return lambda *parts: NativeEngine(library, *parts)


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return lively(Transformer(TransformerConfig(WIDTH, LAYERS, HEADS, HIDDEN)).eval())


def lively(module: M) -> M:
    for parameter in module.parameters():
        parameter.requires_grad_(False).add_(torch.randn_like(parameter) * 0.1)
    return module


def heads(model: Transformer) -> list[dict[str, Tensor]]:
    torch.manual_seed(1)
    mixer = lively(FeedForward(TransformerConfig(WIDTH, hidden=HIDDEN)))
    first, second = (torch.randn(VOCABULARY, WIDTH) / 7 for _ in range(2))
    bias = torch.randn(VOCABULARY)
    return [
        {"head": first, "head_bias": bias, "attention_norm": model.norm.weight},
        {"head": second, **feed_forward_of(lively(RMSNorm(WIDTH)), mixer)},
    ]


def places() -> Tensor:
    index = torch.arange(LENGTH)
    return torch.stack([index // 4, index % 4], dim=-1)


def rotary() -> tuple[Tensor, Tensor]:
    angles = rotary_angles(places(), WIDTH // HEADS)
    return angles.cos(), angles.sin()


def inputs(rows: int = 4) -> Tensor:
    return torch.randn(rows, LENGTH, WIDTH, generator=torch.Generator().manual_seed(3))


def full_pass(model: Transformer, x: Tensor, first: list[int], prefix: int) -> Tensor:
    """Return the features of a whole pass: the first `prefix` positions see one another."""
    index = torch.arange(LENGTH)
    allowed = (index[None] <= index[:, None]) | (index[None] < prefix) & (index[:, None] < prefix)
    real = index[None] >= torch.tensor(first)[:, None]
    mask = allowed & real[:, None] | torch.eye(LENGTH, dtype=torch.bool)
    features: Tensor = model(x, places()[None], mask[:, None])
    return features


def drawn(run: Any, x: Tensor, prefix: int, pieces: list[int]) -> Tensor:
    parts, at = [run.extend(x[:, :prefix], 0, causal=False)], prefix
    for count in pieces:
        parts.append(run.extend(x[:, at : at + count], at))
        at += count
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("pieces", [[1] * 6, [6], [2, 1, 3]])
def test_it_is_the_transformer(make: Make, model: Transformer, pieces: list[int]) -> None:
    stack = make(SHAPE, layers_of(model), heads(model), "fp32")
    first = [0, 3, 5, 1]
    found = drawn(stack.begin(first, LENGTH, rotary()), inputs(), 5, pieces)
    wanted = full_pass(model, inputs(), first, 5)
    for row, start in enumerate(first):
        torch.testing.assert_close(found[row, start:], wanted[row, start:], atol=2e-5, rtol=2e-5)


def test_some_rows_can_go_ahead_of_others(make: Make, model: Transformer) -> None:
    stack = make(SHAPE, layers_of(model), heads(model), "fp32")
    run, x = stack.begin([0] * 4, LENGTH, rotary()), inputs()
    wanted = full_pass(model, x, [0] * 4, 0)
    ahead = [run.extend(x[:2, at : at + 1], at, slice(2)) for at in range(LENGTH)]
    behind = run.extend(x[2:], 0, slice(2, None))
    found = torch.cat([torch.cat(ahead, dim=1), behind])
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)


def test_rows_can_go_on_from_others(make: Make, model: Transformer) -> None:
    stack, chosen, x = make(SHAPE, layers_of(model), heads(model), "fp32"), [2, 2, 0, 1], inputs()
    run = stack.begin([0, 3, 1, 2], LENGTH, rotary())
    run.extend(x[:, :6], 0)
    run.select(chosen)
    wanted = full_pass(model, torch.cat([x[chosen, :6], x[:, 6:]], 1), [1, 1, 0, 3], 0)[:, 6:]
    torch.testing.assert_close(run.extend(x[:, 6:], 6), wanted, atol=2e-5, rtol=2e-5)


def test_heads_are_their_equations(make: Make, model: Transformer) -> None:
    first, second = heads(model)
    run = make(SHAPE, layers_of(model), [first, second], "fp32").begin([0] * 4, LENGTH)
    features, known = inputs()[:, 0], inputs()[:, 1]
    wanted = F.linear(features, first["head"], first["head_bias"])
    torch.testing.assert_close(run.logits(features), wanted, atol=1e-5, rtol=1e-5)
    mixed = features + known
    normed = F.rms_norm(mixed, (WIDTH,), second["feed_forward_norm"], 1e-6)
    gate, value = F.linear(normed, second["into"]).chunk(2, dim=-1)
    mixed = features + F.linear(F.silu(gate) * value, second["down"])
    wanted = F.linear(mixed, second["head"])
    torch.testing.assert_close(run.logits(features, 1, known), wanted, atol=1e-5, rtol=1e-5)


def rounded(weights: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Return the weights as a precision keeps them."""
    kept = dict(weights)
    for name, weight in weights.items():
        if weight.ndim == 2 and precision == "bf16":
            kept[name] = weight.bfloat16().float()
        elif weight.ndim == 2 and precision == "int8":
            kept[name] = torch.cat([in_eight_bits(part) for part in weight.split(32, 1)], dim=1)
    return kept


def in_eight_bits(weight: Tensor) -> Tensor:
    """Return rows as multiples, -127 to 127, of a scale a row that bf16 holds; zero stays zero."""
    scale = (weight.abs().amax(1, keepdim=True) / 127).bfloat16().float()
    return (weight / scale.clamp_min(1e-30)).round().clamp(-127, 127) * scale


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_that_of_the_weights(make: Make, model: Transformer, precision: str) -> None:
    layers = [dict(layer) for layer in layers_of(model)]
    plain = [rounded(layer, precision) for layer in layers]
    plain_heads = [rounded(head, head_precision(precision)) for head in heads(model)]
    exact = TorchEngine(SHAPE, plain, plain_heads, "fp32").begin([0] * 4, LENGTH, rotary())
    stack = make(SHAPE, layers, heads(model), precision)
    run = stack.begin([0] * 4, LENGTH, rotary())
    # Stock torch rounds the inputs of a bf16 product too, and the kernel does not.
    near = 0.1 if precision == "bf16" and not stack.native else 1e-4
    features, found = (drawn(each, inputs(), 5, [1] * 6) for each in (exact, run))
    torch.testing.assert_close(found, features, atol=near, rtol=near)
    near = 0.1 if precision != "fp32" and not stack.native else 1e-4
    for group, known in ((0, None), (1, features[:, -2])):
        wanted, found = (each.logits(features[:, -1], group, known) for each in (exact, run))
        torch.testing.assert_close(found, wanted, atol=near, rtol=near)


@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 300])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_a_product_in_eight_bits_is_that_of_its_meaning(inputs: int, rows: int) -> None:
    torch.manual_seed(7)
    weight, x = (
        torch.randn(77, inputs) * torch.logspace(-3, 3, 77)[:, None],
        torch.randn(rows, inputs),
    )
    weight[3] = 0
    weight[4] = 1e-42
    kept = torch.cat([in_eight_bits(part) for part in weight.split(32, 1)], dim=1)
    assert ((kept - weight).abs() <= weight.abs().amax(1, keepdim=True) / 250 + 1e-38).all()
    found = product_of(weight, "int8")(x)
    torch.testing.assert_close(found, F.linear(x, kept), atol=1e-4, rtol=1e-4)


def test_what_eight_bits_hold_exactly_is_known() -> None:
    torch.manual_seed(8)
    weight = torch.randn(150, 96)
    weight[3] = 0
    kept = rounded({"weight": weight}, "int8")["weight"]
    assert is_scaled(kept) and is_scaled(torch.zeros(2, 32))
    assert not is_scaled(weight) and not is_scaled(kept[:, :95]) and not is_scaled(kept[0])
    kept[149, 95] *= 1.001
    assert not is_scaled(kept)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_is_read_as_such(precision: str) -> None:
    torch.manual_seed(8)
    shape = DecoderShape(64, LAYERS, 2, 96)
    model = lively(Transformer(TransformerConfig(64, LAYERS, 2, 96)).eval())
    layers = [dict(layer) for layer in layers_of(model)]
    kept = [rounded(layer, "int8") for layer in layers]
    head = {"head": torch.randn(9, 64), "attention_norm": model.norm.weight}
    x = torch.randn(2, 3, 64)
    exact, asked, plain = (
        native()(shape, these, [head], precision).begin([0, 0], 3).extend(x, 0)
        for these, precision in ((kept, precision), (layers, "int8"), (layers, "fp32"))
    )
    assert torch.equal(exact, asked) and not torch.allclose(exact, plain, atol=1e-4)
    stock = TorchEngine(shape, kept, [head], "fp32").begin([0, 0], 3).extend(x, 0)
    torch.testing.assert_close(exact, stock, atol=2e-5, rtol=2e-5)


class MadeWhenAsked(Mapping[str, Tensor]):
    """Weights that are made when they are asked for, and how many lived at once at most."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.asked: list[str] = []
        self.alive: list[weakref.ref[Tensor]] = []
        self.most = 0

    def __getitem__(self, name: str) -> Tensor:
        self.asked.append(name)
        generator = torch.Generator().manual_seed(len(name))
        made = torch.randn(*self.shapes[name], generator=generator) / 9
        self.alive = [*(each for each in self.alive if each() is not None), weakref.ref(made)]
        self.most = max(self.most, len(self.alive))
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_are_packed_one_at_a_time_and_some_rows_of_it(
    make: Make, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = 700  # several panels, and more inputs than a block of any precision
    monkeypatch.setattr("limner.nn.native.CONVERTED", 1)
    monkeypatch.setattr("limner.nn.torch_engine.CONVERTED", 3000)
    sizes = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH)}
    sizes |= {"into": (2 * hidden, WIDTH), "down": (WIDTH, hidden)}
    norms = {"attention_norm": (WIDTH,), "feed_forward_norm": (WIDTH,)}
    layer = MadeWhenAsked({**norms, **sizes})
    head = MadeWhenAsked({"attention_norm": (WIDTH,), "head": (VOCABULARY, WIDTH)})
    shape = DecoderShape(WIDTH, 1, HEADS, hidden)
    stack = make(shape, [layer], [head], precision)
    assert layer.most == head.most == 1
    assert layer.asked == list(layer) and head.asked == list(head)
    plain = rounded(dict(layer), precision), rounded(dict(head), head_precision(precision))
    exact = TorchEngine(shape, [plain[0]], [plain[1]], "fp32")
    near = 0.1 if precision != "fp32" and not stack.native else 1e-4
    features, found = (each.begin([0] * 4, LENGTH).extend(inputs(), 0) for each in (exact, stack))
    torch.testing.assert_close(found, features, atol=near, rtol=near)
    runs = (each.begin([0] * 4, LENGTH) for each in (exact, stack))
    wanted, found = (run.logits(features[:, -1]) for run in runs)
    torch.testing.assert_close(found, wanted, atol=near, rtol=near)


def bart_layer() -> dict[str, Tensor]:
    """Return a layer of DALL-E mini's kind: LayerNorm around attention, cross-attention, GLU."""
    weights = {
        "qkv": torch.randn(3 * WIDTH, WIDTH),
        "out": torch.randn(WIDTH, WIDTH),
        "cross_query": torch.randn(WIDTH, WIDTH),
        "cross_key_value": torch.randn(2 * WIDTH, WIDTH),
        "cross_out": torch.randn(WIDTH, WIDTH),
        "into": torch.randn(2 * HIDDEN, WIDTH),
        "down": torch.randn(WIDTH, HIDDEN),
    }
    weights = {name: weight * weight.shape[1] ** -0.5 for name, weight in weights.items()}
    norms = ["attention_norm", "out_norm", "cross_norm", "cross_out_norm", "feed_forward_norm"]
    for name in [*norms, "middle_norm"]:
        size = HIDDEN if name == "middle_norm" else WIDTH
        weights |= {name: torch.rand(size) + 0.5, f"{name}_bias": torch.randn(size) / 5}
    return weights


def plain_bart(layer: dict[str, Tensor], x: Tensor, memory: Tensor) -> Tensor:
    """Compute such a layer for one row (L, D), head by head."""

    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, value.shape[-1:], layer[name], layer[f"{name}_bias"])

    def mix(query: Tensor, key: Tensor, value: Tensor, *, causal: bool) -> Tensor:
        found = []
        for part in torch.arange(WIDTH).chunk(HEADS):
            scores = query[:, part] @ key[:, part].T * len(part) ** -0.5
            if causal:
                later = torch.ones_like(scores, dtype=torch.bool).triu(1)
                scores = scores.masked_fill(later, float("-inf"))
            found.append(scores.softmax(-1) @ value[:, part])
        return torch.cat(found, dim=-1)

    queries, keys, values = F.linear(norm("attention_norm", x), layer["qkv"]).chunk(3, dim=-1)
    mixed = mix(queries, keys, values, causal=True)
    x = x + norm("out_norm", F.linear(mixed, layer["out"]))
    queries = F.linear(norm("cross_norm", x), layer["cross_query"])
    keys, values = F.linear(memory, layer["cross_key_value"]).chunk(2, dim=-1)
    mixed = mix(queries, keys, values, causal=False)
    x = x + norm("cross_out_norm", F.linear(mixed, layer["cross_out"]))
    gate, value = F.linear(norm("feed_forward_norm", x), layer["into"]).chunk(2, dim=-1)
    return x + F.linear(norm("middle_norm", F.gelu(gate) * value), layer["down"])


def test_a_decoder_that_reads_a_memory(make: Make) -> None:
    torch.manual_seed(5)
    layers = [bart_layer() for _ in range(LAYERS)]
    head = {"head": torch.randn(VOCABULARY, WIDTH), "attention_norm": torch.ones(WIDTH)}
    head["attention_norm_bias"] = torch.randn(WIDTH)
    shape = DecoderShape(WIDTH, LAYERS, HEADS, HIDDEN, layer_norm=True, gelu=True)
    memory, lengths, x = torch.randn(3, 7, WIDTH), [2, 7, 5], inputs(3)
    run = make(shape, layers, [head], "fp32").begin([0] * 3, LENGTH, None, memory, lengths)
    found = torch.cat([run.extend(x[:, at : at + 1], at) for at in range(LENGTH)], dim=1)
    for row, length in enumerate(lengths):
        wanted = x[row]
        for layer in layers:
            wanted = plain_bart(layer, wanted, memory[row, :length])
        wanted = F.layer_norm(wanted, (WIDTH,), bias=head["attention_norm_bias"])
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=1e-4)


def test_rows_take_their_memory_with_them(make: Make) -> None:
    torch.manual_seed(5)
    layers, head = [bart_layer() for _ in range(LAYERS)], {"head": torch.randn(VOCABULARY, WIDTH)}
    head |= {"attention_norm": torch.ones(WIDTH), "attention_norm_bias": torch.zeros(WIDTH)}
    shape = DecoderShape(WIDTH, LAYERS, HEADS, HIDDEN, layer_norm=True, gelu=True)
    memory, x, stack = torch.randn(3, 7, WIDTH), inputs(3), make(shape, layers, [head], "fp32")
    (run := stack.begin([0] * 3, LENGTH, None, memory, [2, 7, 5])).select([1, 1, 0])
    other = stack.begin([0] * 3, LENGTH, None, memory[[1, 1, 0]], [7, 7, 2])
    assert torch.equal(run.extend(x[:, :1], 0), other.extend(x[:, :1], 0))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def outcome(stack: Any, rows: list[int]) -> Tensor:
    """Return the logits of some rows of a drawing whose rows begin at 0, 1, 2, .."""
    x = inputs(9)[rows]
    run = stack.begin([row % 4 for row in rows], LENGTH, rotary())
    features = drawn(run, x, 5, [1] * 4 + [2])
    return torch.stack([run.logits(features[:, at]) for at in range(5, LENGTH)], dim=1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.usefixtures("threads")
def test_company_and_threads_change_not_a_bit(model: Transformer, precision: str) -> None:
    stack = native()(SHAPE, layers_of(model), heads(model), precision)
    torch.set_num_threads(1)
    together = outcome(stack, list(range(9)))
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        for rows in ([7], [1, 4], [8, 0, 3, 5, 2, 6, 1], list(range(9))):
            assert torch.equal(outcome(stack, rows), together[rows])


@pytest.mark.usefixtures("threads")
def test_several_callers_at_once(model: Transformer) -> None:
    stack = native()(SHAPE, layers_of(model), heads(model), "fp32")
    torch.set_num_threads(3)
    wanted = outcome(stack, [1, 2, 3])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: outcome(stack, [1, 2, 3]), range(40)))
    assert all(torch.equal(each, wanted) for each in found)


FORKED = """
import os, torch
from limner.nn.native import NativeEngine, find_library
from limner.nn.engine import DecoderShape
torch.set_num_threads(2)
g = torch.randn
layer = {"attention_norm": torch.ones(64), "qkv": g(192, 64), "out": g(64, 64),
         "feed_forward_norm": torch.ones(64), "into": g(256, 64), "down": g(64, 128)}
head = {"head": g(300, 64), "attention_norm": torch.ones(64)}
stack = NativeEngine(find_library()[0], DecoderShape(64, 1, 2, 128), [layer], [head], "fp32")
x = g(2, 1, 64)
wanted = stack.begin([0, 0], 4).extend(x, 0)
child = os.fork()
found = stack.begin([0, 0], 4).extend(x, 0)
if not child:
    os._exit(0 if torch.equal(found, wanted) else 3)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_draws_too() -> None:
    native()
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_stock_torch_packs() -> None:
    works, why = packed_products()
    assert works, why


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="precision is 'fp8'; expected fp32, bf16, int8; did you"):
        check_precision("fp8")
