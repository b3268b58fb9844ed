"""Keys for what the daemon signs: addresses of files, and sessions.

A key comes from the ledger's own secret, a salt in the state folder, and a word for its purpose. A new salt
(`comfyledger token rotate --file-urls`) ends everything that was signed so far; a running daemon picks it up like a
changed token.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Final

import structlog

from comfyledger.server.tokens import put_file, stamp

SALT_BYTES: Final = 32

log = structlog.get_logger("comfyledger.door")


def make_salt(path: Path) -> None:
    """A new salt, which ends every address and session that was made with the old one. Raises OSError."""
    put_file(path, secrets.token_hex(SALT_BYTES).encode() + b"\n")


class SaltedKey:
    """A key for one purpose. `value` is empty without a readable salt: then nothing is signed or valid."""

    def __init__(self, secret: bytes, salt_path: Path, purpose: bytes) -> None:
        self._secret, self._salt_path, self._purpose = secret, salt_path, purpose
        self._seen: object = ()
        self.value = b""
        self.refresh()

    def refresh(self) -> None:
        """Read the salt again if it has changed."""
        seen = stamp(self._salt_path)
        if seen == self._seen:
            return
        self._seen, self.value = seen, b""
        try:
            salt = bytes.fromhex(self._salt_path.read_text("ascii"))
        except (OSError, ValueError) as error:
            log.error("door.file_urls_unreadable", file=str(self._salt_path), error=str(error))
            return
        if len(salt) == SALT_BYTES:
            self.value = hmac.digest(self._secret, self._purpose + salt, "sha256")
