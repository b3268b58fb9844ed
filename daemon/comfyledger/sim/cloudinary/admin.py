"""The Admin API of the stand-in for Cloudinary: ping, config, usage, listings, search, folders; and its hourly budget.

Every call counts against the budget. The budget is in the SQLite file, so a restart does not refill it. A cursor
contains the position to continue from, so it survives a restart too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

import msgspec

from comfyledger.sim.cloudinary.answers import Refused, found, instant, listed
from comfyledger.sim.cloudinary.assets import Asset, Condition, Key, starts_with
from comfyledger.sim.cloudinary.faults import Visit
from comfyledger.sim.cloudinary.names import is_true
from comfyledger.sim.cloudinary.search import clauses_of, conditions_of
from comfyledger.sim.cloudinary.signing import basic_pair
from comfyledger.sim.cloudinary.upload import Shared, check_pair

HOUR_S: Final = 3600
RESULTS_MAX: Final = 500
RESOURCE_TYPES: Final = frozenset({"image", "video", "raw"})
_RESULTS: Final = 10
_SEARCH_RESULTS: Final = 50
_IDS_MAX: Final = 100
_CREDITS: Final = 25.0


class Budget:
    """The Admin calls of one hour, by the clock of the stand-in."""

    def __init__(self, database: sqlite3.Connection, limit: int) -> None:
        self._database = database
        self.limit = limit

    def used(self, now_s: float) -> int:
        """The calls of this hour so far."""
        sql = "SELECT used FROM budget WHERE hour = ?"
        row = self._database.execute(sql, (int(now_s) // HOUR_S,)).fetchone()
        return row[0] if row else 0

    def spend(self, calls: int, now_s: float) -> None:
        """Count calls."""
        used = self.used(now_s) + calls
        self._database.execute("INSERT OR REPLACE INTO budget VALUES (?, ?)", (int(now_s) // HOUR_S, used))

    def headers(self, now_s: float) -> dict[str, str]:
        """The headers about it in every Admin answer."""
        return {
            "X-FeatureRateLimit-Limit": str(self.limit),
            "X-FeatureRateLimit-Remaining": str(max(0, self.limit - self.used(now_s))),
            "X-FeatureRateLimit-Reset": format_datetime(_next_hour(now_s), usegmt=True),
        }

    def refuse(self, now_s: float) -> None:
        """Raises Refused if nothing is left."""
        if self.used(now_s) >= self.limit:
            again = _next_hour(now_s).strftime("%Y-%m-%d %H:%M:%S UTC")
            limit = f"Limit of {self.limit} api operations reached"
            raise Refused(420, f"Rate Limit Exceeded. {limit}. Try again on {again}")


class AdminApi:
    """The calls of the Admin API. Each takes a visit and returns the answer's body, or raises Refused."""

    def __init__(self, shared: Shared, budget: Budget) -> None:
        self._shared = shared
        self._budget = budget

    def enter(self, visit: Visit) -> None:
        """Check the caller's credentials and count the call. Raises Refused."""
        account = self._shared.account
        pair = basic_pair(visit.request.headers.get("Authorization"))
        if visit.request.match_info["cloud"] != account.cloud:
            raise Refused(404, f"Unknown cloud_name {visit.request.match_info['cloud']}")
        if pair is None:
            raise Refused(401, "Must supply api_key")
        check_pair(account, pair)
        now_s = self._shared.now()
        self._budget.refuse(now_s)
        self._budget.spend(1, now_s)

    async def ping(self, _: Visit) -> dict[str, Any]:
        """Whether the account can be reached."""
        return {"status": "ok"}

    async def config(self, visit: Visit) -> dict[str, Any]:
        """The account, with its settings if they are asked for."""
        account = self._shared.account
        settings = {"settings": {"folder_mode": account.folder_mode}}
        asked = is_true(visit.request.query.get("settings"))
        return {"cloud_name": account.cloud, "created_at": instant(0), **(settings if asked else {})}

    async def usage(self, _: Visit) -> dict[str, Any]:
        """What the account uses of its plan."""
        count, size = self._shared.assets.count()
        used = round(size / 1e9, 2)
        bytes_max = self._shared.account.bytes_max
        return {
            "plan": "Free",
            "last_updated": instant(self._shared.now())[:10],
            "objects": {"usage": count},
            "storage": {"usage": size, "credits_usage": used},
            "bandwidth": {"usage": 0, "credits_usage": 0.0},
            "transformations": {"usage": 0, "credits_usage": 0.0},
            "credits": {"usage": used, "limit": _CREDITS, "used_percent": round(100 * used / _CREDITS, 2)},
            "resources": count,
            "derived_resources": 0,
            "media_limits": {
                "image_max_size_bytes": bytes_max("image"),
                "video_max_size_bytes": bytes_max("video"),
                "raw_max_size_bytes": bytes_max("raw"),
                "image_max_px": 25_000_000,
                "asset_max_total_px": 50_000_000,
            },
        }

    async def resources(self, visit: Visit) -> dict[str, Any]:
        """A page of the assets of one kind, by prefix or by their ids."""
        info, query = visit.request.match_info, visit.request.query
        if info["resource_type"] not in RESOURCE_TYPES:
            raise Refused(400, f"Invalid resource type {info['resource_type']}")
        conditions = [Condition("resource_type = ?", (info["resource_type"],))]
        if info.get("type"):
            conditions.append(Condition("type = ?", (info["type"],)))
        if query.get("prefix"):
            conditions.append(starts_with("public_id", query["prefix"]))
        ids = query.getall("public_ids[]", [])
        if len(ids) > _IDS_MAX:
            raise Refused(400, "Too many public_ids")
        if ids:
            conditions.append(_any_of("public_id", ids))
        return self._listing(visit, conditions, _IDS_MAX if ids else _RESULTS)

    async def by_asset_folder(self, visit: Visit) -> dict[str, Any]:
        """A page of the assets in one folder, without those below it."""
        folder = visit.request.query.get("asset_folder", "").strip("/")
        return self._listing(visit, [Condition("asset_folder = ?", (folder,))], _RESULTS)

    async def by_asset_ids(self, visit: Visit) -> dict[str, Any]:
        """The assets with these ids."""
        ids = visit.request.query.getall("asset_ids[]", [])
        return self._listing(visit, [_any_of("asset_id", ids)], _IDS_MAX)

    async def resource(self, visit: Visit) -> dict[str, Any]:
        """One asset in full."""
        info = visit.request.match_info
        asset = self._shared.assets.find((info["public_id"], info["resource_type"], info["type"]))
        return self._detail(asset, info["public_id"])

    async def resource_by_asset_id(self, visit: Visit) -> dict[str, Any]:
        """One asset in full."""
        asset_id = visit.request.match_info["asset_id"]
        found, _ = self._shared.assets.page([Condition("asset_id = ?", (asset_id,))], None, 1)
        return self._detail(found[0] if found else None, asset_id)

    async def delete(self, visit: Visit) -> dict[str, Any]:
        """Delete assets by their ids."""
        info, asked = visit.request.match_info, await _body(visit)
        keys = [(name, info["resource_type"], info["type"]) for name in asked.get("public_ids", [])]
        gone = {key[0]: "deleted" if self._shared.assets.remove(key) else "not_found" for key in keys}
        visit.entry.is_replaced = "deleted" in gone.values()
        return {"deleted": gone, "partial": False}

    async def search(self, visit: Visit) -> dict[str, Any]:
        """A page of what an expression finds."""
        asked = await _body(visit)
        conditions = conditions_of(asked.get("expression") or "")
        count = _clamped(asked.get("max_results"), _SEARCH_RESULTS)
        assets, after = self._shared.assets.page(conditions, _key_of(asked.get("next_cursor")), count)
        return {
            "total_count": self._shared.assets.count(conditions)[0],
            "time": 1,
            "resources": [found(self._shared.account, asset) for asset in assets],
            **_next(after),
        }

    async def search_folders(self, visit: Visit) -> dict[str, Any]:
        """The folder with a path, or those below one that ends in `*`."""
        clauses = clauses_of((await _body(visit)).get("expression") or "")
        if any(field != "path" for field, _ in clauses):
            raise Refused(400, "Invalid expression: only path is known")
        folders = [
            path for path in sorted(self._shared.assets.folders()) if all(_is_path(path, value) for _, value in clauses)
        ]
        return {"total_count": len(folders), "time": 1, "folders": [_folder(path) for path in folders]}

    async def folders(self, visit: Visit) -> dict[str, Any]:
        """The folders right below one, or in the root."""
        above = visit.request.match_info.get("path", "").strip("/")
        known = self._shared.assets.folders()
        if above and above not in known:
            raise Refused(404, f"Can't find folder with path {above}")
        below = sorted(path for path in known if path.rpartition("/")[0] == above)
        return {"folders": [_folder(path) for path in below], "total_count": len(below), "next_cursor": None}

    async def create_folder(self, visit: Visit) -> dict[str, Any]:
        """Create an empty folder."""
        path = visit.request.match_info["path"].strip("/")
        self._shared.assets.add_folder(path)
        return {"success": True, **_folder(path)}

    def _listing(self, visit: Visit, conditions: Sequence[Condition], default: int) -> dict[str, Any]:
        query = visit.request.query
        count = _clamped(query.get("max_results"), default)
        assets, after = self._shared.assets.page(conditions, _key_of(query.get("next_cursor")), count)
        with_context, with_tags = is_true(query.get("context")), is_true(query.get("tags"))
        account = self._shared.account
        shown = [listed(account, asset, with_context=with_context, with_tags=with_tags) for asset in assets]
        return {"resources": shown, **_next(after)}

    def _detail(self, asset: Asset | None, name: str) -> dict[str, Any]:
        if asset is None:
            raise Refused(404, f"Resource not found - {name}")
        shown = listed(self._shared.account, asset, with_context=True, with_tags=True)
        return {**shown, "original_filename": asset.original_filename, "derived": []}


