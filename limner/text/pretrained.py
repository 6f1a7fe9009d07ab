"""Pretrained text encoders, built by `transformers` (extra `train`): GPT-2, BERT, T5 and CLIP.

Shapes: B texts, T token positions (left-padded with id 0), C width of the foreign model, D width.
A limner id is the foreign one plus 1. `limner.text.importing` reads a checkpoint once; after that a
model folder holds all that is needed, and nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError
from limner.nn.checks import check_least
from limner.nn.foreign import Architecture, Foreign


def _of(kind: type, names: str) -> dict[str, type]:
    return dict.fromkeys(names.split(), kind)


_NO_ENDS = {"bos_token_id": None, "eos_token_id": None}  # only generating text needs them


@dataclass(frozen=True)
class PretrainedConfig:
    """`vocabulary` ids come in, `width` goes out; `sizes` are the foreign model's own.

    `trainable` lets training change the encoder too; otherwise it only learns the projection.
    """

    vocabulary: int
    sizes: dict[str, Any]
    width: int = 256
    trainable: bool = False

    def __post_init__(self) -> None:
        check_least(self, "vocabulary", "width")


class PretrainedEncoder(Foreign):
    """A foreign transformer, as a rule frozen, then a learned projection to the prior's width.

    Raises ConfigError for sizes that describe no model, MissingExtraError without `transformers`.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config.sizes, config.trainable)
        self.config = config
        self.width = config.width
        sizes = self.body.config
        # One more than the foreign ids, because 0 pads; fewer are fine.
        if config.vocabulary > sizes.vocab_size + 1:
            raise ConfigError(
                f"vocabulary is {config.vocabulary}, but the encoder knows {sizes.vocab_size} ids "
                "and padding; its tokenizer is of another model"
            )
        self.positions: int | None = getattr(sizes, self.architecture.positions or "", None)
        self.project = nn.Linear(sizes.hidden_size, config.width)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (B, T) to features (B, T, D); those of padding mean nothing.

        Raises ConfigError for more positions than the encoder has.
        """
        features = self.features(ids)
        # The widths of foreign features differ by orders of magnitude; normed, one rate fits all.
        projected: Tensor = self.project(F.layer_norm(features, features.shape[-1:]))
        return projected

    def features(self, ids: Tensor) -> Tensor:
        """Return the last hidden states (B, T, C) that the foreign model gives for ids (B, T)."""
        length = ids.shape[1]
        if self.positions is not None and length > self.positions:
            raise ConfigError(
                f"the text has {length} positions; this encoder has {self.positions}, so make "
                "text_length smaller"
            )
        # The foreign models count positions from the left: padding goes to the right and back.
        count = (ids != 0).sum(1, keepdim=True)
        place = torch.arange(length, device=ids.device)
        first = ids.gather(1, (place - count) % length)
        real = place < count.clamp_min(1)
        found = self.body((first - 1).clamp_min(0), attention_mask=real.long()).last_hidden_state
        back = ((place + count) % length)[..., None]
        features: Tensor = found.gather(1, back.expand(-1, -1, found.shape[-1]))
        return features


class GPT2Encoder(PretrainedEncoder):
    """GPT-2's last hidden states; each token sees the ones before it (Radford 2019)."""

    architecture = Architecture(
        model="GPT2Model",
        config="GPT2Config",
        types=("gpt2",),
        sizes={
            **_of(int, "vocab_size n_positions n_embd n_layer n_head n_inner"),
            **_of(str, "activation_function"),
            **_of(float, "layer_norm_epsilon"),
            **_of(bool, "scale_attn_weights scale_attn_by_inverse_layer_idx"),
        },
        fixed={"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} | _NO_ENDS,
        layers="n_layer",
        positions="n_positions",
        prefixes=("", "transformer."),
    )


class BertEncoder(PretrainedEncoder):
    """BERT's last hidden states; every token sees every other (Devlin 2018, arXiv 1810.04805)."""

    architecture = Architecture(
        model="BertModel",
        config="BertConfig",
        types=("bert",),
        sizes={
            **_of(int, "vocab_size max_position_embeddings hidden_size"),
            **_of(int, "num_hidden_layers num_attention_heads intermediate_size"),
            **_of(str, "hidden_act"),
            **_of(int, "type_vocab_size"),
            **_of(float, "layer_norm_eps"),
        },
        fixed={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        layers="num_hidden_layers",
        positions="max_position_embeddings",
        prefixes=("", "bert."),
        renamed={"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"},
        options={"add_pooling_layer": False},
    )


class T5Encoder(PretrainedEncoder):
    """The encoder of T5 or mT5, with relative positions (Raffel 2019, arXiv 1910.10683)."""

    architecture = Architecture(
        model="T5EncoderModel",
        config="T5Config",
        types=("t5", "mt5"),
        sizes={
            **_of(int, "vocab_size d_model d_kv d_ff"),
            **_of(int, "num_layers num_heads relative_attention_num_buckets"),
            **_of(int, "relative_attention_max_distance"),
            **_of(float, "layer_norm_epsilon"),
            **_of(str, "feed_forward_proj"),
        },
        fixed={"dropout_rate": 0.0, "use_cache": False},
        layers="num_layers",
        part="encoder",
        prefixes=("encoder.",),
        renamed={"encoder.embed_tokens.weight": "shared.weight"},
    )


class CLIPTextEncoder(PretrainedEncoder):
    """CLIP's text tower before pooling (Radford 2021, arXiv 2103.00020)."""

    architecture = Architecture(
        model="CLIPTextModel",
        config="CLIPTextConfig",
        types=("clip", "clip_text_model"),
        sizes={
            **_of(int, "vocab_size max_position_embeddings hidden_size"),
            **_of(int, "num_hidden_layers num_attention_heads intermediate_size"),
            **_of(str, "hidden_act"),
            **_of(float, "layer_norm_eps"),
        },
        fixed={"attention_dropout": 0.0, "bos_token_id": None, "eos_token_id": 0},
        layers="num_hidden_layers",
        positions="max_position_embeddings",
        nested="text_config",
        prefixes=("", "text_model."),
    )


PRETRAINED: dict[str, type[PretrainedEncoder]] = {
    "gpt2": GPT2Encoder,
    "bert": BertEncoder,
    "t5": T5Encoder,
    "clip": CLIPTextEncoder,
}
