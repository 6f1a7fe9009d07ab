"""What every command really answers with --json, of models too small to draw anything.

tests/test_docs.py holds docs/schema to it, and scripts/json-schema writes these files from it.
"""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import limner
from limner import registry
from limner.cli import main
from limner.server import run
from limner.server.arena import ArenaServer
from limner.train.inputs import caches
from limner.types import Picture
from tests.convert.dvae import write_dvae
from tests.convert.mini import write_mini
from tests.data.collection_files import write_clipart, write_stamps
from tests.data.source_files import write_pictures
from tests.tiny_clip import CLIP, save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import CODEC, save_tiny_model
from tests.tiny_things import save_tiny_things
from tests.tiny_unclip import save_tiny_unclip

ROOT = Path(__file__).resolve().parent.parent
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
LOOP = ["data.held_for_validation=2", "loop.steps=1", "loop.batch=2"]
FEATURES = ['task="features"', 'out="features"', *LOOP]
PRIOR = ['task="prior"', 'codec_from="codec"', 'out="prior"', "data.cached=16", "text_length=8"]
PRIOR += ['prior.name="gpt"', "prior.width=16", "prior.layers=1", "prior.heads=2"]
PRIOR += [*LOOP, "data.captions=2"]
UNCLIP = ["data.cached=2", 'start_from="tiny-unclip"', "sampling.steps=1", *LOOP]
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
    "edit": [
        ["old.png", "a red zebra", "--mask", "0,0,8,16", "--seed", "7"],
        ["old.png", "a red apple", "-n", "2", "--best-of", "3", "--clip", "tiny-clip"],
    ],
    "outpaint": [
        ["old.png", "a red zebra", "--left", "8", "-n", "2"],
        ["old.png", "a red apple", "--top", "4", "--best-of", "2", "--clip", "tiny-clip"],
    ],
    "colourise": [
        ["held/red_apple/a.png", "--model", "tiny-unclip"],
        ["held/red_apple/a.png", "a red zebra", "-n", "2", "--model", "tiny-unclip"],
    ],
    "restyle": [
        ["grey.png", "--style", "sticker", "--model", "tiny-things"],
        ["held/red_apple/a.png", "--style", "线稿", "--model", "tiny-things"],
    ],
    "draw --sheet": [["sheet.png", "--prompts", "p.txt"], ["sheet.png", "--prompts", "p.txt"]],
    "morph": [["a red apple", "a red zebra", "--frames", "3", "--seed", "5"]],
    "upscale": [["old.png"]],
    "import": [["dall-e", "--out", "dvae"], ["min-dalle", "--out", "mini"]],
    "export": [
        ["dvae", "--as", "openai-dvae", "--out", "dvae-files"],
        ["mini", "--as", "min-dalle", "--out", "mini-files"],
    ],
    "again": [["old.png"], ["old.png", "-n", "2", "--seed", "1", "--out", "pictures"]],
    "explain": [
        ["a red apple", "--seed", "7"],
        ["a red zebra", "--model", "tiny-gan", "--out", "pictures"],
    ],
    "info": [["old.png", "held/red_apple/a.png"]],
    "verify": [["old.png", "held/red_apple/a.png", "labelled.png"]],
    "mcp": [["--list"]],
    "models list": [[]],
    "models parts": [[]],
    "models public": [[]],
    "models pull": [["openai-dvae", "--from", "dall-e"]],
    "models rm": [["openai-dvae"]],
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
        ["empty.toml", *(word for setting in FEATURES for word in ("--set", setting))],
        ["empty.toml", *(word for setting in PRIOR for word in ("--set", setting))],
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
    "serve": [["--model", "tiny", "--model", "tiny-unclip", "--port", "0"]],
    "serve --explain": [["--model", "tiny", "--config", "empty.toml"]],
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


def schema_path(command: str) -> Path:
    """Return the file of a command's JSON Schema: of `data make scenes` data-make-scenes.json."""
    return ROOT / "docs" / "schema" / f"{command.replace('--', '').replace(' ', '-')}.json"


def collect_answers(folder: Path, font: Path) -> dict[str, list[Any]]:
    """Return the answers of every command, each asked in `folder` as COMMANDS says."""
    save_tiny_model(folder / "tiny")
    save_tiny_clip(folder / "tiny-clip")
    write_dvae(folder / "dall-e")
    write_mini(folder / "min-dalle")
    save_tiny_unclip(folder / "tiny-unclip", prior="")
    save_tiny_gan(folder / "tiny-gan")
    save_tiny_things(folder / "tiny-things")
    Image.new("RGB", (64, 64), (128, 128, 128)).save(folder / "grey.png")
    (folder / "empty.toml").write_text("", encoding="utf-8")
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "clip.toml").write_text(CLIP_CONFIG, encoding="utf-8")
    write_photos(folder)
    limner.draw("a red zebra", model=folder / "tiny", seed=7)[0].save(folder / "old.png")
    labelled = Picture(Image.new("RGB", (64, 64), "teal"), "a red zebra", 7, "tiny")
    labelled.save(folder / "labelled.png", label="gb45438")
    write_stamps(folder / "packages")
    write_clipart(folder / "packages")
    found: dict[str, list[Any]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LIMNER_FONT", str(font))
        patch.setenv("LANGUAGE", "en")
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setitem(registry.PRESETS, "default", folder / "tiny")
        patch.setattr(caches, "TOKENIZER_SCENES", 60)
        patch.setattr(ArenaServer, "serve_forever", lambda server: None)  # nobody votes
        patch.setattr(run.Server, "run", lambda server, started: started())  # or asks
        for command, calls in COMMANDS.items():
            for words in calls:
                told = io.StringIO()
                with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(told):
                    main([*command.split(), *words, "--json"])
                (line,) = told.getvalue().splitlines()
                assert ended.value.code == 0, (command, words)
                found.setdefault(command, []).append(json.loads(line))
    return found
