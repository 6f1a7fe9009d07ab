"""minDALL-E against its restatement in tests/convert, for `benchmarks/parity.py`."""

from collections.abc import Iterator
from pathlib import Path

from parity_rows import Row, drawn, imported, row

PROMPT = "the red apple"


def mindalle(folder: Path) -> Iterator[Row]:
    """minDALL-E's shape: 42 layers of 1536, 256 codes of 16384, 64 text positions."""
    yield from _mindalle(folder, 42)


def mindalle_12(folder: Path) -> Iterator[Row]:
    """The same with 12 layers, for a machine of little memory."""
    yield from _mindalle(folder, 12)


def _mindalle(folder: Path, layers: int) -> Iterator[Row]:
    import torch

    import limner
    from limner.sampling.tokens import TokenSampling
    from tests.convert import mindalle, vqgan

    vqgan.CHANNELS, vqgan.LATENT, vqgan.DIMENSIONS = 128, 256, 256
    sizes = mindalle.Sizes(
        width=1536, heads=24, layers=layers, rows=16384, codes=16384, length=64,
        widths=(1, 1, 2, 2, 4),
    )  # fmt: skip
    mindalle.write(folder / "in", sizes, pickled=False)
    model = limner.load(imported(folder / "in", folder / "out"))
    ids = mindalle.tokenize(folder / "in" / "tokenizer", PROMPT, 64)
    codes, told = drawn(model, model.read([PROMPT]), TokenSampling(top_k=1))
    painted = model.codec.decode(codes.view(1, 16, 16))
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    seen = model.codec.encode(images)
    model = None  # its memory, before the same weights come again
    wanted = mindalle.logits(mindalle.random_transformer(sizes), ids, codes[0], sizes)
    yield row(f"mindall-e, {layers} layers: logits, step by step", told, wanted)
    yield row(f"mindall-e, {layers} layers: codes, greedy", codes[0], wanted.argmax(-1))
    state = mindalle.random_vqgan(sizes)
    found = torch.cdist(
        vqgan.encode(state, images).flatten(2).mT.double(),
        state["quantize.embedding.weight"].double(),
    )
    yield row("mindall-e VQGAN codes", seen.flatten(1), found.argmin(-1))
    pixels = vqgan.decode(state, codes.view(1, 16, 16)).clamp(-1, 1)
    yield row("mindall-e pixels in [-1, 1]", painted, pixels)
