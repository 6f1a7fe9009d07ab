"""Captions of clip art: its titles, file names and keywords, cleaned by rule.

Titles carry numbers, names of authors and of whole sets; a file's name is its title, cut, then its
author, cut, then a number. It translates nothing and knows no word.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

from limner.data.collections.svg import About

KEYWORDS = 5  # of a picture at most
# These authors titled their pictures in Italian and in French; the keywords are English.
OTHER_LANGUAGE = ("rollandin", "guillou")
SUITS = {"c": "clubs", "d": "diamonds", "h": "hearts", "s": "spades"}
RANKS = {"a": "ace", "j": "jack", "q": "queen", "k": "king"}
# Categories of the collection and names of its tools say nothing of what a picture shows; of vague
# words alone no caption is made.
BOOKKEEPING = frozenset(
    [
        *("appicon", "clip art", "clipart", "mapsym", "subnational", "unsorted", "vector"),
        *("webpage", "hash"),
    ]
)
VAGUE = frozenset(
    [
        *("computer", "education", "icon", "office", "people", "recreation", "roadsign", "shape"),
        *("sign", "symbol", "tool", "tools", "transport", "transportation"),
    ]
)
_CARD = re.compile(r".*_(?:([cdhs])_(10|[2-9ajqk])|jk_[br])")
_ADDRESS = re.compile(r"\S*(@|://|www\.)\S*|\[[^\]]*\]")
_SET = re.compile(r"clip\s?art by [^-]* - ", re.IGNORECASE)
_BLACK_AND_WHITE = re.compile(r"\(?\bb ?(and|&|n) ?w\b\)?|\bbwh?\b", re.IGNORECASE)
_NUMBER = re.compile(r"^0\d\s|#\d+|(?<=[^\W\d_])\d{1,3}\b|(?<=\s)\d{1,2}(?=,|$)|\(\d+\)")
_JUNK = re.compile(
    r"\b(aiga|bb|(open)?cliparts?|etiquette|md|rpg map elements|[01] symbol 10?c?m|svg)\b"
)


def slug(text: str) -> str:
    """Return letters and digits in lower case, everything else as one underscore."""
    return "_".join(re.findall(r"[^\W_]+", text.lower()))


def sets_of(titles: Mapping[str, str]) -> frozenset[str]:
    """Return the titles that name a set of different things, of titles by stem of their file."""
    # A title that its file's name does not have, above files of several names, is that of a set.
    heads: dict[str, set[str]] = {}
    for stem, title in titles.items():
        if slug(title) not in slug(stem):
            heads.setdefault(title, set()).add(re.sub(r"[\W\d_]+", "", stem[:12].lower()))
    return frozenset(title for title, several in heads.items() if len(several) > 1)


def caption_of(stem: str, folder: str, about: About, sets: Iterable[str]) -> str:
    """Return the caption of a picture, or an empty one where nothing says what it shows.

    `stem` is the file's name without its suffix, `folder` its place in the collection with slashes.
    """
    # 1. Cards say what they are in their file's name alone.
    if "cards" in folder and (card := _CARD.fullmatch(stem)):
        suit, rank = card[1], RANKS.get(card[2], card[2])
        return f"playing card, {rank} of {SUITS[suit]}" if suit else "playing card, joker"
    # 2. Titles that are not English: keywords, else the folder.
    if any(each in about.author.lower() for each in OTHER_LANGUAGE):
        return said_by_keywords(about) or category_of(folder)
    # 3. The title without that of its set; a title that is the set's says nothing of one picture.
    title = about.title
    whole = _SET.sub("", title)
    if title in sets or (whole != title and slug(whole) not in slug(stem)):
        title = ""
    # 4. The title, else the file's name, else keywords where hardly a letter is left.
    caption = clean_title(whole if title else "", about.author) or clean_title(
        without_author(stem, about.author), about.author
    )
    if len(re.findall(r"[^\W\d_]", caption)) < 3:
        caption = said_by_keywords(about)
    if "/flags" in f"/{folder}" and caption and "flag" not in caption:
        return f"flag of {caption}"
    return caption


def with_keywords(caption: str, about: About) -> str:
    """Return a caption with the keywords that it does not say yet, or as it is."""
    words = caption.split(", ")
    added = [each for each in keywords_of(about) if each not in caption][:KEYWORDS]
    return ", ".join(words + added)


def keywords_of(about: About) -> list[str]:
    """Return the keywords that say something, in lower case and in their order."""
    found = []
    for each in about.keywords:
        word = " ".join(each.replace("_", " ").lower().split())
        if word in BOOKKEEPING or not 3 <= len(word) <= 24 or re.search(r"[/@()\d:]", word):
            continue
        if slug(word) and slug(word) in slug(about.author):
            continue
        if each.count("_") >= 2:  # signs_and_symbols: a category, not what a picture shows
            continue
        if word not in found and word.removesuffix("s") not in found:
            found.append(word)
    return found


def said_by_keywords(about: About) -> str:
    """Return the first keywords as a caption, or an empty one when all of them are vague."""
    found = keywords_of(about)[:KEYWORDS]
    return "" if VAGUE.issuperset(found) else ", ".join(found)


def category_of(folder: str) -> str:
    """Return the last folder's name as a word for one thing: "bird" of animals/birds."""
    name = folder.rpartition("/")[2].replace("_", " ")
    if name in BOOKKEEPING | VAGUE or "/" not in folder:
        return ""
    return re.sub(r"(?<=[^s])s$", "", name)


def without_author(stem: str, author: str) -> str:
    """Return a file's name without the number and the author's name, cut anywhere, at its end."""
    name, signature = re.sub(r"_+\d*$", "", stem), slug(author)
    for found in re.finditer(r"_", name):
        tail = slug(name[found.end() :])
        if len(tail) >= 2 and signature.startswith(tail):
            return name[: found.start()]
    return name


def clean_title(title: str, author: str) -> str:
    """Return a title in lower case without numbers, addresses, names of authors and underscores."""
    title = html.unescape(title)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title) if " " not in title else title
    text = _ADDRESS.sub(" ", re.sub(r"[_\s-]+", " ", text)) if "@" not in title else ""
    text, coloured = _BLACK_AND_WHITE.subn(" ", text)
    text = _JUNK.sub(" ", _NUMBER.sub("", text).lower())
    if author:
        text = re.sub(rf"\b(by )?{re.escape(author.lower())}\b", " ", text)
    text = " ".join(text.split()).strip(" ,.;:-#'\"")
    return f"{text}, black and white" if text and coloured else text
