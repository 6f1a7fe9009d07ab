"""Every prior, too small to draw anything, over codes of every shape that it can serve."""

from typing import Any

import torch
from torch import Tensor

from limner.priors import create_prior
from limner.sampling.tokens import TokenSampling

FREE = TokenSampling(temperature=1.2, top_k=12, top_p=0.95, min_p=0.01, guidance=1.5)
INTERVAL = TokenSampling(top_k=1, guidance=3.0, guidance_schedule="interval")
VOCABULARY = 24
SIZES: dict[str, dict[str, Any]] = {
    "gpt": {"layers": 2},
    "next_scale": {"layers": 2},
    "next_scale_crf": {"layers": 2, "rank": 6, "iterations": 2, "sweeps": 4},
    "crf": {"text_layers": 1, "layers": 2, "rank": 6, "iterations": 2, "sweeps": 4},
}
ONE_MAP_ALONE = ("crf",)
SHAPES: dict[str, dict[str, Any]] = {
    "one": {"grid": [3, 3]},
    "groups": {"grid": [3, 3], "groups": 2, "levels": [4, 3, 2]},
    "maps": {"grid": [3, 3], "maps": [[1, 1], [2, 2], [3, 3]]},
    "maps-groups": {"grid": [2, 2], "maps": [[1, 2], [2, 2]], "groups": 2},
}


def config_of(name: str, shape: str) -> dict[str, Any]:
    """Return the config of a small prior."""
    width = {"width": 32, "heads": 2, "hidden": 48}
    sizes = {"text_vocabulary": 20, "vocabulary": VOCABULARY, **width}
    return {"name": name, **sizes, **SIZES[name], **SHAPES[shape]}


def texts(count: int, length: int = 5) -> Tensor:
    """Return rows of text ids, each with another number of pads at its left."""
    ids = torch.randint(1, 20, (count, length), generator=torch.Generator().manual_seed(4))
    pads = torch.arange(count) % (length - 1)
    return ids.masked_fill(torch.arange(length)[None] < pads[:, None], 0)


def codes_for(prior: Any, count: int) -> Tensor:
    """Return random codes (count, S), or (count, S, G) where a cell has several."""
    groups = prior.config.groups
    shape = (count, prior.length, groups) if groups > 1 else (count, prior.length)
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(5))


def lively_gpt(shape: str) -> Any:
    """Return a random prior whose every part speaks up."""
    torch.manual_seed(0)
    prior = create_prior(config_of("gpt", shape)).eval()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return prior


@torch.no_grad()
def drawn(prior: Any, text: Tensor, sampling: TokenSampling, seeds: list[int]) -> Tensor:
    """Return the codes of a whole drawing."""
    codes: Tensor
    *_, codes = prior.stream(text, sampling, seeds)
    return codes
