"""Whether `limner explain` is right, where that is known: on scenes of two objects.

    python benchmarks/explain.py [MODEL] [--count 300] [--first 0] [--seed S] [--split held_out]
                                 [--asked] [--chinese] [--sheets FOLDER] [--json FILE]
    python benchmarks/explain.py --rows PIECE.json PIECE.json ...

The model draws pairs of the scene generator, and the scorer of `limner eval` says where each object
then stands. "peak" asks whether the hottest cell of a noun lies in its object's box; chance is the
box's share of the picture. "inside" is the share of the noun's heat above 0 that does. "left"
covers the hottest cells of a noun with the true background, more and more of them, and asks the
scorer whether it still finds the object: the mean over all steps, the lower the better, and beside
it of cells in random order. The ways are that of the library and, of a GPT, the attention of cells
to the noun, which is no part of the library: the mean of all heads, and its product with the
library's heat. With `--asked` each object is taken to be where it was asked for, of models whose
drawings the scorer does not recognise. Intervals are of scenes drawn again (bootstrap). With --json
the scenes are kept, so that a long run can be one of several pieces.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count as count_up
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.data.scenes.backgrounds import background
from limner.data.scenes.captions import caption
from limner.data.scenes.graph import Graph, sample_graph, scene_rng
from limner.data.scenes.scene import Box, layout
from limner.evaluate.resampling import Estimate, bootstrap_mean
from limner.evaluate.scenes.detection import Detections, SceneDetector
from limner.explain import Explanation, explain_request
from limner.images import to_tensor
from limner.nn.transformer import rotate
from limner.registry import load_to_draw
from limner.text.lexicon import join, tokens
from limner.text.spans import spans_of
from limner.types import Request, Step

LEVEL = 5  # mostly pairs
PRODUCT = "product"
COVERED = (0.06, 0.12, 0.25, 0.37)  # shares of the picture, in steps


@dataclass(frozen=True)
class Found:
    """An object that was drawn: its noun, the noun's place among the words, and its box."""

    noun: str
    word: int
    box: Box


@dataclass(frozen=True)
class Drawing:
    """A drawn scene with its explanation, and the objects that the scorer finds and words name."""

    graph: Graph
    explained: Explanation
    objects: list[Found]


def prompts(split: str, count: int, seed: int, language: str) -> Iterator[tuple[Graph, str]]:
    """Yield scenes of two objects, from the first on, each with a caption."""
    found = 0
    for index in count_up():
        rng = scene_rng(split, index, seed, LEVEL)
        graph = sample_graph(split, rng, LEVEL)
        if graph.kind == "pair":
            yield graph, caption(graph, language, rng)
            found += 1
        if found == count:
            return


def find_objects(
    graph: Graph, explained: Explanation, detector: SceneDetector | None
) -> list[Found]:
    """Return the asked objects that the scorer finds in a picture, and where.

    Without a scorer each is taken to be where it was asked for.
    """
    shown = Detections(graph.background, graph.things, graph.relation)
    if detector is not None:
        (shown,) = detector.detect(to_tensor([explained.picture.image]))
    if not shown.things:
        return []
    size = explained.picture.image.width
    boxes = layout(Graph(shown.things, shown.background, shown.relation), size)
    words = [each.text for each in explained.words]
    found = []
    for thing in graph.things:
        entry = thing.entry
        called = (entry.singular, *entry.aliases, entry.chinese, *entry.chinese_aliases)
        names = {join(tokens(name)) for name in called}
        word = next((at for at, text in enumerate(words) if text in names), None)
        place = next((at for at, each in enumerate(shown.things) if each.noun == thing.noun), None)
        # One of a kind: with several of a thing the scorer does not say which is the one asked.
        if word is None or place is None or shown.things[place].count > 1:
            continue
        (box,) = [each for each in boxes if each.thing == place]
        found.append(Found(thing.noun, word, box))
    return found


