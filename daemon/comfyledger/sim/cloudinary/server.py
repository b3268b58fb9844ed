"""A stand-in for Cloudinary: the server of the Upload API, the Admin API and delivery, for tests and for people
without an account. Loopback only. Its files and its ledger are in `root` and survive a restart.

It answers as Cloudinary's documentation and official clients expect; nothing here was compared with a live account.

A second address, apart from Cloudinary's own API, is for tests:

`GET /ledger[?after=N][&public_id=ID]`: `{"requests": [...]}`, every request in the order of arrival with `number`,
`at_s`, `method`, `path`, `is_admin`, `public_id`, `resource_type`, `parameters` (without secrets), `received_bytes`,
`md5`, `fault`, `status` (0: no answer left), `answer` (`new`, `existing`, `overwritten`, `chunk`, `ok`, `not found`,
`cut`, or an error's text), `is_stored`, `is_replaced` (earlier bytes were overwritten or deleted).

`GET /assets[?prefix=P]`: `{"assets": [...]}`, each with `public_id`, `resource_type`, `type`, `asset_id`, `version`,
`etag`, `bytes`, `context`, `tags`, `asset_folder`, `display_name`, `file` (below `ROOT/files`; empty when seeded).

`GET /control`: `faults` (each rule with `seen` and `struck`), `hanging`, `listening`, `clock_offset_s`,
`folder_mode`, `transform_at_ingest`, `admin_budget`, `admin_used`, `connections_open`, `connections_max`,
`connections_total`, `received_bytes`.

`POST /control` takes any of these, and answers as `GET /control` does:

- `faults`: a list of rules `{"fault": NAME, "match": {"public_id", "prefix", "path", "method", "nth"}, "times": 1}`,
  added to the active rules; the first one that strikes is the fault of a request. All that `match` names must fit;
  `path` is a part of the path; `nth` counts the fitting requests, so with `public_id` it is the attempt. `times` 0
  means always. Names: `reset_before_body`, `reset_mid_body`, `reset_after_body`; without storing anything `hang`,
  `truncate`, `html_502`, `pending`, `answer` (with `status`, `message`, `headers`; 420, 423, 429, 499, 500 and 503
  have texts of their own); after storing `store_then_hang`, `store_then_reset`, `store_then_truncate`,
  `store_then_html_502`, `store_then_pending`, `store_then_answer`; and `alter_etag` (other bytes are stored),
  `rename` (stored as ID + `_1`), `latency` (`seconds` before the true answer). A hanging request hangs until
  `clear_faults` or the end.
- `clear_faults`: true forgets all rules, before `faults` are added, and cuts what hangs.
- `listening`: false refuses new connections and cuts those that are open; true listens again on the same port.
- `clock_offset_s`: moves the clock by which signatures age and the budget's hours turn.
- `admin_budget`: calls an hour; `admin_used`: calls of this hour, so the same number exhausts it and 0 restores it.
- `folder_mode`: `dynamic` or `fixed`. `transform_at_ingest`: whether every upload is stored with other bytes.
- `seed`: records without bytes, `{"public_id", "prefix", "count", "start", "etag", "resource_type", "format", "bytes",
  "context", "tags"}` or a list of them: one by `public_id`, or `count` of them named `prefix` + number from `start` (1)
  on.
- `reset_counters`: true starts `connections_max`, `connections_total` and `received_bytes` again.
"""

from __future__ import annotations

import mimetypes
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from comfyledger.sim.cloudinary.admin import AdminApi, Budget
from comfyledger.sim.cloudinary.answers import DYNAMIC, Account, Refused, error_body
from comfyledger.sim.cloudinary.assets import Asset, Assets, Seed, open_database, starts_with
from comfyledger.sim.cloudinary.faults import Rule, Visit
from comfyledger.sim.cloudinary.ledger import Ledger, without_secrets
from comfyledger.sim.cloudinary.upload import Shared, UploadApi
from comfyledger.sim.faults import Cut, Withheld
from comfyledger.sim.stand_in import Asked, StandIn, json_response

Action = Callable[[Visit], Awaitable[dict[str, Any]]]
SECRET: Final = "a-secret-for-the-stand-in"  # noqa: S105 - it guards nothing
_GONE: Final = (Cut, ConnectionError, web.RequestPayloadError)
"""Raised in a request whose connection ends, by a fault or by the client."""
_LISTED: Final = 1_000_000
_VERSION: Final = re.compile(r"v\d+/")
_TRANSFORMATION: Final = re.compile(r"[a-z]{1,3}_[^/]*/")


class CloudinaryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Port 0 takes a free one. `file_bytes_max` is the plan's limit for one file; video and audio may be ten times as
    large, as in the free plan of Cloudinary."""

    root: Path
    port: int = 0
    control_port: int = 0
    cloud: str = "demo"
    key: str = "123456789012345"
    secret: str = SECRET
    folder_mode: str = DYNAMIC
    admin_budget: int = 500
    file_bytes_max: int = 10_485_760


class Control(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /control` takes; None changes nothing."""

    faults: tuple[Rule, ...] = ()
    admin_budget: int | None = None
    admin_used: int | None = None
    folder_mode: Literal["dynamic", "fixed"] | None = None
    transform_at_ingest: bool | None = None
    seed: Seed | list[Seed] | None = None


class SimCloudinary(StandIn[Rule, Control]):
    """A running stand-in; `serve` makes one."""

    control = Control

    def __init__(self, options: CloudinaryOptions, now: Callable[[], float], random: Random) -> None:
        database = open_database(options.root)
        super().__init__(database, now)
        account = Account(options.cloud, options.key, options.secret, options.folder_mode, options.file_bytes_max)
        assets, self._ledger = Assets(database, options.root / "files"), Ledger(database)
        self._shared = Shared(account, database, assets, self._ledger, random, self._time, options.root)
        self._budget = Budget(database, options.admin_budget)
        self._uploads = UploadApi(self._shared)
        self._admin = AdminApi(self._shared, self._budget)
        self._add_ports(self._api_app(), options.port, self._control_app(), options.control_port)

    @property
    def cloudinary_url(self) -> str:
        """The account as `CLOUDINARY_URL` writes it."""
        account = self._shared.account
        return f"cloudinary://{account.key}:{account.secret}@{account.cloud}"

    async def start(self) -> None:
        await super().start()
        self._shared.account.url = self.url

    def _api_app(self) -> web.Application:
        app = web.Application()
        uploads, admin = self._uploads, self._admin
        for upload in (uploads.upload, uploads.destroy, uploads.explicit):
            for path in ("/v1_1/{cloud}/", "/v1_1/{cloud}/{resource_type}/"):
                app.router.add_post(path + upload.__name__, self._served(upload, is_admin=False))
        for method, path, action in (
            ("GET", "ping", admin.ping),
            ("GET", "config", admin.config),
            ("GET", "usage", admin.usage),
            ("GET", "folders", admin.folders),
            ("POST", "folders/search", admin.search_folders),
            ("GET", "folders/{path:.+}", admin.folders),
            ("POST", "folders/{path:.+}", admin.create_folder),
            ("POST", "resources/search", admin.search),
            ("GET", "resources/by_asset_folder", admin.by_asset_folder),
            ("GET", "resources/by_asset_ids", admin.by_asset_ids),
            ("GET", "resources/{asset_id:[0-9a-f]{32}}", admin.resource_by_asset_id),
            ("GET", "resources/{resource_type}", admin.resources),
            ("GET", "resources/{resource_type}/{type}", admin.resources),
            ("DELETE", "resources/{resource_type}/{type}", admin.delete),
            ("GET", "resources/{resource_type}/{type}/{public_id:.+}", admin.resource),
        ):
            app.router.add_route(method, "/v1_1/{cloud}/" + path, self._served(action, is_admin=True))
        app.router.add_get("/{cloud}/{resource_type:image|video|raw}/{type}/{path:.+}", self._get_file)
        return app

    def _control_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ledger", self._get_ledger)
        app.router.add_get("/assets", self._get_assets)
        return app

    def _served(self, action: Action, *, is_admin: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve_one(request: web.Request) -> web.StreamResponse:
            visit = self._enter(request, is_admin=is_admin)
            try:
                return await self._answer(visit, action)
            except _GONE:
                visit.entry.answer = visit.entry.answer or "cut"
                return web.Response()
            finally:
                self._received_bytes += visit.entry.received_bytes
                self._ledger.save(visit.entry)

        return serve_one

    def _enter(self, request: web.Request, *, is_admin: bool) -> Visit:
        self._api.count_connections()
        entry = self._ledger.begin(self._time(), request.method, request.path, is_admin)
        entry.parameters = without_secrets(dict(request.query))
        entry.resource_type = request.match_info.get("resource_type", "" if is_admin else "image")
        return Visit(request, entry, self._faults, self._ledger)

    async def _answer(self, visit: Visit, action: Action) -> web.StreamResponse:
        """Serve a request, apply its fault to the answer, and record what was sent. Raises Cut."""
        status, body, headers = 200, error_body("General Error"), self._headers(visit)
        try:
            if visit.entry.is_admin:
                visit.cut_early()
                visit.withhold()
                self._admin.enter(visit)
            body = await action(visit)
            visit.entry.answer = visit.entry.answer or "ok"
        except Refused as refused:
            status, body = refused.status, error_body(refused.message)
            headers = {**headers, "X-Cld-Error": refused.message, **refused.headers}
            visit.entry.answer = refused.message
        except Withheld:
            pass  # the fault has ended it; `answer_with` below sends something in its place
        if visit.entry.is_admin:
            headers |= self._budget.headers(self._time())
        self._ledger.save(visit.entry)
        response = await visit.answer_with(json_response(status, body, headers))
        visit.entry.status = response.status
        return response

    def _headers(self, visit: Visit) -> dict[str, str]:
        return {"X-Request-Id": f"{visit.entry.number:032x}"}

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        visit = self._enter(request, is_admin=False)
        try:
            visit.cut_early()
            return await visit.answer_with(_deliver(visit, self._shared))
        except Cut:
            visit.entry.answer = "cut"
            return web.Response()
        finally:
            self._ledger.save(visit.entry)

    async def _get_ledger(self, request: web.Request) -> web.Response:
        after, public_id = int(request.query.get("after", 0)), request.query.get("public_id")
        text = f'{{"requests":{self._ledger.text(after, public_id)}}}'
        return web.Response(text=text, content_type="application/json")

    async def _get_assets(self, request: web.Request) -> web.Response:
        found, _ = self._shared.assets.page([starts_with("public_id", request.query.get("prefix", ""))], None, _LISTED)
        return json_response(200, {"assets": found})

    def _rules(self, asked: Control) -> tuple[Rule, ...]:
        return asked.faults

    def _set(self, asked: Control) -> None:
        if asked.seed is not None:
            seeds = asked.seed if isinstance(asked.seed, list) else [asked.seed]
            self._shared.assets.seed(seeds, self._time(), self._shared.random)
        if asked.admin_budget is not None:
            self._budget.limit = asked.admin_budget
        if asked.admin_used is not None:
            self._budget.spend(asked.admin_used - self._budget.used(self._time()), self._time())
        if asked.folder_mode is not None:
            self._shared.account.folder_mode = asked.folder_mode
        if asked.transform_at_ingest is not None:
            self._shared.alters_at_ingest = asked.transform_at_ingest

    def _switches(self) -> dict[str, Any]:
        return {
            "folder_mode": self._shared.account.folder_mode,
            "transform_at_ingest": self._shared.alters_at_ingest,
            "admin_budget": self._budget.limit,
            "admin_used": self._budget.used(self._time()),
        }


def _deliver(visit: Visit, shared: Shared) -> web.Response:
    """`/{cloud}/{image|video|raw}/upload/[v123/]path.ext`: the bytes of an asset, without transformations.

    404 for an asset that does not exist, is not public, or was seeded without bytes. As on Cloudinary, if an address
    without a version has a first folder that looks like a transformation, the asset is not found.
    """
    asset = _delivered(visit.request, shared)
    if asset is None:
        visit.entry.answer, visit.entry.status = "not found", 404
        return web.Response(status=404, headers={"X-Cld-Error": "Resource not found"})
    visit.entry.public_id, visit.entry.answer, visit.entry.status = asset.public_id, "ok", 200
    path = shared.assets.files / asset.file
    kind = mimetypes.types_map.get(f".{asset.format}", "")
    return web.Response(
        body=path.read_bytes() if visit.has("truncate") else path.open("rb"),
        content_type=kind if kind and asset.resource_type != "raw" else "application/octet-stream",
        headers={"ETag": f'"{asset.etag}"'},
    )


def _delivered(request: web.Request, shared: Shared) -> Asset | None:
    info = request.match_info
    path = info["path"]
    version = _VERSION.match(path)
    if info["cloud"] != shared.account.cloud or info["type"] != "upload":
        return None
    if version is None and _TRANSFORMATION.match(path):
        return None
    public_id = path[version.end() :] if version else path
    wanted_format = ""
    if info["resource_type"] != "raw":
        public_id, _, wanted_format = public_id.rpartition(".")
    asset = shared.assets.find((public_id, info["resource_type"], "upload"))
    is_there = asset is not None and bool(asset.file) and wanted_format in ("", asset.format)
    return asset if is_there else None


async def serve(
    options: CloudinaryOptions, *, now: Callable[[], float] = time.time, random: Random | None = None
) -> SimCloudinary:
    """Start a stand-in on the loopback address. Raises OSError when a port is taken."""
    running = SimCloudinary(options, now, random or Random())  # noqa: S311 - ids that guard nothing
    await running.start()
    return running
