"""Signed addresses of files: a browser shows `<img>` and `<video>` without a token, until the address expires.

A signature is an HMAC-SHA256 over the image, the variant and the time of expiry; `salted_key` says how its key is
made and changed. Answers get their addresses after they are made, so that a repeated request still has the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from aiohttp import web
from msgspec.structs import replace

from comfyledger import wire
from comfyledger.core.values import image_id
from comfyledger.errors import Refused
from comfyledger.plugins import OpenedStore
from comfyledger.server.access import CALLER, LOOPBACK
from comfyledger.server.salted_key import SaltedKey
from comfyledger.server.tokens import Caller, SessionMark
from comfyledger.settings import FILE_URL_S_MAX, Door
from comfyledger.settings.addresses import host_of
from comfyledger.workers.stores.scaled import scaled_url
from comfyledger.workers.thumbnails.sizes import SIDES, Size, is_drawn

FILE: Final = "file"
"""The variant of an image that is its file."""
FILE_HERE: Final = "file/here"
"""The same, sent by the daemon wherever the file is: never a redirect to a store."""
THUMBNAILS: Final[dict[Size, str]] = {size: f"thumbnail/{size}" for size in SIDES}
"""The variants that are its thumbnails, by size."""
STEPS: Final = 24
"""The expiry is rounded down to a part of its term, so that an address stays the same for a while and can be cached."""
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,11}")
_PURPOSE: Final = b"comfyledger file urls 1"
_HAS_NO_FILE: Final = frozenset({"forgetting", "forgotten"})
_ASK_AGAIN: Final = "Ask for the image again: its answer has a new `file_url`."

NO_STORES: Final[Mapping[str, OpenedStore]] = {}
T = TypeVar("T", bound=wire.Answer)


class FileUrls:
    """Signs and checks addresses. `stores`: those that may serve thumbnails themselves.

    `door_url`: of the TCP port, for clients of a Unix socket; empty if there is none.
    """

    def __init__(
        self,
        secret: bytes,
        salt_path: Path,
        door: Door,
        now_s: Callable[[], float],
        stores: Mapping[str, OpenedStore] = NO_STORES,
    ) -> None:
        self._stores = stores
        self._salted, self._door, self._now_s = SaltedKey(secret, salt_path, _PURPOSE), door, now_s
        self.door_url = ""

    def refresh(self) -> None:
        """Pick up a changed salt. Without a readable one nothing is signed and no signature is valid."""
        self._salted.refresh()

    @property
    def _key(self) -> bytes:
        return self._salted.value

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
        page, _, size = variant.partition("/")
        asked = "redirect=false&" if variant == FILE_HERE else f"size={size}&" if size else ""
        return f"{base}/v1/images/{quote(image)}/{page}?{asked}expires={expires}&signature={signature}"

    @property
    def now_s(self) -> int:
        return int(self._now_s())

    def signed(self, subject: str, variant: str, expires_s: int) -> str:
        """The query of an address of something else than an image, which `check` takes."""
        return f"expires={expires_s}&signature={self._signature(subject, variant, expires_s)}"

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
        """The root of addresses that the client of a request can reach: the one that it used itself.

        A session says too below which path of a proxy its page lies.
        """
        session = _session_of(request)
        below = session.base_path if session is not None else ""
        transport = request.transport
        used = transport.get_extra_info("socket") if transport is not None else None
        if used is not None and used.family == socket.AF_UNIX:
            return self.door_url and self.door_url + below
        is_tls = self._door.behind_proxy and host_of(request.host) not in LOOPBACK
        return f"{'https' if is_tls else 'http'}://{request.host}{below}"

    def added(self, answer: T, request: web.Request) -> T:
        """The answer with an address for each file in it. For a session all of them are the daemon's own: its page may
        load nothing from another host.
        """
        match answer:
            case wire.ImageInfo():
                return self._for_request([answer], request)[0]  # type: ignore[return-value]
            case wire.BatchInfo() | wire.Images() | wire.Reviewed():
                return replace(answer, images=self._for_request(answer.images, request))
            case wire.Explanation(image=image) if image is not None:
                return replace(answer, image=self._for_request([image], request)[0])
            case _:
                return answer

    def for_anybody(self, image: wire.ImageInfo) -> wire.ImageInfo:
        """An image with the address of its file for somebody who sent no request: of the proxy in front, if there is
        one, else of the TCP port.
        """
        hosts = self._door.allowed_hosts
        return self._image(image, f"https://{hosts[0]}" if self._door.behind_proxy and hosts else self.door_url)

    def _for_request(self, images: list[wire.ImageInfo], request: web.Request) -> list[wire.ImageInfo]:
        base, here = self.base_of(request), _session_of(request) is not None
        return [self._image(one, base, here=here) for one in images]

    def _image(self, image: wire.ImageInfo, base: str, *, here: bool = False) -> wire.ImageInfo:
        if not image.sha256 or image.state in _HAS_NO_FILE:
            return image
        return replace(
            image,
            file_url=self.url(base, image_id(image.batch_id, image.index), FILE_HERE if here else FILE),
            thumbnail_url=self._thumbnail(image, base, "small", here=here),
            thumbnail_large_url=self._thumbnail(image, base, "large", here=here),
        )

    def _thumbnail(self, image: wire.ImageInfo, base: str, size: Size, *, here: bool) -> str:
        """A store's own address unless `here`, else one of the daemon; empty if it makes none of files of this kind."""
        scaled = "" if here else scaled_url(self._stores, image, SIDES[size])
        if scaled or not is_drawn(image.extension):
            return scaled
        return self.url(base, image_id(image.batch_id, image.index), THUMBNAILS[size])


def _session_of(request: web.Request) -> SessionMark | None:
    caller: Caller | None = request.get(CALLER)
    return caller.session if caller is not None else None
