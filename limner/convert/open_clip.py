"""CLIP of open_clip (github.com/mlfoundations/open_clip): open_clip_config.json and weights.

Towers of open_clip's own alone: a ViT with a class token, and its text transformer. Those of timm
and of `transformers` in it are refused by name; of SigLIP take the files of `transformers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.convert.clip import MEAN, STD, Made, clip_plan, towers
from limner.convert.clip_tokenizer import clip_tokenizer
from limner.convert.keys import Shapes, our_shapes
from limner.convert.openai_clip import CUSTOM_KEYS, IGNORED, KEYS, clip_in, refuse_residual
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.formats import Plan

CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors",
    "open_clip_pytorch_model.safetensors", "*.safetensors", "*.bin", "*.pt",
)  # fmt: skip
_VISION = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_USUAL: dict[str, dict[str, Any]] = {  # what other settings may say: that they do nothing
    "vision_cfg": {"global_average_pool": False, "ls_init_value": None, "patch_dropout": 0.0,
                   "attentional_pool": False, "no_ln_pre": False, "pos_embed_type": "learnable",
                   "pool_type": "tok", "final_ln_after_pool": False, "output_tokens": False,
                   "timm_model_name": None, "act_kwargs": None, "norm_kwargs": None},
    "text_cfg": {"hf_model_name": None, "hf_tokenizer_name": None, "ls_init_value": None,
                 "embed_cls": False, "pad_id": 0, "no_causal_mask": False,
                 "final_ln_after_pool": False, "pool_type": "argmax", "proj_bias": False,
                 "output_tokens": False, "tokenizer_kwargs": None, "act_kwargs": None,
                 "norm_kwargs": None},
}  # fmt: skip


def looks_like(files: Files) -> bool:
    """Say whether there is a config of open_clip."""
    return files.find(CONFIG) is not None


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    path, place = files.need(CONFIG), files.need(*WEIGHTS)
    shown, source = shown_path(place), shown_path(path)
    found = files.json(path)
    model = _table(found, "model_cfg", source)
    vision, text = _table(model, "vision_cfg", source), _table(model, "text_cfg", source)
    _check_usual({"vision_cfg": vision, "text_cfg": text}, source)
    held = clip_in(files.open(place))
    if held is None:
        raise CheckpointError(f"{shown} has no visual.conv1.weight, as the CLIPs of open_clip have")
    refuse_residual(held, shown)
    # 1. Sizes are read off shapes; heads, the activation and colours the config says.
    keys = KEYS if "positional_embedding" in held.entries else CUSTOM_KEYS
    shapes = Shapes(our_shapes(held, keys), shown, keys)
    quick = {"activation": "quick_gelu" if model.get("quick_gelu") else "gelu"}
    width, _, _, _ = shapes.of("image.patches.weight", 4)
    head = _count(vision, "head_width", 64, source)
    image = quick | {"heads": max(1, width // head)} | _seen(found, source)
    made = Made(image, quick | {"heads": _count(text, "heads", 8, source)}, {})
    config = towers(shapes, made)
    if (size := vision.get("image_size", 224)) != config["image_encoder"]["size"]:
        raise CheckpointError(
            f"{source} has image_size = {quote(size)}, but {shown} sees "
            f"{config['image_encoder']['size']} pixels; they belong to different models"
        )
    tokenizer = clip_tokenizer(files, config["text_vocabulary"] - 1)
    what = f"open_clip's {place.name}"
    return clip_plan("open-clip", what, config, (held, keys, shown), tokenizer, ignored=IGNORED)


def _table(held: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    found = held.get(name)
    if not isinstance(found, dict):
        raise CheckpointError(f"{source} has no table {name}, as open_clip writes it")
    return found


def _count(held: Mapping[str, Any], name: str, usual: int, source: str) -> int:
    found = held.get(name, usual)
    if type(found) is not int or found < 1:
        raise CheckpointError(f"{source} has {name} = {quote(found)}; expected a whole number")
    return found


def _check_usual(tables: Mapping[str, Mapping[str, Any]], source: str) -> None:
    for name, known in (("vision_cfg", _VISION), ("text_cfg", _TEXT)):
        for key, value in tables[name].items():
            usual = _USUAL[name].get(key)
            named = key == "hf_tokenizer_name"  # a tokenizer of its own lies beside the weights
            if key in known or named or value is None or (key in _USUAL[name] and value == usual):
                continue
            raise CheckpointError(
                f"{source} has {name}.{key} = {quote(value)}, a tower that limner does not know; "
                "it reads open_clip's own ViT and text transformer"
            )


def _seen(found: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return how pictures are prepared: what preprocess_cfg says, as open_clip reads it."""
    held = found.get("preprocess_cfg")
    held = held if isinstance(held, dict) else {}
    mean, std = held.get("mean") or MEAN, held.get("std") or STD
    fits = all(
        isinstance(each, list | tuple)
        and len(each) == 3
        and all(type(number) in (int, float) for number in each)
        for each in (mean, std)
    )
    mode, filling = held.get("resize_mode", "shortest"), held.get("interpolation", "bicubic")
    if not fits or mode not in ("shortest", "squash") or filling not in ("bicubic", "bilinear"):
        raise CheckpointError(
            f"{source} prepares pictures by {quote(held)}; expected mean and std of three numbers, "
            "resize_mode shortest or squash, interpolation bicubic or bilinear"
        )
    return {
        "mean": list(map(float, mean)), "std": list(map(float, std)), "edge": 0,
        "squash": mode == "squash", "resample": filling,
    }  # fmt: skip
