"""What this machine and installation can do: versions, paths in use, rates, seconds a picture.

Everything is measured here and now, within a few seconds; nothing is sent anywhere.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from limner.errors import LimnerError, UsageError, quote

READ_BYTES = 2**27
PATIENCE = 1.0  # seconds of one measurement after which it is not repeated
MATRIX = 1024
WANTED_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "asimd", "sve")


def examine(model: str = "default") -> dict[str, Any]:
    """Return what `limner doctor --json` answers besides its own version.

    Raises UsageError for a model that draws no tokens, whose least time is not that of reading.
    """
    import torch

    from limner.registry import load_to_draw

    pipeline = load_to_draw(model)
    if pipeline.codec is None:
        raise UsageError(
            f"{quote(model)} is of the family {pipeline.family!r}, and doctor measures models that "
            "draw tokens; give one of those, as default",
            param="model",
        )
    rates = measure_rates()
    answer = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.is_available(),
        },
        "cpu": {"name": cpu_name(), "cores": usable_cores(), "flags": cpu_flags()},
        "paths": paths(),
        "rates": rates,
        "picture": picture(pipeline, rates["read"]),
        "extras": extras(),
        "font": font(),
        "folders": folders(),
    }
    return answer | {"advice": advice(answer)}


def paths() -> dict[str, Any]:
    """Return which ways of drawing are open, and what each of them says of itself."""
    from limner.nn.native import find_library
    from limner.nn.torch_engine import packed_products

    library, said = find_library()
    packed, packed_why = packed_products()
    used = "native" if library is not None else "packed" if packed else "plain"
    return {
        "used": used,
        "native": {"works": library is not None, "why": said},
        "packed": {"works": packed, "why": packed_why},
    }


def measure_rates() -> dict[str, float]:
    """Return the read rate in GB/s and the products' rates in GFLOP/s, medians of up to five."""
    import torch

    read = torch.ones(READ_BYTES // 4)
    found = {"read": READ_BYTES / _median_seconds(read.sum) / 1e9}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.randn(MATRIX, MATRIX).to(kind)
        found[name] = 2 * MATRIX**3 / _median_seconds(partial(torch.mm, matrix, matrix)) / 1e9
    return {name: round(rate, 1) for name, rate in found.items()}


def picture(pipeline: Any, read_rate: float) -> dict[str, Any]:
    """Return the seconds of a picture: measured, and those of reading the weights alone."""
    from limner.types import Request

    def draw() -> None:
        for _ in pipeline.stream(Request("three red apples", seed=0)):
            pass

    prior = pipeline.prior
    parts = [part for name, part in prior.named_children() if name in ("transformer", "head")]
    weights = sum(each.numel() for part in parts or [prior] for each in part.parameters())
    return {
        "steps": prior.steps,
        "weights": weights,
        "limit_seconds": round(prior.steps * 4 * weights / (read_rate * 1e9), 4),
        "seconds": round(_median_seconds(draw, 3), 4),
    }


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.M)
    return found[1] if found else platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Return those of the processor's abilities that matter for products."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.M)
    words = set(found[1].split()) if found else set()
    return [flag for flag in WANTED_FLAGS if flag in words]


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def extras() -> dict[str, bool]:
    """Return for each extra of limner whether all of its packages are installed."""
    found: dict[str, bool] = {}
    for line in _requirements():
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and extra[1] != "all":
            found[extra[1]] = found.get(extra[1], True) and _installed(name[0])
    return found


def font() -> str | None:
    """Return where the emoji font of scenes lies, or None."""
    from limner.data.scenes.sprites import find_font

    try:
        return str(find_font())
    except LimnerError:
        return None


def folders() -> dict[str, Any]:
    """Return the folders that limner writes to unasked, and the space there."""
    from limner.nn.native import cache_folder

    cache = cache_folder()
    there = next(each for each in (cache, *cache.parents) if each.exists())
    hub = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    return {"kernels": str(cache), "hub": hub, "free": shutil.disk_usage(there).free}


def advice(answer: dict[str, Any]) -> list[str]:
    """Return what to change, most important first; empty when all is well."""
    found = []
    threads, cores = answer["torch"]["threads"], answer["cpu"]["cores"]
    if threads > cores:
        found.append(
            f"torch has {threads} threads for {cores} cores, which slows it; "
            f"set OMP_NUM_THREADS={cores}"
        )
    if answer["paths"]["used"] != "native":
        found.append(
            f"the native kernel is not in use ({answer['paths']['native']['why']}); "
            "with a C compiler drawing is several times faster"
        )
    if os.environ.get("OMP_WAIT_POLICY", "").lower() != "passive" and threads > 1:
        found.append("on a machine that others use too, set OMP_WAIT_POLICY=passive for torch")
    if answer["font"] is None:
        found.append("scenes need Noto Color Emoji; scripts/get-font finds it, or set LIMNER_FONT")
    return found


def _median_seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Return the median seconds of up to `rounds` calls after a first; of fewer where slow."""
    work()
    taken: list[float] = []
    while len(taken) < rounds and sum(taken) < PATIENCE:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _cpuinfo() -> str:
    if sys.platform != "linux":
        return ""
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def _requirements() -> list[str]:
    try:
        return requires("limner") or []
    except PackageNotFoundError:
        return []


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
