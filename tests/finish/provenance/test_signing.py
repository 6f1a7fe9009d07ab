"""C2PA manifests: each format is signed, any change is noticed, and nothing else is needed."""

from pathlib import Path

import pytest

from limner.errors import DataError, UsageError
from limner.finish.provenance.signing import (
    ABSENT,
    INVALID,
    VALID,
    check_signing,
    make_certificate,
    read_signature,
)
from limner.finish.provenance.xmp import TRAINED
from tests.finish.provenance.test_saving import PICTURE

pytest.importorskip("c2pa", reason="needs the extra c2pa")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("pem") / "a.pem", "a tester")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_signed_picture_is_valid_and_any_change_is_noticed(pem: Path, kind: str) -> None:
    plain = PICTURE.to_bytes(kind)
    signed = PICTURE.to_bytes(kind, sign=pem)
    assert len(signed) - len(plain) < 4096  # no thumbnail
    found = read_signature(signed)
    assert (found.state, found.issuer, found.source) == (VALID, "a tester", TRAINED)
    assert found.told == "signingCredential.untrusted"
    # Of the picture itself: a manifest has room that is left empty.
    first = signed.index(plain[-400:-300])
    for at in range(first, first + 100, 5):
        changed = bytearray(signed)
        changed[at] ^= 1
        assert read_signature(bytes(changed)).state in (INVALID, ABSENT), at
    assert read_signature(plain).state == ABSENT


def test_letters_alone_are_no_manifest() -> None:
    assert read_signature(PICTURE.to_png() + b"c2pa").state == ABSENT


def test_a_key_is_for_its_owner_and_never_written_over(pem: Path) -> None:
    assert pem.stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError, match="is there; give the name of a new file"):
        make_certificate(pem)


def test_a_wrong_key_is_told(pem: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        check_signing(tmp_path / "absent.pem")
    lone = tmp_path / "lone.pem"
    lone.write_text(pem.read_text().partition("-----BEGIN CERTIFICATE")[0])
    with pytest.raises(UsageError, match="holds 1 private keys and 0 certificates"):
        check_signing(lone)
    other = make_certificate(tmp_path / "other.pem")
    key, _, _ = other.read_text().partition("-----BEGIN CERTIFICATE")
    rest = pem.read_text().partition("-----BEGIN CERTIFICATE")
    mixed = tmp_path / "mixed.pem"
    mixed.write_text(key + rest[1] + rest[2])
    with pytest.raises(UsageError, match="cannot sign with"):
        PICTURE.to_png(sign=mixed)
