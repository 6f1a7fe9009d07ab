"""Parts of a person's own package: by entry point or `module:Class`, in a run and in a model."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import limner
from limner.checkpoint.model import save_checkpoint
from limner.cli import main
from limner.codecs import create_codec
from limner.errors import CheckpointError, ConfigError, UsageError
from limner.parts import import_parts
from limner.pipelines.families import FAMILIES, Family
from limner.priors import create_prior
from limner.registry import list_parts
from limner.train.config.run import read_config
from limner.train.inputs import caches
from limner.train.parts import load_codec
from tests.tiny_model import CODEC, prior_config, save_tiny_model, tiny_pipeline

SOURCE = '''
"""Parts of somebody's own."""
from dataclasses import dataclass
from limner.codecs.fsq import FSQCodec, FSQConfig
from limner.priors.gpt import GPT, GPTConfig

@dataclass(frozen=True)
class MineConfig(FSQConfig):
    """Settings of mine."""
    shade: float = 1.0

class Mine(FSQCodec):
    """Pictures to codes in my way."""
    def __init__(self, config: MineConfig) -> None:
        super().__init__(config)

class MyPrior(GPT):
    """Codes from text in my way."""
    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)

class Sparse:
    """A logits processor: no code comes twice."""
    def __call__(self, codes, logits):
        return logits.scatter(1, codes, float("-inf")) if codes.shape[1] else logits

class NoPart:
    """No part of anything."""

class Half:
    """Half a codec."""
    def __init__(self, config: MineConfig) -> None: ...
    def encode(self) -> None: ...
'''
ENTRIES = """
[limner.codecs]
mine = own_parts:Mine
broken = own_parts_missing:Mine

[limner.priors]
my_prior = own_parts:MyPrior
"""
MINE = {**CODEC, "name": "own_parts:Mine"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a package that is on the path, and was not imported."""
    (tmp_path / "own_parts.py").write_text(SOURCE, encoding="utf-8")
    installed = tmp_path / "own_parts-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_parts", None)


def test_a_part_of_another_package_has_the_name_of_its_entry_point(package: Path) -> None:
    codec = create_codec({**CODEC, "name": "mine", "shade": 2})
    assert (type(codec).__name__, codec.config.shade) == ("Mine", 2.0)
    prior = create_prior(prior_config(tiny_pipeline().tokenizer) | {"name": "my_prior"})
    assert type(prior).__name__ == "MyPrior"
    with pytest.raises(ConfigError, match="codec 'mine' has no setting 'shad'; did you mean 'sha"):
        create_codec({**CODEC, "name": "mine", "shad": 2})
    with pytest.raises(ConfigError, match="unknown codec 'mime'; did you mean 'mine'"):
        create_codec({**CODEC, "name": "mime"})
    with pytest.raises(ConfigError, match="codec 'broken' of 'own_parts_missing:Mine' cannot be"):
        create_codec({**CODEC, "name": "broken"})
    assert "own_parts" in sys.modules


def test_the_list_of_parts_has_those_of_other_packages(package: Path) -> None:
    parts = list_parts()
    assert parts["codecs"]["mine"] == "Pictures to codes in my way."
    assert parts["priors"]["my_prior"] == "Codes from text in my way."
    assert "cannot be imported" in parts["codecs"]["broken"]
    assert "mine" not in parts["priors"]


def test_a_class_is_taken_from_a_module_that_was_imported_and_no_other(package: Path) -> None:
    with pytest.raises(ConfigError, match="not imported; if you trust it, import own_parts first"):
        create_codec(MINE)
    assert "own_parts" not in sys.modules
    import_parts({"codec": {"inner": MINE}})
    assert type(create_codec(MINE)).__name__ == "Mine"


def test_a_module_that_is_trusted_is_imported(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_PARTS", "something_else, own_parts")
    assert type(create_codec(MINE)).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_parts:Mime", "own_parts has no Mime; did you mean 'Mine'"),
        ("own_parts:NoPart", "is no codec: expected a class whose __init__ takes one argument"),
        ("own_parts:SOMETHING", "own_parts has no SOMETHING"),
        ("own_parts:Half", "dataclass of its settings, and it lacks decode"),
        ("own_parts:dataclass", "is no codec"),
        ("own_parts:MyPrior", "is no codec: .*lacks encode, decode"),
        ("own_parts:", "unknown codec 'own_parts:'"),
        ("../evil:Codec", "unknown codec"),
    ],
)
def test_what_is_no_part_is_told(package: Path, name: str, words: str) -> None:
    import_parts({"codec": MINE})
    with pytest.raises(ConfigError, match=words):
        create_codec({**CODEC, "name": name})


def test_a_run_may_name_a_class_and_a_wrong_module_is_told(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(package)
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in MINE.items())
    text = f'task = "codec"\nout = "run"\n[codec]\n{table}\n'
    (package / "run.toml").write_text(text, encoding="utf-8")
    assert read_config("run.toml").codec["name"] == "own_parts:Mine"
    (package / "run.toml").write_text(text.replace("own_parts:", "own_part:"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the part 'own_part:Mine' cannot be imported: No mod"):
        read_config("run.toml")


def test_a_codec_of_ones_own_is_trained_and_a_prior_after_it(
    package: Path, monkeypatch: pytest.MonkeyPatch, emoji_font: Path
) -> None:
    monkeypatch.chdir(package)
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    monkeypatch.setattr(caches, "TOKENIZER_SCENES", 60)
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in MINE.items())
    small = "[data]\nheld_for_validation = 2\n[loop]\nsteps = 1\nbatch = 2\n"
    (package / "codec.toml").write_text(
        f'task = "codec"\nout = "codec"\n[codec]\n{table}\n{small}', encoding="utf-8"
    )
    prior = 'name = "own_parts:MyPrior"\nwidth = 16\nlayers = 1\nheads = 2\nhidden = 16\n'
    (package / "prior.toml").write_text(
        f'task = "prior"\nout = "prior"\ncodec_from = "codec"\ntext_length = 8\n[prior]\n{prior}'
        f"{small.replace('= 2', '= 2', 1)}".replace("[data]\n", "[data]\ncached = 16\n"),
        encoding="utf-8",
    )
    for run in ("codec.toml", "prior.toml"):
        with pytest.raises(SystemExit) as ended:
            main(["train", run])
        assert ended.value.code == 0
    model = limner.load("prior/model")
    assert (type(model.codec).__name__, type(model.prior).__name__) == ("Mine", "MyPrior")
    assert len(model("a red apple", seed=1)) == 1
    sparse = importlib.import_module("own_parts").Sparse()
    (picture,) = model("a red apple", seed=1, logits_processors=sparse)
    assert picture.settings["logits_processors"] == ["Sparse"]
    *_, step = model.stream(limner.Request("a red apple", seed=1, logits_processors=(sparse,)))
    assert len(set(step.codes.flatten().tolist())) == step.codes.numel()
    del sys.modules["own_parts"]
    with pytest.raises(CheckpointError, match=r"is not a trained codec .* variable LIMNER_PARTS"):
        load_codec("codec")


FAMILY = '''
"""A family of somebody's own."""
import torch
from limner.pipelines.base import DrawingBase
from limner.gan.drawing import GanSampling
from limner.types import Step

