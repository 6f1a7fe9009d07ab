"""A DALL-E that PyPI's dalle-pytorch trains here, imported: does it draw what its own code draws?

    python benchmarks/import_dalle_pytorch.py [--seconds 600] [--captions 512] [--json FILE]

Its DiscreteVAE and DALLE learn rainbow shapes (shapes.py) for so many seconds of processor time, in
the notebook's way with a small prior, and are saved as train_dalle.py saves them. Held-out captions
are then drawn greedily by its own network and by limner from the imported file. Printed are the
greatest differences, in how many pictures a code differs, and how many pictures are the caption's
own. A code may differ where two are as likely but for rounding: then the logits say so.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parity_rows import Row, imported, row
from peers import DALLE_PYTORCH, DALLE_PYTORCH_DEPS, peer_python, rerun_in

LIMIT = 1e-4


def save(system: Any, folder: Path) -> Path:
    """Write a trained peer as `train_dalle.py --bpe_path tokenizer.json --hug` does."""
    import torch
    from rainbow_systems import WORDS
    from shapes import VOCABULARY
    from tokenizers import Tokenizer, models, pre_tokenizers

    sizes, codec = system.sizes, system.codec
    vae = {"image_size": 32, "num_layers": 3, "num_tokens": 256, "codebook_dim": 512,
           "hidden_dim": 64, "num_resnet_blocks": 2}  # fmt: skip
    assert (codec.image_size, codec.num_layers, codec.num_tokens) == (32, 3, 256)
    hparams = {
        "num_text_tokens": len(VOCABULARY) + 1, "text_seq_len": WORDS, "dim": sizes.dim,
        "depth": sizes.depth, "heads": sizes.heads, "dim_head": sizes.dim // sizes.heads,
        "reversible": False, "loss_img_weight": 7, "attn_types": ("full",), "attn_dropout": 0.1,
        "ff_dropout": 0.1, "stable": False, "shift_tokens": True, "rotary_emb": True,
    }  # fmt: skip
    folder.mkdir()
    saved = {"hparams": hparams, "vae_params": vae, "epoch": 0, "version": "1.6.6",
             "vae_class_name": "DiscreteVAE", "weights": system.prior.state_dict()}  # fmt: skip
    torch.save(saved, folder / "dalle.pt")
    words = {"[PAD]": 0} | {word: number for number, word in enumerate(VOCABULARY, 1)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def compare(system: Any, model: Any, captions: list[str]) -> tuple[list[Row], Any, Any]:
    """Return the rows of all that is compared, and the pixels that both draw."""
    import torch

    from limner.sampling.tokens import TokenSampling

    theirs, ours, logits = system.draw(captions), [], []
    greedy = TokenSampling(top_k=1)
    for text in model.read(captions).split(model.prior.batch_rows):
        *_, codes = model.prior.stream(text, greedy, [0] * len(text))
        ours.append(codes)
    drawn = torch.cat(ours).flatten(1)
    # The logits of every step, given the codes that its own network drew.
    for text, words, codes in zip(
        model.read(captions).split(64), system.words(captions).split(64), theirs.split(64),
        strict=True,
    ):  # fmt: skip
        told = model.prior(text, codes.view(-1, 4, 4))[:, :, 0]
        logits.append(row("", told, system.prior(words, codes)[:, words.shape[1] :, -256:]))
    greatest = max(each.max_difference for each in logits)
    painted = torch.cat([model.codec.decode(part.view(-1, 4, 4)) for part in theirs.split(64)])
    wanted = torch.cat([system.codec.decode(part) for part in theirs.split(64)]).clamp(-1, 1)
    changed = (drawn != theirs).any(1).sum()
    rows = [
        Row("logits, step by step", [len(captions), *logits[0].shape[1:]], greatest),
        Row("codes, greedy: pictures with another", list(drawn.shape), float(changed)),
        row("pixels in [-1, 1]", painted, wanted),
    ]
    return rows, system.decode(theirs), model.codec.decode(drawn.view(-1, 4, 4))


def main() -> None:
    """Train, save, import, draw and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="processor time of training")
    parser.add_argument("--captions", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("dalle-pytorch", DALLE_PYTORCH, DALLE_PYTORCH_DEPS))
    import torch
    from rainbow import Judge, chosen_captions
    from rainbow_systems import CORES, create_system, to_pixels
    from shapes import split

    import limner

    judge, (trained, held_out) = Judge(), split()
    wanted = chosen_captions(held_out, options.captions)
    system = create_system("dalle-pytorch-small", 0)
    captions = [judge.drawings[index].caption for index in trained]
    system.train(judge.pictures[trained], captions, options.seconds / CORES)
    print(f"{options.seconds:.0f} s: {' + '.join(map(str, system.steps))} steps", flush=True)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as place:
        folder = save(system, Path(place) / "in")
        model = limner.load(imported(folder, Path(place) / "out"))
        asked = [judge.drawings[index].caption for index in wanted]
        rows, theirs, ours = compare(system, model, asked)
    for each in rows:
        print(f"{each.name:<40}{'x'.join(map(str, each.shape)):>16}{each.max_difference:>12.2g}")
    for name, pixels in (("its own", theirs), ("limner", to_pixels(ours))):
        exact = judge.exact(pixels, wanted).mean()
        print(f"held-out captions drawn right by {name}: {exact:.3f} of {len(wanted)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in rows], indent=1))
    if rows[0].max_difference > LIMIT or rows[1].max_difference or rows[2].max_difference > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
