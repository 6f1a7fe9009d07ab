"""Infinity against its restatement in tests/convert, for `benchmarks/parity.py`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from parity_rows import Row, imported, row


def infinity_125m(folder: Path) -> Iterator[Row]:
    """Infinity-125M's shape: 12 layers of 768, seven maps of 521 cells of 16 bits, 256 pixels."""
    import torch

    import limner
    from limner.sampling.tokens import TokenSampling
    from tests.convert import infinity, llamagen

    sizes = infinity.Sizes(
        width=768, heads=8, chunks=4, each=3, hidden=3072, bits=16, states=2048, length=512,
        pooling=16, channels=128, levels=(1, 2, 4, 4, 4),
    )  # fmt: skip
    t5 = infinity.write(folder / "in", sizes)
    model = limner.load(imported(folder / "in", folder / "out"))
    text = model.read(["three red apples under the night sky"])
    states = llamagen.states_of(t5, [each - 1 for each in text[0].tolist() if each])
    state, vae = infinity.random_transformer(sizes), infinity.random_vae(sizes)
    seen: list[torch.Tensor] = []

    def watch(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return logits

    sampling = TokenSampling(top_k=1, guidance=2.0)
    *_, codes = model.prior.stream(text, sampling, [0], processors=[watch])
    wanted = infinity.guided(state, states, codes[0], 3.0, sizes)
    yield row("Infinity-125M bits, greedy, cfg 3", codes[0], wanted.argmax(-1))
    maps = [torch.stack(seen[at : at + 16], 1) for at in range(0, len(seen), 16)]
    # 3 times one logit less 2 times another: its difference is said, and is no row.
    differs = float((torch.cat(maps) - wanted).abs().max())
    print(f"guided logits differ by {differs:.1e}", file=sys.stderr)
    plain = infinity.logits(state, states, codes[0], sizes)
    yield row("Infinity-125M logits", model.prior(text, codes)[0], plain)
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    yield row("Infinity VAE d16 bits", model.codec.encode(images), infinity.encode(vae, images))
    painted, pixels = model.codec.decode(codes), infinity.decode(vae, codes[0])
    yield row("Infinity VAE d16 pixels in [-1, 1]", painted, pixels)
