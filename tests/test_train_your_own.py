"""docs/train-your-own.md works word for word, here with less of everything."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli import main
from limner.train.inputs import caches, memorisation
from limner.train.reading import read_config
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "train-your-own.md").read_text(encoding="utf-8")
LESS = {
    "codec": {
        "codec.size": "16",
        "codec.encoder_channels": "[8, 8, 8]",
        "codec.decoder_channels": "[8, 8, 8]",
        "data.workers": "0",
        "loop.steps": "4",
        "loop.save_every": "1",
    },
    "prior": {
        "prior.width": "16",
        "prior.layers": "1",
        "prior.heads": "2",
        "prior.hidden": "16",
        "text_length": "8",
        "data.workers": "0",
        "loop.steps": "2",
    },
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def smaller(words: list[str]) -> list[str]:
    """Return the words of a command that does the same with less work."""
    if words[0] == "train":
        settings = dict(LESS[read_config(words[1]).task])
        if "--resume" in words:
            settings["loop.steps"] = f"{saved_step() + 2}"
        kept = re.sub(rf"--set ({'|'.join(settings)})=\S+", "", shlex.join(words))
        return [
            *shlex.split(kept),
            *(w for k, v in settings.items() for w in ("--set", f"{k}={v}")),
        ]
    if words[0] == "adapt":
        return [*words, "--steps", "2"]
    return words + (["--count", "40", "--size", "16"] if words[:2] == ["data", "make"] else [])


def saved_step() -> int:
    """Return the step of the state that a killed run left."""
    folders = [Path("runs/third") / name for name in ("state", "state.old")]
    text = next(each for each in folders if each.exists()).joinpath("state.json").read_text()
    return int(json.loads(text)["step"])


def run(words: list[str]) -> None:
    told = io.StringIO()
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(told):
        main(smaller(words))
    assert ended.value.code == 0, words


def kill(words: list[str]) -> None:
    """Begin a command in a process of its own, and kill it once it has saved a state."""
    words = [word.replace("loop.steps=4", "loop.steps=100000") for word in smaller(words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "limner", *words], env=environment) as process:
        wait_until(Path("runs/third/state").exists, process)
        process.kill()
    assert saved_step() >= 1


def test_every_command_works_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emoji_font: Path
) -> None:
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_VOCABULARY", 300)
    monkeypatch.setattr(memorisation, "MOST", 4)  # blots are much like each other: each takes long
    (snippet,) = blocks("python")
    exec(compile(snippet, "snippet", "exec"), {"__name__": "snippet"})
    for name, text in zip(
        re.findall("^Save this as `(.*)`:$", TEXT, re.M), blocks("toml"), strict=True
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    lines = "".join(blocks("sh")).splitlines()
    for words in map(shlex.split, lines):
        match words:
            case ["limner", *rest]:
                run(rest)
            case ["timeout", "-s", "KILL", "30", "limner", *rest]:
                kill(rest)
            case _:
                pytest.fail(f"the page tells to type {words}, and no test knows it")
    assert len(list((tmp_path / "drawn").glob("*.png"))) >= 5
    assert Path("tiles.safetensors").exists() and Path("tiles.run").is_dir()
    for name in ("prior", "scenes-prior"):
        card = (tmp_path / "runs" / name / "model" / "README.md").read_text(encoding="utf-8")
        assert "were held out. Licence: unknown." in card
    for place in re.findall(r"`(runs/[\w/.-]+)`", TEXT):
        assert (tmp_path / place.replace("000800", "000004")).exists(), place
