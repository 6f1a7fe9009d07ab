"""Karlo's unCLIP in the folders of diffusers, and its image variations.

Names are those of `PriorTransformer`, `UNet2DConditionModel`, `UNet2DModel` and
`UnCLIPTextProjModel` of diffusers, and of CLIP's towers in transformers; their config.json files
say what shapes do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from limner.convert.clip import both, check_seen, image_tower, text_tower
from limner.convert.diffusers import (
    check_only,
    is_of,
    need_pipeline,
    part_of,
    read_tokenizer,
    reshaped,
    whole_numbers,
)
from limner.convert.formats import Plan
from limner.convert.keys import KeyMap, Shapes, Weight, collect, our_shapes, table
from limner.convert.rearranged import Joined, Reshaped
from limner.convert.transformers_clip import (
    IGNORED,
    KEYS,
    TEXT,
    VISION,
    made_tower,
    read_seen_of,
    rearranged,
)
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files
    from limner.convert.tensors import Tensors

NAME = "karlo"
PIPELINES = ("UnCLIPPipeline", "UnCLIPImageVariationPipeline")
QUERIES, CONTEXT = ("to_q", "to_k", "to_v"), ("add_k_proj", "add_v_proj")
JOINED = {"to_qkv": QUERIES, "add_kv_proj": CONTEXT}
MATRICES = r".*\.attentions\.\d+\.to_(q|k|v|qkv|out\.0)\.weight"  # here convolutions of one pixel
# Guidance is one less than the scales of its pipeline, 8 and 4.
SAMPLING = {
    "steps": 25, "sampler": "ddpm", "guidance": 7.0, "guidance_schedule": "constant",
    "text_share": 1.0, "rescale": 0.0, "prior_steps": 25, "prior_guidance": 3.0, "candidates": 1,
    "upsampler_steps": 7, "vary_strength": 1.0,
}  # fmt: skip
_BLOCK = {"attn1.to_qkv": "qkv", "attn1.to_out.0": "out", "norm1": "attention_norm",
          "ff.net.0.proj": "into", "ff.net.2": "back", "norm3": "feed_forward_norm"}  # fmt: skip
_TIME = (*both("time_embedding.linear_1", "time.0"), *both("time_embedding.linear_2", "time.2"))
PRIOR_KEYS = table(
    *(row for theirs, ours in _BLOCK.items()
      for row in both(f"transformer_blocks.{{i}}.{theirs}", f"blocks.{{i}}.{ours}")),
    *_TIME, *both("proj_in", "noised"),
    *both("embedding_proj", "text_vector"), *both("encoder_hidden_states_proj", "text_states"),
    ("positional_embedding", "places"), ("prd_embedding", "query"), *both("norm_out", "norm"),
    *both("proj_to_clip_embeddings", "out"), ("clip_mean", "mean"), ("clip_std", "std"),
)  # fmt: skip
PLACES = "positional_embedding|prd_embedding|clip_mean|clip_std"  # with an axis of 1 before
TOLD_KEYS = table(
    ("learned_classifier_free_guidance_embeddings", "no_embedding"),
    *both("embedding_proj", "text_to_time"),
    *both("clip_image_embeddings_project_to_time_embeddings", "embedding_to_time"),
    *both("clip_extra_context_tokens_proj", "embedding_to_context"),
    *both("encoder_hidden_states_proj", "text_to_context"),
    *both("text_encoder_hidden_states_norm", "text_norm"),
)
PRIOR_ONLY: dict[str, Any] = {  # of what its config can say, what was published
    "additional_embeddings": 4, "time_embed_act_fn": "silu", "norm_in_type": None,
    "embedding_proj_norm_type": None, "encoder_hid_proj_type": "linear", "added_emb_type": "prd",
}  # fmt: skip
UNET_ONLY: dict[str, Any] = {
    "center_input_sample": False, "flip_sin_to_cos": True, "freq_shift": 0, "act_fn": "silu",
    "norm_eps": 1e-5, "mid_block_scale_factor": 1, "only_cross_attention": False,
    "cross_attention_norm": None, "resnet_skip_time_act": False, "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional", "time_embedding_act_fn": None, "timestep_post_act": None,
    "class_embeddings_concat": False, "mid_block_only_cross_attention": None,
}  # fmt: skip
DECODER_ONLY = UNET_ONLY | {
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "class_embed_type": "identity",
    "resnet_time_scale_shift": "scale_shift",
}  # fmt: skip
UPSAMPLER_ONLY = UNET_ONLY | {
    "mid_block_type": "UNetMidBlock2D", "class_embed_type": None, "add_attention": False,
    "resnet_time_scale_shift": "default",
}  # fmt: skip
DOWN = {"ResnetDownsampleBlock2D": False, "SimpleCrossAttnDownBlock2D": True}
UP = {"ResnetUpsampleBlock2D": False, "SimpleCrossAttnUpBlock2D": True}
SCHEDULE: dict[str, Any] = {
    "_class_name": "UnCLIPScheduler", "beta_schedule": "squaredcos_cap_v2", "clip_sample": True,
}  # fmt: skip
SCHEDULES: dict[str, dict[str, Any]] = {
    "prior": {"prediction_type": "sample", "variance_type": "fixed_small_log"},
    "decoder": {"prediction_type": "epsilon", "variance_type": "learned_range",
                "clip_sample_range": 1},
    "super_res": {"prediction_type": "epsilon", "variance_type": "fixed_small_log",
                  "clip_sample_range": 1},
}  # fmt: skip
_USUAL = {"prediction_type": "epsilon", "variance_type": "fixed_small_log", "clip_sample_range": 1}
_CARD = """# Karlo

