"""Prompt files of three forms, and what is no prompt."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.errors import DataError
from limner.evaluate.prompts.prompt_files import (
    ANY,
    PromptItem,
    captioned,
    parse_prompts,
    pictures_in,
    reference_of,
)

PARTI = [
    "Prompt\tCategory\tChallenge\tNote",
    "bond\tAbstract\tBasic\tBiology-inspired concepts",
    '"a sign that says ""Hello"""\tWorld Knowledge\tWriting & Symbols\t',
    "a cat",
]


def lines(*texts: str) -> list[tuple[int, str]]:
    return list(enumerate(texts, 1))


def test_a_line_is_a_prompt() -> None:
    assert parse_prompts(lines("a red  apple", "红苹果"), "p.txt") == [
        PromptItem("a red apple"), PromptItem("红苹果"),
    ]  # fmt: skip


def test_partiprompts() -> None:
    assert parse_prompts(lines(*PARTI), "PartiPrompts.TSV") == [
        PromptItem("bond", "Abstract"),
        PromptItem('a sign that says "Hello"', "World Knowledge"),
        PromptItem("a cat", ANY),
    ]


def test_geneval() -> None:
    row = {"tag": "two_object", "include": [{"class": "bench", "count": 1}], "prompt": "a bench"}
    found = parse_prompts(lines(json.dumps(row), '{"prompt": "x"}'), "geneval.jsonl")
    assert found == [PromptItem("a bench", "two_object"), PromptItem("x", ANY)]


@pytest.mark.parametrize(
    ("name", "texts", "told"),
    [
        ("a.tsv", ["Text\tCategory", "x\ty"], "no column Prompt"),
        ("a.tsv", ["Prompt"], "holds no prompt"),
        ("a.tsv", ["Category\tPrompt", "x"], "line 2: the prompt is empty"),
        ("a.jsonl", ['{"prompt": "x"}', "{"], "line 2 is no prompt"),
        ("a.jsonl", ['{"text": "x"}'], "line 1 is no prompt"),
        ("a.jsonl", ["[" * 100_000], "line 1 is no prompt"),
        ("a.txt", ["\u200b"], "line 1: the prompt is empty"),
    ],
)
def test_what_is_no_prompt_is_told_with_its_line(name: str, texts: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_prompts(lines(*texts), name)


@given(st.lists(st.text(), min_size=1, max_size=4), st.sampled_from(["tsv", "jsonl", "txt"]))
def test_any_text_is_prompts_or_refused(texts: list[str], suffix: str) -> None:
    try:
        found = parse_prompts(lines(*texts), f"p.{suffix}")
    except DataError:
        return
    assert all(each.text.strip() and each.kind for each in found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / ".hidden").mkdir()
    for place in range(8):
        stem = tmp_path / ("in" if place % 2 else ".") / f"{place}"
        Image.new("RGB", (20, 20), (place * 20, 0, 0)).save(stem.with_suffix(".png"))
        stem.with_suffix(".txt").write_text(f"the number {place}\n", encoding="utf-8")
    Image.new("RGB", (20, 20)).save(tmp_path / ".hidden" / "x.png")
    return tmp_path


def test_captions_keep_their_pictures(folder: Path) -> None:
    asked, images, reference = captioned(str(folder), 5, 0)
    assert len(asked) == len(images) == reference.pictures == 5
    for each, image in zip(asked, images, strict=True):
        number = int(each.text.split()[-1])
        assert image.getpixel((0, 0)) == (number * 20, 0, 0)
    assert captioned(str(folder), 5, 0)[2] == reference != captioned(str(folder), 5, 1)[2]
    assert len(captioned(str(folder), 99, 0)[0]) == 8


def test_pictures_need_no_captions(folder: Path) -> None:
    names, images = pictures_in(folder, 99)
    assert names == sorted(names) and len(images) == 8 and "in/1.png" in names
    some, chosen = pictures_in(folder, 3, seed=1)
    assert set(some) < set(names) and len(chosen) == 3
    first = reference_of("x", names, images)
    assert first.pictures == 8 and first.sha256 != reference_of("x", some, chosen).sha256


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no picture"):
        pictures_in(tmp_path, 3)
