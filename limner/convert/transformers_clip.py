"""CLIP and SigLIP as `transformers` saves them: config.json, weights, processor and tokenizer.

What config.json does not say is as the classes of `transformers` have it. The variants of SigLIP 2
of one size (`model_type` siglip) are read; NaFlex (`siglip2`), with pictures of any shape, is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.convert.clip import Made, block_rows, both, check_seen, clip_plan, towers
from limner.convert.clip_tokenizer import clip_tokenizer
from limner.convert.keys import Shapes, our_shapes, table
from limner.convert.rearranged import Joined, Reshaped
from limner.convert.siglip_tokenizer import siglip_tokenizer
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from pathlib import Path

    from limner.convert.files import Files
    from limner.convert.formats import Plan
    from limner.convert.tensors import Tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
BLOCK = {
    "qkv": "self_attn.qkv_proj", "out": "self_attn.out_proj", "attention_norm": "layer_norm1",
    "into": "mlp.fc1", "back": "mlp.fc2", "feed_forward_norm": "layer_norm2",
}  # fmt: skip
PARTS = ("q_proj", "k_proj", "v_proj")
JOINED = r".*\.self_attn\.(?P<part>[qkv]_proj)\.(weight|bias)"
_TOWERS = (
    *block_rows("vision_model.encoder.layers", "image", BLOCK),
    *block_rows("text_model.encoder.layers", "text", BLOCK),
    ("vision_model.embeddings.patch_embedding.weight", "image.patches.weight"),
    ("vision_model.embeddings.position_embedding.weight", "image.places"),
    *both("vision_model.post_layernorm", "image.norm"),
    ("text_model.embeddings.token_embedding.weight", "text.embed.weight"),
    ("text_model.embeddings.position_embedding.weight", "text.places"),
    *both("text_model.final_layer_norm", "text.norm"),
    ("logit_scale", "log_scale"),
)
KEYS = table(
    *_TOWERS,
    ("vision_model.embeddings.class_embedding", "image.token"),
    *both("vision_model.pre_layrnorm", "image.norm_before"),
    ("visual_projection.weight", "image_projection.weight"),
    ("text_projection.weight", "text_projection.weight"),
)
SIGLIP_KEYS = table(
    *_TOWERS,
    ("vision_model.embeddings.patch_embedding.bias", "image.patches.bias"),
    ("vision_model.head.probe", "image.pool.probe"),
    ("vision_model.head.attention.in_proj_weight", "image.pool.qkv.weight"),
    ("vision_model.head.attention.in_proj_bias", "image.pool.qkv.bias"),
    *both("vision_model.head.attention.out_proj", "image.pool.out"),
    *both("vision_model.head.layernorm", "image.pool.norm"),
    *both("vision_model.head.mlp.fc1", "image.pool.into"),
    *both("vision_model.head.mlp.fc2", "image.pool.back"),
    *both("text_model.head", "text.head"),
    ("logit_bias", "bias"),
)
SHAPES = {r"vision_model\.head\.probe": (-1,), r"logit_(scale|bias)": ()}
IGNORED = (r"(vision|text)_model\.embeddings\.position_ids",)
TEXT: dict[str, Any] = {  # of a text tower alone, where its config does not say
    "hidden_act": "quick_gelu", "num_attention_heads": 8, "layer_norm_eps": 1e-5,
}  # fmt: skip
VISION: dict[str, Any] = TEXT | {"num_attention_heads": 12}
ACTIVATIONS = {
    "quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}  # fmt: skip


def looks_like(files: Files) -> bool:
    """Say whether config.json is of a CLIP or a SigLIP, and open_clip's files are not there too."""
    if files.find("open_clip_config.json") is not None:
        return False
    return files.model_type() in ("clip", "siglip", "siglip2")