Imported from diffusers' folders: {prior}a decoder of {small} pixels, and networks that make {size}
of them, with CLIP's text tower{eyes}. The published weights (CreativeML Open RAIL-M; see the
model's page for what it forbids) were trained on pictures of the web: they show its biases, and
know English alone.
"""


def unet_keys(ours: str) -> KeyMap:
    """Return the table of a U-Net whose names here begin with `ours`."""
    block = {"norm1": "norm1", "conv1": "conv1", "time_emb_proj": "time", "norm2": "norm2",
             "conv2": "conv2", "conv_shortcut": "skip"}  # fmt: skip
    look = {"group_norm": "norm", "to_qkv": "queries_keys_values", "add_kv_proj": "context",
            "to_out.0": "out"}  # fmt: skip
    rows = [("conv_in", "into"), ("conv_norm_out", "norm"), ("conv_out", "out")]
    for theirs, stage in (
        ("down_blocks.{i}", "down.{i}"), ("mid_block", "middle"), ("up_blocks.{i}", "up.{i}"),
    ):  # fmt: skip
        rows += [(f"{theirs}.resnets.{{j}}.{a}", f"{stage}.blocks.{{j}}.{b}")
                 for a, b in block.items()]  # fmt: skip
        rows += [(f"{theirs}.attentions.{{j}}.{a}", f"{stage}.attentions.{{j}}.{b}")
                 for a, b in look.items()]  # fmt: skip
    for way, change in (("down", "downsamplers"), ("up", "upsamplers")):
        rows += [(f"{way}_blocks.{{i}}.{change}.0.{a}", f"{way}.{{i}}.change.{b}")
                 for a, b in block.items()]  # fmt: skip
    every = [each for row in rows for each in both(*row)]
    return table(*((a, f"{ours}{b}") for a, b in (*every, *_TIME)))


def looks_like(files: Files) -> bool:
    """Say whether model_index.json is of unCLIP's pipeline, or of its image variations."""
    return is_of(files, *PIPELINES)


def plan(files: Files) -> Plan:
    """Return the model that the folders hold; CheckpointError for what does not fit."""
    need_pipeline(files, *PIPELINES)
    draws = is_of(files, PIPELINES[0])
    reader = _Parts(files)
    # 1. CLIP's towers, and the tokenizer.
    clip = reader.clip()
    tokenizer, clip["empty"], _ = read_tokenizer(files, clip["text_vocabulary"] - 1)
    # 2. Prior, decoder and upsampler.
    told = {"text_vocabulary": clip["text_vocabulary"]}
    prior = reader.prior() | told if draws else {}
    decoder = reader.decoder() | told
    upsampler = reader.upsampler(decoder["size"])
    # 3. Every tensor has its place.
    weights = _weights(reader, {"clip": clip, "prior": prior, "decoder": decoder,
                                "upsampler": upsampler})  # fmt: skip
    tables = {
        "clip": clip, "prior": prior, "decoder": decoder, "autoencoder": {},
        "upsampler": upsampler, "sampling": SAMPLING,
    }  # fmt: skip
    size, length = upsampler["size"], clip["text_encoder"]["length"]
    card = _CARD.format(
        prior=f"a prior of {prior['layers']} layers of {prior['width']}, " if draws else "",
        small=decoder["size"], size=size, eyes=" and its image tower" if "image_encoder" in clip
        else "",
    )  # fmt: skip
    notes = () if draws else ("it has no prior: it draws pictures like one that it is given",)
    return Plan(NAME, "unclip", size, tables, weights, card, length, tokenizer, notes=notes)


