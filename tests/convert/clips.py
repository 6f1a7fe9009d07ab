"""CLIP and SigLIP of `transformers` with random weights, saved in each layout that is imported."""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

SIZE, PATCH, WIDTH, WORDS, DIMENSIONS, LAYERS, LENGTH = 32, 8, 128, 128, 24, 2, 12
MERGES = [("a", "p"), ("ap", "p"), ("app", "l"), ("appl", "e</w>"), ("r", "e"), ("re", "d</w>"),
          ("c", "a"), ("ca", "t</w>")]  # fmt: skip
PROMPTS = ["a red apple", "RED  cats!!", "", "it's 12 caf\u00e9s \u732b", "apple " * 20]
State = dict[str, Tensor]


def letters() -> list[str]:
    """Return the letters of byte-level BPE, in OpenAI's order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, plain), *(chr(256 + at) for at in range(256 - len(plain)))]


def words() -> dict[str, int]:
    """Return the vocabulary of MERGES."""
    ends = ["<|startoftext|>", "<|endoftext|>"]
    pieces = [*letters(), *(f"{each}</w>" for each in letters()), *map("".join, MERGES), *ends]
    return {piece: number for number, piece in enumerate(pieces)}


def tokenize(text: str, length: int = LENGTH) -> list[int]:
    """Return the ids of a text, framed, by transformers' own tokenizer."""
    made = transformers.CLIPTokenizer(words(), MERGES)
    found: list[int] = made(text, truncation=True, max_length=length)["input_ids"]
    return found


def random_clip(activation: str = "quick_gelu", **more: Any) -> Any:
    """Return a CLIPModel whose norms do something, with the vocabulary of `words`."""
    tower = {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "hidden_act": activation}
    count = len(words())
    config = transformers.CLIPConfig(
        text_config=tower | {
            "vocab_size": count, "hidden_size": WORDS, "intermediate_size": 48,
            "max_position_embeddings": LENGTH, "eos_token_id": count - 1,
            "bos_token_id": count - 2, "pad_token_id": 1,
        },
        vision_config=tower | {
            "hidden_size": WIDTH, "intermediate_size": 40, "image_size": SIZE, "patch_size": PATCH,
        },
        projection_dim=DIMENSIONS, **more,
    )  # fmt: skip
    torch.manual_seed(0)
    return _lively(transformers.CLIPModel(config))


def random_siglip(wide: bool = False) -> Any:
    """Return a SiglipModel; a `wide` one has a text tower of another width than the image's."""
    tower = {"num_hidden_layers": LAYERS, "num_attention_heads": 2}
    config = transformers.SiglipConfig(
        text_config=tower | {
            "vocab_size": len(PIECES), "hidden_size": 16, "intermediate_size": 24,
            "max_position_embeddings": LENGTH, "projection_size": 32 if wide else 16,
            "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
        },
        vision_config=tower | {
            "hidden_size": 32 if wide else 16, "intermediate_size": 40, "image_size": SIZE,
            "patch_size": PATCH,
        },
    )  # fmt: skip
    torch.manual_seed(0)
    return _lively(transformers.SiglipModel(config))


def _lively(model: Any) -> Any:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def save_transformers(model: Any, folder: Path) -> Path:
    """Write a CLIP as save_pretrained does, with the two files of its tokenizer."""
    model.save_pretrained(folder)
    write_words(folder)
    return folder


