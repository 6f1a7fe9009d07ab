"""Ranks of some runs: `python -m tests.train.rank_worker` starts those that a line of stdin tells.

A line is a JSON object: `folder`, which has jobs.json, and `places`, the environment of each rank.
The answers are lines too: the ids of the ranks' processes, and, when all have ended, their exit
codes. What rank N says is in the folder, in N.told, and the numbers of each job's steps are in
jobs.found, by rank 0. A job has a config's path, whether to resume, and after how many steps to
stop.
"""

import gc
import importlib
import itertools
import json
import multiprocessing
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from limner.train.inputs import caches
from limner.train.loop import Progress, train
from limner.train.reading import read_config

# Where a process can be forked, its ranks have imported all this already. It takes them longer than
# the few steps that they train.
IMPORTED = (
    "limner.train.clip.step",
    "limner.train.codec.step",
    "limner.train.prior.step",
    "torch._dynamo",  # by the first optimiser
    "torch.distributed.fsdp",
)
START = "fork" if sys.platform == "linux" else "spawn"


def be_rank(folder: Path, place: dict[str, str]) -> None:
    """Run the jobs of a folder, one after the other, as the rank that the environment tells."""
    with (folder / f"{place['RANK']}.told").open("wb") as told:
        os.dup2(told.fileno(), 1)  # stdout is for the answers
        os.dup2(told.fileno(), 2)
    os.environ.update(place)
    caches.TOKENIZER_SCENES = 100
    jobs, port = json.loads((folder / "jobs.json").read_text()), int(place["MASTER_PORT"])
    found = []
    for number, job in enumerate(jobs):
        os.environ["MASTER_PORT"] = str(port + number)
        going = cast(
            "Generator[Progress, None, None]",
            train(read_config(job["config"]), resume=job.get("resume", False)),
        )
        steps = list(itertools.islice(going, job.get("steps")))
        going.close()
        del going
        gc.collect()  # else a forked reader of the next job may end groups that are not its own
        found.append(
            {
                "numbers": [step.numbers for step in steps],
                "steps": [step.step for step in steps],
                "validation": steps[-1].validation,
            }
        )
    if place["RANK"] == "0":
        (folder / "jobs.found").write_text(json.dumps(found))


def main() -> None:
    """Start the ranks that each line asks for, and wait for them."""
    started = multiprocessing.get_context(START)
    if START == "fork":
        for name in IMPORTED:
            importlib.import_module(name)
    for line in sys.stdin:
        told: dict[str, Any] = json.loads(line)
        ranks = [
            started.Process(target=be_rank, args=(Path(told["folder"]), place))
            for place in told["places"]
        ]
        for rank in ranks:
            rank.start()
        answer([rank.pid for rank in ranks])
        for rank in ranks:
            rank.join()
        answer([rank.exitcode for rank in ranks])


def answer(numbers: list[int | None]) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(numbers) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
