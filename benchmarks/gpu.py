"""Drawing on a GPU: a step by CUDA graphs, compiled and plain, against min-dalle's and the limit.

    python benchmarks/gpu.py [--rounds 20] [--seconds 300] [--json FILE]

Decoders of DALL-E mini's shape (0.2 B weights) and DALL-E mega's (1.2 B) have min-dalle's random
weights and are first shown to give its logits. A step is a pass of the decoder with guidance and
the choice of a token; its place jumps about all 256. All ways take turns, 8 steps at a time. The
limit of a step is the time of reading the weights once, at the rate at which 4 GiB are summed.
Compiled ways come last, as far as --seconds go. Then the embedded model draws with graphs and
without. `--tiny` tries the benchmark on a processor; its figures mean nothing.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gen_vs_min_dalle import CELLS, SCALE, TEXT, TOKENS, TOLD, TOP_K, layers_of_peer
from peers import MIN_DALLE, MIN_DALLE_DEPS, peer_python, rerun_in
from torch import Tensor

STEPS = 8  # of one way, before the next has its turn
READ = 2**32


@dataclass(frozen=True)
class Shape:
    """A decoder with cross-attention."""

    name: str
    width: int
    layers: int
    heads: int
    hidden: int

    @property
    def read(self) -> int:
        """How many weights a step reads."""
        layer = self.width * (6 * self.width + 3 * self.hidden)
        return self.layers * layer + TOKENS * self.width


SHAPES = (Shape("DALL-E mini", 1024, 12, 16, 2730), Shape("DALL-E mega", 2048, 24, 32, 4096))
TINY = (Shape("tiny", 64, 2, 2, 96),)


@dataclass(frozen=True)
class Row:
    """A way of one shape: milliseconds a step, median with least and greatest of n rounds."""

    shape: str
    pictures: int
    way: str
    ms: float
    low: float
    high: float
    n: int
    limit_ms: float
    over_limit: float
    faster_than_peer: float


class Machine:
    """Where it runs, what its clock waits for, and its rate of reading in bytes a second."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.name = torch.cuda.get_device_name() if device == "cuda" else "a processor"
        held = torch.ones((READ if device == "cuda" else 2**26) // 4, device=device)
        size = held.numel() * 4
        self.read = size / self.median(held.sum)
        other = torch.empty_like(held)
        self.copied = 2 * size / self.median(lambda: other.copy_(held))

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long some work takes, all of it done."""
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def median(self, work: Callable[[], object], rounds: int = 9) -> float:
        """Return the median of some rounds after a first."""
        return statistics.median([self.seconds(work) for _ in range(rounds + 1)][1:])

    def wait(self) -> None:
        """Wait until the GPU has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def make_peer(shape: Shape, device: torch.device) -> Any:
    """Return min-dalle's decoder with random weights."""
    from min_dalle.models import DalleBartDecoder

    torch.manual_seed(0)
    sizes = (TOKENS, shape.width, shape.heads, shape.hidden, shape.layers)
    with device:
        return DalleBartDecoder(*sizes, str(device)).eval().requires_grad_(False)


class PeerStep:
    """min-dalle's loop body, as in MinDalle.generate_raw_image_stream, in its dtype."""

    def __init__(self, peer: Any, pictures: int, memory: Tensor, dtype: torch.dtype) -> None:
        self.peer, self.dtype, device = peer, dtype, memory.device
        rows = [0] * pictures + [1] * pictures
        told = torch.arange(TEXT) < torch.tensor([[2], [TOLD]])
        self.mask = told[rows][:, None, None, :].to(device)
        self.memory = memory[rows].to(dtype)
        layers, width = peer.layer_count, peer.embed_count
        self.state = torch.zeros(layers, pictures * 4, CELLS, width, device=device)
        self.settings = torch.tensor([1.0, TOP_K, SCALE], device=device)
        self.places = torch.arange(CELLS, device=device)

    def told(self, tokens: Tensor, place: int) -> dict[str, Any]:
        """Return what both of the decoder's methods take."""
        return {
            "attention_mask": self.mask,
            "encoder_state": self.memory,
            "attention_state": self.state,
            "prev_tokens": tokens[:, None],
            "token_index": self.places[[place]],
        }

    def logits(self, tokens: Tensor, place: int) -> Tensor:
        """Return the logits (2B, V), those of the empty prompt first."""
        found, self.state = self.peer.forward(**self.told(tokens, place))
        return found[:, -1, :TOKENS]

    def __call__(self, tokens: Tensor, place: int) -> Tensor:
        """Return the next tokens."""
        half = self.dtype != torch.float32
        with torch.autocast(self.mask.device.type, self.dtype, enabled=half):
            chosen, self.state = self.peer.sample_tokens(
                settings=self.settings, **self.told(tokens, place)
            )
        return chosen


class LimnerStep:
    """The same step by a prepared decoder: plain, or as one graph."""

    def __init__(self, stack: Any, peer: Any, pictures: int, memory: Tensor, graph: bool) -> None:
        from limner.nn.graphs import Graphed
        from limner.sampling.tokens import TokenSampling

        self.peer, self.pictures = peer, pictures
        lengths = [2] * pictures + [TOLD] * pictures
        rows = [0] * pictures + [1] * pictures
        self.run = stack.begin([0] * (2 * pictures), CELLS, None, memory[rows], lengths)
        self.sampling = TokenSampling(top_k=TOP_K)
        self.places = torch.arange(CELLS, device=memory.device)
        self.noise = torch.rand(CELLS, pictures, dtype=torch.float64, device=memory.device)
        examples = self.places[:pictures], self.places[:1], self.noise[0]
        self.graph = Graphed(self.step, *examples) if graph else None

    def features(self, tokens: Tensor, place: Tensor, at: int | None = None) -> Tensor:
        """Return features (2B, D), at a place told by a tensor, or also by a number."""
        x = self.peer.embed_tokens(tokens) + self.peer.embed_positions(place)
        x = self.peer.layernorm_embedding(x).repeat(2, 1)[:, None]
        found = self.run.extend_at(x, place) if at is None else self.run.extend(x, at)
        return found[:, 0]

    def step(self, tokens: Tensor, place: Tensor, noise: Tensor, at: int | None = None) -> Tensor:
        """Return the next tokens."""
        from limner.sampling.tokens import choose, guide

        without_text, with_text = self.run.logits(self.features(tokens, place, at)).chunk(2)
        return choose(guide(with_text, without_text, SCALE - 1), self.sampling, noise)

    def logits(self, tokens: Tensor, place: int) -> Tensor:
        """Return the logits (2B, V), those of the empty prompt first."""
        at = None if self.graph else place
        return self.run.logits(self.features(tokens, self.places[place : place + 1], at))

    def __call__(self, tokens: Tensor, place: int) -> Tensor:
        """Return the next tokens."""
        where, noise = self.places[place : place + 1], self.noise[place]
        if self.graph is not None:
            return self.graph(tokens, where, noise)
        return self.step(tokens, where, noise, place)


def show_parity(peer: PeerStep, ours: LimnerStep, way: str) -> None:
    """Draw a few steps greedily and print how far the logits are apart."""
    tokens = torch.full((ours.pictures,), TOKENS - 1, device=peer.mask.device)
    worst = spread = 0.0
    for place in range(6):
        wanted, found = peer.logits(tokens, place), ours.logits(tokens, place)
        worst = max(worst, float((wanted - found).abs().max()))
        spread = float(wanted.std())
        tokens = wanted[ours.pictures :].argmax(-1)
    print(
        f"  {way}: logits differ by at most {worst:.1e}, their spread is {spread:.2f}", flush=True
    )


class Bench:
    """One shape: its peer, its prepared decoders, and what was measured."""

    def __init__(self, shape: Shape, machine: Machine, rounds: int) -> None:
        self.shape, self.machine, self.rounds = shape, machine, rounds
        self.peer = make_peer(shape, machine.device)
        self.half = make_peer(shape, machine.device).half()
        self.memory = torch.randn(2, TEXT, shape.width, device=machine.device)
        self.rows: list[Row] = []

    def stack(self, precision: str, *, compiled: bool = False) -> Any:
        """Return limner's decoder of the peer's weights."""
        from limner.nn.fast import TorchStack
        from limner.nn.stack import StackShape

        os.environ["LIMNER_GRAPHS"] = "compiled" if compiled else "1"
        sizes = self.shape.width, self.shape.layers, self.shape.heads, self.shape.hidden
        head = {
            "head": self.peer.lm_head.weight[:TOKENS],
            "attention_norm": self.peer.final_ln.weight,
            "attention_norm_bias": self.peer.final_ln.bias,
        }
        told = StackShape(*sizes, layer_norm=True, gelu=True)
        device = self.machine.device
        return TorchStack(told, layers_of_peer(self.peer), [head], precision, device)

    def measure(self, pictures: int, ways: dict[str, Callable[[], Any]]) -> None:
        """Let each way draw in turns beside the peer, and print their rows."""
        device, steps = self.machine.device, dict[str, Any]()
        ways = {
            "min-dalle fp32": lambda: PeerStep(self.peer, pictures, self.memory, torch.float32),
            "min-dalle fp16": lambda: PeerStep(self.half, pictures, self.memory, torch.float16),
            **ways,
        }
        for way, make in ways.items():
            try:
                steps[way] = make()
                if "fp32" in way and pictures == 1 and isinstance(steps[way], LimnerStep):
                    show_parity(steps["min-dalle fp32"], steps[way], way)
                steps[way](torch.zeros(pictures, dtype=torch.long, device=device), 0)
            except (RuntimeError, TypeError, ValueError) as error:
                print(f"  {way} failed: {str(error)[:300]}", flush=True)
                steps.pop(way, None)
        tokens = torch.randint(TOKENS, (pictures,), device=device)
        taken: dict[str, list[float]] = {way: [] for way in steps}
        for number in range(self.rounds + 1):
            for way, step in steps.items():
                places = [(number * 97 + 31 * index) % CELLS for index in range(STEPS)]

                def some(step: Any = step, places: list[int] = places) -> None:
                    for place in places:
                        step(tokens, place)

                taken[way].append(self.machine.seconds(some) / STEPS)
        for way, seconds in taken.items():
            self.rows.append(self.row(pictures, way, seconds[1:], taken))
            print(" ", _shown(self.rows[-1]), flush=True)

    def row(
        self, pictures: int, way: str, seconds: list[float], taken: dict[str, list[float]]
    ) -> Row:
        """Return what was measured of a way."""
        width = 4 if "fp32" in way else 2
        limit, median = width * self.shape.read / self.machine.read, statistics.median(seconds)
        peer = f"min-dalle fp{8 * width}"
        ratios = [a / b for a, b in zip(taken[peer][1:], seconds, strict=True)]
        figures = (1e3 * median, 1e3 * min(seconds), 1e3 * max(seconds))
        times = [round(each, 4) for each in figures]
        return Row(
            self.shape.name, pictures, way, *times, len(seconds), round(1e3 * limit, 4),
            round(median / limit, 2), round(statistics.median(ratios), 2),
        )  # fmt: skip


def _shown(row: Row) -> str:
    return (
        f"{row.shape}, {row.pictures} pictures, {row.way}: {row.ms:.3f} ms "
        f"[{row.low:.3f} - {row.high:.3f}], {row.over_limit:.2f} x the limit, "
        f"{row.faster_than_peer:.2f} x as fast as min-dalle"
    )


def draw_default(machine: Machine) -> list[dict[str, Any]]:
    """Draw with the embedded model, with graphs and without, and compare the codes."""
    from limner.registry import load
    from limner.types import Request

    pipeline, found = load("default").to(machine.device), []
    for count in (1, 4, 16):
        request, drawn, row = Request("a cat on the beach", n=count, seed=3), [], {"n": count}
        for name, value in (("graphs", "1"), ("eager", "0")):
            os.environ["LIMNER_GRAPHS"] = value

            def draw(request: Request = request) -> Tensor:
                *_, last = pipeline.stream(request)
                assert last.codes is not None
                return last.codes

            first = machine.seconds(draw)
            row[name] = round(machine.median(draw, 5), 4)
            row[f"{name}_first"] = round(first, 4)
            drawn.append(draw())
        row["same"] = bool(torch.equal(*drawn))
        print("  default:", row, flush=True)
        found.append(row)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    began = time.monotonic()
    if not told.tiny and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU; this benchmark needs one")
    try:
        import min_dalle.models  # noqa: F401
    except ImportError:
        rerun_in(peer_python("min-dalle", MIN_DALLE, MIN_DALLE_DEPS))
    machine = Machine("cpu" if told.tiny else "cuda")
    rates = f"reads {machine.read / 1e9:.0f} GB/s, copies {machine.copied / 1e9:.0f} GB/s"
    print(f"torch {torch.__version__}, {machine.name}, {rates}", flush=True)
    answer: dict[str, Any] = {"machine": machine.name, "torch": str(torch.__version__)}
    answer |= {"read": machine.read, "copied": machine.copied, "rows": []}
    with torch.inference_mode():
        answer["default"] = draw_default(machine)
        for compiled in (False, True):
            for shape in TINY if told.tiny else SHAPES:
                if compiled and time.monotonic() - began > told.seconds:
                    continue
                bench = Bench(shape, machine, told.rounds)
                for pictures in (1, 4):
                    bench.measure(pictures, _ways(bench, pictures, compiled=compiled))
                answer["rows"] += [asdict(each) for each in bench.rows]
                if told.json:
                    told.json.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
                del bench
                torch.cuda.empty_cache()


def _ways(bench: Bench, pictures: int, *, compiled: bool) -> dict[str, Callable[[], Any]]:
    """Return how each way of limner is made."""

    def step(precision: str, *, graph: bool) -> Any:
        stack = bench.stack(precision, compiled=compiled)
        return LimnerStep(stack, bench.peer, pictures, bench.memory, graph)

    ways: dict[str, Callable[[], Any]] = {}
    for precision in ("fp32", "bf16"):
        name = "compiled graph" if compiled else "graph"
        ways[f"limner {precision}, {name}"] = lambda p=precision: step(p, graph=True)
        if not compiled:
            ways[f"limner {precision}, plain"] = lambda p=precision: step(p, graph=False)
    return ways


if __name__ == "__main__":
    main()