class _Parts:
    """The folders of a pipeline: settings of its parts, each with its tensors as they are here."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.tensors: dict[str, tuple[Tensors, KeyMap, str]] = {}

    def _open(self, name: str, keys: KeyMap) -> tuple[dict[str, Any], Shapes]:
        """Return the config of a folder, and the shapes of its tensors by our names."""
        config, place = part_of(self.files, name)
        tensors, shown = self.files.open(place), shown_path(place)
        if keys is KEYS:
            tensors = rearranged(tensors)
        elif keys is PRIOR_KEYS:
            tensors = Reshaped(tensors, reshaped(tensors, PLACES, first=True))
            tensors = _joined(tensors, "to_qkv")
        elif keys is not TOLD_KEYS:
            tensors = Reshaped(tensors, reshaped(tensors, MATRICES, axes=4))
            tensors = _joined(_joined(tensors, "to_qkv"), "add_kv_proj")
        self.tensors[name] = tensors, keys, shown
        return config, Shapes(our_shapes(tensors, keys), shown, keys)

    def clip(self) -> dict[str, Any]:
        """Return the settings of CLIP's towers; of pictures there may be none."""
        config, shapes = self._open("text_encoder", KEYS)
        text, rows, width = text_tower(shapes, made_tower(TEXT | config, shapes.shown))
        dimensions, _ = shapes.of("text_projection.weight", 2)
        found = {"name": NAME, "text_vocabulary": rows + 1, "text_encoder": text, "width": width,
                 "dimensions": dimensions}  # fmt: skip
        if self.files.find("image_encoder/config.json") is None:
            return found
        config, shapes = self._open("image_encoder", KEYS)
        image = image_tower(shapes, made_tower(VISION | config, shapes.shown))
        seer = self.files.need("feature_extractor/preprocessor_config.json")
        seen = read_seen_of(seer.parent, "CLIP", image["size"])
        return found | {"image_encoder": image | check_seen(seen, image["size"], shown_path(seer))}

    def prior(self) -> dict[str, Any]:
        """Return the settings of the prior."""
        config, shapes = self._open("prior", PRIOR_KEYS)
        check_only(config, PRIOR_ONLY, shapes.shown)
        places, width = shapes.of("places", 2)
        hidden, _ = shapes.of("blocks.0.into.weight", 2)
        heads = whole_numbers(config, {"num_attention_heads": 32}, shapes.shown)
        limit = self._schedule("prior").get("clip_sample_range", 1)
        if type(limit) not in (int, float):
            raise CheckpointError(
                f"the scheduler of the prior clips to {quote(limit)}; expected a number"
            )
        return {
            "name": NAME, "embedding": shapes.of("out.weight", 2)[0], "width": width,
            "length": places - PRIOR_ONLY["additional_embeddings"], "hidden": hidden,
            "layers": shapes.count("blocks."), "heads": heads["num_attention_heads"],
            "limit": float(limit), "times": self._times("prior"),
        }  # fmt: skip

    def decoder(self) -> dict[str, Any]:
        """Return the settings of the decoder."""
        _, shapes = self._open("text_proj", TOLD_KEYS)
        width, embedding = shapes.of("text_to_context.weight", 2)
        rows, _ = shapes.of("embedding_to_context.weight", 2)
        config, shapes = self._open("decoder", unet_keys("network."))
        check_only(config, DECODER_ONLY | {"in_channels": 3, "out_channels": 6}, shapes.shown)
        usual = {"sample_size": None, "attention_head_dim": 8}
        numbers = whole_numbers(config, usual, shapes.shown)
        return _unet(config, shapes.shown) | {
            "name": NAME, "size": numbers["sample_size"], "width": width, "embedding": embedding,
            "tokens": rows // width, "head": numbers["attention_head_dim"],
            "times": self._times("decoder"),
        }  # fmt: skip

    def upsampler(self, small: int) -> dict[str, Any]:
        """Return the settings of the upsampler of pictures `small` pixels wide."""
        found = []
        for name, ours in (("super_res_first", "first."), ("super_res_last", "final.")):
            config, shapes = self._open(name, unet_keys(ours))
            check_only(config, UPSAMPLER_ONLY | {"in_channels": 6, "out_channels": 3}, shapes.shown)
            found.append(_unet(config, shapes.shown))
            if name == "super_res_first":
                size = whole_numbers(config, {"sample_size": None}, shapes.shown)["sample_size"]
        if found[0] != found[1]:
            raise CheckpointError(
                f"super_res_first and super_res_last of {self.files.shown} are of other sizes; "
                "they belong to different models"
            )
        factor = size // small
        if factor * small != size:
            raise CheckpointError(
                f"{self.files.shown} makes {size} pixels of {small}; expected a multiple"
            )
        return found[0] | {"name": NAME, "size": size, "factor": factor,
                           "times": self._times("super_res")}  # fmt: skip

    def _schedule(self, name: str) -> dict[str, Any]:
        """Return what the scheduler of a part says; CheckpointError for another kind."""
        place = self.files.need(f"{name}_scheduler/scheduler_config.json")
        found = self.files.json(place)
        check_only(_USUAL | found, SCHEDULE | SCHEDULES[name], shown_path(place))
        return found

    def _times(self, name: str) -> int:
        usual = {"num_train_timesteps": 1000}
        return whole_numbers(self._schedule(name), usual, f"{name}_scheduler")[
            "num_train_timesteps"
        ]


