"""What a run tells of making ready what it trains on, which may take as long as the training."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

EVERY = 20.0  # seconds between two lines

Part = TypeVar("Part")
log = logging.getLogger(__name__)


def telling(parts: Iterable[Part], name: str, total: int) -> Iterator[Part]:
    """Pass on `total` parts, and log now and then how far the making of `name` is."""
    began = last = time.monotonic()
    for number, part in enumerate(parts, start=1):
        now = time.monotonic()
        if now - last >= EVERY and number < total:
            last = now
            minutes = (now - began) * (total - number) / number / 60
            log.info(f"making {name}: {number / total:.0%}, about {minutes:.0f} minutes left")
        yield part
