"""Ranks of some runs: `python -m tests.train.rank_worker` starts those that a line of stdin tells.

A line is a JSON object: `folder`, which has jobs.json, `ports`, one a job, `places`, the
environment of each rank, and `apart`, whether ranks share nothing, not even the order of a set, in
place of being forked.
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
import multiprocessing.connection
import os
import random
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy

from limner.train.inputs import caches
from limner.train.inputs.text import words_of_scenes
from limner.train.loop import Progress, train
from limner.train.reading import read_config

# Where a process can be forked, its ranks have imported all this already. It takes them longer than
# the few steps that they train.
IMPORTED = (
    "limner.train.clip.step",
    "limner.train.codec.step",
    "limner.train.prior.step",
    "tokenizers",
    "torch._dynamo",  # by the first optimiser
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
)
GRACE = 120.0  # seconds that ranks have for noticing that another one failed
START = "fork" if sys.platform == "linux" else "spawn"


def be_rank(folder: Path, place: dict[str, str], ports: list[int]) -> None:
    """Run the jobs of a folder, one after the other, as the rank that the environment tells."""
    with (folder / f"{place['RANK']}.told").open("wb") as told:
        os.dup2(told.fileno(), 1)  # stdout is for the answers
        os.dup2(told.fileno(), 2)
    os.environ.update(place)
    random.seed()  # chance that a run does not set is another one in each process
    numpy.random.seed()
    caches.TOKENIZER_SCENES = 100
    jobs = json.loads((folder / "jobs.json").read_text())
    found = []
    for job, port in zip(jobs, ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
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
    if START == "fork":
        for name in IMPORTED:
            importlib.import_module(name)
        gc.freeze()  # what is there is not looked through by each rank
    for line in sys.stdin:
        told: dict[str, Any] = json.loads(line)
        folder = Path(told["folder"])
        for job in json.loads((folder / "jobs.json").read_text()) if START == "fork" else ():
            if (config := read_config(job["config"])).task != "codec":
                words_of_scenes(config)  # it remembers them, and so do forks
        start: Any = multiprocessing.get_context("spawn" if told["apart"] else START)
        ranks = [
            start.Process(target=be_rank, args=(folder, place, told["ports"]))
            for place in told["places"]
        ]
        for rank in ranks:
            rank.start()
        answer([rank.pid for rank in ranks])
        join(ranks)
        answer([rank.exitcode for rank in ranks])


def join(ranks: list[Any]) -> None:
    """Wait until all ranks have ended; those that wait long for one that failed are killed."""
    left = {rank.sentinel: rank for rank in ranks}
    while left:
        failed = any(rank.exitcode for rank in ranks)
        ended = multiprocessing.connection.wait(list(left), GRACE if failed else None)
        for each in ended:
            left.pop(cast("int", each)).join()
        if not ended:
            for rank in left.values():
                rank.kill()


def answer(numbers: list[int | None]) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(numbers) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
