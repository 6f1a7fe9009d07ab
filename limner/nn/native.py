"""The native kernel: compiled from `kernels/` at first use, where there is a C compiler.

`pip install` needs no compiler. LIMNER_NATIVE=0 turns the kernel off; `limner doctor` says which
path is in use and why. The library lies in a folder of the user alone, named by what made it.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from limner.errors import ResourceError
from limner.nn.engine import (
    CONVERTED,
    EPSILONS,
    SCALED,
    DecoderShape,
    Seen,
    Weights,
    head_precision,
)
from limner.types import PRECISIONS

SOURCES = Path(__file__).parent / "kernels"
INT8, TINY = "int8", 2.0**-120
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-pthread",
]
TARGETS = (("-march=native",), ("-mcpu=native",), ())
SLOTS = (
    *("attention_norm", "attention_norm_bias", "qkv", "query_norm", "key_norm", "out"),
    *("out_norm", "out_norm_bias", "cross_norm", "cross_norm_bias", "cross_query"),
    *("cross_key_value", "cross_out", "cross_out_norm", "cross_out_norm_bias"),
    *("feed_forward_norm", "feed_forward_norm_bias", "into", "middle_norm", "middle_norm_bias"),
    *("down", "head", "head_bias", "qkv_bias", "out_bias", "into_bias", "down_bias"),
    *("down_norm", "down_norm_bias"),
)


@functools.cache
def find_library() -> tuple[Any, str]:
    """Return the kernel and how it came about, or None and why it is not used."""
    if os.environ.get("LIMNER_NATIVE") == "0":
        return None, "turned off by LIMNER_NATIVE=0"
    # The first compiler that is there; what it says is told in the first line of its complaint.
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        return None, "no C compiler (cc, gcc or clang) is installed"
    try:
        path = _built(compiler, cache_folder())
        return _declare(ctypes.CDLL(str(path))), f"compiled by {compiler} into {path}"
    except subprocess.SubprocessError as error:
        told = getattr(error, "stderr", "") or ""
        return None, f"{compiler} failed: {told.strip().splitlines()[:1] or error}"
    except (OSError, AttributeError, RuntimeError) as error:  # also: no home folder
        return None, f"the kernel cannot be kept or loaded: {error}"


def cache_folder() -> Path:
    """Return the folder of compiled kernels; it need not exist."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "limner" / "native"


def _built(compiler: str, folder: Path) -> Path:
    # 1. The name holds all that decides the machine code: flags, compiler, processor, sources.
    sources = sorted(SOURCES.iterdir())
    made_by = os.stat(compiler)
    facts = (FLAGS, TARGETS, os.path.realpath(compiler), made_by.st_size, made_by.st_mtime_ns)
    digest = hashlib.sha256(repr((facts, platform.machine(), _cpu())).encode())
    for source in sources:
        digest.update(source.read_bytes())
    path = folder / f"step-{digest.hexdigest()[:32]}.so"
    # 2. A library that another user could have put there is not loaded.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (folder, path):
        if os.path.lexists(each):
            found = os.lstat(each)
            if found.st_uid != os.getuid() or found.st_mode & 0o022 or stat.S_ISLNK(found.st_mode):
                raise OSError(f"{each} is not this user's alone")
    if not path.exists():
        _compile(compiler, path)
    return path


