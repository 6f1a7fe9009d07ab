"""Tensors of files together, some joined into one, or of another shape, when they are read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limner.files.safetensors import TensorEntry

if TYPE_CHECKING:
    from torch import Tensor

    from limner.convert.tensors import Tensors


class Joined:
    """Tensors of which those that match a pattern stand joined along their first axis.

    The group `part` of `pattern` is one of `parts`, in the order in which they are joined, and the
    name of the whole has `name` in its place. What lacks a part, or does not fit, is left as it is.
    """

    def __init__(self, tensors: Tensors, pattern: str, parts: tuple[str, ...], name: str) -> None:
        self._tensors = tensors
        self.values: Mapping[str, Any] = tensors.values
        self._sources: dict[str, tuple[str, ...]] = {}
        found: dict[str, dict[str, str]] = {}
        for each in tensors.entries:
            match = re.fullmatch(pattern, each)
            if match:
                start, end = match.span("part")
                found.setdefault(f"{each[:start]}{name}{each[end:]}", {})[match["part"]] = each
        entries = dict(tensors.entries)
        for whole, pieces in found.items():
            if set(pieces) != set(parts):
                continue
            held = [tensors.entries[pieces[part]] for part in parts]
            rest = held[0].shape[1:]
            if not held[0].shape or any(
                each.shape[1:] != rest or each.dtype != held[0].dtype for each in held
            ):
                continue
            rows = sum(each.shape[0] for each in held)
            for part in parts:
                entries.pop(pieces[part])
            entries[whole] = TensorEntry(held[0].dtype, (rows, *rest))
            self._sources[whole] = tuple(pieces[part] for part in parts)
        self.entries: Mapping[str, TensorEntry] = entries

    def read(self, name: str) -> Tensor:
        """Return a tensor, or the parts of one joined."""
        import torch

        sources = self._sources.get(name)
        if sources is None:
            return self._tensors.read(name)
        return torch.cat([self._tensors.read(each) for each in sources])


class Reshaped:
    """Tensors of which those that a pattern of `shapes` matches have another shape here."""

    def __init__(self, tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._tensors = tensors
        self.values: Mapping[str, Any] = tensors.values
        entries = dict(tensors.entries)
        for name, entry in tensors.entries.items():
            for pattern, shape in shapes.items():
                # One that cannot have the shape is told with all that does not fit.
                if re.fullmatch(pattern, name) and math.prod(entry.shape) == _count(
                    shape, entry.count
                ):
                    entries[name] = TensorEntry(entry.dtype, _filled(shape, entry.count))
        self.entries: Mapping[str, TensorEntry] = entries

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._tensors.read(name).reshape(self.entries[name].shape)


def _filled(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return a shape with -1 as what is left of so many numbers."""
    known = math.prod(each for each in shape if each != -1)
    return tuple(count // known if each == -1 else each for each in shape)


def _count(shape: tuple[int, ...], count: int) -> int:
    return math.prod(_filled(shape, count))


class Several:
    """The tensors of several files together; of one name, that of the first."""

    def __init__(self, opened: Sequence[Tensors]) -> None:
        self._homes: dict[str, Tensors] = {}
        self.entries: dict[str, TensorEntry] = {}
        self.values: dict[str, Any] = {}
        for each in reversed(opened):
            self._homes |= dict.fromkeys(each.entries, each)
            self.entries |= each.entries
            self.values |= each.values

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._homes[name].read(name)


class Split:
    """Tensors of which those that match a pattern stand as parts of their first axis.

    The group `whole` of `pattern` is replaced by the name of each of `parts`. What cannot be cut
    into so many is left as it is. `Joined` is the other way.
    """

    def __init__(self, tensors: Tensors, pattern: str, parts: tuple[str, ...]) -> None:
        self._tensors = tensors
        self.values: Mapping[str, Any] = tensors.values
        self._sources: dict[str, tuple[str, int]] = {}
        self._count = len(parts)
        self.entries: dict[str, TensorEntry] = {}
        for name, entry in tensors.entries.items():
            match = re.fullmatch(pattern, name)
            if match is None or not entry.shape or entry.shape[0] % len(parts):
                self.entries[name] = entry
                continue
            shape = (entry.shape[0] // len(parts), *entry.shape[1:])
            start, end = match.span("whole")
            for at, part in enumerate(parts):
                own = f"{name[:start]}{part}{name[end:]}"
                self.entries[own] = TensorEntry(entry.dtype, shape)
                self._sources[own] = (name, at)

    def read(self, name: str) -> Tensor:
        """Return a tensor, or a part of one."""
        if name not in self._sources:
            return self._tensors.read(name)
        source, at = self._sources[name]
        return self._tensors.read(source).chunk(self._count)[at]
