"""docs/stamps.md works word for word, here over a tiny collection and with less of everything."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from limner import registry
from limner.cli import main
from limner.data.collections import stamps
from tests.data.collection_files import STAMPS, about, cut_out, put, write_clipart
from tests.data.source_files import encoded, picture
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "stamps.md").read_text(encoding="utf-8")
LESS = {
    "stamps-codec.toml": {"loop.steps": "2", "loop.batch": "4"},
    "stamps-prior.toml": {
        "loop.steps": "2",
        "loop.batch": "4",
        "prior.width": "32",
        "prior.layers": "2",
        "prior.heads": "2",
        "prior.hidden": "32",
        "text_length": "8",
    },
    "clipart-prior.toml": {
        "loop.steps": "2",
        "loop.batch": "4",
        "prior.width": "32",
        "prior.layers": "2",
        "prior.heads": "2",
        "prior.hidden": "32",
        "text_length": "8",
    },
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def write_packages(folder: Path) -> None:
    """Lay out what the page downloads: 60 stamps in two languages, and a little clip art."""
    for index in range(60):
        stem = folder / STAMPS / f"things/thing{index:02}"
        image = picture(index, 40, 40) if index % 3 else cut_out(index)
        put(stem.with_suffix(".png"), encoded(image))
        put(stem.with_suffix(".txt"), f"A thing of kind {index}.\nzh_CN.utf8=第{index}种东西。\n")
    clipart = write_clipart(folder)
    for index in range(60, 90):
        put(clipart / f"png/food/dish{index}_01.png", encoded(picture(index, 40, 40)))
        put(clipart / f"svg/food/dish{index}_01.svg", about(f"Dish of kind {index}", "food"))


def run(words: list[str]) -> None:
    if words[0] == "train":
        words += [
            word for key, value in LESS[words[1]].items() for word in ("--set", f"{key}={value}")
        ]
    if words[0] == "eval":
        words[words.index("--count") + 1] = "10"
        words += ["--clip", "tiny-clip"]
    told = io.StringIO()
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(told):
        main(words)
    assert ended.value.code == 0, words


def test_every_command_works_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stamps, "can_render", lambda: False)
    save_tiny_model(tmp_path / "tiny")
    save_tiny_clip(tmp_path / "tiny-clip")
    monkeypatch.setitem(registry.PRESETS, "default", tmp_path / "tiny")
    write_packages(tmp_path / "unpacked")
    names = re.findall("[Ss]ave this as `([^`]*)`:$", TEXT, re.M)
    for name, text in zip(names, blocks("toml"), strict=True):
        put(tmp_path / name, text)
    for words in map(shlex.split, "".join(blocks("sh")).splitlines()):
        match words:
            case ["limner", *rest]:
                run(rest)
            case ["grep", "-E", pattern, place, ">", out]:
                lines = Path(place).read_text(encoding="utf-8").splitlines()
                put(tmp_path / out, "".join(f"{x}\n" for x in lines if re.search(pattern, x)))
            case ["apt-get" | "pip" | "dpkg-deb", *_]:
                pass  # what they bring lies there already
            case _:
                pytest.fail(f"the page tells to type {words}, and no test knows it")
    for snippet in blocks("python"):
        exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})
