"""Pretrained image encoders too small to see anything, saved as `transformers` saves them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from limner.clip.importing import import_image_encoder
from limner.clip.pretrained import PretrainedImageEncoder
from limner.clip.towers import create_image_encoder
from tests.tiny_model import SIZE

SEEN: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
TRANSFORMER: dict[str, Any] = {
    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": SIZE, "patch_size": 4,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "pretrained_vit": TRANSFORMER,
    "pretrained_resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2]},
    "pretrained_clip": TRANSFORMER,
}
CLASSES = {
    "pretrained_vit": ("ViTConfig", "ViTModel"),
    "pretrained_resnet": ("ResNetConfig", "ResNetModel"),
    "pretrained_clip": ("CLIPVisionConfig", "CLIPVisionModel"),
}
ENCODERS: dict[str, dict[str, Any]] = {
    name: {"name": name, "sizes": sizes, "size": SIZE, **SEEN} for name, sizes in SIZES.items()
}


def make_vision_model(name: str, kind: str = "") -> Any:
    """Return a random model of `transformers`: the encoder alone, or the class named `kind`."""
    config_name, model_name = CLASSES[name]
    config = getattr(transformers, config_name)(**SIZES[name])
    if kind == "CLIPModel":
        text = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8}
        config = transformers.CLIPConfig(
            text_config=text | {"num_attention_heads": 2}, vision_config=config.to_dict()
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind or model_name)(config).eval()
        for parameter in model.parameters():  # norms and biases begin as ones and zeros
            parameter.data += 0.1 * torch.randn(parameter.shape)
        for key, buffer in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand(buffer.shape))
    return model


def save_tiny_vision(folder: Path, name: str, kind: str = "") -> Path:
    """Write a checkpoint folder as save_pretrained does, with how pictures are prepared."""
    transformers.utils.logging.disable_progress_bar()
    make_vision_model(name, kind).save_pretrained(folder)
    seen = {"size": {"height": SIZE, "width": SIZE}, "image_mean": SEEN["mean"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(seen | {"image_std": SEEN["std"]}))
    return folder


def vision_in(folder: Path, **changes: Any) -> PretrainedImageEncoder:
    """Return the encoder of a checkpoint folder."""
    config, weights = import_image_encoder(str(folder))
    made: PretrainedImageEncoder = create_image_encoder(config | changes)
    made.body.load_state_dict(weights)
    return made.eval()
