"""What the scorer reads of true pictures: the most that any model could score, kind by kind.

  python benchmarks/ceiling.py [--level 6] [--scenes 600] [--size 64] [--codec MODEL] [--json FILE]
  python benchmarks/ceiling.py --each 2 [--codec MODEL [--small]]
  python benchmarks/ceiling.py --drawn MODEL [--each 1] [--most 240]

Scenes are of the validation split, as `limner eval --on scenes` asks for them; levels 6 to 8 are of
the wide world. With --codec, pictures go through a model's codec and back first; with --small the
small picture of a decoder of things is read, which says what the codes alone know. --each draws
every thing alone, so many times in its own colours and as many in others, and lists those misread.
--drawn reads what a model draws from their captions, by its small picture: what its prior has
learnt of a world that its painter does not know yet.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.data.batches.batches import true_pictures
from limner.data.scenes.backgrounds import backgrounds
from limner.data.scenes.captions import caption
from limner.data.scenes.graph import Graph, Thing, hides, is_wide, pick, sample_graph, scene_rng
from limner.data.scenes.nouns import nouns
from limner.data.scenes.sprites import COLOURS
from limner.evaluate.resampling import Score
from limner.evaluate.scenes.detection import Detections, SceneDetector
from limner.evaluate.scenes.judging import judge, tally
from limner.evaluate.scenes.prompts import kind_of
from limner.registry import load

AT_ONCE = 64
Copy = Callable[[Tensor], Tensor]
MISREAD = 40  # things that are listed, at most


def main() -> None:
    """Read true pictures, and print what was read rightly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--level", type=int, default=6)
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=0)
    parser.add_argument("--codec", default="")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--drawn", default="")
    parser.add_argument("--most", type=int, help="read so many of them, at random")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    if told.each:
        graphs = things_alone(told.level, told.each, told.seed)
    else:
        graphs = scenes(told.level, told.scenes, told.seed)
    if told.most:
        random.Random(told.seed).shuffle(graphs)
        graphs = graphs[: told.most]
    copy = copies(load(told.codec).codec, small=told.small) if told.codec else None
    detector = SceneDetector(size=told.size, wide=is_wide(told.level))
    if told.drawn:
        shown = detector.detect(drawings(load(told.drawn), graphs, told.seed))
    else:
        shown = read(graphs, detector, told.size, copy)
    found = report(graphs, shown)
    print_report(found)
    if told.json:
        told.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def scenes(level: int, count: int, seed: int) -> list[Graph]:
    """Return scenes of the validation split in no style: the scorer reads plain ones alone."""
    drawn: list[Graph] = []
    index = 0
    while len(drawn) < count:
        graph = sample_graph("validation", scene_rng("validation", index, seed, level), level)
        drawn += [graph] if graph.style == "plain" else []
        index += 1
    return drawn


def things_alone(level: int, each: int, seed: int) -> list[Graph]:
    """Return every thing of a level's world alone, on backgrounds that do not hide it."""
    rng, graphs = random.Random(seed), list[Graph]()
    grounds = backgrounds(wide=is_wide(level))
    for noun in nouns(wide=is_wide(level)):
        colours: list[str | None] = [None] * each
        for _ in range(each if noun.painted else 0):
            colours.append(pick(rng, tuple(COLOURS)))
        for colour in colours:
            while hides(graph := Graph((Thing(noun.singular, colour),), pick(rng, grounds))):
                pass
            graphs.append(graph)
    return graphs


def copies(codec: Any, *, small: bool) -> Copy:
    """Return what makes a codec's copies of pictures (B, 3, s, s), as its encoder sees them."""

    @torch.inference_mode()
    def copy(pictures: Tensor) -> Tensor:
        codes = codec.encode(F.interpolate(pictures, size=(codec.config.size,) * 2))
        if not small:
            return codec.decode(codes)
        made: Tensor = codec.decoder.small(codec.decoder.cells(codec.embed(codes)))
        return made

    return copy


@torch.inference_mode()
def drawings(pipeline: Any, graphs: Sequence[Graph], seed: int) -> Tensor:
    """Return the small pictures (N, 3, s, s) that a model of tokens draws from English captions."""
    rng, codes, at_once = random.Random(seed), list[Tensor](), pipeline.prior.batch_rows
    captions = [caption(graph, "en", rng) for graph in graphs]
    for first in range(0, len(captions), at_once):
        text = pipeline.read(captions[first : first + at_once])
        seeds = [seed + first + number for number in range(len(text))]
        *_, drawn = pipeline.prior.stream(text, pipeline.defaults, seeds)
        codes.append(drawn)
    codec = pipeline.codec
    grids = torch.cat(codes).unflatten(1, codec.layout)
    small: Tensor = codec.decoder.small(codec.decoder.cells(codec.embed(grids)))
    return small.float().clamp(-1, 1)


def read(
    graphs: Sequence[Graph], detector: SceneDetector, size: int, copy: Copy | None = None
) -> list[Detections]:
    """Return what the scorer reads of the true pictures, or of copies of them."""
    found: list[Detections] = []
    for at in range(0, len(graphs), AT_ONCE):
        pictures: Tensor = true_pictures(graphs[at : at + AT_ONCE], size)
        found += detector.detect(pictures if copy is None else copy(pictures).float().clamp(-1, 1))
    return found


def report(graphs: Sequence[Graph], shown: Sequence[Detections]) -> dict[str, Any]:
    """Return the scores of each kind of scene, and which things were misread as what."""
    kinds: dict[str, Any] = {}
    marks = [
        (kind_of(graph), judge(graph, seen)) for graph, seen in zip(graphs, shown, strict=True)
    ]
    for kind in dict.fromkeys(kind for kind, _ in marks):
        of_kind = [judged for each, judged in marks if each == kind]
        kinds[kind] = {
            aspect: score.to_json() for aspect, score in tally(of_kind).items() if score.n
        } | {"all": Score.measured(sum(map(_right, of_kind)), len(of_kind)).to_json()}
    misread: Counter[tuple[str, str]] = Counter()
    for graph, seen in zip(graphs, shown, strict=True):
        wanted, read_as = ([each.noun for each in some.things] for some in (graph, seen))
        if graph.kind not in ("pair", "three") and read_as != wanted:
            misread[", ".join(wanted) or "nothing", ", ".join(read_as)] += 1
    listed = [[asked, found, times] for (asked, found), times in misread.most_common()]
    return {"scenes": len(graphs), "kinds": kinds, "misread": listed}


def _right(judged: Any) -> bool:
    return all(all(answers) for answers in judged.values())


def print_report(found: dict[str, Any]) -> None:
    """Print a row of each kind, and the things that were misread."""
    for kind, row in found["kinds"].items():
        told = "  ".join(f"{name} {_score(score)}" for name, score in row.items())
        print(f"{kind:9s} {told}")
    print(f"misread: {len(found['misread'])} kinds of mistake in {found['scenes']} pictures")
    for asked, seen, times in found["misread"][:MISREAD]:
        print(f"  {asked} -> {seen or 'nothing'} ({times})")


def _score(score: dict[str, Any]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f}-{score['high']:.3f}, n {score['n']})"


if __name__ == "__main__":
    main()
