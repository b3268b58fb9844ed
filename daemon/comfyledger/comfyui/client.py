"""HTTP to one ComfyUI. Each call is limited in time and size, and returns values or raises NotReached.

Nothing here decides what an answer means for a batch, and nothing retries. The bare `/history` is never called: on a
busy ComfyUI it has hundreds of megabytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, BinaryIO, Final, Literal, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from comfyledger.comfyui.answers import (
    HistoryEntry,
    Job,
    PromptAnswer,
    RefusalAnswer,
    parse_cancelled,
    parse_history,
    parse_job,
    parse_prompt_answer,
    parse_queue,
)
from comfyledger.comfyui.direct import AddressOf, login_header, redirected
from comfyledger.comfyui.fields import BadFrame, json_object
from comfyledger.comfyui.input_folder import InputFile, UploadForm, check_taken, parts_of, telling_etag
from comfyledger.comfyui.kept_connections import Answer, KeptConnections, KeptServer
from comfyledger.comfyui.messages import ViewFile
from comfyledger.comfyui.object_info import ObjectInfo, read_object_info
from comfyledger.comfyui.transfer import (
    PIECE_BYTES,
    Answered,
    FileMissing,
    NotConnected,
    NotGiven,
    NotReached,
    bounded,
    no_message,
    not_reached,
    paced,
    unpacked,
    words,
)
from comfyledger.comfyui.web_page import flaw_of, may_be_message
from comfyledger.core.urls import reached, server_of, shown_url

TRANSFER_MIN_BYTES_PER_S: Final = 8_192
PLAIN: Final = {"Accept-Encoding": "identity"}
HTTP_NOT_MODIFIED: Final = 304

T = TypeVar("T")
Where = Literal["waiting", "running", "gone"] | HistoryEntry


class ComfyUI:
    """One server. `session` is the app's; each call has its own timeout. `extra_data` goes with each prompt: ComfyUI
    passes it to paid nodes and keeps such keys out of its history. `address_of`: finds the address that its websocket
    connects to; a `session` has its own resolver. `kept`: makes the frequent calls, where it can; without it `session`
    makes all.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        connect_timeout_s: float,
        request_timeout_s: float,
        transfer_min_bytes_per_s: int = TRANSFER_MIN_BYTES_PER_S,
        extra_data: Mapping[str, str] | None = None,
        address_of: AddressOf | None = None,
        kept: KeptConnections | None = None,
    ) -> None:
        place = reached(url)
        self.url = shown_url(url).rstrip("/")
        """The address for people and logs, without user and password. Calls use it too, so no error can reveal them."""
        self.server = server_of(url)
        """Which server it is."""
        self._address = place.url.rstrip("/")
        self.login = login_header(place)
        """The authentication header of each call; empty if the URL names no user."""
        self._session, self._address_of = session, address_of
        self._extra_data = {key: str(value) for key, value in (extra_data or {}).items()}
        self._whole = aiohttp.ClientTimeout(total=request_timeout_s, sock_connect=connect_timeout_s)
        self._pieces = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._base_s = request_timeout_s
        self._min_bytes_per_s = transfer_min_bytes_per_s
        self._kept: KeptServer | None = None
        if kept is not None:
            self._kept = kept.to(
                self._address,
                PLAIN | self.login,
                connect_timeout_s=connect_timeout_s,
                answer_timeout_s=request_timeout_s,
            )
        self._knows_jobs: bool | None = None
        self.files_uploaded = self.bytes_uploaded = 0
        """What it has taken into its input folder."""

    @property
    def websocket_url(self) -> str:
        return "ws" + self._address.removeprefix("http") + "/ws"

    async def websocket_address(self) -> str:
        """The address that the websocket connects to; empty to resolve the host of its URL. Raises OSError."""
        if self._address_of is None:
            return ""
        parts = urlsplit(self._address)
        return await self._address_of(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    async def post_prompt(
        self, graph: dict[str, Any], *, prompt_id: str, client_id: str, outputs: Sequence[str], previews: bool = False
    ) -> PromptAnswer | RefusalAnswer:
        """Queue a graph and request these output nodes, and no others. Raises NotReached. `previews`: ask for pictures
        of the steps. ComfyUI 0.29.0 makes none unless it is asked; a version that knows no `preview_method` ignores it.
        """
        body = {
            "prompt": graph,
            "prompt_id": prompt_id,
            "client_id": client_id,
            "partial_execution_targets": list(outputs),
            "extra_data": ({"preview_method": "auto"} if previews else {}) | self._extra_data,
        }
        status, raw = await self._post_often("/prompt", body)
        if status not in {200, 400, 413, 500}:
            # ComfyUI itself gives no other answer to a prompt; this one comes from a proxy in front of it.
            raise _no_answer(status, raw)
        return _read(partial(parse_prompt_answer, status), raw)

    async def where_is(self, prompt_id: str) -> Where:
        """Where a prompt is. Raises NotReached.

        The queue is asked before the history. A prompt moves from one to the other under one lock, so a prompt that is
        absent from both, in this order, is unknown. Newer servers answer both in one call, whose answer counts only if
        it is understood.
        """
        job = await self._job(prompt_id)
        if job in {"waiting", "running", "gone"}:
            return job
        ended = await self.history(prompt_id) if job == "ended" else None
        return ended or await self._in_queue_or_history(prompt_id)

    async def _job(self, prompt_id: str) -> Job | Literal["gone"]:
        """What `/api/jobs/{id}` says; "unknown" if it says nothing, or if the server has no such call."""
        if self._knows_jobs is False:
            return "unknown"
        said = parse_job(*await self._call("GET", f"/api/jobs/{prompt_id}"), prompt_id)
        if said != "unknown":
            self._knows_jobs = said != "no_route"
        return "unknown" if said == "no_route" else said

    async def _in_queue_or_history(self, prompt_id: str) -> Where:
        status, raw = await self._call("GET", "/queue")
        ids = _read(parse_queue, _good(status, raw))
        if prompt_id in ids.running:
            return "running"
        if prompt_id in ids.pending:
            return "waiting"
        return await self.history(prompt_id) or "gone"

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """How a prompt ended; None if it is unknown or has not ended. Raises NotReached."""
        status, raw = await self._call("GET", f"/history/{prompt_id}")
        return _read(lambda body: parse_history(body, prompt_id), _good(status, raw))

    async def forget(self, prompt_ids: list[str]) -> None:
        """Remove our own entries from the history. Each takes several times the size of its graph in the server's
        memory.
        """
        await self._post_often("/history", {"delete": prompt_ids})

    async def cancel(self, prompt_id: str) -> None:
        """Remove a prompt of ours. Raises NotReached.

        A running prompt is interrupted only through `/api/jobs`. The other call has a global flag and may hit somebody
        else's prompt.
        """
        if await self._end(prompt_id) is not True:
            await self._call("POST", "/queue", {"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str) -> bool:
        """Remove a prompt of ours even while it runs; False if the server has not done so. Raises NotReached."""
        return await self._end(prompt_id) is not False

    async def _end(self, prompt_id: str) -> bool | None:
        """The answer to the one safe way to end a prompt; None if it is not understood."""
        if self._knows_jobs is False:
            return False
        return parse_cancelled(*await self._call("POST", f"/api/jobs/{prompt_id}/cancel"))

    @asynccontextmanager
    async def view(self, file: ViewFile) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a file, piece by piece. Raises FileMissing, NotGiven, NotReached.

        The headers must arrive within `request_timeout_s`. The bytes must arrive within that time and the time that
        they take at `transfer_min_bytes_per_s`. So a server that sends single bytes is cut off, whatever length it
        announced.
        """
        async with self._viewed(file, {}) as response:
            yield self._pieces_of(response, file)

    @asynccontextmanager
    async def input_file(self, name: str, etag: str = "") -> AsyncIterator[InputFile | None]:
        """A file of the input folder, as `view`; None if it is still the one with this ETag.

        Raises FileMissing, NotGiven, NotReached.
        """
        subfolder, filename = parts_of(name)
        file = ViewFile(filename, subfolder, "input")
        async with self._viewed(file, {"If-None-Match": etag} if etag else {}) as response:
            if response.status == HTTP_NOT_MODIFIED:
                yield None
            else:
                yield InputFile(self._pieces_of(response, file), telling_etag(response.headers))

    async def upload(self, name: str, file: BinaryIO, size_bytes: int) -> None:
        """Write a file into the input folder, in place of what has its name there.

        It may take `request_timeout_s` and the time that its bytes take at `transfer_min_bytes_per_s`; if ComfyUI stops
        to take them, it ends sooner. Raises NotTaken, NotRead, NotReached.
        """
        form, loop = UploadForm(name, size_bytes), asyncio.get_running_loop()
        began, taken = loop.time(), 0

        def sent(so_far: int) -> None:
            nonlocal taken
            taken = so_far
            limit.reschedule(began + self._base_s + taken / self._min_bytes_per_s)

        try:
            async with (
                asyncio.timeout(self._base_s) as limit,
                self._session.post(
                    f"{self._address}/upload/image",
                    data=form.body(file, sent),
                    headers=PLAIN | self.login | form.headers,
                    timeout=self._pieces,
                    allow_redirects=False,
                ) as response,
            ):
                status, answer = response.status, await self._answer(response, "/upload/image")
        except aiohttp.ServerTimeoutError as error:
            raise not_reached(error) from error
        except TimeoutError as error:
            text = f"ComfyUI took {taken} of {size_bytes} bytes of a file in {loop.time() - began:.0f} s: too slow."
            raise NotReached("too_slow", text, sent=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise form.broken or not_reached(error) from error
        if 300 <= status < 400:
            raise _no_answer(status, answer)
        check_taken(name, size_bytes, status, answer)
        self.files_uploaded, self.bytes_uploaded = self.files_uploaded + 1, self.bytes_uploaded + size_bytes

    @asynccontextmanager
    async def _viewed(self, file: ViewFile, headers: dict[str, str]) -> AsyncIterator[Answered]:
        """The answer of `/view` with the file in it, or that it was not modified if `headers` ask so."""
        try:
            async with await self._get_view(file, headers) as response:
                if not (response.status == HTTP_NOT_MODIFIED and headers):
                    _check_view(response, file)
                yield response
        except (aiohttp.ClientConnectorError, NotConnected) as error:
            raise not_reached(error) from error
        except aiohttp.ClientPayloadError as error:
            raise NotGiven("cut_short", "ComfyUI did not send the whole file.") from error
        except TimeoutError as error:
            raise NotGiven("too_slow", f"ComfyUI did not begin to send the file within {self._base_s:g} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotGiven("cut_short", f"The connection broke: {words(error)}") from error

    async def _get_view(self, file: ViewFile, headers: dict[str, str]) -> aiohttp.ClientResponse | Answer:
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        if not headers and (kept := self._kept) is not None and not kept.sets_cookies:
            return await kept.get("/view", params)
        async with asyncio.timeout(self._base_s):
            return await self._session.get(
                f"{self._address}/view",
                params=params,
                timeout=self._pieces,
                headers=PLAIN | self.login | headers,
                allow_redirects=False,
            )

    def _pieces_of(self, response: Answered, file: ViewFile) -> AsyncIterator[bytes]:
        pieces = paced(response, self._base_s, self._min_bytes_per_s)
        plain = unpacked(pieces, response, self._is_unpacked(response))
        return no_message(plain) if may_be_message(response.headers, file.filename) else plain

    async def has(self, file: ViewFile) -> bool:
        """Whether `/view` has a file. Raises NotReached."""
        try:
            async with self.view(file):
                return True
        except FileMissing:
            return False

    async def system_stats(self) -> dict[str, Any]:
        """Version and devices. Raises NotReached."""
        return await self._json("/system_stats")

    async def object_info(self) -> tuple[bytes, ObjectInfo]:
        """Every node class of the server: as it said them, and as they are read. Raises NotReached."""
        body = await self.bytes_of("/object_info")
        try:
            info = read_object_info(body, hashlib.sha256(body).hexdigest())
        except BadFrame as error:
            raise NotReached("unknown_answer", f"/object_info: {str(error)[:400]}", sent=True) from error
        if not any(info.get(name) is not None for name in info):
            raise NotReached("unknown_answer", "/object_info: ComfyUI's answer names no node class.", sent=True)
        return body, info

    async def bytes_of(self, path: str) -> bytes:
        """What the server answers to a GET, as it sent it. Raises NotReached."""
        return _good(*await self._call("GET", path))

    async def _json(self, path: str) -> dict[str, Any]:
        status, raw = await self._call("GET", path)
        return _read(json_object, _good(status, raw))

    async def _call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body. For a redirect the body is a text about it."""
        data = None if body is None else msgspec.json.encode(body)
        headers = PLAIN | self.login | ({} if data is None else {"Content-Type": "application/json"})
        try:
            async with self._session.request(
                method,
                self._address + path,
                data=data,
                headers=headers | self.login,
                timeout=self._whole,
                allow_redirects=False,
            ) as response:
                return response.status, await self._answer(response, path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise not_reached(error) from error

    async def _post_often(self, path: str, body: Any) -> tuple[int, bytes]:
        """As `_call`, for what every image needs."""
        if (kept := self._kept) is None or kept.sets_cookies:
            return await self._call("POST", path, body)
        try:
            async with await kept.post(path, msgspec.json.encode(body)) as response:
                return response.status, await self._answer(response, path)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise not_reached(error) from error

    def _is_unpacked(self, response: Answered) -> bool:
        return self._session.auto_decompress and isinstance(response, aiohttp.ClientResponse)

    async def _answer(self, response: Answered, path: str) -> bytes:
        """The body. For a redirect it is a text about it."""
        if 300 <= response.status < 400:
            return redirected(path, response.headers.get("Location", "")).encode()
        pieces = response.content.iter_chunked(PIECE_BYTES)
        try:
            return await bounded(unpacked(pieces, response, self._is_unpacked(response)))
        except NotGiven as error:
            raise NotReached(error.code, error.text, sent=True) from error


def _check_view(response: Answered, file: ViewFile) -> None:
    """Raises FileMissing or NotGiven for every answer that is not the file."""
    status = response.status
    if status in {400, 403, 404}:
        raise FileMissing(f"ComfyUI answered with HTTP {status} for {file.filename}.")
    if 300 <= status < 400:
        text = redirected(f"/view of {file.filename}", response.headers.get("Location", ""))
        raise NotGiven("redirected", text, final=True)
    if status != 200:
        is_passing = status == 429 or status >= 500
        text = f"ComfyUI answered with HTTP {status} for {file.filename}."
        raise NotGiven(f"http_{status}", text, final=not is_passing)
    if flaw := flaw_of(file.filename, response.content_type, response.headers):
        raise NotGiven(flaw.code, flaw.text, final=flaw.final)


def _good(status: int, raw: bytes) -> bytes:
    """The body of a usable answer. Raises NotReached for any other."""
    if status != 200:
        raise _no_answer(status, raw)
    return raw


def _no_answer(status: int, raw: bytes) -> NotReached:
    """The error for an answer of a proxy in front of ComfyUI. For a redirect `_call` has written where it leads."""
    if 300 <= status < 400:
        return NotReached("redirected", raw.decode(), sent=True)
    return NotReached(f"http_{status}", f"ComfyUI answered with HTTP {status}.", sent=True)


def _read(parse: Callable[[bytes], T], body: bytes) -> T:
    """The JSON of a body. Raises NotReached if it cannot be read, because it may have been cut off on its way."""
    try:
        return parse(body)
    except BadFrame as error:
        raise NotReached("unknown_answer", str(error)[:500], sent=True) from error
