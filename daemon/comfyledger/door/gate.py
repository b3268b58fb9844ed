"""Who may come in: the token, the Host and the Origin of every request. Nothing is read from a request before this."""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from comfyledger.errors import Refused
from comfyledger.settings import Door
from comfyledger.wire import SUBPROTOCOL

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
TOKEN_PREFIX: Final = "token."  # noqa: S105 (a word of the protocol)


def find_token(path: Path, environment: Mapping[str, str]) -> str:
    """The token that systemd passes as the credential `token`, which is only read, else that in the state folder.

    ($CREDENTIALS_DIRECTORY: systemd.exec(5), LoadCredential=.) Raises OSError.
    """
    passed = Path(environment.get("CREDENTIALS_DIRECTORY") or "/nonexistent", "token")
    return (passed.read_text(encoding="ascii").strip() if passed.is_file() else "") or read_or_make_token(path)


def read_or_make_token(path: Path) -> str:
    """The token in the state folder, made at the first start and readable by its owner only."""
    found = path.read_text(encoding="ascii").strip() if path.exists() else ""
    if found:
        return found
    token = secrets.token_urlsafe(32)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, token.encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    return token


class Gate(msgspec.Struct, frozen=True):
    """The rules of one door. `token` is empty when the configuration asks for none."""

    token: str
    origins: frozenset[str]
    hosts: frozenset[str]

    def check_caller(self, request: web.Request) -> None:
        """Raises Refused(forbidden_host, forbidden_origin)."""
        self._check_host(request.headers.get("Host", ""))
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self.origins:
            hint = "List the page's origin in [door] allowed_origins if it is yours."
            raise Refused("forbidden_origin", f"Requests from the page {origin[:200]!r} are not allowed.", hint=hint)

    def _check_host(self, header: str) -> None:
        """What a browser was made to believe by a foreign name server shows in the Host header."""
        host = header.rpartition("]")[0].lstrip("[") if header.startswith("[") else header.partition(":")[0]
        if host.lower() not in self.hosts:
            hint = "Use 127.0.0.1, or list the name in [door] allowed_hosts."
            raise Refused("forbidden_host", f"This daemon is not {header[:200]!r}.", hint=hint)

    def check_token(self, request: web.Request) -> None:
        """Raises Refused(unauthorized)."""
        if not self.token:
            return
        given = _bearer(request) or _from_subprotocol(request)
        if not given or not hmac.compare_digest(given.encode(errors="replace"), self.token.encode()):
            hint = "Send `Authorization: Bearer TOKEN`; the token is in the file `token` of the daemon's state folder."
            raise Refused("unauthorized", hint=hint)


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _from_subprotocol(request: web.Request) -> str:
    """Browsers cannot set headers on a websocket; they offer [`comfyledger`, `token.<token>`] as subprotocols."""
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    tokens = [word.removeprefix(TOKEN_PREFIX) for word in offered if word.startswith(TOKEN_PREFIX)]
    return tokens[0] if tokens and SUBPROTOCOL in offered else ""


def gate_of(door: Door, token: str) -> Gate:
    hosts = LOOPBACK | {host.lower() for host in door.allowed_hosts}
    return Gate(token if door.auth == "token" else "", frozenset(door.allowed_origins), hosts)
