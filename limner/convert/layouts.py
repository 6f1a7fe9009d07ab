"""The layouts that `limner export` writes, each from the tables of a model of limner.

Shapes of names and tables are those of the formats' own modules, read the other way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from limner.convert import (
    kakao_mindalle,
    llamagen,
    min_dalle,
    openai_clip,
    openai_dvae,
    rudalle,
    taming,
    transformers_clip,
    youtokentome,
)  # fmt: skip
from limner.convert.keys import KeyMap

Shape = tuple[int, ...]
_ACTS = {ours: theirs for theirs, ours in reversed(transformers_clip.ACTIVATIONS.items())}
_SPLIT = {"qkv_proj": transformers_clip.PARTS}
_PROCESSOR = "preprocessor_config.json"


class NoPlace(Exception):
    """A model that a layout cannot hold; it says what the layout is of."""


@dataclass(frozen=True)
class Part:
    """A file of a layout: the table of its tensors, and what stands before our names of them.

    Those named in `split` are written as so many parts of their first axis, under the names given;
    those in `shapes` have another shape there. `inside` is the table of the file that they stand
    in. It has those whose names, without `prefix`, begin with `only` and with none of `others`.
    """

    file: str
    keys: KeyMap
    prefix: str
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    inside: str = ""
    only: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What an export writes: parts, and texts by the names of their files."""

    parts: tuple[Part, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """What an exporter knows of a model: its tables, and its tokenizer's JSON, {} without one."""

    tables: Mapping[str, Any]
    tokenizer: Mapping[str, Any]


def _dvae(model: Model) -> Layout:
    _need(model.tables["codec"], "openai_dvae")
    parts = tuple(
        Part(f"{each}.pt", openai_dvae.KEYS, f"codec.{each}.") for each in ("encoder", "decoder")
    )
    return Layout(parts)


def _vqgan(model: Model) -> Layout:
    codec = model.tables["codec"]
    _need(codec, "taming")
    gumbel = codec["quantizer"] == "gumbel"
    if codec["quantizer"] == "cosine" or codec["pixels"] != "signed" or not codec["encode"]:
        raise NoPlace("a VQGAN of taming-transformers")
    keys = taming.GUMBEL_KEYS if gumbel else taming.KEYS
    return Layout((Part("last.ckpt", keys, "codec.", inside="state_dict"),))


def _min_dalle(model: Model) -> Layout:
    prior, codec = model.tables["prior"], model.tables["codec"]
    _need(prior, "bart")
    _need(codec, "taming")
    parts = (
        Part("encoder.pt", min_dalle.ENCODER_KEYS, "prior.", only="text."),
        Part("decoder.pt", min_dalle.PRIOR_KEYS, "prior.", others=("text.",)),
        Part("detoker.pt", taming.DECODER_KEYS, "codec."),
    )
    return Layout(parts, _words(model.tokenizer))


def _kakao_mindalle(model: Model) -> Layout:
    _need(model.tables["prior"], "gpt2")
    (vqgan,), (first, second) = _vqgan(model).parts, kakao_mindalle.STAGES
    split = {"qkv": kakao_mindalle.PARTS}
    prior = Part(second, kakao_mindalle.KEYS, "prior.", split, inside="state_dict")
    words = _words(model.tokenizer)
    texts = {
        f"tokenizer/{kakao_mindalle.VOCABULARY}": words["vocab.json"],
        f"tokenizer/{kakao_mindalle.MERGES}": words["merges.txt"],
    }
    return Layout((replace(vqgan, file=first), prior), texts)


def _rudalle(model: Model) -> Layout:
    prior = model.tables["prior"]
    _need(prior, "rudalle")
    (vqgan,) = _vqgan(model).parts
    part = Part(f"pytorch_model_v{prior['version']}.bin", rudalle.KEYS, "prior.")
    codec = replace(vqgan, file="vqgan.gumbelf8-sber.model.ckpt")
    return Layout((part, codec), {rudalle.TOKENIZER: youtokentome.text_of(model.tokenizer)})


def _llamagen(model: Model) -> Layout:
    codec = model.tables["codec"]
    _need(codec, "taming")
    vq = Part("vq_ds16.pt", llamagen.vq_keys(len(codec["multipliers"])), "codec.", inside="model")
    if codec["quantizer"] != "cosine":
        raise NoPlace("LlamaGen's tokenizer")
    if "prior" not in model.tables:
        return Layout((vq,))
    _need(model.tables["prior"], "llamagen")
    decoder = Part(
        f"t2i_{codec['size']}.pt", llamagen.KEYS, "prior.", inside="model", others=("encoder.",)
    )
    note = "T5 is not written: its files are those of google/flan-t5-xl"
    return Layout((decoder, vq), notes=(note,))


def _openai_clip(model: Model) -> Layout:
    clip = _clip(model, "class")
    if {clip["image_encoder"]["activation"], clip["text_encoder"]["activation"]} != {"quick_gelu"}:
        raise NoPlace("OpenAI's CLIP")
    part = Part("clip.pt", openai_clip.KEYS, "clip.")
    return Layout((part,), _words(model.tokenizer))


def _open_clip(model: Model) -> Layout:
    clip = _clip(model, "class")
    image, text = clip["image_encoder"], clip["text_encoder"]
    vision = {
        "image_size": image["size"], "layers": image["layers"], "width": image["width"],
        "head_width": image["width"] // image["heads"], "patch_size": image["patch"],
        "mlp_ratio": image["hidden"] / image["width"],
    }  # fmt: skip
    words = {
        "context_length": text["length"], "vocab_size": clip["text_vocabulary"] - 1,
        "width": clip["width"], "heads": text["heads"], "layers": text["layers"],
        "mlp_ratio": text["hidden"] / clip["width"],
    }  # fmt: skip
    config = {
        "model_cfg": {
            "embed_dim": clip["dimensions"], "quick_gelu": image["activation"] == "quick_gelu",
            "vision_cfg": vision, "text_cfg": words,
        },
        "preprocess_cfg": {
            "mean": image["mean"], "std": image["std"], "interpolation": image["resample"],
            "resize_mode": "squash" if image["squash"] else "shortest",
        },
    }  # fmt: skip
    texts = {"open_clip_config.json": _json(config), **_words(model.tokenizer)}
    return Layout((Part("open_clip_model.safetensors", openai_clip.KEYS, "clip."),), texts)


def _transformers(model: Model) -> Layout:
    clip = model.tables["clip"]
    siglip = clip["image_encoder"]["pooling"] == "attention"
    image, text = (_clip(model, "attention" if siglip else "class")[each]
                   for each in ("image_encoder", "text_encoder"))  # fmt: skip
    vision = _tower(image, image["width"]) | {
        "image_size": image["size"], "patch_size": image["patch"],
    }  # fmt: skip
    words = _tower(text, clip["width"]) | {
        "vocab_size": clip["text_vocabulary"] - 1, "max_position_embeddings": text["length"],
    }  # fmt: skip
    kind, name, shapes = "clip", "CLIPModel", dict[str, tuple[int, ...]]()
    if siglip:
        kind, name = "siglip", "SiglipModel"
        words |= {"projection_size": clip["dimensions"], "pad_token_id": text["padding"] - 1}
        shapes = {
            "vision_model.head.probe": (1, 1, image["width"]), "logit_scale": (1,),
            "logit_bias": (1,),
        }  # fmt: skip
        texts = {"tokenizer.json": _json(_foreign(model.tokenizer))}
    else:
        ends = model.tokenizer["limner"]
        marks = {"bos_token_id": ends["begin"][0] - 1, "eos_token_id": ends["end"][0] - 1}
        words |= {"projection_dim": clip["dimensions"], **marks}
        vision |= {"projection_dim": clip["dimensions"]}
        texts = _words(model.tokenizer)
    config: dict[str, Any] = {
        "architectures": [name], "model_type": kind,
        "text_config": words | {"model_type": f"{kind}_text_model"},
        "vision_config": vision | {"model_type": f"{kind}_vision_model"},
    }  # fmt: skip
    if not siglip:
        config |= {"projection_dim": clip["dimensions"], "logit_scale_init_value": 2.6592}
    texts |= {"config.json": _json(config), _PROCESSOR: _json(_processor(image, siglip=siglip))}
    keys = transformers_clip.SIGLIP_KEYS if siglip else transformers_clip.KEYS
    part = Part("model.safetensors", keys, "clip.", _SPLIT, shapes)
    return Layout((part,), texts)


LAYOUTS: dict[str, Callable[[Model], Layout]] = {
    "openai-dvae": _dvae, "taming-vqgan": _vqgan, "min-dalle": _min_dalle, "llamagen": _llamagen,
    "kakao-mindalle": _kakao_mindalle,
    "ru-dalle": _rudalle,
    "clip": _transformers, "open-clip": _open_clip, "openai-clip": _openai_clip,
}  # fmt: skip


def _need(table: Mapping[str, Any], name: str) -> None:
    """Raise NoPlace for a part of another kind."""
    if table["name"] != name:
        raise NoPlace(name)


def _clip(model: Model, pooling: str) -> Mapping[str, Any]:
    """Return the table of a CLIP whose towers are those of these layouts; NoPlace for others."""
    clip: Mapping[str, Any] = model.tables["clip"]
    _need(clip["image_encoder"], "vit")
    _need(clip["text_encoder"], "learned_positions")
    if clip["image_encoder"]["pooling"] != pooling:
        raise NoPlace(pooling)
    return clip


def _tower(tower: Mapping[str, Any], width: int) -> dict[str, Any]:
    return {
        "hidden_size": width, "intermediate_size": tower["hidden"],
        "num_hidden_layers": tower["layers"], "num_attention_heads": tower["heads"],
        "hidden_act": _ACTS[tower.get("activation", "gelu")],
        "layer_norm_eps": tower.get("epsilon", 1e-5),
    }  # fmt: skip


def _processor(image: Mapping[str, Any], *, siglip: bool) -> dict[str, Any]:
    from limner.clip.preparing import FILTERS

    size = image["size"]
    shown: dict[str, Any] = {
        "image_mean": image["mean"], "image_std": image["std"], "do_normalize": True,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_resize": True, "do_convert_rgb": True,
        "resample": FILTERS.index(image["resample"]),
    }  # fmt: skip
    if siglip or image["squash"]:
        kind = "SiglipImageProcessor" if siglip else "CLIPImageProcessor"
        square = {"height": size, "width": size}
        return shown | {"image_processor_type": kind, "size": square, "do_center_crop": False}
    return shown | {
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": True,
        "size": {"shortest_edge": image["edge"] or size},
        "crop_size": {"height": size, "width": size},
    }  # fmt: skip


def _words(tokenizer: Mapping[str, Any]) -> dict[str, str]:
    """Return vocab.json and merges.txt of a tokenizer of byte pairs, fillers left out."""
    vocabulary = _named(tokenizer["model"]["vocab"])
    merges = [each if isinstance(each, str) else " ".join(each)
              for each in tokenizer["model"]["merges"]]  # fmt: skip
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
    }


