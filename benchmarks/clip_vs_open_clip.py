"""CLIP's training step on the ViT-B/32 shape against open_clip 3.3.0: forward, backward, AdamW.

    python benchmarks/clip_vs_open_clip.py [--rounds 5] [--batch 8] [--cpu-time] [--json PATH]

224 pixels, patches of 32, 12 layers of 768; 77 tokens of 49,408, 12 layers of 512; 512 shared.
All three sides start from open_clip's weights, and their losses must agree to 1e-5 before anything
is timed. limner's image tower and loss are its own; its text tower of this shape is that of
transformers, as an imported CLIP has it, with a projection that begins as the identity. open_clip
runs as its scripts do on a CPU, in fp32; its autocast to bf16 and transformers' CLIPModel stand
beside it without a target.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from peers import OPEN_CLIP, OPEN_CLIP_DEPS, peer_python, rerun_in
from ratios import Ratio, interleave, report

VOCABULARY, LENGTH, END = 49408, 77, 49407
RATE, DECAY = 1e-5, 0.2
AGREE = 1e-5

Step = Callable[[], object]
Loss = Callable[[], object]

BLOCK = {
    "attention_norm": "ln_1",
    "qkv": "attn.in_proj",
    "out": "attn.out_proj",
    "feed_forward_norm": "ln_2",
    "into": "mlp.c_fc",
    "back": "mlp.c_proj",
}
TRANSFORMERS_BLOCK = {
    "layer_norm1": "ln_1",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def batch_of(size: int) -> tuple[object, object]:
    """Return pictures (B, 3, 224, 224) and ids (B, 77), each text ended and padded on the right."""
    import torch

    images = torch.randn(size, 3, 224, 224)
    ids = torch.randint(1, END, (size, LENGTH))
    for row in range(size):
        end = LENGTH - 1 - row % 5
        ids[row, end] = END
        ids[row, end + 1 :] = 0
    return images, ids


def left_padded(ids: object) -> object:
    """Return ids as limner has them: the foreign id plus 1, padded with 0 on the left."""
    import torch

    moved = torch.zeros_like(ids)
    for row, each in enumerate(ids):
        count = int(each.argmax()) + 1
        moved[row, LENGTH - count :] = each[:count] + 1
    return moved


def open_clip_side(images: object, ids: object) -> tuple[object, Loss]:
    """Return open_clip's model and its loss."""
    import open_clip

    model = open_clip.create_model("ViT-B-32")
    criterion = open_clip.ClipLoss()

    def loss() -> object:
        pictures, texts, scale = model(images, ids)[:3]
        return criterion(pictures, texts, scale)

    return model, loss


def transformers_side(images: object, ids: object, weights: dict) -> tuple[object, Loss]:
    """Return transformers' CLIPModel with the same weights, and its loss."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_act": "gelu"}
    text = {**sizes, "bos_token_id": None, "eos_token_id": END, "pad_token_id": None}
    config = CLIPConfig(
        text_config=text,
        vision_config={**sizes, "patch_size": 32},
        projection_dim=512,
    )
    model = CLIPModel(config)
    found = {
        "logit_scale": weights["logit_scale"],
        "text_projection.weight": weights["text_projection"].T,
        "visual_projection.weight": weights["visual.proj"].T,
        **transformers_text(weights, "text_model."),
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        **transformers_blocks(weights, "visual.transformer.", "vision_model."),
    }
    for theirs, ours in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm")):
        for kind in ("weight", "bias"):
            found[f"vision_model.{ours}.{kind}"] = weights[f"visual.{theirs}.{kind}"]
    load(model, found)
    seen = torch.arange(LENGTH) <= ids.argmax(1, keepdim=True)

    def loss() -> object:
        return model(
            input_ids=ids, pixel_values=images, attention_mask=seen.long(), return_loss=True
        ).loss

    return model, loss


def limner_side(images: object, ids: object, weights: dict) -> tuple[object, Loss]:
    """Return limner's CLIP with the same weights, and its loss."""
    import torch

    from limner.clip.model import create_clip

    text = {"vocab_size": VOCABULARY, "hidden_size": 512, "intermediate_size": 2048}
    text |= {"num_hidden_layers": 12, "num_attention_heads": 8, "hidden_act": "gelu"}
    text |= {"max_position_embeddings": LENGTH}
    image = {"size": 224, "patch": 32, "width": 768, "layers": 12, "heads": 12, "hidden": 3072}
    clip = create_clip(
        {
            "text_vocabulary": VOCABULARY + 1,
            "image_encoder": {"name": "vit", **image},
            "text_encoder": {"name": "clip", "sizes": text, "trainable": True},
            "width": 512,
            "dimensions": 512,
            "pooling": "last",
        }
    )
    found = {
        "image.patches.weight": weights["visual.conv1.weight"],
        "image.token": weights["visual.class_embedding"],
        "image.places": weights["visual.positional_embedding"],
        "image_projection.weight": weights["visual.proj"].T,
        "text_projection.weight": weights["text_projection"].T,
        "log_scale": weights["logit_scale"],
        "text.project.weight": torch.eye(512),
        "text.project.bias": torch.zeros(512),
        **transformers_text(weights, "text.body."),
    }
    for theirs, ours in (("ln_pre", "norm_before"), ("ln_post", "norm")):
        for kind in ("weight", "bias"):
            found[f"image.{ours}.{kind}"] = weights[f"visual.{theirs}.{kind}"]
    for layer in range(12):
        place = f"visual.transformer.resblocks.{layer}."
        for ours, theirs in BLOCK.items():
            join = "_" if ours == "qkv" else "."
            for kind in ("weight", "bias"):
                found[f"image.blocks.{layer}.{ours}.{kind}"] = weights[
                    f"{place}{theirs}{join}{kind}"
                ]
    load(clip, found)
    moved = left_padded(ids)
    return clip, lambda: clip.loss(clip.encode_images(images), clip.encode_texts(moved))


