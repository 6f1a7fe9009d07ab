"""The memory that steps of a training really take, beside what `limner train --plan` says.

    python benchmarks/memory.py configs/codec.toml [--set KEY=VALUE] [--steps 3]

Measured is the highest resident set of a few steps over that before the first, so that gradients,
the optimiser's state, activations and half copies count, weights and averages do not. Linux alone,
one process on the CPU. Data is made as the run's config says; give a small `data.cached`.
"""

import argparse
import tempfile
from pathlib import Path

from limner.train.plan.plan import make_plan
from limner.train.reading import read_config
from limner.train.steps import create_step

COUNTED = ("gradients", "optimizer", "activations", "half_copies")
GIB = 2**30


def resident(name: str) -> float:
    """Return VmRSS or VmHWM of this process in GiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 2**20


def main() -> None:
    """Plan, take the steps, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=3)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        changes = dict(each.split("=", 1) for each in told.set) | {"out": f"{folder}/run"}
        config = read_config(told.config, changes)
        planned = make_plan(config, (1,), hardware=[])["memory"][0]
        step = create_step(config)
        step.start(0)
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the highest so far
        for number in range(told.steps):
            step(number)
        measured = resident("VmHWM") - before
    expected = sum(planned[name] for name in COUNTED) / GIB
    print(f"measured {measured:.3f} GiB, planned {expected:.3f} GiB")


if __name__ == "__main__":
    main()
