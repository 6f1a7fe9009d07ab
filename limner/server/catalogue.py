"""The models that a server offers: their names, their aliases, and those that are in memory."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from limner import registry
from limner.errors import UsageError, quote
from limner.files.public import PUBLIC
from limner.gan.drawing import GanSampling
from limner.pipelines.base import DrawingBase
from limner.sampling.diffusion import DiffusionSampling
from limner.sampling.tokens import TokenSampling
from limner.server.config import ServerConfig
from limner.server.errors import ApiError

Pipeline = DrawingBase[Any]
ALIASES = ("dall-e-2", "dall-e-3", "gpt-image-1")  # that are listed
_PREFIXES = ("gpt-image-", "chatgpt-image-")  # whatever stands behind
_COPIES = 2  # the weights, and the copy that drawing packs
_SAMPLING: Mapping[str, type[Any]] = {
    "dalle": TokenSampling, "unclip": DiffusionSampling, "gan": GanSampling,
}  # fmt: skip


@dataclass(frozen=True)
class Offer:
    """A model under the name that requests give; `place` is ours alone. Size in pixels."""

    id: str
    place: str
    family: str
    size: int
    sha256: str
    bytes: int  # in memory, about
    created: int  # seconds since 1970

    @property
    def varies(self) -> bool:
        """Whether it draws pictures like a given one."""
        return self.family == "unclip"

    @property
    def values(self) -> frozenset[str]:
        """The sampling values that its family knows."""
        return frozenset(each.name for each in fields(_SAMPLING[self.family]))


class Catalogue:
    """The offers, the first the usual one, and the pipelines that are loaded.

    `cap` is how many bytes of weights are held at once; 0 is half of the machine's memory. Raises
    as `registry.check`, and UsageError for a model larger than the cap or two of one name.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        aliases: bool = True,
        cap: float = 0,
        load: Callable[[str], Pipeline] = registry.load_to_draw,
    ) -> None:
        self.aliases, self.load = aliases, load
        self.cap = cap or _memory() / 2
        chosen = names or [each.name for each in registry.list_models() if each.family in _SAMPLING]
        self.offers: dict[str, Offer] = {}
        for place in chosen:
            offer = _offer(place)
            if offer.id in self.offers:
                raise UsageError(
                    f"two models are called {quote(offer.id)}; serve one of them", param="model"
                )
            if offer.bytes > self.cap:
                raise UsageError(
                    f"the model {quote(offer.id)} takes about {offer.bytes / 2**30:.1f} GiB, more "
                    f"than the {self.cap / 2**30:.1f} GiB for weights; raise --memory",
                    param="memory",
                )
            self.offers[offer.id] = offer
        self.usual = next(iter(self.offers.values()))
        self._loaded: OrderedDict[str, Pipeline] = OrderedDict()
        self._loading = threading.Lock()

    def find(self, asked: str | None, *, varies: bool = False) -> Offer:
        """Return the offer that a request names, the usual one for none or an alias; or 404.

        With `varies` an alias is the first model that varies pictures.
        """
        if asked in self.offers:
            return self.offers[str(asked)]
        if asked in (None, "") or self.is_alias(str(asked)):
            if varies:
                return next((each for each in self.offers.values() if each.varies), self.usual)
            return self.usual
        raise ApiError(
            404, f"there is no such model; the models are {', '.join(self.offers)}",
            param="model", code="model_not_found",
        )  # fmt: skip

    def is_alias(self, asked: str) -> bool:
        """Say whether a name is one of those that stand for the usual model."""
        return self.aliases and (asked in ALIASES or asked.startswith(_PREFIXES))

    def pipeline(self, offer: Offer) -> Pipeline:
        """Return a model's pipeline, loading it where it is not there; threads wait for another's.

        Those that were used longest ago make room, once what is drawn with them is done. Raises as
        `limner.load`.
        """
        with self._loading:
            if offer.id in self._loaded:
                self._loaded.move_to_end(offer.id)
                return self._loaded[offer.id]
            while self._loaded and self.held + offer.bytes > self.cap:
                self._loaded.popitem(last=False)
            self._loaded[offer.id] = self.load(offer.place)
            return self._loaded[offer.id]

    @property
    def held(self) -> int:
        """How many bytes of weights are loaded, about."""
        return sum(self.offers[name].bytes for name in self.loaded)

    @property
    def loaded(self) -> list[str]:
        """The names of the models in memory."""
        return list(self._loaded)


def catalogue_of(config: ServerConfig, device: str) -> Catalogue:
    """Return the models of a server's config, to be computed on a device; none is loaded yet.

    Raises as `Catalogue`.
    """

    def load(place: str) -> Pipeline:
        return registry.load_to_draw(place, device=device, precision=config.precision)

    cap = config.memory * 2**30
    return Catalogue(config.models, aliases=config.aliases, cap=cap, load=load)


def _offer(place: str) -> Offer:
    registry.check(place)
    inspection = registry.inspect(place)
    config = inspection.config
    return Offer(
        id=place if place in registry.PRESETS or place in PUBLIC else config.name,
        place=place,
        family=config.family,
        size=config.size,
        sha256=inspection.info.sha256,
        bytes=_COPIES * 4 * inspection.parameters,
        created=int(time.time()),
    )


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
