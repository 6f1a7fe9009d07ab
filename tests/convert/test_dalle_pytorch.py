"""DALLE-pytorch: the logits, codes and pixels that its own equations give, from its checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limner
from limner.convert import dalle_pytorch
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError, UsageError
from limner.sampling.tokens import TokenSampling
from limner.train.parts import load_codec
from tests.convert import dvae, lucid, vqgan

VARIANTS: list[dict[str, Any]] = [
    {},
    {"shift_tokens": False},
    {"rotary_emb": False, "attn_types": ("full", "axial_row", "axial_col"), "stable": True},
    {"rotary_emb": False, "shift_tokens": False, "attn_types": ("axial_col",)},
]
PROMPTS = ["a red square", "a blue circle red square a", "square"]


@pytest.fixture(params=range(len(VARIANTS)))
def variant(request: pytest.FixtureRequest) -> dict[str, Any]:
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """Return what gives the folder of a variant, imported once."""
    place, made = tmp_path_factory.mktemp("lucid"), dict[str, Path]()

    def folder(variant: dict[str, Any]) -> Path:
        name = str(len(made))
        if str(variant) not in made:
            source = lucid.write(place / f"in-{name}", **variant)
            told = import_checkpoint(source, place / name)
            assert (told.format, told.family, told.size) == ("dalle-pytorch", "dalle", 16)
            made[str(variant)] = place / name
        return made[str(variant)]

    return folder


@pytest.fixture
def model(folders: Callable[[dict[str, Any]], Path], variant: dict[str, Any]) -> Any:
    return limner.load(folders(variant))


@torch.no_grad()
def test_each_step_gives_the_same_logits_and_codes(model: Any, variant: dict[str, Any]) -> None:
    settings = lucid.hparams(**variant)
    state = lucid.states(settings)
    seen: list[Tensor] = []
    sampling = TokenSampling(top_k=1, guidance=2.0)

    def watch(codes: Tensor, logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits

    *_, codes = model.prior.stream(model.read(PROMPTS), sampling, [1, 2, 3], processors=[watch])
    empty = torch.zeros(lucid.TEXT, dtype=torch.int64)
    for row, prompt in enumerate(PROMPTS):
        told, untold = (
            lucid.logits(state, settings, text, codes[row]) for text in (lucid.ids(prompt), empty)
        )
        wanted = untold + 3 * (told - untold)
        found = torch.stack([each[row] for each in seen])
        assert (found - wanted).abs().max() < 1e-4
        assert torch.equal(codes[row], wanted.argmax(-1))
        forced = model.prior(model.read([prompt]), codes[row : row + 1].view(1, 4, 4))
        assert (forced[0, :, 0] - told).abs().max() < 3e-5


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS[:1])
def test_guidance_comes_and_goes(model: Any) -> None:
    for sampling in (
        TokenSampling(top_k=1),
        TokenSampling(guidance=2, guidance_schedule="interval"),
    ):
        *_, codes = model.prior.stream(model.read(["a red square"]), sampling, [1])
        assert codes.shape == (1, 16)


@torch.no_grad()
def test_its_codec_sees_and_paints_as_theirs(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = lucid.vae_state()
    torch.save({"hparams": lucid.VAE, "weights": state}, tmp_path / "vae.pt")
    made = import_checkpoint(tmp_path / "vae.pt", tmp_path / "out")
    assert made.format == "dalle-pytorch" and made.family == ""
    codec, config = load_codec(tmp_path / "out")
    assert config["name"] == "lucid_dvae" and codec.grid == (4, 4)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    logits = lucid.encode(state, images)
    assert (codec.encoder(images) - logits).abs().max() < 1e-5
    codes = codec.encode(images)
    assert torch.equal(codes, logits.argmax(1))
    wanted = lucid.decode(state, codes).clamp(-1, 1)
    assert (codec.decode(codes) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("variant", VARIANTS[:1])
def test_it_draws_edits_and_is_saved(model: Any, tmp_path: Path) -> None:
    picture = model.draw("a red square", seed=3)[0]
    company = model.draw("a red square", n=3, seed=3)[0]
    assert picture.image.tobytes() == company.image.tobytes()
    edited = model.edit(picture, "a blue circle", mask="0,0,8,8", seed=1, candidates=2)[0]
    assert edited.image.size == (16, 16)
    again = limner.load(model.save(tmp_path / "again"))
    assert again.draw("a red square", seed=3)[0].image.tobytes() == picture.image.tobytes()


def swapped(folder: Path, weights: dict[str, Tensor], codes: int) -> Path:
    """Write a DALL-E over another codec."""
    lucid.write(folder)
    saved = torch.load(folder / "dalle.pt", weights_only=True)
    kept = {k: v for k, v in saved["weights"].items() if not k.startswith("vae.")}
    kept["image_emb.weight"] = torch.randn(codes, lucid.WIDTH)
    total = lucid.IDS + lucid.TEXT + codes
    kept["to_logits.1.weight"] = torch.randn(total, lucid.WIDTH)
    kept["to_logits.1.bias"] = torch.randn(total)
    saved |= {"weights": kept | weights, "vae_params": None}
    torch.save(saved, folder / "dalle.pt")
    return folder


def test_other_codecs_are_found_among_the_weights(tmp_path: Path) -> None:
    # Their grids are of 256 pixels, and the transformer here is one of 4 x 4 cells.
    encoder, decoder = dvae.random_states()
    openai = {f"vae.enc.{k}": v for k, v in encoder.items()}
    openai |= {f"vae.dec.{k}": v for k, v in decoder.items()}
    gan = {f"vae.model.{k}": v for k, v in vqgan.random_state().items()}
    for name, weights, codes, side in (
        ("openai", openai, dvae.VOCABULARY, 32),
        ("vqgan", gan, vqgan.CODES, 16),
    ):
        source = swapped(tmp_path / name, weights, codes)
        positions = lucid.TEXT + 1 + side**2
        with pytest.raises(CheckpointError, match="1 of another shape; the first are angles"):
            import_checkpoint(source, tmp_path / "out")
        saved = torch.load(source / "dalle.pt", weights_only=True)
        saved["weights"]["transformer.pos_emb"] = torch.randn(1, positions, 8)
        torch.save(saved, source / "dalle.pt")
        made = import_checkpoint(source, tmp_path / f"{name}-out")
        assert limner.load(made.folder).codec.grid == (side, side)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reversible": True}, "reversible = True"),
        ({"attn_types": ("conv_like",)}, "conv_like"),
        ({"shared_attn_ids": (0, 0, 0)}, "shared_attn_ids"),
        ({"heads": "8"}, "has heads = '8'"),
        ({"num_text_tokens": 99}, "tensors missing|of another shape"),
        ({"depth": 4}, r"tensors missing"),
    ],
)
def test_what_limner_does_not_draw_with_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    source = lucid.write(tmp_path / "in")
    saved = torch.load(source / "dalle.pt", weights_only=True)
    saved["hparams"] |= changes
    torch.save(saved, source / "dalle.pt")
    with pytest.raises(CheckpointError, match=told):
        import_checkpoint(source, tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_a_tokenizer_is_asked_for_and_must_fit(tmp_path: Path) -> None:
    source = lucid.write(tmp_path / "in")
    (source / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.json"):
        import_checkpoint(source, tmp_path / "out")
    text = lucid.tokenizer().replace('"?":6', '"?":6,"more":7')
    (source / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match="has 8 ids, but the model was trained with 7"):
        import_checkpoint(source, tmp_path / "out")


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS[:1])
def test_a_text_that_is_too_long_is_refused(model: Any) -> None:
    with pytest.raises(UsageError, match="7 positions; this model reads 6"):
        model.prior.text(torch.ones(1, 7, dtype=torch.int64))


def test_the_tables_of_names_are_read_both_ways() -> None:
    for shift in (True, False):
        settings = lucid.hparams(shift_tokens=shift)
        keys = dalle_pytorch.prior_keys(shift=shift)
        for name in lucid.states(settings):
            if not name.startswith(("vae.", "transformer.pos_emb")):
                found = keys.ours(name)
                assert found is not None, name
                assert keys.theirs(found[0]) == (name, found[1])
    keys = dalle_pytorch.discrete_keys(2, 1)
    for name in lucid.vae_state():
        found = keys.ours(name)
        assert found is not None, name
        assert keys.theirs(found[0]) == (name, found[1])


@torch.no_grad()
def test_it_is_the_same_as_the_package(tmp_path: Path, variant: dict[str, Any]) -> None:
    theirs: Any = pytest.importorskip("dalle_pytorch")
    settings = lucid.hparams(**variant)
    torch.manual_seed(0)
    vae = theirs.DiscreteVAE(**lucid.VAE)
    dalle = theirs.DALLE(vae=vae, **settings).eval()
    for parameter in dalle.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    source = lucid.write(tmp_path / "in")
    saved = torch.load(source / "dalle.pt", weights_only=True)
    torch.save(saved | {"hparams": settings, "weights": dalle.state_dict()}, source / "dalle.pt")
    import_checkpoint(source, tmp_path / "out")
    model = limner.load(tmp_path / "out")
    text = lucid.ids("a red square")[None]
    # Their own loop; of all tokens all but one are filtered away, so that it is greedy.
    images = dalle.generate_images(text.clone(), filter_thres=1.0)
    *_, codes = model.prior.stream(model.read(["a red square"]), TokenSampling(top_k=1), [1])
    drawn = model.codec.decode(codes.view(1, 4, 4))
    assert (drawn - images.clamp(-1, 1)).abs().max() < 1e-4
    forced = model.prior(model.read(["a red square"]), codes)[0, :, 0]
    logits = dalle(text, codes)[0, lucid.TEXT :, -lucid.CODES :]
    assert (forced - logits).abs().max() < 1e-4
