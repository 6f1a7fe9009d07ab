import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limner import codecs, decoders, priors, registry
from limner.cli import app
from limner.clip import model as clip
from limner.clip.towers import IMAGE_ENCODERS
from limner.codecs import CODECS
from limner.decoders import DECODERS, UPSAMPLERS
from limner.errors import CheckpointError, UnknownModelError
from limner.gan import DISCRIMINATORS, GENERATORS
from limner.pipelines.families import FAMILIES
from limner.priors import EMBEDDING_PRIORS, PRIORS
from limner.sampling.diffusion import DIFFUSION_SAMPLERS
from limner.sampling.schedule import NOISE_SCHEDULES
from limner.sampling.tokens import SAMPLERS
from limner.text.encoders import TEXT_ENCODERS
from tests.tiny_model import save_tiny_model

RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = save_tiny_model(tmp_path / "model")
    monkeypatch.setattr(registry, "PRESETS", {"little": folder, "other": folder})
    return folder


def test_list_is_a_table(folder: Path) -> None:
    answer = RUNNER.invoke(app, ["models", "list"])
    assert answer.exit_code == 0
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert lines[0] == ["name", "family", "size", "licence", "parameters", "file"]
    assert lines[1][:5] == ["little", "dalle", "16", "px", "Apache-2.0"]
    assert lines[1][-1] == "embedded"
    assert len(lines) == 3


def test_list_as_json_is_what_the_documents_say(folder: Path) -> None:
    answer = RUNNER.invoke(app, ["models", "list", "--json"])
    assert answer.exit_code == 0
    listed = json.loads(answer.stdout)["models"]
    assert [entry["name"] for entry in listed] == ["little", "other"]
    parameters = listed[0].pop("parameters")
    assert listed[0] == {
        "name": "little",
        "family": "dalle",
        "size": 16,
        "licence": "Apache-2.0",
        "embedded": True,
        "bytes": (folder / "model.safetensors").stat().st_size,
    }
    assert 0 < parameters * 4 < listed[0]["bytes"]


def test_parts_are_the_registered_ones_with_a_line_each() -> None:
    answer = RUNNER.invoke(app, ["models", "parts", "--json"])
    assert answer.exit_code == 0
    parts = json.loads(answer.stdout)
    registered: dict[str, Iterable[str]] = {
        "codecs": CODECS, "priors": PRIORS, "text_encoders": TEXT_ENCODERS,
        "image_encoders": IMAGE_ENCODERS, "pipelines": FAMILIES, "samplers": SAMPLERS,
        "embedding_priors": EMBEDDING_PRIORS, "decoders": DECODERS, "upsamplers": UPSAMPLERS,
        "generators": GENERATORS, "discriminators": DISCRIMINATORS,
        "imported_codecs": codecs.IMPORTED, "imported_priors": priors.IMPORTED,
        "imported_embedding_priors": priors.IMPORTED_EMBEDDING,
        "imported_decoders": decoders.IMPORTED,
        "imported_upsamplers": decoders.IMPORTED_UPSAMPLERS, "imported_clips": clip.IMPORTED,
        "diffusion_samplers": DIFFUSION_SAMPLERS, "noise_schedules": NOISE_SCHEDULES,
    }  # fmt: skip
    assert {kind: list(found) for kind, found in parts.items()} == {
        kind: list(table) for kind, table in registered.items()
    }
    assert all(line.endswith(".") for found in parts.values() for line in found.values())
    table = RUNNER.invoke(app, ["models", "parts"]).stdout
    assert all(f" {name} " in table for found in parts.values() for name in found)


def test_show_prints_the_parts_and_the_card(folder: Path) -> None:
    answer = RUNNER.invoke(app, ["models", "show", "little"])
    assert answer.exit_code == 0
    assert "name fsq, size 16, levels [4, 4]" in answer.stdout
    assert "embedded     yes" in answer.stdout
    assert answer.stdout.endswith("# Tiny\n\nDraws nothing.\n\n")


def test_show_takes_a_folder_and_gives_json(folder: Path) -> None:
    answer = RUNNER.invoke(app, ["models", "show", str(folder), "--json"])
    assert answer.exit_code == 0
    details = json.loads(answer.stdout)
    assert (details["name"], details["embedded"], details["folder"]) == ("tiny", False, str(folder))
    assert set(details) == {
        "name", "family", "size", "licence", "embedded", "parameters", "bytes", "folder",
        "sha256", "text_length", "sampling", "codec", "prior", "card",
    }  # fmt: skip


def test_show_refuses_what_is_no_model(folder: Path, tmp_path: Path) -> None:
    assert isinstance(RUNNER.invoke(app, ["models", "show", "litle"]).exception, UnknownModelError)
    assert isinstance(
        RUNNER.invoke(app, ["models", "show", str(tmp_path)]).exception, CheckpointError
    )
