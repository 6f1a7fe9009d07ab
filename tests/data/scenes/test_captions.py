"""Captions say what the graph shows, in both languages, as a person would type it."""

import itertools
import random
import re

import pytest

from limner.data.scenes.backgrounds import BACKGROUNDS, NEAR_COLOURS, PLACES, PLACES_LATER
from limner.data.scenes.captions import COLOURS_ZH, LANGUAGES, WITHOUT_ARTICLE, caption
from limner.data.scenes.graph import (
    COLOURLESS,
    COUNTS,
    MANY,
    SIZES,
    SPLITS,
    Graph,
    Thing,
    hides,
    sample_graph,
    scene_rng,
)
from limner.data.scenes.nouns import Noun, noun_index, nouns
from limner.data.scenes.sprites import COLOURS, STYLES
from limner.errors import UsageError

GRAPHS = [sample_graph(split, scene_rng(split, i)) for split in SPLITS for i in range(300)]
WIDE = [sample_graph(split, scene_rng(split, i, 0, 7), 7) for split in SPLITS for i in range(200)]
EVERY_NOUN = [Graph((Thing(noun.singular),), "snow") for noun in nouns()]
EVERY_COLOUR = [
    Graph((Thing(noun.singular, colour),), "plain:orange") for noun in nouns() for colour in COLOURS
]
EVERY_GROUND = [Graph((Thing("cat"),), ground) for ground in BACKGROUNDS]
EVERY_STYLE = [
    Graph((Thing("cat", None if style in COLOURLESS else "red", size),), "night", style=style)
    for style, size in itertools.product(STYLES, SIZES)
]
VOWEL_SOUND = re.compile(r"(?!uni|ufo|ewe)[aeiou]|hour")


def captions(graph: Graph, language: str, count: int = 8) -> list[str]:
    return [caption(graph, language, random.Random(seed)) for seed in range(count)]


def english_names(noun: Noun, count: int) -> set[str]:
    return {noun.plural} if count > 1 else {noun.singular, *noun.aliases}


def chinese_names(noun: Noun) -> set[str]:
    return {noun.chinese, *noun.chinese_aliases}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "graphs",
    [GRAPHS, WIDE, EVERY_NOUN, EVERY_COLOUR[::5], EVERY_GROUND, EVERY_STYLE],
    ids=["drawn", "wide", "nouns", "colours", "grounds", "styles"],
)
def test_captions_are_clean(graphs: list[Graph], language: str) -> None:
    for graph in graphs:
        for text in captions(graph, language):
            assert text == text.strip() and "  " not in text, text
            assert not re.search(r"[{}\[\]_:]|None|mixed", text), text
            assert not re.search(r" ,|，，|，$|的的(?!士)", text), text
            assert language == "zh" or text.lower() == text, text


def test_the_noun_is_always_named() -> None:
    for graph in [*GRAPHS, *WIDE, *EVERY_NOUN]:
        for english in captions(graph, "en"):
            for thing in graph.things:
                names = english_names(thing.entry, thing.count)
                assert any(re.search(rf"\b{re.escape(n)}\b", english) for n in names), english
        for chinese in captions(graph, "zh"):
            for thing in graph.things:
                assert any(name in chinese for name in chinese_names(thing.entry)), chinese


def test_a_colour_of_the_graph_is_told() -> None:
    for graph in [*GRAPHS, *WIDE]:
        for english, chinese in zip(captions(graph, "en"), captions(graph, "zh"), strict=True):
            for thing in graph.things:
                if thing.colour is not None:
                    assert re.search(rf"\b{thing.colour}\b", english), english
                    assert COLOURS_ZH[thing.colour] in chinese, chinese


def test_no_alias_gives_a_second_colour() -> None:
    rose = noun_index()["rose"]
    assert "red rose" in nouns()[rose].aliases  # else this test says nothing
    for text in captions(Graph((Thing("rose", "blue"),), "snow"), "en", 200):
        assert "red" not in text
    for text in captions(Graph((Thing("cloud", "black"),), "night"), "zh", 200):
        assert "白" not in text
    assert any("red rose" in t for t in captions(Graph((Thing("rose"),), "snow"), "en", 200))


