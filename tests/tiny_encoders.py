"""Pretrained text encoders too small to understand anything, saved as `transformers` saves them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from limner.text.encoders import create_text_encoder
from limner.text.importing import import_encoder
from limner.text.pretrained import PretrainedEncoder
from limner.text.pretrained_tokenizer import PretrainedTokenizer

NAMES = ("gpt2", "bert", "t5", "clip")
WORDS = "a,red,apple,apples,three,under,the,night,sky,##s,mask,苹,果"
SPECIALS = {
    "gpt2": ["<|endoftext|>"],
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "t5": ["<pad>", "</s>", "<unk>", "<extra_id_0>"],
    "clip": ["<|startoftext|>", "<|endoftext|>"],
}


def make_tokenizer(name: str, more_words: int = 0) -> Tokenizer:
    """Return a tokenizer of the same make as the real one's, special tokens and all.

    `more_words` of BERT's are in the vocabulary before the others, and in no text.
    """
    specials = SPECIALS[name]
    if name == "bert":
        more = [f"word{number}" for number in range(more_words)]
        signs = ["[", "]", "<", ">", "/", "|", "s"]
        vocabulary = {word: i for i, word in enumerate(specials + more + WORDS.split(",") + signs)}
        made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        made.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    elif name == "t5":
        pieces = [f"▁{word}" for word in WORDS.split(",")] + list("<>/[]|_0") + list("adenprstuxi")
        scores = [(piece, -2.0 - i / 10) for i, piece in enumerate(pieces)]
        made = Tokenizer(models.Unigram([(s, 0.0) for s in specials] + scores, unk_id=2))
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    else:
        suffix = "</w>" if name == "clip" else ""
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        symbols = (
            letters + [f"{letter}</w>" for letter in letters if suffix] + ["re", f"red{suffix}"]
        )
        vocabulary = {word: i for i, word in enumerate(symbols + specials)}
        merges = [("r", "e"), ("re", f"d{suffix}")]
        options = {"unk_token": specials[-1], "end_of_word_suffix": suffix} if suffix else {}
        made = Tokenizer(models.BPE(vocabulary, merges, **options))
        made.decoder = decoders.ByteLevel()
        if suffix:
            made.normalizer = normalizers.Lowercase()
            first, last = (vocabulary[each] for each in specials)
            made.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            )
            made.post_processor = processors.RobertaProcessing(
                (specials[1], last),
                (specials[0], first),
                trim_offsets=False,
                add_prefix_space=False,
            )
        else:
            made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            made.post_processor = processors.ByteLevel(trim_offsets=False)
    made.add_special_tokens(specials)
    made.enable_truncation(16)
    return made


def make_model(name: str, vocabulary: int, kind: str = "") -> Any:
    """Return a random model of `transformers`: the encoder alone, or the class named `kind`."""
    common: dict[str, Any] = {"vocab_size": vocabulary}
    if name == "gpt2":
        sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
        ends = {"bos_token_id": vocabulary - 1, "eos_token_id": vocabulary - 1}
        config = transformers.GPT2Config(**common, **sizes, **ends)
        kind = kind or "GPT2Model"
    elif name == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
        config = transformers.T5Config(**common, **sizes, feed_forward_proj="gated-gelu")
        kind = kind or "T5EncoderModel"
    else:
        sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
        sizes |= {"num_attention_heads": 2, "max_position_embeddings": 32}
        if name == "bert":
            config = transformers.BertConfig(**common, **sizes)
            kind = kind or "BertModel"
        else:
            ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
            config = transformers.CLIPTextConfig(**common, **sizes, **ends)
            kind = kind or "CLIPTextModel"
            if kind == "CLIPModel":
                vision = sizes | {"image_size": 8, "patch_size": 4}
                config = transformers.CLIPConfig(
                    text_config=config.to_dict(), vision_config=vision, projection_dim=8
                )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind)(config).eval()
        for parameter in model.parameters():  # norms and biases begin as ones and zeros
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def save_tiny_encoder(folder: Path, name: str, kind: str = "", more_words: int = 0) -> Path:
    """Write a checkpoint folder as save_pretrained does, with its tokenizer.json."""
    tokenizer = make_tokenizer(name, more_words)
    make_model(name, tokenizer.get_vocab_size(), kind).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "config.json").read_text())["model_type"]
    return folder


def encoder_in(folder: Path) -> tuple[PretrainedEncoder, PretrainedTokenizer]:
    """Return the encoder and the tokenizer of a checkpoint folder, ready to draw."""
    config, weights, tokenizer = import_encoder(str(folder))
    made = create_text_encoder({**config, "vocabulary": tokenizer.vocabulary, "width": 12})
    made.body.load_state_dict(weights)
    return made.eval(), tokenizer
