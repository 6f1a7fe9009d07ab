"""Which pictures of a source are held out: decided by each one's key, its copies with it."""

import hashlib
from collections.abc import Hashable, Sequence


def place_of(key: str) -> float:
    """Return where a key lies from 0 to 1, by its SHA-256; the same for ever."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(
    keys: Sequence[str], share: float, contents: Sequence[Hashable] = ()
) -> tuple[list[int], list[int]]:
    """Return the rows of the keys to train on and of those held out, about `share` of them.

    A picture that is held out stays so when others are added. Pictures whose `contents` are equal
    go where the first of them goes. Where chance would hold out none, the one whose place comes
    first is, with its like. It does not know near copies, whose contents differ.
    """
    firsts: dict[Hashable, float] = {}
    places = [
        firsts.setdefault(content, place_of(key))
        for key, content in zip(keys, contents or range(len(keys)), strict=True)
    ]
    least = min(places, default=share)
    held = [row for row, place in enumerate(places) if place < share or place == least >= share]
    out = set(held)
    return [row for row in range(len(keys)) if row not in out], held
