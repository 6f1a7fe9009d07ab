"""What `--best-of` gains: each of several drawings judged, the one that is picked, and any.

    python benchmarks/best_of.py [MODEL] [--count 150] [--tries 16] [--seed S] [--clip CLIP]
                                 [--temperature T] [--precision P] [--by both] [--narrow]
                                 [--json FILE]

Pictures are picked as `limner draw` does: by what the model reads in them, then by CLIP; --by clip
leaves the reading out. "mixed" are the prompts of which some drawings are right and some are not:
of others nothing can be gained. "any" asks of each judgement whether it is right in one drawing at
least: what a perfect judge could reach at most. "gain" is of the picked drawing over the mean of
all; intervals are of judgements drawn again (bootstrap). The cost is the seconds of a prompt.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.data.scenes.words import draws_wide
from limner.evaluate.resampling import Estimate, bootstrap_mean, share_of
from limner.evaluate.scenes.detection import SceneDetector
from limner.evaluate.scenes.judging import ASPECTS, Judgements, judge
from limner.evaluate.scenes.prompts import collect_prompts
from limner.images import to_images
from limner.registry import load, load_clip
from limner.types import Request, Sampling

ANSWERS, WHOLE, MIXED = "all answers", "all of a picture", "all of a picture, mixed prompts"


@dataclass(frozen=True)
class Tries:
    """The drawings of one prompt: the judgements of each, and which of them is picked."""

    judgements: list[Judgements]
    picked: int
    seconds: float

    def marks(self, aspect: str) -> list[list[bool]]:
        """Return for each drawing which judgements of an aspect are right."""
        if aspect in (WHOLE, MIXED):
            return [[all(map(all, each.values()))] for each in self.judgements]
        if aspect == ANSWERS:
            return [[one for many in each.values() for one in many] for each in self.judgements]
        return [list(each.get(aspect, ())) for each in self.judgements]


def draw_tries(pipeline: Any, clip: Any, told: argparse.Namespace) -> list[Tries]:
    """Draw and judge `count` held-out prompts `tries` times each."""
    wide = draws_wide(pipeline.words) and not told.narrow
    detector = SceneDetector(size=pipeline.size, wide=wide)
    sampling = pipeline.resolve_sampling(
        Request("any", sampling=Sampling(temperature=told.temperature))
    )
    found = []
    prompts = collect_prompts("held_out", told.count, told.seed, wide=wide)
    for number, prompt in enumerate(prompts):
        seeds = range(number * told.tries, (number + 1) * told.tries)
        began = time.perf_counter()
        drawn = pipeline.draw_many([prompt.english] * told.tries, list(seeds), sampling)
        images = drawn.float().clamp(-1, 1)
        scores = clip.compare(to_images(images), [prompt.english])[:, 0].tolist()
        shown = None
        if told.by == "both":
            shown = pipeline.shows(Request(prompt.english), images)
        ranks = list(zip(shown or [0.0] * told.tries, scores, strict=True))
        picked = max(range(told.tries), key=ranks.__getitem__)
        seconds = time.perf_counter() - began
        judged = [judge(prompt.graph, each) for each in detector.detect(images)]
        found.append(Tries(judged, picked, seconds))
    return found


WAYS: dict[str, Callable[[list[list[bool]], int], list[float]]] = {
    "first": lambda marks, picked: list(map(float, marks[0])),
    "mean": lambda marks, picked: [sum(each) / len(marks) for each in zip(*marks, strict=True)],
    "picked": lambda marks, picked: list(map(float, marks[picked])),
    "any": lambda marks, picked: [float(any(each)) for each in zip(*marks, strict=True)],
}


def shares(found: list[Tries], aspect: str) -> dict[str, Estimate]:
    """Return the accuracy of each way, and the gain of picking."""
    if aspect == MIXED:
        found = [each for each in found if len({mark for (mark,) in each.marks(WHOLE)}) == 2]
    rows = {
        name: [mark for each in found for mark in way(each.marks(aspect), each.picked)]
        for name, way in WAYS.items()
    }
    table = {name: bootstrap_mean(row) if name == "mean" else share_of(row)
             for name, row in rows.items()}  # fmt: skip
    gained = [one - other for one, other in zip(rows["picked"], rows["mean"], strict=True)]
    return table | {"gain": bootstrap_mean(gained)}


def main() -> None:
    """Print the table, and write it as JSON where a file is given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--count", type=int, default=150, help="prompts")
    parser.add_argument("--tries", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts")
    parser.add_argument("--narrow", action="store_true", help="prompts of the first 278 things")
    parser.add_argument("--clip", default="clip", help="which picks")
    parser.add_argument("--by", choices=("both", "clip"), default="both", help="what picks")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--temperature", type=float, help="the model's own by default")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    pipeline = load(told.model, precision=told.precision)
    found = draw_tries(pipeline, load_clip(told.clip), told)
    table = {aspect: shares(found, aspect) for aspect in (*ASPECTS, ANSWERS, WHOLE, MIXED)}
    for aspect, row in table.items():
        cells = [f"{name} {each.value:.3f} ({each.low:.3f} to {each.high:.3f})"
                 for name, each in row.items()]  # fmt: skip
        print(f"{aspect}, n={row['first'].n}".ljust(40), "  ".join(cells))
    seconds = sum(each.seconds for each in found) / len(found)
    print(f"{seconds:.2f} s a prompt: {told.tries} drawings and the choice")
    if told.json:
        answer = {
            aspect: {name: each.to_json() for name, each in row.items()}
            for aspect, row in table.items()
        }
        told.json.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
