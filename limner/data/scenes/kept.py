"""Arrays that are kept for the next time, those that were asked for last, in so much memory."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Asked = ParamSpec("Asked")


def kept_within(limit: int) -> Callable[[Callable[Asked, Pixels]], Callable[Asked, Pixels]]:
    """Return a decorator that keeps what a function returned, up to `limit` bytes together.

    It is functools.lru_cache by size: large pictures of many things would fill any machine.
    """

    def decorate(function: Callable[Asked, Pixels]) -> Callable[Asked, Pixels]:
        """Return the function with a memory."""
        kept: OrderedDict[Any, Pixels] = OrderedDict()
        lock, held = Lock(), 0

        @wraps(function)
        def remembered(*args: Asked.args, **kwargs: Asked.kwargs) -> Pixels:
            nonlocal held
            key = (args, *sorted(kwargs.items()))
            with lock:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key]
            made = function(*args, **kwargs)
            with lock:
                if key not in kept:
                    kept[key] = made
                    held += made.nbytes
                while held > limit and len(kept) > 1:
                    held -= kept.popitem(last=False)[1].nbytes
            return made

        return remembered

    return decorate
