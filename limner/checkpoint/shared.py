"""Parts that an embedded model does not hold itself: they are those of another embedded one.

Beside the default, an example over its codes would carry its codec once more. In place of that
part's settings, config.json then has {"shared": MODEL, "sha256": DIGEST}, of the model's weights,
and the settings in which it differs. Saved anew, a model holds all of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.checkpoint.blocks import whole_entries
from limner.errors import CheckpointError, did_you_mean, quote
from limner.files.folder import ModelFolder
from limner.files.safetensors import TensorEntry, read_header, read_tensors, strict_json

if TYPE_CHECKING:
    from torch import Tensor

ZOO = Path(__file__).parents[1] / "zoo"
SHARED, _DIGEST = "shared", "sha256"
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_THEIRS = {"codec": "codec", "autoencoder": "codec", "clip": "clip"}  # a part's name in the other


@dataclass(frozen=True)
class Shared:
    """A part of this name whose weights are those of `theirs` in a folder, with their hash."""

    part: str
    theirs: str
    folder: ModelFolder
    sha256: str
    packed: bool = False  # in 8 bits

    def own_name(self, name: str) -> str:
        """Return how a tensor of theirs is called here; "" for one of another part."""
        before = f"{self.theirs}."
        return f"{self.part}.{name.removeprefix(before)}" if name.startswith(before) else ""

    def entries(self) -> dict[str, TensorEntry]:
        """Return what the weights are, by their names here, without reading them."""
        with self.folder.open(_WEIGHTS) as file:
            found = read_header(file, self.folder.source(_WEIGHTS))
        if self.packed:
            found = whole_entries(found, self.folder.source(_WEIGHTS))
        return {own: entry for name, entry in found.items() if (own := self.own_name(name))}

    @contextmanager
    def tensors(self) -> Iterator[dict[str, Tensor]]:
        """Give the weights by their names here as the file, which stays open, has them, mapped."""
        source = self.folder.source(_WEIGHTS)
        with self.folder.open(_WEIGHTS) as file:
            self.folder.check_digest(_WEIGHTS, file, {_WEIGHTS: self.sha256})
            found, _ = read_tensors(file, source)
            yield {own: tensor for name, tensor in found.items() if (own := self.own_name(name))}


def settle(
    tables: Mapping[str, dict[str, Any]], source: str
) -> tuple[dict[str, dict[str, Any]], list[Shared]]:
    """Return tables with the settings of shared parts in full, and those parts.

    Raises CheckpointError for a part that cannot be shared, a model that is not embedded or has
    none, and for one whose weights have changed since: what was made for them would draw noise.
    """
    settled, found = dict(tables), list[Shared]()
    for part, table in tables.items():
        if SHARED not in table:
            continue
        name, digest = table[SHARED], table.get(_DIGEST)
        known = [each.name for each in sorted(ZOO.iterdir()) if each.is_dir()]
        if part not in _THEIRS or not isinstance(name, str) or name not in known:
            hint = did_you_mean(name, known) if isinstance(name, str) else ""
            raise CheckpointError(
                f"{source}: {part} is shared with {quote(name)}; expected {', '.join(_THEIRS)} of "
                f"one of {', '.join(known)}{hint}"
            )
        folder = ModelFolder(ZOO / name)
        manifest = folder.manifest()
        if digest != manifest.get(_WEIGHTS):
            raise CheckpointError(
                f"{source}: {part} is shared with other weights of {quote(name)} than this limner "
                f"has ({quote(digest)}); get the model and limner of the same version"
            )
        theirs = strict_json(folder.read_listed(_CONFIG, manifest), folder.source(_CONFIG))
        held = theirs.get(_THEIRS[part])
        if not isinstance(held, dict):
            raise CheckpointError(f"{source}: {quote(name)} has no {_THEIRS[part]} to share")
        own = {key: value for key, value in table.items() if key not in (SHARED, _DIGEST)}
        settled[part] = held | own
        packed = "weights" in theirs
        found.append(Shared(part, _THEIRS[part], folder, str(digest), packed))
    return settled, found


@contextmanager
def all_tensors(parts: list[Shared]) -> Iterator[dict[str, Tensor]]:
    """Give the weights of all shared parts."""
    with ExitStack() as stack:
        found = dict[str, "Tensor"]()
        for each in parts:
            found |= stack.enter_context(each.tensors())
        yield found
