"""C2PA: a signed manifest in a picture's file, by which somebody says that a model made it.

It needs the extra c2pa, and a PEM file with a private key and its certificates. A signature tells
of any later change to the file; it is gone once the picture is saved anew. Nothing here uses the
network: no time stamp is asked for, and no manifest or revocation list is fetched.
"""

from __future__ import annotations

import datetime
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import DataError, MissingExtraError, ResourceError, UsageError, quote
from limner.finish.provenance.xmp import SOURCES, TRAINED

VALID, TRUSTED, INVALID, ABSENT, UNCHECKED = "valid", "trusted", "invalid", "absent", "unchecked"
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_BOX = b"c2pa"  # the name of the box that holds manifests, in every format
_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\s*", re.DOTALL)
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_SIZE_LIMIT = 2**20  # bytes of a PEM file
_DAYS = 3650
_OFFLINE = {
    # A thumbnail would add the picture a second time, and a hundred times the bytes.
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True)
class Signature:
    """What a file's manifest is worth: its `state`, who signed, the digital source type it states.

    The state is one of VALID (as it was signed, by somebody not known), TRUSTED, INVALID (`told`
    says why), ABSENT, and UNCHECKED, where there may be one and the extra c2pa is not installed.
    """

    state: str
    issuer: str = ""
    source: str = ""
    told: str = ""


def sign(data: bytes, kind: str, pem: str | Path) -> bytes:
    """Return the bytes of a PNG, JPEG or WEBP file with a manifest, signed by the key of a file.

    The manifest says that a trained model created the picture, and nothing of the prompt. Raises
    MissingExtraError without the extra c2pa, DataError for a file that cannot be read, UsageError
    for a key or certificate that C2PA does not take.
    """
    c2pa = _library()
    algorithm, key, chain = _read_pem(pem)
    actions = [
        {
            "action": "c2pa.created",
            "softwareAgent": {"name": "limner"},
            "digitalSourceType": SOURCES + TRAINED,
        }
    ]
    manifest = {
        "claim_generator_info": [{"name": "limner"}],
        "format": TYPES[kind],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }
    signed = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(algorithm.encode(), chain.encode(), key.encode(), None)
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, context=c2pa.Context.from_dict(_OFFLINE)) as builder,
        ):
            builder.sign(signer, TYPES[kind], io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise UsageError(
            f"cannot sign with {quote(str(pem), 200)}: {error}; give a key and certificates for "
            "C2PA",
            param="sign",
        ) from error
    return signed.getvalue()


def check_signing(pem: str | Path) -> None:
    """Raise what `sign` would for a file and what is installed; C2PA itself is not asked."""
    _library()
    _read_pem(pem)


def read_signature(data: bytes) -> Signature:
    """Return what the manifest in the bytes of a PNG, JPEG or WebP file is worth."""
    if _BOX not in data:
        return Signature(ABSENT)
    try:
        c2pa = _library()
    except MissingExtraError:
        return Signature(UNCHECKED, told="pip install 'limner[c2pa]' checks it")
    try:
        with c2pa.Reader(None, io.BytesIO(data), None, c2pa.Context.from_dict(_OFFLINE)) as reader:
            state = str(reader.get_validation_state() or INVALID).lower()
            manifest = reader.get_active_manifest() or {}
            results = reader.get_validation_results() or {}
    except c2pa.C2paError as error:
        # The letters may stand in pixels or words, where no manifest is.
        if "ManifestNotFound" in f"{type(error).__name__} {error}":
            return Signature(ABSENT)
        return Signature(INVALID, told=str(error)[:200])
    active = results.get("activeManifest") or {}
    failures = [str(each.get("code")) for each in active.get("failure") or ()]
    return Signature(
        state if state in (VALID, TRUSTED) else INVALID,
        str((manifest.get("signature_info") or {}).get("issuer") or "")[:200],
        _source(manifest),
        ", ".join(failures)[:200],
    )


def _source(manifest: Mapping[str, Any]) -> str:
    """Return the digital source type that the actions of a manifest state, as a term."""
    for assertion in manifest.get("assertions") or ():
        for action in (assertion.get("data") or {}).get("actions") or ():
            if stated := action.get("digitalSourceType"):
                return str(stated).removeprefix(SOURCES)[:200]
    return ""


def make_certificate(path: str | Path, name: str = "limner test") -> Path:
    """Write a new key with a certificate of `name` and of an authority of its own, for trying out.

    Nobody trusts that authority: readers call its signatures valid and their signer unknown.
    Raises UsageError where `path` is there already, ResourceError where it cannot be written.
    """
    _library()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(what: str) -> x509.Name:
        parts = ((NameOID.COMMON_NAME, what), (NameOID.ORGANIZATION_NAME, name))
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])

    def certificate(
        subject: str, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        bits = dict.fromkeys(
            ("key_encipherment", "data_encipherment", "key_agreement", "content_commitment",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        usage = x509.KeyUsage(
            digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **bits
        )
        began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        built = (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named(f"{name} authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + datetime.timedelta(days=_DAYS))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), False
            )
        )
        if not authority:
            purposes = [ExtendedKeyUsageOID.EMAIL_PROTECTION]
            built = built.add_extension(x509.ExtendedKeyUsage(purposes), False)
        return built.sign(own, hashes.SHA256())

    own, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    shape = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = [certificate(name, key, authority=False)]
    chain.append(certificate(f"{name} authority", own, authority=True))
    written = key.private_bytes(pem, *shape) + b"".join(each.public_bytes(pem) for each in chain)
    return _write_key(Path(path), written)


def _write_key(path: Path, written: bytes) -> Path:
    """Write a new file that only its owner may read; raises as `make_certificate`."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(written)
    except FileExistsError:
        raise UsageError(f"{quote(str(path), 200)} is there; give the name of a new file") from None
    except OSError as error:
        raise ResourceError(
            f"cannot write {quote(str(path), 200)}: {error.strerror}; choose another place"
        ) from error
    return path


def _read_pem(path: str | Path) -> tuple[str, str, str]:
    """Return the algorithm, the private key and the certificates of a PEM file."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    shown = quote(str(path), 200)
    try:
        with open(path, "rb") as file:
            text = file.read(_SIZE_LIMIT).decode("ascii", "replace")
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}") from error
    blocks = [(found[1], found[0]) for found in _BLOCK.finditer(text)]
    keys = [block for kind, block in blocks if kind.endswith("PRIVATE KEY")]
    chain = [block for kind, block in blocks if kind == "CERTIFICATE"]
    if len(keys) != 1 or not chain:
        raise UsageError(
            f"{shown} holds {len(keys)} private keys and {len(chain)} certificates; give a PEM "
            "file with one key and its certificates, the key's own first",
            param="sign",
        )
    try:
        key = serialization.load_pem_private_key(keys[0].encode(), None)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the private key in {shown} cannot be read; give one without a password", param="sign"
        ) from error
    algorithm = "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = _ALGORITHMS.get(key.curve.name, key.curve.name)
    # C2PA takes keys in the form of PKCS 8 alone.
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    spelt = key.private_bytes(serialization.Encoding.PEM, *form).decode()
    return algorithm, spelt, "".join(chain)


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtraError(
            "signing needs the package c2pa-python; pip install 'limner[c2pa]'", param="sign"
        ) from error
    return c2pa
