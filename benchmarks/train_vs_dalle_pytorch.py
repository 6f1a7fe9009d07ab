"""Training steps against DALLE-pytorch 1.6.6: forward, backward, AdamW, in turns.

    python benchmarks/train_vs_dalle_pytorch.py [--rounds 5] [--only prior|compiled|tokenizer]

Prior: width 512, 6 layers, 8 heads, feed-forward 2048 wide and gated, 64 text and 256 image tokens
of 10,000 and 512, batch 4. Tokenizer: 128 pixels, a grid of 16 x 16 codes of 8,192, 64 channels at
every stage, one residual block a side, batch 4; the peer's is its README's example at that size,
limner's are its own dVAE (the same codebook, 8,192 x 512) and its usual codec, which has none.
The peer runs as its scripts run it on a CPU: fp32. limner computes no text logits, has fused
attention and AdamW, and bf16 as an option.
"""

import argparse
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from peers import DALLE_PYTORCH, DALLE_PYTORCH_DEPS, peer_python, rerun_in
from ratios import Ratio, interleave, report

BATCH = 4
TEXT, GRID, TEXT_VOCABULARY, VOCABULARY = 64, 16, 10_000, 512
WIDTH, LAYERS, HEADS, HIDDEN = 512, 6, 8, 2048
SIZE, LEVELS, CHANNELS = 128, (8, 8, 8, 4, 4), 64
RATE = 1e-4

Step = Callable[[], object]


def stepper(
    loss: Step, optimizer: object, context: Callable[[], AbstractContextManager[object]]
) -> Step:
    """Return one training step of a loss by an optimizer."""

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with context():
            value = loss()
        value.backward()
        optimizer.step()

    return step


def bf16(enabled: bool) -> Callable[[], AbstractContextManager[object]]:
    """Return what makes the context of a step's arithmetic."""
    import torch

    return lambda: torch.autocast("cpu", torch.bfloat16, enabled=enabled)


def parameters(name: str, module: object) -> None:
    """Print how large a model is."""
    print(f"{name:<32}{sum(each.numel() for each in module.parameters()) / 1e6:8.2f} M parameters")


def prior_pair() -> tuple[Step, Callable[[bool, bool], Step]]:
    """Return the peer's step, and what makes limner's, in bf16 or compiled or neither."""
    import torch
    from dalle_pytorch import DALLE, DiscreteVAE

    from limner.priors import create_prior
    from limner.train.optimizer import create_optimizers

    text = torch.randint(1, TEXT_VOCABULARY, (BATCH, TEXT))
    codes = torch.randint(VOCABULARY, (BATCH, GRID * GRID))
    vae = DiscreteVAE(image_size=GRID * 8, num_layers=3, num_tokens=VOCABULARY)
    lengths = {"num_text_tokens": TEXT_VOCABULARY, "text_seq_len": TEXT}
    peer = DALLE(dim=WIDTH, depth=LAYERS, heads=HEADS, dim_head=WIDTH // HEADS, vae=vae, **lengths)
    trained = [each for each in peer.parameters() if each.requires_grad]
    peer_step = stepper(
        lambda: peer(text, codes, return_loss=True),
        torch.optim.AdamW(trained, lr=RATE),
        bf16(False),
    )
    prior = create_prior(
        {
            "name": "gpt",
            "text_vocabulary": TEXT_VOCABULARY,
            "vocabulary": VOCABULARY,
            "grid": (GRID, GRID),
            "width": WIDTH,
            "layers": LAYERS,
            "heads": HEADS,
            "hidden": HIDDEN,
        }
    )
    parameters("dalle_pytorch DALLE", peer.transformer)
    parameters("limner gpt", prior.transformer)
    [optimizer] = create_optimizers(prior, "adamw", RATE, 0.01)

    def limner_step(low: bool, compiled: bool) -> Step:
        loss = torch.compile(prior.loss) if compiled else prior.loss
        return stepper(lambda: loss(text, codes), optimizer, bf16(low))

    return peer_step, limner_step


def tokenizer_pairs() -> tuple[Step, Callable[[str, bool], Step]]:
    """Return the peer's step, and what makes that of a limner codec by name, in bf16 or fp32."""
    import torch
    from dalle_pytorch import DiscreteVAE

    from limner.codecs import create_codec
    from limner.train.losses import RECONSTRUCTION
    from limner.train.optimizer import create_optimizers

    images = torch.rand(BATCH, 3, SIZE, SIZE)
    sizes = {"num_layers": 3, "codebook_dim": 512, "hidden_dim": CHANNELS, "num_resnet_blocks": 1}
    peer = DiscreteVAE(image_size=SIZE, num_tokens=8192, **sizes)
    parameters("dalle_pytorch DiscreteVAE", peer)
    peer_step = stepper(
        lambda: peer(images, return_loss=True),
        torch.optim.AdamW(peer.parameters(), lr=RATE),
        bf16(False),
    )
    shape = {
        "size": SIZE,
        "encoder_channels": (CHANNELS,) * 3,
        "decoder_channels": (CHANNELS,) * 3,
        "encoder_blocks": (0, 0, 1),
        "decoder_blocks": (1, 0, 0),
    }
    codes = {"dvae": {"vocabulary": 8192, "dimensions": 512}, "fsq": {"levels": LEVELS}}
    scaled = images * 2 - 1

    def limner_step(name: str, low: bool) -> Step:
        codec = create_codec({"name": name, **codes[name], **shape})
        codec = codec.to(memory_format=torch.channels_last)
        parameters(f"limner {name}", codec)
        [optimizer] = create_optimizers(codec, "adamw", RATE, 0.01)

        def loss() -> object:
            output, _, auxiliary = codec(scaled)
            return RECONSTRUCTION[codec.likelihood](output.float(), scaled) + auxiliary

        return stepper(loss, optimizer, bf16(low))

    return peer_step, limner_step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("prior", "compiled", "tokenizer"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("dalle-pytorch", DALLE_PYTORCH, DALLE_PYTORCH_DEPS))
    import torch

    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    rows: list[Ratio] = []
    if options.only != "tokenizer":
        peer, make = prior_pair()
        kinds = {
            "prior step, fp32": (False, False, 1.25, "prior"),
            "prior step, bf16": (True, False, 2.5, "prior"),
            "prior step, fp32, compiled": (False, True, None, "compiled"),
            "prior step, bf16, compiled": (True, True, None, "compiled"),
        }
        for name, (low, compiled, target, group) in kinds.items():
            if options.only in (None, group):
                step = make(low, compiled)
                rows.append(interleave(peer, step, options.rounds, name=name, target=target))
    if options.only in (None, "tokenizer"):
        peer, make_codec = tokenizer_pairs()
        for codec, low in itertools.product(("dvae", "fsq"), (False, True)):
            name = f"tokenizer step, {codec} {'bf16' if low else 'fp32'}"
            step = make_codec(codec, low)
            rows.append(interleave(peer, step, options.rounds, name=name, target=1.5))
    report(rows, options.json)


if __name__ == "__main__":
    main()
