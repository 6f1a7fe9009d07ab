"""Where the kernel comes from, and why it may be missing."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner.nn import native


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a cache folder's parent with nothing in it; the kernel is looked for anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LIMNER_NATIVE", raising=False)
    monkeypatch.delenv("CC", raising=False)
    native.find_library.cache_clear()
    yield tmp_path
    native.find_library.cache_clear()


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)


def test_it_can_be_turned_off(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_NATIVE", "0")
    assert native.find_library() == (None, "turned off by LIMNER_NATIVE=0")
    assert not list(empty.iterdir())


def test_no_compiler(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(empty))
    library, why = native.find_library()
    assert library is None and why == "no C compiler (cc, gcc or clang) is installed"


def test_a_compiler_that_fails(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(empty / "cc", "echo cannot make code for this >&2; exit 1")
    monkeypatch.setenv("PATH", f"{empty}{os.pathsep}/bin{os.pathsep}/usr/bin")
    library, why = native.find_library()
    assert library is None and "cannot make code for this" in why
    assert not list((empty / "limner" / "native").iterdir())


def test_a_library_that_cannot_be_loaded(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(empty / "cc", "true")
    monkeypatch.setenv("PATH", f"{empty}{os.pathsep}/bin{os.pathsep}/usr/bin")
    library, why = native.find_library()
    assert library is None and "cannot be kept or loaded" in why


def test_it_is_compiled_once_into_a_private_folder(empty: Path) -> None:
    library, why = native.find_library()
    if library is None:
        pytest.skip(why)
    folder = empty / "limner" / "native"
    (made,) = folder.iterdir()
    assert str(made) in why and isinstance(library, ctypes.CDLL)
    assert folder.stat().st_mode & 0o077 == 0
    before = made.stat().st_mtime_ns
    native.find_library.cache_clear()
    assert native.find_library()[0] is not None
    assert made.stat().st_mtime_ns == before


@pytest.mark.parametrize("what", ["folder", "library"])
def test_what_others_may_write_is_not_loaded(empty: Path, what: str) -> None:
    library, why = native.find_library()
    if library is None:
        pytest.skip(why)
    folder = empty / "limner" / "native"
    (made,) = folder.iterdir()
    (folder if what == "folder" else made).chmod(0o777)
    native.find_library.cache_clear()
    library, why = native.find_library()
    assert library is None and "is not this user's alone" in why
