"""One connection to the daemon, or the reason why there is none, with what to do.

At a Unix socket the kernel says which user's process listens. The client checks that before it sends anything, above
all the token: anybody who may write to the folder can put a socket there while the daemon is away.
"""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from comfyledger import wire
from comfyledger.client.finding import Address
from comfyledger.core.urls import without_userinfo
from comfyledger.errors import CODES, Refused

FRAME_BYTES_MAX: Final = 64 * 2**20
CONNECT_S: Final = 10.0
CLOSE_S: Final = 0.2
"""Limit of the closing handshake: its answer may come after events that nobody reads any more."""
_UCRED: Final = struct.Struct("3i")
"""struct ucred of unix(7): process, user, group."""
_UNCONNECTED: Final = -1


class Stranger(OSError):
    """A program of another user listens at the daemon's address."""

    def __init__(self, user: int) -> None:
        self.user = user
        super().__init__(f"user {user}")


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[ClientConnection]:
    """Raises OSError, EOFError, InvalidHandshake, InvalidURI; `why_not` turns each into a refusal."""
    headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    through: dict[str, Any] = {"unix": True, "sock": await trusted_socket(address)} if address.unix_path else {}
    opened = await _Direct(
        address.websocket,
        **through,
        additional_headers=headers,
        max_size=FRAME_BYTES_MAX,
        compression=None,
        proxy=None,
        close_timeout=CLOSE_S,
    )
    try:
        yield opened
    finally:
        with suppress(AttributeError):  # asyncio cannot abort a transport that broke while it wrote
            await opened.close()


class _Direct(connect):
    """A connection to the given address only: the token is sent nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Called by `websockets` for each answer that is no handshake."""
        return exc


async def trusted_socket(address: Address) -> socket.socket:
    """A socket connected to a process that may see the token. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.setblocking(False)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(made, address.unix_path)
        _check_peer(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _check_peer(made: socket.socket, address: Address) -> None:
    _, user, _ = _UCRED.unpack(made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if user == _UNCONNECTED:
        raise ConnectionRefusedError("too many connections wait to be accepted")
    if address.users is not None and user not in address.users:
        raise Stranger(user)


def why_not(address: Address, error: Exception) -> Refused:
    """Why there is no connection; the daemon's own reason if a daemon refused it."""
    if isinstance(error, Stranger):
        return _strange(address, error.user)
    if isinstance(error, PermissionError):
        hint = "Join the group of the state folder, or name an address with --url or COMFYLEDGER_URL."
        return Refused("not_running", f"This user may not connect at {without_userinfo(address.url)}.", hint=hint)
    if not isinstance(error, InvalidStatus):
        return absent(address)
    if 300 <= error.response.status_code < 400:
        text = f"{without_userinfo(address.url)} redirects to another address, which is not followed."
        return Refused("not_running", text, hint="Name the address at which the daemon itself answers.")
    if error.response.status_code == HTTPStatus.UNAUTHORIZED:
        hint = f"The daemon keeps its token in its state folder, here {address.token_path}; or set COMFYLEDGER_TOKEN."
        return Refused("unauthorized", hint=hint)
    return refused_by_daemon(bytes(error.response.body or b"")) or absent(address)


def absent(address: Address) -> Refused:
    where = "Start it with `comfyledger run`"
    elsewhere = "" if address.users is None else ", or name another one's address with --url or COMFYLEDGER_URL"
    return Refused("not_running", f"No daemon answers at {without_userinfo(address.url)}.", hint=f"{where}{elsewhere}.")


def not_comfyledger(address: Address) -> Refused:
    """ComfyUI has a websocket under the same path, and greets everybody."""
    text = f"What answers at {without_userinfo(address.url)} is not comfyledger. It may be ComfyUI."
    return Refused("protocol_version", text, hint="Give the address of the daemon, by default http://127.0.0.1:9831.")


def _strange(address: Address, user: int) -> Refused:
    try:
        name = f"{pwd.getpwuid(user).pw_name} ({user})"
    except KeyError:
        name = str(user)
    url = without_userinfo(address.url)
    text = f"A program of user {name} listens at {url}, and it is not the daemon. Nothing was sent to it."
    hint = f"See who may write to {address.token_path.parent}, then start `comfyledger run` again."
    return Refused("not_running", text, hint=hint)


def refusal_of(info: wire.ErrorInfo) -> Refused:
    message = info.message or CODES.get(info.code, info.code)
    return Refused(
        info.code,
        message,
        hint=info.hint,
        path=info.path,
        retry_after_s=info.retry_after_s,
        mistakes=tuple(map(wire.node_mistake, info.mistakes)),
    )


def refused_by_daemon(body: bytes) -> Refused | None:
    """The refusal in the body of an answer outside `/v1`; None if there is none."""
    try:
        said = wire.read_answer(wire.read_envelope(body))
    except (Refused, KeyError, msgspec.MsgspecError):
        return None
    return refusal_of(said) if isinstance(said, wire.ErrorInfo) else None
