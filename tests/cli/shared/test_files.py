import os
import time
from pathlib import Path

import pytest

from limner.cli.shared.files import Place, read_prompts, slug
from limner.errors import DataError, ResourceError, UsageError


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("a cat\n".encode("utf-16"), "not UTF-8 at byte offset 0"),
        ("a cat\n".encode("utf-16-le"), "NUL at byte offset 1"),
        ("a café\n".encode("latin-1"), "not UTF-8 at byte offset 5"),
        (b"\xef\xbb\xbfa caf\xe9\n", "not UTF-8 at byte offset 8"),
        (b"", "holds no prompt"),
        (b"\xef\xbb\xbf\n \n", "holds no prompt"),
        (b"a cat\n" * 2_000_000, "larger than 10 MiB"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, fault: str) -> None:
    (tmp_path / "p.txt").write_bytes(data)
    with pytest.raises(DataError, match=fault):
        read_prompts(tmp_path / "p.txt")


def test_ten_thousand_prompts_are_read_quickly(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a red apple\n" * 10_000)
    began = time.process_time()
    found = read_prompts(tmp_path / "p.txt")
    assert time.process_time() - began < 1
    assert (len(found), found[5999]) == (10_000, (6000, "a red apple"))


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [
        ("Three red  apples, please!", "three-red-apples-please"),
        ("word " * 40, "word-word-word-word-word-word-word-word-word-word-word-word"),
        ("x" * 300, "x" * 60),
        ("苹" * 300, "苹" * 50),
        ("- - -", "picture"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_slugs(prompt: str, stem: str) -> None:
    assert slug(prompt) == stem
    assert len(os.fsencode(slug(prompt))) <= 150


def test_places(tmp_path: Path) -> None:
    (tmp_path / "dotted.png").mkdir()
    assert Place.parse(None, 3) == Place(Path())
    assert Place.parse(tmp_path / "dotted.png", 3) == Place(tmp_path / "dotted.png")
    assert Place.parse(Path("a/b.PNG"), 1) == Place(Path("a"), "b.PNG")
    assert Place.parse(Path("run.v2"), 3) == Place(Path("run.v2"))
    for out, count in (("a.webp", 1), ("a.png", 2)):
        with pytest.raises(UsageError):
            Place.parse(Path(out), count)


def test_a_place_that_vanishes_while_drawing_is_a_resource_error(tmp_path: Path) -> None:
    place = Place(tmp_path / "new")
    place.prepare()
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").write_text("someone else's")
    with pytest.raises(ResourceError, match="another folder"):
        place.write("a.png", b"x")
