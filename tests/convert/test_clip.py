"""CLIP and SigLIP: the ids, vectors and scores that `transformers` gives with the same weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from limner import registry
from limner.convert.importing import import_checkpoint
from limner.errors import CheckpointError
from limner.text.spans import spans_of
from tests.convert import clips

PICTURES = [Image.effect_noise((size, 40), 90).convert("RGB") for size in (40, 64)]


@torch.no_grad()
def check_parity(folder: Path, theirs: Any, mean: list[float], std: list[float]) -> Any:
    model = registry.load_clip(folder)
    for prompt in clips.PROMPTS:
        (row,) = model.read([prompt]).tolist()
        assert [each - 1 for each in row if each] == clips.tokenize(prompt), prompt
    ids = clips.texts_of([clips.tokenize(each) for each in clips.PROMPTS], len(clips.words()) - 1)
    wanted = F.normalize(theirs.get_text_features(ids).pooler_output, dim=-1)
    assert (model.encode_texts(clips.PROMPTS) - wanted).abs().max() < 1e-5
    torch.manual_seed(1)
    images = torch.rand(3, 3, clips.SIZE, clips.SIZE)
    colours = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    seen = F.normalize(theirs.get_image_features(colours).pooler_output, dim=-1)
    assert (model.encode_images(images * 2 - 1) - seen).abs().max() < 1e-5
    scores = theirs.logit_scale.exp() * seen @ wanted.T
    ours = (
        model.clip.scale * model.encode_images(images * 2 - 1) @ model.encode_texts(clips.PROMPTS).T
    )
    assert (ours - scores).abs().max() < 1e-4
    return model


MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_a_clip_of_transformers(tmp_path: Path, activation: str) -> None:
    theirs = clips.random_clip(activation)
    clips.save_transformers(theirs, tmp_path / "in")
    made = import_checkpoint(tmp_path / "in", tmp_path / "out")
    assert (made.format, made.family, made.size) == ("clip", "clip", clips.SIZE)
    model = check_parity(tmp_path / "out", theirs, MEAN, STD)
    # It ranks and classifies, as limner's own does; the names of special tokens are plain text.
    assert model.classify(PICTURES, ["cat", "apple"]).shape == (2, 2)
    assert float(model.compare(PICTURES, "a red cat").abs().max()) <= 1 + 1e-6
    assert clips.words()["<|endoftext|>"] not in [
        each - 1 for each in model.tokenizer.encode("<|endoftext|>")
    ]


def test_its_tokenizer_and_processor_are_those_of_the_folder(tmp_path: Path) -> None:
    import transformers

    folder = clips.save_transformers(clips.random_clip(), tmp_path / "in")
    transformers.CLIPTokenizer(clips.words(), clips.MERGES).save_pretrained(folder)
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
    processor = {"image_processor_type": "CLIPImageProcessor", "crop_size": clips.SIZE,
                 "size": {"shortest_edge": 40}, "resample": 2,
                 "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    import_checkpoint(folder, tmp_path / "out")
    found = registry.load_clip(tmp_path / "out").clip.image
    assert found.prepare.edge == 40 and found.prepare.resample == "bilinear"
    check_parity(tmp_path / "out", clips.random_clip(), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


@pytest.mark.parametrize(("text", "packed"), [("", False), ("text.", True)])
def test_a_clip_of_open_clip(tmp_path: Path, text: str, packed: bool) -> None:
    theirs = clips.random_clip("gelu")
    folder = clips.save_open_clip(tmp_path / "in", theirs, text)
    if packed:
        (folder / "vocab.json").unlink()
        (folder / "merges.txt").unlink()
        clips.write_words(folder, packed=True)
    made = import_checkpoint(folder, tmp_path / "out")
    assert made.format == "open-clip"
    check_parity(tmp_path / "out", theirs, [0.4, 0.5, 0.6], [0.2, 0.3, 0.4])


@pytest.mark.parametrize("pickled", [False, True])
def test_a_state_dict_of_openai(tmp_path: Path, pickled: bool) -> None:
    theirs = clips.random_clip()
    (tmp_path / "in").mkdir()
    state = clips.openai_state(theirs)
    more = {"input_resolution": clips.SIZE, "context_length": clips.LENGTH, "vocab_size": 522}
    state |= {name: torch.tensor(number) for name, number in more.items()}
    place = tmp_path / "in" / "ViT-B-32.pt"
    torch.save(state, place) if pickled else save_file(state, place)
    clips.write_words(tmp_path / "in", packed=True)
    made = import_checkpoint(tmp_path / "in", tmp_path / "out")
    assert made.format == "openai-clip"
    check_parity(tmp_path / "out", theirs, MEAN, STD)


class Plain(torch.nn.Module):
    """Parameters by the names of a state dict, with nothing to call but the number of its texts."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name in {each.partition(".")[0] for each in state}:
            if name in state:
                self.register_parameter(name, torch.nn.Parameter(state[name]))
            else:
                inner = {
                    k.partition(".")[2]: v for k, v in state.items() if k.startswith(name + ".")
                }
                self.add_module(name, Plain(inner))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_the_archive_of_openai_is_read_without_its_code(tmp_path: Path) -> None:
    theirs = clips.random_clip()
    (tmp_path / "in").mkdir()
    place = tmp_path / "in" / "ViT-B-32.pt"
    scripted = torch.jit.trace(Plain(clips.openai_state(theirs)).half(), torch.zeros(1))
    torch.jit.save(scripted, str(place))
    clips.write_words(tmp_path / "in", packed=True)
    made = import_checkpoint(tmp_path / "in", tmp_path / "out")
    assert made.format == "openai-clip"
    check_parity(tmp_path / "out", theirs.half().float(), MEAN, STD)


