"""The Open Clip Art Library: PNG files, and SVG files whose metadata give titles and keywords.

Each SVG file states its licence; what does not state the public domain is left out. Without the SVG
files (another package) captions come from the names of the files, and the package's statement that
all is in the public domain has to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from limner.data.collections.entries import Catalogue, Collection, Entry, files_below
from limner.data.collections.svg import About, links_to_a_picture, read_about
from limner.data.collections.titles import caption_of, sets_of, with_keywords
from limner.data.sources.folders import Found
from limner.errors import ImageError, UsageError, quote

# Icon themes and buttons, 1,378 stars of lines, patterns and gradients: drawings of no thing.
LEFT_OUT = (
    *("buttons", "computer/buttons", "computer/folders", "computer/icons"),
    *("shapes/stars", "special", "unsorted/duplicates"),
)
PUBLIC_DOMAIN = ("publicdomain", "licenses/publicdomain", "publicdomain/zero")


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
        if about.licences and all(_is_public(each) for each in about.licences):
            found[each.name] = about
        else:
            catalogue.skip(each.name, "not stated to be in the public domain")
    return found


def _is_public(licence: str) -> bool:
    return licence.lower().rstrip("/").endswith(PUBLIC_DOMAIN)


CLIPART = Collection(
    name="clipart",
    packages="openclipart-png openclipart-svg",
    place="usr/share/openclipart",
    licence="CC-PDDC",
    notice="the pictures are in the public domain, as each file or the package states",
    is_there=lambda folder: (folder / "png").is_dir(),
    read=list_clipart,
)
