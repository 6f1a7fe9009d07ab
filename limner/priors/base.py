"""What every prior shares: the codes it predicts, where cells lie, how rows are filled up.

Shapes: B pictures, T text positions (left-padded with 0), S cells of all maps, G codes a cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner.errors import ConfigError, UsageError
from limner.nn.checks import check_least
from limner.sampling.tokens import TokenSampling
from limner.text.encoders import check_text_encoder

Maps = tuple[tuple[int, int], ...]
Known = tuple[Tensor, Tensor]  # codes (B, S) or (B, S, G), and where they are known (B, S)


@dataclass(frozen=True)
class PriorConfig:
    """What a prior knows of its tokenizer and codec: `groups` codes a cell of `vocabulary` values.

    `maps` are rows and columns of the codec's token maps, coarse to fine, the last of them `grid`;
    none means `grid` alone. `levels` are those of finite scalar quantisation, where it has such.
    `text_encoder` holds the `name` and settings of one of TEXT_ENCODERS; {} is our own. It gives
    features of `width`, which is the prior's too.
    """

    text_vocabulary: int
    vocabulary: int
    grid: tuple[int, int] = (8, 8)
    groups: int = 1
    levels: tuple[int, ...] = ()
    maps: Maps = ()
    width: int = 256
    text_encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_least(self, "text_vocabulary", "vocabulary", "groups", "width")
        if min(self.grid) < 1:
            raise ConfigError(f"grid is {list(self.grid)}; expected at least 1 row and column")
        if any(level < 2 for level in self.levels):
            raise ConfigError(f"levels is {list(self.levels)}; expected each to be at least 2")
        shown = [list(each) for each in self.maps]
        if any(min(each) < 1 for each in self.maps):
            raise ConfigError(f"maps is {shown}; expected at least 1 row and column in each")
        if self.maps and self.maps[-1] != self.grid:
            raise ConfigError(
                f"maps is {shown} for a grid of {list(self.grid)}; expected the grid as the last"
            )
        check_text_encoder(self)


class PriorBase(nn.Module):
    """Text ids (B, T) to codes (B, S) or (B, S, G); a prior is this and one file.

    Cells of several maps stand one map after the other. `batch_rows` is how many pictures
    `stream` draws together: fixed, so that a picture never depends on its company. `nll_kind` says
    in words what the likelihood is of. Where it `takes_processors`, `stream` has an argument more:
    functions of the codes so far (B, K), flat, and the logits (B, V) of the next one; where it
    `mixes_guidance`, one more: `guidance`, that of each picture.
    """

    nll_kind: ClassVar[str] = "each code after those before it"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    speculates: ClassVar[bool] = False
    takes_processors: ClassVar[bool] = False
    mixes_guidance: ClassVar[bool] = False
    precision: str = "fp32"
    config: Any
    text: Any  # ids (B, T) to features (B, T, D)

    @property
    def batch_rows(self) -> int:
        """How many pictures `stream` draws together at most."""
        return 4

    @property
    def maps(self) -> Maps:
        """Rows and columns of each token map, coarse to fine."""
        return self.config.maps or (self.config.grid,)

    @property
    def length(self) -> int:
        """How many cells all maps have together, S."""
        return sum(rows * columns for rows, columns in self.maps)

    @property
    def steps(self) -> int:
        """How often `stream` yields; by default after every cell."""
        return self.length

    @property
    def any_order(self) -> bool:
        """Whether it can learn the cells of a picture in any order; most cannot."""
        return False

    def sample_order(self, codes: Tensor, generator: torch.Generator, random: float) -> Any:
        """Return what `loss` takes as its third argument in a step of training; None for nothing.

        `random` is the share of pictures whose cells come in random order, where `any_order`.
        """
        return None

    @torch.no_grad()
    def begin_as(self, other: "PriorBase") -> None:
        """Take what has the same name and shape from a prior of another kind over the same codes.

        It knows what the words mean and what the codes look like; the rest begins as it is.
        """
        given = other.state_dict()
        for name, own in self.state_dict().items():
            if name in given and given[name].shape == own.shape:
                own.copy_(given[name])

    def loss(self, text: Tensor, codes: Tensor, sampled: Any = None) -> Tensor:
        """Return the mean negative log-likelihood in nats a code, of what `sample_order` gave."""
        logits = self(text, codes, sampled)
        return F.cross_entropy(logits.flatten(0, 2).float(), codes.flatten())

    def nll(self, text: Tensor, codes: Tensor, sampled: Any = None) -> Tensor:
        """Return the negative log-likelihood (B, S, G) of each code, teacher-forced, in order."""
        logits: Tensor = self(text, codes, *([] if sampled is None else [sampled]))
        each = F.cross_entropy(logits.flatten(0, 2).float(), codes.flatten(), reduction="none")
        return each.view(logits.shape[:3])

    def stream(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seeds: Sequence[int],
        known: Known | None = None,
    ) -> Iterator[Tensor]:
        """Draw codes for text (B, T), yielding (B, <= S) or (B, <= S, G) `steps` times.

        Picture i uses `seeds[i]` alone. `known` are codes, and where they are taken in place of
        drawn ones. Raises UsageError for more than `batch_rows` pictures.
        """
        raise NotImplementedError

    def redraw(
        self,
        text: Tensor,
        sampling: TokenSampling,
        seed: int,
        known: Known,
        candidates: int,
        processors: Sequence[Any] = (),
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw what is not known of one picture, yielding codes (K, <= S[, G]) and scores (K,).

        For text (1, T), `known` codes (1, S[, G]) and where they are known (1, S), K `candidates`;
        a score is how likely, in nats, a candidate makes the known codes. All hangs on seed and K.
        """
        given, keep = known
        seeds = candidate_seeds(seed, candidates)
        more = {"processors": processors} if processors else {}
        finished = list[Tensor]()
        for first in range(0, candidates, self.batch_rows):
            some = seeds[first : first + self.batch_rows]
            rows = (given.expand(len(some), *given.shape[1:]), keep.expand(len(some), -1))
            codes = given[:, :0]
            for codes in self.stream(text.expand(len(some), -1), sampling, some, rows, **more):
                yield codes, torch.zeros(len(codes), dtype=torch.float64)
            finished.append(codes)
        codes = torch.cat(finished)
        yield codes, self.known_nats(text, codes, keep)

    def known_nats(self, text: Tensor, codes: Tensor, keep: Tensor) -> Tensor:
        """Return how likely codes (K, S[, G]) make those of them that were known, nats (K,)."""
        nats = self.nll(text.expand(len(codes), -1), codes).double().sum(2)  # (K, S)
        return -(nats * keep).sum(1)

    def fill(self, rows: Tensor) -> Tensor:
        """Return `batch_rows` rows: the given ones, and the last again in the missing places."""
        missing = self.batch_rows - len(rows)
        if missing < 0:
            raise UsageError(
                f"{len(rows)} pictures at once; this prior draws at most {self.batch_rows}"
            )
        return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows

    def known_rows(self, known: Known | None) -> Known | None:
        """Return known codes (batch_rows, S, G) and where they are known (batch_rows, S, 1)."""
        if known is None:
            return None
        shape = (self.batch_rows, self.length, self.config.groups)
        return self.fill(known[0]).reshape(shape), self.fill(known[1])[..., None]

    def noise(self, seeds: Sequence[int], rows: int, columns: int, device: Any) -> Tensor:
        """Return uniform numbers (batch_rows, rows, columns), a picture's by its own seed."""
        drawn = torch.stack([uniforms(seed, rows, columns) for seed in seeds])
        return self.fill(drawn.to(device))

    def unpad(self, codes: Tensor, count: int) -> Tensor:
        """Return the first `count` rows of codes (B, S, G); with one code a cell without G."""
        return codes[:count] if self.config.groups > 1 else codes[:count, :, 0]


def cell_coordinates(maps: Maps) -> Tensor:
    """Return row and column (S, 2) of every cell's centre, counted in cells of the finest map."""
    finest = torch.tensor(maps[-1])  # a coarse cell lies amid the fine ones that it covers
    found = []
    for rows, columns in maps:
        pairs = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2)
        found.append((pairs + 0.5) * (finest / torch.tensor([rows, columns])) - 0.5)
    return torch.cat(found)


def map_slices(maps: Maps) -> list[slice]:
    """Return where the cells of each map stand among all S."""
    ends = [0]
    for rows, columns in maps:
        ends.append(ends[-1] + rows * columns)
    return [slice(first, end) for first, end in pairwise(ends)]


def candidate_seeds(seed: int, count: int) -> list[int]:
    """Return the seeds of candidates for one picture; the first is the picture's own."""
    generator = torch.Generator().manual_seed(seed)
    more = torch.randint(2**62, (count - 1,), generator=generator)
    return [seed, *more.tolist()]


def uniforms(seed: int, cells: int, groups: int) -> Tensor:
    """Return uniform numbers (cells, groups) in [0, 1) in fp64, a pure function of the seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(cells, groups, generator=generator, dtype=torch.float64)
