"""aMUSEd in the folders of diffusers: text_encoder, tokenizer, transformer, vqvae, scheduler.

Names are those of `transformers.CLIPTextModelWithProjection`, and of `UVit2DModel` and `VQModel` of
diffusers, whose settings its config.json files say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limner.convert.clip import block_rows, both
from limner.convert.diffusers import (
    check_only,
    is_of,
    need_pipeline,
    part_of,
    read_tokenizer,
    reshaped,
    whole_numbers,
)
from limner.convert.files import Files
from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect, our_shapes, table
from limner.convert.rearranged import Joined, Reshaped
from limner.convert.taming import taming_config, taming_weights
from limner.convert.transformers_clip import BLOCK, JOINED, PARTS, TEXT, made_tower
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.tensors import Tensors

NAME = "amused"
PIPELINE = "AmusedPipeline"
GUIDANCE = 9.0  # its own guidance_scale of 10
TOWER_KEYS = table(
    *block_rows("text_model.encoder.layers", "tower", BLOCK),
    ("text_model.embeddings.token_embedding.weight", "tower.embed.weight"),
    ("text_model.embeddings.position_embedding.weight", "tower.places"),
    *both("text_model.final_layer_norm", "tower.norm"),
    ("text_projection.weight", "pooled.weight"),
)
_LOOK = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "out"}


def _side(theirs: str, ours: str, change: str) -> list[tuple[str, str]]:
    block, look = f"{theirs}.res_blocks.{{i}}", f"{theirs}.attention_blocks.{{i}}"
    rows = [
        (f"{theirs}.{change}.norm.weight", f"{ours}.norm.weight"),
        (f"{theirs}.{change}.conv.weight", f"{ours}.change.weight"),
        (f"{block}.depthwise.weight", f"{ours}.blocks.{{i}}.depthwise.weight"),
        (f"{block}.norm.weight", f"{ours}.blocks.{{i}}.norm.weight"),
        (f"{block}.channelwise_linear_1.weight", f"{ours}.blocks.{{i}}.into.weight"),
        (f"{block}.channelwise_norm.gamma", f"{ours}.blocks.{{i}}.gamma"),
        (f"{block}.channelwise_norm.beta", f"{ours}.blocks.{{i}}.beta"),
        (f"{block}.channelwise_linear_2.weight", f"{ours}.blocks.{{i}}.out.weight"),
        (f"{block}.cond_embeds_mapper.weight", f"{ours}.blocks.{{i}}.mapper.weight"),
        (f"{look}.kv_mapper.weight", f"{ours}.looks.{{i}}.mapper.weight"),
    ]
    for at in range(2):
        rows.append((f"{look}.norm{at + 1}.weight", f"{ours}.looks.{{i}}.norms.{at}.weight"))
        rows += [
            (f"{look}.attn{at + 1}.{a}.weight", f"{ours}.looks.{{i}}.looks.{at}.{b}.weight")
            for a, b in _LOOK.items()
        ]
    return rows


_LAYER = "transformer_layers.{i}"
_ROWS: list[tuple[str, str]] = [
    ("encoder_proj.weight", "told.weight"),
    ("encoder_proj_layer_norm.weight", "told_norm.weight"),
    ("embed.embeddings.weight", "embed.weight"),
    ("embed.layer_norm.weight", "embed_norm.weight"),
    ("embed.conv.weight", "embedded.weight"),
    ("cond_embed.linear_1.weight", "condition.weight"),
    ("cond_embed.linear_2.weight", "conditioned.weight"),
    *_side("down_block", "down", "downsample"),
    *_side("up_block", "up", "upsample"),
    ("project_to_hidden_norm.weight", "into_norm.weight"),
    ("project_to_hidden.weight", "into.weight"),
    *(
        (f"{_LAYER}.norm{at + 1}.{part}.weight", f"layers.{{i}}.norms.{at}.{part}.weight")
        for at in range(3)
        for part in ("norm", "linear")
    ),
    *(
        (f"{_LAYER}.{there}.{a}.weight", f"layers.{{i}}.{here}.{b}.weight")
        for there, here in (("attn1", "attention"), ("attn2", "cross"))
        for a, b in _LOOK.items()
    ),
    (f"{_LAYER}.ff.net.0.proj.weight", "layers.{i}.into.weight"),
    (f"{_LAYER}.ff.net.2.weight", "layers.{i}.down.weight"),
    ("project_from_hidden_norm.weight", "from_norm.weight"),
    ("project_from_hidden.weight", "back.weight"),
    ("mlm_layer.conv1.weight", "last.weight"),
    ("mlm_layer.layer_norm.weight", "last_norm.weight"),
    ("mlm_layer.conv2.weight", "head.weight"),
]
NETWORK_KEYS = table(*((theirs, f"network.{ours}") for theirs, ours in _ROWS))
SHAPES = {r".*\.channelwise_norm\.(gamma|beta)": (-1,)}
_ONE = r"(embed\.conv|mlm_layer\.conv[12])\.weight"  # convolutions of one pixel: matrices
ONLY = {  # of what its config can say, what was published
    "use_bias": False, "ln_elementwise_affine": True, "layer_norm_eps": 1e-6,
}  # fmt: skip
_CARD = """# aMUSEd

