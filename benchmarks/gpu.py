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

import roofline
import torch
from mini import (
    CELLS,
    TEXT,
    TOKENS,
    LimnerStep,
    PeerStep,
    head_of_peer,
    layers_of_peer,
    make_peer,
    parity,
)
from peers import MIN_DALLE, MIN_DALLE_DEPS, peer_python, rerun_in
from roofline import Shape
from torch import Tensor

STEPS = 8  # of one way, before the next has its turn
READ = 2**32


MINI = roofline.SHAPES["DALL-E mini"]
SHAPES = {"DALL-E mini": MINI, "DALL-E mega": Shape(2048, 24, 32, 4096, TOKENS, CELLS, TEXT)}
TINY = {"tiny": Shape(64, 2, 2, 96, TOKENS, CELLS, TEXT)}


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


class Bench:
    """One shape: its peer, its prepared decoders, and what was measured."""

    def __init__(self, name: str, shape: Shape, machine: Machine, rounds: int) -> None:
        self.name, self.shape, self.machine, self.rounds = name, shape, machine, rounds
        self.peer = make_peer(shape, machine.device)
        self.half = make_peer(shape, machine.device).half()
        self.memory = torch.randn(2, TEXT, shape.width, device=machine.device)
        self.rows: list[Row] = []

    def stack(self, precision: str, *, compiled: bool = False) -> Any:
        """Return limner's decoder of the peer's weights."""
        from limner.nn.engine import DecoderShape
        from limner.nn.torch_engine import TorchEngine

        os.environ["LIMNER_GRAPHS"] = "compiled" if compiled else "1"
        sizes = self.shape.width, self.shape.layers, self.shape.heads, self.shape.hidden
        head = head_of_peer(self.peer)
        told = DecoderShape(*sizes, layer_norm=True, gelu=True)
        device = self.machine.device
        return TorchEngine(told, layers_of_peer(self.peer), [head], precision, device)

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
                    worst, spread = parity(steps["min-dalle fp32"], steps[way], 6)
                    print(f"  {way}: logits differ by {worst:.1e}, of a spread of {spread:.2f}")
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
        precision = "fp32" if "fp32" in way else "bf16"  # which is as wide as fp16
        limit = self.shape.read(precision) / self.machine.read
        median = statistics.median(seconds)
        peer = "min-dalle fp32" if precision == "fp32" else "min-dalle fp16"
        ratios = [a / b for a, b in zip(taken[peer][1:], seconds, strict=True)]
        figures = (1e3 * median, 1e3 * min(seconds), 1e3 * max(seconds))
        times = [round(each, 4) for each in figures]
        return Row(
            self.name, pictures, way, *times, len(seconds), round(1e3 * limit, 4),
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
            for name, shape in (TINY if told.tiny else SHAPES).items():
                if compiled and time.monotonic() - began > told.seconds:
                    continue
                bench = Bench(name, shape, machine, told.rounds)
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
