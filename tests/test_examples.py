"""Every script of examples/ runs as it stands, offline, and does what its first line says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")


def run(name: str, folder: Path) -> str:
    """Run an example in a process of its own, without the Hub, and return what it prints."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name)],
        cwd=folder,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def sides(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_several_draws_two_of_each(tmp_path: Path) -> None:
    assert len(run("several.py", tmp_path).splitlines()) == 7
    wide, high = sides(tmp_path / "several.png")
    assert wide >= 2 * 64 and high >= 3 * 64


def test_variations_stand_side_by_side(tmp_path: Path) -> None:
    run("variations.py", tmp_path)
    wide, high = sides(tmp_path / "variations.png")
    assert wide >= 5 * 256 > 2 * high


def test_the_processor_changes_the_picture(tmp_path: Path) -> None:
    run("processor.py", tmp_path)
    with Image.open(tmp_path / "processor.png") as image:
        half = image.width // 2
        left, right = image.crop((0, 0, half, 64)), image.crop((half, 0, 2 * half, 64))
        assert left.tobytes() != right.tobytes()


def test_rank_finds_each_picture_by_its_sentence(tmp_path: Path) -> None:
    told = run("rank.py", tmp_path)
    for sentence in ("a cat on the beach", "a dog in the snow", "a red apple"):
        assert f"{sentence!r} fits best: {sentence!r}" in told
    assert "of four drawings the one of seed" in told


def test_the_codec_draws_in_grey(tmp_path: Path) -> None:
    run("codec.py", tmp_path)
    with Image.open(tmp_path / "grey.png") as image:
        red, green, blue = (channel.tobytes() for channel in image.convert("RGB").split())
        assert red == green == blue and len(set(red)) > 9


def test_notes_tell_what_was_read(tmp_path: Path) -> None:
    told = run("notes.py", tmp_path)
    assert "drew: a cat and a dog" in told
    assert "left_out: " in told and "words with apple: apple" in told


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_on_the_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    assert f"](../examples/{path.name})" in PAGE
    assert f"python examples/{path.name}" in text


def test_the_page_names_all_of_them() -> None:
    assert len(EXAMPLES) == PAGE.count("](../examples/") == 6
