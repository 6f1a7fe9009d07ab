"""LlamaGen against its restatement in tests/convert, for `benchmarks/parity.py`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from parity_rows import Row, drawn, imported, row


def llamagen_b(folder: Path) -> Iterator[Row]:
    """LlamaGen-B's shape: 12 layers of 768, 256 codes of 16384, 120 text positions."""
    yield from _llamagen(folder, "B", {"width": 768, "heads": 12, "layers": 12, "hidden": 2048})


def llamagen_l(folder: Path) -> Iterator[Row]:
    """LlamaGen-L's shape: 24 layers of 1024."""
    yield from _llamagen(folder, "L", {"width": 1024, "heads": 16, "layers": 24, "hidden": 2816})


def _llamagen(folder: Path, name: str, sizes: dict[str, int]) -> Iterator[Row]:
    import torch
    from torch.nn import functional as F

    import limner
    from limner.sampling.tokens import TokenSampling
    from tests.convert import llamagen, vqgan

    vqgan.CHANNELS, vqgan.LATENT, vqgan.CODES = 128, 256, 16384
    shape = llamagen.Sizes(codes=16384, length=120, states=2048, widths=(1, 1, 2, 2, 4), **sizes)
    t5 = llamagen.write(folder / "in", shape)
    model = limner.load(imported(folder / "in", folder / "out"))
    prompt = "three red apples under the night sky"
    text = model.read([prompt])
    ids = [each - 1 for each in text[0].tolist() if each]
    states, state = llamagen.states_of(t5, ids), llamagen.random_decoder(shape)
    yield row(f"llamagen-{name} states of T5", model.prior.encoder(text)[0, -len(ids) :], states)
    codes, guided = drawn(model, text, TokenSampling(top_k=1, guidance=6.5))
    wanted = llamagen.guided(state, states, codes[0], 7.5, shape)
    yield row(f"llamagen-{name} codes, greedy, scale 7.5", codes[0], wanted.argmax(-1))
    # 7.5 times one logit less 6.5 times another: its difference is said, and is no row.
    print(f"guided logits differ by {float((guided - wanted).abs().max()):.1e}", file=sys.stderr)
    known = codes, torch.ones(1, 256, dtype=torch.bool)
    _, told = drawn(model, text, TokenSampling(), known)
    plain = llamagen.logits(state, states, codes[0], shape)
    yield row(f"llamagen-{name} logits, step by step", told, plain)
    _, theirs = llamagen.random_tokenizer(shape)
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    vectors = F.normalize(vqgan.encode(theirs, images), dim=1)
    found = torch.cdist(
        vectors.flatten(2).mT.double(), theirs["quantize.embedding.weight"].double()
    )
    yield row("llamagen VQ-16 codes", model.codec.encode(images).flatten(1), found.argmin(-1))
    painted = model.codec.decode(codes.view(1, 16, 16))
    pixels = vqgan.decode(theirs, codes.view(1, 16, 16)).clamp(-1, 1)
    yield row("llamagen VQ-16 pixels in [-1, 1]", painted, pixels)
