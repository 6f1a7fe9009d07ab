"""`limner eval` on a model too small to draw anything: its forms, not its skill."""

import json
import shutil
from math import log
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from limner.checkpoint.model import save_checkpoint
from limner.cli.evaluate import evaluate
from limner.cli.shared.command import Command
from limner.cli.shared.judges import label_of
from limner.errors import DataError, LimnerError, UnknownModelError, UsageError
from limner.evaluate.scenes.judging import ASPECTS
from limner.evaluate.scenes.prompts import SETS
from limner.evaluate.scenes.score import DRAWN
from limner.html import can_plot
from limner.registry import load
from tests.codecs.tiny import without_encoder
from tests.tiny_clip import save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import CODEC, prior_config, save_tiny_model, tiny_pipeline
from tests.tiny_unclip import save_tiny_unclip

app = typer.Typer()
app.command("eval", cls=Command)(evaluate)


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


PROMPTS = "a red apple\nan apple\nthe sky\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_clip(tmp_path_factory.mktemp("clip") / "clip"))


def test_json(model: str, emoji_font: Path, tmp_path: Path) -> None:
    words = [model, "--count", "10", "--seed", "2", "--font", str(emoji_font), "--json"]
    ran = run(*words, "--html", str(tmp_path / "page"), "--temperature", "0.5")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    assert set(answer) == {"scores", "model", "seed", "seconds", "codec", "nll", "conditions"}
    assert (answer["nll"]["codes"], list(answer["nll"]["sets"])) == (4, list(DRAWN))
    for each in answer["nll"]["sets"].values():
        assert each["nats"]["n"] == each["bits"]["n"] == 10
        assert 0 < each["nats"]["low"] <= each["nats"]["value"] <= each["nats"]["high"]
        assert each["bits"]["value"] == pytest.approx(4 * each["nats"]["value"] / log(2), rel=1e-5)
    network, rfid = answer["conditions"]["network"], answer["codec"]["rfid"]
    assert network["name"] == "limner-clip" and answer["conditions"]["clip"] is None
    assert rfid["name"] == f"rFID(limner-clip {network['sha256'][:8]})"
    assert rfid["value"] > 0 and rfid["n"] == 10
    assert rfid["name"] in (tmp_path / "page" / "report.html").read_text()
    assert (answer["model"], answer["seed"]) == (model, 2)
    assert list(answer["scores"]) == [name for name in SETS if name != "varied"]
    assert answer["scores"]["seen"]["background"]["n"] == 10
    assert set(ASPECTS) <= set(answer["scores"]["ceiling"])
    assert answer["conditions"]["sampler"]["temperature"] == 0.5
    assert (tmp_path / "page" / "report.html").stat().st_size > 10_000
    assert json.loads((tmp_path / "page" / "report.json").read_text()) == answer


