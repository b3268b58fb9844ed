"""Sessions of the web page: a key that stands for a token for some hours, so that the page need not keep the token.

A key says whose it is, until when, and below which path of a proxy the page lies; a signature binds that to the token.
So nothing is kept: a session survives a restart, and ends with its token, with its time, and with the key of signed
addresses. The rights are those that the token has now.

A one-time code lets a browser begin a session without the token. It is kept in memory only, as a digest.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from comfyledger.errors import Refused
from comfyledger.server.salted_key import SaltedKey
from comfyledger.server.tokens import ANYBODY, Caller, Keyring, SessionMark, digest_of

SESSION_MS: Final = 12 * 3_600_000
CODE_MS: Final = 60_000
CODES_EACH: Final = 8
"""Unused codes of one token. A further one replaces the oldest."""
PURPOSE: Final = b"comfyledger sessions 1"
_PREFIX: Final = "session."
_KEY_CHARS_MAX: Final = 1_024
_CODE_HINT: Final = "`comfyledger open` makes a new one."


class _Said(msgspec.Struct, frozen=True, array_like=True):
    """What a key says. `label`: of the token; empty for the daemon's own."""

    label: str
    expires_at_ms: int
    base_path: str


class _Code(msgspec.Struct, frozen=True):
    """A one-time code that nobody has used. `digest`: of its text."""

    digest: bytes
    caller: Caller
    expires_at_ms: int


class Sessions:
    """Makes and checks keys. `keyring` is None if the configuration requires no token."""

    def __init__(self, key: SaltedKey, keyring: Keyring | None, now_ms: Callable[[], int]) -> None:
        self._key, self._keyring, self._now_ms = key, keyring, now_ms
        self._codes: list[_Code] = []

    def refresh(self) -> None:
        """Pick up a changed salt."""
        self._key.refresh()

    # ---- keys

    def begin(self, caller: Caller, base_path: str) -> tuple[str, int]:
        """A key for a caller, and when it ends in ms since 1970. Raises Refused(forbidden, internal)."""
        self._check_may_begin(caller)
        said = _Said(caller.label, self._now_ms() + SESSION_MS, base_path)
        raw = msgspec.json.encode(said)
        return f"{_PREFIX}{_text(raw)}.{_text(self._signature(raw, caller))}", said.expires_at_ms

    def who(self, key: str) -> Caller | None:
        """The caller with this key; None for what is no key, or not of a token that is valid now.

        Raises Refused(session_expired) for a key that was valid.
        """
        parts = key.split(".") if key.startswith(_PREFIX) and len(key) <= _KEY_CHARS_MAX else []
        if len(parts) != 3 or not self._key.value:
            return None
        try:
            raw, signature = _bytes(parts[1]), _bytes(parts[2])
            said = msgspec.json.decode(raw, type=_Said)
        except (binascii.Error, ValueError, RecursionError):
            return None
        caller = self._of_label(said.label)
        if caller is None or not hmac.compare_digest(signature, self._signature(raw, caller)):
            return None
        if said.expires_at_ms <= self._now_ms():
            raise Refused("session_expired", hint="Sign in again.")
        return replace(caller, session=SessionMark(said.expires_at_ms, said.base_path, self._mark()))

    def holds(self, caller: Caller) -> bool:
        """Whether the session of a caller goes on, as far as it is not a matter of its token."""
        session = caller.session
        return session is None or (session.expires_at_ms > self._now_ms() and session.key_mark == self._mark())

    def _of_label(self, label: str) -> Caller | None:
        if self._keyring is not None:
            return self._keyring.of_label(label)
        return ANYBODY if label == ANYBODY.label else None

    def _signature(self, raw: bytes, caller: Caller) -> bytes:
        return hmac.digest(self._key.value, caller.digest + raw, "sha256")

    def _mark(self) -> bytes:
        """What changes with the key, and does not give it away."""
        return hmac.digest(self._key.value, b"mark", "sha256")[:8] if self._key.value else b""

    def _check_may_begin(self, caller: Caller) -> None:
        if caller.session is not None:
            text = "A session cannot begin another one: it would go on without end."
            raise Refused("forbidden", text, hint="Sign in with the token, or run `comfyledger open`.")
        if not self._key.value:
            raise Refused("internal", "The key for sessions cannot be read.", hint="See the daemon's log.")

    # ---- one-time codes

    def make_code(self, caller: Caller) -> tuple[str, int]:
        """A code that begins one session of this caller, and when it ends in ms since 1970. Raises Refused."""
        self._check_may_begin(caller)
        now_ms, code = self._now_ms(), secrets.token_urlsafe(32)
        left = [one for one in self._codes if one.expires_at_ms > now_ms]
        own = [one for one in left if one.caller.digest == caller.digest]
        if len(own) >= CODES_EACH:
            left.remove(own[0])
        made = _Code(digest_of(code), caller, now_ms + CODE_MS)
        self._codes = [*left, made]
        return code, made.expires_at_ms

    def redeem(self, code: str) -> Caller:
        """The caller who asked for a code, which cannot be used again. Raises Refused(code_invalid).

        Every code is compared in constant time. A wrong, a used and an old one are refused alike.
        """
        given, found = digest_of(code), None
        for one in self._codes:
            if hmac.compare_digest(given, one.digest):
                found = one
        if found is not None:
            self._codes.remove(found)
        if found is None or found.expires_at_ms <= self._now_ms() or not self._is_known(found.caller):
            raise Refused("code_invalid", hint=_CODE_HINT, path="$.code")
        return found.caller

    def _is_known(self, caller: Caller) -> bool:
        return self._keyring is None or self._keyring.holds(caller)


def _text(raw: bytes) -> str:
    """In letters that a header and a subprotocol may have."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises ValueError. One spelling only, so that a key cannot be changed and stay valid."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(raw) != text:
        raise ValueError(text)
    return raw
