"""A file of tensors of any layout, opened: what it is, its first bytes say, never its name.

Safetensors and msgpack are mapped; a pickle is opened by a confined process alone
(`limner.convert.pickles`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.convert.msgpack import open_msgpack
from limner.convert.pickles import open_pickle
from limner.convert.tensors import Tensors
from limner.errors import CheckpointError, quote
from limner.files.folder import shown_path
from limner.files.safetensors import HEADER_LIMIT, TensorEntry, read_header

if TYPE_CHECKING:
    from torch import Tensor

STAND_INS = (  # classes whose pickled state is kept and whose code is not there
    # whole modules of PyPI dall-e
    "dall_e.encoder.Encoder", "dall_e.encoder.EncoderBlock",
    "dall_e.decoder.Decoder", "dall_e.decoder.DecoderBlock", "dall_e.utils.Conv2d",
    "torch.nn.modules.activation.ReLU", "torch.nn.modules.container.Sequential",
    "torch.nn.modules.linear.Identity", "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
    # what Lightning puts beside the weights
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    # the arguments that scripts of training save
    "argparse.Namespace",
)  # fmt: skip
_ZIP, _OLD = b"PK\x03\x04", b"\x80"


@contextmanager
def open_tensors(path: Path) -> Iterator[Tensors]:
    """Open a file of tensors: safetensors, a pickle of torch.save, or msgpack of Flax.

    In a pickle classes that do nothing are in the place of those of STAND_INS. Raises
    CheckpointError for what is none of these, damaged, or asks for code.
    """
    first = first_bytes(path)
    source = shown_path(path)
    # Of the header's length in safetensors the first byte may be that of a pickle.
    if int.from_bytes(first[:8], "little") <= HEADER_LIMIT and first[8:9] == b"{":
        with path.open("rb") as file:
            yield _Safetensors(file, source)
    elif first[:4] == _ZIP or first[:1] == _OLD:
        with open_pickle(path, STAND_INS) as pickled:
            yield pickled
    elif _is_msgpack(first):
        with open_msgpack(path) as packed:
            yield packed
    else:
        raise CheckpointError(
            f"{source} begins with {quote(first[:8])}, which is no safetensors file, no pickle of "
            "torch.save and no msgpack of Flax; get it anew"
        )


def first_bytes(path: Path) -> bytes:
    """Return the first 16 bytes of a regular file; CheckpointError for anything else."""
    shown = shown_path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise CheckpointError(f"{shown} is not a regular file")
        with path.open("rb") as file:
            found = file.read(16)
    except OSError as error:
        raise CheckpointError(f"cannot read {shown}: {error.strerror or error}") from error
    if not found:
        raise CheckpointError(f"{shown} is empty; get it anew")
    return found


def _is_msgpack(first: bytes) -> bool:
    """Say whether a file begins as a map does whose first key is a string."""
    kind = first[0]
    skipped = 1 if 0x80 <= kind <= 0x8F else {0xDE: 3, 0xDF: 5}.get(kind, 0)
    return bool(skipped) and (0xA0 <= first[skipped] <= 0xBF or first[skipped] in (0xD9, 0xDA))


class _Safetensors:
    def __init__(self, file: Any, source: str) -> None:
        self.entries: Mapping[str, TensorEntry] = read_header(file, source)
        self.values: Mapping[str, Any] = {}
        self._path = file.name

    def read(self, name: str) -> Tensor:
        from safetensors import safe_open

        # Opened each time, so that no more than one tensor stays mapped.
        with safe_open(self._path, "pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
        return tensor
