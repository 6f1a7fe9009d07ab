"""`limner train --plan` as a person calls it."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limner import registry
from limner.cli import app
from limner.cli.plan import read_prices, read_ranks
from limner.codecs import create_autoencoder
from limner.errors import ConfigError, UsageError
from limner.train.parts import save_codec

CODEC = Path(__file__).resolve().parents[2] / "configs" / "codec.toml"
SMALL = ["--set", "codec.size=16", "--set", "codec_training.perceptual=0.0"]
SMALL += ["--set", "codec_training.perceptual_weights=''", "--set", "out=nowhere"]


def test_a_plan_is_told_in_tables_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["train", str(CODEC), "--plan", *SMALL])
    assert told.exit_code == 0, told.output
    assert "memory on the first rank, MiB" in told.stdout and "no --price" in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_plan_as_json_has_the_cost_of_what_has_a_price() -> None:
    words = ["train", str(CODEC), "--plan", "--json", "--ranks", "1,2", "--price", "A100=2"]
    told = CliRunner().invoke(app, [*words, *SMALL])
    found = json.loads(told.stdout)
    costs = {(each["name"], each["ranks"]): each["cost"] for each in found["hardware"]}
    assert costs["A100", 1] > 0 and costs["H100", 2] is None
    assert ("this CPU", 1) in costs and ("this CPU", 2) not in costs


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone: configs alone, without runs and without a font."""
    shutil.copytree(CODEC.parent, tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_FONT", "/nowhere.ttf")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("prior.toml", "runs/codec is not there yet; it will be as configs/codec.toml says"),
        ("priors/gpt-vqvae2.toml", "it will be as configs/codecs/vqvae2.toml says"),
        ("prior-more.toml", "runs/prior/model is not there yet; it will be as configs/prior.toml"),
    ],
)
def test_a_prior_is_planned_before_its_codec_is_trained(
    clone: Path, config: str, told: str
) -> None:
    ran = CliRunner().invoke(app, ["train", f"configs/{config}", "--plan", "--json"])
    assert ran.exit_code == 0, ran.exception
    found = json.loads(ran.stdout)
    assert any(told in each for each in found["assumed"])
    assert found["parameters"]["trained"] > 10**6 and found["parameters"]["frozen"] > 10**5
    assert [each.name for each in clone.iterdir()] == ["configs"]


def test_a_plan_is_the_same_before_and_after_its_codec_is_trained(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "configs/prior.toml", "--plan", "--json"]
    before = json.loads(CliRunner().invoke(app, words).stdout)
    values = tomllib.loads((clone / "configs" / "codec.toml").read_text())["codec"]
    (clone / "runs" / "codec").mkdir(parents=True)
    save_codec(create_autoencoder(values), values, clone / "runs" / "codec" / "codec.safetensors")
    after = json.loads(CliRunner().invoke(app, words).stdout)
    assert len(after["assumed"]) == len(before["assumed"]) - 1
    assert (after["parameters"], after["flops"]) == (before["parameters"], before["flops"])


def test_a_run_that_goes_on_from_a_model_is_planned_as_that_model(clone: Path) -> None:
    words = ["train", "configs/prior-more.toml", "--plan", "--json", "--set", "start_from=default"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.exception
    held = registry.details("default")
    parameters = json.loads(ran.stdout)["parameters"]
    assert parameters["trained"] + parameters["frozen"] == held["parameters"]


def test_a_part_that_nothing_describes_is_named(clone: Path) -> None:
    words = ["train", "configs/prior.toml", "--plan", "--set", "codec_from=runs/other"]
    ran = CliRunner().invoke(app, words)
    assert isinstance(ran.exception, ConfigError)
    assert "'runs/other' is not there, and no config beside this one makes it" in str(ran.exception)


@pytest.mark.parametrize("text", ["", "0", "1,", "two", "-1", "1.5"])
def test_ranks_are_read_strictly(text: str) -> None:
    with pytest.raises(UsageError, match="holds no numbers of ranks; write them as 1,8"):
        read_ranks(text)
    assert read_ranks("1, 8") == [1, 8]


@pytest.mark.parametrize("word", ["A100", "=2", "A100=x", "A100=nan", "A100=-1"])
def test_prices_are_read_strictly(word: str) -> None:
    with pytest.raises(UsageError, match=r"is not NAME=PRICE; write it as A100=1\.50"):
        read_prices([word])


def test_ranks_without_a_plan_are_refused() -> None:
    told = CliRunner().invoke(app, ["train", str(CODEC), "--ranks", "2"])
    assert isinstance(told.exception, UsageError)