Imported from diffusers' folders: CLIP's text tower, {layers} layers of {width} over the {codes}
codes of a VQGAN, {size} pixels in {passes} passes. The published weights (OpenRAIL++, for research;
see the model's page) were trained on pictures of the web: they show its biases, and know English
alone.
"""


def vq_keys(levels: int) -> KeyMap:
    """Return the table of VQModel; its decoder numbers levels from coarse to fine."""
    block = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2",
             "conv_shortcut": "skip"}  # fmt: skip
    rows = [("quant_conv", "encoder.quantized"), ("post_quant_conv", "decoder.embedded")]
    for side, way, change in (
        ("encoder", "down", "downsamplers"), ("decoder", "up", "upsamplers"),
    ):  # fmt: skip
        ends = (("conv_in", "input"), ("conv_out", "output"), ("conv_norm_out", "norm"))
        rows += [(f"{side}.{a}", f"{side}.{b}") for a, b in ends]
        for number, place in ((0, 0), (1, 2)):
            rows += [(f"{side}.mid_block.resnets.{number}.{a}", f"{side}.middle.{place}.{b}")
                     for a, b in block.items()]  # fmt: skip
        for at in range(levels):
            theirs = f"{side}.{way}_blocks.{at if way == 'down' else levels - 1 - at}"
            ours = f"{side}.levels.{at}"
            rows += [(f"{theirs}.resnets.{{j}}.{a}", f"{ours}.blocks.{{j}}.{b}")
                     for a, b in block.items()]  # fmt: skip
            rows.append((f"{theirs}.{change}.0.conv", f"{ours}.resample"))
    every = [(f"{a}{end}", f"{b}{end}") for a, b in rows for end in (".weight", ".bias")]
    return table(("quantize.embedding.weight", "codebook.weight"), *every)


def looks_like(files: Files) -> bool:
    """Say whether model_index.json is of aMUSEd's pipeline."""
    return is_of(files, PIPELINE)


def plan(files: Files) -> Plan:
    """Return the model that the folders hold; CheckpointError for what does not fit."""
    need_pipeline(files, PIPELINE)
    # 1. The VQGAN, without attention, of pixels in [0, 1].
    vq, place = part_of(files, "vqvae")
    numbers = len(vq.get("block_out_channels") or ())
    if not numbers or vq.get("mid_block_add_attention", True):
        raise CheckpointError(
            f"the vqvae of {files.shown} has attention in its middle, as aMUSEd's has not"
        )
    opened, shown, keys = files.open(place), shown_path(place), vq_keys(numbers)
    shapes = Shapes(our_shapes(opened, keys), shown, keys)
    codec = replace(taming_config(shapes, pixels="unit", epsilon=1e-6), middle=False)
    codes = taming_weights(codec, opened, keys, shown)
    # 2. The text tower and the network.
    tower, tower_place = part_of(files, "text_encoder")
    told = Shapes(our_shapes(_joined(files.open(tower_place)), TOWER_KEYS),
                  shown_path(tower_place), TOWER_KEYS)  # fmt: skip
    network, network_place = part_of(files, "transformer")
    prior = {**_tower(tower, told), **_network(network, shown_path(network_place))}
    prior["vocabulary"] = codec.codebook
    size = int(prior["grid"][0]) * codec.cell
    prior["size"], settings = size, {"name": "taming", **vars(codec), "size": size}
    # 3. The tokenizer; texts are filled up with its padding, which the network sees.
    tokenizer, prior["empty"], padding = read_tokenizer(files, prior["text_vocabulary"] - 1)
    prior["text_encoder"]["padding"] = padding
    # 4. Every tensor has its place.
    weights = _weights(prior, files.open(tower_place), files.open(network_place), files.shown)
    named = {f"prior.{name}": each for name, each in weights.items()}
    named |= {f"codec.{name}": each for name, each in codes.items()}
    sampling = {
        "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "guidance": GUIDANCE,
        "guidance_schedule": "constant", "typical_p": 1.0, "speculate": 0,
    }  # fmt: skip
    card = _CARD.format(layers=prior["layers"], width=prior["width"], codes=prior["vocabulary"],
                        size=size, passes=12)  # fmt: skip
    tables = {"codec": settings, "prior": prior, "sampling": sampling}
    length = prior["text_encoder"]["length"]
    return Plan(NAME, "dalle", size, tables, named, card, length, tokenizer)


def _joined(tensors: Tensors) -> Tensors:
    return Joined(tensors, JOINED, PARTS, "qkv_proj")


def _tower(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    rows, width = shapes.of("tower.embed.weight", 2)
    length, _ = shapes.of("tower.places", 2)
    hidden, _ = shapes.of("tower.blocks.0.into.weight", 2)
    pooled, _ = shapes.of("pooled.weight", 2)
    return {
        "name": "amused", "text_vocabulary": rows + 1, "text_width": width, "pooled": pooled,
        "text_encoder": {
            "name": "learned_positions", "layers": shapes.count("tower.blocks."),
            "hidden": hidden, "length": length, **made_tower({**TEXT, **config}, shapes.shown),
        },
    }  # fmt: skip


def _network(config: Mapping[str, Any], shown: str) -> dict[str, Any]:
    """Return the sizes of the network that its config says; CheckpointError for a variant."""
    check_only(config, ONLY, shown)
    usual: dict[str, int | None] = {
        "hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 22,
        "intermediate_size": 2816, "block_out_channels": 768, "block_num_heads": 12,
        "num_res_blocks": 3, "in_channels": 768, "vocab_size": 8256, "micro_cond_encode_dim": 256,
        "sample_size": 64,
    }  # fmt: skip
    found = whole_numbers(config, usual, shown)
    return {
        "width": found["hidden_size"], "heads": found["num_attention_heads"],
        "layers": found["num_hidden_layers"], "hidden": found["intermediate_size"],
        "channels": found["block_out_channels"], "side_heads": found["block_num_heads"],
        "sides": found["num_res_blocks"], "embedded": found["in_channels"],
        "rows": found["vocab_size"], "micro": found["micro_cond_encode_dim"],
        "grid": [found["sample_size"]] * 2, "halves": bool(config.get("downsample", False)),
    }  # fmt: skip


def _weights(
    prior: Mapping[str, Any], tower: Tensors, network: Tensors, shown: str
) -> dict[str, Weight]:
    import torch

    from limner.priors import create_prior

    with torch.device("meta"):
        wanted = create_prior(prior).state_dict()
    own = {name: each for name, each in wanted.items() if name.startswith("network.")}
    rest = {name: each for name, each in wanted.items() if name not in own}
    ignored = (r"text_model\.embeddings\.position_ids",)
    found = collect(_joined(tower), TOWER_KEYS, rest, f"{shown}/text_encoder", ignored=ignored)
    flat = Reshaped(network, SHAPES | reshaped(network, _ONE, axes=2))
    return found | collect(flat, NETWORK_KEYS, own, f"{shown}/transformer")
