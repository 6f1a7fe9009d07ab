"""What it costs to begin: imports, the command line's first word, a first tiny picture.

    python benchmarks/startup.py [--rounds 7] [--json FILE]

Every figure is the wall time of a whole process; a round runs each process once, in turns. The
first pictures are of random weights and equal sizes: 32 pixels, 16 codes, width 64, two layers.
DALLE-pytorch has a stand-in for torchvision here, which spares it that import.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from peers import DALLE_PYTORCH, DALLE_PYTORCH_DEPS, peer_environment, peer_python
from ratios import from_seconds, report

IMPORT_BUDGET = 0.1  # seconds that `import limner` may add to a bare Python
HELP_BUDGET = 0.35  # seconds of `limner --help`
SIGN_BUDGET = 0.4  # seconds from Enter to the first word of `limner draw` on a terminal

LIMNER_IMAGE = """
import torch
import limner
from limner.codecs import create_codec
from limner.pipelines.dalle import Dalle
from limner.priors import create_prior
from limner.text.tokenizer import Tokenizer
channels = {"encoder_channels": (16, 16, 16), "decoder_channels": (16, 16, 16)}
codec = create_codec({"name": "fsq", "size": 32, "levels": (8, 8), **channels})
tokenizer = Tokenizer.train(["a red circle"], 300)
sizes = {"vocabulary": 64, "grid": (4, 4), "width": 64, "layers": 2, "heads": 2, "hidden": 172}
prior = create_prior({"name": "gpt", "text_vocabulary": tokenizer.vocabulary, **sizes})
model = Dalle(tokenizer, prior, codec, size=32, text_length=8)
assert limner.draw("a red circle", model=model, seed=0)[0].image.size == (32, 32)
"""

DRAWING = """
import limner
limner.draw, limner.load
import limner.codecs, limner.priors, limner.pipelines.dalle, limner.text.tokenizer
"""

PEER_IMAGE = """
import torch
from dalle_pytorch import DALLE, DiscreteVAE
vae = DiscreteVAE(image_size=32, num_layers=3, num_tokens=64, codebook_dim=64, hidden_dim=16)
sizes = {"dim": 64, "depth": 2, "heads": 2, "dim_head": 32, "text_seq_len": 8}
model = DALLE(vae=vae, num_text_tokens=300, **sizes)
assert model.generate_images(torch.randint(1, 300, (1, 8))).shape == (1, 3, 32, 32)
"""

HELP = """
import sys
sys.argv = ["limner", "--help"]
from limner.__main__ import run
run()
"""

PROGRAMS = {
    "python": "pass",
    "import torch": "import torch",
    "import limner": "import limner",
    "limner --help": HELP,
    "what drawing imports": DRAWING,
    "limner's first picture": LIMNER_IMAGE,
    "import dalle_pytorch": "import dalle_pytorch",
    "dalle_pytorch's first picture": PEER_IMAGE,
}


SIGN = "limner draw's first word"


def seconds_of(python: Path, program: str) -> float:
    """Return the wall seconds of a process that runs `program`."""
    command = [str(python), "-W", "ignore", "-c", program]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=peer_environment())
    return time.perf_counter() - began


def seconds_to_first_sign() -> float:
    """Return the wall seconds until `limner draw` says a word on a terminal; it is ended then."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "limner", "draw", "a cat"]
    environment = peer_environment() | {"TERM": "xterm"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        os.read(master, 1)
        seconds = time.perf_counter() - began
        process.terminate()
    os.close(master)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    peer = peer_python("dalle-pytorch", DALLE_PYTORCH, DALLE_PYTORCH_DEPS)
    taken: dict[str, list[float]] = {name: [] for name in (*PROGRAMS, SIGN)}
    for _ in range(options.rounds + 1):
        for name, program in PROGRAMS.items():
            python = peer if "dalle_pytorch" in name else Path(sys.executable)
            taken[name].append(seconds_of(python, program))
        taken[SIGN].append(seconds_to_first_sign())
    seconds = {name: values[1:] for name, values in taken.items()}
    for name, values in seconds.items():
        middle = sorted(values)[len(values) // 2]
        print(f"{name:<32}{middle:7.3f} s  [{min(values):.3f} - {max(values):.3f}]")
    print()
    added = [
        max(0.001, ours - bare)
        for ours, bare in zip(seconds["import limner"], seconds["python"], strict=True)
    ]
    torch, first = seconds["import torch"], seconds["what drawing imports"]
    theirs, ours = seconds["dalle_pytorch's first picture"], seconds["limner's first picture"]
    rows = [
        from_seconds("100 ms / what import limner adds", [IMPORT_BUDGET] * len(added), added, 1.0),
        from_seconds("350 ms / limner --help", [HELP_BUDGET] * len(added),
                     seconds["limner --help"], 1.0),
        from_seconds("400 ms / limner draw's first word", [SIGN_BUDGET] * len(added),
                     seconds[SIGN], 1.0),
        from_seconds("import torch / what drawing imports", torch, first, 1 / 1.05),
        from_seconds("import torch / limner's first picture", torch, ours, None),
        from_seconds("first tiny picture, dalle_pytorch / limner", theirs, ours, 3.0),
        from_seconds("import dalle_pytorch / what drawing imports",
                     seconds["import dalle_pytorch"], first, None),
    ]  # fmt: skip
    report(rows, options.json)


if __name__ == "__main__":
    main()
