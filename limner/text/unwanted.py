"""What a prompt names and does not ask for: things that it excludes, and parts of a thing."""

from __future__ import annotations

from collections.abc import Sequence

from limner.text.items import Item

PLACES = ("place", "bare", "empty")
_NAMING = ("thing", "many")
_CONTENT = (*_NAMING, *PLACES, "colour", "size", "number", "style", "unknown", "relation")
_PARTS = frozenset({"ear", "eye", "foot", "leg", "mouth", "nose", "tongue", "tooth", "wing"})
_OF_A_PART = ("article", "colour", "size", "number", "unknown", "classifier", "pattern")
_WITH = {"with", "has", "having"}


def without_negated(items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Return the items that are wanted, and the words that a "no" or "without" takes away."""
    wanted: list[Item] = []
    negated: list[str] = []
    taken = False  # whether the present "no" has already taken something away
    negating = False
    for item in items:
        ends = item.kind == "comma" or (item.kind in ("and", "relation", *PLACES) and taken)
        if item.kind == "not":
            negating, taken = True, False
            continue
        if negating and ends:
            negating = False
        if not negating:
            wanted.append(item)
        elif item.kind in _CONTENT:
            negated.append(item.said)
            taken = taken or item.kind in (*_NAMING, *PLACES, "unknown")
    if not any(item.kind in (*_NAMING, *PLACES) for item in wanted):
        # Nothing else is asked for ("no cats"): that thing is drawn, and the note says so.
        wanted = [item for item in items if item.kind != "not"]
    return wanted, negated


def without_parts(items: Sequence[Item]) -> tuple[list[Item], list[str]]:
    """Return the items without parts of another thing, and the words of these.

    A part stands behind its owner ("a cat with green eyes"), in Chinese before it (绿眼睛的猫).
    """
    kept: list[Item] = []
    left_out: list[str] = []
    for at, item in enumerate(items):
        kept.append(item)
        if item.kind not in _NAMING or item.name not in _PARTS:
            continue
        start = len(kept) - 1  # where its own words begin
        while start and kept[start - 1].kind in _OF_A_PART:
            start -= 1
        joined = start > 0 and kept[start - 1].text in _WITH
        behind = joined and any(each.kind in _NAMING for each in kept[:start])
        following = items[at + 1 :]
        before = bool(following) and following[0].text == "的"
        before = before and any(each.kind in _NAMING for each in following)
        if behind or before:
            left_out += [each.said for each in kept[start:] if each.kind in _CONTENT]
            del kept[start - behind :]
    return kept, left_out