def _compile(compiler: str, path: Path) -> None:
    # Compiled beside its place and moved there whole: two processes at once do not meet. The first
    # target that this compiler knows is taken.
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".so")
    os.close(handle)
    try:
        for number, target in enumerate(TARGETS):
            command = [compiler, *FLAGS, *target, str(SOURCES / "step.c"), "-o", temporary, "-lm"]
            last = number + 1 == len(TARGETS)
            ran = subprocess.run(command, check=last, capture_output=True, text=True, timeout=120)
            if ran.returncode == 0:
                break
        os.chmod(temporary, 0o700)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("flags", "model name", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


class _Call(ctypes.Structure):
    """`Call` of kernels/step.c, field by field."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("tokens", "rows", "length", "memory_length")),
        ("threads", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("row", "position", "first", "end")),
        *((name, ctypes.c_void_p) for name in ("cosine", "sine", "keys", "values")),
        *((name, ctypes.c_void_p) for name in ("memory_keys", "memory_values")),
        *((name, ctypes.c_void_p) for name in ("memory_first", "memory_end", "x", "scratch")),
        *((name, ctypes.c_void_p) for name in ("seen", "kinds")),
    ]


def _declare(library: Any) -> Any:
    pointer, number, call = ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Call)
    # What each function of kernels/step.c returns, and what it takes.
    functions: dict[str, tuple[Any, list[Any]]] = {
        "new": (pointer, [number] * 8),
        "free": (None, [pointer]),
        "make": (number, [pointer, *[number] * 5]),
        "fill": (None, [pointer, number, number, pointer, number, number, number]),
        "scratch": (ctypes.c_long, [pointer, number]),
        "search": (None, [pointer, number]),
        "choose": (None, [pointer]),
        "cell": (None, [pointer]),
        "run": (None, [pointer, call]),
        "remember": (None, [pointer, call]),
        "head": (None, [pointer, number, number, *[pointer] * 4, number]),
    }
    for name, (returned, taken) in functions.items():
        function = getattr(library, f"limner_{name}")
        function.restype, function.argtypes = returned, taken
    return library


class NativeEngine:
    """A decoder in the kernel's own memory."""

    native = True

    def __init__(
        self,
        library: Any,
        shape: DecoderShape,
        layers: Iterable[Weights],
        heads: Iterable[Weights],
        precision: str,
    ) -> None:
        self.library, self.shape = library, shape
        self.vocabularies: list[int] = []
        self.model = library.limner_new(
            *(shape.width, shape.layers, shape.heads, shape.hidden, shape.groups),
            1 if shape.layer_norm else 2 * EPSILONS.index(shape.epsilon),
            2 if shape.gelu and shape.tanh else shape.gelu,
            shape.gated,
        )
        if not self.model:
            raise ResourceError("there is no memory for the decoder; free some, or use int8")
        weakref.finalize(self, library.limner_free, self.model)
        for group, head in enumerate(heads):
            self._keep(shape.layers + group, head, head_precision(precision))
        head = {}  # a generator's weights are let go before the next ones are made
        for index, layer in enumerate(layers):
            self._keep(index, layer, precision)
            layer = {}

    def _keep(self, layer: int, weights: Weights, precision: str) -> None:
        for name in weights:
            weight = weights[name].detach()
            if name == "head":
                self.vocabularies.append(len(weight))
            inputs = weight.shape[1] if weight.ndim == 2 else 0
            place = self.model, layer, SLOTS.index(name)
            # Of what a file held in 8 bits nothing is rounded anew, and 8 bits are read sooner.
            held = INT8 if is_scaled(weight) else precision
            kind = PRECISIONS.index(held)
            if not self.library.limner_make(*place, len(weight), inputs, kind):
                raise ResourceError("there is no memory for the decoder; free some, or use int8")
            self._fill(place, weight, gated=name == "into" and self.shape.gated)
            del weight  # one that is made when it is asked for has no other owner

    def _fill(self, place: tuple[Any, ...], weight: Tensor, *, gated: bool) -> None:
        """Pack a weight into panels, which hold rows of gates or of values alone."""
        # No panel may hold rows of both, so the halves of a gated weight are packed one after the
        # other; some rows at a time, so that no copy in fp32 of the whole is held.
        panel, first = self.library.limner_panel(), 0
        rows = panel * max(1, CONVERTED // (weight[0].numel() * panel))
        for half in weight.chunk(2) if gated else [weight]:
            for block in half.split(rows):
                plain = block.float().contiguous()
                told = plain.data_ptr(), first, len(plain), torch.get_num_threads()
                self.library.limner_fill(*place, *told)
                first += len(plain)

    def begin(
        self,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None = None,
        memory: Tensor | None = None,
        memory_lengths: Sequence[int] = (),
        seen: Seen | None = None,
    ) -> "NativeSession":
        """Start drawing, as DecoderEngine.begin says."""
        run = NativeSession(self, first, length, rotary)
        if seen is not None:
            run.limit(*seen)
        if memory is not None:
            run.remember(memory, memory_lengths)
        return run


def is_scaled(weight: Tensor) -> bool:
    """Tell whether the kernel's 8 bits hold each number (R, D) of a weight exactly."""
    if weight.ndim != 2 or weight.shape[1] % SCALED:
        return False
    for rows in weight.detach().split(64):  # the first ones say no for nearly all that are not
        blocks = rows.float().unflatten(1, (-1, SCALED))
        scales = (blocks.abs().amax(-1, keepdim=True) / 127).bfloat16().float()
        whole = (blocks / scales.clamp_min(TINY)).round()
        if not torch.equal(whole * scales, blocks):
            return False
    return True


class NativeSession:
    """One drawing in progress: its cache, and buffers at fixed addresses."""

    def __init__(
        self,
        engine: NativeEngine,
        first: Sequence[int],
        length: int,
        rotary: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.engine, self.rows = engine, len(first)
        shape, library = engine.shape, engine.library
        self.first = np.array(first, dtype=np.int32)
        self.length = library.limner_positions(length)
        size = shape.layers * self.rows * shape.width * self.length
        self.keys, self.values = torch.zeros(size), torch.zeros(size)  # read by address alone
        self.call = _Call(rows=self.rows, length=self.length, threads=torch.get_num_threads())
        self.call.keys, self.call.values = self.keys.data_ptr(), self.values.data_ptr()
        if rotary is not None:
            self.rotary = [each.float().contiguous() for each in rotary]
            self.call.cosine, self.call.sine = (each.data_ptr() for each in self.rotary)
        self.scratch = torch.empty(0)

    def limit(self, seen: Tensor, kinds: Sequence[int]) -> None:
        """Let each layer see but what its one of `seen` (K, S, S) allows."""
        rows = np.zeros((len(seen), self.length, self.length), np.uint8)
        rows[:, : seen.shape[1], : seen.shape[2]] = seen.cpu().numpy()
        self.seen = rows, np.array(kinds, np.int32)
        self.call.seen, self.call.kinds = (each.ctypes.data for each in self.seen)

    def remember(self, memory: Tensor, lengths: Sequence[int]) -> Self:
        """Compute the keys and values of `memory` (B, T, D) once for the whole drawing."""
        rows, places, width = memory.shape
        shape, library = self.engine.shape, self.engine.library
        length = library.limner_positions(places)
        size = shape.layers * rows * width * length
        self.memory = torch.zeros(size), torch.zeros(size)
        self.call.memory_keys, self.call.memory_values = (each.data_ptr() for each in self.memory)
        self.call.memory_length = length
        self.ranges = np.zeros(rows, np.int32), np.array(lengths, np.int32)
        self.call.memory_first, self.call.memory_end = (each.ctypes.data for each in self.ranges)
        index = np.arange(rows * places, dtype=np.int32)  # of rows laid end to end
        flat = memory.float().flatten(0, 1).contiguous()
        self._run("limner_remember", flat, index // places, index % places, index, index)
        return self

    def extend(
        self, x: Tensor, at: int, rows: slice = slice(None), *, causal: bool = True
    ) -> Tensor:
        """Map x (B, L, D) to features, as Session.extend says."""
        # 1. Which row and position each vector is of, and which positions it sees: [first, end).
        count = x.shape[1]
        chosen = np.arange(self.rows, dtype=np.int32)[rows]  # (B,)
        row = chosen.repeat(count)  # (B * L,), and so on
        position = np.tile(np.arange(at, at + count, dtype=np.int32), len(chosen))
        end = position + 1 if causal else np.full_like(position, at + count)
        out = x.float().flatten(0, 1).contiguous().clone()
        # 2. Padding before a row's first position is not computed, and comes back as it came.
        real = position >= self.first[row]
        if real.all():
            self._run("limner_run", out, row, position, self.first[row], end)
        elif real.any():
            kept = torch.from_numpy(real)  # the others stay as they came
            some = out[kept]
            places = (each[real] for each in (row, position, self.first[row], end))
            self._run("limner_run", some, *places)
            out[kept] = some
        return out.view(x.shape)

    def logits(self, features: Tensor, group: int = 0, known: Tensor | None = None) -> Tensor:
        """Map features (B, D) to logits (B, V), as Session.logits says."""
        engine, rows = self.engine, len(features)
        features = features.float().contiguous()
        known = None if known is None else known.float().contiguous()
        out = torch.empty(rows, engine.vocabularies[group])
        self._reserve(rows)
        engine.library.limner_head(
            *(engine.model, group, rows, features.data_ptr()),
            None if known is None else known.data_ptr(),
            *(out.data_ptr(), self.scratch.data_ptr(), self.call.threads),
        )
        return out

    def select(self, rows: Sequence[int]) -> None:
        """Let each row i go on from where row `rows[i]` is, as Session.select says."""
        # The kernel reads the cache by address, so it stays where it is.
        chosen, layers = list(rows), self.engine.shape.layers
        for held in (self.keys, self.values):
            by_row = held.view(layers, self.rows, -1)
            by_row.copy_(by_row[:, chosen])
        self.first = self.first[chosen]
        if self.call.memory_keys:
            for held in self.memory:
                by_row = held.view(layers, self.rows, -1)
                by_row.copy_(by_row[:, chosen])
            for lengths in self.ranges:
                lengths[:] = lengths[chosen]

    def aim(self, x: Tensor, places: Iterable[Any]) -> None:
        """Let the next call map x (N, D) in place; whoever calls holds both until it is done.

        `places` are int32 (N,) each: rows, positions, and the first and end of what these see.
        """
        call = self.call
        call.row, call.position, call.first, call.end = (each.ctypes.data for each in places)
        self._reserve(len(x))
        call.tokens, call.x, call.scratch = len(x), x.data_ptr(), self.scratch.data_ptr()

    def _run(self, name: str, x: Tensor, *places: Any) -> None:
        # The kernel keeps no pointer after the call, so what it reads may go when this returns.
        held = [np.ascontiguousarray(each, dtype=np.int32) for each in places]
        self.aim(x, held)
        getattr(self.engine.library, name)(self.engine.model, ctypes.byref(self.call))

    def _reserve(self, tokens: int) -> None:
        need = self.engine.library.limner_scratch(self.engine.model, tokens)
        if need > len(self.scratch):
            self.scratch = torch.empty(need)
