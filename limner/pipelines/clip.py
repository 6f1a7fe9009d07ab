"""CLIP as a pipeline: pictures and sentences become unit vectors, and near ones belong together.

Shapes: B pictures, N texts, D dimensions. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from limner.clip.model import Clip, create_clip
from limner.errors import UsageError, quote
from limner.images import as_images, to_tensor
from limner.pipelines.base import PipelineBase, as_texts
from limner.pipelines.config import ModelConfig
from limner.text.normalise import normalise_prompt
from limner.text.tokenizer import Tokenizer
from limner.types import Pictures

TEMPLATES = {
    "english": ("{a} {}", "a picture of {a} {}", "{}"),
    "chinese": ("{}", "一个{}", "一张{}的图片"),
}
AT_ONCE = 64  # pictures or texts in one pass


class ClipPipeline(PipelineBase):
    """Compares pictures with sentences, built from its parts; it knows no file."""

    family = "clip"

    def __init__(self, tokenizer: Tokenizer, clip: Clip, *, text_length: int = 32) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.clip = clip
        self.text_length = text_length
        self.size = clip.size  # at which it sees pictures

    @classmethod
    def from_config(cls, config: ModelConfig, tokenizer: Tokenizer) -> Self:
        """Pictures and texts to unit vectors that can be compared (CLIP, arXiv 2103.00020)."""
        table = config.tables["clip"]
        config.check_vocabulary(tokenizer, table.get("text_vocabulary"), "text tower")
        clip = create_clip(table)
        config.check_size(clip.size)
        return cls(tokenizer, clip, text_length=config.text_length)

    @property
    def text_vocabulary(self) -> int:
        """How many ids the text tower was made for."""
        return int(self.clip.config.text_vocabulary)

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """Return unit vectors (B, D) of images (B, 3, size, size) in [-1, 1]."""
        # In parts, so that a thousand pictures take no more memory than 64.
        parts = images.split(AT_ONCE)
        return torch.cat([self.clip.encode_images(part.to(self.device)) for part in parts])

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors (N, D) of texts; each is cut after `text_length` tokens."""
        parts = self.read(as_texts(texts), trim=True).split(AT_ONCE)
        return torch.cat([self.clip.encode_texts(part) for part in parts])

    def see(self, pictures: Pictures) -> Tensor:
        """Return unit vectors (B, D) of pictures of any size, prepared as the encoder wants them.

        Most see the square at their middle. A picture is an image of PIL, a limner.Picture, or the
        path of a file; one alone is a list of one. Raises UsageError for no picture or something
        else, ImageError for a bad file.
        """
        images = as_images(pictures)
        if not images:
            raise UsageError("no pictures were given; give at least one")
        return self.encode_images(to_tensor(list(map(self.clip.prepare, images))))

    def compare(self, pictures: Pictures, texts: str | Sequence[str]) -> Tensor:
        """Return how near pictures and texts are: cosines (B, N) in [-1, 1]."""
        prompts = [normalise_prompt(text) for text in as_texts(texts)]
        return self.see(pictures) @ self.encode_texts(prompts).T

    def label_vectors(self, labels: Sequence[str]) -> Tensor:
        """Return unit vectors (N, D) of what labels name: the mean over templates of its language.

        Raises UsageError for fewer than two labels, or one that comes twice.
        """
        names = [normalise_prompt(label) for label in as_texts(labels)]
        if len(set(names)) < 2 or len(set(names)) < len(names):
            raise UsageError(
                f"the labels are {quote(', '.join(names))}; give at least two, each once",
                param="labels",
            )
        sentences = [sentence for name in names for sentence in label_sentences(name)]
        # The mean over several sentences says less of how each is worded.
        vectors = self.encode_texts(sentences).unflatten(0, (len(names), -1))
        return nn.functional.normalize(vectors.mean(1), dim=-1)

    @torch.inference_mode()
    def classify(self, pictures: Pictures, labels: Sequence[str]) -> Tensor:
        """Return the probability (B, N) of each label, one of which must be right, zero-shot.

        Radford 2021, arXiv 2103.00020, section 3.1. A picture that shows none of them gets
        probabilities all the same. Raises UsageError as `see` and `label_vectors`.
        """
        cosines = self.see(pictures) @ self.label_vectors(labels).T
        return (self.clip.scale * cosines).softmax(1)


def article_of(label: str) -> str:
    """Return "a" or "an" for an English label, by its first letter."""
    return "an" if label[0].lower() in "aeiou" else "a"


def label_sentences(label: str) -> list[str]:
    """Return a label in the templates of its language: "a {}", "a picture of a {}", "{}"."""
    chinese = any("\u3400" <= character <= "\u9fff" for character in label)
    article = article_of(label)
    return [
        template.format(label, a=article)
        for template in TEMPLATES["chinese" if chinese else "english"]
    ]
