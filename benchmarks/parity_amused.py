"""aMUSEd against diffusers' modules at its real shapes, for `benchmarks/parity.py`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from parity_rows import Row, imported, row

PROMPTS = ["a red apple", ""]
TOWER = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768, "max_position_embeddings": 77,
}  # fmt: skip
NETWORK = {
    "hidden_size": 1024, "cond_embed_dim": 768, "micro_cond_encode_dim": 256,
    "micro_cond_embed_dim": 1280, "encoder_hidden_size": 768, "vocab_size": 8256,
    "codebook_size": 8192, "in_channels": 768, "block_out_channels": 768, "num_res_blocks": 3,
    "block_num_heads": 12, "num_hidden_layers": 22, "num_attention_heads": 16,
    "intermediate_size": 2816, "sample_size": 16,
}  # fmt: skip
VQGAN = {
    "block_out_channels": (128, 256, 256, 512, 768), "latent_channels": 64,
    "down_block_types": ("DownEncoderBlock2D",) * 5, "up_block_types": ("UpDecoderBlock2D",) * 5,
    "num_vq_embeddings": 8192,
}  # fmt: skip


def amused(folder: Path) -> Iterator[Row]:
    """aMUSEd-256's shape: 22 layers of 1024, 256 codes of 8192, 77 text positions, 12 passes."""
    import torch

    import limner
    from limner.sampling.tokens import TokenSampling
    from tests.convert import amused as theirs

    parts = theirs.write(folder / "in", text_encoder=TOWER, transformer=NETWORK, vqvae=VQGAN)
    model = limner.load(imported(folder / "in", folder / "out"))
    # 1. The text, and logits of a grid of which half is hidden, with a text and without.
    texts = theirs.read(parts, PROMPTS, 77)
    states, last = model.prior.tower.states(model.read(PROMPTS[:1]))
    yield row("amused states of the text tower", states, texts[0][:1])
    yield row("amused vectors of the text tower", model.prior.pooled(last), texts[1][:1])
    codes = torch.randint(8192, (2, 16, 16))
    codes[:, ::2] = model.prior.mask
    ids = model.read(PROMPTS[:1])
    text = model.prior.text(torch.cat([ids, torch.zeros_like(ids)]))  # and the empty one
    wanted = theirs.logits(parts, texts, codes, 256)
    yield row("amused logits", model.prior.network(codes, *text), wanted)
    # 2. The first of 12 passes, greedy and guided: all cells are hidden, and each gets its code.
    model.prior.config = replace(model.prior.config, noise=0.0)
    passes = model.prior.stream(model.read(PROMPTS[:1]), TokenSampling(top_k=1, guidance=9.0), [0])
    hidden = torch.full((2, 16, 16), model.prior.mask)
    told, untold = theirs.logits(parts, texts, hidden, 256)
    guided = untold + 10 * (told - untold)
    yield row("amused codes of the first pass, greedy, scale 10", next(passes),
              guided.argmax(-1).view(1, -1))  # fmt: skip
    # 3. The VQGAN.
    pixels, grid = torch.rand(1, 3, 256, 256), torch.randint(8192, (1, 16, 16))
    found = model.codec.encode(pixels * 2 - 1)
    yield row("amused VQGAN codes", found, theirs.encode(parts, pixels))
    painted = (model.codec.decode(grid) + 1) / 2
    yield row("amused pixels in [0, 1]", painted, theirs.decode(parts, grid))
