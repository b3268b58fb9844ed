"""Signed addresses of files: a browser shows `<img>` and `<video>` without a token, until the address expires.

A signature is an HMAC-SHA256 over the image, the variant and the time of expiry. Its key comes from the ledger's own
secret and a salt in the state folder. A new salt (`comfyledger token rotate --file-urls`) ends all addresses at once; a
running daemon picks it up like a changed token. Answers get their addresses after they are made, so that a repeated
request still has the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import structlog
from aiohttp import web
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.values import image_id
from comfyledger.errors import Refused
from comfyledger.server.access import LOOPBACK
from comfyledger.server.tokens import put_file, stamp
from comfyledger.settings import FILE_URL_S_MAX, Door
from comfyledger.settings.addresses import host_of

FILE: Final = "file"
"""The one variant of an image."""
SALT_BYTES: Final = 32
STEPS: Final = 24
"""The expiry is rounded down to a part of its term, so that an address stays the same for a while and can be cached."""
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,11}")
_PURPOSE: Final = b"comfyledger file urls 1"
_HAS_NO_FILE: Final = frozenset({"forgetting", "forgotten"})
_ASK_AGAIN: Final = "Ask for the image again: its answer has a new `file_url`."

T = TypeVar("T", bound=wire.Answer)

log = structlog.get_logger("comfyledger.door")


def make_salt(path: Path) -> None:
    """A new salt, which ends every address that was made with the old one. Raises OSError."""
    put_file(path, secrets.token_hex(SALT_BYTES).encode() + b"\n")


class FileUrls:
    """Signs and checks addresses. `door_url`: of the TCP port, for clients of a Unix socket; empty if there is none."""

    def __init__(self, secret: bytes, salt_path: Path, door: Door, now_s: Callable[[], float]) -> None:
        self._secret, self._salt_path, self._door, self._now_s = secret, salt_path, door, now_s
        self._key = b""
        self._seen: object = ()
        self.door_url = ""
        self.refresh()

    def refresh(self) -> None:
        """Read the salt again if it has changed. Without a readable one nothing is signed and no signature is valid."""
        seen = stamp(self._salt_path)
        if seen == self._seen:
            return
        self._seen, self._key = seen, b""
        try:
            salt = bytes.fromhex(self._salt_path.read_text("ascii"))
        except (OSError, ValueError) as error:
            log.error("door.file_urls_unreadable", file=str(self._salt_path), error=str(error))
            return
        if len(salt) == SALT_BYTES:
            self._key = hmac.digest(self._secret, _PURPOSE + salt, "sha256")

    # ---- one address

    def _signature(self, image: str, variant: str, expires: int) -> str:
        return hmac.new(self._key, f"{image}\n{variant}\n{expires}".encode(), hashlib.sha256).hexdigest()

    def url(self, base: str, image: str, variant: str = FILE) -> str:
        """The address of an image (`<batch_id>/<index>`) below `base`; empty if nothing can be signed."""
        if not self._key or not base:
            return ""
        step = max(1, self._door.file_url_s // STEPS)
        expires = (int(self._now_s()) + self._door.file_url_s) // step * step
        signature = self._signature(image, variant, expires)
        return f"{base}/v1/images/{quote(image)}/{variant}?expires={expires}&signature={signature}"

    def check(self, image: str, expires: str, signature: str, variant: str = FILE) -> None:
        """Raises Refused(signature_invalid, signature_expired).

        The signature comes first: only who was given an address learns that it has expired. An image that does not
        exist (`image` empty) is refused in the same way, so that nobody finds out names without a token.
        """
        is_time = _EXPIRES.fullmatch(expires) is not None
        expected = self._signature(image, variant, int(expires) if is_time else 0)
        is_right = hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))
        if not (is_right and is_time and self._key and image):
            raise Refused("signature_invalid", hint=_ASK_AGAIN, path="query.signature")
        left_s = int(expires) - self._now_s()
        if left_s > FILE_URL_S_MAX:
            raise Refused("signature_invalid", hint=_ASK_AGAIN, path="query.expires")
        if left_s <= 0:
            raise Refused("signature_expired", hint=_ASK_AGAIN, path="query.expires")

    # ---- in answers

    def base_of(self, request: web.Request) -> str:
        """The root of addresses that the client of a request can reach: the one that it used itself."""
        transport = request.transport
        used = transport.get_extra_info("socket") if transport is not None else None
        if used is not None and used.family == socket.AF_UNIX:
            return self.door_url
        is_tls = self._door.behind_proxy and host_of(request.host) not in LOOPBACK
        return f"{'https' if is_tls else 'http'}://{request.host}"

    def added(self, answer: T, request: web.Request) -> T:
        """The answer with an address for each file in it."""
        match answer:
            case wire.ImageInfo():
                return self._image(answer, self.base_of(request))  # type: ignore[return-value]
            case wire.BatchInfo() | wire.Images():
                base = self.base_of(request)
                return replace(answer, images=[self._image(one, base) for one in answer.images])
            case wire.Explanation(image=image) if image is not None:
                return replace(answer, image=self._image(image, self.base_of(request)))
            case _:
                return answer

    def _image(self, image: wire.ImageInfo, base: str) -> wire.ImageInfo:
        if not image.sha256 or image.state in _HAS_NO_FILE:
            return image
        return replace(image, file_url=self.url(base, image_id(image.batch_id, image.index)))
