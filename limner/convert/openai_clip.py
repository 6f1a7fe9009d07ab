"""CLIP as OpenAI published it (github.com/openai/CLIP): a ViT and its state dict, or the archive.

`ViT-B-32.pt` and its like are archives of TorchScript, of which the weights are read and no code.
They have no tokenizer: OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or that of `transformers`, must
lie beside. Heads have 64 dimensions, and the activation is quick_gelu, as in all that it published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.convert.clip import COLOURS, Made, block_rows, both, clip_plan, towers
from limner.convert.clip_tokenizer import clip_tokenizer
from limner.convert.keys import DENSE, KeyMap, Shapes, our_shapes, table
from limner.convert.tensors import Under
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.formats import Plan
    from limner.convert.tensors import Tensors

NAME = "openai-clip"
BLOCK = {
    "qkv": "attn.in_proj", "out": "attn.out_proj", "attention_norm": "ln_1",
    "into": "mlp.c_fc", "back": "mlp.c_proj", "feed_forward_norm": "ln_2",
}  # fmt: skip
IGNORED = ("input_resolution", "context_length", "vocab_size", r"(text\.)?attn_mask")
QUICK = {"activation": "quick_gelu"}


def keys_of(text: str = "") -> KeyMap:
    """Return the table; `text` is what stands before the names of the text tower."""
    return table(
        ("visual.conv1.weight", "image.patches.weight"),
        ("visual.class_embedding", "image.token"),
        ("visual.positional_embedding", "image.places"),
        *both("visual.ln_pre", "image.norm_before"),
        *both("visual.ln_post", "image.norm"),
        *block_rows("visual.transformer.resblocks", "image", BLOCK),
        ("visual.proj", "image_projection.weight", DENSE),
        (f"{text}token_embedding.weight", "text.embed.weight"),
        (f"{text}positional_embedding", "text.places"),
        *both(f"{text}ln_final", "text.norm"),
        *block_rows(f"{text}transformer.resblocks", "text", BLOCK),
        (f"{text}text_projection", "text_projection.weight", DENSE),
        ("logit_scale", "log_scale"),
    )


KEYS, CUSTOM_KEYS = keys_of(), keys_of("text.")


def looks_like(files: Files) -> bool:
    """Say whether the only file of weights has OpenAI's towers, and no config of open_clip."""
    path = files.single()
    if path is None or files.find("open_clip_config.json") is not None:
        return False
    return clip_in(files.open(path)) is not None


def plan(files: Files) -> Plan:
    """Return the model that the file holds; CheckpointError for what does not fit."""
    path = files.single()
    held = None if path is None else clip_in(files.open(path))
    if path is None or held is None:
        raise CheckpointError(
            f"{files.shown} is not one file of weights with visual.conv1.weight and "
            "positional_embedding; give the file of OpenAI's CLIP"
        )
    shown = shown_path(path)
    refuse_residual(held, shown)
    shapes = Shapes(our_shapes(held, KEYS), shown, KEYS)
    config = towers(shapes, Made(QUICK | COLOURS, QUICK, {}))
    tokenizer = clip_tokenizer(files, config["text_vocabulary"] - 1)
    what = f"OpenAI's {path.name}"
    return clip_plan("clip", what, config, (held, KEYS, shown), tokenizer, ignored=IGNORED)


def clip_in(tensors: Tensors) -> Tensors | None:
    """Return the tensors of a CLIP in a file, under whatever table they stand; None for none."""
    for prefix in ("", "state_dict/", "state_dict/module.", "module."):
        held = Under(tensors, prefix) if prefix else tensors
        if "visual.conv1.weight" in held.entries and (
            "positional_embedding" in held.entries or "text.positional_embedding" in held.entries
        ):
            return held
    return None


def refuse_residual(tensors: Tensors, shown: str) -> None:
    """Raise CheckpointError for the image tower of RN50 and its like."""
    if "visual.attnpool.positional_embedding" in tensors.entries:
        raise CheckpointError(
            f"{shown} sees pictures by a residual network (RN50 and its like); limner reads the "
            "CLIPs whose image tower is a ViT"
        )
