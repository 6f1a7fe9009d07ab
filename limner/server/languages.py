"""In which language a client is told what went wrong: Chinese where it asks so, else English."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

_WEIGHT = re.compile(r"\s*q\s*=\s*(\d(?:\.\d{0,3})?)\s*")
_LONGEST = 256  # characters of the header that are read
SPOKEN = ("en", "zh")


def wants_chinese(scope: MutableMapping[str, Any]) -> bool:
    """Say whether the Accept-Language of a request puts Chinese before English, as browsers do."""
    given = b",".join(value for name, value in scope["headers"] if name == b"accept-language")
    found = []
    for part in given.decode("latin-1")[:_LONGEST].split(","):
        name, _, rest = part.partition(";")
        language = name.strip().split("-")[0].lower()
        weight = _WEIGHT.fullmatch(rest)
        if language in SPOKEN:
            found.append(
                (0.0 if rest and weight is None else float(weight[1] if weight else 1), language)
            )
    # Of two that are wished alike the first counts.
    return bool(found) and max(found, key=lambda each: each[0])[1] == "zh"


def to_chinese(text: str) -> str:
    """Return a message of limner's in Chinese, by the catalogue of the command line."""
    from limner.cli.shared import messages  # only where it is asked for

    return messages.to_chinese(text)
