"""What `--best-of` gains: each of several drawings judged, the one that CLIP picks, and any.

    python benchmarks/best_of.py [--count 150] [--tries 16] [--temperature T] [--json FILE]

"any" asks of each judgement whether it is right in one drawing at least: what a perfect judge could
reach at most. Drawing takes most of the time, about 3 s a prompt on one core.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limner.evaluate.judging import ASPECTS, Judgements, judge
from limner.evaluate.prompts import collect_prompts
from limner.evaluate.reading import Reader
from limner.images import to_images
from limner.registry import load, load_clip
from limner.types import Request, Sampling

WHOLE = "all of a picture"


@dataclass(frozen=True)
class Tries:
    """The drawings of one prompt: the judgements of each, and which of them CLIP picks."""

    judgements: list[Judgements]
    picked: int

    def marks(self, aspect: str) -> list[list[bool]]:
        """Return for each drawing which judgements of an aspect are right."""
        if aspect == WHOLE:
            return [[all(map(all, each.values()))] for each in self.judgements]
        return [list(each.get(aspect, ())) for each in self.judgements]


def draw_tries(count: int, tries: int, precision: str, temperature: float | None) -> list[Tries]:
    """Draw and judge `count` held-out prompts `tries` times each."""
    pipeline, clip, reader = load("default", precision=precision), load_clip(), Reader()
    sampling = pipeline.settle(Request("any", sampling=Sampling(temperature=temperature)))
    found = []
    for number, prompt in enumerate(collect_prompts("held_out", count, 0)):
        seeds = range(number * tries, (number + 1) * tries)
        drawn = pipeline.draw_many([prompt.english] * tries, list(seeds), sampling)
        images = drawn.float().clamp(-1, 1)
        scores = clip.compare(to_images(images), [prompt.english])[:, 0]
        judged = [judge(prompt.graph, shown) for shown in reader.read(images)]
        found.append(Tries(judged, int(scores.argmax())))
    return found


WAYS: dict[str, Callable[[list[list[bool]], int], list[float]]] = {
    "first": lambda marks, picked: list(map(float, marks[0])),
    "mean": lambda marks, picked: [sum(each) / len(marks) for each in zip(*marks, strict=True)],
    "picked": lambda marks, picked: list(map(float, marks[picked])),
    "any": lambda marks, picked: [float(any(each)) for each in zip(*marks, strict=True)],
}


def main() -> None:
    """Print the table, and write it as JSON where a file is given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=150, help="prompts")
    parser.add_argument("--tries", type=int, default=16)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--temperature", type=float, help="the model's own by default")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    found = draw_tries(told.count, told.tries, told.precision, told.temperature)
    table = {}
    for aspect in (*ASPECTS, WHOLE):
        row = {
            name: [mark for each in found for mark in way(each.marks(aspect), each.picked)]
            for name, way in WAYS.items()
        }
        shares = {name: round(sum(marks) / max(1, len(marks)), 4) for name, marks in row.items()}
        table[aspect] = {"n": len(row["first"]), **shares}
        print(f"{aspect:18}", "  ".join(f"{name} {value}" for name, value in table[aspect].items()))
    if told.json:
        told.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
