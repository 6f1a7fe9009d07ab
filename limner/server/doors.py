"""Who may ask: the Host and Origin that a request names, and its key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from socket import gethostname

from limner.server.errors import ApiError

LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Hosts:
    """The names under which a server answers: exactly these, against DNS rebinding.

    A `port` of 0 is whatever was asked. Where the server listens on `host` of this machine alone,
    that is LOCAL; where it listens on all addresses, any address in digits, and the machine's name.
    `allowed` names come beside, `origins` are those of other pages that may ask.
    """

    def __init__(self, host: str, allowed: Collection[str] = (), origins: Collection[str] = ()):
        self.names = {each.lower() for each in allowed}
        self.origins = set(origins)
        self.numbers = False
        try:
            address = ip_address(host)
        except ValueError:
            loopback, self.numbers = host == "localhost", False
        else:
            loopback, self.numbers = address.is_loopback, address.is_unspecified
        self.names |= {*LOCAL} if loopback or self.numbers else set()
        self.names |= {gethostname().lower()} if self.numbers else set()
        self.names.add(f"[{host}]" if ":" in host else host.lower())

    def check(self, headers: Mapping[bytes, list[bytes]]) -> None:
        """Raise 403 for another Host, or none, or another page's Origin."""
        asked = [each.decode("latin-1") for each in headers.get(b"host", [])]
        if len(asked) != 1 or not self._knows(asked[0]):
            raise _closed("the Host of the request is not allowed; see --allow-host", "host")
        origins = [each.decode("latin-1") for each in headers.get(b"origin", [])]
        if origins and not (len(origins) == 1 and self.fits(origins[0], asked[0])):
            raise _closed("the Origin of the request is not allowed; see --allow-origin", "origin")

    def fits(self, origin: str, host: str) -> bool:
        """Say whether a page of `origin` may ask `host`: its own, or one that is allowed."""
        return origin in self.origins or origin in (f"http://{host}", f"https://{host}")

    def _knows(self, host: str) -> bool:
        name, port = host, ""
        if not host.endswith("]"):
            before, colon, after = host.rpartition(":")
            if colon:
                name, port = before, after
        if port and not (port.isascii() and port.isdecimal() and len(port) < 6):
            return False
        name = name.lower()
        if name in self.names or host.lower() in self.names:
            return True
        return self.numbers and _is_address(name)


class Keys:
    """The keys, by their holders' names; without any, all may ask under the name "local"."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self.holders = {_hash(key): name for key, name in keys.items()}

    def __bool__(self) -> bool:
        return bool(self.holders)

    def holder(self, headers: Mapping[bytes, list[bytes]]) -> str:
        """Return whose key a request has; 401 for none or a wrong one, in the same time."""
        if not self.holders:
            return "local"
        given = _hash(_key_of(headers))
        found = ""
        for known, name in self.holders.items():  # all of them, each in constant time
            if hmac.compare_digest(known, given):
                found = name
        if not found:
            raise ApiError(
                401, "there is no such key; send it as Authorization: Bearer KEY",
                code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        return found


def _key_of(headers: Mapping[bytes, list[bytes]]) -> str:
    """Return the key that a request gives: as OpenAI's clients, Azure's, or Basic's password."""
    given = headers.get(b"authorization", [])
    if len(given) == 1:
        kind, _, rest = given[0].decode("latin-1").partition(" ")
        if kind.lower() == "bearer":
            return rest.strip()
        if kind.lower() == "basic":
            try:
                return base64.b64decode(rest, validate=True).decode().partition(":")[2]
            except ValueError:
                return ""
    own = headers.get(b"api-key", [])
    return own[0].decode("latin-1") if len(own) == 1 else ""


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return name.startswith("[") == name.endswith("]")


def _closed(message: str, what: str) -> ApiError:
    return ApiError(403, message, code=f"{what}_not_allowed")
