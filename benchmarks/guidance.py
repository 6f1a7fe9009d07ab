"""What guidance does to a model that draws from noise: the scene score and diversity by scale.

python benchmarks/guidance.py MODEL --out docs/guidance.png --json guidance.json

Each scale draws the same single objects of the validation split with the same seeds, several
pictures of each prompt. Diversity is the mean cosine distance of a prompt's pictures to one another
as the embedded CLIP sees them: 0 where all are alike.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.evaluate.resampling import Score
from limner.evaluate.scenes.detection import SceneDetector
from limner.evaluate.scenes.judging import judge
from limner.evaluate.scenes.prompts import Prompt, collect_prompts
from limner.images import to_images
from limner.registry import load_clip, load_to_draw
from limner.types import Request

SCALES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
ASPECTS = ("object", "colour", "background")
Row = dict[str, Any]


def single_prompts(count: int, seed: int) -> list[Prompt]:
    """Return prompts of the validation split that ask for one object."""
    found = collect_prompts("validation", 4 * count, seed)
    return [each for each in found if each.graph.kind == "single"][:count]


def diversity(clip: Any, images: Tensor, each: int) -> float:
    """Return the mean cosine distance between the pictures of a prompt, `each` of them in a row."""
    vectors = clip.see(to_images(images)).unflatten(0, (-1, each))  # (prompts, each, D)
    pairs = [(vectors[:, a] * vectors[:, b]).sum(-1) for a, b in combinations(range(each), 2)]
    return float(1 - torch.stack(pairs).mean())


def row_of(pipeline: Any, clip: Any, prompts: list[Prompt], scale: float, each: int) -> Row:
    """Return the scores and the diversity of one scale."""
    sampling = pipeline.resolve_sampling(Request("settings", guidance=scale))
    asked = [prompt for prompt in prompts for _ in range(each)]
    drawn = [
        pipeline.draw_many([prompt.english] * each, range(each), sampling) for prompt in prompts
    ]
    images = torch.cat(drawn).float().clamp(-1, 1)
    shown = SceneDetector(size=pipeline.size).detect(images)
    judged = [judge(prompt.graph, seen) for prompt, seen in zip(asked, shown, strict=True)]
    row: Row = {"guidance": scale, "diversity": round(diversity(clip, images, each), 4)}
    for aspect in ASPECTS:
        marks = [mark for answers in judged for mark in answers.get(aspect, ())]
        row[aspect] = Score.measured(sum(marks), len(marks)).to_json()
    return row


def plot(rows: list[Row], path: Path) -> None:
    """Write the curves as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    scales = range(len(rows))
    for aspect in ASPECTS:
        values = [row[aspect]["value"] for row in rows]
        ends = [[row[aspect][end] for row in rows] for end in ("low", "high")]
        axes.plot(scales, values, marker="o", label=aspect)
        axes.fill_between(scales, *ends, alpha=0.15)
    axes.plot(
        scales, [row["diversity"] for row in rows], marker="s", color="black", linestyle="--",
        label="diversity",
    )  # fmt: skip
    axes.set_xticks(scales, [f"{row['guidance']:g}" for row in rows])
    axes.set_xlabel("guidance")
    axes.set_ylabel("accuracy; mean cosine distance")
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure each scale, print the rows, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model")
    parser.add_argument("--count", type=int, default=60, help="prompts")
    parser.add_argument("--each", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    pipeline, clip = load_to_draw(told.model), load_clip()
    prompts = single_prompts(told.count, told.seed)
    rows = []
    for scale in SCALES:
        rows.append(row_of(pipeline, clip, prompts, scale, told.each))
        print(json.dumps(rows[-1]), flush=True)
    if told.json:
        told.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if told.out:
        plot(rows, told.out)


if __name__ == "__main__":
    main()
