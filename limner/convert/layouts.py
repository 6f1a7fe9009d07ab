"""The layouts that `limner export` writes, each from the tables of a model of limner.

Shapes of names and tables are those of the formats' own modules, read the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
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
from limner.convert.karlo_layout import karlo_layout
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


def _dvae(model: Model) -> Layout:
    need(model.tables["codec"], "openai_dvae")
    parts = tuple(
        Part(f"{each}.pt", openai_dvae.KEYS, f"codec.{each}.") for each in ("encoder", "decoder")
    )
    return Layout(parts)


def _vqgan(model: Model) -> Layout:
    codec = model.tables["codec"]
    need(codec, "taming")
    gumbel = codec["quantizer"] == "gumbel"
    if codec["quantizer"] == "cosine" or codec["pixels"] != "signed" or not codec["encode"]:
        raise NoPlace("a VQGAN of taming-transformers")
    keys = taming.GUMBEL_KEYS if gumbel else taming.KEYS
    return Layout((Part("last.ckpt", keys, "codec.", inside="state_dict"),))


def _min_dalle(model: Model) -> Layout:
    prior, codec = model.tables["prior"], model.tables["codec"]
    need(prior, "bart")
    need(codec, "taming")
    parts = (
        Part("encoder.pt", min_dalle.ENCODER_KEYS, "prior.", only="text."),
        Part("decoder.pt", min_dalle.PRIOR_KEYS, "prior.", others=("text.",)),
        Part("detoker.pt", taming.DECODER_KEYS, "codec."),
    )
    return Layout(parts, words_of(model.tokenizer))


def _kakao_mindalle(model: Model) -> Layout:
    need(model.tables["prior"], "gpt2")
    (vqgan,), (first, second) = _vqgan(model).parts, kakao_mindalle.STAGES
    split = {"qkv": kakao_mindalle.PARTS}
    prior = Part(second, kakao_mindalle.KEYS, "prior.", split, inside="state_dict")
    words = words_of(model.tokenizer)
    texts = {
        f"tokenizer/{kakao_mindalle.VOCABULARY}": words["vocab.json"],
        f"tokenizer/{kakao_mindalle.MERGES}": words["merges.txt"],
    }
    return Layout((replace(vqgan, file=first), prior), texts)


def _rudalle(model: Model) -> Layout:
    prior = model.tables["prior"]
    need(prior, "rudalle")
    (vqgan,) = _vqgan(model).parts
    part = Part(f"pytorch_model_v{prior['version']}.bin", rudalle.KEYS, "prior.")
    codec = replace(vqgan, file="vqgan.gumbelf8-sber.model.ckpt")
    return Layout((part, codec), {rudalle.TOKENIZER: youtokentome.text_of(model.tokenizer)})


def _llamagen(model: Model) -> Layout:
    codec = model.tables["codec"]
    need(codec, "taming")
    vq = Part("vq_ds16.pt", llamagen.vq_keys(len(codec["multipliers"])), "codec.", inside="model")
    if codec["quantizer"] != "cosine":
        raise NoPlace("LlamaGen's tokenizer")
    if "prior" not in model.tables:
        return Layout((vq,))
    need(model.tables["prior"], "llamagen")
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
    return Layout((part,), words_of(model.tokenizer))


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
    texts = {"open_clip_config.json": as_json(config), **words_of(model.tokenizer)}
    return Layout((Part("open_clip_model.safetensors", openai_clip.KEYS, "clip."),), texts)


def _transformers(model: Model) -> Layout:
    clip = model.tables["clip"]
    siglip = clip["image_encoder"]["pooling"] == "attention"
    image, text = (_clip(model, "attention" if siglip else "class")[each]
                   for each in ("image_encoder", "text_encoder"))  # fmt: skip
    vision = tower_of(image, image["width"]) | {
        "image_size": image["size"], "patch_size": image["patch"],
    }  # fmt: skip
    words = tower_of(text, clip["width"]) | {
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
        texts = {"tokenizer.json": as_json(_foreign(model.tokenizer))}
    else:
        ends = model.tokenizer["limner"]
        marks = {"bos_token_id": ends["begin"][0] - 1, "eos_token_id": ends["end"][0] - 1}
        words |= {"projection_dim": clip["dimensions"], **marks}
        vision |= {"projection_dim": clip["dimensions"]}
        texts = words_of(model.tokenizer)
    config: dict[str, Any] = {
        "architectures": [name], "model_type": kind,
        "text_config": words | {"model_type": f"{kind}_text_model"},
        "vision_config": vision | {"model_type": f"{kind}_vision_model"},
    }  # fmt: skip
    if not siglip:
        config |= {"projection_dim": clip["dimensions"], "logit_scale_init_value": 2.6592}
    texts |= {
        "config.json": as_json(config),
        PROCESSOR: as_json(processor_of(image, siglip=siglip)),
    }
    keys = transformers_clip.SIGLIP_KEYS if siglip else transformers_clip.KEYS
    part = Part("model.safetensors", keys, "clip.", SPLIT, shapes)
    return Layout((part,), texts)


LAYOUTS: dict[str, Callable[[Model], Layout]] = {
    "openai-dvae": _dvae, "taming-vqgan": _vqgan, "min-dalle": _min_dalle, "llamagen": _llamagen,
    "kakao-mindalle": _kakao_mindalle, "ru-dalle": _rudalle, "karlo": karlo_layout,
    "clip": _transformers, "open-clip": _open_clip, "openai-clip": _openai_clip,
}  # fmt: skip


def _clip(model: Model, pooling: str) -> Mapping[str, Any]:
    """Return the table of a CLIP whose towers are those of these layouts; NoPlace for others."""
    clip: Mapping[str, Any] = model.tables["clip"]
    need(clip["image_encoder"], "vit")
    need(clip["text_encoder"], "learned_positions")
    if clip["image_encoder"]["pooling"] != pooling:
        raise NoPlace(pooling)
    return clip


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
