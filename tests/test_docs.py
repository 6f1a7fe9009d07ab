"""docs/json.md and the real answers say the same: every key is documented, with its type."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import limner
from limner import registry
from limner.cli import main
from limner.evaluate.metrics.networks import Network
from limner.evaluate.prompts.conditions import Conditions, Reference
from limner.server.arena import ArenaServer
from limner.train.inputs import caches
from tests.data.collection_files import write_clipart, write_stamps
from tests.data.source_files import write_pictures
from tests.tiny_clip import CLIP, save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import CODEC, save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
SETS = {"seen", "held_out", "chinese", "ceiling", "codec", "varied", "shuffled", "chance"}
OPEN = {  # what is in them depends on names
    "models show": {"codec", "prior", "clip", "decoder", "autoencoder", "upsampler", "generator"},
    "eval": {"conditions"},
    "compare": {"conditions[]"},
    "arena": {"conditions[]"},
    "audit memorisation": {"conditions"},
    "audit bias": {"conditions"},
    "data encode": {"files"},
    "info": {"pictures[].settings"},
    "train --plan": {"parameters"},
    "models parts": {
        "codecs", "priors", "text_encoders", "image_encoders", "pipelines", "samplers",
        "embedding_priors", "decoders", "upsamplers", "diffusion_samplers", "noise_schedules",
        "generators", "discriminators",
    },
}  # fmt: skip
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
    "null": (type(None),),
}
CONFIG = f"""
task = "codec"
out = "codec"
[codec]
{chr(10).join(f"{key} = {json.dumps(value)}" for key, value in CODEC.items())}
[codec_training]
adversarial = 0.1
[data]
held_for_validation = 2
captions = 2
[loop]
steps = 1
batch = 2
"""
CLIP_CONFIG = f"""
task = "clip"
out = "clip"
text_length = 8
[clip]
width = 16
dimensions = 8
image_encoder = {{{", ".join(f"{k} = {json.dumps(v)}" for k, v in CLIP["image_encoder"].items())}}}
text_encoder = {{{", ".join(f"{k} = {json.dumps(v)}" for k, v in CLIP["text_encoder"].items())}}}
[data]
held_for_validation = 2
[loop]
steps = 1
batch = 2
"""
PRIOR = ['task="prior"', 'codec_from="codec"', 'out="prior"', "data.cached=16", "text_length=8"]
PRIOR += ['prior.name="gpt"', "prior.width=16", "prior.layers=1", "prior.heads=2"]
UNCLIP = ["data.cached=2", 'start_from="tiny-unclip"', "data.held_for_validation=2", "loop.steps=1"]
UNCLIP += ["sampling.steps=1", "loop.batch=2"]
UNCLIP_PARTS = [
    ['task="decoder"', 'out="decoder"'],
    ['task="embedding_prior"', 'out="embedding_prior"', 'embedding_prior.name="diffusion"'],
    ['task="upsampler"', 'out="upsampler"', 'upsampler.name="convolution"', "upsampler.size=32"],
]
GAN = ['task="gan"', 'out="gan"', "text_length=8", "loop.steps=1", "loop.batch=2"]
GAN += ["data.held_for_validation=4", 'generator.name="modulated"', "generator.size=16"]
GAN += ["generator.channels=[8, 8]", "generator.width=16", 'discriminator.name="residual"']
GAN += ["discriminator.channels=[8, 8]"]
COMMANDS: dict[str, list[list[str]]] = {
    "draw": [
        ["a red zebra"],
        ["a red apple", "-n", "2", "--seed", "7", "--out", "pictures"],
        ["a red apple", "-n", "2", "--best-of", "3", "--clip", "tiny-clip"],
    ],
    "vary": [
        ["held/red_apple/a.png", "-n", "2", "--model", "tiny-unclip"],
        ["held/red_apple/a.png", "a red zebra", "--model", "tiny-unclip", "--steps", "2"],
    ],
    "again": [["old.png"], ["old.png", "-n", "2", "--seed", "1", "--out", "pictures"]],
    "info": [["old.png", "held/red_apple/a.png"]],
    "models list": [[]],
    "models parts": [[]],
    "models show": [["tiny"], ["tiny-clip"], ["tiny-unclip"], ["tiny-gan"]],
    "models words": [["gan"], ["gan", "--search", "apple"]],
    "data make scenes": [["--count", "2", "--size", "16", "--out", "scenes"]],
    "data make stamps": [["--from", "packages", "--size", "16", "--out", "stamps"]],
    "data make clipart": [["--from", "packages", "--size", "16", "--out", "clipart"]],
    "data check": [["held"], ["photos", "--validation", "held", "--out", "checked"]],
    "data clean": [["photos", "--out", "cleaned"]],
    "data encode": [["held", "--codec", "tiny", "--out", "codes"]],
    "train": [
        ["run.toml"],
        ["run.toml", "--resume"],
        ["run.toml", "--set", 'task="features"', "--set", 'out="features"'],
        ["run.toml", *(word for setting in PRIOR for word in ("--set", setting))],
        ["clip.toml"],
        *(
            ["empty.toml", *(word for setting in [*UNCLIP, *part] for word in ("--set", setting))]
            for part in UNCLIP_PARTS
        ),
        ["empty.toml", *(word for setting in GAN for word in ("--set", setting))],
    ],
    "train --plan": [["run.toml"]],
    "adapt": [
        ["tiny", "--on", "photos", "--out", "dog.safetensors", "--steps", "2", *resumed]
        for resumed in ([], ["--resume"])
    ],
    "eval": [
        ["tiny", "--count", "10"],
        ["tiny-unclip", "--count", "10", "--sets", "varied", "--steps", "2"],
        ["tiny", "--on", "p.jsonl", "--clip", "tiny-clip", "--reference", "photos/red_apple"],
    ],
    "compare": [["tiny", "tiny", "--on", "p.jsonl", "--clip", "tiny-clip"]],
    "arena": [["tiny", "tiny", "tiny", "--prompts", "p.txt"]],
    "audit memorisation": [
        ["photos/red_apple", "--train", "photos/red_apple"],
        ["tiny", "--train", "held", "--held-out", "held", "--samples", "2"],
    ],
    "audit bias": [
        [
            "tiny",
            "--labels",
            "apple,sky",
            "--prompts",
            "p.txt",
            "--clip",
            "tiny-clip",
            "--count",
            "10",
        ],
    ],
    "rank": [["held/red_apple/a.png", "--prompt", "a red zebra", "--model", "tiny-clip"]],
    "clip classify": [
        ["held/red_apple/a.png", "--labels", "zebra,sky", "--model", "tiny-clip"],
    ],
    "doctor": [[]],
}


def write_photos(folder: Path) -> None:
    """Write a source with one fault of each kind that a report lists, and one to validate on."""
    write_pictures(folder / "photos" / "red_apple", [f"{index:03d}.png" for index in range(120)])
    write_pictures(folder / "photos" / "cat", ["copy.png"])
    (folder / "photos" / "cat" / "damaged.png").write_bytes(b"no picture")
    (folder / "photos" / "counts.csv").write_text("class,count\ncat,2\n", encoding="utf-8")
    write_pictures(folder / "held" / "red_apple", ["a.png"])
    kinds = ("counting", "fruit")
    rows = [{"prompt": f"{number} apples", "tag": kinds[number % 2]} for number in range(12)]
    (folder / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "p.txt").write_text("a red apple\n", encoding="utf-8")


def section(command: str) -> str:
    found = re.search(rf"^## `limner {command}`\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert found, command
    return found[1]


def documented(command: str) -> dict[str, str]:
    """Return the type of each documented key of a command."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$", section(command), re.M)
    assert len(rows) == len(dict(rows)) > 0
    return dict(rows)