def attention_heat(pipeline: Any, explained: Explanation, codes: Tensor) -> list[Tensor]:
    """Return for each word the mean attention (h, w) of all layers and heads that cells pay it."""
    text = explained.picture.revised_prompt
    ids = pipeline.read([text])
    seen: list[Tensor] = []

    def keep(module: Any, given: tuple[Any, ...]) -> None:
        x, rotary, mask = given[:3]
        q, k, _ = module.qkv(x).unflatten(-1, (3, module.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(module.query_norm(q), *rotary), rotate(module.key_norm(k), *rotary)
        scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
        seen.append(scores.softmax(-1)[0].mean(0))  # (T + S, T + S)

    blocks = pipeline.prior.transformer.blocks
    hooks = [each.attention.register_forward_pre_hook(keep) for each in blocks]
    with torch.inference_mode():
        pipeline.prior(ids, codes)
    for each in hooks:
        each.remove()
    length = ids.shape[1]
    paid = torch.stack(seen).mean(0)[length:, :length]  # (S, T)
    first = length - len(pipeline.tokenizer.encode(text))
    grammar = pipeline.words.grammar if pipeline.words else None
    return [
        paid[:, [first + at for at in span.tokens]].sum(1).view(pipeline.codec.grid)
        for span in spans_of(text, pipeline.tokenizer, grammar)
    ]


def inside(heat: Tensor, box: Box, size: int) -> Tensor:
    """Return which part of each cell of heat (h, w) lies in a box of a picture `size` wide."""
    mask = torch.zeros(1, 1, size, size)
    mask[..., box.top : box.top + box.side, box.left : box.left + box.side] = 1
    return torch.nn.functional.adaptive_avg_pool2d(mask, (heat.shape[0], heat.shape[1]))[0, 0]


def hits(heat: Tensor, box: Box, size: int) -> dict[str, float]:
    """Return whether the peak lies in the box, the share of the heat that does, and chance."""
    part, warm = inside(heat, box, size), heat.clamp_min(0)
    return {
        "peak": float(part.flatten()[int(heat.argmax())] > 0.5),
        "inside": float((warm * part).sum() / warm.sum().clamp_min(1e-9)),
        "chance": (box.side / size) ** 2,
    }


def share_left(
    drawing: Drawing, one: Found, order: Tensor, shape: torch.Size, detector: SceneDetector
) -> float:
    """Return in which share of the steps the scorer still finds an object, cells covered first.

    `order` lists the cells of a map of `shape`, those to cover first.
    """
    image = to_tensor([drawing.explained.picture.image])
    size = image.shape[-1]
    bare = torch.tensor(background(drawing.graph.background, size)).movedim(-1, 0)[None]
    covered = []
    for share in COVERED:
        mask = torch.zeros(1, 1, *shape)
        mask.flatten()[order[: max(1, round(share * len(order)))]] = 1
        mask = torch.nn.functional.interpolate(mask, size=(size, size))
        covered.append(torch.where(mask > 0, bare / 127.5 - 1, image))
    seen = detector.detect(torch.cat(covered))
    return sum(one.noun in {each.noun for each in shown.things} for shown in seen) / len(seen)


def measure(
    drawing: Drawing, heats: dict[str, list[Tensor]], detector: SceneDetector | None, seed: int
) -> dict[str, dict[str, float]]:
    """Return the figures of each way, the mean over the objects of a scene."""
    size = drawing.explained.picture.image.width
    generator = torch.Generator().manual_seed(seed)
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in heats}
    for one in drawing.objects:
        shape = next(iter(heats.values()))[one.word].shape
        order = torch.randperm(shape.numel(), generator=generator)
        chance = share_left(drawing, one, order, shape, detector) if detector else 0.0
        for way, heats_of_words in heats.items():
            heat = heats_of_words[one.word]
            row = hits(heat, one.box, size)
            if way != PRODUCT and detector is not None:
                order = heat.flatten().argsort(descending=True)
                left = share_left(drawing, one, order, heat.shape, detector)
                row |= {"left": left, "left_at_random": chance, "gain": chance - left}
            rows[way].append(row)
    return {
        way: {name: sum(each[name] for each in row) / len(row) for name in row[0]}
        for way, row in rows.items()
    }


def estimates(row: list[dict[str, float]]) -> dict[str, Estimate]:
    """Return each figure's mean over scenes, with its interval."""
    return {name: bootstrap_mean([each[name] for each in row]) for name in row[0]}


def table_of(rows: dict[str, list[dict[str, float]]]) -> str:
    """Return a line for each way."""
    lines = []
    for way, row in rows.items():
        cells = [
            f"{name} {each.value:.3f} ({each.interval('.3f')})"
            for name, each in estimates(row).items()
        ]
        lines.append("  ".join([f"{way}, n={len(row)}:", *cells]))
    return "\n".join(lines)


def kept(steps: list[Step], drawing: Iterator[Step]) -> list[Step]:
    """Return the steps of a drawing that was drawn before, in place of drawing it again."""
    return steps


def run(told: argparse.Namespace) -> dict[str, Any]:
    """Draw, explain and measure scenes; return what is kept of them."""
    pipeline, detector = load_to_draw(told.model), None if told.asked else SceneDetector()
    rows: dict[str, list[dict[str, float]]] = {}
    asked = objects = 0
    language = "zh" if told.chinese else "en"
    last = told.first + told.count
    scenes = enumerate(prompts(told.split, last, told.seed, language))
    for number, (graph, text) in islice(scenes, told.first, None):
        request = Request(text, seed=told.seed * 100_000 + number, verbatim=True)
        steps = list(pipeline.stream(request))
        explained = explain_request(pipeline, request, watch=partial(kept, steps))
        drawing = Drawing(graph, explained, find_objects(graph, explained, detector))
        asked, objects = asked + 2, objects + len(drawing.objects)
        if told.sheets and number < told.first + 20:
            told.sheets.mkdir(parents=True, exist_ok=True)
            explained.save(told.sheets / f"{number:03d}.png")
        if not drawing.objects:
            continue
        heats = {explained.reasons.way: [each.heat for each in explained.words]}
        if hasattr(getattr(pipeline, "prior", None), "transformer") and steps[-1].codes is not None:
            paid = attention_heat(pipeline, explained, steps[-1].codes)
            heats["attention"] = paid
            both = zip(explained.words, paid, strict=True)
            heats[PRODUCT] = [word.heat.clamp_min(0) * each for word, each in both]
        for way, row in measure(drawing, heats, detector, number).items():
            rows.setdefault(way, []).append(row)
        if (number + 1) % 50 == 0:
            print(f"{number + 1} scenes", table_of(rows), sep="\n", flush=True)
    return {"asked": asked, "objects": objects, "ways": rows}


def joined(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the scenes of several pieces of a run as one."""
    ways: dict[str, list[dict[str, float]]] = {}
    for piece in pieces:
        for way, rows in piece["ways"].items():
            ways.setdefault(way, []).extend(rows)
    counts = {name: sum(piece[name] for piece in pieces) for name in ("asked", "objects")}
    return {**counts, "ways": ways}


def main() -> None:
    """Measure, or read what was measured; print the table, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("model", nargs="?", default="default")
    parser.add_argument("--count", type=int, default=300, help="scenes")
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--split", default="held_out", help="validation, held_out")
    parser.add_argument("--asked", action="store_true", help="boxes as asked for, no scorer")
    parser.add_argument("--chinese", action="store_true", help="captions in Chinese")
    parser.add_argument("--sheets", type=Path, help="where the first 20 sheets go")
    parser.add_argument("--json", type=Path, help="keep the scenes")
    parser.add_argument("--rows", type=Path, nargs="+", help="scenes of earlier pieces")
    told = parser.parse_args()
    if told.rows:
        found = joined([json.loads(each.read_text("utf-8")) for each in told.rows])
    else:
        found = run(told)
    print(f"{found['objects']} objects of {found['asked']} were found and are named by one phrase")
    print(table_of(found["ways"]))
    if told.json:
        told.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
