"""In which language a client is told what went wrong: Chinese where it asks so, else English."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any

Translate = Callable[[str], str]  # a message of limner's into Chinese
_WEIGHT = re.compile(r"\s*q\s*=\s*(\d(?:\.\d{0,3})?)\s*")
_LONGEST = 256  # characters of the header that are read
_SPOKEN = ("en", "zh")
_KEY = "limner.translate"


def wants_chinese(scope: MutableMapping[str, Any]) -> bool:
    """Say whether the Accept-Language of a request puts Chinese before English, as browsers do."""
    given = b",".join(value for name, value in scope["headers"] if name == b"accept-language")
    found = []
    for part in given.decode("latin-1")[:_LONGEST].split(","):
        name, _, rest = part.partition(";")
        weight = _WEIGHT.fullmatch(rest)
        if (language := name.strip().split("-")[0].lower()) in _SPOKEN:
            found.append((float(weight[1]) if weight else 0.0 if rest else 1.0, language))
    # Of two that are wished alike the first counts.
    return bool(found) and max(found, key=lambda each: each[0])[1] == "zh"


def choose_language(scope: MutableMapping[str, Any], translate: Translate | None) -> None:
    """Remember in a request what its errors are told by."""
    scope[_KEY] = translate if translate is not None and wants_chinese(scope) else None


def translation_of(scope: MutableMapping[str, Any]) -> Translate | None:
    """Return what the errors of a request are told by; None is in English."""
    found: Translate | None = scope.get(_KEY)
    return found
