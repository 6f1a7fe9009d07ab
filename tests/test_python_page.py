"""docs/python.md: its code runs, prints what it says, and names what there is."""

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import limner
from limner.codecs import create_codec
from limner.registry import list_parts
from limner.types import Sampling
from tests.tiny_model import CODEC

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "python.md").read_text("utf-8")
GROUPS = set(re.findall(r"limner\.\w+s(?=`|\")", TEXT)) & {
    f"limner.{kind}" for kind in list_parts()
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the blocks one after the other and return what they define, and what they printed."""
    printed: list[str] = []
    found: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for block in blocks("python"):
            exec(compile(block, "docs/python.md", "exec", dont_inherit=True), found)
    return found | {"printed": printed}


def test_the_code_prints_what_the_page_says(names: dict[str, Any]) -> None:
    wanted = re.findall(r"^(?:print\(.*)?\)  # (.*)$", TEXT, re.M)
    assert names["printed"] == wanted and len(wanted) == 3
    assert names["again"].info.name == "mine"
    assert len(names["alike"]) == 2


def test_the_processor_of_the_page_does_what_it_says(names: dict[str, Any]) -> None:
    request = limner.Request("a cat", seed=3, logits_processors=(names["no_repeats"],))
    *_, step = names["model"].stream(request)
    codes = step.codes[0].flatten().tolist()
    assert all(codes[at] not in codes[max(0, at - 2) : at] for at in range(1, len(codes)))


def test_the_codec_of_the_page_is_a_part(
    names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("my_codecs")
    module.SoftCodec = names["SoftCodec"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_codecs", module)
    codec = create_codec({**CODEC, "name": "my_codecs:SoftCodec", "share": 0.5})
    plain = create_codec(CODEC)
    plain.load_state_dict(codec.state_dict())
    codes = torch.zeros(1, *plain.layout, dtype=torch.long)
    torch.testing.assert_close(codec.decode(codes), plain.decode(codes) * 0.5)


def test_the_page_names_what_there_is() -> None:
    for name in vars(Sampling()):
        assert f"`{name}`" in TEXT
    no_classes = {
        "imported_codecs",
        "imported_priors",
        "imported_embedding_priors",
        "imported_decoders",
        "imported_upsamplers",
        "imported_clips",
        "pipelines",
        "samplers",
        "diffusion_samplers",
        "noise_schedules",
    }
    assert {f"limner.{kind}" for kind in set(list_parts()) - no_classes} == GROUPS
    (toml,) = blocks("toml")
    points = tomllib.loads(toml)["project"]["entry-points"]
    assert set(points) <= GROUPS