def write_words(folder: Path, *, packed: bool = False) -> None:
    """Write vocab.json and merges.txt, or OpenAI's one file."""
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    if packed:
        with gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz", "wb") as file:
            file.write("\n".join(lines).encode())
        return
    (folder / "vocab.json").write_text(json.dumps(words()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")


def openai_state(model: Any, text: str = "") -> State:
    """Return a CLIPModel's weights under OpenAI's names; `text` is before those of its texts."""
    held = model.state_dict()
    blocks = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
              "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
    found = {
        "visual.conv1.weight": held["vision_model.embeddings.patch_embedding.weight"],
        "visual.class_embedding": held["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": held["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": held["visual_projection.weight"].T,
        f"{text}token_embedding.weight": held["text_model.embeddings.token_embedding.weight"],
        f"{text}positional_embedding": held["text_model.embeddings.position_embedding.weight"],
        f"{text}text_projection": held["text_projection.weight"].T,
        "logit_scale": held["logit_scale"],
    }
    norms = {"vision_model.pre_layrnorm": "visual.ln_pre", "vision_model.post_layernorm":
             "visual.ln_post", "text_model.final_layer_norm": f"{text}ln_final"}  # fmt: skip
    for end in ("weight", "bias"):
        found |= {f"{ours}.{end}": held[f"{theirs}.{end}"] for theirs, ours in norms.items()}
        for tower, place in (("vision_model", "visual."), ("text_model", text)):
            for number in range(LAYERS):
                theirs = f"{tower}.encoder.layers.{number}"
                ours = f"{place}transformer.resblocks.{number}"
                found |= {f"{ours}.{b}.{end}": held[f"{theirs}.{a}.{end}"]
                          for a, b in blocks.items()}  # fmt: skip
                parts = [held[f"{theirs}.self_attn.{each}_proj.{end}"] for each in "qkv"]
                found[f"{ours}.attn.in_proj_{end}"] = torch.cat(parts)
    return {name: each.contiguous().clone() for name, each in found.items()}


def save_open_clip(folder: Path, model: Any, text: str = "", **changes: Any) -> Path:
    """Write open_clip's config and weights, with the activation gelu, and its tokenizer."""
    folder.mkdir(parents=True)
    save_file(openai_state(model, text), folder / "open_clip_model.safetensors")
    vision = {"image_size": SIZE, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH}
    config: dict[str, Any] = {
        "model_cfg": {
            "embed_dim": DIMENSIONS, "vision_cfg": vision,
            "text_cfg": {"context_length": LENGTH, "vocab_size": len(words()), "width": WORDS,
                         "heads": 2, "layers": LAYERS},
        },
        "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
    }  # fmt: skip
    for key, value in changes.items():
        config["model_cfg"][key] = value
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    write_words(folder)
    return folder


PIECES = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2)] + [
    (piece, -2.0 - number / 10, 1)
    for number, piece in enumerate(
        ["\u2581", "\u2581a", "\u2581red", "\u2581apple", "\u2581cat", *"abcdeflprst", "app"]
    )
]


def unigram(text: str) -> list[int]:
    """Return the likeliest pieces of a clean text's words by trying every way, and </s>."""
    known = {piece: (number, score) for number, (piece, score, _) in enumerate(PIECES)}

    def best(word: str) -> tuple[float, list[int]]:
        if not word:
            return 0.0, []
        found = []
        for end in range(1, len(word) + 1):
            if word[:end] in known:
                score, rest = best(word[end:])
                found.append((known[word[:end]][1] + score, [known[word[:end]][0], *rest]))
        return max(found) if found else (-1e9, [2])

    ids = [each for word in text.split() for each in best(f"\u2581{word}")[1]]
    return [*ids, 1]


def write_pieces(folder: Path) -> None:
    """Write PIECES as a model of SentencePiece."""

    def number(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)

    def text(field: int, data: bytes) -> bytes:
        return number(field << 3 | 2) + number(len(data)) + data

    whole = b"".join(
        text(1, text(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + number(k))
        for piece, score, k in PIECES
    )
    whole += text(2, b"\x18" + number(1)) + text(3, text(1, b"nmt_nfkc"))
    (folder / "spiece.model").write_bytes(whole)


def texts_of(ids: list[list[int]], padding: int, length: int | None = None) -> Tensor:
    """Return ids of texts in a table, filled up on the right."""
    longest = length or max(map(len, ids))
    return torch.tensor([[*each, *[padding] * (longest - len(each))] for each in ids])
