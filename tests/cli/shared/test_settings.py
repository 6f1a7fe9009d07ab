"""Variables and the user's file: which comes first, what is refused, and what doctor tells."""

import json
import os
import sys
from pathlib import Path

import pytest

from limner.cli import main
from limner.cli.shared.messages import shows_chinese
from limner.cli.shared.settings import config_path, effects, handed_on, is_set, language, read_file
from limner.errors import ConfigError
from limner.images import read_png_texts
from tests.tiny_model import save_tiny_model


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a model, and another for the settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("LIMNER_NATIVE", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    save_tiny_model(tmp_path / "tiny")
    save_tiny_model(tmp_path / "other")
    return tmp_path


def write(home: Path, text: str) -> Path:
    path = home / "config" / "limner" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def drawn(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Path, dict[str, object], str]:
    """Draw; return the picture's path, what its PNG tells, and stderr."""
    assert run("draw", "a red apple", "--seed", "3", *words) == 0
    told = capsys.readouterr()
    path = Path(told.out.strip())
    return path, json.loads(read_png_texts(path)["limner"]), told.err


def test_an_option_comes_before_a_variable_and_that_before_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home, f'model = "{home}/tiny"\nprecision = "int8"\nout = "of-file"\n')
    path, settings, _ = drawn(capsys)
    assert path.parent == Path("of-file") and settings["precision"] == "int8"
    monkeypatch.setenv("LIMNER_PRECISION", "bf16")
    monkeypatch.setenv("LIMNER_OUT", "of-variable")
    path, settings, _ = drawn(capsys)
    assert path.parent == Path("of-variable") and settings["precision"] == "bf16"
    path, settings, _ = drawn(capsys, "--precision", "fp32", "--out", "of-option")
    assert path.parent == Path("of-option") and settings["precision"] == "fp32"
    monkeypatch.setenv("LIMNER_PRECISION", "")  # an empty one counts as not set
    assert drawn(capsys)[1]["precision"] == "int8"


def test_true_and_false_are_set_too(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home, f'model = "{home}/tiny"\nmetadata = false\nquiet = true\n')
    assert run("draw", "a red apple", "--seed", "3") == 0
    told = capsys.readouterr()
    assert told.err == "" and read_png_texts(told.out.strip()) == {}
    monkeypatch.setenv("LIMNER_QUIET", "0")
    assert "the same again" in drawn(capsys, "--metadata")[2]


def test_the_printed_command_names_the_model_where_a_variable_would_choose_another(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("limner.registry.PRESETS", {"default": home / "other"})
    assert "--model" not in drawn(capsys)[2]
    monkeypatch.setenv("LIMNER_MODEL", str(home / "tiny"))
    assert f"--model {home}/tiny" in drawn(capsys)[2]
    assert "--model default" in drawn(capsys, "--model", "default")[2]


def test_a_wrong_value_is_told_with_where_it_comes_from(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(home, 'device = "gpu"\n')
    words = ["draw", "a cat", "--model", str(home / "tiny")]
    assert run(*words) == 2
    assert f"limner: '{path}': device is 'gpu'; expected" in capsys.readouterr().err
    monkeypatch.setenv("LIMNER_DEVICE", "tpu")
    assert run(*words) == 2
    assert "limner: LIMNER_DEVICE: device is 'tpu'; expected" in capsys.readouterr().err
    monkeypatch.setenv("LIMNER_LANG", "zh")
    assert run(*words) == 2
    assert "limner: LIMNER_DEVICE：device 为 'tpu'" in capsys.readouterr().err
    assert run(*words, "--device", "npu") == 2
    assert "LIMNER_DEVICE" not in capsys.readouterr().err
    monkeypatch.setenv("LIMNER_DEVICE", "cpu")
    monkeypatch.setenv("LIMNER_MODEL", str(home / "tiny"))
    assert run("draw", "a cat", "--best-of", "2", "--clip", "nosuch") == 2
    assert "LIMNER_MODEL" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('devise = "cpu"\n', "have the unknown key 'devise'; did you mean 'device'"),
        ("xyzzy = 1\n", "have the unknown key 'xyzzy'; the keys are model, clip, device"),
        ("device = 1\n", "device is 1; expected a text in quotes"),
        ('out = "-"\n', "out is '-'; expected a text in quotes"),
        ('preview = "no"\n', "preview is 'no'; expected true or false"),
        ('lang = "fr"\n', "lang is 'fr'; expected 'en' or 'zh'"),
        ("native = 0\n", "native is 0; expected '0' or '1'"),
        ("[draw]\nout = 1\n", "have the unknown key 'draw'"),
        ("device = cpu\n", "are not valid TOML"),
    ],
)
def test_a_wrong_file_is_named_in_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    path = write(home, text)
    for words in (["draw", "a cat"], ["models", "list"]):
        assert run(*words) == 2
        told = capsys.readouterr()
        assert f"'{path}'" in told.err and fault in told.err and told.err.count("\n") == 1
        assert told.out == ""
    for words in (["draw", "--help"], ["--version"]):
        assert run(*words) == 0


