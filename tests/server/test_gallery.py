"""The file of the gallery: what is kept, found and deleted, and that no death loses a picture."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from limner.errors import DataError, ResourceError
from limner.server.gallery import FULL, PAGE, Entry, Gallery
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
ENTRY = Entry(
    "draw", "a red apple", "a red apple", 2**63 - 2, "tiny", (16, 16), "png", b"\x89PNG bytes",
    {"guidance": 2.0}, [{"code": "weak", "message": "look"}],
)  # fmt: skip


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "folder" / "gallery.db")


def test_what_is_kept_is_found_as_it_was(gallery: Gallery) -> None:
    assert gallery.find("alice") == [] and gallery.one("alice", 1) is None
    assert gallery.path is not None and not gallery.path.exists()  # looking makes no file
    number = gallery.keep("alice", ENTRY)
    (found,) = gallery.find("alice")
    assert found == gallery.one("alice", number)
    assert abs(found.pop("made") - time.time()) < PATIENCE
    assert found == {
        "number": 1, "way": "draw", "prompt": "a red apple", "revised": "a red apple",
        "seed": "9223372036854775806", "model": "tiny", "width": 16, "height": 16, "kind": "png",
        "settings": {"guidance": 2.0}, "notes": [{"code": "weak", "message": "look"}],
        "favourite": False,
    }  # fmt: skip
    assert gallery.file("alice", number) == (b"\x89PNG bytes", "png")
    assert gallery.path.stat().st_mode & 0o077 == 0  # prompts are nobody else's


def test_the_search_takes_text_as_it_is_in_any_language(gallery: Gallery) -> None:
    for prompt in ("a Red apple", "夜空下的三个红苹果", "100% wool", "snake_case \\ 'x'"):
        gallery.keep("alice", replace(ENTRY, prompt=prompt, revised="drawn"))
    for search, numbers in (
        ("red", [1]), ("红苹果", [2]), ("%", [3]), ("_", [4]), ("\\", [4]), ("'", [4]),
        ("drawn", [4, 3, 2, 1]), ("", [4, 3, 2, 1]), ("absent", []),
    ):  # fmt: skip
        assert [each["number"] for each in gallery.find("alice", search=search)] == numbers, search


def test_favourites_pages_and_deletion(gallery: Gallery) -> None:
    for _ in range(PAGE + 5):
        gallery.keep("alice", ENTRY)
    first = gallery.find("alice")
    assert [each["number"] for each in first] == list(range(PAGE + 5, 5, -1))
    rest = gallery.find("alice", before=first[-1]["number"])
    assert [each["number"] for each in rest] == [5, 4, 3, 2, 1]
    assert gallery.mark("alice", 3, True) and gallery.mark("alice", 60, True)
    assert [each["number"] for each in gallery.find("alice", favourites=True)] == [60, 3]
    assert gallery.mark("alice", 60, False) and not gallery.mark("alice", 999, True)
    assert [each["number"] for each in gallery.find("alice", favourites=True)] == [3]
    assert gallery.delete("alice", 65) and not gallery.delete("alice", 65)
    assert gallery.file("alice", 65) is None
    assert gallery.keep("alice", ENTRY) == 66  # a number is never given twice


def test_a_deleted_picture_leaves_no_bytes(gallery: Gallery) -> None:
    assert gallery.path is not None
    number = gallery.keep(
        "alice", replace(ENTRY, prompt="secret-prompt", file=b"secret-file" * 999)
    )
    gallery.delete("alice", number)
    with sqlite3.connect(gallery.path) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    data = gallery.path.read_bytes()
    assert b"secret-prompt" not in data and b"secret-file" not in data


def test_everybody_has_a_gallery_of_their_own(gallery: Gallery) -> None:
    number = gallery.keep("alice", ENTRY)
    assert gallery.find("bob") == []
    assert gallery.one("bob", number) is None and gallery.file("bob", number) is None
    assert not gallery.mark("bob", number, True) and not gallery.delete("bob", number)
    assert gallery.file("alice", number) is not None


def test_the_limit_is_exact_and_deleting_makes_room(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "gallery.db", limit=200_000)
    large = replace(ENTRY, file=b"x" * 50_000)
    numbers = []
    with pytest.raises(ResourceError, match="the gallery is full") as caught:
        for _ in range(9):
            numbers.append(gallery.keep("alice", large))
    assert caught.value.code == FULL and len(numbers) == 3
    gallery.delete("alice", numbers[0])
    gallery.keep("alice", large)


def test_what_is_no_gallery_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    text, other, later = tmp_path / "a.db", tmp_path / "b.db", tmp_path / "c.db"
    text.write_text("no database, but long enough to be read as one " * 9, encoding="utf-8")
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE theirs (x)")
    file.close()
    Gallery(later).keep("alice", ENTRY)
    with sqlite3.connect(later) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    for path, told in (
        (text, "cannot use the gallery"), (other, "is no gallery"), (later, "another version"),
    ):  # fmt: skip
        before = path.read_bytes()
        with pytest.raises(DataError, match=told):
            Gallery(path).check()
        with pytest.raises(DataError, match=told):
            Gallery(path).keep("alice", ENTRY)
        assert path.read_bytes() == before
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResourceError, match="cannot use the gallery"):
        Gallery(tmp_path / "file" / "gallery.db").keep("alice", ENTRY)


def test_without_a_file_nothing_is_kept() -> None:
    gallery = Gallery(None)
    assert not gallery.keeps and gallery.find("alice") == [] and not gallery.delete("alice", 1)
    gallery.check()
    with pytest.raises(ResourceError, match="keeps no gallery"):
        gallery.keep("alice", ENTRY)


def test_many_threads_write_one_file(gallery: Gallery) -> None:
    numbers: list[int] = []

    def write() -> None:
        for _ in range(10):
            numbers.append(Gallery(gallery.path).keep("alice", ENTRY))

    threads = [threading.Thread(target=write) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
    assert sorted(numbers) == list(range(1, 61))


WRITER = """
import sys
from pathlib import Path
from limner.server.gallery import Entry, Gallery
gallery = Gallery(Path(sys.argv[1]))
assert "torch" not in sys.modules
for count in range(10**6):
    entry = Entry("draw", f"picture {count}", "", count, "m", (1, 1), "png", b"x" * 9000, {})
    print(gallery.keep("alice", entry), count, flush=True)
"""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    yield {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def test_twenty_deaths_lose_no_picture_that_was_kept(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path, told = tmp_path / "gallery.db", dict[int, int]()
    for turn in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(1 + turn % 4)]
        process.send_signal(signal.SIGKILL)  # while it writes the next one
        lines += process.stdout.readlines()
        assert process.wait(PATIENCE) == -signal.SIGKILL
        process.stdout.close()
        for line in lines:
            if line.endswith("\n"):  # a line that was cut told nothing
                number, count = map(int, line.split())
                told[number] = count
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = dict(file.execute("SELECT number, seed FROM pictures"))
    file.close()
    assert len(told) >= 20 and {number: kept.get(number) for number in told} == told
    assert not [each for each in tmp_path.iterdir() if not each.name.startswith("gallery.db")]
