"""Karlo against diffusers' modules at its real shapes, for `benchmarks/parity.py`.

Each check has one part at its real shape, 4 bytes for each of about a billion parameters on either
side, and the others small.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity_rows import Row, imported, row

PROMPTS = ["a red apple", ""]
WIDTHS = (320, 640, 960, 1280)
TOWER = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
         "num_attention_heads": 12, "projection_dim": 768}  # fmt: skip
TOLD = {"clip_embeddings_dim": 768, "time_embed_dim": 4 * WIDTHS[0], "cross_attention_dim": 1536}
DECODER = {
    "sample_size": 64, "layers_per_block": 3, "block_out_channels": WIDTHS, "norm_num_groups": 32,
    "down_block_types": ("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
    "cross_attention_dim": 1536, "attention_head_dim": 64,
}  # fmt: skip
PRIOR = {"num_attention_heads": 32, "attention_head_dim": 64, "num_layers": 20,
         "embedding_dim": 768}  # fmt: skip
UPSAMPLER = {
    "sample_size": 64, "layers_per_block": 3, "block_out_channels": WIDTHS, "norm_num_groups": 32,
    "down_block_types": ("ResnetDownsampleBlock2D",) * 4,
    "up_block_types": ("ResnetUpsampleBlock2D",) * 4,
}  # fmt: skip


def _made(folder: Path, keep: tuple[str, ...], **changes: Any) -> tuple[Any, dict[str, Any]]:
    """Write a Karlo, and return the model of it, and the parts that are to be kept."""
    import limner
    from tests.convert import karlo

    parts = karlo.write(folder / "in", eyes=False, **changes)
    parts = {name: parts[name] for name in keep}
    return limner.load(imported(folder / "in", folder / "out")), parts


def _texts(parts: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return states, vectors and which positions are real, by transformers."""
    from tests.convert.test_karlo import told

    return told(parts, PROMPTS)


def karlo_decoder(folder: Path) -> Iterator[Row]:
    """Karlo's decoder, 893 M parameters, and its text tower: two rows of a step at 64 pixels."""
    import torch

    small = {"embedding_dim": 768, "num_attention_heads": 1, "attention_head_dim": 16}
    model, parts = _made(
        folder, ("text_encoder", "text_proj", "decoder"), text_encoder=TOWER, text_proj=TOLD,
        decoder=DECODER, prior=small, super_res_first={"sample_size": 128},
        super_res_last={"sample_size": 128},
    )  # fmt: skip
    states, vectors, real = _texts(parts)
    found = model.clip.read(model.read(PROMPTS))
    yield row("karlo states of the text tower", found.states[found.real], states[real])
    yield row("karlo vectors of the text tower", found.vectors, vectors)
    seen, times = torch.randn(2, 768), torch.tensor([749, 749])
    seen[1] = parts["text_proj"].learned_classifier_free_guidance_embeddings
    context, added = parts["text_proj"](
        image_embeddings=seen, prompt_embeds=vectors, text_encoder_hidden_states=states,
        do_classifier_free_guidance=False,
    )  # fmt: skip
    x = torch.randn(1, 3, 64, 64).repeat(2, 1, 1, 1)
    mask = torch.nn.functional.pad(real, (4, 0), value=True)
    theirs = parts["decoder"](x, times, context, class_labels=added, attention_mask=mask).sample
    seen[1] = 0  # told nothing
    ours = model.decoder(x, times, embedding=seen, text=model.read(PROMPTS))
    yield row("karlo decoder, noise and spread", ours, theirs)


def karlo_prior(folder: Path) -> Iterator[Row]:
    """Karlo's prior, 1022 M parameters: 20 layers of 2048, two rows of a step."""
    import torch

    tower, told = TOWER | {"num_hidden_layers": 2}, {"clip_embeddings_dim": 768}
    model, parts = _made(
        folder, ("text_encoder", "prior"), text_encoder=tower, text_proj=told, prior=PRIOR
    )
    states, vectors, real = _texts(parts)
    x, times = torch.randn(1, 768).repeat(2, 1), torch.tensor([749, 749])
    theirs = parts["prior"](x, times, vectors, states, real).predicted_image_embedding
    ours = model.prior(model.clip.read(model.read(PROMPTS)), x, times)
    yield row("karlo prior", ours, theirs)


def karlo_upsampler(folder: Path) -> Iterator[Row]:
    """Karlo's two networks that enlarge, 692 M parameters each, at 64 of their 256 pixels."""
    import torch

    names = ("super_res_first", "super_res_last")
    model, parts = _made(folder, names, **dict.fromkeys(names, UPSAMPLER))
    x, times = torch.randn(1, 6, 64, 64), torch.tensor([666])
    for name, network in zip(names, (model.upsampler.first, model.upsampler.final), strict=True):
        yield row(f"karlo {name}", network(x, times), parts.pop(name)(x, times).sample)
