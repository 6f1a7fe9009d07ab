"""Understanding a prompt: its phrases become things, a relation, a place and a style.

It knows the grammar of one world of pictures (`limner.text.words.Grammar`): what cannot be said in
it is left out, and a note tells of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from limner.text.items import NAMING, PAIR_ZH, Item
from limner.text.notes import Note
from limner.text.unwanted import PLACES, without_negated, without_parts
from limner.text.words import Grammar

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
OPPOSITE |= {"front": "behind", "behind": "front", "beside": "beside", "between": "between"}
_ON = {"on", "onto", "上"}
_IS = {"是", "有"}
_UPON = {"on", "onto", "upon", "against", "over"}  # of a colour: it is the background's
_ARTICLES = {"a", "an", "the"}
_DESCRIBED = ("thing", "many", "colour", "size", "number", "unknown", "pattern", "ground", "bare")


@dataclass(frozen=True)
class World:
    """What a world can show, as its captions said it.

    It has up to `most` of one thing, and of up to `kinds` of things one each. If it is `loose`,
    "and" says no more than that they are side by side; if `empty`, a place may be without things.
    """

    most: int = 1
    kinds: int = 2
    loose: bool = False
    empty: bool = False
    places: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()  # things that are counted in pairs

    @classmethod
    def of(cls, grammar: Grammar, language: str) -> World:
        """Return the world of a grammar, as far as it can be said in a language."""
        return cls(
            most=max(map(int, grammar.named("number", language)), default=1),
            kinds=3 if "between" in grammar.named("relation", language) else 2,
            loose=bool(grammar.named("and", language)),
            empty=bool(grammar.named("empty", language)),
            places=frozenset(grammar.named("place", "en")),
            pairs=frozenset(
                name for name, measure in grammar.classifiers.items() if measure == PAIR_ZH
            ),
        )


@dataclass(frozen=True)
class Asked:
    """One kind of thing of a prompt; `count` None is a plural without a number."""

    name: str
    said: str
    count: int | None = 1
    colour: str | None = None
    size: str | None = None
    told: tuple[str, ...] = ()  # the words of count and size, for notes


@dataclass
class Understood:
    """What a prompt asks for, and what must be said of it."""

    things: list[Asked] = field(default_factory=list)
    relation: str | None = None  # how the first thing stands to the second, or "row" of three
    place: Item | None = None
    style: Item | None = None
    notes: list[Note] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def understand(items: Sequence[Item], world: World) -> Understood:
    """Return what `items` ask for in a world that shows so much.

    Of several things it is said how they stand to each other; if the prompt does not say so, side
    by side. It never fails: what it cannot use is in `left_out` or in a note.
    """
    found = Understood()
    # 1. What is not wanted goes first: it must not become a thing, a colour or a place.
    kept, negated = without_negated(items)
    if negated:
        found.notes.append(Note("negation", tuple(negated)))
    # 2. Parts of things, and backgrounds: their colours belong to no thing.
    kept, parts = without_parts(kept)
    found.left_out += parts
    kept = _with_grounds(kept, found)
    # 3. Things with their modifiers, places, styles, and what says where things stand.
    events = _gather(kept, found, world)
    # 4. Two or three things at most, as the captions of such worlds have them.
    _merge_same(found, events)
    if len(found.things) > world.kinds:
        code = "only_two" if world.kinds == 2 else "only_three"
        others = found.things[world.kinds :]
        found.notes.append(Note(code, tuple(thing.name for thing in others)))
        found.things = found.things[: world.kinds]
    if len(found.things) == 2:
        _relate(found, events, world)
    elif len(found.things) == 3:
        _line_up(found, events)
    # 5. Counts and sizes that the world cannot draw are brought to what it can.
    _check_counts(found, world.most)
    return found


def _with_grounds(items: Sequence[Item], found: Understood) -> list[Item]:
    """Put one place for each "red striped background" that is not a phrase of captions."""
    result: list[Item] = []
    at = 0
    while at < len(items):
        # A run is all colours and patterns up to the word that they belong to.
        run, after = _run_of_colours(items, at)
        end = at + len(run)
        plain = after is not None and after.name.startswith("plain:")
        run = [item for item in run if item.kind != "and"]
        if any(item.kind == "ground" for item in run):
            result.append(_ground(run, found))
        elif after is not None and plain and len(run) and run[-1].kind == "pattern":
            # "striped red background", of which "red background" is a phrase of captions
            colour = Item("colour", after.name.partition(":")[2], after.said, "")
            result.append(_ground([*run, colour], found))
            end += 1
        elif plain and len(run):  # "red and green background": the last colour counts
            found.left_out += [item.said for item in run]
        elif _is_ground(run, items[:at], after):
            result.append(_ground(run, found))
        elif run:
            found.left_out += [item.said for item in run if item.kind == "pattern"]
            result += [item for item in run if item.kind == "colour"]
        else:
            result.append(items[at])
            end += 1
        at = end
    return result


def _run_of_colours(items: Sequence[Item], at: int) -> tuple[Sequence[Item], Item | None]:
    """Return the colours and patterns from `at` on, "and" between them too, and what follows.

    A ground ends them once it has its colour: what follows belongs to a thing (白底红苹果).
    """
    end = at
    while end < len(items):
        kind = items[end].kind
        told = [item.kind for item in items[at:end]]
        if "ground" in told and set(told) > {"ground"} and kind != "ground":
            break
        following = items[end + 1] if end + 1 < len(items) else None
        coloured = following is not None and following.kind in ("colour", *PLACES)
        goes_on = kind == "and" and end > at and coloured
        if kind not in ("colour", "pattern", "ground") and not goes_on:
            break
        end += 1
    return items[at:end], items[end] if end < len(items) else None


def _is_ground(run: Sequence[Item], before: Sequence[Item], after: Item | None) -> bool:
    """Say whether colours that nothing follows are what things stand on: "a dog on pink"."""
    on = next((item for item in reversed(before) if item.text not in _ARTICLES), None)
    ends = after is None or after.kind in ("comma", "and", "not", "style", *PLACES)
    coloured = bool(run) and {item.kind for item in run} == {"colour"}
    return coloured and ends and on is not None and on.text in _UPON


def _ground(run: Sequence[Item], found: Understood) -> Item:
    """Return the place that a run of colours and patterns names; the last colour counts."""
    patterns = [item.name for item in run if item.kind == "pattern"]
    patterns += [item.name for item in run if item.kind == "ground" and item.name != "any"]
    colours = [item for item in run if item.kind == "colour"]
    found.left_out += [item.said for item in colours[:-1]]
    said = " ".join(item.said for item in run)
    pattern, colour = (patterns or ["plain"])[0], colours[-1].name if colours else ""
    if pattern == "plain":
        colour = colour or "white"
    return Item("place", f"{pattern}:{colour}", said, "")


def _gather(items: Sequence[Item], found: Understood, world: World) -> list[tuple[str, str]]:
    """Fill in things, places and styles; return the order of things and of words of place."""
    events: list[tuple[str, str]] = []
    places: list[Item] = []
    waiting: dict[str, Item] = {}
    in_pairs = False
    for index, item in enumerate(items):
        if item.kind in ("number", "size", "colour"):
            if item.kind in waiting:
                if waiting[item.kind].name != item.name:  # "navy blue" is blue
                    found.left_out.append(item.said)
            else:
                waiting[item.kind] = item
        elif item.kind in NAMING:
            before = items[index - 1] if index else None
            if before and before.kind in NAMING and before.name == item.name:
                continue  # "a puppy dog" is one
            thing = _thing(item, waiting)
            if in_pairs and thing.count and thing.name not in world.pairs:  # 一对猫
                thing = replace(thing, count=2 * thing.count)
                found.notes.append(Note("read_as", (PAIR_ZH,), (str(thing.count),)))
            found.things.append(thing)
            in_pairs = False
            events.append(("thing", str(len(found.things) - 1)))
            waiting = {}
        elif item.kind in PLACES:
            places.append(item)
        elif item.kind in ("relation", "side"):
            events.append((item.kind, item.name))
        elif item.kind == "classifier":
            in_pairs = item.text == PAIR_ZH
        elif item.kind == "style":
            found.style = found.style or item
        elif item.kind == "stop" and item.text in (_ON | _IS):
            events.append(("on" if item.text in _ON else "is", item.text))
        elif item.kind in ("comma", "and"):
            _settle_colour(waiting, found)
        elif item.kind in ("unknown", "pattern", "ground"):
            found.left_out.append(item.said)
            after = next((each.kind for each in items[index + 1 :] if each.text != "的"), "")
            if after not in _DESCRIBED:  # "orange spots": the colour was of the unknown word
                found.left_out += _told(waiting)
                waiting = {}
    _settle_colour(waiting, found)
    found.left_out += _told(waiting)
    if places:
        places = _by_night(places, world)
        found.place = places[0]
        others = [place.said for place in places[1:] if place.name != places[0].name]
        if others:
            found.notes.append(Note("one_place", tuple(others)))
    return events


def _by_night(places: list[Item], world: World) -> list[Item]:
    """Take a place and the night for that place by night, where the world has it."""
    night = next((each for each in places if each.name == "night"), None)
    for at, place in enumerate(places):
        if night and (name := f"{place.name} at night") in world.places:
            both = Item("place", name, f"{place.said} {night.said}", "")
            return [both, *(each for each in places[at + 1 :] if each is not night)]
    return places


def _thing(item: Item, waiting: dict[str, Item]) -> Asked:
    number, colour, size = (waiting.get(kind) for kind in ("number", "colour", "size"))
    count = int(number.name) if number else (None if item.kind == "many" else 1)
    return Asked(
        item.name,
        item.said,
        count,
        colour.name if colour else None,
        size.name if size else None,
        tuple(each.said for each in (number, size) if each),
    )


def _told(waiting: dict[str, Item]) -> list[str]:
    return [item.said for item in waiting.values() if item.name != "1"]


def _settle_colour(waiting: dict[str, Item], found: Understood) -> None:
    """Give a colour that no thing follows to the thing before it: "a car in red"."""
    if "colour" in waiting and found.things and found.things[-1].colour is None:
        found.things[-1] = replace(found.things[-1], colour=waiting.pop("colour").name)


def _merge_same(found: Understood, events: list[tuple[str, str]]) -> None:
    """Take "a cat and another cat" for two cats."""
    if len(found.things) == 2:
        first, second = found.things
        if (first.name, first.colour) == (second.name, second.colour):
            # The same thing twice is a number; where they stood to each other means nothing then.
            total = (first.count or 1) + (second.count or 1)
            found.things = [replace(first, count=total, told=(*first.told, *second.told))]
            events.clear()


def _relate(found: Understood, events: Sequence[tuple[str, str]], world: World) -> None:
    """Find how the first thing stands to the second.

    A word of place before both is where the first stands ("左边是猫，右边是狗"). One between says
    it of the first ("a cat above a dog"), unless "is" follows (猫左边是狗). One after both says it
    of the first in Chinese (猫在狗左边); a side after both is where the second stands.
    """
    # What stands before, between and after the two things says different things.
    places = [index for index, (kind, _) in enumerate(events) if kind == "thing"]
    first, second = places[0], places[1]
    before = _words(events[:first])
    between, after = _words(events[first + 1 : second]), _words(events[second + 1 :])
    is_follows = ("is" in [kind for kind, _ in events[first + 1 : second]]) and not after
    if before:
        found.relation = before[0][1]
    elif between:
        found.relation = OPPOSITE[between[0][1]] if is_follows else between[0][1]
    elif after:
        kind, name = after[0]
        found.relation = name if kind == "relation" else OPPOSITE[name]
    elif standing := [word for kind, word in events[first + 1 : second] if kind == "on"]:
        found.relation = "below" if standing[0] == "上" else "above"
        found.notes.append(Note("read_as", (standing[0],), ("above",)))
    elif world.loose:
        found.relation = "beside"
    if found.relation in (None, "between"):
        found.relation = "beside" if world.loose else "left"
        names = (found.things[0].name, found.things[1].name)
        found.notes.append(Note("pair", names, ("left of",)))


def _line_up(found: Understood, events: Sequence[tuple[str, str]]) -> None:
    """Find the order of three things in a row, and whether one is told to be between the others.

    That one is told before both of them ("a cat between a dog and a fox", 猫在狗和狐狸之间), or
    after them (狗和狐狸之间是猫).
    """
    told = 0  # things before the word
    found.relation = "row"
    for kind, name in events:
        told += kind == "thing"
        if (kind, name) == ("relation", "between"):
            middle = found.things.pop(0 if told in (1, 3) else 2)
            found.things.insert(1, middle)
            found.relation = "between"
            return
    if any(name != "beside" for kind, name in _words(events)):
        names = tuple(thing.name for thing in found.things)
        found.notes.append(Note("pair", names, ("left of",)))


def _words(events: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [event for event in events if event[0] in ("relation", "side")]


def _check_counts(found: Understood, most: int) -> None:
    """Bring numbers and sizes to what the world draws: up to `most` of one thing, or one each."""
    if len(found.things) > 1:
        lost: list[str] = []
        for thing in found.things:
            if thing.size or thing.count != 1:
                lost += thing.told or (thing.said,)
        if lost:
            found.notes.append(Note("single_pair", tuple(dict.fromkeys(lost))))
        found.things = [replace(thing, count=1, size=None) for thing in found.things]
    elif found.things:
        (thing,) = found.things
        count = 2 if thing.count is None else thing.count
        if count > most:
            found.notes.append(Note("count", thing.told[:1] or (thing.said,), (str(most),)))
        if count > 1 and thing.size:
            found.left_out.append(thing.told[-1])
        size = thing.size if count == 1 else None
        found.things = [replace(thing, count=min(count, most), size=size)]
