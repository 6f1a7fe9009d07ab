"""Tux Paint's stamps: cut-outs and drawings with a caption in up to 78 languages.

Beside each picture stands a .txt: English in its first line, then lines such as `zh_CN.utf8=...`.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from limner.data.collections.entries import Catalogue, Collection, Entry, columns_of, files_below
from limner.data.collections.svg import EXTRA, can_render
from limner.data.sources.caption_text import FILE_LIMIT
from limner.data.sources.folders import Found, read_bytes
from limner.errors import ImageError, UsageError, did_you_mean, quote

ALIASES = {"zh": "zh_cn", "zh_hans": "zh_cn", "zh_hant": "zh_tw"}
COMMON = "en, zh, zh-hant, de, es, fr, ja, ko, pt-br, ru"
LOOKED_AT = 200  # folders and caption files, until one has a line in another language
_OPENING = re.compile("(An?|The|Some|One|Two|Three|Four|Five|Six) ")
_LINE = re.compile(r"([A-Za-z_]+(?:@[a-z]+)?)\.utf8=(.*)")


def read_captions(path: Path) -> dict[str, str]:
    """Return the captions of a file by language, as "en" and "zh_cn"; empty ones are left out.

    Raises ImageError when it cannot be read, UnicodeDecodeError when it is not UTF-8.
    """
    lines = read_bytes(path, FILE_LIMIT).decode("utf-8-sig").splitlines()
    found = {"en": lines[0] if lines else ""}
    found |= {match[1].lower(): match[2] for line in lines[1:] if (match := _LINE.fullmatch(line))}
    calm = not found["en"].rstrip().endswith("!")  # translators like to exclaim
    found = {code: line.rstrip(" !！") if calm else line for code, line in found.items()}
    return {code: text for code, line in found.items() if (text := as_prompt(line, code))}


def as_prompt(line: str, code: str) -> str:
    """Return a caption as one would type it: no full stop at its end, no capital of a sentence."""
    text = " ".join(line.split())
    if text.endswith((".", "。")) and not text.endswith(".."):
        text = text[:-1].rstrip()
    if code.startswith("en") and _OPENING.match(text):
        text = text[0].lower() + text[1:]
    return text


def list_stamps(root: Path, languages: Sequence[str]) -> Catalogue:
    """Return the stamps below `root` with their captions in `languages`, as "en" or "zh-hant".

    Raises UsageError for a language that no stamp has.
    """
    columns = {_code_of(each): column for each, column in columns_of(languages).items()}
    catalogue, known = Catalogue(), {"en"}
    files = {each.name: each for each in files_below(root, catalogue)}
    captions: dict[str, dict[str, str]] = {}
    for each in files.values():
        if each.suffix == ".txt":
            captions[each.stem] = _captions_or_skip(root, each, catalogue)
            known |= set(captions[each.stem])
    for language in languages:
        if (code := _code_of(language)) not in known:
            hint = did_you_mean(code, known) or f"; give some of {COMMON}, or any other of theirs"
            raise UsageError(f"no stamp has a caption in {quote(language)}{hint}", param="language")
    # A stamp without a caption in a language is left out of that column alone.
    for each in _pictures(files, catalogue):
        texts = captions.get(each.stem)
        if texts is None:
            catalogue.skip(each.name, "no caption beside it")
        elif chosen := {col: texts[code] for code, col in columns.items() if code in texts}:
            catalogue.entries.append(Entry(each.name, root / each.name, chosen))
        elif texts:
            catalogue.skip(each.name, "no caption in the languages asked for")
    for stem in captions:
        if not {f"{stem}.png", f"{stem}.svg"} & files.keys():
            catalogue.skip(f"{stem}.txt", "no picture beside the caption")
    return catalogue


def _captions_or_skip(root: Path, text: Found, catalogue: Catalogue) -> dict[str, str]:
    try:
        found = read_captions(root / text.name)
    except (ImageError, UnicodeDecodeError):
        found = {}
    if not found:
        catalogue.skip(text.name, "an empty or unreadable caption")
    return found


def _pictures(files: dict[str, Found], catalogue: Catalogue) -> Iterator[Found]:
    """Yield one picture of each stamp: the PNG, or the SVG where there is no PNG."""
    for each in files.values():
        if each.suffix == ".png":
            yield each
        elif each.suffix == ".svg" and f"{each.stem}.png" not in files:
            if can_render():
                yield each
            else:
                catalogue.skip(each.name, f"an SVG file, which needs {EXTRA}")


def _code_of(language: str) -> str:
    code = language.lower().replace("-", "_")
    return ALIASES.get(code, code)


def is_stamps(folder: Path) -> bool:
    """Say whether a folder holds stamps, by a caption file with a line in another language."""
    # Looking stops after some files: the folder may be a whole disk.
    texts = (
        Path(top) / name
        for top, _, names in itertools.islice(os.walk(folder), LOOKED_AT)
        for name in sorted(names)
        if name.endswith(".txt")
    )
    for path in itertools.islice(texts, LOOKED_AT):
        try:
            if len(read_captions(path)) > 1:
                return True
        except (ImageError, UnicodeDecodeError):
            continue
    return False


STAMPS = Collection(
    name="stamps",
    packages="tuxpaint-stamps-default",
    place="usr/share/tuxpaint/stamps",
    licence="GPL-2.0-or-later",
    notice=(
        "the pictures are under the GPL, version 2 or later: before you publish them, or a model "
        "trained on them, think of what it asks of you"
    ),
    is_there=is_stamps,
    read=list_stamps,
)
