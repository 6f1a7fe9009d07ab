"""minDALL-E against its restatement in tests/convert, and ruDALL-E against PyPI rudalle.

They are checks of `benchmarks/parity.py`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity_rows import Row, drawn, imported, liven, row

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
    mindalle.write(folder / "in", sizes)  # a pickle is written without a copy of its tensors
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


def rudalle(folder: Path) -> Iterator[Row]:
    """ruDALL-E's shape, Malevich: 24 layers of 2048, 1024 codes of 8192, 128 text positions."""
    yield from _rudalle(folder, 24, 3)


def rudalle_4(folder: Path) -> Iterator[Row]:
    """The same with 4 layers, for a machine of little memory, in both of its versions."""
    for version in (3, 2):
        yield from _rudalle(folder / str(version), 4, version)


def _reference(name: str) -> Any:
    """Return a module of PyPI rudalle; its packages import what is not needed here."""
    from importlib import import_module
    from importlib.util import find_spec
    from types import ModuleType

    if "rudalle" not in sys.modules:
        spec = find_spec("rudalle")  # found, and not run
        assert spec is not None and spec.origin is not None
        for package in ("rudalle", "rudalle.dalle", "rudalle.vae"):
            module = ModuleType(package)
            module.__path__ = [str(Path(spec.origin).parent.parent / package.replace(".", "/"))]
            sys.modules[package] = module
    return import_module(name)


def _malevich(layers: int, version: int) -> Any:
    """Return a transformer of PyPI rudalle, the same weights each time."""
    import torch

    torch.manual_seed(0)
    sizes = {"embedding_dropout_prob": 0, "output_dropout_prob": 0, "attention_dropout_prob": 0}
    made = _reference("rudalle.dalle.model").DalleModel(
        "cpu", num_layers=layers, vocab_size=16384 + 128, hidden_size=2048, num_attention_heads=16,
        image_vocab_size=8192, cogview_sandwich_layernorm=True, cogview_pb_relax=True,
        hf_version=f"v{version}", **sizes,
    ).eval()  # fmt: skip
    liven(made)
    return made


def _rudalle(folder: Path, layers: int, version: int) -> Iterator[Row]:
    import torch

    import limner
    from limner.sampling.tokens import TokenSampling
    from tests.convert import rudalle, vqgan

    # 1. The transformer is theirs; the VQGAN is taming's, restated; the tokenizer a small one.
    vqgan.CHANNELS, vqgan.LATENT, vqgan.DIMENSIONS = 128, 256, 256
    shape = rudalle.Sizes(codes=8192, widths=(1, 1, 2, 4))
    codec = rudalle.random_vqgan(shape)
    (folder / "in").mkdir(parents=True)
    rudalle.write_tokenizer(folder / "in")
    torch.save(_malevich(layers, version).state_dict(), folder / "in" / "pytorch_model.bin")
    torch.save({"state_dict": codec}, folder / "in" / "vqgan.gumbelf8-sber.model.ckpt")
    # 2. Every step, by the cache; ours is let go before the same weights come again.
    model = limner.load(imported(folder / "in", folder / "out"))
    prompt = "кот на столе"
    codes, told = drawn(model, model.read([prompt]), TokenSampling(top_k=1))
    grid, first = codes.view(1, 32, 32), model.prior.prefix - 1
    painted = model.codec.decode(grid)
    model = None
    # 3. One pass of theirs over what was drawn.
    ids = rudalle.tokenize(prompt)
    text = torch.tensor([ids + [0] * (128 - len(ids))])
    mask = torch.ones(1, 1, 1152, 1152).tril()
    logits, _ = _malevich(layers, version)(torch.cat([text, codes], 1), mask)
    wanted = logits[0, first:][:1024, -8192:]
    name = f"ru-dalle, {layers} layers, version {version}"
    yield row(f"{name}: logits, step by step", told, wanted)
    yield row(f"{name}: codes, greedy", codes[0], wanted.argmax(-1))
    pixels = vqgan.decode(codec, grid).clamp(-1, 1)
    yield row("ru-dalle pixels in [-1, 1]", painted, pixels)
