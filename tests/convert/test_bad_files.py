"""Of every format, files that are hostile, cut off, of others or no tensors: refused in a sentence.

`test_pickles.py` has each hostile pickle; here is that no format reads its files another way.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from limner.cli import main
from limner.convert.formats import FORMATS
from tests.convert import (
    amused,
    clips,
    dvae,
    infinity,
    karlo,
    llamagen,
    lucid,
    mindalle,
    mini,
    rudalle,
    var,
    vqgan,
)
from tests.convert.test_dalle_mini import write_flax
from tests.convert.test_pickles import Call, saved

DIFFUSERS = "diffusion_pytorch_model.safetensors"


def write_openai_clip(folder: Path) -> None:
    folder.mkdir()
    save_file(clips.openai_state(clips.random_clip()), folder / "ViT-B-32.pt")
    clips.write_words(folder, packed=True)


def write_taming(folder: Path) -> None:
    folder.mkdir()
    save_file(vqgan.random_state(), folder / "last.ckpt")


# Of each format what writes a tiny one, and a file of weights of it.
MADE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "openai-dvae": (dvae.write_dvae, "encoder.pkl"),
    "taming-vqgan": (write_taming, "last.ckpt"),
    "dalle-pytorch": (lucid.write, "dalle.pt"),
    "min-dalle": (mini.write_mini, "decoder.pt"),
    "min-dalle-mini": (lambda folder: mini.write_mini(folder, "_mini"), "decoder_mini.pt"),
    "dalle-mini": (write_flax, "flax_model.msgpack"),
    "clip": (lambda folder: clips.save_transformers(clips.random_clip(), folder),
             "model.safetensors"),
    "open-clip": (lambda folder: clips.save_open_clip(folder, clips.random_clip("gelu")),
                  "open_clip_model.safetensors"),
    "openai-clip": (write_openai_clip, "ViT-B-32.pt"),
    "llamagen": (lambda folder: llamagen.write(folder, pickled=False), "t2i_XL_stage1_256.pt"),
    "kakao-mindalle": (lambda folder: mindalle.write(folder, pickled=False), "stage2_last.ckpt"),
    "ru-dalle": (lambda folder: rudalle.write(folder, pickled=False), "pytorch_model.bin"),
    "var": (lambda folder: var.write(folder, pickled=False), "var_d16.pth"),
    "infinity": (lambda folder: infinity.write(folder, pickled=False),
                 "infinity_125M_256x256.pth"),
    "amused": (amused.write, f"transformer/{DIFFUSERS}"),
    "karlo": (karlo.write, f"prior/{DIFFUSERS}"),
}  # fmt: skip


def a_pickle_that_calls(place: Path) -> None:
    marker = place.parent / "marker"
    place.write_bytes(saved({"a": Call(os.system, f"touch {marker}")}))


def half(place: Path) -> None:
    place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])


def a_page(place: Path) -> None:
    place.write_text("<!doctype html><title>404</title>", encoding="utf-8")


def of_others(place: Path) -> None:
    save_file({"something.else": torch.zeros(3)}, place)


def a_key_renamed(place: Path) -> None:
    if place.suffix == ".msgpack":
        place.write_bytes(place.read_bytes().replace(b"kernel", b"kernal", 1))
    elif place.name == "dalle.pt":
        held = torch.load(place, weights_only=True)
        held["weights"]["renamed"] = held["weights"].pop("text_emb.weight")
        torch.save(held, place)
    else:
        state = load_file(place)
        with safe_open(place, "pt") as opened:
            told = opened.metadata()
        first = next(name for name in state if name.endswith(("weight", ".w")))
        state["renamed"] = state.pop(first)
        save_file(state, place, told)


FAULTS = (a_pickle_that_calls, half, a_page, of_others, a_key_renamed)


@pytest.fixture(scope="module", params=MADE)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("files") / "in"
    MADE[request.param][0](folder)
    return request.param, folder


def test_every_format_is_here() -> None:
    assert set(MADE) == set(FORMATS)


def test_without_a_fault_it_is_imported(
    written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form, folder = written
    with pytest.raises(SystemExit) as ended:
        main(["import", str(folder), "--out", str(tmp_path / "out"), "--as", form, "--json"])
    printed = capsys.readouterr()
    assert not ended.value.code and json.loads(printed.out)["format"] == form, printed.err


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_refused_in_a_sentence_and_leaves_nothing(
    written: Any, fault: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form, folder = written
    shutil.copytree(folder, tmp_path / "in")
    fault(tmp_path / "in" / MADE[form][1])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["import", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--as", form])
    printed = capsys.readouterr()
    assert ended.value.code == 4, printed.err
    assert printed.err.count("\n") == 1 and "internal error" not in printed.err, printed.err
    assert printed.out == "" and sorted(tmp_path.rglob("*")) == before