def _named(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """Return a vocabulary with the names of special tokens, and without what filled it up."""
    filled = {name for name in vocabulary if name.startswith("\0") and name[1:].isdigit()}
    return {name.lstrip("\0"): at for name, at in vocabulary.items() if name not in filled}


def _foreign(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer as `tokenizers` has it: special tokens by name, and what ends a text."""
    parts = {key: value for key, value in tokenizer.items() if key != "limner"}
    model = dict(parts["model"])
    held = model["vocab"]
    pairs = (
        [(each[0], at) for at, each in enumerate(held)]
        if isinstance(held, list)
        else [*held.items()]
    )
    special = {at: name[1:] for name, at in pairs if name.startswith("\0")}
    if isinstance(held, list):
        model["vocab"] = [[name.lstrip("\0"), score] for name, score in held]
    else:
        model["vocab"] = {name.lstrip("\0"): at for name, at in held.items()}
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = model["unk_token"].lstrip("\0")
    added = [
        {"id": at, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for at, name in sorted(special.items())
        if not name.isdigit()
    ]  # fmt: skip
    ends = [special[at - 1] for at in tokenizer["limner"]["end"]]
    last = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ends]
    known = {name: {"id": name, "ids": [at], "tokens": [name]} for at, name in special.items()
             if name in ends}  # fmt: skip
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    return parts | {
        "model": model,
        "added_tokens": added,
        "post_processor": {
            "type": "TemplateProcessing", "single": [sequence, *last],
            "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}, *last],
            "special_tokens": known,
        },
    }  # fmt: skip


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
