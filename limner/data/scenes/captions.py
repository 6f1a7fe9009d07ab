"""Captions: a scene graph as a person would type it, in English or Chinese.

Each caption is drawn with an explicit random source, so one graph has many paraphrases, from full
phrases ("three red apples under the night sky") to bare prompts ("cat, snow").
"""

import random

from limner.data.scenes.graph import ASIDE, COLOURLESS, Graph, Thing, hides, pick
from limner.data.scenes.nouns import Noun
from limner.data.scenes.placewords import (
    BARE_PLACES_EN,
    EMPTY_EN,
    EMPTY_ZH,
    PATTERNS_EN,
    PATTERNS_ZH,
    PLACES_EN,
    PLACES_ZH,
)
from limner.data.scenes.sprites import COLOURS
from limner.errors import UsageError
from limner.text.reading import indefinite

LANGUAGES = ("en", "zh")
_UNCOUNTED = (
    "glasses|sunglasses|jeans|gloves|socks|headphones|scissors|noodles|popcorn|bread|broccoli|corn|"
    "sushi|milk|coffee|tea|cheese|cabbage|french fries|ice cream|maize|lettuce|bok choy|ramen|"
    "noodle soup|corn on the cob|matcha|green tea|boba|honey|soft serve|yarn|cattle|luggage|grapes|"
    "fries|chips|mittens|trousers|pants|shades|spectacles|eyeglasses|piano keys|tennis|lightning"
)
_UNCOUNTED_WIDE = (
    "dog tracks|peas|green peas|falafels|rice dumplings|clinking beer mugs|clinking glasses|"
    "champagne glasses|chopsticks|fireworks|train tracks|sparkles|japanese dolls|hina dolls|"
    "bowling pins|table tennis|skis|theater masks|theatre masks|drama masks|"
    "comedy and tragedy masks|music notes|control knobs|knobs|dials|maracas|goggles|"
    "swimming goggles|safety goggles|briefs|swim briefs|shorts|swim trunks|women's clothes|"
    "shopping bags|ballet shoes|ballet slippers|pointe shoes|prayer beads|beads|film frames|news|"
    "bookmark tabs|tabbed pages|dollars|money with wings|index dividers|card index dividers|"
    "linked paperclips|chained paperclips|crossed hammers|tools|crossed swords|swords|scales|"
    "bubbles|soap bubbles|sweat drops|crossbones|puppy eyes|puppy-dog eyes|pinched fingers|"
    "crossed fingers|snapping fingers|devil horns|metal horns|clapping hands|hooray hands|"
    "raising hands|hands in the air|heart hands|open hands|jazz hands|cupped hands|folded hands|"
    "praying hands|painted nails|flexed biceps|biceps|lungs|eyeballs|lips|footprints|santa claus|"
    "santa|father christmas|mrs claus|mother christmas|bunny girls|people with bunny ears|"
    "dancing twins|wrestlers|women holding hands|girl friends|men holding hands|busts|"
    "revolving hearts|double hearts|refresh arrows|reload arrows|hanukkah candles|aries|taurus|"
    "gemini|cancer zodiac|leo|virgo|libra|scorpio|sagittarius|capricorn|aquarius|pisces|"
    "ophiuchus|signal bars|antenna bars|wireless|crossed flags|crossed japanese flags|"
    "stars and stripes|garlic|ginger|bacon|spaghetti|rice|curry|cereal|butter|sake|shaved ice|"
    "bacteria|french bread|naan|fried chicken|meat|porridge|oatmeal|salt|canned food|cooked rice|"
    "curry rice|pasta|tempura|shrimp tempura|narutomaki|takeout|chocolate|custard|champagne|wine|"
    "red wine|beer|cola|juice|yerba mate|mate|ice|knife and fork|fork and knife|cutlery|"
    "silverware|mount fuji|mt fuji|fuji|camping|wood|dynamite|glitter|confetti|bamboo|rugby|"
    "bowling|field hockey|ice hockey|lacrosse|ping pong|badminton|karate|golf|fishing|mahjong|"
    "hanafuda|thread|sewing thread|rope|sheet music|music|underwear|rain|wind|dna|paper|money|"
    "cash|toilet paper|soap|lotion|sunscreen|shampoo|smoking|smoke|blood|medicine|archery|"
    "moon viewing|flying money|zzz|snoring|splashing water|applause|namaste|nail polish|yoga|"
    "meditation|bath time|fencing|horse racing|skiing|snowboarding|surfing|rowing|swimming|"
    "weightlifting|mountain biking|people wrestling|wrestling|water polo|handball|juggling|"
    "hugging people|people hugging|potable water|tap water|passport control|baggage claim|"
    "no entry|no smoking|no littering|no mobile phones|non-potable water|wifi|wi-fi|"
    "vibration mode|infinity|currency exchange|yin yang|yin and yang|om|aum|email|falafel|oden|"
    "breast-feeding|hongbao|meat on the bone|meat on a bone|thumbs up|thumbs down|poo"
)
WITHOUT_ARTICLE = frozenset(f"{_UNCOUNTED}|{_UNCOUNTED_WIDE}".split("|"))
NUMBERS = {
    "en": ("", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "zh": "零一两三四五六七八九",
}
COLOURS_ZH = dict(zip(COLOURS, "红橙黄绿蓝紫粉棕黑白灰", strict=True))
# An alias such as "red rose" is left out beside a colour: nobody says "a blue red rose".
COLOUR_WORDS_EN = frozenset({*COLOURS_ZH, "gold"})
COLOUR_WORDS_ZH = frozenset({*COLOURS_ZH.values(), "金"})
SIZES_EN = {"small": ("small", "little", "tiny"), "normal": ("",), "big": ("big", "large", "huge")}
RELATIONS_EN = {
    "left": (("to the left of", "left of", "on the left of"), ("to the right of", "right of")),
    "above": (("above", "on top of", "over"), ("below", "under", "beneath")),
}
RELATIONS_ZH = {"left": ("左边", "右边"), "above": ("上面", "下面")}
# Of the wide world. Side by side, the first left, is what people mean by "and".
FRONT_EN, FRONT_ZH = (("in front of",), ("behind",)), ("前面", "后面")
BESIDE_EN, BESIDE_ZH = ("next to", "beside"), "旁边"
BETWEEN_EN, BETWEEN_ZH = "between", ("之间", "中间")
AND_EN, AND_ZH = "and", "和"
STYLES_EN = {
    "sticker": ("a sticker of {}", "{} sticker style", "{} as a sticker"),
    "pixel art": ("{} in pixel art", "pixel art of {}", "{} as pixel art"),
    "silhouette": ("a silhouette of {}", "the silhouette of {}", "{} as a silhouette"),
    "line art": ("a line drawing of {}", "{} as line art", "line art of {}"),
}
STYLES_ZH = {
    "sticker": ("{}的贴纸", "贴纸风格的{}"),
    "pixel art": ("{}的像素画", "像素风格的{}"),
    "silhouette": ("{}的剪影",),
    "line art": ("{}的线稿", "{}的线条画"),
}


def caption(graph: Graph, language: str, rng: random.Random) -> str:
    """Return one caption of a graph in "en" or "zh", chosen by `rng`."""
    if language not in LANGUAGES:
        raise UsageError(f"unknown caption language {language!r}; choose en or zh")
    english, pair = language == "en", graph.kind in ("pair", "three")
    if graph.kind == "empty":
        return pick(rng, empty_places(graph.background, language))
    bare = not pair and rng.random() < (0.2 if english else 0.25)
    says_background = rng.random() < 0.88 or hides(graph)
    if pair:
        subject = _pair_english(graph, rng) if english else _pair_chinese(graph, rng)
    else:
        thing = _thing_english if english else _thing_chinese
        subject = thing(graph.things[0], rng, graph.style, not bare)
    if graph.style != "plain":
        styles = STYLES_EN if english else STYLES_ZH
        subject = pick(rng, styles[graph.style]).format(subject)
    if not says_background:
        return subject
    if english:
        return _with_background_english(subject, graph.background, bare, rng)
    return _with_background_chinese(subject, graph, rng)


def _with_background_english(subject: str, key: str, bare: bool, rng: random.Random) -> str:
    if bare:
        return f"{subject}, {bare_background_english(key)}"
    where = _background_english(key, rng)
    roll = rng.random()
    if roll < 0.1:
        return f"{where}, {subject}"
    return f"a picture of {subject} {where}" if roll < 0.16 else f"{subject} {where}"


def _thing_english(
    thing: Thing, rng: random.Random, style: str = "plain", article: bool = True
) -> str:
    noun = thing.entry
    size = pick(rng, SIZES_EN[thing.size])
    colour = _colour_to_say(thing, rng, style) or ""
    name = _name_english(noun, thing.count, rng, bool(colour))
    phrase = " ".join(part for part in (size, colour, name) if part)
    if thing.count > 1:
        digits = rng.random() < 0.15
        return f"{thing.count if digits else NUMBERS['en'][thing.count]} {phrase}"
    if not article or name in WITHOUT_ARTICLE:
        return phrase
    return f"{indefinite(phrase)} {phrase}"


def _name_english(noun: Noun, count: int, rng: random.Random, coloured: bool) -> str:
    if count > 1:
        return noun.plural
    aliases = [
        alias
        for alias in noun.aliases
        if not (coloured and COLOUR_WORDS_EN & set(alias.replace("-", " ").split()))
    ]
    return pick(rng, aliases) if aliases and rng.random() < 0.12 else noun.singular


def _pair_english(graph: Graph, rng: random.Random) -> str:
    first = _thing_english(graph.things[0], rng)
    second = _thing_english(graph.things[1], rng)
    if graph.relation in ASIDE:
        return _aside_english([first, second], graph, rng)
    forward, backward = {**RELATIONS_EN, "front": FRONT_EN}[graph.relation or "left"]
    if rng.random() < 0.3:
        return f"{second} {pick(rng, backward)} {first}"
    return f"{first} {pick(rng, forward)} {second}"


def _aside_english(said: list[str], graph: Graph, rng: random.Random) -> str:
    """Return how things are said that stand in a row, of what is said of the first two."""
    said = said + [_thing_english(thing, rng) for thing in graph.things[len(said) :]]
    if graph.relation == "between":
        return f"{said[1]} {BETWEEN_EN} {said[0]} {AND_EN} {said[2]}"
    if graph.relation == "row":
        return f"{said[0]}, {said[1]} {AND_EN} {said[2]}"
    return f" {AND_EN if rng.random() < 0.6 else pick(rng, BESIDE_EN)} ".join(said)


def _background_english(key: str, rng: random.Random) -> str:
    pattern, _, tint = key.partition(":")
    if not tint:
        return pick(rng, PLACES_EN[pattern])
    return pick(rng, PATTERNS_EN[pattern]).format(tint, a=indefinite(tint))


def bare_background_english(key: str) -> str:
    """Return a background as a bare prompt names it: "night sky", "red striped background"."""
    pattern, _, tint = key.partition(":")
    if not tint:
        return BARE_PLACES_EN[pattern]
    words = {"plain": "", "gradient": "gradient ", "striped": "striped "}
    words |= {"dotted": "polka dot ", "checkered": "checkered "}
    return f"{tint} {words[pattern]}background"


def _colour_to_say(thing: Thing, rng: random.Random, style: str) -> str | None:
    if style in COLOURLESS:
        return None
    if thing.colour is not None:
        return thing.colour
    natural, said = thing.entry.colour, thing.entry.painted
    return natural if natural != "mixed" and said and rng.random() < 0.2 else None


def _with_background_chinese(subject: str, graph: Graph, rng: random.Random) -> str:
    pattern, _, tint = graph.background.partition(":")
    where = pick(rng, PATTERNS_ZH[pattern] if tint else PLACES_ZH[pattern])
    where = where.format(COLOURS_ZH[tint]) if tint else where
    if graph.kind in ("pair", "three"):
        return f"{where}，{subject}" if rng.random() < 0.7 else f"{subject}，{where}"
    roll = rng.random()
    if roll < 0.5:
        return f"{where}的{subject}"
    return f"{subject}，{where}" if roll < 0.75 else f"{where}，{subject}"


def _thing_chinese(
    thing: Thing, rng: random.Random, style: str = "plain", counted: bool = True
) -> str:
    noun = thing.entry
    colour = _colour_to_say(thing, rng, style)
    painted = ""
    if colour:
        short = rng.random() < 0.4 and len(noun.chinese) <= 2 and thing.size == "normal"
        painted = COLOURS_ZH[colour] if short else f"{COLOURS_ZH[colour]}色的"
    size = {"small": "小", "normal": "", "big": "大"}[thing.size]
    name = _name_chinese(noun, thing, rng, bool(colour))
    if not counted and thing.count == 1:
        return f"{painted}{size}{name}"
    return f"{NUMBERS['zh'][thing.count]}{noun.classifier}{painted}{size}{name}"


def _name_chinese(noun: Noun, thing: Thing, rng: random.Random, coloured: bool) -> str:
    said = COLOUR_WORDS_ZH if coloured else frozenset()
    if thing.size != "normal":
        said = said | {"大", "小"}
    aliases = [alias for alias in noun.chinese_aliases if not said & set(alias)]
    if aliases and thing.count == 1 and rng.random() < 0.12:
        return pick(rng, aliases)
    return noun.chinese


def _pair_chinese(graph: Graph, rng: random.Random) -> str:
    first = _thing_chinese(graph.things[0], rng)
    second = _thing_chinese(graph.things[1], rng)
    if graph.relation in ASIDE:
        return _aside_chinese([first, second], graph, rng)
    ahead, behind = {**RELATIONS_ZH, "front": FRONT_ZH}[graph.relation or "left"]
    roll = rng.random()
    if roll < 0.5:
        return f"{ahead}是{first}，{behind}是{second}"
    if roll < 0.8:
        return f"{first}在{second}{ahead}"
    return f"{second}在{first}{behind}"


def _aside_chinese(said: list[str], graph: Graph, rng: random.Random) -> str:
    said = said + [_thing_chinese(thing, rng) for thing in graph.things[len(said) :]]
    if graph.relation == "between":
        return f"{said[1]}在{said[0]}{AND_ZH}{said[2]}{pick(rng, BETWEEN_ZH)}"
    if graph.relation == "row":
        return f"{said[0]}、{said[1]}{AND_ZH}{said[2]}"
    return f"{AND_ZH if rng.random() < 0.6 else f'{BESIDE_ZH}是'}".join(said)


def empty_places(key: str, language: str) -> tuple[str, ...]:
    """Return what a background is called where nothing stands on it."""
    pattern, _, tint = key.partition(":")
    if not tint:
        return (EMPTY_EN if language == "en" else EMPTY_ZH)[pattern]
    if language == "en":
        name = bare_background_english(key)
        return f"an empty {name}", f"{indefinite(name)} {name}"
    name = PATTERNS_ZH[pattern][0].format(COLOURS_ZH[tint]).removesuffix("上")
    return f"空的{name}", name
