"""Tables of names: what a tensor is called there, what it is called here, and how it is turned.

A table is read both ways, so that what was imported can be written back under its old names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from limner.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from limner.convert.tensors import Tensors

_NUMBER = re.compile(r"\{(\w+)(?:\+(\d+))?\}")
_SHOWN = 5  # names of tensors in one message


@dataclass(frozen=True)
class Turn:
    """How a tensor of theirs becomes one of ours, and back; `order` are its axes there."""

    order: tuple[int, ...] = ()

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape here of a tensor with a shape there."""
        return tuple(shape[axis] for axis in self.order) if self.order else shape

    def ours(self, tensor: Tensor) -> Tensor:
        """Return the tensor here of one there."""
        return tensor.permute(self.order) if self.order else tensor

    def theirs(self, tensor: Tensor) -> Tensor:
        """Return the tensor there of one here."""
        if not self.order:
            return tensor
        return tensor.permute([self.order.index(axis) for axis in range(len(self.order))])


SAME = Turn()
DENSE = Turn((1, 0))  # a kernel of Flax (inputs, outputs) as a matrix of torch
CONVOLUTION = Turn((3, 2, 0, 1))  # a kernel of Flax (height, width, inputs, outputs)


@dataclass(frozen=True)
class KeyMap:
    """Rows of (their name, our name, turn); `{n}` stands for a number, `{n+1}` for one higher."""

    rows: tuple[tuple[str, str, Turn], ...]

    def ours(self, name: str) -> tuple[str, Turn] | None:
        """Return our name of one of theirs, and the turn; None where the table has it not."""
        return _found(self._from_theirs, name)

    def theirs(self, name: str) -> tuple[str, Turn] | None:
        """Return their name of one of ours, and the turn; None where the table has it not."""
        return _found(self._from_ours, name)

    @cached_property
    def _from_theirs(self) -> list[_Rule]:
        return [_rule(theirs, ours, turn) for theirs, ours, turn in self.rows]

    @cached_property
    def _from_ours(self) -> list[_Rule]:
        return [_rule(ours, theirs, turn) for theirs, ours, turn in self.rows]


_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str], Turn]


def _found(rules: Iterable[_Rule], name: str) -> tuple[str, Turn] | None:
    for pattern, renamed, turn in rules:
        if match := pattern.fullmatch(name):
            return renamed(match), turn
    return None


def _rule(source: str, target: str, turn: Turn) -> _Rule:
    offsets: dict[str, int] = {}
    pattern, end = "", 0
    for each in _NUMBER.finditer(source):
        offsets[each[1]] = int(each[2] or 0)
        pattern += re.escape(source[end : each.start()]) + rf"(?P<{each[1]}>0|[1-9]\d*)"
        end = each.end()
    pattern += re.escape(source[end:])

    def renamed(match: re.Match[str]) -> str:
        """Return the name that stands for one of the source."""

        def number(each: re.Match[str]) -> str:
            return str(int(match[each[1]]) - offsets[each[1]] + int(each[2] or 0))

        return _NUMBER.sub(number, target)

    return re.compile(pattern), renamed, turn


def table(*rows: tuple[str, str] | tuple[str, str, Turn], suffixes: tuple[str, ...] = ()) -> KeyMap:
    """Return a table; a row without a turn leaves the tensor as it is.

    With `suffixes` each row stands for one row of each, put behind both names.
    """
    full = [(row[0], row[1], row[2] if len(row) == 3 else SAME) for row in rows]
    if suffixes:
        full = [(a + each, b + each, turn) for a, b, turn in full for each in suffixes]
    return KeyMap(tuple(full))


def our_shapes(tensors: Tensors, keys: KeyMap) -> dict[str, tuple[int, ...]]:
    """Return the shapes that tensors have here, by our names; those without a row are left out."""
    found = {}
    for name, entry in tensors.entries.items():
        named = keys.ours(name)
        if named is not None and len(named[1].order) in (0, len(entry.shape)):
            found[named[0]] = named[1].shape(entry.shape)
    return found


@dataclass(frozen=True)
class Shapes:
    """The shapes of a part by our names, of which its sizes are read; `shown` names the file."""

    held: Mapping[str, tuple[int, ...]]
    shown: str
    keys: KeyMap

    def of(self, name: str, axes: int) -> tuple[int, ...]:
        """Return the shape of a tensor; CheckpointError where it is not there, or is of another."""
        shape = self.held.get(name, ())
        if len(shape) != axes:
            theirs = self.keys.theirs(name)
            raise CheckpointError(
                f"{self.shown} has no tensor {theirs[0] if theirs else name} of {axes} axes, which "
                "this format has; give the file that it names"
            )
        return shape

    def count(self, before: str) -> int:
        """Return how many different numbers stand behind the beginning of a name, as of layers."""
        return len(self.numbers(before))

    def numbers(self, before: str) -> list[int]:
        """Return the numbers behind the beginning of a name, in order."""
        found = (re.match(re.escape(before) + r"(\d+)\.", name) for name in self.held)
        return sorted({int(each[1]) for each in found if each})


@dataclass(frozen=True)
class Weight:
    """A tensor of ours: its type and shape, and the function that reads it when it is its turn."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def collect(
    tensors: Tensors,
    keys: KeyMap,
    wanted: Mapping[str, Any],
    what: str,
    *,
    filled: Mapping[str, float] | None = None,
    ignored: tuple[str, ...] = (),
) -> dict[str, Weight]:
    """Return the weights that a part of ours wants, by our names, of a checkpoint of theirs.

    `wanted` is the part's state dict (shapes count alone), `what` says in messages what is read.
    Names that match one of `ignored` (patterns) are left; one of ours that matches a pattern of
    `filled` may be missing, and then is full of that number. Nothing is read yet. Raises
    CheckpointError unless every tensor has its place and every place its tensor.
    """
    found: dict[str, Weight] = {}
    extra: list[str] = []
    for name, entry in tensors.entries.items():
        if any(re.fullmatch(each, name) for each in ignored):
            continue
        named = keys.ours(name)
        if named is None or named[0] not in wanted or named[0] in found:
            extra.append(name)
        elif len(named[1].order) not in (0, len(entry.shape)):
            extra.append(f"{name} {entry.shape}")
        else:
            ours, turn = named
            found[ours] = Weight(entry.dtype, turn.shape(entry.shape), _reader(tensors, name, turn))
    for name, tensor in wanted.items():
        for pattern, number in (filled or {}).items():
            if name not in found and re.fullmatch(pattern, name):
                found[name] = _full(tuple(tensor.shape), number)
    other = [name for name, each in found.items() if each.shape != tuple(wanted[name].shape)]
    _refuse_unfit([name for name in wanted if name not in found], extra, other, what)
    return {name: found[name] for name in wanted}


def _reader(tensors: Tensors, name: str, turn: Turn) -> Callable[[], Tensor]:
    return lambda: turn.ours(tensors.read(name))


def _full(shape: tuple[int, ...], number: float) -> Weight:
    def read() -> Tensor:
        import torch

        return torch.full(shape, number)

    return Weight("F32", shape, read)


def _refuse_unfit(missing: list[str], extra: list[str], other: list[str], what: str) -> None:
    if not (missing or extra or other):
        return
    first = next(names for names in (missing, extra, other) if names)
    raise CheckpointError(
        f"{what} does not fit: {len(missing)} tensors missing, {len(extra)} too many, "
        f"{len(other)} of another shape; the first are "
        f"{', '.join(name[:60] for name in first[:_SHOWN])}"
    )