def test_table(
    model: str, emoji_font: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(model, "--count", "10", "--sets", "chinese", "--font", str(emoji_font))
    assert ran.exit_code == 0, ran.exception
    assert "chinese" in ran.stdout and "held_out" not in ran.stdout
    assert "bits a picture" in ran.stdout and "4 codes a picture, of each code" in ran.stdout
    assert "rFID" not in ran.stdout  # the codec was not asked for
    page = Path(ran.stdout.strip().splitlines()[-1])
    assert page.parts[0] == "runs" and page.is_file()


def test_the_best_of_several_scenes_is_chosen_by_a_clip(
    model: str, clip: str, emoji_font: Path
) -> None:
    words = [model, "--count", "10", "--sets", "seen", "--font", str(emoji_font), "--json"]
    ran = run(*words, "--best-of", "2", "--clip", clip)
    conditions = json.loads(ran.stdout)["conditions"]
    assert conditions["best_of"] == 2 and conditions["clip"]["name"] == "limner-clip"
    assert conditions["network"] is None  # nothing compares features


def test_the_network_of_scenes_can_be_named(model: str, clip: str, emoji_font: Path) -> None:
    words = [model, "--count", "10", "--font", str(emoji_font), "--features", clip, "--json"]
    answer = json.loads(run(*words, "--sets", "codec").stdout)
    sha256 = load(clip).info.sha256
    assert answer["codec"]["rfid"]["name"] == f"rFID(tiny-clip {sha256[:8]})"
    assert answer["conditions"]["network"]["sha256"] == sha256 and "nll" not in answer
    ran = run(*words, "--sets", "seen")
    assert isinstance(ran.exception, UsageError) and "none is measured here" in str(ran.exception)
    ran = run(*words[:-3], "--features", "inception", "--json")
    assert isinstance(ran.exception, UsageError) and "does not download" in str(ran.exception)


def test_a_codec_without_its_encoder_is_not_measured(tmp_path: Path, emoji_font: Path) -> None:
    pipeline = tiny_pipeline()
    pipeline.codec = without_encoder(pipeline.codec)
    codec = CODEC | {"encoder_channels": [], "encoder_blocks": []}
    prior = prior_config(pipeline.tokenizer)
    folder = tmp_path / "m"
    save_checkpoint(folder, pipeline, name="m", licence="MIT", codec=codec, prior=prior)
    words = [str(folder), "--count", "10", "--font", str(emoji_font), "--json"]
    ran = run(*words)
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    assert not {"codec", "nll"} & set(answer) and answer["conditions"]["network"] is None
    ran = run(*words, "--sets", "codec")
    assert isinstance(ran.exception, UsageError) and "has none to measure" in str(ran.exception)


def test_a_model_that_draws_no_tokens_is_measured(tmp_path: Path, emoji_font: Path) -> None:
    unclip = str(save_tiny_unclip(tmp_path / "u", prior=""))
    ran = run(unclip, "--count", "10", "--sets", "seen", "--font", str(emoji_font), "--json")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    assert (
        answer["conditions"]["sampler"]["sampler"] == "dpm_solver"
        and "codec" not in answer["scores"]
    )
    assert not {"codec", "nll"} & set(answer)


def test_a_gan_is_measured(tmp_path: Path, emoji_font: Path) -> None:
    gan = str(save_tiny_gan(tmp_path / "g"))
    words = ["--count", "10", "--sets", "seen", "--font", str(emoji_font), "--json"]
    ran = run(gan, *words, "--temperature", "0.5")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    assert answer["conditions"]["sampler"] == {"temperature": 0.5}
    assert not {"codec", "nll"} & set(answer)
    ran = run(gan, *words, "--guidance", "2")
    assert isinstance(ran.exception, UsageError) and "takes a temperature" in str(ran.exception)
    words[words.index("seen")] = "seen,varied"
    ran = run(gan, *words)
    assert isinstance(ran.exception, UsageError)
    assert str(ran.exception).startswith("--sets names varied, but a model of the family 'gan'")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for place in range(14):
        Image.effect_noise((20, 24), 20 + place * 5).save(folder / f"{place:02d}.png")
        (folder / f"{place:02d}.txt").write_text(f"{place} red apples", encoding="utf-8")
    return folder


def test_a_folder_of_captioned_pictures(
    model: str, clip: str, photos: Path, tmp_path: Path
) -> None:
    words = [model, "--on", str(photos), "--count", "12", "--clip", clip]
    ran = run(*words, "--html", str(tmp_path), "--json")
    assert ran.exit_code == 0, ran.exception
    answer = json.loads(ran.stdout)
    sha256 = load(clip).info.sha256
    names = {each["name"] for each in answer["figures"]}
    assert {f"FID(limner-clip {sha256[:8]})", f"CLIP score(limner-clip {sha256[:8]})"} < names
    alone = {"NLL, nats a code", "NLL, bits a picture"}
    assert alone < names and f"rFID(limner-clip {sha256[:8]})" in names
    assert len(names) == 12
    assert all(f"limner-clip {sha256[:8]}" in name for name in names - alone)
    assert {each["n"] for each in answer["figures"] if each["name"] in alone} == {12}
    assert "NLL, bits a picture" in (tmp_path / "report.html").read_text()
    assert answer["conditions"]["reference"]["pictures"] == answer["prompts"] == 12
    assert answer["conditions"]["network"]["sha256"] == sha256
    lacking = ["there are no plots without matplotlib; pip install 'limner[eval]'"]
    assert answer["notes"] == ([] if can_plot() else lacking)
    scores = [each["score"] for each in answer["best"]]
    assert scores == sorted(scores, reverse=True) and answer["worst"][0]["score"] <= scores[-1]
    assert json.loads((tmp_path / "report.json").read_text()) == answer
    again = json.loads(run(*words, "--json").stdout)
    assert again["figures"] == answer["figures"]


def test_prompt_files_are_split_by_kind(
    model: str, clip: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "parti.tsv"
    path.write_text("Prompt\tCategory\na cat\tAnimals\na dog\tAnimals\nred\tAbstract\n")
    ran = run(
        model, "--on", str(path), "--clip", clip, "--best-of", "2", "--reference", str(photos)
    )
    assert ran.exit_code == 0, ran.exception
    assert "flatter" in ran.stderr and "FID(limner-clip " in ran.stdout
    page = Path(ran.stdout.strip().splitlines()[-1])
    answer = json.loads(page.with_suffix(".json").read_text())
    assert [(each["kind"], each["n"]) for each in answer["kinds"]] == [
        ("Animals", 2),
        ("Abstract", 1),
    ]
    assert answer["kinds"][1]["low"] is None and answer["conditions"]["best_of"] == 2
    assert "PartiPrompts" not in page.read_text() and "Animals" in page.read_text()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("default", "default"),
        ("runs/prior", "prior"),
        ("runs/prior/model", "prior"),
        ("/else/where/model/", "where"),
        ("runs/run.v2", "run-v2"),
        ("hf:owner/name", "owner-name"),
        ("a/sheet.csv", "sheet"),
    ],
)
def test_a_report_is_named_by_the_model_or_its_run(model: str, name: str) -> None:
    assert label_of(model) == name


