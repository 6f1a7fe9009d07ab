"""VAR: the logits, codes and pixels that its own equations give, map by map."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import limner
from limner.convert.importing import import_checkpoint
from limner.convert.var import KEYS, VAE_KEYS
from limner.errors import CheckpointError, ConfigError, UsageError
from limner.sampling.tokens import TokenSampling
from limner.train.parts import load_codec
from tests.convert import var

SHARED = var.Sizes(shared=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("var")
    var.write(found / "in")
    made = import_checkpoint(found / "in", found / "out")
    assert (made.format, made.family, made.size, made.notes) == ("var", "dalle", 16, ())
    var.write(found / "shared", SHARED, pickled=False, named=False)
    made = import_checkpoint(found / "shared", found / "512")
    assert "draws by number" in made.notes[0]
    return found


@pytest.fixture(scope="module")
def model(place: Path) -> Any:
    return limner.load(place / "out")


def drawn(model: Any, text: Tensor, sampling: TokenSampling) -> tuple[Tensor, Tensor]:
    """Return codes (S,), and the logits (S, V) of every map as they are drawn with the cache."""
    seen: list[Tensor] = []

    def watch(_: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    *_, codes = model.prior.stream(text, sampling, [1], processors=[watch])
    assert [len(each) for each in seen] == [side * side for side in var.TINY.sides]
    return codes[0], torch.cat(seen)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [var.TINY, SHARED], ids=["own", "shared"])
def test_each_map_gives_the_same_logits_and_the_likeliest_codes(
    place: Path, sizes: var.Sizes
) -> None:
    model = limner.load(place / ("512" if sizes.shared else "out"))
    assert model.defaults.guidance_schedule == "ramp" and model.defaults.top_k == 900
    # The reference is exact: what is left is the rounding of the import alone.
    state, vae = (
        {name: v.double() if v.is_floating_point() else v for name, v in each.items()}
        for each in (var.random_transformer(sizes), var.random_vae(sizes))
    )
    greedy = TokenSampling(top_k=1, guidance=4.0, guidance_schedule="ramp")
    for label in range(3):
        codes, found = drawn(model, torch.tensor([[label + 1]]), greedy)
        wanted = var.guided(state, vae, label, codes, 4.0, sizes)
        assert (found - wanted).abs().max() < 1e-4
        assert torch.equal(codes, wanted.argmax(-1))
        plain, found = drawn(model, torch.tensor([[label + 1]]), TokenSampling(top_k=1))
        wanted = var.guided(state, vae, label, plain, 0.0, sizes)
        assert (found - wanted).abs().max() < 2e-5
        assert torch.equal(plain, wanted.argmax(-1))


@torch.no_grad()
def test_teacher_forcing_gives_the_same_logits(model: Any) -> None:
    state, vae = var.random_transformer(), var.random_vae()
    codes = torch.randint(var.TINY.codes, (3, var.TINY.length))
    found = model.prior(torch.tensor([[2], [6], [0]]), codes)[:, :, 0]
    for row, label in enumerate((1, 5, var.TINY.classes)):  # the last is no class
        wanted = var.guided(state, vae, label, codes[row], 0.0)
        assert (found[row] - wanted).abs().max() < 2e-5


@torch.no_grad()
def test_the_codec_gives_the_same_codes_and_pixels(model: Any) -> None:
    vae = var.random_vae()
    torch.manual_seed(1)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    codes = var.encode(vae, images)
    assert torch.equal(model.codec.encode(images), codes)
    for which, (first, last) in enumerate(((0, 1), (1, 5), (5, 14), (14, 30))):
        known = model.codec.encode_after(images, codes[:, :first], which)
        assert torch.equal(known, codes[:, first:last])
    wanted = var.decode(vae, codes[0])
    assert (model.codec.decode(codes[:1]) - wanted).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="is not trained"):
        model.codec(images)


def test_it_draws_the_class_that_a_sentence_names(model: Any, place: Path) -> None:
    (picture,) = model.draw("a photo of two golden retrievers on a sofa", seed=1)
    (same,) = model.draw("class 1", seed=1)
    assert picture.image.tobytes() == same.image.tobytes() and picture.image.size == (16, 16)
    assert [(each.code, each.words) for each in picture.notes] == [("left_out", ("two", "sofa"))]
    with pytest.raises(UsageError, match=r"names none of the 6 .*near are 'golden retriever'"):
        model.draw("a retreiver, please")
    with pytest.raises(UsageError, match="write one by its number, as 'class 2' or 'class 4'"):
        model.draw("a crane")
    with pytest.raises(UsageError, match="draws the classes 0 to 5"):
        model.draw("class 6")
    with pytest.raises(UsageError, match="6 classes by number alone"):
        limner.load(place / "512").draw("a crane")
    assert "0 to" not in limner.registry.details(place / "out")["card"]


def test_a_part_of_a_picture_is_redrawn(model: Any) -> None:
    (picture,) = model.draw("crane 3 class 3", seed=1)
    edited = limner.edit(picture.image, "a strawberry", mask="0,0,8,8", model=model, candidates=2)
    assert edited[0].image.size == (16, 16)


def test_a_file_of_another_name_is_told_by_its_tensors(tmp_path: Path) -> None:
    var.write(tmp_path / "in")
    (tmp_path / "in" / "var_d16.pth").rename(tmp_path / "in" / "model.pth")
    assert import_checkpoint(tmp_path / "in", tmp_path / "out").family == "dalle"
    (tmp_path / "in" / "vae_ch160v4096z32.pth").rename(tmp_path / "in" / "x.pth")
    assert import_checkpoint(tmp_path / "in", tmp_path / "2", format="var").family == "dalle"


def test_what_training_saves_and_lists_of_names_are_read(tmp_path: Path, place: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    inside = {"var_wo_ddp": var.random_transformer(), "vae_local": var.random_vae()}
    torch.save({"trainer": inside | {"config": {"prog_it": 0}}}, folder / "ar-ckpt-best.pth")
    (folder / "classes.txt").write_text("\n".join(var.LABELS))
    import_checkpoint(folder, tmp_path / "out")
    first, second = (load_file(each / "out" / "model.safetensors") for each in (place, tmp_path))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    held = [(each / "out" / "tokenizer.json").read_bytes() for each in (place, tmp_path)]
    assert held[0] == held[1]


def test_the_codec_alone_has_the_published_maps(tmp_path: Path) -> None:
    save_file(var.random_vae(var.Sizes(levels=(1, 1, 1, 1, 1))), tmp_path / "vae_ch160.pth")
    made = import_checkpoint(tmp_path / "vae_ch160.pth", tmp_path / "out")
    assert (made.format, made.family, made.size) == ("var", "", 256)
    codec, config = load_codec(tmp_path / "out")
    assert codec.layout == (680,) and config["name"] == "var" and codec.encodes


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"more": torch.zeros(1)}, "1 too many"),
        ({"head.bias": torch.zeros(3)}, "1 of another shape"),
        ({"head.weight": torch.zeros(25, 32), "head.bias": torch.zeros(25)}, "draws 25 codes, but"),
        ({"lvl_1L": torch.arange(29, -1, -1)[None]}, "does not say in lvl_1L"),
        ({"lvl_1L": torch.zeros(1, 3, dtype=torch.int64)}, "does not say in lvl_1L"),
        ({"blocks.0.attn.scale_mul_1H11": torch.zeros(2)}, "no tensor blocks.0.attn.scale_mul"),
        ({"blocks.0.attn.scale_mul_1H11": torch.zeros(1, 3, 1, 1)}, "expected a multiple of 4"),
        ({"pos_1LC": torch.zeros(1, 5, 32)}, "1 of another shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Any, told: str) -> None:
    folder = tmp_path / "in"
    var.write(folder, pickled=False)
    save_file(var.random_transformer() | change, folder / "var_d16.pth")
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(folder, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_what_is_missing_damaged_or_of_others_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    var.write(folder)
    config, whole = folder / "names" / "config.json", folder / "var_d16.pth"
    for labels in ({"0": "tench"}, {str(at): 3 for at in range(6)}, "x"):
        config.write_text(json.dumps({"id2label": labels}))
        with pytest.raises(CheckpointError, match=r"but the model has 6|has a label 3"):
            import_checkpoint(folder, tmp_path / "out")
    config.unlink()
    (folder / "classes.txt").write_text("a\nb\n")
    with pytest.raises(CheckpointError, match="names 2 classes, but the model has 6"):
        import_checkpoint(folder, tmp_path / "out")
    (folder / "classes.txt").unlink()
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        import_checkpoint(folder, tmp_path / "out", format="var")
    whole.write_bytes(data)
    (folder / "vae_ch160v4096z32.pth").unlink()
    with pytest.raises(CheckpointError, match="no file with VAR's VQ-VAE"):
        import_checkpoint(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_tables_of_names_are_read_both_ways() -> None:
    states = [(KEYS, var.random_transformer(each)) for each in (var.TINY, SHARED)]
    for keys, state in [*states, (VAE_KEYS, var.random_vae())]:
        for name in state:
            left = ("lvl_1L", "attn_bias", "quantize.ema")
            if name.startswith(left) or name.endswith("zero_k_bias") or ".qkv." in name:
                continue
            found = keys.ours(name)
            assert found is not None, name
            assert keys.theirs(found[0]) == (name, found[1])
