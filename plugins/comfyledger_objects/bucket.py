"""The calls of obstore that the store makes, on one bucket. What obstore raises comes out as it is.

obstore is imported here, when a store is opened. It retries nothing, because the daemon does. Each call has a time
limit of its own, so a file is read in pieces: one call for a large file would need a limit of hours.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from comfyledger_objects.azure_signing import signed_address
from comfyledger_objects.blocks import LEAST_BYTES_S, PARTS_AT_ONCE, Blocks, Taken
from comfyledger_objects.buffers import Buffers
from comfyledger_objects.faults import is_clear_refusal
from comfyledger_objects.lending import Lending
from comfyledger_objects.metadata import Found, found_from
from comfyledger_objects.options import ENCRYPTIONS, Kind, Options

LISTED_MAX: Final = 1_000
PIECE_BYTES: Final = 8_388_608
"""What is read of an object at once."""
PART_BYTES: Final[Mapping[Kind, int]] = {"s3": 6_291_456, "gcs": 6_291_456, "azure": 4_194_304}
"""Small parts take little memory and little time each. S3 and Google take 5 MiB at least."""
PARTS_MAX: Final[Mapping[Kind, int]] = {"s3": 10_000, "gcs": 10_000, "azure": 50_000}
QUICK_BYTES: Final = 4_194_304
"""What the time limit of any request is enough for."""
WHOLE_BYTES_MAX: Final = 16_777_216
"""What is sent in one request if nothing else speaks for it."""
SLOW_S: Final = max(WHOLE_BYTES_MAX, PARTS_AT_ONCE * max(PART_BYTES.values())) / LEAST_BYTES_S
"""Seconds more for a request with so many bytes, or with one of the parts that share the line."""
SUMMED: Final = {"unsigned_payload": True, "checksum_algorithm": "crc64nvme"}
"""Settings of obstore for S3: a checksum in place of a signature over all bytes, which takes as long as our SHA-256."""
SUM_HEADER: Final = "x-amz-checksum-crc64nvme"
WRONG_SUM: Final = "AAAAAAAAAAA="
CONDITION: Final[Mapping[Kind, Mapping[str, str]]] = {
    "s3": {"If-None-Match": "*"},
    "gcs": {"x-goog-if-generation-match": "0"},
    "azure": {"If-None-Match": "*"},
}
IDLE_CONNECTION_S: Final = 15.0
"""Servers close connections that are not used for longer."""
SIGNED_ALREADY: Final = "SAS tokens auth is not supported"
"""What obstore says if it is to sign an address, and has a token in place of a key."""
GIVE_UP_S: Final = 4.0
"""How long a cancelled upload in parts has to tell the server that it is given up. The daemon waits for 5 s."""
CLOSE_S: Final = 2.0
"""How long calls that are under way at the end have to end by themselves."""
LET_GO_S: Final = 2.0
"""How long obstore's threads have to give back what they have of calls that were cancelled. Mostly milliseconds."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that goes in parts: its size, and how to read it from the start in pieces of so many bytes."""

    size_bytes: int
    pieces: Callable[[int], Iterator[bytes]]


class GivenUp(Exception):
    """Raised to obstore in place of the next piece of an upload that was cancelled."""


class Feed:
    """The pieces of a file as obstore asks for them. `is_over`: the upload was cancelled."""

    def __init__(self, pieces: Iterator[bytes], lending: Lending) -> None:
        self._pieces, self._lending, self.is_over = pieces, lending, False

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> memoryview:
        if self.is_over:
            raise GivenUp
        return self._lending.lend(memoryview(next(self._pieces)))


