"""What a CLIP knows of scenes: retrieval, exchanged colours, zero-shot objects.

Every trial is made of held-out combinations, which training never shows; all are pure functions of
the settings. Numbers are accuracies, 0 to 1.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

from limner.data.batches.batches import graph_at, true_pictures
from limner.data.scenes.captions import LANGUAGES, caption
from limner.data.scenes.graph import COLOURLESS, Graph, is_held_out_colour, is_wide
from limner.data.scenes.hard_negatives import swap_colours
from limner.data.scenes.nouns import noun_index, nouns

AMONG = 100  # pictures that a caption chooses from
NAMES = {"en": "english", "zh": "chinese"}


@dataclass(frozen=True)
class Trials:
    """Graphs to be judged: rows of `retrieval` in groups, pairs with `twins`, single `objects`."""

    retrieval: tuple[tuple[Graph, ...], ...]
    pairs: tuple[Graph, ...]
    objects: tuple[Graph, ...]
    wide: bool = False  # objects are named among all nouns of the table, or the first ones

    @classmethod
    def make(cls, number: int, *, seed: int = 0, level: int = 4) -> "Trials":
        """Draw `number` scenes of each kind; retrieval takes whole groups of AMONG, or all."""
        among = min(AMONG, number)
        different = _different(seed, level)
        groups = [[next(different) for _ in range(among)] for _ in range(number // among)]
        wide = is_wide(level)
        pairs = _pairs(seed, level=8 if wide else 5)
        drawn = (graph_at("held_out", index, seed, level if wide else 1) for index in count())
        single = (graph for graph in drawn if graph.kind == "single")
        shown = (graph for graph in single if graph.style not in COLOURLESS)
        return cls(
            tuple(tuple(group) for group in groups),
            tuple(next(pairs) for _ in range(number)),
            tuple(next(shown) for _ in range(number)),
            wide,
        )


def clip_accuracy(clip: Any, trials: Trials) -> dict[str, float]:
    """Return how often a CLIP pipeline is right, by kind of trial and language.

    `retrieval_*`: a caption finds its picture among up to AMONG different ones; `twins_*`: a
    picture is nearer to its caption than to the same with colours exchanged; `objects_*`: the
    noun among all nouns, without a caption.
    """
    found = {f"retrieval_{NAMES[language]}": 0.0 for language in LANGUAGES}
    # 1. A caption among the pictures of its group.
    for group in trials.retrieval:
        pictures = _see(clip, group)
        for language in LANGUAGES:
            texts = clip.encode_texts(_captions(group, language))
            right = (texts @ pictures.T).argmax(1).cpu() == torch.arange(len(group))
            found[f"retrieval_{NAMES[language]}"] += float(right.float().mean())
    for name in found:
        found[name] /= len(trials.retrieval)
    pictures = _see(clip, trials.pairs)
    # 2. A picture's caption against the same with colours exchanged.
    wrong = [swapped for graph in trials.pairs if (swapped := swap_colours(graph))]
    for language in LANGUAGES:
        true, false = (
            (clip.encode_texts(_captions(graphs, language)) * pictures).sum(1)
            for graphs in (trials.pairs, wrong)
        )
        found[f"twins_{NAMES[language]}"] = float((true > false).float().mean())
    pictures = _see(clip, trials.objects)
    # 3. A noun among all nouns, without a caption.
    wanted = torch.tensor([noun_index()[graph.things[0].noun] for graph in trials.objects])
    for language in LANGUAGES:
        names = [
            noun.singular if language == "en" else noun.chinese for noun in nouns(wide=trials.wide)
        ]
        named = (pictures @ clip.label_vectors(names).T).argmax(1).cpu()
        found[f"objects_{NAMES[language]}"] = float((named == wanted).float().mean())
    return found


def _see(clip: Any, graphs: tuple[Graph, ...]) -> Tensor:
    vectors: Tensor = clip.encode_images(true_pictures(graphs, clip.size))
    return vectors


def _captions(graphs: Sequence[Graph], language: str) -> list[str]:
    # The same choices for a graph and its hard negative: their captions differ in one thing.
    return [
        caption(graph, language, random.Random(f"{language}/{number}"))
        for number, graph in enumerate(graphs)
    ]


def _different(seed: int, level: int) -> Iterator[Graph]:
    met = set()
    for index in count():
        graph = graph_at("held_out", index, seed, level)
        if graph not in met:
            met.add(graph)
            yield graph


def _pairs(seed: int, level: int) -> Iterator[Graph]:
    """Yield pairs in two colours that captions name, one of them held out for its object."""
    for index in count():
        graph = graph_at("held_out", index, seed, level)
        new = (is_held_out_colour(thing.noun, thing.colour) for thing in graph.things)
        if swap_colours(graph) and any(new):
            yield graph
