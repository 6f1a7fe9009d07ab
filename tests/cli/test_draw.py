import hashlib
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import limner
from limner.cli import main
from limner.finish.provenance.xmp import TRAINED
from limner.images import open_image, read_png_texts, read_xmp
from tests.tiny_model import save_tiny_model

PROMPT = "three red apples under the night sky"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def files(path: Path) -> list[str]:
    return sorted(each.name for each in path.rglob("*") if each.is_file())


def test_a_sentence_becomes_a_picture_with_a_sensible_name(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    code, out, err = run("draw", PROMPT, "--seed", "7", "--model", str(folder))
    assert code == 0
    assert out == "three-red-apples-under-the-night-sky-7.png\n"
    assert open_image(tmp_path / out.strip()).size == (16, 16)
    assert "seed 7" in err
    texts = read_png_texts(tmp_path / out.strip())
    assert texts["parameters"].startswith(f"{PROMPT}\nSteps: 4, Sampler: dalle, CFG scale: 0.0, ")
    assert json.loads(texts["limner"])["model"] == "tiny"


def test_the_printed_command_draws_the_same_again(run: Run, folder: Path, tmp_path: Path) -> None:
    first = ["draw", "it's a red apple", "-n", "2", "--model", str(folder), "--out", "a b"]
    _, out, err = run(*first, "--guidance", "2", "--top-k", "5", "--guidance-schedule", "cosine")
    command = shlex.split(err.split("the same again: ")[1])
    assert command[0] == "limner"
    code, again, _ = run(*command[1:])
    assert code == 0
    for before, after in zip(out.split("\n")[:2], again.split("\n")[:2], strict=True):
        assert after == before.replace(".png", "-2.png")
        assert (tmp_path / after).read_bytes() == (tmp_path / before).read_bytes()


def test_a_precision_is_kept_and_repeated(run: Run, folder: Path, tmp_path: Path) -> None:
    told = ["draw", "a red apple", "--seed", "3", "--model", str(folder), "--precision", "int8"]
    _, out, err = run(*told)
    assert "--precision int8" in err
    settings = json.loads(read_png_texts(tmp_path / out.strip())["limner"])
    assert settings["precision"] == "int8"
    code, _, err = run(*told[:-1], "int7")
    assert code == 2 and "expected fp32, bf16, int8; did you mean 'int8'?" in err


def test_a_device_that_is_not_there_is_told_and_draws_nothing(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    told = ["draw", "a red apple", "--model", str(folder), "--device"]
    for wrong in ("cuda:999", "gpu"):
        code, out, err = run(*told, wrong)
        assert code == 2 and not out and f"device is '{wrong}'" in err
    assert not list(tmp_path.glob("*.png"))
    code, _, err = run(*told, "cpu")
    assert code == 0 and "--device" not in err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_kept_and_repeated(run: Run, folder: Path, tmp_path: Path) -> None:
    told = ["draw", "a red apple", "--seed", "3", "--model", str(folder), "--device", "cuda"]
    _, out, err = run(*told)
    assert "--device cuda" in err
    settings = json.loads(read_png_texts(tmp_path / out.strip())["limner"])
    assert settings["device"] == "cuda"


def test_a_prompt_that_looks_like_an_option_is_repeated_safely(run: Run, folder: Path) -> None:
    code, _, err = run("draw", "--model", str(folder), "--", "--seed is a word")
    assert code == 0
    assert err.rstrip().endswith("-- '--seed is a word'")


def test_several_pictures_get_a_grid(run: Run, folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("draw", "a red apple", "-n", "3", "--seed", "7", "--model", str(folder))
    assert code == 0
    names = [
        "a-red-apple-7.png",
        "a-red-apple-8.png",
        "a-red-apple-9.png",
        "a-red-apple-7-grid.png",
    ]
    assert out.split() == names
    assert open_image(tmp_path / names[3]).size == (34, 34)


def test_files_are_never_overwritten(run: Run, folder: Path, tmp_path: Path) -> None:
    words = ("draw", "a red apple", "--seed", "7", "--model", str(folder), "--out")
    assert run(*words, "x.png")[1] == "x.png\n"
    (tmp_path / "x.png").write_bytes(b"precious")
    assert run(*words, "x.png")[1] == "x-2.png\n"
    assert (tmp_path / "x.png").read_bytes() == b"precious"
    assert [run(*words, "new/folder")[1] for _ in range(3)] == [
        "new/folder/a-red-apple-7.png\n",
        "new/folder/a-red-apple-7-2.png\n",
        "new/folder/a-red-apple-7-3.png\n",
    ]


def test_json_is_what_the_documents_say(run: Run, folder: Path) -> None:
    code, out, _ = run("draw", PROMPT, "-n", "2", "--seed", "7", "--model", str(folder), "--json")
    assert code == 0
    answer = json.loads(out)
    stem = "three-red-apples-under-the-night-sky"
    assert isinstance(answer.pop("seconds"), float)
    assert answer == {
        "prompt": PROMPT,
        "revised_prompt": PROMPT,
        "model": "tiny",
        "model_hash": limner.load(folder).info.sha256,
        "seed": 7,
        "pictures": [
            {"path": f"{stem}-7.png", "seed": 7},
            {"path": f"{stem}-8.png", "seed": 8},
        ],
        "dropped": [],
        "grid": f"{stem}-7-grid.png",
        "notes": [],
    }
    assert out.count("\n") == 1


def test_notes_go_to_stderr_and_json(run: Run, folder: Path) -> None:
    _, out, err = run("draw", "a red zebra", "--model", str(folder))
    assert "note: the model has never seen: zebra" in err
    assert "zebra" not in out.replace("a-red-zebra", "")
    _, out, _ = run("draw", "a red zebra", "--model", str(folder), "--json")
    answer = json.loads(out)
    assert [each["message"] for each in answer["notes"]] == ["the model has never seen: zebra"]
    assert answer["grid"] is None


def test_quiet_prints_only_paths(run: Run, folder: Path) -> None:
    code, out, err = run("draw", "a zebra", "--seed", "1", "--model", str(folder), "--quiet")
    assert (code, out, err) == (0, "a-zebra-1.png\n", "")


def test_weights_that_are_not_finite_need_a_word(run: Run, folder: Path, tmp_path: Path) -> None:
    """One NaN among codes that are never drawn: refused all the same, unless it is asked for."""
    spoilt = shutil.copytree(folder, tmp_path / "spoilt")
    tensors = load_file(spoilt / "model.safetensors")
    tensors["prior.text.weight"][300] = float("nan")
    save_file(tensors, spoilt / "model.safetensors")
    data = (spoilt / "model.safetensors").read_bytes()
    manifest = json.loads((spoilt / "manifest.json").read_text())
    manifest["files"]["model.safetensors"] = hashlib.sha256(data).hexdigest()
    (spoilt / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = run("draw", "?", "--model", str(spoilt))
    assert code == 4
    assert "'prior.text.weight' holds 32 NaN or infinite values" in err
    assert run("draw", "?", "--model", str(spoilt), "--allow-nonfinite")[0] == 0


def test_metadata_can_be_left_out(run: Run, folder: Path, tmp_path: Path) -> None:
    _, out, _ = run("draw", PROMPT, "--model", str(folder), "--no-metadata")
    assert read_png_texts(tmp_path / out.strip()) == {}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["draw"], "neither of PROMPT and --prompts"),
        (["draw", "a cat", "--prompts", "x.txt"], "both of PROMPT and --prompts"),
        (["draw", ""], "the prompt is empty"),
        (["draw", " \u200b\u3000"], "the prompt is empty"),
        (["draw", "x" * 4001], "4001 code points"),
        (["draw", "a \udcff cat"], "surrogate"),
        (["draw", "a cat", "-n", "0"], "n is 0"),
        (["draw", "a cat", "--seed", "-1"], "seed is -1"),
        (["draw", "a cat", "--temperature", "nan"], "temperature is nan"),
        (["draw", "a cat", "--temperature", "0"], "temperature is 0.0"),
        (["draw", "a cat", "--top-p", "2"], "top_p is 2.0"),
        (["draw", "a cat", "--guidance-schedule", "cosin"], "did you mean 'cosine'"),
        (["draw", "a cat", "--model", "defalt"], "did you mean 'default'"),
        (["draw", "a cat", "--out", "x.jpg"], "end the name in .png"),
        (["draw", "a cat", "-n", "2", "--out", "x.png"], "is one file, but 2 pictures"),
        (["draw", "a cat", "-n", "two"], "--count"),
        (["draw", "a cat", "--nonsense"], "nonsense"),
        (["paint"], "paint"),
    ],
)
def test_a_wrong_word_exits_2_and_writes_nothing(
    run: Run, tmp_path: Path, words: list[str], fault: str
) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert fault in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("../../etc/passwd", "etc-passwd-1.png"),
        ("$(id) `id` {{7*7}} %s%n", "id-id-7-7-s-n-1.png"),
        ("a\r\nred\tcat", "a-red-cat-1.png"),
        ("夜空下的三个红苹果", "夜空下的三个红苹果-1.png"),
        ("🦓🦓", "picture-1.png"),
        ("CON", "con-1.png"),
    ],
)
def test_a_prompt_never_chooses_where_files_go(
    run: Run, folder: Path, tmp_path: Path, prompt: str, name: str
) -> None:
    code, out, err = run("draw", prompt, "--seed", "1", "--model", str(folder), "--out", "o")
    assert (code, out) == (0, f"o/{name}\n")
    assert len(err.splitlines()) <= 3
    assert files(tmp_path) == [name]


