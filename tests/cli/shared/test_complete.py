"""What a shell offers for values, asked the way a shell asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limner import registry
from limner.cli import app
from limner.cli.shared import complete
from limner.evaluate.metrics.networks import NAMES
from limner.types import DIFFUSION_SAMPLERS, PRECISIONS, SCHEDULES
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

ROOT = Path(__file__).resolve().parents[3]
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("complete")
    save_tiny_model(folder / "runs" / "prior" / "model")
    (folder / "runs" / "prior" / "config.json").write_text("{}", encoding="utf-8")
    save_tiny_clip(folder / "sees")
    save_tiny_unclip(folder / "varies", prior="")
    (folder / "runs" / "codec").mkdir()
    (folder / "runs" / "codec" / "codec.safetensors").write_bytes(b"")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "manifest.json").write_text("no", encoding="utf-8")
    (folder / ".hidden").mkdir()
    for name in ("run.toml", "pyproject.toml", ".hidden/more.toml", "runs/again.toml"):
        (folder / name).write_text("", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def offered(line: str) -> list[str]:
    """Return what bash is told when Tab is pressed at the end of a line."""
    words = line.split(" ")
    told = {
        "COMP_WORDS": line.rstrip(),
        "COMP_CWORD": str(len(words) - 1),
        "_LIMNER_COMPLETE": "complete_bash",
    }
    answer = RUNNER.invoke(app, [], env=told, prog_name="limner")
    assert answer.exit_code == 0, answer.output
    return answer.stdout.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "limner draw --model ",
            ["default", "crf", "gan", "next-scale", "unclip", "vqvae2", "runs/prior", "varies"],
        ),
        ("limner draw x --model r", ["runs/prior"]),
        ("limner eval runs/", ["runs/prior"]),
        ("limner compare default v", ["vqvae2", "varies"]),
        ("limner arena default g", ["gan"]),
        ("limner vary a.png --model ", ["unclip", "varies"]),
        ("limner draw --clip ", ["clip", "sees"]),
        ("limner rank a.png --clip s", ["sees"]),
        ("limner models show s", ["sees"]),
        ("limner audit bias de", ["default"]),
        (
            "limner data encode photos --codec ",
            ["default", "crf", "next-scale", "vqvae2", "runs/prior", "runs/codec"],
        ),
        ("limner draw --device c", ["cpu", "cuda"]),
        ("limner train run.toml --device ", ["cpu", "auto", "cuda"]),
        ("limner draw --precision ", [*PRECISIONS]),
        ("limner draw --sampler d", ["ddpm", "ddim", "dpm_solver"]),
        ("limner eval --guidance-schedule ", [*SCHEDULES]),
        ("limner train ", ["run.toml", "runs/again.toml"]),
        ("limner train run.toml --set codec.name=vq", [
            "codec.name=vqvae", "codec.name=vqvae2", "codec.name=vqgan",
        ]),
        ("limner eval --sets seen,ch", ["seen,chinese", "seen,chance"]),
        ("limner eval --on s", ["scenes"]),
        ("limner eval --features l", ["limner-clip"]),
        ("limner data make scenes --split ", ["train", "validation", "held_out"]),
        ("limner data make scenes --language ", ["en", "zh", "both"]),
        ("limner data clean photos --fit ", ["keep", "crop", "pad", "squash"]),
        ("limner audit bias default --prompts ", ["professions", "professions-zh"]),
        ("limner da", ["data"]),
        ("limner draw --prom", ["--prompts"]),
    ],
)  # fmt: skip
def test_values_are_offered(line: str, found: list[str]) -> None:
    assert offered(line) == found


def test_nothing_is_offered_where_the_shell_knows_better() -> None:
    assert offered("limner draw --prompts ") == []
    assert offered("limner vary ") == []
    assert offered("limner draw --count ") == []


def test_names_are_those_that_the_library_has() -> None:
    parts = registry.list_parts()
    for kind, names in complete.PARTS.items():
        assert list(names) == list(parts[f"{kind}s"]), kind
    assert complete.FEATURES == NAMES
    assert [*DIFFUSION_SAMPLERS] == list(parts["diffusion_samplers"])


def test_what_is_set_wrongly_or_not_finished_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "limner").mkdir()
    (tmp_path / "limner" / "config.toml").write_text("nonsense", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert offered("limner draw --device c") == ["cpu", "cuda"]
    assert offered("limner models show - --j") == ["--json"]


def test_a_large_tree_is_not_searched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "x.toml").touch()
    (deep.parent / "y.toml").touch()
    assert complete.configs("") == ["a/b/c/y.toml"]
    assert complete.configs("a/b/c/") == ["a/b/c/y.toml", "a/b/c/d/x.toml"]
    monkeypatch.setattr(complete, "FOLDERS_LIMIT", 2)
    assert complete.configs("") == []


def test_no_completion_imports_torch(place: Path) -> None:
    lines = ["limner draw --model ", "limner eval --sets ", "limner train r", "limner data e"]
    lines += ["limner data clean x --fit ", "limner eval --features ", "limner draw --sampler "]
    code = (
        "import os, sys\n"
        "from limner.cli import app\n"
        f"for line in {lines!r}:\n"
        "    os.environ['COMP_WORDS'] = line.rstrip()\n"
        "    os.environ['COMP_CWORD'] = str(line.count(' '))\n"
        "    try:\n        app(args=[], prog_name='limner')\n"
        "    except SystemExit as ended:\n        assert not ended.code\n"
        "    if 'torch' in sys.modules:\n        sys.exit(line)\n"
    )
    told = os.environ | {"_LIMNER_COMPLETE": "complete_bash", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=told, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "default" in ran.stdout.split() and "run.toml" in ran.stdout.split()