class Bucket:
    """One bucket. To be used from one event loop at a time."""

    def __init__(self, options: Options) -> None:
        """Raises ImportError without obstore, ValueError for what obstore cannot use."""
        self._options = options
        self._lending = Lending()
        self.buffers = Buffers(self._lending)
        self._store = opened(options)
        self._small, self._slow = self._store, opened(options, seconds_more=SLOW_S)
        self.copies = options.kind == "gcs"
        """Whether obstore makes conditional copies here, and the server has them when it answers."""
        self._sends_sums = False
        self.may_send_sums = options.kind == "s3" and not options.is_plain
        self._account_key = _account_key(options) if options.kind == "azure" else ""
        self._blocks = Blocks(options, self._signed)
        condition = {} if options.asks_first else CONDITION[options.kind]
        self._conditional = opened(options, condition, SLOW_S) if condition else self._slow

    async def create(self, key: str, content: memoryview, attributes: Mapping[str, str]) -> None:
        """Store bytes under a key that nothing has. Raises AlreadyExistsError and others of obstore.

        Overwrites if the options say that the server has no condition.
        """
        from obstore import put_async

        store = await self._fit(len(content))
        mode: Any = "overwrite" if self._options.asks_first else "create"
        said: Any = dict(attributes)
        lend = self._lending.lend
        await lend(put_async(store, key, lend(content), mode=mode, attributes=said, use_multipart=False))

    async def _fit(self, size_bytes: int) -> Any:
        """What gives a request the time that so many bytes need."""
        if size_bytes <= QUICK_BYTES:
            return self._small
        if size_bytes <= WHOLE_BYTES_MAX:
            return self._slow
        return await asyncio.to_thread(opened, self._options, seconds_more=size_bytes / LEAST_BYTES_S)

    def send_sums(self, *, is_on: bool) -> None:
        """Send files of one request with a checksum from now on, and sign their headers alone; or sign the bytes again.

        Only where the server was seen to compare the checksum, and nobody can change bytes on the way: over https, or
        within this machine. The checksum is made of the very bytes in memory that were compared with what was recorded.
        """
        if is_on == self._sends_sums:
            return
        more = SUMMED if is_on else None
        self._small = opened(self._options, more=more)
        self._slow = opened(self._options, seconds_more=SLOW_S, more=more)
        self._sends_sums = is_on

    async def try_sums(self, right: str, wrong: str) -> bool:
        """Whether the server stores a byte with a checksum, and does not store one with a wrong checksum."""
        from obstore import put_async

        signed: Any = opened(self._options, more=SUMMED)
        unlike: Any = opened(self._options, {SUM_HEADER: WRONG_SUM}, more={"unsigned_payload": True})
        try:
            await self._lending.lend(put_async(signed, right, b"1", use_multipart=False))
        except Exception:
            return False
        try:
            await self._lending.lend(put_async(unlike, wrong, b"1", use_multipart=False))
        except Exception as error:
            return is_clear_refusal(error)
        return False

    async def create_in_parts(self, key: str, source: Source, attributes: Mapping[str, str]) -> None:
        """The same in parts, a few of which are in memory. What reading the source raises comes out, and the upload is
        given up, as it is if this call is cancelled. Raises AlreadyExistsError, PreconditionError
        or Taken if something has the key.

        obstore has no such mode, so the condition is a header of all requests. It counts when the upload is completed.
        Azure gets it otherwise, see `blocks`, unless obstore has a token that is signed already.
        """
        if self._options.kind == "azure" and not self._options.asks_first and await self._can_sign(key):
            await self._blocks.create(key, source.pieces(part_bytes(self._options.kind, source.size_bytes)), attributes)
        else:
            await self._send_parts(self._conditional, key, source, attributes)

    async def create_by_copy(self, key: str, aside: str, source: Source, attributes: Mapping[str, str]) -> None:
        """The same at a server that has no condition for uploads in parts, but one for copies: the parts go to the key
        `aside`, which is nobody else's, and what they make is copied to its key and deleted.

        What an earlier attempt left there whole is used, and else replaced. Raises Taken in place of
        AlreadyExistsError, also if another process has just deleted what was aside, because it has used it.
        """
        if not await self._is_whole(aside, source.size_bytes, attributes):
            await self._send_parts(self._slow, aside, source, attributes)
        try:
            await self.copy(aside, key)
        except FileNotFoundError as error:
            raise Taken from error
        except Taken:
            await self._drop(aside)
            raise
        await self._drop(aside)

    async def copy(self, key: str, target: str) -> None:
        """Copy an object with its metadata, if nothing has the other key. Raises Taken, FileNotFoundError, others."""
        from obstore import copy_async
        from obstore.exceptions import AlreadyExistsError

        try:
            await self._lending.lend(copy_async(self._slow, key, target, overwrite=False))
        except AlreadyExistsError as error:
            raise Taken from error

    async def _is_whole(self, aside: str, size_bytes: int, attributes: Mapping[str, str]) -> bool:
        try:
            found = await self.look(aside)
        except FileNotFoundError:
            return False
        return found.size_bytes == size_bytes and found.said.get("sha256") == attributes.get("sha256")

    async def _drop(self, aside: str) -> None:
        """An object that stays is ended by a lifecycle rule: it must not fail an upload that has succeeded."""
        with suppress(Exception):
            await self.delete(aside)

    async def _send_parts(self, store: Any, key: str, source: Source, attributes: Mapping[str, str]) -> None:
        from obstore import put_async

        size = part_bytes(self._options.kind, source.size_bytes)
        feed, said = Feed(source.pieces(size), self._lending), dict[str, Any](attributes)
        sent: Any = put_async(
            store,
            key,
            feed,
            attributes=said,
            use_multipart=True,
            chunk_size=size,
            max_concurrency=PARTS_AT_ONCE,
        )
        try:
            await asyncio.shield(self._lending.lend(sent))
        except asyncio.CancelledError:
            feed.is_over = True
            await _ended(sent)
            raise
        finally:
            del sent  # An error that holds its own future would never be freed.

    async def look(self, key: str) -> Found:
        """An object with its metadata. Raises FileNotFoundError if the bucket has none; else what obstore raises.

        The answer to HEAD has no body, so it does not say whether the object or the bucket is missing: then it is
        asked once more by GET, whose answer does.
        """
        from obstore import get_async

        try:
            got = await self._lending.lend(get_async(self._store, key, options={"head": True}))
        except FileNotFoundError:
            got = await self._lending.lend(get_async(self._store, key))
        meta: Any = got.meta
        return found_from(meta, dict(got.attributes))

    async def read(self, found: Found) -> AsyncIterator[bytes]:
        """The bytes of an object, piece by piece. Raises PreconditionError if it is replaced meanwhile."""
        from obstore import get_async

        for begin in range(0, found.size_bytes, PIECE_BYTES):
            end = min(begin + PIECE_BYTES, found.size_bytes)
            asked: Any = {"range": (begin, end), "if_match": found.etag}
            got = await self._lending.lend(get_async(self._store, found.key, options=asked))
            yield bytes(await self._lending.lend(got.bytes_async()))

    async def listed(self, folder: str, after: str, chunk: int = LISTED_MAX) -> AsyncIterator[list[Found]]:
        """The objects below a folder ("" for all), in parts of `chunk`, without metadata.

        `after`: only those with a higher key. Servers that ignore it are asked for all, and these are left out here.
        """
        from obstore import list as listing

        found: Any = listing(self._store, folder or None, offset=after or None, chunk_size=chunk)
        while (part := await self._next_of(found)) is not None:
            yield [found_from(meta) for meta in part if meta["path"] > after]

    async def _next_of(self, listing: Any) -> Any:
        try:
            return await self._lending.lend(anext(listing))
        except StopAsyncIteration:
            return None

    async def delete(self, key: str, seen: Found | None = None) -> None:
        """Delete what has the key. Some servers raise FileNotFoundError if nothing has it.

        `seen`: only if it is still this object, as far as the server can compare. Raises PreconditionError or Taken if
        it is another one.
        """
        from obstore import delete_async

        if seen is not None and self._options.kind == "azure" and await self._can_sign(key):
            try:
                await self._blocks.delete(key, seen.etag)
            except Taken:
                await self.look(key)  # Azure may answer the same if it is gone. This raises FileNotFoundError then.
                raise
            return
        condition = _unchanged(self._options.kind, seen) if seen is not None else {}
        store = await asyncio.to_thread(opened, self._options, condition) if condition else self._store
        await self._lending.lend(delete_async(store, key))

    async def signed_url(self, key: str, lifetime_s: int) -> str:
        """An address from which everybody gets the object for so many seconds; empty if none can be signed."""
        return await self._signed("GET", key, lifetime_s) if self._signs_rightly(key) else ""

    def _signs_rightly(self, key: str) -> bool:
        """See `azure_signing`."""
        return self._options.kind != "azure" or bool(self._account_key) or quote(key) == key

    async def _can_sign(self, key: str) -> bool:
        """Whether addresses of Azure can be signed: not with a token, nor by an identity that may not ask for a key.
        Raises what obstore raises if that is not clear.
        """
        try:
            if self._signs_rightly(key):
                await self._signed("PUT", key, 1.0)
                return True
        except Exception as error:
            if SIGNED_ALREADY not in str(error) and not is_clear_refusal(error):
                raise
        return False

    async def _signed(self, method: Any, key: str, lifetime_s: float) -> str:
        from obstore import sign_async

        if self._account_key:
            return signed_address(self._options, self._account_key, method, key, time.time() + lifetime_s)
        return str(await self._lending.lend(sign_async(self._store, method, key, timedelta(seconds=lifetime_s))))

    async def close(self) -> None:
        """Wait for what is under way, and then until obstore's threads have nothing of ours. See `lending`."""
        try:
            is_idle = await self._lending.all_back(CLOSE_S)
        finally:
            self._lending.recall()
            await self._blocks.close()
        if not is_idle:
            await self._lending.all_back(LET_GO_S)


