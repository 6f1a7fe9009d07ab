"""Codebook lookup against vector-quantize-pytorch and torch.cdist: ratios, and equal answers.

    python benchmarks/vq_vs_vector_quantize_pytorch.py [--rounds 5] [--json FILE]
        [--vectors 8192] [--codes 8192] [--dimensions 256]

The first rows set a peer's whole call against limner's lookup alone, as whoever looks codes up
would; the last two set the same work side by side, the forward pass of a quantiser with EMA. Both
are in one process, in turns. Targets hold at the default sizes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peers import VECTOR_QUANTIZE, VECTOR_QUANTIZE_DEPS, peer_python, rerun_in
from ratios import interleave, report
from torch import Tensor

from limner.codecs.lookup import nearest
from limner.nn.nearest import searches

SIZES = (8192, 8192, 256)
PAIRS = (
    ("peer, evaluation", "lookup", 9.0),
    ("peer, training (EMA)", "lookup", 9.0),
    ("torch.cdist().argmin()", "lookup", 2.0),
    ("peer, evaluation", "evaluation", None),
    ("peer, training (EMA)", "training (EMA)", None),
)


def agreement(codes: Tensor, wanted: Tensor) -> str:
    """Return in words how many codes are the wanted ones."""
    return f"{int((codes == wanted).sum())} of {len(wanted)}"


def brute_force(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the nearest codes by differences in fp64, the definition."""
    return torch.cat(
        [(row - codebook.double()).square().sum(-1).argmin()[None] for row in vectors.double()]
    )


def quantisers(codebook: Tensor) -> tuple[Any, Any, Any, Any]:
    """Return the peer's quantiser and limner's, of each one to evaluate and one to train."""
    from vector_quantize_pytorch import VectorQuantize

    from limner.codecs.codebook import CodebookOptions, VectorQuantizer

    size, width = codebook.shape
    theirs = [VectorQuantize(dim=width, codebook_size=size, decay=0.99) for _ in range(2)]
    running_means = CodebookOptions(update="ema", normalised=False)
    ours = [VectorQuantizer(size, width, running_means) for _ in range(2)]
    for peer in theirs:
        peer._codebook.embed.data.copy_(codebook)
        peer._codebook.embed_avg.data.copy_(codebook)
    for quantiser in ours:
        quantiser.codebook.copy_(codebook)
    return theirs[0].eval(), theirs[1], ours[0].eval(), ours[1]


def check_answers(vectors: Tensor, codebook: Tensor, peer: Any, checked: int) -> None:
    """Print how many codes each finds as limner does; exit where limner's are not the nearest."""
    codes = nearest(vectors, codebook)
    exact = brute_force(vectors[:checked], codebook)
    found = agreement(codes[:checked], exact)
    print(f"limner's codes that are those of fp64 brute force: {found}")
    print(f"the peer's codes that are limner's: {agreement(peer(vectors[None])[1][0], codes)}")
    by_distance = torch.cdist(vectors, codebook).argmin(-1)
    print(f"torch.cdist().argmin()'s codes that are limner's: {agreement(by_distance, codes)}")
    if not torch.equal(codes[:checked], exact):
        raise SystemExit("limner's answers are wrong; times of wrong answers mean nothing")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vectors", type=int, default=SIZES[0])
    parser.add_argument("--codes", type=int, default=SIZES[1])
    parser.add_argument("--dimensions", type=int, default=SIZES[2])
    parser.add_argument("--checked", type=int, default=256, help="vectors compared with fp64")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("vector-quantize-pytorch", VECTOR_QUANTIZE, VECTOR_QUANTIZE_DEPS))

    sizes = (options.vectors, options.codes, options.dimensions)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(sizes[0], sizes[2], generator=generator)
    codebook = torch.randn(sizes[1], sizes[2], generator=generator)
    peer, training_peer, ours, training_ours = quantisers(codebook)
    grid = vectors.T[None, :, None]  # (1, D, 1, N), as an encoder gives them
    work: dict[str, Callable[[], object]] = {
        "peer, evaluation": lambda: peer(vectors[None]),
        "peer, training (EMA)": lambda: training_peer(vectors[None]),
        "torch.cdist().argmin()": lambda: torch.cdist(vectors, codebook).argmin(-1),
        "lookup": lambda: nearest(vectors, codebook),
        "evaluation": lambda: ours(grid),
        "training (EMA)": lambda: training_ours(grid),
    }
    print(f"{sizes[0]} vectors, {sizes[1]} codes, {sizes[2]} dimensions, fp32")
    print(f"the native kernel searches: {'yes' if searches() else 'no'}")
    with torch.no_grad():
        check_answers(vectors, codebook, peer, options.checked)
        rows = [
            interleave(
                work[theirs],
                work[limners],
                options.rounds,
                name=f"{theirs} / {limners}",
                target=target if sizes == SIZES else None,
            )
            for theirs, limners, target in PAIRS
        ]
    report(rows, options.json)


if __name__ == "__main__":
    main()