def test_a_file_that_cannot_be_read_is_told(home: Path) -> None:
    path = write(home, "")
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read your settings"):
        read_file(path)
    assert language(os.environ) == ""  # no second complaint while the first is told


@pytest.mark.parametrize(
    ("root", "there"), [("/etc/my", "/etc/my"), ("relative", "~/.config"), ("", "~/.config")]
)
def test_the_file_is_where_the_xdg_specification_says(root: str, there: str) -> None:
    expected = Path(there).expanduser() / "limner" / "config.toml"
    assert config_path({"XDG_CONFIG_HOME": root}) == expected


def test_the_library_gets_what_the_file_sets_for_it_and_no_longer_than_a_command(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, 'native = "0"\nfont = "/my.ttf"\n')
    monkeypatch.setenv("LIMNER_FONT", "/other.ttf")
    with handed_on() as names:
        assert names == {"LIMNER_NATIVE"}
        assert (os.environ["LIMNER_NATIVE"], os.environ["LIMNER_FONT"]) == ("0", "/other.ttf")
    assert "LIMNER_NATIVE" not in os.environ


def test_a_variable_of_few_values_is_checked(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMNER_LANG", "french")
    assert run("models", "list") == 2
    assert "LIMNER_LANG is 'french'; expected 'en' or 'zh'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "file", "locale", "chinese"),
    [
        ("zh", "en", "en_US.UTF-8", True),
        ("en", "zh", "zh_CN.UTF-8", False),
        ("", "zh", "en_US.UTF-8", True),
        ("", "", "zh_CN.UTF-8", True),
        ("", "", "en_US.UTF-8", False),
    ],
)
def test_the_language_is_set_or_the_locales(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, file: str, locale: str,
    chinese: bool,
) -> None:  # fmt: skip
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    monkeypatch.setenv("LIMNER_LANG", variable)
    write(home, f'lang = "{file}"\n' if file else "")
    assert shows_chinese(sys.stderr) is chinese


def test_doctor_tells_what_holds_and_from_where(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(home, f'model = "{home}/tiny"\nnative = "0"\nquiet = false\n')
    monkeypatch.setenv("LIMNER_DEVICE", "auto")
    monkeypatch.setenv("LIMNER_MODLE", "tiny")
    assert run("doctor", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    told = {each["key"]: (each["value"], each["from"]) for each in answer["settings"]}
    assert told["model"] == (f"{home}/tiny", str(path))
    assert told["device"] == ("auto", "LIMNER_DEVICE")
    assert told["native"] == ("0", str(path))
    assert told["quiet"] == ("false", str(path)) and told["clip"] == ("clip", "built in")
    wrong = [each for each in answer["advice"] if "LIMNER_MODLE" in each]
    assert len(wrong) == 1 and "did you mean 'LIMNER_MODEL'" in wrong[0]
    assert run("doctor") == 0
    assert "auto (LIMNER_DEVICE)" in capsys.readouterr().out


def test_effects_follow_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_set("model")
    monkeypatch.setenv("LIMNER_MODEL", "gan")
    assert is_set("model")
    found = {each.setting.key: each.source for each in effects(os.environ)}
    assert found["model"] == "LIMNER_MODEL" and found["out"] == "built in"
