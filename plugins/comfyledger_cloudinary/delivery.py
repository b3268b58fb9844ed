"""Downloading an asset: from the account's description to its address, and from there into a file.

An address with the asset's version and without a transformation returns the bytes as they were stored. The SDK signs
addresses of assets that are not public. A download that is longer than the account says is an error.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import aiohttp

from comfyledger.plugin_api import LaneFault, StoreTrouble, medium_of
from comfyledger_cloudinary.account import Options
from comfyledger_cloudinary.answers import bounded, is_safe_address
from comfyledger_cloudinary.kinds import kind_of

PIECE_BYTES: Final = 262_144
VERSION: Final = re.compile("v[0-9]{1,15}")
SIGNATURE_CHARS: Final = 8
MIN_BYTES_PER_S: Final = 8_192
"""A slower download is ended: one byte a second would take months."""


def address_of(options: Options, asset: Mapping[str, Any]) -> str:
    """The address of an asset's original, from its description by the Admin API. Raises StoreTrouble without one."""
    if options.delivery_type == "upload":
        return _checked(str(asset.get("secure_url", "")))
    from cloudinary.utils import cloudinary_url

    account, kind = options.account, str(asset.get("resource_type", "image"))
    # Everything is passed, so that the SDK's global configuration is not used.
    address, _ = cloudinary_url(
        str(asset.get("public_id", "")),
        type=options.delivery_type,
        resource_type=kind,
        format=asset.get("format") if kind != "raw" else None,  # A raw name has its extension already.
        version=asset.get("version"),
        cloud_name=account.cloud_name,
        api_key=account.api_key,
        api_secret=account.secret.reveal(),
        sign_url=True,
        secure=True,
        signature_algorithm=options.signature_algorithm,
        long_url_signature=False,
        private_cdn=False,
        secure_distribution=None,
        cname=None,
        cdn_subdomain=False,
        secure_cdn_subdomain=False,
        shorten=False,
        use_root_path=False,
        auth_token=None,
        analytics=False,
        urlAnalytics=False,
    )
    return _checked(str(address))


def scaled_address(options: Options, stored: str, extension: str, side_max: int) -> str:
    """The address of a picture of an asset, at most `side_max` pixels wide and high, from the address of the asset.

    Empty for what Cloudinary shows to nobody without a signature that ends, for what is no picture and no video, and
    for addresses of other accounts. A video is shown as a JPEG, because as a WebP it could move. The address is signed,
    so that accounts with strict transformations serve it. It is made here as the SDK makes it, in a tenth of the time:
    answers have many images.
    """
    from cloudinary.utils import smart_escape

    kind, account = kind_of(extension), options.account
    before, _, rest = stored.partition("/upload/")
    version, _, name = rest.partition("/")
    hosts = (f"https://res.cloudinary.com/{account.cloud_name}", f"https://{account.cloud_name}-res.cloudinary.com")
    is_own = before in {f"{host}/{kind}" for host in hosts} and VERSION.fullmatch(version)
    if options.delivery_type != "upload" or kind == "raw" or medium_of(extension) == "audio" or not is_own:
        return ""
    frame, shown = {"gif": ("pg_1,", "webp")}.get(extension, ("so_0,", "jpg") if kind == "video" else ("", "webp"))
    wanted = f"c_limit,h_{side_max},{frame}w_{side_max}"
    source = f"{smart_escape(unquote(name.rpartition('.')[0]))}.{shown}"
    digest = hashlib.new(options.signature_algorithm, f"{wanted}/{source}{account.secret.reveal()}".encode()).digest()
    signature = base64.urlsafe_b64encode(digest)[:SIGNATURE_CHARS].decode()
    return f"{before}/upload/s--{signature}--/{wanted}/{version}/{source}"


def _checked(address: str) -> str:
    if not is_safe_address(address):
        raise StoreTrouble(LaneFault("unknown", "Cloudinary does not say where the asset is."))
    return address


async def download(
    session: aiohttp.ClientSession, address: str, target: Path, *, bytes_max: int, connect_s: float, piece_s: float
) -> None:
    """GET into an existing file. Raises StoreTrouble, OSError.

    Each piece has its own time limit, and all together must come at MIN_BYTES_PER_S at least.
    """
    try:
        async with asyncio.timeout(connect_s + piece_s) as deadline:
            async with session.get(address, allow_redirects=False) as response:
                if response.status != 200:
                    raise StoreTrouble(
                        LaneFault("unknown", f"Cloudinary answered for the asset with HTTP {response.status}.")
                    )
                await _take(response, target, bytes_max, deadline, piece_s)
    except TimeoutError as error:
        raise StoreTrouble(LaneFault("not_reached", "The asset was not downloaded in time.")) from error
    except aiohttp.ClientError as error:
        raise StoreTrouble(LaneFault("not_reached", bounded(f"{type(error).__name__}: {error}"))) from error


async def _take(
    response: aiohttp.ClientResponse, target: Path, bytes_max: int, deadline: asyncio.Timeout, piece_s: float
) -> None:
    taken, loop = 0, asyncio.get_running_loop()
    begun = loop.time()
    with await asyncio.to_thread(target.open, "r+b") as file:
        async for piece in response.content.iter_chunked(PIECE_BYTES):
            taken += len(piece)
            if taken > bytes_max:
                raise StoreTrouble(
                    LaneFault("unknown", f"The asset is longer than the {bytes_max} bytes it should be.")
                )
            await asyncio.to_thread(file.write, piece)
            deadline.reschedule(min(loop.time(), begun + taken / MIN_BYTES_PER_S) + piece_s)
