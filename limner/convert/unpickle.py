"""The confined process that opens a pickle: `python unpickle.py`, with torch and what Python has.

It is run as a file, never imported. On standard input come one line of JSON (`path`, `stand_ins`,
`sys_path`, `memory` in bytes, `seconds`), then names of tensors, a line each. On standard output go
one line of JSON, with `entries` and `values` or with `error` and `what`, then the bytes of each
tensor that was asked for. Files: one that is not torch.save's zip is of its form before 1.6; of an
archive of TorchScript (torch.jit.save) the tensors are read, and its code is not.

What a pickle could do is held by four fences: the loader of torch takes tensors and plain values
alone; classes that it does not know but a format does are replaced by ones that do nothing; the
process has no network, can write no file and start no program; memory and time are limited.
"""

import contextlib
import json
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

_NETWORK = 0x40000000  # CLONE_NEWNET
_USER = 0x10000000  # CLONE_NEWUSER
_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED = re.compile(
    r"(socket|subprocess|shutil|ctypes|pty|urllib|http|ftplib|smtplib|webbrowser|signal)\.|"
    r"os\.(system|exec|posix_spawn|spawn|fork|forkpty|remove|rename|rmdir|mkdir|chmod|chown|link|"
    r"symlink|truncate|kill|startfile|putenv)"
)
_CHUNK = 2**22  # bytes
_COUNT = 2**18  # tensors and values in one file
_TEXT = 2**24  # bytes of the answer


class Refused(Exception):
    """What the file holds, in a word that the parent makes a sentence of, and a name from it."""

    def __init__(self, error: str, what: str = "") -> None:
        super().__init__(error)
        self.error, self.what = error, what


class StandIn:
    """In the place of a class of a library: it keeps what it is given, and does nothing."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given = given


class Script(StandIn):
    """In the place of every class of an archive of TorchScript, whose code is not read."""


def leave_the_network() -> None:
    """Go where there is no network, if the system lets; before torch, which starts threads."""
    with contextlib.suppress(Exception):
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if library.unshare(_NETWORK):
            library.unshare(_USER | _NETWORK)


def confine(memory: int, seconds: int) -> None:
    """Write no file, start nothing, and take no more memory and time than is given."""
    import resource

    held = 0
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/self/status") as file:
        held = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
    wanted = {
        "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0, "RLIMIT_CPU": seconds,
        "RLIMIT_DATA": held + memory,
    }  # fmt: skip
    for name, limit in wanted.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):
            resource.setrlimit(getattr(resource, name), (limit, limit))

    def watch(event: str, given: tuple[Any, ...]) -> None:
        flags = given[2] if event == "open" and len(given) > 2 else 0
        if _REFUSED.match(event) or (isinstance(flags, int) and flags & _WRITING):
            os._exit(77)

    sys.addaudithook(watch)


def check_zip(path: str) -> None:
    """Refuse an archive that states more than it has, is packed, or was changed by chance."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _COUNT or not any(
                each.filename.endswith("data.pkl") for each in members
            ):
                raise Refused("archive")
            # The code of TorchScript, which is packed, nobody reads.
            read = [each for each in members if each.filename.split("/")[1:2] != ["code"]]
            stated = sum(each.file_size for each in read)
            packed = any(each.compress_type != zipfile.ZIP_STORED for each in read)
            if packed or stated > os.path.getsize(path):
                raise Refused("packed")
            for each in read:
                crc = 0
                with archive.open(each) as file:
                    while chunk := file.read(_CHUNK):
                        crc = zlib.crc32(chunk, crc)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise Refused("damaged", str(error)) from error


def load_script(path: str) -> Any:
    """Return the modules of an archive of TorchScript as stand-ins with their tensors."""
    import pickletools
    from io import BytesIO

    import torch
    from torch._weights_only_unpickler import Unpickler

    with zipfile.ZipFile(path) as archive:
        sizes = {each.filename.partition("/")[2]: each.file_size for each in archive.infolist()}
    reader: Any = torch._C.PyTorchFileReader(path)
    data = reader.get_record("data.pkl")
    asked = {str(arg).replace(" ", ".") for each, arg, _ in pickletools.genops(data)
             if each.name == "GLOBAL"}  # fmt: skip
    known: list[Any] = [(Script, name) for name in asked if name.startswith("__torch__.")]
    # Lists of numbers, and values that say their type: each stays what it is.
    known += [(keep, name) for name in asked if name.startswith("torch.jit._pickle.")]
    storages: dict[str, Any] = {}

    def storage_of(told: Any) -> Any:
        _, kind, key, _, count = told
        size = count * torch._utils._element_size(kind.dtype)
        if key not in storages:
            if not 0 <= size <= sizes.get(f"data/{key}", -1):
                raise Refused("damaged", f"storage {key}")
            storages[key] = (
                reader.get_storage_from_record(f"data/{key}", size, torch.UntypedStorage)
                ._typed_storage()
                ._untyped_storage
            )
        return torch.storage.TypedStorage(
            wrap_storage=storages[key], dtype=kind.dtype, _internal=True
        )

    with torch.serialization.safe_globals(known):
        unpickler: Any = Unpickler(BytesIO(data))
        unpickler.persistent_load = storage_of
        return unpickler.load()