def part_bytes(kind: Kind, size_bytes: int) -> int:
    """How large the parts of a file are, so that a server takes so many."""
    return max(PART_BYTES[kind], -(-size_bytes // PARTS_MAX[kind]))


async def _ended(sent: asyncio.Future[Any]) -> None:
    """Wait a while until a call has ended, and then cancel it. Its error is nobody's."""
    try:
        await asyncio.wait((sent,), timeout=GIVE_UP_S)
    finally:
        if not sent.cancel() and not sent.cancelled():
            sent.exception()


def opened(
    options: Options,
    headers: Mapping[str, str] | None = None,
    seconds_more: float = 0.0,
    more: Mapping[str, Any] | None = None,
) -> Any:
    """A store of obstore, of which mypy knows the type only where it is installed.

    `headers` go with each of its requests; `seconds_more` are added to their time limit; `more` are further settings.
    Raises ImportError and ValueError.
    """
    from obstore.store import AzureStore, GCSStore, S3Store

    client: Any = {
        "allow_http": options.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=options.connect_timeout_s),
        "timeout": timedelta(seconds=options.request_timeout_s + seconds_more),
        "pool_idle_timeout": timedelta(seconds=IDLE_CONNECTION_S),
        **({"default_headers": dict(headers)} if headers else {}),
    }
    retry: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=options.request_timeout_s)}
    said: Any = options.told
    common: Any = {"client_options": client, "retry_config": retry}
    match options.kind:
        case "s3":
            return S3Store(
                options.bucket, config=said | _of_s3(options) | dict(more or {}), **_own_keys(options), **common
            )
        case "gcs":
            return GCSStore(options.bucket, config=said | _endpoint(options, "base_url"), **common)
        case "azure":
            return AzureStore(options.bucket, config=said | _endpoint(options, "endpoint"), **common)