def plan(files: Files) -> Plan:
    """Return the model that the files hold; CheckpointError for what does not fit."""
    config, place = files.need("config.json"), files.need(*WEIGHTS)
    source, shown = shown_path(config), shown_path(place)
    found = files.json(config)
    kind = found.get("model_type")
    if kind == "siglip2":
        raise CheckpointError(
            f"{source} is of a SigLIP 2 with NaFlex, which sees pictures of any shape; take one of "
            "a size, as google/siglip2-base-patch16-224"
        )
    if kind not in ("clip", "siglip"):
        raise CheckpointError(f"{source} has the model_type {quote(kind)}; expected clip or siglip")
    tensors = rearranged(files.open(place))
    if kind == "siglip":
        return _siglip(files, found, tensors, shown, place.parent)
    shapes = Shapes(our_shapes(tensors, KEYS), shown, KEYS)
    heads = {"text_config": 8, "vision_config": 12}
    made = _made(found, heads, "quick_gelu", 1e-5, source)
    sized = towers(shapes, made)
    seen = read_seen_of(place.parent, "CLIP", sized["image_encoder"]["size"])
    sized["image_encoder"] |= check_seen(seen, sized["image_encoder"]["size"], source)
    tokenizer = clip_tokenizer(files, sized["text_vocabulary"] - 1)
    origin = (tensors, KEYS, shown)
    return clip_plan("clip", "transformers' CLIPModel", sized, origin, tokenizer, ignored=IGNORED)


def _siglip(
    files: Files, found: Mapping[str, Any], tensors: Tensors, shown: str, folder: Path
) -> Plan:
    keys, source = SIGLIP_KEYS, shown_path(files.need("config.json"))
    shapes = Shapes(our_shapes(tensors, keys), shown, keys)
    heads = {"text_config": 12, "vision_config": 12}
    made = _made(found, heads, "gelu_pytorch_tanh", 1e-6, source)
    config = towers(shapes, made)
    seen = read_seen_of(folder, "Siglip", config["image_encoder"]["size"])
    config["image_encoder"] |= check_seen(seen, config["image_encoder"]["size"], source)
    tokenizer, padding = siglip_tokenizer(files, config["text_vocabulary"] - 1)
    config["text_encoder"] |= {"padding": padding, "causal": False}
    config |= {"loss": "sigmoid", "project": False}
    origin = (tensors, keys, shown)
    what = "transformers' SiglipModel"
    return clip_plan("siglip", what, config, origin, tokenizer, ignored=IGNORED)


def rearranged(tensors: Tensors) -> Tensors:
    """Return tensors with the queries, keys and values of a layer joined."""
    return Joined(Reshaped(tensors, SHAPES), JOINED, PARTS, "qkv_proj")


def _made(
    found: Mapping[str, Any], heads: Mapping[str, int], usual: str, epsilon: float, source: str
) -> Made:
    """Return heads, activation and epsilon of both towers, as config.json says them."""
    towers_of = []
    for name in ("vision_config", "text_config"):
        held = found.get(name)
        told = {"hidden_act": usual, "num_attention_heads": heads[name], "layer_norm_eps": epsilon}
        told |= held if isinstance(held, dict) else {}
        towers_of.append(made_tower(told, f"{source}: {name}"))
    return Made(towers_of[0], towers_of[1], {})


def made_tower(held: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return heads, activation and epsilon of a tower, as its config says them."""
    act, count, small = (
        held.get(key) for key in ("hidden_act", "num_attention_heads", "layer_norm_eps")
    )
    if act not in ACTIVATIONS or type(count) is not int or type(small) not in (int, float):
        raise CheckpointError(
            f"{source} has hidden_act {quote(act)}, num_attention_heads {quote(count)}, "
            f"layer_norm_eps {quote(small)}; expected one of {', '.join(ACTIVATIONS)}, and two "
            "numbers"
        )
    return {"heads": count, "activation": ACTIVATIONS[act], "epsilon": float(small)}  # type: ignore[arg-type]


def read_seen_of(folder: Path, processor: str, size: int) -> dict[str, Any]:
    """Return how a folder says that pictures are prepared for a tower of so many pixels."""
    from limner.clip.importing import Usual, read_seen
    from limner.convert.clip import MEAN, STD

    grey = (0.5, 0.5, 0.5)
    usual = Usual(MEAN, STD, processor) if processor == "CLIP" else Usual(grey, grey, processor)
    return read_seen(folder, usual, {"image_size": size})
