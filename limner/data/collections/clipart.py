"""The Open Clip Art Library: PNG files, and SVG files whose metadata give titles and keywords.

Each SVG file states its licence; what does not state the public domain is left out. Without the SVG
files (another package) captions come from the names of the files, and the package's statement that
all is in the public domain has to do. Titles carry numbers, names of authors and of whole sets; a
file's name is its title, cut, then its author, cut, then a number. Nothing is translated.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from limner.data.collections.entries import Catalogue, Collection, Entry, files_below
from limner.data.collections.svg import About, links_to_a_picture, read_about
from limner.data.sources.folders import Found
from limner.errors import ImageError, UsageError, quote

# Icon themes and buttons, 1,378 stars of lines, patterns and gradients: drawings of no thing.
LEFT_OUT = (
    *("buttons", "computer/buttons", "computer/folders", "computer/icons"),
    *("shapes/stars", "special", "unsorted/duplicates"),
)
PUBLIC_DOMAIN = ("publicdomain", "licenses/publicdomain", "publicdomain/zero")
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


def list_clipart(root: Path, languages: Sequence[str]) -> Catalogue:
    """Return the clip art below `root`/png with English captions, or raise UsageError."""
    for language in languages:
        if language.lower() != "en":
            raise UsageError(
                f"the clip art has no captions in {quote(language)}; give en", param="language"
            )
    catalogue = Catalogue()
    usable = [
        each
        for each in files_below(root / "png", catalogue)
        if each.suffix == ".png" and _is_wanted(root, each, catalogue)
    ]
    abouts = _abouts(root, usable, catalogue)
    titles = {
        PurePosixPath(each.name).stem: abouts[each.name].title
        for each in usable
        if each.name in abouts
    }
    sets = sets_of(titles)
    for each in usable:
        if (about := abouts.get(each.name)) is None:
            continue
        place = PurePosixPath(each.name)
        caption = caption_of(place.stem, place.parent.as_posix(), about, sets)
        if not caption:
            catalogue.skip(each.name, "neither a title nor a keyword that says what it shows")
            continue
        # Titles stand under text, and with the keywords under caption, for models of longer
        # captions.
        captions = {"text": caption}
        if (longer := with_keywords(caption, about)) != caption:
            captions["caption"] = longer
        known = {"title": about.title, "author": about.author}
        catalogue.entries.append(
            Entry(
                each.name, root / "png" / each.name, captions, {k: v for k, v in known.items() if v}
            )
        )
    return catalogue


def _is_wanted(root: Path, each: Found, catalogue: Catalogue) -> bool:
    if (root / "png" / each.name).is_symlink():
        catalogue.skip(each.name, "a link to another picture of it")
        return False
    folder = PurePosixPath(each.name).parent.as_posix()
    if any(f"{folder}/".startswith(f"{out}/") for out in LEFT_OUT):
        catalogue.skip(each.name, "an icon, a button, a pattern or a star of lines")
        return False
    return True


def _abouts(root: Path, pictures: Sequence[Found], catalogue: Catalogue) -> dict[str, About]:
    """Return what is known of each picture by its name; what is not public domain is left out."""
    found: dict[str, About] = {}
    has_titles = (root / "svg").is_dir()
    for each in pictures:
        path = root / "svg" / f"{each.stem}.svg"
        if not has_titles:
            found[each.name] = About()
            continue
        try:
            about = read_about(path)
            if links_to_a_picture(path):
                catalogue.skip(each.name, "drawn around a picture that is missing")
                continue
        except ImageError:
            catalogue.skip(each.name, "no SVG file beside it that says its title and licence")
            continue
        licences = [each.lower().rstrip("/") for each in about.licences]
        if licences and all(each.endswith(PUBLIC_DOMAIN) for each in licences):
            found[each.name] = about
        else:
            catalogue.skip(each.name, "not stated to be in the public domain")
    return found


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


CLIPART = Collection(
    name="clipart",
    packages="openclipart-png openclipart-svg",
    place="usr/share/openclipart",
    licence="CC-PDDC",
    notice="the pictures are in the public domain, as each file or the package states",
    is_there=lambda folder: (folder / "png").is_dir(),
    read=list_clipart,
)
