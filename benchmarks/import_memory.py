"""How much memory `limner import` takes for a pickle of 1.5 GB, and whether it shows how far it is.

    python benchmarks/import_memory.py [--layers 10] [--json FILE]

The checkpoint is a minDALL-E with random weights in fewer layers, made here. Memory is what the
command and the process that opens pickles have in memory, looked at 50 times a second, a mapped
file where its pages are: the highest of each, and of both, with pages of libraries that both have
counted twice and counted once. Counted once they may be the checkpoint's size and 1 GiB; more, or
no sign of progress on a terminal, ends with code 1. Linux alone.
"""

import argparse
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from peers import ROOT, peer_environment

ROOM = 2**30  # bytes beside the checkpoint's size
MAKING = """
import sys
from pathlib import Path
from import_memory import make
print(make(Path("in"), int(sys.argv[1])))
"""


def held_by(process: int) -> tuple[int, int]:
    """Return a process's bytes in memory, and the same with its share of pages that others have."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it has ended
        return 0, 0
    found = dict(re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.MULTILINE))
    return int(found.get("Rss", 0)) * 1024, int(found.get("Pss", 0)) * 1024


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found: list[int] = []
    for place in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += map(int, place.read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def make(folder: Path, layers: int) -> int:
    """Write a checkpoint, and return its bytes."""
    sys.path.insert(0, str(ROOT))
    from tests.convert import mindalle

    sizes = mindalle.Sizes(width=1536, heads=24, layers=layers, rows=16384, codes=16384, length=64)
    mindalle.write(folder, sizes)
    return sum(each.stat().st_size for each in folder.rglob("*.ckpt"))


def read_all(terminal: int, shown: list[bytes]) -> None:
    """Take what a terminal is given until nobody writes to it."""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            return
        if not data:
            return
        shown.append(data)


def watch(source: Path, out: Path) -> tuple[dict[str, int], float, str]:
    """Import on a terminal; return the highest bytes, the seconds, and what was shown."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "limner", "import", str(source), "--out", str(out)]
    environment = peer_environment() | {"TERM": "xterm", "COLUMNS": "80"}
    peaks = dict.fromkeys(("both", "shared once", "command", "reader"), 0)
    shown: list[bytes] = []
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    listener = threading.Thread(target=read_all, args=(ours, shown))
    listener.start()
    while process.poll() is None:
        held, shared = held_by(process.pid)
        opened = [held_by(each) for each in children(process.pid)]
        reader = sum(each for each, _ in opened)
        once = shared + sum(each for _, each in opened)
        now = {"both": held + reader, "shared once": once, "command": held, "reader": reader}
        peaks = {name: max(peak, now[name]) for name, peak in peaks.items()}
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    process.communicate()
    listener.join()
    text = b"".join(shown).decode(errors="replace")
    if process.returncode:
        sys.exit(f"limner import ended with code {process.returncode}: {text}")
    return peaks, seconds, text


def main() -> None:
    """Make a checkpoint, import it, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: what making takes must not be held while importing.
        here = {"PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT)])}
        told = subprocess.run(
            [sys.executable, "-c", MAKING, str(options.layers)], cwd=folder, text=True, check=True,
            env=peer_environment() | here, stdout=subprocess.PIPE,
        )  # fmt: skip
        size = int(told.stdout)
        peaks, seconds, text = watch(Path(folder) / "in", Path(folder) / "out")
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    steps = len(set(re.findall(rf"(\d+)/{size // 10**8}\d\d\b", bare)))  # "512/1537" MB
    answer: dict[str, Any] = {"checkpoint": size, **peaks, "seconds": seconds, "steps": steps}
    said = {name: f"{peak / 2**30:.2f}" for name, peak in peaks.items()}
    print(f"checkpoint {size / 2**30:.2f} GiB; at most {said['both']} GiB, or "
          f"{said['shared once']} with pages that both have counted once; the command "
          f"{said['command']}, the process that reads {said['reader']}; {seconds:.0f} s, "
          f"{steps} signs of progress")  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    if peaks["shared once"] > size + ROOM or not steps:
        sys.exit("an import takes too much memory, or shows no progress")


if __name__ == "__main__":
    main()