def test_an_unwritable_folder_fails_before_the_model_is_loaded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("draw", "a cat", "--out", "file/sub", "--model", "no-such-model")
    assert code == 2
    assert "a file is in the way" in err
    code, _, err = run("draw", "a cat", "--out", "/proc/limner", "--model", "no-such-model")
    assert code == 5
    assert "cannot write in '/proc/limner'" in err
    code, _, err = run("draw", "a cat", "--out", "x" * 300, "--model", "no-such-model")
    assert code == 2
    assert "too long" in err


def test_a_refused_model_leaves_no_folder_behind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    code, _, err = run("draw", "a cat", "--out", "new", "--model", "./model")
    assert code == 4
    assert "has no config.json" in err
    assert not (tmp_path / "new").exists()


def test_prompts_come_from_a_file(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("\ufeffa red apple\r\n\r\n红苹果\n".encode())
    code, out, _ = run(
        "draw", "--prompts", "p.txt", "--seed", "3", "--model", str(folder), "--out", "o", "--json"
    )
    assert code == 0
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["prompt"] for answer in answers] == ["a red apple", "红苹果"]
    assert files(tmp_path / "o") == ["a-red-apple-3.png", "红苹果-3.png"]


def test_a_bad_line_is_named_and_the_good_ones_are_drawn(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a red apple\n\u200b\nx" + "y" * 4000 + "\nan apple\n")
    words = ["draw", "--prompts", "p.txt", "--seed", "3", "--model", str(folder), "--out", "o"]
    code, out, err = run(*words)
    assert code == 3
    assert out.split() == ["o/a-red-apple-3.png", "o/an-apple-3.png"]
    assert "'p.txt' line 2: the prompt is empty" in err
    assert "'p.txt' line 3: the prompt has 4001 code points" in err
    assert "2 of 4 prompts of 'p.txt' were not drawn, the first at line 2" in err
    code, out, err = run(*words, "--strict")
    assert (code, out) == (3, "")
    assert "'p.txt' line 2" in err
    assert "line 3" not in err


def test_a_wrong_option_is_not_blamed_on_every_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a red apple\nan apple\n")
    code, _, err = run("draw", "--prompts", "p.txt", "-n", "0")
    assert code == 2
    assert err.count("\n") == 1


def test_only_bad_lines_draw_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\u200b\n")
    code, _, err = run("draw", "--prompts", "p.txt", "--model", "no-such-model")
    assert code == 3
    assert "no prompt that can be drawn" in err


def test_a_missing_prompt_file_is_a_data_error(run: Run) -> None:
    code, _, err = run("draw", "--prompts", "no.txt")
    assert code == 3
    assert "cannot read 'no.txt'" in err


def test_a_refused_prompt_is_not_drawn(run: Run, folder: Path, tmp_path: Path) -> None:
    model = ("--model", str(folder))
    code, out, err = run("draw", "h3ntai", *model)
    assert (code, out) == (6, "") and "the prompt policy: sexual content ('hentai')" in err
    (tmp_path / "own.toml").write_text('version = 1\n[food]\nterms = ["brie"]\n')
    assert run("draw", "h3ntai", *model, "--policy", "own.toml")[0] == 0
    assert run("draw", "some br1e", *model, "--policy", "own.toml")[0] == 6
    code, _, err = run("draw", "h3ntai", *model, "--no-policy")
    assert code == 0 and "--no-policy h3ntai" in err.split("the same again: ")[1]
    assert run("draw", "a cat", *model, "--policy", "absent.toml")[0] == 3


def test_a_refused_line_of_a_file_is_told_with_the_bad_ones(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a cat\nhentai\n")
    code, out, err = run("draw", "--prompts", "p.txt", "--model", str(folder))
    assert code == 3 and len(out.split()) == 1
    assert "'p.txt' line 2: the prompt is refused by the prompt policy" in err


def test_files_say_that_a_model_made_them(run: Run, folder: Path, tmp_path: Path) -> None:
    words = ("draw", PROMPT, "--model", str(folder), "-n", "2", "--seed", "1")
    _, out, _ = run(*words)
    assert len(out.split()) == 3  # two pictures and their grid
    for name in out.split():
        assert TRAINED in read_xmp((tmp_path / name).read_bytes(), name)
    _, out, err = run(*words, "--no-xmp", "--no-mark")
    assert "--no-xmp --no-mark" in err.split("the same again: ")[1]
    for name in out.split():
        assert read_xmp((tmp_path / name).read_bytes(), name) == ""


def test_a_grid_has_the_colours_of_a_palette_alone(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny")
    colours = "--palette", "#000000,#ffffff,#ff0000", "--upscale", "4"
    words = "draw", "a red apple", "-n", "2", "--seed", "1", "--model", str(model), *colours
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    (grid,) = (tmp_path / "out").glob("*-grid.png")
    found = {colour for _, colour in open_image(grid).getcolors() or ()}
    assert found and found <= {(0, 0, 0), (255, 255, 255), (255, 0, 0)}
