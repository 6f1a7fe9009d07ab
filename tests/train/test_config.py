"""A run's TOML file is read strictly, and a mistake is told by its key."""

import json
from pathlib import Path

import pytest

from limner.errors import ConfigError
from limner.train.config import TrainConfig, read_config

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
task = "codec"
out = "runs/x"
[codec]
name = "fsq"
levels = [4, 4]
[data]
level = 2
[loop]
steps = 7
learning_rate = 1e-4
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_read_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert (config.task, config.out, config.data.level) == ("codec", "runs/x", 2)
    assert (config.loop.steps, config.loop.learning_rate) == (7, 1e-4)
    assert config.codec == {"name": "fsq", "levels": [4, 4]}
    assert config.loop.batch == TrainConfig("codec", "x").loop.batch
    assert config.prior_training == TrainConfig("codec", "x").prior_training


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.name)
def test_the_configs_of_the_repository_are_valid(path: Path) -> None:
    config = read_config(path)
    assert config.task == path.stem.partition("-")[0]
    json.dumps(config.to_json())


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("loop.steps", "100", 100),
        ("loop.learning_rate", "2", 2.0),
        ("loop.bf16", "false", False),
        ("out", "runs/other", "runs/other"),
        ("out", '"a b"', "a b"),
        ("data.seed", "9", 9),
    ],
)
def test_overrides_win_over_the_file(tmp_path: Path, key: str, text: str, found: object) -> None:
    tree = read_config(written(tmp_path, GOOD), {key: text}).to_json()
    for part in key.split("."):
        tree = tree[part]
    assert tree == found
    assert type(tree) is type(found)


def test_an_override_reaches_into_the_parts(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD), {"codec.levels": "[8, 8]", "prior.width": "64"})
    assert config.codec == {"name": "fsq", "levels": [8, 8]}
    assert config.prior == {"width": 64}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[loop]\nlearing_rate = 1e-3", r"unknown key loop\.learing_rate.*learning_rate"),
        ("[lop]\nsteps = 3", r"unknown key lop.*loop"),
        ("trust_remote_code = true", "unknown key trust_remote_code"),
        ('_target_ = "os.system"', "unknown key _target_"),
        ('[loop]\nlearning_rate = "1e-4"', r"loop\.learning_rate is '1e-4', a str; .*float"),
        ("[loop]\nsteps = true", r"loop\.steps is True, a bool; .*int"),
        ("[loop]\nsteps = 3.0", r"loop\.steps is 3\.0, a float; .*int"),
        ("[loop]\nbf16 = 1", r"loop\.bf16 is 1, a int; .*bool"),
        ("[loop]\nsteps = -1", r"loop\.steps is -1"),
        ("[loop]\nlearning_rate = nan", r"loop\.learning_rate is nan"),
        ("[loop]\nlearning_rate = inf", r"loop\.learning_rate is inf"),
        ("[loop]\nlearning_rate = 1e400", r"loop\.learning_rate is inf"),
        ("[loop]\nlearning_rate = -0.1", r"loop\.learning_rate is -0\.1"),
        ("[data]\nlevel = [1]", r"data\.level is \[1\], a list; .*int"),
        ("codec = 3\n", r"codec is 3, a int; .*dict"),
        ("[loop]\nsteps = 1\nsteps = 2", "not valid TOML"),
        ("[loop\n", "not valid TOML"),
    ],
)
def test_mistakes_are_told_by_their_key(tmp_path: Path, text: str, words: str) -> None:
    head = 'task = "codec"\nout = "x"\n'
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(written(tmp_path, head + text))
    assert caught.value.exit_code == 2
    assert "run.toml" in str(caught.value)


def test_mistakes_in_overrides_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key loop\.stpes.*steps"):
        read_config(written(tmp_path, GOOD), {"loop.stpes": "3"})
    with pytest.raises(ConfigError, match=r"loop\.steps is 'many', a str"):
        read_config(written(tmp_path, GOOD), {"loop.steps": "many"})


def test_a_missing_key_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="out"):
        read_config(written(tmp_path, 'task = "codec"'))
    with pytest.raises(ConfigError, match=r"no config file at .*nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(binary)