def keep(value: Any, *_: Any) -> Any:
    """Return a value as it is."""
    return value


def is_script(path: str) -> bool:
    """Say whether an archive is one of TorchScript."""
    with zipfile.ZipFile(path) as archive:
        return any(each.split("/")[1:] == ["constants.pkl"] for each in archive.namelist())


def load(path: str, stand_ins: list[str]) -> Any:
    """Return what a pickle holds: tensors, plain values, and stand-ins."""
    import torch

    zipped = zipfile.is_zipfile(path)
    if zipped:
        check_zip(path)
    replaced: list[Any] = []
    for name in stand_ins:
        module, _, plain = name.rpartition(".")
        made = type(plain, (StandIn,), {"__module__": module})
        replaced.append((made, name))
    try:
        # By its number: of some names torch thinks that they say what a file is.
        with torch.serialization.safe_globals(replaced), open(path, "rb") as file:
            handle = f"/dev/fd/{file.fileno()}"
            if zipped and is_script(handle):
                return load_script(handle)
            return torch.load(handle, map_location="cpu", weights_only=True, mmap=zipped)
    except Refused:
        raise
    except MemoryError:
        raise Refused("memory") from None
    except Exception as error:  # noqa: BLE001  # whatever a stranger's bytes make the loader raise
        text = " ".join(str(error).split())
        if "allocate memory" in text or "Cannot allocate" in text or "out of memory" in text:
            raise Refused("memory") from None
        asked = re.search(r"GLOBAL ([\w.]+)", text)
        if asked or "Weights only load failed" in text:
            raise Refused("code", asked[1] if asked else "") from None
        raise Refused("damaged", text[:160]) from None


def flatten(value: Any, name: str, between: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield what stands at the ends of tables, lists and modules, with the way there."""
    if depth > 64:
        raise Refused("deep")
    if isinstance(value, StandIn):
        held = vars(value)
        if isinstance(value, Script):
            import torch

            inner = {k: v for k, v in held.items() if isinstance(v, Script | torch.Tensor)}
            yield from flatten(inner, name, ".", depth + 1)
        for kind in ("_parameters", "_buffers", "_modules"):
            if isinstance(held.get(kind), dict):
                yield from flatten(dict(held[kind]), name, ".", depth + 1)
        # Of a module other settings are plain values; what is not plain says nothing.
        return
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(key, str | int):
                yield from flatten(each, f"{name}{between}{key}" if name else str(key), between,
                                   depth + 1)  # fmt: skip
        return
    yield name, value


def plain(value: Any) -> Any:
    """Return a value as JSON has it; None where it is none."""
    if isinstance(value, str | int | float | bool | type(None)):
        return value
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    return None


def describe(tensor: Any, kinds: dict[Any, str], name: str) -> dict[str, Any]:
    """Return a tensor's type and shape; Refused for one that is not plain numbers in memory."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.dtype not in kinds:
        raise Refused("kind", name)
    room = tensor.untyped_storage().nbytes()
    if tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > room:
        raise Refused("kind", name)  # a view that repeats a few numbers without end
    return {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape)}


def open_file(told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return tensors, what they are, and plain values, by name."""
    import torch

    kinds = {getattr(torch, name): kind for kind, name in told["kinds"].items()}
    tensors: dict[str, Any] = {}
    entries: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, value in flatten(load(told["path"], told["stand_ins"]), "", "/"):
        if len(tensors) + len(values) > _COUNT or "\n" in name:
            raise Refused("deep")
        if isinstance(value, torch.Tensor):
            tensors[name] = value.detach()
            entries[name] = describe(value, kinds, name)
        elif value is not None:
            values[name] = plain(value)
    if not tensors:
        raise Refused("empty")
    return tensors, entries, values


def send(tensor: Any, out: BinaryIO) -> None:
    """Write a tensor's bytes."""
    import torch

    data = tensor.contiguous().reshape(-1)
    at_once = max(1, _CHUNK // max(1, data.element_size()))
    for part in data.split(at_once):
        out.write(part.view(torch.uint8).numpy().tobytes())


def main() -> None:
    """Answer one parent until it asks no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not speak among the answers
    told = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = told["sys_path"]
    leave_the_network()
    import torch

    torch.set_num_threads(1)
    torch.zeros(1).view(torch.uint8).numpy()  # what loads late is loaded before the fences stand
    import torch._utils

    confine(told["memory"], told["seconds"])
    try:
        tensors, entries, values = open_file(told)
        line = json.dumps({"entries": entries, "values": values})
        if len(line) > _TEXT:
            raise Refused("deep")
    except Refused as error:
        line, tensors = json.dumps({"error": error.error, "what": error.what[:200]}), {}
    except (MemoryError, RecursionError):
        line, tensors = json.dumps({"error": "memory", "what": ""}), {}
    answers.write(line.encode() + b"\n")
    answers.flush()
    for asked in sys.stdin.buffer:
        send(tensors[asked.decode().rstrip("\n")], answers)
        answers.flush()


if __name__ == "__main__":
    main()
