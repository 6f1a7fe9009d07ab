"""A tiny Karlo of diffusers with random weights, saved in its folders."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

from tests.convert import clips

SMALL, SIZE, WIDTHS, WIDTH, EYES = 16, 32, (32, 64), 24, 16
SCHEDULER: Any = diffusers.UnCLIPScheduler
CLASSES = {  # of the parts in model_index.json
    "prior": "PriorTransformer", "decoder": "UNet2DConditionModel",
    "text_encoder": "CLIPTextModelWithProjection", "tokenizer": "CLIPTokenizer",
    "text_proj": "UnCLIPTextProjModel", "super_res_first": "UNet2DModel",
    "super_res_last": "UNet2DModel", "prior_scheduler": "UnCLIPScheduler",
    "decoder_scheduler": "UnCLIPScheduler", "super_res_scheduler": "UnCLIPScheduler",
}  # fmt: skip
MAKERS: dict[str, Any] = {
    "text_encoder": lambda **told: transformers.CLIPTextModelWithProjection(
        transformers.CLIPTextConfig(**told)
    ),
    "image_encoder": lambda **told: transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(**told)
    ),
    "prior": diffusers.PriorTransformer, "decoder": diffusers.UNet2DConditionModel,
    "text_proj": UnCLIPTextProjModel, "super_res_first": diffusers.UNet2DModel,
    "super_res_last": diffusers.UNet2DModel,
}  # fmt: skip
SCHEDULERS: dict[str, dict[str, Any]] = {
    "prior_scheduler": {"prediction_type": "sample", "clip_sample_range": 5.0},
    "decoder_scheduler": {"variance_type": "learned_range"},
    "super_res_scheduler": {},
}


def random_parts(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a tiny Karlo, whose norms do something, with CLIP's image tower.

    `changes` are settings of a part that differ, by its name.
    """
    count = len(clips.words())
    torch.manual_seed(0)
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40,
             "projection_dim": WIDTH}  # fmt: skip
    plain = {
        "sample_size": SIZE, "in_channels": 6, "out_channels": 3, "layers_per_block": 1,
        "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "up_block_types": ("ResnetUpsampleBlock2D",) * 2, "add_attention": False,
        "block_out_channels": WIDTHS, "norm_num_groups": 8,
    }  # fmt: skip
    settings: dict[str, dict[str, Any]] = {
        "text_encoder": tower | {
            "hidden_size": WIDTH, "vocab_size": count, "max_position_embeddings": clips.LENGTH,
            "eos_token_id": count - 1, "bos_token_id": count - 2, "pad_token_id": count - 1,
        },
        "image_encoder": tower | {"hidden_size": 32, "image_size": EYES, "patch_size": 4},
        "prior": {
            "num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2,
            "embedding_dim": WIDTH, "num_embeddings": clips.LENGTH,
        },
        "decoder": {
            "sample_size": SMALL, "in_channels": 3, "out_channels": 6, "layers_per_block": 2,
            "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            "cross_attention_dim": 40, "class_embed_type": "identity", "attention_head_dim": 16,
            "resnet_time_scale_shift": "scale_shift", "block_out_channels": WIDTHS,
            "norm_num_groups": 8,
        },
        "text_proj": {
            "clip_embeddings_dim": WIDTH, "time_embed_dim": 4 * WIDTHS[0],
            "cross_attention_dim": 40,
        },
        "super_res_first": plain, "super_res_last": plain,
    }  # fmt: skip
    told = {name: {**each, **changes.get(name, {})} for name, each in settings.items()}
    parts = {name: MAKERS[name](**each) for name, each in told.items()}
    for part in parts.values():
        for parameter in part.parameters():
            parameter.requires_grad_(False)
            if parameter.ndim == 1 or not parameter.any():  # norms, biases, and what begins empty
                parameter.add_(torch.randn_like(parameter) * 0.1)
        part.eval()
    return parts


def preparing() -> Any:
    """Return what prepares pictures for the image tower."""
    size = {"height": EYES, "width": EYES}
    return transformers.CLIPImageProcessorPil(size={"shortest_edge": EYES}, crop_size=size)


def scheduler_of(name: str) -> Any:
    """Return the scheduler of a part, as the published one is set."""
    return SCHEDULER(**SCHEDULERS[name])


def exact(scheduler: Any) -> Any:
    """Return a scheduler that counts in double precision, as the original Karlo does.

    In single precision 1 - 0.99996 has four digits, and the last step makes 0.9995 of all it draws.
    """
    count = scheduler.config.num_train_timesteps
    shares = [math.cos((at / count + 0.008) / 1.008 * math.pi / 2) ** 2 for at in range(count + 1)]
    betas = [min(1 - b / a, 0.999) for a, b in pairwise(shares)]
    scheduler.betas = torch.tensor(betas, dtype=torch.float64)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    return scheduler


def write(
    folder: Path, *, pipeline: str = "UnCLIPPipeline", eyes: bool = True, **changes: dict[str, Any]
) -> dict[str, Any]:
    """Write diffusers' folders, and return the parts, schedulers among them; see `random_parts`."""
    parts = random_parts(**changes)
    if not eyes:
        del parts["image_encoder"]
    if pipeline != "UnCLIPPipeline":
        del parts["prior"]
    parts |= {name: scheduler_of(name) for name in SCHEDULERS}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    (folder / "tokenizer").mkdir()
    clips.write_words(folder / "tokenizer")
    if eyes:
        preparing().save_pretrained(folder / "feature_extractor")
    index = {"_class_name": pipeline} | {
        name: ["transformers" if "CLIPT" in kind[:5] else "diffusers", kind]
        for name, kind in CLASSES.items()
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return parts
