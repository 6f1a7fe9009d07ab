"""A CLIP too small to understand anything, built and saved as a real one is."""

from pathlib import Path
from typing import Any

import torch

from limner.checkpoint.model import save_checkpoint
from limner.clip.model import create_clip
from limner.pipelines.clip import ClipPipeline
from limner.text.tokenizer import Tokenizer
from tests.tiny_model import SENTENCES, SIZE, TEXT_LENGTH

VIT: dict[str, Any] = {
    "name": "vit", "size": SIZE, "patch": 8, "width": 16, "layers": 1, "heads": 2, "hidden": 16,
}  # fmt: skip
RESNET: dict[str, Any] = {"name": "resnet", "size": SIZE, "width": 4, "blocks": [1, 1], "heads": 2}
TEXT: dict[str, Any] = {"name": "own", "layers": 1, "heads": 2, "hidden": 16}
CLIP: dict[str, Any] = {
    "image_encoder": VIT, "text_encoder": TEXT, "width": 16, "dimensions": 8,
}  # fmt: skip


def clip_table(tokenizer: Tokenizer, **changes: Any) -> dict[str, Any]:
    """Return the config of a CLIP that fits the tokenizer."""
    return {**CLIP, "text_vocabulary": tokenizer.vocabulary, **changes}


def tiny_clip(**changes: Any) -> ClipPipeline:
    """Return a random CLIP, the same in every process."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = Tokenizer.train(SENTENCES, 400)
        clip = create_clip(clip_table(tokenizer, **changes))
    return ClipPipeline(tokenizer, clip.eval(), text_length=TEXT_LENGTH)


def save_tiny_clip(folder: Path, **changes: Any) -> Path:
    """Write a tiny CLIP's folder and return it."""
    pipeline = tiny_clip(**changes)
    table = clip_table(pipeline.tokenizer, **changes)
    save_checkpoint(folder, pipeline, name="tiny-clip", licence="Apache-2.0", clip=table)
    return folder
