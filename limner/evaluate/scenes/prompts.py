"""The prompts of the scene score: a fixed mixture of scenes whose captions tell the background."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count as count_up

from limner.data.scenes.backgrounds import BACKGROUNDS
from limner.data.scenes.captions import caption
from limner.data.scenes.graph import MANY, Graph, new_combinations, sample_graph, scene_rng
from limner.errors import UsageError, did_you_mean, quote

LEVELS = {False: 3, True: 6}  # counts and pairs, no drawing styles; of wide scenes
SETS = ("seen", "held_out", "chinese", "ceiling", "codec", "varied", "shuffled", "chance")
SEED_LIMIT = 2**32
LEAST, MOST = 10, 10_000
_NEW = {"coloured": "colour", "count": "count", "pair": "relation"}
_NEW |= {"many": "count", "beside": "relation", "front": "relation", "three": "relation"}
# Of the wide world, of a hundred prompts: the rest are single objects, as in the first.
_WIDE = {"count": 10, "many": 10, "pair": 8, "beside": 8, "front": 6, "three": 6, "empty": 4}


@dataclass(frozen=True)
class Prompt:
    """A scene to ask for and how it is asked for in two languages."""

    graph: Graph
    english: str
    chinese: str


def collect_prompts(split: str, count: int, seed: int = 0, *, wide: bool = False) -> list[Prompt]:
    """Return `count` prompts of a split: 20 % counts, 20 % pairs, the rest single objects.

    Half of the single objects are coloured; in "held_out" every scene has a combination that is
    never trained. In `wide` ones are things of the whole noun table, and 20 % counts, half of them
    of six to nine things, 16 % pairs, half of them said loosely, 6 % things before others, 6 %
    three things and 4 % empty places, which no held-out scene is. The same arguments give the same
    prompts. UsageError for a count out of range.
    """
    check_count(count)
    level = LEVELS[wide]
    held_out = split == "held_out"
    open_places = {"count": count // 5, "pair": count // 5}
    if wide:
        open_places = {kind: share * count // 100 for kind, share in _WIDE.items()}
        open_places["empty"] *= not held_out
    singles = count - sum(open_places.values())
    coloured = singles if held_out else singles // 2
    open_places |= {"natural": singles - coloured, "coloured": coloured}
    prompts = []
    for index in count_up():
        rng = scene_rng(split, index, seed, level)
        graph = sample_graph(split, rng, level)
        kind = kind_of(graph)
        # Scenes are drawn until each kind has its number: chance would leave some kinds few.
        if not open_places[kind] or (held_out and _NEW[kind] not in new_combinations(graph)):
            continue
        open_places[kind] -= 1
        prompts.append(Prompt(graph, _tell(graph, "en", rng), _tell(graph, "zh", rng)))
        if len(prompts) == count:
            break
    return prompts


@dataclass(frozen=True)
class ScorePlan:
    """What is measured: `count` prompts a set at pictures `size` wide, the same for a `seed`.

    `wide` ones ask for things of the whole noun table. Chance is always reported. Raises UsageError
    for an unknown set or a seed out of range.
    """

    count: int = 300
    seed: int = 0
    size: int = 64
    sets: tuple[str, ...] = SETS
    wide: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEED_LIMIT:
            raise UsageError(
                f"seed is {self.seed}; expected a whole number from 0 to {SEED_LIMIT - 1}",
                param="seed",
            )
        for name in self.sets:
            if name not in SETS:
                hint = did_you_mean(name, SETS)
                raise UsageError(f"unknown set {quote(name)}; expected {', '.join(SETS)}{hint}")


def check_count(count: int) -> None:
    """Raise UsageError when a set can't have this many prompts."""
    if not LEAST <= count <= MOST:
        raise UsageError(
            f"count {count} is out of range; give {LEAST} to {MOST} prompts", param="count"
        )


def shuffle(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts with each one replaced by another of its kind: the floor's questions."""
    places: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        places.setdefault(kind_of(prompt.graph), []).append(index)
    moved = list(prompts)
    for indices in places.values():
        # By half a turn, so that no prompt of a kind keeps its place.
        half = len(indices) // 2
        for place, source in zip(indices, indices[half:] + indices[:half], strict=True):
            moved[place] = prompts[source]
    return moved


def kind_of(graph: Graph) -> str:
    """Return the kind of a scene's prompt: natural, coloured, count or pair.

    In the wide world also many (of one thing), beside (a pair), front, three or empty.
    """
    if graph.kind == "count" and graph.things[0].count in MANY:
        return "many"
    if graph.kind == "pair" and graph.relation in ("beside", "front"):
        return graph.relation
    if graph.kind != "single":
        return graph.kind
    return "coloured" if graph.things[0].colour else "natural"


def _tell(graph: Graph, language: str, rng: random.Random) -> str:
    """Return a caption that names the background: one that another background would change."""
    other = replace(graph, background=BACKGROUNDS[graph.background == BACKGROUNDS[0]])
    again = random.Random()
    while True:
        again.setstate(rng.getstate())
        text = caption(graph, language, rng)
        if caption(other, language, again) != text:
            return text
