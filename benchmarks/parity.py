"""Imported checkpoints against the libraries that they are of, at real shapes, with random weights.

    python benchmarks/parity.py [NAME ...] [--json FILE]

Each check makes the peer's own networks with random weights, saves them as the peer does, imports
the files with limner, and prints the greatest difference of every output. Weights of the public
models are not needed: two programs that compute the same give the same with any weights. A
difference above 1e-4 ends with code 1. Peers are installed under .cache/peers, as for the other
benchmarks; LlamaGen, minDALL-E, VAR and Infinity, which are no packages, are restated there. Rows
"to fp64" have the restatement of tests/convert in double precision beside them: how far fp32 itself
is off.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parity_amused import amused
from parity_clip import clip, open_clip, siglip
from parity_gpt2 import mindalle, mindalle_12, rudalle, rudalle_4
from parity_infinity import infinity_125m
from parity_karlo import karlo_decoder, karlo_prior, karlo_upsampler
from parity_llamagen import llamagen_b, llamagen_l
from parity_rows import Row, drawn, imported, liven, row, write_words
from parity_var import var_d16
from peers import (
    DALLE_PYTORCH,
    DALLE_PYTORCH_DEPS,
    MIN_DALLE,
    MIN_DALLE_DEPS,
    OPEN_CLIP,
    OPEN_CLIP_DEPS,
    RUDALLE,
    RUDALLE_DEPS,
    peer_environment,
    peer_python,
)

LIMIT = 1e-4
DALL_E = ("DALL-E==0.1",)
DALL_E_DEPS = ("attrs", "requests")


def openai_dvae(folder: Path) -> Iterator[Row]:
    """The discrete VAE of PyPI dall-e: 8192 codes, 256 pixels."""
    import dall_e
    import torch

    from limner.train.parts import load_codec

    torch.manual_seed(0)
    encoder, decoder = dall_e.Encoder(), dall_e.Decoder()
    (folder / "in").mkdir()
    torch.save(encoder, folder / "in" / "encoder.pkl")  # whole modules, as OpenAI published them
    torch.save(decoder, folder / "in" / "decoder.pkl")
    codec, _ = load_codec(imported(folder / "in", folder / "out"))
    pixels = torch.rand(1, 3, 256, 256)
    logits = encoder(dall_e.map_pixels(pixels))
    yield row("openai-dvae logits", codec.logits(pixels * 2 - 1), logits)
    codes = logits.argmax(1)
    yield row("openai-dvae codes", codec.encode(pixels * 2 - 1), codes)
    one_hot = torch.nn.functional.one_hot(codes, 8192).permute(0, 3, 1, 2).float()
    theirs = dall_e.unmap_pixels(torch.sigmoid(decoder(one_hot)[:, :3]))
    yield row("openai-dvae pixels in [0, 1]", (codec.decode(codes) + 1) / 2, theirs)


def write_min_dalle(place: Path) -> tuple[Any, Any, Any]:
    """Write random parts of min-dalle as its files; return encoder, decoder and detokenizer."""
    import torch
    from min_dalle.models import DalleBartDecoder, DalleBartEncoder, VQGanDetokenizer
    from mini import TEXT, TOKENS

    torch.manual_seed(0)
    sizes = {"embed_count": 1024, "attention_head_count": 16, "glu_embed_count": 2730,
             "layer_count": 12, "device": "cpu"}  # fmt: skip
    encoder = DalleBartEncoder(text_token_count=TEXT, text_vocab_count=50264, **sizes).eval()
    decoder = DalleBartDecoder(image_vocab_count=TOKENS, **sizes).eval()
    detokenizer = VQGanDetokenizer().eval()
    place.mkdir()
    for part, name in ((encoder, "encoder"), (decoder, "decoder"), (detokenizer, "detoker")):
        liven(part)
        torch.save(part.state_dict(), place / f"{name}.pt")
    write_words(place, 50264)
    return encoder, decoder, detokenizer


def min_dalle(folder: Path) -> Iterator[Row]:
    """DALL-E mini of PyPI min-dalle: 12 layers of 1024, 64 text positions, 256 codes of 16384."""
    import torch
    from mini import CELLS, TEXT, TOKENS, PeerStep

    import limner
    from limner.sampling.tokens import TokenSampling

    torch.set_num_threads(len(os.sched_getaffinity(0)))  # min-dalle takes all that there are
    encoder, decoder, detokenizer = write_min_dalle(folder / "in")
    model = limner.load(imported(folder / "in", folder / "out"))
    # 1. The text: a prompt of a few words, and the empty one.
    ids = torch.ones(2, TEXT, dtype=torch.long)
    prompt = "a cat on a mat"
    (read,) = ([each - 1 for each in one if each] for one in model.read([prompt]).tolist())
    ids[0, :2], ids[1, : len(read)] = torch.tensor([0, 2]), torch.tensor(read)
    memory = encoder(ids)
    ours = model.prior.text(model.read([prompt]))[0, -len(read) :]
    yield row("min-dalle encoder states", ours, memory[1, : len(read)])
    # 2. Greedy drawing, each with its own cache: the guided logits of every step, and the codes.
    step = PeerStep(decoder, 1, memory)
    step.mask = ids.ne(1)[:, None, None, :]
    tokens, theirs, plain = torch.tensor([TOKENS - 1]), [], []
    for cell in range(CELLS):
        untold, told = step.logits(tokens, cell)
        theirs.append(untold * (1 - 16) + told * 16)
        plain.append(told)
        tokens = theirs[-1].argmax(-1, keepdim=True)
    guided, text = torch.stack(theirs), model.read([prompt])
    codes, _ = drawn(model, text, TokenSampling(top_k=1, guidance=15.0))
    yield row("min-dalle codes, greedy, factor 16", codes[0], guided.argmax(-1))
    known = guided.argmax(-1)[None], torch.ones(1, CELLS, dtype=torch.bool)
    _, told = drawn(model, text, TokenSampling(), known)
    yield row("min-dalle logits, step by step", told, torch.stack(plain))
    codes = known[0]
    # 3. How far each is from the same in double precision, with the factor that multiplies it.
    from tests.convert import mini as restated

    restated.HEADS, restated.WIDTH = 16, 1024
    states = [{name: each.double() for name, each in part.state_dict().items()}
              for part in (encoder, decoder)]  # fmt: skip
    seen = [restated.encode(states[0], each) for each in ([0, 2], read)]
    restated.CODES, restated.BEGIN = TOKENS, TOKENS - 1
    untold, exact = (restated.logits(states[1], each, codes[0]) for each in seen)
    yield row("min-dalle logits, to fp64", told.double(), exact)
    yield row("min-dalle's own logits, to fp64", torch.stack(plain).double(), exact)
    # 4. The picture.
    pixels = detokenizer(False, codes)[None].permute(0, 3, 1, 2) / 255
    painted = (model.codec.decode(codes.view(1, 16, 16)) + 1) / 2
    yield row("min-dalle pixels in [0, 1]", painted, pixels)


def taming_vqgan(folder: Path) -> Iterator[Row]:
    """The VQGAN f16 of taming-transformers: 16384 codes, 256 pixels."""
    import torch
    from taming.modules.diffusionmodules.model import Decoder, Encoder

    from limner.train.parts import load_codec

    torch.manual_seed(0)
    sizes = {"ch": 128, "out_ch": 3, "ch_mult": (1, 1, 2, 2, 4), "num_res_blocks": 2,
             "attn_resolutions": [16], "in_channels": 3, "resolution": 256, "z_channels": 256,
             "double_z": False}  # fmt: skip
    parts = {
        "encoder": Encoder(**sizes), "decoder": Decoder(**sizes),
        "quant_conv": torch.nn.Conv2d(256, 256, 1), "post_quant_conv": torch.nn.Conv2d(256, 256, 1),
    }  # fmt: skip
    codebook = torch.randn(16384, 256)
    state = {"quantize.embedding.weight": codebook}
    for name, part in parts.items():
        liven(part.eval())
        state |= {f"{name}.{key}": each for key, each in part.state_dict().items()}
    torch.save({"state_dict": state}, folder / "last.ckpt")
    codec, _ = load_codec(imported(folder / "last.ckpt", folder / "out"))
    images = torch.rand(1, 3, 256, 256) * 2 - 1
    vectors = parts["quant_conv"](parts["encoder"](images))
    yield row("taming-vqgan f16 encoder", codec.encoder(images), vectors)
    flat = vectors.permute(0, 2, 3, 1).reshape(-1, 256)
    codes = torch.cdist(flat.double(), codebook.double()).argmin(1).view(1, 16, 16)
    yield row("taming-vqgan f16 codes", codec.encode(images), codes)
    theirs = parts["decoder"](parts["post_quant_conv"](codebook[codes].permute(0, 3, 1, 2)))
    yield row("taming-vqgan f16 pixels in [-1, 1]", codec.decode(codes), theirs.clamp(-1, 1))


def dalle_pytorch(folder: Path) -> Iterator[Row]:
    """A DALL-E of DALLE-pytorch: 8 layers of 512 with shift and rotary, 64 + 256 positions."""
    import dalle_pytorch as theirs
    import torch
    from tokenizers import Tokenizer, models

    import limner
    from limner.sampling.tokens import TokenSampling

    torch.manual_seed(0)
    vae = {"image_size": 128, "num_layers": 3, "num_tokens": 1024, "codebook_dim": 256,
           "hidden_dim": 64, "num_resnet_blocks": 1}  # fmt: skip
    hparams = {
        "num_text_tokens": 1000, "text_seq_len": 64, "dim": 512, "depth": 8, "heads": 8,
        "dim_head": 64, "attn_types": ("full",), "shift_tokens": True, "rotary_emb": True,
    }  # fmt: skip
    dalle = theirs.DALLE(vae=theirs.DiscreteVAE(**vae), **hparams).eval()
    liven(dalle)
    place = folder / "in"
    place.mkdir()
    saved = {"hparams": hparams, "vae_params": vae, "weights": dalle.state_dict()}
    torch.save(saved, place / "dalle.pt")
    words = {f"word{number}": number for number in range(1000)}
    Tokenizer(models.WordLevel(words, unk_token="word0")).save(str(place / "tokenizer.json"))
    model = limner.load(imported(place, folder / "out"))
    text = torch.zeros(1, 64, dtype=torch.long)
    text[0, 0] = 7
    codes, told = drawn(model, model.read(["word7"]), TokenSampling(top_k=1))
    logits = dalle(text.clone(), codes)[0, 64:, -1024:]
    yield row("dalle-pytorch logits, step by step", told, logits)
    yield row("dalle-pytorch codes, greedy", codes[0], logits.argmax(-1))
    painted = model.codec.decode(codes.view(1, 16, 16))
    yield row("dalle-pytorch pixels in [-1, 1]", painted, dalle.vae.decode(codes).clamp(-1, 1))


CHECKS: dict[str, tuple[Callable[[Path], Iterator[Row]], tuple[str, ...], tuple[str, ...]]] = {
    "openai-dvae": (openai_dvae, DALL_E, DALL_E_DEPS),
    "min-dalle": (min_dalle, MIN_DALLE, MIN_DALLE_DEPS),
    "taming-vqgan": (taming_vqgan, DALLE_PYTORCH, DALLE_PYTORCH_DEPS),
    "dalle-pytorch": (dalle_pytorch, DALLE_PYTORCH, DALLE_PYTORCH_DEPS),
    "clip": (clip, (), ()),
    "siglip": (siglip, (), ()),
    "open-clip": (open_clip, OPEN_CLIP, OPEN_CLIP_DEPS),
    "llamagen-b": (llamagen_b, (), ()),
    "llamagen-l": (llamagen_l, (), ()),
    "mindall-e": (mindalle, (), ()),
    "mindall-e-12": (mindalle_12, (), ()),
    "ru-dalle": (rudalle, RUDALLE, RUDALLE_DEPS),
    "ru-dalle-4": (rudalle_4, RUDALLE, RUDALLE_DEPS),
    "amused": (amused, (), ()),
    "var-d16": (var_d16, (), ()),
    "infinity-125m": (infinity_125m, (), ()),
    "karlo-decoder": (karlo_decoder, (), ()),
    "karlo-prior": (karlo_prior, (), ()),
    "karlo-upsampler": (karlo_upsampler, (), ()),
}


def inside(name: str) -> None:
    """Run one check under the peer's Python, and print its lines as JSON."""
    import torch

    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        for each in CHECKS[name][0](Path(folder)):
            print(json.dumps(asdict(each)), flush=True)


def main() -> None:
    """Run the checks, each in its peer's environment, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], help="which; all without any")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside)
        return
    rows: list[dict[str, Any]] = []
    for name in options.names or CHECKS:
        _, packages, deps = CHECKS[name]
        # One environment for each package, the same as of the other benchmarks.
        python: Path | str = sys.executable
        if packages:
            python = peer_python(packages[0].partition("==")[0].lower(), packages, deps)
        command = [str(python), __file__, "--inside", name]
        ran = subprocess.run(
            command, env=peer_environment(), stdout=subprocess.PIPE, text=True, check=True
        )
        for line in ran.stdout.splitlines():
            if line.startswith("{"):
                rows.append(json.loads(line))
                each = rows[-1]
                shown = f"{each['shape']!s:22} {each['max_difference']:.1e}"
                print(f"{each['name']:40} {shown}", flush=True)
        if options.json is not None:  # after each, as some take minutes
            options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if not all(each["max_difference"] <= LIMIT for each in rows):  # what is no number fails too
        sys.exit("limner and a peer do not compute the same")


if __name__ == "__main__":
    main()
