"""The Chinese of the command line: whether it is asked for, and whether it keeps in step."""

import ast
import builtins
import errno
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import limner
from limner import cli
from limner.cli.shared.messages import localised, read_catalogue, to_chinese, wants_chinese

PACKAGE = Path(limner.__file__).parent
CATALOGUE = PACKAGE / "cli" / "shared" / "messages_zh.po"
ENTRIES = read_catalogue(CATALOGUE.read_text(encoding="utf-8"))
HAN = re.compile("[\u4e00-\u9fff]")
PLACEHOLDER = re.compile(r"\{(\d+)(?:![ot])?\}")


def template(node: ast.AST) -> str | None:
    """Return a string of the source with its values numbered, as the catalogue writes it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split(" "))
    if not isinstance(node, ast.JoinedStr):
        return None
    words, number = "", 0
    for each in node.values:
        if isinstance(each, ast.Constant):
            words += str(each.value)
        else:
            words += f"{{{number}}}"
            number += 1
    return words


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        found += [(place, node) for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    return found


@cache
def strings() -> set[str]:
    """Every string of the source, as a template."""
    return {text for _, node in nodes() if (text := template(node))}


def raised() -> Iterator[tuple[str, str]]:
    """Yield the module and the template of each message that an error is raised with."""
    for place, node in nodes():
        if isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func).rpartition(".")[2]
            text = template(node.args[0])
            if text and re.search("[a-z]", text) and name.endswith(("Error", "_refuse")):
                yield place, text


def of(*contexts: str) -> list[tuple[str, str]]:
    return [(each.english, each.chinese) for each in ENTRIES if each.context in contexts]


def test_no_message_of_the_catalogue_is_stale() -> None:
    stale = [english for english, _ in of("") if english not in strings()]
    assert not stale, "no f-string of the source says this any more"


def test_no_part_of_the_catalogue_is_stale() -> None:
    known = {word for text in strings() for word in text.split()} | set(dir(builtins))
    for english, _ in of("part", "place"):
        assert english in strings() or set(PLACEHOLDER.sub(" ", english).split()) <= known, english


def test_what_the_system_says_is_worded_as_the_system_words_it() -> None:
    assert str(OSError(2, "said", "place")) == "[Errno 2] said: 'place'"
    said = {os.strerror(number) for number in errno.errorcode} | {"[Errno {0}] {1}: {2}"}
    for english, _ in of("system"):
        assert english in said or english.startswith("image file is truncated"), english


def test_both_sides_of_an_entry_have_the_same_values() -> None:
    for entry in ENTRIES:
        english = PLACEHOLDER.findall(entry.english)
        assert english == [str(number) for number in range(len(english))], entry.english
        chinese = set(PLACEHOLDER.findall(entry.chinese))
        lost = {"4"} if entry.english.startswith("best_of is") else set()  # "is" or "are"
        assert chinese == set(english) - lost, entry.english
        assert "{" not in PLACEHOLDER.sub("", entry.english.replace("'{'", ""))


def test_an_entry_is_there_once_and_says_something() -> None:
    keys = [(entry.context, entry.english) for entry in ENTRIES]
    assert len(keys) == len(set(keys))
    for entry in ENTRIES:
        if entry.context in ("", "arguments"):
            assert len(re.findall("[A-Za-z]", entry.literal)) >= 4, entry.english
            assert HAN.search(entry.chinese), entry.english


def test_every_message_that_is_raised_has_its_chinese() -> None:
    messages = set(raised())
    assert len(messages) > 500
    lacking = sorted(each for each in messages if each[1] not in dict(of("")))
    assert not lacking, "add an entry to messages_zh.po"


@pytest.mark.parametrize(
    ("environment", "chinese"),
    [
        ({}, False),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_TW"}, True),
        ({"LANG": "zh"}, True),
        ({"LANG": "zh-Hans@pinyin"}, True),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB"}, False),
        ({"LANG": "en_GB", "LC_MESSAGES": "zh_CN"}, True),
        ({"LANG": "zh_CN", "LC_MESSAGES": "zh_CN", "LC_ALL": "C"}, False),
        ({"LANG": "zh_CN", "LC_ALL": "POSIX"}, False),
        ({"LANG": "zh_CN", "LC_ALL": ""}, True),
        ({"LANG": "en_US", "LANGUAGE": "zh_CN:en"}, True),
        ({"LANG": "zh_CN", "LANGUAGE": "en:zh"}, False),
        ({"LANG": "zh_CN", "LANGUAGE": "fr:zh_TW:en"}, True),
        ({"LANG": "zh_CN", "LANGUAGE": "fr"}, False),
        ({"LC_ALL": "C", "LANGUAGE": "zh_CN"}, False),
        ({"LANGUAGE": "zh_CN"}, False),
    ],
)
def test_the_locale_chooses_the_language_as_for_gettext(
    environment: dict[str, str], chinese: bool
) -> None:
    assert wants_chinese(environment) is chinese


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (
            "'a.txt' line 3: the codebook is empty; expected at least one code",
            "'a.txt' 第 3 行：码本",
        ),
        (
            "a.toml:3: codec 'fsq': groups is 0; expected at least 1",
            "a.toml:3：codec 'fsq'：groups 为 0；应不小于 1",
        ),
        (
            "a.toml:3: rate is -1; expected a float at least 0 and at most 1",
            "a.toml:3：rate 为 -1；应为数，不小于 0 且不大于 1",
        ),
        (
            "a.toml with --set 'loop.steps': steps is 'x', a str; expected an int",
            "a.toml（--set 'loop.steps'）：steps 为 'x'，类型是文本；应为整数",
        ),
        (
            "precision is 'fp3'; expected fp32, bf16; did you mean 'fp32'?",
            "precision 为 'fp3'；应为 fp32, bf16 之一；是否想用 'fp32'？",
        ),
        (
            "'x' has no captioned picture; the first: 'a.png' is animated; give a still picture",
            "'x' 中没有带说明文字的图；第一个：'a.png' 是动图；请给出静态图片",
        ),
        (
            "config.json describes no model that can be built: codec 'fsq': size is 9; expected a "
            "multiple of 8, at least 16",
            "config.json 描述的模型无法构建：codec 'fsq'：size 为 9；应为 8 的倍数，且不小于 16",
        ),
        ("note: the model has never seen: a, b", "提示：模型没见过：a, b"),
        (
            "cannot write in '/a; b': Permission denied; give another folder with --out",
            "无法写入 '/a; b'：权限不够；请用 --out 另选文件夹",
        ),
        (
            "cannot write in '/a': Strange; give another folder with --out",
            "无法写入 '/a'：Strange；请用 --out 另选文件夹",
        ),
    ],
)
def test_values_are_kept_and_words_within_them_translated(english: str, chinese: str) -> None:
    assert chinese in to_chinese(english)


@given(st.text() | st.text(alphabet="a;: '\"{}0!t is expected"))
def test_any_text_passes(text: str) -> None:
    found = to_chinese(text)
    assert found == text or HAN.search(found)


@given(st.data())
def test_a_message_with_any_names_and_numbers_keeps_them(data: st.DataObject) -> None:
    # One with !t takes only values that have a Chinese of their own.
    whole = [each for each in ENTRIES if each.context == "" and "!t" not in each.chinese]
    entry = data.draw(st.sampled_from(whole))
    count = len(PLACEHOLDER.findall(entry.english))
    values = data.draw(
        st.lists(st.from_regex(r"[A-Z0-9_]{3,9}", fullmatch=True), min_size=count, max_size=count)
    )
    message = PLACEHOLDER.sub(lambda match: values[int(match[1])], entry.english)
    found = to_chinese(message)
    assert HAN.search(found)
    kept = {values[int(number)] for number in PLACEHOLDER.findall(entry.chinese)}
    assert all(value in found for value in kept)


@pytest.mark.parametrize("text", ["", "nothing that limner says", "a: b: c", "模型", "x" * 10_000])
def test_what_has_no_template_stays_as_it_is(text: str) -> None:
    assert to_chinese(text) == text


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    captured = capsys.readouterr()
    assert captured.out == ""
    return caught.value.code, captured.err


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["draw", ""], 2, "limner: 提示词是空的；请说明要画什么，例如 '一个红苹果'\n"),
        (["draw", "x", "-n", "0"], 2, "limner: n 为 0；应为 1 到 1000 的整数\n"),
        (["draw", "x", "--model", "defalt"], 2, "未知的模型 'defalt'；是否想用 'default'？"),
        (["draw", "x", "--out", "a.jpg"], 2, "文件名请以 .png 结尾"),
        (
            ["rank", "absent.png", "--prompt", "x"],
            3,
            "无法读取图片 'absent.png'：没有那个文件或文件夹",
        ),
        (["train", "absent.toml"], 2, "没有配置文件；示例见 configs/"),
        (["draw", "x", "--guidance", "much"], 2, "'--guidance' 的值无效"),
        (["draw", "x", "--foo"], 2, "没有选项 --foo"),
        (["draw", "x", "y"], 2, "多余的参数：y"),
        (["draw", "--seed"], 2, "选项 '--seed' 需要一个值"),
        (["rank"], 2, "缺少参数"),
        (["rank", "a.png"], 2, "缺少选项 '--prompt'"),
        (["drwa"], 2, "没有命令 'drwa'"),
        (["models", "foo"], 2, "没有命令 'foo'"),
    ],
)
def test_a_chinese_locale_is_answered_in_chinese(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, text: str
) -> None:
    found, printed = said(capsys, *words)
    assert found == code
    assert text in printed


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(("name", "value"), [("LANG", "en_US.UTF-8"), ("LC_ALL", "C")])
def test_other_locales_are_answered_in_english(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    code, printed = said(capsys, "draw", "")
    assert code == 2
    assert printed == "limner: the prompt is empty; say what to draw, such as 'a red apple'\n"


@pytest.mark.usefixtures("chinese")
def test_a_stream_that_cannot_show_chinese_gets_english(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w", encoding="ascii") as narrow:
        monkeypatch.setattr("sys.stderr", narrow)
        assert localised("the caption is empty") == "the caption is empty"


@pytest.mark.usefixtures("chinese")
def test_a_cut_picture_is_told_in_chinese(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    code, printed = said(capsys, "rank", str(path), "--prompt", "x")
    assert code == 3
    assert "图片文件被截断" in printed


@pytest.mark.usefixtures("chinese")
def test_bad_lines_of_a_file_are_told_in_chinese(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\u200b\n", encoding="utf-8")
    code, printed = said(capsys, "draw", "--prompts", str(path), "--out", str(tmp_path))
    assert code == 3
    assert " 第 1 行：提示词是空的" in printed
    assert "中没有可以画的提示词" in printed


def test_the_file_is_read_as_tools_for_translators_write_it() -> None:
    text = '# said once\nmsgctxt "part"\nmsgid "a \\"b\\" {0}"\nmsgstr "{0}甲"\n\n'
    text += 'msgid "c"\nmsgstr "乙"\n'
    first, second = read_catalogue(text)
    assert (first.english, first.chinese, first.context) == ('a "b" {0}', "{0}甲", "part")
    assert (second.english, second.context) == ("c", "")
    assert first.render('a "b" c') == "c甲"
    assert first.render("other") is None
