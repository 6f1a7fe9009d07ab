"""Reading a prompt before it is drawn: what a stranger typed becomes what the captions said.

`read` is a pure function of a prompt and a model's words. A prompt in the words and the order of
the captions stays as it is. Of others the words that captions never had are left out, or replaced
by words that mean the same, and notes say so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from limner.text import lexicon
from limner.text.items import Item, Phrasebook, itemise
from limner.text.notes import WEAK, Note, Reading, Wanted
from limner.text.scene_reading import OPPOSITE, Asked, Understood, World, understand
from limner.text.words import Grammar, Words

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN = re.compile(r"[^\W\d_\u3400-\u4dbf\u4e00-\u9fff]+")
_QUOTES = frozenset('"“”„‘’«»()[]{}<>《》〈〉「」『』【】`*#_~|\\')
_EDGES = " .!?…\"'`“”‘’«»()[]{}<>《》〈〉「」『』【】。！？~*#_-:;,、/\\|=+"
_JOINED = ("thing", "many", "comma", "and", "relation", "side")
_NUMBERS_EN = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Words that are spoken otherwise than their first letter is: an x-ray, a user icon.
_AN = ("hour", "x-ray", "x ray", "suv", "sos ")
_A = ("uni", "ufo", "ewe", "us ", "uk", "un ", "use", "eu", "one-")
_RIDDLE = "question mark"  # is drawn where nothing of a prompt is known
SURE = 0.9  # accuracy as measured below which a note says that a thing may come out wrong


@lru_cache(maxsize=64)  # what draws asks for it several times
def read(prompt: str, words: Words, places: int = 1) -> Reading:
    """Return what a model whose captions used `words` is asked by a normalised `prompt`.

    Where there are several `places` for the one thing that it names, in no number, it asks for as
    many. If nothing of the prompt is known it stays as it is, with a note. It does not know how
    long a prompt the model reads.
    """
    # Traditional characters and emoji first: the tables below know neither.
    things = frozenset(words.grammar.named("thing", "en") if words.grammar else ())
    text, emoji = lexicon.spell_emoji(lexicon.simplify(prompt), things)
    # The answer is in the language of most of the prompt, counted as it was typed.
    chinese = len(_HAN.findall(prompt)) > len(_LATIN.findall(prompt))
    if words.grammar is not None:
        reading = _read_scene(text, words, "zh" if chinese else "en", places)
    else:
        reading = _read_plain(text, words)
    spelt = tuple(dict.fromkeys(emoji))
    notes = tuple(Note("read_as", (face,), (name,)) for face, name in spelt)
    return replace(reading, notes=(*notes, *reading.notes))


def near_words(word: str, words: Words, count: int = 3) -> tuple[str, ...]:
    """Return up to `count` things or words of the table that are spelt much like `word`."""
    if not word.isascii() or word in lexicon.english_words():
        return ()
    # The first 5000 are the most frequent: comparing with all would take seconds.
    known = list(words.grammar.named("thing", "en")) if words.grammar else list(words)[:5000]
    return tuple(difflib.get_close_matches(word, known, count, 0.6))


@lru_cache(maxsize=8)
def phrasebook(grammar: Grammar, ideas: bool = False) -> Phrasebook:
    """Return the phrasebook of a grammar, with ideas if asked for, made once."""
    return Phrasebook(grammar, ideas)


def _read_scene(text: str, words: Words, language: str, places: int) -> Reading:
    grammar = words.grammar
    assert grammar is not None, "a scene is read by its grammar"
    book = phrasebook(grammar)
    items = itemise(text.strip(_EDGES), book)
    world = World.of(grammar, language)
    found = understand(items, world)
    if not found.things and (not found.place or any(each.kind == "unknown" for each in items)):
        # Nothing that can be drawn is named: what stands for an idea is drawn, a heart for love.
        symbols = itemise(text.strip(_EDGES), phrasebook(grammar, ideas=True))
        if (meant := understand(symbols, world)).things:
            items, found = symbols, meant
    _fit(found, grammar)
    _fill(found, places, world)
    notes = _notes(found, items, words, book)
    weak = _weak(found, words)
    if not (found.things or found.place):
        return _read_nothing(text, grammar, language)
    if not found.things:
        assert found.place is not None
        notes += [] if world.empty else [Note("no_object", (found.place.said,))]
    # A prompt that captions could have had is drawn as it is, to the letter.
    exact = not notes and _in_order(items, grammar)
    said = _plain(text) if exact else _compose(found, grammar, language)
    things = tuple((each.name, each.count, each.colour) for each in found.things)
    place = found.place.name if found.place else None
    wanted = Wanted(things, found.relation, place)
    reading = Reading(said, (*notes, *weak), wanted=wanted)
    if not found.style:
        return reading
    unstyled = _compose(replace(found, style=None), grammar, language)
    return replace(reading, style=found.style.name, unstyled=unstyled)


def _read_nothing(text: str, grammar: Grammar, language: str) -> Reading:
    """Return what asks for a question mark, if the model draws one, or the prompt as it is."""
    notes = (Note("nothing_known", (text,)),)
    if _RIDDLE not in grammar.named("thing", "en"):
        return Reading(text, notes)
    said = _compose(Understood([Asked(_RIDDLE, "")]), grammar, language)
    return Reading(said, notes, wanted=Wanted(((_RIDDLE, 1, None),), None))


def _weak(found: Understood, words: Words) -> tuple[Note, ...]:
    """Return a note of each thing that the model, as measured, often draws wrong in this number."""
    notes = []
    for thing in found.things:
        measured = words.accuracy and words.accuracy.of(thing.name, thing.count or 1)
        if measured and measured[0] < SURE * measured[1]:
            said = f"{thing.count} {thing.said}" if (thing.count or 1) > 1 else thing.said
            notes.append(Note(WEAK, (said,), ("{} of {}".format(*measured),)))
    return tuple(notes)


def _in_order(items: Sequence[Item], grammar: Grammar) -> bool:
    """Say whether captions had all these phrases, in this order."""
    # "Avocado, bread" has such phrases, but no caption ends so.
    kinds = [item.kind.replace("many", "thing") for item in items if item.kind in _JOINED]
    if kinds[-3:] == ["thing", "comma", "thing"] and not {*kinds} - {"thing", "comma"}:
        return False
    labels = ["^", *(item.label for item in items), "$"]
    pairs = pairwise(labels)
    return all(item.exact for item in items) and all(
        f"{one} {next_one}" in grammar.order for one, next_one in pairs
    )


def _plain(text: str) -> str:
    """Return `text` without punctuation around it and quotes within; commas stay."""
    inside = "".join(character for character in text if character not in _QUOTES)
    return " ".join(inside.split()).strip(_EDGES)


def _fit(found: Understood, grammar: Grammar) -> None:
    """Leave out what the grammar has no words for, or no pictures: such a ground, such a style."""
    place = found.place
    if place is not None and place.name not in (known := grammar.named("place", "en")):
        # A place that the model has not: a plain one of its colour, or one of its pattern.
        pattern, _, colour = place.name.partition(":")
        alike = [f"plain:{colour}"] if colour else [key for key in known if key.startswith(pattern)]
        if alike and alike[0] in known:
            found.place = Item("place", alike[0], place.said, "")
            found.notes.append(Note("read_as", (place.said,), (known[alike[0]],)))
        else:
            found.place = None
            found.left_out.append(place.said)
    if found.style and (len(found.things) != 1 or found.things[0].count != 1):
        found.left_out.append(found.style.said)
        found.style = None


def _fill(found: Understood, places: int, world: World) -> None:
    """Ask for as many of the only thing as there are places, unless it has a number or a size."""
    if len(found.things) != 1 or found.style or not 1 < places <= world.most:
        return
    (thing,) = found.things
    # In Chinese a thing is one of its kind where English says "a", and means no number.
    told = [each for each in thing.told if not each.startswith("一")]
    if not told and thing.count != places:  # nor does a plural without one, which is two
        found.things = [replace(thing, count=places)]
        found.notes.append(Note("each", (thing.said,), (str(places),)))


def _notes(found: Understood, items: Sequence[Item], words: Words, book: Phrasebook) -> list[Note]:
    notes = [note for item in items if (note := _read_as(item, book))] + found.notes
    left = list(dict.fromkeys(found.left_out))
    near = tuple(dict.fromkeys(near for word in left for near in near_words(word, words)))
    return [*notes, *([Note("left_out", tuple(left), near)] if left else [])]


def _read_as(item: Item, book: Phrasebook) -> Note | None:
    """Return a note of what a phrase was taken for, unless the captions called it much the same."""
    alike = item.said.replace("-", " ").removesuffix("'s").removesuffix("'")
    if item.text not in (item.said, alike) and item.kind not in ("stop", "comma"):
        return Note("read_as", (item.said,), (item.text,))
    if item.kind == "relation" and not item.exact:
        return Note("read_as", (item.said,), (item.name,))
    if item.exact or item.kind not in ("thing", "many", "colour"):
        return None
    # A plural or another usual name is no news to the reader, so there is no note.
    names = book.names("thing" if item.kind == "many" else item.kind, item.name)
    plural = {plural for name in names for plural in lexicon.plurals(name)}
    if alike in names | plural or any(not n.isascii() and n in item.said for n in names):
        return None
    return Note("read_as", (item.said,), (item.name, *item.also))


def _compose(found: Understood, grammar: Grammar, language: str) -> str:
    """Return a caption that says what was understood, in the order that captions had."""
    place = _place(found.place, grammar, language)
    if not found.things:
        empty = grammar.named("empty", language)
        return empty.get(found.place.name, place) if found.place else place
    say = _english if language == "en" else _chinese
    subjects = [say(thing, grammar) for thing in found.things]
    if found.style:
        style = grammar.named("style", language)[found.style.name]
        subjects = [style.format(subject) for subject in subjects]
    if len(subjects) == 1:
        (subject,) = subjects
        if not place:
            return subject
        return f"{subject} {place}" if language == "en" else f"{place}的{subject}"
    if language == "en":
        return f"{_several_english(subjects, found.relation, grammar)} {place}".strip()
    several = _several_chinese(subjects, found.relation, grammar)
    return f"{place}，{several}" if place else several


def _several_english(subjects: list[str], relation: str | None, grammar: Grammar) -> str:
    """Return how things are said that stand so to each other, from left to right in a row."""
    joint, words = grammar.named("and", "en"), grammar.named("relation", "en")
    if relation == "between":
        return f"{subjects[1]} {words[relation]} {subjects[0]} {joint['beside']} {subjects[2]}"
    if relation == "row":
        return f"{subjects[0]}, {subjects[1]} {joint['beside']} {subjects[2]}"
    return f"{subjects[0]} {joint.get(relation or '') or words[relation or 'left']} {subjects[1]}"


def _several_chinese(subjects: list[str], relation: str | None, grammar: Grammar) -> str:
    joint, words = grammar.named("and", "zh"), grammar.named("relation", "zh")
    if relation == "between":
        return f"{subjects[1]}在{subjects[0]}{joint['beside']}{subjects[2]}{words[relation]}"
    if relation == "row":
        return f"{subjects[0]}、{subjects[1]}{joint['beside']}{subjects[2]}"
    if relation is not None and relation in joint:
        return joint[relation].join(subjects)
    one, other = words[relation or "left"], words[OPPOSITE[relation or "left"]]
    return f"{one}是{subjects[0]}，{other}是{subjects[1]}"


def _place(place: Item | None, grammar: Grammar, language: str) -> str:
    """Return the phrase of a place: as typed where captions had it so, else the usual one."""
    if place is None:
        return ""
    phrases = [p.text for p in grammar.phrases if (p.kind, p.language) == ("place", language)]
    if place.exact and place.said in phrases:
        return place.said
    return grammar.named("place", language)[place.name]


def _english(thing: Asked, grammar: Grammar) -> str:
    count = thing.count or 1
    many = grammar.named("many", "en")
    name = many[thing.name] if count > 1 else thing.name
    size = grammar.named("size", "en").get(thing.size or "", "")
    phrase = " ".join(part for part in (size, thing.colour, name) if part)
    if count > 1:
        return f"{grammar.named('number', 'en')[str(count)]} {phrase}"
    return phrase if name in grammar.uncounted else f"{indefinite(phrase)} {phrase}"


def _chinese(thing: Asked, grammar: Grammar) -> str:
    name = grammar.named("thing", "zh")[thing.name]
    number = grammar.named("number", "zh")[str(thing.count or 1)]
    classifier = grammar.classifiers.get(thing.name, "个")
    colour = grammar.named("colour", "zh")[thing.colour] if thing.colour else ""
    size = grammar.named("size", "zh").get(thing.size or "", "")
    if name in grammar.uncounted:  # what an adapter taught has no measure word
        return f"{colour}{size}{name}"
    return f"{number}{classifier}{colour}{size}{name}"


def indefinite(phrase: str) -> str:
    """Return "a" or "an", as English says before `phrase`."""
    if phrase.startswith(_AN):
        return "an"
    return "an" if phrase[0] in "aeiou" and not phrase.startswith(_A) else "a"


def _read_plain(text: str, words: Words) -> Reading:
    """Keep the words that captions used, or one that means the same; leave the others out.

    Words such as "in the" go with the word that they led to.
    """
    kept: list[str] = []
    waiting: list[str] = []  # function words that go with the next word
    left: list[str] = []
    notes: list[Note] = []
    dropped = False
    for word in lexicon.tokens(text):
        known = _known(word, words)
        if known is None and word not in lexicon.STOPS and word not in lexicon.COMMAS:
            left.append(word)
            dropped = True
        elif known is None or word in lexicon.STOPS or word in lexicon.COMMAS:
            if dropped and waiting:
                waiting = []
            dropped = False
            if known is not None:
                waiting.append(known)
        else:
            if known != word:
                notes.append(Note("read_as", (word,), (known,)))
            kept += [*waiting, known]
            waiting, dropped = [], False
    if not kept:
        return Reading(text, (Note("nothing_known", (text,)),))
    if left:
        near = tuple(dict.fromkeys(near for word in left for near in near_words(word, words)))
        notes.append(Note("left_out", tuple(dict.fromkeys(left)), near))
    if not notes:
        return Reading(_plain(text))
    return Reading(lexicon.join(kept), tuple(notes))


def _known(word: str, words: Words) -> str | None:
    """Return the word of the captions that `word` is, or means; None where there is none."""
    if word in words:
        return word
    for other in _alike(word):
        if other in words:
            return other
    if word in lexicon.STOPS or not word.isalpha():
        return None
    return lexicon.correct(word, words.counts)


def _alike(word: str) -> list[str]:
    """Return words that mean about the same as `word`, the most alike first."""
    # In the order of likeness: number, digits, colour, then synonyms.
    found = [word.removesuffix("s"), word.removesuffix("es"), *lexicon.plurals(word)]
    if word.isdigit() and int(word) < len(_NUMBERS_EN):
        found.append(_NUMBERS_EN[int(word)])
    elif word in _NUMBERS_EN:
        found.append(str(_NUMBERS_EN.index(word)))
    if colour := lexicon.colour_names().get(word):
        found.append(colour)
    for row in lexicon.synonyms():
        if word in row.english or word in row.chinese:
            found += [name for name in (*row.english, *row.chinese) if " " not in name]
    return [other for other in found if other and other != word]
