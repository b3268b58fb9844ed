"""A stand-in for object stores: a server that speaks S3, or Google Cloud Storage's XML API, for tests and for people
without an account. Loopback only. Its files and its ledger are in `root` and survive a restart.

It answers as the documentation says and as obstore expects; one set of laws is asked of it, of moto and of Azurite. The
dialect `gcs` differs in the header of the condition, in generations, in tokens in place of signatures (it wants one and
does not check it), and, as documented, in that uploads in parts know no condition.

A second address, apart from the stores' own API, is for tests:

`GET /ledger[?after=N][&key=KEY]`: `{"requests": [...]}`, every request in the order of arrival with `number`, `at_s`,
`method`, `bucket`, `key`, `query` (without signatures), `condition`, `received_bytes`, `sha256`, `fault`, `status` (0:
no answer left), `answer` (`ok`, the code of an error, `withheld`, `cut`), `did` (`created`, `overwrote`, `deleted`,
`began`, `part`, `aborted`, or empty).

`GET /objects[?prefix=P]`: `{"objects": [...]}`, every version that ever was, with `generation`, `bucket`, `key`,
`size`, `etag`, `sha256`, `md5`, `headers`, `created_at_s`, `request` (0: seeded), `ended` (a generation, or null for
what is there), `how` (`overwritten`, `deleted`).

`GET /control`: `faults` (each rule with `seen` and `struck`), `hanging`, `uploads` (in parts, with `state`),
`received_bytes`, the switches below, `listening`, `connections_open`, `connections_max`, `connections_total`.

`POST /control` takes any of these, and answers as `GET /control` does:

- `faults`: a list of rules `{"fault": NAME, "match": {"key", "prefix", "method", "query", "nth"}, "times": 1}`, added
  to the active rules; the first one that strikes is the fault of a request. `query` names a parameter that the request
  must have. `times` 0 means always. Names: `reset_before_body`, `reset_mid_body`, `reset_after_body`; without storing
  anything `hang`, `html_502`, `answer` (with `code`, an error of S3 such as `SlowDown`, and if wanted `status`,
  `message`, `headers`); after storing `store_then_reset`, `store_then_hang`, `store_then_truncate`,
  `store_then_html_502`, `store_then_answer`; `truncate` (of a read: half of it), `alter` (other bytes are stored) and
  `latency` (`seconds` before the true answer). A hanging request hangs until `clear_faults` or the end.
- `clear_faults`: true forgets all rules, before `faults` are added, and cuts what hangs.
- `listening`: false refuses new connections and cuts those that are open; true listens again on the same port.
- `clock_offset_s`: moves the clock that signatures are compared with.
- `ignores_conditions`: every object is stored, whatever the client asks to hold.
- `strict_parts`: a condition is refused everywhere but at the end of an upload in parts.
- `lists_late`: listings stay as they are now. `caches`: the first answer about a key is the answer from then on.
- `session_token`: another one than the clients have: theirs has expired.
- `seed`: a list of `{"key", "text", "headers"}`, objects of somebody else in the first bucket.
- `reset_counters`: true starts `connections_max`, `connections_total` and `received_bytes` again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from comfyledger.sim.faults import Cut, Withheld
from comfyledger.sim.objects.answers import Refused, error_response
from comfyledger.sim.objects.conditions import GCS, S3, condition_of
from comfyledger.sim.objects.contents import Contents, Version, open_database
from comfyledger.sim.objects.faults import Rule, Visit
from comfyledger.sim.objects.ledger import Entry, Ledger
from comfyledger.sim.objects.reading import Reading
from comfyledger.sim.objects.signing import Account, check_signature
from comfyledger.sim.objects.writing import Writing
from comfyledger.sim.stand_in import Asked, StandIn, json_response

KEY_ID: Final = "a-key-for-the-stand-in"
SECRET: Final = "a-secret-for-the-stand-in"  # noqa: S105 - it guards nothing
_GONE: Final = (Cut, ConnectionError, web.RequestPayloadError)
"""Raised in a request whose connection ends, by a fault or by the client."""


class ObjectsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Port 0 takes a free one. `page_max`: objects in one answer of a listing."""

    root: Path
    port: int = 0
    control_port: int = 0
    dialect: str = S3
    buckets: tuple[str, ...] = ("pictures",)
    key_id: str = KEY_ID
    secret: str = SECRET
    region: str = "us-east-1"
    page_max: int = 1_000


class Seed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object of somebody else."""

    key: str
    text: str = ""
    headers: dict[str, str] = {}


class Control(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /control` takes; None changes nothing."""

    faults: tuple[Rule, ...] = ()
    ignores_conditions: bool | None = None
    strict_parts: bool | None = None
    lists_late: bool | None = None
    caches: bool | None = None
    session_token: str | None = None
    seed: tuple[Seed, ...] = ()