def test_no_chinese_alias_gives_a_second_size() -> None:
    for text in captions(Graph((Thing("dog", size="big"),), "snow"), "zh", 200):
        assert "小" not in text and "大" in text


@pytest.mark.parametrize("count", (*COUNTS, *MANY))
def test_counts_are_words_or_digits(count: int) -> None:
    graph = Graph((Thing("apple", "green", count=count),), "plain:white")
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine"]
    word, han = dict(zip(range(2, 10), zip(words, "两三四五六七八九", strict=True), strict=True))[
        count
    ]
    english = captions(graph, "en", 200)
    assert all(re.search(rf"\b({word}|{count}) green apples\b", text) for text in english)
    assert any(word in text for text in english) and any(str(count) in text for text in english)
    assert all(f"{han}个" in text for text in captions(graph, "zh", 50))


def test_sizes_are_told() -> None:
    for size, words, han in (("small", "small|little|tiny", "小"), ("big", "big|large|huge", "大")):
        graph = Graph((Thing("key", size=size),), "sea")
        assert all(re.search(words, text) for text in captions(graph, "en", 30))
        assert all(han in text for text in captions(graph, "zh", 30))


def test_articles_fit_the_next_word() -> None:
    for graph in [*GRAPHS, *EVERY_NOUN, *EVERY_COLOUR[::3], *EVERY_GROUND]:
        for text in captions(graph, "en"):
            for article, rest in re.findall(r"\b(an?) (?=(.*))", text):
                assert (article == "an") == bool(VOWEL_SOUND.match(rest)), text


def test_what_takes_no_article_gets_none() -> None:
    for graph in EVERY_NOUN:
        for text in captions(graph, "en", 40):
            words = "|".join(map(re.escape, WITHOUT_ARTICLE))
            assert not re.search(rf"\ban? ({words})(,| (in|on) |$)", text), text


def test_relations_say_who_stands_where() -> None:
    graph = Graph((Thing("cat"), Thing("key")), "beach", relation="left")
    for text in captions(graph, "en", 100):
        forward = re.search(r"(cat|kitten|kitty)\b.* left of .*\bkey", text)
        backward = re.search(r"\bkey .*right of .*(cat|kitten|kitty)", text)
        assert forward or backward, text
    above = Graph((Thing("cat"), Thing("key")), "beach", relation="above")
    for text in captions(above, "en", 100):
        forward = re.search(r"(cat|kitten|kitty) (above|on top of|over) .*\bkey", text)
        backward = re.search(r"\bkey (below|under|beneath) .*(cat|kitten|kitty)", text)
        assert forward or backward, text
    cat, key = "(猫|小猫|猫咪)", chinese_pattern("key")
    for text in captions(graph, "zh", 100):
        forms = (f"左边是.*{cat}.*右边是.*{key}", f"{cat}在.*{key}左边", f"{key}在.*{cat}右边")
        assert any(re.search(form, text) for form in forms), text


@pytest.mark.parametrize(
    ("relation", "english", "chinese"),
    [
        ("beside", ["A (and|next to|beside) B"], ["A和B", "A旁边是B"]),
        ("front", ["A in front of B", "B behind A"], ["A在B前面", "B在A后面", "前面是A，后面是B"]),
        ("row", ["A, B and C"], ["A、B和C"]),
        ("between", ["B between A and C"], ["B在A和C(之间|中间)"]),
    ],
)
def test_how_things_stand_in_the_wide_world_is_told(
    relation: str, english: list[str], chinese: list[str]
) -> None:
    names = ("tiger", "key", "zebra")[: 3 if relation in ("row", "between") else 2]
    graph = Graph(tuple(map(Thing, names)), "forest at night", relation=relation)
    for language, forms in (("en", english), ("zh", chinese)):
        met = set()
        for text in captions(graph, language, 80):
            for letter, name in zip("ABC", names, strict=False):
                noun = nouns()[noun_index()[name]]
                known = english_names(noun, 1) if language == "en" else chinese_names(noun)
                text = re.sub("|".join(sorted(known, key=len, reverse=True)), letter, text)
            # Articles, measure words and colours stand before a name.
            text = re.sub(r"\b(an?|orange|yellow|gray|black|white) ", "", text)
            text = re.sub("一[只把头匹](橙色的|灰色的|黑色的|白色的|黄色的|橙|黄)?", "", text)
            fitting = {each for each in forms if re.search(each, text)}
            assert fitting, text
            met |= fitting
        assert met == set(forms)


