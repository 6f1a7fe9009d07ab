"""Pictures that have a URL: kept for an hour in a file without a name, a ring of fixed size.

The file is gone with the process, however that ends.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 3600.0  # that a URL is good for
ENDINGS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
TYPES = {ending: f"image/{kind}" for kind, ending in ENDINGS.items()}


@dataclass(frozen=True)
class _Place:
    start: int
    length: int
    until: float


class Pictures:
    """At most `size` bytes of pictures, each under a name of 256 random bits.

    The oldest make room for new ones, even before their hour is over.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size, self.clock = size, clock
        self._file = tempfile.TemporaryFile(prefix="limner-")  # noqa: SIM115  # ours until we end
        self._places: OrderedDict[str, _Place] = OrderedDict()  # the oldest first
        self._next = 0

    def keep(self, data: bytes, kind: str) -> str:
        """Keep a file of a format and return its name, with an ending."""
        if self._next + len(data) > self.size:
            self._next = 0
        start, end = self._next, self._next + len(data)
        now = self.clock()
        # What lies there, and what is past its time, goes; those are among the oldest.
        for name, place in list(self._places.items()):
            if place.until <= now or (place.start < end and start < place.start + place.length):
                del self._places[name]
        self._file.seek(start)
        self._file.write(data)
        self._file.flush()
        self._next = end
        name = f"{secrets.token_urlsafe(32)}.{ENDINGS[kind]}"
        self._places[name] = _Place(start, len(data), now + SECONDS)
        return name

    def find(self, name: str) -> bytes | None:
        """Return the file of a name; None for one that is not there, or no longer."""
        place = self._places.get(name)
        if place is None or place.until <= self.clock():
            return None
        self._file.seek(place.start)
        return self._file.read(place.length)

    def close(self) -> None:
        """Let all go."""
        self._places.clear()
        self._file.close()