def _joined(tensors: Tensors, name: str) -> Tensors:
    parts = "|".join(JOINED[name])
    return Joined(tensors, rf".*\.(?P<part>{parts})\.(weight|bias)", JOINED[name], name)


def _unet(config: Mapping[str, Any], shown: str) -> dict[str, Any]:
    """Return the sizes of a U-Net that its config says."""
    down, up = config.get("down_block_types"), config.get("up_block_types")
    if not (_are(down, DOWN) and _are(up, UP)):
        raise CheckpointError(
            f"the config of {shown} has blocks {quote(down)} and {quote(up)}; limner knows "
            f"{', '.join((*DOWN, *UP))}"
        )
    attends = [DOWN[each] for each in down or ()]
    if attends[::-1] != [UP[each] for each in up or ()]:
        raise CheckpointError(f"the config of {shown} has other blocks on the way up than down")
    numbers = whole_numbers(config, {"layers_per_block": 2, "norm_num_groups": 32}, shown)
    return {
        "widths": config.get("block_out_channels"), "blocks": numbers["layers_per_block"],
        "groups": numbers["norm_num_groups"], "attends": attends if any(attends) else [],
    }  # fmt: skip


def _are(names: Any, known: Mapping[str, bool]) -> bool:
    """Say whether names are a list of known ones."""
    return isinstance(names, list) and all(isinstance(x, str) and x in known for x in names)


def _weights(reader: _Parts, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Weight]:
    """Return the weights by our names; CheckpointError unless each has its place."""
    import torch

    from limner.clip.model import create_clip
    from limner.decoders import create_decoder, create_upsampler
    from limner.priors import create_embedding_prior

    makers = {"clip": create_clip, "prior": create_embedding_prior, "decoder": create_decoder,
              "upsampler": create_upsampler}  # fmt: skip
    homes = {  # of each file: the part of ours, and how the names of its tensors begin there
        "text_encoder": ("clip", "text"), "image_encoder": ("clip", "image"),
        "prior": ("prior", ""), "decoder": ("decoder", "network."), "text_proj": ("decoder", ""),
        "super_res_first": ("upsampler", "first."), "super_res_last": ("upsampler", "final."),
    }  # fmt: skip
    found: dict[str, Weight] = {}
    with torch.device("meta"):
        wanted = {name: maker(tables[name]).state_dict() for name, maker in makers.items()
                  if tables[name]}  # fmt: skip
    for file, (tensors, keys, shown) in reader.tensors.items():
        part, begin = homes[file]
        own = {name: each for name, each in wanted[part].items() if name.startswith(begin)}
        if file == "text_proj":
            own = {name: each for name, each in own.items() if not name.startswith("network.")}
        weights = collect(tensors, keys, own, shown, ignored=IGNORED)
        found |= {f"{part}.{name}": each for name, each in weights.items()}
    return found
