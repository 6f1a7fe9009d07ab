"""One rank of some runs, one after the other: `python -m tests.train.rank_worker JOBS.json`.

A job has a config's path, whether to resume, and after how many steps to stop. Rank 0 writes the
numbers of each job's steps beside the jobs.
"""

import gc
import itertools
import json
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import cast

from limner.train.inputs import caches
from limner.train.loop import Progress, train
from limner.train.reading import read_config


def main(path: Path) -> None:
    caches.TOKENIZER_SCENES = 100
    jobs, port = json.loads(path.read_text()), int(os.environ["MASTER_PORT"])
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
    if os.environ.get("RANK", "0") == "0":
        path.with_suffix(".found").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
