"""Karlo's unCLIP as diffusers has it in its folders: `limner.convert.karlo` the other way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.convert import karlo, transformers_clip
from limner.convert.diffusers import INDEX
from limner.convert.layout import (
    PROCESSOR,
    SPLIT,
    Layout,
    Model,
    NoPlace,
    Part,
    as_json,
    need,
    processor_of,
    tower_of,
    words_of,
)

_OURS, _THEIRS = "diffusion_pytorch_model.safetensors", "model.safetensors"
_DOWN, _UP = ({attends: name for name, attends in each.items()} for each in (karlo.DOWN, karlo.UP))


def karlo_layout(model: Model) -> Layout:
    """Return the folders of a Karlo; NoPlace for another model."""
    tables = model.tables
    for name in ("clip", "decoder", "upsampler"):
        need(tables[name], karlo.NAME)
    clip, prior = tables["clip"], tables["prior"]
    sees = bool(clip.get("image_encoder"))
    if not (prior or sees):
        raise NoPlace("a Karlo that draws nothing")
    parts = [_tower("text_encoder", "text"), *_unets()]
    configs = _configs(tables) | _schedulers(tables)
    texts = {f"tokenizer/{name}": text for name, text in words_of(model.tokenizer).items()}
    configs["tokenizer/tokenizer_config.json"] = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": clip["text_encoder"]["length"],
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
    }  # fmt: skip
    if prior:
        width, embedding = prior["width"], prior["embedding"]
        shapes = {
            "positional_embedding": (1, prior["length"] + 4, width),
            "prd_embedding": (1, 1, width), "clip_mean": (1, embedding), "clip_std": (1, embedding),
        }  # fmt: skip
        parts.append(Part(f"prior/{_OURS}", karlo.PRIOR_KEYS, "prior.", karlo.JOINED, shapes))
    if sees:
        parts.append(_tower("image_encoder", "image"))
        seen = processor_of(clip["image_encoder"], siglip=False)
        configs[f"feature_extractor/{PROCESSOR}"] = seen
    configs[INDEX] = _index(draws=bool(prior))
    texts |= {name: as_json(config) for name, config in configs.items()}
    return Layout(tuple(parts), texts)


def _tower(folder: str, only: str) -> Part:
    return Part(f"{folder}/{_THEIRS}", transformers_clip.KEYS, "clip.", SPLIT, only=only)


def _unets() -> list[Part]:
    told = Part(f"text_proj/{_OURS}", karlo.TOLD_KEYS, "decoder.", others=("network.",))
    found = [told]
    for folder, part, only in (
        ("decoder", "decoder.", "network."), ("super_res_first", "upsampler.", "first."),
        ("super_res_last", "upsampler.", "final."),
    ):  # fmt: skip
        keys = karlo.unet_keys(only)
        found.append(
            Part(f"{folder}/{_OURS}", keys, part, karlo.JOINED, only=only,
                 matrices=karlo.MATRICES)
        )  # fmt: skip
    return found


def _configs(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return config.json of each part."""
    clip, prior, decoder = tables["clip"], tables["prior"], tables["decoder"]
    size, embedding = tables["upsampler"]["size"], decoder["embedding"]
    words = tower_of(clip["text_encoder"], clip["width"]) | {
        "vocab_size": clip["text_vocabulary"] - 1, "projection_dim": clip["dimensions"],
        "max_position_embeddings": clip["text_encoder"]["length"],
        "bos_token_id": clip["empty"][0] - 1, "eos_token_id": clip["empty"][-1] - 1,
        "architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model",
    }  # fmt: skip
    cross = {
        "_class_name": "UNet2DConditionModel", "sample_size": decoder["size"], "in_channels": 3,
        "out_channels": 6, "cross_attention_dim": decoder["width"],
        "attention_head_dim": decoder["head"],
    }  # fmt: skip
    told = {
        "_class_name": "UnCLIPTextProjModel", "clip_embeddings_dim": embedding,
        "clip_extra_context_tokens": decoder["tokens"], "time_embed_dim": 4 * decoder["widths"][0],
        "cross_attention_dim": decoder["width"],
    }  # fmt: skip
    large = _unet(tables["upsampler"]) | karlo.UPSAMPLER_ONLY | {
        "_class_name": "UNet2DModel", "sample_size": size, "in_channels": 6, "out_channels": 3,
    }  # fmt: skip
    found = {
        "text_encoder": words, "decoder": _unet(decoder) | karlo.DECODER_ONLY | cross,
        "text_proj": told, "super_res_first": large, "super_res_last": large,
    }  # fmt: skip
    if prior:
        found["prior"] = karlo.PRIOR_ONLY | {
            "_class_name": "PriorTransformer", "num_attention_heads": prior["heads"],
            "attention_head_dim": prior["width"] // prior["heads"], "num_layers": prior["layers"],
            "embedding_dim": prior["embedding"], "num_embeddings": prior["length"],
        }  # fmt: skip
    if clip.get("image_encoder"):
        image = clip["image_encoder"]
        found["image_encoder"] = tower_of(image, image["width"]) | {
            "image_size": image["size"], "patch_size": image["patch"],
            "projection_dim": clip["dimensions"], "model_type": "clip_vision_model",
            "architectures": ["CLIPVisionModelWithProjection"],
        }  # fmt: skip
    return {f"{name}/config.json": config for name, config in found.items()}


def _unet(table: Mapping[str, Any]) -> dict[str, Any]:
    attends = list(table["attends"]) or [False] * len(table["widths"])
    return {
        "block_out_channels": list(table["widths"]), "layers_per_block": table["blocks"],
        "norm_num_groups": table["groups"], "down_block_types": [_DOWN[each] for each in attends],
        "up_block_types": [_UP[each] for each in reversed(attends)],
    }  # fmt: skip


def _schedulers(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return scheduler_config.json of each process."""
    found = {}
    for name, table in (("prior", "prior"), ("decoder", "decoder"), ("super_res", "upsampler")):
        if tables[table]:
            found[f"{name}_scheduler/scheduler_config.json"] = (
                karlo.SCHEDULE | karlo.SCHEDULES[name]
                | {"num_train_timesteps": tables[table]["times"]}
                | ({"clip_sample_range": tables[table]["limit"]} if name == "prior" else {})
            )  # fmt: skip
    return found


def _index(*, draws: bool) -> dict[str, Any]:
    """Return model_index.json, of unCLIP's pipeline or of its image variations."""
    theirs = {"text_encoder": "CLIPTextModelWithProjection", "tokenizer": "CLIPTokenizer"}
    ours = {
        "decoder": "UNet2DConditionModel", "super_res_first": "UNet2DModel",
        "super_res_last": "UNet2DModel", "decoder_scheduler": "UnCLIPScheduler",
        "super_res_scheduler": "UnCLIPScheduler",
    }  # fmt: skip
    if draws:
        ours |= {"prior": "PriorTransformer", "prior_scheduler": "UnCLIPScheduler"}
    else:
        theirs |= {"image_encoder": "CLIPVisionModelWithProjection",
                   "feature_extractor": "CLIPImageProcessor"}  # fmt: skip
    name = karlo.PIPELINES[0 if draws else 1]
    return {
        "_class_name": name, "text_proj": ["unclip", "UnCLIPTextProjModel"],
        **{part: ["transformers", kind] for part, kind in theirs.items()},
        **{part: ["diffusers", kind] for part, kind in ours.items()},
    }  # fmt: skip
