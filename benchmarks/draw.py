"""What a picture costs: start-up, one picture from a cold start, four at once against one.

    python benchmarks/draw.py [--model default] [--rounds 5] [--json FILE]

Every figure is a median of rounds with its least and greatest; the two drawings are interleaved in
one process, so that a slow moment of the machine meets both.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPT = "three red apples under the night sky"


def seconds_of(command: list[str], rounds: int) -> list[float]:
    """Return the wall seconds of a whole process, `rounds` times, after one warm-up."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def drawing_seconds(model: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of one picture and of four in a loaded model, interleaved."""
    import limner

    loaded = limner.load(model)
    one, four = [], []
    for number in range(rounds + 1):
        for count, taken in ((1, one), (4, four)):
            began = time.perf_counter()
            limner.draw(PROMPT, model=loaded, n=count, seed=number)
            taken.append(time.perf_counter() - began)
    return one[1:], four[1:]


def row(name: str, values: list[float], target: float | None) -> dict[str, float | str | None]:
    """Return one line of the table."""
    return {
        "name": name,
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
        "target": target,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    limner = [sys.executable, "-m", "limner"]
    with tempfile.TemporaryDirectory() as folder:
        draw = [*limner, "draw", PROMPT, "--model", options.model, "--out", folder, "--no-preview"]
        rows = [
            row("limner --help, seconds", seconds_of([*limner, "--help"], options.rounds), 0.3),
            row("one picture, cold start, seconds", seconds_of(draw, options.rounds), 3.0),
        ]
    one, four = drawing_seconds(options.model, options.rounds)
    ratios = [many / single for single, many in zip(one, four, strict=True)]
    rows += [
        row("one picture, model loaded, seconds", one, 0.5),
        row("four pictures at once, seconds", four, None),
        row("four at once over one, ratio", ratios, 2.5),
    ]
    for line in rows:
        target = f"   target < {line['target']}" if line["target"] else ""
        figures = f"{line['median']:8.3f}  [{line['low']:.3f} - {line['high']:.3f}]  n={line['n']}"
        print(f"{line['name']:<40}{figures}{target}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
