"""Steps as graphs: what they are made of gives the same as the plain way; a capture needs a GPU."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from limner.nn import torch_engine
from limner.nn.engine import DecoderShape
from limner.nn.graphs import Graphed, compiling_wanted, graphs_wanted
from limner.nn.prepare import layers_of
from limner.nn.torch_engine import TorchEngine, TorchSession
from limner.nn.transformer import Transformer, TransformerConfig, rotary_angles
from limner.types import PRECISIONS

WIDTH, LAYERS, HEADS, HIDDEN, LENGTH = 32, 2, 2, 48, 9
FIRST = [0, 2, 3]
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="a capture needs a GPU")


def own_stack(precision: str = "fp32") -> TorchEngine:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(WIDTH, LAYERS, HEADS, HIDDEN)).requires_grad_(False)
    head = {"head": torch.randn(50, WIDTH), "attention_norm": model.norm.weight}
    shape = DecoderShape(WIDTH, LAYERS, HEADS, HIDDEN)
    return TorchEngine(shape, layers_of(model), [head], precision)


def bart_stack() -> TorchEngine:
    """Return a decoder of DALL-E mini's kind, which reads a memory."""
    torch.manual_seed(0)
    sizes = {
        "qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH), "cross_query": (WIDTH, WIDTH),
        "cross_key_value": (2 * WIDTH, WIDTH), "cross_out": (WIDTH, WIDTH),
        "into": (2 * HIDDEN, WIDTH), "down": (WIDTH, HIDDEN),
    }  # fmt: skip
    norms = ("attention", "out", "cross", "cross_out", "feed_forward")
    layers = []
    for _ in range(LAYERS):
        layer = {name: torch.randn(size) * size[1] ** -0.5 for name, size in sizes.items()}
        for name in norms:
            layer |= {
                f"{name}_norm": torch.rand(WIDTH) + 0.5,
                f"{name}_norm_bias": torch.randn(WIDTH),
            }
        layer |= {"middle_norm": torch.rand(HIDDEN) + 0.5, "middle_norm_bias": torch.randn(HIDDEN)}
        layers.append(layer)
    head = {"head": torch.randn(50, WIDTH), "attention_norm": torch.ones(WIDTH)}
    shape = DecoderShape(WIDTH, LAYERS, HEADS, HIDDEN, layer_norm=True, gelu=True)
    return TorchEngine(shape, layers, [head], "fp32")


def rotary() -> tuple[Tensor, Tensor]:
    places = torch.arange(LENGTH)[:, None].expand(-1, 2)
    angles = rotary_angles(places, WIDTH // HEADS)
    return angles.cos(), angles.sin()


def own_run(precision: str = "fp32") -> TorchSession:
    return own_stack(precision).begin(FIRST, LENGTH, rotary())


def bart_run() -> TorchSession:
    memory = torch.randn(len(FIRST), 5, WIDTH, generator=torch.Generator().manual_seed(1))
    return bart_stack().begin(FIRST, LENGTH, None, memory, [5, 2, 4])


RUNS: dict[str, Callable[[], TorchSession]] = {
    "own": own_run, "bart": bart_run,
    **{precision: partial(own_run, precision) for precision in PRECISIONS},
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
@torch.inference_mode()
def test_a_position_told_by_a_tensor_is_the_same_position(name: str) -> None:
    plain, by_tensor = RUNS[name](), RUNS[name]()
    x = torch.randn(len(FIRST), LENGTH, WIDTH, generator=torch.Generator().manual_seed(2))
    for run in (plain, by_tensor):
        run.extend(x[:, :4], 0, causal=False)
        by_tensor.keys[:, :, :, 4:] = 7.0  # of a drawing before: seen by nobody
    for at in range(4, LENGTH):
        rows = slice(2) if at % 2 else slice(None)
        wanted = plain.extend(x[rows, at : at + 1], at, rows)
        found = by_tensor.extend_at(x[rows, at : at + 1], torch.tensor([at]), rows)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        plain.extend(x[:, at : at + 1], at)
        by_tensor.extend_at(x[:, at : at + 1], torch.tensor([at]))
    torch.testing.assert_close(by_tensor.keys, plain.keys, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_tensor.values, plain.values, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_run_begun_anew_sees_nothing_of_the_one_before() -> None:
    fresh, used = own_run(), own_run()
    x = torch.randn(len(FIRST), LENGTH, WIDTH)
    used.extend(x * 3, 0)
    used.begin_at([1, 0, 4])
    fresh.begin_at([1, 0, 4])
    for run in (fresh, used):
        run.extend(x[:, :5], 0)
    wanted, found = (run.extend_at(x[:, 5:6], torch.tensor([5])) for run in (fresh, used))
    assert torch.equal(found, wanted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@torch.inference_mode()
def test_a_compiled_layer_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # Matrices as a GPU's: torch.compile knows nothing of packed ones.
    monkeypatch.setattr(torch_engine, "_prepared_part", lambda weight, precision: weight.detach())
    plain = own_run()
    monkeypatch.setattr(torch_engine, "compiling_wanted", lambda device: True)
    compiled = own_run()
    assert plain.engine.layer_at is not compiled.engine.layer_at
    x = torch.randn(len(FIRST), LENGTH, WIDTH)
    for run in (plain, compiled):
        run.extend(x[:, :7], 0)
    for at in (7, 8):
        both = [run.extend_at(x[:, at : at + 1], torch.tensor([at])) for run in (plain, compiled)]
        torch.testing.assert_close(*both, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(compiled.keys, plain.keys, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (None, "cuda", True), ("1", "cuda", True), ("compiled", "cuda", True),
        ("0", "cuda", False), (None, "cpu", False),
    ],
)  # fmt: skip
def test_graphs_are_for_gpus_and_can_be_turned_off(
    value: str | None, kind: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("LIMNER_GRAPHS", raising=False)
    else:
        monkeypatch.setenv("LIMNER_GRAPHS", value)
    device = torch.device(kind)
    assert graphs_wanted(device) is wanted
    assert compiling_wanted(device) is (value == "compiled" and wanted)


def test_without_a_gpu_the_function_is_called() -> None:
    called = Graphed(torch.add, torch.ones(2), torch.ones(2))
    assert called(torch.ones(2), torch.arange(2)).tolist() == [1, 2]


@NEEDS_GPU
def test_a_graph_gives_what_its_function_gives() -> None:
    first, second = torch.randn(2, 8, 8, device="cuda")
    graphed = Graphed(lambda a, b: (a @ b).softmax(-1), first, first)
    torch.testing.assert_close(graphed(first, second), (first @ second).softmax(-1))
    assert graphed(second, second) is graphed.output