def keys(value: Any, command: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key of an answer, as the document writes it, with its value."""
    if isinstance(value, list):
        for item in value:
            yield from keys(item, command, f"{path}[]")
    if not isinstance(value, dict) or path in OPEN.get(command, ()):
        return
    for key, each in value.items():
        written = key
        if command == "eval" and path in ("scores", "nll.sets"):
            assert key in SETS
            written = "SET"
        elif command == "doctor" and path == "extras":
            written = "EXTRA"
        elif path == "scores.SET":
            assert f"`{key}`" in section(command)
            written = "ASPECT"
        name = f"{path}.{written}" if path else written
        yield name, each
        yield from keys(each, command, name)


def fits(value: Any, wanted: str) -> bool:
    kinds = [kind for word in wanted.split(" or ") for kind in TYPES[word]]
    return type(value) in kinds


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, emoji_font: Path) -> dict[str, list[Any]]:
    """Return what every command really answers with a model too small to draw anything."""
    folder = tmp_path_factory.mktemp("answers")
    save_tiny_model(folder / "tiny")
    save_tiny_clip(folder / "tiny-clip")
    save_tiny_unclip(folder / "tiny-unclip", prior="")
    save_tiny_gan(folder / "tiny-gan")
    (folder / "empty.toml").write_text("", encoding="utf-8")
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "clip.toml").write_text(CLIP_CONFIG, encoding="utf-8")
    write_photos(folder)
    limner.draw("a red zebra", model=folder / "tiny", seed=7)[0].save(folder / "old.png")
    write_stamps(folder / "packages")
    write_clipart(folder / "packages")
    found: dict[str, list[Any]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LIMNER_FONT", str(emoji_font))
        patch.setitem(registry.PRESETS, "default", folder / "tiny")
        patch.setattr(caches, "TOKENIZER_SCENES", 60)
        patch.setattr(ArenaServer, "serve_forever", lambda server: None)  # nobody votes
        for command, calls in COMMANDS.items():
            for words in calls:
                told = io.StringIO()
                with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(told):
                    main([*command.split(), *words, "--json"])
                (line,) = told.getvalue().splitlines()
                assert ended.value.code == 0, (command, words)
                found.setdefault(command, []).append(json.loads(line))
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_of_an_answer_is_documented(answers: dict[str, Any], command: str) -> None:
    told = documented(command)
    for answer in answers[command]:
        for key, value in keys(answer, command):
            assert key in told, f"limner {command} --json has {key}, and docs/json.md does not"
            assert fits(value, told[key]), f"{command}: {key} is {value!r}, not {told[key]}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_documented_key_is_in_an_answer(answers: dict[str, Any], command: str) -> None:
    given = {key for answer in answers[command] for key, _ in keys(answer, command)}
    assert set(documented(command)) - given == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_answers(answers: dict[str, Any], command: str) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", section(command), re.S)
    shown = dict(keys(json.loads(example), command))
    told = documented(command)
    assert all(fits(value, told[key]) for key, value in shown.items())
    optional = {"numbers", "validation", "codec", "sampling", "prior", "clip"}
    optional |= {"decoder", "autoencoder", "upsampler", "generator"}
    if command == "eval":  # the example is of scenes; other prompts have other figures
        optional |= {"varied", "on", "prompts", "figures", "kinds", "best", "worst", "notes"}
    if command == "models words":
        optional |= {"words"}
    if command == "audit memorisation":
        optional |= {"membership"}
    always = {key for key in told if re.split(r"[.\[]", key)[0] not in optional}
    assert always <= set(shown) <= set(told)


def test_conditions_are_documented_once_for_all() -> None:
    found = re.search(r"^## Conditions\n(.*?)(?=^## )", TEXT, re.M | re.S)
    assert found
    told = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$", found[1], re.M))
    network = Network("n", "0" * 64, lambda pictures: torch.zeros(len(pictures), 1))
    reference = Reference("photos", 2, "0" * 64)
    full = Conditions("m", "0" * 64, "h", {}, "fp32", 1, reference, network, network)
    given = dict(keys(full.to_json(), ""))
    assert set(told) == set(given)
    assert all(fits(value, told[key]) for key, value in given.items())
    empty = keys(Conditions("m", "", "h").to_json(), "")
    assert all(fits(value, told[key]) for key, value in empty)


def test_every_command_with_json_is_documented() -> None:
    sources = (ROOT / "limner" / "cli").glob("*.py")
    switches = sum(path.read_text().count("as_json: options.AsJson") for path in sources)
    answers = switches + 1  # `train --plan` has one of its own
    assert answers == len(COMMANDS) == TEXT.count("\n## `limner ")
