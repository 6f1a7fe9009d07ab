"""Which pictures of a source are held out: decided by each one's key, whatever else is there."""

import hashlib
from collections.abc import Sequence


def place_of(key: str) -> float:
    """Return where a key lies from 0 to 1, by its SHA-256; the same for ever."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(keys: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Return the rows of the keys to train on and of those held out, about `share` of them.

    A picture that is held out stays so when others are added. Where chance would hold out none, the
    one whose place comes first is. It does not know copies: the same picture under two keys may
    come into both.
    """
    places = [place_of(key) for key in keys]
    held = [row for row, place in enumerate(places) if place < share]
    if not held and places:
        held = [min(range(len(places)), key=places.__getitem__)]
    out = set(held)
    return [row for row in range(len(keys)) if row not in out], held