def test_no_report_is_lost(
    model: str, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs whose models both lie in a folder called model, and the same one measured again."""
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text(PROMPTS, encoding="utf-8")
    for run_name in ("one", "two"):
        shutil.copytree(model, f"{run_name}/model")
    pages = []
    for each in ("one/model", "two/model", "one/model", "one/model"):
        ran = run(each, "--on", "p.txt", "--clip", clip)
        assert ran.exit_code == 0, ran.exception
        pages.append(ran.stdout.strip().splitlines()[-1])
    assert pages == [
        "runs/eval-one/report.html",
        "runs/eval-two/report.html",
        "runs/eval-one/report-2.html",
        "runs/eval-one/report-3.html",
    ]
    assert all(Path(page).with_suffix(".json").is_file() for page in pages)
    Path("mine").mkdir()
    Path("mine/report.json").write_text("precious")
    ran = run("one/model", "--on", "p.txt", "--clip", clip, "--out", "mine", "--json")
    assert json.loads(Path("mine/report-2.json").read_text()) == json.loads(ran.stdout)
    assert Path("mine/report.json").read_text() == "precious"


def test_what_draw_takes_to_sample_is_taken(model: str, clip: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(PROMPTS, encoding="utf-8")
    words = [model, "--on", str(tmp_path / "p.txt"), "--clip", clip, "--json"]
    given = ["--min-p", "0.1", "--typical-p", "0.9", "--guidance", "2", "--top-k", "5"]
    given += ["--guidance-schedule", "cosine", "--device", "cpu", "--precision", "bf16"]
    ran = run(*words, *given)
    assert ran.exit_code == 0, ran.exception
    conditions = json.loads(ran.stdout)["conditions"]
    held = conditions["sampler"]
    assert (held["min_p"], held["typical_p"], held["guidance"], held["top_k"]) == (0.1, 0.9, 2, 5)
    assert held["guidance_schedule"] == "cosine" and conditions["precision"] == "bf16"
    assert isinstance(run(*words, "--min-p", "2").exception, UsageError)


def test_quiet_keeps_notes_back(model: str, clip: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(PROMPTS, encoding="utf-8")
    words = [model, "--on", str(tmp_path / "p.txt"), "--clip", clip, "--best-of", "2"]
    assert "flatter" in run(*words, "--out", str(tmp_path)).stderr
    assert run(*words, "--out", str(tmp_path), "--quiet").stderr == ""


def test_the_embedded_clip_scores_prompts(model: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a red apple\na cat\nthree dogs\n", encoding="utf-8")
    answer = json.loads(run(model, "--on", str(path), "--json").stdout)
    assert answer["conditions"]["clip"]["name"] == "limner-clip" and len(answer["best"]) == 3


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_prompts_are_refused_before_a_model_is_loaded(
    count: int, model: str, tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(["a red apple", "a cat"][:count]), encoding="utf-8")
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")  # told only when weights are read
    ran = run(str(damaged), "--on", str(path), "--json")
    assert isinstance(ran.exception, UsageError)
    assert "too few prompts or pictures to say how sure a figure is" in str(ran.exception)


@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["--on", "scene"], UsageError, "did you mean 'scenes'"),
        (["--on", ".", "--sets", "seen"], UsageError, "are for --on scenes"),
        (["--reference", "."], UsageError, "for other prompts than scenes"),
        (
            ["--on", "tests/tiny_model.py", "--features", "inception"],
            UsageError,
            "limner does not download",
        ),
        (
            ["--on", ".", "--best-of", "0"],
            UsageError,
            "best_of is 0; expected how many pictures to try, 1",
        ),
        (["--count", "3"], UsageError, "10 to 10000"),
        (["--seed", "-1"], UsageError, "seed is -1"),
        (["--sets", "seen,hello"], UsageError, "unknown set 'hello'"),
        (["--temperature", "0"], UsageError, "temperature"),
        (["--font", "/nowhere.ttf"], DataError, "no emoji font at /nowhere.ttf"),
        (["no such model"], UnknownModelError, "unknown model"),
    ],
)
def test_mistakes_are_named(
    words: list[str],
    kind: type[LimnerError],
    text: str,
    emoji_font: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    ran = run(*words, "--json")
    assert isinstance(ran.exception, kind)
    assert text in str(ran.exception)
