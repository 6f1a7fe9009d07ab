"""Models in the layouts of other libraries: what was imported comes out as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import limner
from limner import registry
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UnknownModelError, UsageError
from tests.convert import clips, dvae, llamagen, mini, vqgan
from tests.tiny_clip import save_tiny_clip
from tests.tiny_model import save_tiny_model

MODELS = {
    "openai-dvae": lambda folder: dvae.write_dvae(folder),
    "min-dalle": lambda folder: mini.write_mini(folder),
    "clip": lambda folder: clips.save_transformers(clips.random_clip(), folder),
    "open-clip": lambda folder: clips.save_open_clip(folder, clips.random_clip("gelu")),
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("name", MODELS)
def test_it_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    MODELS[name](tmp_path / "in")
    import_checkpoint(tmp_path / "in", tmp_path / "first", format=name)
    told: list[tuple[int, int]] = []
    made = limner.export_checkpoint(
        tmp_path / "first", tmp_path / "files", format=name, progress=lambda *at: told.append(at)
    )
    assert made.format == name and made.bytes > 0
    assert sorted(made.files) == sorted(each.name for each in (tmp_path / "files").iterdir())
    assert not told or told[-1][0] == told[-1][1]
    import_checkpoint(tmp_path / "files", tmp_path / "second", format=name)
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    if name != "openai-dvae":
        for file in ("config.json", "tokenizer.json"):
            held = [
                json.loads((tmp_path / each / file).read_text()) for each in ("first", "second")
            ]
            if file == "tokenizer.json":
                held = [{k: each[k] for k in ("model", "limner")} for each in held]
            assert held[0] == held[1], file


@torch.no_grad()
def test_transformers_loads_a_clip_that_was_exported(tmp_path: Path) -> None:
    theirs = clips.random_clip()
    clips.save_open_clip(tmp_path / "in", clips.random_clip("gelu"))
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    limner.export_checkpoint(tmp_path / "out", tmp_path / "files", format="clip")
    loaded: Any = transformers.CLIPModel.from_pretrained(tmp_path / "files").eval()
    assert loaded.config.vision_config.hidden_act == "gelu"
    for key, value in theirs.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    tokenizer = transformers.CLIPTokenizer.from_pretrained(tmp_path / "files")
    assert tokenizer("a red apple")["input_ids"] == clips.tokenize("a red apple")
    ours = registry.load_clip(tmp_path / "out").encode_texts(["a red apple"])
    ids = torch.tensor([clips.tokenize("a red apple")])
    wanted = torch.nn.functional.normalize(loaded.get_text_features(ids).pooler_output, dim=-1)
    assert (ours - wanted).abs().max() < 1e-5


@torch.no_grad()
def test_transformers_loads_a_siglip_that_was_exported(tmp_path: Path) -> None:
    theirs = clips.random_siglip(wide=True)
    theirs.save_pretrained(tmp_path / "in")
    clips.write_pieces(tmp_path / "in")
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    limner.export_checkpoint(tmp_path / "out", tmp_path / "files", format="clip")
    loaded: Any = transformers.SiglipModel.from_pretrained(tmp_path / "files").eval()
    for key, value in theirs.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    # And limner reads its own files again.
    import_checkpoint(tmp_path / "files", tmp_path / "again")
    models = [registry.load_clip(tmp_path / each) for each in ("out", "again")]
    vectors = [each.encode_texts(["a red apple", "cat!"]) for each in models]
    assert torch.equal(*vectors)


def test_openais_state_dict_and_a_vqgan_come_back(tmp_path: Path) -> None:
    clips.save_transformers(clips.random_clip(), tmp_path / "in")
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    limner.export_checkpoint(tmp_path / "out", tmp_path / "files", format="openai-clip")
    found = torch.load(tmp_path / "files" / "clip.pt", weights_only=True)
    for key, value in clips.openai_state(clips.random_clip()).items():
        assert torch.equal(found[key], value), key
    for gumbel in (False, True):
        state, place = vqgan.random_state(gumbel=gumbel), tmp_path / f"vqgan{gumbel}"
        save_file(state, tmp_path / "a.safetensors")
        import_checkpoint(tmp_path / "a.safetensors", place)
        limner.export_checkpoint(place, tmp_path / f"back{gumbel}", format="taming-vqgan")
        back = torch.load(tmp_path / f"back{gumbel}" / "last.ckpt", weights_only=True)
        assert back["state_dict"].keys() == state.keys()
        assert all(torch.equal(back["state_dict"][key], state[key]) for key in state)


def test_llamagen_comes_back_without_t5(tmp_path: Path) -> None:
    llamagen.write(tmp_path / "in", pickled=False)
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    made = limner.export_checkpoint(tmp_path / "out", tmp_path / "files", format="llamagen")
    assert made.files == ("t2i_256.pt", "vq_ds16.pt") and "T5 is not written" in made.notes[0]
    found = torch.load(tmp_path / "files" / "t2i_256.pt", weights_only=True)["model"]
    state = llamagen.random_decoder()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    codec, _ = llamagen.random_tokenizer()
    found = torch.load(tmp_path / "files" / "vq_ds16.pt", weights_only=True)["model"]
    assert found.keys() == codec.keys() - {"quantize.codebook_used"}
    assert all(torch.equal(found[key], codec[key]) for key in found)


def test_what_a_layout_cannot_hold_is_refused(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "dalle")
    save_tiny_clip(tmp_path / "clip")
    for model, layout in (("dalle", "min-dalle"), ("clip", "clip"), ("clip", "openai-dvae")):
        with pytest.raises(UsageError, match="is no model that the layout"):
            limner.export_checkpoint(tmp_path / model, tmp_path / "out", format=layout)
    with pytest.raises(UsageError, match="does not write the format 'clap'; did you mean 'clip'"):
        limner.export_checkpoint(tmp_path / "dalle", tmp_path / "out", format="clap")
    with pytest.raises(UsageError, match="is not empty"):
        limner.export_checkpoint(tmp_path / "dalle", tmp_path / "clip", format="clip")
    with pytest.raises(UnknownModelError):
        limner.export_checkpoint(tmp_path / "absent", tmp_path / "out", format="clip")
    with pytest.raises(CheckpointError):
        (tmp_path / "dalle" / "model.safetensors").write_bytes(b"")
        limner.export_checkpoint(tmp_path / "dalle", tmp_path / "out", format="clip")
    assert not (tmp_path / "out").exists()
