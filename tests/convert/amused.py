"""A tiny aMUSEd of diffusers with random weights, saved in its folders, and what it makes."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.models.unets.uvit_2d import UVit2DModel
from torch import Tensor

from tests.convert import clips

VQModel: Any = diffusers.VQModel
CODES, SIDE, SIZE = 32, 8, 16


def random_parts(*, halves: bool = False, **changes: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a tiny aMUSEd, whose norms do something.

    `halves` is of the network that halves its grid; `changes` are settings of a part that differ,
    by its name.
    """
    count = len(clips.words())
    torch.manual_seed(0)
    settings: dict[str, dict[str, Any]] = {
        "text_encoder": {
            "vocab_size": count, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 3, "num_attention_heads": 2, "projection_dim": 24,
            "max_position_embeddings": clips.LENGTH, "eos_token_id": count - 1,
            "bos_token_id": count - 2, "pad_token_id": count - 1,
        },
        "transformer": {
            "hidden_size": 64, "cond_embed_dim": 24, "micro_cond_encode_dim": 8,
            "micro_cond_embed_dim": 40, "encoder_hidden_size": 32, "vocab_size": 40,
            "codebook_size": CODES, "in_channels": 24, "block_out_channels": 32,
            "num_res_blocks": 2, "downsample": halves, "upsample": halves, "block_num_heads": 2,
            "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
            "sample_size": SIDE,
        },
        "vqvae": {
            "block_out_channels": (32, 64), "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2, "layers_per_block": 2,
            "latent_channels": 16, "num_vq_embeddings": CODES, "mid_block_add_attention": False,
            "lookup_from_codebook": True,
        },
    }  # fmt: skip
    told = {name: each | changes.get(name, {}) for name, each in settings.items()}
    tower = transformers.CLIPTextConfig(**told["text_encoder"])
    parts = {
        "text_encoder": transformers.CLIPTextModelWithProjection(tower),
        "transformer": UVit2DModel(**told["transformer"]),
        "vqvae": VQModel(**told["vqvae"]),
    }
    for part in parts.values():
        for parameter in part.parameters():
            parameter.requires_grad_(False)
            # As large beside the others whatever the shape: a tenth of tiny matrices.
            size = 0.1 if parameter.dim() < 2 else min(0.1, parameter[0].numel() ** -0.5)
            parameter.add_(torch.randn_like(parameter) * size)
        part.eval()
    return parts


def write(folder: Path, *, halves: bool = False, **changes: dict[str, Any]) -> dict[str, Any]:
    """Write diffusers' folders, and return the parts; see `random_parts`."""
    parts = random_parts(halves=halves, **changes)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "tokenizer").mkdir()
    clips.write_words(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "AmusedPipeline"}))
    return parts


def read(parts: dict[str, Any], prompts: list[str], length: int = clips.LENGTH) -> Any:
    """Return the text's states and its vectors, as aMUSEd's pipeline asks for them."""
    end = len(clips.words()) - 1
    ids = clips.texts_of([clips.tokenize(each) for each in prompts], end, length)
    found = parts["text_encoder"](ids, output_hidden_states=True)
    return found.hidden_states[-2], found.text_embeds


def logits(
    parts: dict[str, Any], texts: tuple[Tensor, Tensor], codes: Tensor, size: int = SIZE
) -> Tensor:
    """Return logits (B, h, w, V) of grids of codes, of what `read` returns of B prompts."""
    numbers = torch.tensor([[size, size, 0, 0, 6.0]], dtype=texts[0].dtype).expand(len(codes), -1)
    found: Tensor = parts["transformer"](codes, *texts, numbers)
    return found.permute(0, 2, 3, 1)


def decode(parts: dict[str, Any], codes: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W) in [0, 1] of grids of codes."""
    latent = parts["vqvae"].config.latent_channels
    told = {"force_not_quantize": True, "shape": (*codes.shape, latent)}
    found: Tensor = parts["vqvae"].decode(codes, **told).sample
    return found.clamp(0, 1)


def encode(parts: dict[str, Any], pixels: Tensor) -> Tensor:
    """Return the codes (B, h, w) of pictures (B, 3, H, W) in [0, 1]."""
    vectors = parts["vqvae"].encode(pixels).latents
    found: Tensor = parts["vqvae"].quantize(vectors)[2][2]
    return found.view(len(pixels), *vectors.shape[2:])
