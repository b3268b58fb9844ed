"""Where the daemon is, and its token: from arguments, from the environment, or from files in its state folder.

Reads small files and nothing else. The client asks again before each connection, since a restarted daemon may listen
elsewhere. A daemon of this machine is found by its state folder and reached at the Unix socket there: another program
may use its old port by now, and must not get the token. A port is used only if a person names it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from comfyledger.errors import Refused

UNIX: Final = "unix:"
SOCKET: Final = "door.sock"
"""In the state folder. If that path would be too long, door.json has another one."""
SOCKET_PATH_MAX: Final = 107
"""Bytes that the path of a Unix socket may have: unix(7), sun_path without its final zero."""
_SCHEMES: Final = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_FORMS: Final = "Write http://HOST:PORT, HOST:PORT or unix:/PATH."
_TOKEN: Final = re.compile(r"[ -~]+")


class Address(NamedTuple):
    """The address of a daemon. `token` is empty if none was found; `token_path` is where it would be.

    `users`: the users whose socket may get the token; None if a person named the address.
    """

    url: str
    token: str
    token_path: Path
    users: frozenset[int] | None = None

    @property
    def unix_path(self) -> str:
        """The path of the socket, for a daemon at a Unix socket; else empty."""
        return self.url.removeprefix(UNIX) if self.url.startswith(UNIX) else ""

    @property
    def websocket(self) -> str:
        return "ws://localhost/ws" if self.unix_path else f"ws{self.url.removeprefix('http')}/ws"


def find_state_dir(environ: Mapping[str, str]) -> Path:
    """The daemon's state folder: COMFYLEDGER_STATE_DIR, else below XDG_STATE_HOME, else ~/.local/state/comfyledger."""
    if environ.get("COMFYLEDGER_STATE_DIR"):
        return Path(os.path.expanduser(environ["COMFYLEDGER_STATE_DIR"]))
    return Path(environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "comfyledger"


def find_daemon(
    url: str | None, token: str | None, state_dir: Path | str | None, environ: Mapping[str, str]
) -> Address:
    """Arguments take precedence over the environment, and that over the files in the state folder.

    With a `state_dir`, COMFYLEDGER_URL and COMFYLEDGER_TOKEN are ignored. Raises Refused: `config_invalid` for an
    invalid address, `unauthorized` for an invalid token.
    """
    folder = Path(os.path.expanduser(state_dir)) if state_dir else find_state_dir(environ)
    said = {} if state_dir else environ
    named = url or said.get("COMFYLEDGER_URL")
    path = folder / "token"
    found_token = (
        _token(token, "The token that was given")
        or _token(said.get("COMFYLEDGER_TOKEN"), "COMFYLEDGER_TOKEN")
        or _token(_text(path), str(path))
    )
    if named:
        return Address(read_url(named, "--url" if url else "COMFYLEDGER_URL"), found_token, path)
    return Address(UNIX + _socket(folder), found_token, path, _users(folder))


def read_url(given: str, where: str) -> str:
    """A typed address, normalized to `http://HOST[:PORT][/PREFIX]`, the same with https, or `unix:/PATH`.

    `where` names its source. Raises Refused(config_invalid), without repeating what may be a password.
    """
    text = given.strip()
    if not text.isprintable() or " " in text:
        raise _no_address(where, "it has a line end, a space or another character that no address has")
    if text.startswith(UNIX):
        return UNIX + _unix_path(text.removeprefix(UNIX), where)
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
        if not re.fullmatch(r"[^/]*:\d+(/.*)?", text):
            raise _no_address(where, "it names no port")
    if scheme.lower() not in _SCHEMES:
        raise _no_address(where, f"it begins with {scheme[:16]}://")
    return f"{_SCHEMES[scheme.lower()]}://{_host_and_prefix(rest, where)}"


def _unix_path(path: str, where: str) -> str:
    path = path.removeprefix("//")
    if not path.startswith("/"):
        raise _no_address(where, "the path of its socket does not begin with /")
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise _no_address(where, f"a socket's path has at most {SOCKET_PATH_MAX} bytes")
    return path


def _host_and_prefix(rest: str, where: str) -> str:
    """What follows `://`, without the `/ws` that the client adds itself."""
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _no_address(where, "its host or port cannot be read") from None
    if "@" in parts.netloc:
        raise _no_address(where, "it contains a user or password", "Give the token in COMFYLEDGER_TOKEN.")
    if not host or port == 0:
        raise _no_address(where, "it names no host" if not host else "there is no port 0")
    if parts.query or parts.fragment:
        raise _no_address(where, "something follows a ? or # in it")
    prefix = parts.path.rstrip("/").removesuffix("/ws").rstrip("/")
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}{prefix}" if port else f"{shown}{prefix}"


def _no_address(where: str, why: str, hint: str = _FORMS) -> Refused:
    return Refused("config_invalid", f"{where} is not an address of a daemon: {why}.", hint=hint)


def _token(given: str | None, where: str) -> str:
    """The token without the line end that an editor adds. Raises Refused(unauthorized) if it cannot be a token."""
    token = (given or "").strip().strip("\ufeff").strip()
    if token and not _TOKEN.fullmatch(token):
        text = f"{where} is not a token: it has a line end or another character that no token has."
        raise Refused("unauthorized", text, hint="Copy the token again, on one line.")
    return token


def _socket(folder: Path) -> str:
    said = _said(folder / "door.json", "socket")
    return said if said.startswith("/") and said.isprintable() else str(folder.absolute() / SOCKET)


def _users(folder: Path) -> frozenset[int]:
    """Root, this user, and the owner of the state folder, who is the user of a service."""
    users = {0, os.geteuid()}
    with contextlib.suppress(OSError):
        users.add(folder.stat().st_uid)
    return frozenset(users)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""


def find_config(folder: Path) -> Path | None:
    """The configuration file of the daemon that runs on a state folder, if it has one."""
    found = _said(folder / "door.json", "config")
    return Path(found) if found and Path(found).is_file() else None


def _said(path: Path, key: str) -> str:
    """The text that the daemon wrote to door.json under a key; empty if there is none."""
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return ""
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