@torch.no_grad()
@pytest.mark.parametrize("wide", [False, True])
def test_a_siglip_of_transformers(tmp_path: Path, wide: bool) -> None:
    theirs = clips.random_siglip(wide)
    theirs.save_pretrained(tmp_path / "in")
    clips.write_pieces(tmp_path / "in")
    made = import_checkpoint(tmp_path / "in", tmp_path / "out")
    assert (made.format, made.name, made.size) == ("clip", "siglip", clips.SIZE)
    model = registry.load_clip(tmp_path / "out")
    prompts = {"a red apple": "a red apple", "A  Red-apple!": "a redapple", "zz cat": "zz cat",
               "": ""}  # fmt: skip
    ids = [clips.unigram(each)[-clips.LENGTH :] for each in prompts.values()]
    for prompt, own in zip(prompts, ids, strict=True):
        (row,) = model.read([prompt]).tolist()
        assert [each - 1 for each in row if each] == own, prompt
    told = theirs.get_text_features(clips.texts_of(ids, 1, clips.LENGTH)).pooler_output
    wanted = F.normalize(told, dim=-1)
    assert (model.encode_texts(list(prompts)) - wanted).abs().max() < 1e-5
    torch.manual_seed(1)
    images = torch.rand(3, 3, clips.SIZE, clips.SIZE) * 2 - 1
    seen = F.normalize(theirs.get_image_features(images).pooler_output, dim=-1)
    assert (model.encode_images(images) - seen).abs().max() < 1e-5
    assert model.clip.bias is not None
    assert torch.equal(model.clip.bias, theirs.logit_bias.reshape(()))
    # A text that is cut keeps what ends it.
    (row,) = model.read(["red " * 30]).tolist()
    assert len(row) == clips.LENGTH and row[-1] == 2 and 0 not in row


def test_a_siglip_2_has_the_tokenizer_of_gemma(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers

    folder = tmp_path / "in"
    clips.random_siglip().save_pretrained(folder)
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "\u2581", *"abcder"]
    made = Tokenizer(
        models.BPE({each: at for at, each in enumerate(pieces)}, [], unk_token="<unk>")
    )
    made.normalizer = normalizers.Replace(" ", "\u2581")
    made.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    made.save(str(folder / "tokenizer.json"))
    import_checkpoint(folder, tmp_path / "out")
    model = registry.load_clip(tmp_path / "out")
    assert model.clip.config.text_encoder["padding"] == 1
    (row,) = model.read(["RED a"]).tolist()
    assert [each - 1 for each in row if each] == [*map(pieces.index, "red\u2581a"), 1]


