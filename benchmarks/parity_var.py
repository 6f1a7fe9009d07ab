"""VAR against its restatement in tests/convert, for `benchmarks/parity.py`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from parity_rows import Row, drawn, imported, row


def var_d16(folder: Path) -> Iterator[Row]:
    """VAR-d16: 16 layers of 1024, ten maps of 680 codes of 4096, 1000 classes, and its VQ-VAE."""
    import torch

    import limner
    from limner.codecs.var import SCALES
    from limner.sampling.tokens import TokenSampling
    from tests.convert import var, vqgan

    vqgan.CHANNELS, vqgan.LATENT, vqgan.DIMENSIONS = 160, 32, 32
    sizes = var.Sizes(
        width=1024, heads=16, layers=16, hidden=4096, codes=4096, classes=1000, sides=SCALES,
        levels=(1, 1, 2, 2, 4),
    )  # fmt: skip
    var.write(folder / "in", sizes)
    model = limner.load(imported(folder / "in", folder / "out"))
    state, vae = var.random_transformer(sizes), var.random_vae(sizes)
    text = torch.tensor([[208]])  # class 207
    sampling = TokenSampling(top_k=1, guidance=4.0, guidance_schedule="ramp")
    codes, guided = drawn(model, text, sampling)
    wanted = var.guided(state, vae, 207, codes[0], 4.0, sizes)
    yield row("VAR-d16 codes, greedy, cfg 4", codes[0], wanted.argmax(-1))
    # 5 times one logit less 4 times another: its difference is said, and is no row.
    print(f"guided logits differ by {float((guided - wanted).abs().max()):.1e}", file=sys.stderr)
    known = codes, torch.ones(1, len(codes[0]), dtype=torch.bool)
    _, told = drawn(model, text, TokenSampling(), known)
    plain = var.guided(state, vae, 207, codes[0], 0.0, sizes)
    yield row("VAR-d16 logits, map by map", told, plain)
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    yield row("VAR VQ-VAE codes", model.codec.encode(images), var.encode(vae, images, sizes))
    painted, pixels = model.codec.decode(codes), var.decode(vae, codes[0], sizes)
    yield row("VAR VQ-VAE pixels in [-1, 1]", painted, pixels)
