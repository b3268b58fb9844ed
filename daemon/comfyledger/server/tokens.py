"""Tokens: the daemon's own, and named ones for apps, each with a label and a right.

The daemon's own token is in the file `token`, where the command line and clients of the same user find it. It may do
everything. Named tokens are in `tokens.json` as digests, so reading the file does not give a token away. The daemon
picks up changes of both files, so new and revoked tokens need no restart.
"""

from __future__ import annotations

import codecs
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar, get_args

import msgspec
import structlog
from msgspec import Meta

from comfyledger.durable import write_whole
from comfyledger.errors import Refused

Right = Literal["read", "submit_configured", "submit", "operate", "admin"]
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)
"""Each includes those before it."""
TAKEN: Final = frozenset({"cli", "default"})
"""Labels of the command line and of clients without a label. Others must not share their request ids."""
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]

_TOKEN: Final = re.compile(rb"[ -~]+")

T = TypeVar("T")

log = structlog.get_logger("comfyledger.door")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A named token. `sha256` of its text in hex: 256 random bits need no slower digest. `made_at`: Unix time in s.

    `read_all`: it sees the work of all labels, not only of its own. Tokens of releases without this field do.
    """

    label: Label
    right: Right
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    made_at: int
    read_all: bool = True


class SessionMark(msgspec.Struct, frozen=True):
    """The session that a caller came with. `base_path`: of the proxy below which its page lies. `key_mark`: of the key
    that signed it.
    """

    expires_at_ms: int
    base_path: str
    key_mark: bytes


class Caller(msgspec.Struct, frozen=True):
    """Who sends a request. `label` is empty for a caller that may choose one; `digest` is that of the token.

    `read_all`: whether it sees the work of all labels. A caller that may choose its label does. `session`: None for a
    caller that sent the token itself.
    """

    label: str
    right: Right
    digest: bytes = b""
    read_all: bool = True
    session: SessionMark | None = None

    def may(self, needed: Right) -> bool:
        return RIGHTS.index(self.right) >= RIGHTS.index(needed)


ANYBODY: Final = Caller("", "admin")
"""Every caller, if the configuration requires no token."""


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


# ---- the daemon's own


def find_token(path: Path, environment: Mapping[str, str]) -> tuple[str, bool]:
    """The token, and whether systemd passes it as the credential `token`, which is only read.

    Otherwise the token is that of the state folder, made if there is none.

    ($CREDENTIALS_DIRECTORY: systemd.exec(5), LoadCredential=.) Raises OSError, Refused(config_invalid).
    """
    found, is_passed = own_token(path, environment)
    return (found or make_token(path), is_passed)


def own_token(path: Path, environment: Mapping[str, str]) -> tuple[str, bool]:
    """The same, but empty if there is none yet. Raises OSError, Refused(config_invalid)."""
    passed = _read(Path(environment.get("CREDENTIALS_DIRECTORY") or "/nonexistent", "token"))
    return (passed, True) if passed else (_read(path), False)


def make_token(path: Path) -> str:
    """A new token that replaces the old one. Raises OSError."""
    token = new_token()
    put_file(path, token.encode() + b"\n")
    return token


def new_token() -> str:
    """256 random bits as text. It does not begin with a hyphen, so a command line does not read it as an option."""
    while (token := secrets.token_urlsafe(32)).startswith("-"):
        pass
    return token


def _read(path: Path) -> str:
    """The token in a file, without surrounding space; empty without a file. Raises OSError, Refused(config_invalid)."""
    raw = path.read_bytes().removeprefix(codecs.BOM_UTF8).strip() if path.is_file() else b""
    if raw and not _TOKEN.fullmatch(raw):
        text = f"{path} is not a token: it contains a line end or another character that no token has."
        hint = "Write the token there as one line; `comfyledger token rotate` makes a new one."
        raise Refused("config_invalid", text, hint=hint)
    return raw.decode()


def put_file(path: Path, content: bytes) -> None:
    """Replace a file, whole and durable. Only the owner may read it, and a group that could read the old one.

    If root writes it, it belongs to the owner of the folder, so that a service can read it.
    """

    def prepare(fd: int) -> None:
        if os.geteuid() == 0:
            os.fchown(fd, path.parent.stat().st_uid, path.parent.stat().st_gid)
        if path.exists():
            os.fchmod(fd, path.stat().st_mode & 0o640)

    write_whole(path, content, prepare)


# ---- named ones


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The named tokens; none if there is no file. Raises Refused(config_invalid), OSError."""
    try:
        return msgspec.json.decode(path.read_bytes().removeprefix(codecs.BOM_UTF8), type=tuple[Token, ...])
    except FileNotFoundError:
        return ()
    except msgspec.MsgspecError as error:
        hint = "Correct the file, or remove it and add the tokens again."
        raise Refused("config_invalid", f"{path} cannot be read: {error}.", hint=hint) from error