def test_it_picks_the_best_and_ranks(tmp_path: Path) -> None:
    clips.save_transformers(clips.random_clip(), tmp_path / "in")
    import_checkpoint(tmp_path / "in", tmp_path / "out")
    clip = registry.load_clip(tmp_path / "out")
    from limner.finish.rank import rank

    ranked = rank(clip, "a red apple", PICTURES)
    assert sorted(at for at, _ in ranked) == [0, 1]


def test_another_config_does_not_fit(tmp_path: Path) -> None:
    folder = clips.save_transformers(clips.random_clip(), tmp_path / "in")
    told = json.loads((folder / "config.json").read_text())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model_type": "siglip2"}, "NaFlex"),
        ({"vision_config": {"hidden_act": "relu"}}, "hidden_act 'relu'"),
        ({"vision_config": {"num_attention_heads": 7}}, "multiple of 7 heads"),
        ({"text_config": {"layer_norm_eps": "x"}}, "layer_norm_eps 'x'"),
    ]
    for change, words in cases:
        (folder / "config.json").write_text(json.dumps(told | change))
        with pytest.raises(CheckpointError, match=words):
            import_checkpoint(folder, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_what_is_missing_or_of_another_model_is_told(tmp_path: Path) -> None:
    folder = clips.save_transformers(clips.random_clip(), tmp_path / "in")
    vocabulary = clips.words()
    words = folder / "vocab.json"
    words.write_text(json.dumps(vocabulary | {"more": len(vocabulary)}))
    with pytest.raises(CheckpointError, match="has 523 ids, but the text tower has 522 rows"):
        import_checkpoint(folder, tmp_path / "out")
    del vocabulary["<|endoftext|>"]
    words.write_text(json.dumps(vocabulary))
    with pytest.raises(CheckpointError, match="has no token"):
        import_checkpoint(folder, tmp_path / "out")
    (folder / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        import_checkpoint(folder, tmp_path / "out")
    with pytest.raises(CheckpointError, match="has no config"):
        import_checkpoint(folder / "model.safetensors", tmp_path / "out", format="clip")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vision_cfg": {"timm_model_name": "vit_base"}}, "timm_model_name = 'vit_base'"),
        ({"text_cfg": {"hf_model_name": "roberta"}}, "hf_model_name = 'roberta'"),
        ({"vision_cfg": {"image_size": 64}}, "image_size = 64, but"),
        ({"vision_cfg": 5}, "has no table vision_cfg"),
        ({"text_cfg": {"heads": 0}}, "heads = 0"),
    ],
)
def test_towers_of_others_are_refused(tmp_path: Path, changes: Any, words: str) -> None:
    folder = clips.save_open_clip(tmp_path / "in", clips.random_clip("gelu"), **changes)
    with pytest.raises(CheckpointError, match=words):
        import_checkpoint(folder, tmp_path / "out")


def test_a_residual_tower_and_a_broken_tokenizer_are_refused(tmp_path: Path) -> None:
    state = clips.openai_state(clips.random_clip())
    save_file(state | {"visual.attnpool.positional_embedding": torch.zeros(3)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="residual network"):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "out", format="openai-clip")
    (tmp_path / "in").mkdir()
    save_file(state, tmp_path / "in" / "a.pt")
    (tmp_path / "in" / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(CheckpointError, match="cannot read"):
        import_checkpoint(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text", ["a red apple", "caf\u00e9, \U0001f34e cats!", "a </w> a"])
def test_a_text_is_read_back_with_its_words(tmp_path: Path, packed: bool, text: str) -> None:
    save_file(clips.openai_state(clips.random_clip()), tmp_path / "a.pt")
    clips.write_words(tmp_path, packed=packed)
    import_checkpoint(tmp_path, tmp_path / "out")
    tokenizer = registry.load_clip(tmp_path / "out").tokenizer
    seen = tokenizer.decode(tokenizer.encode(text))
    assert seen.replace(" ", "") == text.lower().replace(" ", "")
    if text == "a red apple":
        assert [each.text for each in spans_of(text, tokenizer)] == text.split()


@pytest.mark.parametrize("data", [b"", b"\x0a", b"\xff" * 20, b"\x08\x01", b"hello there"])
def test_pieces_that_are_none_are_refused(tmp_path: Path, data: bytes) -> None:
    from limner.convert.sentencepiece import read_sentencepiece

    with pytest.raises(CheckpointError, match="no unigram model of SentencePiece"):
        read_sentencepiece(data, "spiece.model")
