"""Pictures encoded on a real local Ray: the same bytes as without, also when a worker is killed."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.codecs import create_codec
from limner.data.batches import encode as encoding
from limner.data.batches.augment import AugmentConfig
from limner.data.batches.encode import EncodeConfig, encode
from limner.data.batches.encoded import read_manifest
from limner.data.on_ray import connected, ray_map
from limner.data.sources.base import Losses, Sample, Source
from limner.data.sources.opening import open_source
from limner.errors import DataError, MissingExtraError, ResourceError, UsageError
from tests.data.source_files import write_pairs
from tests.tiny_model import CODEC

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # a Ray takes seconds to start and to find that a worker died
    # Of ray and what it imports: old names of settings, and pipes left for the collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    """Start one Ray for the tests of this file; what they call uses it and leaves it."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'limner[ray]'")
    with connected("local"):
        yield "local"


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(encoding, "SHARD", 2)
    torch.manual_seed(0)
    return create_codec(CODEC).eval()


class Stream(Source):
    """A source that is read in its own order only."""

    kind = "stream"

    def __iter__(self) -> Iterator[Sample]:
        yield from ()


def test_what_cannot_be_shared_is_refused(
    tmp_path: Path, codec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:  # comes first: no Ray of this process is running yet
    with pytest.raises(UsageError, match="Ray workers cannot share it"):
        source, config = Stream("s", Losses(), "", None), EncodeConfig()
        list(encode(source, codec, "d", tmp_path / "out", config, ray="local"))
    pytest.importorskip("ray", reason="needs Ray: pip install 'limner[ray]'")
    with pytest.raises(ResourceError, match=r"no Ray cluster answers at '127\.0\.0\.1:9'"):
        list(ray_map("127.0.0.1:9", refusing, "", [1]))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[ray\]'"):
        list(ray_map("local", refusing, "", [1]))
    assert list(tmp_path.iterdir()) == []


def written(place: Path, codec: Any, out: Path, ray: str) -> dict[str, bytes]:
    config = EncodeConfig(2, 1, AugmentConfig(flip=0.5, crop=0.3))
    *counts, manifest = encode(open_source(place), codec, "digest", out, config, ray=ray)
    assert read_manifest(out) == manifest and counts[-1] == read_manifest(out)["pictures"]
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_the_bytes_are_those_of_the_plain_path(tmp_path: Path, codec: Any, local: str) -> None:
    write_pairs(tmp_path / "a", 200)
    bad = tmp_path / "a" / "070.png"
    bad.write_bytes(b"x" * bad.stat().st_size)
    plain = written(tmp_path / "a", codec, tmp_path / "plain", "")
    spread_out = written(tmp_path / "a", codec, tmp_path / "ray", local)
    assert len(plain) == 6 and b"070.png" in plain["bad_samples.jsonl"]
    assert spread_out == plain


class Killed:
    """A worker that is killed at item 5, once."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self, item: int) -> tuple[int, int]:
        if item == 5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item, os.getpid()


def test_what_a_killed_worker_was_at_is_done_again(tmp_path: Path, local: str) -> None:
    found = list(ray_map(local, Killed, tmp_path / "marker", range(20)))
    assert (tmp_path / "marker").exists()
    assert [item for item, _ in found] == list(range(20))
    assert os.getpid() not in {worker for _, worker in found}


class KilledCoder(encoding._RemoteCoder):
    """The coder of `encode`, killed at the second block, once."""

    def __init__(self, known: Any) -> None:
        super().__init__(known)
        self.marker = Path("killed")  # in the folder of the command

    def __call__(self, item: Any) -> Any:
        answer = super().__call__(item)
        if item[0] == 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def test_a_worker_killed_while_encoding_changes_nothing(
    tmp_path: Path, codec: Any, local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "a", 200)
    plain = written(Path("a"), codec, tmp_path / "plain", "")
    monkeypatch.setattr(encoding, "_RemoteCoder", KilledCoder)
    assert written(Path("a"), codec, tmp_path / "ray", local) == plain
    assert (tmp_path / "killed").exists()


def refusing(known: str) -> Callable[[int], int]:
    def answer(item: int) -> int:
        raise RuntimeError(f"{known} {item}")

    return answer


def disliking(known: str) -> Callable[[int], int]:
    def answer(item: int) -> int:
        raise DataError(f"no good {item}")

    return answer


def test_what_goes_wrong_in_a_worker_is_told(tmp_path: Path, codec: Any, local: str) -> None:
    with pytest.raises(ResourceError, match=r"the Ray workers at 'local' gave up: .*no luck 3"):
        list(ray_map(local, refusing, "no luck", [3]))
    with pytest.raises(DataError, match="no good 3"):
        list(ray_map(local, disliking, "", [3]))
    write_pairs(tmp_path / "a", 70)
    for name in ("003", "004"):
        path = tmp_path / "a" / f"{name}.png"
        path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DataError, match="2 of 70 samples are bad, more than 1 %"):
        written(tmp_path / "a", codec, tmp_path / "out", local)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