def _of_s3(options: Options) -> dict[str, Any]:
    """Deletions are single requests: not every server has the other ones.

    obstore prefers `AWS_ENDPOINT_URL_S3` of the environment to an endpoint, unless the endpoint has this name too.
    """
    encryption = ENCRYPTIONS.get(options.server_side_encryption, "")
    return {
        **_endpoint(options, "endpoint"),
        **_endpoint(options, "aws_endpoint_url_s3"),
        "conditional_put": "etag",
        "disable_bulk_delete": True,
        **({"server_side_encryption": encryption} if encryption else {}),
        **({"sse_kms_key_id": options.kms_key_id} if options.kms_key_id else {}),
    }


def _own_keys(options: Options) -> dict[str, Any]:
    """Configured keys alone. obstore would join them with `AWS_SESSION_TOKEN`, which is of other keys."""
    secrets = dict(options.secrets)
    if "secret_access_key" not in secrets:
        return {}
    token = secrets.get("session_token")
    keys = {
        "access_key_id": dict(options.account)["access_key_id"],
        "secret_access_key": secrets["secret_access_key"].reveal(),
        "token": token.reveal() if token is not None else None,
        "expires_at": None,
    }
    return {"credential_provider": lambda: keys}


def _account_key(options: Options) -> str:
    """The configured one, else what obstore finds first in the environment; empty if it uses something else."""
    configured = dict(options.secrets).get("account_key")
    return configured.reveal() if configured is not None else os.environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")


def _unchanged(kind: Kind, seen: Found) -> dict[str, str]:
    """The header that lets a request act on this very object only."""
    match kind:
        case "s3":
            return {"If-Match": seen.etag} if seen.etag else {}
        case "gcs":
            return {"x-goog-if-generation-match": seen.version} if seen.version else {}
        case "azure":
            return {}  # Its key signs this header too, and obstore adds it after it has signed. See `blocks`.


def _endpoint(options: Options, name: str) -> dict[str, Any]:
    return {name: options.endpoint} if options.endpoint else {}