def add(path: Path, label: str, right: Right, now_s: float, *, read_all: bool = False) -> str:
    """Make a token for a label that has none. Raises Refused(invalid_field, config_invalid), OSError."""
    with _changing(path) as tokens:
        if label in tokens:
            hint = f"`comfyledger token rotate {label}` gives the label a new token."
            raise Refused("invalid_field", f"The label {label!r} has a token already.", hint=hint)
        return _made(tokens, label, right, now_s, read_all=read_all)


def rotate(path: Path, label: str, now_s: float) -> str:
    """Replace the token of a label; it keeps its rights. Raises Refused(invalid_field, config_invalid), OSError."""
    with _changing(path) as tokens:
        before = _known(tokens, label)
        return _made(tokens, label, before.right, now_s, read_all=before.read_all)


def revoke(path: Path, label: str) -> None:
    """Remove the token of a label. Raises Refused(invalid_field, config_invalid), OSError."""
    with _changing(path) as tokens:
        del tokens[_known(tokens, label).label]


def _made(tokens: dict[str, Token], label: str, right: Right, now_s: float, *, read_all: bool) -> str:
    token, made_at = new_token(), int(now_s)
    made = {
        "label": label,
        "right": right,
        "sha256": digest_of(token).hex(),
        "made_at": made_at,
        "read_all": read_all,
    }
    try:
        tokens[label] = msgspec.convert(made, Token)
    except msgspec.ValidationError as error:
        hint = "Use up to 64 letters, digits, dots, hyphens and underscores."
        raise Refused("invalid_field", f"{label[:80]!r} cannot be a label.", hint=hint) from error
    if label in TAKEN:
        raise Refused("invalid_field", f"The label {label!r} is reserved.", hint="Choose another one.")
    return token


def _known(tokens: Mapping[str, Token], label: str) -> Token:
    if label not in tokens:
        hint = f"Labels with a token: {', '.join(tokens)}." if tokens else "`comfyledger token add LABEL` makes one."
        raise Refused("invalid_field", f"There is no token for {label[:80]!r}.", hint=hint)
    return tokens[label]


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Token]]:
    """The tokens by label, which are written at the end. One process at a time, so that no change is lost."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        tokens = {token.label: token for token in read_tokens(path)}
        before = dict(tokens)
        yield tokens
        if tokens != before:
            put_file(path, msgspec.json.format(msgspec.json.encode(list(tokens.values()))) + b"\n")
    finally:
        os.close(fd)


# ---- all valid tokens


class Keyring:
    """Every token that is valid now. `own_path` is None if systemd passes the daemon's own token. `named_paths`: of the
    named ones; those of a fleet are in a file of their own.
    """

    def __init__(self, own: str, own_path: Path | None, *named_paths: Path) -> None:
        self._own_path, self._named_paths = own_path, named_paths
        self._own = Caller("", "admin", digest_of(own))
        self._named: tuple[Caller, ...] = ()
        self._seen: tuple[object, ...] = ()
        self.refresh()

    def who(self, token: str) -> Caller | None:
        """The caller with this token. Each token is compared in constant time, so that the time reveals nothing."""
        given, found = digest_of(token), None
        for caller in (self._own, *self._named):
            if hmac.compare_digest(given, caller.digest):
                found = caller
        return found

    def of_label(self, label: str) -> Caller | None:
        """The caller whose token has this label; of the empty label the one with the daemon's own token."""
        return next((one for one in (self._own, *self._named) if one.label == label), None)

    def holds(self, caller: Caller) -> bool:
        """Whether the token of a caller is still valid, and still allows what it allowed."""
        plain = caller if caller.session is None else msgspec.structs.replace(caller, session=None)
        return plain is ANYBODY or plain in (self._own, *self._named)

    def refresh(self) -> bool:
        """Read the files again if they have changed; whether they have. A file that cannot be read admits nobody."""
        seen = (stamp(self._own_path), *map(stamp, self._named_paths))
        if seen == self._seen:
            return False
        self._seen = seen
        self._named = tuple(one for path in self._named_paths for one in _or_none(self._read_named, path) or ())
        own = _or_none(_read, self._own_path) if self._own_path is not None else ""
        if own:
            self._own = Caller("", "admin", digest_of(own))
        return True

    def _read_named(self, path: Path) -> tuple[Caller, ...]:
        return tuple(Caller(one.label, one.right, bytes.fromhex(one.sha256), one.read_all) for one in read_tokens(path))


def _or_none(read: Callable[[Path], T], path: Path) -> T | None:
    try:
        return read(path)
    except (Refused, OSError, UnicodeDecodeError) as error:
        log.error("door.tokens_unreadable", file=str(path), error=str(error))
        return None


def stamp(path: Path | None) -> object:
    """What changes whenever a file is replaced or written; None without a file."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_ino, status.st_size)
