"""How well pictures fit their sentences, by the unit vectors of a CLIP.

Vectors are (N, D), row i of the pictures belongs to row i of the texts. A CLIP that has not learned
a thing can't score it, and scores of two CLIPs can't be compared.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from limner.errors import UsageError
from limner.finish.rank import SCORE

CANDIDATES = 100  # sentences that a picture chooses from


def clip_scores(pictures: Tensor, texts: Tensor) -> Tensor:
    """Return the score (N,) of each picture with its text: 100 times the cosine, not below 0.

    Hessel 2021, arXiv 2104.08718, equation 1, with the weight 100 that is usual for text-to-image
    models instead of 2.5. Raises UsageError for sets of other sizes.
    """
    _check(pictures, texts)
    return SCORE * F.cosine_similarity(pictures.double(), texts.double()).clamp_min(0)


def r_precision(
    pictures: Tensor,
    texts: Tensor,
    sentences: Sequence[str],
    *,
    candidates: int = CANDIDATES,
    seed: int = 0,
) -> Tensor:
    """Return for each picture (N,) whether its sentence is the nearest of up to `candidates`.

    Xu 2018, arXiv 1711.10485, section 4.1, with R = 1. Raises UsageError for sets of other sizes,
    and where all sentences are one.
    """
    _check(pictures, texts)
    if len(sentences) != len(texts) or len(set(sentences)) < 2:
        raise UsageError("r_precision needs one sentence a picture, and two that differ")
    generator = torch.Generator().manual_seed(seed)
    firsts = {sentence: row for row, sentence in reversed(list(enumerate(sentences)))}
    rows = torch.tensor(list(firsts.values()))  # each sentence once
    places = {sentence: place for place, sentence in enumerate(firsts)}
    cosines = (F.normalize(pictures.double()) @ F.normalize(texts[rows].double()).T).cpu()
    found = []
    for row, sentence in enumerate(sentences):
        own = cosines[row, places[sentence]]
        # The others are drawn from sentences that read otherwise: two pictures may have one.
        order = torch.randperm(len(rows), generator=generator)
        others = order[order != places[sentence]][: candidates - 1]
        rivals = cosines[row, others]
        # Ties are shared: 1/2 where two are nearest.
        nearest = not bool((rivals > own).any())
        found.append(1 / (1 + int((rivals == own).sum())) if nearest else 0.0)
    return torch.tensor(found, dtype=torch.float64)


def _check(pictures: Tensor, texts: Tensor) -> None:
    if pictures.shape != texts.shape or pictures.ndim != 2:
        raise UsageError(
            f"pictures have the shape {tuple(pictures.shape)} and texts {tuple(texts.shape)}; "
            "give one vector for each picture and each text"
        )
