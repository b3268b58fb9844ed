"""Access: the token, the Host and the Origin of every request, checked before anything else of it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

from comfyledger import wire
from comfyledger.errors import Refused
from comfyledger.ledger.ports import Reader
from comfyledger.queries.listings import find_image
from comfyledger.server.salted_key import SaltedKey
from comfyledger.server.sessions import Sessions
from comfyledger.server.tokens import ANYBODY, Caller, Keyring, Right
from comfyledger.settings import Door
from comfyledger.settings.addresses import authority_of, host_of, is_any, listed_host
from comfyledger.wire import SUBPROTOCOL

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
TOKEN_PREFIX: Final = "token."  # noqa: S105 (a word of the protocol)
CALLER: Final = web.RequestKey("caller", Caller)
"""Who sends a request. Without a valid token nobody is known."""


class Access(msgspec.Struct, frozen=True):
    """The access rules of the server. `keyring` is None if the configuration requires no token."""

    keyring: Keyring | None
    sessions: Sessions
    origins: frozenset[str]
    hosts: frozenset[str]
    behind_proxy: bool = False
    """Whether a proxy in front ends TLS, so that pages of this very server have addresses with `https`."""

    def check_caller(self, request: web.Request) -> None:
        """Raises Refused(forbidden_host, forbidden_origin)."""
        self._check_hosts(request)
        for origin in request.headers.getall("Origin", ()):
            if not self.takes_origin(request, origin):
                hint = "If the page is yours, list its origin in [door] allowed_origins."
                raise Refused(
                    "forbidden_origin", f"Requests from the page {origin[:200]!r} are not allowed.", hint=hint
                )

    def takes_origin(self, request: web.Request, origin: str) -> bool:
        """Whether a page of this origin may send requests: one that is listed, or a page of this very server.

        The Host header must have been checked before.
        """
        scheme, _, host = origin.partition("://")
        is_own = scheme == request.scheme or (scheme == "https" and self.behind_proxy)
        return origin in self.origins or (is_own and host == request.headers.get("Host"))

    def _check_hosts(self, request: web.Request) -> None:
        """The Host header shows whether a browser was misled by a foreign name server (DNS rebinding).

        There must be exactly one. A request target that names a host (RFC 9112, 3.2.2) is checked in the same way.
        """
        named = request.headers.getall("Host", [])
        target = authority_of(request.raw_path)
        if len(named) > 1 or not (named or target):
            hint = "Send one Host header."
            raise Refused("forbidden_host", f"The request has {len(named)} Host headers.", hint=hint)
        for name in [*named, *([target] if target is not None else [])]:
            if host_of(name) not in self.hosts:
                hint = "Use 127.0.0.1, or list the name in [door] allowed_hosts."
                raise Refused("forbidden_host", f"This daemon does not answer for the host {name[:200]!r}.", hint=hint)

    def recognize(self, request: web.Request) -> Caller | None:
        """The caller whose token or session a request carries; None without one or with a wrong one.

        The request keeps it, so that its token is hashed once. Raises Refused(unauthorized) for two Authorization
        headers: a proxy may have checked the other one. Raises Refused(session_expired).
        """
        given = _bearer(request) or _from_subprotocol(request)
        found = self.sessions.who(given) if given else None
        if found is None:
            found = self._of_token(given)
        if found is not None:
            request[CALLER] = found
        return found

    def _of_token(self, given: str) -> Caller | None:
        if self.keyring is None:
            return ANYBODY
        return self.keyring.who(given) if given else None

    def holds(self, caller: Caller) -> bool:
        """Whether the token of a caller is still valid, and its session goes on."""
        return (self.keyring is None or self.keyring.holds(caller)) and self.sessions.holds(caller)

    def check_still(self, caller: Caller) -> None:
        """Raises Refused(unauthorized, session_expired) for a caller whose token was revoked or whose session ended
        since.
        """
        if self.keyring is not None and not self.keyring.holds(caller):
            raise Refused("unauthorized", "The token was revoked.", hint="Ask for a new one.")
        if not self.sessions.holds(caller):
            raise Refused("session_expired", hint="Sign in again.")


def caller_of(request: web.Request) -> Caller:
    """The caller that was recognized. Raises Refused(unauthorized)."""
    found: Caller | None = request.get(CALLER)
    if found is None:
        hint = "Send `Authorization: Bearer TOKEN`; the token is in the file `token` of the daemon's state folder."
        raise Refused("unauthorized", hint=hint)
    return found


def _bearer(request: web.Request) -> str:
    given = request.headers.getall("Authorization", ())
    if len(given) > 1:
        text = f"The request has {len(given)} Authorization headers."
        raise Refused("unauthorized", text, hint="Send one such header.", path="header.Authorization")
    scheme, _, token = given[0].partition(" ") if given else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else ""


def _from_subprotocol(request: web.Request) -> str:
    """Browsers cannot set headers on a websocket; they offer [`comfyledger`, `token.<token>`] as subprotocols."""
    offered = [word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    tokens = [word.removeprefix(TOKEN_PREFIX) for word in offered if word.startswith(TOKEN_PREFIX)]
    return tokens[0] if tokens and SUBPROTOCOL in offered else ""


def access_of(door: Door, keyring: Keyring, key: SaltedKey, now_ms: Callable[[], int], box_host: str = "") -> Access:
    """`key`: for sessions. `now_ms`: the wall clock, in ms since 1970. `box_host`: under which other boxes of a fleet
    reach this one.
    """
    own = (*(() if is_any(door.host) else (door.host,)), *([box_host] if box_host else []))
    hosts = LOOPBACK | {host for host in map(listed_host, (*door.allowed_hosts, *own)) if host}
    keys = keyring if door.auth == "token" else None
    return Access(keys, Sessions(key, keys, now_ms), frozenset(door.allowed_origins), hosts, door.behind_proxy)


# ---- what a token may do

NEEDED: Final[dict[type[wire.Message], Right]] = {
    wire.Hello: "read",
    wire.GetBatch: "read",
    wire.ListBatches: "read",
    wire.GetImage: "read",
    wire.GetRecipe: "read",
    wire.ListImages: "read",
    wire.CountImages: "read",
    wire.Subscribe: "read",
    wire.Unsubscribe: "read",
    wire.ReadLog: "read",
    wire.Explain: "read",
    wire.ServerInfo: "read",
    wire.SubmitBatch: "submit_configured",
    wire.CheckWorkflow: "submit",
    wire.DescribeWorkflow: "submit_configured",
    wire.OpenSeries: "submit_configured",
    wire.ListCharacters: "submit_configured",
    wire.AddInput: "submit_configured",
    wire.ListInputs: "read",
    wire.ForgetInput: "submit_configured",
    wire.Cancel: "submit_configured",
    wire.Retry: "submit_configured",
    wire.SetPriority: "submit_configured",
    wire.Recover: "operate",
    wire.Pause: "operate",
    wire.Move: "operate",
    wire.Resume: "operate",
    wire.Review: "operate",
    wire.Forget: "admin",
    wire.AddBackend: "admin",
    wire.RemoveBackend: "admin",
    wire.GiveUpBox: "operate",
    wire.AddWebhook: "operate",
    wire.RemoveWebhook: "operate",
    wire.ListWebhooks: "operate",
    wire.TestWebhook: "operate",
    wire.ReplayWebhook: "operate",
    wire.ListChecks: "operate",
    wire.GetActivity: "read",
    wire.SurveyStore: "admin",
    wire.RaiseSeries: "admin",
}


def check_right(caller: Caller, needed: Right) -> None:
    """Raises Refused(forbidden)."""
    if not caller.may(needed):
        hint = f"`comfyledger token add LABEL --right {needed}` makes a token with the right `{needed}`."
        raise Refused(
            "forbidden",
            f"The token of {caller.label} has the right `{caller.right}`; this request needs `{needed}`.",
            hint=hint,
        )


_OF_WEBHOOKS: Final = (wire.AddWebhook, wire.RemoveWebhook, wire.ListWebhooks, wire.TestWebhook, wire.ReplayWebhook)
OF_ALL: Final = (wire.SurveyStore, wire.RaiseSeries, wire.Move, wire.GiveUpBox, wire.ListChecks, *_OF_WEBHOOKS)
"""Requests about what a store, a ComfyUI or a box has, or a webhook delivers, whichever label it belongs to."""


def check_reads_all(caller: Caller) -> None:
    """Raises Refused(forbidden) for a caller that sees only its own work."""
    if not caller.read_all:
        hint = "`comfyledger token add LABEL --read-all` makes a token that sees all labels."
        text = f"The token of {caller.label} sees only its own work, and this request concerns the work of all labels."
        raise Refused("forbidden", text, hint=hint)


async def check_request(caller: Caller, message: wire.Message, reader: Reader) -> None:
    """Raises Refused(forbidden). The request itself reports a batch that does not exist, or is not shown to the caller.

    `reader`: limited to what the caller may see.
    """
    check_right(caller, NEEDED[type(message)])
    if isinstance(message, wire.ForgetInput) and message.all_labels:
        check_right(caller, "admin")
    if isinstance(message, wire.Review) and message.forget:
        check_right(caller, "admin")
    if isinstance(message, OF_ALL):
        check_reads_all(caller)
    if isinstance(message, wire.SubmitBatch) and not caller.may("submit"):
        await _check_graph(caller, message, reader)
    if isinstance(message, wire.Cancel | wire.Retry | wire.SetPriority) and not caller.may("operate"):
        batch = await reader.batch(message.batch_id)
        if batch is not None and batch.label != caller.label:
            text = f"{caller.label} may change its own batches only; this one belongs to {batch.label}."
            hint = "Use the token of that client, or one with the right `operate`."
            raise Refused("forbidden", text, hint=hint, path="$.data.batch_id")


async def _check_graph(caller: Caller, message: wire.SubmitBatch, reader: Reader) -> None:
    """Raises Refused(forbidden) for a graph in the request, or in the recipe that it wants again."""
    is_recorded = message.workflow is None and message.like is not None and await _has_graph(message.like, reader)
    if is_recorded or isinstance(message.workflow, dict):
        text = f"The token of {caller.label} may submit configured workflows only; a graph needs the right `submit`."
        hint = "Name a configured workflow. `comfyledger token add LABEL --right submit` makes a token for graphs."
        raise Refused("forbidden", text, hint=hint, path="$.data.like" if is_recorded else "$.data.workflow")


async def _has_graph(name: str, reader: Reader) -> bool:
    """Whether an image was made from a graph of its request."""
    image = await find_image(reader, name)
    batch = await reader.batch(image.batch_id) if image is not None else None
    return batch is not None and not batch.workflow