class SimObjects(StandIn[Rule, Control]):
    """A running stand-in; `serve` makes one."""

    control = Control

    def __init__(self, options: ObjectsOptions, now: Callable[[], float]) -> None:
        super().__init__(open_database(options.root), now)
        self._options = options
        self._contents = Contents(self._database, options.root / "files")
        self._ledger = Ledger(self._database)
        self._account = Account(options.key_id, options.secret, options.region)
        self._reading = Reading(self._contents, options.dialect, options.page_max)
        self._writing = Writing(self._contents, options.dialect, self._time)
        self._add_ports(self._api_app(), options.port, self._control_app(), options.control_port)

    def _api_app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    def _control_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ledger", self._get_ledger)
        app.router.add_get("/objects", self._get_objects)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        visit = self._enter(request)
        try:
            return await self._answer(visit)
        except _GONE:
            visit.entry.answer = "cut"
            return web.Response()
        finally:
            self._received_bytes += visit.entry.received_bytes
            self._ledger.save(visit.entry)

    def _enter(self, request: web.Request) -> Visit:
        self._api.count_connections()
        path, _, query = request.raw_path.partition("?")
        bucket, _, key = unquote(path).removeprefix("/").partition("/")
        pairs = dict(parse_qsl(query, keep_blank_values=True))
        entry = Entry(
            number=self._ledger.next_number(),
            at_s=self._time(),
            method=request.method,
            bucket=bucket,
            key=key,
            query={name: value for name, value in pairs.items() if not name.startswith(("X-Amz-", "X-Goog-"))},
            condition=condition_of(request.headers, self._options.dialect),
        )
        self._ledger.save(entry)
        return Visit(request, entry, self._faults)

    async def _answer(self, visit: Visit) -> web.StreamResponse:
        """Serve a request, apply its fault to the answer, and record what was sent. Raises Cut."""
        entry = visit.entry
        try:
            self._admit(visit)
            response: web.StreamResponse = await self._act(visit)
            entry.answer = "ok"
        except Refused as refused:
            entry.answer = refused.code
            response = error_response(refused, visit.request.path, entry.number)
        except Withheld:
            response = web.Response()  # `answer_with` below sends something in its place
            entry.answer = "withheld"
        self._ledger.save(entry)
        sent = await visit.answer_with(response)
        entry.status = sent.status
        return sent

    def _admit(self, visit: Visit) -> None:
        """Raises Refused for a caller without a signature or token, and for a bucket that is not there."""
        request = visit.request
        if self._options.dialect == GCS:
            if not visit.header("Authorization").startswith("Bearer ") and "X-Goog-Signature" not in request.query:
                raise Refused("AccessDenied")
        else:
            headers = {name.lower(): value for name, value in request.headers.items()}
            payload = headers.get("x-amz-content-sha256", "")
            check_signature(self._account, request.method, request.raw_path, headers, payload, self._time())
        if visit.entry.bucket not in self._options.buckets:
            raise Refused("NoSuchBucket")

    async def _act(self, visit: Visit) -> web.StreamResponse:
        """Do what the request asks for. Raises Refused, and Cut or Withheld if a fault strikes."""
        method, query, key = visit.entry.method, visit.entry.query, visit.entry.key
        match method:
            case "GET" | "HEAD":
                visit.cut_if("reset_before_body")
                visit.withhold()
                if not key:
                    return self._reading.list(visit)
                return self._reading.read(visit)
            case "PUT" if key and "uploadId" in query:
                return await self._writing.put_part(visit)
            case "PUT" if key:
                return await self._writing.put(visit)
            case "POST" if key and "uploads" in query:
                return await self._writing.begin(visit)
            case "POST" if key and "uploadId" in query:
                return await self._writing.complete(visit)
            case "POST" if not key and "delete" in query:
                return await self._writing.delete_many(visit)
            case "DELETE" if key and "uploadId" in query:
                return await self._writing.abort(visit)
            case "DELETE" if key:
                return await self._writing.delete(visit)
        raise Refused("MethodNotAllowed")

    async def _get_ledger(self, request: web.Request) -> web.Response:
        after, key = int(request.query.get("after", 0)), request.query.get("key")
        text = f'{{"requests":{self._ledger.text(after, key)}}}'
        return web.Response(text=text, content_type="application/json")

    async def _get_objects(self, request: web.Request) -> web.Response:
        return json_response(200, {"objects": self._contents.versions(request.query.get("prefix", ""))})

    def _rules(self, asked: Control) -> tuple[Rule, ...]:
        return asked.faults

    def _set(self, asked: Control) -> None:
        for seed in asked.seed:
            self._contents.put(self._seeded(seed))
        if asked.ignores_conditions is not None:
            self._writing.ignores_conditions = asked.ignores_conditions
        if asked.strict_parts is not None:
            self._writing.strict_parts = asked.strict_parts
        if asked.lists_late is not None:
            self._reading.lists_late = asked.lists_late
        if asked.caches is not None:
            self._reading.caches = asked.caches
        if asked.session_token is not None:
            self._account = msgspec.structs.replace(self._account, session_token=asked.session_token)

    def _seeded(self, seed: Seed) -> Version:
        content = seed.text.encode()
        md5, sha256 = (hashlib.new(name, content, usedforsecurity=False).hexdigest() for name in ("md5", "sha256"))
        (self._contents.files / sha256).write_bytes(content)
        return Version(
            generation=0,
            bucket=self._options.buckets[0],
            key=seed.key,
            size=len(content),
            etag=f'"{md5}"',
            sha256=sha256,
            md5=md5,
            file=sha256,
            headers=seed.headers,
            created_at_s=self._time(),
            request=0,
        )

    def _switches(self) -> dict[str, Any]:
        return {
            "uploads": self._contents.uploads(),
            "ignores_conditions": self._writing.ignores_conditions,
            "strict_parts": self._writing.strict_parts,
            "lists_late": self._reading.lists_late,
            "caches": self._reading.caches,
        }


async def serve(options: ObjectsOptions, *, now: Callable[[], float] = time.time) -> SimObjects:
    """Start a stand-in on the loopback address. Raises OSError when a port is taken."""
    running = SimObjects(options, now)
    await running.start()
    return running
