"""Captions of clip art from titles, names of files and keywords; the cases are real ones."""

import pytest

from limner.data.collections.clipart import (
    caption_of,
    clean_title,
    keywords_of,
    sets_of,
    with_keywords,
    without_author,
)
from limner.data.collections.svg import About


@pytest.mark.parametrize(
    ("title", "author", "caption"),
    [
        ("guitar2", "", "guitar"),
        ("BlueMan#212", "", "blue man"),
        ("Hot Dog (B and W)", "", "hot dog, black and white"),
        ("Croissant (B &amp; W)", "", "croissant, black and white"),
        ("arrow-left-seagreen", "", "arrow left seagreen"),
        ("glace_2", "", "glace"),
        ("8ball", "", "8ball"),
        ("Coccinella Rollandin", "Rollandin", "coccinella"),
        ("ralf@ark.in-berlin.de", "", ""),
        ("tree - RPG map elements", "", "tree"),
        ("Copper the Beagle", "", "copper the beagle"),
    ],
)
def test_titles_lose_numbers_authors_and_underscores(title: str, author: str, caption: str) -> None:
    assert clean_title(title, author) == caption


@pytest.mark.parametrize(
    ("stem", "author", "name"),
    [
        ("cigno_architetto_frances_01", "Architetto Francesco Rollandin", "cigno"),
        ("small_truck_steffen_gluc_01", "Steffen Gluckselig", "small_truck"),
        ("mailbox2", "Ann", "mailbox2"),
        ("drill_peterm_", "peterm", "drill"),
        ("bee", "", "bee"),
    ],
)
def test_file_names_lose_the_author_cut_anywhere(stem: str, author: str, name: str) -> None:
    assert without_author(stem, author) == name


def test_the_title_of_a_set_is_the_title_of_no_picture() -> None:
    titles = {
        "aiga_bus1": "AIGA_Symbol_Signs",
        "aiga_stairs_": "AIGA_Symbol_Signs",
        "dino_architetto_01": "Dino",
        "dino_architetto_02": "Dino",
        "crawfish1_ganson": "Crawfish",
        "big_crawfish": "Crawfish",
    }
    assert sets_of(titles) == {"AIGA_Symbol_Signs"}
    about = About("AIGA_Symbol_Signs", keywords=["symbol", "mapsym"])
    assert caption_of("aiga_bus1", "signs/map", about, {"AIGA_Symbol_Signs"}) == "bus"


@pytest.mark.parametrize(
    ("stem", "folder", "about", "caption"),
    [
        (
            "contour_cheetah",
            "animals",
            About("Clipart by N B - contour_chipmunk"),
            "contour cheetah",
        ),
        ("usa_alaska", "x/flags/usa", About("Clipart by C - USA Alaska"), "flag of usa alaska"),
        (
            "ornamental_d_q",
            "games/cards/ornamental",
            About("card"),
            "playing card, queen of diamonds",
        ),
        ("bordered_jk_b", "games/cards/bordered", About("card"), "playing card, joker"),
        ("cigno_01", "animals/birds", About("Cigno", "F. Rollandin", ["bird"]), "bird"),
        ("cigno_01", "animals/birds", About("Cigno", "F. Rollandin"), "bird"),
        ("cosa_01", "unsorted", About("Cosa", "F. Rollandin", ["unsorted"]), ""),
        ("cosa_01", "tools/x", About("Cosa", "F. Rollandin", ["symbol", "tool"]), "x"),
        ("no", "signs", About("", "", ["sign", "crossed"]), "sign, crossed"),
    ],
)
def test_captions_of_awkward_files(stem: str, folder: str, about: About, caption: str) -> None:
    assert caption_of(stem, folder, about, set()) == caption


def test_keywords_that_say_nothing_are_left_out() -> None:
    about = About(
        "Pear",
        "Ann Example",
        ["hash(0x8a0b6a8)", "hash", "food", "foods", "signs_and_symbols", "http://x.org", "Ann"],
    )
    about.keywords += ["united_nations", "unsorted", "a/b"]
    assert keywords_of(about) == ["food", "united nations"]
    assert with_keywords("pear", about) == "pear, food, united nations"
    assert with_keywords("food", About("Food", keywords=["food"])) == "food"