def _next_hour(now_s: float) -> datetime:
    return datetime.fromtimestamp((int(now_s) // HOUR_S + 1) * HOUR_S, UTC)


def _clamped(asked: Any, default: int) -> int:
    text = str(asked) if asked is not None else str(default)
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Refused(400, f"Invalid value {text} for parameter max_results")
    return max(1, min(int(text), RESULTS_MAX))


def _any_of(column: str, values: Sequence[str]) -> Condition:
    return Condition(f"{column} IN ({','.join('?' * len(values))})", tuple(values))


def _next(after: Key | None) -> dict[str, str]:
    return {"next_cursor": msgspec.json.encode(after).hex()} if after else {}


def _key_of(cursor: Any) -> Key | None:
    if not cursor:
        return None
    try:
        return msgspec.json.decode(bytes.fromhex(str(cursor)), type=tuple[str, str, str])
    except ValueError as error:
        raise Refused(400, "Invalid value for parameter next_cursor") from error


async def _body(visit: Visit) -> dict[str, Any]:
    """The JSON body of a request, recorded in the ledger."""
    body: Any = None
    if visit.request.content_type == "application/json":
        try:
            body = msgspec.json.decode(await visit.request.read() or b"{}")
        except ValueError as error:
            raise Refused(400, "Invalid JSON") from error
    if not isinstance(body, dict):
        raise Refused(400, "Invalid JSON")
    visit.entry.parameters = body
    return body


def _is_path(path: str, asked: str) -> bool:
    return path.startswith(asked[:-1]) if asked.endswith("*") else path == asked


def _folder(path: str) -> dict[str, str]:
    return {"name": path.rpartition("/")[2], "path": path}