class Plain(DrawingBase[GanSampling]):
    """One plain picture of a learnt colour."""
    family, codec = "plain", None
    draws_how = "this model draws one colour"

    def __init__(self, tokenizer, size):
        super().__init__()
        self.tokenizer, self.size, self.text_length = tokenizer, size, 8
        self.colour = torch.nn.Parameter(torch.tensor([0.5, -1.0, 0.0]))
        self.defaults = GanSampling()

    @classmethod
    def from_config(cls, config, tokenizer):
        config.read_sampling(GanSampling)
        return cls(tokenizer, config.tables["paint"]["size"])

    @property
    def text_vocabulary(self):
        return 10**6

    def _stream(self, prompts, seeds, sampling, begin=None):
        image = self.colour[:, None, None].expand(3, self.size, self.size)
        yield Step(1, 1, images=torch.stack([image] * len(seeds)))
'''


def test_a_family_is_a_pipeline_and_one_line(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "own_family.py").write_text(FAMILY, encoding="utf-8")
    line = Family(("paint", "sampling"), "own_family:Plain")
    monkeypatch.setitem(FAMILIES, "plain", line)
    made = line.pipeline()(tiny_pipeline().tokenizer, 16)
    save_checkpoint(package / "m", made, name="plain", licence="MIT", paint={"size": 16})
    model = limner.load(package / "m")
    (picture,) = model("a red apple", seed=1)
    assert picture.image.getpixel((3, 3)) == (191, 0, 128) and picture.model == "plain"
    assert limner.draw("a cat", model=package / "m", n=2)[1].settings["family"] == "plain"
    with pytest.raises(UsageError, match="top_k is 5, but this model draws one colour"):
        model("a red apple", top_k=5)
    assert model.save(package / "again") and limner.load(package / "again").info == model.info
    sys.modules.pop("own_family")


def test_a_model_names_no_module_that_is_imported_for_it(package: Path) -> None:
    """In a process of its own, in which nobody has imported the parts."""
    folder = save_tiny_model(package / "model")
    import_parts({"codec": MINE})
    model = limner.load(folder)
    model.config.tables["codec"]["name"] = "own_parts:Mine"
    model.save(folder)
    assert type(limner.load(folder).codec).__name__ == "Mine"
    code = (
        "import sys, limner\n"
        "try: print(type(limner.load(sys.argv[1]).codec).__name__)\n"
        "except limner.LimnerError as error: print(type(error).__name__, error)\n"
        "print('own_parts' in sys.modules)\n"
    )
    root = Path(limner.__file__).parent.parent
    said = {
        trusted: subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "PYTHONPATH": f"{root}:{package}", "LIMNER_PARTS": trusted},
            capture_output=True, text=True, check=True,
        ).stdout.splitlines()
        for trusted in ("", "own_parts")
    }  # fmt: skip
    assert said["own_parts"] == ["Mine", "True"]
    assert said[""][1] == "False"
    assert said[""][0].startswith(CheckpointError.__name__)
    assert "import own_parts first, or name it in the variable LIMNER_PARTS" in said[""][0]