def test_empty_places_are_named_in_both_languages() -> None:
    told = {
        "beach": ("beach", "沙滩"),
        "beach at night": ("beach at night", "夜晚的沙滩"),
        "desert": ("desert", "沙漠"),
        "striped:red": ("red striped background", "红色条纹背景"),
    }
    for place, (english, chinese) in told.items():
        graph = Graph((), place)
        assert all(text.endswith(english) for text in captions(graph, "en", 30))
        assert all(text.endswith(chinese) for text in captions(graph, "zh", 30))
    empty = captions(Graph((), "beach"), "en", 60)
    assert {"an empty beach", "a beach", "the beach"} == set(empty)
    assert "空旷的沙滩" in captions(Graph((), "beach"), "zh", 60)


def chinese_pattern(name: str) -> str:
    return f"({'|'.join(chinese_names(nouns()[noun_index()[name]]))})"


@pytest.mark.parametrize("style", STYLES[1:])
def test_styles_are_told(style: str) -> None:
    graph = Graph((Thing("cat"),), "night", style=style)
    words = {"line art": "line (art|drawing)"}.get(style, style)
    han = {"sticker": "贴纸", "pixel art": "像素", "silhouette": "剪影", "line art": "线"}[style]
    assert all(re.search(words, text) for text in captions(graph, "en", 40))
    assert all(han in text for text in captions(graph, "zh", 40))


def test_grounds_are_told_mostly() -> None:
    for ground in BACKGROUNDS:
        tint = ground.partition(":")[2]
        graph = Graph((Thing("hippo"),), ground)
        texts = captions(graph, "en", 60)
        told = [
            text for text in texts if not re.fullmatch(r"(an? )?(brown )?hippo(potamus)?", text)
        ]
        assert 0.7 < len(told) / len(texts) < 1
        if tint:
            assert all(tint in text for text in told), told
            chinese = captions(graph, "zh", 60)
            assert sum(COLOURS_ZH[tint] in text for text in chinese) > 40


def test_one_graph_has_many_captions() -> None:
    graph = Graph((Thing("apple", "red", count=3),), "night")
    for language in LANGUAGES:
        assert len(set(captions(graph, language, 300))) >= 8


def test_the_source_alone_decides() -> None:
    for graph in GRAPHS[:20]:
        for language in LANGUAGES:
            assert caption(graph, language, random.Random(4)) == caption(
                graph, language, random.Random(4)
            )


def test_another_language_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown caption language 'fr'; choose en or zh"):
        caption(EVERY_NOUN[0], "fr", random.Random(0))


def test_a_background_of_the_object_s_colour_is_always_told() -> None:
    elephant = Graph((Thing("elephant"),), "plain:gray")  # gray by nature
    seen = Graph((Thing("elephant"),), "plain:red")
    assert hides(elephant) and not hides(seen)
    assert hides(Graph((Thing("car", "green"),), "meadow"))
    for language, word in (("en", "gray"), ("zh", "灰")):
        told = [caption(elephant, language, random.Random(seed)) for seed in range(300)]
        assert all(word in text for text in told)
        untold = [caption(seen, language, random.Random(seed)) for seed in range(300)]
        assert 10 < sum("red" not in text and "红" not in text for text in untold) < 90


def test_every_place_says_what_it_hides() -> None:
    assert set(NEAR_COLOURS) == {*PLACES, *PLACES_LATER}
    assert set().union(*NEAR_COLOURS.values()) <= set(COLOURS)