def transformers_text(weights: dict, prefix: str) -> dict:
    """Return open_clip's text tower under transformers' names."""
    found = {
        f"{prefix}embeddings.token_embedding.weight": weights["token_embedding.weight"],
        f"{prefix}embeddings.position_embedding.weight": weights["positional_embedding"],
        **transformers_blocks(weights, "transformer.", prefix),
    }
    for kind in ("weight", "bias"):
        found[f"{prefix}final_layer_norm.{kind}"] = weights[f"ln_final.{kind}"]
    return found


def transformers_blocks(weights: dict, theirs: str, prefix: str) -> dict:
    """Return the blocks of one of open_clip's towers under transformers' names."""
    found = {}
    for layer in range(12):
        source, place = f"{theirs}resblocks.{layer}.", f"{prefix}encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            for ours, name in TRANSFORMERS_BLOCK.items():
                found[f"{place}{ours}.{kind}"] = weights[f"{source}{name}.{kind}"]
            parts = weights[f"{source}attn.in_proj_{kind}"].chunk(3)
            for letter, part in zip("qkv", parts, strict=True):
                found[f"{place}self_attn.{letter}_proj.{kind}"] = part
    return found


def load(model: object, found: dict) -> None:
    """Copy tensors into a model's parameters, every one of them."""
    import torch

    parameters = dict(model.named_parameters())
    assert set(parameters) == set(found), sorted(set(parameters) ^ set(found))[:6]
    with torch.no_grad():
        for name, each in parameters.items():
            each.copy_(found[name])


def stepper(model: object, loss: Loss, *, low: bool, own: bool = False) -> Step:
    """Return one training step; `own` is limner's optimizer and limit of the scale."""
    import torch

    from limner.train.optimizer import create_optimizers

    if own:
        [optimizer] = create_optimizers(model, "adamw", RATE, DECAY)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            value = loss()
        value.backward()
        optimizer.step()
        if own:
            model.limit_scale()

    return step


def check(losses: dict[str, Loss]) -> None:
    """Print each side's loss; stop unless they agree."""
    import torch

    with torch.no_grad():
        found = {name: float(each()) for name, each in losses.items()}
    print("  ".join(f"{name} {value:.7f}" for name, value in found.items()))
    if max(found.values()) - min(found.values()) > AGREE:
        raise SystemExit(f"the losses differ by more than {AGREE}")


def main() -> None:
    """Check that the losses agree, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that others use")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("open-clip", OPEN_CLIP, OPEN_CLIP_DEPS))
    import torch

    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {options.batch}")
    images, ids = batch_of(options.batch)
    peer, peer_loss = open_clip_side(images, ids)
    weights = {name: each.detach().clone() for name, each in peer.named_parameters()}
    third, third_loss = transformers_side(images, ids, weights)
    clip, loss = limner_side(images, ids, weights)
    del weights
    check({"open_clip": peer_loss, "transformers": third_loss, "limner": loss})
    fp32, bf16 = (stepper(clip, loss, low=low, own=True) for low in (False, True))
    theirs = {low: stepper(peer, peer_loss, low=low) for low in (False, True)}
    pairs = {
        "open_clip fp32, limner fp32": (theirs[False], fp32, 1.0),
        "open_clip fp32, limner bf16": (theirs[False], bf16, 2.0),
        "open_clip bf16, limner bf16": (theirs[True], bf16, None),
        "transformers fp32, limner fp32": (stepper(third, third_loss, low=False), fp32, None),
    }
    clock = time.process_time if options.cpu_time else time.perf_counter
    rows: list[Ratio] = [
        interleave(one, other, options.rounds, name=name, target=target, clock=clock)
        for name, (one, other, target) in pairs.items()
    ]
    report(rows, options.json)


if __name__ == "__main__":
    main()
