"""More words for a byte-pair tokenizer: new merges after those it has, so that old ids stay.

A merge that comes later is tried later: a word that the old ones make whole is whole as before.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Pair = tuple[str, str]


def extend_model(model: Mapping[str, Any], pieces: Mapping[str, int]) -> dict[str, Any]:
    """Return the "model" of a tokenizer's JSON, with ids and merges that make the pieces whole.

    `pieces` are words with how often they were met: of pairs that would be merged, the one that
    most words have comes first.
    """
    vocabulary: dict[str, int] = dict(model["vocab"])
    merges = [(pair[0], pair[1]) for pair in model["merges"]]
    # 1. Characters that it does not know, which it would spell in bytes.
    for character in sorted({each for piece in pieces for each in piece} - vocabulary.keys()):
        vocabulary[character] = len(vocabulary)
    # 2. How the old merges leave each word, and the pairs of neighbours in it.
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    words = {piece: apply_merges(list(piece), ranks) for piece in pieces}
    counts: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[str]] = defaultdict(set)
    for piece, parts in words.items():
        for pair in pairwise(parts):
            counts[pair] += pieces[piece]
            holders[pair].add(piece)
    while counts:
        # 3. Merge the most frequent pair everywhere, until every word is whole.
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        vocabulary.setdefault("".join(best), len(vocabulary))
        for piece in holders.pop(best):
            before, after = words[piece], merged(words[piece], best)
            words[piece] = after
            counts.subtract(_times(before, pieces[piece]))
            counts.update(_times(after, pieces[piece]))
            for pair in pairwise(after):
                holders[pair].add(piece)
        counts = +counts  # without those that no word has any more
    return {**model, "vocab": vocabulary, "merges": [list(pair) for pair in merges]}


def _times(parts: Sequence[str], times: int) -> dict[Pair, int]:
    """Return how often each pair of neighbours stands in a word that was met so many times."""
    return {pair: times * count for pair, count in Counter(pairwise(parts)).items()}


def apply_merges(parts: list[str], ranks: Mapping[Pair, int]) -> list[str]:
    """Return a word's parts after all merges that fit, those of the least rank first."""
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        parts = merged(parts, best)
    return parts


def merged(parts: Sequence[str], pair: Pair) -> list[str]:
    """Return the parts with each such pair of neighbours as one."""
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
        else:
            found.append(part)
    return found
