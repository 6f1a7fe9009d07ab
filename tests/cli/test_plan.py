"""`limner train --plan` as a person calls it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from limner.cli import app
from limner.cli.plan import read_prices, read_ranks
from limner.errors import UsageError

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
